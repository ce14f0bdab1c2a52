/* SPDX-License-Identifier: Apache-2.0 */
/* buoy-registry: opens the content, serves it, waits for a signal. */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/loop.h"
#include "registry/answer.h"
#include "registry/house.h"
#include "registry/proxy.h"
#include "registry/registry.h"
#include "registry/scrub.h"
#include "registry/token.h"

#define PEM_MAX (1u << 20)

static void on_stop(void *arg, int signal)
{
	(void)signal;
	loop_stop(arg);
}

/* What SIGHUP reaches. */
struct running {
	struct registry *registry;
	struct http_server *server;
};

struct pem {
	struct buf cert, key;
};

static void pem_done(struct pem *pem)
{
	if (pem->key.data)
		explicit_bzero(pem->key.data, pem->key.len);
	buf_free(&pem->cert);
	buf_free(&pem->key);
}

static int read_pem(const struct settings *s, struct pem *pem, struct err *err)
{
	*pem = (struct pem){.cert = BUF_INIT(PEM_MAX), .key = BUF_INIT(PEM_MAX)};
	if (!s->tls_cert)
		return 0;
	if (fs_trusted_read(s->tls_cert, PEM_MAX, &pem->cert, err) == 0 &&
	    fs_trusted_read(s->tls_key, PEM_MAX, &pem->key, err) == 0)
		return 0;
	pem_done(pem);
	return -1;
}

static int renew_tls(struct running *r, struct err *err)
{
	struct pem pem;

	if (!r->registry->settings->tls_cert)
		return 0;
	if (read_pem(r->registry->settings, &pem, err) < 0)
		return -1;
	int rc = http_server_renew_tls(r->server, buf_str(&pem.cert), buf_str(&pem.key), NULL, err);
	pem_done(&pem);
	return rc;
}

static void on_hangup(void *arg, int signal)
{
	struct running *r = arg;
	struct err err = ERR_INIT;

	(void)signal;
	struct tokens *tokens = r->registry->tokens;
	if (access_reload(r->registry->access, &err) < 0 ||
	    (tokens && tokens_reload(tokens, &err) < 0) || renew_tls(r, &err) < 0)
		log_error(r->registry->log, "reading again failed: the old stays", "error=%s",
		          err.msg);
	else
		log_info(r->registry->log, "passwords and certificate are read again", "%s", "");
}

static int wait_for_signal(struct loop *loop, struct running *running, struct err *err)
{
	auto_type(loop_source) term = loop_add_signal(loop, SIGTERM, on_stop, loop, err);
	auto_type(loop_source) interrupt = loop_add_signal(loop, SIGINT, on_stop, loop, err);
	auto_type(loop_source) hangup = loop_add_signal(loop, SIGHUP, on_hangup, running, err);

	if (!term || !interrupt || !hangup)
		return -1;
	sd_notify(0, "READY=1");
	int rc = loop_run(loop, err);
	sd_notify(0, "STOPPING=1");
	return rc;
}

static struct http_server *start_server(struct registry *r, struct err *err)
{
	static const char name[] = "buoy-registry/" BUOY_VERSION;
	static const char *const headers[] = {"Server", name, "X-Content-Type-Options", "nosniff",
	                                      NULL};
	struct http_server_options options = {
		.routes = registry_routes,
		.ctx = r,
		.log = r->log,
		.headers = headers,
		.connections_max = (unsigned)r->settings->connections_max,
		.error_body = answer_body,
		.observe = metrics_observe,
	};
	struct pem pem;

	if (read_pem(r->settings, &pem, err) < 0)
		return NULL;
	if (r->settings->tls_cert) {
		options.cert_pem = buf_str(&pem.cert);
		options.key_pem = buf_str(&pem.key);
	}
	int fd = http_listen_tcp(r->settings->listen, err);
	int port = fd < 0 ? -1 : http_listen_port(fd);
	struct http_server *server = fd < 0 ? NULL : http_server_start(fd, &options, err);
	pem_done(&pem);
	if (server)
		log_info(r->log, "the registry listens", "on=%s port=%d root=%s",
		         r->settings->listen, port, r->settings->root);
	return server;
}

static int serve(struct registry *r, struct loop *loop, struct err *err)
{
	struct running running = {.registry = r, .server = start_server(r, err)};
	int rc = -1;

	if (!running.server)
		return -1;
	struct chore *house = house_start(r, err);
	struct scrub *scrub = house ? scrub_start(r, err) : NULL;
	r->scrub = scrub;
	if (scrub)
		rc = wait_for_signal(loop, &running, err);
	proxy_stop(r->proxy);
	http_server_stop(running.server);
	scrub_free(scrub);
	chore_free(house);
	return rc;
}

static int run(const struct settings *settings, struct err *err)
{
	auto_type(loop) loop = loop_create(err);
	enum log_level level = LOG_LEVEL_INFO;
	struct registry registry;
	struct log log;

	if (!loop || log_parse_level(settings->log_level, &level, err) < 0)
		return -1;
	log_init(&log, level);
	if (registry_open(&registry, settings, &log, err) < 0)
		return -1;
	int rc = serve(&registry, loop, err);
	registry_close(&registry);
	log_info(&log, "stopped", "%s", "");
	return rc;
}

/* Signals are taken by the loop alone: blocked before any thread starts. */
static void block_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static int act(const struct settings *settings, enum settings_action action, struct err *err)
{
	if (action == SETTINGS_HELP)
		settings_help(STDOUT_FILENO);
	else if (action == SETTINGS_VERSION)
		printf("buoy-registry %s\n", BUOY_VERSION);
	else if (action == SETTINGS_MANPAGE)
		settings_manpage(STDOUT_FILENO);
	else if (action == SETTINGS_COMPLETION)
		settings_completion(STDOUT_FILENO);
	else if (failpoint_init(err) < 0 || run(settings, err) < 0)
		return -1;
	return 0;
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	enum settings_action action = SETTINGS_RUN;
	struct settings settings;

	/* Two arenas instead of eight a processor: threads come and go, and each would leave one behind. */
	(void)mallopt(M_ARENA_MAX, 2);
	(void)mallopt(M_TRIM_THRESHOLD, 64 << 10);
	umask(077);
	block_signals();
	if (settings_parse(argc, argv, &settings, &action, &err) < 0) {
		fprintf(stderr, "buoy-registry: %s\n", err.msg);
		return 2;
	}
	int rc = act(&settings, action, &err);
	if (rc < 0)
		fprintf(stderr, "buoy-registry: %s\n", err.msg);
	settings_done(&settings);
	return rc < 0;
}
