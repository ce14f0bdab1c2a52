/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * image - what the engine, the builder and the daemon need of images: find, list,
 * name, remove, bring in, send out, and stack layers on top.
 *
 *	struct image_store *store = image_store_open(root_dir_fd, &options, err);
 *	struct image *image = image_find(store, "debian:12", err);
 *	... image->layers ...
 *	image_free(image);
 *
 * On disk below the root:
 *   blobs/sha256/<hex>      compressed layers (verified, immutable)
 *   layers/<chain hex>/diff unpacked layer (immutable); or, empty,
 *   layers/<chain hex>/tar  ... the layer's tar, and beside it "index": the kernel mounts the two (erofs.h)
 *   staging/                what is being made; emptied at open
 *   partial/<hex>           what came of a blob before its pull gave up; a day, then open removes it
 *   image.db                SQLite: images with their configs, manifests, names, layers, leases
 *
 * Order of durability: data, one sync, then the row. A row that exists is a
 * layer that verifies. Everything that parses or unpacks bytes from outside runs in a worker
 * process (image/worker.h): chrooted, without capabilities it does not need, without execve.
 *
 * Thread-safe; calls block. An image's id is the digest of its config (Docker's image ID).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "oci/image.h"
#include "oci/reference.h"

struct err;
struct image_store;
struct log;

enum image_form {
	IMAGE_FORM_PROBE, /* tars, if this kernel and user can mount them */
	IMAGE_FORM_DIRECTORIES,
	IMAGE_FORM_TARS, /* or not at all: ERR_UNSUPPORTED */
};

struct image_store_options {
	const char *
		worker_path; /* program to execute as `PROGRAM worker ...`; normally /proc/self/exe */
	/* Lists that end with NULL, or NULL: see endpoint.h. */
	const char *const *insecure_registries; /* "host:port", "10.0.0.0/8" */
	const char *const *mirrors; /* "https://host" (of docker.io), or "registry=https://host" */
	const char *const *certs_dirs; /* NULL: /etc/buoy/certs.d, /etc/docker/certs.d */
	struct log *log;
	enum image_form form; /* how layers are stored from now on; both kinds are read */
};

struct image_store *image_store_open(int root_dir_fd, const struct image_store_options *options,
                                     struct err *err);
void image_store_close(struct image_store *store);

/* main() of the worker process: called by the daemon's main when argv[1] is "worker". Returns the exit status. */
int image_worker_main(int argc, char **argv);

/* ---- finding ---- */

struct image {
	char id[DIGEST_TEXT_MAX];     /* "sha256:..." */
	char parent[DIGEST_TEXT_MAX]; /* image it was built from here, or "" */
	struct oci_config *config;    /* parsed; lives as long as the image */
	char *config_text;            /* the bytes; NUL-terminated */
	size_t config_len;
	char **names;                    /* familiar "debian:12", NULL-terminated */
	char **digests;                  /* familiar "debian@sha256:...", NULL-terminated */
	int64_t created_ns;              /* from the config */
	int64_t size;                    /* bytes of its layers, unpacked */
	int64_t tagged_ns;               /* when last named; 0 never */
	char (*layers)[DIGEST_TEXT_MAX]; /* chain ids, lowest first */
	size_t layer_count;
	struct arena *arena; /* owns the above */
};
void image_free(struct image *image);
DEFINE_AUTO(image)

/* By name, "name@digest", id, or unique prefix of an id (>= 1 hex digit, with or without sha256:).
 * NULL: ERR_NOT_FOUND "No such image: x", ERR_CONFLICT (ambiguous prefix). The caller owns the result. */
struct image *image_find(struct image_store *store, const char *name, struct err *err);
/* All of them, newest first, as an array of *count images, which the caller frees one by one and
 * then free()s. Intermediate images of builds only if `all`. */
struct image **image_list(struct image_store *store, bool all, size_t *count, struct err *err);

/* ---- naming and removing ---- */

int image_tag(struct image_store *store, const char *id, const struct reference *ref,
              struct err *err);

struct image_removed {
	void (*untagged)(void *arg, const char *familiar_name);
	void (*deleted)(void *arg, const char *id_or_layer);
	/* Is the image used by a container? Says by which one. Called without locks. */
	bool (*in_use)(void *arg, const char *id, bool running_only, char who[65]);
	void *arg;
};
/* Docker's rmi: a name is untagged, and the image deleted when it was the last one; an id with several
 * names needs force. Then parents without names go as well unless keep_parents. ERR_CONFLICT with Docker's words. */
int image_remove(struct image_store *store, const char *name, bool force, bool keep_parents,
                 const struct image_removed *told, struct err *err);
/* Images without names (all: also unused ones with names). Returns bytes given back, or -1. */
int64_t image_prune(struct image_store *store, bool all, const struct image_removed *told,
                    struct err *err);

/* ---- using ---- */

/* Directory descriptors of the image's layers, top layer first, for an overlay's lowers. They
 * pin the layers against removal until image_layers_close(). */
struct image_layers {
	int *fds; /* for what *at() calls take; that of a mounted layer is an O_PATH one */
	size_t count;
	int *pins; /* as many: what holds a mounted layer, or -1 */
};
int image_layers_open(struct image_store *store, const char *id, struct image_layers *out,
                      struct err *err);
void image_layers_close(struct image_layers *layers);

/* Holds the image and its layers against garbage collection across calls and restarts, e.g. while a
 * container of it exists. `holder` names who ("container:<id>"). Idempotent. */
int image_lease(struct image_store *store, const char *id, const char *holder, struct err *err);
/* A power cut may bring a released lease back: */
int image_release(struct image_store *store, const char *holder, struct err *err);
/* ... so at its start the owner of all holders releases those that are not `known` any more. */
int image_release_unknown(struct image_store *store, bool (*known)(void *arg, const char *holder),
                          void *arg, struct err *err);

/* ---- making: layers on top (commit, build) ---- */

/* Turns an overlay upper directory into a layer on top of `parent` (chain id, or "" for none): diff as
 * tar, hash, compressed blob, unpacked directory. upper_dir_fd's content may be moved into the store, so it is
 * empty or gone afterwards, when `consume`. *diff_id, *chain_id get 72 bytes. An empty upper gives an empty layer. */
struct image_layer {
	char diff_id[DIGEST_TEXT_MAX];
	char chain_id[DIGEST_TEXT_MAX];
	char blob[DIGEST_TEXT_MAX]; /* compressed form, in blobs/ */
	int64_t blob_size;
	int64_t size;                /* unpacked */
	char index[DIGEST_TEXT_MAX]; /* of the index beside its tar, or "" */
};
int image_layer_from_upper(struct image_store *store, const char *parent, int upper_dir_fd,
                           bool consume, struct image_layer *out, struct err *err);
/* From a tar stream (import, build's COPY by way of a tar, ADD of an archive): any compression. */
int image_layer_from_tar(struct image_store *store, const char *parent, int tar_fd,
                         struct image_layer *out, struct err *err);
/* Directory descriptors of a chain, top first, like image_layers_open(). */
int image_chain_open(struct image_store *store, const char *chain_id, struct image_layers *out,
                     struct err *err);

/* Makes an image of a config document: rootfs.diff_ids must name layers the store has. Gives its id. `names`
 * may be empty. `parent` as in struct image, or "". */
int image_create(struct image_store *store, const char *config_text, size_t config_len,
                 const char *parent, const struct reference *name, char id[DIGEST_TEXT_MAX],
                 struct err *err);

/* Build cache: what key (any text) made which image. Entries die with the image. */
int image_cache_find(struct image_store *store, const char *key, char id[DIGEST_TEXT_MAX],
                     struct err *err); /* 1 found, 0 not */
int image_cache_add(struct image_store *store, const char *key, const char *id, struct err *err);

/* ---- bringing in and sending out ---- */

/* Progress, shaped as Docker's JSON lines: {"id": layer, "status": ..., "progressDetail": {current, total}}.
 * Called from one thread. -1 cancels the work (ERR_CANCELED). Any pointer may be NULL. */
struct image_progress {
	int (*update)(void *arg, const char *id, const char *status, int64_t current,
	              int64_t total);
	void *arg;
};

struct image_auth { /* decoded X-Registry-Auth; NULL members: none */
	const char *username, *password, *identity_token, *server;
	const char *registry_token; /* shown to the registry as it is */
};

/* Fetches and unpacks ref for this platform (or "os/arch"). *out gets the image. Layers that are here are
 * not fetched ("Already exists"). ERR_NOT_FOUND "manifest for x not found", ERR_DENIED (authentication),
 * ERR_UNAVAILABLE (registry), the last three possible only before the first progress line. */
struct image_pulled {
	char id[DIGEST_TEXT_MAX];
	char digest[DIGEST_TEXT_MAX]; /* of the manifest or index that the tag named */
};
int image_pull(struct image_store *store, const struct reference *ref, const char *platform,
               const struct image_auth *auth, const struct image_progress *progress,
               struct image_pulled *out, struct err *err);
int image_push(struct image_store *store, const struct reference *ref,
               const struct image_auth *auth, const struct image_progress *progress,
               char digest[DIGEST_TEXT_MAX], int64_t *manifest_size, struct err *err);
/* Checks credentials against a registry (docker login). */
int image_login(struct image_store *store, const char *server, const struct image_auth *auth,
                struct err *err);

/* A root file system as tar. `changes` are Dockerfile instructions applied by the caller: pass the run config. */
int image_import(struct image_store *store, int tar_fd, const struct reference *name,
                 const char *message, const struct oci_run_config *config, char id[DIGEST_TEXT_MAX],
                 struct err *err);
/* docker-archive or OCI layout in a tar, any compression. loaded(): each name or id. */
int image_load(struct image_store *store, int tar_fd, const struct image_progress *progress,
               int (*loaded)(void *arg, const char *name_or_id, bool is_name), void *arg,
               struct err *err);
/* Writes a tar that is both an OCI layout and a docker-archive, uncompressed. */
int image_save(struct image_store *store, const char *const *names, size_t count, int out_fd,
               struct err *err);

/* The content of a mounted root (or any directory descriptor) as tar: `docker export`. */
int image_export_dir(struct image_store *store, int dir_fd, int out_fd, struct err *err);

/* What `base` (one name, or ".") in dir_fd is, as a tar whose entries begin with `name`; "/" gives absolute names.
 * Directories of other mounts are gone into, those of /proc, /sys and cgroups are not. first_id: the owner that is
 * 0 in the tar, for a container with ids of its own; else 0. */
int image_export_path(struct image_store *store, int dir_fd, const char *base, const char *name,
                      uint32_t first_id, int out_fd, struct err *err);

/* A tar of any compression onto a directory, in the worker: build contexts, `docker cp`, ADD of an
 * archive. Nothing outside dir_fd can change. */
enum image_unpack_flags {
	IMAGE_UNPACK_OWNERS = 1 << 0,    /* owners and devices as they stand in the tar */
	IMAGE_UNPACK_FOLLOW = 1 << 1,    /* parents may be symbolic links, resolved inside dir_fd */
	IMAGE_UNPACK_KEEP_TYPE = 1 << 2, /* a directory never replaces another thing or the reverse
	                                  * (ERR_CONFLICT); dir_fd's own attributes stay */
};
int image_unpack(struct image_store *store, int tar_fd, int dir_fd, unsigned flags,
                 struct err *err);
/* The same by root of the user namespace userns_fd (borrowed): owners are its ids. -1: by ours. */
int image_unpack_as(struct image_store *store, int tar_fd, int dir_fd, int userns_fd,
                    unsigned flags, struct err *err);
/* The same for a build's context: owners are the daemon's, devices are refused. */
int image_unpack_context(struct image_store *store, int tar_fd, int dir_fd, struct err *err);

/* ---- damage ---- */

struct image_damage {
	const char *layer, *diff_id, *blob; /* chain id, and what its bytes should have */
	const char *what;                   /* "blob", "tar, index", ... */
	const char *reason;                 /* of the first */
	char *const *images;                /* ids of those that have the layer; NULL-terminated */
	char *const *holders;               /* of their leases, "container:<id>"; NULL-terminated */
	bool mended;
	const char
		*outcome; /* how it was mended; or why not, and what to do; "" when nobody tried */
};
struct image_check {
	bool repair;
	/* Credentials for a registry that is asked again; NULL, or may give NULL: none. */
	const struct image_auth *(*auth_for)(void *arg, const char *domain);
	void *auth_arg;
	const struct image_progress *progress;                        /* may be NULL */
	int (*damaged)(void *arg, const struct image_damage *damage); /* -1 ends the check */
	void *arg;
};
struct image_checked {
	int64_t layers, bytes, damaged, mended;
};
/* Reads all layers and their blobs from the disk and compares them with their digests; damage is told, and mended if
 * `repair` (mend.h). Everything else goes on meanwhile. Damage is no failure: see *out. */
int image_check(struct image_store *store, const struct image_check *check,
                struct image_checked *out, struct err *err);

struct image_usage {
	int64_t images, layers, layer_bytes, blob_bytes;
};
/* Bytes of the layers that other images have as well; -1. */
int64_t image_shared_size(struct image_store *store, const char *id, struct err *err);
int image_disk_usage(struct image_store *store, struct image_usage *out, struct err *err);
