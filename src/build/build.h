/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * build - a Dockerfile and its context become an image.
 *
 *	struct build_request request = {.context_fd = dir, .dockerfile = "Dockerfile", ...};
 *	build_run(store, &runner, &request, &output, id, err);
 *
 * The context is a directory that the caller has unpacked (image_unpack_context()).
 * RUN goes through `struct build_runner`, which the engine implements with its launcher; so this
 * layer starts no process. Each instruction that changes files makes a layer; the
 * cache key of a step is a hash of the parent's chain and config, the instruction as
 * evaluated, the build arguments in scope (RUN only) and the content of the files it copies.
 *
 * Errors name file and line: "Dockerfile:7: unknown instruction: RNU (did you mean RUN?)".
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "image/image.h"

struct err;
struct log;

struct build_mount {        /* extra bind mounts for RUN, from the request */
	const char *source; /* absolute path on the host, given by the administrator */
	const char *target;
	bool read_only;
};

struct build_step {           /* one RUN */
	const int *lower_fds; /* top first */
	size_t lower_count;
	int upper_fd, work_fd;
	const char *const *argv; /* NULL-terminated, shell included */
	const char *const *env;  /* NULL-terminated "K=V" */
	const char *cwd, *user, *hostname;
	const char *network;            /* "default"/"bridge", "host", "none" */
	const char *const *extra_hosts; /* "name:ip" or NULL */
	const struct build_mount *mounts;
	size_t mount_count;
	int64_t memory_bytes; /* 0: no limit */
	int64_t shm_bytes;
	/* Where its output goes. Returns -1 to cancel. */
	int (*output)(void *arg, int stream, const char *data, size_t len); /* stream 1 or 2 */
	void *arg;
};

struct build_runner {
	/* Runs it to its end. Returns the exit code (0..255), or -1. */
	int (*run)(void *ctx, const struct build_step *step, struct err *err);
	/* "app", "1000:staff" by the passwd and group files below root_fd, for COPY --chown. */
	int (*resolve_user)(void *ctx, const char *user, int root_fd, uint32_t *uid, uint32_t *gid,
	                    struct err *err);
	void *ctx;
};

struct build_request {
	int context_fd;         /* directory; -1: no context (Dockerfile from stdin alone) */
	int scratch_fd;         /* directory on the store's file system, for what is being made */
	const char *dockerfile; /* path in the context */
	const char *dockerfile_text; /* instead of reading it; may be NULL */
	const char *const *tags;     /* NULL-terminated */
	struct json_strmap args;     /* --build-arg; value NULL: unset */
	struct json_strmap labels;
	const char *target; /* stage to stop at; NULL: the last */
	const char *network;
	const char *platform;
	const char *const *extra_hosts;
	const struct build_mount *mounts;
	size_t mount_count;
	int64_t memory_bytes, shm_bytes;
	bool no_cache, pull, quiet;
	const struct image_auth *(*auth_for)(void *arg, const char *domain); /* or NULL */
	void *auth_arg;
};

struct build_output {
	/* Text as Docker's "stream" lines: "Step 3/9 : RUN ...\n", " ---> Using cache\n", ... */
	int (*text)(void *arg, const char *text, size_t len);
	struct image_progress pull;
	/* Image id of the result: Docker's {"aux": {"ID": ...}}. */
	int (*result)(void *arg, const char *id);
	void *arg;
};

int build_run(struct image_store *store, const struct build_runner *runner,
              const struct build_request *request, const struct build_output *output,
              char id[DIGEST_TEXT_MAX], struct err *err);

/* Applies Dockerfile instructions of commit and import (--change) to a run config:
 * CMD ENTRYPOINT ENV EXPOSE LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR HEALTHCHECK. */
int build_apply_changes(const char *const *changes, struct arena *arena,
                        struct oci_run_config *config, struct err *err);
