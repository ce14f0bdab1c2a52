/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/checkpoint.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/str.h"
#include "engine/private.h"

#define DIRECTORY      "checkpoints" /* in the container's */
#define DIR_TEXT_MAX   3072          /* names of CRIU's files are to fit behind it */
#define PATH_TEXT_MAX  (PATH_MAX - 1)
#define END_TIMEOUT_MS 20000

static bool has_dots(const char *path)
{
	for (const char *at = path; (at = strstr(at, "..")); at += 2)
		if ((at == path || at[-1] == '/') && (at[2] == '/' || at[2] == '\0'))
			return true;
	return false;
}

static int check_dir(const char *dir, struct err *err)
{
	if (str_empty(dir))
		return 0;
	if (*dir != '/' || has_dots(dir))
		return err_set(err, ERR_INVALID,
		               "checkpoint directory: '%.200s' is not an absolute path without ..",
		               dir);
	if (strlen(dir) > DIR_TEXT_MAX)
		return err_set(err, ERR_INVALID, "checkpoint directory: %zu characters, at most %d",
		               strlen(dir), DIR_TEXT_MAX);
	return 0;
}

static int check_place(const struct checkpoint_place *place, struct err *err)
{
	if (str_empty(place->name))
		return err_set(err, ERR_INVALID, "checkpoint: its name is missing");
	return id_check_name(place->name, "checkpoint name", err) < 0 ||
	                       check_dir(place->dir, err) < 0
	               ? -1
	               : 0;
}

static int check_container(const struct container *c, struct err *err)
{
	return c->first_id ? err_set(err, ERR_UNSUPPORTED,
	                             "container %s has a user namespace of its own, for which CRIU "
	                             "makes no checkpoints: create it with --userns host",
	                             c->name)
	                   : 0;
}

/* The directory that checkpoints of c are in. ERR_NOT_FOUND if there is none, unless create. */
static int open_parent(struct container *c, const char *dir, bool create, struct err *err)
{
	if (!str_empty(dir))
		return fs_trusted_open_dir(dir, create, err);
	auto_close int own = container_dir(c, err);
	if (own < 0)
		return -1;
	return create ? fs_mkdir_all(own, DIRECTORY, 0700, err) : fs_open_dir(own, DIRECTORY, err);
}

/* What the launcher is told. */
struct paths {
	struct buf images, work;
	struct launch_images where;
};
#define PATHS_INIT                                                                                 \
	{                                                                                          \
		.images = BUF_INIT(PATH_TEXT_MAX), .work = BUF_INIT(PATH_TEXT_MAX)                 \
	}

static void paths_done(struct paths *p)
{
	buf_free(&p->images);
	buf_free(&p->work);
}

static int name_paths(const struct container *c, const struct checkpoint_place *place,
                      struct paths *p, struct err *err)
{
	if (str_empty(place->dir))
		buf_addf(&p->images, "%s/containers/%s/" DIRECTORY "/%s", c->engine->root, c->id,
		         place->name);
	else
		buf_addf(&p->images, "%s/%s", place->dir, place->name);
	buf_addf(&p->work, "%s/containers/%s/criu", c->engine->root, c->id);
	if (buf_check(&p->images, err) < 0 || buf_check(&p->work, err) < 0)
		return -1;
	p->where = (struct launch_images){buf_str(&p->images), buf_str(&p->work)};
	return 0;
}

/* ---- list ---- */

struct listing {
	struct arena *arena;
	struct json_strings *out;
	char *names[CHECKPOINT_MAX];
	struct err *err;
};

static int add_entry(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	struct listing *l = arg;
	struct stat st;

	(void)d_type;
	if (id_check_name(name, "checkpoint name", NULL) < 0 ||
	    fs_stat(dir_fd, name, &st, NULL) < 0 || !S_ISDIR(st.st_mode))
		return 0;
	if (l->out->count == CHECKPOINT_MAX)
		return err_set(l->err, ERR_LIMIT, "more than %d checkpoints", CHECKPOINT_MAX);
	l->names[l->out->count] = arena_strdup(l->arena, name, l->err);
	return l->names[l->out->count++] ? 0 : -1;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list(int parent_fd, struct arena *arena, struct json_strings *out, struct err *err)
{
	struct json_strings found = {.present = true};
	struct listing l = {.arena = arena, .out = &found, .err = err};

	if (fs_list(parent_fd, add_entry, &l, err) != 0)
		return -1;
	qsort(l.names, found.count, sizeof(*l.names), by_name);
	found.items = arena_array(arena, found.count + 1, sizeof(*found.items), err);
	if (!found.items)
		return -1;
	memcpy(found.items, l.names, found.count * sizeof(*l.names));
	*out = found;
	return 0;
}

int checkpoint_list(struct engine *engine, const char *ref, const char *dir, struct arena *arena,
                    struct json_strings *out, struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);
	struct err why = ERR_INIT;

	if (!c || check_dir(dir, err) < 0)
		return -1;
	auto_close int parent = open_parent(c, dir, false, &why);
	if (parent >= 0)
		return list(parent, arena, out, err);
	if (!err_is(&why, ERR_NOT_FOUND) || !str_empty(dir))
		return err_set(err, why.kind, "checkpoint directory: %s", why.msg);
	*out = (struct json_strings){.present = true};
	return 0;
}

/* ---- create ---- */

static int check_running(struct container *c, bool stays, struct err *err)
{
	pthread_mutex_lock(&c->lock);
	enum container_status status = c->status;
	bool seen = c->exit_seen;
	pthread_mutex_unlock(&c->lock);
	if (status == STATUS_PAUSED)
		return err_set(err, ERR_CONFLICT, "Container %s is paused: unpause it first",
		               c->id);
	if (status != STATUS_RUNNING || seen)
		return err_set(err, ERR_CONFLICT, "Container %s is not running", c->id);
	if (!stays && c->config->create.host.auto_remove)
		return err_set(err, ERR_CONFLICT,
		               "container %s is removed when it ends, and the checkpoint with it: "
		               "leave it running, or name a directory",
		               c->name);
	return check_container(c, err);
}

static int make_directory(struct container *c, int parent, const char *name, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct json_strings names;
	struct err why = ERR_INIT;

	if (list(parent, &arena, &names, err) < 0)
		return -1;
	if (names.count == CHECKPOINT_MAX)
		return err_set(err, ERR_LIMIT, "%d checkpoints are the most: remove some",
		               CHECKPOINT_MAX);
	if (fs_mkdir(parent, name, 0700, &why) == 0)
		return 0;
	if (err_is(&why, ERR_CONFLICT))
		return err_set(err, ERR_CONFLICT,
		               "checkpoint with name %s already exists for container %s", name,
		               c->name);
	return err_set(err, why.kind, "checkpoint %s: %s", name, why.msg);
}

/* Whether an end that comes is one that was wanted: no policy starts it again. Returns what it was. */
static bool set_wanted(struct container *c, bool wanted)
{
	pthread_mutex_lock(&c->lock);
	bool was = c->manually_stopped;
	c->manually_stopped = wanted;
	pthread_mutex_unlock(&c->lock);
	return was;
}

static int write_images(struct container *c, const struct launch_images *where, bool ends,
                        struct err *err)
{
	struct err why = ERR_INIT;
	bool was = set_wanted(c, ends || c->manually_stopped);

	if (launcher_checkpoint(c->engine->launcher, c->id, where, !ends, &why) < 0) {
		(void)set_wanted(c, was);
		return err_set(err, why.kind, "Cannot checkpoint container %s: %s", c->name,
		               why.msg);
	}
	(void)state_save(c, NULL); /* its end saves it, too */
	return 0;
}

/* op held. */
static int create(struct container *c, const struct checkpoint_place *place, bool ends,
                  struct err *err)
{
	__attribute__((cleanup(paths_done))) struct paths paths = PATHS_INIT;

	if (check_running(c, !ends || !str_empty(place->dir), err) < 0 ||
	    name_paths(c, place, &paths, err) < 0)
		return -1;
	auto_close int parent = open_parent(c, place->dir, true, err);
	if (parent < 0 || make_directory(c, parent, place->name, err) < 0)
		return -1;
	if (write_images(c, &paths.where, ends, err) == 0)
		return 0;
	(void)fs_remove_tree(parent, place->name, NULL);
	return -1;
}

int checkpoint_create(struct engine *engine, const char *ref, const struct checkpoint_place *place,
                      bool ends, struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);

	if (!c || check_place(place, err) < 0)
		return -1;
	pthread_mutex_lock(&c->op);
	pthread_mutex_lock(&c->lock);
	uint64_t run = c->run;
	pthread_mutex_unlock(&c->lock);
	int rc = create(c, place, ends, err);
	pthread_mutex_unlock(&c->op);
	if (rc < 0)
		return -1;
	container_event(c, "checkpoint", NULL, NULL);
	return ends ? settle_wait(c, run, END_TIMEOUT_MS, err) : 0;
}

/* ---- remove, start ---- */

static int find(struct container *c, const struct checkpoint_place *place, int *parent,
                struct err *err)
{
	struct err why = ERR_INIT;
	struct stat st;

	if (check_place(place, err) < 0)
		return -1;
	*parent = open_parent(c, place->dir, false, &why);
	if (*parent >= 0 && fs_stat(*parent, place->name, &st, &why) == 0 && S_ISDIR(st.st_mode))
		return 0;
	if (why.kind != ERR_NOT_FOUND && *parent < 0)
		return err_set(err, why.kind, "checkpoint directory: %s", why.msg);
	return err_set(err, ERR_NOT_FOUND, "checkpoint %s does not exist for container %s",
	               place->name, c->name);
}

int checkpoint_remove(struct engine *engine, const char *ref, const struct checkpoint_place *place,
                      struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);
	auto_close int parent = -1;

	if (!c)
		return -1;
	pthread_mutex_lock(&c->op);
	int rc = find(c, place, &parent, err);
	if (rc == 0)
		rc = fs_remove_tree(parent, place->name, err);
	pthread_mutex_unlock(&c->op);
	return rc;
}

int checkpoint_start(struct engine *engine, const char *ref, const struct checkpoint_place *place,
                     struct err *err)
{
	__attribute__((cleanup(paths_done))) struct paths paths = PATHS_INIT;
	auto_type(container) c = container_get(engine, ref, err);
	auto_close int parent = -1;

	if (!c || find(c, place, &parent, err) < 0 || check_container(c, err) < 0 ||
	    name_paths(c, place, &paths, err) < 0)
		return -1;
	return start_from(c, &paths.where, err);
}
