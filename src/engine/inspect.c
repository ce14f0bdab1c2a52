/* SPDX-License-Identifier: Apache-2.0 */
/* inspect - containers as they are now, copied out for whoever asks. */

#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/id.h"
#include "base/str.h"
#include "engine/check.h"
#include "engine/files.h"
#include "engine/filter.h"
#include "engine/optout.h"
#include "image/image.h"

static void drop_config(void *config)
{
	config_free(config);
}

static void drop_netinfo(void *info)
{
	netinfo_free(info);
}

/* lock held */
static int copy_state(struct container *c, struct arena *arena, struct container_view *v,
                      struct err *err)
{
	memcpy(v->id, c->id, sizeof(v->id));
	v->name = arena_strdup(arena, c->name, err);
	v->image_id = arena_strdup(arena, c->image_id, err);
	v->error = arena_strdup(arena, c->error, err);
	if (!v->name || !v->image_id || !v->error)
		return -1;
	v->created_ns = c->created_ns;
	v->started_ns = c->started_ns;
	v->finished_ns = c->finished_ns;
	v->status = status_text(c->status);
	v->pid = c->pid;
	v->exit_code = c->exit_code;
	v->restarting = c->status == STATUS_RESTARTING;
	v->running = container_is_up(c) || v->restarting;
	v->paused = c->status == STATUS_PAUSED;
	v->dead = c->status == STATUS_DEAD;
	v->oom_killed = c->oom_killed;
	v->restart_count = c->restart_count;
	return health_view(c, arena, v, err);
}

/* What was asked for, with what the networks gave laid over it. */
static int copy_networks(const struct config *config, const struct netinfo *info,
                         struct arena *arena, struct container_view *v, struct err *err)
{
	const struct api_container_create *create = &config->create;

	v->networks = arena_array(arena, create->endpoint_count + 1, sizeof(*v->networks), err);
	if (!v->networks)
		return -1;
	for (size_t i = 0; i < create->endpoint_count; i++) {
		struct container_network *out = &v->networks[v->network_count++];
		out->name = create->endpoints[i].network;
		out->endpoint = create->endpoints[i].endpoint;
		for (size_t k = 0; info && k < info->network_count; k++) {
			const struct container_network *got = &info->networks[k];
			if (!str_eq(got->name, out->name) &&
			    !str_starts(got->endpoint.network_id, out->name))
				continue;
			out->name = got->name;
			out->endpoint.network_id = got->endpoint.network_id;
			out->endpoint.endpoint_id = got->endpoint.endpoint_id;
			out->endpoint.gateway = got->endpoint.gateway;
			out->endpoint.ip_address = got->endpoint.ip_address;
			out->endpoint.ip_prefix_len = got->endpoint.ip_prefix_len;
			out->endpoint.mac_address = got->endpoint.mac_address;
		}
	}
	return 0;
}

static int name_network_ids(struct engine *engine, struct arena *arena, struct container_view *v)
{
	for (size_t i = 0; i < v->network_count; i++) {
		struct net_network network;
		if (v->networks[i].endpoint.network_id)
			continue;
		if (net_network_find(engine->net, v->networks[i].name, arena, &network, NULL) == 0)
			v->networks[i].endpoint.network_id = arena_strdup(arena, network.id, NULL);
	}
	return 0;
}

static int copy_paths(struct container *c, struct arena *arena, struct container_view *v,
                      struct err *err)
{
	const char *root = c->engine->root;
	struct files files;
	char netns[256] = "";

	files_paths(c, &files);
	if (v->pid > 0)
		(void)net_sandbox_path(c->engine->net, c->id, netns, sizeof(netns), NULL);
	v->hosts_path = arena_strdup(arena, files.hosts, err);
	v->hostname_path = arena_strdup(arena, files.hostname, err);
	v->resolv_conf_path = arena_strdup(arena, files.resolv_conf, err);
	v->log_path = arena_printf(arena, err, "%s/containers/%s/log/container.log", root, c->id);
	v->upper_path = arena_printf(arena, err, "%s/containers/%s/upper", root, c->id);
	v->netns_path = arena_strdup(arena, netns, err);
	return v->hosts_path && v->hostname_path && v->resolv_conf_path && v->log_path &&
	                       v->upper_path && v->netns_path
	               ? 0
	               : -1;
}

static void measure(struct container *c, struct container_view *v)
{
	auto_close int dir = container_dir(c, NULL);
	uint64_t bytes = 0, entries;

	v->size_rw = 0;
	if (dir >= 0 && fs_disk_usage(dir, "upper", &bytes, &entries, NULL) == 0)
		v->size_rw = (int64_t)bytes;
	auto_type(image) image = image_find(c->engine->images, c->image_id, NULL);
	v->size_root_fs = v->size_rw + (image ? image->size : 0);
}

static int view(struct container *c, struct arena *arena, struct container_view *out,
                struct err *err)
{
	struct container_view v = {.size_rw = -1, .size_root_fs = -1};

	pthread_mutex_lock(&c->lock);
	struct config *config = config_ref(c->config);
	struct netinfo *info = netinfo_ref(c->netinfo);
	int rc = copy_state(c, arena, &v, err);
	pthread_mutex_unlock(&c->lock);
	/* Borrowed by the view, so they stay until the arena goes. */
	if (arena_later(arena, drop_config, config, err) < 0) {
		netinfo_free(info);
		return -1;
	}
	if ((info && arena_later(arena, drop_netinfo, info, err) < 0) || rc < 0)
		return -1;
	v.create = &config->create;
	v.argv = config->argv;
	v.mounts = config->mounts;
	v.mount_count = config->mount_count;
	if (info) {
		v.ports = info->ports;
		v.port_count = info->port_count;
	}
	v.opt_outs = optout_list(&config->create.host, c->first_id, arena, err);
	if (!v.opt_outs || copy_networks(config, info, arena, &v, err) < 0)
		return -1;
	*out = v;
	return 0;
}

int container_inspect(struct engine *engine, const char *ref, bool size, struct arena *arena,
                      struct container_view *out, struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);
	struct container_view v;

	if (!c || view(c, arena, &v, err) < 0 || copy_paths(c, arena, &v, err) < 0 ||
	    exec_ids(engine, c->id, arena, &v.exec_ids, err) < 0)
		return -1;
	(void)name_network_ids(engine, arena, &v);
	if (size)
		measure(c, &v);
	*out = v;
	return 0;
}

/* ---- list ---- */

struct listing {
	struct engine *engine;
	const struct container_list_options *options;
	int64_t before_ns, since_ns; /* 0: none */
	struct arena *arena;
};

static const char *const filters_allowed[] = {
	"id",     "name",   "label",   "label!", "status",  "ancestor", "before",  "since",
	"exited", "volume", "network", "health", "publish", "expose",   "is-task", NULL,
};

/* Docker takes a regular expression; of that, anchors are what people use. */
static bool name_fits(const char *name, const char *wanted)
{
	const char *text = wanted;

	if (*text == '^')
		text++;
	if (*text == '/')
		text++;
	size_t n = strlen(text), len = strlen(name);
	bool start = text != wanted, end = n && text[n - 1] == '$';

	if (end)
		n--;
	if (!start && !end)
		return strstr(name, text) != NULL;
	if (len < n || (start && end && len != n))
		return false;
	return strncmp(start ? name : name + len - n, text, n) == 0;
}

static bool name_matches(const struct json *filters, const struct container_view *v)
{
	if (!filter_has(filters, "name"))
		return true;
	for (size_t i = 0; filter_value(filters, "name", i); i++)
		if (name_fits(v->name, filter_value(filters, "name", i)))
			return true;
	return false;
}

static bool ancestor_matches(struct engine *engine, const struct json *filters,
                             const struct container_view *v)
{
	if (!filter_has(filters, "ancestor"))
		return true;
	for (size_t i = 0; filter_value(filters, "ancestor", i); i++) {
		const char *wanted = filter_value(filters, "ancestor", i);
		if (str_eq(wanted, v->create->config.image))
			return true;
		auto_type(image) image = image_find(engine->images, wanted, NULL);
		if (image && str_eq(image->id, v->image_id))
			return true;
	}
	return false;
}

static bool network_matches(const struct json *filters, const struct container_view *v)
{
	if (!filter_has(filters, "network"))
		return true;
	for (size_t i = 0; i < v->network_count; i++)
		if (filter_matches(filters, "network", v->networks[i].name) ||
		    (v->networks[i].endpoint.network_id &&
		     filter_matches(filters, "network", v->networks[i].endpoint.network_id)))
			return true;
	return false;
}

static bool volume_matches(const struct json *filters, const struct container_view *v)
{
	if (!filter_has(filters, "volume"))
		return true;
	for (size_t i = 0; i < v->mount_count; i++)
		if ((v->mounts[i].name && filter_matches(filters, "volume", v->mounts[i].name)) ||
		    filter_matches(filters, "volume", v->mounts[i].source) ||
		    filter_matches(filters, "volume", v->mounts[i].destination))
			return true;
	return false;
}

static bool port_in(const char *spec, uint16_t port, const char *proto)
{
	uint64_t from, to;
	char name[8] = "tcp";
	const char *slash = strchr(spec, '/');

	if (slash)
		snprintf(name, sizeof(name), "%s", slash + 1);
	if (!id_scan_u64(&spec, &from))
		return false;
	if (*spec++ != '-' || !id_scan_u64(&spec, &to))
		to = from;
	return port >= from && port <= to && str_eq(name, proto);
}

static bool ports_match(const struct json *filters, const struct container_view *v)
{
	for (size_t i = 0; filter_value(filters, "publish", i); i++) {
		bool found = false;
		for (size_t k = 0; k < v->port_count; k++)
			found = found || port_in(filter_value(filters, "publish", i),
			                         v->ports[k].host_port, v->ports[k].proto);
		if (!found)
			return false;
	}
	for (size_t i = 0; filter_value(filters, "expose", i); i++) {
		const char *key;
		struct json *ignored;
		bool found = false;
		for (void *iter = NULL;
		     json_next(v->create->config.exposed_ports, &iter, &key, &ignored);) {
			uint16_t port;
			char proto[5];
			found = found || (check_port(key, &port, proto, NULL) == 0 &&
			                  port_in(filter_value(filters, "expose", i), port, proto));
		}
		if (!found)
			return false;
	}
	return true;
}

static bool state_matches(const struct json *filters, const struct container_view *v)
{
	char code[12];

	snprintf(code, sizeof(code), "%d", v->exit_code);
	if (filter_has(filters, "exited") && (v->running || str_eq(v->status, "created") ||
	                                      !filter_matches(filters, "exited", code)))
		return false;
	if (filter_has(filters, "health") &&
	    !filter_matches(filters, "health", v->health ? v->health : "none"))
		return false;
	return filter_matches(filters, "status", v->status);
}

static bool list_matches(const struct listing *l, const struct container_view *v)
{
	const struct json *f = l->options->filters;

	if (!l->options->all && l->options->limit <= 0 && !filter_has(f, "status") &&
	    !filter_has(f, "exited") && !v->running)
		return false;
	if (!f)
		return true;
	if ((l->before_ns && v->created_ns >= l->before_ns) ||
	    (l->since_ns && v->created_ns <= l->since_ns))
		return false;
	return filter_matches_prefix(f, "id", v->id) && name_matches(f, v) && state_matches(f, v) &&
	       filter_matches_labels(f, &v->create->config.labels) && network_matches(f, v) &&
	       volume_matches(f, v) && ports_match(f, v) && ancestor_matches(l->engine, f, v);
}

static int moment_of(struct engine *engine, const struct json *filters, const char *key,
                     int64_t *ns, struct err *err)
{
	const char *ref = filter_value(filters, key, 0);

	if (!ref)
		return 0;
	auto_type(container) c = container_get(engine, ref, err);
	if (!c)
		return -1;
	*ns = c->created_ns;
	return 0;
}

static int newest_first(const void *a, const void *b)
{
	const struct container *x = *(struct container *const *)a;
	const struct container *y = *(struct container *const *)b;

	if (x->created_ns != y->created_ns)
		return x->created_ns < y->created_ns ? 1 : -1;
	return strcmp(x->id, y->id);
}

static int collect(const struct listing *l, struct container **all, size_t count,
                   struct container_view *out, size_t *n, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		struct container_view *v = &out[*n];
		if (l->options->limit > 0 && *n == (size_t)l->options->limit)
			break;
		if (view(all[i], l->arena, v, err) < 0)
			return -1;
		if (!list_matches(l, v))
			continue;
		(void)name_network_ids(l->engine, l->arena, v);
		if (l->options->size)
			measure(all[i], v);
		(*n)++;
	}
	return 0;
}

int container_list(struct engine *engine, const struct container_list_options *options,
                   struct arena *arena, struct container_view **out, size_t *count, struct err *err)
{
	struct listing l = {.engine = engine, .options = options, .arena = arena};
	size_t total = 0, n = 0;
	int rc = -1;

	if (options->filters &&
	    (filter_check(options->filters, filters_allowed, err) < 0 ||
	     moment_of(engine, options->filters, "before", &l.before_ns, err) < 0 ||
	     moment_of(engine, options->filters, "since", &l.since_ns, err) < 0))
		return -1;
	struct container **all = container_all(engine, &total, err);
	if (!all)
		return -1;
	qsort(all, total, sizeof(struct container *), newest_first);
	struct container_view *views = arena_array(arena, total + 1, sizeof(*views), err);
	if (views)
		rc = collect(&l, all, total, views, &n, err);
	for (size_t i = 0; i < total; i++)
		container_free(all[i]);
	free(all);
	if (rc < 0)
		return -1;
	*out = views;
	*count = n;
	return 0;
}
