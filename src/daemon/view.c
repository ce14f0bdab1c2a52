/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/view.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "daemon/reply.h"
#include "engine/container.h"

#define TEXT_MAX (64u << 10)
#define NANO     1000000000LL
#define MINUTE_S 60
#define HOUR_S   (60 * MINUTE_S)
#define DAY_S    (24 * HOUR_S)

/* ---- ports ---- */

static void host_ip(const struct net_port *port, const char **ip)
{
	*ip = *port->host_ip ? port->host_ip : "0.0.0.0";
}

static bool is_published(const struct container_view *v, const char *key)
{
	for (size_t i = 0; i < v->port_count; i++) {
		char text[24];
		snprintf(text, sizeof(text), "%u/%s", v->ports[i].container_port,
		         v->ports[i].proto);
		if (strcmp(text, key) == 0)
			return true;
	}
	return false;
}

/* [{"IP", "PrivatePort", "PublicPort", "Type"}]; exposed ones have no public side. */
static struct json *summary_ports(const struct container_view *v)
{
	struct json *list = json_array(), *value;
	const char *key, *ip;
	void *iter = NULL;

	for (size_t i = 0; i < v->port_count; i++) {
		struct json *one = json_object();
		host_ip(&v->ports[i], &ip);
		json_set(one, "IP", json_string(ip));
		json_set(one, "PrivatePort", json_int(v->ports[i].container_port));
		json_set(one, "PublicPort", json_int(v->ports[i].host_port));
		json_set(one, "Type", json_string(v->ports[i].proto));
		json_append(list, one);
	}
	struct json *exposed = v->create->config.exposed_ports;
	while (v->running && exposed && json_next(exposed, &iter, &key, &value)) {
		const char *slash = strchr(key, '/');
		int64_t port = 0;
		char number[8];
		if (is_published(v, key))
			continue;
		snprintf(number, sizeof(number), "%.*s", (int)strcspn(key, "/"), key);
		if (id_parse_int(number, "port", 1, 65535, &port, NULL) < 0)
			continue;
		struct json *one = json_object();
		json_set(one, "PrivatePort", json_int(port));
		json_set(one, "Type", json_string(slash ? slash + 1 : "tcp"));
		json_append(list, one);
	}
	return list;
}

/* {"80/tcp": [{"HostIp", "HostPort"}], "81/tcp": null} */
static struct json *inspect_ports(const struct container_view *v)
{
	struct json *map = json_object(), *value;
	struct json *exposed = v->create->config.exposed_ports;
	const char *key, *ip;
	void *iter = NULL;

	while (v->running && exposed && json_next(exposed, &iter, &key, &value))
		json_set(map, key, json_null());
	for (size_t i = 0; i < v->port_count; i++) {
		char name[24], number[8];
		struct json *one = json_object();
		snprintf(name, sizeof(name), "%u/%s", v->ports[i].container_port,
		         v->ports[i].proto);
		snprintf(number, sizeof(number), "%u", v->ports[i].host_port);
		host_ip(&v->ports[i], &ip);
		json_set(one, "HostIp", json_string(ip));
		json_set(one, "HostPort", json_string(number));
		if (!json_is_array(json_get(map, name)))
			json_set(map, name, json_array());
		json_append(json_get(map, name), one);
	}
	return map;
}

/* ---- networks ---- */

static struct json *networks(const struct container_view *v)
{
	struct json *map = json_object();

	for (size_t i = 0; i < v->network_count; i++)
		json_set(map, v->networks[i].name,
		         json_encode(&api_endpoint_table, &v->networks[i].endpoint, NULL));
	return map;
}

static struct json *network_settings(const struct container_view *v)
{
	static const struct api_endpoint none = {0};
	const struct api_endpoint *first = v->network_count ? &v->networks[0].endpoint : &none;
	struct json *doc = json_object();

	json_set(doc, "Bridge", json_string(""));
	json_set(doc, "SandboxID", json_string(v->running ? v->id : ""));
	json_set(doc, "SandboxKey", json_string(v->netns_path ? v->netns_path : ""));
	json_set(doc, "HairpinMode", json_bool(false));
	json_set(doc, "LinkLocalIPv6Address", json_string(""));
	json_set(doc, "LinkLocalIPv6PrefixLen", json_int(0));
	json_set(doc, "Ports", inspect_ports(v));
	json_set(doc, "SecondaryIPAddresses", json_null());
	json_set(doc, "SecondaryIPv6Addresses", json_null());
	json_set(doc, "EndpointID", json_string(first->endpoint_id ? first->endpoint_id : ""));
	json_set(doc, "Gateway", json_string(first->gateway ? first->gateway : ""));
	json_set(doc, "GlobalIPv6Address", json_string(""));
	json_set(doc, "GlobalIPv6PrefixLen", json_int(0));
	json_set(doc, "IPAddress", json_string(first->ip_address ? first->ip_address : ""));
	json_set(doc, "IPPrefixLen", json_int(first->ip_prefix_len));
	json_set(doc, "IPv6Gateway", json_string(""));
	json_set(doc, "MacAddress", json_string(first->mac_address ? first->mac_address : ""));
	json_set(doc, "Networks", networks(v));
	return doc;
}

static struct json *mounts(const struct container_view *v)
{
	struct json *list = json_array();

	for (size_t i = 0; i < v->mount_count; i++) {
		const struct container_mount *m = &v->mounts[i];
		struct json *one = json_object();
		json_set(one, "Type", json_string(m->type));
		if (!str_empty(m->name))
			json_set(one, "Name", json_string(m->name));
		json_set(one, "Source", json_string(m->source ? m->source : ""));
		json_set(one, "Destination", json_string(m->destination));
		if (!str_empty(m->driver))
			json_set(one, "Driver", json_string(m->driver));
		json_set(one, "Mode", json_string(m->mode ? m->mode : ""));
		json_set(one, "RW", json_bool(m->rw));
		json_set(one, "Propagation", json_string(m->propagation ? m->propagation : ""));
		json_append(list, one);
	}
	return list;
}

/* ---- a line of ps ---- */

/* "5 seconds", "About a minute", "3 hours", as docker words them. */
static void add_age(struct buf *out, int64_t ns)
{
	int64_t s = ns / NANO;

	if (s < 1)
		buf_add(out, "Less than a second");
	else if (s == 1)
		buf_add(out, "1 second");
	else if (s < MINUTE_S)
		buf_addf(out, "%d seconds", (int)s);
	else if (s < 2 * MINUTE_S)
		buf_add(out, "About a minute");
	else if (s < HOUR_S)
		buf_addf(out, "%d minutes", (int)(s / MINUTE_S));
	else if (s < 2 * HOUR_S)
		buf_add(out, "About an hour");
	else if (s < 2 * DAY_S)
		buf_addf(out, "%d hours", (int)(s / HOUR_S));
	else if (s < 14 * DAY_S)
		buf_addf(out, "%d days", (int)(s / DAY_S));
	else if (s < 60 * DAY_S)
		buf_addf(out, "%d weeks", (int)(s / (7 * DAY_S)));
	else if (s < 730 * DAY_S)
		buf_addf(out, "%d months", (int)(s / (30 * DAY_S)));
	else
		buf_addf(out, "%d years", (int)(s / (365 * DAY_S)));
}

static void add_status(struct buf *out, const struct container_view *v)
{
	int64_t now = clock_wall_ns();

	if (v->restarting) {
		buf_addf(out, "Restarting (%d) ", v->exit_code);
		add_age(out, now - v->finished_ns);
		buf_add(out, " ago");
	} else if (v->running) {
		buf_add(out, "Up ");
		add_age(out, now - v->started_ns);
		if (v->paused)
			buf_add(out, " (Paused)");
		else if (v->health && strcmp(v->health, "none") != 0)
			buf_addf(out,
			         strcmp(v->health, "starting") == 0 ? " (health: %s)" : " (%s)",
			         v->health);
	} else if (v->started_ns == 0) {
		buf_add(out, strcmp(v->status, "created") == 0 ? "Created" : "Exited (127)");
	} else {
		buf_addf(out, "Exited (%d) ", v->exit_code);
		add_age(out, now - v->finished_ns);
		buf_add(out, " ago");
	}
}

static void add_command(struct buf *out, const struct container_view *v)
{
	for (size_t i = 0; v->argv && v->argv[i]; i++) {
		bool quote = strchr(v->argv[i], ' ') != NULL;
		buf_addf(out, "%s%s%s%s", i ? " " : "", quote ? "'" : "", v->argv[i],
		         quote ? "'" : "");
	}
}

static struct json *text_of(void (*add)(struct buf *, const struct container_view *),
                            const struct container_view *v)
{
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);

	add(&text, v);
	return json_string(buf_str(&text));
}

static const char *mode_of(const struct container_view *v)
{
	return str_empty(v->create->host.network_mode) ? "default" : v->create->host.network_mode;
}

struct json *view_summary(const struct container_view *v)
{
	struct json *names = json_array();
	struct json *host = json_object();
	struct json *settings = json_object();
	struct json *doc = json_object();
	char name[160];

	snprintf(name, sizeof(name), "/%s", v->name);
	json_append(names, json_string(name));
	json_set(host, "NetworkMode", json_string(mode_of(v)));
	json_set(settings, "Networks", networks(v));
	json_set(doc, "Id", json_string(v->id));
	json_set(doc, "Names", names);
	json_set(doc, "Image", json_string(v->create->config.image));
	json_set(doc, "ImageID", json_string(v->image_id));
	json_set(doc, "Command", text_of(add_command, v));
	json_set(doc, "Created", json_int(v->created_ns / NANO));
	json_set(doc, "Ports", summary_ports(v));
	json_set(doc, "Labels",
	         v->create->config.labels.present ? reply_strmap(&v->create->config.labels)
	                                          : json_object());
	json_set(doc, "State", json_string(v->status));
	json_set(doc, "Status", text_of(add_status, v));
	json_set(doc, "HostConfig", host);
	json_set(doc, "NetworkSettings", settings);
	json_set(doc, "Mounts", mounts(v));
	json_set(doc, "OptOuts", reply_list(v->opt_outs));
	if (v->size_rw >= 0) {
		json_set(doc, "SizeRw", json_int(v->size_rw));
		json_set(doc, "SizeRootFs", json_int(v->size_root_fs));
	}
	return doc;
}

/* ---- inspect ---- */

static struct json *health(const struct container_view *v)
{
	struct json *log = json_array();
	struct json *doc = json_object();
	char when[CLOCK_TEXT_MAX];

	for (size_t i = 0; i < v->health_log_count; i++) {
		const struct container_health_probe *probe = &v->health_log[i];
		struct json *one = json_object();
		json_set(one, "Start", json_string(clock_format(probe->start_ns, when)));
		json_set(one, "End", json_string(clock_format(probe->end_ns, when)));
		json_set(one, "ExitCode", json_int(probe->exit_code));
		json_set(one, "Output", json_string(probe->output ? probe->output : ""));
		json_append(log, one);
	}
	json_set(doc, "Status", json_string(v->health));
	json_set(doc, "FailingStreak", json_int(v->health_failing_streak));
	json_set(doc, "Log", log);
	return doc;
}

static struct json *state(const struct container_view *v)
{
	struct json *doc = json_object();
	char when[CLOCK_TEXT_MAX];

	json_set(doc, "Status", json_string(v->status));
	json_set(doc, "Running", json_bool(v->running));
	json_set(doc, "Paused", json_bool(v->paused));
	json_set(doc, "Restarting", json_bool(v->restarting));
	json_set(doc, "OOMKilled", json_bool(v->oom_killed));
	json_set(doc, "Dead", json_bool(v->dead));
	json_set(doc, "Pid", json_int(v->pid));
	json_set(doc, "ExitCode", json_int(v->exit_code));
	json_set(doc, "Error", json_string(v->error ? v->error : ""));
	json_set(doc, "StartedAt", json_string(clock_format(v->started_ns, when)));
	json_set(doc, "FinishedAt", json_string(clock_format(v->finished_ns, when)));
	if (v->health)
		json_set(doc, "Health", health(v));
	return doc;
}

static struct json *arguments(const struct container_view *v)
{
	return reply_list(v->argv && v->argv[0] ? v->argv + 1 : NULL);
}

static struct json *graph_driver(const struct container_view *v)
{
	struct json *data = json_object();
	struct json *doc = json_object();

	json_set(data, "UpperDir", json_string(v->upper_path ? v->upper_path : ""));
	json_set(doc, "Data", data);
	json_set(doc, "Name", json_string("overlay2"));
	return doc;
}

static void add_paths(struct json *doc, const struct container_view *v)
{
	json_set(doc, "ResolvConfPath",
	         json_string(v->resolv_conf_path ? v->resolv_conf_path : ""));
	json_set(doc, "HostnamePath", json_string(v->hostname_path ? v->hostname_path : ""));
	json_set(doc, "HostsPath", json_string(v->hosts_path ? v->hosts_path : ""));
	json_set(doc, "LogPath", json_string(v->log_path ? v->log_path : ""));
}

struct json *view_container(const struct container_view *v)
{
	struct json *doc = json_object();
	char when[CLOCK_TEXT_MAX], name[160];

	snprintf(name, sizeof(name), "/%s", v->name);
	json_set(doc, "Id", json_string(v->id));
	json_set(doc, "Created", json_string(clock_format(v->created_ns, when)));
	json_set(doc, "Path", json_string(v->argv && v->argv[0] ? v->argv[0] : ""));
	json_set(doc, "Args", arguments(v));
	json_set(doc, "State", state(v));
	json_set(doc, "Image", json_string(v->image_id));
	add_paths(doc, v);
	json_set(doc, "Name", json_string(name));
	json_set(doc, "RestartCount", json_int(v->restart_count));
	json_set(doc, "Driver", json_string("overlay2"));
	json_set(doc, "Platform", json_string("linux"));
	json_set(doc, "MountLabel", json_string(""));
	json_set(doc, "ProcessLabel", json_string(""));
	json_set(doc, "AppArmorProfile", json_string(""));
	json_set(doc, "ExecIDs",
	         v->exec_ids && v->exec_ids[0] ? reply_list(v->exec_ids) : json_null());
	json_set(doc, "OptOuts", reply_list(v->opt_outs));
	json_set(doc, "HostConfig", json_encode(&api_host_config_table, &v->create->host, NULL));
	json_set(doc, "GraphDriver", graph_driver(v));
	if (v->size_rw >= 0) {
		json_set(doc, "SizeRw", json_int(v->size_rw));
		json_set(doc, "SizeRootFs", json_int(v->size_root_fs));
	}
	json_set(doc, "Mounts", mounts(v));
	json_set(doc, "Config", json_encode(&api_config_table, &v->create->config, NULL));
	json_set(doc, "NetworkSettings", network_settings(v));
	return doc;
}
