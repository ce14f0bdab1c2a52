/* SPDX-License-Identifier: Apache-2.0 */
/* create - from a request to a container that is ready to be started. */

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/str.h"
#include "engine/check.h"
#include "engine/ids.h"
#include "engine/merge.h"
#include "engine/mounts.h"
#include "engine/names.h"
#include "engine/private.h"
#include "image/image.h"

#define SHM_DEFAULT (64 << 20)

/* Docker calls the network of no particular wish "default"; ours is named bridge. */
static int settle_endpoints(struct config *config, struct err *err)
{
	struct api_container_create *create = &config->create;
	const char *mode = endpoints_mode(&create->host);
	struct api_named_endpoint *list;
	bool found = false;

	if (check_mode_container(mode)) {
		create->endpoint_count = 0;
		return 0;
	}
	list = arena_array(&config->arena, create->endpoint_count + 1, sizeof(*list), err);
	if (!list)
		return -1;
	size_t n = 0;
	for (size_t i = 0; i < create->endpoint_count; i++) {
		list[n] = create->endpoints[i];
		if (str_eq(list[n].network, "default"))
			list[n].network = (char *)mode;
		found = found || str_eq(list[n].network, mode);
		n++;
	}
	if (!found)
		list[n++] = (struct api_named_endpoint){.network = (char *)mode};
	/* The main network comes first: it carries the published ports. */
	for (size_t i = 1; i < n; i++) {
		if (str_eq(list[i].network, mode)) {
			struct api_named_endpoint first = list[i];
			memmove(&list[1], &list[0], i * sizeof(*list));
			list[0] = first;
		}
	}
	create->endpoints = list;
	create->endpoint_count = n;
	return 0;
}

/* Clients read HostIp and HostPort of each without looking whether they are there. */
static void complete_bindings(struct json *bindings)
{
	const char *key;
	struct json *list;

	for (void *iter = NULL; json_next(bindings, &iter, &key, &list);)
		for (size_t i = 0; i < json_count(list); i++) {
			struct json *binding = json_at(list, i);
			if (json_is_object(binding) && !json_get(binding, "HostIp"))
				(void)json_set(binding, "HostIp", json_string(""));
			if (json_is_object(binding) && !json_get(binding, "HostPort"))
				(void)json_set(binding, "HostPort", json_string(""));
		}
}

static int set_defaults(struct config *config, const char *id, struct err *err)
{
	struct api_container_create *create = &config->create;
	struct api_config *c = &create->config;
	struct api_host_config *h = &create->host;

	if (str_empty(c->hostname) && !check_mode_container(h->network_mode) &&
	    !check_mode_is(h->uts_mode, "host")) {
		c->hostname = arena_strndup(&config->arena, id, ID_SHORT, err);
		if (!c->hostname)
			return -1;
	}
	complete_bindings(h->port_bindings);
	if (str_empty(h->network_mode))
		h->network_mode = (char *)"default";
	if (str_empty(h->log_config.type))
		h->log_config.type = (char *)"json-file";
	if (str_empty(h->ipc_mode))
		h->ipc_mode = (char *)"private";
	if (str_empty(h->cgroupns_mode))
		h->cgroupns_mode = (char *)"private";
	if (str_empty(h->runtime))
		h->runtime = (char *)"buoy";
	if (str_empty(h->restart_policy.name))
		h->restart_policy.name = (char *)"no";
	if (!h->shm_size)
		h->shm_size = SHM_DEFAULT;
	if (!h->memory_swap && h->memory)
		h->memory_swap = h->memory * 2;
	return settle_endpoints(config, err);
}

static struct config *make_config(const struct api_container_create *create, const char *id,
                                  const struct image *image, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(8u << 20);
	auto_type(config) config = NULL;

	/* By way of text: a deep copy, and proof that it can be read back. */
	if (api_container_create_write(create, &text, err) < 0 || buf_check(&text, err) < 0)
		return NULL;
	config = config_parse(buf_str(&text), NULL, err);
	if (!config ||
	    merge_image(&config->arena, &image->config->config, &config->create.config, err) < 0)
		return NULL;
	if (check_create(&config->create, err) < 0 || set_defaults(config, id, err) < 0 ||
	    config_set_argv(config, err) < 0)
		return NULL;
	return move_ptr(config);
}

/* The networks must be there, or the start would fail. */
static int check_networks(struct engine *engine, struct config *config, struct err *err)
{
	const struct api_container_create *create = &config->create;
	const char *other = check_mode_container(create->host.network_mode);

	if (other) {
		auto_type(container) c = container_get(engine, other, err);
		return c ? 0 : -1;
	}
	for (size_t i = 0; i < create->endpoint_count; i++) {
		auto_arena struct arena arena = ARENA_INIT(1 << 20);
		struct net_network network;
		if (endpoints_is_network(create->endpoints[i].network) &&
		    net_network_find(engine->net, create->endpoints[i].network, &arena, &network,
		                     err) < 0)
			return -1;
	}
	return 0;
}

static int make_dirs(struct container *c, struct err *err)
{
	int fds[2] = {-1, -1};
	auto_close int dir = fs_mkdir_all(c->engine->containers_fd, c->id, 0710, err);

	if (dir < 0)
		return -1;
	/* The upper directory is the container's "/": programs of any user must get through it. */
	fds[0] = fs_mkdir_all(dir, "upper", 0755, err);
	int rc = fds[0] >= 0 && c->first_id ? ids_own(fds[0], c->first_id, err) : 0;
	fds[1] = fds[0] < 0 || rc < 0 ? -1 : fs_mkdir_all(dir, "work", 0700, err);
	for (size_t i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return fds[1] < 0 ? -1 : 0;
}

static void unmake(struct container *c)
{
	auto_buf struct buf holder = BUF_INIT(128);

	buf_addf(&holder, "container:%s", c->id);
	(void)fs_remove_tree(c->engine->containers_fd, c->id, NULL);
	(void)image_release(c->engine->images, buf_str(&holder), NULL);
}

static int make(struct container *c, struct err *err)
{
	auto_buf struct buf holder = BUF_INIT(128);
	struct engine *engine = c->engine;

	buf_addf(&holder, "container:%s", c->id);
	if (make_dirs(c, err) < 0 || FAILPOINT("create.dirs", err) < 0 ||
	    image_lease(engine->images, c->image_id, buf_str(&holder), err) < 0 ||
	    FAILPOINT("create.lease", err) < 0 || mounts_create(c, c->config, err) < 0 ||
	    state_insert(c, err) < 0)
		return -1;
	pthread_mutex_lock(&engine->lock);
	int rc = map_set(engine->by_id, c->id, container_ref(c), NULL, err);
	pthread_mutex_unlock(&engine->lock);
	if (rc < 0) {
		(void)state_delete(c, NULL);
		container_free(c);
	}
	return rc;
}

static int take_name(struct container *c, const char *name, struct err *err)
{
	char made[NAMES_MAX];

	if (!str_empty(name)) {
		if (*name == '/')
			name++;
		if (id_check_name(name, "container name", err) < 0)
			return -1;
		c->name = strdup(name);
		return c->name ? container_name_take(c->engine, name, c, err) : err_nomem(err);
	}
	for (int i = 0; i < 64; i++) {
		names_make(made, i);
		if (container_name_take(c->engine, made, c, NULL) == 0) {
			c->name = strdup(made);
			return c->name ? 0 : err_nomem(err);
		}
	}
	return err_set(err, ERR_CONFLICT, "no free container name was found");
}

int container_create(struct engine *engine, const char *name,
                     const struct api_container_create *create, char id[ID_HEX_MAX],
                     struct err *err)
{
	char text[ID_HEX_MAX];

	if (str_empty(create->config.image))
		return err_set(err, ERR_INVALID, "Config.Image: an image is required");
	auto_type(image) image = image_find(engine->images, create->config.image, err);
	if (!image)
		return -1;
	auto_type(container) c = container_new(engine, id_make_hex(text), err);
	if (!c)
		return -1;
	memcpy(c->image_id, image->id, sizeof(c->image_id));
	c->created_ns = clock_wall_ns();
	c->status = STATUS_CREATED;
	c->config = make_config(create, c->id, image, err);
	c->netinfo = c->config ? netinfo_create(err) : NULL;
	if (!c->netinfo || check_networks(engine, c->config, err) < 0 ||
	    take_name(c, name, err) < 0)
		return -1;
	pthread_mutex_lock(&c->op);
	int rc = ids_choose(c, c->config, err) < 0 ? -1 : make(c, err);
	pthread_mutex_unlock(&c->op);
	if (rc < 0) {
		unmake(c);
		container_name_drop(engine, c->name);
		return -1;
	}
	memcpy(id, c->id, sizeof(c->id));
	container_event(c, "create", NULL, NULL);
	return 0;
}
