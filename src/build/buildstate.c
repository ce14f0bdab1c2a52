/* SPDX-License-Identifier: Apache-2.0 */
#include "build/buildstate.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/str.h"

#define PRINT_MAX   (256u << 10) /* bytes of one line */
#define CONFIG_MAX  (4u << 20)
#define FD_PATH_MAX 32

int buildstate_print(struct buildstate *s, struct err *err, const char *fmt, ...)
{
	auto_buf struct buf line = BUF_INIT(PRINT_MAX);
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&line, fmt, ap);
	va_end(ap);
	if (s->output->text && s->output->text(s->output->arg, buf_str(&line), line.len) < 0)
		return err_set(err, ERR_CANCELED, "the client went away");
	return 0;
}

/* ---- the image so far ---- */

static void drop_json(void *j)
{
	json_free(j);
}

/* Keeps doc until the build's arena goes. */
static int keep_document(struct buildstate *s, struct json *doc, struct err *err)
{
	if (!doc)
		return err_nomem(err);
	s->document = doc;
	return arena_later(s->arena, drop_json, doc, err);
}

static struct json *empty_document(void)
{
	struct json *rootfs = json_object();
	struct json *doc = json_object();

	json_set(rootfs, "type", json_string("layers"));
	json_set(rootfs, "diff_ids", json_array());
	json_set(doc, "architecture", json_string(oci_architecture()));
	json_set(doc, "os", json_string("linux"));
	json_set(doc, "config", json_object());
	json_set(doc, "rootfs", rootfs);
	json_set(doc, "history", json_array());
	return doc;
}

static int load_scratch(struct buildstate *s, struct err *err)
{
	*s->id = *s->chain = '\0';
	s->config = (struct oci_run_config){0};
	s->author = NULL;
	return keep_document(s, empty_document(), err);
}

int buildstate_load(struct buildstate *s, const char *id, struct err *err)
{
	if (!*id)
		return load_scratch(s, err);
	auto_type(image) image = image_find(s->store, id, err);
	if (!image)
		return -1;
	struct oci_config config = {0};
	char *text = arena_strndup(s->arena, image->config_text, image->config_len, err);
	if (!text || oci_config_parse(text, image->config_len, s->arena, &config, err) < 0)
		return -1;
	if (keep_document(s, json_parse(text, image->config_len, err), err) < 0)
		return -1;
	s->config = config.config;
	s->author = config.author;
	snprintf(s->id, sizeof(s->id), "%s", image->id);
	snprintf(s->chain, sizeof(s->chain), "%s",
	         image->layer_count ? image->layers[image->layer_count - 1] : "");
	return 0;
}

/* ---- variables ---- */

const char *buildstate_env(const struct buildstate *s, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = s->config.env.count; i-- > 0;) {
		const char *pair = s->config.env.items[i];
		if (strncmp(pair, name, len) == 0 && pair[len] == '=')
			return pair + len + 1;
	}
	return NULL;
}

const char *buildstate_find_variable(void *state, const char *name)
{
	const struct buildstate *s = state;
	const char *value = buildstate_env(s, name);

	for (size_t i = s->arg_count; !value && i-- > 0;)
		if (strcmp(s->args[i].name, name) == 0)
			return s->args[i].value;
	return value;
}

struct words_env buildstate_words(struct buildstate *s)
{
	return (struct words_env){.find = buildstate_find_variable, .arg = s, .escape = s->escape};
}

int buildstate_set_env(struct buildstate *s, const char *name, const char *value, struct err *err)
{
	char *pair = arena_printf(s->arena, err, "%s=%s", name, value);
	struct json_strings *env = &s->config.env;
	size_t len = strlen(name);

	if (!pair)
		return -1;
	for (size_t i = 0; i < env->count; i++) {
		if (strncmp(env->items[i], pair, len + 1) == 0) {
			env->items[i] = pair;
			return 0;
		}
	}
	char **items = arena_array(s->arena, env->count + 2, sizeof(*items), err);
	if (!items)
		return -1;
	if (env->count)
		memcpy(items, env->items, env->count * sizeof(*items));
	items[env->count] = pair;
	*env = (struct json_strings){.items = items, .count = env->count + 1, .present = true};
	return 0;
}

/* ---- cache ---- */

int buildstate_key(struct buildstate *s, const char *step, const char *extra, char key[65],
                   struct err *err)
{
	auto_type(hash) h = hash_create(err);

	if (!h)
		return -1;
	hash_add(h, s->id, strlen(s->id) + 1);
	hash_add(h, s->chain, strlen(s->chain) + 1);
	hash_add(h, step, strlen(step) + 1);
	if (extra)
		hash_add(h, extra, strlen(extra) + 1);
	hash_hex(h, key);
	return 0;
}

static int print_id(struct buildstate *s, struct err *err)
{
	if (!*s->id)
		return buildstate_print(s, err, " ---> \n");
	return buildstate_print(s, err, " ---> %.12s\n", digest_hex(s->id));
}

int buildstate_cached(struct buildstate *s, const char key[65], struct err *err)
{
	char id[DIGEST_TEXT_MAX];

	if (s->request->no_cache)
		return 0;
	int found = image_cache_find(s->store, key, id, err);
	if (found <= 0)
		return found;
	if (buildstate_load(s, id, err) < 0 ||
	    buildstate_print(s, err, " ---> Using cache\n") < 0 || print_id(s, err) < 0)
		return -1;
	return 1;
}

static struct json *history_entry(const struct buildstate *s, const char *now,
                                  const char *created_by, bool empty)
{
	struct json *entry = json_object();

	json_set(entry, "created", json_string(now));
	json_set(entry, "created_by", json_string(created_by));
	if (s->author)
		json_set(entry, "author", json_string(s->author));
	if (empty)
		json_set(entry, "empty_layer", json_bool(true));
	return entry;
}

/* A copy of the document with what the step changed. */
static struct json *next_document(struct buildstate *s, const char *created_by,
                                  const struct image_layer *layer, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(CONFIG_MAX);
	char now[CLOCK_TEXT_MAX];

	if (json_write(s->document, &text, err) < 0)
		return NULL;
	auto_type(json) doc = json_parse(buf_str(&text), text.len, err);
	struct json *config = json_encode(&oci_run_config_table, &s->config, err);
	if (!doc || !config) {
		json_free(config);
		return NULL;
	}
	clock_format(clock_wall_ns(), now);
	json_set(doc, "created", json_string(now));
	json_set(doc, "config", config);
	if (s->author)
		json_set(doc, "author", json_string(s->author));
	if (!json_get(doc, "history"))
		json_set(doc, "history", json_array());
	json_append(json_get(doc, "history"), history_entry(s, now, created_by, !layer));
	if (layer)
		json_append(json_get(json_get(doc, "rootfs"), "diff_ids"),
		            json_string(layer->diff_id));
	return move_ptr(doc);
}

int buildstate_commit(struct buildstate *s, const char key[65], const char *created_by,
                      const struct image_layer *layer, struct err *err)
{
	auto_type(json) doc = next_document(s, created_by, layer, err);
	auto_buf struct buf text = BUF_INIT(CONFIG_MAX);
	char id[DIGEST_TEXT_MAX];

	if (!doc || json_write(doc, &text, err) < 0)
		return -1;
	if (image_create(s->store, buf_str(&text), text.len, s->id, NULL, id, err) < 0 ||
	    image_cache_add(s->store, key, id, err) < 0 || buildstate_load(s, id, err) < 0)
		return -1;
	return print_id(s, err);
}

/* ---- files ---- */

/* Layers go in one by one ("lowerdir+", Linux 6.7): a joined list would not fit one option. */
static int mount_overlay(const struct image_layers *layers, int upper_fd, int work_fd,
                         struct err *err)
{
	size_t most = layers->count + 3, count = 0;
	auto_free struct fs_mount_option *options = calloc(most, sizeof(*options));
	auto_free char(*paths)[FD_PATH_MAX] = calloc(most, sizeof(*paths));

	if (!options || !paths)
		return err_nomem(err);
	for (; count < layers->count; count++) {
		snprintf(paths[count], FD_PATH_MAX, "/proc/self/fd/%d", layers->fds[count]);
		options[count] = (struct fs_mount_option){"lowerdir+", paths[count]};
	}
	if (upper_fd >= 0) {
		snprintf(paths[count], FD_PATH_MAX, "/proc/self/fd/%d", upper_fd);
		options[count] = (struct fs_mount_option){"upperdir", paths[count]};
		count++;
		snprintf(paths[count], FD_PATH_MAX, "/proc/self/fd/%d", work_fd);
		options[count] = (struct fs_mount_option){"workdir", paths[count]};
		count++;
		options[count++] = (struct fs_mount_option){"volatile", NULL};
	}
	return fs_mount_detached("overlay", "overlay", options, count,
	                         upper_fd < 0 ? MOUNT_ATTR_RDONLY : 0, err);
}

static int open_chain(struct buildstate *s, const char *chain, struct image_layers *out,
                      struct err *err)
{
	*out = (struct image_layers){0};
	return *chain ? image_chain_open(s->store, chain, out, err) : 0;
}

int buildstate_root_open(struct buildstate *s, bool mounted, struct buildstate_root *out,
                         struct err *err)
{
	struct buildstate_root root = {.dir_fd = -1, .upper_fd = -1, .work_fd = -1, .root_fd = -1};
	int scratch = s->request->scratch_fd;

	id_make_hex(root.name);
	if (open_chain(s, s->chain, &root.layers, err) < 0)
		return -1;
	*out = root;
	if (fs_mkdir(scratch, out->name, 0700, err) == 0 &&
	    (out->dir_fd = fs_open_dir(scratch, out->name, err)) >= 0 &&
	    fs_mkdir(out->dir_fd, "upper", 0755, err) == 0 &&
	    fs_mkdir(out->dir_fd, "work", 0755, err) == 0 &&
	    (out->upper_fd = fs_open_dir(out->dir_fd, "upper", err)) >= 0 &&
	    (out->work_fd = fs_open_dir(out->dir_fd, "work", err)) >= 0) {
		if (!mounted)
			return 0;
		out->root_fd = out->layers.count ? mount_overlay(&out->layers, out->upper_fd,
		                                                 out->work_fd, err)
		                                 : fs_open_dir(out->dir_fd, "upper", err);
		if (out->root_fd >= 0)
			return 0;
	}
	buildstate_root_close(s, out);
	return -1;
}

void buildstate_root_close(struct buildstate *s, struct buildstate_root *root)
{
	int *fds[] = {&root->root_fd, &root->upper_fd, &root->work_fd, &root->dir_fd};

	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		cleanup_close(fds[i]);
		*fds[i] = -1;
	}
	image_layers_close(&root->layers);
	(void)fs_remove_tree(s->request->scratch_fd, root->name, NULL);
}

int buildstate_image_root(struct buildstate *s, const char *id, struct err *err)
{
	struct image_layers layers = {0};
	int fd;

	if (image_layers_open(s->store, id, &layers, err) < 0)
		return -1;
	if (layers.count == 0)
		fd = err_set(err, ERR_NOT_FOUND, "the image %.12s has no files", digest_hex(id));
	else if (layers.count == 1)
		fd = fs_open(layers.fds[0], ".", O_RDONLY | O_DIRECTORY, 0, err);
	else
		fd = mount_overlay(&layers, -1, -1, err);
	image_layers_close(&layers);
	return fd;
}
