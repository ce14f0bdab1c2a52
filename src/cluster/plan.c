/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "base/json.h"
#include "base/str.h"
#include "cluster/control_state.h"
#include "cluster/secret.h"
#include "cluster/service.h"
#include "cluster/store.h"

#define ARENA_MAX (256u << 20)
#define TEXT_MAX  (16u << 20)
#define SECOND_MS 1000
#define REST_MS   (15 * SECOND_MS) /* so long nothing happens: it rests */
#define SECOND_NS 1000000000LL

struct agent {
	char *node_id, *hostname;
	int64_t session, sequence;
	bool alive;
	struct agent *next;
};

struct plan {
	struct store_disk *disk;
	struct store *store;
	struct control *c;
	struct control_time now;
	struct arena arena;
	struct agent *agents; /* by id */
	char **before;        /* ids of the tasks that ran, sorted */
	size_t before_count;
};

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	control_free(plan->c);
	store_free(plan->store);
	store_disk_free(plan->disk);
	arena_done(&plan->arena);
	free(plan);
}

/* ---- the copy ---- */

static int copy_object(void *arg, const struct store_object *object, struct err *err)
{
	(void)err;
	store_put(arg, object->kind, object->id, STORE_NEW, object->text, object->len);
	return 0;
}

static int copy_store(struct store *from, struct store *to, struct err *err)
{
	auto_type(store_tx) tx = store_begin(to, err);

	for (int kind = 0; tx && kind < STORE_KINDS; kind++)
		if (store_list(from, (enum store_kind)kind, copy_object, tx, err) < 0)
			return -1;
	return tx && store_commit(tx, err) > 0 ? 0 : -1;
}

/* Who was alive: the copy's own leader would have to wait for heartbeats to know. */
static int copy_agents(struct plan *plan, const struct control *c, struct err *err)
{
	struct agent **end = &plan->agents;
	const struct node *node;

	for (size_t at = 0; (node = control_next_node(c, &at)) != NULL;) {
		struct agent *agent = arena_array(&plan->arena, 1, sizeof(*agent), err);
		if (!agent)
			return -1;
		*agent = (struct agent){
			.node_id = arena_strdup(&plan->arena, node->id, err),
			.hostname = arena_strdup(
				&plan->arena,
				node->description.hostname ? node->description.hostname : "", err),
			.alive = control_node_is_alive(c, node->id)};
		if (!agent->node_id || !agent->hostname)
			return -1;
		*end = agent;
		end = &agent->next;
	}
	return 0;
}

struct plan *plan_open(struct control *c, struct control_time now, struct err *err)
{
	struct control_config config = {.seed = {1, 1}, .history = 1};
	auto_type(plan) plan = calloc(1, sizeof(*plan));

	if (!plan)
		return err_nomem(err), NULL;
	plan->arena = (struct arena)ARENA_INIT(ARENA_MAX);
	plan->now = now;
	plan->disk = store_disk_create(err);
	plan->store = plan->disk ? store_memory_open(plan->disk, err) : NULL;
	/* With another first number, or the copy would make the identifiers that are there already. */
	config.seed[0] += c->random[0];
	config.store = plan->store;
	if (!plan->store || copy_agents(plan, c, err) < 0 ||
	    copy_store(c->config.store, plan->store, err) < 0)
		return NULL;
	plan->c = control_open(&config, plan->now, err);
	return plan->c ? move_ptr(plan) : NULL;
}

/* ---- agents that do what they are told ---- */

static void forget_messages(struct plan *plan)
{
	struct control_message *m;

	while ((m = control_take_message(plan->c)) != NULL)
		control_message_free(m);
}

static int hello(struct plan *plan, struct agent *agent, struct err *err)
{
	const struct node *node = control_node(plan->c, agent->node_id);

	if (!node)
		return 0;
	struct proto_hello words = {.protocol = PROTO_VERSION,
	                            .node_id = agent->node_id,
	                            .addr = node->status.addr,
	                            .description = node->description};
	return control_agent_hello(plan->c, plan->now, &words, &agent->session, err);
}

/* task_id: NULL for a heartbeat alone. */
static int report(struct plan *plan, struct agent *agent, const char *task_id,
                  enum task_state state, struct err *err)
{
	struct proto_status status = {.task_id = (char *)task_id};
	struct proto_reply reply;
	struct proto_report words = {
		.protocol = PROTO_VERSION,
		.node_id = agent->node_id,
		.epoch = control_epoch(plan->c),
		.session = agent->session,
		.sequence = ++agent->sequence,
		.applied = INT64_MAX,
		.statuses = {.items = &status, .count = task_id ? 1 : 0, .present = true}};

	task_set_state(&status.status, state);
	return control_agent_report(plan->c, plan->now, &words, &reply, err);
}

static struct agent *agent_of(const struct plan *plan, const char *node_id)
{
	for (struct agent *agent = plan->agents; agent; agent = agent->next)
		if (agent->alive && str_eq(agent->node_id, node_id))
			return agent;
	return NULL;
}

/* What a task becomes once its node has done what it is told; the state it has: nothing is to do. */
static enum task_state obeyed(const struct task *t)
{
	enum task_state state = t->status.state;

	if (state < TASK_ASSIGNED || task_state_is_final(state))
		return state;
	if (t->desired > TASK_RUNNING)
		return TASK_SHUTDOWN;
	if (t->held)
		return state;
	if (t->desired == TASK_RUNNING && state < TASK_RUNNING)
		return TASK_RUNNING;
	return t->job_iteration && state == TASK_RUNNING ? TASK_COMPLETE : state;
}

struct errand {
	struct agent *agent;
	char *task_id;
	enum task_state state;
	struct errand *next;
};

/* First all are looked at, then reported: a report changes what is looked at. */
static int obey(struct plan *plan, bool *worked, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(ARENA_MAX);
	struct errand *errands = NULL;
	const struct task *t;

	for (size_t at = 0; (t = control_next_task(plan->c, &at)) != NULL;) {
		struct agent *agent = agent_of(plan, t->node_id);
		struct errand *errand;
		if (!agent || obeyed(t) == t->status.state)
			continue;
		errand = arena_array(&arena, 1, sizeof(*errand), err);
		if (!errand)
			return -1;
		*errand = (struct errand){.agent = agent,
		                          .task_id = arena_strdup(&arena, t->id, err),
		                          .state = obeyed(t),
		                          .next = errands};
		if (!errand->task_id)
			return -1;
		errands = errand;
	}
	for (struct errand *e = errands; e; e = e->next)
		if (report(plan, e->agent, e->task_id, e->state, err) < 0)
			return -1;
	*worked = errands != NULL;
	forget_messages(plan);
	return 0;
}

static int beat(struct plan *plan, struct err *err)
{
	for (struct agent *agent = plan->agents; agent; agent = agent->next)
		if (agent->alive && report(plan, agent, NULL, TASK_NEW, err) < 0)
			return -1;
	return control_tick(plan->c, plan->now, err);
}

static bool is_updating(const struct control *c)
{
	const struct service *s;

	for (size_t at = 0; (s = control_next_service(c, &at)) != NULL;)
		if (s->update_status && (str_eq(s->update_status->state, "updating") ||
		                         str_eq(s->update_status->state, "rollback_started")))
			return true;
	return false;
}

/* Lets time pass until all rests. *seconds: when the last thing happened. */
static int settle(struct plan *plan, int64_t *seconds, bool *ended, struct err *err)
{
	int64_t start = plan->now.mono_ms, last = start;
	bool worked;

	while (plan->now.mono_ms - start < PLAN_SECONDS_MAX * SECOND_MS) {
		do {
			if (obey(plan, &worked, err) < 0)
				return -1;
			if (worked)
				last = plan->now.mono_ms;
		} while (worked);
		*ended = !is_updating(plan->c) && plan->now.mono_ms - last >= REST_MS;
		*seconds = (last - start) / SECOND_MS;
		if (*ended)
			return 0;
		plan->now.mono_ms += SECOND_MS;
		plan->now.wall_ns += SECOND_NS;
		if (beat(plan, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- what is asked ---- */

static int add_secrets(struct plan *plan, const struct json *names, enum store_kind kind,
                       struct err *err)
{
	for (size_t i = 0; i < json_count(names); i++) {
		const char *name = json_str(json_at(names, i));
		const struct secret_spec spec = {.name = (char *)(name ? name : "")};
		char id[ID_SWARM_MAX];
		if (name && secret_find(plan->c, kind, name, NULL))
			continue;
		if (secret_create(plan->c, plan->now, kind, &spec, "", id, err) < 0)
			return -1;
	}
	return 0;
}

/* Identifiers of files that are named only. */
static int fill_in(struct plan *plan, const struct json *files, enum store_kind kind,
                   const char *id_key, const char *name_key, struct err *err)
{
	for (size_t i = 0; i < json_count(files); i++) {
		struct json *file = json_at(files, i);
		const char *name = json_get_string(file, name_key);
		if (!str_empty(json_get_string(file, id_key)))
			continue;
		const struct secret *s = secret_find(plan->c, kind, name ? name : "", err);
		if (!s)
			return -1;
		if (json_set(file, id_key, json_string(s->id)) < 0)
			return err_nomem(err);
	}
	return 0;
}

static const struct service *find_service(const struct control *c, const char *name)
{
	const struct service *s;

	for (size_t at = 0; (s = control_next_service(c, &at)) != NULL;)
		if (str_eq(s->spec.name, name))
			return s;
	return NULL;
}

static int apply_one(struct plan *plan, const struct json *spec, struct err *err)
{
	const struct json *container = json_get(json_get(spec, "TaskTemplate"), "ContainerSpec");
	const char *name = json_get_string(spec, "Name");
	const struct service *s = find_service(plan->c, name);
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);
	char id[ID_SWARM_MAX];

	if (fill_in(plan, json_get(container, "Secrets"), STORE_SECRET, "SecretID", "SecretName",
	            err) < 0 ||
	    fill_in(plan, json_get(container, "Configs"), STORE_CONFIG, "ConfigID", "ConfigName",
	            err) < 0 ||
	    json_write(spec, &text, err) < 0)
		return -1;
	if (!s)
		return service_create(plan->c, plan->now, buf_str(&text), text.len, id, err);
	const struct service_change change = {
		.ref = s->id, .version = s->version.index, .text = buf_str(&text), .len = text.len};
	return service_update(plan->c, plan->now, &change, err);
}

/* ---- what comes of it: one outcome per service, in the order of the request ---- */

static int add_outcome(struct json *outcomes, const char *name, const char *action)
{
	static const char *const counts[] = {"Kept", "Stopped", "Started", "Waiting"};
	struct json *one = json_object();

	json_set(one, "Name", json_string(name ? name : ""));
	json_set(one, "Action", json_string(action));
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		json_set(one, counts[i], json_int(0));
	json_set(one, "Nodes", json_array());
	return json_append(outcomes, one);
}

static int add_outcomes(const struct plan *plan, const struct json *request, struct json *outcomes,
                        struct err *err)
{
	const struct json *specs = json_get(request, "Services"),
			  *removed = json_get(request, "Remove");

	if (json_count(specs) + json_count(removed) > PLAN_SERVICES_MAX)
		return err_set(err, ERR_LIMIT, "more than %d services in one plan",
		               PLAN_SERVICES_MAX);
	for (size_t i = 0; i < json_count(removed); i++)
		if (add_outcome(outcomes, json_str(json_at(removed, i)), "remove") < 0)
			return err_nomem(err);
	for (size_t i = 0; i < json_count(specs); i++) {
		const char *name = json_get_string(json_at(specs, i), "Name");
		bool there = find_service(plan->c, name) != NULL;
		if (add_outcome(outcomes, name, there ? "update" : "create") < 0)
			return err_nomem(err);
	}
	return 0;
}

static void add(struct json *object, const char *key, int64_t n)
{
	json_set(object, key, json_int(json_get_int(object, key, 0) + n));
}

/* The node's row in an outcome; made when it is not there. */
static struct json *row_of(const struct plan *plan, struct json *outcome, const char *node_id)
{
	struct json *rows = json_get(outcome, "Nodes"), *row;
	const struct agent *agent = plan->agents;

	for (size_t i = 0; i < json_count(rows); i++)
		if (str_eq(json_get_string(json_at(rows, i), "ID"), node_id))
			return json_at(rows, i);
	while (agent && !str_eq(agent->node_id, node_id))
		agent = agent->next;
	row = json_object();
	json_set(row, "ID", json_string(node_id));
	json_set(row, "Hostname", json_string(agent ? agent->hostname : ""));
	json_set(row, "Before", json_int(0));
	json_set(row, "After", json_int(0));
	json_append(rows, row);
	return row;
}

static struct json *outcome_of(const struct json *outcomes, const struct task *t)
{
	for (size_t i = 0; i < json_count(outcomes); i++)
		if (str_eq(json_get_string(json_at(outcomes, i), "Name"), t->service_name))
			return json_at(outcomes, i);
	return NULL;
}

static bool runs(const struct task *t)
{
	return t->desired == TASK_RUNNING && t->status.state >= TASK_ASSIGNED &&
	       !task_state_is_final(t->status.state);
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Remembers the tasks that run. Each counts as stopped until it is found to run still. */
static int count_before(struct plan *plan, const struct json *outcomes, struct err *err)
{
	const struct task *t;
	size_t count = 0;

	for (size_t at = 0; control_next_task(plan->c, &at) != NULL;)
		count++;
	plan->before = arena_array(&plan->arena, count + 1, sizeof(*plan->before), err);
	if (!plan->before)
		return -1;
	for (size_t at = 0; (t = control_next_task(plan->c, &at)) != NULL;) {
		struct json *one = outcome_of(outcomes, t);
		char *id = one && runs(t) ? arena_strdup(&plan->arena, t->id, err) : NULL;
		if (!one || !runs(t))
			continue;
		if (!id)
			return -1;
		plan->before[plan->before_count++] = id;
		add(one, "Stopped", 1);
		add(row_of(plan, one, t->node_id), "Before", 1);
	}
	qsort(plan->before, plan->before_count, sizeof(*plan->before), compare_ids);
	return 0;
}

static void count_after(const struct plan *plan, const struct json *outcomes)
{
	const struct task *t;

	for (size_t at = 0; (t = control_next_task(plan->c, &at)) != NULL;) {
		struct json *one = outcome_of(outcomes, t);
		bool known = bsearch(&t->id, plan->before, plan->before_count,
		                     sizeof(*plan->before), compare_ids) != NULL;
		bool through = t->job_iteration && t->status.state == TASK_COMPLETE;
		if (one && t->desired == TASK_RUNNING && t->status.state < TASK_ASSIGNED) {
			add(one, "Waiting", 1);
			json_set(one, "Why", json_string(t->status.error ? t->status.error : ""));
		} else if (one && (runs(t) || (through && !known))) {
			add(one, known ? "Kept" : "Started", 1);
			add(one, "Stopped", known ? -1 : 0);
			add(row_of(plan, one, t->node_id), "After", 1);
		}
	}
}

static int apply_all(struct plan *plan, const struct json *request, struct err *err)
{
	const struct json *specs = json_get(request, "Services"),
			  *removed = json_get(request, "Remove");

	if (add_secrets(plan, json_get(request, "Secrets"), STORE_SECRET, err) < 0 ||
	    add_secrets(plan, json_get(request, "Configs"), STORE_CONFIG, err) < 0)
		return -1;
	for (size_t i = 0; i < json_count(removed); i++) {
		const char *name = json_str(json_at(removed, i));
		if (service_remove(plan->c, plan->now, name ? name : "", err) < 0)
			return -1;
	}
	for (size_t i = 0; i < json_count(specs); i++) {
		const char *name = json_get_string(json_at(specs, i), "Name");
		if (apply_one(plan, json_at(specs, i), err) < 0)
			return err_wrap(err, "service %s", name ? name : "without a name");
	}
	return 0;
}

int plan_run(struct plan *plan, const struct json *request, struct buf *out, struct err *err)
{
	auto_type(json) outcomes = json_array();
	auto_type(json) doc = json_object();
	int64_t seconds = 0;
	bool ended = false;

	for (struct agent *agent = plan->agents; agent; agent = agent->next)
		if (agent->alive && hello(plan, agent, err) < 0)
			return -1;
	if (add_outcomes(plan, request, outcomes, err) < 0 ||
	    count_before(plan, outcomes, err) < 0 || apply_all(plan, request, err) < 0 ||
	    settle(plan, &seconds, &ended, err) < 0)
		return -1;
	count_after(plan, outcomes);
	json_set(doc, "Seconds", json_int(seconds));
	json_set(doc, "Ended", json_bool(ended));
	if (json_set(doc, "Services", json_ref(outcomes)) < 0)
		return err_nomem(err);
	return json_write(doc, out, err);
}
