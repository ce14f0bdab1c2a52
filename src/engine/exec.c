/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/loop.h"
#include "base/map.h"
#include "base/str.h"
#include "engine/event.h"
#include "engine/ids.h"
#include "engine/private.h"
#include "engine/spec.h"

#define KEEP_MS    300000 /* an ended exec can be asked for so long */
#define ENDED_KEEP 256    /* and no longer than until so many others have ended */
#define EXECS_MAX  4096
#define NAME_SIZE  80

struct exec {
	atomic_int refs;
	struct engine *engine;
	char id[ID_HEX_MAX];
	char name[NAME_SIZE]; /* of its supervisor: "exec-<id>" */
	struct container *c;
	struct arena arena;
	struct api_exec_create create;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool listed;                  /* in the table: can be asked for; set before it starts */
	bool started, running, ended; /* guarded by lock, as are the next two */
	int exit_code;
	pid_t pid;
};

static void exec_free(struct exec *exec)
{
	if (!exec || atomic_fetch_sub(&exec->refs, 1) != 1)
		return;
	container_free(exec->c);
	arena_done(&exec->arena);
	pthread_cond_destroy(&exec->changed);
	pthread_mutex_destroy(&exec->lock);
	free(exec);
}
DEFINE_AUTO(exec)

static struct exec *exec_ref(struct exec *exec)
{
	atomic_fetch_add(&exec->refs, 1);
	return exec;
}

static struct exec *exec_get(struct engine *engine, const char *id, struct err *err)
{
	struct exec *exec;

	pthread_mutex_lock(&engine->lock);
	exec = map_find(engine->execs, id);
	if (exec)
		exec_ref(exec);
	pthread_mutex_unlock(&engine->lock);
	if (!exec)
		err_set(err, ERR_NOT_FOUND, "No such exec instance: %s", id);
	return exec;
}

static void exec_forget(struct engine *engine, const char *id)
{
	pthread_mutex_lock(&engine->lock);
	struct exec *exec = map_remove(engine->execs, id);
	pthread_mutex_unlock(&engine->lock);
	exec_free(exec);
}

static void exec_event(struct exec *exec, const char *action, const char *key, const char *value)
{
	char text[256];
	size_t n = 0;

	if (str_eq(action, "exec_die")) {
		container_event(exec->c, action, key, value);
		return;
	}
	n = (size_t)snprintf(text, sizeof(text), "%s:", action);
	for (size_t i = 0; i < exec->create.cmd.count && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, " %s", exec->create.cmd.items[i]);
	container_event(exec->c, text, key, value);
}

static struct exec *exec_new(struct container *c, const struct api_exec_create *create,
                             struct err *err)
{
	auto_buf struct buf text = BUF_INIT(4u << 20);
	pthread_condattr_t attr;
	struct exec *exec = calloc(1, sizeof(*exec));

	if (!exec)
		return err_nomem(err), NULL;
	atomic_store(&exec->refs, 1);
	exec->engine = c->engine;
	exec->c = container_ref(c);
	exec->arena = ARENA_INIT(8u << 20);
	pthread_mutex_init(&exec->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&exec->changed, &attr);
	pthread_condattr_destroy(&attr);
	id_make_hex(exec->id);
	snprintf(exec->name, sizeof(exec->name), "exec-%s", exec->id);
	if (json_encode_text(&api_exec_create_table, create, &text, err) < 0 ||
	    json_decode_text(buf_str(&text), text.len, &api_exec_create_table, &exec->arena,
	                     &exec->create, err) < 0) {
		exec_free(exec);
		return NULL;
	}
	return exec;
}

static int check_up(struct container *c, struct err *err)
{
	pthread_mutex_lock(&c->lock);
	enum container_status status = c->status;
	pthread_mutex_unlock(&c->lock);
	if (status == STATUS_PAUSED)
		return err_set(err, ERR_CONFLICT,
		               "container %s is paused, unpause the container "
		               "before exec",
		               c->id);
	if (status == STATUS_RESTARTING)
		return err_set(err, ERR_CONFLICT,
		               "Container %s is restarting, wait until the "
		               "container is running",
		               c->id);
	if (status != STATUS_RUNNING)
		return err_set(err, ERR_CONFLICT, "container %s is not running", c->id);
	return 0;
}

static struct exec *exec_make(struct engine *engine, const char *ref,
                              const struct api_exec_create *create, struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);

	if (!c || check_up(c, err) < 0)
		return NULL;
	if (create->cmd.count == 0 || !*create->cmd.items[0])
		return err_set(err, ERR_INVALID, "No exec command specified"), NULL;
	return exec_new(c, create, err);
}

int exec_create(struct engine *engine, const char *ref, const struct api_exec_create *create,
                char id[ID_HEX_MAX], struct err *err)
{
	auto_type(exec) exec = exec_make(engine, ref, create, err);
	int rc;

	if (!exec)
		return -1;
	pthread_mutex_lock(&engine->lock);
	if (map_count(engine->execs) >= EXECS_MAX)
		rc = err_set(err, ERR_LIMIT, "more than %d execs are known", EXECS_MAX);
	else
		rc = map_set(engine->execs, exec->id, exec, NULL, err);
	if (rc == 0)
		exec_ref(exec)->listed = true;
	pthread_mutex_unlock(&engine->lock);
	if (rc < 0)
		return -1;
	exec_event(exec, "exec_create", "execID", exec->id);
	memcpy(id, exec->id, sizeof(exec->id));
	return 0;
}

/* ---- its end ---- */

struct exec_watch {
	struct exec *exec;
	struct supervisor *s;
	struct loop_source *source;
	struct exec_watch *next; /* among the ended ones, by age */
};

static void exec_watch_free(struct exec_watch *watch)
{
	loop_source_free(watch->source);
	supervisor_close(watch->s);
	exec_free(watch->exec);
	free(watch);
}

/* The oldest of the ended ones is no longer known. */
static void forget_oldest(struct engine *engine)
{
	struct exec_watch *watch = engine->ended_execs;

	engine->ended_execs = watch->next;
	engine->ended_exec_count--;
	exec_forget(engine, watch->exec->id);
	exec_watch_free(watch);
}

/* All wait the same time, so that the timer that fires is that of the oldest. */
static void expire(void *arg)
{
	forget_oldest(arg);
}

/* watch, whose exec has ended, becomes the youngest of those that can still be asked for. */
static void keep_a_while(struct exec_watch *watch)
{
	struct engine *engine = watch->exec->engine;
	struct exec_watch **end = &engine->ended_execs;

	loop_source_free(watch->source);
	watch->source = loop_add_timer(engine->loop, KEEP_MS, expire, engine, NULL);
	supervisor_close(watch->s);
	watch->s = NULL;
	while (*end)
		end = &(*end)->next;
	*end = watch;
	if (++engine->ended_exec_count > ENDED_KEEP)
		forget_oldest(engine);
}

static void exec_ended(struct exec *exec, int code)
{
	char text[12];

	pthread_mutex_lock(&exec->lock);
	exec->running = false;
	exec->ended = true;
	exec->exit_code = code;
	pthread_cond_broadcast(&exec->changed);
	pthread_mutex_unlock(&exec->lock);
	snprintf(text, sizeof(text), "%d", code);
	exec_event(exec, "exec_die", "exitCode", text);
}

static void forget_job(void *arg)
{
	struct exec *exec = arg;

	(void)supervisor_forget(exec->engine->supervisors_fd, exec->name, NULL);
	exec_free(exec);
}

static void on_exec_event(void *arg, int fd, uint32_t revents)
{
	struct exec_watch *watch = arg;
	struct exec *exec = watch->exec;
	struct supervised state = {.exit_code = 137};
	int rc = supervisor_wait(watch->s, &state, NULL);

	(void)fd, (void)revents;
	if (rc == 0)
		return;
	if (rc < 0)
		(void)supervisor_read_exit(exec->engine->supervisors_fd, exec->name, &state, NULL);
	exec_ended(exec, state.exit_code);
	engine_later(exec->engine, forget_job, exec_ref(exec));
	if (exec->listed)
		keep_a_while(watch);
	else
		exec_watch_free(watch);
}

static void exec_watch_begin(void *arg)
{
	struct exec_watch *watch = arg;

	watch->source = loop_add_fd(watch->exec->engine->loop, supervisor_fd(watch->s), EPOLLIN,
	                            on_exec_event, watch, NULL);
	if (!watch->source) {
		exec_ended(watch->exec, 137);
		exec_watch_free(watch);
	}
}

static int watch_exec(struct exec *exec, struct supervisor *s, struct err *err)
{
	struct exec_watch *watch = calloc(1, sizeof(*watch));

	if (!watch) {
		supervisor_close(s);
		return err_nomem(err);
	}
	*watch = (struct exec_watch){.exec = exec_ref(exec), .s = s};
	if (loop_post(exec->engine->loop, exec_watch_begin, watch, err) < 0) {
		exec_watch_free(watch);
		return -1;
	}
	return 0;
}

/* ---- start ---- */

static int exec_user(struct exec *exec, const struct config *config, struct user *user,
                     struct err *err)
{
	const char *wanted =
		str_empty(exec->create.user) ? config->create.config.user : exec->create.user;
	auto_close int root = container_rootfs_open(exec->engine, exec->c->id, err);

	if (root < 0)
		return -1;
	if (user_resolve_in_root(wanted, root, &config->create.host.group_add, user, err) < 0)
		return -1;
	return ids_check_user(exec->c->first_id, user, err);
}

static struct supervisor *exec_launch(struct exec *exec, const struct exec_start *start, pid_t *pid,
                                      struct err *err)
{
	auto_type(config) config = container_config(exec->c);
	auto_buf struct buf text = BUF_INIT(8u << 20);
	struct user user;

	if (exec_user(exec, config, &user, err) < 0)
		return NULL;
	auto_type(json) process = spec_exec_process(config, &exec->create, &user, err);
	if (!process || json_write(process, &text, err) < 0 || buf_check(&text, err) < 0)
		return NULL;
	struct launch launch = {
		.id = exec->name,
		.bundle_fd = -1,
		.exec_into = exec->c->id,
		.process_json = buf_str(&text),
		.rows = start->rows,
		.cols = start->cols,
		.stdin_open = exec->create.attach_stdin,
		.stdin_once = exec->create.attach_stdin,
	};
	return launcher_open(exec->engine->launcher, &launch, pid, err);
}

/* The program's stdio, connected before it runs. */
static int exec_attach(struct exec *exec, struct supervisor *s, struct err *err)
{
	struct supervisor_attach what = {
		.in = exec->create.attach_stdin,
		.out = exec->create.attach_stdout,
		.err = exec->create.attach_stderr,
	};

	return supervisor_attach(s, &what, err);
}

static int exec_go(struct exec *exec, const struct exec_start *start, int *stream, struct err *err)
{
	auto_close int fd = -1;
	pid_t pid = 0;
	auto_type(supervisor) s = exec_launch(exec, start, &pid, err);

	if (!s)
		return -1;
	if (!start->detach) {
		fd = exec_attach(exec, s, err);
		if (fd < 0)
			return -1;
	}
	pthread_mutex_lock(&exec->lock);
	exec->pid = pid;
	pthread_mutex_unlock(&exec->lock);
	if (supervisor_start_watched(s, err) < 0 || watch_exec(exec, move_ptr(s), err) < 0)
		return -1;
	*stream = move_fd(&fd);
	return 0;
}

static int failure_code(const struct err *why)
{
	if (strstr(why->msg, "permission denied"))
		return 126;
	return strstr(why->msg, "exec: ") ? 127 : 126;
}

/* A stream that says what went wrong, in the shape that the client reads. */
static int failure_stream(const struct exec *exec, const struct err *why, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(2048);
	int pair[2];

	buf_addf(&text,
	         "OCI runtime exec failed: exec failed: unable to start container process: "
	         "%s: unknown\r\n",
	         supervise_reason(why, exec->name));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "exec");
	if (!exec->create.tty) {
		unsigned char head[8] = {
			1, 0, 0, 0, 0, 0, (unsigned char)(text.len >> 8), (unsigned char)text.len};
		(void)!write(pair[1], head, sizeof(head));
	}
	(void)!write(pair[1], buf_str(&text), text.len);
	close(pair[1]);
	return pair[0];
}

static int claim(struct exec *exec, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&exec->lock);
	if (exec->running)
		rc = err_set(err, ERR_CONFLICT, "exec %s is already running", exec->id);
	else if (exec->started)
		rc = err_set(err, ERR_CONFLICT, "exec %s has already run", exec->id);
	else
		exec->started = exec->running = true;
	pthread_mutex_unlock(&exec->lock);
	return rc;
}

static int exec_begin(struct exec *exec, const struct exec_start *start, int *stream,
                      struct err *err)
{
	if (check_up(exec->c, err) < 0 || claim(exec, err) < 0)
		return -1;
	if (exec_go(exec, start, stream, err) < 0) {
		(void)supervise_end(exec->engine, exec->name, NULL);
		return -1;
	}
	exec_event(exec, "exec_start", "execID", exec->id);
	return 0;
}

int exec_start(struct engine *engine, const char *id, const struct exec_start *start,
               struct err *err)
{
	auto_type(exec) exec = exec_get(engine, id, err);
	struct err why = ERR_INIT;
	int stream = -1;

	if (!exec)
		return -1;
	if (exec_begin(exec, start, &stream, &why) == 0)
		return start->detach ? 0 : stream;
	pthread_mutex_lock(&exec->lock);
	bool tried = exec->started && exec->running;
	pthread_mutex_unlock(&exec->lock);
	if (!tried || err_is(&why, ERR_CONFLICT) || start->detach) {
		if (tried && !err_is(&why, ERR_CONFLICT))
			exec_ended(exec, failure_code(&why));
		if (err)
			*err = why;
		return -1;
	}
	exec_ended(exec, failure_code(&why));
	return failure_stream(exec, &why, err);
}

int exec_resize(struct engine *engine, const char *id, uint16_t rows, uint16_t cols,
                struct err *err)
{
	auto_type(exec) exec = exec_get(engine, id, err);
	auto_type(supervisor) s =
		exec ? supervisor_connect(engine->supervisors_fd, exec->name, err) : NULL;

	if (!s)
		return -1;
	return supervisor_resize(s, rows, cols, err);
}

int exec_inspect(struct engine *engine, const char *id, struct arena *arena, struct exec_view *out,
                 struct err *err)
{
	auto_type(exec) exec = exec_get(engine, id, err);
	struct exec_view view = {0};

	if (!exec)
		return -1;
	view.create = arena_alloc(arena, sizeof(*view.create), err);
	if (!view.create)
		return -1;
	*view.create = exec->create;
	memcpy(view.id, exec->id, sizeof(view.id));
	memcpy(view.container_id, exec->c->id, sizeof(view.container_id));
	pthread_mutex_lock(&exec->lock);
	view.running = exec->running;
	view.has_exit = exec->ended;
	view.exit_code = exec->exit_code;
	view.pid = exec->pid;
	pthread_mutex_unlock(&exec->lock);
	/* The strings belong to the exec: it stays until the arena goes. */
	if (arena_later(arena, (void (*)(void *))exec_free, exec_ref(exec), err) < 0)
		return -1;
	*out = view;
	return 0;
}

static int read_all(struct exec *exec, int stream, int64_t end, struct buf *output, struct err *err)
{
	char chunk[4096];

	for (;;) {
		int64_t left = end - clock_mono_ms();
		struct pollfd p = {.fd = stream, .events = POLLIN};
		int n = poll(&p, 1, left < 0 ? 0 : left > 60000 ? 60000 : (int)left);
		if (n < 0 && errno != EINTR)
			return err_sys(err, "exec");
		if (n == 0 && clock_mono_ms() >= end)
			return err_set(err, ERR_TIMEOUT, "exec %.12s took too long", exec->id);
		if (n <= 0)
			continue;
		ssize_t got = read(stream, chunk, sizeof(chunk));
		if (got <= 0)
			return 0;
		if (output)
			buf_add_mem(output, chunk, (size_t)got);
	}
}

static int wait_ended(struct exec *exec, int64_t end, int *code, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&exec->lock);
	while (!exec->ended && rc == 0) {
		struct timespec ts = {end / 1000, end % 1000 * 1000000};
		if (clock_mono_ms() >= end)
			rc = err_set(err, ERR_TIMEOUT, "exec %.12s took too long", exec->id);
		else
			pthread_cond_timedwait(&exec->changed, &exec->lock, &ts);
	}
	*code = exec->exit_code;
	pthread_mutex_unlock(&exec->lock);
	return rc;
}

int exec_wait(struct engine *engine, const char *id, int64_t timeout_ms, struct err *err)
{
	auto_type(exec) exec = exec_get(engine, id, err);
	int code;

	if (!exec)
		return -1;
	(void)wait_ended(exec, clock_mono_ms() + timeout_ms, &code, NULL);
	return 0;
}

/* Frames become plain text, in place. */
static void unframe(struct buf *output)
{
	size_t in = 0, out = 0;

	while (in + 8 <= output->len) {
		const unsigned char *h = (const unsigned char *)output->data + in;
		size_t n = (size_t)h[4] << 24 | (size_t)h[5] << 16 | (size_t)h[6] << 8 | h[7];
		in += 8;
		if (n > output->len - in)
			n = output->len - in;
		memmove(output->data + out, output->data + in, n);
		in += n;
		out += n;
	}
	if (output->data) {
		output->len = out;
		output->data[out] = '\0';
	}
}

int exec_run(struct engine *engine, const char *ref, const struct api_exec_create *create,
             int64_t timeout_ms, struct exec_answer *answer, struct err *err)
{
	auto_type(exec) exec = exec_make(engine, ref, create, err);
	struct exec_start start = {0};
	int64_t end = clock_mono_ms() + timeout_ms;
	auto_close int stream = -1;

	if (!exec)
		return -1;
	exec->create.attach_stdout = exec->create.attach_stderr = true;
	if (exec_begin(exec, &start, &stream, err) < 0)
		return -1;
	int rc = read_all(exec, stream, end, answer->output, err);
	if (rc == 0)
		rc = wait_ended(exec, end, &answer->code, err);
	if (rc < 0) {
		auto_type(supervisor) s =
			supervisor_connect(engine->supervisors_fd, exec->name, NULL);
		if (s)
			(void)supervisor_kill(s, 9, true, NULL);
	}
	if (answer->output && !create->tty)
		unframe(answer->output);
	return rc;
}

/* ---- for the container ---- */

int exec_ids(struct engine *engine, const char *container_id, struct arena *arena, char ***out,
             struct err *err)
{
	size_t n = 0;
	const char *key;
	void *value;
	int rc = 0;

	pthread_mutex_lock(&engine->lock);
	char **ids = arena_array(arena, map_count(engine->execs) + 1, sizeof(*ids), err);
	for (void *iter = NULL; ids && rc == 0 && map_next(engine->execs, &iter, &key, &value);) {
		struct exec *exec = value;
		if (!str_eq(exec->c->id, container_id) || exec->ended)
			continue;
		ids[n] = arena_strdup(arena, key, err);
		rc = ids[n++] ? 0 : -1;
	}
	pthread_mutex_unlock(&engine->lock);
	if (!ids || rc < 0)
		return -1;
	*out = ids;
	return 0;
}

static void drop_matching(struct engine *engine, const char *container_id)
{
	const char *key;
	void *value;

	pthread_mutex_lock(&engine->lock);
	for (void *iter = NULL; map_next(engine->execs, &iter, &key, &value);) {
		struct exec *exec = value;
		pthread_mutex_lock(&exec->lock);
		bool drop = !container_id || (str_eq(exec->c->id, container_id) && !exec->started);
		pthread_mutex_unlock(&exec->lock);
		if (drop) {
			map_remove(engine->execs, key);
			exec_free(exec);
		}
	}
	pthread_mutex_unlock(&engine->lock);
}

void exec_drop_all(struct engine *engine, const char *container_id)
{
	drop_matching(engine, container_id);
}

void exec_forget_all(struct engine *engine)
{
	drop_matching(engine, NULL);
	while (engine->ended_execs)
		forget_oldest(engine);
}
