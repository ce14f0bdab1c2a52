/* SPDX-License-Identifier: Apache-2.0 */
/* buoy-registry: opens the content, serves it, waits for a signal. */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include "base/err.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/loop.h"
#include "registry/answer.h"
#include "registry/registry.h"

static void on_stop(void *arg, int signal)
{
	(void)signal;
	loop_stop(arg);
}

static int wait_for_signal(struct loop *loop, struct err *err)
{
	auto_type(loop_source) term = loop_add_signal(loop, SIGTERM, on_stop, loop, err);
	auto_type(loop_source) interrupt = loop_add_signal(loop, SIGINT, on_stop, loop, err);

	if (!term || !interrupt)
		return -1;
	sd_notify(0, "READY=1");
	int rc = loop_run(loop, err);
	sd_notify(0, "STOPPING=1");
	return rc;
}

static int serve(struct registry *r, struct loop *loop, struct err *err)
{
	static const char *const headers[] = {"Server", "buoy-registry/" BUOY_VERSION,
	                                      "X-Content-Type-Options", "nosniff", NULL};
	const struct http_server_options options = {
		.routes = registry_routes,
		.ctx = r,
		.log = r->log,
		.headers = headers,
		.connections_max = (unsigned)r->settings->connections_max,
		.error_body = answer_body,
	};
	int fd = http_listen_tcp(r->settings->listen, err);

	if (fd < 0)
		return -1;
	int port = http_listen_port(fd);
	struct http_server *server = http_server_start(fd, &options, err);
	if (!server)
		return -1;
	log_info(r->log, "the registry listens", "on=%s port=%d root=%s", r->settings->listen, port,
	         r->settings->root);
	int rc = wait_for_signal(loop, err);
	http_server_stop(server);
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
