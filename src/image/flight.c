/* SPDX-License-Identifier: Apache-2.0 */
#include "image/flight.h"

#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/map.h"
#include "image/store.h"

#define FLIGHT_LOOK_MS 100 /* how often who waits looks whether it shall stop */

struct flight {
	int fd; /* the blob when it is there; -1 while it is being fetched */
};

/* Waits for a change, but not long. Called with flight_lock held. */
static int wait_a_bit(struct image_store *store, bool (*stopped)(void *arg), void *arg,
                      struct err *err)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += FLIGHT_LOOK_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	(void)pthread_cond_timedwait(&store->flight_changed, &store->flight_lock, &until);
	return stopped(arg) ? err_set(err, ERR_CANCELED, "pull was canceled") : 0;
}

static int start(struct image_store *store, const char *digest, struct err *err)
{
	struct flight *f = malloc(sizeof(*f));

	if (!f)
		return err_nomem(err);
	f->fd = -1;
	if (map_set(store->flights, digest, f, NULL, err) < 0) {
		free(f);
		return -1;
	}
	return 0;
}

static int take(const struct flight *f, int *fd, struct err *err)
{
	*fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 3);
	return *fd < 0 ? err_sys(err, "cannot duplicate a blob's descriptor") : 1;
}

int flight_begin(struct image_store *store, const char *digest, bool (*stopped)(void *arg),
                 void *arg, int *fd, struct err *err)
{
	const struct flight *f;
	int rc = 0;

	pthread_mutex_lock(&store->flight_lock);
	while (rc == 0 && (f = map_find(store->flights, digest)) && f->fd < 0)
		rc = wait_a_bit(store, stopped, arg, err);
	if (rc == 0)
		rc = f ? take(f, fd, err) : start(store, digest, err);
	pthread_mutex_unlock(&store->flight_lock);
	return rc;
}

static void drop(struct flight *f)
{
	if (f && f->fd >= 0)
		close(f->fd);
	free(f);
}

bool flight_end(struct image_store *store, const char *digest, int fd)
{
	bool kept = false;

	pthread_mutex_lock(&store->flight_lock);
	struct flight *f = map_find(store->flights, digest);
	if (f && fd >= 0)
		f->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	kept = f && f->fd >= 0;
	if (!kept)
		drop(map_remove(store->flights, digest));
	pthread_cond_broadcast(&store->flight_changed);
	pthread_mutex_unlock(&store->flight_lock);
	return kept;
}

void flight_forget(struct image_store *store, const char *digest)
{
	pthread_mutex_lock(&store->flight_lock);
	drop(map_remove(store->flights, digest));
	pthread_mutex_unlock(&store->flight_lock);
}

void flight_forget_all(struct image_store *store)
{
	const char *digest;
	void *f;

	map_for_each (store->flights, iter, &digest, &f)
		drop(f);
}

/* A layer keeps two processors busy. More at once would only take memory, but two hide each other's waits for the line. */
static size_t layers_at_once(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus > 2 ? FLIGHT_LAYERS_MAX : FLIGHT_LAYERS_MIN;
}

int flight_place_take(struct image_store *store, bool (*stopped)(void *arg), void *arg,
                      struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&store->flight_lock);
	while (rc == 0 && store->flight_layers >= layers_at_once())
		rc = wait_a_bit(store, stopped, arg, err);
	store->flight_layers += rc == 0;
	pthread_mutex_unlock(&store->flight_lock);
	return rc;
}

void flight_place_give(struct image_store *store)
{
	pthread_mutex_lock(&store->flight_lock);
	store->flight_layers--;
	pthread_cond_broadcast(&store->flight_changed);
	pthread_mutex_unlock(&store->flight_lock);
}
