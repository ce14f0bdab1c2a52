/* SPDX-License-Identifier: Apache-2.0 */
#include "build/copy.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/str.h"

#define PATH_BYTES  4096
#define DEPTH_MAX   128
#define ENTRIES_MAX 200000 /* of one directory */
#define DIR_FLAGS   (O_RDONLY | O_DIRECTORY)

/* ---- names of a directory, in order ---- */

struct names {
	char **items;
	size_t count, cap;
	bool failed;
};

static void names_free(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->items[i]);
	free(n->items);
}

static int add_name(void *arg, int dir_fd, const char *name, unsigned char type)
{
	struct names *n = arg;

	(void)dir_fd, (void)type;
	if (n->count == n->cap) {
		size_t cap = n->cap ? n->cap * 2 : 64;
		char **items =
			cap > ENTRIES_MAX * 2 ? NULL : realloc(n->items, cap * sizeof(*items));
		if (!items) {
			n->failed = true;
			return 1;
		}
		n->items = items;
		n->cap = cap;
	}
	n->items[n->count] = strdup(name);
	n->failed = !n->items[n->count];
	n->count += !n->failed;
	return n->failed;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int read_names(int dir_fd, struct names *out, struct err *err)
{
	if (fs_list(dir_fd, add_name, out, err) < 0)
		return -1;
	if (out->failed)
		return err_set(err, ERR_LIMIT, "a directory has too many entries");
	if (out->count)
		qsort(out->items, out->count, sizeof(*out->items), compare);
	return 0;
}

#define auto_names __attribute__((cleanup(names_free))) struct names

static int join(char path[PATH_BYTES], const char *dir, const char *name, struct err *err)
{
	int n = snprintf(path, PATH_BYTES, "%s%s%s", dir, *dir ? "/" : "", name);

	if (n < 0 || n >= PATH_BYTES)
		return err_set(err, ERR_LIMIT, "a path is longer than %d bytes", PATH_BYTES);
	return 0;
}

static bool ignored(const struct copy_plan *plan, const char *path)
{
	return plan->ignore && *path && pattern_list_excludes(plan->ignore, path);
}

/* ---- which files ---- */

/* Go's path.Clean for a source: relative, no "." or "..", no slash at the ends. */
static void clean_source(const char *arg, char out[PATH_BYTES])
{
	size_t used = 0;

	while (*arg) {
		size_t len = strcspn(arg, "/");
		if (len == 2 && arg[0] == '.' && arg[1] == '.') {
			while (used > 0 && out[--used] != '/')
				;
		} else if (len > 0 && !(len == 1 && *arg == '.') && used + len + 2 < PATH_BYTES) {
			if (used)
				out[used++] = '/';
			memcpy(out + used, arg, len);
			used += len;
		}
		arg += len;
		arg += *arg == '/';
	}
	out[used] = '\0';
}

struct expansion {
	struct copy_plan *plan;
	struct arena *arena;
	size_t cap;
	struct err *err;
};

static int add_source(struct expansion *e, const char *path)
{
	struct copy_plan *plan = e->plan;
	struct stat st;
	/* O_PATH follows a final link, inside the root: a source that is a link is what it points to. */
	auto_close int fd = fs_open_in(plan->root_fd, *path ? path : ".", O_PATH, 0, e->err);

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		return err_sys(e->err, "%s", path);
	if (plan->count == e->cap) {
		size_t cap = e->cap ? e->cap * 2 : 8;
		struct copy_source *more = arena_array(e->arena, cap, sizeof(*more), e->err);
		if (!more)
			return -1;
		if (plan->count)
			memcpy(more, plan->sources, plan->count * sizeof(*more));
		plan->sources = more;
		e->cap = cap;
	}
	char *copy = arena_strdup(e->arena, path, e->err);
	if (!copy)
		return -1;
	plan->sources[plan->count++] =
		(struct copy_source){.path = copy, .is_dir = S_ISDIR(st.st_mode)};
	return 0;
}

/* Matches the pattern's components one directory at a time. `done` is the part matched so far. */
static int expand(struct expansion *e, const char *done, const char *pattern)
{
	char part[PATH_BYTES], path[PATH_BYTES];
	size_t len = strcspn(pattern, "/");
	const char *rest = pattern[len] ? pattern + len + 1 : "";

	snprintf(part, sizeof(part), "%.*s", (int)len, pattern);
	auto_close int dir = fs_open_in(e->plan->root_fd, *done ? done : ".", DIR_FLAGS, 0, NULL);
	if (dir < 0)
		return 0;
	auto_names names = {0};
	if (read_names(dir, &names, e->err) < 0)
		return -1;
	for (size_t i = 0; i < names.count; i++) {
		if (!pattern_match(part, names.items[i]))
			continue;
		if (join(path, done, names.items[i], e->err) < 0)
			return -1;
		if (*rest ? expand(e, path, rest) < 0
		          : !ignored(e->plan, path) && add_source(e, path) < 0)
			return -1;
	}
	return 0;
}

static int not_found(const char *arg, bool is_context, struct err *err)
{
	if (is_context)
		return err_set(
			err, ERR_NOT_FOUND,
			"file not found in build context or excluded by .dockerignore: \"%s\"",
			arg);
	return err_set(err, ERR_NOT_FOUND, "file not found: \"%s\"", arg);
}

int copy_plan_make(int root_fd, const struct pattern_list *ignore, const char *const *args,
                   size_t count, struct arena *arena, struct copy_plan *out, struct err *err)
{
	struct copy_plan plan = {.root_fd = root_fd, .ignore = ignore};
	struct expansion e = {.plan = &plan, .arena = arena, .err = err};

	for (size_t i = 0; i < count; i++) {
		char path[PATH_BYTES];
		size_t before = plan.count;
		clean_source(args[i], path);
		if (pattern_check(path, err) < 0)
			return -1;
		if (!pattern_is_literal(path)) {
			if (expand(&e, "", path) < 0)
				return -1;
		} else if (!ignored(&plan, path) || plan.ignore->has_exceptions) {
			struct err why = ERR_INIT;
			e.err = &why;
			int rc = add_source(&e, path);
			e.err = err;
			if (rc < 0 && why.kind != ERR_NOT_FOUND) {
				*err = why;
				return -1;
			}
		}
		if (plan.count == before)
			return not_found(args[i], ignore != NULL, err);
	}
	*out = plan;
	return 0;
}

/* ---- hash ---- */

struct hashing {
	const struct copy_plan *plan;
	struct hash *hash;
	struct err *err;
};

static int hash_file(struct hashing *h, int dir_fd, const char *name, const struct stat *st)
{
	char content[HASH_HEX_MAX] = "";

	if (S_ISREG(st->st_mode)) {
		auto_close int fd = fs_open(dir_fd, name, O_RDONLY | O_NOFOLLOW, 0, h->err);
		if (fd < 0 || hash_fd_hex(fd, content, h->err) < 0)
			return -1;
	} else if (S_ISLNK(st->st_mode)) {
		auto_buf struct buf target = BUF_INIT(PATH_BYTES);
		if (fs_readlink(dir_fd, name, &target, h->err) < 0)
			return -1;
		hash_add(h->hash, buf_str(&target), target.len + 1);
	}
	hash_add(h->hash, content, strlen(content) + 1);
	return 0;
}

/* Owners do not count: what is made belongs to --chown. */
static int hash_entry(struct hashing *h, int dir_fd, const char *name, const char *path, int depth);

static int hash_dir(struct hashing *h, int dir_fd, const char *path, int depth)
{
	auto_names names = {0};
	char below[PATH_BYTES];

	if (depth > DEPTH_MAX)
		return err_set(h->err, ERR_LIMIT, "directories deeper than %d", DEPTH_MAX);
	if (read_names(dir_fd, &names, h->err) < 0)
		return -1;
	for (size_t i = 0; i < names.count; i++) {
		if (join(below, path, names.items[i], h->err) < 0 ||
		    hash_entry(h, dir_fd, names.items[i], below, depth + 1) < 0)
			return -1;
	}
	return 0;
}

static int hash_entry(struct hashing *h, int dir_fd, const char *name, const char *path, int depth)
{
	bool skip = ignored(h->plan, path);
	struct stat st;
	char line[32];

	if (fs_stat(dir_fd, name, &st, h->err) < 0)
		return -1;
	bool is_dir = S_ISDIR(st.st_mode);
	if (skip && !(is_dir && h->plan->ignore->has_exceptions))
		return 0;
	if (!skip) {
		snprintf(line, sizeof(line), "%o", st.st_mode);
		hash_add(h->hash, path, strlen(path) + 1);
		hash_add(h->hash, line, strlen(line) + 1);
		if (!is_dir)
			return hash_file(h, dir_fd, name, &st);
	}
	auto_close int fd = fs_open_dir(dir_fd, name, h->err);
	return fd < 0 ? -1 : hash_dir(h, fd, path, depth);
}

int copy_plan_hash(const struct copy_plan *plan, char hex[65], struct err *err)
{
	auto_type(hash) state = hash_create(err);
	struct hashing h = {.plan = plan, .hash = state, .err = err};

	if (!state)
		return -1;
	for (size_t i = 0; i < plan->count; i++) {
		const char *path = plan->sources[i].path;
		const char *slash = strrchr(path, '/');
		if (plan->sources[i].is_dir) {
			auto_close int dir =
				fs_open_in(plan->root_fd, *path ? path : ".", DIR_FLAGS, 0, err);
			hash_add(state, "dir", 4);
			if (dir < 0 || hash_dir(&h, dir, path, 0) < 0)
				return -1;
			continue;
		}
		auto_close int fd = fs_open_in(plan->root_fd, path, O_RDONLY, 0, err);
		char content[HASH_HEX_MAX], mode[16];
		struct stat st;
		if (fd < 0 || hash_fd_hex(fd, content, err) < 0)
			return -1;
		if (fstat(fd, &st) < 0)
			return err_sys(err, "%s", path);
		snprintf(mode, sizeof(mode), "%o", st.st_mode);
		hash_add(state, slash ? slash + 1 : path, strlen(slash ? slash + 1 : path) + 1);
		hash_add(state, mode, strlen(mode) + 1);
		hash_add(state, content, strlen(content) + 1);
	}
	hash_hex(state, hex);
	return 0;
}

/* ---- copying ---- */

struct copying {
	const struct copy_plan *plan;
	const struct copy_target *target;
	struct err *err;
};

static int set_attributes(struct copying *c, int fd, const struct stat *from)
{
	mode_t mode = c->target->mode >= 0 ? (mode_t)c->target->mode : from->st_mode & 07777;
	struct timespec times[2] = {from->st_mtim, from->st_mtim};

	if (fchown(fd, c->target->uid, c->target->gid) < 0 || fchmod(fd, mode) < 0 ||
	    futimens(fd, times) < 0)
		return err_sys(c->err, "set attributes");
	return 0;
}

static int copy_regular(struct copying *c, int in_fd, int dir_fd, const char *name)
{
	struct stat st;

	if (fstat(in_fd, &st) < 0)
		return err_sys(c->err, "%s", name);
	/* What stands there is replaced, not written through: it may be a link or another layer's file. */
	if (fs_unlink(dir_fd, name, c->err) < 0)
		return -1;
	auto_close int out = fs_open(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL, 0600, c->err);
	if (out < 0 || fs_copy_fd(in_fd, out, UINT64_MAX, NULL, c->err) < 0)
		return -1;
	return set_attributes(c, out, &st);
}

static int copy_link(struct copying *c, int from_fd, int dir_fd, const char *name)
{
	auto_buf struct buf target = BUF_INIT(PATH_BYTES);

	if (fs_readlink(from_fd, name, &target, c->err) < 0 ||
	    fs_unlink(dir_fd, name, c->err) < 0 ||
	    fs_symlink(buf_str(&target), dir_fd, name, c->err) < 0)
		return -1;
	if (fchownat(dir_fd, name, c->target->uid, c->target->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(c->err, "%s", name);
	return 0;
}

static int copy_content(struct copying *c, int from_fd, int to_fd, const char *path, int depth);

/* A directory that is there keeps its own attributes; a new one gets the source's. */
static int copy_subdir(struct copying *c, int from_fd, int dir_fd, const char *name,
                       const char *path, int depth)
{
	struct stat st;
	struct err why = ERR_INIT;
	auto_close int in = fs_open_dir(from_fd, name, c->err);

	if (in < 0)
		return -1;
	bool made = fs_mkdir(dir_fd, name, 0700, &why) == 0;
	if (!made && why.kind != ERR_CONFLICT) {
		*c->err = why;
		return -1;
	}
	auto_close int out = fs_open_dir(dir_fd, name, c->err);
	if (out < 0 || copy_content(c, in, out, path, depth + 1) < 0)
		return -1;
	if (!made)
		return 0;
	if (fstat(in, &st) < 0)
		return err_sys(c->err, "%s", path);
	return set_attributes(c, out, &st);
}

static int copy_entry(struct copying *c, int from_fd, int to_fd, const char *name, const char *path,
                      int depth)
{
	bool skip = ignored(c->plan, path);
	struct stat st;

	if (fs_stat(from_fd, name, &st, c->err) < 0)
		return -1;
	if (S_ISDIR(st.st_mode))
		return skip && !c->plan->ignore->has_exceptions
		               ? 0
		               : copy_subdir(c, from_fd, to_fd, name, path, depth);
	if (skip)
		return 0;
	if (S_ISLNK(st.st_mode))
		return copy_link(c, from_fd, to_fd, name);
	if (!S_ISREG(st.st_mode))
		return err_set(c->err, ERR_INVALID, "%s: not a file, directory or link", path);
	auto_close int in = fs_open(from_fd, name, O_RDONLY | O_NOFOLLOW, 0, c->err);
	return in < 0 ? -1 : copy_regular(c, in, to_fd, name);
}

static int copy_content(struct copying *c, int from_fd, int to_fd, const char *path, int depth)
{
	auto_names names = {0};
	char below[PATH_BYTES];

	if (depth > DEPTH_MAX)
		return err_set(c->err, ERR_LIMIT, "directories deeper than %d", DEPTH_MAX);
	if (read_names(from_fd, &names, c->err) < 0)
		return -1;
	for (size_t i = 0; i < names.count; i++)
		if (join(below, path, names.items[i], c->err) < 0 ||
		    copy_entry(c, from_fd, to_fd, names.items[i], below, depth) < 0)
			return -1;
	return 0;
}

static int copy_dir(struct copying *c, const struct copy_source *source)
{
	auto_close int from = fs_open_in(c->plan->root_fd, *source->path ? source->path : ".",
	                                 DIR_FLAGS, 0, c->err);
	struct err why = ERR_INIT;

	if (from < 0)
		return -1;
	auto_close int there = fs_open_in(c->target->root_fd, c->target->path, DIR_FLAGS, 0, &why);
	auto_close int to =
		there >= 0 ? fs_open(there, ".", DIR_FLAGS, 0, c->err)
			   : fs_mkdir_all_in(c->target->root_fd, c->target->path, 0755, c->err);
	if (to < 0 || copy_content(c, from, to, source->path, 0) < 0)
		return -1;
	if (there >= 0)
		return 0;
	/* What is copied is the content: a target that had to be made is a plain directory. */
	mode_t mode = c->target->mode >= 0 ? (mode_t)c->target->mode : 0755;
	if (fchown(to, c->target->uid, c->target->gid) < 0 || fchmod(to, mode) < 0)
		return err_sys(c->err, "%s", c->target->path);
	return 0;
}

/* Is the target a directory already, or said to be one? Then the file goes into it. */
static bool into_directory(const struct copying *c)
{
	struct stat st;
	auto_close int fd = fs_open_in(c->target->root_fd, c->target->path, O_PATH, 0, NULL);

	return c->target->is_dir || (fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode));
}

static int copy_file(struct copying *c, const struct copy_source *source)
{
	const char *slash = strrchr(source->path, '/');
	const char *name = slash ? slash + 1 : source->path;
	char parent[PATH_BYTES];
	auto_close int in = fs_open_in(c->plan->root_fd, source->path, O_RDONLY, 0, c->err);

	if (in < 0)
		return -1;
	snprintf(parent, sizeof(parent), "%s", c->target->path);
	if (!into_directory(c)) {
		char *last = strrchr(parent, '/');
		name = c->target->path + (last - parent) + 1;
		*last = '\0';
	}
	auto_close int dir =
		fs_mkdir_all_in(c->target->root_fd, *parent ? parent : "/", 0755, c->err);
	return dir < 0 ? -1 : copy_regular(c, in, dir, name);
}

int copy_plan_run(const struct copy_plan *plan, const struct copy_target *target, struct err *err)
{
	struct copying c = {.plan = plan, .target = target, .err = err};

	for (size_t i = 0; i < plan->count; i++) {
		const struct copy_source *source = &plan->sources[i];
		if ((source->is_dir ? copy_dir(&c, source) : copy_file(&c, source)) < 0)
			return -1;
	}
	return 0;
}
