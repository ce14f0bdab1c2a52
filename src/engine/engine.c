/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/db.h"
#include "base/fs.h"
#include "base/landlock.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/map.h"
#include "base/pool.h"
#include "base/str.h"
#include "engine/ids.h"
#include "engine/private.h"
#include "engine/spec.h"
#include "image/image.h"

#define LOCK_WAIT_MS  2000
#define MOUNTINFO_MAX (16 << 20)
#define POOL_THREADS  64
#define POOL_QUEUE    65536
#define RETRY_MS      200

struct later {
	struct engine *engine;
	void (*fn)(void *arg);
	void *arg;
	struct loop_source *timer;
};

static void later_run(struct later *later);

static void later_again(void *arg)
{
	struct later *later = arg;

	loop_source_free(later->timer);
	later->timer = NULL;
	later_run(later);
}

static void later_wait(void *arg)
{
	struct later *later = arg;

	later->timer = loop_add_timer(later->engine->loop, RETRY_MS, later_again, later, NULL);
}

static void later_run(struct later *later)
{
	if (pool_add(later->engine->pool, later->fn, later->arg, NULL) < 0)
		later_wait(later);
	else
		free(later);
}

void engine_later(struct engine *engine, void (*fn)(void *arg), void *arg)
{
	struct err why = ERR_INIT;

	if (pool_add(engine->pool, fn, arg, &why) == 0)
		return;
	struct later *later = calloc(1, sizeof(*later));
	if (later) {
		*later = (struct later){.engine = engine, .fn = fn, .arg = arg};
		if (loop_post(engine->loop, later_wait, later, &why) == 0)
			return;
		free(later);
	}
	log_error(engine->log, "work dropped", "reason=%s", why.msg);
}

int engine_poll(struct engine *engine, int fd, int cancel_fd, int64_t timeout_ms, struct err *err)
{
	struct pollfd fds[3] = {
		{.fd = fd, .events = POLLIN},
		{.fd = cancel_fd, .events = POLLIN | POLLRDHUP},
		{.fd = engine->stop_fd, .events = POLLIN},
	};
	int64_t end = clock_mono_ms() + timeout_ms;

	for (;;) {
		int64_t left = timeout_ms < 0 ? -1 : end - clock_mono_ms();
		if (timeout_ms >= 0 && left < 0)
			left = 0;
		int n = poll(fds, 3, left > INT32_MAX ? INT32_MAX : (int)left);
		if (n < 0 && errno != EINTR)
			return err_sys(err, "poll");
		if (n > 0 && fds[0].revents)
			return 1;
		if (n > 0)
			return err_set(err, ERR_CANCELED, "canceled");
		if (n == 0 && timeout_ms >= 0 && clock_mono_ms() >= end)
			return 0;
	}
}

static void *run_loop(void *arg)
{
	struct engine *engine = arg;
	struct err err = ERR_INIT;

	if (loop_run(engine->loop, &err) < 0)
		log_error(engine->log, "event loop failed", "reason=%s", err.msg);
	return NULL;
}

static int remove_entry(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	(void)arg, (void)d_type;
	(void)fs_remove_tree(dir_fd, name, NULL);
	return 0;
}

/* A daemon that was killed in the middle of starting a program has left a child that holds the lock until its
 * exec: that is waited for. */
static int take_lock(int fd, const char *root, struct err *err)
{
	int64_t end = clock_mono_ms() + LOCK_WAIT_MS;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_sys(err, "lock %s", root);
		if (clock_mono_ms() > end)
			return err_set(err, ERR_CONFLICT, "%s is in use by another daemon", root);
		clock_sleep_ms(5);
	}
	return 0;
}

static int open_dirs(struct engine *engine, const char *root, const char *run, struct err *err)
{
	engine->root_fd = fs_trusted_open_dir(root, true, err);
	if (engine->root_fd < 0)
		return -1;
	engine->lock_fd = fs_open(engine->root_fd, "lock", O_RDWR | O_CREAT, 0600, err);
	if (engine->lock_fd < 0)
		return -1;
	if (take_lock(engine->lock_fd, root, err) < 0)
		return -1;
	engine->run_fd = fs_trusted_open_dir(run, true, err);
	if (engine->run_fd < 0)
		return -1;
	engine->containers_fd = fs_mkdir_all(engine->root_fd, "containers", 0700, err);
	engine->volumes_fd = fs_mkdir_all(engine->root_fd, "volumes", 0711, err);
	engine->builds_fd = fs_mkdir_all(engine->root_fd, "builds", 0700, err);
	engine->supervisors_fd = fs_mkdir_all(engine->run_fd, "containers", 0700, err);
	if (engine->containers_fd < 0 || engine->volumes_fd < 0 || engine->builds_fd < 0 ||
	    engine->supervisors_fd < 0)
		return -1;
	return fs_list(engine->builds_fd, remove_entry, NULL, err);
}

static int open_rooms(struct engine *engine, const struct engine_options *options, struct err *err)
{
	struct image_store_options images = {
		.worker_path = engine->worker_path,
		.insecure_registries = options->insecure_registries,
		.mirrors = options->registry_mirrors,
		.certs_dirs = options->registry_certs,
		.form = !options->layers                     ? IMAGE_FORM_PROBE
	                : str_eq(options->layers, "mounted") ? IMAGE_FORM_TARS
	                                                     : IMAGE_FORM_DIRECTORIES,
		.log = (struct log *)options->log,
	};
	struct net_options net = {
		.user_namespaces = !engine->userns_host && !ids_why_not(engine->ids),
		.name = options->net_name ? options->net_name : "",
		.log = (struct log *)options->log,
	};

	if (ids_why_not(engine->ids) && !engine->userns_host)
		log_warn(engine->log,
		         "containers run with the host's ids, without user namespaces of their "
		         "own",
		         "reason=\"%s\"", ids_why_not(engine->ids));
	if (landlock_abi() == 0)
		log_warn(engine->log, "supervisors and unpackers keep access to all files",
		         "reason=\"this kernel has no Landlock\"");
	auto_buf struct buf mounts = BUF_INIT(MOUNTINFO_MAX);
	engine->memory_v2 =
		fs_trusted_read("/proc/self/mountinfo", MOUNTINFO_MAX, &mounts, NULL) == 0 &&
		spec_memory_is_v2(buf_str(&mounts));
	engine->images = image_store_open(engine->root_fd, &images, err);
	if (!engine->images)
		return err_wrap(err, "image store");
	engine->net = net_open(engine->root_fd, engine->run_fd, &net, err);
	if (!engine->net)
		return err_wrap(err, "networks");
	engine->launcher =
		launcher_start(options->runtime_path, engine->supervisors_fd, options->log, err);
	if (!engine->launcher)
		return err_wrap(err, "launcher");
	return 0;
}

static int open_tables(struct engine *engine, struct err *err)
{
	engine->by_id = map_create(err);
	engine->by_name = engine->by_id ? map_create(err) : NULL;
	engine->execs = engine->by_name ? map_create(err) : NULL;
	engine->events = engine->execs ? events_create(err) : NULL;
	engine->loop = engine->events ? loop_create(err) : NULL;
	engine->pool = engine->loop ? pool_create(POOL_THREADS, POOL_QUEUE, err) : NULL;
	if (!engine->pool)
		return -1;
	engine->ids = ids_open(engine->builds_fd, err);
	if (!engine->ids)
		return -1;
	engine->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (engine->stop_fd < 0)
		return err_sys(err, "eventfd");
	engine->db = db_open(engine->root_fd, "engine.db", state_schema, DB_FULL, err);
	if (!engine->db)
		return -1;
	return state_engine_id(engine, err);
}

static int start_threads(struct engine *engine, struct err *err)
{
	int rc = pthread_create(&engine->loop_thread, NULL, run_loop, engine);

	if (rc) {
		errno = rc;
		return err_sys(err, "thread");
	}
	engine->loop_running = true;
	return 0;
}

static struct engine *engine_new(const struct engine_options *options, struct err *err)
{
	struct engine *engine = calloc(1, sizeof(*engine));
	char host[256] = "buoy";

	if (!engine)
		return err_nomem(err), NULL;
	engine->root_fd = engine->run_fd = engine->lock_fd = engine->containers_fd = -1;
	engine->volumes_fd = engine->supervisors_fd = engine->stop_fd = engine->builds_fd = -1;
	pthread_mutex_init(&engine->lock, NULL);
	pthread_mutex_init(&engine->volume_lock, NULL);
	engine->log = options->log;
	engine->userns_host = options->userns_host;
	engine->granter = options->granter;
	engine->build_runner = (struct build_runner){
		.run = buildrun_run, .resolve_user = buildrun_resolve_user, .ctx = engine};
	(void)!gethostname(host, sizeof(host) - 1);
	engine->root = strdup(options->root);
	engine->name = strdup(str_empty(options->name) ? host : options->name);
	engine->worker_path =
		strdup(options->worker_path ? options->worker_path : "/proc/self/exe");
	if (!engine->root || !engine->name || !engine->worker_path) {
		engine_close(engine);
		return err_nomem(err), NULL;
	}
	return engine;
}

struct engine *engine_open(const struct engine_options *options, struct err *err)
{
	struct engine *engine;

	if (*options->root != '/' || *options->run != '/')
		return err_set(err, ERR_INVALID, "root and run directories must be absolute paths"),
		       NULL;
	engine = engine_new(options, err);
	if (!engine)
		return NULL;
	if (open_dirs(engine, options->root, options->run, err) < 0 ||
	    open_tables(engine, err) < 0 || open_rooms(engine, options, err) < 0 ||
	    state_load(engine, err) < 0 || start_threads(engine, err) < 0 ||
	    reconcile_run(engine, err) < 0) {
		engine_close(engine);
		return NULL;
	}
	return engine;
}

void engine_stop(struct engine *engine)
{
	atomic_store(&engine->stopping, true);
	if (engine->stop_fd >= 0)
		(void)eventfd_write(engine->stop_fd, 1);
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void close_tables(struct engine *engine)
{
	const char *key;
	void *value;

	for (void *iter = NULL; engine->by_id && map_next(engine->by_id, &iter, &key, &value);)
		container_free(value);
	map_free(engine->by_id);
	map_free(engine->by_name);
	map_free(engine->execs);
	events_free(engine->events);
}

void engine_close(struct engine *engine)
{
	if (!engine)
		return;
	engine_stop(engine);
	if (engine->loop_running) {
		loop_stop(engine->loop);
		pthread_join(engine->loop_thread, NULL);
	}
	pool_free(engine->pool);
	if (engine->execs)
		exec_forget_all(engine);
	close_tables(engine);
	loop_free(engine->loop);
	if (engine->launcher)
		launcher_stop(engine->launcher);
	supervisor_forget_parent(ENGINE_CGROUP);
	if (engine->net)
		net_close(engine->net, true);
	if (engine->images)
		image_store_close(engine->images);
	db_free(engine->db);
	ids_free(engine->ids);
	close_fd(engine->supervisors_fd);
	close_fd(engine->builds_fd);
	close_fd(engine->volumes_fd);
	close_fd(engine->containers_fd);
	close_fd(engine->run_fd);
	close_fd(engine->stop_fd);
	close_fd(engine->lock_fd);
	close_fd(engine->root_fd);
	pthread_mutex_destroy(&engine->volume_lock);
	pthread_mutex_destroy(&engine->lock);
	free(engine->worker_path);
	free(engine->name);
	free(engine->root);
	free(engine);
}

struct image_store *engine_images(struct engine *engine)
{
	return engine->images;
}

struct net *engine_net(struct engine *engine)
{
	return engine->net;
}

const struct log *engine_log(struct engine *engine)
{
	return engine->log;
}

const char *engine_name(struct engine *engine)
{
	return engine->name;
}

const char *engine_id(struct engine *engine)
{
	return engine->id;
}

const char *engine_root(struct engine *engine)
{
	return engine->root;
}

int engine_root_fd(struct engine *engine)
{
	return engine->root_fd;
}

int engine_run_fd(struct engine *engine)
{
	return engine->run_fd;
}

const struct build_runner *engine_build_runner(struct engine *engine)
{
	return &engine->build_runner;
}

void engine_info(struct engine *engine, struct engine_info *info)
{
	const char *key;
	void *value;

	*info = (struct engine_info){
		.user_namespaces = !engine->userns_host && !ids_why_not(engine->ids),
		.userns_why_not = ids_why_not(engine->ids),
	};
	pthread_mutex_lock(&engine->lock);
	for (void *iter = NULL; map_next(engine->by_id, &iter, &key, &value);) {
		struct container *c = value;
		pthread_mutex_lock(&c->lock);
		info->containers++;
		if (c->status == STATUS_PAUSED)
			info->paused++;
		else if (c->status == STATUS_RUNNING || c->status == STATUS_RESTARTING)
			info->running++;
		else
			info->stopped++;
		pthread_mutex_unlock(&c->lock);
	}
	pthread_mutex_unlock(&engine->lock);
}

bool engine_image_in_use(void *arg, const char *id, bool running_only, char who[65])
{
	struct engine *engine = arg;
	bool found = false;
	const char *key;
	void *value;

	pthread_mutex_lock(&engine->lock);
	for (void *iter = NULL; !found && map_next(engine->by_id, &iter, &key, &value);) {
		struct container *c = value;
		pthread_mutex_lock(&c->lock);
		found = str_eq(c->image_id, id) && (!running_only || container_is_up(c));
		pthread_mutex_unlock(&c->lock);
		if (found)
			memcpy(who, c->id, sizeof(c->id));
	}
	pthread_mutex_unlock(&engine->lock);
	return found;
}
