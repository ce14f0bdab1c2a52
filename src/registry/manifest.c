/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/manifest.h"

#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "oci/image.h"

#define PARTS_MAX 10000 /* layers of a manifest, or entries of an index */

static int check_descriptor(const struct json *d, const char *where, struct err *err)
{
	const char *digest = json_get_string(d, "digest");

	if (!json_is_object(d))
		return err_set(err, ERR_INVALID, "%s: it must be a descriptor", where);
	if (!digest_any_ok(digest))
		return err_set(err, ERR_INVALID,
		               "%s.digest: it must be sha256: or sha512: and hex digits", where);
	if (!json_is_int(json_get(d, "size")) || json_get_int(d, "size", -1) < 0)
		return err_set(err, ERR_INVALID, "%s.size: it must be a number of bytes", where);
	return 0;
}

static int check_list(const struct json *doc, const char *key, struct err *err)
{
	const struct json *list = json_get(doc, key);

	if (!list)
		return 0;
	if (!json_is_array(list))
		return err_set(err, ERR_INVALID, "%s: it must be an array", key);
	if (json_count(list) > PARTS_MAX)
		return err_set(err, ERR_INVALID, "%s: more than %d entries", key, PARTS_MAX);
	for (size_t i = 0; i < json_count(list); i++)
		if (check_descriptor(json_at(list, i), key, err) < 0)
			return -1;
	return 0;
}

/* The type that the document and its carrier agree on. */
static int settle_type(struct manifest *m, const char *type, struct err *err)
{
	const char *own = json_get_string(m->doc, "mediaType");
	char carried[NAME_TYPE_MAX] = "";

	if (type && !name_media_type(type, carried))
		return err_set(err, ERR_INVALID, "Content-Type: it must be a media type");
	if (own && !name_media_type(own, m->type))
		return err_set(err, ERR_INVALID, "mediaType: it must be a media type");
	if (!own)
		memcpy(m->type, carried, sizeof(m->type));
	if (!m->type[0])
		return err_set(err, ERR_INVALID,
		               "neither a Content-Type nor a mediaType says what this is");
	if (carried[0] && !str_eq(carried, m->type))
		return err_set(err, ERR_INVALID,
		               "mediaType is \"%s\", but Content-Type says \"%s\"", m->type,
		               carried);
	return 0;
}

static int check_kind(struct manifest *m, struct err *err)
{
	bool index_type = str_eq(m->type, OCI_INDEX) || str_eq(m->type, DOCKER_LIST);
	bool image_type = str_eq(m->type, OCI_MANIFEST) || str_eq(m->type, DOCKER_MANIFEST);
	bool entries = json_get(m->doc, "manifests"), layers = json_get(m->doc, "layers"),
	     config = json_get(m->doc, "config");

	if ((entries && (layers || config)) || (index_type && (layers || config)) ||
	    (image_type && entries))
		return err_set(err, ERR_INVALID,
		               "it has the keys of an index and of a manifest: one digest must "
		               "not have two meanings");
	if ((index_type || image_type) && json_get_int(m->doc, "schemaVersion", 0) != 2)
		return err_set(err, ERR_INVALID, "schemaVersion: it must be 2");
	if (image_type && !config)
		return err_set(err, ERR_INVALID, "config: it is missing");
	if (index_type && !entries)
		return err_set(err, ERR_INVALID, "manifests: it is missing");
	m->is_index = entries;
	return 0;
}

static int check(struct manifest *m, const char *type, struct err *err)
{
	const struct json *config = json_get(m->doc, "config");
	const struct json *subject = json_get(m->doc, "subject");

	if (!json_is_object(m->doc))
		return err_set(err, ERR_INVALID, "a manifest must be a JSON object");
	if (settle_type(m, type, err) < 0 || check_kind(m, err) < 0)
		return -1;
	if ((config && check_descriptor(config, "config", err) < 0) ||
	    check_list(m->doc, "layers", err) < 0 || check_list(m->doc, "blobs", err) < 0 ||
	    check_list(m->doc, "manifests", err) < 0)
		return -1;
	if (subject && !json_is_null(subject)) {
		if (check_descriptor(subject, "subject", err) < 0)
			return -1;
		m->subject = json_get_string(subject, "digest");
	}
	m->artifact_type = json_get_string(m->doc, "artifactType");
	if (str_empty(m->artifact_type))
		m->artifact_type = json_get_string(config, "mediaType");
	return 0;
}

int manifest_parse(const char *text, size_t len, const char *type, struct manifest *out,
                   struct err *err)
{
	struct manifest m = {.doc = json_parse(text, len, err)};

	if (!m.doc)
		return -1;
	if (check(&m, type, err) < 0) {
		manifest_done(&m);
		return -1;
	}
	*out = m;
	return 0;
}

void manifest_done(struct manifest *m)
{
	json_free(m->doc);
	*m = (struct manifest){0};
}

/* A layer that may not be pushed: clients get it from its "urls". */
static bool is_elsewhere(const struct json *d)
{
	const char *type = json_get_string(d, "mediaType");

	return json_count(json_get(d, "urls")) > 0 && type &&
	       (strstr(type, "nondistributable") || strstr(type, "foreign"));
}

static int each_in(const struct json *list, enum manifest_part part,
                   int (*fn)(void *arg, enum manifest_part part, const char *digest), void *arg)
{
	for (size_t i = 0; i < json_count(list); i++) {
		const struct json *d = json_at(list, i);
		int rc = is_elsewhere(d) ? 0 : fn(arg, part, json_get_string(d, "digest"));

		if (rc != 0)
			return rc;
	}
	return 0;
}

int manifest_each(const struct manifest *m,
                  int (*fn)(void *arg, enum manifest_part part, const char *digest), void *arg)
{
	const struct json *config = json_get(m->doc, "config");
	int rc = config ? fn(arg, MANIFEST_BLOB, json_get_string(config, "digest")) : 0;

	if (rc == 0)
		rc = each_in(json_get(m->doc, "layers"), MANIFEST_BLOB, fn, arg);
	if (rc == 0)
		rc = each_in(json_get(m->doc, "blobs"), MANIFEST_BLOB, fn, arg);
	if (rc == 0)
		rc = each_in(json_get(m->doc, "manifests"), MANIFEST_MANIFEST, fn, arg);
	return rc;
}
