/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * taskfiles - secrets and configs of this machine's tasks, as files in memory.
 *
 *	taskfiles_init(&files, engine_run_fd(engine), d->run);
 *	taskfiles_write(&files, work, &arena, &mounts, &count, err);   // before the container is made
 *	taskfiles_remove(&files, task_id);                             // when it has ended, or was removed
 *
 * They lie in <run>/secrets/TASK/, on a tmpfs of their own that is never swapped out where the kernel can
 * promise that. It is mounted for the first task that needs it and gone with the last one. A container sees
 * each file as a read-only mount; nothing of them is written to a disk.
 *
 * Thread-safe.
 */

#include <pthread.h>
#include <stddef.h>

struct agent_work;
struct api_mount;
struct arena;
struct err;

struct taskfiles {
	int run_fd;      /* borrowed */
	const char *run; /* borrowed; its path */
	pthread_mutex_t lock;
};

void taskfiles_init(struct taskfiles *files, int run_fd, const char *run);
void taskfiles_done(struct taskfiles *files); /* the files stay: containers live on */

/* Writes the work's files and gives a mount for each, in the arena; none for a task without. What is there of
 * the task already is replaced. */
int taskfiles_write(struct taskfiles *files, const struct agent_work *work, struct arena *arena,
                    struct api_mount **mounts, size_t *count, struct err *err);
/* Never having had some is success. */
void taskfiles_remove(struct taskfiles *files, const char *task_id);
