/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * check - what a create request may say. Whatever we cannot do is an error with a sentence,
 * never ignored: it may be a lock that the user counts on.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/container.h"

struct err;

/* ERR_INVALID, ERR_UNSUPPORTED. */
int check_create(const struct api_container_create *create, struct err *err);

/* "host", "container:x" and so on, as the modes of namespaces have it. */
bool check_mode_is(const char *mode, const char *wanted);
/* "container:x" -> "x"; else NULL. */
const char *check_mode_container(const char *mode);

struct check_security {
	bool no_new_privileges; /* unless =false was said */
	bool docker_caps;       /* caps=docker: the fourteen */
	bool seccomp_unconfined;
	const char *seccomp_json; /* a profile, borrowed; NULL: the default one */
	bool systempaths_unconfined;
};
/* --security-opt. */
int check_security_options(const struct json_strings *options, struct check_security *out,
                           struct err *err);

/* "80/tcp", "8080/udp", "80" (tcp). */
int check_port(const char *text, uint16_t *port, char proto[5], struct err *err);

struct check_log {
	bool none;
	int64_t size_max, files_max;
};
int check_log_config(const struct api_log_config *log, struct check_log *out, struct err *err);

/* -1, or a signal's number: "TERM", "SIGTERM", "15", "RTMIN+3". */
int check_signal(const char *text, struct err *err);
/* "SIGTERM" -> "TERM"; for events: the number. */
