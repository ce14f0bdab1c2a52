/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reconcile - after a start of the daemon: what the rows say against what the supervisors say.
 *
 *	row running, supervisor alive      adopt it
 *	row running, exit record           settle that exit, with its true code and time
 *	row running, neither               the machine went down: exit code 255
 *	row not running, supervisor there  a start that was cut off before it was acknowledged: undo it
 *	row removing                       go on removing
 *	directory without a row            a creation that was cut off: remove it and its lease
 */

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "engine/private.h"
#include "engine/volumes.h"
#include "image/image.h"

#define HOLDER "container:" /* and the id: who holds an image */

/* Alive and past its start: it is ours again. */
static int adopt(struct container *c, const struct supervised *state, struct err *err)
{
	auto_type(supervisor) watch = supervisor_connect(c->engine->supervisors_fd, c->id, err);
	struct err why = ERR_INIT;

	if (!watch || supervisor_watch(watch, err) < 0)
		return -1;
	pthread_mutex_lock(&c->lock);
	c->status = state->state == SUPERVISED_PAUSED ? STATUS_PAUSED : STATUS_RUNNING;
	c->pid = state->pid;
	c->run = 1;
	pthread_mutex_unlock(&c->lock);
	if (watch_container(c, move_ptr(watch), err) < 0)
		return -1;
	if (net_sandbox_adopt(c->engine->net, c->id, state->pid, &why) < 0)
		log_warn(c->engine->log, "network namespace not found again", "id=%.12s reason=%s",
		         c->id, why.msg);
	auto_type(netinfo) info = container_netinfo(c);
	(void)endpoints_reload(c, info->ports, info->port_count, NULL);
	health_start(c);
	return 0;
}

static void ended(struct container *c, const struct supervised *state)
{
	pthread_mutex_lock(&c->lock);
	c->status = STATUS_RUNNING;
	c->run = 1;
	c->exit = *state;
	c->exit_seen = true;
	pthread_mutex_unlock(&c->lock);
	(void)settle_locked(c, NULL);
}

static bool ask(struct container *c, struct supervised *state)
{
	auto_type(supervisor) s = supervisor_connect(c->engine->supervisors_fd, c->id, NULL);

	return s && supervisor_state(s, state, NULL) == 0;
}

static void check_running(struct container *c)
{
	struct supervised state = {0};
	struct err err = ERR_INIT;

	if (ask(c, &state)) {
		if (state.state == SUPERVISED_CREATED) {
			/* Its program never ran, and nobody was told that it did. */
			(void)supervise_end(c->engine, c->id, NULL);
			endpoints_down(c);
			c->status = c->finished_ns ? STATUS_EXITED : STATUS_CREATED;
			(void)state_save(c, NULL);
			return;
		}
		if (state.state != SUPERVISED_STOPPED) {
			if (adopt(c, &state, &err) == 0)
				return;
			log_warn(c->engine->log, "container not adopted", "id=%.12s reason=%s",
			         c->id, err.msg);
		}
	}
	if (state.state != SUPERVISED_STOPPED &&
	    supervisor_read_exit(c->engine->supervisors_fd, c->id, &state, NULL) < 0)
		state = (struct supervised){.state = SUPERVISED_STOPPED,
		                            .exit_code = 255,
		                            .finished_ns = clock_wall_ns()};
	ended(c, &state);
}

static void check_idle(struct container *c)
{
	if (!fs_exists(c->engine->supervisors_fd, c->id))
		return;
	(void)supervise_end(c->engine, c->id, NULL);
	endpoints_down(c);
}

/* As Docker does when the daemon starts: always comes back whatever happened, unless-stopped
 * only if nobody stopped it. */
static void start_again(struct container *c)
{
	auto_type(config) config = container_config(c);
	const struct api_restart_policy *policy = &config->create.host.restart_policy;

	pthread_mutex_lock(&c->lock);
	bool idle = c->status == STATUS_EXITED;
	bool was_up = c->started_ns != 0;
	bool always = str_eq(policy->name, "always");
	bool unless = str_eq(policy->name, "unless-stopped") && !c->manually_stopped;
	bool again = idle && was_up && (always || unless);
	if (again || c->status == STATUS_RESTARTING) {
		again = true;
		c->status = STATUS_RESTARTING;
		c->manually_stopped = false;
	}
	pthread_mutex_unlock(&c->lock);
	if (again)
		restart_later(c, 0);
}

/* Leases are written without waiting for the disk: after a power cut one may be missing. */
static void lease_again(struct container *c)
{
	auto_buf struct buf holder = BUF_INIT(512);

	buf_addf(&holder, HOLDER "%s", c->id);
	(void)image_lease(c->engine->images, c->image_id, buf_str(&holder), NULL);
}

static void check_one(struct container *c)
{
	lease_again(c);
	switch (c->status) {
	case STATUS_RUNNING:
	case STATUS_PAUSED:
		check_running(c);
		break;
	case STATUS_REMOVING:
	case STATUS_DEAD:
		(void)remove_locked(c, c->config->create.host.auto_remove, NULL);
		break;
	case STATUS_CREATED:
	case STATUS_RESTARTING:
	case STATUS_EXITED:
		check_idle(c);
		break;
	}
}

static bool known(struct engine *engine, const char *id)
{
	pthread_mutex_lock(&engine->lock);
	bool found = map_find(engine->by_id, id) != NULL;
	pthread_mutex_unlock(&engine->lock);
	return found;
}

static bool is_held(void *arg, const char *holder)
{
	return !str_starts(holder, HOLDER) || known(arg, holder + strlen(HOLDER));
}

static int sweep_dir(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	auto_buf struct buf holder = BUF_INIT(512);
	struct engine *engine = arg;

	(void)d_type;
	if (known(engine, name))
		return 0;
	buf_addf(&holder, HOLDER "%s", name);
	(void)image_release(engine->images, buf_str(&holder), NULL);
	(void)fs_remove_tree(dir_fd, name, NULL);
	return 0;
}

/* Execs and build steps of the daemon before: those that ended are forgotten, builds are ended. An exec that
 * runs on is left alone; the next start sweeps it. */
static int sweep_supervisor(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	struct engine *engine = arg;
	struct supervised state = {0};

	(void)d_type;
	if (known(engine, name))
		return 0;
	auto_type(supervisor) s = supervisor_connect(dir_fd, name, NULL);
	bool lives =
		s && supervisor_state(s, &state, NULL) == 0 && state.state != SUPERVISED_STOPPED;
	if (lives && str_starts(name, "exec-"))
		return 0;
	(void)supervise_end(engine, name, NULL);
	return 0;
}

static int reconcile_networks(struct engine *engine, struct container **all, size_t count,
                              struct err *err)
{
	auto_free const char **ids = calloc(count + 1, sizeof(*ids));
	size_t n = 0;

	if (!ids)
		return err_nomem(err);
	for (size_t i = 0; i < count; i++)
		if (container_is_up(all[i]))
			ids[n++] = all[i]->id;
	return net_reconcile(engine->net, ids, n, err);
}

int reconcile_run(struct engine *engine, struct err *err)
{
	size_t count = 0;
	struct container **all = container_all(engine, &count, err);
	int rc;

	if (!all)
		return -1;
	for (size_t i = 0; i < count; i++) {
		pthread_mutex_lock(&all[i]->op);
		check_one(all[i]);
		pthread_mutex_unlock(&all[i]->op);
	}
	rc = fs_list(engine->containers_fd, sweep_dir, engine, err);
	if (rc == 0)
		rc = image_release_unknown(engine->images, is_held, engine, err);
	if (rc == 0)
		rc = fs_list(engine->supervisors_fd, sweep_supervisor, engine, err);
	if (rc == 0)
		rc = reconcile_networks(engine, all, count, err);
	if (rc == 0)
		rc = volumes_sweep(engine, err);
	for (size_t i = 0; i < count; i++) {
		if (rc == 0)
			start_again(all[i]);
		container_free(all[i]);
	}
	free(all);
	return rc;
}
