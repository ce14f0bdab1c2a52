/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/mounts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "engine/private.h"
#include "engine/rootfs.h"
#include "engine/volumes.h"

#define MOUNTS_MAX 512

/* What one -v, --mount or VOLUME asks for. */
struct wish {
	const char *type; /* bind volume */
	const char *source, *target, *mode, *propagation;
	struct json_strmap labels;
	bool read_only, no_copy, make_source, non_recursive;
};

static const char *const propagations[] = {"private", "rprivate", "shared",
                                           "rshared", "slave",    "rslave"};

static bool is_propagation(const char *word)
{
	for (size_t i = 0; i < ARRAY_LEN(propagations); i++)
		if (str_eq(word, propagations[i]))
			return true;
	return false;
}

static int parse_mode(const char *text, struct arena *arena, struct mounts_bind *out,
                      struct err *err)
{
	char *words = arena_strdup(arena, out->mode, err);
	char *rest = words;

	if (!words)
		return -1;
	for (char *word; (word = strsep(&rest, ","));) {
		if (str_eq(word, "ro") || str_eq(word, "readonly"))
			out->read_only = 1;
		else if (str_eq(word, "nocopy"))
			out->no_copy = 1;
		else if (is_propagation(word))
			out->propagation = word;
		/* z and Z relabel for SELinux, which we do not drive; the others are defaults. */
		else if (!str_eq(word, "rw") && !str_eq(word, "z") && !str_eq(word, "Z") &&
		         !str_eq(word, "rbind") && !str_eq(word, "cached") &&
		         !str_eq(word, "delegated") && !str_eq(word, "consistent"))
			return err_set(err, ERR_INVALID,
			               "invalid volume specification: '%s': "
			               "unknown mode '%s'",
			               text, word);
	}
	return 0;
}

int mounts_parse_bind(const char *text, struct arena *arena, struct mounts_bind *out,
                      struct err *err)
{
	char *copy = arena_strdup(arena, text, err);
	char *parts[4] = {0};
	size_t n = 0;

	if (!copy)
		return -1;
	for (char *rest = copy; rest && n < 4;)
		parts[n++] = strsep(&rest, ":");
	if (n > 3 || !*parts[0] || (n > 1 && !*parts[1]))
		return err_set(err, ERR_INVALID, "invalid volume specification: '%s'", text);
	*out = (struct mounts_bind){.mode = (char *)""};
	if (n == 1) {
		out->target = parts[0];
	} else {
		out->source = parts[0];
		out->target = parts[1];
		out->mode = n == 3 ? parts[2] : (char *)"";
	}
	if (*out->target != '/' || str_eq(out->target, "/"))
		return err_set(err, ERR_INVALID,
		               "invalid volume specification: '%s': the target "
		               "must be an absolute path below '/'",
		               text);
	if (out->source && *out->source != '/' &&
	    id_check_name(out->source, "volume name", err) < 0)
		return err_wrap(err, "invalid volume specification: '%s'", text);
	return *out->mode ? parse_mode(text, arena, out, err) : 0;
}

static int wish_of_bind(const struct api_mount *m, struct wish *wish, struct err *err)
{
	if (str_empty(m->source) || *m->source != '/')
		return err_set(err, ERR_INVALID,
		               "invalid mount config for type \"bind\": "
		               "the source must be an absolute path");
	wish->propagation = m->bind_options ? m->bind_options->propagation : NULL;
	wish->make_source = m->bind_options && m->bind_options->create_mountpoint;
	wish->non_recursive = m->bind_options && m->bind_options->non_recursive;
	if (!str_empty(wish->propagation) && !is_propagation(wish->propagation))
		return err_set(err, ERR_INVALID, "invalid propagation mode: %s", wish->propagation);
	return 0;
}

static int wish_of_volume(const struct api_mount *m, struct wish *wish, struct err *err)
{
	if (!m->volume_options)
		return 0;
	const char *driver = json_get_string(m->volume_options->driver_config, "Name");
	if (!str_empty(driver) && !str_eq(driver, "local"))
		return err_set(err, ERR_UNSUPPORTED, "volume driver '%s' is not supported", driver);
	if (!str_empty(m->volume_options->subpath))
		return err_set(err, ERR_UNSUPPORTED, "volume subpaths are not supported");
	wish->labels = m->volume_options->labels;
	wish->no_copy = m->volume_options->no_copy;
	return 0;
}

static int wish_of_mount(const struct api_mount *m, struct wish *wish, struct err *err)
{
	const char *type = m->type ? m->type : "";

	if (m->image_options || m->cluster_options)
		return err_set(err, ERR_UNSUPPORTED, "mounts of type '%s' are not supported", type);
	if (str_empty(m->target) || *m->target != '/' || str_eq(m->target, "/"))
		return err_set(err, ERR_INVALID,
		               "invalid mount config for type \"%s\": the target "
		               "must be an absolute path below '/'",
		               type);
	*wish = (struct wish){.type = m->type,
	                      .source = m->source,
	                      .target = m->target,
	                      .mode = "",
	                      .read_only = m->read_only};
	if (str_eq(type, "bind"))
		return wish_of_bind(m, wish, err);
	if (str_eq(type, "volume"))
		return wish_of_volume(m, wish, err);
	return err_set(err, ERR_INVALID, "mount type unknown: \"%s\" (bind, volume, tmpfs)", type);
}

struct maker {
	struct container *c;
	struct config *config;
	int root_fd; /* the image's files, opened when first needed; -1 */
};

static bool has_target(const struct config *config, const char *target)
{
	for (size_t i = 0; i < config->mount_count; i++)
		if (str_eq(config->mounts[i].destination, target))
			return true;
	return false;
}

/* "/a//b/" -> "/a/b"; ".." is refused. */
static char *clean_target(struct arena *arena, const char *target, struct err *err)
{
	char *out = arena_alloc(arena, strlen(target) + 2, err);
	char *copy = arena_strdup(arena, target, err);

	if (!out || !copy)
		return NULL;
	for (char *word; (word = strsep(&copy, "/"));) {
		if (!*word || str_eq(word, "."))
			continue;
		if (str_eq(word, ".."))
			return err_set(err, ERR_INVALID, "mount target '%s' has a '..'", target),
			       NULL;
		size_t n = strlen(out);
		out[n] = '/';
		memcpy(out + n + 1, word, strlen(word) + 1);
	}
	if (!*out)
		return err_set(err, ERR_INVALID, "invalid mount target '%s'", target), NULL;
	return out;
}

static int make_bind(const struct wish *wish, struct container_mount *m, struct err *err)
{
	int fd = fs_trusted_open(wish->source, O_PATH, 0, NULL);

	if (fd < 0 && !wish->make_source)
		return err_set(err, ERR_INVALID,
		               "invalid mount config for type \"bind\": bind "
		               "source path does not exist: %s",
		               wish->source);
	if (fd < 0)
		fd = fs_trusted_open_dir(wish->source, true, err);
	if (fd < 0)
		return err_wrap(err, "bind source");
	close(fd);
	m->source = (char *)wish->source;
	m->mode = (char *)wish->mode;
	m->propagation = (char *)(str_empty(wish->propagation) ? "rprivate" : wish->propagation);
	return 0;
}

static int make_volume(struct maker *maker, const struct wish *wish, struct container_mount *m,
                       struct err *err)
{
	struct engine *engine = maker->c->engine;
	struct volume_spec spec = {.name = wish->source, .labels = wish->labels};
	struct volume volume;

	if (volume_create(engine, &spec, &maker->config->arena, &volume, err) < 0)
		return -1;
	m->name = volume.name;
	m->source = volume.mountpoint;
	m->driver = (char *)"local";
	m->mode = (char *)(*wish->mode ? wish->mode : "z");
	m->propagation = (char *)"";
	if (wish->no_copy)
		return 0;
	if (maker->root_fd < 0)
		maker->root_fd = rootfs_image_open(engine, maker->c->image_id, err);
	if (maker->root_fd < 0)
		return -1;
	return volumes_fill(engine, volume.name, maker->root_fd, m->destination, err);
}

static int add(struct maker *maker, const struct wish *wish, struct err *err)
{
	struct config *config = maker->config;
	struct container_mount *m = &config->mounts[config->mount_count];
	char *target = clean_target(&config->arena, wish->target, err);

	if (!target)
		return -1;
	if (has_target(config, target))
		return err_set(err, ERR_INVALID, "Duplicate mount point: %s", target);
	*m = (struct container_mount){
		.type = (char *)wish->type, .destination = target, .rw = !wish->read_only};
	int rc = str_eq(wish->type, "bind") ? make_bind(wish, m, err)
	                                    : make_volume(maker, wish, m, err);
	if (rc == 0)
		config->mount_count++;
	return rc;
}

static int add_binds(struct maker *maker, struct err *err)
{
	const struct json_strings *binds = &maker->config->create.host.binds;

	for (size_t i = 0; i < binds->count; i++) {
		struct mounts_bind bind;
		if (mounts_parse_bind(binds->items[i], &maker->config->arena, &bind, err) < 0)
			return -1;
		struct wish wish = {.type = bind.source && *bind.source == '/' ? "bind" : "volume",
		                    .source = bind.source,
		                    .target = bind.target,
		                    .mode = bind.mode,
		                    .propagation = bind.propagation,
		                    .read_only = bind.read_only,
		                    .no_copy = bind.no_copy,
		                    .make_source = true};
		if (add(maker, &wish, err) < 0)
			return -1;
	}
	return 0;
}

static int add_mounts(struct maker *maker, struct err *err)
{
	const struct json_array *mounts = &maker->config->create.host.mounts;

	for (size_t i = 0; i < mounts->count; i++) {
		const struct api_mount *m = (const struct api_mount *)mounts->items + i;
		struct wish wish;
		if (str_eq(m->type, "tmpfs"))
			continue; /* has nothing to resolve: mounts_spec() reads it */
		if (wish_of_mount(m, &wish, err) < 0 || add(maker, &wish, err) < 0)
			return -1;
	}
	return 0;
}

static bool is_tmpfs(const struct config *config, const char *target)
{
	const struct json_strmap *tmpfs = &config->create.host.tmpfs;
	const struct json_array *mounts = &config->create.host.mounts;

	for (size_t i = 0; i < tmpfs->count; i++)
		if (str_eq(tmpfs->items[i].key, target))
			return true;
	for (size_t i = 0; i < mounts->count; i++)
		if (str_eq(((const struct api_mount *)mounts->items)[i].target, target))
			return true;
	return false;
}

/* The image's VOLUMEs and the request's Volumes: anonymous, unless something is there already. */
static int add_anonymous(struct maker *maker, struct err *err)
{
	const char *target;
	struct json *ignored;

	for (void *iter = NULL;
	     json_next(maker->config->create.config.volumes, &iter, &target, &ignored);) {
		struct wish wish = {.type = "volume", .target = target, .mode = ""};
		char *clean = clean_target(&maker->config->arena, target, err);
		if (!clean)
			return -1;
		if (has_target(maker->config, clean) || is_tmpfs(maker->config, clean))
			continue;
		if (add(maker, &wish, err) < 0)
			return -1;
	}
	return 0;
}

static int by_destination(const void *a, const void *b)
{
	return strcmp(((const struct container_mount *)a)->destination,
	              ((const struct container_mount *)b)->destination);
}

int mounts_create(struct container *c, struct config *config, struct err *err)
{
	struct maker maker = {.c = c, .config = config, .root_fd = -1};
	const struct api_host_config *h = &config->create.host;
	size_t room = h->binds.count + h->mounts.count + json_count(config->create.config.volumes);

	if (room > MOUNTS_MAX)
		return err_set(err, ERR_LIMIT, "more than %d mounts", MOUNTS_MAX);
	config->mounts = arena_array(&config->arena, room + 1, sizeof(*config->mounts), err);
	if (!config->mounts)
		return -1;
	int rc = add_binds(&maker, err);
	if (rc == 0)
		rc = add_mounts(&maker, err);
	if (rc == 0)
		rc = add_anonymous(&maker, err);
	if (maker.root_fd >= 0)
		close(maker.root_fd);
	if (rc < 0)
		return -1;
	qsort(config->mounts, config->mount_count, sizeof(*config->mounts), by_destination);
	return 0;
}

/* ---- for the OCI config ---- */

struct json *mounts_json(const char *type, const char *source, const char *target,
                         const char *const *options)
{
	struct json *m = json_object(), *list = json_array();
	int bad = json_set(m, "destination", json_string(target)) |
	          json_set(m, "type", json_string(type)) |
	          json_set(m, "source", json_string(source));

	for (size_t i = 0; options[i]; i++)
		bad |= json_append(list, json_string(options[i]));
	bad |= json_set(m, "options", list);
	if (bad < 0) {
		json_free(m);
		return NULL;
	}
	return m;
}

static int tmpfs_of_flag(const struct json_pair *pair, struct json *list, struct err *err)
{
	const char *options[16] = {"noexec", "nosuid", "nodev"};
	auto_free char *copy = strdup(pair->value ? pair->value : "");
	char *rest = copy;
	size_t n = 3;

	if (!copy)
		return err_nomem(err);
	/* A given "exec" or "suid" comes later and so wins. */
	for (char *word; rest && (word = strsep(&rest, ","));) {
		if (n == ARRAY_LEN(options) - 1)
			return err_set(err, ERR_INVALID, "--tmpfs %s: too many options", pair->key);
		if (*word)
			options[n++] = word;
	}
	return json_append(list, mounts_json("tmpfs", "tmpfs", pair->key, options)) < 0
	               ? err_nomem(err)
	               : 0;
}

static int tmpfs_of_mount(const struct api_mount *m, struct json *list, struct err *err)
{
	char size[40], mode[20];
	const char *options[8] = {"noexec", "nosuid", "nodev"};
	size_t n = 3;

	if (m->read_only)
		options[n++] = "ro";
	if (m->tmpfs_options && m->tmpfs_options->size_bytes > 0) {
		snprintf(size, sizeof(size), "size=%lld", (long long)m->tmpfs_options->size_bytes);
		options[n++] = size;
	}
	if (m->tmpfs_options && m->tmpfs_options->mode) {
		snprintf(mode, sizeof(mode), "mode=%llo",
		         (unsigned long long)m->tmpfs_options->mode & 07777);
		options[n++] = mode;
	}
	return json_append(list, mounts_json("tmpfs", "tmpfs", m->target, options)) < 0
	               ? err_nomem(err)
	               : 0;
}

int mounts_spec(const struct config *config, struct json *list, struct err *err)
{
	const struct json_strmap *tmpfs = &config->create.host.tmpfs;
	const struct json_array *mounts = &config->create.host.mounts;

	for (size_t i = 0; i < tmpfs->count; i++)
		if (tmpfs_of_flag(&tmpfs->items[i], list, err) < 0)
			return -1;
	for (size_t i = 0; i < mounts->count; i++) {
		const struct api_mount *m = (const struct api_mount *)mounts->items + i;
		if (str_eq(m->type, "tmpfs") && tmpfs_of_mount(m, list, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < config->mount_count; i++) {
		const struct container_mount *m = &config->mounts[i];
		const char *options[] = {"rbind", m->rw ? "rw" : "ro",
		                         str_empty(m->propagation) ? "rprivate" : m->propagation,
		                         NULL};
		if (json_append(list, mounts_json("bind", m->source, m->destination, options)) < 0)
			return err_nomem(err);
	}
	return 0;
}
