/* SPDX-License-Identifier: Apache-2.0 */
#include "http/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "http/tls.h"

#define IN_FIRST_CAP  4096
#define TLS_RECORD    16384
#define TLS_FLUSH     65536 /* bytes held back to fill records */
#define LINGER_MAX    (64u << 20)
#define KEEPALIVE_S   30
#define USER_TIMEOUT  60000 /* ms that sent bytes may stay unacknowledged */
#define IOV_MAX_COUNT 8

/* ---- set-up ---- */

static void set_int(int fd, int level, int name, int value)
{
	/* Tuning: a connection without it still works. */
	(void)setsockopt(fd, level, name, &value, sizeof(value));
}

static void describe_ip(struct http_conn *c, const struct sockaddr_storage *addr)
{
	const void *ip = &((const struct sockaddr_in *)(const void *)addr)->sin_addr;

	if (addr->ss_family == AF_INET6) {
		const struct in6_addr *v6 =
			&((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;

		/* ::ffff:10.0.0.1 is 10.0.0.1 */
		if (IN6_IS_ADDR_V4MAPPED(v6))
			inet_ntop(AF_INET, v6->s6_addr + 12, c->peer.address,
			          sizeof(c->peer.address));
		else
			inet_ntop(AF_INET6, v6, c->peer.address, sizeof(c->peer.address));
	} else {
		inet_ntop(AF_INET, ip, c->peer.address, sizeof(c->peer.address));
	}
	set_int(c->fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_int(c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT);
	set_int(c->fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_int(c->fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_S);
	set_int(c->fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_S / 3);
	set_int(c->fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

static int describe_peer(struct http_conn *c, struct err *err)
{
	struct sockaddr_storage addr = {0};
	socklen_t len = sizeof(addr);

	c->peer.uid = -1;
	if (getpeername(c->fd, (struct sockaddr *)&addr, &len) < 0)
		return err_sys(err, "peer address");
	if (addr.ss_family == AF_INET || addr.ss_family == AF_INET6) {
		describe_ip(c, &addr);
		return 0;
	}

	struct ucred cred = {0};
	len = sizeof(cred);
	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return err_sys(err, "peer credentials");
	c->peer.uid = (int)cred.uid;
	return 0;
}

int http_conn_init(struct http_conn *c, int fd, int stop_fd, struct err *err)
{
	*c = (struct http_conn){.fd = fd, .stop_fd = stop_fd, .abandon_fd = -1};
	pthread_mutex_init(&c->tls_lock, NULL);

	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_sys(err, "non-blocking socket");
	return describe_peer(c, err);
}

void http_conn_done(struct http_conn *c)
{
	if (c->tls)
		gnutls_deinit(c->tls);
	free(c->in);
	close(c->fd);
	pthread_mutex_destroy(&c->tls_lock);
}

/* ---- waiting ---- */

static int time_left(int64_t deadline_ms)
{
	if (deadline_ms < 0)
		return -1;

	int64_t left = deadline_ms - clock_mono_ms();
	if (left <= 0)
		return 0;
	return left > INT32_MAX ? INT32_MAX : (int)left;
}

/* 1: ready (or an error that the next call will tell), 0: time is up. */
static int wait_for(const struct http_conn *c, short events, int64_t deadline_ms)
{
	struct pollfd p = {.fd = c->fd, .events = events};

	for (;;) {
		int n = poll(&p, 1, time_left(deadline_ms));

		if (n >= 0)
			return n;
		if (errno != EINTR)
			return 1;
	}
}

/* The same for reading. -1: nobody wants the bytes any more. */
static int wait_to_read(const struct http_conn *c, int64_t deadline_ms)
{
	struct pollfd p[2] = {{.fd = c->fd, .events = POLLIN}, {.fd = c->abandon_fd}};

	for (;;) {
		int n = poll(p, 2, time_left(deadline_ms));

		if (n > 0 && p[1].revents)
			return -1;
		if (n >= 0)
			return n;
		if (errno != EINTR)
			return 1;
	}
}

static bool has_pending(struct http_conn *c)
{
	if (c->start < c->end)
		return true;
	if (!c->tls)
		return false;
	pthread_mutex_lock(&c->tls_lock);
	size_t n = gnutls_record_check_pending(c->tls);
	pthread_mutex_unlock(&c->tls_lock);
	return n > 0;
}

int http_conn_wait(struct http_conn *c, int64_t timeout_ms)
{
	struct pollfd p[2] = {{.fd = c->fd, .events = POLLIN},
	                      {.fd = c->stop_fd, .events = POLLIN}};
	int64_t deadline = clock_mono_ms() + timeout_ms;

	if (has_pending(c))
		return 1;
	for (;;) {
		int n = poll(p, 2, time_left(deadline));

		if (n < 0 && errno == EINTR)
			continue;
		return n > 0 && !p[1].revents;
	}
}

int http_conn_handshake(struct http_conn *c, const struct http_tls *tls, int64_t timeout_ms,
                        struct err *err)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;

	if (http_tls_accept(tls, c->fd, &c->tls, err) < 0)
		return -1;
	for (;;) {
		int rc = gnutls_handshake(c->tls);

		if (rc == GNUTLS_E_SUCCESS)
			break;
		if (gnutls_error_is_fatal(rc)) {
			gnutls_alert_send_appropriate(c->tls, rc);
			return err_set(err, ERR_DENIED, "TLS handshake: %s", gnutls_strerror(rc));
		}
		short events = gnutls_record_get_direction(c->tls) ? POLLOUT : POLLIN;
		if (!wait_for(c, events, deadline))
			return err_set(err, ERR_TIMEOUT, "TLS handshake timed out");
	}
	return http_tls_describe_peer(tls, c->tls, &c->peer, err);
}

/* ---- reading ---- */

/* One read that does not wait: bytes, 0 at the end, -1 with errno EAGAIN or another. */
static ssize_t receive(struct http_conn *c, void *data, size_t len)
{
	if (!c->tls)
		return recv(c->fd, data, len, 0);

	pthread_mutex_lock(&c->tls_lock);
	ssize_t n = gnutls_record_recv(c->tls, data, len);
	pthread_mutex_unlock(&c->tls_lock);
	if (n >= 0)
		return n;
	errno = gnutls_error_is_fatal((int)n) ? ECONNRESET : EAGAIN;
	return -1;
}

static ssize_t receive_wait(struct http_conn *c, void *data, size_t len, int64_t deadline_ms,
                            struct err *err)
{
	for (;;) {
		ssize_t n = receive(c, data, len);

		if (n >= 0)
			return n;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return err_set(err, ERR_CANCELED, "the client went away");

		int ready = wait_to_read(c, deadline_ms);
		if (ready < 0)
			return err_set(err, ERR_CANCELED, "the rest of the body is not wanted");
		if (ready == 0)
			return err_set(err, ERR_TIMEOUT, "timed out waiting for the client");
	}
}

/* Room for more bytes behind end; the buffer never grows beyond max. */
static int make_room(struct http_conn *c, size_t max, struct err *err)
{
	if (c->start > 0) {
		memmove(c->in, c->in + c->start, c->end - c->start);
		c->end -= c->start;
		c->start = 0;
	}
	if (c->end < c->cap && c->end < max)
		return 0;
	if (c->end >= max)
		return err_set(err, ERR_LIMIT, "more than %zu bytes in a row", max);

	size_t cap = c->cap ? c->cap * 2 : IN_FIRST_CAP;
	char *in = realloc(c->in, cap);
	if (!in)
		return err_nomem(err);
	c->in = in;
	c->cap = cap;
	return 0;
}

ssize_t http_conn_fill(struct http_conn *c, size_t max, int64_t deadline_ms, struct err *err)
{
	if (make_room(c, max, err) < 0)
		return -1;

	size_t room = (c->cap < max ? c->cap : max) - c->end;
	ssize_t n = receive_wait(c, c->in + c->end, room, deadline_ms, err);
	if (n > 0)
		c->end += (size_t)n;
	return n;
}

const char *http_conn_peek(const struct http_conn *c, size_t *len)
{
	*len = c->end - c->start;
	return c->in ? c->in + c->start : "";
}

void http_conn_skip(struct http_conn *c, size_t len)
{
	c->start += len;
	if (c->start == c->end)
		c->start = c->end = 0;
}

ssize_t http_conn_read(struct http_conn *c, void *data, size_t len, int64_t deadline_ms,
                       struct err *err)
{
	size_t have = 0;
	const char *in = http_conn_peek(c, &have);

	if (have == 0)
		return receive_wait(c, data, len, deadline_ms, err);
	if (have > len)
		have = len;
	memcpy(data, in, have);
	http_conn_skip(c, have);
	return (ssize_t)have;
}

/* ---- writing ---- */

static int64_t stall_deadline(int64_t stall_ms)
{
	return stall_ms < 0 ? -1 : clock_mono_ms() + stall_ms;
}

static int gone(struct http_conn *c, struct err *err)
{
	atomic_store(&c->broken, true);
	return err_set(err, ERR_CANCELED, "the client went away");
}

/* Takes n written bytes off the front of iov; returns how many entries are used up. */
static size_t advance(struct iovec *iov, size_t count, size_t n)
{
	size_t done = 0;

	while (done < count && n >= iov[done].iov_len)
		n -= iov[done++].iov_len;
	if (done < count) {
		iov[done].iov_base = (char *)iov[done].iov_base + n;
		iov[done].iov_len -= n;
	}
	return done;
}

static int write_plain(struct http_conn *c, struct iovec *iov, size_t count, int64_t stall_ms,
                       struct err *err)
{
	while (count > 0) {
		struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
		ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);

		if (n >= 0) {
			size_t used = advance(iov, count, (size_t)n);
			iov += used;
			count -= used;
		} else if (errno == EAGAIN) {
			if (!wait_for(c, POLLOUT, stall_deadline(stall_ms)))
				return gone(c, err);
		} else if (errno != EINTR) {
			return gone(c, err);
		}
	}
	return 0;
}

/* Sends what gnutls holds back. */
static int tls_flush(struct http_conn *c, int64_t stall_ms, struct err *err)
{
	for (;;) {
		pthread_mutex_lock(&c->tls_lock);
		int rc = gnutls_record_uncork(c->tls, 0);
		pthread_mutex_unlock(&c->tls_lock);

		if (rc >= 0)
			return 0;
		if (gnutls_error_is_fatal(rc) || !wait_for(c, POLLOUT, stall_deadline(stall_ms)))
			return gone(c, err);
	}
}

/* Corked, so that a chunk's size, bytes and end share records. */
static int write_tls(struct http_conn *c, const struct iovec *iov, size_t count, int64_t stall_ms,
                     struct err *err)
{
	size_t held = 0;

	for (size_t i = 0; i < count; i++) {
		for (size_t at = 0; at < iov[i].iov_len;) {
			size_t n = iov[i].iov_len - at;

			n = n < TLS_RECORD ? n : TLS_RECORD;
			pthread_mutex_lock(&c->tls_lock);
			gnutls_record_cork(c->tls);
			ssize_t rc = gnutls_record_send(c->tls, (char *)iov[i].iov_base + at, n);
			pthread_mutex_unlock(&c->tls_lock);
			if (rc < 0)
				return gone(c, err);
			at += (size_t)rc;
			held += (size_t)rc;
			if (held >= TLS_FLUSH) {
				if (tls_flush(c, stall_ms, err) < 0)
					return -1;
				held = 0;
			}
		}
	}
	return held > 0 ? tls_flush(c, stall_ms, err) : 0;
}

int http_conn_write(struct http_conn *c, struct iovec *iov, size_t count, int64_t stall_ms,
                    struct err *err)
{
	if (atomic_load(&c->broken))
		return err_set(err, ERR_CANCELED, "the client went away");
	return c->tls ? write_tls(c, iov, count, stall_ms, err)
	              : write_plain(c, iov, count, stall_ms, err);
}

void http_conn_end(struct http_conn *c)
{
	if (c->tls) {
		pthread_mutex_lock(&c->tls_lock);
		gnutls_bye(c->tls, GNUTLS_SHUT_WR);
		pthread_mutex_unlock(&c->tls_lock);
	}
	shutdown(c->fd, SHUT_WR);
}

void http_conn_linger(struct http_conn *c, int64_t ms)
{
	char scratch[4096];
	int64_t deadline = clock_mono_ms() + ms;

	http_conn_end(c);
	for (size_t total = 0; total < LINGER_MAX;) {
		ssize_t n = recv(c->fd, scratch, sizeof(scratch), MSG_DONTWAIT);

		if (n > 0)
			total += (size_t)n;
		else if (n == 0 || (errno != EAGAIN && errno != EINTR) ||
		         !wait_for(c, POLLIN, deadline))
			return;
	}
}
