/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/service.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "cluster/control_state.h"
#include "cluster/filter.h"
#include "cluster/network.h"
#include "cluster/secret.h"

#define SPEC_TEXT_MAX (512u << 10)

/* ---- finding ---- */

static struct mirror_service *by_name(const struct control *c, const char *name)
{
	for (size_t i = 0; i < c->m.services.count; i++)
		if (str_eq(mirror_service_at(&c->m, i)->s->spec.name, name))
			return mirror_service_at(&c->m, i);
	return NULL;
}

static struct mirror_service *find(const struct control *c, const char *ref, struct err *err)
{
	struct mirror_service *found = mirror_find_service(&c->m, ref);
	size_t matches = 0;

	if (!found)
		found = by_name(c, ref);
	if (found)
		return found;
	for (size_t i = 0; i < c->m.services.count && *ref; i++)
		if (str_starts(mirror_service_at(&c->m, i)->o.id, ref)) {
			found = mirror_service_at(&c->m, i);
			matches++;
		}
	if (matches == 1)
		return found;
	if (matches == 0)
		err_set(err, ERR_NOT_FOUND, "service %s not found", ref);
	else
		err_set(err, ERR_INVALID, "service %s is ambiguous (%zu matches found)", ref,
		        matches);
	return NULL;
}

const struct service *service_find(const struct control *c, const char *ref, struct err *err)
{
	struct mirror_service *service = find(c, ref, err);

	return service ? service->s : NULL;
}

/* ---- specs ---- */

/* Clients read the number of replicas from the spec, so it must be there; and the mode's key as
 * Docker spells it. */
static int spell_out_mode(struct json *doc, const struct service_spec *spec, struct err *err)
{
	static const char *const keys[] = {
		[SERVICE_REPLICATED] = "Replicated",
		[SERVICE_GLOBAL] = "Global",
		[SERVICE_REPLICATED_JOB] = "ReplicatedJob",
		[SERVICE_GLOBAL_JOB] = "GlobalJob",
	};
	struct json *part = json_object(), *mode = json_object();
	int rc = 0;

	if (spec->mode == SERVICE_REPLICATED)
		rc = json_set(part, "Replicas", json_int(spec->replicas));
	if (spec->mode == SERVICE_REPLICATED_JOB)
		rc = json_set(part, "MaxConcurrent", json_int(spec->max_concurrent)) |
		     json_set(part, "TotalCompletions", json_int(spec->replicas));
	if (json_set(mode, keys[spec->mode], part) < 0 || rc < 0) {
		json_free(mode);
		mode = NULL;
	}
	return json_set(doc, "Mode", mode) < 0 ? err_nomem(err) : 0;
}

static void drop_document(void *doc)
{
	json_free(doc);
}

static int check_files(const struct control *c, enum store_kind kind,
                       const struct json_array *files, struct err *err)
{
	const struct service_file *items = files->items;

	for (size_t i = 0; i < files->count; i++) {
		const struct secret *s = secret_find(c, kind, items[i].id, err);

		if (!s)
			return -1;
		if (!str_eq(s->spec.name, items[i].name))
			return err_set(err, ERR_INVALID, "%s %s is called %s, not %s",
			               store_kind_name(kind), s->id, s->spec.name, items[i].name);
	}
	return 0;
}

static int check_references(const struct control *c, const struct service_spec *spec,
                            struct err *err)
{
	if (check_files(c, STORE_SECRET, &spec->task.container.secrets, err) < 0)
		return -1;
	return check_files(c, STORE_CONFIG, &spec->task.container.configs, err);
}

/* Networks of the cluster by their IDs, whatever the client called them: the same spec stays the same. */
static int identify_networks(const struct control *c, const struct json *networks, struct err *err)
{
	for (size_t i = 0; i < json_count(networks); i++) {
		const char *target = json_get_string(json_at(networks, i), "Target");
		const struct network *n = target ? network_find(c, target, NULL) : NULL;
		if (n && json_set(json_at(networks, i), "Target", json_string(n->id)) < 0)
			return err_nomem(err);
	}
	return 0;
}

/* Text to a checked spec; what it points to lives in the arena. */
static int read_spec(const struct control *c, const char *text, size_t len, struct arena *arena,
                     struct service_spec *spec, struct err *err)
{
	if (len > SPEC_TEXT_MAX)
		return err_set(err, ERR_LIMIT, "service spec of %zu bytes: at most %u are allowed",
		               len, SPEC_TEXT_MAX);
	struct json *doc = json_parse(text, len, err);
	if (!doc || arena_later(arena, drop_document, doc, err) < 0)
		return -1;
	if (identify_networks(c, json_get(json_get(doc, "TaskTemplate"), "Networks"), err) < 0 ||
	    identify_networks(c, json_get(doc, "Networks"), err) < 0 ||
	    service_spec_decode(doc, arena, spec, err) < 0 || service_spec_check(spec, err) < 0 ||
	    spell_out_mode(doc, spec, err) < 0)
		return -1;
	return check_references(c, spec, err);
}

/* Must the tasks be replaced to match? A job runs again when it is forced to, and only then. */
static bool changes_tasks(const struct service_spec *old, const struct service_spec *new)
{
	if (service_mode_is_job(new->mode))
		return old->task.force_update != new->task.force_update;
	return !json_alike(old->task_raw, new->task_raw) ||
	       !json_alike(json_get(json_get(old->raw, "EndpointSpec"), "Ports"),
	                   json_get(json_get(new->raw, "EndpointSpec"), "Ports"));
}

static void forget(struct control *c)
{
	mirror_done(&c->m);
	c->loaded = false;
}

/* ---- create ---- */

static int create(struct control *c, const struct service_spec *spec, struct arena *arena, char *id,
                  struct err *err)
{
	char stamp[CLOCK_TEXT_MAX];
	struct service s = {.id = id, .spec_raw = spec->raw, .spec_version = 1};

	if (by_name(c, spec->name))
		return err_set(err, ERR_CONFLICT,
		               "name conflicts with an existing object: service %s already exists",
		               spec->name);
	if (allocator_assign(c, NULL, spec, arena, &s.endpoint, err) < 0)
		return -1;
	control_make_id(c, id);
	s.created_at = s.updated_at = control_stamp(c, stamp);
	if (service_mode_is_job(spec->mode))
		s.last_execution = s.created_at;
	if (!mirror_add_service(&c->m, &s, err)) {
		forget(c);
		return -1;
	}
	return 0;
}

int service_create(struct control *c, struct control_time now, const char *text, size_t len,
                   char *id, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(MODEL_ARENA_MAX);
	struct service_spec spec;
	char made[ID_SWARM_MAX];

	if (control_begin(c, now, err) < 0 || read_spec(c, text, len, &arena, &spec, err) < 0 ||
	    create(c, &spec, &arena, made, err) < 0 || control_finish(c, err) < 0)
		return -1;
	memcpy(id, made, sizeof(made));
	return 0;
}

/* ---- update ---- */

static int check_change(const struct service *s, const struct service_spec *spec, struct err *err)
{
	if (!str_eq(s->spec.name, spec->name))
		return err_set(err, ERR_UNSUPPORTED, "renaming services is not supported");
	if (s->spec.mode != spec->mode)
		return err_set(err, ERR_UNSUPPORTED, "service mode change is not allowed");
	return 0;
}

static int apply_spec(struct control *c, struct mirror_service *service,
                      const struct service_spec *spec, bool rollback, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(MODEL_ARENA_MAX);
	struct service next = *service->s;
	bool replaces = changes_tasks(&service->s->spec, spec);
	bool updates = replaces && !service_mode_is_job(spec->mode);
	char stamp[CLOCK_TEXT_MAX];

	if (check_change(service->s, spec, err) < 0 ||
	    allocator_assign(c, service->o.id, spec, &arena, &next.endpoint, err) < 0)
		return -1;
	next.spec_raw = spec->raw;
	next.previous_raw = service->s->spec_raw;
	next.update_status =
		NULL; /* one that was paused goes on, if tasks are left to be replaced */
	if (rollback)
		update_swap_versions(&next);
	else
		update_set_version(&next, replaces);
	if (replaces && service_mode_is_job(spec->mode))
		next.last_execution = control_stamp(c, stamp);
	c->schedule = true;
	if (mirror_change_service(&c->m, service, &next, err) < 0 ||
	    (updates && update_begin(c, service, rollback, err) < 0)) {
		forget(c);
		return -1;
	}
	return 0;
}

int service_update(struct control *c, struct control_time now, const struct service_change *change,
                   struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(MODEL_ARENA_MAX);
	struct service_spec spec;

	if (control_begin(c, now, err) < 0)
		return -1;
	struct mirror_service *service = find(c, change->ref, err);
	if (!service)
		return -1;
	if (service->s->version.index != change->version)
		return err_set(err, ERR_CONFLICT, "update out of sequence");
	if (change->rollback && !service->s->previous_raw)
		return err_set(err, ERR_INVALID, "service %s does not have a previous spec",
		               change->ref);
	if (change->rollback) {
		struct json *previous = json_ref(service->s->previous_raw);

		if (arena_later(&arena, drop_document, previous, err) < 0 ||
		    service_spec_decode(previous, &arena, &spec, err) < 0 ||
		    check_references(c, &spec, err) < 0)
			return -1;
	} else if (read_spec(c, change->text, change->len, &arena, &spec, err) < 0) {
		return -1;
	}
	if (apply_spec(c, service, &spec, change->rollback, err) < 0)
		return -1;
	return control_finish(c, err);
}

int service_remove(struct control *c, struct control_time now, const char *ref, struct err *err)
{
	if (control_begin(c, now, err) < 0)
		return -1;
	struct mirror_service *service = find(c, ref, err);
	if (!service)
		return -1;
	mirror_remove_service(&c->m, service);
	c->schedule = true;
	return control_finish(c, err);
}

/* ---- showing ---- */

static int64_t count_running(const struct mirror_service *service)
{
	const struct mirror_task *task;
	int64_t running = 0;

	TAILQ_FOREACH(task, &service->tasks, of_service)
	running += task->t->desired == TASK_RUNNING && task->t->status.state == TASK_RUNNING;
	return running;
}

/* Tasks of this run of a job that are through. */
static int64_t count_completed(const struct mirror_service *service)
{
	const struct mirror_task *task;
	int64_t completed = 0;

	TAILQ_FOREACH(task, &service->tasks, of_service)
	completed += task->t->job_iteration && task->t->status.state == TASK_COMPLETE &&
	             task->t->spec_version == service->s->spec_version;
	return completed;
}

static int64_t count_desired(const struct mirror_service *service)
{
	const struct mirror_task *task;
	int64_t desired = 0;

	if (service->s->spec.mode == SERVICE_REPLICATED)
		return service->s->spec.replicas;
	TAILQ_FOREACH(task, &service->tasks, of_service)
	desired += task->t->desired <= TASK_RUNNING;
	return desired;
}

static int set_job_status(const struct service *s, struct json *doc)
{
	struct json *status = json_object(), *iteration = json_object();
	int rc = json_set(iteration, "Index", json_int(s->spec_version - 1));

	rc |= json_set(status, "JobIteration", iteration);
	rc |= json_set(status, "LastExecution", json_string(s->last_execution));
	return json_set(doc, "JobStatus", status) | rc;
}

static struct json *show(const struct mirror_service *service, bool with_status, struct err *err)
{
	auto_type(json) doc = json_encode(&service_table, service->s, err);

	if (doc && service_mode_is_job(service->s->spec.mode) &&
	    set_job_status(service->s, doc) < 0) {
		err_nomem(err);
		return NULL;
	}
	if (!doc || !with_status)
		return move_ptr(doc);
	struct json *status = json_object();
	if (json_set(status, "RunningTasks", json_int(count_running(service))) < 0 ||
	    json_set(status, "DesiredTasks", json_int(count_desired(service))) < 0 ||
	    json_set(status, "CompletedTasks", json_int(count_completed(service))) < 0) {
		json_free(status);
		status = NULL;
	}
	if (json_set(doc, "ServiceStatus", status) < 0) {
		err_nomem(err);
		return NULL;
	}
	return move_ptr(doc);
}

int service_inspect(struct control *c, const char *ref, struct buf *out, struct err *err)
{
	const struct mirror_service *service = find(c, ref, err);
	auto_type(json) doc = service ? show(service, false, err) : NULL;

	return doc ? json_write(doc, out, err) : -1;
}

static bool matches(const struct json *filters, const struct service *s)
{
	return filter_prefix(filters, "id", s->id) &&
	       filter_prefix(filters, "name", s->spec.name) &&
	       filter_exact(filters, "mode", service_mode_name(s->spec.mode)) &&
	       filter_labels(filters, "label", &s->spec.labels);
}

int service_list(struct control *c, const struct json *filters, bool status, struct buf *out,
                 struct err *err)
{
	static const char *const allowed[] = {"id", "name", "label", "mode", "runtime", NULL};
	auto_type(json) list = json_array();

	if (filter_allow(filters, allowed, err) < 0)
		return -1;
	for (size_t i = 0; i < c->m.services.count; i++) {
		const struct mirror_service *service = mirror_service_at(&c->m, i);

		if (matches(filters, service->s) &&
		    json_append(list, show(service, status, err)) < 0)
			return err_nomem(err);
	}
	return json_write(list, out, err);
}
