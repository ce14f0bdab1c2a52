/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/protocol.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

static const char *const kind_names[] = {
	[ERR_INVALID] = "invalid",
	[ERR_DENIED] = "denied",
	[ERR_NOT_FOUND] = "not found",
	[ERR_CONFLICT] = "conflict",
	[ERR_LIMIT] = "limit",
	[ERR_TIMEOUT] = "timeout",
	[ERR_CANCELED] = "canceled",
	[ERR_UNAVAILABLE] = "unavailable",
	[ERR_UNSUPPORTED] = "unsupported",
	[ERR_NOMEM] = "no memory",
	[ERR_SYSTEM] = "system",
	[ERR_INTERNAL] = "internal",
};

void protocol_packet_done(struct protocol_packet *packet)
{
	for (size_t i = 0; i < packet->fd_count; i++)
		cleanup_close(&packet->fds[i]);
	packet->fd_count = 0;
	json_free(packet->body);
	packet->body = NULL;
}

int protocol_fd(const struct protocol_packet *packet, const struct json *body, const char *key)
{
	int64_t index = json_get_int(body, key, -1);

	return index >= 0 && (size_t)index < packet->fd_count ? packet->fds[index] : -1;
}

static int send_failed(struct err *err)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return err_set(err, ERR_TIMEOUT, "the peer does not read its packets");
	if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN || errno == ECONNREFUSED)
		return err_set(err, ERR_UNAVAILABLE, "the peer has closed the connection");
	return err_sys(err, "cannot send a packet");
}

int protocol_send(int fd, struct json *body, const int *fds, size_t fd_count, struct err *err)
{
	auto_type(json) owned = body;
	auto_buf struct buf text = BUF_INIT(PROTOCOL_PACKET_MAX);
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * PROTOCOL_FDS_MAX)];

	if (!owned)
		return err_nomem(err);
	if (json_write(owned, &text, err) < 0 || buf_check(&text, err) < 0)
		return -1;
	if (fd_count > PROTOCOL_FDS_MAX)
		return err_set(err, ERR_LIMIT, "%zu descriptors in one packet, at most %d",
		               fd_count, PROTOCOL_FDS_MAX);

	struct iovec iov = {.iov_base = text.data, .iov_len = text.len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd_count > 0) {
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
	}
	while (sendmsg(fd, &msg, MSG_NOSIGNAL) < 0) {
		if (errno != EINTR)
			return send_failed(err);
	}
	return 0;
}

static void take_fds(struct msghdr *msg, struct protocol_packet *out)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < count && out->fd_count < PROTOCOL_FDS_MAX; i++)
			memcpy(&out->fds[out->fd_count++], CMSG_DATA(c) + i * sizeof(int),
			       sizeof(int));
	}
}

static ssize_t recv_failed(struct err *err)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return err_set(err, ERR_TIMEOUT, "no packet came in time");
	if (errno == ECONNRESET)
		return 0;
	return err_sys(err, "cannot receive a packet");
}

/* Length of the next packet, which stays queued; so nobody needs a buffer of the largest size. */
static ssize_t packet_length(int fd, struct err *err)
{
	ssize_t n;

	do {
		n = recv(fd, NULL, 0, MSG_PEEK | MSG_TRUNC);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? recv_failed(err) : n;
}

int protocol_recv(int fd, struct protocol_packet *out, struct err *err)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * PROTOCOL_FDS_MAX)];
	auto_packet struct protocol_packet packet = PROTOCOL_PACKET_INIT;
	ssize_t len = packet_length(fd, err);

	if (len <= 0)
		return (int)len;
	if (len > PROTOCOL_PACKET_MAX)
		return err_set(err, ERR_LIMIT, "a packet of %zd bytes, at most %d", len,
		               PROTOCOL_PACKET_MAX);

	auto_free char *text = malloc((size_t)len);
	if (!text)
		return err_nomem(err);

	struct iovec iov = {.iov_base = text, .iov_len = (size_t)len};
	struct msghdr msg = {.msg_iov = &iov,
	                     .msg_iovlen = 1,
	                     .msg_control = control,
	                     .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);

	if (n < 0)
		return (int)recv_failed(err);
	take_fds(&msg, &packet);
	if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return err_set(err, ERR_INVALID, "a packet came in truncated");
	packet.body = json_parse(text, (size_t)n, err);
	if (!packet.body)
		return -1;
	if (!json_is_object(packet.body))
		return err_set(err, ERR_INVALID, "a packet is not a JSON object");
	*out = packet;
	packet = PROTOCOL_PACKET_INIT;
	return 1;
}

struct json *protocol_error(const struct err *failure)
{
	struct json *error = json_object(), *reply = json_object();
	const char *kind = failure->kind < ARRAY_LEN(kind_names) ? kind_names[failure->kind] : NULL;
	bool bad = json_set(error, "kind", json_string(kind ? kind : "internal")) < 0;

	bad |= json_set(error, "sys", json_int(failure->sys)) < 0;
	/* A message may quote bytes from outside that are no UTF-8. */
	struct json *message = json_string(failure->msg);

	bad |= json_set(error, "message",
	                message ? message : json_string("(message is not UTF-8)")) < 0;
	bad |= json_set(reply, "error", error) < 0;
	if (!bad)
		return reply;
	json_free(reply);
	return NULL;
}

int protocol_check(const struct json *reply, struct err *err)
{
	const struct json *error = json_get(reply, "error");

	if (!error)
		return 0;

	const char *name = json_get_string(error, "kind");
	const char *message = json_get_string(error, "message");
	enum err_kind kind = ERR_INTERNAL;

	for (size_t i = ERR_NONE + 1; i < ARRAY_LEN(kind_names); i++)
		if (str_eq(name, kind_names[i]))
			kind = (enum err_kind)i;
	err_do_set(err, kind, "%s", message ? message : "no reason given");
	if (err)
		err->sys = (int)json_get_int(error, "sys", 0);
	return -1;
}
