/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * spec - the OCI config of a container, from what was asked for and what was found out.
 *
 * Pure: reads no file but the devices named in the request. The result says everything; the
 * runtime adds no policy. OCI runtime spec 1.2, config.md and config-linux.md.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/user.h"

struct config;
struct err;
struct json;
struct json_strings;

struct spec_files { /* absolute paths; NULL: not mounted */
	const char *hosts, *hostname, *resolv_conf;
};

struct spec_input {
	const char *id;
	uint32_t first_id; /* see ids.h; 0: the host's ids */
	const struct config *config;
	const struct user *user;
	const char *netns_path;          /* NULL: the host's */
	const char *ipc_path, *pid_path; /* of container:x; NULL: none */
	struct spec_files files;
	bool memory_v2; /* spec_memory_is_v2() of this machine */
};

/* The caller owns the result. ERR_INVALID, ERR_UNSUPPORTED with the option's name. */
struct json *spec_build(const struct spec_input *input, struct err *err);

/* The capabilities after --cap-add, --cap-drop, --privileged: "CAP_X", NULL-terminated. */
#define SPEC_CAPS_MAX 64
/* A capability's bit, 0 for an unknown name; the name of bit n, "CAP_UNKNOWN" for one that came later. */
uint64_t spec_capability_mask(const char *name);
const char *spec_capability_name(unsigned n);

enum spec_caps {
	SPEC_CAPS_TEN,    /* a container's */
	SPEC_CAPS_DOCKER, /* and MKNOD, NET_RAW, SETFCAP, AUDIT_WRITE */
	SPEC_CAPS_ALL,
};
int spec_capabilities(const struct json_strings *add, const struct json_strings *drop,
                      enum spec_caps set, const char *caps[SPEC_CAPS_MAX], struct err *err);

/* linux.resources. */
struct api_host_config;
struct json *spec_resources(const struct api_host_config *host, bool memory_v2, struct err *err);
/* Whether memory is limited by cgroup version 2, which has neither swappiness nor a way to do without the OOM killer.
 * mountinfo: of /proc/self. */
bool spec_memory_is_v2(const char *mountinfo);

/* An OCI process for exec in a container of this config; env are added to the container's own. */
struct api_exec_create;
struct json *spec_exec_process(const struct config *config, const struct api_exec_create *create,
                               const struct user *user, struct err *err);
