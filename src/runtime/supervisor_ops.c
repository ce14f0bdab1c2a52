/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <termios.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/str.h"
#include "runtime/cgroup.h"
#include "runtime/cgroup_stats.h"
#include "runtime/protocol.h"
#include "runtime/spec.h"
#include "runtime/supervisor.h"

/* What a request gives back. */
struct answer {
	struct json *body; /* owned; NULL: {} */
	int fd;            /* owned unless `keeps_fd`; -1: none */
	bool keeps_fd;
	bool watch;
};

static int check_cgroup(const struct supervision *s, const char *what, struct err *err)
{
	if (!s->spawned.cgroup)
		return err_set(err, ERR_UNSUPPORTED, "cannot %s %s", what,
		               s->is_exec ? "an exec'ed process: it is in its container's cgroup"
		                          : "a container without a cgroup");
	return 0;
}

static int op_state(struct supervision *s, const struct json *body, struct answer *out,
                    struct err *err)
{
	(void)body;
	out->body = record_encode(s->id, &s->record);
	return out->body ? 0 : err_nomem(err);
}

/* Not even a zombie that we have not reaped yet. */
static bool is_alive(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

/* OOM kills up to here did not end the process, as it lives. */
static void note_oom(struct supervision *s)
{
	uint64_t oom = 0;

	if (s->spawned.cgroup && is_alive(s->spawned.pidfd) &&
	    cgroup_oom_kills(s->spawned.cgroup, &oom, NULL) == 0)
		s->oom_base = oom;
}

static int op_start(struct supervision *s, const struct json *body, struct answer *out,
                    struct err *err)
{
	if (s->record.seen.state != SUPERVISED_CREATED)
		return err_set(err, ERR_CONFLICT, "has been started already");
	(void)FAILPOINT("supervisor.start.before", NULL);
	s->record.seen.state = SUPERVISED_RUNNING;
	s->record.seen.started_ns = clock_wall_ns();
	if (!s->awaits_start && spawn_release(&s->spawned, err) < 0)
		return -1; /* its exit comes next, with 126 or 127 */
	s->awaits_start = false;
	arena_done(&s->arena);
	streams_started(&s->streams);
	(void)FAILPOINT("supervisor.start.released", NULL);
	supervisor_changed(s);
	supervisor_launched(s);
	out->watch = json_get_bool(body, "watch",
	                           false); /* from the next change on: this is its answer */
	return 0;
}

static int op_kill(struct supervision *s, const struct json *body, struct answer *out,
                   struct err *err)
{
	int64_t signal = json_get_int(body, "signal", -1);

	(void)out;
	if (signal < 0 || signal >= NSIG)
		return err_set(err, ERR_INVALID, "signal %lld: must be 0 to %d", (long long)signal,
		               NSIG - 1);
	if (signal == SIGKILL) {
		note_oom(s);
		s->awaits_start = false; /* nobody will */
	}
	if (json_get_bool(body, "all", false) && s->spawned.cgroup) {
		if (cgroup_kill(s->spawned.cgroup, (int)signal, err) < 0)
			return -1;
	} else if (pidfd_send_signal(s->spawned.pidfd, (int)signal, NULL, 0) < 0) {
		if (errno == ESRCH)
			return err_set(err, ERR_NOT_FOUND, "has ended");
		return err_sys(err, "cannot send signal %d", (int)signal);
	}
	if (signal != SIGKILL || s->record.seen.state != SUPERVISED_PAUSED)
		return 0;
	/* A frozen process dies only when it is thawed (cgroup v1). */
	(void)cgroup_freeze(s->spawned.cgroup, false, NULL);
	s->record.seen.state = SUPERVISED_RUNNING;
	return 0;
}

static int op_resize(struct supervision *s, const struct json *body, struct answer *out,
                     struct err *err)
{
	int64_t rows = json_get_int(body, "rows", -1), cols = json_get_int(body, "cols", -1);

	(void)out;
	if (rows < 0 || rows > UINT16_MAX || cols < 0 || cols > UINT16_MAX)
		return err_set(err, ERR_INVALID, "terminal size: must be 0 to %d", UINT16_MAX);
	if (s->spawned.console_fd < 0)
		return err_set(err, ERR_INVALID, "has no terminal");

	struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};

	if (ioctl(s->spawned.console_fd, TIOCSWINSZ, &size) < 0)
		return err_sys(err, "cannot resize the terminal");
	return 0;
}

static int op_pause(struct supervision *s, const struct json *body, struct answer *out,
                    struct err *err)
{
	bool pause = json_get_bool(body, "pause", false);
	enum supervised_state from = pause ? SUPERVISED_RUNNING : SUPERVISED_PAUSED;

	(void)out;
	if (check_cgroup(s, pause ? "pause" : "resume", err) < 0)
		return -1;
	if (s->record.seen.state != from)
		return err_set(err, ERR_CONFLICT, pause ? "is not running" : "is not paused");
	if (cgroup_freeze(s->spawned.cgroup, pause, err) < 0) {
		if (pause)
			(void)cgroup_freeze(s->spawned.cgroup, false, NULL);
		return -1;
	}
	s->record.seen.state = pause ? SUPERVISED_PAUSED : SUPERVISED_RUNNING;
	supervisor_changed(s);
	return 0;
}

static int op_update(struct supervision *s, const struct json *body, struct answer *out,
                     struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(SPEC_ARENA_MAX);
	auto_buf struct buf text = BUF_INIT(PROTOCOL_PACKET_MAX);
	const struct json *resources = json_get(body, "resources");

	(void)out;
	if (check_cgroup(s, "update", err) < 0)
		return -1;
	if (!json_is_object(resources))
		return err_set(err, ERR_INVALID, "resources: not an object");
	if (json_write(resources, &text, err) < 0)
		return -1;

	struct oci_resources *parsed = spec_parse_resources(buf_str(&text), text.len, &arena, err);

	return parsed ? cgroup_apply(s->spawned.cgroup, parsed, err) : -1;
}

static struct json *pid_list(const pid_t *pids, size_t count)
{
	struct json *list = json_array(), *body = json_object();
	bool bad = false;

	for (size_t i = 0; i < count; i++)
		bad |= json_append(list, json_int(pids[i])) < 0;
	bad |= json_set(body, "pids", list) < 0;
	if (!bad)
		return body;
	json_free(body);
	return NULL;
}

static int op_pids(struct supervision *s, const struct json *body, struct answer *out,
                   struct err *err)
{
	(void)body;
	auto_free pid_t *pids = calloc(PROTOCOL_PIDS_MAX, sizeof(*pids));

	if (!pids)
		return err_nomem(err);
	pids[0] = s->spawned.pid;
	ssize_t count = s->spawned.cgroup
	                        ? cgroup_pids(s->spawned.cgroup, pids, PROTOCOL_PIDS_MAX, err)
	                        : 1;

	if (count < 0)
		return -1;
	out->body = pid_list(pids, count < PROTOCOL_PIDS_MAX ? (size_t)count : PROTOCOL_PIDS_MAX);
	return out->body ? 0 : err_nomem(err);
}

static int op_stats(struct supervision *s, const struct json *body, struct answer *out,
                    struct err *err)
{
	(void)body;
	if (check_cgroup(s, "measure", err) < 0)
		return -1;
	out->body = cgroup_stats(s->spawned.cgroup, err);
	return out->body ? 0 : -1;
}

static int op_attach(struct supervision *s, const struct json *body, struct answer *out,
                     struct err *err)
{
	struct supervisor_attach what = {
		.in = json_get_bool(body, "in", false),
		.out = json_get_bool(body, "out", false),
		.err = json_get_bool(body, "err", false),
		.logs = json_get_bool(body, "logs", false),
	};

	out->fd = streams_attach(&s->streams, &what, err);
	return out->fd < 0 ? -1 : 0;
}

static int op_watch(struct supervision *s, const struct json *body, struct answer *out,
                    struct err *err)
{
	(void)s, (void)body, (void)err;
	out->watch = true;
	return 0;
}

static int op_config(struct supervision *s, const struct json *body, struct answer *out,
                     struct err *err)
{
	(void)body;
	if (s->config_fd < 0)
		return err_set(err, ERR_INVALID, "is an exec'ed process, not a container");
	note_oom(s); /* who asks may be about to kill it (a checkpoint) */
	out->body = record_encode(s->id, &s->record);
	out->fd = s->config_fd;
	out->keeps_fd = true;
	return out->body ? 0 : err_nomem(err);
}

static const struct {
	const char *name;
	int (*run)(struct supervision *s, const struct json *body, struct answer *out,
	           struct err *err);
} ops[] = {
	{"state", op_state},   {"start", op_start},   {"kill", op_kill},     {"resize", op_resize},
	{"pause", op_pause},   {"update", op_update}, {"pids", op_pids},     {"stats", op_stats},
	{"attach", op_attach}, {"watch", op_watch},   {"config", op_config},
};

static int run_op(struct supervision *s, const struct json *body, struct answer *out,
                  struct err *err)
{
	const char *name = json_get_string(body, "op");

	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		if (str_eq(name, ops[i].name))
			return ops[i].run(s, body, out, err);
	return err_set(err, ERR_UNSUPPORTED, "op: \"%.40s\" is not known here", name ? name : "");
}

int supervisor_answer(struct supervision *s, struct supervision_connection *c)
{
	auto_packet struct protocol_packet request = PROTOCOL_PACKET_INIT;
	struct answer answer = {.fd = -1};
	struct err why = ERR_INIT;
	int rc = protocol_recv(c->fd, &request, &why);

	if (rc < 0 && why.kind == ERR_TIMEOUT)
		return 0;
	if (rc <= 0)
		return -1;
	if (run_op(s, request.body, &answer, &why) < 0) {
		json_free(answer.body);
		answer.body = protocol_error(&why);
	} else if (!answer.body) {
		answer.body = json_object();
	}
	rc = protocol_send(c->fd, answer.body, &answer.fd, answer.fd >= 0 ? 1 : 0, NULL);
	if (!answer.keeps_fd)
		cleanup_close(&answer.fd);
	c->watch = c->watch || answer.watch;
	return rc;
}

void supervisor_notify(struct supervision *s)
{
	for (size_t i = 0; i < SUPERVISOR_CONNECTIONS_MAX; i++) {
		struct supervision_connection *c = &s->connections[i];

		if (c->fd < 0 || !c->watch)
			continue;
		if (protocol_send(c->fd, record_encode(s->id, &s->record), NULL, 0, NULL) == 0)
			continue;
		/* It does not read: it will see the end of file and ask again. */
		close(c->fd);
		*c = (struct supervision_connection){.fd = -1, .slot = -1};
	}
}

void supervisor_changed(struct supervision *s)
{
	(void)record_write(s->dir_fd, RECORD_STATE, s->id, &s->record, NULL);
	supervisor_notify(s);
}
