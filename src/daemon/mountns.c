/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/mountns.h"

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"

#define MOUNTINFO_MAX (16u << 20)
#define PATH_BYTES    4096

static bool has_cgroups(const char *mountinfo_path)
{
	auto_buf struct buf text = BUF_INIT(MOUNTINFO_MAX);

	return fs_trusted_read(mountinfo_path, MOUNTINFO_MAX, &text, NULL) == 0 &&
	       strstr(buf_str(&text), " - cgroup");
}

/* The nearest directory of path that exists: device and inode. */
static bool whereabouts(const char *path, struct stat *st)
{
	char text[PATH_BYTES];

	snprintf(text, sizeof(text), "%s", path);
	while (*text) {
		auto_close int fd = fs_trusted_open(text, O_PATH, 0, NULL);
		char *slash = strrchr(text, '/');
		if (fd >= 0)
			return fstat(fd, st) == 0;
		if (!slash)
			return false;
		*slash = '\0';
	}
	return false;
}

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* 1: joined the mount namespace of pid; 0: it is of no use. */
static int join(pid_t pid, const char *root, struct err *err)
{
	char path[64];
	struct stat before, after;

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)pid);
	if (!has_cgroups(path))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	auto_close int other = fs_trusted_open(path, O_RDONLY, 0, NULL);
	auto_close int own = fs_trusted_open("/proc/self/ns/mnt", O_RDONLY, 0, err);
	if (own < 0)
		return -1;
	bool known = whereabouts(root, &before);
	if (other < 0 || setns(other, CLONE_NEWNS) < 0)
		return 0;
	if (known && whereabouts(root, &after) && same(&before, &after))
		return 1;
	if (setns(own, CLONE_NEWNS) < 0)
		return err_sys(err, "return to the own mount namespace");
	return 0;
}

/* Attaches a detached mount (owned) at `name` of dir_fd, which is made. */
static int attach(int dir_fd, const char *name, int mount_fd, struct err *err)
{
	auto_close int mount = mount_fd;

	if (mount < 0 || fs_mkdir(dir_fd, name, 0755, err) < 0)
		return -1;
	auto_close int target = fs_open(dir_fd, name, O_PATH | O_DIRECTORY, 0, err);
	return target < 0 ? -1 : fs_mount_attach(mount, target, err);
}

/* One line of /proc/self/cgroup: "4:memory:/x", "9:name=systemd:/", "0::/". */
static int mount_hierarchy(int dir_fd, char *line, struct err *err)
{
	struct fs_mount_option options[8];
	size_t count = 0;
	char *save = NULL, *list = strchr(line, ':');
	char *end = list ? strchr(list + 1, ':') : NULL;

	if (!end)
		return 0;
	*end = '\0';
	list++;
	if (!*list)
		return attach(dir_fd, "unified",
		              fs_mount_detached("cgroup2", "cgroup2", NULL, 0, 0, err), err);
	if (str_starts(list, "name=")) {
		options[count++] = (struct fs_mount_option){"none", NULL};
		options[count++] = (struct fs_mount_option){"name", list + 5};
		return attach(dir_fd, list + 5,
		              fs_mount_detached("cgroup", "cgroup", options, count, 0, err), err);
	}
	char name[128];
	snprintf(name, sizeof(name), "%s", list);
	for (char *word = strtok_r(list, ",", &save); word && count < ARRAY_LEN(options);
	     word = strtok_r(NULL, ",", &save))
		options[count++] = (struct fs_mount_option){word, NULL};
	return attach(dir_fd, name, fs_mount_detached("cgroup", "cgroup", options, count, 0, err),
	              err);
}

/* In a mount namespace of our own: the hierarchies that the kernel has, below /sys/fs/cgroup. */
static int mount_cgroups(struct err *err)
{
	auto_buf struct buf text = BUF_INIT(64u << 10);
	char *save = NULL;

	if (unshare(CLONE_NEWNS) < 0)
		return err_sys(err, "make a mount namespace");
	if (fs_mount_propagation_root(MS_SLAVE, err) < 0 ||
	    fs_trusted_read("/proc/self/cgroup", 64u << 10, &text, err) < 0)
		return -1;
	auto_close int below = fs_trusted_open("/sys/fs/cgroup", O_PATH | O_DIRECTORY, 0, err);
	auto_close int tmpfs = fs_mount_detached("tmpfs", "cgroup", NULL, 0, 0, err);
	if (below < 0 || tmpfs < 0 || fs_mount_attach(tmpfs, below, err) < 0)
		return -1;
	auto_close int dir = fs_trusted_open_dir("/sys/fs/cgroup", false, err);
	if (dir < 0)
		return -1;
	for (char *line = strtok_r(text.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (mount_hierarchy(dir, line, err) < 0)
			return -1;
	return 0;
}

int mountns_settle(const char *root, const struct log *log, struct err *err)
{
	const pid_t candidates[] = {getppid(), 1};

	if (has_cgroups("/proc/self/mountinfo"))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(candidates); i++) {
		int joined = join(candidates[i], root, err);
		if (joined < 0)
			return -1;
		if (joined) {
			log_info(log, "no cgroups in this mount namespace: joined another one",
			         "pid=%d", (int)candidates[i]);
			return 0;
		}
	}
	if (mount_cgroups(err) < 0)
		return err_wrap(err, "no cgroup hierarchy is mounted, and mounting them failed");
	log_info(log, "no cgroups in this mount namespace: mounted them in a private one", "%s",
	         "");
	return 0;
}
