/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/streams.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"

#define FRAME_HEAD  8
#define STDIN_CHUNK 16384

struct streams_client {
	struct streams_client *next;
	int fd; /* owned; -1: to be removed */
	int slot;
	bool in, out, err;
	bool hung_up; /* closed at its end; what it wrote is still to be read */
	bool last;    /* shut down after the queue */
	char *queue;  /* owned */
	size_t at, len, cap;
	int64_t stalled_ms; /* since when nothing moved; 0: it moves */
};

/* ---- clients ---- */

static void client_drop(struct streams_client *c)
{
	cleanup_close(&c->fd);
	c->fd = -1;
	free(c->queue);
	c->queue = NULL;
	c->at = c->len = c->cap = 0;
}

static void sweep(struct streams *s)
{
	for (struct streams_client **p = &s->clients; *p;) {
		struct streams_client *c = *p;

		if (c->fd >= 0) {
			p = &c->next;
			continue;
		}
		*p = c->next;
		free(c);
		s->client_count--;
	}
}

static bool queue_room(struct streams_client *c, size_t more)
{
	if (c->at > 0 && (c->len == 0 || c->at + c->len + more > c->cap)) {
		memmove(c->queue, c->queue + c->at, c->len);
		c->at = 0;
	}
	if (c->len + more <= c->cap)
		return true;

	size_t cap = c->cap ? c->cap : 16384;

	while (cap < c->len + more)
		cap *= 2;
	char *queue = realloc(c->queue, cap);

	if (!queue)
		return false;
	c->queue = queue;
	c->cap = cap;
	return true;
}

static void queue_add(struct streams_client *c, const void *data, size_t len)
{
	if (len == 0)
		return;
	memcpy(c->queue + c->at + c->len, data, len);
	c->len += len;
}

/* Sends what the socket takes, queues the rest. */
static void client_send(struct streams_client *c, const struct iovec *iov, size_t count)
{
	size_t total = 0, sent = 0;

	for (size_t i = 0; i < count; i++)
		total += iov[i].iov_len;
	if (c->len == 0) {
		struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = count};
		ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			client_drop(c);
			return;
		}
		sent = n > 0 ? (size_t)n : 0;
	}
	if (sent == total)
		return;
	if (!queue_room(c, total - sent)) {
		client_drop(c);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		size_t skip = sent < iov[i].iov_len ? sent : iov[i].iov_len;

		queue_add(c, (const char *)iov[i].iov_base + skip, iov[i].iov_len - skip);
		sent -= skip;
	}
}

static void client_flush(struct streams_client *c)
{
	while (c->len > 0) {
		ssize_t n = send(c->fd, c->queue + c->at, c->len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			client_drop(c);
			return;
		}
		c->at += (size_t)n;
		c->len -= (size_t)n;
		c->stalled_ms = 0;
	}
	free(c->queue);
	c->queue = NULL;
	c->at = c->cap = 0;
	if (c->last)
		client_drop(c);
}

static void client_deliver(const struct streams *s, struct streams_client *c, uint8_t number,
                           const void *data, size_t len)
{
	uint8_t head[FRAME_HEAD] = {number};
	struct iovec iov[2] = {{.iov_base = head, .iov_len = sizeof(head)},
	                       {.iov_base = (void *)data, .iov_len = len}};

	if (c->fd < 0 || c->last || !(number == 2 ? c->err : c->out))
		return;
	if (s->terminal) {
		client_send(c, iov + 1, 1);
		return;
	}
	head[4] = (uint8_t)(len >> 24);
	head[5] = (uint8_t)(len >> 16);
	head[6] = (uint8_t)(len >> 8);
	head[7] = (uint8_t)len;
	client_send(c, iov, 2);
}

static void client_replay(const struct streams *s, struct streams_client *c)
{
	auto_free char *copy = malloc(RING_SIZE);
	struct ring_record rec;

	for (size_t at = 0; copy && ring_next(&s->ring, &at, &rec);) {
		ring_copy(&s->ring, &rec, copy);
		client_deliver(s, c, rec.stream, copy, rec.len);
	}
}

int streams_attach(struct streams *s, const struct supervisor_attach *what, struct err *err)
{
	int pair[2];

	if (s->client_count >= STREAMS_CLIENTS_MAX)
		return err_set(err, ERR_LIMIT, "%d clients are attached already",
		               STREAMS_CLIENTS_MAX);

	auto_free struct streams_client *c = calloc(1, sizeof(*c));
	if (!c)
		return err_nomem(err);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "cannot make a socket pair");
	*c = (struct streams_client){.next = s->clients,
	                             .fd = pair[0],
	                             .slot = -1,
	                             .in = what->in,
	                             .out = what->out,
	                             .err = what->err};
	s->client_count++;
	s->clients = c;
	if (what->logs)
		client_replay(s, c);
	c = NULL;
	return pair[1];
}

/* ---- the process's input ---- */

static void stdin_close(struct streams *s)
{
	cleanup_close(&s->stdin_fd);
	s->stdin_fd = -1;
	free(s->pending);
	s->pending = NULL;
	s->pending_at = s->pending_len = 0;
}

static void stdin_flush(struct streams *s)
{
	while (s->pending_len > 0) {
		ssize_t n = write(s->stdin_fd, s->pending + s->pending_at, s->pending_len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			stdin_close(s);
			return;
		}
		s->pending_at += (size_t)n;
		s->pending_len -= (size_t)n;
	}
	free(s->pending);
	s->pending = NULL;
	s->pending_at = 0;
	/* A terminal stays: closing it would hang the process up, which nobody asked for. */
	if (s->stdin_ended && !s->terminal)
		stdin_close(s);
}

static bool stdin_takes(const struct streams *s)
{
	return s->started && s->stdin_fd >= 0 && s->pending_len == 0 && !s->stdin_ended;
}

static void client_ended(struct streams *s, struct streams_client *c)
{
	c->in = false;
	/* Who leaves a terminal may come back, or another may: its input has no end. */
	if (s->stdin_once && !s->terminal && s->stdin_fd >= 0) {
		s->stdin_ended = true;
		stdin_flush(s);
	}
	if (c->hung_up || (!c->out && !c->err))
		client_drop(c);
}

static void client_read(struct streams *s, struct streams_client *c)
{
	if (!s->pending)
		s->pending = malloc(STDIN_CHUNK);
	if (!s->pending)
		return;

	ssize_t n = recv(c->fd, s->pending, STDIN_CHUNK, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		stdin_flush(s); /* frees the buffer */
		return;
	}
	if (n <= 0) {
		stdin_flush(s);
		client_ended(s, c);
		return;
	}
	s->pending_at = 0;
	s->pending_len = (size_t)n;
	stdin_flush(s);
}

/* ---- the process's output ---- */

static void distribute(struct streams *s, uint8_t number, const char *data, size_t len)
{
	ring_add(&s->ring, number, data, len);
	if (s->log)
		logfile_add(s->log, number, data, len);
	for (struct streams_client *c = s->clients; c; c = c->next)
		client_deliver(s, c, number, data, len);
}

static bool held(const struct streams *s)
{
	if (!s->started && !s->ending)
		return true;
	for (const struct streams_client *c = s->clients; c && !s->ending; c = c->next)
		if (c->len >= STREAMS_QUEUE_MAX)
			return true;
	return false;
}

static void source_close(struct streams_source *source)
{
	cleanup_close(&source->fd);
	source->fd = -1;
}

static void source_read(struct streams *s, struct streams_source *source)
{
	if (!s->chunk) {
		void *mem = mmap(NULL, STREAMS_CHUNK, PROT_READ | PROT_WRITE,
		                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (mem == MAP_FAILED)
			return;
		s->chunk = mem;
	}
	/* Once a round: what both streams hold keeps its order as far as can be. */
	ssize_t n = read(source->fd, s->chunk, STREAMS_CHUNK);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) { /* EIO: the last holder of the terminal's other end is gone */
		source_close(source);
		return;
	}
	distribute(s, source->number, s->chunk, (size_t)n);
	if (!s->ending)
		return;
	if ((size_t)n >= s->budget) /* someone it left behind keeps writing */
		source_close(source);
	else
		s->budget -= (size_t)n;
}

/* ---- the loop's side ---- */

void streams_started(struct streams *s)
{
	s->started = true;
}

static short client_events(const struct streams *s, const struct streams_client *c)
{
	short events = 0;

	if (c->in && stdin_takes(s))
		events |= POLLIN;
	if (c->len > 0)
		events |= POLLOUT;
	return events;
}

int64_t streams_prepare(struct streams *s, struct pollset *set, int64_t now_ms)
{
	bool hold = held(s);
	int64_t wait_ms = -1;

	s->stdin_slot = pollset_add(set, s->stdin_fd, s->pending_len > 0 ? POLLOUT : 0);
	for (size_t i = 0; i < 2; i++)
		s->sources[i].slot = hold ? -1 : pollset_add(set, s->sources[i].fd, POLLIN);
	for (struct streams_client *c = s->clients; c; c = c->next) {
		short events = client_events(s, c);

		/* A hang-up is reported whether asked for or not: do not spin on a client whose
		 * last words the process is not ready to take. */
		c->slot = c->hung_up && events == 0 ? -1 : pollset_add(set, c->fd, events);
		if (c->len == 0)
			continue;
		if (c->stalled_ms == 0)
			c->stalled_ms = now_ms;
		if (c->len < STREAMS_QUEUE_MAX && !c->last)
			continue;
		int64_t left = c->stalled_ms + STREAMS_STALL_MS - now_ms;

		left = left > 0 ? left : 0;
		wait_ms = wait_ms < 0 || left < wait_ms ? left : wait_ms;
	}
	return wait_ms;
}

static void client_run(struct streams *s, struct streams_client *c, int seen, int64_t now_ms)
{
	if (seen & POLLHUP)
		c->hung_up = true;
	if (seen & POLLOUT)
		client_flush(c);
	if (c->fd >= 0 && c->in && (seen & (POLLIN | POLLHUP)) && stdin_takes(s))
		client_read(s, c);
	if (c->fd >= 0 && ((seen & (POLLERR | POLLNVAL)) ||
	                   (c->hung_up && !(c->in && s->stdin_fd >= 0 && !s->stdin_ended))))
		client_drop(c);
	if (c->fd >= 0 && c->len > 0 && c->stalled_ms > 0 &&
	    (c->len >= STREAMS_QUEUE_MAX || c->last) && now_ms - c->stalled_ms >= STREAMS_STALL_MS)
		client_drop(c);
}

void streams_run(struct streams *s, const struct pollset *set, int64_t now_ms)
{
	int seen = pollset_seen(set, s->stdin_slot);

	if (s->stdin_fd >= 0 && (seen & POLLOUT))
		stdin_flush(s);
	if (s->stdin_fd >= 0 && (seen & (POLLERR | POLLNVAL)))
		stdin_close(s);
	if (s->stdin_fd >= 0 && (seen & POLLHUP) && s->sources[0].fd < 0)
		stdin_close(s); /* a terminal that hung up and was read to its end */
	for (size_t i = 0; i < 2; i++) {
		struct streams_source *source = &s->sources[i];

		if (source->fd >= 0 && pollset_seen(set, source->slot) && !held(s))
			source_read(s, source);
	}
	for (struct streams_client *c = s->clients; c; c = c->next)
		client_run(s, c, pollset_seen(set, c->slot), now_ms);
	sweep(s);
}

bool streams_idle(struct streams *s)
{
	bool had = s->chunk;

	if (s->chunk)
		munmap(s->chunk, STREAMS_CHUNK);
	s->chunk = NULL;
	if (s->log)
		logfile_idle(s->log);
	return had;
}

void streams_drain(struct streams *s)
{
	s->ending = true;
	s->budget = STREAMS_DRAIN_MAX;
}

bool streams_open(const struct streams *s)
{
	return s->sources[0].fd >= 0 || s->sources[1].fd >= 0;
}

void streams_end(struct streams *s)
{
	stdin_close(s);
	for (size_t i = 0; i < 2; i++)
		source_close(&s->sources[i]);
	if (s->log)
		logfile_finish(s->log);
	for (struct streams_client *c = s->clients; c; c = c->next) {
		c->in = false;
		c->last = true;
		client_flush(c);
	}
	sweep(s);
}

bool streams_busy(const struct streams *s)
{
	return s->clients;
}

void streams_done(struct streams *s)
{
	for (struct streams_client *c = s->clients; c; c = c->next)
		client_drop(c);
	sweep(s);
	stdin_close(s);
	for (size_t i = 0; i < 2; i++)
		source_close(&s->sources[i]);
	(void)streams_idle(s);
	ring_done(&s->ring);
}
