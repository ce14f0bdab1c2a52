/* SPDX-License-Identifier: Apache-2.0 */
#include "net/dns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/pool.h"
#include "base/str.h"
#include "net/dns_message.h"
#include "net/dns_zone.h"
#include "net/store.h"

#define PENDING_MAX 512  /* questions on their way to the machine's resolvers */
#define ATTEMPT_MS  2000 /* for each try; two rounds over the resolvers */
#define QUERY_MAX   1024 /* bytes of a question by UDP that we pass on */
#define BURST       32   /* messages read before other sockets get their turn */
#define TCP_THREADS 4
#define TCP_QUEUE   64

struct responder { /* one network; belongs to the loop's thread once it is there */
	struct dns *dns;
	struct dns_zone zone;
	int udp, tcp;                        /* owned */
	struct loop_source *on_udp, *on_tcp; /* owned */
	struct responder *next;
};

struct pending { /* one question that was passed on */
	struct responder *responder;
	struct sockaddr_in client;
	struct resolv upstream;
	size_t attempt;
	int fd;                               /* owned; connected to the resolver asked last */
	struct loop_source *on_reply, *timer; /* owned */
	uint8_t query[QUERY_MAX];             /* as the client sent it */
	size_t len;
	uint8_t id[2]; /* ours, for the resolver */
	struct pending *next;
};

struct dns {
	struct db *db;
	const struct log *log;
	struct loop *loop;
	struct pool *tcp;
	pthread_t thread;
	pthread_mutex_t lock;
	bool running;                 /* guarded by lock */
	struct responder *responders; /* the loop's thread only, as all below */
	struct pending *pending;
	size_t pending_count;
};

/* ---- calls onto the loop's thread ---- */

struct call {
	void (*fn)(struct call *call);
	struct dns *dns;
	struct responder *responder;
	const char *network_id;
	struct err *err;
	int result;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done; /* guarded by lock */
};

static void run_call(void *arg)
{
	struct call *call = arg;

	call->fn(call);
	pthread_mutex_lock(&call->lock);
	call->done = true;
	pthread_cond_signal(&call->cond);
	pthread_mutex_unlock(&call->lock);
}

static int make_call(struct call *call)
{
	int result;

	pthread_mutex_init(&call->lock, NULL);
	pthread_cond_init(&call->cond, NULL);
	result = loop_post(call->dns->loop, run_call, call, call->err);
	pthread_mutex_lock(&call->lock);
	while (result == 0 && !call->done)
		pthread_cond_wait(&call->cond, &call->lock);
	pthread_mutex_unlock(&call->lock);
	pthread_cond_destroy(&call->cond);
	pthread_mutex_destroy(&call->lock);
	return result < 0 ? -1 : call->result;
}

static void *run_loop(void *arg)
{
	struct dns *dns = arg;
	struct err err = ERR_INIT;

	if (loop_run(dns->loop, &err) < 0)
		log_error(dns->log, "the name responder stopped", "error=\"%s\"", err.msg);
	return NULL;
}

static int start(struct dns *dns, struct err *err)
{
	int failed = 0;

	pthread_mutex_lock(&dns->lock);
	if (!dns->running) {
		failed = pthread_create(&dns->thread, NULL, run_loop, dns);
		dns->running = failed == 0;
	}
	pthread_mutex_unlock(&dns->lock);
	errno = failed;
	return failed ? err_sys(err, "start the name responder") : 0;
}

/* ---- questions on their way ---- */

static void drop_pending(struct pending *p)
{
	struct dns *dns = p->responder->dns;
	struct pending **at = &dns->pending;

	while (*at && *at != p)
		at = &(*at)->next;
	if (*at) {
		*at = p->next;
		dns->pending_count--;
	}
	loop_source_free(p->on_reply);
	loop_source_free(p->timer);
	if (p->fd >= 0)
		close(p->fd);
	free(p);
}

static void reply_to(const struct pending *p, const uint8_t *message, size_t len)
{
	(void)!sendto(p->responder->udp, message, len, MSG_DONTWAIT | MSG_NOSIGNAL,
	              (const struct sockaddr *)&p->client, sizeof(p->client));
}

static void fail_pending(struct pending *p)
{
	static const struct dns_answer failed = {.rcode = DNS_RCODE_SERVFAIL};
	uint8_t out[QUERY_MAX + 64];
	int len = dns_answer_write(p->query, p->len, &failed, out, sizeof(out), NULL);

	if (len > 0)
		reply_to(p, out, (size_t)len);
	drop_pending(p);
}

static void ask_next(struct pending *p);

static void on_timeout(void *arg)
{
	ask_next(arg);
}

static void on_reply(void *arg, int fd, uint32_t revents)
{
	struct pending *p = arg;
	uint8_t message[DNS_MESSAGE_MAX];
	ssize_t n = recv(fd, message, sizeof(message), MSG_DONTWAIT);

	(void)revents;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) { /* the resolver's machine says that nobody is there */
		ask_next(p);
		return;
	}
	/* The socket is connected and its port is random; with the id that is what a forger must guess. */
	if (n < 12 || memcmp(message, p->id, 2) != 0 || !(message[2] & 0x80))
		return;
	memcpy(message, p->query, 2);
	reply_to(p, message, (size_t)n);
	drop_pending(p);
}

static int send_question(struct pending *p)
{
	const char *server = p->upstream.servers[p->attempt % p->upstream.server_count];
	struct sockaddr_storage addr;
	socklen_t size = dns_server_address(server, &addr);
	uint8_t message[QUERY_MAX];

	loop_source_free(move_ptr(p->on_reply));
	if (p->fd >= 0)
		close(p->fd);
	p->fd = size ? socket(addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
	if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&addr, size) < 0)
		return -1;
	id_random(p->id, sizeof(p->id));
	memcpy(message, p->query, p->len);
	memcpy(message, p->id, sizeof(p->id));
	if (send(p->fd, message, p->len, MSG_NOSIGNAL) < 0)
		return -1;
	p->on_reply = loop_add_fd(p->responder->dns->loop, p->fd, EPOLLIN, on_reply, p, NULL);
	return p->on_reply ? 0 : -1;
}

/* Frees p when there is nobody left to ask. */
static void ask_next(struct pending *p)
{
	while (p->attempt < 2 * p->upstream.server_count) {
		int sent = send_question(p);

		p->attempt++;
		if (sent < 0)
			continue;
		if (p->timer ? loop_rearm(p->timer, ATTEMPT_MS, NULL) == 0
		             : (p->timer = loop_add_timer(p->responder->dns->loop, ATTEMPT_MS,
		                                          on_timeout, p, NULL)) != NULL)
			return;
	}
	fail_pending(p);
}

static void pass_on(struct responder *r, const struct sockaddr_in *client, const uint8_t *query,
                    size_t len, const struct resolv *upstream)
{
	struct pending *p;

	if (r->dns->pending_count >= PENDING_MAX || len > QUERY_MAX)
		return;
	p = calloc(1, sizeof(*p));
	if (!p)
		return;
	p->responder = r;
	p->client = *client;
	p->upstream = *upstream;
	p->fd = -1;
	memcpy(p->query, query, len);
	p->len = len;
	p->next = r->dns->pending;
	r->dns->pending = p;
	r->dns->pending_count++;
	ask_next(p);
}

/* ---- questions that come in ---- */

static bool serve_udp(struct responder *r)
{
	uint8_t query[4096], out[DNS_UDP_MAX];
	struct dns_reply reply = {.out = out, .max = sizeof(out)};
	struct sockaddr_in client = {0};
	socklen_t size = sizeof(client);
	ssize_t n = recvfrom(r->udp, query, sizeof(query), MSG_DONTWAIT, (struct sockaddr *)&client,
	                     &size);

	if (n < 0)
		return false;
	switch (dns_zone_decide(&r->zone, ntohl(client.sin_addr.s_addr), query, (size_t)n, true,
	                        &reply)) {
	case DNS_REPLY:
		(void)!sendto(r->udp, out, reply.len, MSG_DONTWAIT | MSG_NOSIGNAL,
		              (struct sockaddr *)&client, size);
		break;
	case DNS_FORWARD:
		pass_on(r, &client, query, (size_t)n, &reply.upstream);
		break;
	case DNS_DROP:
	default:
		break;
	}
	return true;
}

static void on_udp(void *arg, int fd, uint32_t revents)
{
	(void)fd, (void)revents;
	for (int i = 0; i < BURST && serve_udp(arg); i++)
		;
}

struct tcp_job {
	struct dns_zone zone;
	int fd;
	uint32_t asking;
};

static void run_tcp(void *arg)
{
	auto_free struct tcp_job *job = arg;

	dns_tcp_serve(&job->zone, job->fd, job->asking);
}

static void on_tcp(void *arg, int fd, uint32_t revents)
{
	struct responder *r = arg;
	struct sockaddr_in client = {0};
	socklen_t size = sizeof(client);
	auto_close int peer = accept4(fd, (struct sockaddr *)&client, &size, SOCK_CLOEXEC);
	struct tcp_job *job = peer < 0 ? NULL : calloc(1, sizeof(*job));

	(void)revents;
	if (!job)
		return;
	job->zone = r->zone;
	job->fd = peer;
	job->asking = ntohl(client.sin_addr.s_addr);
	if (pool_add(r->dns->tcp, run_tcp, job, NULL) == 0)
		(void)move_fd(&peer);
	else
		free(job);
}

/* ---- responders ---- */

static void responder_free(struct responder *r)
{
	if (!r)
		return;
	loop_source_free(r->on_udp);
	loop_source_free(r->on_tcp);
	if (r->udp >= 0)
		close(r->udp);
	if (r->tcp >= 0)
		close(r->tcp);
	free(r);
}
DEFINE_AUTO(responder)

static int open_socket(int type, const struct store_network *network, struct err *err)
{
	auto_close int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const char *bridge = network->n.bridge;
	struct sockaddr_in addr = {.sin_family = AF_INET,
	                           .sin_port = htons(53),
	                           .sin_addr.s_addr = htonl(network->gateway)};
	int one = 1;

	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, bridge, (socklen_t)strlen(bridge) + 1) <
	            0 ||
	    (type == SOCK_STREAM &&
	     setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0) ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    (type == SOCK_STREAM && listen(fd, 64) < 0))
		return err_sys(err, "name responder on %s:53", network->n.gateway);
	return move_fd(&fd);
}

static struct responder *make_responder(struct dns *dns, const struct store_network *network,
                                        struct err *err)
{
	auto_type(responder) r = calloc(1, sizeof(*r));

	if (!r) {
		(void)err_nomem(err);
		return NULL;
	}
	r->dns = dns;
	r->tcp = -1;
	r->udp = open_socket(SOCK_DGRAM, network, err);
	if (r->udp >= 0)
		r->tcp = open_socket(SOCK_STREAM, network, err);
	if (r->tcp < 0)
		return NULL;
	r->zone = (struct dns_zone){
		.db = dns->db,
		.subnet = network->subnet,
		.gateway = network->gateway,
		.internal = network->n.internal,
		.relay_only = str_eq(network->n.name, "bridge"),
	};
	snprintf(r->zone.network_id, sizeof(r->zone.network_id), "%s", network->n.id);
	snprintf(r->zone.network_name, sizeof(r->zone.network_name), "%s", network->n.name);
	return move_ptr(r);
}

static void call_add(struct call *call)
{
	struct responder *r = call->responder;

	r->on_udp = loop_add_fd(call->dns->loop, r->udp, EPOLLIN, on_udp, r, call->err);
	if (r->on_udp)
		r->on_tcp = loop_add_fd(call->dns->loop, r->tcp, EPOLLIN, on_tcp, r, call->err);
	if (!r->on_tcp) {
		loop_source_free(move_ptr(r->on_udp));
		call->result = -1;
		return;
	}
	r->next = call->dns->responders;
	call->dns->responders = r;
}

static void drop_questions_of(struct dns *dns, const struct responder *r)
{
	struct pending *next;

	for (struct pending *p = dns->pending; p; p = next) {
		next = p->next;
		if (p->responder == r)
			drop_pending(p);
	}
}

static void call_remove(struct call *call)
{
	struct responder **at = &call->dns->responders, *gone;

	while (*at && !str_eq((*at)->zone.network_id, call->network_id))
		at = &(*at)->next;
	if (!*at)
		return;
	gone = *at;
	*at = gone->next;
	drop_questions_of(call->dns, gone);
	responder_free(gone);
}

/* ---- public ---- */

struct dns *dns_create(struct db *db, const struct log *log, struct err *err)
{
	struct dns *dns = calloc(1, sizeof(*dns));

	if (!dns) {
		(void)err_nomem(err);
		return NULL;
	}
	pthread_mutex_init(&dns->lock, NULL);
	dns->db = db;
	dns->log = log;
	dns->loop = loop_create(err);
	dns->tcp = dns->loop ? pool_create(TCP_THREADS, TCP_QUEUE, err) : NULL;
	if (dns->tcp)
		return dns;
	dns_free(dns);
	return NULL;
}

void dns_free(struct dns *dns)
{
	struct responder *next;

	if (!dns)
		return;
	if (dns->running) {
		loop_stop(dns->loop);
		pthread_join(dns->thread, NULL);
	}
	pool_free(dns->tcp);
	while (dns->pending)
		drop_pending(dns->pending);
	for (struct responder *r = dns->responders; r; r = next) {
		next = r->next;
		responder_free(r);
	}
	loop_free(dns->loop);
	pthread_mutex_destroy(&dns->lock);
	free(dns);
}

bool dns_serves(const struct store_network *network)
{
	struct resolv host;

	if (!network->n.bridge[0])
		return false;
	if (!str_eq(network->n.name, "bridge"))
		return true;
	if (resolv_read_host(&host, NULL) < 0 || host.server_count == 0)
		return false;
	resolv_drop_loopback(&host);
	return host.server_count == 0;
}

int dns_network_add(struct dns *dns, const struct store_network *network, struct err *err)
{
	auto_type(responder) r = NULL;
	struct call call = {.fn = call_add, .dns = dns, .err = err};

	if (!dns_serves(network))
		return 0;
	r = make_responder(dns, network, err);
	if (!r || start(dns, err) < 0)
		return -1;
	call.responder = r;
	if (make_call(&call) < 0)
		return -1;
	r = NULL;
	return 0;
}

void dns_network_remove(struct dns *dns, const char *network_id)
{
	struct call call = {.fn = call_remove, .dns = dns, .network_id = network_id};
	bool running;

	pthread_mutex_lock(&dns->lock);
	running = dns->running;
	pthread_mutex_unlock(&dns->lock);
	if (running)
		(void)make_call(&call);
}
