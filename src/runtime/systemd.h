/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * systemd - a container's cgroup as a transient scope of the system's or the user's service manager.
 *
 *	struct systemd_scope scope;
 *	systemd_parse("machine.slice:buoy:web", "web", &scope, err);    // machine.slice, buoy-web.scope
 *	systemd_start(&scope, &resources, pid, path, err);     // pid is in the scope now; path: its cgroup
 *
 * The manager owns what is above the scope and knows its limits, so that a reload of it does not undo them; everything
 * below is ours (Delegate=). We speak to it through busctl(1), which is part of systemd: this program is static
 * and may load no library. Nothing here is called unless a container asked for it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "runtime/cgroup.h"

struct err;
struct oci_resources;

#define SYSTEMD_NAME_MAX 256

struct systemd_scope {
	char slice[SYSTEMD_NAME_MAX]; /* "machine.slice"; "": the manager's own choice */
	char unit[SYSTEMD_NAME_MAX];  /* "buoy-web.scope" */
	bool user;                    /* of the calling user's manager */
};

/* cgroupsPath as engines give it with this driver: "slice:prefix:name"; NULL or "": ":buoy:<id>". ERR_INVALID. */
int systemd_parse(const char *cgroups_path, const char *id, bool user, struct systemd_scope *out,
                  struct err *err);
/* "a-b.slice" -> "/a.slice/a-b.slice", "-.slice" and "" -> "". ERR_INVALID. */
int systemd_slice_path(const char *slice, char path[CGROUP_PATH_MAX], struct err *err);

/* Makes the scope with `member` in it; path: where the manager has put it, below each hierarchy's mount. ERR_NOT_FOUND:
 * no busctl; ERR_SYSTEM with the manager's words; ERR_TIMEOUT. */
int systemd_start(const struct systemd_scope *scope, const struct oci_resources *resources, bool v2,
                  pid_t member, char path[CGROUP_PATH_MAX], struct err *err);
/* Other limits, until the next boot. */
int systemd_update(const struct systemd_scope *scope, const struct oci_resources *resources,
                   bool v2, struct err *err);
/* Ends it; gone is success. */
int systemd_stop(const struct systemd_scope *scope, struct err *err);

/* The limits as words for busctl: name, signature, value, ... Here for tests. */
#define SYSTEMD_WORDS_MAX 512
struct systemd_words {
	const char *items[SYSTEMD_WORDS_MAX + 1];
	size_t count;      /* of items */
	size_t properties; /* that they make */
	char text[16384];  /* what items point into, where they are made up */
	size_t used;
	bool full;
};
void systemd_add_limits(const struct oci_resources *resources, bool v2,
                        struct systemd_words *words);
