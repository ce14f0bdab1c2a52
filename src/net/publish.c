/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/db.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/str.h"
#include "net/conntrack.h"
#include "net/state.h"
#include "net/sysctl.h"

#define PUBLISH_MAX 65535
#define SERVICE_MAX 10000
#define BACKEND_MAX 10000

/* ---- the table ---- */

static int list_services(struct net *net, struct arena *arena, struct rules_model *model,
                         struct err *err)
{
	struct rules_service *services;
	size_t count, kept = 0;

	if (store_service_list(net->db, arena, &services, &count, err) < 0)
		return -1;
	/* A port that somebody else on this machine has stays theirs. */
	for (size_t i = 0; i < count; i++)
		if (port_is_held(net->service_ports, services[i].proto, 0, services[i].port))
			services[kept++] = services[i];
	model->services = services;
	model->service_count = kept;
	return 0;
}

static int list_networks(struct net *net, struct arena *arena, struct rules_model *model,
                         struct err *err)
{
	struct store_network *networks;
	struct rules_network *list;
	size_t count, n = 0;

	if (store_network_list(net->db, arena, &networks, &count, err) < 0)
		return -1;
	list = arena_array(arena, count + 1, sizeof(*list), err);
	if (!list)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (networks[i].n.bridge[0])
			list[n++] = (struct rules_network){
				.bridge = networks[i].n.bridge,
				.subnet = networks[i].subnet,
				.internal = networks[i].n.internal,
				.masquerade = networks[i].masquerade,
			};
	model->networks = list;
	model->network_count = n;
	return 0;
}

int net_rules_rebuild(struct net *net, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	auto_buf struct buf text = BUF_INIT(RULES_TEXT_MAX);
	struct rules_model model = {0};
	struct rules_port *ports;

	if (list_networks(net, &arena, &model, err) < 0 ||
	    list_services(net, &arena, &model, err) < 0 ||
	    store_port_list(net->db, NULL, &arena, &ports, &model.port_count, err) < 0)
		return -1;
	model.ports = ports;
	if (rules_write(&model, net->table, &text, err) < 0)
		return -1;
	return rules_apply(net->rules, buf_str(&text), err);
}

int net_rules_ports(struct net *net, const struct rules_port *ports, size_t count, bool add,
                    struct err *err)
{
	auto_buf struct buf text = BUF_INIT(RULES_TEXT_MAX);

	if (count == 0)
		return 0;
	if (rules_write_ports(ports, count, net->table, add, &text, err) < 0)
		return -1;
	if (rules_apply(net->rules, buf_str(&text), NULL) == 0)
		return 0;
	/* Somebody changed or flushed the table: put all of it back. */
	return net_rules_rebuild(net, err);
}

/* ---- flows to forget, on a worker ---- */

struct forget_job {
	struct net *net;
	size_t count;
	struct conntrack_target targets[];
};

/* An address that has a new owner by now needs no help: it answers old connections with a reset. */
static void spare_new_owners(void *arg, struct conntrack_target *targets, size_t count)
{
	struct net *net = arg;
	int64_t one;

	for (size_t i = 0; i < count; i++)
		if (targets[i].established &&
		    db_query_int(net->db, NULL, &one, "select 1 from endpoint where ip = ?", "i",
		                 (int64_t)targets[i].ip) != 0)
			targets[i].established = false;
}

static void forget(void *arg)
{
	auto_free struct forget_job *job = arg;
	struct err err = ERR_INIT;

	if (conntrack_forget(job->targets, job->count, spare_new_owners, job->net, &err) < 0)
		log_warn(job->net->log, "old flows may linger", "error=\"%s\"", err.msg);
}

static struct forget_job *make_forget(struct net *net, size_t max)
{
	struct forget_job *job = calloc(1, sizeof(*job) + (max + 1) * sizeof(job->targets[0]));

	if (job)
		job->net = net;
	return job;
}

/* Takes ownership. Lingering flows are a nuisance to a few clients, so failing to is no error. */
static void start_forget(struct forget_job *job)
{
	if (!job || job->count == 0 || pool_add(job->net->workers, forget, job, NULL) < 0)
		free(job);
}

/* Flows that came by a container's ports: their clients shall learn that nobody is there. */
static void forget_container(struct net *net, const char *container_id, struct arena *arena)
{
	struct store_endpoint *endpoints;
	struct forget_job *job;
	size_t count;

	if (store_endpoint_list(net->db, &(struct store_filter){.container_id = container_id},
	                        arena, &endpoints, &count, NULL) < 0)
		return;
	job = make_forget(net, count);
	for (size_t i = 0; job && i < count; i++)
		job->targets[job->count++] =
			(struct conntrack_target){.ip = endpoints[i].ip, .established = true};
	start_forget(job);
}

/* A UDP client that sent before the port was published would keep talking to nobody. */
static void forget_udp(struct net *net, const struct rules_port *ports, size_t count)
{
	struct forget_job *job = NULL;

	for (size_t i = 0; i < count; i++) {
		if (!str_eq(ports[i].proto, "udp"))
			continue;
		if (!job)
			job = make_forget(net, count);
		if (job)
			job->targets[job->count++] = (struct conntrack_target){
				.port = ports[i].host_port, .udp_only = true};
	}
	start_forget(job);
}

/* ---- published ports of a container ---- */

static int parse_port(const struct net_port *in, struct port_wish *wish, struct err *err)
{
	const char *ip = in->host_ip;

	if (port_check_proto(in->proto, err) < 0)
		return -1;
	if (in->container_port == 0)
		return err_set(err, ERR_INVALID, "invalid container port 0: 1 to 65535");
	if (strchr(ip, ':'))
		return err_set(err, ERR_UNSUPPORTED,
		               "cannot publish on %s: IPv6 addresses are not supported yet", ip);
	*wish = (struct port_wish){
		.proto = in->proto, .first = in->host_port, .last = in->host_port_end};
	if (str_empty(ip))
		return 0;
	return cidr_parse_ip(ip, &wish->ip, err);
}

static int hold_one(struct net *net, const struct net_port *in, uint32_t target,
                    struct rules_port *out, struct err *err)
{
	struct port_wish wish;

	if (parse_port(in, &wish, err) < 0)
		return -1;
	if (port_hold(net->ports, &wish, &out->host_port, err) < 0)
		return -1;
	snprintf(out->proto, sizeof(out->proto), "%s", in->proto);
	out->host_ip = wish.ip;
	out->ip = target;
	out->port = in->container_port;
	return 0;
}

static void release_all(struct net *net, const struct rules_port *ports, size_t count)
{
	for (size_t i = 0; i < count; i++)
		port_release(net->ports, ports[i].proto, ports[i].host_ip, ports[i].host_port);
}

static int store_ports(struct net *net, const char *container_id, const struct rules_port *ports,
                       size_t count, struct err *err)
{
	if (db_begin(net->db, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (store_port_insert(net->db, container_id, &ports[i], err) < 0) {
			db_rollback(net->db);
			return -1;
		}
	}
	return db_commit(net->db, err);
}

static int apply_ports(struct net *net, const char *container_id, const struct rules_port *ports,
                       size_t count, struct err *err)
{
	if (store_ports(net, container_id, ports, count, err) < 0)
		return -1;
	if (FAILPOINT("net.publish.stored", err) == 0 &&
	    net_rules_ports(net, ports, count, true, err) == 0)
		return 0;
	/* Only these: the container may have others. */
	for (size_t i = 0; i < count; i++)
		(void)db_exec(net->db, NULL,
		              "delete from port where proto = ? and host_ip = ? and host_port = ?",
		              "tii", ports[i].proto, (int64_t)ports[i].host_ip,
		              (int64_t)ports[i].host_port);
	(void)net_rules_rebuild(net, NULL);
	return -1;
}

static int publish(struct net *net, const char *container_id, const struct net_port *ports,
                   size_t count, struct rules_port *list, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct store_endpoint *endpoints;
	size_t endpoint_count, held = 0;

	if (store_endpoint_list(net->db, &(struct store_filter){.container_id = container_id},
	                        &arena, &endpoints, &endpoint_count, err) < 0)
		return -1;
	if (endpoint_count == 0)
		return err_set(err, ERR_INVALID,
		               "container %.12s is on no network that a port could lead to",
		               container_id);
	while (held < count && hold_one(net, &ports[held], endpoints[0].ip, &list[held], err) == 0)
		held++;
	if (held == count && apply_ports(net, container_id, list, count, err) == 0)
		return 0;
	release_all(net, list, held);
	return -1;
}

int net_publish(struct net *net, const char *container_id, struct net_port *ports, size_t count,
                struct err *err)
{
	auto_free struct rules_port *list = NULL;

	if (count > PUBLISH_MAX)
		return err_set(err, ERR_LIMIT, "%zu ports are too many: at most %d", count,
		               PUBLISH_MAX);
	list = calloc(count + 1, sizeof(*list));
	if (!list)
		return err_nomem(err);
	net_guard(net);
	if (publish(net, container_id, ports, count, list, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		ports[i].host_port = list[i].host_port;
	forget_udp(net, list, count);
	return 0;
}

int net_ports_drop(struct net *net, const char *container_id, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct rules_port *ports;
	size_t count;

	if (store_port_held(net->db, container_id, &arena, &ports, &count, err) < 0)
		return -1;
	if (count == 0)
		return 0;
	if (store_port_delete(net->db, container_id, err) < 0 ||
	    FAILPOINT("net.unpublish.stored", err) < 0 ||
	    net_rules_ports(net, ports, count, false, err) < 0)
		return -1;
	release_all(net, ports, count);
	forget_container(net, container_id, &arena);
	return 0;
}

int net_unpublish(struct net *net, const char *container_id, struct err *err)
{
	net_guard(net);
	return net_ports_drop(net, container_id, err);
}

/* ---- services ---- */

static int check_service(const struct net_service *in, const struct rules_service *before,
                         size_t count, struct err *err)
{
	if (in->port == 0)
		return err_set(err, ERR_INVALID, "service %.40s: port 0 cannot be published",
		               in->id);
	if (port_check_proto(in->proto, err) < 0)
		return err_wrap(err, "service %.40s", in->id);
	if (in->count > BACKEND_MAX)
		return err_set(err, ERR_LIMIT, "service %.40s: more than %d backends", in->id,
		               BACKEND_MAX);
	for (size_t i = 0; i < count; i++)
		if (before[i].port == in->port && str_eq(before[i].proto, in->proto))
			return err_set(err, ERR_CONFLICT,
			               "service %.40s: port %u/%s is published by another service",
			               in->id, in->port, in->proto);
	return 0;
}

static int convert_service(const struct net_service *in, struct arena *arena,
                           struct rules_service *out, struct err *err)
{
	struct rules_backend *backends;

	backends = arena_array(arena, in->count + 1, sizeof(*backends), err);
	if (!backends)
		return -1;
	for (size_t i = 0; i < in->count; i++) {
		if (cidr_parse_ip(in->backends[i].ip, &backends[i].ip, err) < 0)
			return err_wrap(err, "service %.40s", in->id);
		backends[i].port = in->backends[i].port;
	}
	snprintf(out->proto, sizeof(out->proto), "%s", in->proto);
	out->port = in->port;
	out->backends = backends;
	out->count = in->count;
	return 0;
}

static bool is_listed(const struct rules_service *services, size_t count,
                      const struct rules_service *one)
{
	for (size_t i = 0; i < count; i++)
		if (services[i].port == one->port && str_eq(services[i].proto, one->proto))
			return true;
	return false;
}

static void hold_services(struct net *net, const struct rules_service *services, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct rules_service *s = &services[i];
		struct port_wish wish = {.proto = s->proto, .first = s->port};
		struct err err = ERR_INIT;
		uint16_t port;

		if (!port_is_held(net->service_ports, s->proto, 0, s->port) &&
		    port_hold(net->service_ports, &wish, &port, &err) < 0)
			log_warn(net->log, "a service's port is taken on this machine",
			         "port=%u/%s error=\"%s\"", s->port, s->proto, err.msg);
	}
}

/* Localhost reaches a backend on another machine only if answers to 127.0.0.1 are believed on the way
 * back in. The guard chain keeps that from outsiders, so the switch follows the rules. */
static int allow_localhost(struct net *net, bool on, struct err *err)
{
	int64_t before;
	int known = store_setting_get(net->db, "route_localnet", &before, err);

	if (known < 0)
		return -1;
	if (on && !known) {
		if (sysctl_get("ipv4/conf/all/route_localnet", &before, err) < 0 ||
		    store_setting_put(net->db, "route_localnet", before, err) < 0)
			return -1;
		return sysctl_set("ipv4/conf/all/route_localnet", 1, err);
	}
	if (on)
		return sysctl_set("ipv4/conf/all/route_localnet", 1, err);
	if (!known)
		return 0;
	if (sysctl_set("ipv4/conf/all/route_localnet", before, err) < 0)
		return -1;
	return store_setting_delete(net->db, "route_localnet", err);
}

int net_localhost_restore(struct net *net, struct err *err)
{
	return allow_localhost(net, false, err);
}

static bool has_backend(const struct rules_service *services, size_t count,
                        const struct rules_backend *one)
{
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < services[i].count; k++)
			if (services[i].backends[k].ip == one->ip &&
			    services[i].backends[k].port == one->port)
				return true;
	return false;
}

/* New flows that were on their way to a backend which is no more get to choose again; established ones
 * are let be, as the backend may be finishing its work. */
static void forget_backends(struct net *net, const struct rules_service *old, size_t old_count,
                            const struct rules_service *services, size_t count)
{
	struct forget_job *job;
	size_t max = 0;

	for (size_t i = 0; i < old_count; i++)
		max += old[i].count;
	job = make_forget(net, max);
	for (size_t i = 0; job && i < old_count; i++)
		for (size_t k = 0; k < old[i].count; k++) {
			const struct rules_backend *b = &old[i].backends[k];

			if (!has_backend(services, count, b))
				job->targets[job->count++] =
					(struct conntrack_target){.ip = b->ip, .port = b->port};
		}
	start_forget(job);
}

static int set_services(struct net *net, const struct rules_service *services, size_t count,
                        struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct rules_service *old;
	size_t old_count;

	if (store_service_list(net->db, &arena, &old, &old_count, err) < 0)
		return -1;
	if (count == 0 && allow_localhost(net, false, err) < 0)
		return -1;
	hold_services(net, services, count);
	if (store_service_replace(net->db, services, count, err) < 0)
		return -1;
	if (net_rules_rebuild(net, err) < 0) {
		(void)store_service_replace(net->db, old, old_count, NULL);
		return -1;
	}
	for (size_t i = 0; i < old_count; i++)
		if (!is_listed(services, count, &old[i]))
			port_release(net->service_ports, old[i].proto, 0, old[i].port);
	forget_backends(net, old, old_count, services, count);
	return count > 0 ? allow_localhost(net, true, err) : 0;
}

int net_services_set(struct net *net, const struct net_service *services, size_t count,
                     struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct rules_service *list;

	if (count > SERVICE_MAX)
		return err_set(err, ERR_LIMIT, "more than %d published service ports", SERVICE_MAX);
	list = arena_array(&arena, count + 1, sizeof(*list), err);
	if (!list)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (check_service(&services[i], list, i, err) < 0 ||
		    convert_service(&services[i], &arena, &list[i], err) < 0)
			return -1;
	net_guard(net);
	return set_services(net, list, count, err);
}

/* ---- after a restart ---- */

int net_ports_restore(struct net *net, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(NET_ARENA_MAX);
	struct rules_service *services;
	struct rules_port *ports;
	size_t count, service_count;

	if (store_port_held(net->db, NULL, &arena, &ports, &count, err) < 0 ||
	    store_service_list(net->db, &arena, &services, &service_count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct port_wish wish = {.proto = ports[i].proto,
		                         .ip = ports[i].host_ip,
		                         .first = ports[i].host_port};
		struct err why = ERR_INIT;
		uint16_t port;

		/* The rules win over a program that took the port meanwhile, so this is no failure. */
		if (port_hold(net->ports, &wish, &port, &why) < 0)
			log_warn(net->log, "a published port is used by another program",
			         "error=\"%s\"", why.msg);
	}
	hold_services(net, services, service_count);
	return 0;
}
