/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/taskfiles.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "api/container.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "cluster/agent.h"
#include "daemon/taskspec.h"

#define DIRECTORY "secrets"

void taskfiles_init(struct taskfiles *files, int run_fd, const char *run)
{
	*files = (struct taskfiles){.run_fd = run_fd, .run = run};
	pthread_mutex_init(&files->lock, NULL);
}

void taskfiles_done(struct taskfiles *files)
{
	pthread_mutex_destroy(&files->lock);
}

/* ---- the file system; with the lock held ---- */

static bool is_ours(const struct taskfiles *files, int fd)
{
	struct stat above, here;
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC && fstat(fd, &here) == 0 &&
	       fstat(files->run_fd, &above) == 0 && here.st_dev != above.st_dev;
}

static int make_tmpfs(struct err *err)
{
	const struct fs_mount_option options[] = {{"mode", "0700"}, {"noswap", NULL}};
	unsigned attr = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
	int fd =
		fs_mount_detached("tmpfs", "buoy-secrets", options, ARRAY_LEN(options), attr, NULL);

	/* noswap is of Linux 6.4. */
	return fd >= 0 ? fd : fs_mount_detached("tmpfs", "buoy-secrets", options, 1, attr, err);
}

/* The directory of all tasks; -1 and no error when there is none and none shall be made. */
static int open_all(struct taskfiles *files, bool make, struct err *err)
{
	int fd = make ? fs_mkdir_all(files->run_fd, DIRECTORY, 0700, err)
	              : fs_open_dir(files->run_fd, DIRECTORY, NULL);

	if (fd < 0 || is_ours(files, fd))
		return fd;
	auto_close int below = fd;
	if (!make)
		return -1;
	auto_close int tmpfs = make_tmpfs(err);
	if (tmpfs < 0 || fs_mount_attach(tmpfs, below, err) < 0)
		return -1;
	return fs_open_dir(files->run_fd, DIRECTORY, err);
}

static int stop_at_once(void *arg, int dir_fd, const char *name, unsigned char type)
{
	(void)arg, (void)dir_fd, (void)name, (void)type;
	return 1;
}

/* ---- files ---- */

static int write_file(int dir, const char *name, const struct agent_file *file, const char *text,
                      size_t len, struct err *err)
{
	auto_close int fd = fs_open(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, err);

	if (fd < 0 || fs_write_all(fd, text, len, err) < 0)
		return -1;
	if (fchown(fd, file->uid, file->gid) < 0 || fchmod(fd, file->mode) < 0)
		return err_sys(err, "%s", file->target);
	return 0;
}

static int write_one(int dir, const char *name, const struct agent_work *work,
                     const struct agent_file *file, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(256u << 10);

	if (!file->templated)
		return write_file(dir, name, file, file->data, file->len, err);
	char *text = taskspec_expand(work, file->data, &arena, err);
	if (!text)
		return err_wrap(err, "%s", file->target);
	int rc = write_file(dir, name, file, text, strlen(text), err);
	explicit_bzero(text, strlen(text));
	return rc;
}

static int write_all(struct taskfiles *files, const struct agent_work *work, struct arena *arena,
                     struct api_mount *mounts, struct err *err)
{
	const char *task = work->task->id;
	auto_close int all = open_all(files, true, err);

	if (all < 0 || fs_remove_tree(all, task, err) < 0)
		return -1;
	auto_close int dir = fs_mkdir_all(all, task, 0700, err);
	for (size_t i = 0; i < work->file_count; i++) {
		char name[24];

		snprintf(name, sizeof(name), "%zu", i);
		if (dir < 0 || write_one(dir, name, work, &work->files[i], err) < 0)
			return -1;
		mounts[i] = (struct api_mount){.type = (char *)"bind",
		                               .source = arena_printf(arena, err,
		                                                      "%s/" DIRECTORY "/%s/%s",
		                                                      files->run, task, name),
		                               .target = (char *)work->files[i].target,
		                               .read_only = true};
		if (!mounts[i].source)
			return -1;
	}
	return 0;
}

int taskfiles_write(struct taskfiles *files, const struct agent_work *work, struct arena *arena,
                    struct api_mount **mounts, size_t *count, struct err *err)
{
	*mounts = NULL;
	*count = 0;
	if (work->file_count == 0)
		return 0;
	*mounts = arena_array(arena, work->file_count, sizeof(**mounts), err);
	if (!*mounts)
		return -1;
	pthread_mutex_lock(&files->lock);
	int rc = write_all(files, work, arena, *mounts, err);
	pthread_mutex_unlock(&files->lock);
	if (rc < 0)
		taskfiles_remove(files, work->task->id);
	else
		*count = work->file_count;
	return rc;
}

void taskfiles_remove(struct taskfiles *files, const char *task_id)
{
	pthread_mutex_lock(&files->lock);
	auto_close int all = open_all(files, false, NULL);
	if (all >= 0) {
		(void)fs_remove_tree(all, task_id, NULL);
		if (fs_list(all, stop_at_once, NULL, NULL) == 0)
			(void)fs_unmount(files->run_fd, DIRECTORY, NULL);
	}
	pthread_mutex_unlock(&files->lock);
}
