/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/image.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"
#include "oci/digest.h"

#define HISTORY_MAX 2000
#define WORD_MAX    64 /* bytes of an os, architecture or variant that is asked for */

/* ---- the tables ---- */

static const struct json_field platform_fields[] = {
	JSON_FIELD(struct oci_platform, architecture, "architecture", JSON_STRING),
	JSON_FIELD(struct oci_platform, os, "os", JSON_STRING),
	JSON_FIELD(struct oci_platform, os_version, "os.version", JSON_STRING,
                   .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_platform, variant, "variant", JSON_STRING, .empty = JSON_EMPTY_OMIT),
	JSON_END,
};
static const struct json_table platform_table = JSON_TABLE(struct oci_platform, platform_fields);

static const struct json_field descriptor_fields[] = {
	JSON_FIELD(struct oci_descriptor, media_type, "mediaType", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_descriptor, digest, "digest", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_descriptor, size, "size", JSON_INT, .required = true),
	JSON_FIELD(struct oci_descriptor, platform, "platform", JSON_POINTER,
                   .table = &platform_table, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_descriptor, annotations, "annotations", JSON_STRMAP,
                   .empty = JSON_EMPTY_OMIT),
	JSON_END,
};
const struct json_table oci_descriptor_table = JSON_TABLE(struct oci_descriptor, descriptor_fields);

static const struct json_field manifest_fields[] = {
	JSON_FIELD(struct oci_manifest, schema_version, "schemaVersion", JSON_INT,
                   .required = true),
	JSON_FIELD(struct oci_manifest, media_type, "mediaType", JSON_STRING,
                   .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_manifest, config, "config", JSON_OBJECT,
                   .table = &oci_descriptor_table, .required = true),
	JSON_FIELD(struct oci_manifest, layers, "layers", JSON_OBJECTS,
                   .table = &oci_descriptor_table, .empty = JSON_EMPTY_EMPTY, .required = true),
	JSON_FIELD(struct oci_manifest, annotations, "annotations", JSON_STRMAP,
                   .empty = JSON_EMPTY_OMIT),
	JSON_END,
};
const struct json_table oci_manifest_table = JSON_TABLE(struct oci_manifest, manifest_fields);

static const struct json_field index_fields[] = {
	JSON_FIELD(struct oci_index, schema_version, "schemaVersion", JSON_INT, .required = true),
	JSON_FIELD(struct oci_index, media_type, "mediaType", JSON_STRING,
                   .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_index, manifests, "manifests", JSON_OBJECTS,
                   .table = &oci_descriptor_table, .empty = JSON_EMPTY_EMPTY, .required = true),
	JSON_FIELD(struct oci_index, annotations, "annotations", JSON_STRMAP,
                   .empty = JSON_EMPTY_OMIT),
	JSON_END,
};
const struct json_table oci_index_table = JSON_TABLE(struct oci_index, index_fields);

static const struct json_field healthcheck_fields[] = {
	JSON_FIELD(struct oci_healthcheck, test, "Test", JSON_STRINGS, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_healthcheck, interval, "Interval", JSON_INT,
                   .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_healthcheck, timeout, "Timeout", JSON_INT, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_healthcheck, start_period, "StartPeriod", JSON_INT,
                   .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_healthcheck, start_interval, "StartInterval", JSON_INT,
                   .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_healthcheck, retries, "Retries", JSON_INT, .empty = JSON_EMPTY_OMIT),
	JSON_END,
};
const struct json_table oci_healthcheck_table =
	JSON_TABLE(struct oci_healthcheck, healthcheck_fields);

static const struct json_field run_config_fields[] = {
	JSON_FIELD(struct oci_run_config, user, "User", JSON_STRING, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_run_config, exposed_ports, "ExposedPorts", JSON_RAW,
                   .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_run_config, env, "Env", JSON_STRINGS, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_run_config, entrypoint, "Entrypoint", JSON_STRINGS,
                   .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_run_config, cmd, "Cmd", JSON_STRINGS, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_run_config, healthcheck, "Healthcheck", JSON_POINTER,
                   .table = &oci_healthcheck_table, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_run_config, args_escaped, "ArgsEscaped", JSON_BOOL,
                   .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_run_config, volumes, "Volumes", JSON_RAW, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_run_config, working_dir, "WorkingDir", JSON_STRING,
                   .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_run_config, on_build, "OnBuild", JSON_STRINGS,
                   .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_run_config, labels, "Labels", JSON_STRMAP, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_run_config, stop_signal, "StopSignal", JSON_STRING,
                   .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_run_config, shell, "Shell", JSON_STRINGS, .empty = JSON_EMPTY_OMIT),
	JSON_END,
};
const struct json_table oci_run_config_table = JSON_TABLE(struct oci_run_config, run_config_fields);

static const struct json_field history_fields[] = {
	JSON_FIELD(struct oci_history, created, "created", JSON_STRING, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_history, created_by, "created_by", JSON_STRING,
                   .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_history, author, "author", JSON_STRING, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_history, comment, "comment", JSON_STRING, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_history, empty_layer, "empty_layer", JSON_BOOL,
                   .empty = JSON_EMPTY_OMIT),
	JSON_END,
};
const struct json_table oci_history_table = JSON_TABLE(struct oci_history, history_fields);

static const struct json_field rootfs_fields[] = {
	JSON_FIELD(struct oci_rootfs, type, "type", JSON_STRING, .required = true),
	JSON_FIELD(struct oci_rootfs, diff_ids, "diff_ids", JSON_STRINGS,
                   .empty = JSON_EMPTY_EMPTY),
	JSON_END,
};
static const struct json_table rootfs_table = JSON_TABLE(struct oci_rootfs, rootfs_fields);

static const struct json_field config_fields[] = {
	JSON_FIELD(struct oci_config, created, "created", JSON_STRING, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_config, author, "author", JSON_STRING, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_config, architecture, "architecture", JSON_STRING),
	JSON_FIELD(struct oci_config, os, "os", JSON_STRING),
	JSON_FIELD(struct oci_config, variant, "variant", JSON_STRING, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct oci_config, config, "config", JSON_OBJECT,
                   .table = &oci_run_config_table),
	JSON_FIELD(struct oci_config, rootfs, "rootfs", JSON_OBJECT, .table = &rootfs_table,
                   .required = true),
	JSON_FIELD(struct oci_config, history, "history", JSON_OBJECTS, .table = &oci_history_table,
                   .empty = JSON_EMPTY_OMIT),
	JSON_END,
};
const struct json_table oci_config_table = JSON_TABLE(struct oci_config, config_fields);

/* ---- what a document is ---- */

static const struct {
	const char *type;
	enum oci_kind kind;
} kinds[] = {
	{OCI_MANIFEST, OCI_KIND_MANIFEST},
	{DOCKER_MANIFEST, OCI_KIND_MANIFEST},
	{OCI_INDEX, OCI_KIND_INDEX},
	{DOCKER_LIST, OCI_KIND_INDEX},
};

/* What servers say that do not know what they serve. */
static const char *const vague_types[] = {"application/json", "application/octet-stream",
                                          "text/plain", "binary/octet-stream"};

/* The kind that a media type stands for; -1 if for none of ours. */
static int kind_of_type(const char *type, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strlen(kinds[i].type) == len && memcmp(kinds[i].type, type, len) == 0)
			return (int)kinds[i].kind;
	return -1;
}

static bool is_vague(const char *type, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(vague_types); i++)
		if (strlen(vague_types[i]) == len && strncasecmp(vague_types[i], type, len) == 0)
			return true;
	return len == 0;
}

/* "a/b; charset=utf-8" -> "a/b" */
static size_t bare_type_len(const char *type)
{
	size_t len = strcspn(type, ";");

	while (len > 0 && (type[len - 1] == ' ' || type[len - 1] == '\t'))
		len--;
	return len;
}

static struct json *parse_object(const char *text, size_t len, const char *what, struct err *err)
{
	if (len > OCI_MANIFEST_MAX) {
		err_set(err, ERR_LIMIT, "%s is larger than %u bytes", what, OCI_MANIFEST_MAX);
		return NULL;
	}

	struct json *doc = json_parse(text, len, err);
	if (!doc || json_is_object(doc)) {
		if (!doc)
			err_wrap(err, "%s", what);
		return doc;
	}
	json_free(doc);
	err_set(err, ERR_INVALID, "%s: it must be a JSON object", what);
	return NULL;
}

/* The keys that make a document one kind must not stand in one of the other: a document that two
 * readers take for different things has two contents under one digest (CVE-2021-41190). */
static int kind_of_keys(const struct json *doc, struct err *err)
{
	bool index = json_get(doc, "manifests");
	bool manifest = json_get(doc, "layers") || json_get(doc, "config");

	if (json_get(doc, "fsLayers") || json_get_int(doc, "schemaVersion", 2) == 1)
		return err_set(err, ERR_UNSUPPORTED,
		               "image manifest of Docker's schema 1: push the image again with a "
		               "newer tool");
	if (index && manifest)
		return err_set(err, ERR_INVALID,
		               "ambiguous manifest: it has \"manifests\" beside \"layers\" or "
		               "\"config\"");
	if (!index && !manifest)
		return err_set(err, ERR_INVALID,
		               "neither an image manifest nor an index: no \"layers\" and no "
		               "\"manifests\"");
	return index ? OCI_KIND_INDEX : OCI_KIND_MANIFEST;
}

/* Its own mediaType, if it has one, must agree with its keys. */
static int kind_of_doc(const struct json *doc, struct err *err)
{
	const struct json *type = json_get(doc, "mediaType");
	int kind = kind_of_keys(doc, err);

	if (kind < 0 || !type)
		return kind;
	if (!json_is_string(type))
		return err_set(err, ERR_INVALID, "manifest: mediaType: not a string");
	if (kind_of_type(json_str(type), strlen(json_str(type))) != kind)
		return err_set(err, ERR_INVALID,
		               "ambiguous manifest: mediaType \"%.100s\" does not fit its content",
		               json_str(type));
	return kind;
}

int oci_kind_of(const char *text, size_t len, const char *type, enum oci_kind *kind,
                struct err *err)
{
	auto_type(json) doc = parse_object(text, len, "manifest", err);
	int found = doc ? kind_of_doc(doc, err) : -1;

	if (found < 0)
		return -1;

	size_t type_len = type ? bare_type_len(type) : 0;
	if (type && !is_vague(type, type_len)) {
		const char *own = json_get_string(doc, "mediaType");
		int told = kind_of_type(type, type_len);

		if (told < 0)
			return err_set(err, ERR_INVALID, "\"%.100s\" is no manifest type", type);
		if (told != found ||
		    (own && (strlen(own) != type_len || memcmp(own, type, type_len) != 0)))
			return err_set(err, ERR_INVALID,
			               "ambiguous manifest: it came as \"%.100s\" but is %s", type,
			               own      ? own
			               : !found ? "an image manifest"
			                        : "an index");
	}
	*kind = (enum oci_kind)found;
	return 0;
}

/* ---- documents ---- */

static int check_descriptor(const struct oci_descriptor *d, const char *what, struct err *err)
{
	if (digest_check(d->digest, err) < 0)
		return err_wrap(err, "%s", what);
	if (d->size < 0)
		return err_set(err, ERR_INVALID, "%s: size must not be negative", what);
	return 0;
}

static int check_descriptors(const struct json_array *list, const char *what, struct err *err)
{
	const struct oci_descriptor *d = list->items;
	char name[40];

	if (list->count > OCI_LAYERS_MAX)
		return err_set(err, ERR_LIMIT, "%zu %s, but at most %d are allowed", list->count,
		               what, OCI_LAYERS_MAX);
	for (size_t i = 0; i < list->count; i++) {
		snprintf(name, sizeof(name), "%s[%zu]", what, i);
		if (check_descriptor(&d[i], name, err) < 0)
			return -1;
	}
	return 0;
}

/* Parses, makes sure of the kind, decodes into *out. */
static int parse_kind(const char *text, size_t len, enum oci_kind kind, struct arena *arena,
                      void *out, struct err *err)
{
	const char *what = kind == OCI_KIND_INDEX ? "image index" : "image manifest";
	auto_type(json) doc = parse_object(text, len, what, err);
	int found = doc ? kind_of_doc(doc, err) : -1;

	if (found < 0)
		return -1;
	if (found != (int)kind)
		return err_set(err, ERR_INVALID, "%s expected, got the other kind", what);
	if (json_get_int(doc, "schemaVersion", 0) != 2)
		return err_set(err, ERR_INVALID, "%s: schemaVersion must be 2", what);
	return json_decode(doc, kind == OCI_KIND_INDEX ? &oci_index_table : &oci_manifest_table,
	                   arena, out, err) < 0
	               ? err_wrap(err, "%s", what)
	               : 0;
}

int oci_manifest_parse(const char *text, size_t len, struct arena *arena, struct oci_manifest *out,
                       struct err *err)
{
	struct oci_manifest m = {0};

	if (parse_kind(text, len, OCI_KIND_MANIFEST, arena, &m, err) < 0)
		return -1;
	if (check_descriptor(&m.config, "config", err) < 0 ||
	    check_descriptors(&m.layers, "layers", err) < 0)
		return err_wrap(err, "image manifest");
	*out = m;
	return 0;
}

int oci_index_parse(const char *text, size_t len, struct arena *arena, struct oci_index *out,
                    struct err *err)
{
	struct oci_index index = {0};

	if (parse_kind(text, len, OCI_KIND_INDEX, arena, &index, err) < 0)
		return -1;
	if (check_descriptors(&index.manifests, "manifests", err) < 0)
		return err_wrap(err, "image index");
	*out = index;
	return 0;
}

static int check_run_config(const struct oci_run_config *c, struct err *err)
{
	const struct oci_healthcheck *h = c->healthcheck;

	/* null is the same as absent */
	if (c->exposed_ports && !json_is_object(c->exposed_ports) &&
	    !json_is_null(c->exposed_ports))
		return err_set(err, ERR_INVALID, "config.ExposedPorts: not an object");
	if (c->volumes && !json_is_object(c->volumes) && !json_is_null(c->volumes))
		return err_set(err, ERR_INVALID, "config.Volumes: not an object");
	if (h && (h->interval < 0 || h->timeout < 0 || h->start_period < 0 ||
	          h->start_interval < 0 || h->retries < 0))
		return err_set(err, ERR_INVALID, "config.Healthcheck: must not be negative");
	return 0;
}

static int check_config(const struct oci_config *c, struct err *err)
{
	const struct json_strings *ids = &c->rootfs.diff_ids;

	if (!str_eq(c->rootfs.type, "layers"))
		return err_set(err, ERR_INVALID, "rootfs.type: only \"layers\" is known");
	if (ids->count > OCI_LAYERS_MAX || c->history.count > HISTORY_MAX)
		return err_set(err, ERR_LIMIT, "%zu layers and %zu steps: at most %d and %d",
		               ids->count, c->history.count, OCI_LAYERS_MAX, HISTORY_MAX);
	for (size_t i = 0; i < ids->count; i++)
		if (digest_check(ids->items[i], err) < 0)
			return err_wrap(err, "rootfs.diff_ids[%zu]", i);
	return check_run_config(&c->config, err);
}

int oci_config_parse(const char *text, size_t len, struct arena *arena, struct oci_config *out,
                     struct err *err)
{
	struct oci_config config = {0};
	auto_type(json) doc = parse_object(text, len, "image config", err);

	if (!doc)
		return -1;
	if (json_decode(doc, &oci_config_table, arena, &config, err) < 0 ||
	    check_config(&config, err) < 0)
		return err_wrap(err, "image config");
	*out = config;
	return 0;
}

/* ---- choosing by platform ---- */

const char *oci_architecture(void)
{
#if defined(__x86_64__)
	return "amd64";
#elif defined(__aarch64__)
	return "arm64";
#elif defined(__arm__)
	return "arm";
#elif defined(__i386__)
	return "386";
#elif defined(__riscv)
	return "riscv64";
#elif defined(__powerpc64__)
	return "ppc64le";
#elif defined(__s390x__)
	return "s390x";
#else
#error "which architecture is this, in Go's names?"
#endif
}

struct wanted {
	char os[WORD_MAX], architecture[WORD_MAX], variant[WORD_MAX];
};

static const char *go_name(const char *architecture)
{
	if (str_eq(architecture, "x86_64") || str_eq(architecture, "x86-64"))
		return "amd64";
	return str_eq(architecture, "aarch64") ? "arm64" : architecture;
}

/* One part of "os/arch/variant"; NULL when it is empty or too long. */
static const char *take_part(const char *text, char out[WORD_MAX])
{
	size_t len = strcspn(text, "/");

	if (len == 0 || len >= WORD_MAX)
		return NULL;
	memcpy(out, text, len);
	out[len] = '\0';
	return text + len + (text[len] == '/');
}

static int parse_platform(const char *text, struct wanted *w, struct err *err)
{
	char architecture[WORD_MAX];
	const char *rest = text;

	*w = (struct wanted){.os = "linux"};
	snprintf(w->architecture, sizeof(w->architecture), "%s", oci_architecture());
	if (str_empty(text))
		return 0;
	if (strchr(text, '/'))
		rest = take_part(rest, w->os);
	if (rest)
		rest = take_part(rest, architecture);
	if (rest && *rest)
		rest = take_part(rest, w->variant);
	if (!rest || *rest || str_ends(text, "/"))
		return err_set(err, ERR_INVALID,
		               "bad platform \"%.100s\": it must be os/architecture or "
		               "os/architecture/variant",
		               text);
	snprintf(w->architecture, sizeof(w->architecture), "%s", go_name(architecture));
	return 0;
}

/* 64-bit ARM has one variant, v8, that most leave out. */
static const char *plain_variant(const char *architecture, const char *variant)
{
	if (!variant || (str_eq(architecture, "arm64") && str_eq(variant, "v8")))
		return "";
	return variant;
}

static bool fits(const struct oci_platform *p, const struct wanted *w)
{
	if (!p || !str_eq(p->os, w->os) || !str_eq(p->architecture, w->architecture))
		return false;
	const char *variant = plain_variant(w->architecture, w->variant);
	return !*variant || str_eq(plain_variant(p->architecture, p->variant), variant);
}

static int none_fits(const struct oci_index *index, const struct wanted *w, struct err *err)
{
	const struct oci_descriptor *d = index->manifests.items;
	auto_buf struct buf list = BUF_INIT(300);

	for (size_t i = 0; i < index->manifests.count; i++) {
		const struct oci_platform *p = d[i].platform;

		if (!p || !p->os || !p->architecture || str_eq(p->os, "unknown"))
			continue;
		buf_addf(&list, "%s%s/%s%s%s", list.len ? ", " : "", p->os, p->architecture,
		         str_empty(p->variant) ? "" : "/", p->variant ? p->variant : "");
	}
	return err_set(err, ERR_NOT_FOUND, "no image for %s/%s%s%s: there is %s", w->os,
	               w->architecture, w->variant[0] ? "/" : "", w->variant,
	               list.len ? buf_str(&list) : "none that names its platform");
}

const struct oci_descriptor *oci_index_select(const struct oci_index *index, const char *platform,
                                              struct err *err)
{
	const struct oci_descriptor *d = index->manifests.items;
	struct wanted w;

	if (parse_platform(platform, &w, err) < 0)
		return NULL;
	for (size_t i = 0; i < index->manifests.count; i++)
		if (fits(d[i].platform, &w))
			return &d[i];
	if (!platform && index->manifests.count == 1 && !d[0].platform)
		return &d[0]; /* the only one there is, and it does not say */
	none_fits(index, &w, err);
	return NULL;
}

char *oci_chain_id(const struct json_strings *diff_ids, size_t n, char out[72])
{
	char text[2 * DIGEST_TEXT_MAX], hex[HASH_HEX_MAX];

	out[0] = '\0';
	for (size_t i = 0; i < n && i < diff_ids->count; i++) {
		if (i == 0) {
			snprintf(out, 72, "%s", diff_ids->items[0]);
			continue;
		}
		snprintf(text, sizeof(text), "%.71s %.71s", out, diff_ids->items[i]);
		snprintf(out, 72, "sha256:%s", hash_bytes_hex(text, strlen(text), hex));
	}
	return out;
}
