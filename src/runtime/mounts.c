/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/cgroup.h"
#include "runtime/init.h"
#include "runtime/mount_options.h"
#include "runtime/mounts_copy.h"
#include "runtime/rootfs.h"
#include "runtime/spec.h"

#define PROPAGATE_REC     16384UL
#define PROPAGATE_PRIVATE (1UL << 18)
#define LINKS_MAX         40 /* as the kernel has it */

/* ---- targets ---- */

static const char *relative(const char *path)
{
	return path + strspn(path, "/");
}

/* Where a symlink in the image would lead our own set-up astray. */
static bool is_ours(const char *path)
{
	static const char *const tops[] = {"dev", "proc", "sys"};

	path = relative(path);
	for (size_t i = 0; i < ARRAY_LEN(tops); i++) {
		size_t len = strlen(tops[i]);
		if (strncmp(path, tops[i], len) == 0 && (path[len] == '/' || path[len] == '\0'))
			return true;
	}
	return false;
}

int rootfs_open(const struct rootfs *fs, const char *path, struct err *err)
{
	path = *relative(path) ? relative(path) : ".";
	if (is_ours(path))
		return fs_open(fs->root_fd, path, O_PATH, 0, err);
	return fs_open_in(fs->root_fd, path, O_PATH, 0, err);
}

/* Images come with a resolv.conf that is a link to what only a boot makes. Where such a link leads is where the
 * file is made: one link is read at a time, and each lookup stays in the root. false: the links go nowhere. */
static bool follow_links(const struct rootfs *fs, char path[PATH_MAX])
{
	for (int i = 0; i < LINKS_MAX; i++) {
		const char *base;
		auto_buf struct buf target = BUF_INIT(PATH_MAX);
		auto_close int parent = fs_open_parent_in(fs->root_fd, path, &base, NULL);

		if (parent < 0 || fs_readlink(parent, base, &target, NULL) < 0)
			return true; /* to be made, its directories too perhaps */
		const char *to = buf_str(&target);
		size_t keep = *to == '/' ? 0 : (size_t)(base - path);
		if (*relative(to) == '\0' || keep + strlen(to) >= PATH_MAX)
			return false;
		memcpy(path + keep, to, strlen(to) + 1);
	}
	return false;
}

static int make_file(const struct rootfs *fs, const char *path, struct err *err)
{
	const char *base = strrchr(path, '/');
	auto_close int parent = -1;

	if (base) {
		char dir[PATH_MAX];
		snprintf(dir, sizeof(dir), "%.*s", (int)(base - path), path);
		parent = is_ours(path) ? fs_mkdir_all(fs->root_fd, dir, 0755, err)
		                       : fs_mkdir_all_in(fs->root_fd, dir, 0755, err);
		if (parent < 0)
			return -1;
	}
	auto_close int fd = fs_open(base ? parent : fs->root_fd, base ? base + 1 : path,
	                            O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644, err);
	return fd < 0 ? -1 : 0;
}

static int make_file_at(const struct rootfs *fs, const char *path, struct err *err)
{
	char real[PATH_MAX];

	if (is_ours(path))
		return make_file(fs, path, err);
	if (strlen(path) >= sizeof(real))
		return err_set(err, ERR_LIMIT, "the path is too long");
	memcpy(real, path, strlen(path) + 1);
	if (!follow_links(fs, real))
		return err_set(err, ERR_INVALID, "the image has a link there that leads nowhere");
	return make_file(fs, relative(real), err);
}

int rootfs_open_target(const struct rootfs *fs, const char *destination, bool directory,
                       struct err *err)
{
	const char *path = relative(destination);
	struct err why = ERR_INIT;
	int fd = rootfs_open(fs, path, &why);

	if (fd >= 0)
		return fd;
	if (why.kind != ERR_NOT_FOUND) {
		if (err)
			*err = why;
		return -1;
	}
	if (directory)
		return is_ours(path) ? fs_mkdir_all(fs->root_fd, path, 0755, err)
		                     : fs_mkdir_all_in(fs->root_fd, path, 0755, err);
	if (make_file_at(fs, path, err) < 0)
		return -1;
	return rootfs_open(fs, path, err);
}

static int attach(const struct rootfs *fs, int mount_fd, const char *destination, struct err *err)
{
	struct stat st, target;

	if (fstat(mount_fd, &st) < 0)
		return err_sys(err, "stat mount");
	auto_close int fd = rootfs_open_target(fs, destination, S_ISDIR(st.st_mode), err);
	if (fd < 0)
		return -1;
	if (fstat(fd, &target) < 0)
		return err_sys(err, "stat target");
	if (S_ISDIR(st.st_mode) != S_ISDIR(target.st_mode))
		return err_set(err, ERR_INVALID, "%s onto %s",
		               S_ISDIR(st.st_mode) ? "a directory cannot be mounted"
		                                   : "a file cannot be mounted",
		               S_ISDIR(target.st_mode) ? "a directory" : "what is not one");
	return fs_mount_attach(mount_fd, fd, err);
}

static int apply_propagation(int mount_fd, const struct mount_plan *plan, bool bind,
                             struct err *err)
{
	for (size_t i = 0; i < plan->propagation_count; i++)
		if (fs_mount_setattr(mount_fd, 0, 0, plan->propagation[i] & ~PROPAGATE_REC,
		                     plan->propagation[i] & PROPAGATE_REC, err) < 0)
			return -1;
	/* A clone is a peer of its source; nothing leaks either way unless it was asked for. */
	if (bind && !plan->remount && plan->propagation_count == 0)
		return fs_mount_setattr(mount_fd, 0, 0, PROPAGATE_PRIVATE, true, err);
	return 0;
}

static int apply_plan(int mount_fd, const struct mount_plan *plan, bool bind, struct err *err)
{
	if ((plan->rec_set || plan->rec_clear) &&
	    fs_mount_setattr(mount_fd, plan->rec_set, plan->rec_clear, 0, true, err) < 0)
		return -1;
	if (bind && (plan->attr_set || plan->attr_clear) &&
	    fs_mount_setattr(mount_fd, plan->attr_set, plan->attr_clear, 0, false, err) < 0)
		return -1;
	return apply_propagation(mount_fd, plan, bind, err);
}

/* ---- the kinds ---- */

static int mount_bind(struct rootfs *fs, size_t index, const struct oci_mount *m, struct err *err)
{
	int fd = fs->plan->mount_fds[index];

	if (apply_plan(fd, m->plan, true, err) < 0)
		return -1;
	return attach(fs, fd, m->destination, err);
}

static int limit_view(const struct rootfs *fs, const struct oci_mount *m, size_t index,
                      struct err *err)
{
	return fs_mount_setattr(fs->plan->cgroup_fds[index], m->plan->attr_set, m->plan->attr_clear,
	                        PROPAGATE_PRIVATE, false, err);
}

/* Below tmp_fd, which nobody else sees yet. */
static int attach_hierarchy(const struct rootfs *fs, const struct oci_mount *m, size_t index,
                            int tmp_fd, const char *name, struct err *err)
{
	if (limit_view(fs, m, index, err) < 0 || fs_mkdir(tmp_fd, name, 0755, err) < 0)
		return -1;
	auto_close int target = fs_open(tmp_fd, name, O_PATH | O_DIRECTORY, 0, err);
	return target < 0 ? -1 : fs_mount_attach(fs->plan->cgroup_fds[index], target, err);
}

/* Version 2 alone: the container's own directory. Version 1: a tmpfs with one directory per
 * hierarchy, named as on the host, each showing only the container's own part. */
static int mount_cgroup(struct rootfs *fs, const struct oci_mount *m, struct err *err)
{
	struct cgroup *cg = fs->plan->cgroup;
	size_t count = cg ? cgroup_hierarchy_count(cg) : 0;
	const char *name;
	bool v2 = false;

	if (count == 1)
		(void)cgroup_hierarchy_fd(cg, 0, &name, &v2);
	if (count == 1 && v2)
		return limit_view(fs, m, 0, err) < 0
		               ? -1
		               : attach(fs, fs->plan->cgroup_fds[0], m->destination, err);

	const struct fs_mount_option options[] = {{"mode", "755"}, {"size", "64k"}};
	auto_close int tmp =
		fs_mount_detached("tmpfs", "cgroup", options, ARRAY_LEN(options),
	                          MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, err);
	if (tmp < 0 || attach(fs, tmp, m->destination, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (cgroup_hierarchy_fd(cg, i, &name, &v2) < 0)
			continue;
		if (attach_hierarchy(fs, m, i, tmp, name, err) < 0)
			return -1;
	}
	if (m->plan->attr_set & MOUNT_ATTR_RDONLY)
		return fs_mount_setattr(tmp, MOUNT_ATTR_RDONLY, 0, 0, false, err);
	return 0;
}

/* A read-only tmpfs is filled first, so its attribute comes after. */
static int copy_up(const struct rootfs *fs, const char *destination, int mount_fd, struct err *err)
{
	struct err why = ERR_INIT;
	auto_close int target = rootfs_open(fs, destination, &why);

	if (target < 0 && why.kind == ERR_NOT_FOUND)
		return 0;
	if (target < 0) {
		if (err)
			*err = why;
		return -1;
	}
	auto_close int from = fs_open_dir(target, ".", err);
	auto_close int to = from < 0 ? -1 : fs_open_dir(mount_fd, ".", err);
	return to < 0 ? -1 : mounts_copy(from, to, err);
}

/* SELinux labels the files of a file system that is made; those of the kernel have labels of their own. */
static int make_fs(const struct rootfs *fs, const struct oci_mount *m, unsigned attr,
                   struct err *err)
{
	const struct mount_plan *plan = m->plan;
	const char *label = fs->plan->spec->linux_.mount_label;

	if (str_empty(label) || str_eq(m->type, "proc") || str_eq(m->type, "sysfs"))
		return fs_mount_detached(m->type, m->source, plan->data, plan->data_count, attr,
		                         err);
	auto_free struct fs_mount_option *data = calloc(plan->data_count + 1, sizeof(*data));
	if (!data)
		return err_nomem(err);
	for (size_t i = 0; i < plan->data_count; i++)
		data[i] = plan->data[i];
	data[plan->data_count] = (struct fs_mount_option){"context", label};
	int fd = fs_mount_detached(m->type, m->source, data, plan->data_count + 1, attr, err);
	return fd < 0 ? err_wrap(err, "linux.mountLabel") : fd;
}

static int mount_fs(struct rootfs *fs, size_t index, const struct oci_mount *m, struct err *err)
{
	const struct mount_plan *plan = m->plan;

	if (fs->plan->dev_made && str_eq(m->destination, "/dev")) /* by the parent */
		return attach(fs, fs->plan->mount_fds[index], m->destination, err);
	unsigned attr = (unsigned)plan->attr_set & ~(plan->copy_up ? MOUNT_ATTR_RDONLY : 0U);
	auto_close int fd = make_fs(fs, m, attr, err);

	if (fd < 0)
		return -1;
	if (plan->idmap &&
	    fs_mount_idmap(fd, fs->plan->mount_fds[index], plan->idmap_recursive, err) < 0)
		return -1;
	if (plan->copy_up && copy_up(fs, m->destination, fd, err) < 0)
		return -1;
	if (apply_plan(fd, plan, plan->copy_up, err) < 0)
		return -1;
	return attach(fs, fd, m->destination, err);
}

/* Changes what is named of a mount that is there, and leaves the rest, as mount(8) does. */
static int remount(const struct rootfs *fs, const struct oci_mount *m, struct err *err)
{
	const struct mount_plan *plan = m->plan;
	auto_close int target = rootfs_open(fs, m->destination, err);

	if (target < 0)
		return -1;
	if (plan->data_count > 0 &&
	    fs_mount_reconfigure(target, plan->data, plan->data_count, err) < 0)
		return -1;
	return apply_plan(target, plan, true, err) < 0 ? err_wrap(err, "remount") : 0;
}

int rootfs_mount(struct rootfs *fs, size_t index, struct err *err)
{
	const struct oci_mount *all = fs->plan->spec->mounts.items;
	const struct oci_mount *m = &all[index];
	int rc;

	if (m->plan->remount)
		rc = remount(fs, m, err);
	else if (m->plan->bind)
		rc = mount_bind(fs, index, m, err);
	else if (str_eq(m->type, "cgroup") || str_eq(m->type, "cgroup2"))
		rc = mount_cgroup(fs, m, err);
	else
		rc = mount_fs(fs, index, m, err);
	if (rc < 0)
		return err_wrap(err, "mounts[%zu] (%s)", index, m->destination);
	return 0;
}
