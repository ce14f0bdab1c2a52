/* SPDX-License-Identifier: Apache-2.0 */
#include "image/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/str.h"
#include "image/ahead.h"
#include "image/image.h"
#include "image/sandbox.h"

enum {
	WORKER_IN = 0,
	WORKER_RESULT = 1,
	WORKER_DIR = 3,
	WORKER_COPY = 4,
	WORKER_USERNS = 5,
	WORKER_FDS,
};

/* What comes back. Both ends are the same program, so the bytes of the struct will do; the
 * worker is not trusted, so every field is checked. */
struct message {
	struct err err;
	struct apply_result result;
};

/* ---- our side ---- */

/* Descriptors 0..5 are put in place by way of high numbers, since a source may itself be one of them. */
static int place_fds(posix_spawn_file_actions_t *actions, const int fds[WORKER_FDS],
                     int held[WORKER_FDS], struct err *err)
{
	for (int i = 0; i < WORKER_FDS; i++) {
		held[i] = -1;
		if (fds[i] < 0)
			continue;
		held[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 16);
		if (held[i] < 0)
			return err_sys(err, "cannot duplicate a descriptor for the unpacker");
		if (posix_spawn_file_actions_adddup2(actions, held[i], i) != 0)
			return err_nomem(err);
	}
	return 0;
}

static int spawn(const char *program, char *const argv[], const int fds[WORKER_FDS], pid_t *pid,
                 struct err *err)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int held[WORKER_FDS] = {-1, -1, -1, -1, -1, -1};
	char *const env[] = {(char[]){"PATH=/nonexistent"}, NULL};

	if (posix_spawn_file_actions_init(&actions) != 0)
		return err_nomem(err);
	if (posix_spawnattr_init(&attr) != 0) {
		posix_spawn_file_actions_destroy(&actions);
		return err_nomem(err);
	}
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

	int rc = place_fds(&actions, fds, held, err);
	if (rc == 0) {
		errno = posix_spawn(pid, program, &actions, &attr, argv, env);
		if (errno != 0)
			rc = err_sys(err, "cannot start the unpacker %s", program);
	}
	for (int i = 0; i < WORKER_FDS; i++)
		if (held[i] >= 0)
			close(held[i]);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

int worker_start(const char *program, const struct worker_job *job, struct worker *worker,
                 struct err *err)
{
	char flags[24], entries[24], bytes[24], ratio[24];
	int pair[2] = {-1, -1}, pipe_fds[2];

	(void)snprintf(flags, sizeof(flags), "%u", job->flags);
	(void)snprintf(entries, sizeof(entries), "%lld", (long long)job->limits.entries);
	(void)snprintf(bytes, sizeof(bytes), "%lld", (long long)job->limits.bytes);
	(void)snprintf(ratio, sizeof(ratio), "%lld", (long long)job->limits.ratio);
	char *argv[] = {(char[]){"buoyd"},
	                (char[]){"worker"},
	                (char[]){"unpack"},
	                flags,
	                entries,
	                bytes,
	                ratio,
	                NULL};

	/* A socket, not a pipe: writing to a dead one is an error then, not a signal. */
	if (job->in_fd < 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "cannot make a socket for the unpacker");
	auto_close int ours = pair[0];
	auto_close int theirs = pair[1];
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe for the unpacker");
	auto_close int result = pipe_fds[0];
	auto_close int result_in = pipe_fds[1];

	int in = job->in_fd < 0 ? theirs : job->in_fd;
	if (spawn(program, argv,
	          (int[WORKER_FDS]){in, result_in, 2, job->dir_fd, job->copy_fd,
	                            job->userns_fd > 0 ? job->userns_fd : -1},
	          &worker->pid, err) < 0)
		return -1;
	worker->in_fd = move_fd(&ours);
	worker->result_fd = move_fd(&result);
	return 0;
}

int worker_write(struct worker *worker, const void *data, size_t len, struct err *err)
{
	const char *next = data;

	while (len > 0) {
		ssize_t n = send(worker->in_fd, next, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "the unpacker stopped reading");
		next += n;
		len -= (size_t)n;
	}
	return 0;
}

static void close_ends(struct worker *worker)
{
	if (worker->in_fd >= 0)
		close(worker->in_fd);
	if (worker->result_fd >= 0)
		close(worker->result_fd);
	worker->in_fd = worker->result_fd = -1;
}

static int reap(struct worker *worker)
{
	int status = -1;

	while (waitpid(worker->pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1; /* reaped by somebody else: the message decides */
	return status;
}

static size_t read_message(int fd, struct message *m)
{
	size_t got = 0;

	while (got < sizeof(*m)) {
		ssize_t n = read(fd, (char *)m + got, sizeof(*m) - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	return got;
}

static bool message_ok(const struct message *m)
{
	if (m->err.kind != ERR_NONE)
		return m->err.kind <= ERR_INTERNAL && memchr(m->err.msg, 0, sizeof(m->err.msg));
	return memchr(m->result.diff_id, 0, sizeof(m->result.diff_id)) &&
	       digest_ok(m->result.diff_id) && m->result.size >= 0 && m->result.entries >= 0;
}

int worker_finish(struct worker *worker, struct apply_result *result, struct err *err)
{
	struct message m = {0};

	if (worker->in_fd >= 0)
		(void)shutdown(worker->in_fd, SHUT_WR);
	size_t got = read_message(worker->result_fd, &m);
	close_ends(worker);
	int status = reap(worker);

	if (got != sizeof(m) && status != -1 && WIFSIGNALED(status))
		return err_set(err, ERR_INVALID, "the unpacker died of signal %d on this archive",
		               WTERMSIG(status));
	if (got != sizeof(m) || !message_ok(&m))
		return err_set(err, ERR_INVALID, "the unpacker failed on this archive (status %d)",
		               status);
	if (m.err.kind != ERR_NONE) {
		if (err)
			*err = m.err;
		return -1;
	}
	*result = m.result;
	return 0;
}

void worker_cancel(struct worker *worker)
{
	(void)kill(worker->pid, SIGKILL);
	close_ends(worker);
	(void)reap(worker);
}

/* ---- the worker's side ---- */

static int parse_job(char **argv, struct worker_job *job, struct err *err)
{
	int64_t flags;

	if (id_parse_int(argv[3], "flags", 0, APPLY_FLAGS_ALL, &flags, err) < 0 ||
	    id_parse_int(argv[4], "entries", 1, INT64_MAX, &job->limits.entries, err) < 0 ||
	    id_parse_int(argv[5], "bytes", 1, INT64_MAX, &job->limits.bytes, err) < 0 ||
	    id_parse_int(argv[6], "ratio", 1, INT64_MAX, &job->limits.ratio, err) < 0)
		return -1;
	job->flags = (unsigned)flags;
	job->copy_fd = fcntl(WORKER_COPY, F_GETFD) >= 0 ? WORKER_COPY : -1;
	return 0;
}

/* Its id 0; groups too. */
static int join_userns(struct err *err)
{
	if (fcntl(WORKER_USERNS, F_GETFD) < 0)
		return 0;
	if (setns(WORKER_USERNS, CLONE_NEWUSER) < 0 || setgroups(0, NULL) < 0 ||
	    setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return err_sys(err, "the unpacker cannot join the container's user namespace");
	return 0;
}

static int start_ahead(void *arg, struct err *err)
{
	struct ahead **ahead = arg;

	*ahead = ahead_create(WORKER_IN, err);
	return *ahead ? 0 : -1;
}

static int unpack(char **argv, struct apply_result *result, struct err *err)
{
	struct worker_job job = {0};
	struct ahead *ahead =
		NULL; /* ends with the process: it may wait for bytes that nobody sends any more */

	/* Loads the locale that tarball.c wants; there are no files for it inside. */
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		return err_set(err, ERR_UNSUPPORTED, "the locale C.UTF-8 is missing");
	if (parse_job(argv, &job, err) < 0 || join_userns(err) < 0 ||
	    sandbox_enter(WORKER_DIR, job.flags, start_ahead, &ahead, err) < 0)
		return -1;
	return apply_tar(ahead, WORKER_DIR, job.copy_fd, job.flags, &job.limits, result, err);
}

int image_worker_main(int argc, char **argv)
{
	struct message m = {.err = ERR_INIT};

	if (argc != 7 || strcmp(argv[2], "unpack") != 0) {
		(void)fprintf(stderr, "worker: this is run by the daemon, not by people\n");
		return 2;
	}
	if (unpack(argv, &m.result, &m.err) < 0 && m.err.kind == ERR_NONE)
		(void)err_set(&m.err, ERR_INTERNAL, "unpacking failed without a reason");
	return fs_write_all(WORKER_RESULT, &m, sizeof(m), NULL) < 0;
}
