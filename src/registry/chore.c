/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/chore.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"

struct chore {
	void (*run)(void *arg, struct chore *chore);
	void *arg; /* borrowed */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stops; /* guarded by lock */
};

static void *chore_main(void *arg)
{
	struct chore *c = arg;

	c->run(c->arg, c);
	return NULL;
}

static void chore_drop(struct chore *c)
{
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

struct chore *chore_start(void (*run)(void *arg, struct chore *chore), void *arg, struct err *err)
{
	struct chore *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;

	if (!c) {
		err_nomem(err);
		return NULL;
	}
	c->run = run;
	c->arg = arg;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wake, &attr);
	pthread_condattr_destroy(&attr);
	errno = pthread_create(&c->thread, NULL, chore_main, c); /* signals are blocked already */
	if (errno == 0)
		return c;
	err_sys(err, "starting a thread");
	chore_drop(c);
	return NULL;
}

bool chore_wait(struct chore *c, int64_t mono_ms)
{
	struct timespec until = {mono_ms / 1000, mono_ms % 1000 * 1000000};
	int rc = 0;

	pthread_mutex_lock(&c->lock);
	while (!c->stops && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&c->wake, &c->lock, &until);
	bool stops = c->stops;
	pthread_mutex_unlock(&c->lock);
	return !stops;
}

void chore_free(struct chore *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stops = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	chore_drop(c);
}
