/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/taskspec.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/agent.h"
#include "cluster/template.h"
#include "engine/engine.h"
#include "net/net.h"

#define SECOND_NS 1000000000

/* What all parts need. */
struct draft {
	const struct agent_work *work;
	const struct service_container *spec;
	const struct json_array *more;
	struct template_values values;
	struct utsname machine;
	char name[TASKSPEC_NAME_MAX], slot[32];
	struct arena *arena;
	struct api_container_create *out;
};

char *taskspec_name(const struct agent_work *work, char name[TASKSPEC_NAME_MAX])
{
	const struct task *t = work->task;

	if (t->slot > 0)
		snprintf(name, TASKSPEC_NAME_MAX, "%s.%lld.%s", t->service_name, (long long)t->slot,
		         t->id);
	else
		snprintf(name, TASKSPEC_NAME_MAX, "%s.%s.%s", t->service_name, work->node_id,
		         t->id);
	return name;
}

static void drop_document(void *doc)
{
	json_free(doc);
}

/* Hands a document to the arena. */
static struct json *keep(struct draft *d, struct json *doc, struct err *err)
{
	if (!doc) {
		err_nomem(err);
		return NULL;
	}
	return arena_later(d->arena, drop_document, doc, err) < 0 ? NULL : doc;
}

static int prepare_values(struct draft *d)
{
	const struct task *t = d->work->task;

	uname(&d->machine);
	taskspec_name(d->work, d->name);
	if (t->slot > 0)
		snprintf(d->slot, sizeof(d->slot), "%lld", (long long)t->slot);
	else
		snprintf(d->slot, sizeof(d->slot), "%s", d->work->node_id);
	d->values = (struct template_values){
		.service_id = t->service_id,
		.service_name = t->service_name,
		.node_id = d->work->node_id,
		.node_hostname = d->work->node_name,
		.node_architecture = d->machine.machine,
		.node_os = "linux",
		.task_id = t->id,
		.task_name = d->name,
		.task_slot = d->slot,
	};
	return 0;
}

/* ---- Config ---- */

static int expand_list(struct draft *d, const struct json_strings *from, struct json_strings *to,
                       struct err *err)
{
	to->items = arena_array(d->arena, from->count + 1, sizeof(char *), err);
	if (!to->items)
		return -1;
	for (size_t i = 0; i < from->count; i++) {
		to->items[i] = template_expand(from->items[i], &d->values, d->arena, err);
		if (!to->items[i])
			return -1;
	}
	to->count = from->count;
	to->present = from->present;
	return 0;
}

static int set_labels(struct draft *d, struct err *err)
{
	const struct task *t = d->work->task;
	const struct json_strmap *own = &d->spec->labels;
	struct json_strmap *to = &d->out->config.labels;
	const struct json_pair ours[] = {
		{(char *)"com.docker.swarm.node.id", (char *)d->work->node_id},
		{(char *)"com.docker.swarm.node.name", (char *)d->work->node_name},
		{(char *)"com.docker.swarm.service.id", t->service_id},
		{(char *)"com.docker.swarm.service.name", t->service_name},
		{(char *)"com.docker.swarm.task", (char *)""},
		{(char *)TASKSPEC_LABEL_TASK, t->id},
		{(char *)"com.docker.swarm.task.name", arena_strdup(d->arena, d->name, err)},
	};

	to->items = arena_array(d->arena, own->count + ARRAY_LEN(ours), sizeof(*to->items), err);
	if (!to->items || !ours[6].value)
		return -1;
	to->present = true;
	for (size_t i = 0; i < own->count; i++) /* a label of ours is not theirs to set */
		if (!str_starts(own->items[i].key, "com.docker.swarm."))
			to->items[to->count++] = own->items[i];
	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		to->items[to->count++] = ours[i];
	return 0;
}

static int set_health(struct draft *d, struct err *err)
{
	const struct service_health *from = d->spec->health;

	if (!from)
		return 0;
	struct api_healthcheck *to = arena_alloc(d->arena, sizeof(*to), err);
	if (!to)
		return -1;
	*to = (struct api_healthcheck){.test = from->test,
	                               .interval = from->interval,
	                               .timeout = from->timeout,
	                               .start_period = from->start_period,
	                               .start_interval = from->start_interval,
	                               .retries = from->retries};
	d->out->config.healthcheck = to;
	return 0;
}

static int set_config(struct draft *d, struct err *err)
{
	const struct service_container *spec = d->spec;
	struct api_config *config = &d->out->config;

	config->image = spec->image;
	config->entrypoint = spec->command;
	config->cmd = spec->args;
	config->working_dir = spec->dir;
	config->user = spec->user;
	config->tty = spec->tty;
	config->open_stdin = spec->open_stdin;
	config->stop_signal = spec->stop_signal;
	if (spec->hostname) {
		config->hostname = template_expand(spec->hostname, &d->values, d->arena, err);
		if (!config->hostname)
			return -1;
	}
	if (spec->stop_grace != SERVICE_UNSET) {
		config->stop_timeout = keep(d, json_int(spec->stop_grace / SECOND_NS), err);
		if (!config->stop_timeout)
			return -1;
	}
	if (expand_list(d, &spec->env, &config->env, err) < 0 || set_labels(d, err) < 0)
		return -1;
	return set_health(d, err);
}

/* ---- HostConfig ---- */

/* Volume, bind and tmpfs options are those of a container's mounts, so they are read by that table. */
static int set_mounts(struct draft *d, struct err *err)
{
	const struct json *container = json_get(d->work->task->spec_raw, "ContainerSpec");
	const struct json *from = json_get(container, "Mounts");
	struct json_array *to = &d->out->host.mounts;
	size_t count = json_count(from), total = count + d->more->count;
	struct api_mount *mounts = arena_array(d->arena, total + 1, sizeof(*mounts), err);

	if (!mounts)
		return -1;
	*to = (struct json_array){.items = mounts, .count = total, .present = total > 0};
	for (size_t i = 0; i < d->more->count; i++)
		mounts[count + i] = ((const struct api_mount *)d->more->items)[i];
	for (size_t i = 0; i < count; i++) {
		struct api_mount *m = &mounts[i];

		if (json_decode(json_at(from, i), &api_mount_table, d->arena, m, err) < 0)
			return err_wrap(err, "Mounts[%zu]", i);
		if (m->source)
			m->source = template_expand(m->source, &d->values, d->arena, err);
		if (m->target)
			m->target = template_expand(m->target, &d->values, d->arena, err);
		if (!m->target || (!m->source && json_get_string(json_at(from, i), "Source")))
			return -1;
	}
	return 0;
}

/* "IP name name" -> "name:IP", one per name. */
static int set_hosts(struct draft *d, struct err *err)
{
	const struct json_strings *from = &d->spec->hosts;
	struct json_strings *to = &d->out->host.extra_hosts;
	size_t room = 1;

	for (size_t i = 0; i < from->count; i++)
		for (const char *p = from->items[i]; *p; p++)
			room += *p == ' ';
	to->items = arena_array(d->arena, room, sizeof(char *), err);
	if (!to->items)
		return -1;
	for (size_t i = 0; i < from->count; i++) {
		const char *line = from->items[i];
		int ip_len = (int)strcspn(line, " ");

		for (const char *name = line + ip_len; *name;) {
			name += strspn(name, " ");
			int len = (int)strcspn(name, " ");
			if (len == 0)
				break;
			char *entry =
				arena_printf(d->arena, err, "%.*s:%.*s", len, name, ip_len, line);
			if (!entry)
				return -1;
			to->items[to->count++] = entry;
			name += len;
		}
	}
	to->present = to->count > 0;
	return 0;
}

struct dns {
	struct json_strings nameservers, search, options;
};

static int set_dns(struct draft *d, struct err *err)
{
	static const struct json_field fields[] = {
		JSON_FIELD(struct dns, nameservers, "Nameservers", JSON_STRINGS),
		JSON_FIELD(struct dns, search, "Search", JSON_STRINGS),
		JSON_FIELD(struct dns, options, "Options", JSON_STRINGS),
		JSON_END,
	};
	static const struct json_table table = JSON_TABLE(struct dns, fields);
	struct dns dns = {0};

	if (!json_is_object(d->spec->dns))
		return 0;
	if (json_decode(d->spec->dns, &table, d->arena, &dns, err) < 0)
		return err_wrap(err, "DNSConfig");
	d->out->host.dns = dns.nameservers;
	d->out->host.dns_search = dns.search;
	d->out->host.dns_options = dns.options;
	return 0;
}

struct log_driver {
	char *name;
	struct json_strmap options;
};

static int set_log(struct draft *d, struct err *err)
{
	static const struct json_field fields[] = {
		JSON_FIELD(struct log_driver, name, "Name", JSON_STRING),
		JSON_FIELD(struct log_driver, options, "Options", JSON_STRMAP),
		JSON_END,
	};
	static const struct json_table table = JSON_TABLE(struct log_driver, fields);
	struct log_driver driver = {0};

	if (!json_is_object(d->work->task->spec.log_driver))
		return 0;
	if (json_decode(d->work->task->spec.log_driver, &table, d->arena, &driver, err) < 0)
		return err_wrap(err, "LogDriver");
	d->out->host.log_config = (struct api_log_config){driver.name, driver.options};
	return 0;
}

static int set_limits(struct draft *d, struct err *err)
{
	const struct service_requirements *r = &d->work->task->spec.resources;
	struct api_host_config *host = &d->out->host;

	host->nano_cpus = r->limits.nano_cpus;
	host->memory = r->limits.memory_bytes;
	host->memory_reservation = r->reservations.memory_bytes;
	if (host->memory > 0 && host->memory_reservation > host->memory)
		host->memory_reservation = host->memory;
	if (r->limits.pids > 0) {
		host->pids_limit = keep(d, json_int(r->limits.pids), err);
		if (!host->pids_limit)
			return -1;
	}
	return 0;
}

static int set_ulimits(struct draft *d, struct err *err)
{
	static const struct json_field fields[] = {
		JSON_FIELD(struct api_ulimit, name, "Name", JSON_STRING),
		JSON_FIELD(struct api_ulimit, soft, "Soft", JSON_INT),
		JSON_FIELD(struct api_ulimit, hard, "Hard", JSON_INT),
		JSON_END,
	};
	static const struct json_table table = JSON_TABLE(struct api_ulimit, fields);
	size_t count = json_count(d->spec->ulimits);
	struct api_ulimit *limits = arena_array(d->arena, count + 1, sizeof(*limits), err);

	if (!limits)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (json_decode(json_at(d->spec->ulimits, i), &table, d->arena, &limits[i], err) <
		    0)
			return err_wrap(err, "Ulimits[%zu]", i);
	d->out->host.ulimits =
		(struct json_array){.items = limits, .count = count, .present = count > 0};
	return 0;
}

/* Each port becomes one of this machine's: a chosen one in mode host, any other for the mesh. */
static int set_ports(struct draft *d, struct err *err)
{
	const struct model_port *ports = d->work->task->ports.items;
	size_t count = d->work->task->ports.count;
	struct json *exposed = keep(d, json_object(), err);
	struct json *bindings = keep(d, json_object(), err);

	if (!exposed || !bindings)
		return -1;
	for (size_t i = 0; i < count; i++) {
		char key[32], number[24] = "";
		struct json *list = json_array(), *binding = json_object();
		bool host = str_eq(ports[i].publish_mode, "host");

		snprintf(key, sizeof(key), "%lld/%.4s", (long long)ports[i].target_port,
		         ports[i].protocol ? ports[i].protocol : "tcp");
		if (host && ports[i].published_port > 0)
			snprintf(number, sizeof(number), "%lld",
			         (long long)ports[i].published_port);
		json_set(binding, "HostIp", json_string(""));
		json_set(binding, "HostPort", json_string(number));
		json_append(list, binding);
		if (json_set(bindings, key, list) < 0 || json_set(exposed, key, json_object()) < 0)
			return err_nomem(err);
	}
	if (count > 0) {
		d->out->config.exposed_ports = exposed;
		d->out->host.port_bindings = bindings;
	}
	return 0;
}

/* On a network of this machine alone, the tasks of a service answer to its name, to tasks.NAME, and to what it was
 * given beside. On the cluster's the table of endpoints tells who answers to what. */
static int set_aliases(struct draft *d, const struct json_strings *given, struct json_strings *to,
                       struct err *err)
{
	to->items = arena_array(d->arena, given->count + 3, sizeof(char *), err);
	if (!to->items)
		return -1;
	for (size_t i = 0; i < given->count; i++)
		to->items[to->count++] = given->items[i];
	to->items[to->count++] = d->work->task->service_name;
	to->items[to->count] = arena_printf(d->arena, err, "tasks.%s", d->work->task->service_name);
	to->present = true;
	return to->items[to->count++] ? 0 : -1;
}

/* The address that the leader gave the task on that network. NULL: none, it is not the cluster's. */
static const char *given_address(const struct task *t, const char *network_id)
{
	const struct task_network *networks = t->networks.items;

	for (size_t i = 0; i < t->networks.count; i++)
		if (str_eq(networks[i].network.id, network_id) && networks[i].addresses.count > 0)
			return networks[i].addresses.items[0];
	return NULL;
}

static int set_address(struct draft *d, const char *address, struct api_named_endpoint *to,
                       struct err *err)
{
	struct api_ipam_config *ipam = arena_alloc(d->arena, sizeof(*ipam), err);

	if (!ipam)
		return -1;
	*ipam = (struct api_ipam_config){0};
	ipam->ipv4_address =
		arena_printf(d->arena, err, "%.*s", (int)strcspn(address, "/"), address);
	to->endpoint.ipam_config = ipam;
	return ipam->ipv4_address ? 0 : -1;
}

/* The networks of this machine that have the names or ids asked for. */
static int set_networks(struct draft *d, struct engine *engine, struct err *err)
{
	const struct service_network *wanted = d->work->task->spec.networks.items;
	size_t count = d->work->task->spec.networks.count;
	struct api_named_endpoint *to = arena_array(d->arena, count + 1, sizeof(*to), err);

	if (!to)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct net_network network;

		if (net_network_find(engine_net(engine), wanted[i].target, d->arena, &network,
		                     err) < 0)
			return -1;
		const char *address = given_address(d->work->task, network.id);
		if (i == 0)
			d->out->host.network_mode = network.name;
		if (str_eq(network.driver, "host") || str_eq(network.driver, "none") ||
		    str_eq(network.name, "host") || str_eq(network.name, "none"))
			return 0;
		to[i].network = network.name;
		if (address && set_address(d, address, &to[i], err) < 0)
			return -1;
		if (!address && !str_eq(network.name, "bridge") &&
		    set_aliases(d, &wanted[i].aliases, &to[i].endpoint.aliases, err) < 0)
			return -1;
	}
	d->out->endpoints = to;
	d->out->endpoint_count = count;
	return 0;
}

static int set_host(struct draft *d, struct engine *engine, struct err *err)
{
	struct api_host_config *host = &d->out->host;

	host->group_add = d->spec->groups;
	host->readonly_rootfs = d->spec->read_only;
	host->cap_add = d->spec->cap_add;
	host->cap_drop = d->spec->cap_drop;
	host->init = json_is_null(d->spec->init) ? NULL : d->spec->init;
	host->sysctls = d->spec->sysctls;
	if (set_mounts(d, err) < 0 || set_hosts(d, err) < 0 || set_dns(d, err) < 0 ||
	    set_log(d, err) < 0 || set_limits(d, err) < 0 || set_ulimits(d, err) < 0 ||
	    set_ports(d, err) < 0)
		return -1;
	return set_networks(d, engine, err);
}

char *taskspec_expand(const struct agent_work *work, const char *text, struct arena *arena,
                      struct err *err)
{
	struct draft d = {.work = work};

	prepare_values(&d);
	return template_expand(text, &d.values, arena, err);
}

int taskspec_create(struct engine *engine, const struct agent_work *work,
                    const struct json_array *more, struct arena *arena,
                    struct api_container_create *out, struct err *err)
{
	struct draft d = {
		.work = work,
		.spec = &work->task->spec.container,
		.more = more,
		.arena = arena,
		.out = out,
	};

	*out = (struct api_container_create){0};
	prepare_values(&d);
	return set_config(&d, err) < 0 ? -1 : set_host(&d, engine, err);
}
