/* SPDX-License-Identifier: Apache-2.0 */
/* buoyd: opens the engine, serves the API, waits for a signal. Containers live on without it. */

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/loop.h"
#include "base/str.h"
#include "daemon/daemon.h"
#include "daemon/mountns.h"
#include "daemon/options.h"
#include "daemon/overlays.h"
#include "daemon/swarm.h"
#include "engine/engine.h"
#include "image/image.h"

#define PATH_BYTES 4096

struct servers {
	struct http_server *items[OPTIONS_HOSTS_MAX];
	size_t count;
};

/* ---- where the runtime is ---- */

/* buoy-runtime beside this program, else the one of the PATH (left to the launcher). */
static const char *find_runtime(const struct options *o, char path[PATH_BYTES])
{
	ssize_t n;

	if (o->runtime)
		return o->runtime;
	n = readlink("/proc/self/exe", path, PATH_BYTES - 32);
	if (n > 0) {
		path[n] = '\0';
		char *slash = strrchr(path, '/');
		snprintf(slash + 1, 32, "buoy-runtime");
		if (access(path, X_OK) == 0)
			return path;
	}
	snprintf(path, PATH_BYTES, "/usr/bin/buoy-runtime");
	return path;
}

/* ---- sockets ---- */

static int listen_unix(const char *path, struct err *err)
{
	char dir[PATH_BYTES];
	const char *slash = strrchr(path, '/');

	if (!slash[1] || (size_t)(slash - path) >= sizeof(dir))
		return err_set(err, ERR_INVALID, "unix://%s: not a path of a socket", path);
	snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	auto_close int dir_fd = fs_trusted_open_dir(dir, true, err);
	return dir_fd < 0 ? -1 : fs_listen_unix(dir_fd, slash + 1, SOCK_STREAM, 0600, err);
}

/* Whoever reaches the API is root on this machine: over TCP, without TLS, only the machine itself may. */
static int listen_tcp(const char *address, const struct log *log, struct err *err)
{
	if (!str_starts(address, "127.") && !str_starts(address, "[::1]:"))
		return err_set(err, ERR_DENIED,
		               "tcp://%s: the API without TLS is only served on the loopback "
		               "(tcp://127.0.0.1:PORT): everyone who reaches it is root here",
		               address);
	log_warn(log, "the API listens without TLS: every local user who reaches it is root",
	         "address=%s", address);
	return http_listen_tcp(address, err);
}

static int listen_on(const char *host, const struct log *log, struct err *err)
{
	if (str_starts(host, "unix://"))
		return listen_unix(host + strlen("unix://"), err);
	return listen_tcp(host + strlen("tcp://"), log, err);
}

static int serve(struct daemon *d, const struct options *o, const struct http_route *routes,
                 struct log *log, struct servers *out, struct err *err)
{
	static const char server[] = "Buoy/" BUOY_VERSION " (linux)";
	static const char *const headers[] = {"Api-Version", "1.44",   "Docker-Experimental",
	                                      "true",        "Ostype", "linux",
	                                      "Server",      server,   NULL};
	const struct http_server_options options = {
		.routes = routes,
		.ctx = d,
		.log = log,
		.version_min = DAEMON_API_VERSION_MIN,
		.version_max = DAEMON_API_VERSION,
		.headers = headers,
	};

	for (size_t i = 0; i < o->host_count; i++) {
		int fd = listen_on(o->hosts[i], log, err);
		if (fd < 0)
			return -1;
		out->items[out->count] = http_server_start(fd, &options, err);
		if (!out->items[out->count])
			return err_wrap(err, "%s", o->hosts[i]);
		out->count++;
		log_info(log, "the API listens", "on=%s", o->hosts[i]);
	}
	return 0;
}

/* ---- life ---- */

static void on_signal(void *arg, int signal)
{
	(void)signal;
	loop_stop(arg);
}

static int wait_for_signal(struct loop *loop, struct err *err)
{
	auto_type(loop_source) term = loop_add_signal(loop, SIGTERM, on_signal, loop, err);
	auto_type(loop_source) interrupt = loop_add_signal(loop, SIGINT, on_signal, loop, err);

	if (!term || !interrupt)
		return -1;
	sd_notify(0, "READY=1");
	int rc = loop_run(loop, err);
	sd_notify(0, "STOPPING=1");
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
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static int run_engine(struct daemon *d, const struct options *o, struct log *log, struct err *err)
{
	auto_type(loop) loop = loop_create(err);
	auto_free struct http_route *routes = daemon_routes(err);
	struct servers servers = {0};

	if (!loop || !routes)
		return -1;
	int rc = serve(d, o, routes, log, &servers, err);
	if (rc == 0)
		rc = wait_for_signal(loop, err);
	/* Blocking calls end first, so that the servers' requests do. */
	engine_stop(d->engine);
	for (size_t i = 0; i < servers.count; i++)
		http_server_stop(servers.items[i]);
	return rc;
}

static int run(const struct options *o, struct err *err)
{
	char runtime[PATH_BYTES], hostname[65] = "localhost";
	struct log log;

	log_init(&log, o->log_level);
	(void)gethostname(hostname, sizeof(hostname) - 1);
	struct engine_options options = {
		.root = o->root,
		.run = o->run,
		.name = o->name ? o->name : hostname,
		.net_name = o->net_name,
		.runtime_path = find_runtime(o, runtime),
		.userns_host = o->userns_host,
		.insecure_registries = o->insecure_registries,
		.registry_mirrors = o->registry_mirrors,
		.registry_certs = o->certs_count ? o->registry_certs : NULL,
		.layers = o->layers,
		.log = &log,
	};
	struct daemon d = {
		.log = &log,
		.root = o->root,
		.run = o->run,
		.name = options.name,
		.listen_addr = o->listen_addr,
		.advertise_addr = o->advertise_addr,
		.store = o->store,
		.store_ca = o->store_ca,
		.store_cert = o->store_cert,
		.store_key = o->store_key,
		.store_compaction_ms = o->store_compaction_ms,
		.insecure_registries = o->insecure_registries,
		.registry_mirrors = o->registry_mirrors,
		.started_ns = clock_wall_ns(),
	};
	auto_type(overlays) overlays = overlays_create(err);
	if (!overlays)
		return -1;
	d.overlays = overlays;
	options.granter = overlays_granter(overlays);
	if (mountns_settle(o->root, &log, err) < 0)
		return -1;
	d.engine = engine_open(&options, err);
	if (!d.engine)
		return -1;
	int rc = swarm_open(&d, err);
	if (rc == 0)
		rc = run_engine(&d, o, &log, err);
	engine_stop(d.engine);
	swarm_close(&d);
	engine_close(d.engine);
	log_info(&log, "stopped; containers live on", "%s", "");
	return rc;
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	char socket[PATH_BYTES]; /* options may borrow it until the end */
	struct options options;

	/* Two arenas instead of eight a processor: threads come and go, and each would leave one behind. */
	(void)mallopt(M_ARENA_MAX, 2);
	(void)mallopt(M_TRIM_THRESHOLD, 64 << 10);
	umask(022); /* what must be private says so itself */
	if (argc > 1 && strcmp(argv[1], "worker") == 0)
		return image_worker_main(argc, argv);
	if (argc == 2 && strcmp(argv[1], "manpage") == 0) { /* for make install */
		options_manpage(STDOUT_FILENO);
		return 0;
	}
	if (options_parse(argc, argv, &options, &err) < 0) {
		fprintf(stderr, "buoyd: %s\n", err.msg);
		return 2;
	}
	if (options.help) {
		options_help(STDOUT_FILENO);
		return 0;
	}
	if (options.version) {
		printf("buoyd %s\n", BUOY_VERSION);
		return 0;
	}
	if (options.host_count == 0) {
		snprintf(socket, sizeof(socket), "unix://%s/buoy.sock", options.run);
		options.hosts[options.host_count++] = socket;
	}
	block_signals();
	if (failpoint_init(&err) < 0 || run(&options, &err) < 0) {
		fprintf(stderr, "buoyd: %s\n", err.msg);
		return 1;
	}
	return 0;
}
