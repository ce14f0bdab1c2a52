/* SPDX-License-Identifier: Apache-2.0 */
/* start - from a created or exited container to a running one. */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "base/userns.h"
#include "engine/check.h"
#include "engine/files.h"
#include "engine/ids.h"
#include "engine/private.h"
#include "engine/spec.h"
#include "image/image.h"

#define SPEC_MAX (4u << 20)

/* The layers under the container, top first, with its own upper in front for looking things up. */
struct stack {
	struct image_layers layers;
	int dir, upper, work, log;
	int *all; /* upper, then the layers */
	size_t count;
};

static void stack_close(struct stack *stack)
{
	const int fds[] = {stack->dir, stack->upper, stack->work, stack->log};

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(stack->all);
	image_layers_close(&stack->layers);
}

static int stack_open(struct container *c, struct stack *stack, struct err *err)
{
	*stack = (struct stack){.dir = -1, .upper = -1, .work = -1, .log = -1};
	if (image_layers_open(c->engine->images, c->image_id, &stack->layers, err) < 0)
		return -1;
	stack->dir = container_dir(c, err);
	if (stack->dir < 0)
		return -1;
	/* Power loss may have taken the empty directories; what was in them was never synced. */
	stack->upper = fs_mkdir_all(stack->dir, "upper", 0755, err);
	if (stack->upper >= 0 && c->first_id && ids_own(stack->upper, c->first_id, err) < 0)
		return -1;
	stack->work = stack->upper < 0 ? -1 : fs_mkdir_all(stack->dir, "work", 0700, err);
	stack->log = stack->work < 0 ? -1 : fs_mkdir_all(stack->dir, "log", 0700, err);
	if (stack->log < 0)
		return -1;
	stack->all = calloc(stack->layers.count + 1, sizeof(int));
	if (!stack->all)
		return err_nomem(err);
	stack->all[0] = stack->upper;
	if (stack->layers.count)
		memcpy(stack->all + 1, stack->layers.fds, stack->layers.count * sizeof(int));
	stack->count = stack->layers.count + 1;
	return 0;
}

static int other_pid(struct container *c, const char *other, pid_t *pid, struct err *err)
{
	auto_type(container) owner = container_get(c->engine, other, err);

	if (!owner)
		return -1;
	pthread_mutex_lock(&owner->lock);
	bool up = container_is_up(owner);
	*pid = owner->pid;
	pthread_mutex_unlock(&owner->lock);
	if (!up || *pid <= 0)
		return err_set(err, ERR_CONFLICT,
		               "cannot join a namespace of a non running "
		               "container: %s",
		               owner->id);
	return 0;
}

struct paths {
	char net[256], ipc[64], pid[64];
	struct files files;
};

static int join_path(struct container *c, const char *mode, const char *kind, char *path,
                     size_t size, struct err *err)
{
	const char *other = check_mode_container(mode);
	pid_t pid;

	*path = '\0';
	if (!other)
		return 0;
	if (other_pid(c, other, &pid, err) < 0)
		return -1;
	snprintf(path, size, "/proc/%d/ns/%s", (int)pid, kind);
	return 0;
}

static int find_paths(struct container *c, const struct config *config, struct paths *p,
                      struct err *err)
{
	const struct api_host_config *h = &config->create.host;
	const char *mode = endpoints_mode(h);

	*p = (struct paths){0};
	if (check_mode_container(mode)) {
		if (join_path(c, mode, "net", p->net, sizeof(p->net), err) < 0)
			return -1;
	} else if (!str_eq(mode, "host") &&
	           net_sandbox_path(c->engine->net, c->id, p->net, sizeof(p->net), err) < 0) {
		return -1;
	}
	if (join_path(c, h->ipc_mode, "ipc", p->ipc, sizeof(p->ipc), err) < 0 ||
	    join_path(c, h->pid_mode, "pid", p->pid, sizeof(p->pid), err) < 0)
		return -1;
	return files_write(c, config, &p->files, err);
}

static int write_spec(struct container *c, const struct config *config, const struct stack *stack,
                      const struct paths *p, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(SPEC_MAX);
	struct user user;

	if (user_resolve_in_layers(config->create.config.user, stack->all, stack->count,
	                           &config->create.host.group_add, &user, err) < 0 ||
	    ids_check_user(c->first_id, &user, err) < 0)
		return -1;
	struct spec_input input = {
		.id = c->id,
		.config = config,
		.first_id = c->first_id,
		.user = &user,
		.netns_path = *p->net ? p->net : NULL,
		.ipc_path = *p->ipc ? p->ipc : NULL,
		.pid_path = *p->pid ? p->pid : NULL,
		.files = {p->files.hosts, p->files.hostname, p->files.resolv_conf},
		.memory_v2 = c->engine->memory_v2,
	};
	auto_type(json) spec = spec_build(&input, err);
	if (!spec || json_write(spec, &text, err) < 0 || buf_check(&text, err) < 0)
		return -1;
	return fs_write_atomic(stack->dir, "config.json", buf_str(&text), text.len, 0600, err);
}

static uint16_t console_size(const struct json *size, size_t index)
{
	int64_t n = json_num(json_at(size, index), 0);

	return n > 0 && n <= UINT16_MAX ? (uint16_t)n : 0;
}

/* The one that owns its network namespace. -1: the host's. */
static int open_userns(const struct container *c, const struct paths *p, int *fd, struct err *err)
{
	if (!c->first_id)
		return 0;
	auto_close int net = fs_trusted_open(p->net, O_RDONLY, 0, err);
	*fd = net < 0 ? -1 : userns_owner(net, err);
	return *fd < 0 ? -1 : 0;
}

static struct supervisor *launch(struct container *c, const struct config *config,
                                 const struct stack *stack, const struct paths *p,
                                 const struct launch_images *from, pid_t *pid, struct err *err)
{
	const struct api_container_create *create = &config->create;
	auto_close int userns_fd = -1;
	struct check_log log;

	if (open_userns(c, p, &userns_fd, err) < 0 ||
	    check_log_config(&create->host.log_config, &log, err) < 0)
		return NULL;
	struct launch_rootfs rootfs = {
		.lower_fds = stack->layers.fds,
		.lower_count = stack->layers.count,
		.upper_fd = stack->upper,
		.work_fd = stack->work,
	};
	struct launch_log launch_log = {
		.dir_fd = stack->log,
		.name = "container.log",
		.size_max = log.size_max,
		.files_max = log.files_max,
	};
	struct launch what = {
		.id = c->id,
		.bundle_fd = stack->dir,
		.rootfs = &rootfs,
		.log = log.none ? NULL : &launch_log,
		.userns_fd = userns_fd,
		.restore = from,
		.stdin_open = create->config.open_stdin,
		.stdin_once = create->config.stdin_once,
		.rows = console_size(create->host.console_size, 0),
		.cols = console_size(create->host.console_size, 1),
	};
	/* What an attempt that was cut off may have left. */
	(void)supervise_end(c->engine, c->id, NULL);
	return launcher_open(c->engine->launcher, &what, pid, err);
}

static struct supervisor *prepare(struct container *c, const struct config *config,
                                  const struct launch_images *from, pid_t *pid, struct err *err)
{
	struct supervisor *s = NULL;
	struct stack stack;
	struct paths paths;
	int rc = stack_open(c, &stack, err);

	if (rc == 0)
		rc = endpoints_up(c, config, err);
	if (rc == 0)
		rc = find_paths(c, config, &paths, err);
	if (rc == 0)
		rc = write_spec(c, config, &stack, &paths, err);
	if (rc == 0)
		rc = FAILPOINT("start.launch", err);
	if (rc == 0)
		s = launch(c, config, &stack, &paths, from, pid, err);
	stack_close(&stack);
	return s;
}

static void mark_running(struct container *c, pid_t pid)
{
	pthread_mutex_lock(&c->lock);
	c->status = STATUS_RUNNING;
	c->run++;
	c->pid = pid;
	c->exit_code = 0;
	c->oom_killed = false;
	c->exit_seen = false;
	c->error[0] = '\0';
	c->started_ns = clock_wall_ns();
	pthread_mutex_unlock(&c->lock);
}

/* The container is there, up to its program. The row says running before the program runs. */
static int let_go(struct container *c, struct supervisor *s, pid_t pid, struct err *err)
{
	mark_running(c, pid);
	if (state_save(c, err) < 0 || FAILPOINT("start.saved", err) < 0)
		return -1;
	attach_tell(c, s);
	return supervisor_start_watched(s, err);
}

/* The words that clients look for, and the exit code that goes with them. */
static int explain(const struct container *c, const struct err *why, struct err *err)
{
	const char *text = supervise_reason(why, c->id);
	bool missing = strstr(text, "not found") || strstr(text, "no such file");
	bool denied = strstr(text, "permission denied");

	if (strncmp(text, "exec: ", 6) != 0) {
		err_do_set(err, why->kind, "%s", text);
		return 128;
	}
	err_do_set(err, ERR_INVALID,
	           "failed to create task for container: failed to start container process: "
	           "%.300s: unknown",
	           text);
	return missing ? 127 : denied ? 126 : 128;
}

static void undo(struct container *c, const struct err *why, struct err *err)
{
	int code = explain(c, why, err);

	(void)supervise_end(c->engine, c->id, NULL);
	endpoints_down(c);
	attach_tell(c, NULL);
	pthread_mutex_lock(&c->lock);
	if (c->status != STATUS_CREATED || c->run)
		c->status = STATUS_EXITED;
	else
		c->status = STATUS_CREATED;
	c->pid = 0;
	c->exit_code = code;
	c->finished_ns = clock_wall_ns();
	c->exit_seen = false;
	snprintf(c->error, sizeof(c->error), "%.255s", err ? err->msg : why->msg);
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	(void)state_save(c, NULL);
	wait_tell(c, CONTAINER_NEXT_EXIT, WAIT_ANY_RUN);
}

static int start(struct container *c, const struct launch_images *from, struct err *err)
{
	auto_type(config) config = container_config(c);
	struct err why = ERR_INIT;
	int64_t began = clock_mono_ns();
	pid_t pid = 0;

	auto_type(supervisor) s = prepare(c, config, from, &pid, &why);
	if (!s || let_go(c, s, pid, &why) < 0 || watch_container(c, move_ptr(s), &why) < 0) {
		undo(c, &why, err);
		return -1;
	}
	pthread_mutex_lock(&c->lock);
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	container_event(c, "start", NULL, NULL);
	health_start(c);
	log_debug(c->engine->log, "container started", "id=%.12s us=%lld", c->id,
	          (long long)((clock_mono_ns() - began) / 1000));
	return 0;
}

int start_locked(struct container *c, struct err *err)
{
	return start(c, NULL, err);
}

int start_from(struct container *c, const struct launch_images *from, struct err *err)
{
	int rc;

	pthread_mutex_lock(&c->op);
	pthread_mutex_lock(&c->lock);
	enum container_status status = c->status;
	bool gone = c->gone;
	bool pending = c->exit_seen;
	pthread_mutex_unlock(&c->lock);
	if (gone || status == STATUS_REMOVING || status == STATUS_DEAD) {
		rc = err_set(err, ERR_CONFLICT,
		             "container is marked for removal and cannot be started");
	} else if (status == STATUS_PAUSED) {
		rc = err_set(err, ERR_CONFLICT,
		             "cannot start a paused container, try unpause instead");
	} else if (status == STATUS_RUNNING && !pending) {
		rc = 1;
	} else {
		if (status == STATUS_RUNNING)
			(void)settle_locked(c, NULL);
		pthread_mutex_lock(&c->lock);
		c->manually_stopped = false;
		c->restart_count = 0;
		c->backoff_ms = 0;
		pthread_mutex_unlock(&c->lock);
		rc = start(c, from, err);
	}
	bool failed_rm = rc < 0 && c->config->create.host.auto_remove && !gone;
	if (failed_rm)
		(void)remove_locked(c, true, NULL);
	pthread_mutex_unlock(&c->op);
	return rc;
}

int container_start(struct engine *engine, const char *ref, struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);

	return c ? start_from(c, NULL, err) : -1;
}
