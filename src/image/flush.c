/* SPDX-License-Identifier: Apache-2.0 */
#include "image/flush.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"

#define FLUSH_STACK (64u << 10) /* bytes */

struct flush {
	pthread_t thread;
	bool joined;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool more, ended, stop; /* guarded by lock */
	size_t count;           /* guarded by lock */
	int fds[FLUSH_FILES];   /* borrowed; guarded by lock */
	int failure;            /* errno, or 0; the thread's until it is joined */
};

/* The last time with all that is known of the file: a directory's entries are no data. */
static void sync_files(struct flush *f, const int *fds, size_t count, bool last)
{
	for (size_t i = 0; i < count; i++)
		if ((last ? fsync(fds[i]) : fdatasync(fds[i])) < 0 && f->failure == 0)
			f->failure = errno;
}

/* Waits for work and copies what is to be synced. False: it is over. */
static bool next_round(struct flush *f, int fds[FLUSH_FILES], size_t *count, bool *last)
{
	pthread_mutex_lock(&f->lock);
	while (!f->more && !f->ended && !f->stop)
		pthread_cond_wait(&f->changed, &f->lock);
	bool go = !f->stop;
	f->more = false;
	*last = f->ended;
	*count = f->count;
	for (size_t i = 0; i < f->count; i++)
		fds[i] = f->fds[i];
	pthread_mutex_unlock(&f->lock);
	return go;
}

static void *run(void *arg)
{
	struct flush *f = arg;
	int fds[FLUSH_FILES];
	size_t count;
	bool last = false;

	while (!last && next_round(f, fds, &count, &last))
		sync_files(f, fds, count, last);
	return NULL;
}

struct flush *flush_create(struct err *err)
{
	struct flush *f = calloc(1, sizeof(*f));
	pthread_attr_t attr;

	if (!f) {
		(void)err_nomem(err);
		return NULL;
	}
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, FLUSH_STACK);
	errno = pthread_create(&f->thread, &attr, run, f);
	pthread_attr_destroy(&attr);
	if (errno == 0)
		return f;
	(void)err_sys(err, "cannot start a thread that writes to the disk");
	f->joined = true;
	flush_free(f);
	return NULL;
}

static void set(struct flush *f, bool *what)
{
	pthread_mutex_lock(&f->lock);
	*what = true;
	pthread_cond_signal(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static void join(struct flush *f)
{
	if (!f->joined)
		pthread_join(f->thread, NULL);
	f->joined = true;
}

void flush_free(struct flush *f)
{
	if (!f)
		return;
	set(f, &f->stop);
	join(f);
	pthread_cond_destroy(&f->changed);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

void flush_add(struct flush *f, int fd)
{
	pthread_mutex_lock(&f->lock);
	assert(f->count < FLUSH_FILES && !f->ended);
	f->fds[f->count++] = fd;
	pthread_mutex_unlock(&f->lock);
}

void flush_poke(struct flush *f)
{
	set(f, &f->more);
}

void flush_end(struct flush *f)
{
	set(f, &f->ended);
}

int flush_finish(struct flush *f, struct err *err)
{
	join(f);
	errno = f->failure;
	return errno ? err_sys(err, "cannot write a layer to the disk") : 0;
}
