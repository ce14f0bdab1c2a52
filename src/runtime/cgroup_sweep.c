/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/cgroup_sweep.h"

#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"

#define PROCS_MAX (4 * 1024 * 1024) /* bytes of cgroup.procs */
#define DEPTH_MAX 16
#define RETRY_MS  5

struct sweep {
	const char *path;
	int depth;
	bool left; /* something is still there */
};

static void kill_members(int fd)
{
	auto_buf struct buf text = BUF_INIT(PROCS_MAX);

	if (fs_read(fd, "cgroup.procs", PROCS_MAX, &text, NULL) < 0)
		return;
	for (const char *at = buf_str(&text); *at;) {
		char *end;
		long pid = strtol(at, &end, 10);

		if (end == at)
			break;
		if (pid > 1) /* 0: a process outside our pid namespace */
			(void)kill((pid_t)pid, SIGKILL);
		at = *end == '\n' ? end + 1 : end;
	}
}

/* Frozen processes do not die in v1. Whichever of these files there is. */
static void thaw(int fd)
{
	(void)fs_write_existing(fd, "freezer.state", "THAWED", 6, NULL);
	(void)fs_write_existing(fd, "cgroup.freeze", "0", 1, NULL);
}

/* One directory and what is below: children first. */
static int sweep_dir(void *arg, int dir_fd, const char *name, unsigned char type)
{
	struct sweep *sweep = arg;

	if (type != DT_DIR || sweep->depth >= DEPTH_MAX)
		return 0;
	{
		auto_close int fd = fs_open_dir(dir_fd, name, NULL);

		if (fd < 0)
			return 0;
		sweep->depth++;
		(void)fs_list(fd, sweep_dir, sweep, NULL);
		sweep->depth--;
		if (fs_write_existing(fd, "cgroup.kill", "1", 1, NULL) < 0)
			kill_members(fd);
		thaw(fd);
	}
	if (fs_rmdir(dir_fd, name, NULL) < 0 && fs_exists(dir_fd, name))
		sweep->left = true;
	return 0;
}

static void sweep_hierarchy(struct sweep *sweep, int fd)
{
	if (fs_exists(fd, "cgroup.procs") && fs_exists(fd, sweep->path))
		(void)sweep_dir(sweep, fd, sweep->path, DT_DIR);
}

static int sweep_mount(void *arg, int dir_fd, const char *name, unsigned char type)
{
	if (type != DT_DIR)
		return 0;
	auto_close int fd = fs_open_dir(dir_fd, name, NULL);

	if (fd >= 0)
		sweep_hierarchy(arg, fd);
	return 0;
}

static int check_path(const char *path, struct err *err)
{
	for (const char *at = path; *at;) {
		size_t n = strcspn(at, "/");

		if (n == 0 || (n == 2 && at[0] == '.' && at[1] == '.') || (n == 1 && at[0] == '.'))
			break;
		at += n;
		if (!*at)
			return 0;
		at++;
	}
	return err_set(err, ERR_INVALID,
	               "cgroup \"%s\": must be a path below the root, without \"..\"", path);
}

int cgroup_sweep(int root_fd, const char *path, int64_t timeout_ms, struct err *err)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;

	while (*path == '/')
		path++;
	if (check_path(path, err) < 0)
		return -1;
	for (;;) {
		struct sweep sweep = {.path = path};

		if (fs_exists(root_fd, "cgroup.procs")) /* cgroup2 alone */
			sweep_hierarchy(&sweep, root_fd);
		else if (fs_list(root_fd, sweep_mount, &sweep, err) < 0)
			return -1;
		if (!sweep.left)
			return 0;
		if (clock_mono_ms() >= deadline)
			return err_set(err, ERR_TIMEOUT, "cgroup %s: its processes do not end",
			               path);
		clock_sleep_ms(RETRY_MS);
	}
}

static int prune_mount(void *arg, int dir_fd, const char *name, unsigned char type)
{
	const char *path = arg;

	if (type != DT_DIR)
		return 0;
	auto_close int fd = fs_open_dir(dir_fd, name, NULL);
	if (fd >= 0 && fs_exists(fd, "cgroup.procs"))
		(void)fs_rmdir(fd, path, NULL);
	return 0;
}

void cgroup_prune(int root_fd, const char *path)
{
	char name[256];

	snprintf(name, sizeof(name), "%s", path + strspn(path, "/"));
	if (!*name || strchr(name, '/'))
		return;
	if (fs_exists(root_fd, "cgroup.procs")) /* cgroup2 alone */
		(void)fs_rmdir(root_fd, name, NULL);
	else
		(void)fs_list(root_fd, prune_mount, name, NULL);
}
