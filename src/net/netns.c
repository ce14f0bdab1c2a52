/* SPDX-License-Identifier: Apache-2.0 */
#include "net/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/pool.h"
#include "net/link.h"
#include "net/sysctl.h"

#define POOL_MAX 16

struct netns_pool {
	pthread_mutex_t lock;
	int fds[POOL_MAX]; /* guarded by lock */
	int count;         /* guarded by lock */
	bool refilling;    /* guarded by lock */
	int size;
	struct pool *workers;
	const struct log *log;
};

/* ---- making one ---- */

struct make_job {
	int fd;
	struct err *err;
};

/* What Docker sets in a container's namespace, so that images find what they expect: ping and low
 * ports without capabilities. IPv6 stays on lo only, and nobody's router advertisement is believed. */
static int prepare_inside(struct err *err)
{
	auto_type(link) inside = link_open(err);

	if (!inside || link_up(inside, "lo", err) < 0)
		return -1;
	(void)sysctl_set_interface("ipv6", "default", "disable_ipv6", 1, NULL);
	(void)sysctl_set_interface("ipv6", "default", "accept_ra", 0, NULL);
	if (sysctl_set("ipv4/ip_unprivileged_port_start", 0, err) < 0)
		return -1;
	return sysctl_set_text("ipv4/ping_group_range", "0 2147483647", err);
}

static void *make_in_thread(void *arg)
{
	struct make_job *job = arg;
	int fd;

	if (unshare(CLONE_NEWNET) < 0) {
		(void)err_sys(job->err, "create a network namespace");
		return NULL;
	}
	if (prepare_inside(job->err) < 0)
		return NULL;
	fd = fs_trusted_open("/proc/thread-self/ns/net", O_RDONLY, 0, job->err);
	if (fd >= 0)
		job->fd = fd;
	return NULL;
}

int netns_make(struct err *err)
{
	struct make_job job = {.fd = -1, .err = err};
	pthread_t thread;

	errno = pthread_create(&thread, NULL, make_in_thread, &job);
	if (errno)
		return err_sys(err, "start a thread");
	pthread_join(thread, NULL);
	return job.fd;
}

/* ---- names ---- */

int netns_bind(int netns_fd, int dir_fd, const char *name, struct err *err)
{
	auto_close int target = -1, mount = -1;

	if (netns_unbind(dir_fd, name, err) < 0)
		return -1;
	target = fs_open(dir_fd, name, O_RDONLY | O_CREAT | O_EXCL, 0400, err);
	if (target < 0)
		return -1;
	mount = fs_mount_clone(netns_fd, false, err);
	if (mount >= 0 && fs_mount_attach(mount, target, err) == 0)
		return 0;
	(void)fs_unlink(dir_fd, name, NULL);
	return -1;
}

int netns_open(int dir_fd, const char *name, struct err *err)
{
	auto_close int fd = fs_open(dir_fd, name, O_RDONLY, 0, err);
	struct statfs st;

	if (fd < 0)
		return -1;
	if (fstatfs(fd, &st) < 0)
		return err_sys(err, "look at the network namespace %.12s", name);
	if (st.f_type != NSFS_MAGIC)
		return err_set(err, ERR_NOT_FOUND, "the network namespace %.12s is gone", name);
	return move_fd(&fd);
}

int netns_unbind(int dir_fd, const char *name, struct err *err)
{
	if (!fs_exists(dir_fd, name))
		return 0;
	if (fs_unmount(dir_fd, name, err) < 0)
		return -1;
	return fs_unlink(dir_fd, name, err);
}

/* ---- the pool ---- */

/* Keeps fd (or closes it, when the pool is full) and tells whether another one is wanted. */
static bool put_ready(struct netns_pool *pool, int fd)
{
	bool more;

	pthread_mutex_lock(&pool->lock);
	if (fd >= 0 && pool->count < pool->size) {
		pool->fds[pool->count++] = fd;
		fd = -1;
		more = pool->count < pool->size;
	} else {
		more = false;
	}
	pool->refilling = more;
	pthread_mutex_unlock(&pool->lock);
	if (fd >= 0)
		close(fd);
	return more;
}

static void refill(void *arg)
{
	struct netns_pool *pool = arg;
	struct err err = ERR_INIT;
	int fd;

	do {
		fd = netns_make(&err);
		if (fd < 0)
			log_warn(pool->log, "no network namespace made ahead", "error=\"%s\"",
			         err.msg);
	} while (put_ready(pool, fd));
}

static void start_refill(struct netns_pool *pool)
{
	bool start;

	pthread_mutex_lock(&pool->lock);
	start = !pool->refilling && pool->count < pool->size;
	if (start)
		pool->refilling = true;
	pthread_mutex_unlock(&pool->lock);
	if (!start || pool_add(pool->workers, refill, pool, NULL) == 0)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->refilling = false;
	pthread_mutex_unlock(&pool->lock);
}

struct netns_pool *netns_pool_create(int size, struct pool *workers, const struct log *log,
                                     struct err *err)
{
	struct netns_pool *pool = calloc(1, sizeof(*pool));

	if (!pool) {
		(void)err_nomem(err);
		return NULL;
	}
	pthread_mutex_init(&pool->lock, NULL);
	pool->size = size < POOL_MAX ? size : POOL_MAX;
	pool->workers = workers;
	pool->log = log;
	start_refill(pool);
	return pool;
}

void netns_pool_free(struct netns_pool *pool)
{
	if (!pool)
		return;
	while (pool->count > 0)
		close(pool->fds[--pool->count]);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

int netns_pool_take(struct netns_pool *pool, struct err *err)
{
	int fd = -1;

	pthread_mutex_lock(&pool->lock);
	if (pool->count > 0)
		fd = pool->fds[--pool->count];
	pthread_mutex_unlock(&pool->lock);
	if (fd < 0)
		fd = netns_make(err);
	start_refill(pool);
	return fd;
}
