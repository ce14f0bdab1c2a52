/* SPDX-License-Identifier: Apache-2.0 */
/* endpoints - a container on its networks: up at start, down at exit, and changes in between. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"
#include "engine/check.h"
#include "engine/event.h"
#include "engine/ids.h"
#include "engine/private.h"

#define PORTS_MAX 4096

const char *endpoints_mode(const struct api_host_config *host)
{
	const char *mode = host->network_mode;

	return str_empty(mode) || str_eq(mode, "default") ? "bridge" : mode;
}

bool endpoints_is_network(const char *mode)
{
	return !str_eq(mode, "none") && !str_eq(mode, "host") && !check_mode_container(mode);
}

/* What it asks for; names are its own, then the aliases. */
struct wish {
	struct net_attachment attachment;
	const char **names;
	char short_id[ID_SHORT + 1];
	struct engine_grant grant;
};

static int fill_wish(struct container *c, const struct config *config,
                     const struct api_named_endpoint *wanted, struct wish *w, struct err *err)
{
	const struct api_endpoint *e = &wanted->endpoint;
	size_t n = 0;

	w->names = calloc(e->aliases.count + 4, sizeof(*w->names));
	if (!w->names)
		return err_nomem(err);
	snprintf(w->short_id, sizeof(w->short_id), "%.12s", c->id);
	w->names[n++] = c->name;
	w->names[n++] = w->short_id;
	w->attachment = (struct net_attachment){
		.network = wanted->network,
		.container_name = c->name,
		.aliases = &w->names[n],
		.ipv4 = e->ipam_config && !str_empty(e->ipam_config->ipv4_address)
	                        ? e->ipam_config->ipv4_address
	                        : NULL,
		.mac = !str_empty(e->mac_address) ? e->mac_address
	               : !str_empty(config->create.config.mac_address)
	                       ? config->create.config.mac_address
	                       : NULL,
	};
	for (size_t i = 0; i < e->aliases.count; i++)
		w->names[n++] = e->aliases.items[i];
	if (!str_empty(config->create.config.hostname))
		w->names[n++] = config->create.config.hostname;
	return 0;
}

static bool is_task(const struct config *config)
{
	const struct json_strmap *labels = &config->create.config.labels;

	for (size_t i = 0; i < labels->count; i++)
		if (str_eq(labels->items[i].key, ENGINE_TASK_LABEL))
			return true;
	return false;
}

static int attach_wish(struct container *c, const struct config *config, struct wish *w,
                       struct net_endpoint *got, struct err *err)
{
	const struct engine_granter *granter = c->engine->granter;
	struct engine_want want = {.net = c->engine->net,
	                           .network = w->attachment.network,
	                           .container_id = c->id,
	                           .names = w->names,
	                           .ipv4 = w->attachment.ipv4};

	if (!granter || is_task(config))
		return net_attach(c->engine->net, c->id, &w->attachment, got, err);
	int granted = granter->grant(granter->arg, &want, &w->grant, err);
	if (granted > 0) {
		w->attachment.ipv4 = w->grant.ipv4;
		w->attachment.id = w->grant.endpoint_id;
	}
	int rc = granted < 0 ? -1 : net_attach(c->engine->net, c->id, &w->attachment, got, err);
	if (granted > 0)
		granter->done(granter->arg, &w->grant, rc == 0);
	return rc;
}

static int attach_one(struct container *c, const struct config *config,
                      const struct api_named_endpoint *wanted, struct err *err)
{
	struct wish w = {0};
	struct net_endpoint got;

	if (fill_wish(c, config, wanted, &w, err) < 0)
		return -1;
	int rc = attach_wish(c, config, &w, &got, err);
	free(w.names);
	if (rc == 0)
		event_add(c->engine, "network", "connect", got.network_id, "container", c->id,
		          "name", got.network_name, "type", "bridge", NULL);
	return rc;
}

static int add_port(struct net_port *ports, size_t *count, const char *key,
                    const struct json *binding, struct err *err)
{
	const char *host = json_get_string(binding, "HostPort");
	const char *ip = json_get_string(binding, "HostIp");
	struct net_port *p = &ports[*count];
	char first[8] = "";
	int64_t from = 0, to = 0;

	if (*count == PORTS_MAX)
		return err_set(err, ERR_LIMIT, "more than %d published ports", PORTS_MAX);
	*p = (struct net_port){0};
	if (check_port(key, &p->container_port, p->proto, err) < 0)
		return -1;
	snprintf(p->host_ip, sizeof(p->host_ip), "%s", ip ? ip : "");
	if (!str_empty(host)) {
		size_t n = strcspn(host, "-");
		if (n >= sizeof(first))
			return err_set(err, ERR_INVALID, "invalid host port: %.40s", host);
		memcpy(first, host, n);
		if (id_parse_int(first, "host port", 0, 65535, &from, err) < 0 ||
		    (host[n] && id_parse_int(host + n + 1, "host port", from, 65535, &to, err) < 0))
			return -1;
	}
	p->host_port = (uint16_t)from;
	p->host_port_end = (uint16_t)to;
	(*count)++;
	return 0;
}

static bool has_port(const struct net_port *ports, size_t count, const char *key)
{
	uint16_t port;
	char proto[5];

	if (check_port(key, &port, proto, NULL) < 0)
		return true;
	for (size_t i = 0; i < count; i++)
		if (ports[i].container_port == port && str_eq(ports[i].proto, proto))
			return true;
	return false;
}

/* What -p and -P ask for. */
static int wanted_ports(const struct config *config, struct net_port *ports, size_t *count,
                        struct err *err)
{
	const struct api_host_config *h = &config->create.host;
	const char *key;
	struct json *list;

	for (void *iter = NULL; json_next(h->port_bindings, &iter, &key, &list);) {
		if (json_count(list) == 0 && add_port(ports, count, key, NULL, err) < 0)
			return -1;
		for (size_t i = 0; i < json_count(list); i++)
			if (add_port(ports, count, key, json_at(list, i), err) < 0)
				return -1;
	}
	if (!h->publish_all_ports)
		return 0;
	for (void *iter = NULL; json_next(config->create.config.exposed_ports, &iter, &key, &list);)
		if (!has_port(ports, *count, key) && add_port(ports, count, key, NULL, err) < 0)
			return -1;
	return 0;
}

int endpoints_reload(struct container *c, const struct net_port *ports, size_t count,
                     struct err *err)
{
	auto_type(netinfo) info = netinfo_create(err);
	auto_type(config) config = container_config(c);
	struct net_endpoint *list = NULL;
	size_t n = 0;

	if (!info || net_endpoint_list(c->engine->net, c->id, &info->arena, &list, &n, err) < 0)
		return -1;
	info->networks = arena_array(&info->arena, n + 1, sizeof(*info->networks), err);
	info->ports = arena_array(&info->arena, count + 1, sizeof(*info->ports), err);
	if (!info->networks || !info->ports)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct container_network *out = &info->networks[i];
		out->name = list[i].network_name;
		out->endpoint.network_id = list[i].network_id;
		out->endpoint.endpoint_id = list[i].id;
		out->endpoint.gateway = list[i].gateway;
		out->endpoint.ip_address = list[i].ip;
		out->endpoint.ip_prefix_len = list[i].prefix_len;
		out->endpoint.mac_address = list[i].mac;
	}
	if (count)
		memcpy(info->ports, ports, count * sizeof(*ports));
	info->network_count = n;
	info->port_count = count;
	pthread_mutex_lock(&c->lock);
	struct netinfo *old = c->netinfo;
	c->netinfo = netinfo_ref(info);
	pthread_mutex_unlock(&c->lock);
	netinfo_free(old);
	return 0;
}

/* A container whose other namespaces it joins has the user namespace that owns these. */
static int open_joined(struct container *c, const struct api_host_config *h, int *fd,
                       struct err *err)
{
	const char *name = check_mode_container(h->ipc_mode);
	char path[64];

	if (!name)
		name = check_mode_container(h->pid_mode);
	if (!name)
		return 0;
	auto_type(container) other = container_get(c->engine, name, err);
	if (!other)
		return -1;
	pthread_mutex_lock(&other->lock);
	pid_t pid = container_is_up(other) ? other->pid : 0;
	pthread_mutex_unlock(&other->lock);
	if (pid <= 0)
		return err_set(err, ERR_CONFLICT,
		               "cannot join a namespace of a non running container: %s", other->id);
	if (other->first_id != c->first_id)
		return err_set(err, ERR_CONFLICT,
		               "container %s has another user namespace now: make this container "
		               "again",
		               name);
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	*fd = fs_trusted_open(path, O_RDONLY, 0, err);
	return *fd < 0 ? -1 : 0;
}

static int make_sandbox(struct container *c, const struct api_host_config *h, struct err *err)
{
	auto_close int userns_fd = -1;

	if (!c->first_id)
		return net_sandbox_create(c->engine->net, c->id, NULL, err);
	if (open_joined(c, h, &userns_fd, err) < 0)
		return -1;
	const struct net_owner owner = {
		.userns_fd = userns_fd, .first_id = c->first_id, .id_count = IDS_COUNT};
	return net_sandbox_create(c->engine->net, c->id, &owner, err);
}

static int bring_up(struct container *c, const struct config *config, struct err *err)
{
	const struct api_container_create *create = &config->create;
	auto_free struct net_port *ports = calloc(PORTS_MAX, sizeof(*ports));
	size_t count = 0, attached = 0;

	if (!ports)
		return err_nomem(err);
	if (wanted_ports(config, ports, &count, err) < 0 || make_sandbox(c, &create->host, err) < 0)
		return -1;
	for (size_t i = 0; i < create->endpoint_count; i++) {
		if (!endpoints_is_network(create->endpoints[i].network))
			continue;
		if (attach_one(c, config, &create->endpoints[i], err) < 0)
			return -1;
		attached++;
	}
	/* Docker takes published ports on a container without a network, and does nothing. */
	if (attached == 0)
		count = 0;
	if (count && net_publish(c->engine->net, c->id, ports, count, err) < 0)
		return err_wrap(err,
		                "driver failed programming external connectivity on container %s",
		                c->name);
	return endpoints_reload(c, ports, count, err);
}

int endpoints_up(struct container *c, const struct config *config, struct err *err)
{
	const char *mode = endpoints_mode(&config->create.host);

	if (str_eq(mode, "host") || check_mode_container(mode))
		return 0;
	if (bring_up(c, config, err) < 0) {
		endpoints_down(c);
		return -1;
	}
	return 0;
}

void endpoints_down(struct container *c)
{
	auto_type(netinfo) info = container_netinfo(c);
	auto_type(netinfo) none = netinfo_create(NULL);

	(void)net_unpublish(c->engine->net, c->id, NULL);
	(void)net_sandbox_remove(c->engine->net, c->id, NULL);
	for (size_t i = 0; info && i < info->network_count; i++)
		event_add(c->engine, "network", "disconnect", info->networks[i].endpoint.network_id,
		          "container", c->id, "name", info->networks[i].name, "type", "bridge",
		          NULL);
	if (!none)
		return;
	pthread_mutex_lock(&c->lock);
	struct netinfo *old = c->netinfo;
	c->netinfo = netinfo_ref(none);
	pthread_mutex_unlock(&c->lock);
	netinfo_free(old);
}

/* ---- docker network connect, disconnect ---- */

/* A deep copy, by way of text: it may be changed before it is shared. */
static struct config *config_copy(const struct config *from, struct err *err)
{
	auto_buf struct buf request = BUF_INIT(8u << 20), mounts = BUF_INIT(8u << 20);

	if (api_container_create_write(&from->create, &request, err) < 0 ||
	    config_write_mounts(from, &mounts, err) < 0)
		return NULL;
	return config_parse(buf_str(&request), buf_str(&mounts), err);
}

static void config_swap(struct container *c, struct config *config)
{
	pthread_mutex_lock(&c->lock);
	struct config *old = c->config;
	c->config = config_ref(config);
	pthread_mutex_unlock(&c->lock);
	config_free(old);
}

static int add_endpoint(struct config *config, const char *network,
                        const struct api_endpoint *endpoint, struct err *err)
{
	struct api_container_create *create = &config->create;
	struct api_named_endpoint *list =
		arena_array(&config->arena, create->endpoint_count + 1, sizeof(*list), err);

	if (!list)
		return -1;
	size_t n = 0;
	for (size_t i = 0; i < create->endpoint_count; i++)
		if (endpoints_is_network(create->endpoints[i].network))
			list[n++] = create->endpoints[i];
	list[n].network = arena_strdup(&config->arena, network, err);
	if (!list[n].network)
		return -1;
	if (endpoint)
		list[n].endpoint = *endpoint;
	create->endpoints = list;
	create->endpoint_count = n + 1;
	return 0;
}

static void drop_endpoint(struct config *config, const char *network, const char *id)
{
	struct api_container_create *create = &config->create;
	size_t n = 0;

	for (size_t i = 0; i < create->endpoint_count; i++) {
		const char *name = create->endpoints[i].network;
		if (!str_eq(name, network) && !str_eq(name, id))
			create->endpoints[n++] = create->endpoints[i];
	}
	create->endpoint_count = n;
}

static bool has_endpoint(const struct config *config, const struct net_network *network)
{
	for (size_t i = 0; i < config->create.endpoint_count; i++) {
		const char *name = config->create.endpoints[i].network;
		if (str_eq(name, network->name) ||
		    (id_is_hex(name, 12, 64) && str_starts(network->id, name)))
			return true;
	}
	return false;
}

static int reload_running(struct container *c, struct err *err)
{
	auto_type(netinfo) info = container_netinfo(c);

	return endpoints_reload(c, info->ports, info->port_count, err);
}

static int connect_locked(struct container *c, const struct net_network *network,
                          const struct api_endpoint *endpoint, struct err *err)
{
	auto_type(config) old = container_config(c);
	auto_type(config) draft = config_copy(old, err);
	auto_type(config) config = NULL;

	if (!draft)
		return -1;
	if (check_mode_is(draft->create.host.network_mode, "host") ||
	    check_mode_container(draft->create.host.network_mode))
		return err_set(err, ERR_DENIED,
		               "container sharing network namespace with another "
		               "container or host cannot be connected to any other "
		               "network");
	if (has_endpoint(draft, network))
		return err_set(err, ERR_DENIED,
		               "endpoint with name %s already exists in network %s", c->name,
		               network->name);
	/* The draft borrows from the caller's endpoint; what is kept must not. */
	if (add_endpoint(draft, network->name, endpoint, err) < 0)
		return -1;
	config = config_copy(draft, err);
	if (!config || state_save_config(c, config, err) < 0)
		return -1;
	pthread_mutex_lock(&c->lock);
	bool up = container_is_up(c);
	pthread_mutex_unlock(&c->lock);
	const struct api_named_endpoint *last =
		&config->create.endpoints[config->create.endpoint_count - 1];
	if (up && (attach_one(c, config, last, err) < 0 || reload_running(c, err) < 0)) {
		auto_type(config) before = container_config(c);
		(void)state_save_config(c, before, NULL);
		return -1;
	}
	config_swap(c, config);
	return 0;
}

static int disconnect_locked(struct container *c, const struct net_network *network, bool force,
                             struct err *err)
{
	auto_type(config) old = container_config(c);
	auto_type(config) config = config_copy(old, err);

	if (!config)
		return -1;
	if (!has_endpoint(config, network) && !force)
		return err_set(err, ERR_DENIED, "container %s is not connected to network %s",
		               c->id, network->name);
	drop_endpoint(config, network->name, network->id);
	if (state_save_config(c, config, err) < 0)
		return -1;
	config_swap(c, config);
	pthread_mutex_lock(&c->lock);
	bool up = container_is_up(c);
	pthread_mutex_unlock(&c->lock);
	if (!up)
		return 0;
	if (net_detach(c->engine->net, c->id, network->name, err) < 0 || reload_running(c, err) < 0)
		return -1;
	event_add(c->engine, "network", "disconnect", network->id, "container", c->id, "name",
	          network->name, "type", network->driver, NULL);
	return 0;
}

int container_connect(struct engine *engine, const char *ref, const char *network,
                      const struct api_endpoint *endpoint, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	auto_type(container) c = container_get(engine, ref, err);
	struct net_network found;

	if (!c || net_network_find(engine->net, network, &arena, &found, err) < 0)
		return -1;
	if (!endpoints_is_network(found.name))
		return err_set(err, ERR_DENIED, "container cannot be connected to network %s",
		               found.name);
	pthread_mutex_lock(&c->op);
	int rc = connect_locked(c, &found, endpoint, err);
	pthread_mutex_unlock(&c->op);
	return rc;
}

int container_disconnect(struct engine *engine, const char *ref, const char *network, bool force,
                         struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	auto_type(container) c = container_get(engine, ref, err);
	struct net_network found;

	if (!c || net_network_find(engine->net, network, &arena, &found, err) < 0)
		return -1;
	pthread_mutex_lock(&c->op);
	int rc = disconnect_locked(c, &found, force, err);
	pthread_mutex_unlock(&c->op);
	return rc;
}
