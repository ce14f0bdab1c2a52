/* SPDX-License-Identifier: Apache-2.0 */
/* remove - a container goes: files, lease, row, name; in an order that can be taken up again. */

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/map.h"
#include "engine/filter.h"
#include "engine/private.h"
#include "engine/volumes.h"
#include "image/image.h"

static void leave_tables(struct container *c)
{
	struct engine *engine = c->engine;

	pthread_mutex_lock(&engine->lock);
	struct container *mine = map_remove(engine->by_id, c->id);
	if (map_find(engine->by_name, c->name) == c)
		map_remove(engine->by_name, c->name);
	pthread_mutex_unlock(&engine->lock);
	pthread_mutex_lock(&c->lock);
	c->gone = true;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	if (mine)
		container_free(mine);
}

/* ---- files ---- */

struct leftover {
	struct engine *engine;
	char *id; /* owned */
};

static void sweep_job(void *arg)
{
	struct leftover *left = arg;
	struct err err = ERR_INIT;

	if (fs_remove_tree(left->engine->containers_fd, left->id, &err) < 0)
		log_warn(left->engine->log, "files of a removed container stay",
		         "id=%.12s reason=%s", left->id, err.msg);
	free(left->id);
	free(left);
}

/* Nobody needs to wait for them: a directory without a row is swept at the next start, too (reconcile.c). */
static int remove_files(struct container *c, bool later, struct err *err)
{
	auto_free struct leftover *left = later ? calloc(1, sizeof(*left)) : NULL;
	char *id = left ? strdup(c->id) : NULL;

	if (!id)
		return fs_remove_tree(c->engine->containers_fd, c->id, err);
	*left = (struct leftover){.engine = c->engine, .id = id};
	engine_later(c->engine, sweep_job, move_ptr(left));
	return 0;
}

static int take_apart(struct container *c, bool volumes, bool files_later, struct err *err)
{
	auto_type(config) config = container_config(c);
	auto_buf struct buf holder = BUF_INIT(128);
	struct engine *engine = c->engine;

	buf_addf(&holder, "container:%s", c->id);
	(void)supervise_end(engine, c->id, NULL);
	endpoints_down(c);
	if (remove_files(c, files_later, err) < 0)
		return err_wrap(err, "unable to remove filesystem for %s", c->id);
	if (FAILPOINT("remove.files", err) < 0 ||
	    image_release(engine->images, buf_str(&holder), err) < 0 || state_delete(c, err) < 0)
		return -1;
	if (volumes)
		volumes_drop(engine, config);
	return 0;
}

static int remove_as(struct container *c, bool volumes, bool files_later, struct err *err)
{
	struct err why = ERR_INIT;

	pthread_mutex_lock(&c->lock);
	bool marked = c->status == STATUS_REMOVING;
	c->status = STATUS_REMOVING;
	pthread_mutex_unlock(&c->lock);
	health_stop(c);
	if ((!marked && state_save(c, &why) < 0) || take_apart(c, volumes, files_later, &why) < 0) {
		log_warn(c->engine->log, "container not removed", "id=%.12s reason=%s", c->id,
		         why.msg);
		pthread_mutex_lock(&c->lock);
		c->status = STATUS_DEAD;
		pthread_mutex_unlock(&c->lock);
		if (err)
			*err = why;
		return -1;
	}
	attach_tell(c, NULL);
	leave_tables(c);
	container_event(c, "destroy", NULL, NULL);
	wait_tell(c, CONTAINER_REMOVED, WAIT_ANY_RUN);
	return 0;
}

int remove_locked(struct container *c, bool volumes, struct err *err)
{
	return remove_as(c, volumes, false, err);
}

int remove_ended(struct container *c, struct err *err)
{
	return remove_as(c, true, true, err);
}

/* Kills what runs and waits for its exit, which is settled here. */
static int end_locked(struct container *c, struct err *err)
{
	auto_type(supervisor) s = supervisor_connect(c->engine->supervisors_fd, c->id, NULL);

	pthread_mutex_lock(&c->lock);
	c->manually_stopped = true;
	bool paused = c->status == STATUS_PAUSED;
	pthread_mutex_unlock(&c->lock);
	if (s) {
		(void)supervisor_kill(s, 9, true, NULL);
		if (paused)
			(void)supervisor_pause(s, false, NULL);
	}
	int64_t end = clock_mono_ms() + 10000;
	pthread_mutex_lock(&c->lock);
	while (container_is_up(c) && !c->exit_seen && clock_mono_ms() < end) {
		int64_t until = clock_mono_ms() + 200;
		struct timespec ts = {until / 1000, until % 1000 * 1000000};
		pthread_cond_timedwait(&c->changed, &c->lock, &ts);
	}
	bool seen = c->exit_seen || !container_is_up(c);
	pthread_mutex_unlock(&c->lock);
	if (!seen)
		return err_set(err, ERR_TIMEOUT, "container %s did not die within 10 s of SIGKILL",
		               c->id);
	return settle_locked(c, err);
}

int container_remove(struct engine *engine, const char *ref, bool force, bool volumes,
                     struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);
	int rc = 0;

	if (!c)
		return -1;
	if (force) /* before the queue for op: who holds it may wait for this very end */
		(void)container_kill(engine, c->id, "KILL", NULL);
	pthread_mutex_lock(&c->op);
	pthread_mutex_lock(&c->lock);
	bool up = container_is_up(c);
	const char *status = status_text(c->status);
	pthread_mutex_unlock(&c->lock);
	if (up && !force)
		rc = err_set(err, ERR_CONFLICT,
		             "cannot remove container \"/%s\": container is %s: stop the container "
		             "before removing or force remove",
		             c->name, status);
	if (rc == 0 && up)
		rc = end_locked(c, err);
	pthread_mutex_lock(&c->lock);
	bool gone = c->gone;
	pthread_mutex_unlock(&c->lock);
	if (rc == 0 && !gone)
		rc = remove_locked(c, volumes, err);
	pthread_mutex_unlock(&c->op);
	return rc;
}

static int64_t size_of(struct container *c)
{
	uint64_t bytes = 0, entries;
	auto_close int dir = container_dir(c, NULL);

	if (dir < 0 || fs_disk_usage(dir, "upper", &bytes, &entries, NULL) < 0)
		return 0;
	return (int64_t)bytes;
}

static bool prunable(struct container *c, const struct json *filters, int64_t until_ns)
{
	auto_type(config) config = container_config(c);

	pthread_mutex_lock(&c->lock);
	bool stopped = c->status == STATUS_CREATED || c->status == STATUS_EXITED ||
	               c->status == STATUS_DEAD;
	pthread_mutex_unlock(&c->lock);
	return stopped && (!until_ns || c->created_ns < until_ns) &&
	       filter_matches_labels(filters, &config->create.config.labels);
}

static int parse_until(const struct json *filters, int64_t *until_ns, struct err *err)
{
	const char *text = filter_value(filters, "until", 0);
	int64_t ago;

	*until_ns = 0;
	if (!text)
		return 0;
	if (clock_parse_duration(text, &ago, NULL) == 0) {
		*until_ns = clock_wall_ns() - ago;
		return 0;
	}
	return clock_parse(text, until_ns, err);
}

int64_t container_prune(struct engine *engine, const struct json *filters, struct arena *arena,
                        struct json_strings *removed, struct err *err)
{
	static const char *const allowed[] = {"label", "label!", "until", NULL};
	int64_t until, bytes = 0;
	size_t count;

	if (filter_check(filters, allowed, err) < 0 || parse_until(filters, &until, err) < 0)
		return -1;
	struct container **all = container_all(engine, &count, err);
	if (!all)
		return -1;
	char **ids = arena_array(arena, count + 1, sizeof(*ids), err);
	*removed = (struct json_strings){ids, 0, true};
	for (size_t i = 0; i < count; i++) {
		char *id = ids && prunable(all[i], filters, until)
		                   ? arena_strdup(arena, all[i]->id, NULL)
		                   : NULL;
		int64_t size = id ? size_of(all[i]) : 0;
		if (id && container_remove(engine, id, false, false, NULL) == 0) {
			bytes += size;
			ids[removed->count++] = id;
		}
		container_free(all[i]);
	}
	free(all);
	return ids ? bytes : -1;
}
