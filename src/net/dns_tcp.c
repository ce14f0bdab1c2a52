/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "net/dns_message.h"
#include "net/dns_zone.h"

#define TIMEOUT_S    5
#define QUESTION_MAX 16 /* on one connection */

static int set_timeouts(int fd)
{
	struct timeval t = {.tv_sec = TIMEOUT_S};

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) < 0)
		return -1;
	return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

static int receive(int fd, uint8_t *to, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = recv(fd, to + at, len - at, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		at += (size_t)n;
	}
	return 0;
}

/* Messages go behind two bytes of length (RFC 1035, 4.2.2). */
static int receive_message(int fd, uint8_t *to, size_t max)
{
	uint8_t head[2];
	size_t len;

	if (receive(fd, head, sizeof(head)) < 0)
		return -1;
	len = (size_t)head[0] << 8 | head[1];
	if (len == 0 || len > max || receive(fd, to, len) < 0)
		return -1;
	return (int)len;
}

static int send_bytes(int fd, const uint8_t *from, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = send(fd, from + at, len - at, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		at += (size_t)n;
	}
	return 0;
}

static int send_message(int fd, const uint8_t *from, size_t len)
{
	uint8_t head[2] = {(uint8_t)(len >> 8), (uint8_t)len};

	if (send_bytes(fd, head, sizeof(head)) < 0)
		return -1;
	return send_bytes(fd, from, len);
}

static int ask(const char *server, const uint8_t *query, size_t len, uint8_t *out, size_t max)
{
	struct sockaddr_storage addr;
	socklen_t size = dns_server_address(server, &addr);
	auto_close int fd = -1;

	if (size == 0)
		return -1;
	fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || set_timeouts(fd) < 0 || connect(fd, (struct sockaddr *)&addr, size) < 0 ||
	    send_message(fd, query, len) < 0)
		return -1;
	return receive_message(fd, out, max);
}

static int forward(const struct dns_reply *reply, const uint8_t *query, size_t len)
{
	static const struct dns_answer failed = {.rcode = DNS_RCODE_SERVFAIL};

	for (size_t i = 0; i < reply->upstream.server_count; i++) {
		int n = ask(reply->upstream.servers[i], query, len, reply->out, DNS_MESSAGE_MAX);

		if (n > 0)
			return n;
	}
	return dns_answer_write(query, len, &failed, reply->out, DNS_MESSAGE_MAX, NULL);
}

static int serve_one(const struct dns_zone *zone, int fd, uint32_t asking, uint8_t *query,
                     uint8_t *out)
{
	struct dns_reply reply = {.out = out, .max = DNS_MESSAGE_MAX};
	int len = receive_message(fd, query, DNS_MESSAGE_MAX), size;

	if (len < 0)
		return -1;
	switch (dns_zone_decide(zone, asking, query, (size_t)len, false, &reply)) {
	case DNS_REPLY:
		return send_message(fd, out, reply.len);
	case DNS_FORWARD:
		size = forward(&reply, query, (size_t)len);
		return size > 0 ? send_message(fd, out, (size_t)size) : -1;
	case DNS_DROP:
	default:
		return -1;
	}
}

void dns_tcp_serve(const struct dns_zone *zone, int fd, uint32_t asking)
{
	auto_close int owned = fd;
	auto_free uint8_t *query = malloc(DNS_MESSAGE_MAX), *out = malloc(DNS_MESSAGE_MAX);

	if (!query || !out || set_timeouts(owned) < 0)
		return;
	for (int i = 0; i < QUESTION_MAX; i++)
		if (serve_one(zone, owned, asking, query, out) < 0)
			return;
}
