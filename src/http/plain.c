/* SPDX-License-Identifier: Apache-2.0 */
#include "http/plain.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "http/client.h"
#include "http/parse.h"
#include "http/response.h"

#define OUT_SIZE  (256u << 10) /* of a streamed body, at a time */
#define OUT_FRAME 32           /* room for a chunk's size line and its end */
#define IN_SIZE   (HTTP_HEAD_MAX + 4096)

enum reading {
	READ_HEAD,
	READ_LENGTH, /* `left` bytes of body */
	READ_CHUNK,  /* `left` bytes of a chunk */
	READ_SIZE,   /* a chunk's size line */
	READ_GAP,    /* the line end behind a chunk */
	READ_TRAILER,
	READ_TO_END, /* body until the connection ends */
	READ_DONE,
};

struct http_plain {
	char *path; /* owned */
	int fd;     /* owned; -1: not connected */
	char *in;   /* owned; in[start..end) is read and not taken */
	size_t start, end;
};

/* One request and its answer. */
struct exchange {
	struct http_plain *plain;
	const struct http_plain_request *request;
	struct buf head;  /* the request's, then small bodies */
	char *out;        /* owned; of a streamed body */
	const char *next; /* to be sent: next[0..unsent) */
	size_t unsent;
	bool streams;  /* there is more behind it */
	size_t given;  /* so far, of a streamed body */
	bool answered; /* a byte of the answer has come */
	enum reading state;
	uint64_t left;
	bool keep;
};

struct http_plain *http_plain_create(const char *path, struct err *err)
{
	struct http_plain *plain = calloc(1, sizeof(*plain));

	if (plain) {
		plain->fd = -1;
		plain->path = strdup(path);
		plain->in = malloc(IN_SIZE);
	}
	if (plain && plain->path && plain->in)
		return plain;
	http_plain_free(plain);
	err_nomem(err);
	return NULL;
}

void http_plain_free(struct http_plain *plain)
{
	if (!plain)
		return;
	cleanup_close(&plain->fd);
	free(plain->path);
	free(plain->in);
	free(plain);
}

static int dial(struct http_plain *plain, struct err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(plain->path) >= sizeof(addr.sun_path))
		return err_set(err, ERR_INVALID, "socket path is too long: %s", plain->path);
	memcpy(addr.sun_path, plain->path, strlen(plain->path) + 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_set(err, ERR_UNAVAILABLE, "%s: %s", plain->path, strerror(errno));
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return err_sys(err, "connecting to %s", plain->path);
	plain->fd = move_fd(&fd);
	plain->start = plain->end = 0;
	return 0;
}

static void hang_up(struct http_plain *plain)
{
	cleanup_close(&plain->fd);
	plain->fd = -1;
}

/* ---- the request ---- */

static int format_head(struct exchange *x, struct err *err)
{
	const struct http_call *call = x->request->call;
	struct buf *out = &x->head;

	buf_addf(out, "%s %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: %s\r\nAccept: */*\r\n",
	         call->method, call->path, x->request->user_agent);
	for (const char *const *h = call->headers; h && *h; h++) {
		if (strpbrk(*h, "\r\n"))
			return err_set(err, ERR_INVALID, "line break in a request header");
		buf_addf(out, "%s\r\n", *h);
	}
	if (call->read && call->body_len == SIZE_MAX)
		buf_add(out, "Transfer-Encoding: chunked\r\n");
	else if (call->read || call->body || !str_eq(call->method, "GET"))
		buf_addf(out, "Content-Length: %zu\r\n", call->body_len);
	buf_add(out, "\r\n");
	if (!call->read && call->body)
		buf_add_mem(out, call->body, call->body_len);
	return buf_check(out, err);
}

/* The next piece of a streamed body, framed if its length is not known. */
static int refill(struct exchange *x, struct err *err)
{
	const struct http_call *call = x->request->call;
	bool chunked = call->body_len == SIZE_MAX;
	char *data = x->out + OUT_FRAME;
	char size[OUT_FRAME];

	ssize_t n = call->read(call->read_arg, data, OUT_SIZE);
	if (n < 0)
		return err_set(err, ERR_CANCELED, "canceled while sending");
	x->streams = n > 0;
	x->next = data;
	x->unsent = (size_t)n;
	x->given += (size_t)n;
	if (!chunked && (x->given > call->body_len || (n == 0 && x->given < call->body_len)))
		return err_set(err, ERR_CANCELED, "the body is not as long as was said");
	if (!chunked)
		return 0;
	int len = snprintf(size, sizeof(size), "%zx\r\n", (size_t)n);
	memcpy(data - len, size, (size_t)len);
	memcpy(data + n, "\r\n", 2); /* behind the last, empty chunk: the end of no trailers */
	x->next = data - len;
	x->unsent = (size_t)(len + n + 2);
	return 0;
}

static bool sends(const struct exchange *x)
{
	return x->unsent > 0 || x->streams;
}

/* Nothing more goes out: the server has refused, or will say why it hung up. */
static void stop_sending(struct exchange *x)
{
	x->unsent = 0;
	x->streams = false;
	x->keep = false;
}

static int send_some(struct exchange *x, struct err *err)
{
	if (x->unsent == 0 && refill(x, err) < 0)
		return -1;
	while (x->unsent > 0) {
		ssize_t n = send(x->plain->fd, x->next, x->unsent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0) {
			stop_sending(x);
			return 0;
		}
		x->next += n;
		x->unsent -= (size_t)n;
	}
	return 0;
}

/* ---- the answer ---- */

static bool has_word(const struct http_response *response, const char *name, const char *word)
{
	const char *value = http_response_header(response, name);

	return value && strcasecmp(value, word) == 0;
}

/* What follows the head (RFC 9112, 6.3). */
static int choose_body(struct exchange *x, struct err *err)
{
	const struct http_response *response = x->request->response;
	const char *length = http_response_header(response, "Content-Length");

	x->left = 0;
	if (str_eq(x->request->call->method, "HEAD") || response->status == 204 ||
	    response->status == 304) {
		x->state = READ_DONE;
	} else if (has_word(response, "Transfer-Encoding", "chunked")) {
		x->state = READ_SIZE;
	} else if (length) {
		if (!id_scan_u64(&length, &x->left) || *length)
			return err_set(err, ERR_INVALID, "bad Content-Length in the answer");
		x->state = x->left > 0 ? READ_LENGTH : READ_DONE;
	} else {
		x->state = READ_TO_END;
		x->keep = false;
	}
	if (has_word(response, "Connection", "close"))
		x->keep = false;
	return 0;
}

static int parse_head(struct exchange *x, const char *text, size_t len, struct err *err)
{
	struct http_response *response = x->request->response;

	if (http_response_parse_head(response, text, len, err) < 0)
		return -1;
	x->keep &= text[7] == '1';
	if (response->status < 200) /* 100 Continue: the real one follows */
		return 0;
	if (response->status >= 400)
		stop_sending(x);
	if (x->request->on_head(x->request->arg, err) < 0)
		return -1;
	return choose_body(x, err);
}

static int take_head(struct exchange *x, const char *data, size_t len, size_t *taken,
                     struct err *err)
{
	*taken = http_parse_head_end(data, len);
	if (*taken > 0)
		return parse_head(x, data, *taken, err);
	if (len >= HTTP_HEAD_MAX)
		return err_set(err, ERR_LIMIT, "the answer's head is too long");
	return 0;
}

/* A chunk's size, the line end behind it, or a trailer, which nobody looks at. */
static int take_line(struct exchange *x, const char *data, size_t len, size_t *taken,
                     struct err *err)
{
	const char *stop = memmem(data, len, "\r\n", 2);

	*taken = 0;
	if (!stop)
		return len > HTTP_CHUNK_LINE_MAX
		               ? err_set(err, ERR_INVALID, "bad chunk in the answer")
		               : 0;
	*taken = (size_t)(stop - data) + 2;
	if (x->state == READ_SIZE) {
		if (http_parse_chunk_size(data, *taken - 2, &x->left, err) < 0)
			return -1;
		x->state = x->left > 0 ? READ_CHUNK : READ_TRAILER;
	} else if (x->state == READ_GAP) {
		if (*taken != 2)
			return err_set(err, ERR_INVALID, "bad chunk in the answer");
		x->state = READ_SIZE;
	} else if (*taken == 2) {
		x->state = READ_DONE;
	}
	return 0;
}

static int take_body(struct exchange *x, const char *data, size_t len, size_t *taken,
                     struct err *err)
{
	*taken = x->state == READ_TO_END || len < x->left ? len : (size_t)x->left;
	if (x->request->on_body(x->request->arg, data, *taken, err) < 0)
		return -1;
	if (x->state == READ_TO_END)
		return 0;
	x->left -= *taken;
	if (x->left == 0)
		x->state = x->state == READ_CHUNK ? READ_GAP : READ_DONE;
	return 0;
}

/* As much of what is there as can be understood. */
static int take_all(struct exchange *x, struct err *err)
{
	struct http_plain *p = x->plain;

	while (p->start < p->end && x->state != READ_DONE) {
		const char *data = p->in + p->start;
		size_t len = p->end - p->start, taken = 0;
		int rc;

		if (x->state == READ_HEAD)
			rc = take_head(x, data, len, &taken, err);
		else if (x->state == READ_LENGTH || x->state == READ_CHUNK ||
		         x->state == READ_TO_END)
			rc = take_body(x, data, len, &taken, err);
		else
			rc = take_line(x, data, len, &taken, err);
		if (rc < 0)
			return -1;
		if (taken == 0)
			break;
		p->start += taken;
	}
	memmove(p->in, p->in + p->start, p->end - p->start);
	p->end -= p->start;
	p->start = 0;
	return 0;
}

static int receive_some(struct exchange *x, struct err *err)
{
	struct http_plain *p = x->plain;
	ssize_t n = recv(p->fd, p->in + p->end, IN_SIZE - p->end, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0 && x->state == READ_TO_END) {
		x->state = READ_DONE;
		return 0;
	}
	if (n <= 0)
		return err_set(err, ERR_UNAVAILABLE, "%s: the server ended the connection",
		               p->path);
	x->answered = true;
	p->end += (size_t)n;
	return take_all(x, err);
}

/* ---- both at once ---- */

static int64_t sooner(int64_t a, int64_t b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* Waits for the socket and for no longer than the request may take; what poll(2) says of it. */
static int await(struct exchange *x, int64_t deadline, struct pollfd *p, struct err *err)
{
	int64_t now = clock_mono_ms(), stall = x->request->stall_ms;
	int64_t left = deadline > now ? deadline - now : 0;
	int64_t wait = sooner(deadline < 0 ? -1 : left, stall > 0 ? stall : -1);

	*p = (struct pollfd){.fd = x->plain->fd,
	                     .events = (short)(POLLIN | (sends(x) ? POLLOUT : 0))};
	int n = poll(p, 1, wait > INT32_MAX ? INT32_MAX : (int)wait);
	if (n < 0 && errno != EINTR)
		return err_sys(err, "%s", x->plain->path);
	if (n == 0)
		return err_set(err, ERR_TIMEOUT, "%s: no answer in time", x->plain->path);
	if (n < 0)
		p->revents = 0;
	return 0;
}

static int converse(struct exchange *x, struct err *err)
{
	const struct http_plain_request *r = x->request;
	int64_t deadline = r->timeout_ms > 0 ? clock_mono_ms() + r->timeout_ms : -1;

	while (x->state != READ_DONE) {
		struct pollfd p;

		if (await(x, deadline, &p, err) < 0)
			return -1;
		if ((p.revents & ~POLLOUT) && receive_some(x, err) < 0)
			return -1;
		if ((p.revents & POLLOUT) && sends(x) && send_some(x, err) < 0)
			return -1;
	}
	x->keep &= !sends(x) && x->plain->start == x->plain->end;
	return 0;
}

static int run(struct exchange *x, struct err *err)
{
	const struct http_call *call = x->request->call;

	if (format_head(x, err) < 0)
		return -1;
	x->next = x->head.data;
	x->unsent = x->head.len;
	if (call->read) {
		x->streams = true;
		x->out = malloc(OUT_FRAME + OUT_SIZE + OUT_FRAME);
		if (!x->out)
			return err_nomem(err);
	}
	if (send_some(x, err) < 0)
		return -1;
	return converse(x, err);
}

static int attempt(struct http_plain *plain, const struct http_plain_request *request,
                   bool *answered, struct err *err)
{
	struct exchange x = {
		.plain = plain,
		.request = request,
		.head = BUF_INIT(HTTP_HEAD_MAX +
	                         (request->call->read ? 0 : request->call->body_len)),
		.keep = true,
	};
	int rc = run(&x, err);

	*answered = x.answered;
	if (rc < 0 || !x.keep)
		hang_up(plain);
	buf_free(&x.head);
	free(x.out);
	return rc;
}

int http_plain_run(struct http_plain *plain, const struct http_plain_request *request,
                   struct err *err)
{
	bool kept = plain->fd >= 0, answered = false;
	struct err why = ERR_INIT;

	if (!kept && dial(plain, err) < 0)
		return -1;
	int rc = attempt(plain, request, &answered, &why);
	/* A server may end an idle connection at any time; a streamed body cannot be sent twice. */
	if (rc < 0 && kept && !answered && why.kind == ERR_UNAVAILABLE && !request->call->read) {
		if (dial(plain, err) < 0)
			return -1;
		return attempt(plain, request, &answered, err);
	}
	if (rc < 0 && err)
		*err = why;
	return rc;
}
