/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

enum key {
	KEY_ROOT = 'r',
	KEY_RUN = 'R',
	KEY_HOST = 'H',
	KEY_NAME = 'n',
	KEY_LISTEN = 'l',
	KEY_ADVERTISE = 'a',
	KEY_STORE = 's',
	KEY_STORE_CA = 'A',
	KEY_STORE_CERT = 'C',
	KEY_STORE_KEY = 'K',
	KEY_STORE_COMPACTION = 'c',
	KEY_LOG_LEVEL = 'L',
	KEY_INSECURE = 'i',
	KEY_MIRROR = 'm',
	KEY_CERTS = 'e',
	KEY_NET_NAME = 'N',
	KEY_LAYERS = 'y',
	KEY_RUNTIME = 'x',
	KEY_USERNS = 'u',
	KEY_HELP = 'h',
	KEY_VERSION = 'v',
};

static const struct row {
	enum key key;
	const char *name, *value, *otherwise, *help;
} rows[] = {
	{KEY_ROOT, "root", "DIR", "/var/lib/buoy", "images, containers, volumes: what must last"},
	{KEY_RUN, "run", "DIR", "/run/buoy", "sockets and running containers: what a reboot wipes"},
	{KEY_HOST, "host", "URL", "unix:///run/buoy/buoy.sock",
         "where the API listens: unix://PATH, or tcp://127.0.0.1:PORT; repeatable"},
	{KEY_NAME, "name", "NAME", "the host name", "name of this machine in a cluster"},
	{KEY_LISTEN, "listen-addr", "IP:PORT", "0.0.0.0:2377",
         "where other machines of a cluster connect"},
	{KEY_ADVERTISE, "advertise-addr", "IP", "found out",
         "address of this machine that the others use"},
	{KEY_STORE, "store", "URL", "a file below --root",
         "where `swarm init` keeps a cluster's state: etcd (one that we run), or "
         "etcd://HOST[:PORT],...[/PREFIX]"},
	{KEY_STORE_CA, "store-ca", "FILE", "the system's CAs", "CA of an etcds:// store"},
	{KEY_STORE_CERT, "store-cert", "FILE", "none", "our certificate for an etcds:// store"},
	{KEY_STORE_KEY, "store-key", "FILE", "none", "its key"},
	{KEY_STORE_COMPACTION, "store-compaction", "DURATION", "5m",
         "how long an etcd keeps what was overwritten"},
	{KEY_INSECURE, "insecure-registry", "HOST:PORT", "none",
         "registry (or subnet, as 10.0.0.0/8) whose certificate is not verified, or that has no TLS; "
         "repeatable"},
	{KEY_MIRROR, "registry-mirror", "[REGISTRY=]URL", "none",
         "where to pull from before docker.io (or another registry) is asked; repeatable, tried in turn"},
	{KEY_CERTS, "registry-certs", "DIR", "/etc/buoy/certs.d, then /etc/docker/certs.d",
         "CAs and client certificates of registries: DIR/HOST:PORT/*.crt, NAME.cert, NAME.key; "
         "repeatable"},
	{KEY_LAYERS, "layers", "FORM", "mounted where that works",
         "how images lie on the disk from now on: mounted (tars), or directories"},
	{KEY_NET_NAME, "net-name", "NAME", "none",
         "suffix of bridge and table names, for a second daemon on one network"},
	{KEY_RUNTIME, "runtime", "PATH", "beside buoyd, else in PATH", "the buoy-runtime program"},
	{KEY_USERNS, "userns", "MODE", "auto",
         "user ids of containers and builds: auto, a range of its own for each, or host"},
	{KEY_LOG_LEVEL, "log-level", "LEVEL", "info", "error, warn, info or debug"},
	{KEY_HELP, "help", NULL, NULL, "this text"},
	{KEY_VERSION, "version", NULL, NULL, "the version"},
};

void options_help(int fd)
{
	dprintf(fd, "buoyd - the container engine and cluster node of this machine\n\n"
	            "Usage: buoyd [OPTION]...\n\n");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char left[48];
		snprintf(left, sizeof(left), "--%s%s%s", rows[i].name, rows[i].value ? " " : "",
		         rows[i].value ? rows[i].value : "");
		dprintf(fd, "  %-30s %s", left, rows[i].help);
		if (rows[i].otherwise)
			dprintf(fd, " (%s)", rows[i].otherwise);
		dprintf(fd, "\n");
	}
}

void options_manpage(int fd)
{
	dprintf(fd,
	        ".TH BUOYD 8 \"\" \"buoy %s\" \"System Administration\"\n"
	        ".SH NAME\nbuoyd \\- container engine and cluster node of a machine\n"
	        ".SH SYNOPSIS\n.B buoyd\n[\\fIOPTION\\fR]...\n"
	        ".SH DESCRIPTION\nServes Docker's API for containers, images, networks, volumes and\n"
	        "services. Containers are run by supervisors of their own and live on when buoyd stops,\n"
	        "is killed or upgraded; it finds them again. SIGTERM ends it.\n.SH OPTIONS\n",
	        BUOY_VERSION);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		dprintf(fd, ".TP\n\\fB\\-\\-%s\\fR", rows[i].name);
		if (rows[i].value)
			dprintf(fd, " \\fI%s\\fR", rows[i].value);
		dprintf(fd, "\n%s", rows[i].help);
		if (rows[i].otherwise)
			dprintf(fd, " (default: %s)", rows[i].otherwise);
		dprintf(fd, "\n");
	}
	dprintf(fd, ".SH SEE ALSO\n.BR buoy (1),\n.BR buoy-runtime (8)\n");
}

static int add(const char **list, size_t *count, size_t max, const char *name, const char *value,
               struct err *err)
{
	if (*count == max)
		return err_set(err, ERR_LIMIT, "--%s: more than %zu", name, max);
	list[(*count)++] = value;
	return 0;
}

static int take_compaction(struct options *o, const char *value, struct err *err)
{
	int64_t ns;

	if (clock_parse_duration(value, &ns, err) < 0)
		return err_wrap(err, "--store-compaction");
	if (ns < 1000000000)
		return err_set(err, ERR_INVALID, "--store-compaction %s: less than a second",
		               value);
	o->store_compaction_ms = ns / 1000000;
	return 0;
}

static int take(struct options *o, int key, const char *value, struct err *err)
{
	switch (key) {
	case KEY_ROOT:
		o->root = value;
		return 0;
	case KEY_RUN:
		o->run = value;
		return 0;
	case KEY_HOST:
		return add(o->hosts, &o->host_count, OPTIONS_HOSTS_MAX, "host", value, err);
	case KEY_NAME:
		o->name = value;
		return 0;
	case KEY_LISTEN:
		o->listen_addr = value;
		return 0;
	case KEY_ADVERTISE:
		o->advertise_addr = value;
		return 0;
	case KEY_STORE:
		o->store = value;
		return 0;
	case KEY_STORE_CA:
		o->store_ca = value;
		return 0;
	case KEY_STORE_CERT:
		o->store_cert = value;
		return 0;
	case KEY_STORE_KEY:
		o->store_key = value;
		return 0;
	case KEY_STORE_COMPACTION:
		return take_compaction(o, value, err);
	case KEY_LAYERS:
		if (!str_eq(value, "mounted") && !str_eq(value, "directories"))
			return err_set(err, ERR_INVALID, "--layers: mounted or directories, not %s",
			               value);
		o->layers = value;
		return 0;
	case KEY_INSECURE:
		return add(o->insecure_registries, &o->registry_count, OPTIONS_REGISTRY_MAX,
		           "insecure-registry", value, err);
	case KEY_MIRROR:
		return add(o->registry_mirrors, &o->mirror_count, OPTIONS_REGISTRY_MAX,
		           "registry-mirror", value, err);
	case KEY_CERTS:
		return add(o->registry_certs, &o->certs_count, OPTIONS_CERTS_MAX, "registry-certs",
		           value, err);
	case KEY_NET_NAME:
		o->net_name = value;
		return 0;
	case KEY_RUNTIME:
		o->runtime = value;
		return 0;
	case KEY_USERNS:
		if (!str_eq(value, "auto") && !str_eq(value, "host"))
			return err_set(err, ERR_INVALID, "--userns %s: auto or host", value);
		o->userns_host = str_eq(value, "host");
		return 0;
	case KEY_LOG_LEVEL:
		return log_parse_level(value, &o->log_level, err);
	case KEY_HELP:
		o->help = true;
		return 0;
	case KEY_VERSION:
		o->version = true;
		return 0;
	default:
		return err_set(err, ERR_INVALID, "see buoyd --help");
	}
}

static int check(const struct options *o, struct err *err)
{
	if (*o->root != '/')
		return err_set(err, ERR_INVALID, "--root %s: not an absolute path", o->root);
	if (*o->run != '/')
		return err_set(err, ERR_INVALID, "--run %s: not an absolute path", o->run);
	for (size_t i = 0; i < o->host_count; i++)
		if (!str_starts(o->hosts[i], "unix:///") && !str_starts(o->hosts[i], "tcp://"))
			return err_set(err, ERR_INVALID,
			               "--host %s: not unix:///PATH or tcp://127.0.0.1:PORT",
			               o->hosts[i]);
	return 0;
}

int options_parse(int argc, char **argv, struct options *out, struct err *err)
{
	struct options o = {.root = "/var/lib/buoy",
	                    .run = "/run/buoy",
	                    .listen_addr = "0.0.0.0:2377",
	                    .log_level = LOG_LEVEL_INFO};
	struct option table[ARRAY_LEN(rows) + 1] = {0};
	int key;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		table[i] = (struct option){rows[i].name,
		                           rows[i].value ? required_argument : no_argument, NULL,
		                           (int)rows[i].key};
	optind = 1;
	while ((key = getopt_long(argc, argv, "H:", table, NULL)) != -1)
		if (take(&o, key, optarg, err) < 0)
			return -1;
	if (optind < argc)
		return err_set(err, ERR_INVALID, "%s: buoyd takes options only", argv[optind]);
	if (check(&o, err) < 0)
		return -1;
	*out = o;
	return 0;
}
