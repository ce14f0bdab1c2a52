/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/foreground.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "runtime/spawn.h"

int foreground_send_console(const char *socket_path, int console_fd, struct err *err)
{
	char name[] = "/dev/ptmx";
	struct iovec part = {.iov_base = name, .iov_len = sizeof(name) - 1};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct msghdr header = {.msg_iov = &part,
	                        .msg_iovlen = 1,
	                        .msg_control = control.bytes,
	                        .msg_controllen = sizeof(control.bytes)};
	auto_close int fd = fs_trusted_connect_unix(socket_path, SOCK_STREAM, err);

	if (fd < 0)
		return err_wrap(err, "console socket");
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.align), &console_fd, sizeof(int));
	if (sendmsg(fd, &header, MSG_NOSIGNAL) < 0)
		return err_sys(err, "console socket %s", socket_path);
	return 0;
}

int foreground_write_pid(const char *path, pid_t pid, struct err *err)
{
	char dir[PATH_MAX], text[16];
	const char *slash = strrchr(path, '/');

	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
	int len = snprintf(text, sizeof(text), "%d", pid);
	auto_close int fd = fs_trusted_open_dir(dir, false, err);
	if (fd < 0 ||
	    fs_write_atomic(fd, slash ? slash + 1 : path, text, (size_t)len, 0644, err) < 0)
		return err_wrap(err, "pid file");
	return 0;
}

/* ---- relaying ---- */

struct relay {
	int console_fd; /* -1: no terminal, or its other side is closed */
	bool input;     /* our stdin still gives */
	bool is_raw;
	struct termios saved;
};

static void copy_size(const struct relay *r)
{
	struct winsize size;

	if (r->console_fd >= 0 && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
		(void)ioctl(r->console_fd, TIOCSWINSZ, &size);
}

static void relay_start(struct relay *r)
{
	struct termios raw;

	r->input = r->console_fd >= 0;
	if (r->console_fd < 0 || tcgetattr(STDIN_FILENO, &r->saved) < 0)
		return;
	raw = r->saved;
	cfmakeraw(&raw);
	raw.c_oflag |= OPOST;
	r->is_raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
	copy_size(r);
}

static void relay_stop(struct relay *r)
{
	if (r->is_raw)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &r->saved);
}

/* One piece. false: the source has ended. */
static bool copy_piece(int from, int to)
{
	char piece[16384];
	ssize_t n = read(from, piece, sizeof(piece));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0)
		return false;
	(void)fs_write_all(to, piece, (size_t)n, NULL);
	return true;
}

static void drain(const struct relay *r)
{
	struct pollfd fd = {.fd = r->console_fd, .events = POLLIN};

	while (r->console_fd >= 0 && poll(&fd, 1, 0) > 0 && (fd.revents & POLLIN))
		if (!copy_piece(r->console_fd, STDOUT_FILENO))
			return;
}

static void forward_signal(int signal_fd, const struct relay *r, pid_t pid)
{
	struct signalfd_siginfo info;

	if (read(signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH && r->console_fd >= 0)
		copy_size(r);
	else if (info.ssi_signo != SIGCHLD)
		(void)kill(pid, (int)info.ssi_signo);
}

static int reap(pid_t pid, struct err *err)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(err, "wait for process %d", pid);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void serve(struct relay *r, int signal_fd, const struct spawned *p)
{
	for (;;) {
		struct pollfd fds[] = {
			{.fd = p->pidfd, .events = POLLIN},
			{.fd = signal_fd, .events = POLLIN},
			{.fd = r->console_fd, .events = POLLIN},
			{.fd = r->input ? STDIN_FILENO : -1, .events = POLLIN},
		};
		if (poll(fds, 4, -1) < 0 && errno != EINTR)
			return;
		if (fds[1].revents & POLLIN)
			forward_signal(signal_fd, r, p->pid);
		if (fds[2].revents && !copy_piece(r->console_fd, STDOUT_FILENO))
			r->console_fd = -1;
		if (fds[3].revents && !copy_piece(STDIN_FILENO, r->console_fd))
			r->input = false;
		if (fds[0].revents)
			return;
		r->input &= r->console_fd >= 0;
	}
}

int foreground_wait(const struct spawned *p, struct err *err)
{
	struct relay relay = {.console_fd = p->console_fd};
	sigset_t all, old;

	sigfillset(&all);
	sigdelset(&all, SIGTTIN); /* job control is the shell's */
	sigdelset(&all, SIGTTOU);
	sigdelset(&all, SIGTSTP);
	sigprocmask(SIG_BLOCK, &all, &old);
	auto_close int signal_fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0)
		return err_sys(err, "signalfd");

	relay_start(&relay);
	serve(&relay, signal_fd, p);
	drain(&relay);
	relay_stop(&relay);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return reap(p->pid, err);
}
