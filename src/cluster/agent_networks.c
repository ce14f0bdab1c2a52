/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain containers on the cluster's networks. The address is asked of the leader under an id that this node makes,
 * before there is anything here that has it. It is given back by looking: what the leader's table says this node has,
 * and no endpoint here has, is told to the leader as gone. So neither a crash nor an answer that was lost
 * keeps an address for ever.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/str.h"
#include "cluster/agent_state.h"
#include "cluster/endpoints.h"

#define LIST_ARENA (16u << 20)

/* ---- asking ---- */

/* With the lock held. */
static bool is_attaching(const struct agent *agent, const char *id)
{
	for (size_t i = 0; i < agent->attaching_count; i++)
		if (str_eq(agent->attaching[i], id))
			return true;
	return false;
}

static int begin(struct agent *agent, const char *id, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&agent->lock);
	if (agent->attaching_count == AGENT_ATTACHING_MAX)
		rc = err_set(err, ERR_LIMIT, "%d containers are being attached to networks",
		             AGENT_ATTACHING_MAX);
	else if (!is_attaching(agent, id))
		snprintf(agent->attaching[agent->attaching_count++], ID_HEX_MAX, "%s", id);
	pthread_mutex_unlock(&agent->lock);
	return rc;
}

static struct json *write_question(const struct agent_attach *want)
{
	struct json *body = json_object(), *names = json_array();

	for (size_t i = 0; i < want->names.count; i++)
		json_append(names, json_string(want->names.items[i]));
	json_set(body, "Network", json_string(want->network));
	json_set(body, "ID", json_string(want->id ? want->id : ""));
	json_set(body, "ContainerID", json_string(want->container_id ? want->container_id : ""));
	json_set(body, "Address", json_string(want->address ? want->address : ""));
	json_set(body, "Names", names);
	return body;
}

static void drop_document(void *doc)
{
	json_free(doc);
}

int agent_attach(struct agent *agent, const struct agent_attach *want, struct arena *arena,
                 struct agent_attached *out, struct err *err)
{
	struct agent_question question = {.path = "/v1/attach",
	                                  .refusable = true,
	                                  .give_up = want->give_up,
	                                  .arg = want->arg};
	struct json *reply = NULL;

	*out = (struct agent_attached){0};
	if (want->id && begin(agent, want->id, err) < 0)
		return -1;
	question.body = write_question(want);
	if (agent_ask(agent, &question, &reply, err) < 0)
		return -1;
	if (arena_later(arena, drop_document, reply, err) < 0 ||
	    json_decode(json_get(reply, "Network"), &network_table, arena, &out->network, err) < 0)
		return -1;
	out->address = json_get_string(reply, "Address");
	if (want->id && str_empty(out->address))
		return err_set(err, ERR_UNAVAILABLE, "the leader's answer is incomplete");
	return 0;
}

void agent_attach_done(struct agent *agent, const char *id)
{
	pthread_mutex_lock(&agent->lock);
	for (size_t i = agent->attaching_count; i-- > 0;)
		if (str_eq(agent->attaching[i], id)) {
			size_t last = --agent->attaching_count;

			if (i != last)
				memcpy(agent->attaching[i], agent->attaching[last], ID_HEX_MAX);
		}
	pthread_mutex_unlock(&agent->lock);
}

void agent_detached(struct agent *agent)
{
	pthread_mutex_lock(&agent->lock);
	agent->table_stale = agent->table != NULL;
	pthread_cond_broadcast(&agent->woken);
	pthread_mutex_unlock(&agent->lock);
}

/* ---- giving back ---- */

struct giving {
	struct agent *agent;
	struct json *body; /* owned */
};

static void give_back(void *arg)
{
	struct giving *g = arg;
	struct agent *agent = g->agent;
	struct json *reply = NULL;
	struct err err = ERR_INIT;
	struct agent_question question = {.path = "/v1/detach", .body = g->body, .refusable = true};
	int rc = agent_ask(agent, &question, &reply, &err);

	if (rc < 0)
		log_warn(&agent->log, "addresses not given back yet", "error=\"%s\"", err.msg);
	pthread_mutex_lock(&agent->lock);
	agent->giving = false;
	agent->table_failed |= rc < 0; /* looks again */
	pthread_mutex_unlock(&agent->lock);
	json_free(reply);
	free(g);
}

/* Taken before the endpoints are listed: what is attached meanwhile is in one of the two. With the lock held. */
static size_t list_ours(const struct agent *agent, const struct endpoints *table, const char **out,
                        size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < table->network_count; i++) {
		const struct proto_member *m = table->networks[i].members.items;

		for (size_t k = 0; k < table->networks[i].members.count && count < max; k++)
			if (!str_empty(m[k].attachment) && str_eq(m[k].node_id, agent->node_id) &&
			    !is_attaching(agent, m[k].attachment))
				out[count++] = m[k].attachment;
	}
	return count;
}

static bool is_among(const struct json_strings *ids, const char *id)
{
	for (size_t i = 0; i < ids->count; i++)
		if (str_eq(ids->items[i], id))
			return true;
	return false;
}

static struct json *list_strays(struct agent *agent, const char *const *ours, size_t count,
                                struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(LIST_ARENA);
	const struct agent_executor *x = &agent->executor;
	struct json_strings here = {0};

	if (x->endpoints(x->arg, &arena, &here, err) < 0)
		return NULL;
	struct json *list = json_array();
	for (size_t i = 0; i < count; i++)
		if (!is_among(&here, ours[i]))
			json_append(list, json_string(ours[i]));
	return list;
}

int networks_sweep(struct agent *agent, const struct endpoints *table, struct err *err)
{
	const char *ours[AGENT_GIVING_MAX];

	pthread_mutex_lock(&agent->lock);
	size_t count =
		agent->giving || agent->stop ? 0 : list_ours(agent, table, ours, AGENT_GIVING_MAX);
	pthread_mutex_unlock(&agent->lock);
	struct json *strays = count > 0 ? list_strays(agent, ours, count, err) : NULL;
	if (!strays)
		return count > 0 ? -1 : 0;
	struct giving *g = json_count(strays) > 0 ? calloc(1, sizeof(*g)) : NULL;
	if (!g) {
		json_free(strays);
		return 0;
	}
	*g = (struct giving){.agent = agent, .body = json_object()};
	json_set(g->body, "IDs", strays);
	pthread_mutex_lock(&agent->lock);
	agent->giving = true;
	pthread_mutex_unlock(&agent->lock);
	if (pool_add(agent->pool, give_back, g, err) == 0)
		return 0;
	pthread_mutex_lock(&agent->lock);
	agent->giving = false;
	pthread_mutex_unlock(&agent->lock);
	json_free(g->body);
	free(g);
	return -1;
}
