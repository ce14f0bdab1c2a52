/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/str.h"
#include "runtime/nursery.h"
#include "runtime/protocol.h"
#include "runtime/supervisor.h"

#define WARM_STACK (32 << 10)
#define WARM_HEAP  (80 << 10) /* below what malloc() maps by itself */
#define SPARES     2
#define SPARES_MAX 64 /* with those under way, which beyond that are not waited for */

static int check_descriptors(struct err *err)
{
	int type = 0;
	socklen_t len = sizeof(type);
	struct stat st;

	if (getsockopt(PROTOCOL_LAUNCHER_FD, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    type != SOCK_SEQPACKET)
		return err_set(err, ERR_INVALID,
		               "descriptor %d is not a seqpacket socket: the engine starts this",
		               PROTOCOL_LAUNCHER_FD);
	if (fstat(PROTOCOL_RUN_DIR_FD, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_set(err, ERR_INVALID, "descriptor %d is not a directory",
		               PROTOCOL_RUN_DIR_FD);
	if (fcntl(PROTOCOL_LAUNCHER_FD, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(PROTOCOL_RUN_DIR_FD, F_SETFD, FD_CLOEXEC) < 0)
		return err_sys(err, "cannot mark descriptors close-on-exec");
	return 0;
}

/* Nothing of the engine's stdio may live on in supervisors; stderr stays for ourselves. */
static int detach_stdio(struct err *err)
{
	auto_close int null_fd = fs_trusted_open("/dev/null", O_RDWR, 0, err);

	if (null_fd < 0)
		return -1;
	if (dup2(null_fd, STDIN_FILENO) < 0 || dup2(null_fd, STDOUT_FILENO) < 0)
		return err_sys(err, "cannot detach stdio");
	return 0;
}

/* A launcher that is told of a launch must not take the CPU from it. */
static void set_batch(bool batch)
{
	const struct sched_param param = {.sched_priority = 0};

	if (sched_getscheduler(0) == (batch ? SCHED_OTHER : SCHED_BATCH))
		(void)sched_setscheduler(0, batch ? SCHED_BATCH : SCHED_OTHER, &param);
}

static int prepare(struct err *err)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	if (check_descriptors(err) < 0 || detach_stdio(err) < 0)
		return -1;
	/* Supervisors are not waited for: their records speak. */
	if (sigaction(SIGCHLD, &ignore, NULL) < 0)
		return err_sys(err, "cannot ignore SIGCHLD");
	/* Nobody reads our memory or opens our executable through /proc. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, "cannot make the launcher undumpable");
	(void)prctl(PR_SET_NAME, "buoy-launcher", 0, 0, 0);
	set_batch(true);
	umask(077);
	if (chdir("/") < 0)
		return err_sys(err, "cannot change to /");
	return 0;
}

static void refuse(const struct protocol_packet *request, const struct err *why)
{
	int fd = protocol_fd(request, request->body, "reply");

	if (fd >= 0)
		(void)protocol_send(fd, protocol_error(why), NULL, 0, NULL);
}

/* ---- spares ---- */

/*
 * Forking is the dearest step of a launch after the container itself, so it is done before anybody asks: spare
 * processes wait on the engine's socket, and the request itself goes to one of them. Nor is it done beside a launch,
 * whose CPU and memory it would take: the next spare is forked when nothing is under way, unless the last one is
 * taken. Each has a socket pair with the launcher: a byte says that it has taken a request, the end that its launch
 * is over, or that it is dead.
 */
struct spare {
	int note_fd; /* owned */
	bool taken;
};

struct spares {
	struct spare all[SPARES_MAX];
	size_t count;
	struct nursery nursery; /* owned; made once, as the spares are forked with it */
};

static void become_supervisor(struct protocol_packet *request, int note_fd, struct nursery nursery)
{
	struct err err = ERR_INIT;

	if (FAILPOINT("launcher.request", &err) < 0) {
		refuse(request, &err);
		_exit(1);
	}
	(void)send(note_fd, "", 1, MSG_NOSIGNAL); /* a launcher that is dead needs no next one */
	close(PROTOCOL_LAUNCHER_FD);
	(void)dup2(STDIN_FILENO, STDERR_FILENO);
	if (str_eq(json_get_string(request->body, "op"), "checkpoint"))
		_exit(supervisor_checkpoint(request, PROTOCOL_RUN_DIR_FD, note_fd, nursery));
	_exit(supervisor_run(request, PROTOCOL_RUN_DIR_FD, note_fd, nursery));
}

/* 1: *request is there; 0: the engine is gone; -1: nobody may go on. A bad packet is passed over: its reply
 * socket closes, and the engine sees that. */
static int next_request(struct protocol_packet *request, struct err *err)
{
	for (;;) {
		struct err why = ERR_INIT;
		int rc = protocol_recv(PROTOCOL_LAUNCHER_FD, request, &why);

		if (rc >= 0)
			return rc;
		if (why.kind == ERR_SYSTEM)
			return err_set(err, ERR_SYSTEM, "%s", why.msg);
	}
}

/* The pages that a launch will write are taken over from the launcher here, not while somebody waits; a supervisor
 * gives them back when it is idle. */
static __attribute__((noinline)) void warm_up(void)
{
	char stack[WARM_STACK];
	char *heap = malloc(WARM_HEAP);

	explicit_bzero(stack, sizeof(stack));
	if (heap)
		explicit_bzero(heap, WARM_HEAP);
	free(heap);
}

/* It dies with its launcher: the engine sees the end of the connection that they share, and starts another. */
static _Noreturn void wait_as_spare(int note_fd, pid_t launcher, struct nursery nursery)
{
	struct protocol_packet request = PROTOCOL_PACKET_INIT;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	warm_up();
	set_batch(false);
	if (getppid() != launcher || next_request(&request, NULL) != 1)
		_exit(0);
	(void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0); /* a supervisor outlives us */
	become_supervisor(&request, note_fd, nursery);
	_exit(1);
}

static void forget(struct spares *s, size_t i)
{
	close(s->all[i].note_fd);
	s->all[i] = s->all[--s->count];
}

static size_t count_idle(const struct spares *s)
{
	size_t idle = 0;

	for (size_t i = 0; i < s->count; i++)
		idle += !s->all[i].taken;
	return idle;
}

static void make_room(struct spares *s)
{
	for (size_t i = 0; i < s->count && s->count == SPARES_MAX; i++)
		if (s->all[i].taken)
			forget(s, i);
}

static int fork_spare(struct spares *s, struct err *err)
{
	pid_t launcher = getpid();
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(err, "cannot make a socket pair");
	auto_close int ours = ends[0], theirs = ends[1];
	pid_t pid = fork();
	if (pid == 0) {
		close(ours);
		while (s->count > 0)
			forget(s, 0);
		wait_as_spare(theirs, launcher, s->nursery);
	}
	if (pid < 0)
		return err_sys(err, "cannot fork a supervisor");
	make_room(s);
	s->all[s->count++] = (struct spare){.note_fd = move_fd(&ours)};
	return 0;
}

/* Without a spare nothing can be launched, and whoever asks is told why. */
static int refuse_next(const struct err *why, struct err *err)
{
	auto_packet struct protocol_packet request = PROTOCOL_PACKET_INIT;
	int rc = next_request(&request, err);

	if (rc > 0)
		refuse(&request, why);
	return rc;
}

static bool engine_is_gone(void)
{
	return recv(PROTOCOL_LAUNCHER_FD, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT) == 0;
}

/* -1: there is none, and none can be had. */
static int keep_spares(struct spares *s, struct err *err)
{
	for (;;) {
		size_t idle = count_idle(s);
		if (idle > 0 && (idle >= SPARES || s->count > idle))
			return 0;
		if (fork_spare(s, err) < 0)
			return idle > 0 ? 0 : -1;
	}
}

/* 1: go on; 0: the engine is gone. */
static int hear(struct spares *s, size_t i)
{
	bool was_taken = s->all[i].taken;
	char byte;
	ssize_t n = read(s->all[i].note_fd, &byte, 1);

	if (n < 0 && errno == EINTR)
		return 1;
	if (n == 1) {
		s->all[i].taken = true;
		(void)FAILPOINT("launcher.forked", NULL);
		return 1;
	}
	forget(s, i);
	return was_taken || !engine_is_gone();
}

/* 1: go on; 0: the engine is gone; -1. */
static int serve_one(struct spares *s, struct err *err)
{
	struct pollfd fds[SPARES_MAX];
	struct err why = ERR_INIT;

	if (keep_spares(s, &why) < 0)
		return refuse_next(&why, err);
	for (size_t i = 0; i < s->count; i++)
		fds[i] = (struct pollfd){.fd = s->all[i].note_fd, .events = POLLIN};
	if (poll(fds, s->count, -1) < 0)
		return errno == EINTR ? 1 : err_sys(err, "cannot wait for spares");
	for (size_t i = s->count; i-- > 0;) /* the last takes the place of one that is forgotten */
		if (fds[i].revents && hear(s, i) == 0)
			return 0;
	return 1;
}

static int serve(struct err *err)
{
	struct json *ready = json_object();
	struct spares spares = {.count = 0, .nursery = NURSERY_NONE};
	int rc;

	if (json_set(ready, "ready", json_bool(true)) < 0) {
		json_free(ready);
		return err_nomem(err);
	}
	if (protocol_send(PROTOCOL_LAUNCHER_FD, ready, NULL, 0, err) < 0)
		return -1;
	if (nursery_make(&spares.nursery, err) < 0)
		return -1;
	while ((rc = serve_one(&spares, err)) > 0)
		;
	nursery_close(&spares.nursery);
	return rc;
}

int serve_main(int argc, char **argv)
{
	struct err err = ERR_INIT;

	(void)argv;
	if (argc > 1)
		(void)err_set(&err, ERR_INVALID, "serve takes no arguments");
	else if (prepare(&err) == 0 && serve(&err) == 0)
		return 0;
	(void)fprintf(stderr, "buoy-runtime serve: %s\n", err.msg);
	return 1;
}
