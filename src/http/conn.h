/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * conn - one accepted connection: buffered bytes in, bytes out, plain or TLS.
 *
 * Used by the connection's thread. One other thread may write while this one
 * reads (a body that is fed to a pipe beside a running answer; a hijacked TLS
 * connection): the TLS session has its lock, and nothing blocks under it. The
 * socket is non-blocking underneath; every call here waits with poll(2).
 */

#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct err;
struct http_tls;

struct http_conn_peer {
	int uid;                                    /* of a unix socket; -1 */
	char address[46];                           /* numeric; "" for a unix socket */
	char fingerprint[65], name[129], role[129]; /* of the verified certificate; "" */
	bool verified;
};

struct http_conn {
	int fd;               /* owned */
	int stop_fd;          /* borrowed; readable when the server stops */
	gnutls_session_t tls; /* NULL: plain */
	pthread_mutex_t tls_lock;
	int abandon_fd; /* borrowed, -1: none; an error or hang-up there ends waiting for bytes */
	char *in;       /* owned; bytes read and not yet taken: in[start..end) */
	size_t start, end, cap;
	atomic_bool broken; /* a write failed: nothing more goes out */
	struct http_conn_peer peer;
};

/* Takes fd, also on failure. */
int http_conn_init(struct http_conn *c, int fd, int stop_fd, struct err *err);
void http_conn_done(struct http_conn *c);

/* The TLS handshake, within timeout_ms. */
int http_conn_handshake(struct http_conn *c, const struct http_tls *tls, int64_t timeout_ms,
                        struct err *err);

/* Waits until there is something to read. 1: there is; 0: time is up or the server stops. */
int http_conn_wait(struct http_conn *c, int64_t timeout_ms);

/* Reads more into the buffer, up to `max` bytes in it. >0; 0: end; -1: ERR_TIMEOUT (deadline_ms on the
 * monotonic clock; -1: none), ERR_LIMIT (buffer full), ERR_CANCELED. */
ssize_t http_conn_fill(struct http_conn *c, size_t max, int64_t deadline_ms, struct err *err);

/* What is in the buffer, and taking from it. */
const char *http_conn_peek(const struct http_conn *c, size_t *len);
void http_conn_skip(struct http_conn *c, size_t len);

/* Up to len bytes, from the buffer first. 0: end. */
ssize_t http_conn_read(struct http_conn *c, void *data, size_t len, int64_t deadline_ms,
                       struct err *err);

/* All of it. -1 and ERR_CANCELED when the peer is gone or takes nothing for stall_ms (-1: ever). */
int http_conn_write(struct http_conn *c, struct iovec *iov, size_t count, int64_t stall_ms,
                    struct err *err);

/* Ends our side: TLS's good-bye and a FIN. */
void http_conn_end(struct http_conn *c);

/* Ends our side, then reads on for a while and throws away: closing with unread bytes would
 * take the answer from the peer. */
void http_conn_linger(struct http_conn *c, int64_t ms);
