/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "http/request.h"
#include "http/status.h"

#define CARRY_SIZE 16384
#define HEAD_MAX   8192

static int send_head(struct http_request *req, const char *type, struct err *err)
{
	auto_buf struct buf head = BUF_INIT(HEAD_MAX);
	const char *wanted = http_parse_field(&req->head, "Upgrade");
	bool upgrade = req->head.upgrade && strcasecmp(wanted, "tcp") == 0;
	int status = upgrade ? 101 : 200;
	const char *const *pair = req->options->headers;

	buf_addf(&head, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n", status, http_status_text(status),
	         type);
	buf_add(&head,
	        upgrade ? "Connection: Upgrade\r\nUpgrade: tcp\r\n" : "Connection: close\r\n");
	for (; pair && pair[0]; pair += 2)
		buf_addf(&head, "%s: %s\r\n", pair[0], pair[1]);
	buf_add(&head, "\r\n");
	if (buf_check(&head, err) < 0)
		return -1;

	struct iovec iov = {head.data, head.len};
	return http_conn_write(req->conn, &iov, 1, HTTP_STALL_TIMEOUT_MS, err);
}

/* Client to route. Its end of file travels on as one. */
static void *carry_up(void *arg)
{
	struct http_request *req = arg;
	char data[CARRY_SIZE];
	ssize_t n = 0;

	while ((n = http_conn_read(req->conn, data, sizeof(data), -1, NULL)) > 0)
		for (ssize_t at = 0, m = 0; at < n; at += m) {
			m = send(req->pair_fd, data + at, (size_t)(n - at), MSG_NOSIGNAL);
			if (m < 0)
				return NULL; /* the route has ended it */
		}
	shutdown(req->pair_fd, n < 0 ? SHUT_RDWR : SHUT_WR);
	return NULL;
}

/* Route to client. */
static void *carry_down(void *arg)
{
	struct http_request *req = arg;
	char data[CARRY_SIZE];
	ssize_t n = 0;

	while ((n = recv(req->pair_fd, data, sizeof(data), 0)) > 0) {
		struct iovec iov = {data, (size_t)n};

		if (http_conn_write(req->conn, &iov, 1, -1, NULL) < 0) {
			shutdown(req->pair_fd, SHUT_RDWR);
			return NULL;
		}
	}
	http_conn_end(req->conn);
	return NULL;
}

/* TLS, or bytes that came along with the head: two threads carry between the connection and
 * a socket pair. (Two, because either direction may block.) */
static int open_pair(struct http_request *req, struct err *err)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(err, "socket pair for a hijacked connection");

	auto_close int theirs = fds[0];
	req->pair_fd = fds[1];
	if (http_thread_start(&req->pair_up, carry_up, req, err) < 0) {
		close(fds[1]);
		req->pair_fd = -1;
		return -1;
	}
	if (http_thread_start(&req->pair_down, carry_down, req, err) < 0) {
		shutdown(fds[1], SHUT_RDWR);
		shutdown(req->conn->fd, SHUT_RDWR);
		pthread_join(req->pair_up, NULL);
		close(fds[1]);
		req->pair_fd = -1;
		return -1;
	}
	return move_fd(&theirs);
}

static int dup_blocking(int fd, struct err *err)
{
	auto_close int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	int flags = copy < 0 ? -1 : fcntl(copy, F_GETFL);

	if (flags < 0 || fcntl(copy, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return err_sys(err, "hijacked connection");
	return move_fd(&copy);
}

int http_hijack(struct http_request *req, const char *type, struct err *err)
{
	size_t buffered = 0;

	if (req->answered)
		return err_set(err, ERR_INTERNAL, "the request is answered already");
	if (!http_body_finished(req))
		return err_set(err, ERR_INVALID, "the request body has not been read");

	req->answered = req->hijacked = true;
	req->keep_alive = false;
	if (send_head(req, type, err) < 0)
		return -1;
	http_conn_peek(req->conn, &buffered);
	return req->conn->tls || buffered > 0 ? open_pair(req, err)
	                                      : dup_blocking(req->conn->fd, err);
}

void http_hijack_end(struct http_request *req, int fd)
{
	shutdown(fd, SHUT_WR);
	close(fd);
	http_hijack_done(req);
}

void http_hijack_done(struct http_request *req)
{
	if (req->pair_fd < 0)
		return;
	pthread_join(req->pair_down, NULL); /* what the route wrote is out */
	shutdown(req->pair_fd, SHUT_RDWR);
	shutdown(req->conn->fd, SHUT_RD); /* wakes the other thread */
	pthread_join(req->pair_up, NULL);
	close(req->pair_fd);
	req->pair_fd = -1;
}
