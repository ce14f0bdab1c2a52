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
#include "base/userns.h"
#include "net/link.h"
#include "net/net.h"
#include "net/sysctl.h"

#define POOL_MAX 16

struct netns_pool {
	pthread_mutex_t lock;
	struct userns ready[POOL_MAX]; /* net_fd, and the owner's descriptors; guarded by lock */
	int count;                     /* guarded by lock */
	bool refilling;                /* guarded by lock */
	int size;
	bool user_namespaces;
	struct pool *workers;
	const struct log *log;
};

/* ---- making one ---- */

struct make_job {
	int fd; /* to be entered; -1: a new one */
	int rc;
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

static int enter_and_prepare(struct make_job *job)
{
	if (job->fd >= 0 ? setns(job->fd, CLONE_NEWNET) < 0 : unshare(CLONE_NEWNET) < 0)
		return err_sys(job->err, "create a network namespace");
	if (prepare_inside(job->err) < 0)
		return -1;
	if (job->fd < 0)
		job->fd = fs_trusted_open("/proc/thread-self/ns/net", O_RDONLY, 0, job->err);
	return job->fd < 0 ? -1 : 0;
}

static void *make_in_thread(void *arg)
{
	struct make_job *job = arg;

	job->rc = enter_and_prepare(job);
	return NULL;
}

/* Makes the namespace, unless it is there, and sets it up. The result is *fd. */
static int prepare_in_thread(int *fd, struct err *err)
{
	struct make_job job = {.fd = *fd, .rc = -1, .err = err};
	pthread_t thread;

	errno = pthread_create(&thread, NULL, make_in_thread, &job);
	if (errno)
		return err_sys(err, "start a thread");
	pthread_join(thread, NULL);
	*fd = job.fd;
	return job.rc;
}

static int make(bool with_users, struct userns *out, struct err *err)
{
	struct userns ns = USERNS_INIT;

	if ((with_users && userns_create(CLONE_NEWNET, &ns, err) < 0) ||
	    prepare_in_thread(&ns.net_fd, err) < 0) {
		userns_close(&ns);
		return -1;
	}
	*out = ns;
	return 0;
}

static int make_owned(int userns_fd, struct err *err)
{
	auto_close int fd = userns_add_net(userns_fd, err);

	if (fd < 0 || prepare_in_thread(&fd, err) < 0)
		return -1;
	return move_fd(&fd);
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

/* Keeps it (or closes it, when the pool is full) and tells whether another one is wanted. */
static bool put_ready(struct netns_pool *pool, struct userns *made)
{
	bool more;

	pthread_mutex_lock(&pool->lock);
	if (made->net_fd >= 0 && pool->count < pool->size) {
		pool->ready[pool->count++] = *made;
		*made = USERNS_INIT;
		more = pool->count < pool->size;
	} else {
		more = false;
	}
	pool->refilling = more;
	pthread_mutex_unlock(&pool->lock);
	userns_close(made);
	return more;
}

static void refill(void *arg)
{
	struct netns_pool *pool = arg;
	struct userns made;
	struct err err = ERR_INIT;

	do {
		made = USERNS_INIT;
		if (make(pool->user_namespaces, &made, &err) < 0)
			log_warn(pool->log, "no network namespace made ahead", "error=\"%s\"",
			         err.msg);
	} while (put_ready(pool, &made));
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

struct netns_pool *netns_pool_create(int size, bool user_namespaces, struct pool *workers,
                                     const struct log *log, struct err *err)
{
	struct netns_pool *pool = calloc(1, sizeof(*pool));

	if (!pool) {
		(void)err_nomem(err);
		return NULL;
	}
	pthread_mutex_init(&pool->lock, NULL);
	pool->size = size < POOL_MAX ? size : POOL_MAX;
	pool->user_namespaces = user_namespaces;
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
		userns_close(&pool->ready[--pool->count]);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

static int take(struct netns_pool *pool, struct userns *out, struct err *err)
{
	*out = USERNS_INIT;
	pthread_mutex_lock(&pool->lock);
	if (pool->count > 0)
		*out = pool->ready[--pool->count];
	pthread_mutex_unlock(&pool->lock);
	int rc = out->net_fd >= 0 ? 0 : make(pool->user_namespaces, out, err);
	start_refill(pool);
	return rc;
}

int netns_pool_take(struct netns_pool *pool, const struct net_owner *owner, struct err *err)
{
	struct userns ns = USERNS_INIT;
	int rc;

	if (owner && owner->userns_fd >= 0)
		return make_owned(owner->userns_fd, err);
	if ((owner != NULL) == pool->user_namespaces)
		rc = take(pool, &ns, err);
	else
		rc = make(owner, &ns, err);
	if (rc == 0 && owner)
		rc = userns_map(&ns, 0, owner->first_id, owner->id_count, err);
	int fd = rc < 0 ? -1 : move_fd(&ns.net_fd);
	userns_close(&ns);
	return fd;
}
