/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/demux.h"
#include "cli/terminal.h"

#define BLOCK (32u << 10)

static void wanted_signals(sigset_t *set)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};

	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		sigaddset(set, signals[i]);
}

int session_block_signals(struct err *err)
{
	sigset_t set;

	wanted_signals(&set);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(err, "block signals");
	return 0;
}

void session_resize(struct cli *cli, const char *path)
{
	auto_buf struct buf full = BUF_INIT(API_PATH_MAX);
	uint16_t rows, cols;

	if (!path || !terminal_size(&rows, &cols))
		return;
	buf_add(&full, path);
	api_query_int(&full, "h", rows);
	api_query_int(&full, "w", cols);
	(void)api_send(cli, "POST", buf_str(&full), NULL, NULL, NULL);
}

static void pass_signal(struct cli *cli, const struct session *s, unsigned number)
{
	auto_buf struct buf full = BUF_INIT(API_PATH_MAX);
	const char *name = sigabbrev_np((int)number);

	buf_add(&full, s->kill);
	api_query(&full, "signal", name ? name : "TERM");
	(void)api_send(cli, "POST", buf_str(&full), NULL, NULL, NULL);
}

static int take_signal(struct cli *cli, const struct session *s, struct err *err)
{
	struct signalfd_siginfo info;

	if (read(s->signal_fd, &info, sizeof(info)) != sizeof(info))
		return 0;
	if (info.ssi_signo == SIGWINCH) {
		if (s->tty)
			session_resize(cli, s->resize);
		return 0;
	}
	if (s->kill) {
		pass_signal(cli, s, info.ssi_signo);
		return 0;
	}
	return err_set(err, ERR_CANCELED, "ended by signal %u", info.ssi_signo);
}

/* One block of our input to the container. 0 at its end. */
static ssize_t take_input(const struct session *s)
{
	char block[BLOCK];
	ssize_t n = read(STDIN_FILENO, block, sizeof(block));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 1;
	if (n > 0 && fs_write_all(s->fd, block, (size_t)n, NULL) == 0)
		return n;
	shutdown(s->fd, SHUT_WR);
	return 0;
}

static ssize_t take_output(const struct session *s, struct demux *demux, struct err *err)
{
	char block[BLOCK];
	ssize_t n = read(s->fd, block, sizeof(block));

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : 0;
	if (n > 0 && demux_feed(demux, block, (size_t)n, err) < 0)
		return -1;
	return n;
}

/* The stream has ended. Is the wait over as well, or has only the stream been left? */
static bool left_behind(const struct session *s)
{
	struct pollfd ready = {.fd = s->wait_fd, .events = POLLIN};

	return s->tty && s->wait_fd >= 0 && poll(&ready, 1, 2000) == 0;
}

/* What poll() found of the stream. 1: it goes on; 0: it has ended; -1. */
static int take_stream(struct session *s, struct demux *demux, struct err *err)
{
	ssize_t n = take_output(s, demux, err);

	if (n < 0)
		return -1;
	s->detached = n == 0 && left_behind(s);
	return n > 0;
}

enum {
	SIGNALS,
	INPUT,
	STREAM,
	WAIT,
	FDS
};

/* Until one of them has something to say. While there is output its end counts, not that of the process. */
static int wait_ready(const struct session *s, bool in, bool out, struct pollfd fds[FDS],
                      struct err *err)
{
	fds[SIGNALS] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
	fds[INPUT] = (struct pollfd){.fd = in ? STDIN_FILENO : -1, .events = POLLIN};
	fds[STREAM] = (struct pollfd){.fd = out ? s->fd : -1, .events = POLLIN};
	fds[WAIT] = (struct pollfd){.fd = out ? -1 : s->wait_fd, .events = POLLIN};
	if (poll(fds, FDS, -1) < 0 && errno != EINTR)
		return err_sys(err, "poll");
	return 0;
}

static int loop(struct cli *cli, struct session *s, struct err *err)
{
	struct demux demux = {.raw = s->tty};
	bool in = s->in && s->fd >= 0, out = s->fd >= 0;

	while (out || s->wait_fd >= 0) {
		struct pollfd fds[FDS];

		if (wait_ready(s, in, out, fds, err) < 0)
			return -1;
		if (fds[SIGNALS].revents && take_signal(cli, s, err) < 0)
			return -1;
		if (fds[STREAM].revents) {
			int more = take_stream(s, &demux, err);
			if (more < 0)
				return -1;
			out = more > 0;
			in = in && out;
		}
		if (in && fds[INPUT].revents)
			in = take_input(s) > 0;
		if (s->detached || fds[WAIT].revents)
			return 0;
	}
	return 0;
}

int session_run(struct cli *cli, struct session *s, struct err *err)
{
	auto_terminal struct terminal terminal = {0};
	sigset_t set;

	wanted_signals(&set);
	auto_close int signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0)
		return err_sys(err, "signals");
	if (s->tty && s->in && terminal_raw(&terminal, STDIN_FILENO, err) < 0)
		return -1;
	s->signal_fd = signal_fd;
	return loop(cli, s, err);
}

/* ---- the waiter ---- */

static int on_headers(void *arg, const struct http_response *response)
{
	struct waiter *w = arg;

	(void)response;
	(void)fs_write_all(w->armed_fd[1], "", 1, NULL);
	return 0;
}

static int wait_call(struct waiter *w, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	auto_type(http_client) client = api_connect(w->cli, err);
	struct http_response response = {0};

	if (!client)
		return -1;
	api_begin(&path, "/containers/", w->id, "/wait");
	api_query(&path, "condition", w->condition);
	const struct http_call call = {
		.method = "POST", .path = buf_str(&path), .begin = on_headers, .begin_arg = w};
	int rc = http_call_run(client, &call, &response, err);
	if (rc == 0)
		rc = http_expect(&response, err);
	auto_type(json) doc =
		rc == 0 ? json_parse(response.body ? response.body : "", response.len, err) : NULL;
	http_response_done(&response);
	if (!doc)
		return -1;
	const char *message = json_get_string(json_get(doc, "Error"), "Message");
	w->code = json_get_int(doc, "StatusCode", -1);
	if (message)
		(void)err_set(&w->container, ERR_SYSTEM, "%s", message);
	return 0;
}

static void *waiter_main(void *arg)
{
	struct waiter *w = arg;

	(void)wait_call(w, &w->err);
	(void)fs_write_all(w->armed_fd[1], "", 1, NULL);
	close(w->done_fd[1]); /* its end tells the reader */
	return NULL;
}

int waiter_start(struct waiter *w, const struct cli *cli, const char *id, const char *condition,
                 struct err *err)
{
	char byte;

	*w = (struct waiter){.cli = cli, .id = id, .condition = condition, .err = ERR_INIT};
	if (pipe2(w->armed_fd, O_CLOEXEC) < 0 || pipe2(w->done_fd, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	int rc = pthread_create(&w->thread, NULL, waiter_main, w);
	if (rc != 0) {
		errno = rc;
		return err_sys(err, "start a thread");
	}
	while (read(w->armed_fd[0], &byte, 1) < 0 && errno == EINTR)
		;
	return 0;
}

int waiter_join(struct waiter *w, struct err *err)
{
	pthread_join(w->thread, NULL);
	if (w->err.kind != ERR_NONE) {
		if (err)
			*err = w->err;
		return -1;
	}
	if (w->container.kind != ERR_NONE && w->code < 0) {
		if (err)
			*err = w->container;
		return -1;
	}
	return (int)(w->code & 0xff);
}
