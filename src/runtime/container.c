/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/container.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/cgroup.h"
#include "runtime/rdt.h"
#include "runtime/spec.h"

#define STATE_MAX (64 << 10)

static const struct json_field state_fields[] = {
	JSON_FIELD(struct container, bundle, "bundle", JSON_STRING, .required = true),
	JSON_FIELD(struct container, created, "created", JSON_STRING, .required = true),
	JSON_FIELD(struct container, rootfs, "rootfs", JSON_STRING, .required = true),
	JSON_FIELD(struct container, pid, "pid", JSON_INT, .required = true),
	JSON_FIELD(struct container, pid_start, "pidStart", JSON_INT, .required = true),
	JSON_FIELD(struct container, owner, "owner", JSON_INT),
	JSON_FIELD(struct container, cgroup_manager, "cgroupManager", JSON_STRING,
                   .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct container, cgroup_path, "cgroupPath", JSON_STRING,
                   .empty = JSON_EMPTY_OMIT),
	JSON_END,
};
static const struct json_table state_table = JSON_TABLE_STRICT(struct container, state_fields);

/* ids become directory and cgroup names. */
static int check_id(const char *id, struct err *err)
{
	size_t len = strlen(id);

	if (len == 0 || len > 255 || *id == '.' || *id == '-' ||
	    strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.") != len)
		return err_set(err, ERR_INVALID,
		               "container id '%.64s' must be 1 to 255 of a-z A-Z 0-9 _ + - . and "
		               "not begin with . or -",
		               id);
	return 0;
}

static struct container *new_container(const char *root, const char *id, bool create,
                                       struct err *err)
{
	if (check_id(id, err) < 0)
		return NULL;
	auto_type(container) c = calloc(1, sizeof(*c));
	if (!c) {
		err_nomem(err);
		return NULL;
	}
	c->root_fd = -1;
	c->dir_fd = -1;
	c->arena = ARENA_INIT(SPEC_ARENA_MAX);
	c->id = strdup(id);
	if (!c->id) {
		err_nomem(err);
		return NULL;
	}
	c->root_fd = fs_trusted_open_dir(root, create, err);
	return c->root_fd < 0 ? NULL : move_ptr(c);
}

void container_free(struct container *c)
{
	if (!c)
		return;
	cleanup_close(&c->root_fd);
	cleanup_close(&c->dir_fd);
	free(c->id);
	arena_done(&c->arena);
	free(c);
}

/* ---- files ---- */

/* /proc/<pid>/stat: the command may hold anything, so fields count from the last ')'. */
static int64_t read_start_time(pid_t pid, char *state)
{
	auto_buf struct buf text = BUF_INIT(4096);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (fs_trusted_read(path, 4096, &text, NULL) < 0)
		return -1;
	const char *p = strrchr(buf_str(&text), ')');
	if (!p || p[1] != ' ')
		return -1;
	*state = p[2];
	for (int field = 2; field < 22 && p; field++)
		p = strchr(p + 1, ' ');
	return p ? strtoll(p + 1, NULL, 10) : -1;
}

static int save(struct container *c, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(STATE_MAX);

	if (json_encode_text(&state_table, c, &text, err) < 0)
		return -1;
	return fs_write_atomic(c->dir_fd, "state.json", text.data, text.len, 0600, err);
}

/* path: NULL is config.json in the directory. */
static int read_spec(struct container *c, int dir_fd, const char *path, struct buf *text,
                     struct err *err)
{
	if (path ? fs_trusted_read(path, SPEC_TEXT_MAX, text, err) < 0
	         : fs_read(dir_fd, "config.json", SPEC_TEXT_MAX, text, err) < 0)
		return -1;
	c->spec = spec_parse(text->data, text->len, &c->arena, err);
	return c->spec ? 0 : err_wrap(err, "%s", path ? path : "config.json");
}

static int fill_new(struct container *c, const struct container_new *new, struct buf *config,
                    struct err *err)
{
	char text[CLOCK_TEXT_MAX], path[PATH_MAX];

	if (!realpath(new->bundle, path))
		return err_sys(err, "bundle %s", new->bundle);
	auto_close int bundle_fd = fs_trusted_open_dir(path, false, err);
	if (bundle_fd < 0 || read_spec(c, bundle_fd, new->config, config, err) < 0)
		return -1;
	const char *root = c->spec->root.path;
	c->bundle = arena_strdup(&c->arena, path, err);
	c->created = arena_strdup(&c->arena, clock_format(clock_wall_ns(), text), err);
	c->rootfs = *root == '/' ? arena_strdup(&c->arena, root, err)
	                         : arena_printf(&c->arena, err, "%s/%s", path, root);
	c->owner = (int64_t)getuid();
	if (new->manager != PLACE_CGROUPFS) {
		c->cgroup_manager = arena_strdup(&c->arena, place_manager_name(new->manager), err);
		if (!c->cgroup_manager)
			return -1;
	}
	return c->bundle && c->created && c->rootfs ? 0 : -1;
}

struct container *container_create(const struct container_new *new, const char *id, struct err *err)
{
	auto_buf struct buf config = BUF_INIT(SPEC_TEXT_MAX);
	auto_type(container) c = new_container(new->root, id, true, err);
	struct err why = ERR_INIT;

	if (!c || fill_new(c, new, &config, err) < 0)
		return NULL;
	if (fs_mkdir(c->root_fd, id, 0700, &why) < 0) {
		if (why.kind == ERR_CONFLICT)
			err_set(err, ERR_CONFLICT, "container with id %s exists already", id);
		else if (err)
			*err = why;
		return NULL;
	}
	c->dir_fd = fs_open_dir(c->root_fd, id, err);
	if (c->dir_fd < 0 || FAILPOINT("container.dir", err) < 0 ||
	    fs_write_atomic(c->dir_fd, "config.json", config.data, config.len, 0600, err) < 0 ||
	    FAILPOINT("container.config", err) < 0 || save(c, err) < 0 ||
	    FAILPOINT("container.state", err) < 0) {
		(void)fs_remove_tree(c->root_fd, id, NULL);
		return NULL;
	}
	return move_ptr(c);
}

struct container *container_open(const char *root, const char *id, struct err *err)
{
	auto_buf struct buf state = BUF_INIT(STATE_MAX);
	auto_buf struct buf config = BUF_INIT(SPEC_TEXT_MAX);
	struct err why = ERR_INIT;
	auto_type(container) c = new_container(root, id, false, &why);

	if (c)
		c->dir_fd = fs_open_dir(c->root_fd, id, &why);
	if (!c || c->dir_fd < 0) {
		if (why.kind == ERR_NOT_FOUND)
			err_set(err, ERR_NOT_FOUND, "container %s does not exist", id);
		else if (err)
			*err = why;
		return NULL;
	}
	if (fs_read(c->dir_fd, "state.json", STATE_MAX, &state, err) < 0 ||
	    json_decode_text(state.data, state.len, &state_table, &c->arena, c, err) < 0 ||
	    read_spec(c, c->dir_fd, NULL, &config, err) < 0) {
		err_wrap(err, "container %s", id);
		return NULL;
	}
	return move_ptr(c);
}

int container_save(struct container *c, pid_t pid, const struct cgroup *cg, struct err *err)
{
	char state;

	if (!cg)
		c->cgroup_manager = arena_strdup(&c->arena, place_manager_name(PLACE_NONE), err);
	if (!cg && !c->cgroup_manager)
		return -1;
	if (cg && c->cgroup_manager) {
		c->cgroup_path = arena_strdup(&c->arena, cgroup_path(cg), err);
		if (!c->cgroup_path)
			return -1;
	}
	c->pid = pid;
	c->pid_start = read_start_time(pid, &state);
	return save(c, err);
}

/* ---- status ---- */

bool container_is_alive(const struct container *c)
{
	char state = '\0';

	if (c->pid <= 0)
		return false;
	return read_start_time((pid_t)c->pid, &state) == c->pid_start && state != 'Z' &&
	       state != 'X';
}

enum container_status container_status(struct container *c)
{
	if (c->pid == 0)
		return CONTAINER_CREATING;
	if (!container_is_alive(c))
		return CONTAINER_STOPPED;
	auto_type(cgroup) cg = container_cgroup(c, NULL);
	if (cg && cgroup_is_frozen(cg))
		return CONTAINER_PAUSED;
	return fs_exists(c->dir_fd, "start.sock") ? CONTAINER_CREATED : CONTAINER_RUNNING;
}

bool container_is_taken(const struct container *c)
{
	return fs_exists(c->dir_fd, CONTAINER_CHECKPOINT_MARK);
}

const char *container_status_name(enum container_status status)
{
	static const char *const names[] = {"creating", "created", "running", "paused", "stopped"};

	return names[status];
}

struct place container_place(const struct container *c)
{
	struct place place = {.manager = PLACE_CGROUPFS, .path = c->cgroup_path};

	if (c->cgroup_manager)
		(void)place_parse_manager(c->cgroup_manager, &place.manager, NULL);
	return place;
}

struct cgroup *container_cgroup(const struct container *c, struct err *err)
{
	const struct place place = container_place(c);

	return place_open(&place, c->spec, c->id, err);
}

struct json *container_state(struct container *c, struct err *err)
{
	enum container_status status = container_status(c);
	auto_type(json) j = json_object();
	int64_t pid = status == CONTAINER_STOPPED ? 0 : c->pid;

	json_set(j, "ociVersion", json_string(c->spec->version));
	json_set(j, "id", json_string(c->id));
	json_set(j, "pid", json_int(pid));
	json_set(j, "status", json_string(container_status_name(status)));
	json_set(j, "bundle", json_string(c->bundle));
	json_set(j, "rootfs", json_string(c->rootfs));
	json_set(j, "created", json_string(c->created));
	if (c->spec->annotations && json_count(c->spec->annotations) > 0)
		json_set(j, "annotations", json_ref(c->spec->annotations));
	if (json_set(j, "owner", json_string(c->owner == 0 ? "root" : "")) < 0) {
		err_nomem(err);
		return NULL;
	}
	return move_ptr(j);
}

int container_remove(struct container *c, struct cgroup *cg, struct err *err)
{
	auto_type(cgroup) opened = cg ? NULL : container_cgroup(c, NULL);
	pid_t any;

	if (!cg)
		cg = opened;
	if (container_is_alive(c))
		(void)kill((pid_t)c->pid, SIGKILL);
	if (FAILPOINT("container.remove.killed", err) < 0)
		return -1;
	if (cg) {
		if (cgroup_pids(cg, &any, 1, NULL) != 0)
			(void)cgroup_kill(cg, SIGKILL, NULL);
		if (cgroup_remove(cg, err) < 0)
			return -1;
	}
	const struct place place = container_place(c);
	(void)place_forget(&place, c->spec, c->id, NULL);
	if (FAILPOINT("container.remove.cgroup", err) < 0)
		return -1;
	const struct oci_rdt *rdt = c->spec ? c->spec->linux_.intel_rdt : NULL;
	auto_close int resctrl = rdt ? rdt_open(NULL) : -1;
	if (resctrl >= 0 && rdt_remove(resctrl, rdt, c->id, err) < 0)
		return -1;
	return fs_remove_tree(c->root_fd, c->id, err);
}

int container_remove_half(const char *root, const char *id, struct err *err)
{
	struct err why = ERR_INIT;
	auto_type(container) c = new_container(root, id, false, &why);

	if (!c && why.kind == ERR_NOT_FOUND)
		return 0;
	if (!c) {
		if (err)
			*err = why;
		return -1;
	}
	return fs_remove_tree(c->root_fd, c->id, err);
}

/* ---- all ---- */

struct lister {
	int (*fn)(void *arg, const char *id);
	void *arg;
};

static int list_one(void *arg, int dir_fd, const char *name, unsigned char type)
{
	struct lister *lister = arg;

	(void)dir_fd;
	if (type != 4 /* DT_DIR */ || check_id(name, NULL) < 0)
		return 0;
	return lister->fn(lister->arg, name);
}

int container_list(const char *root, int (*fn)(void *arg, const char *id), void *arg,
                   struct err *err)
{
	struct lister lister = {.fn = fn, .arg = arg};
	struct err why = ERR_INIT;
	auto_close int fd = fs_trusted_open_dir(root, false, &why);

	if (fd < 0 && why.kind == ERR_NOT_FOUND)
		return 0;
	if (fd < 0) {
		if (err)
			*err = why;
		return -1;
	}
	return fs_list(fd, list_one, &lister, err);
}
