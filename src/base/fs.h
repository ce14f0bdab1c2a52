/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * fs - the only gate to paths.
 *
 * No other file of ours calls open, mkdir, unlink, rename, mount and their
 * kin (tools/check_style.py refuses them). A path is always looked up from a
 * directory descriptor with openat2(2), so that a name that came from an
 * image, an archive, a request or a container can never leave its root:
 *
 *   fs_..._in(root_fd, path)   the container's view: symlinks and ".." are
 *                              followed, but stay inside root_fd
 *                              (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
 *   fs_...(dir_fd, path)       our own state: no symlink is followed, no ".."
 *                              leaves (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
 *   fs_trusted_...(path)       an absolute path from the administrator
 *                              (command line, bind source): plain resolution
 *
 * EAGAIN (a rename raced with the lookup) is retried a bounded number of times.
 * Every descriptor is O_CLOEXEC and the caller's to close. Errors name the path.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct buf;
struct err;

/* ---- open ---- */

/* openat2() beneath dir_fd. flags as open(2); mode for O_CREAT. -1: ERR_NOT_FOUND,
 * ERR_DENIED (leaves the directory, or meets a symlink), ... */
int fs_open(int dir_fd, const char *path, int flags, mode_t mode, struct err *err);
int fs_open_in(int root_fd, const char *path, int flags, mode_t mode, struct err *err);
int fs_trusted_open(const char *path, int flags, mode_t mode, struct err *err);

/* A directory for use as dir_fd (O_RDONLY | O_DIRECTORY). */
int fs_open_dir(int dir_fd, const char *path, struct err *err);
/* Makes the directory (0700, with parents) if it is missing, then opens it. */
int fs_trusted_open_dir(const char *path, bool create, struct err *err);
/* An unnamed file in dir_fd for writing; fs_link_tmp() gives it a name. */
int fs_open_tmp(int dir_fd, struct err *err);
/* Names an unnamed file. ERR_CONFLICT if `name` exists. */
int fs_link_tmp(int fd, int dir_fd, const char *name, struct err *err);

/* ---- directories ---- */

/* One directory; ERR_CONFLICT if it exists. */
int fs_mkdir(int dir_fd, const char *path, mode_t mode, struct err *err);
/* With parents; an existing directory is success. Opens the last one. */
int fs_mkdir_all(int dir_fd, const char *path, mode_t mode, struct err *err);
/* The same in a container's view: each component is made from the descriptor of
 * the one before. Returns the last, O_RDONLY | O_DIRECTORY. */
int fs_mkdir_all_in(int root_fd, const char *path, mode_t mode, struct err *err);
/* The parent of `path` in a container's view (an O_PATH descriptor); *base points
 * to the last component inside `path`. ERR_INVALID for "/", ".", ".." and a "/" at the end. */
int fs_open_parent_in(int root_fd, const char *path, const char **base, struct err *err);

/* Calls fn for each entry but "." and ".."; stops at the first non-zero and returns it.
 * Order is the kernel's. fn may remove the entry. */
int fs_list(int dir_fd, int (*fn)(void *arg, int dir_fd, const char *name, unsigned char d_type),
            void *arg, struct err *err);

/* ---- whole files ---- */

/* Appends the file to out. ERR_LIMIT when it is longer than max bytes. Refuses what
 * is not a regular file (kernel files under /proc, /sys count as regular). */
int fs_read(int dir_fd, const char *path, size_t max, struct buf *out, struct err *err);
int fs_read_in(int root_fd, const char *path, size_t max, struct buf *out, struct err *err);
int fs_trusted_read(const char *path, size_t max, struct buf *out, struct err *err);
int fs_read_fd(int fd, size_t max, struct buf *out, struct err *err);
/* One write(2) to an existing file, as /proc, /sys and cgroupfs want it. */
int fs_write_existing(int dir_fd, const char *path, const void *data, size_t len, struct err *err);
/* Replaces the file so that a crash leaves the old or the new one: temporary file,
 * fdatasync, rename, fsync of the directory. */
int fs_write_durable(int dir_fd, const char *path, const void *data, size_t len, mode_t mode,
                     struct err *err);
/* The same without the syncs: for what a reboot wipes anyway (/run). */
int fs_write_atomic(int dir_fd, const char *path, const void *data, size_t len, mode_t mode,
                    struct err *err);
/* Writes all of it, over short writes and EINTR. */
int fs_write_all(int fd, const void *data, size_t len, struct err *err);
/* Copies len bytes (or to the end, if UINT64_MAX) between descriptors; *copied may be NULL.
 * ERR_INVALID when the source ends before that. */
int fs_copy_fd(int in_fd, int out_fd, uint64_t len, uint64_t *copied, struct err *err);

/* ---- names ---- */

int fs_rename(int old_dir, const char *old_name, int new_dir, const char *new_name,
              struct err *err);
/* Atomic rename that refuses to replace: ERR_CONFLICT. */
int fs_rename_new(int old_dir, const char *old_name, int new_dir, const char *new_name,
                  struct err *err);
/* Two names change places, in one step; both are there. */
int fs_exchange(int dir_a, const char *name_a, int dir_b, const char *name_b, struct err *err);
int fs_link(int old_dir, const char *old_name, int new_dir, const char *new_name, struct err *err);
int fs_symlink(const char *target, int dir_fd, const char *name, struct err *err);
int fs_mknod(int dir_fd, const char *name, mode_t mode, dev_t dev, struct err *err);
/* One non-directory; a missing one is success. */
int fs_unlink(int dir_fd, const char *name, struct err *err);
int fs_rmdir(int dir_fd, const char *name, struct err *err);
/* Everything below and including `name`; missing is success. Goes by descriptors,
 * follows no symlink and crosses no mount (ERR_CONFLICT names the mount point). */
int fs_remove_tree(int dir_fd, const char *name, struct err *err);
bool fs_exists(int dir_fd, const char *path); /* follows no symlink */
int fs_stat(int dir_fd, const char *path, struct stat *st,
            struct err *err); /* of the link itself */
/* The target of a symlink, appended to out. */
int fs_readlink(int dir_fd, const char *path, struct buf *out, struct err *err);

/* Bytes that a tree occupies and how many entries it has, itself included; a file with several
 * names takes its bytes once. Crosses no mount and counts 256 levels; what is deeper is left out. */
int fs_disk_usage(int dir_fd, const char *path, uint64_t *bytes, uint64_t *entries,
                  struct err *err);
/* syncfs(2) of the file system that fd is on; fsync for one directory. */
int fs_sync_all(int fd, struct err *err);
int fs_sync(int fd, struct err *err);

/* ---- sockets ---- */

/* A listening unix stream or seqpacket socket at dir_fd/name (an old socket is replaced, anything
 * else is ERR_CONFLICT), with `mode`; the last component is at most 80 bytes long. Blocking. Works for paths longer than sun_path, by way of /proc/self/fd. */
int fs_listen_unix(int dir_fd, const char *name, int type, mode_t mode, struct err *err);
int fs_connect_unix(int dir_fd, const char *name, int type, struct err *err);
int fs_trusted_connect_unix(const char *path, int type, struct err *err);

/* ---- mounts: all by descriptor, the new mount interface only ---- */

struct fs_mount_option {
	const char *key;
	const char *value; /* NULL: a flag */
};

/* fsopen + fsconfig + fsmount: a detached mount; it goes away with the descriptor.
 * `source` may be NULL. attr: MOUNT_ATTR_*. The kernel's own words (fsopen log) are in err.
 * The kernel takes 255 bytes a value: overlayfs layers go one by one, as "lowerdir+". */
int fs_mount_detached(const char *type, const char *source, const struct fs_mount_option *options,
                      size_t count, unsigned attr, struct err *err);
/* A detached clone of what fd is (open_tree CLONE, AT_EMPTY_PATH). */
int fs_mount_clone(int fd, bool recursive, struct err *err);
/* Changes MOUNT_ATTR_* and propagation (MS_PRIVATE, ... or 0) of a mount. */
int fs_mount_setattr(int mount_fd, uint64_t set, uint64_t clear, uint64_t propagation,
                     bool recursive, struct err *err);
/* Shows the owners of a mount, and of those below it, through the id maps of a user namespace. Detached mounts
 * only, whose file system can (ERR_INVALID otherwise). */
int fs_mount_idmap(int mount_fd, int userns_fd, bool recursive, struct err *err);
/* Changes options of the file system that target_fd, a mount point, shows. */
int fs_mount_reconfigure(int target_fd, const struct fs_mount_option *options, size_t count,
                         struct err *err);
/* Attaches a detached mount onto what target_fd is (MOVE_MOUNT_T_EMPTY_PATH). */
int fs_mount_attach(int mount_fd, int target_fd, struct err *err);
/* Lazy unmount of the mount that `name` in dir_fd is; not being one is success. */
int fs_unmount(int dir_fd, const char *name, struct err *err);
/* mount(2) with MS_REC | propagation on "/" of this mount namespace. */
int fs_mount_propagation_root(unsigned long propagation, struct err *err);
