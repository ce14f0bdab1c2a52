/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/merge.h"

#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

static int copy_strings(struct arena *arena, const struct json_strings *in,
                        struct json_strings *out, struct err *err)
{
	char **items = arena_array(arena, in->count + 1, sizeof(*items), err);

	if (!items)
		return -1;
	for (size_t i = 0; i < in->count; i++) {
		items[i] = arena_strdup(arena, in->items[i], err);
		if (!items[i])
			return -1;
	}
	*out = (struct json_strings){items, in->count, in->present || in->count};
	return 0;
}

static bool same_variable(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");

	return n == strcspn(b, "=") && strncmp(a, b, n) == 0;
}

/* The image's variables that are not set again, then the request's. "X" alone unsets X. */
static int merge_env(struct arena *arena, const struct json_strings *image,
                     struct json_strings *env, struct err *err)
{
	char **items = arena_array(arena, image->count + env->count + 1, sizeof(*items), err);
	size_t n = 0;

	if (!items)
		return -1;
	for (size_t i = 0; i < image->count; i++) {
		size_t k = 0;
		while (k < env->count && !same_variable(image->items[i], env->items[k]))
			k++;
		if (k < env->count)
			continue;
		items[n] = arena_strdup(arena, image->items[i], err);
		if (!items[n++])
			return -1;
	}
	for (size_t i = 0; i < env->count; i++)
		if (strchr(env->items[i], '='))
			items[n++] = env->items[i];
	*env = (struct json_strings){items, n, true};
	return 0;
}

static int merge_labels(struct arena *arena, const struct json_strmap *image,
                        struct json_strmap *labels, struct err *err)
{
	struct json_pair *items =
		arena_array(arena, image->count + labels->count + 1, sizeof(*items), err);
	size_t n = 0;

	if (!items)
		return -1;
	for (size_t i = 0; i < image->count; i++) {
		size_t k = 0;
		while (k < labels->count && !str_eq(labels->items[k].key, image->items[i].key))
			k++;
		if (k < labels->count)
			continue;
		items[n].key = arena_strdup(arena, image->items[i].key, err);
		items[n].value = arena_strdup(arena, image->items[i].value, err);
		if (!items[n].key || !items[n].value)
			return -1;
		n++;
	}
	for (size_t i = 0; i < labels->count; i++)
		items[n++] = labels->items[i];
	*labels = (struct json_strmap){items, n, true};
	return 0;
}

static void free_doc(void *doc)
{
	json_free(doc);
}

/* {"80/tcp": {}} of both. */
static int merge_set(struct arena *arena, const struct json *image, struct json **set,
                     struct err *err)
{
	struct json *both;
	const char *key;
	struct json *value;
	int bad = 0;

	if (!json_count(image) && !json_count(*set))
		return 0;
	both = json_object();
	if (!both)
		return err_nomem(err);
	for (void *iter = NULL; json_next(image, &iter, &key, &value);)
		bad |= json_set(both, key, json_object());
	for (void *iter = NULL; json_next(*set, &iter, &key, &value);)
		bad |= json_set(both, key, json_object());
	if (arena_later(arena, free_doc, both, err) < 0)
		return -1;
	if (bad)
		return err_nomem(err);
	*set = both;
	return 0;
}

static int merge_command(struct arena *arena, const struct oci_run_config *image,
                         struct api_config *config, struct err *err)
{
	if (config->entrypoint.count == 1 && !*config->entrypoint.items[0])
		config->entrypoint = (struct json_strings){.present = true};
	if (config->entrypoint.count == 0) {
		if (config->cmd.count == 0 &&
		    copy_strings(arena, &image->cmd, &config->cmd, err) < 0)
			return -1;
		if (!config->entrypoint.present &&
		    copy_strings(arena, &image->entrypoint, &config->entrypoint, err) < 0)
			return -1;
	}
	if (config->entrypoint.count == 0)
		config->entrypoint = (struct json_strings){0};
	if (config->entrypoint.count + config->cmd.count == 0)
		return err_set(err, ERR_INVALID, "no command specified");
	return 0;
}

static int merge_health(struct arena *arena, const struct oci_healthcheck *image,
                        struct api_config *config, struct err *err)
{
	struct api_healthcheck *check = config->healthcheck;

	if (!image)
		return 0;
	if (!check) {
		check = arena_alloc(arena, sizeof(*check), err);
		if (!check)
			return -1;
		config->healthcheck = check;
	}
	if (check->test.count == 0 && copy_strings(arena, &image->test, &check->test, err) < 0)
		return -1;
	check->interval = check->interval ? check->interval : image->interval;
	check->timeout = check->timeout ? check->timeout : image->timeout;
	check->start_period = check->start_period ? check->start_period : image->start_period;
	check->start_interval =
		check->start_interval ? check->start_interval : image->start_interval;
	check->retries = check->retries ? check->retries : image->retries;
	return 0;
}

static int inherit(struct arena *arena, const char *image, char **text, struct err *err)
{
	if (!str_empty(*text) || str_empty(image))
		return 0;
	*text = arena_strdup(arena, image, err);
	return *text ? 0 : -1;
}

int merge_image(struct arena *arena, const struct oci_run_config *image, struct api_config *config,
                struct err *err)
{
	if (inherit(arena, image->user, &config->user, err) < 0 ||
	    inherit(arena, image->working_dir, &config->working_dir, err) < 0 ||
	    inherit(arena, image->stop_signal, &config->stop_signal, err) < 0 ||
	    merge_command(arena, image, config, err) < 0 ||
	    merge_env(arena, &image->env, &config->env, err) < 0 ||
	    merge_labels(arena, &image->labels, &config->labels, err) < 0 ||
	    merge_set(arena, image->exposed_ports, &config->exposed_ports, err) < 0 ||
	    merge_set(arena, image->volumes, &config->volumes, err) < 0 ||
	    merge_health(arena, image->healthcheck, config, err) < 0)
		return -1;
	if (config->shell.count == 0 && image->shell.count)
		return copy_strings(arena, &image->shell, &config->shell, err);
	return 0;
}
