/* SPDX-License-Identifier: Apache-2.0 */
/* From a container's cgroup to one that was made below it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "runtime/cgroup_impl.h"

/* Do two comma-separated lists have a word in common? */
static bool overlap(const char *a, const char *b)
{
	for (const char *p = a; *p; p += strcspn(p, ","), p += *p == ',')
		for (const char *q = b; *q; q += strcspn(q, ","), q += *q == ',') {
			size_t len = strcspn(p, ",");
			if (len > 0 && len == strcspn(q, ",") && strncmp(p, q, len) == 0)
				return true;
		}
	return false;
}

static int enter(struct cgroup_place *place, const char *path, struct err *err)
{
	auto_close int fd = fs_open_dir(place->fd, path, err);
	auto_close int join = fd < 0 ? -1
	                             : fs_open(fd, place->hierarchy.v2 ? "cgroup.procs" : "tasks",
	                                       O_WRONLY, 0, err);

	if (join < 0)
		return err_wrap(err, "--cgroup: %s in %s", path, place->hierarchy.mount);
	int n = snprintf(place->below, sizeof(place->below), "/%s", path);
	if (n >= (int)sizeof(place->below))
		return err_set(err, ERR_LIMIT, "--cgroup: the path is too long");
	cleanup_close(&place->fd);
	cleanup_close(&place->join_fd);
	place->fd = move_fd(&fd);
	place->join_fd = move_fd(&join);
	return 0;
}

int cgroup_descend(struct cgroup *cg, const char *where, struct err *err)
{
	const char *colon = strchr(where, ':'), *path = colon ? colon + 1 : where;
	char controllers[128] = "";
	bool found = false;

	if (colon && colon - where >= (ptrdiff_t)sizeof(controllers))
		return err_set(err, ERR_LIMIT, "--cgroup: the list of controllers is too long");
	if (colon)
		snprintf(controllers, sizeof(controllers), "%.*s", (int)(colon - where), where);
	path += strspn(path, "/");
	if (!*path)
		return err_set(err, ERR_INVALID, "--cgroup: '%s' names no cgroup", where);
	for (size_t i = 0; i < cg->count; i++) {
		struct cgroup_place *place = &cg->places[i];
		if (place->fd < 0 ||
		    (*controllers && !overlap(controllers, place->hierarchy.controllers)))
			continue;
		if (enter(place, path, err) < 0)
			return -1;
		found = true;
	}
	if (!found)
		return err_set(err, ERR_NOT_FOUND,
		               "--cgroup: no hierarchy has a controller of '%s'", controllers);
	return 0;
}
