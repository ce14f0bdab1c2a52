/* SPDX-License-Identifier: Apache-2.0 */
/* config - what a container was made to be: shared by all who look at it, never changed. */

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "engine/private.h"

#define CONFIG_MAX  (16u << 20) /* bytes that one may take in memory */
#define NETINFO_MAX (4u << 20)

#define MOUNT(member, name, kind) JSON_FIELD(struct container_mount, member, name, kind)
static const struct json_field mount_fields[] = {
	MOUNT(type, "type", JSON_STRING),
	MOUNT(name, "name", JSON_STRING),
	MOUNT(source, "source", JSON_STRING),
	MOUNT(destination, "destination", JSON_STRING),
	MOUNT(driver, "driver", JSON_STRING),
	MOUNT(mode, "mode", JSON_STRING),
	MOUNT(propagation, "propagation", JSON_STRING),
	MOUNT(rw, "rw", JSON_BOOL),
	JSON_END,
};
static const struct json_table mount_table = JSON_TABLE(struct container_mount, mount_fields);

struct mount_list {
	struct json_array mounts;
};
static const struct json_field mount_list_fields[] = {
	JSON_FIELD(struct mount_list, mounts, "mounts", JSON_OBJECTS, .table = &mount_table),
	JSON_END,
};
static const struct json_table mount_list_table = JSON_TABLE(struct mount_list, mount_list_fields);

struct config *config_create(struct err *err)
{
	struct config *config = calloc(1, sizeof(*config));

	if (!config)
		return err_nomem(err), NULL;
	atomic_store(&config->refs, 1);
	config->arena = ARENA_INIT(CONFIG_MAX);
	return config;
}

struct config *config_ref(struct config *config)
{
	if (config)
		atomic_fetch_add(&config->refs, 1);
	return config;
}

void config_free(struct config *config)
{
	if (!config || atomic_fetch_sub(&config->refs, 1) != 1)
		return;
	arena_done(&config->arena);
	free(config);
}

int config_set_argv(struct config *config, struct err *err)
{
	const struct json_strings *first = &config->create.config.entrypoint;
	const struct json_strings *then = &config->create.config.cmd;
	size_t n = 0;

	config->argv =
		arena_array(&config->arena, first->count + then->count + 1, sizeof(char *), err);
	if (!config->argv)
		return -1;
	for (size_t i = 0; i < first->count; i++)
		config->argv[n++] = first->items[i];
	for (size_t i = 0; i < then->count; i++)
		config->argv[n++] = then->items[i];
	return 0;
}

struct config *config_parse(const char *request, const char *mounts, struct err *err)
{
	auto_type(config) config = config_create(err);
	struct mount_list list = {0};

	if (!config)
		return NULL;
	if (api_container_create_parse(request, strlen(request), &config->arena, &config->create,
	                               err) < 0)
		return NULL;
	if (mounts && json_decode_text(mounts, strlen(mounts), &mount_list_table, &config->arena,
	                               &list, err) < 0)
		return NULL;
	config->mounts = list.mounts.items;
	config->mount_count = list.mounts.count;
	if (config_set_argv(config, err) < 0)
		return NULL;
	return move_ptr(config);
}

int config_write_mounts(const struct config *config, struct buf *out, struct err *err)
{
	struct mount_list list = {
		.mounts = {config->mounts, config->mount_count, true},
	};

	return json_encode_text(&mount_list_table, &list, out, err);
}

struct netinfo *netinfo_create(struct err *err)
{
	struct netinfo *info = calloc(1, sizeof(*info));

	if (!info)
		return err_nomem(err), NULL;
	atomic_store(&info->refs, 1);
	info->arena = ARENA_INIT(NETINFO_MAX);
	return info;
}

struct netinfo *netinfo_ref(struct netinfo *info)
{
	if (info)
		atomic_fetch_add(&info->refs, 1);
	return info;
}

void netinfo_free(struct netinfo *info)
{
	if (!info || atomic_fetch_sub(&info->refs, 1) != 1)
		return;
	arena_done(&info->arena);
	free(info);
}
