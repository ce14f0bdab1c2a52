/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/err.h"
#include "base/testing.h"

struct gate {
	pthread_mutex_t lock;
	atomic_int done;
};

static void count(void *arg)
{
	struct gate *gate = arg;

	pthread_mutex_lock(&gate->lock);
	pthread_mutex_unlock(&gate->lock);
	atomic_fetch_add(&gate->done, 1);
}

static void every_job_runs_before_free_returns(void **state)
{
	struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct err err = ERR_INIT;
	struct pool *pool = pool_create(3, 1000, &err);

	(void)state;
	for (int i = 0; i < 500; i++)
		assert_int_equal(pool_add(pool, count, &gate, &err), 0);
	pool_free(pool);
	assert_int_equal(gate.done, 500);
}

static void a_full_queue_is_a_limit(void **state)
{
	struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct err err = ERR_INIT;
	struct pool *pool = pool_create(1, 2, &err);
	int refused = 0;

	(void)state;
	pthread_mutex_lock(&gate.lock);
	for (int i = 0; i < 10; i++)
		refused += pool_add(pool, count, &gate, &err) < 0;
	assert_in_range(refused, 7, 8); /* one may run already, two wait */
	assert_int_equal(err.kind, ERR_LIMIT);
	pthread_mutex_unlock(&gate.lock);
	pool_free(pool);
	assert_int_equal(gate.done, 10 - refused);
}

TESTING_MAIN(TEST(every_job_runs_before_free_returns), TEST(a_full_queue_is_a_limit))
