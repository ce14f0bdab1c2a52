/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/fs_lookup.h"

/* fs_mount - mounts by descriptor; see fs.h. */

#define LOG_LINES 16 /* messages that the kernel keeps per context */

/* Appends the kernel's messages ("e overlay: ...") to *err and keeps its kind. errno of
 * the failed call must still stand. */
static int context_failed(int context, const char *type, const char *what, struct err *err)
{
	int saved = errno;
	auto_buf struct buf words = BUF_INIT(ERR_MSG_MAX);
	char line[256];

	for (int i = 0; i < LOG_LINES; i++) {
		ssize_t n = read(context, line, sizeof(line) - 1); /* one message a read */

		if (n <= 0)
			break;
		line[n] = '\0';
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == 'e' && line[1] == ' ')
			buf_addf(&words, " (%s)", line + 2);
	}
	errno = saved;
	return err_sys(err, "mount %s: %s%s", type, what, buf_str(&words));
}

static int set_option(int context, const char *type, const struct fs_mount_option *option,
                      struct err *err)
{
	unsigned command = option->value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;

	if (fsconfig(context, command, option->key, option->value, 0) < 0)
		return context_failed(context, type, option->key, err);
	return 0;
}

int fs_mount_detached(const char *type, const char *source, const struct fs_mount_option *options,
                      size_t count, unsigned attr, struct err *err)
{
	auto_close int context = fsopen(type, FSOPEN_CLOEXEC);

	if (context < 0)
		return err_sys(err, "mount %s", type);
	if (source &&
	    set_option(context, type, &(struct fs_mount_option){"source", source}, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (set_option(context, type, &options[i], err) < 0)
			return -1;
	if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return context_failed(context, type, "create", err);

	int mount_fd = fsmount(context, FSMOUNT_CLOEXEC, attr);
	return mount_fd < 0 ? context_failed(context, type, "attributes", err) : mount_fd;
}

int fs_mount_clone(int fd, bool recursive, struct err *err)
{
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
	int clone = open_tree(fd, "", flags | (recursive ? AT_RECURSIVE : 0));

	return clone < 0 ? err_sys(err, "clone a mount") : clone;
}

int fs_mount_setattr(int mount_fd, uint64_t set, uint64_t clear, uint64_t propagation,
                     bool recursive, struct err *err)
{
	struct mount_attr attr = {.attr_set = set, .attr_clr = clear, .propagation = propagation};
	unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);

	if (mount_setattr(mount_fd, "", flags, &attr, sizeof(attr)) < 0)
		return err_sys(err, "change a mount's attributes");
	return 0;
}

int fs_mount_attach(int mount_fd, int target_fd, struct err *err)
{
	if (move_mount(mount_fd, "", target_fd, "",
	               MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_sys(err, "attach a mount");
	return 0;
}

int fs_unmount(int dir_fd, const char *name, struct err *err)
{
	struct err why = ERR_INIT;
	const char *base;
	auto_close int parent = fs_lookup_parent(dir_fd, name, FS_OWN, &base, &why);
	char path[FS_PROC_PATH + NAME_MAX + 1];

	if (parent < 0 && why.sys == ENOENT)
		return 0;
	if (parent < 0) {
		if (err)
			*err = why;
		return -1;
	}
	/* umount2 knows paths only; this one cannot be led elsewhere. */
	if (snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", parent, base) >=
	    (int)sizeof(path)) {
		errno = ENAMETOOLONG;
		return err_sys(err, "%.100s...", name);
	}
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT)
		return 0;
	return err_sys(err, "unmount %s", name);
}

int fs_mount_propagation_root(unsigned long propagation, struct err *err)
{
	if (mount(NULL, "/", NULL, MS_REC | propagation, NULL) < 0)
		return err_sys(err, "propagation of /");
	return 0;
}

int fs_mount_idmap(int mount_fd, int userns_fd, bool recursive, struct err *err)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (unsigned)userns_fd};
	unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);

	if (mount_setattr(mount_fd, "", flags, &attr, sizeof(attr)) < 0)
		return err_sys(err, "map a mount's ids");
	return 0;
}

int fs_mount_reconfigure(int target_fd, const struct fs_mount_option *options, size_t count,
                         struct err *err)
{
	auto_close int context = fspick(target_fd, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);

	if (context < 0)
		return err_sys(err, "remount");
	for (size_t i = 0; i < count; i++)
		if (set_option(context, "again", &options[i], err) < 0)
			return -1;
	if (fsconfig(context, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
		return context_failed(context, "again", "reconfigure", err);
	return 0;
}
