/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/executor.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "cluster/member.h"
#include "daemon/executor_logs.h"
#include "daemon/overlays.h"
#include "daemon/taskfiles.h"
#include "daemon/taskspec.h"
#include "engine/container.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/filter.h"
#include "image/image.h"
#include "net/net.h"

#define LIST_ARENA  (64u << 20)
#define VIEW_ARENA  (8u << 20)
#define EVENT_ARENA (1u << 20)

struct executor {
	struct engine *engine;
	struct agent_executor vtable;
	struct member *member;
	pthread_t watcher;
	bool watching;
	int stop_fd;
	pthread_mutex_t lock;   /* guards the map */
	struct map *containers; /* container ids by task id; owned copies */
	struct taskfiles files;
};

/* ---- which container is a task's ---- */

static void remember(struct executor *x, const char *task_id, const char *container_id)
{
	char *copy = strdup(container_id);
	void *old = NULL;

	pthread_mutex_lock(&x->lock);
	if (!copy || map_set(x->containers, task_id, copy, &old, NULL) < 0)
		free(copy);
	pthread_mutex_unlock(&x->lock);
	free(old);
}

static void forget(struct executor *x, const char *task_id)
{
	pthread_mutex_lock(&x->lock);
	free(map_remove(x->containers, task_id));
	pthread_mutex_unlock(&x->lock);
}

static bool recall(struct executor *x, const char *task_id, char id[ID_HEX_MAX])
{
	pthread_mutex_lock(&x->lock);
	const char *known = map_find(x->containers, task_id);
	snprintf(id, ID_HEX_MAX, "%s", known ? known : "");
	pthread_mutex_unlock(&x->lock);
	return known != NULL;
}

/* All containers with a label, or with label=value. */
static int list_labelled(struct executor *x, const char *label, struct arena *arena,
                         struct container_view **views, size_t *count, struct err *err)
{
	auto_type(json) filters = json_object();
	struct json *labels = json_array();

	json_append(labels, json_string(label));
	if (json_set(filters, "label", labels) < 0)
		return err_nomem(err);
	auto_buf struct buf text = BUF_INIT(4096);
	if (json_write(filters, &text, err) < 0)
		return -1;
	auto_type(json) parsed = filter_parse(buf_str(&text), err);
	if (!parsed)
		return -1;
	return container_list(x->engine,
	                      &(struct container_list_options){.all = true, .filters = parsed},
	                      arena, views, count, err);
}

/* 1: found; 0: there is none. */
static int find(struct executor *x, const char *task_id, char id[ID_HEX_MAX], struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(LIST_ARENA);
	struct container_view *views = NULL;
	char label[96];
	size_t count = 0;

	if (recall(x, task_id, id))
		return 1;
	snprintf(label, sizeof(label), TASKSPEC_LABEL_TASK "=%s", task_id);
	if (list_labelled(x, label, &arena, &views, &count, err) < 0)
		return -1;
	if (count == 0)
		return 0;
	snprintf(id, ID_HEX_MAX, "%s", views[0].id);
	remember(x, task_id, id);
	return 1;
}

static const char *label_of(const struct json_strmap *labels, const char *key)
{
	for (size_t i = 0; i < labels->count; i++)
		if (str_eq(labels->items[i].key, key))
			return labels->items[i].value;
	return NULL;
}

static int x_list(void *arg, struct arena *arena, struct json_strings *ids, struct err *err)
{
	struct executor *x = arg;
	auto_arena struct arena scratch = ARENA_INIT(LIST_ARENA);
	struct container_view *views = NULL;
	size_t count = 0;

	if (list_labelled(x, TASKSPEC_LABEL_TASK, &scratch, &views, &count, err) < 0)
		return -1;
	*ids = (struct json_strings){.present = true};
	ids->items = arena_array(arena, count + 1, sizeof(char *), err);
	if (!ids->items)
		return -1;
	for (size_t i = 0; i < count; i++) {
		const char *task = label_of(&views[i].create->config.labels, TASKSPEC_LABEL_TASK);

		if (str_empty(task))
			continue;
		remember(x, task, views[i].id);
		ids->items[ids->count] = arena_strdup(arena, task, err);
		if (!ids->items[ids->count++])
			return -1;
	}
	return 0;
}

/* ---- a task's life ---- */

static int need_image(struct executor *x, const char *name, struct err *err)
{
	static const struct image_auth nobody = {0};
	static const struct image_progress quiet = {0};
	struct image_pulled pulled;
	struct reference ref;
	auto_type(image) image = image_find(engine_images(x->engine), name, NULL);

	if (image)
		return 0;
	if (reference_parse(name, &ref, err) < 0)
		return -1;
	return image_pull(engine_images(x->engine), &ref, NULL, &nobody, &quiet, &pulled, err);
}

static int make_container(struct executor *x, const struct agent_work *work,
                          const struct json_array *more, struct arena *arena, char id[ID_HEX_MAX],
                          struct err *err)
{
	struct api_container_create create;
	char name[TASKSPEC_NAME_MAX];

	if (taskspec_create(x->engine, work, more, arena, &create, err) < 0 ||
	    need_image(x, create.config.image, err) < 0)
		return -1;
	return container_create(x->engine, taskspec_name(work, name), &create, id, err) < 0 ? -1
	                                                                                    : 0;
}

/* The cluster's networks that the task is on are made when they are needed. */
static int need_networks(struct executor *x, const struct task *t, struct err *err)
{
	const struct task_network *networks = t->networks.items;

	for (size_t i = 0; i < t->networks.count; i++)
		if (overlays_ensure(engine_net(x->engine), &networks[i].network, err) < 0)
			return -1;
	return 0;
}

static int x_prepare(void *arg, const struct agent_work *work, struct err *err)
{
	struct executor *x = arg;
	auto_arena struct arena arena = ARENA_INIT(VIEW_ARENA);
	struct api_mount *mounts;
	struct json_array more = {.present = true};
	char id[ID_HEX_MAX];
	int found = find(x, work->task->id, id, err);

	if (found != 0)
		return found > 0 ? 0 : -1;
	if (need_networks(x, work->task, err) < 0)
		return -1;
	if (taskfiles_write(&x->files, work, &arena, &mounts, &more.count, err) < 0)
		return -1;
	more.items = mounts;
	if (make_container(x, work, &more, &arena, id, err) < 0) {
		taskfiles_remove(&x->files, work->task->id);
		return -1;
	}
	remember(x, work->task->id, id);
	return 0;
}

static int x_start(void *arg, const struct agent_work *work, struct err *err)
{
	struct executor *x = arg;
	char id[ID_HEX_MAX];
	int found = find(x, work->task->id, id, err);

	if (found <= 0)
		return found < 0 ? -1 : err_set(err, ERR_NOT_FOUND, "the task's container is gone");
	if (need_networks(x, work->task, err) < 0)
		return -1;
	return container_start(x->engine, id, err) < 0 ? -1 : 0;
}

static int x_stop(void *arg, const struct agent_work *work, struct err *err)
{
	struct executor *x = arg;
	char id[ID_HEX_MAX];
	struct err why = ERR_INIT;
	int found = find(x, work->task->id, id, err);

	if (found <= 0)
		return found;
	if (container_stop(x->engine, id, -1, NULL, &why) >= 0 || why.kind == ERR_NOT_FOUND)
		return 0;
	if (err)
		*err = why;
	return -1;
}

static int x_remove(void *arg, const char *task_id, struct err *err)
{
	struct executor *x = arg;
	char id[ID_HEX_MAX];
	struct err why = ERR_INIT;
	int found = find(x, task_id, id, err);

	if (found >= 0)
		taskfiles_remove(&x->files, task_id);
	if (found <= 0)
		return found;
	if (container_remove(x->engine, id, true, true, &why) < 0 && why.kind != ERR_NOT_FOUND) {
		if (err)
			*err = why;
		return -1;
	}
	forget(x, task_id);
	return 0;
}

/* ---- looking ---- */

static enum agent_health health_of(const struct container_view *view)
{
	if (!view->running || str_empty(view->health) || str_eq(view->health, "none"))
		return AGENT_HEALTH_NONE;
	if (str_eq(view->health, "healthy"))
		return AGENT_HEALTH_GOOD;
	return str_eq(view->health, "unhealthy") ? AGENT_HEALTH_BAD : AGENT_HEALTH_STARTING;
}

static int copy_ports(const struct container_view *view, struct arena *arena,
                      struct agent_container *out, struct err *err)
{
	struct model_port *ports = arena_array(arena, view->port_count + 1, sizeof(*ports), err);

	if (!ports)
		return -1;
	out->ports = (struct json_array){.items = ports, .present = true};
	for (size_t i = 0; i < view->port_count; i++) {
		if (view->ports[i].host_port == 0)
			continue;
		ports[out->ports.count++] = (struct model_port){
			.protocol = arena_strdup(arena, view->ports[i].proto, err),
			.target_port = view->ports[i].container_port,
			.published_port = view->ports[i].host_port,
			.publish_mode = (char *)"host",
		};
	}
	return 0;
}

static int describe(const struct container_view *view, struct arena *arena,
                    struct agent_container *out, struct err *err)
{
	snprintf(out->id, sizeof(out->id), "%s", view->id);
	out->started = view->started_ns != 0;
	out->running = view->running || view->paused || view->restarting;
	out->pid = view->pid;
	out->exit_code = view->exit_code;
	out->health = health_of(view);
	if (view->oom_killed)
		out->error = (char *)"out of memory";
	else if (!str_empty(view->error))
		out->error = arena_strdup(arena, view->error, err);
	if (view->network_count > 0 && !str_empty(view->networks[0].endpoint.ip_address)) {
		out->address = arena_strdup(arena, view->networks[0].endpoint.ip_address, err);
		if (!out->address)
			return -1;
	}
	return copy_ports(view, arena, out, err);
}

static int x_look(void *arg, const char *task_id, struct arena *arena, struct agent_container *out,
                  struct err *err)
{
	struct executor *x = arg;
	struct container_view view;
	struct err why = ERR_INIT;
	char id[ID_HEX_MAX];
	int found = find(x, task_id, id, err);

	if (found <= 0)
		return found;
	if (container_inspect(x->engine, id, false, arena, &view, &why) == 0)
		return describe(&view, arena, out, err);
	if (why.kind == ERR_NOT_FOUND) {
		forget(x, task_id);
		return 0;
	}
	if (err)
		*err = why;
	return -1;
}

/* ---- endpoints ---- */

static int copy_service(const struct endpoint_service *from, struct arena *arena,
                        struct net_service *to, struct err *err)
{
	struct net_backend *backends = arena_array(arena, from->count + 1, sizeof(*backends), err);

	if (!backends)
		return -1;
	*to = (struct net_service){.id = from->id, .port = from->port, .backends = backends};
	snprintf(to->proto, sizeof(to->proto), "%.4s", from->proto);
	for (size_t i = 0; i < from->count; i++) {
		snprintf(backends[i].ip, sizeof(backends[i].ip), "%.45s", from->backends[i].ip);
		backends[i].port = from->backends[i].port;
		backends[i].local = from->backends[i].local;
	}
	to->count = from->count;
	return 0;
}

static int x_publish(void *arg, const struct endpoints *given, struct err *err)
{
	struct executor *x = arg;
	auto_arena struct arena arena = ARENA_INIT(LIST_ARENA);
	struct net_service *table = arena_array(&arena, given->count + 1, sizeof(*table), err);

	if (!table)
		return -1;
	for (size_t i = 0; i < given->count; i++)
		if (copy_service(&given->services[i], &arena, &table[i], err) < 0)
			return -1;
	if (overlays_publish(engine_net(x->engine), given, err) < 0)
		return -1;
	return net_services_set(engine_net(x->engine), table, given->count, err);
}

static int x_endpoints(void *arg, struct arena *arena, struct json_strings *ids, struct err *err)
{
	struct executor *x = arg;

	return net_overlay_endpoints(engine_net(x->engine), arena, ids, err);
}

static int x_logs(void *arg, const char *task_id, const struct json *options, int fd,
                  struct err *err)
{
	struct executor *x = arg;
	char id[ID_HEX_MAX];
	int found = find(x, task_id, id, err);

	if (found <= 0)
		return found;
	return executor_logs(x->engine, id, options, fd, err);
}

/* ---- events ---- */

/* Of the cluster's networks the ids are not of hexadecimal digits. */
static void hear_of_network(struct executor *x, const struct event *event)
{
	if (str_eq(event->action, "disconnect") &&
	    !id_is_hex(event->actor, ID_HEX_MAX - 1, ID_HEX_MAX - 1))
		member_detached(x->member);
}

static void *watch(void *arg)
{
	struct executor *x = arg;
	auto_type(json) filters = filter_parse("{\"type\":[\"container\",\"network\"]}", NULL);
	struct event_filter filter = {.filters = filters};
	struct err err = ERR_INIT;
	auto_type(event_feed) feed = event_subscribe(x->engine, &filter, &err);

	if (!feed) {
		log_error(engine_log(x->engine), "no events for the cluster", "error=%s", err.msg);
		return NULL;
	}
	member_poke(x->member, NULL); /* what happened before we listened */
	for (;;) {
		auto_arena struct arena arena = ARENA_INIT(EVENT_ARENA);
		struct event event;

		if (event_next(feed, x->stop_fd, &arena, &event, NULL) <= 0)
			return NULL;
		if (str_eq(event.type, "network")) {
			hear_of_network(x, &event);
			continue;
		}
		const char *task = label_of(&event.attributes, TASKSPEC_LABEL_TASK);
		/* What we do ourselves is looked at anyway; and a lot of the rest does not matter. */
		if (task && str_eq(event.action, "die"))
			taskfiles_remove(&x->files, task);
		if (task && (str_eq(event.action, "die") || str_eq(event.action, "destroy") ||
		             str_starts(event.action, "health_status")))
			member_poke(x->member, task);
	}
}

int executor_watch(struct executor *x, struct member *member, struct err *err)
{
	x->member = member;
	if (pthread_create(&x->watcher, NULL, watch, x) != 0)
		return err_set(err, ERR_SYSTEM, "cannot start the thread for the cluster's events");
	x->watching = true;
	return 0;
}

void executor_unwatch(struct executor *x)
{
	if (!x || !x->watching)
		return;
	(void)eventfd_write(x->stop_fd, 1);
	pthread_join(x->watcher, NULL);
	x->watching = false;
}

/* ---- the whole ---- */

struct executor *executor_create(struct engine *engine, const char *run, struct err *err)
{
	struct executor *x = calloc(1, sizeof(*x));

	if (!x) {
		err_nomem(err);
		return NULL;
	}
	x->engine = engine;
	x->stop_fd = eventfd(0, EFD_CLOEXEC);
	x->containers = map_create(err);
	pthread_mutex_init(&x->lock, NULL);
	taskfiles_init(&x->files, engine_run_fd(engine), run);
	x->vtable = (struct agent_executor){.arg = x,
	                                    .prepare = x_prepare,
	                                    .start = x_start,
	                                    .stop = x_stop,
	                                    .remove = x_remove,
	                                    .look = x_look,
	                                    .list = x_list,
	                                    .publish = x_publish,
	                                    .endpoints = x_endpoints,
	                                    .logs = x_logs};
	if (x->stop_fd < 0 || !x->containers) {
		executor_free(x);
		return NULL;
	}
	return x;
}

const struct agent_executor *executor_vtable(struct executor *x)
{
	return &x->vtable;
}

void executor_free(struct executor *x)
{
	const char *task;
	void *id;

	if (!x)
		return;
	executor_unwatch(x);
	if (x->containers)
		map_for_each (x->containers, iter, &task, &id)
			free(id);
	map_free(x->containers);
	if (x->stop_fd >= 0)
		close(x->stop_fd);
	taskfiles_done(&x->files);
	pthread_mutex_destroy(&x->lock);
	free(x);
}
