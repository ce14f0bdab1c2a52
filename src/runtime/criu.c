/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/criu.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#define WORDS_MAX 65536 /* bytes of stderr that are kept: a pipe's worth */
#define LINES_MAX 8

/* ---- writing messages: protobuf's wire format ---- */

enum wire {
	WIRE_NUMBER = 0,
	WIRE_64 = 1,
	WIRE_BYTES = 2,
	WIRE_32 = 5,
};

static void add_varint(struct buf *b, uint64_t value)
{
	unsigned char bytes[10];
	size_t n = 0;

	do {
		bytes[n] = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
		value >>= 7;
		n++;
	} while (value);
	buf_add_mem(b, bytes, n);
}

static void add_bytes(struct buf *b, unsigned field, const void *data, size_t len)
{
	add_varint(b, (uint64_t)field << 3 | WIRE_BYTES);
	add_varint(b, len);
	buf_add_mem(b, data, len);
}

void criu_add_number(struct buf *b, unsigned field, int64_t value)
{
	add_varint(b, (uint64_t)field << 3 | WIRE_NUMBER);
	add_varint(b, (uint64_t)value);
}

void criu_add_flag(struct buf *b, unsigned field, bool value)
{
	if (value)
		criu_add_number(b, field, 1);
}

void criu_add_text(struct buf *b, unsigned field, const char *text)
{
	if (!str_empty(text))
		add_bytes(b, field, text, strlen(text));
}

void criu_add_message(struct buf *b, unsigned field, const struct buf *message)
{
	add_bytes(b, field, buf_str(message), message->len);
}

void criu_add_pair(struct buf *b, unsigned field, const char *first, const char *second)
{
	auto_buf struct buf message = BUF_INIT(CRIU_OPTIONS_MAX);

	criu_add_text(&message, 1, first);
	criu_add_text(&message, 2, second);
	criu_add_message(b, field, &message);
}

void criu_add_named_number(struct buf *b, unsigned field, const char *name, int64_t value)
{
	auto_buf struct buf message = BUF_INIT(CRIU_OPTIONS_MAX);

	criu_add_text(&message, 1, name);
	criu_add_number(&message, 2, value);
	criu_add_message(b, field, &message);
}

/* ---- reading them ---- */

struct reader {
	const unsigned char *at, *end;
};

/* One field: a number, or bytes. */
struct field {
	unsigned number;
	uint64_t value;
	struct reader bytes;
};

static bool read_varint(struct reader *r, uint64_t *value)
{
	*value = 0;
	for (unsigned shift = 0; r->at < r->end && shift < 64; shift += 7) {
		unsigned char byte = *r->at++;
		*value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

/* 1: a field; 0: the end; -1: no message. */
static int read_field(struct reader *r, struct field *f)
{
	uint64_t key;

	if (r->at == r->end)
		return 0;
	if (!read_varint(r, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX)
		return -1;
	*f = (struct field){.number = (unsigned)(key >> 3)};
	if ((key & 7) == WIRE_NUMBER)
		return read_varint(r, &f->value) ? 1 : -1;
	uint64_t len = (key & 7) == WIRE_64 ? 8 : 4;
	if ((key & 7) == WIRE_BYTES && !read_varint(r, &len))
		return -1;
	if (((key & 7) != WIRE_BYTES && (key & 7) != WIRE_64 && (key & 7) != WIRE_32) ||
	    len > (uint64_t)(r->end - r->at))
		return -1;
	f->bytes = (struct reader){r->at, r->at + len};
	r->at += len;
	return 1;
}

static void copy_text(const struct field *f, char *out, size_t size)
{
	(void)snprintf(out, size, "%.*s", (int)(f->bytes.end - f->bytes.at),
	               f->bytes.at ? (const char *)f->bytes.at : "");
}

enum {
	ANSWER_TYPE = 1,
	ANSWER_SUCCESS = 2,
	ANSWER_RESTORE = 4,
	ANSWER_NOTIFY = 5,
	ANSWER_ERRNO = 7,
	ANSWER_WORDS = 9,
	ANSWER_VERSION = 10,
};

/* criu_restore_resp, criu_notify or criu_version. */
static int parse_part(struct reader r, unsigned part, struct criu_answer *out)
{
	int numbers[5] = {0};
	struct field f;
	int rc;

	while ((rc = read_field(&r, &f)) > 0) {
		if (f.number < 5)
			numbers[f.number] = (int)f.value;
		if (part == ANSWER_NOTIFY && f.number == 1)
			copy_text(&f, out->notice, sizeof(out->notice));
	}
	if (part == ANSWER_VERSION)
		out->version = numbers[1] * 10000 + numbers[2] * 100 + numbers[4];
	else
		out->pid = numbers[part == ANSWER_NOTIFY ? 2 : 1];
	return rc;
}

int criu_parse_answer(const void *data, size_t len, struct criu_answer *out, struct err *err)
{
	struct reader r = {data, (const unsigned char *)data + len};
	struct field f;
	int rc;

	*out = (struct criu_answer){.type = 0};
	while ((rc = read_field(&r, &f)) > 0) {
		if (f.number == ANSWER_TYPE)
			out->type = (int)f.value;
		else if (f.number == ANSWER_SUCCESS)
			out->success = f.value != 0;
		else if (f.number == ANSWER_ERRNO)
			out->code = (int)f.value;
		else if (f.number == ANSWER_WORDS)
			copy_text(&f, out->words, sizeof(out->words));
		else if (f.number == ANSWER_RESTORE || f.number == ANSWER_NOTIFY ||
		         f.number == ANSWER_VERSION)
			rc = f.bytes.at ? parse_part(f.bytes, f.number, out) : -1;
		if (rc < 0)
			break;
	}
	return rc < 0 ? err_set(err, ERR_INVALID, "criu: an answer that is no message") : 0;
}

/* ---- its words ---- */

static bool tells_of_error(const char *line, size_t len)
{
	/* "Dumping FAILED." ends every log of a failure, and says nothing. */
	return memmem(line, len, "Error", 5) && !memmem(line, len, " FAILED.", 8);
}

void criu_log_tail(const char *log, size_t max, struct buf *out)
{
	const char *lines[LINES_MAX], *last = "";
	size_t count = 0;

	for (const char *line = log; *line;) {
		size_t len = strcspn(line, "\n");
		if (len > 0)
			last = line;
		if (tells_of_error(line, len))
			lines[count++ % LINES_MAX] = line;
		line += len + (line[len] == '\n');
	}
	if (max > LINES_MAX)
		max = LINES_MAX;
	if (count == 0)
		buf_addf(out, "%.*s", (int)strcspn(last, "\n"), last);
	for (size_t i = count > max ? count - max : 0; i < count; i++) {
		const char *line = lines[i % LINES_MAX];
		buf_addf(out, "%s%.*s", out->len ? "; " : "", (int)strcspn(line, "\n"), line);
	}
}

/* ---- the process ---- */

struct worker {
	pid_t pid;
	int socket; /* owned */
	int words;  /* owned: its stderr */
};

static void worker_done(struct worker *w)
{
	cleanup_close(&w->socket);
	cleanup_close(&w->words);
}

/* The passed descriptors become 3, 4, ...; the socket comes after them. All are copied out of the way first: one of
 * them may have the number that another is to get. */
static int place_fds(const struct criu_call *call, int socket, struct err *err)
{
	int safe[CRIU_PASS_MAX + 1], count = (int)call->pass_count;

	assert(count <= CRIU_PASS_MAX);
	for (int i = 0; i <= count; i++) {
		safe[i] = fcntl(i < count ? call->pass_fds[i] : socket, F_DUPFD_CLOEXEC,
		                CRIU_PASS_FIRST + count + 1);
		if (safe[i] < 0)
			return err_sys(err, "descriptor for criu");
	}
	for (int i = 0; i <= count; i++)
		if (dup2(safe[i], CRIU_PASS_FIRST + i) < 0)
			return err_sys(err, "descriptor for criu");
	return 0;
}

/* One message with a descriptor, or with none. */
static int send_fd(int socket, int fd)
{
	char byte = 0;
	struct iovec part = {.iov_base = &byte, .iov_len = 1};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct msghdr header = {.msg_iov = &part,
	                        .msg_iovlen = 1,
	                        .msg_control = control.bytes,
	                        .msg_controllen = sizeof(control.bytes)};

	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	return sendmsg(socket, &header, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

/* CRIU looks descriptors up in the process that made the socket: that is to be itself, as only its own are of its mount
 * namespace. */
static int make_socket(int bootstrap)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	if (send_fd(bootstrap, ends[1]) < 0) {
		close(ends[0]);
		close(ends[1]);
		return -1;
	}
	close(ends[1]);
	return ends[0];
}

static _Noreturn void execute(const struct criu_call *call, int bootstrap, int words)
{
	const char *program = call->program ? call->program : "criu";
	struct err err = ERR_INIT;
	char number[16];
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (call->prepare && call->prepare(call->arg, &err) < 0) {
		dprintf(words, "%s\n", err.msg);
		_exit(1);
	}
	/* Our stdio may be among what is passed: it is replaced last. */
	int kept = fcntl(words, F_DUPFD_CLOEXEC, CRIU_PASS_FIRST + CRIU_PASS_MAX + 1);
	int socket = make_socket(bootstrap);
	if (kept < 0 || socket < 0 || place_fds(call, socket, &err) < 0 ||
	    dup2(kept, STDERR_FILENO) < 0 || dup2(kept, STDOUT_FILENO) < 0)
		_exit(1);
	(void)snprintf(number, sizeof(number), "%d", CRIU_PASS_FIRST + (int)call->pass_count);
	execlp(program, program, "swrk", number, (char *)NULL);
	_exit(errno == ENOENT ? 127 : 126);
}

/* Up to CRIU_MESSAGE_MAX bytes and a descriptor, or -1 in *fd. 0: the other side is gone. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the kernel writes it */
static ssize_t receive_message(int socket, char *data, int *fd, struct err *err)
{
	struct iovec part = {.iov_base = data, .iov_len = CRIU_MESSAGE_MAX};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct msghdr header = {.msg_iov = &part,
	                        .msg_iovlen = 1,
	                        .msg_control = control.bytes,
	                        .msg_controllen = sizeof(control.bytes)};
	ssize_t n;

	*fd = -1;
	do
		n = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != ECONNRESET)
		return err_sys(err, "criu: answer");
	const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&header) : NULL;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return n < 0 ? 0 : n;
}

static int start(const struct criu_call *call, struct worker *w, struct err *err)
{
	char byte[CRIU_MESSAGE_MAX];
	int ends[2], pipe_ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(err, "socketpair");
	auto_close int ours = ends[0];
	auto_close int theirs = ends[1];
	if (pipe2(pipe_ends, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	auto_close int reader = pipe_ends[0];
	auto_close int writer = pipe_ends[1];
	w->pid = fork();
	if (w->pid == 0)
		execute(call, theirs, writer);
	if (w->pid < 0)
		return err_sys(err, "fork");
	close(move_fd(&theirs));
	w->words = move_fd(&reader);
	/* Without one it has ended: finish() says of what. */
	return receive_message(ours, byte, &w->socket, err) < 0 ? -1 : 0;
}

static int send_request(int socket, enum criu_request type, const struct buf *options,
                        bool notice_taken, struct err *err)
{
	auto_buf struct buf request = BUF_INIT(CRIU_OPTIONS_MAX + 64);

	criu_add_number(&request, 1, type);
	if (options)
		criu_add_message(&request, 2, options);
	if (type == CRIU_NOTIFY)
		criu_add_number(&request, 3, notice_taken);
	if (buf_check(&request, err) < 0)
		return -1;
	ssize_t n = send(socket, request.data, request.len, MSG_NOSIGNAL);
	return n == (ssize_t)request.len ? 0 : err_sys(err, "criu: request");
}

/* 1: an answer; 0: CRIU is gone. */
static int receive(int socket, struct criu_answer *answer, int *fd, struct err *err)
{
	char data[CRIU_MESSAGE_MAX];
	ssize_t n = receive_message(socket, data, fd, err);

	if (n <= 0)
		return (int)n;
	return criu_parse_answer(data, (size_t)n, answer, err) < 0 ? -1 : 1;
}

/* CRIU waits until it hears whether to go on. */
static int take_notice(const struct criu_call *call, int socket, const struct criu_answer *notice,
                       int fd, struct err *err)
{
	struct err ignored = ERR_INIT;
	int rc = 0;

	if (call->notify)
		rc = call->notify(call->arg, notice, fd, err);
	else if (fd >= 0)
		close(fd);
	if (send_request(socket, CRIU_NOTIFY, NULL, rc == 0, rc == 0 ? err : &ignored) < 0)
		return -1;
	return rc;
}

/* 1: it has answered; 0: it went away before that. */
static int converse(const struct criu_call *call, int socket, struct criu_answer *answer,
                    struct err *err)
{
	/* EPIPE: it has ended already; its words say why. */
	if (socket < 0 || send_request(socket, call->type, call->options, false, err) < 0)
		return 0;
	for (;;) {
		int fd;
		int rc = receive(socket, answer, &fd, err);
		if (rc <= 0)
			return rc;
		if (answer->type != CRIU_NOTIFY) {
			cleanup_close(&fd);
			return 1;
		}
		if (take_notice(call, socket, answer, fd, err) < 0)
			return -1;
	}
}

static void read_words(int fd, struct buf *words)
{
	char piece[4096];

	/* What it has started may hold the other end for as long as it likes. */
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	for (;;) {
		ssize_t n = read(fd, piece, sizeof(piece));
		if (n <= 0)
			return;
		buf_add_mem(words, piece, (size_t)n);
	}
}

static int finish(const struct criu_call *call, const struct worker *w, struct buf *words,
                  struct err *err)
{
	int status;

	while (waitpid(w->pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(err, "wait for criu");
	read_words(w->words, words);
	const char *program = call->program ? call->program : "criu";
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && words->len == 0)
		return err_set(err, ERR_NOT_FOUND,
		               "%s: no such program%s: checkpoints need CRIU 3.15 or newer "
		               "(package criu; --criu says where it is)",
		               program, strchr(program, '/') ? "" : " in PATH");
	return status;
}

static int judge(const struct criu_call *call, const struct criu_answer *answer, bool answered,
                 const struct buf *words, struct err *err)
{
	auto_buf struct buf tail = BUF_INIT(WORDS_MAX);

	if (answered && answer->success)
		return 0;
	criu_log_tail(buf_str(words), 2, &tail);
	if (!answered)
		return err_set(err, ERR_UNSUPPORTED,
		               "%s ended without an answer (what does `criu check` say?): %s",
		               call->program ? call->program : "criu",
		               tail.len ? buf_str(&tail) : "it said nothing");
	return err_set(err, ERR_SYSTEM, "criu: %s%s%s", answer->words,
	               *answer->words && answer->code ? ": " : "",
	               answer->code     ? strerror(answer->code)
	               : *answer->words ? ""
	                                : "failed");
}

int criu_call(const struct criu_call *call, struct criu_answer *answer, struct err *err)
{
	__attribute__((cleanup(worker_done))) struct worker w = {-1, -1, -1};
	auto_buf struct buf words = BUF_INIT(WORDS_MAX);
	struct criu_answer got = {.type = 0};
	struct err why = ERR_INIT;

	if (start(call, &w, err) < 0)
		return -1;
	int rc = converse(call, w.socket, &got, &why);
	/* After a pre-dump it waits for the next one: what it is told by this. */
	close(move_fd(&w.socket));
	if (finish(call, &w, &words, err) < 0)
		return -1;
	if (rc < 0) {
		if (err)
			*err = why;
		return -1;
	}
	*answer = got;
	return judge(call, &got, rc > 0, &words, err);
}

int criu_check(const char *program, int *version, struct err *err)
{
	const struct criu_call call = {.program = program, .type = CRIU_VERSION};
	struct criu_answer answer;

	if (criu_call(&call, &answer, err) < 0)
		return -1;
	*version = answer.version;
	if (answer.version < CRIU_VERSION_MIN)
		return err_set(err, ERR_UNSUPPORTED,
		               "criu %d.%d is too old: checkpoints need 3.15 or newer",
		               answer.version / 10000, answer.version / 100 % 100);
	return 0;
}
