/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"

#define IDLE_SECONDS 10
#define STACK_SIZE   (512u << 10) /* bytes */

struct job {
	void (*fn)(void *arg);
	void *arg;
	struct job *next;
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work;               /* a job came, or closing */
	pthread_cond_t gone;               /* a thread ended */
	struct job *first, **last;         /* guarded by lock; owned */
	size_t queued, queue_max;          /* guarded by lock */
	size_t threads, threads_max, idle; /* guarded by lock */
	bool closing;                      /* guarded by lock */
};

static struct job *take(struct pool *pool)
{
	struct job *job = pool->first;

	if (!job)
		return NULL;
	pool->first = job->next;
	if (!pool->first)
		pool->last = &pool->first;
	pool->queued--;
	return job;
}

/* Waits for work. NULL: idle for long enough, or closing with nothing left. Lock held. */
static struct job *wait_for_job(struct pool *pool)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_SECONDS;
	pool->idle++;
	while (!pool->first && !pool->closing && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&pool->work, &pool->lock, &until);
	pool->idle--;
	return take(pool);
}

static void *thread_main(void *arg)
{
	struct pool *pool = arg;

	pthread_mutex_lock(&pool->lock);
	for (struct job *job; (job = wait_for_job(pool));) {
		pthread_mutex_unlock(&pool->lock);
		job->fn(job->arg);
		free(job);
		pthread_mutex_lock(&pool->lock);
	}
	pool->threads--;
	pthread_cond_broadcast(&pool->gone);
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* Lock held. A pool that has a thread already can do without another one. */
static int start_thread(struct pool *pool, struct err *err)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	sigfillset(&all); /* signals are the loop thread's */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int rc = pthread_create(&thread, &attr, thread_main, pool);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);

	if (rc == 0) {
		pool->threads++;
		return 0;
	}
	if (pool->threads > 0)
		return 0;
	errno = rc;
	return err_sys(err, "start a worker thread");
}

struct pool *pool_create(size_t threads_max, size_t queue_max, struct err *err)
{
	struct pool *pool = calloc(1, sizeof(*pool));
	pthread_condattr_t monotonic;

	if (!pool) {
		err_nomem(err);
		return NULL;
	}
	pool->last = &pool->first;
	pool->threads_max = threads_max ? threads_max : 1;
	pool->queue_max = queue_max;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&pool->work, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_cond_init(&pool->gone, NULL);
	return pool;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->closing = true;
	pthread_cond_broadcast(&pool->work);
	while (pool->threads > 0)
		pthread_cond_wait(&pool->gone, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	pthread_cond_destroy(&pool->work);
	pthread_cond_destroy(&pool->gone);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/* Lock held. */
static int enqueue(struct pool *pool, struct job *job, struct err *err)
{
	if (pool->closing)
		return err_set(err, ERR_CANCELED, "the worker pool is closing");
	if (pool->queued >= pool->queue_max)
		return err_set(err, ERR_LIMIT, "%zu jobs are waiting already", pool->queued);
	if (pool->idle <= pool->queued && pool->threads < pool->threads_max &&
	    start_thread(pool, err) < 0)
		return -1;
	*pool->last = job;
	pool->last = &job->next;
	pool->queued++;
	pthread_cond_signal(&pool->work);
	return 0;
}

int pool_add(struct pool *pool, void (*fn)(void *arg), void *arg, struct err *err)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return err_nomem(err);
	job->fn = fn;
	job->arg = arg;
	pthread_mutex_lock(&pool->lock);
	int rc = enqueue(pool, job, err);
	pthread_mutex_unlock(&pool->lock);
	if (rc < 0)
		free(job);
	return rc;
}
