/* SPDX-License-Identifier: Apache-2.0 */
/* settle - an exit becomes state: code written, network gone, restart planned or not. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"
#include "engine/private.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS   60000
#define BACKOFF_RESET_MS 10000 /* a run that lasted so long starts over */

int64_t restart_backoff(int64_t before_ms, int64_t uptime_ms)
{
	if (before_ms == 0 || uptime_ms >= BACKOFF_RESET_MS)
		return BACKOFF_FIRST_MS;
	return before_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : before_ms * 2;
}

bool restart_wanted(const struct api_restart_policy *policy, int exit_code, bool manually_stopped,
                    int64_t restart_count)
{
	if (manually_stopped)
		return false;
	if (str_eq(policy->name, "always") || str_eq(policy->name, "unless-stopped"))
		return true;
	if (!str_eq(policy->name, "on-failure") || exit_code == 0)
		return false;
	return policy->maximum_retry_count == 0 || restart_count < policy->maximum_retry_count;
}

/* ---- watching ---- */

struct watch {
	struct container *c;
	struct supervisor *s;
	struct loop_source *source;
	uint64_t run;
};

static void watch_free(struct watch *watch)
{
	loop_source_free(watch->source);
	supervisor_close(watch->s);
	container_free(watch->c);
	free(watch);
}

static void settle_job(void *arg)
{
	struct container *c = arg;

	pthread_mutex_lock(&c->op);
	(void)settle_locked(c, NULL);
	pthread_mutex_unlock(&c->op);
	container_free(c);
}

/* The supervisor itself was killed: its record, if it got to write one, else nobody knows. */
static void read_record(struct container *c, struct supervised *out)
{
	if (supervisor_read_exit(c->engine->supervisors_fd, c->id, out, NULL) == 0)
		return;
	*out = (struct supervised){
		.state = SUPERVISED_STOPPED, .exit_code = 255, .finished_ns = clock_wall_ns()};
}

static void on_event(void *arg, int fd, uint32_t revents)
{
	struct watch *watch = arg;
	struct container *c = watch->c;
	struct supervised state = {0};
	int rc = supervisor_wait(watch->s, &state, NULL);

	(void)fd, (void)revents;
	if (rc == 0)
		return;
	if (rc < 0)
		read_record(c, &state);
	pthread_mutex_lock(&c->lock);
	bool ours = c->run == watch->run && container_is_up(c) && !c->exit_seen;
	if (ours) {
		c->exit = state;
		c->exit_seen = true;
		pthread_cond_broadcast(&c->changed);
	}
	pthread_mutex_unlock(&c->lock);
	if (ours)
		engine_later(c->engine, settle_job, container_ref(c));
	watch_free(watch);
}

static void watch_begin(void *arg)
{
	struct watch *watch = arg;
	struct err err = ERR_INIT;

	watch->source = loop_add_fd(watch->c->engine->loop, supervisor_fd(watch->s), EPOLLIN,
	                            on_event, watch, &err);
	if (!watch->source) {
		log_error(watch->c->engine->log, "container is not watched", "id=%.12s reason=%s",
		          watch->c->id, err.msg);
		watch_free(watch);
	}
}

int watch_container(struct container *c, struct supervisor *s, struct err *err)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (!watch) {
		supervisor_close(s);
		return err_nomem(err);
	}
	*watch = (struct watch){.c = container_ref(c), .s = s};
	pthread_mutex_lock(&c->lock);
	watch->run = c->run;
	pthread_mutex_unlock(&c->lock);
	if (loop_post(c->engine->loop, watch_begin, watch, err) < 0) {
		watch_free(watch);
		return -1;
	}
	return 0;
}

/* ---- restarting ---- */

struct restart {
	struct container *c;
	int64_t delay_ms;
	uint64_t run;
	struct loop_source *timer;
};

static void restart_job(void *arg)
{
	struct restart *restart = arg;
	struct container *c = restart->c;
	struct err err = ERR_INIT;

	pthread_mutex_lock(&c->op);
	pthread_mutex_lock(&c->lock);
	bool still = c->status == STATUS_RESTARTING && c->run == restart->run &&
	             !atomic_load(&c->engine->stopping);
	if (still)
		c->restart_count++;
	pthread_mutex_unlock(&c->lock);
	if (still && start_locked(c, &err) < 0) {
		log_warn(c->engine->log, "restart failed", "id=%.12s reason=%s", c->id, err.msg);
		settle_after(c);
	}
	pthread_mutex_unlock(&c->op);
	container_free(c);
	free(restart);
}

static void on_timer(void *arg)
{
	struct restart *restart = arg;

	loop_source_free(restart->timer);
	engine_later(restart->c->engine, restart_job, restart);
}

static void timer_begin(void *arg)
{
	struct restart *restart = arg;

	restart->timer = loop_add_timer(restart->c->engine->loop, restart->delay_ms, on_timer,
	                                restart, NULL);
	if (!restart->timer)
		engine_later(restart->c->engine, restart_job, restart);
}

void restart_later(struct container *c, int64_t delay_ms)
{
	struct restart *restart = calloc(1, sizeof(*restart));

	if (!restart)
		return;
	*restart = (struct restart){.c = container_ref(c), .delay_ms = delay_ms};
	pthread_mutex_lock(&c->lock);
	restart->run = c->run;
	pthread_mutex_unlock(&c->lock);
	if (loop_post(c->engine->loop, timer_begin, restart, NULL) < 0) {
		container_free(restart->c);
		free(restart);
	}
}

/* ---- settling ---- */

void settle_after(struct container *c)
{
	auto_type(config) config = container_config(c);
	const struct api_host_config *h = &config->create.host;

	pthread_mutex_lock(&c->lock);
	bool again = !atomic_load(&c->engine->stopping) && c->status == STATUS_EXITED &&
	             restart_wanted(&h->restart_policy, c->exit_code, c->manually_stopped,
	                            c->restart_count);
	int64_t uptime = (c->finished_ns - c->started_ns) / 1000000;
	if (again) {
		c->backoff_ms = restart_backoff(c->backoff_ms, uptime);
		c->status = STATUS_RESTARTING;
	}
	int64_t delay = c->backoff_ms;
	pthread_mutex_unlock(&c->lock);
	if (again) {
		(void)state_save(c, NULL);
		restart_later(c, delay);
	}
}

static void mark_exited(struct container *c, bool removing)
{
	pthread_mutex_lock(&c->lock);
	c->status = removing ? STATUS_REMOVING : STATUS_EXITED;
	c->pid = 0;
	c->exit_code = c->exit.exit_code;
	c->oom_killed = c->exit.oom_killed;
	c->finished_ns = c->exit.finished_ns ? c->exit.finished_ns : clock_wall_ns();
	if (c->exit.started_ns)
		c->started_ns = c->exit.started_ns;
	c->exit_seen = false;
	pthread_mutex_unlock(&c->lock);
}

int settle_locked(struct container *c, struct err *err)
{
	auto_type(config) config = container_config(c);
	bool rm = config->create.host.auto_remove;
	struct err why = ERR_INIT;
	char code[12];

	pthread_mutex_lock(&c->lock);
	bool due = c->exit_seen && container_is_up(c);
	pthread_mutex_unlock(&c->lock);
	if (!due)
		return 0;
	health_stop(c);
	mark_exited(c, rm);
	/* On a full disk the record in the run directory stays the truth until a save succeeds. */
	int saved = state_save(c, &why);
	if (saved < 0)
		log_error(c->engine->log, "exit not saved", "id=%.12s reason=%s", c->id, why.msg);
	(void)FAILPOINT("settle.saved", NULL);
	snprintf(code, sizeof(code), "%d", c->exit_code);
	if (c->oom_killed)
		container_event(c, "oom", NULL, NULL);
	container_event(c, "die", "exitCode", code);
	exec_drop_all(c->engine, c->id);
	endpoints_down(c);
	if (saved == 0)
		(void)supervisor_forget(c->engine->supervisors_fd, c->id, NULL);
	if (rm)
		(void)remove_ended(c, NULL);
	else
		settle_after(c);
	pthread_mutex_lock(&c->lock);
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	wait_tell(c, CONTAINER_NEXT_EXIT, c->run);
	if (saved < 0 && err)
		*err = why;
	return saved;
}

int settle_wait(struct container *c, uint64_t run, int64_t timeout_ms, struct err *err)
{
	int64_t end = timeout_ms < 0 ? INT64_MAX : clock_mono_ms() + timeout_ms;
	int rc = 0;

	pthread_mutex_lock(&c->lock);
	while (c->run == run && container_is_up(c) && !c->gone && rc == 0) {
		int64_t now = clock_mono_ms();
		if (atomic_load(&c->engine->stopping)) {
			rc = err_set(err, ERR_CANCELED, "the daemon is stopping");
			break;
		}
		if (now >= end) {
			rc = err_set(err, ERR_TIMEOUT, "container %s did not stop in time", c->id);
			break;
		}
		/* In slices, so that the end of the daemon is noticed. */
		int64_t until = end - now > 1000 ? now + 1000 : end;
		struct timespec ts = {until / 1000, until % 1000 * 1000000};
		pthread_cond_timedwait(&c->changed, &c->lock, &ts);
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}
