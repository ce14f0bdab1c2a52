/* SPDX-License-Identifier: Apache-2.0 */
/* commit - an image from what a container has changed. */

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "engine/ids.h"
#include "engine/private.h"
#include "image/image.h"
#include "oci/reference.h"

#define CONFIG_TEXT_MAX (4u << 20)

/* The container's config as an image's: what belongs to one run only stays behind. */
static int to_run_config(const struct api_config *c, const struct api_config *given,
                         struct oci_run_config *out)
{
	const struct api_config *from = given ? given : c;

	*out = (struct oci_run_config){
		.user = from->user,
		.exposed_ports = from->exposed_ports,
		.env = from->env,
		.entrypoint = from->entrypoint,
		.cmd = from->cmd,
		.shell = from->shell,
		.volumes = json_count(from->volumes) ? from->volumes : NULL,
		.working_dir = from->working_dir,
		.labels = from->labels,
		.stop_signal = from->stop_signal,
		.on_build = from->on_build,
	};
	return 0;
}

static int config_document(const struct image *image, const struct oci_run_config *run,
                           const struct container_commit *commit, const struct image_layer *layer,
                           struct buf *out, struct err *err)
{
	auto_type(json) doc = json_parse(image->config_text, image->config_len, err);
	struct json *run_doc = doc ? json_encode(&oci_run_config_table, run, err) : NULL;
	struct json *entry = json_object();
	char now[CLOCK_TEXT_MAX];
	int bad = 0;

	if (!run_doc) {
		json_free(entry);
		return -1;
	}
	clock_format(clock_wall_ns(), now);
	struct json *ids = json_get(json_get(doc, "rootfs"), "diff_ids");
	struct json *history = json_get(doc, "history");
	bad |= json_append(ids, json_string(layer->diff_id));
	bad |= json_set(entry, "created", json_string(now));
	if (!str_empty(commit->author))
		bad |= json_set(entry, "author", json_string(commit->author));
	if (!str_empty(commit->comment))
		bad |= json_set(entry, "comment", json_string(commit->comment));
	struct json_strings command = {run->cmd.items, run->cmd.count, true};
	bad |= json_set(entry, "created_by",
	                json_string(command.count ? command.items[0] : "commit"));
	if (!history) {
		history = json_array();
		bad |= json_set(doc, "history", json_ref(history));
		json_free(history);
		history = json_get(doc, "history");
	}
	bad |= json_append(history, entry);
	bad |= json_set(doc, "created", json_string(now));
	if (!str_empty(commit->author))
		bad |= json_set(doc, "author", json_string(commit->author));
	bad |= json_set(doc, "config", run_doc);
	if (bad < 0)
		return err_nomem(err);
	return json_write(doc, out, err);
}

static int make_layer(struct container *c, const struct image *image, struct image_layer *layer,
                      struct err *err)
{
	auto_close int dir = container_dir(c, err);
	auto_close int upper = dir < 0 ? -1 : fs_open_dir(dir, "upper", err);
	const char *parent = image->layer_count ? image->layers[image->layer_count - 1] : "";

	auto_close int view = upper < 0 ? -1 : ids_view(upper, c->first_id, err);
	if (view < 0)
		return -1;
	return image_layer_from_upper(c->engine->images, parent, view, false, layer, err);
}

static int commit_container(struct container *c, const struct container_commit *commit,
                            char id[DIGEST_TEXT_MAX], struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(8u << 20);
	auto_buf struct buf text = BUF_INIT(CONFIG_TEXT_MAX);
	auto_type(image) image = image_find(c->engine->images, c->image_id, err);
	auto_type(config) config = container_config(c);
	struct image_layer layer;
	struct oci_run_config run;

	if (!image || to_run_config(&config->create.config, commit->config, &run) < 0)
		return -1;
	if (commit->changes && build_apply_changes(commit->changes, &arena, &run, err) < 0)
		return -1;
	if (make_layer(c, image, &layer, err) < 0 ||
	    config_document(image, &run, commit, &layer, &text, err) < 0 ||
	    buf_check(&text, err) < 0)
		return -1;
	return image_create(c->engine->images, buf_str(&text), text.len, image->id, commit->name,
	                    id, err);
}

int container_commit(struct engine *engine, const char *ref, const struct container_commit *commit,
                     char id[DIGEST_TEXT_MAX], struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);
	bool paused = false;

	if (!c)
		return -1;
	pthread_mutex_lock(&c->lock);
	bool running = c->status == STATUS_RUNNING;
	pthread_mutex_unlock(&c->lock);
	if (commit->pause && running)
		paused = container_pause(engine, c->id, true, NULL) == 0;
	pthread_mutex_lock(&c->op);
	int rc = commit_container(c, commit, id, err);
	pthread_mutex_unlock(&c->op);
	if (paused)
		(void)container_pause(engine, c->id, false, NULL);
	if (rc == 0)
		container_event(c, "commit", NULL, NULL);
	return rc;
}
