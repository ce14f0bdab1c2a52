/* SPDX-License-Identifier: Apache-2.0 */
#include "image/ahead.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/err.h"
#include "image/compress.h"

#define AHEAD_STACK (512u << 10) /* bytes; what decompressors want, and no 8 MB of address space */

struct block {
	size_t len;
	uint64_t taken;
	unsigned char data[AHEAD_BLOCK];
};

struct ahead {
	int fd; /* borrowed */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool runs;           /* the thread is past what the C library does first; guarded by lock */
	bool begun, stop;    /* guarded by lock */
	size_t filled, read; /* blocks so far; guarded by lock */
	bool lent;           /* block `read` is the caller's; guarded by lock */
	bool ended;          /* nothing comes behind `filled`; guarded by lock */
	struct err why;      /* of that end; guarded by lock */
	struct block blocks[AHEAD_BLOCKS];
};

/* ---- the thread ---- */

/* The block to fill next, or NULL: nobody wants any more. */
static struct block *wait_for_room(struct ahead *a)
{
	pthread_mutex_lock(&a->lock);
	a->runs = true;
	pthread_cond_signal(&a->changed);
	while (!a->stop && (!a->begun || a->filled - a->read == AHEAD_BLOCKS))
		pthread_cond_wait(&a->changed, &a->lock);
	struct block *b = a->stop ? NULL : &a->blocks[a->filled % AHEAD_BLOCKS];
	pthread_mutex_unlock(&a->lock);
	return b;
}

static void hand_over(struct ahead *a, bool more, const struct err *why)
{
	pthread_mutex_lock(&a->lock);
	a->filled += more;
	if (!more) {
		a->ended = true;
		a->why = *why;
	}
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
}

/* As full as it gets. 1, 0 at the end, -1. */
static int fill_block(struct compress_reader *reader, struct block *b, struct err *err)
{
	ssize_t n = 1;

	for (b->len = 0; n > 0 && b->len<AHEAD_BLOCK; b->len += n> 0 ? (size_t)n : 0)
		n = compress_reader_read(reader, b->data + b->len, AHEAD_BLOCK - b->len, err);
	b->taken = compress_reader_taken(reader);
	return n < 0 ? -1 : b->len > 0;
}

static void *run(void *arg)
{
	struct ahead *a = arg;
	struct err err = ERR_INIT;

	struct block *b = wait_for_room(a);
	auto_type(compress_reader) reader = b ? compress_reader_open(a->fd, &err) : NULL;
	while (reader && b && fill_block(reader, b, &err) > 0) {
		hand_over(a, true, NULL);
		b = wait_for_room(a);
	}
	if (b)
		hand_over(a, false, &err);
	return NULL;
}

/* ---- who reads ---- */

static int start(struct ahead *a, struct err *err)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, AHEAD_STACK);
	errno = pthread_create(&a->thread, &attr, run, a);
	pthread_attr_destroy(&attr);
	if (errno)
		return err_sys(err, "cannot start a thread that unpacks");
	pthread_mutex_lock(&a->lock);
	while (!a->runs)
		pthread_cond_wait(&a->changed, &a->lock);
	pthread_mutex_unlock(&a->lock);
	return 0;
}

struct ahead *ahead_create(int fd, struct err *err)
{
	struct ahead *a = calloc(1, sizeof(*a));

	if (!a) {
		(void)err_nomem(err);
		return NULL;
	}
	a->fd = fd;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->changed, NULL);
	if (start(a, err) < 0) {
		pthread_cond_destroy(&a->changed);
		pthread_mutex_destroy(&a->lock);
		free(a);
		return NULL;
	}
	return a;
}

void ahead_free(struct ahead *a)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
	pthread_join(a->thread, NULL);
	pthread_cond_destroy(&a->changed);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

ssize_t ahead_next(struct ahead *a, const void **data, uint64_t *taken, struct err *err)
{
	ssize_t n = 0;

	pthread_mutex_lock(&a->lock);
	a->begun = true;
	a->read += a->lent;
	a->lent = false;
	pthread_cond_signal(&a->changed);
	while (a->read == a->filled && !a->ended)
		pthread_cond_wait(&a->changed, &a->lock);
	if (a->read < a->filled) {
		const struct block *b = &a->blocks[a->read % AHEAD_BLOCKS];
		a->lent = true;
		*data = b->data;
		*taken = b->taken;
		n = (ssize_t)b->len;
	} else if (a->why.kind != ERR_NONE) {
		if (err)
			*err = a->why;
		n = -1;
	}
	pthread_mutex_unlock(&a->lock);
	return n;
}
