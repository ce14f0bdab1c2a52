/* SPDX-License-Identifier: Apache-2.0 */
/* A root file system as tar becomes an image of one layer. */

#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "image/image.h"

#define CONFIG_MAX (1u << 20)

static struct json *history_of(const char *now, const char *message)
{
	struct json *entry = json_object();
	struct json *list = json_array();

	json_set(entry, "created", json_string(now));
	json_set(entry, "comment", json_string(message ? message : "Imported from -"));
	json_append(list, entry);
	return list;
}

static struct json *document(const struct image_layer *layer, const char *message,
                             const struct oci_run_config *config, struct err *err)
{
	struct json *run = json_encode(&oci_run_config_table, config, err);
	char now[CLOCK_TEXT_MAX];

	if (!run)
		return NULL;
	clock_format(clock_wall_ns(), now);
	struct json *diff_ids = json_array();
	struct json *rootfs = json_object();
	struct json *doc = json_object();
	json_append(diff_ids, json_string(layer->diff_id));
	json_set(rootfs, "type", json_string("layers"));
	json_set(rootfs, "diff_ids", diff_ids);
	json_set(doc, "created", json_string(now));
	json_set(doc, "architecture", json_string(oci_architecture()));
	json_set(doc, "os", json_string("linux"));
	json_set(doc, "config", run);
	json_set(doc, "rootfs", rootfs);
	json_set(doc, "history", history_of(now, message));
	return doc;
}

int image_import(struct image_store *store, int tar_fd, const struct reference *name,
                 const char *message, const struct oci_run_config *config, char id[DIGEST_TEXT_MAX],
                 struct err *err)
{
	auto_buf struct buf text = BUF_INIT(CONFIG_MAX);
	struct image_layer layer;

	if (image_layer_from_tar(store, "", tar_fd, &layer, err) < 0)
		return err_wrap(err, "import");
	auto_type(json) doc = document(&layer, message, config, err);
	if (!doc || json_write(doc, &text, err) < 0)
		return -1;
	return image_create(store, buf_str(&text), text.len, "", name, id, err);
}
