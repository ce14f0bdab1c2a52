/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "http/parse.h"
#include "http/response.h"
#include "http/status.h"

#define HEAD_MAX       (64u << 10)
#define ERROR_BODY_MAX (1u << 20)
#define PEEK_SIZE      4096

static int connect_unix(const char *path, struct err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(err, ERR_INVALID, "socket path is too long: %s", path);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(err, "connecting to %s", path);
	return move_fd(&fd);
}

/* "host:port" or "[v6]:port". */
static int connect_tcp(const char *address, struct err *err)
{
	auto_free char *host = strdup(address);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	char *colon = host ? strrchr(host, ':') : NULL;
	char *name = host;

	if (!colon)
		return err_set(err, ERR_INVALID, "bad address \"%s\": it must be HOST:PORT",
		               address);
	*colon = '\0';
	if (*name == '[' && colon > name + 1 && colon[-1] == ']') {
		colon[-1] = '\0';
		name++;
	}
	colon[1 + strcspn(colon + 1, "/")] = '\0';

	int rc = getaddrinfo(name, colon + 1, &hints, &list);
	if (rc != 0)
		return err_set(err, ERR_UNAVAILABLE, "%s: %s", address, gai_strerror(rc));

	int fd = -1;
	for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
			int saved = errno;

			close(fd);
			fd = -1;
			errno = saved;
		}
	}
	freeaddrinfo(list);
	return fd >= 0 ? fd : err_sys(err, "connecting to %s", address);
}

static int dial(const char *base, struct err *err)
{
	if (str_starts(base, "unix://"))
		return connect_unix(base + strlen("unix://"), err);
	if (str_starts(base, "tcp://"))
		return connect_tcp(base + strlen("tcp://"), err);
	if (str_starts(base, "http://"))
		return connect_tcp(base + strlen("http://"), err);
	return err_set(err, ERR_UNSUPPORTED, "%s: attaching works over unix:// and tcp:// only",
	               base);
}

static int send_all(int fd, const char *data, size_t len, struct err *err)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return err_sys(err, "sending the request");
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static int send_request(int fd, const char *method, const char *path, const void *body,
                        size_t body_len, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(HEAD_MAX + body_len);

	buf_addf(&text,
	         "%s %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: buoy/" BUOY_VERSION "\r\n"
	         "Connection: Upgrade\r\nUpgrade: tcp\r\n",
	         method, path);
	if (body)
		buf_add(&text, "Content-Type: application/json\r\n");
	buf_addf(&text, "Content-Length: %zu\r\n\r\n", body_len);
	buf_add_mem(&text, body ? body : "", body_len);
	if (buf_check(&text, err) < 0)
		return -1;
	return send_all(fd, text.data, text.len, err);
}

/* Takes the head and not a byte more: what follows it is not ours. */
static int read_head(int fd, struct http_response *response, struct err *err)
{
	auto_buf struct buf head = BUF_INIT(HEAD_MAX);
	char part[PEEK_SIZE];
	size_t end = 0;

	while (end == 0) {
		size_t had = head.len;
		ssize_t n = recv(fd, part, sizeof(part), MSG_PEEK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(err, ERR_UNAVAILABLE, "the server ended the connection");
		buf_add_mem(&head, part, (size_t)n);
		if (buf_check(&head, err) < 0)
			return -1;
		end = http_parse_head_end(head.data, head.len);
		if (recv(fd, part, end > 0 ? end - had : (size_t)n, 0) < 0)
			return err_sys(err, "reading the answer");
	}
	return http_response_parse_head(response, head.data, end, err);
}

/* As much of an error's body as its length says; none without a length. */
static int read_error(int fd, struct http_response *response, struct err *err)
{
	const char *text = http_response_header(response, "Content-Length");
	unsigned long len = text ? strtoul(text, NULL, 10) : 0;

	len = len < ERROR_BODY_MAX ? len : ERROR_BODY_MAX;
	response->body = calloc(1, len + 1);
	if (!response->body)
		return err_nomem(err);
	ssize_t n = recv(fd, response->body, len, MSG_WAITALL);
	response->len = n > 0 ? (size_t)n : 0;
	return http_expect(response, err);
}

static void response_auto_done(struct http_response *response)
{
	http_response_done(response);
}

int http_upgrade(const struct http_client_options *options, const char *method, const char *path,
                 const void *body, size_t body_len, struct err *err)
{
	__attribute__((cleanup(response_auto_done))) struct http_response response = {0};
	auto_close int fd = dial(options->base, err);

	if (fd < 0 || send_request(fd, method, path, body, body_len, err) < 0 ||
	    read_head(fd, &response, err) < 0)
		return -1;
	if (response.status >= 400)
		return read_error(fd, &response, err);
	if (response.status != 101 && response.status != 200)
		return err_set(err, ERR_UNSUPPORTED, "the server answered %d instead of upgrading",
		               response.status);
	return move_fd(&fd);
}
