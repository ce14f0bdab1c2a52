/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/relay.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#define BLOCK (32u << 10) /* bytes in flight in one direction */

/* One direction. Full: the reader waits, so that a process that does not read holds its client back. */
struct flow {
	int from, to;
	char *data; /* owned */
	size_t start, len;
	bool eof;    /* from has ended */
	bool closed; /* and that was passed on */
	bool broken; /* to does not take any more */
};

struct matcher {
	const struct relay_keys *keys;
	size_t matched;
	bool detached;
};

/* The byte that one key of len characters stands for; -1 if it is none. */
static int key_byte(const char *key, size_t len)
{
	unsigned char last = (unsigned char)key[len ? len - 1 : 0];

	if (len == 1)
		return last;
	if (len != 6 || strncmp(key, "ctrl-", 5) != 0)
		return -1;
	if (!isalpha(last) && !strchr("@[\\]^_", last))
		return -1;
	return toupper(last) & 0x1f;
}

int relay_keys_parse(const char *text, struct relay_keys *out, struct err *err)
{
	struct relay_keys keys = {0};

	for (const char *p = str_empty(text) ? "ctrl-p,ctrl-q" : text; *p;) {
		size_t len = strcspn(p, ",");
		int byte = key_byte(p, len);
		if (byte < 0)
			return err_set(err, ERR_INVALID,
			               "detach keys '%s': single characters or ctrl-<letter>, "
			               "separated by commas",
			               text);
		if (keys.count == RELAY_KEYS_MAX)
			return err_set(err, ERR_INVALID, "detach keys '%s': more than %d", text,
			               RELAY_KEYS_MAX);
		keys.bytes[keys.count++] = (unsigned char)byte;
		p += len;
		p += *p == ',';
	}
	*out = keys;
	return 0;
}

static void look_for_keys(struct matcher *m, const char *data, size_t len)
{
	for (size_t i = 0; m->keys && i < len && !m->detached; i++) {
		if ((unsigned char)data[i] != m->keys->bytes[m->matched])
			m->matched = (unsigned char)data[i] == m->keys->bytes[0];
		else
			m->matched++;
		m->detached = m->matched == m->keys->count;
	}
}

static void fill(struct flow *f, struct matcher *m)
{
	ssize_t n = read(f->from, f->data, BLOCK);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		f->eof = true;
		return;
	}
	f->start = 0;
	f->len = (size_t)n;
	if (m)
		look_for_keys(m, f->data, f->len);
}

static void drain(struct flow *f)
{
	ssize_t n = send(f->to, f->data + f->start, f->len, MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		f->broken = true;
		f->len = 0;
		return;
	}
	f->start += (size_t)n;
	f->len -= (size_t)n;
}

static void pass_eof(struct flow *f)
{
	if (f->eof && f->len == 0 && !f->closed) {
		shutdown(f->to, SHUT_WR);
		f->closed = true;
	}
}

static void set_blocking(int fd, bool blocking)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0)
		fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

/* Events to wait for on a descriptor that one flow reads and the other writes. */
static short wanted(const struct flow *reads, const struct flow *writes)
{
	short events = 0;

	if (!reads->eof && reads->len == 0 && !reads->broken)
		events |= POLLIN;
	if (writes->len > 0)
		events |= POLLOUT;
	return events;
}

static void turn(struct flow *in, struct flow *out, struct matcher *m)
{
	struct pollfd fds[2] = {
		{.fd = in->from, .events = wanted(in, out)},
		{.fd = out->from, .events = wanted(out, in)},
	};

	/* A descriptor without events still reports its end for ever: leave it out. */
	for (int i = 0; i < 2; i++)
		if (!fds[i].events)
			fds[i].fd = -1;
	if (poll(fds, 2, -1) < 0)
		return;
	if (fds[1].revents & (POLLOUT | POLLERR) && in->len > 0)
		drain(in);
	if (fds[0].revents & (POLLOUT | POLLERR) && out->len > 0)
		drain(out);
	if (fds[0].revents & (POLLIN | POLLHUP | POLLERR) && fds[0].events & POLLIN)
		fill(in, m);
	if (fds[1].revents & (POLLIN | POLLHUP | POLLERR) && fds[1].events & POLLIN)
		fill(out, NULL);
	pass_eof(in);
}

bool relay_run(int client_fd, int process_fd, const struct relay_keys *keys)
{
	auto_free char *data = malloc(2 * BLOCK);
	struct flow in = {.from = client_fd, .to = process_fd, .data = data};
	struct flow out = {.from = process_fd, .to = client_fd, .data = data + BLOCK};
	struct matcher m = {.keys = keys};

	if (!data)
		return false;
	set_blocking(client_fd, false);
	set_blocking(process_fd, false);
	while (!m.detached && !out.broken && !(out.eof && out.len == 0))
		turn(&in, &out, &m);
	set_blocking(client_fd, true);
	return m.detached;
}
