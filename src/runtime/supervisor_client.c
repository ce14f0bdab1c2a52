/* SPDX-License-Identifier: Apache-2.0 */

/* The engine's end of a supervisor's socket; declared in runtime/launcher.h. */

#include "runtime/supervisor_client.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/cgroup_sweep.h"
#include "runtime/launcher.h"
#include "runtime/protocol.h"
#include "runtime/record.h"

#define ANSWER_TIMEOUT_S 15
#define SOCKET_NAME      "socket"
#define SWEEP_TIMEOUT_MS 5000

struct supervisor {
	pthread_mutex_t lock; /* one request at a time */
	int fd;               /* owned */
	char *id;             /* owned */
};

static int gone(const char *id, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "%s: has ended", id);
}

static int set_timeouts(int fd, int seconds, struct err *err)
{
	struct timeval tv = {.tv_sec = seconds};

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) < 0)
		return err_sys(err, "cannot set a socket's time-out");
	return 0;
}

struct supervisor *supervisor_adopt(int fd, const char *id, struct err *err)
{
	auto_close int owned = fd;
	auto_free struct supervisor *s = calloc(1, sizeof(*s));
	auto_free char *copy = strdup(id);

	if (!s || !copy) {
		(void)err_nomem(err);
		return NULL;
	}
	if (set_timeouts(fd, ANSWER_TIMEOUT_S, err) < 0)
		return NULL;
	(void)pthread_mutex_init(&s->lock, NULL);
	s->fd = move_fd(&owned);
	s->id = move_ptr(copy);
	return move_ptr(s);
}

struct supervisor *supervisor_connect(int run_dir_fd, const char *id, struct err *err)
{
	if (id_check_name(id, "id", err) < 0)
		return NULL;

	struct err why = ERR_INIT;
	auto_close int dir_fd = fs_open_dir(run_dir_fd, id, &why);
	auto_close int fd =
		dir_fd < 0 ? -1 : fs_connect_unix(dir_fd, SOCKET_NAME, SOCK_SEQPACKET, &why);

	if (fd < 0) {
		bool nobody = why.kind == ERR_NOT_FOUND || why.sys == ECONNREFUSED;

		if (nobody)
			(void)err_set(err, ERR_NOT_FOUND, "%s: no supervisor listens", id);
		else if (err)
			*err = why;
		return NULL;
	}
	return supervisor_adopt(move_fd(&fd), id, err);
}

void supervisor_close(struct supervisor *s)
{
	if (!s)
		return;
	close(s->fd);
	free(s->id);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

int supervisor_fd(const struct supervisor *s)
{
	return s->fd;
}

/* ---- requests ---- */

static struct json *request(const char *op)
{
	struct json *body = json_object();

	if (json_set(body, "op", json_string(op)) == 0)
		return body;
	json_free(body);
	return NULL;
}

static int exchange(struct supervisor *s, struct json *body, struct protocol_packet *reply,
                    struct err *err)
{
	int rc = protocol_send(s->fd, body, NULL, 0, err);

	if (rc == 0)
		rc = protocol_recv(s->fd, reply, err);
	else if (err_is(err, ERR_UNAVAILABLE))
		return gone(s->id, err);
	if (rc == 0)
		return gone(s->id, err);
	if (rc < 0 || protocol_check(reply->body, err) < 0)
		return err_wrap(err, "%s", s->id);
	return 0;
}

/* Takes ownership of body. */
static int ask(struct supervisor *s, struct json *body, struct protocol_packet *reply,
               struct err *err)
{
	struct err why = ERR_INIT; /* exchange() looks at the kind */

	pthread_mutex_lock(&s->lock);
	int rc = exchange(s, body, reply, &why);

	pthread_mutex_unlock(&s->lock);
	if (rc < 0 && err)
		*err = why;
	return rc;
}

static int order(struct supervisor *s, struct json *body, struct err *err)
{
	auto_packet struct protocol_packet reply = PROTOCOL_PACKET_INIT;

	return ask(s, body, &reply, err);
}

static struct json *with(struct json *body, const char *key, struct json *value)
{
	if (json_set(body, key, value) == 0)
		return body;
	json_free(body);
	return NULL;
}

int supervisor_state(struct supervisor *s, struct supervised *out, struct err *err)
{
	auto_packet struct protocol_packet reply = PROTOCOL_PACKET_INIT;
	struct record record;

	if (ask(s, request("state"), &reply, err) < 0 ||
	    record_decode(reply.body, &record, err) < 0)
		return -1;
	*out = record.seen;
	return 0;
}

int supervisor_start(struct supervisor *s, struct err *err)
{
	return order(s, request("start"), err);
}

int supervisor_start_watched(struct supervisor *s, struct err *err)
{
	if (order(s, with(request("start"), "watch", json_bool(true)), err) < 0)
		return -1;
	return set_timeouts(s->fd, 0, err);
}

int supervisor_kill(struct supervisor *s, int signal, bool all, struct err *err)
{
	struct json *body = with(request("kill"), "signal", json_int(signal));

	return order(s, with(body, "all", json_bool(all)), err);
}

int supervisor_resize(struct supervisor *s, uint16_t rows, uint16_t cols, struct err *err)
{
	struct json *body = with(request("resize"), "rows", json_int(rows));

	return order(s, with(body, "cols", json_int(cols)), err);
}

int supervisor_pause(struct supervisor *s, bool pause, struct err *err)
{
	return order(s, with(request("pause"), "pause", json_bool(pause)), err);
}

int supervisor_update(struct supervisor *s, const char *resources_json, struct err *err)
{
	struct json *resources = json_parse(resources_json, strlen(resources_json), err);

	if (!resources)
		return err_wrap(err, "resources");
	return order(s, with(request("update"), "resources", resources), err);
}

ssize_t supervisor_pids(struct supervisor *s, pid_t *pids, size_t max, struct err *err)
{
	auto_packet struct protocol_packet reply = PROTOCOL_PACKET_INIT;

	if (ask(s, request("pids"), &reply, err) < 0)
		return -1;

	const struct json *list = json_get(reply.body, "pids");
	size_t count = json_count(list);

	for (size_t i = 0; i < count && i < max; i++)
		pids[i] = (pid_t)json_num(json_at(list, i), 0);
	return (ssize_t)count;
}

char *supervisor_stats(struct supervisor *s, struct err *err)
{
	auto_packet struct protocol_packet reply = PROTOCOL_PACKET_INIT;
	auto_buf struct buf text = BUF_INIT(PROTOCOL_PACKET_MAX);

	if (ask(s, request("stats"), &reply, err) < 0 || json_write(reply.body, &text, err) < 0)
		return NULL;
	return buf_take(&text, err);
}

int supervisor_attach(struct supervisor *s, const struct supervisor_attach *what, struct err *err)
{
	auto_packet struct protocol_packet reply = PROTOCOL_PACKET_INIT;
	struct json *body = with(request("attach"), "in", json_bool(what->in));

	body = with(body, "out", json_bool(what->out));
	body = with(body, "err", json_bool(what->err));
	body = with(body, "logs", json_bool(what->logs));
	if (ask(s, body, &reply, err) < 0)
		return -1;
	if (reply.fd_count != 1)
		return err_set(err, ERR_INTERNAL, "%s: attach came without a socket", s->id);
	return move_fd(&reply.fds[0]);
}

/* ---- events ---- */

int supervisor_watch(struct supervisor *s, struct err *err)
{
	if (order(s, request("watch"), err) < 0)
		return -1;
	return set_timeouts(s->fd, 0, err);
}

int supervisor_wait(struct supervisor *s, struct supervised *out, struct err *err)
{
	auto_packet struct protocol_packet event = PROTOCOL_PACKET_INIT;
	struct record record;
	int rc = protocol_recv(s->fd, &event, err);

	if (rc == 0)
		return gone(s->id, err);
	if (rc < 0 || record_decode(event.body, &record, err) < 0)
		return -1;
	*out = record.seen;
	return record.seen.state == SUPERVISED_STOPPED;
}

/* ---- what is left on disk ---- */

int supervisor_read_exit(int run_dir_fd, const char *id, struct supervised *out, struct err *err)
{
	struct record record;

	if (id_check_name(id, "id", err) < 0)
		return -1;
	auto_close int dir_fd = fs_open_dir(run_dir_fd, id, err);

	if (dir_fd < 0 || record_read(dir_fd, RECORD_EXIT, &record, err) < 0)
		return err_wrap(err, "%s: no exit record", id);
	*out = record.seen;
	return 0;
}

/* No process was reused for another: same pid, same start. */
static void kill_same(pid_t pid, uint64_t started)
{
	if (pid > 1 && started > 0 && record_process_start(pid) == started)
		(void)kill(pid, SIGKILL);
}

static int sweep(const char *cgroup, struct err *err)
{
	auto_close int root_fd = fs_trusted_open_dir("/sys/fs/cgroup", false, err);

	return root_fd < 0 ? -1 : cgroup_sweep(root_fd, cgroup, SWEEP_TIMEOUT_MS, err);
}

/* Killed while it made the container: its process, if there is one, waits in the cgroup. */
static int clean_up_half(int dir_fd, struct err *err)
{
	auto_buf struct buf cgroup = BUF_INIT(RECORD_CGROUP_MAX);

	if (fs_readlink(dir_fd, RECORD_CGROUP, &cgroup, NULL) < 0)
		return 0; /* it did not come as far */
	return sweep(buf_str(&cgroup), err);
}

static int clean_up(int dir_fd, struct err *err)
{
	struct record record;
	struct err why = ERR_INIT;

	if (record_read(dir_fd, RECORD_STATE, &record, &why) < 0)
		return clean_up_half(dir_fd, err);
	/* One that died may leave its process; one that hangs is ended, too. */
	kill_same(record.supervisor, record.supervisor_started);
	kill_same(record.seen.pid, record.pid_started);
	return record.cgroup[0] == '\0' ? 0 : sweep(record.cgroup, err);
}

void supervisor_forget_parent(const char *cgroup)
{
	auto_close int root_fd = fs_trusted_open_dir("/sys/fs/cgroup", false, NULL);

	if (root_fd >= 0)
		cgroup_prune(root_fd, cgroup);
}

/* Somebody listens: the supervisor lives and has not told the end yet. */
static bool is_supervised(int dir_fd)
{
	auto_close int fd = fs_connect_unix(dir_fd, SOCKET_NAME, SOCK_SEQPACKET, NULL);

	return fd >= 0;
}

int supervisor_forget(int run_dir_fd, const char *id, struct err *err)
{
	struct err why = ERR_INIT;

	if (id_check_name(id, "id", err) < 0)
		return -1;

	auto_close int dir_fd = fs_open_dir(run_dir_fd, id, &why);

	if (dir_fd < 0) {
		if (why.kind == ERR_NOT_FOUND)
			return 0;
		if (err)
			*err = why;
		return -1;
	}
	if (!fs_exists(dir_fd, RECORD_EXIT)) {
		if (is_supervised(dir_fd))
			return err_set(err, ERR_CONFLICT, "%s: is still running", id);
		if (clean_up(dir_fd, err) < 0)
			return err_wrap(err, "%s", id);
	}
	return fs_remove_tree(run_dir_fd, id, err);
}
