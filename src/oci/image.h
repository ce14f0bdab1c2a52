/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * image - manifest, index and config documents of the OCI image spec 1.1 and of
 * Docker's schema 2, which differ only in media types.
 *
 * Parsed documents live in the caller's arena. Unknown keys are kept out: the
 * bytes themselves, by digest, stay the truth.
 */

#include <stdint.h>

#include "base/json.h"

struct arena;
struct err;

#define OCI_MANIFEST      "application/vnd.oci.image.manifest.v1+json"
#define OCI_INDEX         "application/vnd.oci.image.index.v1+json"
#define OCI_CONFIG        "application/vnd.oci.image.config.v1+json"
#define OCI_LAYER         "application/vnd.oci.image.layer.v1.tar"
#define OCI_LAYER_GZIP    "application/vnd.oci.image.layer.v1.tar+gzip"
#define OCI_LAYER_ZSTD    "application/vnd.oci.image.layer.v1.tar+zstd"
#define DOCKER_MANIFEST   "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_LIST       "application/vnd.docker.distribution.manifest.list.v2+json"
#define DOCKER_CONFIG     "application/vnd.docker.container.image.v1+json"
#define DOCKER_LAYER      "application/vnd.docker.image.rootfs.diff.tar"
#define DOCKER_LAYER_GZIP "application/vnd.docker.image.rootfs.diff.tar.gzip"

#define OCI_MANIFEST_MAX (4u << 20) /* bytes */
#define OCI_LAYERS_MAX   500

struct oci_platform {
	char *architecture, *os, *variant, *os_version;
};

struct oci_descriptor {
	char *media_type;
	char *digest; /* checked by digest_check() when parsed */
	int64_t size;
	struct oci_platform *platform; /* NULL if absent */
	struct json_strmap annotations;
};

struct oci_manifest {
	int64_t schema_version;
	char *media_type;
	struct oci_descriptor config;
	struct json_array layers; /* struct oci_descriptor */
	struct json_strmap annotations;
};

struct oci_index {
	int64_t schema_version;
	char *media_type;
	struct json_array manifests; /* struct oci_descriptor */
	struct json_strmap annotations;
};

struct oci_healthcheck {          /* Docker's extension; durations in nanoseconds */
	struct json_strings test; /* ["NONE"], ["CMD", ...], ["CMD-SHELL", line] */
	int64_t interval, timeout, start_period, start_interval, retries;
};

/* "config" of an image: what a container made from it runs by default. The field table is also
 * that of Docker's container Config as far as they share it. */
struct oci_run_config {
	char *user;
	struct json *exposed_ports; /* {"80/tcp": {}} */
	struct json_strings env;
	struct json_strings entrypoint, cmd, shell, on_build;
	struct json *volumes; /* {"/data": {}} */
	char *working_dir;
	struct json_strmap labels;
	char *stop_signal;
	bool args_escaped;
	struct oci_healthcheck *healthcheck;
};

struct oci_history {
	char *created, *created_by, *author, *comment;
	bool empty_layer;
};

struct oci_rootfs {
	char *type; /* "layers" */
	struct json_strings diff_ids;
};

struct oci_config {
	char *created, *author, *architecture, *os, *variant;
	struct oci_run_config config;
	struct oci_rootfs rootfs;
	struct json_array history; /* struct oci_history */
};

extern const struct json_table oci_descriptor_table, oci_manifest_table, oci_index_table,
	oci_config_table, oci_run_config_table, oci_healthcheck_table, oci_history_table;

/* What a document is, by its bytes and the type that came with it (NULL: unknown). A document with
 * both "manifests" and "layers", or whose mediaType differs from `type`, is ERR_INVALID. */
enum oci_kind {
	OCI_KIND_MANIFEST,
	OCI_KIND_INDEX,
};
int oci_kind_of(const char *text, size_t len, const char *type, enum oci_kind *kind,
                struct err *err);

int oci_manifest_parse(const char *text, size_t len, struct arena *arena, struct oci_manifest *out,
                       struct err *err);
int oci_index_parse(const char *text, size_t len, struct arena *arena, struct oci_index *out,
                    struct err *err);
int oci_config_parse(const char *text, size_t len, struct arena *arena, struct oci_config *out,
                     struct err *err);

/* The entry for this machine ("amd64"/"linux"), or for `platform` "os/arch[/variant]" if not NULL.
 * NULL + ERR_NOT_FOUND lists what there is. Borrowed from index. */
const struct oci_descriptor *oci_index_select(const struct oci_index *index, const char *platform,
                                              struct err *err);
const char *oci_architecture(void); /* this build's, in Go's names */

/* Chain id of the first n diff ids (spec: config.md "Layer ChainID"). */
char *oci_chain_id(const struct json_strings *diff_ids, size_t n, char out[72]);
