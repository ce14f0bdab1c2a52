/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/mirror.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define ARENA_SLACK 16384 /* bytes an object's arena may grow before it is made afresh */

void mirror_init(struct mirror *m)
{
	*m = (struct mirror){0};
	TAILQ_INIT(&m->loose);
	TAILQ_INIT(&m->dirty);
}

/* ---- entries by id ---- */

static size_t position(const struct mirror_index *index, const char *id, bool *found)
{
	size_t low = 0, high = index->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(index->items[middle]->id, id);

		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*found = false;
	return low;
}

static struct mirror_object *find(const struct mirror_index *index, const char *id)
{
	bool found;
	size_t at = id ? position(index, id, &found) : 0;

	return id && found ? index->items[at] : NULL;
}

static int insert(struct mirror_index *index, struct mirror_object *o, struct err *err)
{
	bool found;
	size_t at = position(index, o->id, &found);

	if (found)
		return err_set(err, ERR_CONFLICT, "%s %s exists already", store_kind_name(o->kind),
		               o->id);
	if (index->count == index->cap) {
		size_t cap = index->cap ? index->cap * 2 : 16;
		struct mirror_object **grown = reallocarray(index->items, cap, sizeof(void *));

		if (!grown)
			return err_nomem(err);
		index->items = grown;
		index->cap = cap;
	}
	memmove(&index->items[at + 1], &index->items[at], (index->count - at) * sizeof(void *));
	index->items[at] = o;
	index->count++;
	return 0;
}

static void take_out(struct mirror_index *index, const struct mirror_object *o)
{
	bool found;
	size_t at = position(index, o->id, &found);

	if (!found)
		return;
	index->count--;
	memmove(&index->items[at], &index->items[at + 1], (index->count - at) * sizeof(void *));
}

static void object_free(struct mirror_object *o)
{
	arena_done(&o->arena);
	free(o);
}

static void index_done(struct mirror_index *index)
{
	for (size_t i = 0; i < index->count; i++)
		object_free(index->items[i]);
	free(index->items);
}

static void free_removed(struct mirror *m)
{
	struct mirror_object *o = TAILQ_FIRST(&m->dirty);

	while (o) {
		struct mirror_object *next = TAILQ_NEXT(o, in_dirty);

		if (o->removed)
			object_free(o);
		o = next;
	}
}

static bool is_secret(enum store_kind kind)
{
	return kind == STORE_SECRET || kind == STORE_CONFIG;
}

static struct mirror_index *index_of(struct mirror *m, enum store_kind kind)
{
	switch ((int)kind) {
	case STORE_TASK:
		return &m->tasks;
	case STORE_SERVICE:
		return &m->services;
	case STORE_SECRET:
		return &m->secrets;
	case STORE_CONFIG:
		return &m->configs;
	case STORE_NETWORK:
		return &m->networks;
	default:
		return &m->nodes;
	}
}

void mirror_done(struct mirror *m)
{
	free_removed(m);
	index_done(&m->tasks);
	index_done(&m->services);
	index_done(&m->nodes);
	index_done(&m->secrets);
	index_done(&m->configs);
	index_done(&m->networks);
	if (m->cluster_entry)
		object_free(m->cluster_entry);
	mirror_init(m);
}

struct mirror_task *mirror_find_task(const struct mirror *m, const char *id)
{
	return (struct mirror_task *)find(&m->tasks, id);
}

struct mirror_service *mirror_find_service(const struct mirror *m, const char *id)
{
	return (struct mirror_service *)find(&m->services, id);
}

struct mirror_node *mirror_find_node(const struct mirror *m, const char *id)
{
	return (struct mirror_node *)find(&m->nodes, id);
}

struct mirror_network *mirror_find_network(const struct mirror *m, const char *id)
{
	return (struct mirror_network *)find(&m->networks, id);
}

static const struct mirror_index *secrets_of(const struct mirror *m, enum store_kind kind)
{
	return kind == STORE_CONFIG ? &m->configs : &m->secrets;
}

struct mirror_secret *mirror_find_secret(const struct mirror *m, enum store_kind kind,
                                         const char *id)
{
	return (struct mirror_secret *)find(secrets_of(m, kind), id);
}

struct mirror_secret *mirror_secret_at(const struct mirror *m, enum store_kind kind, size_t i)
{
	const struct mirror_index *index = secrets_of(m, kind);

	return i < index->count ? (struct mirror_secret *)index->items[i] : NULL;
}

struct mirror_task *mirror_task_at(const struct mirror *m, size_t i)
{
	return i < m->tasks.count ? (struct mirror_task *)m->tasks.items[i] : NULL;
}

struct mirror_service *mirror_service_at(const struct mirror *m, size_t i)
{
	return i < m->services.count ? (struct mirror_service *)m->services.items[i] : NULL;
}

struct mirror_node *mirror_node_at(const struct mirror *m, size_t i)
{
	return i < m->nodes.count ? (struct mirror_node *)m->nodes.items[i] : NULL;
}

struct mirror_network *mirror_network_at(const struct mirror *m, size_t i)
{
	return i < m->networks.count ? (struct mirror_network *)m->networks.items[i] : NULL;
}

/* ---- what changed ---- */

void mirror_touch(struct mirror *m, struct mirror_object *o)
{
	if (o->dirty)
		return;
	o->dirty = true;
	TAILQ_INSERT_TAIL(&m->dirty, o, in_dirty);
}

void mirror_evaluate(struct mirror_task *task)
{
	if (task->service)
		task->service->evaluate = true;
}

bool mirror_is_dirty(const struct mirror *m)
{
	return !TAILQ_EMPTY(&m->dirty);
}

void mirror_set_blocked(struct mirror_task *task, bool blocked)
{
	if (!task->service || task->blocked == blocked)
		return;
	task->blocked = blocked;
	if (blocked)
		task->service->blocked++;
	else
		task->service->blocked--;
}

/* Brings the sums that a task counts in up to date with its state. */
static void account(struct mirror_task *task)
{
	const struct model_resources *want = &task->t->spec.resources.reservations;
	enum task_state state = task->t->status.state;
	bool here = !task->o.removed;
	bool counted = here && task->node && state >= TASK_ASSIGNED && state <= TASK_RUNNING;
	bool waiting =
		here && task->service && state < TASK_ASSIGNED && task->t->desired <= TASK_RUNNING;

	if (counted != task->counted && task->node) {
		int64_t sign = counted ? 1 : -1;

		task->node->active += sign;
		task->node->used.nano_cpus += sign * want->nano_cpus;
		task->node->used.memory_bytes += sign * want->memory_bytes;
		task->counted = counted;
	}
	if (waiting != task->waiting && task->service) {
		if (waiting)
			task->service->waiting++;
		else
			task->service->waiting--;
		task->waiting = waiting;
		mirror_set_blocked(task, false);
	}
}

/* ---- text to entries ---- */

static const struct json_table *const tables[STORE_KINDS] = {
	[STORE_CLUSTER] = &cluster_table, [STORE_NODE] = &node_table,
	[STORE_SERVICE] = &service_table, [STORE_TASK] = &task_table,
	[STORE_SECRET] = &secret_table,   [STORE_CONFIG] = &secret_table,
	[STORE_NETWORK] = &network_table,
};

static const void *record_of(const struct mirror *m, const struct mirror_object *o)
{
	switch ((int)o->kind) {
	case STORE_TASK:
		return ((const struct mirror_task *)o)->t;
	case STORE_SERVICE:
		return ((const struct mirror_service *)o)->s;
	case STORE_NODE:
		return ((const struct mirror_node *)o)->n;
	case STORE_SECRET:
	case STORE_CONFIG:
		return ((const struct mirror_secret *)o)->s;
	case STORE_NETWORK:
		return ((const struct mirror_network *)o)->n;
	default:
		return m->cluster;
	}
}

/* What every object begins with. */
struct head {
	char *id;
	struct model_version version;
	char *created_at, *updated_at;
};

static struct head *head_of(const struct mirror *m, const struct mirror_object *o)
{
	return (struct head *)record_of(m, o);
}

static void set_version(struct mirror *m, struct mirror_object *o, int64_t version)
{
	o->version = version;
	head_of(m, o)->version = (struct model_version){.index = (uint64_t)version};
}

/* Puts text in place of what the entry says, in a fresh arena. */
static int fill(struct mirror *m, struct mirror_object *o, const char *text, size_t len,
                struct err *err)
{
	struct arena fresh = ARENA_INIT(MODEL_ARENA_MAX);
	struct task *t = NULL;
	struct service *s = NULL;
	struct node *n = NULL;
	struct cluster *c = NULL;
	struct secret *x = NULL;
	struct network *w = NULL;

	if (o->kind == STORE_TASK && (t = task_decode(text, len, &fresh, err)) != NULL)
		((struct mirror_task *)o)->t = t, o->id = t->id;
	else if (o->kind == STORE_SERVICE && (s = service_decode(text, len, &fresh, err)) != NULL)
		((struct mirror_service *)o)->s = s, o->id = s->id;
	else if (o->kind == STORE_NODE && (n = node_decode(text, len, &fresh, err)) != NULL)
		((struct mirror_node *)o)->n = n, ((struct mirror_node *)o)->edition++,
				     o->id = n->id;
	else if (o->kind == STORE_CLUSTER && (c = cluster_decode(text, len, &fresh, err)) != NULL)
		m->cluster = c, o->id = c->id;
	else if (is_secret(o->kind) && (x = secret_decode(text, len, &fresh, err)) != NULL)
		((struct mirror_secret *)o)->s = x, o->id = x->id;
	else if (o->kind == STORE_NETWORK && (w = network_decode(text, len, &fresh, err)) != NULL)
		((struct mirror_network *)o)->n = w, o->id = w->id;
	if (!t && !s && !n && !c && !x && !w) {
		arena_done(&fresh);
		return -1;
	}
	arena_done(&o->arena);
	o->arena = fresh;
	o->settled = fresh.used;
	return 0;
}

static int fill_from(struct mirror *m, struct mirror_object *o, const void *record, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(MODEL_TEXT_MAX);

	if (json_encode_text(tables[o->kind], record, &text, err) < 0 || buf_check(&text, err) < 0)
		return -1;
	return fill(m, o, text.data, text.len, err);
}

static void link_task(struct mirror *m, struct mirror_task *task)
{
	task->service = mirror_find_service(m, task->t->service_id);
	task->node = mirror_find_node(m, task->t->node_id);
	TAILQ_INSERT_TAIL(task->service ? &task->service->tasks : &m->loose, task, of_service);
	if (task->node)
		TAILQ_INSERT_TAIL(&task->node->tasks, task, of_node);
	account(task);
}

static void *object_create(enum store_kind kind, size_t size, struct err *err)
{
	struct mirror_object *o = calloc(1, size);

	if (!o) {
		err_nomem(err);
		return NULL;
	}
	o->kind = kind;
	o->arena = ARENA_INIT(MODEL_ARENA_MAX);
	return o;
}

static struct mirror_object *entry_create(const struct mirror *m, enum store_kind kind,
                                          struct err *err)
{
	if (kind == STORE_TASK) {
		struct mirror_task *task = object_create(kind, sizeof(*task), err);

		if (task)
			task->running_ms = task->ended_ms = -1;
		return task ? &task->o : NULL;
	}
	if (kind == STORE_SERVICE) {
		struct mirror_service *service = object_create(kind, sizeof(*service), err);

		if (service)
			TAILQ_INIT(&service->tasks);
		return service ? &service->o : NULL;
	}
	if (kind == STORE_NODE) {
		struct mirror_node *node = object_create(kind, sizeof(*node), err);

		if (node) {
			TAILQ_INIT(&node->tasks);
			node->seen_ms = m->now_ms;
		}
		return node ? &node->o : NULL;
	}
	if (kind == STORE_NETWORK)
		return object_create(kind, sizeof(struct mirror_network), err);
	return object_create(
		kind, is_secret(kind) ? sizeof(struct mirror_secret) : sizeof(struct mirror_object),
		err);
}

static int place(struct mirror *m, struct mirror_object *o, struct err *err)
{
	if (o->kind == STORE_CLUSTER) {
		m->cluster_entry = o;
		return 0;
	}
	if (insert(index_of(m, o->kind), o, err) < 0)
		return -1;
	if (o->kind == STORE_TASK)
		link_task(m, (struct mirror_task *)o);
	return 0;
}

/* What a new leader can know about the past of a task: that it happened before now. */
static void remember_past(struct mirror *m, struct mirror_task *task)
{
	enum task_state state = task->t->status.state;

	if (state >= TASK_RUNNING)
		task->running_ms = m->now_ms;
	if (task_state_is_final(state))
		task->ended_ms = m->now_ms;
	if (task->t->desired == TASK_READY && task->t->restarts > 0)
		task->start_ms = m->now_ms + service_restart_delay_ms(&task->t->spec.restart);
}

static int load_one(void *arg, const struct store_object *object, struct err *err)
{
	struct mirror *m = arg;
	struct mirror_object *o = entry_create(m, object->kind, err);

	if (!o)
		return -1;
	if (fill(m, o, object->text, object->len, err) < 0 || place(m, o, err) < 0) {
		object_free(o);
		return err_wrap(err, "stored %s %s", store_kind_name(object->kind), object->id);
	}
	set_version(m, o, object->version);
	if (o->kind == STORE_TASK)
		remember_past(m, (struct mirror_task *)o);
	return 0;
}

int mirror_load(struct mirror *m, struct store *store, struct err *err)
{
	/* Tasks last: they are linked to the others. */
	static const enum store_kind kinds[] = {STORE_CLUSTER, STORE_NODE,    STORE_SECRET,
	                                        STORE_CONFIG,  STORE_NETWORK, STORE_SERVICE,
	                                        STORE_TASK};

	if (store_refresh(store, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (store_list(store, kinds[i], load_one, m, err) < 0) {
			mirror_done(m);
			return -1;
		}
	for (size_t i = 0; i < m->nodes.count; i++) {
		struct mirror_node *node = mirror_node_at(m, i);

		node->alive = str_eq(node->n->status.state, "ready");
	}
	return 0;
}

/* ---- adding and changing ---- */

static struct mirror_object *add(struct mirror *m, enum store_kind kind, const void *record,
                                 struct err *err)
{
	struct mirror_object *o = entry_create(m, kind, err);

	if (!o)
		return NULL;
	if (fill_from(m, o, record, err) < 0 || place(m, o, err) < 0) {
		object_free(o);
		return NULL;
	}
	mirror_touch(m, o);
	return o;
}

struct mirror_task *mirror_add_task(struct mirror *m, const struct task *t, struct err *err)
{
	struct mirror_task *task = (struct mirror_task *)add(m, STORE_TASK, t, err);

	if (task)
		mirror_evaluate(task);
	return task;
}

struct mirror_service *mirror_add_service(struct mirror *m, const struct service *s,
                                          struct err *err)
{
	struct mirror_service *service = (struct mirror_service *)add(m, STORE_SERVICE, s, err);

	if (service)
		service->evaluate = true;
	return service;
}

struct mirror_node *mirror_add_node(struct mirror *m, const struct node *n, struct err *err)
{
	return (struct mirror_node *)add(m, STORE_NODE, n, err);
}

struct mirror_secret *mirror_add_secret(struct mirror *m, enum store_kind kind,
                                        const struct secret *s, struct err *err)
{
	return (struct mirror_secret *)add(m, kind, s, err);
}

struct mirror_network *mirror_add_network(struct mirror *m, const struct network *n,
                                          struct err *err)
{
	return (struct mirror_network *)add(m, STORE_NETWORK, n, err);
}

int mirror_change(struct mirror *m, struct mirror_object *o, const void *record, struct err *err)
{
	int64_t version = o->version;

	if (fill_from(m, o, record, err) < 0)
		return -1;
	set_version(m, o, version);
	mirror_touch(m, o);
	return 0;
}

int mirror_set_cluster(struct mirror *m, const struct cluster *cluster, struct err *err)
{
	if (m->cluster_entry)
		return mirror_change(m, m->cluster_entry, cluster, err);
	return add(m, STORE_CLUSTER, cluster, err) ? 0 : -1;
}

int mirror_change_service(struct mirror *m, struct mirror_service *entry, const struct service *s,
                          struct err *err)
{
	entry->evaluate = true;
	m->woken = true;
	return mirror_change(m, &entry->o, s, err);
}

int mirror_change_node(struct mirror *m, struct mirror_node *entry, const struct node *n,
                       struct err *err)
{
	return mirror_change(m, &entry->o, n, err);
}

/* ---- removing ---- */

static void remove_object(struct mirror *m, struct mirror_index *index, struct mirror_object *o)
{
	take_out(index, o);
	o->removed = true;
	mirror_touch(m, o);
}

void mirror_remove_task(struct mirror *m, struct mirror_task *task)
{
	TAILQ_REMOVE(task->service ? &task->service->tasks : &m->loose, task, of_service);
	if (task->node)
		TAILQ_REMOVE(&task->node->tasks, task, of_node);
	remove_object(m, &m->tasks, &task->o);
	account(task);
	task->service = NULL;
}

void mirror_remove_service(struct mirror *m, struct mirror_service *service)
{
	struct mirror_task *task;

	while ((task = TAILQ_FIRST(&service->tasks)) != NULL) {
		TAILQ_REMOVE(&service->tasks, task, of_service);
		TAILQ_INSERT_TAIL(&m->loose, task, of_service);
		task->service = NULL;
		task->waiting = task->blocked = false;
	}
	m->woken = true;
	remove_object(m, &m->services, &service->o);
}

void mirror_remove_node(struct mirror *m, struct mirror_node *node)
{
	struct mirror_task *task;

	while ((task = TAILQ_FIRST(&node->tasks)) != NULL) {
		TAILQ_REMOVE(&node->tasks, task, of_node);
		task->node = NULL;
		task->counted = false;
	}
	remove_object(m, &m->nodes, &node->o);
}

void mirror_remove_secret(struct mirror *m, struct mirror_secret *secret)
{
	remove_object(m, index_of(m, secret->o.kind), &secret->o);
}

void mirror_remove_network(struct mirror *m, struct mirror_network *network)
{
	remove_object(m, &m->networks, &network->o);
}

/* ---- changes of a task ---- */

void mirror_set_desired(struct mirror *m, struct mirror_task *task, enum task_state desired)
{
	if (task->t->desired >= desired) /* it only rises */
		return;
	task_set_desired(task->t, desired);
	task->send = true;
	mirror_touch(m, &task->o);
	mirror_evaluate(task);
	account(task);
}

void mirror_set_state(struct mirror *m, struct mirror_task *task, enum task_state state)
{
	if (task->t->status.state == state)
		return;
	task_set_state(&task->t->status, state);
	if (state == TASK_RUNNING && task->running_ms < 0)
		task->running_ms = m->now_ms;
	if (task_state_is_final(state) && task->ended_ms < 0)
		task->ended_ms = m->now_ms;
	mirror_touch(m, &task->o);
	mirror_evaluate(task);
	account(task);
}

static int copy_text(struct arena *arena, const char *from, char **to, struct err *err)
{
	if (str_eq(from, *to))
		return 0;
	char *copy = from ? arena_strdup(arena, from, err) : NULL;
	if (from && !copy)
		return -1;
	*to = copy;
	return 0;
}

int mirror_set_error(struct mirror *m, struct mirror_task *task, const char *message,
                     const char *error, struct err *err)
{
	struct task_status *status = &task->t->status;

	if (str_eq(status->message, message) && str_eq(status->error, error))
		return 0;
	mirror_touch(m, &task->o);
	if (copy_text(&task->o.arena, message, &status->message, err) < 0)
		return -1;
	return copy_text(&task->o.arena, error, &status->error, err);
}

int mirror_set_status(struct mirror *m, struct mirror_task *task, const struct task_status *status,
                      struct err *err)
{
	auto_buf struct buf text = BUF_INIT(MODEL_TEXT_MAX);
	struct task_status copy = {0};

	/* Through text: the caller's memory is not ours to keep. */
	if (json_encode_text(&task_status_table, status, &text, err) < 0 ||
	    buf_check(&text, err) < 0 ||
	    json_decode_text(text.data, text.len, &task_status_table, &task->o.arena, &copy, err) <
	            0)
		return -1;
	enum task_state before = task->t->status.state;
	task->t->status = copy;
	task->t->status.state = before;
	mirror_touch(m, &task->o);
	mirror_evaluate(task);
	mirror_set_state(m, task, status->state);
	task_set_state(&task->t->status, status->state); /* its name was replaced above */
	return 0;
}

int mirror_set_networks(struct mirror *m, struct mirror_task *task,
                        const struct task_network *networks, size_t count, struct err *err)
{
	struct task next = *task->t;

	next.networks =
		(struct json_array){.items = (void *)networks, .count = count, .present = true};
	if (mirror_change(m, &task->o, &next, err) < 0)
		return -1;
	mirror_set_state(m, task, TASK_PENDING);
	return 0;
}

int mirror_assign(struct mirror *m, struct mirror_task *task, struct mirror_node *node,
                  struct err *err)
{
	char *id = arena_strdup(&task->o.arena, node->o.id, err);

	if (!id)
		return -1;
	task->t->node_id = id;
	if (!task->node) {
		task->node = node;
		TAILQ_INSERT_TAIL(&node->tasks, task, of_node);
	}
	task->send = true;
	mirror_set_state(m, task, TASK_ASSIGNED);
	return 0;
}

/* ---- committing ---- */

int mirror_stamp(struct mirror *m, const char *stamp, struct err *err)
{
	struct mirror_object *o;

	TAILQ_FOREACH(o, &m->dirty, in_dirty)
	{
		char *text = o->removed ? NULL : arena_strdup(&o->arena, stamp, err);

		if (o->removed)
			continue;
		if (!text)
			return -1;
		head_of(m, o)->updated_at = text;
	}
	return 0;
}

static int write_object(const struct mirror *m, struct store_tx *tx, const struct mirror_object *o,
                        struct err *err)
{
	auto_buf struct buf text = BUF_INIT(MODEL_TEXT_MAX);

	if (o->removed) {
		if (o->version > 0)
			store_remove(tx, o->kind, o->id, o->version);
		return 0;
	}
	if (json_encode_text(tables[o->kind], record_of(m, o), &text, err) < 0 ||
	    buf_check(&text, err) < 0)
		return err_wrap(err, "%s %s", store_kind_name(o->kind), o->id);
	store_put(tx, o->kind, o->id, o->version ? o->version : STORE_NEW, text.data, text.len);
	return 0;
}

int mirror_commit(struct mirror *m, struct store *store, struct err *err)
{
	struct mirror_object *o;
	auto_type(store_tx) tx = store_begin(store, err);

	if (!tx)
		return -1;
	TAILQ_FOREACH(o, &m->dirty, in_dirty)
	if (write_object(m, tx, o, err) < 0)
		return -1;

	int64_t revision = store_commit(tx, err);
	if (revision < 0)
		return -1;
	TAILQ_FOREACH(o, &m->dirty, in_dirty)
	if (!o->removed)
		set_version(m, o, revision);
	return 0;
}

void mirror_settle(struct mirror *m)
{
	struct mirror_object *o;

	while ((o = TAILQ_FIRST(&m->dirty)) != NULL) {
		TAILQ_REMOVE(&m->dirty, o, in_dirty);
		o->dirty = false;
		if (o->kind == STORE_TASK)
			((struct mirror_task *)o)->send = false;
		if (o->removed) {
			object_free(o);
			continue;
		}
		/* What was said before still takes room in the arena: begin again now and then. */
		if (o->arena.used > o->settled * 2 + ARENA_SLACK)
			(void)fill_from(m, o, record_of(m, o), NULL);
	}
}
