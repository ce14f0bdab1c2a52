/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* fs_lookup - what the fs*.c files share; nobody else includes it. See fs.h. */

#include <linux/openat2.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

#define FS_OWN       (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
#define FS_CONTAINER (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
#define FS_TRUSTED   0

#define FS_PROC_PATH 64 /* bytes: "/proc/self/fd/<n>" and NUL */

/* openat2(2) with O_CLOEXEC, over EINTR and EAGAIN. -1 with errno. */
int fs_lookup(int dir_fd, const char *path, int flags, mode_t mode, uint64_t resolve);
/* Turns errno of a failed lookup into words. Returns -1. */
int fs_lookup_failed(const char *path, struct err *err);

/* The directory that holds the last component of path, O_PATH; *base points to that
 * component inside path. ERR_INVALID where that is empty, "." or ".." or ends in "/". */
int fs_lookup_parent(int dir_fd, const char *path, uint64_t resolve, const char **base,
                     struct err *err);

/* The same for a call on that directory: a name alone is in dir_fd itself, and nothing has to be opened. */
struct fs_parent {
	int fd;     /* borrowed: dir_fd, or what was opened */
	int opened; /* owned; -1 */
	const char *base;
};

int fs_parent_find(int dir_fd, const char *path, uint64_t resolve, struct fs_parent *out,
                   struct err *err);
void fs_parent_done(struct fs_parent *parent);
#define auto_parent __attribute__((cleanup(fs_parent_done)))

/* mkdir -p by descriptors. The last directory, O_RDONLY. */
int fs_lookup_or_mkdir(int dir_fd, const char *path, mode_t mode, uint64_t resolve,
                       struct err *err);
