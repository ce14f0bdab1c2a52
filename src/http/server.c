/* SPDX-License-Identifier: Apache-2.0 */
#include "http/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "http/request.h"
#include "http/tls.h"

#define CONNECTIONS_MAX 4096
#define PER_ADDRESS_MAX 256    /* TCP connections of one peer */
#define IDLE_TIMEOUT_MS 180000 /* longer than Go's and curl's, so that the client closes first */
#define BUSY_TIMEOUT_MS 5000   /* the same when three quarters of the connections are taken */
#define STOP_GRACE_MS   5000   /* then the sockets are shut down under their routes */
#define ACCEPT_RETRY_MS 50
#define HANDSHAKE_MS    HTTP_HEAD_TIMEOUT_MS

struct client {
	struct http_conn conn;
	struct http_server *server;
	struct http_tls *tls; /* a reference; NULL: plain */
	struct client *prev, *next;
};

struct http_server {
	struct http_server_options options;
	struct http_tls *tls; /* NULL: plain; the pointer is guarded by lock */
	int listen_fd, stop_fd;
	pthread_t acceptor;
	pthread_mutex_t lock;
	pthread_cond_t gone;
	struct client *clients; /* guarded by lock */
	size_t count;           /* guarded by lock */
};

/* ---- threads ---- */

static int start_thread(pthread_t *thread, bool detached, void *(*fn)(void *), void *arg,
                        struct err *err)
{
	pthread_attr_t attr;
	sigset_t all, before;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, HTTP_STACK_SIZE);
	if (detached)
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	errno = pthread_create(thread, &attr, fn, arg);
	int failed = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	errno = failed;
	return failed ? err_sys(err, "starting a thread") : 0;
}

int http_thread_start(pthread_t *thread, void *(*fn)(void *), void *arg, struct err *err)
{
	return start_thread(thread, false, fn, arg, err);
}

/* ---- connections ---- */

static size_t connections_max(const struct http_server *server)
{
	return server->options.connections_max ? server->options.connections_max : CONNECTIONS_MAX;
}

static int64_t idle_timeout(struct http_server *server)
{
	pthread_mutex_lock(&server->lock);
	bool busy = server->count >= connections_max(server) / 4 * 3;
	pthread_mutex_unlock(&server->lock);
	return busy ? BUSY_TIMEOUT_MS : IDLE_TIMEOUT_MS;
}

static void remove_client(struct client *client)
{
	struct http_server *server = client->server;

	pthread_mutex_lock(&server->lock);
	if (client->prev)
		client->prev->next = client->next;
	else
		server->clients = client->next;
	if (client->next)
		client->next->prev = client->prev;
	pthread_mutex_unlock(&server->lock);

	/* Off the list, so that nobody shuts down a descriptor that is another's by now. */
	http_conn_done(&client->conn);
	http_tls_free(client->tls);
	free(client);

	pthread_mutex_lock(&server->lock);
	server->count--;
	pthread_cond_signal(
		&server->gone); /* under the lock: the server may be freed right after */
	pthread_mutex_unlock(&server->lock);
}

static void *serve(void *arg)
{
	struct client *client = arg;
	struct http_server *server = client->server;
	struct http_conn *conn = &client->conn;
	struct err err = ERR_INIT;

	if (client->tls && http_conn_handshake(conn, client->tls, HANDSHAKE_MS, &err) < 0)
		log_debug(server->options.log, "connection refused", "peer=%s error=%s",
		          conn->peer.address, err.msg);
	else
		while (http_conn_wait(conn, idle_timeout(server)) &&
		       http_request_run(conn, &server->options))
			;
	remove_client(client);
	return NULL;
}

/* May this peer have one more? */
static bool admit(struct http_server *server, const struct client *client)
{
	size_t same = 0;

	if (server->count >= connections_max(server))
		return false;
	if (client->conn.peer.address[0] == '\0')
		return true;
	for (const struct client *c = server->clients; c; c = c->next)
		same += str_eq(c->conn.peer.address, client->conn.peer.address);
	return same < PER_ADDRESS_MAX;
}

static bool add_client(struct http_server *server, struct client *client)
{
	pthread_mutex_lock(&server->lock);
	bool ok = admit(server, client);
	if (ok) {
		client->tls = http_tls_ref(server->tls);
		client->next = server->clients;
		if (client->next)
			client->next->prev = client;
		server->clients = client;
		server->count++;
	}
	pthread_mutex_unlock(&server->lock);
	return ok;
}

static void refuse(struct http_server *server, struct client *client)
{
	static const char text[] = "HTTP/1.1 503 Service Unavailable\r\n"
				   "Content-Type: application/json\r\nConnection: close\r\n"
				   "Content-Length: 35\r\n\r\n"
				   "{\"message\":\"too many connections\"}\n";

	if (!server->options.cert_pem) /* best effort: the socket does not wait */
		(void)send(client->conn.fd, text, sizeof(text) - 1, MSG_NOSIGNAL);
	log_warn(server->options.log, "connection refused", "peer=%s error=too many connections",
	         client->conn.peer.address);
	http_conn_done(&client->conn);
	free(client);
}

static void welcome(struct http_server *server, int fd)
{
	struct client *client = calloc(1, sizeof(*client));
	struct err err = ERR_INIT;
	pthread_t thread;

	if (!client) {
		close(fd);
		return;
	}
	client->server = server;
	if (http_conn_init(&client->conn, fd, server->stop_fd, &err) < 0) {
		http_conn_done(&client->conn); /* gone before we looked */
		free(client);
		return;
	}
	if (!add_client(server, client)) {
		refuse(server, client);
		return;
	}
	if (start_thread(&thread, true, serve, client, &err) < 0) {
		log_error(server->options.log, "connection refused", "error=%s", err.msg);
		remove_client(client);
	}
}

static void *accept_clients(void *arg)
{
	struct http_server *server = arg;
	struct pollfd p[2] = {{.fd = server->listen_fd, .events = POLLIN},
	                      {.fd = server->stop_fd, .events = POLLIN}};

	while (poll(p, 2, -1) >= 0 || errno == EINTR) {
		if (p[1].revents)
			break;

		int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			welcome(server, fd);
		else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
			clock_sleep_ms(ACCEPT_RETRY_MS); /* else poll() would spin */
	}
	return NULL;
}

/* ---- start and stop ---- */

static void server_free(struct http_server *server)
{
	if (server->listen_fd >= 0)
		close(server->listen_fd);
	if (server->stop_fd >= 0)
		close(server->stop_fd);
	http_tls_free(server->tls);
	pthread_mutex_destroy(&server->lock);
	pthread_cond_destroy(&server->gone);
	free(server);
}

static int server_init(struct http_server *server, const struct http_server_options *options,
                       struct err *err)
{
	pthread_condattr_t attr;
	int flags = fcntl(server->listen_fd, F_GETFL);

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&server->gone, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&server->lock, NULL);
	server->options = *options;
	server->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server->stop_fd < 0 || flags < 0 ||
	    fcntl(server->listen_fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_sys(err, "starting the HTTP server");
	if (options->cert_pem) {
		server->tls = http_tls_create(options, err);
		if (!server->tls)
			return -1;
	}
	return start_thread(&server->acceptor, false, accept_clients, server, err);
}

struct http_server *http_server_start(int listen_fd, const struct http_server_options *options,
                                      struct err *err)
{
	struct http_server *server = calloc(1, sizeof(*server));

	if (!server) {
		close(listen_fd);
		err_nomem(err);
		return NULL;
	}
	server->listen_fd = listen_fd;
	server->stop_fd = -1;
	if (server_init(server, options, err) < 0) {
		server_free(server);
		return NULL;
	}
	return server;
}

int http_server_renew_tls(struct http_server *server, const char *cert_pem, const char *key_pem,
                          const char *client_ca_pem, struct err *err)
{
	struct http_server_options options = server->options;

	if (!server->tls)
		return err_set(err, ERR_INVALID, "the server was started without TLS");
	options.cert_pem = cert_pem;
	options.key_pem = key_pem;
	if (client_ca_pem)
		options.client_ca_pem = client_ca_pem;
	struct http_tls *fresh = http_tls_create(&options, err);
	if (!fresh)
		return -1;
	pthread_mutex_lock(&server->lock);
	struct http_tls *old = server->tls;
	server->tls = fresh;
	pthread_mutex_unlock(&server->lock);
	http_tls_free(old);
	return 0;
}

/* Waits until no connection is left; false when deadline_ms (-1: none) came first. */
static bool wait_until_empty(struct http_server *server, int64_t deadline_ms)
{
	struct timespec until = {deadline_ms / 1000, deadline_ms % 1000 * 1000000};
	int rc = 0;

	while (server->count > 0 && rc != ETIMEDOUT)
		rc = deadline_ms < 0 ? pthread_cond_wait(&server->gone, &server->lock)
		                     : pthread_cond_timedwait(&server->gone, &server->lock, &until);
	return server->count == 0;
}

void http_server_stop(struct http_server *server)
{
	uint64_t one = 1;

	if (!server)
		return;
	/* Cannot fail: the counter is 0 and the descriptor ours. */
	(void)!write(server->stop_fd, &one, sizeof(one));
	pthread_join(server->acceptor, NULL);

	pthread_mutex_lock(&server->lock);
	if (!wait_until_empty(server, clock_mono_ms() + STOP_GRACE_MS)) {
		for (struct client *c = server->clients; c; c = c->next)
			shutdown(c->conn.fd, SHUT_RDWR);
		wait_until_empty(server, -1);
	}
	pthread_mutex_unlock(&server->lock);
	server_free(server);
}

/* ---- listening ---- */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* "1.2.3.4:80" or "[::1]:80". The length of *out, or 0. */
static socklen_t parse_address(const char *text, union address *out)
{
	const char *colon = strrchr(text, ':');
	char host[64], *end = NULL;
	unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;

	if (!colon || end == colon + 1 || *end || port > 65535 || colon[1] < '0' ||
	    colon[1] > '9' || (size_t)(colon - text) >= sizeof(host))
		return 0;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';

	*out = (union address){0};
	if (inet_pton(AF_INET, host, &out->v4.sin_addr) == 1) {
		out->v4.sin_family = AF_INET;
		out->v4.sin_port = htons((uint16_t)port);
		return sizeof(out->v4);
	}
	size_t len = strlen(host);
	if (len < 3 || host[0] != '[' || host[len - 1] != ']')
		return 0;
	host[len - 1] = '\0';
	if (inet_pton(AF_INET6, host + 1, &out->v6.sin6_addr) != 1)
		return 0;
	out->v6.sin6_family = AF_INET6;
	out->v6.sin6_port = htons((uint16_t)port);
	return sizeof(out->v6);
}

int http_listen_tcp(const char *address, struct err *err)
{
	union address addr;
	socklen_t len = parse_address(address, &addr);
	int yes = 1;

	if (len == 0)
		return err_set(err, ERR_INVALID,
		               "bad address \"%s\": it must be IP:PORT or [IPv6]:PORT", address);

	auto_close int fd =
		socket(addr.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(err, "socket for %s", address);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fd, &addr.any, len) < 0 || listen(fd, SOMAXCONN) < 0) {
		if (errno == EADDRINUSE)
			return err_set(err, ERR_CONFLICT, "address %s is in use", address);
		return err_sys(err, "listening on %s", address);
	}
	return move_fd(&fd);
}

int http_listen_port(int fd)
{
	union address addr = {0};
	socklen_t len = sizeof(addr);

	if (getsockname(fd, &addr.any, &len) < 0)
		return -1;
	if (addr.any.sa_family == AF_INET)
		return ntohs(addr.v4.sin_port);
	return addr.any.sa_family == AF_INET6 ? ntohs(addr.v6.sin6_port) : -1;
}
