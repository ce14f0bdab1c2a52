/* SPDX-License-Identifier: Apache-2.0 */
/* What a confined supervisor may still do to cgroups. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/landlock.h"
#include "base/str.h"
#include "runtime/cgroup_impl.h"

#define USUAL_TOP "/sys/fs/cgroup"

/* The way down is looked up, and what is removed is removed from its parent; no file up there is written. */
static int allow_top(int rules_fd, const char *mount, struct err *err)
{
	auto_close int fd = fs_trusted_open(mount, O_PATH | O_DIRECTORY, 0, err);

	return fd < 0 ? -1 : landlock_allow(rules_fd, fd, LANDLOCK_READ | LANDLOCK_RMDIR, err);
}

/* An update may need a controller that has to be handed down first (cgroup_require()). */
static int allow_handing_down(const struct cgroup *cg, const struct cgroup_place *place,
                              int rules_fd, struct err *err)
{
	int fd = fs_trusted_open(place->hierarchy.mount, O_PATH | O_DIRECTORY, 0, err);

	for (const char *p = cg->path + 1; fd >= 0; p += strcspn(p, "/") + 1) {
		auto_close int dir = fd;
		auto_close int file = fs_open(dir, "cgroup.subtree_control", O_PATH, 0, NULL);
		char name[256];
		if (file >= 0 && landlock_allow(rules_fd, file, LANDLOCK_WRITE, err) < 0)
			return -1;
		if (!strchr(p, '/')) /* what is left is the cgroup itself */
			return 0;
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(p, "/"), p);
		fd = fs_open(dir, name, O_PATH | O_DIRECTORY, 0, err);
	}
	return -1;
}

int cgroup_allow(const struct cgroup *cg, int rules_fd, struct err *err)
{
	bool usual = false;

	for (size_t i = 0; i < cg->count; i++) {
		const struct cgroup_place *place = &cg->places[i];
		bool below = str_starts(place->hierarchy.mount, USUAL_TOP);
		if (place->fd < 0)
			continue;
		if (landlock_allow(rules_fd, place->fd,
		                   LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_RMDIR, err) < 0)
			return -1;
		/* Usually one rule will do for all. */
		if ((!below || !usual) &&
		    allow_top(rules_fd, below ? USUAL_TOP : place->hierarchy.mount, err) < 0)
			return -1;
		usual |= below;
		if (place->hierarchy.v2 && allow_handing_down(cg, place, rules_fd, err) < 0)
			return -1;
	}
	return 0;
}
