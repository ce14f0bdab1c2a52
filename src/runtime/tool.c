/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

#define WORDS_MAX (64 << 10) /* bytes of stderr that are kept */

/* What execvp() could not do, as a shell says it. */
#define STATUS_NOT_FOUND 127
#define STATUS_DENIED    126

static _Noreturn void execute(const char *const *argv, int out_fd, int err_fd)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(out_fd, STDOUT_FILENO);
	dup2(err_fd, STDERR_FILENO);
	execvp(argv[0], (char *const *)argv); /* does not write there */
	_exit(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_DENIED);
}

/* One piece of a pipe. false: it has ended. Bytes beyond the buffer's end are read and dropped. */
static bool take_piece(int fd, struct buf *into)
{
	char piece[4096];
	ssize_t n = read(fd, piece, sizeof(piece));

	if (n < 0 && errno == EINTR)
		return true;
	if (n > 0 && into)
		buf_add_mem(into, piece, (size_t)n);
	return n > 0;
}

/* false: the time is over. */
static bool collect(int out_fd, int err_fd, int64_t deadline, struct buf *out, struct buf *words)
{
	struct pollfd fds[] = {{.fd = out_fd, .events = POLLIN}, {.fd = err_fd, .events = POLLIN}};

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		int64_t left = deadline - clock_mono_ms();
		if (left <= 0)
			return false;
		if (poll(fds, 2, (int)left) <= 0)
			continue;
		if (fds[0].revents && !take_piece(out_fd, out))
			fds[0].fd = -1;
		if (fds[1].revents && !take_piece(err_fd, words))
			fds[1].fd = -1;
	}
	return true;
}

/* The last line that says anything: programs end with what went wrong. */
static const char *last_words(struct buf *words)
{
	while (words->len > 0 && strchr("\n\r ", words->data[words->len - 1]))
		words->data[--words->len] = '\0';
	const char *line = words->len > 0 ? strrchr(buf_str(words), '\n') : NULL;
	return line ? line + 1 : buf_str(words);
}

static int judge(const char *name, int status, struct buf *words, struct err *err)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);

	if (code == 0)
		return 0;
	if (code == STATUS_NOT_FOUND && words->len == 0)
		return err_set(err, ERR_NOT_FOUND, "%s: no such program in PATH", name);
	if (words->len == 0)
		return err_set(err, ERR_SYSTEM, "%s: ended with status %d", name, code);
	return err_set(err, ERR_SYSTEM, "%s: %s", name, last_words(words));
}

int tool_run(const char *const *argv, int timeout_ms, struct buf *out, struct err *err)
{
	auto_buf struct buf words = BUF_INIT(WORDS_MAX);
	int out_ends[2], err_ends[2], status;

	if (pipe2(out_ends, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	auto_close int out_fd = out_ends[0];
	auto_close int out_writer = out_ends[1];
	if (pipe2(err_ends, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	auto_close int err_fd = err_ends[0];
	auto_close int err_writer = err_ends[1];
	pid_t pid = fork();
	if (pid == 0)
		execute(argv, out_writer, err_writer);
	if (pid < 0)
		return err_sys(err, "fork");
	close(move_fd(&out_writer));
	close(move_fd(&err_writer));

	bool in_time = collect(out_fd, err_fd, clock_mono_ms() + timeout_ms, out, &words);
	if (!in_time)
		(void)kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(err, "wait for %s", argv[0]);
	if (!in_time)
		return err_set(err, ERR_TIMEOUT, "%s: did not end in %d ms", argv[0], timeout_ms);
	if (judge(argv[0], status, &words, err) < 0)
		return -1;
	return out ? buf_check(out, err) : 0;
}
