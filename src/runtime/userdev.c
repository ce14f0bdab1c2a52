/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/userdev.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/init.h"
#include "runtime/mount_options.h"
#include "runtime/rootfs.h"
#include "runtime/spawn.h"
#include "runtime/spec.h"

#define NOBODY 65534U

/* The id out here of one in there. */
static unsigned host_id(const struct json_array *maps, int64_t id)
{
	const struct oci_idmap *all = maps->items;

	for (size_t i = 0; i < maps->count; i++)
		if (id >= all[i].container_id && id - all[i].container_id < all[i].size)
			return (unsigned)(all[i].host_id + (id - all[i].container_id));
	return NOBODY;
}

static int give(const struct oci_linux *l, int dir_fd, const char *name, const int64_t ids[2],
                struct err *err)
{
	if (fchownat(dir_fd, name, host_id(&l->uid_mappings, ids[0]),
	             host_id(&l->gid_mappings, ids[1]), AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0)
		return err_sys(err, "chown %s", name);
	return 0;
}

static int make_node(const struct oci_linux *l, int dir_fd, const char *name,
                     const struct oci_device *d, struct err *err)
{
	mode_t type = *d->type == 'b' ? S_IFBLK : *d->type == 'p' ? S_IFIFO : S_IFCHR;
	mode_t mode = d->mode == SPEC_UNSET ? 0666 : (mode_t)d->mode;
	const int64_t ids[2] = {d->uid, d->gid};

	/* Named twice, or one of the usual ones: the last word counts. */
	if (fs_unlink(dir_fd, name, err) < 0 ||
	    fs_mknod(dir_fd, name, type | mode, makedev((unsigned)d->major, (unsigned)d->minor),
	             err) < 0)
		return -1;
	return give(l, dir_fd, name, ids, err);
}

static int make_device(const struct oci_spec *spec, int dev_fd, const struct oci_device *d,
                       struct err *err)
{
	const char *path = d->path + strlen("/dev/"), *base = strrchr(path, '/');
	const int64_t root[2] = {0, 0};
	char dir[4096];

	if (str_eq(path, "ptmx") && spec_mount(spec, "/dev/pts"))
		return 0;
	if (!base)
		return make_node(&spec->linux_, dev_fd, path, d, err);
	snprintf(dir, sizeof(dir), "%.*s", (int)(base - path), path);
	auto_close int fd = fs_mkdir_all(dev_fd, dir, 0755, err);
	if (fd < 0 || give(&spec->linux_, fd, "", root, err) < 0)
		return -1;
	return make_node(&spec->linux_, fd, base + 1, d, err);
}

static int fill(const struct oci_spec *spec, int dev_fd, struct err *err)
{
	const struct oci_device *all = spec->linux_.devices.items;
	const int64_t root[2] = {0, 0};

	if (give(&spec->linux_, dev_fd, "", root, err) < 0)
		return -1;
	for (size_t i = 0; i < ROOTFS_DEVICES; i++) {
		const struct oci_device usual = {.type = (char *)"c",
		                                 .major = rootfs_devices[i].major,
		                                 .minor = rootfs_devices[i].minor,
		                                 .mode = SPEC_UNSET};
		if (make_node(&spec->linux_, dev_fd, rootfs_devices[i].name, &usual, err) < 0)
			return err_wrap(err, "/dev/%s", rootfs_devices[i].name);
	}
	for (size_t i = 0; i < spec->linux_.devices.count; i++)
		if (str_starts(all[i].path, "/dev/") && make_device(spec, dev_fd, &all[i], err) < 0)
			return err_wrap(err, "linux.devices[%zu] (%s)", i, all[i].path);
	return 0;
}

int userdev_make(struct init_plan *plan, struct err *err)
{
	const struct oci_mount *all = plan->spec->mounts.items;
	size_t i = 0;

	/* Of one that is joined by path the maps are not ours to know: the host's nodes are bound in there. */
	if (!plan->in_userns || plan->options->userns_fd <= 0)
		return 0;
	while (i < plan->spec->mounts.count && !str_eq(all[i].destination, "/dev"))
		i++;
	if (i == plan->spec->mounts.count || !str_eq(all[i].type, "tmpfs"))
		return 0;
	const struct mount_plan *m = all[i].plan;
	auto_close int fd = fs_mount_detached("tmpfs", all[i].source, m->data, m->data_count,
	                                      (unsigned)m->attr_set, err);
	if (fd < 0)
		return -1;
	mode_t mask = umask(0);
	int rc = fill(plan->spec, fd, err);
	umask(mask);
	if (rc < 0)
		return -1;
	plan->mount_fds[i] = move_fd(&fd);
	plan->dev_made = true;
	return 0;
}

void userdev_give_stdio(const struct init_plan *plan)
{
	const int fds[3] = {plan->options->stdin_fd, plan->options->stdout_fd,
	                    plan->options->stderr_fd};
	const struct oci_linux *l = &plan->spec->linux_;
	struct stat st;

	if (l->uid_mappings.count == 0)
		return;
	for (size_t i = 0; i < 3; i++)
		if (fstat(fds[i], &st) == 0 && S_ISFIFO(st.st_mode))
			(void)!fchown(fds[i], host_id(&l->uid_mappings, plan->process->user.uid),
			              host_id(&l->gid_mappings, plan->process->user.gid));
}
