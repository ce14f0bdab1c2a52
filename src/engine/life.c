/* SPDX-License-Identifier: Apache-2.0 */
/* life - what is done to a container that lives: stop, kill, pause, rename, update. */

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "engine/check.h"
#include "engine/private.h"
#include "engine/spec.h"

#define STOP_TIMEOUT_S 10

static int stop_signal(const struct config *config, const char *wanted, struct err *err)
{
	if (!str_empty(wanted))
		return check_signal(wanted, err);
	if (!str_empty(config->create.config.stop_signal))
		return check_signal(config->create.config.stop_signal, err);
	return SIGTERM;
}

static int send_signal(struct container *c, int signal, struct err *err)
{
	auto_type(supervisor) s = container_supervisor(c, err);
	char text[12];

	if (!s)
		return -1;
	if (supervisor_kill(s, signal, false, err) < 0)
		return -1;
	snprintf(text, sizeof(text), "%d", signal);
	container_event(c, "kill", "signal", text);
	return 0;
}

/* Remembers that this end was wanted: no policy starts it again. Returns whether it is up;
 * *run says which run it is. */
static int mark_stopped(struct container *c, uint64_t *run, struct err *err)
{
	pthread_mutex_lock(&c->op);
	pthread_mutex_lock(&c->lock);
	int up = container_is_up(c);
	bool changed = !c->manually_stopped && (up || c->status == STATUS_RESTARTING);
	if (changed)
		c->manually_stopped = true;
	if (c->status == STATUS_RESTARTING) {
		c->status = STATUS_EXITED;
		pthread_cond_broadcast(&c->changed);
	}
	*run = c->run;
	pthread_mutex_unlock(&c->lock);
	if (changed && state_save(c, err) < 0)
		up = -1;
	pthread_mutex_unlock(&c->op);
	if (changed && up == 0) /* was between two runs */
		wait_tell(c, CONTAINER_NEXT_EXIT, WAIT_ANY_RUN);
	return up;
}

static int64_t stop_timeout_ms(const struct config *config, int64_t timeout_s)
{
	if (timeout_s < 0)
		timeout_s = json_num(config->create.config.stop_timeout, STOP_TIMEOUT_S);
	if (timeout_s < 0 || timeout_s > INT64_MAX / 2000)
		return -1; /* no limit */
	return timeout_s * 1000;
}

static int end_run(struct container *c, uint64_t run, int signal, int64_t timeout_ms,
                   struct err *err)
{
	struct err why = ERR_INIT;

	pthread_mutex_lock(&c->lock);
	bool paused = c->status == STATUS_PAUSED;
	pthread_mutex_unlock(&c->lock);
	if (paused)
		(void)container_pause(c->engine, c->id, false, NULL);
	if (send_signal(c, signal, &why) < 0 && !err_is(&why, ERR_NOT_FOUND) &&
	    !err_is(&why, ERR_CONFLICT)) {
		if (err)
			*err = why;
		return -1;
	}
	if (settle_wait(c, run, timeout_ms, &why) == 0)
		return 0;
	if (!err_is(&why, ERR_TIMEOUT)) {
		if (err)
			*err = why;
		return -1;
	}
	log_info(c->engine->log, "container killed after its stop time-out", "id=%.12s", c->id);
	(void)send_signal(c, SIGKILL, NULL);
	return settle_wait(c, run, 20000, err);
}

static int stop(struct container *c, int64_t timeout_s, const char *signal_name, struct err *err)
{
	auto_type(config) config = container_config(c);
	int signal = stop_signal(config, signal_name, err);
	uint64_t run;

	if (signal < 0)
		return -1;
	int up = mark_stopped(c, &run, err);
	if (up <= 0)
		return up < 0 ? -1 : 1;
	if (end_run(c, run, signal, stop_timeout_ms(config, timeout_s), err) < 0)
		return -1;
	container_event(c, "stop", NULL, NULL);
	return 0;
}

int container_stop(struct engine *engine, const char *ref, int64_t timeout_s, const char *signal,
                   struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);

	return c ? stop(c, timeout_s, signal, err) : -1;
}

int container_restart(struct engine *engine, const char *ref, int64_t timeout_s, const char *signal,
                      struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);

	if (!c || stop(c, timeout_s, signal, err) < 0)
		return -1;
	if (container_start(engine, c->id, err) < 0)
		return -1;
	container_event(c, "restart", NULL, NULL);
	return 0;
}

static bool ends_it(int signal, const struct config *config)
{
	return signal == SIGKILL || signal == SIGTERM || signal == SIGINT || signal == SIGQUIT ||
	       signal == stop_signal(config, NULL, NULL);
}

int container_kill(struct engine *engine, const char *ref, const char *signal_name, struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);
	auto_type(config) config = c ? container_config(c) : NULL;
	int signal = !c ? -1 : str_empty(signal_name) ? SIGKILL : check_signal(signal_name, err);

	if (signal < 0)
		return -1;
	pthread_mutex_lock(&c->lock);
	bool up = container_is_up(c), paused = c->status == STATUS_PAUSED;
	bool mark = up && ends_it(signal, config) && !c->manually_stopped;
	if (mark)
		c->manually_stopped = true;
	pthread_mutex_unlock(&c->lock);
	if (!up)
		return err_set(err, ERR_CONFLICT,
		               "cannot kill container: %s: container %s is not "
		               "running",
		               ref, c->id);
	/* The exit saves it too; it is written here only if nobody is at work on the container. */
	if (mark && pthread_mutex_trylock(&c->op) == 0) {
		(void)state_save(c, NULL);
		pthread_mutex_unlock(&c->op);
	}
	if (send_signal(c, signal, err) < 0) {
		if (err_is(err, ERR_NOT_FOUND))
			err_set(err, ERR_CONFLICT,
			        "cannot kill container: %s: container %s is not "
			        "running",
			        ref, c->id);
		return -1;
	}
	if (paused && signal == SIGKILL)
		(void)container_pause(engine, c->id, false, NULL);
	return 0;
}

int container_pause(struct engine *engine, const char *ref, bool pause, struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);
	int rc = 0;

	if (!c)
		return -1;
	pthread_mutex_lock(&c->op);
	pthread_mutex_lock(&c->lock);
	enum container_status status = c->status;
	pthread_mutex_unlock(&c->lock);
	if (pause && status == STATUS_PAUSED)
		rc = err_set(err, ERR_CONFLICT, "Container %s is already paused", c->id);
	else if (pause && status != STATUS_RUNNING)
		rc = err_set(err, ERR_CONFLICT, "Container %s is not running", c->id);
	else if (!pause && status != STATUS_PAUSED)
		rc = err_set(err, ERR_CONFLICT, "Container %s is not paused", c->id);
	auto_type(supervisor) s = rc == 0 ? container_supervisor(c, err) : NULL;
	if (rc == 0)
		rc = s ? supervisor_pause(s, pause, err) : -1;
	if (rc == 0) {
		pthread_mutex_lock(&c->lock);
		c->status = pause ? STATUS_PAUSED : STATUS_RUNNING;
		pthread_cond_broadcast(&c->changed);
		pthread_mutex_unlock(&c->lock);
		rc = state_save(c, err);
		container_event(c, pause ? "pause" : "unpause", NULL, NULL);
	}
	pthread_mutex_unlock(&c->op);
	return rc;
}

int container_resize(struct engine *engine, const char *ref, uint16_t rows, uint16_t cols,
                     struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);
	auto_type(supervisor) s = c ? container_supervisor(c, err) : NULL;

	if (!s || supervisor_resize(s, rows, cols, err) < 0)
		return -1;
	container_event(c, "resize", NULL, NULL);
	return 0;
}

/* ---- rename ---- */

static int rename_locked(struct container *c, const char *name, struct err *err)
{
	char *copy = strdup(name);

	if (!copy)
		return err_nomem(err);
	if (container_name_take(c->engine, name, c, err) < 0) {
		free(copy);
		return -1;
	}
	pthread_mutex_lock(&c->lock);
	char *old = c->name;
	c->name = copy;
	pthread_mutex_unlock(&c->lock);
	if (state_save(c, err) < 0) {
		pthread_mutex_lock(&c->lock);
		c->name = old;
		pthread_mutex_unlock(&c->lock);
		container_name_drop(c->engine, copy);
		free(copy);
		return -1;
	}
	container_name_drop(c->engine, old);
	container_event(c, "rename", "oldName", old);
	free(old);
	return 0;
}

int container_rename(struct engine *engine, const char *ref, const char *name, struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);

	if (!c)
		return -1;
	if (name && *name == '/')
		name++;
	if (str_empty(name))
		return err_set(err, ERR_INVALID, "Neither old nor new names may be empty");
	if (id_check_name(name, "container name", err) < 0)
		return -1;
	pthread_mutex_lock(&c->op);
	int rc = rename_locked(c, name, err);
	pthread_mutex_unlock(&c->op);
	return rc;
}

/* ---- update ---- */

static struct config *updated(struct container *c, struct json *doc, struct err *err)
{
	auto_type(config) old = container_config(c);
	auto_buf struct buf request = BUF_INIT(8u << 20), mounts = BUF_INIT(8u << 20);
	auto_type(config) config = NULL;
	struct api_host_config given = {0};

	if (api_container_create_write(&old->create, &request, err) < 0 ||
	    config_write_mounts(old, &mounts, err) < 0)
		return NULL;
	config = config_parse(buf_str(&request), buf_str(&mounts), err);
	if (!config || json_decode(doc, &api_host_config_table, &config->arena, &given, err) < 0)
		return NULL;
	struct api_host_config *h = &config->create.host;
	int64_t *const into[] = {&h->memory,     &h->memory_swap, &h->memory_reservation,
	                         &h->cpu_shares, &h->cpu_period,  &h->cpu_quota,
	                         &h->nano_cpus};
	const int64_t from[] = {given.memory,     given.memory_swap, given.memory_reservation,
	                        given.cpu_shares, given.cpu_period,  given.cpu_quota,
	                        given.nano_cpus};
	for (size_t i = 0; i < ARRAY_LEN(into); i++)
		if (from[i])
			*into[i] = from[i];
	if (!str_empty(given.cpuset_cpus))
		h->cpuset_cpus = given.cpuset_cpus;
	if (!str_empty(given.cpuset_mems))
		h->cpuset_mems = given.cpuset_mems;
	if (given.pids_limit && json_is_int(given.pids_limit)) {
		struct json *limit = json_ref(given.pids_limit);
		if (arena_later(&config->arena, (void (*)(void *))json_free, limit, err) < 0)
			return NULL;
		h->pids_limit = limit;
	}
	if (!str_empty(given.restart_policy.name)) {
		if (h->auto_remove && !str_eq(given.restart_policy.name, "no"))
			return err_set(err, ERR_INVALID,
			               "Restart policy cannot be updated because "
			               "AutoRemove is enabled for the container"),
			       NULL;
		h->restart_policy = given.restart_policy;
	}
	if (check_create(&config->create, err) < 0)
		return NULL;
	return move_ptr(config);
}

static int apply_limits(struct container *c, const struct config *config, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(1 << 16);
	auto_type(json) resources = spec_resources(&config->create.host, c->engine->memory_v2, err);
	auto_type(supervisor) s = NULL;

	pthread_mutex_lock(&c->lock);
	bool up = container_is_up(c);
	pthread_mutex_unlock(&c->lock);
	if (!resources)
		return -1;
	if (!up || json_count(resources) == 0)
		return 0;
	s = container_supervisor(c, err);
	if (!s || json_write(resources, &text, err) < 0 || buf_check(&text, err) < 0)
		return -1;
	return supervisor_update(s, buf_str(&text), err);
}

int container_update(struct engine *engine, const char *ref, struct json *doc, struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);
	int rc = -1;

	if (!c)
		return -1;
	pthread_mutex_lock(&c->op);
	auto_type(config) config = updated(c, doc, err);
	if (config && apply_limits(c, config, err) == 0 && state_save_config(c, config, err) == 0) {
		pthread_mutex_lock(&c->lock);
		struct config *old = c->config;
		c->config = config_ref(config);
		pthread_mutex_unlock(&c->lock);
		config_free(old);
		rc = 0;
	}
	pthread_mutex_unlock(&c->op);
	if (rc == 0)
		container_event(c, "update", NULL, NULL);
	return rc;
}
