/* SPDX-License-Identifier: Apache-2.0 */
/* table - which containers there are, and what `ref` means. */

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/str.h"
#include "engine/event.h"
#include "engine/ids.h"
#include "engine/private.h"

static const char *const status_texts[] = {
	[STATUS_CREATED] = "created",   [STATUS_RUNNING] = "running",
	[STATUS_PAUSED] = "paused",     [STATUS_RESTARTING] = "restarting",
	[STATUS_REMOVING] = "removing", [STATUS_EXITED] = "exited",
	[STATUS_DEAD] = "dead",
};

const char *status_text(enum container_status status)
{
	return status_texts[status];
}

bool status_parse(const char *text, enum container_status *status)
{
	for (size_t i = 0; i < ARRAY_LEN(status_texts); i++) {
		if (str_eq(text, status_texts[i])) {
			*status = (enum container_status)i;
			return true;
		}
	}
	return false;
}

struct container *container_new(struct engine *engine, const char *id, struct err *err)
{
	struct container *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;

	if (!c)
		return err_nomem(err), NULL;
	atomic_store(&c->refs, 1);
	c->engine = engine;
	memcpy(c->id, id, sizeof(c->id));
	pthread_mutex_init(&c->op, NULL);
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->changed, &attr);
	pthread_condattr_destroy(&attr);
	return c;
}

struct container *container_ref(struct container *c)
{
	atomic_fetch_add(&c->refs, 1);
	return c;
}

void container_free(struct container *c)
{
	if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	if (c->first_id)
		ids_give(c->engine->ids, c->first_id);
	health_free(c->health);
	config_free(c->config);
	netinfo_free(c->netinfo);
	free(c->name);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->op);
	free(c);
}

/* engine.lock held. Ids win over names that look like one, as in Docker: full id, name, prefix. */
static struct container *table_find(struct engine *engine, const char *ref, struct err *err)
{
	struct container *c = map_find(engine->by_id, ref);
	struct container *found = NULL;
	size_t n = strlen(ref);
	const char *key;
	void *value;

	if (!c)
		c = map_find(engine->by_name, *ref == '/' ? ref + 1 : ref);
	if (c)
		return c;
	if (!id_is_hex(ref, 1, ID_HEX_MAX - 1))
		return NULL;
	for (void *iter = NULL; map_next(engine->by_id, &iter, &key, &value);) {
		if (strncmp(key, ref, n) != 0)
			continue;
		if (found)
			return err_set(err, ERR_CONFLICT,
			               "multiple IDs found with provided prefix: %s", ref),
			       NULL;
		found = value;
	}
	return found;
}

struct container *container_get(struct engine *engine, const char *ref, struct err *err)
{
	struct err why = ERR_INIT;
	struct container *c;

	pthread_mutex_lock(&engine->lock);
	c = str_empty(ref) ? NULL : table_find(engine, ref, &why);
	/* A name may be taken for a container that is still being made. */
	if (c && !map_find(engine->by_id, c->id))
		c = NULL;
	if (c)
		container_ref(c);
	pthread_mutex_unlock(&engine->lock);
	if (!c && why.kind == ERR_NONE)
		err_set(err, ERR_NOT_FOUND, "No such container: %s", ref ? ref : "");
	else if (!c && err)
		*err = why;
	return c;
}

struct container **container_all(struct engine *engine, size_t *count, struct err *err)
{
	struct container **all;
	size_t n = 0;
	const char *key;
	void *value;

	pthread_mutex_lock(&engine->lock);
	all = calloc(map_count(engine->by_id) + 1, sizeof(struct container *));
	for (void *iter = NULL; all && map_next(engine->by_id, &iter, &key, &value);)
		all[n++] = container_ref(value);
	pthread_mutex_unlock(&engine->lock);
	if (!all)
		return err_nomem(err), NULL;
	*count = n;
	return all;
}

int container_name_take(struct engine *engine, const char *name, struct container *c,
                        struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&engine->lock);
	const struct container *other = map_find(engine->by_name, name);
	if (other)
		rc = err_set(err, ERR_CONFLICT,
		             "Conflict. The container name \"/%s\" is already in use by container "
		             "\"%s\". You have to remove (or rename) that container to be able to "
		             "reuse that name.",
		             name, other->id);
	else
		rc = map_set(engine->by_name, name, c, NULL, err);
	pthread_mutex_unlock(&engine->lock);
	return rc;
}

void container_name_drop(struct engine *engine, const char *name)
{
	pthread_mutex_lock(&engine->lock);
	map_remove(engine->by_name, name);
	pthread_mutex_unlock(&engine->lock);
}

struct config *container_config(struct container *c)
{
	struct config *config;

	pthread_mutex_lock(&c->lock);
	config = config_ref(c->config);
	pthread_mutex_unlock(&c->lock);
	return config;
}

struct netinfo *container_netinfo(struct container *c)
{
	struct netinfo *info;

	pthread_mutex_lock(&c->lock);
	info = netinfo_ref(c->netinfo);
	pthread_mutex_unlock(&c->lock);
	return info;
}

int container_dir(struct container *c, struct err *err)
{
	return fs_open_dir(c->engine->containers_fd, c->id, err);
}

struct supervisor *container_supervisor(struct container *c, struct err *err)
{
	bool up;

	pthread_mutex_lock(&c->lock);
	up = container_is_up(c);
	pthread_mutex_unlock(&c->lock);
	if (!up)
		return err_set(err, ERR_CONFLICT, "Container %s is not running", c->id), NULL;
	struct supervisor *s = supervisor_connect(c->engine->supervisors_fd, c->id, err);
	if (!s && err_is(err, ERR_NOT_FOUND))
		err_set(err, ERR_CONFLICT, "Container %s is not running", c->id);
	return s;
}

int container_find(struct engine *engine, const char *ref, char id[ID_HEX_MAX], struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);

	if (!c)
		return -1;
	memcpy(id, c->id, sizeof(c->id));
	return 0;
}

void container_event(struct container *c, const char *action, const char *key, const char *value)
{
	auto_type(config) config = container_config(c);
	const struct json_strmap *labels = &config->create.config.labels;
	struct json_strmap map = {.present = true};
	char name[256];

	pthread_mutex_lock(&c->lock);
	snprintf(name, sizeof(name), "%s", c->name);
	pthread_mutex_unlock(&c->lock);
	map.items = calloc(labels->count + 3, sizeof(*map.items));
	if (!map.items)
		return;
	for (size_t i = 0; i < labels->count; i++)
		map.items[map.count++] = labels->items[i];
	if (key)
		map.items[map.count++] = (struct json_pair){(char *)key, (char *)value};
	map.items[map.count++] = (struct json_pair){(char *)"image", config->create.config.image};
	map.items[map.count++] = (struct json_pair){(char *)"name", name};
	event_add_map(c->engine, "container", action, c->id, &map);
	free(map.items);
}
