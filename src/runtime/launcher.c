/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "runtime/protocol.h"
#include "runtime/supervisor_client.h"

#define READY_TIMEOUT_S  10
#define SEND_TIMEOUT_S   10
#define ANSWER_TIMEOUT_S 30

struct launcher {
	pthread_mutex_t lock;
	char *path;            /* owned */
	int run_dir_fd;        /* owned */
	const struct log *log; /* borrowed */
	int fd;                /* owned; guarded by lock; -1: not running */
	pid_t pid;             /* guarded by lock; 0: not running */
	uint64_t generation;   /* guarded by lock; counts starts */
};

static int set_timeout(int fd, int option, int seconds, struct err *err)
{
	struct timeval tv = {.tv_sec = seconds};

	if (setsockopt(fd, SOL_SOCKET, option, &tv, sizeof(tv)) < 0)
		return err_sys(err, "cannot set a socket's time-out");
	return 0;
}

/* ---- the process ---- */

/* Descriptors 3 and 4 in the child, from copies that lie above them, so that neither overwrites
 * the other; everything else of ours is close-on-exec. */
static int spawn_with(const struct launcher *l, int socket_high, int dir_high,
                      posix_spawn_file_actions_t *actions, posix_spawnattr_t *attr, pid_t *pid)
{
	char name[] = "buoy-runtime", command[] = "serve";
	char *const argv[] = {name, command, NULL};
	sigset_t none, all;
	int rc;

	sigemptyset(&none);
	sigfillset(&all);
	(void)posix_spawnattr_setsigmask(attr, &none);
	(void)posix_spawnattr_setsigdefault(attr, &all);
	/* Its own session: a terminal's Ctrl-C is for the daemon. */
	(void)posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
	                                             POSIX_SPAWN_SETSID);
	rc = posix_spawn_file_actions_adddup2(actions, socket_high, PROTOCOL_LAUNCHER_FD);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(actions, dir_high, PROTOCOL_RUN_DIR_FD);
	return rc ? rc : posix_spawn(pid, l->path, actions, attr, argv, environ);
}

static int spawn(const struct launcher *l, int socket_fd, pid_t *pid, struct err *err)
{
	auto_close int socket_high = fcntl(socket_fd, F_DUPFD_CLOEXEC, 10);
	auto_close int dir_high = fcntl(l->run_dir_fd, F_DUPFD_CLOEXEC, 10);
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;

	if (socket_high < 0 || dir_high < 0)
		return err_sys(err, "cannot duplicate a descriptor");
	if (posix_spawn_file_actions_init(&actions) != 0)
		return err_nomem(err);
	if (posix_spawnattr_init(&attr) != 0) {
		posix_spawn_file_actions_destroy(&actions);
		return err_nomem(err);
	}

	int rc = spawn_with(l, socket_high, dir_high, &actions, &attr, pid);

	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	if (rc == 0)
		return 0;
	errno = rc;
	return err_sys(err, "cannot execute %s", l->path);
}

static void reap(pid_t pid)
{
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int expect_ready(int fd, struct err *err)
{
	auto_packet struct protocol_packet packet = PROTOCOL_PACKET_INIT;
	int rc = protocol_recv(fd, &packet, err);

	if (rc < 0)
		return -1;
	if (rc == 0)
		return err_set(err, ERR_UNAVAILABLE, "it ended at once");
	if (protocol_check(packet.body, err) < 0)
		return -1;
	if (!json_get_bool(packet.body, "ready", false))
		return err_set(err, ERR_INVALID, "its first packet does not say ready");
	return 0;
}

static void stop_locked(struct launcher *l)
{
	cleanup_close(&l->fd);
	l->fd = -1;
	reap(l->pid); /* it ends when its connection does */
	l->pid = 0;
}

static int start_locked(struct launcher *l, struct err *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "cannot make a socket pair");

	auto_close int ours = pair[0], theirs = pair[1];

	if (set_timeout(ours, SO_RCVTIMEO, READY_TIMEOUT_S, err) < 0 ||
	    set_timeout(ours, SO_SNDTIMEO, SEND_TIMEOUT_S, err) < 0 ||
	    spawn(l, theirs, &l->pid, err) < 0)
		return -1;
	cleanup_close(&theirs);
	theirs = -1;
	if (expect_ready(ours, err) < 0) {
		(void)kill(l->pid, SIGKILL);
		reap(l->pid);
		l->pid = 0;
		return err_wrap(err, "launcher %s", l->path);
	}
	l->fd = move_fd(&ours);
	l->generation++;
	log_debug(l->log, "launcher started", "pid=%d", (int)l->pid);
	return 0;
}

struct launcher *launcher_start(const char *runtime_path, int run_dir_fd, const struct log *log,
                                struct err *err)
{
	auto_free struct launcher *l = calloc(1, sizeof(*l));
	auto_free char *path = strdup(runtime_path);
	auto_close int dir_fd = fcntl(run_dir_fd, F_DUPFD_CLOEXEC, 3);

	if (!l || !path) {
		(void)err_nomem(err);
		return NULL;
	}
	if (dir_fd < 0) {
		(void)err_sys(err, "run directory");
		return NULL;
	}
	*l = (struct launcher){.path = path, .run_dir_fd = dir_fd, .log = log, .fd = -1};
	if (start_locked(l, err) < 0)
		return NULL;
	(void)pthread_mutex_init(&l->lock, NULL);
	(void)move_ptr(path);
	(void)move_fd(&dir_fd);
	return move_ptr(l);
}

void launcher_stop(struct launcher *l)
{
	if (!l)
		return;
	stop_locked(l);
	close(l->run_dir_fd);
	free(l->path);
	(void)pthread_mutex_destroy(&l->lock);
	free(l);
}

pid_t launcher_pid(struct launcher *l)
{
	pthread_mutex_lock(&l->lock);
	pid_t pid = l->pid;

	pthread_mutex_unlock(&l->lock);
	return pid;
}

/* ---- a launch ---- */

struct request {
	int fds[PROTOCOL_FDS_MAX]; /* borrowed */
	size_t fd_count;
};

/* The index of fd in the packet as a JSON value. */
static struct json *index_of(struct request *request, int fd)
{
	request->fds[request->fd_count] = fd;
	return json_int((int64_t)request->fd_count++);
}

static struct json *encode_rootfs(const struct launch_rootfs *rootfs, struct request *request)
{
	struct json *out = json_object();
	bool bad = false;

	if (rootfs->upper_fd >= 0)
		bad |= json_set(out, "upper", index_of(request, rootfs->upper_fd)) < 0;
	if (rootfs->work_fd >= 0)
		bad |= json_set(out, "work", index_of(request, rootfs->work_fd)) < 0;
	bad |= json_set(out, "volatile", json_bool(rootfs->is_volatile)) < 0;
	bad |= json_set(out, "lowers", json_int((int64_t)request->fd_count)) < 0;
	bad |= json_set(out, "lower_count", json_int((int64_t)rootfs->lower_count)) < 0;
	for (size_t i = 0; i < rootfs->lower_count; i++)
		request->fds[request->fd_count++] = rootfs->lower_fds[i];
	if (!bad)
		return out;
	json_free(out);
	return NULL;
}

static struct json *encode_log(const struct launch_log *log, struct request *request)
{
	struct json *out = json_object();
	bool bad = json_set(out, "dir", index_of(request, log->dir_fd)) < 0;

	bad |= json_set(out, "name", json_string(log->name)) < 0;
	bad |= json_set(out, "size_max", json_int(log->size_max)) < 0;
	bad |= json_set(out, "files_max", json_int(log->files_max)) < 0;
	if (!bad)
		return out;
	json_free(out);
	return NULL;
}

static struct json *encode_images(const struct launch_images *where)
{
	struct json *out = json_object();
	bool bad = json_set(out, "images", json_string(where->images)) < 0;

	bad |= json_set(out, "work", json_string(where->work)) < 0;
	if (!bad)
		return out;
	json_free(out);
	return NULL;
}

static struct json *encode_launch(const struct launch *launch, int reply_fd, int process_fd,
                                  struct request *request)
{
	struct json *out = json_object();
	bool bad = json_set(out, "op", json_string("launch")) < 0;

	bad |= json_set(out, "id", json_string(launch->id)) < 0;
	bad |= json_set(out, "reply", index_of(request, reply_fd)) < 0;
	if (launch->userns_fd > 0)
		bad |= json_set(out, "userns", index_of(request, launch->userns_fd)) < 0;
	bad |= json_set(out, "stdin_open", json_bool(launch->stdin_open)) < 0;
	bad |= json_set(out, "stdin_once", json_bool(launch->stdin_once)) < 0;
	bad |= json_set(out, "rows", json_int(launch->rows)) < 0;
	bad |= json_set(out, "cols", json_int(launch->cols)) < 0;
	if (launch->exec_into) {
		bad |= json_set(out, "exec_into", json_string(launch->exec_into)) < 0;
		bad |= json_set(out, "process", index_of(request, process_fd)) < 0;
	} else {
		bad |= json_set(out, "bundle", index_of(request, launch->bundle_fd)) < 0;
	}
	if (launch->restore)
		bad |= json_set(out, "restore", encode_images(launch->restore)) < 0;
	if (launch->log && launch->log->dir_fd >= 0)
		bad |= json_set(out, "log", encode_log(launch->log, request)) < 0;
	if (launch->rootfs)
		bad |= json_set(out, "rootfs", encode_rootfs(launch->rootfs, request)) < 0;
	if (!bad)
		return out;
	json_free(out);
	return NULL;
}

struct checkpoint {
	const char *id;
	const struct launch_images *where;
	bool leave_running;
};

static struct json *encode_checkpoint(const struct checkpoint *checkpoint, int reply_fd,
                                      struct request *request)
{
	struct json *out = json_object();
	bool bad = json_set(out, "op", json_string("checkpoint")) < 0;

	bad |= json_set(out, "id", json_string(checkpoint->id)) < 0;
	bad |= json_set(out, "reply", index_of(request, reply_fd)) < 0;
	bad |= json_set(out, "into", encode_images(checkpoint->where)) < 0;
	bad |= json_set(out, "leave_running", json_bool(checkpoint->leave_running)) < 0;
	if (!bad)
		return out;
	json_free(out);
	return NULL;
}

/* What a packet is made from, once per attempt. */
struct order {
	const struct launch *launch; /* or */
	const struct checkpoint *checkpoint;
	int process_fd;
	int timeout_s;
};

static struct json *encode(const struct order *order, int reply_fd, struct request *request)
{
	return order->launch ? encode_launch(order->launch, reply_fd, order->process_fd, request)
	                     : encode_checkpoint(order->checkpoint, reply_fd, request);
}

/* The process object in a memory file: environments may be larger than a packet. */
static int process_file(const char *json, struct err *err)
{
	auto_close int fd = memfd_create("process.json", MFD_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "cannot make a memory file");
	if (strlen(json) > PROTOCOL_CONFIG_MAX)
		return err_set(err, ERR_LIMIT, "process: %zu bytes, at most %d", strlen(json),
		               PROTOCOL_CONFIG_MAX);
	if (fs_write_all(fd, json, strlen(json), err) < 0)
		return -1;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, "cannot rewind a memory file");
	return move_fd(&fd);
}

static int check_launch(const struct launch *launch, struct err *err)
{
	if (id_check_name(launch->id, "id", err) < 0)
		return -1;
	if (launch->exec_into && id_check_name(launch->exec_into, "id of the container", err) < 0)
		return -1;
	if (launch->exec_into ? !launch->process_json : launch->bundle_fd < 0)
		return err_set(err, ERR_INVALID, "%s: no %s", launch->id,
		               launch->exec_into ? "process to execute" : "bundle");
	if (launch->rootfs && launch->rootfs->lower_count > PROTOCOL_LOWERS_MAX)
		return err_set(err, ERR_LIMIT, "%zu layers, at most %d",
		               launch->rootfs->lower_count, PROTOCOL_LOWERS_MAX);
	return 0;
}

/* Sends over the launcher that lives, or a new one. */
static int send_order(struct launcher *l, const struct order *order, int reply_fd, struct err *err)
{
	for (int attempt = 0;; attempt++) {
		struct request request = {.fd_count = 0};
		struct err why = ERR_INIT;
		struct json *body = encode(order, reply_fd, &request);

		if (l->fd >= 0 &&
		    protocol_send(l->fd, body, request.fds, request.fd_count, &why) == 0)
			return 0;
		if (l->fd < 0)
			json_free(body);
		if (attempt > 0 || (l->fd >= 0 && why.kind != ERR_UNAVAILABLE)) {
			if (err)
				*err = why;
			return -1;
		}
		log_warn(l->log, "launcher is gone, starting another", "pid=%d", (int)l->pid);
		stop_locked(l);
		if (start_locked(l, err) < 0)
			return -1;
	}
}

/* The supervisor's answer. 0; -1; 1 when it closed without one. */
static int await_answer(int fd, pid_t *pid, struct err *err)
{
	auto_packet struct protocol_packet packet = PROTOCOL_PACKET_INIT;
	int rc = protocol_recv(fd, &packet, err);

	if (rc <= 0)
		return rc < 0 ? -1 : 1;
	*pid = (pid_t)json_get_int(packet.body, "pid", 0);
	return protocol_check(packet.body, err);
}

/* Who closed without an answer was killed, and a launcher that is dying with it may still take requests
 * along. */
static int renew(struct launcher *l, uint64_t generation, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&l->lock);
	if (l->generation == generation) {
		log_warn(l->log, "a launch was cut off, starting another launcher", "pid=%d",
		         (int)l->pid);
		stop_locked(l);
		rc = start_locked(l, err);
	}
	pthread_mutex_unlock(&l->lock);
	return rc;
}

/* *fd: the connection on which the supervisor has answered; the caller's. */
static int order_once(struct launcher *l, const struct order *order, pid_t *pid, int *fd,
                      struct err *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "cannot make a socket pair");

	auto_close int ours = pair[0], theirs = pair[1];

	if (set_timeout(ours, SO_RCVTIMEO, order->timeout_s, err) < 0)
		return -1;
	pthread_mutex_lock(&l->lock);
	int rc = send_order(l, order, theirs, err);
	uint64_t generation = l->generation;

	pthread_mutex_unlock(&l->lock);
	if (rc < 0)
		return -1;
	cleanup_close(&theirs);
	theirs = -1;
	rc = await_answer(ours, pid, err);
	if (rc == 0)
		*fd = move_fd(&ours);
	return rc == 1 && renew(l, generation, err) < 0 ? -1 : rc;
}

struct supervisor *launcher_open(struct launcher *l, const struct launch *launch, pid_t *pid,
                                 struct err *err)
{
	auto_close int process_fd = -1;
	int fd;

	if (check_launch(launch, err) < 0)
		return NULL;
	if (launch->exec_into) {
		process_fd = process_file(launch->process_json, err);
		if (process_fd < 0)
			return NULL;
	}
	const struct order order = {.launch = launch,
	                            .process_fd = process_fd,
	                            .timeout_s = launch->restore ? LAUNCHER_CHECKPOINT_S
	                                                         : ANSWER_TIMEOUT_S};
	/* A launcher that was killed with our request still in its queue answers nothing: what it
	 * may have begun is cleaned up, and the request is made once more. */
	for (int attempt = 0; attempt < 2; attempt++) {
		int rc = order_once(l, &order, pid, &fd, err);

		if (rc == 0)
			return supervisor_adopt(fd, launch->id, err);
		if (rc < 0) {
			err_wrap(err, "%s", launch->id);
			return NULL;
		}
		(void)supervisor_forget(l->run_dir_fd, launch->id, NULL);
		(void)lseek(process_fd, 0, SEEK_SET);
	}
	err_set(err, ERR_UNAVAILABLE, "%s: its supervisor died while making it", launch->id);
	return NULL;
}

int launcher_create(struct launcher *l, const struct launch *launch, struct err *err)
{
	pid_t pid;
	struct supervisor *s = launcher_open(l, launch, &pid, err);

	supervisor_close(s);
	return s ? 0 : -1;
}

int launcher_checkpoint(struct launcher *l, const char *id, const struct launch_images *where,
                        bool leave_running, struct err *err)
{
	const struct checkpoint checkpoint = {id, where, leave_running};
	const struct order order = {.checkpoint = &checkpoint, .timeout_s = LAUNCHER_CHECKPOINT_S};
	auto_close int fd = -1;
	pid_t none;
	int rc = order_once(l, &order, &none, &fd, err);

	if (rc == 1)
		return err_set(err, ERR_UNAVAILABLE, "%s: whoever wrote its checkpoint died", id);
	return rc;
}
