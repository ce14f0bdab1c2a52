/* SPDX-License-Identifier: Apache-2.0 */

/*
 * net_tool - the network room on its own, for tests/e2e/test_net.py: one command a line on stdin, one
 * answer a line on stdout, "ok ..." or "error <kind> <words>".
 *
 *	net_tool ROOT RUN [NAME [POOL]]
 *	sandbox 0011aabb
 *	attach 0011aabb bridge web
 *	publish 0011aabb tcp::8080:80
 */

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "net/net.h"

#define WORDS_MAX 64

struct words {
	char *items[WORDS_MAX];
	size_t count;
};

static const char *word(const struct words *w, size_t index)
{
	return index < w->count ? w->items[index] : "";
}

static uint16_t number(const char *text)
{
	return (uint16_t)strtoul(text, NULL, 10);
}

/* ---- networks ---- */

static int do_network(struct net *net, const struct words *w, struct err *err)
{
	struct json_pair options[8];
	struct net_spec spec = {.name = word(w, 1), .options = {.items = options}};
	char id[ID_HEX_MAX];

	for (size_t i = 2; i < w->count; i++) {
		char *value = strchr(w->items[i], '=');

		if (str_eq(w->items[i], "internal"))
			spec.internal = true;
		else if (value && str_starts(w->items[i], "subnet="))
			spec.subnet = value + 1;
		else if (value && spec.options.count < ARRAY_LEN(options)) {
			*value = '\0';
			options[spec.options.count++] =
				(struct json_pair){.key = w->items[i], .value = value + 1};
		}
	}
	if (net_network_create(net, &spec, id, err) < 0)
		return -1;
	printf("ok %s\n", id);
	return 1;
}

static int do_networks(struct net *net, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct net_network *list;
	size_t count;

	if (net_network_list(net, &arena, &list, &count, err) < 0)
		return -1;
	printf("ok");
	for (size_t i = 0; i < count; i++)
		printf(" %s,%s,%s,%s", list[i].name, list[i].subnet, list[i].gateway,
		       list[i].bridge);
	printf("\n");
	return 1;
}

/* ---- containers ---- */

static int do_path(struct net *net, const struct words *w, struct err *err)
{
	char path[4096];

	if (net_sandbox_path(net, word(w, 1), path, sizeof(path), err) < 0)
		return -1;
	printf("ok %s\n", path);
	return 1;
}

/* attach ID NETWORK NAME [ALIAS,ALIAS [IP [MAC]]] */
static int do_attach(struct net *net, const struct words *w, struct err *err)
{
	const char *aliases[16] = {0};
	struct net_attachment attachment = {
		.network = word(w, 2),
		.container_name = word(w, 3),
		.aliases = aliases,
		.ipv4 = word(w, 5),
		.mac = word(w, 6),
	};
	struct net_endpoint e;
	size_t n = 0;

	if (w->count > 4 && !str_eq(w->items[4], "-"))
		for (char *rest = NULL, *alias = strtok_r(w->items[4], ",", &rest);
		     alias && n < ARRAY_LEN(aliases) - 1; alias = strtok_r(NULL, ",", &rest))
			aliases[n++] = alias;
	if (net_attach(net, word(w, 1), &attachment, &e, err) < 0)
		return -1;
	printf("ok %s/%d %s %s %s\n", e.ip, e.prefix_len, e.gateway, e.mac, e.interface);
	return 1;
}

/* "tcp:127.0.0.1:8080-8090:80" */
static void parse_port(char *text, struct net_port *port)
{
	char *rest = text, *proto = strsep(&rest, ":"), *ip = strsep(&rest, ":"),
	     *host = strsep(&rest, ":"), *end;

	snprintf(port->proto, sizeof(port->proto), "%s", proto);
	snprintf(port->host_ip, sizeof(port->host_ip), "%s", ip ? ip : "");
	port->host_port = number(host ? host : "0");
	end = host ? strchr(host, '-') : NULL;
	port->host_port_end = end ? number(end + 1) : 0;
	port->container_port = number(rest ? rest : "0");
}

static int do_publish(struct net *net, const struct words *w, struct err *err)
{
	struct net_port ports[WORDS_MAX] = {0};
	size_t count = 0;

	for (size_t i = 2; i < w->count; i++)
		parse_port(w->items[i], &ports[count++]);
	if (net_publish(net, word(w, 1), ports, count, err) < 0)
		return -1;
	printf("ok");
	for (size_t i = 0; i < count; i++)
		printf(" %u", ports[i].host_port);
	printf("\n");
	return 1;
}

/* resolv ID [SERVER,SERVER] */
static int do_resolv(struct net *net, const struct words *w, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(4096);
	const char *dns[8] = {0};
	size_t n = 0;

	if (w->count > 2)
		for (char *rest = NULL, *one = strtok_r(w->items[2], ",", &rest);
		     one && n < ARRAY_LEN(dns) - 1; one = strtok_r(NULL, ",", &rest))
			dns[n++] = one;
	if (net_resolv_conf(net, word(w, 1), &(struct net_dns){.servers = dns}, &text, err) < 0)
		return -1;
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] == '\n')
			text.data[i] = ';';
	printf("ok %s\n", buf_str(&text));
	return 1;
}

/* ---- services: "tcp:8080=10.0.0.1:80,10.0.0.2:80" ---- */

static size_t parse_backends(char *text, struct net_backend *backends, size_t max)
{
	size_t n = 0;

	for (char *rest = NULL, *one = strtok_r(text, ",", &rest); one && n < max;
	     one = strtok_r(NULL, ",", &rest)) {
		char *port = strchr(one, ':');

		if (!port)
			continue;
		snprintf(backends[n].ip, sizeof(backends[n].ip), "%.*s", (int)(port - one), one);
		backends[n++].port = number(port + 1);
	}
	return n;
}

static int do_services(struct net *net, const struct words *w, struct err *err)
{
	static struct net_backend backends[WORDS_MAX][32];
	struct net_service services[WORDS_MAX] = {0};
	size_t count = 0;

	for (size_t i = 1; i < w->count; i++) {
		char *list = strchr(w->items[i], '='), *port = strchr(w->items[i], ':');
		struct net_service *s = &services[count];

		if (!list || !port)
			continue;
		*list++ = '\0';
		*port++ = '\0';
		s->id = "service";
		s->port = number(port);
		snprintf(s->proto, sizeof(s->proto), "%s", w->items[i]);
		s->backends = backends[count];
		s->count = parse_backends(list, backends[count], 32);
		count++;
	}
	return net_services_set(net, services, count, err);
}

/* ---- how long it takes ---- */

struct laps {
	int64_t start, create, attach, publish, remove;
};

static int one_lap(struct net *net, size_t i, struct laps *laps, struct err *err)
{
	struct net_port port = {.container_port = 80, .proto = "tcp"};
	struct net_attachment attachment = {.network = "bridge", .container_name = "lap"};
	struct net_endpoint endpoint;
	int64_t t[5];
	char id[32];

	snprintf(id, sizeof(id), "ab%08zx", i);
	t[0] = clock_mono_ns();
	if (net_sandbox_create(net, id, NULL, err) < 0)
		return -1;
	t[1] = clock_mono_ns();
	if (net_attach(net, id, &attachment, &endpoint, err) < 0)
		return -1;
	t[2] = clock_mono_ns();
	if (net_publish(net, id, &port, 1, err) < 0)
		return -1;
	t[3] = clock_mono_ns();
	if (net_sandbox_remove(net, id, err) < 0)
		return -1;
	t[4] = clock_mono_ns();
	laps->create += t[1] - t[0];
	laps->attach += t[2] - t[1];
	laps->publish += t[3] - t[2];
	laps->remove += t[4] - t[3];
	return 0;
}

/* bench N PAUSE_MS */
static int do_bench(struct net *net, const struct words *w, struct err *err)
{
	size_t n = number(word(w, 1));
	struct laps laps = {0};
	double per;

	for (size_t i = 0; i < n; i++) {
		if (one_lap(net, i, &laps, err) < 0)
			return -1;
		clock_sleep_ms(number(word(w, 2)));
	}
	per = 1e3 * (double)(n ? n : 1);
	printf("ok create=%.0f attach=%.0f publish=%.0f remove=%.0f us\n",
	       (double)laps.create / per, (double)laps.attach / per, (double)laps.publish / per,
	       (double)laps.remove / per);
	return 1;
}

/* ---- the door ---- */

/* 0: done, the caller says "ok"; 1: answered already. */
static int run(struct net *net, const struct words *w, struct err *err)
{
	const char *verb = word(w, 0);

	if (str_eq(verb, "network"))
		return do_network(net, w, err);
	if (str_eq(verb, "networks"))
		return do_networks(net, err);
	if (str_eq(verb, "rmnetwork"))
		return net_network_remove(net, word(w, 1), err);
	if (str_eq(verb, "sandbox"))
		return net_sandbox_create(net, word(w, 1), NULL, err);
	if (str_eq(verb, "path"))
		return do_path(net, w, err);
	if (str_eq(verb, "attach"))
		return do_attach(net, w, err);
	if (str_eq(verb, "detach"))
		return net_detach(net, word(w, 1), word(w, 2), err);
	if (str_eq(verb, "remove"))
		return net_sandbox_remove(net, word(w, 1), err);
	if (str_eq(verb, "publish"))
		return do_publish(net, w, err);
	if (str_eq(verb, "unpublish"))
		return net_unpublish(net, word(w, 1), err);
	if (str_eq(verb, "resolv"))
		return do_resolv(net, w, err);
	if (str_eq(verb, "services"))
		return do_services(net, w, err);
	if (str_eq(verb, "reconcile"))
		return net_reconcile(net, (const char *const *)&w->items[1], w->count - 1, err);
	if (str_eq(verb, "bench"))
		return do_bench(net, w, err);
	return err_set(err, ERR_INVALID, "unknown command");
}

static void serve(struct net *net, bool *keep)
{
	char line[8192];

	while (fgets(line, sizeof(line), stdin)) {
		struct err err = ERR_INIT;
		struct words w = {0};
		int result;

		for (char *rest = NULL, *one = strtok_r(line, " \n", &rest);
		     one && w.count < WORDS_MAX; one = strtok_r(NULL, " \n", &rest))
			w.items[w.count++] = one;
		if (w.count == 0)
			continue;
		if (str_eq(w.items[0], "close")) {
			*keep = str_eq(word(&w, 1), "keep");
			return;
		}
		result = run(net, &w, &err);
		if (result < 0)
			printf("error %d %s\n", (int)err.kind, err.msg);
		else if (result == 0)
			printf("ok\n");
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	struct log log;
	struct net_options options = {.name = argc > 3 ? argv[3] : "",
	                              .default_pool = argc > 4 ? argv[4] : NULL,
	                              .log = &log};
	auto_close int root = -1, run_dir = -1;
	struct net *net;
	bool keep = true;

	log_init(&log, LOG_LEVEL_DEBUG);
	if (argc < 3 || failpoint_init(&err) < 0)
		return 2;
	root = fs_trusted_open_dir(argv[1], true, &err);
	run_dir = fs_trusted_open_dir(argv[2], true, &err);
	net = root >= 0 && run_dir >= 0 ? net_open(root, run_dir, &options, &err) : NULL;
	if (!net) {
		printf("error %d %s\n", (int)err.kind, err.msg);
		return 1;
	}
	printf("ok\n");
	fflush(stdout);
	serve(net, &keep);
	net_close(net, keep);
	return 0;
}
