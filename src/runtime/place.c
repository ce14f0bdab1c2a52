/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/place.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"
#include "runtime/spec.h"
#include "runtime/systemd.h"

static const char *const names[] = {"cgroupfs", "systemd", "systemd-user", "disabled"};

const char *place_manager_name(enum place_manager manager)
{
	return names[manager];
}

int place_parse_manager(const char *name, enum place_manager *out, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eq(names[i], name)) {
			*out = (enum place_manager)i;
			return 0;
		}
	return err_set(err, ERR_INVALID, "'%s' is no cgroup manager", name ? name : "");
}

static bool by_systemd(enum place_manager manager)
{
	return manager == PLACE_SYSTEMD || manager == PLACE_SYSTEMD_USER;
}

static int parse_scope(enum place_manager manager, const struct oci_spec *spec, const char *id,
                       struct systemd_scope *scope, struct err *err)
{
	return systemd_parse(spec->linux_.cgroups_path, id, manager == PLACE_SYSTEMD_USER, scope,
	                     err);
}

struct cgroup *place_open(const struct place *place, const struct oci_spec *spec, const char *id,
                          struct err *err)
{
	struct cgroup_layout layout;
	char path[CGROUP_PATH_MAX];

	if (place->manager == PLACE_NONE) {
		err_set(err, ERR_UNSUPPORTED,
		        "container %s has no cgroup: it was made with "
		        "--cgroup-manager disabled, or by a user who has none",
		        id);
		return NULL;
	}
	if (by_systemd(place->manager) && str_empty(place->path)) {
		err_set(err, ERR_NOT_FOUND, "container %s has no cgroup yet", id);
		return NULL;
	}
	const char *wanted = str_empty(place->path) ? spec->linux_.cgroups_path : place->path;
	if (cgroup_make_path(wanted, id, path, err) < 0 || cgroup_layout_read(&layout, err) < 0)
		return NULL;
	return cgroup_open(&layout, path, err);
}

/* ---- making ---- */

static _Noreturn void hold(void)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	(void)close_range(0, ~0U, 0);
	for (;;)
		pause();
}

/* Where limits of memory are: a machine with both versions keeps them in version 1. */
static bool limits_are_v2(const struct cgroup_layout *layout)
{
	bool v2 = false;

	for (size_t i = 0; i < layout->count; i++) {
		if (strstr(layout->hierarchies[i].controllers, "memory"))
			return false;
		v2 |= layout->hierarchies[i].v2;
	}
	return v2;
}

/* A scope is made around a process, and the container's first one is not born yet. */
static struct cgroup *make_scope(const struct cgroup_layout *layout, enum place_manager manager,
                                 const struct oci_spec *spec, const char *id, pid_t *holder,
                                 struct err *err)
{
	struct systemd_scope scope;
	char path[CGROUP_PATH_MAX];

	if (parse_scope(manager, spec, id, &scope, err) < 0)
		return NULL;
	*holder = fork();
	if (*holder == 0)
		hold();
	if (*holder < 0) {
		err_sys(err, "fork");
		return NULL;
	}
	struct cgroup *cg = NULL;
	if (systemd_start(&scope, &spec->linux_.resources, limits_are_v2(layout), *holder, path,
	                  err) == 0)
		cg = cgroup_adopt(layout, path, err);
	if (!cg)
		place_release(holder); /* an empty scope ends by itself */
	return cg;
}

static int make(enum place_manager manager, const struct oci_spec *spec, const char *id,
                struct cgroup **out, pid_t *holder, struct err *err)
{
	struct cgroup_layout layout;
	char path[CGROUP_PATH_MAX];
	const char *wanted = spec->linux_.cgroups_path;

	*out = NULL;
	*holder = -1;
	if (manager == PLACE_NONE)
		return 0;
	if (cgroup_layout_read(&layout, err) < 0)
		return -1;
	if (layout.count == 0 && (!str_empty(wanted) || by_systemd(manager)))
		return err_set(err, ERR_UNSUPPORTED,
		               "linux.cgroupsPath: no cgroup hierarchy is mounted here");
	if (layout.count == 0)
		return 0;
	if (by_systemd(manager)) {
		*out = make_scope(&layout, manager, spec, id, holder, err);
		return *out ? 0 : -1;
	}
	if (wanted && strstr(wanted, ".slice:"))
		return err_set(err, ERR_INVALID,
		               "linux.cgroupsPath: '%s' is for systemd's cgroups: give "
		               "--systemd-cgroup",
		               wanted);
	if (cgroup_make_path(wanted, id, path, err) < 0)
		return -1;
	*out = cgroup_create(&layout, path, err);
	return *out ? 0 : -1;
}

int place_make(const struct place *place, const struct oci_spec *spec, const char *id,
               struct cgroup **out, pid_t *holder, struct err *err)
{
	struct err why = ERR_INIT;

	/* As the kernel has cgroups: programs read their limits there, whoever they are. */
	mode_t mask = umask(022);
	int rc = make(place->manager, spec, id, out, holder, &why);

	umask(mask);
	if (rc < 0 && place->may_do_without && (why.kind == ERR_DENIED || why.sys == EROFS)) {
		fprintf(stderr, "buoy-runtime: warning: no cgroup, no limits: %s\n", why.msg);
		return 0;
	}
	if (rc < 0 && err)
		*err = why;
	return rc;
}

void place_release(pid_t *holder)
{
	if (*holder <= 0)
		return;
	(void)kill(*holder, SIGKILL);
	while (waitpid(*holder, NULL, 0) < 0 && errno == EINTR)
		;
	*holder = -1;
}

/* ---- later ---- */

int place_forget(const struct place *place, const struct oci_spec *spec, const char *id,
                 struct err *err)
{
	struct systemd_scope scope;

	if (!by_systemd(place->manager) || str_empty(place->path))
		return 0;
	if (parse_scope(place->manager, spec, id, &scope, err) < 0)
		return -1;
	return systemd_stop(&scope, err);
}

int place_tell(const struct place *place, const struct oci_spec *spec, const char *id,
               const struct oci_resources *resources, struct cgroup *cg, struct err *err)
{
	struct systemd_scope scope;

	if (!by_systemd(place->manager))
		return 0;
	if (parse_scope(place->manager, spec, id, &scope, err) < 0)
		return -1;
	return systemd_update(&scope, resources, cgroup_controller_is_v2(cg, "memory"), err);
}
