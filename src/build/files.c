/* SPDX-License-Identifier: Apache-2.0 */
#include "build/files.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/str.h"
#include "build/buildstate.h"
#include "build/change.h"
#include "build/copy.h"

#define TEXT_MAX     (256u << 10)
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static struct change change_of(struct buildstate *s)
{
	return (struct change){
		.arena = s->arena, .words = buildstate_words(s), .config = &s->config};
}

/* ---- RUN ---- */

/* Proxy settings that may be given without ARG; they do not enter the cache key. */
static const char *const predefined[] = {"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy",
                                         "FTP_PROXY",  "ftp_proxy",  "NO_PROXY",    "no_proxy",
                                         "ALL_PROXY",  "all_proxy"};

static bool is_predefined(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(predefined); i++)
		if (strcmp(predefined[i], name) == 0)
			return true;
	return false;
}

struct environment {
	const char **items;
	size_t count;
};

static int add_variable(struct buildstate *s, struct environment *e, const char *name,
                        const char *value, struct err *err)
{
	if (buildstate_env(s, name))
		return 0; /* ENV is stronger than ARG */
	e->items[e->count] = arena_printf(s->arena, err, "%s=%s", name, value);
	return e->items[e->count++] ? 0 : -1;
}

static int run_environment(struct buildstate *s, struct environment *e, struct err *err)
{
	const struct json_strmap *given = &s->request->args;
	size_t most = s->config.env.count + s->arg_count + given->count + 2;

	*e = (struct environment){.items = arena_array(s->arena, most, sizeof(*e->items), err)};
	if (!e->items)
		return -1;
	for (size_t i = 0; i < s->config.env.count; i++)
		e->items[e->count++] = s->config.env.items[i];
	for (size_t i = 0; i < s->arg_count; i++)
		if (s->args[i].value &&
		    add_variable(s, e, s->args[i].name, s->args[i].value, err) < 0)
			return -1;
	for (size_t i = 0; i < given->count; i++) {
		if (!is_predefined(given->items[i].key) || !given->items[i].value)
			continue;
		s->arg_used[i < BUILDSTATE_ARGS_MAX ? i : 0] = true;
		if (add_variable(s, e, given->items[i].key, given->items[i].value, err) < 0)
			return -1;
	}
	return add_variable(s, e, "PATH", DEFAULT_PATH, err);
}

static char *command_text(struct buildstate *s, const struct json_strings *argv, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);

	for (size_t i = 0; i < argv->count; i++)
		buf_addf(&text, "%s%s", i ? " " : "", argv->items[i]);
	return buf_check(&text, err) < 0 ? NULL : arena_strdup(s->arena, buf_str(&text), err);
}

/* "|2 a=b c=d /bin/sh -c ...": the arguments in scope belong to the step. */
static char *step_text(struct buildstate *s, const char *command, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);
	size_t set = 0;

	for (size_t i = 0; i < s->arg_count; i++)
		set += s->args[i].value != NULL;
	if (set)
		buf_addf(&text, "|%zu ", set);
	for (size_t i = 0; i < s->arg_count; i++)
		if (s->args[i].value)
			buf_addf(&text, "%s=%s ", s->args[i].name, s->args[i].value);
	buf_add(&text, command);
	return buf_check(&text, err) < 0 ? NULL : arena_strdup(s->arena, buf_str(&text), err);
}

static int forward(void *arg, int stream, const char *data, size_t len)
{
	struct buildstate *s = arg;

	(void)stream;
	return s->output->text ? s->output->text(s->output->arg, data, len) : 0;
}

static int run_step(struct buildstate *s, const struct json_strings *argv,
                    struct buildstate_root *root, const char *id, struct err *err)
{
	struct environment env;
	char hostname[13];

	if (run_environment(s, &env, err) < 0)
		return -1;
	snprintf(hostname, sizeof(hostname), "%.12s", id);
	const struct build_step step = {
		.lower_fds = root->layers.fds,
		.lower_count = root->layers.count,
		.upper_fd = root->upper_fd,
		.work_fd = root->work_fd,
		.argv = (const char *const *)argv->items,
		.env = env.items,
		.cwd = str_empty(s->config.working_dir) ? "/" : s->config.working_dir,
		.user = s->config.user,
		.hostname = hostname,
		.network = s->request->network,
		.extra_hosts = s->request->extra_hosts,
		.mounts = s->request->mounts,
		.mount_count = s->request->mount_count,
		.memory_bytes = s->request->memory_bytes,
		.shm_bytes = s->request->shm_bytes,
		.output = forward,
		.arg = s,
	};
	return s->runner->run(s->runner->ctx, &step, err);
}

int files_run(struct buildstate *s, const struct dockerfile_instruction *in, struct err *err)
{
	struct change c = change_of(s);
	struct buildstate_root root;
	struct image_layer layer;
	struct json_strings argv;
	char key[65], id[ID_HEX_MAX];

	if (in->flags.count)
		return err_set(err, ERR_UNSUPPORTED, "RUN --%s is not supported",
		               in->flags.items[0].key);
	if (change_command(&c, in, 0, &argv, err) < 0)
		return -1;
	char *command = command_text(s, &argv, err);
	char *step = command ? step_text(s, command, err) : NULL;
	if (!step || buildstate_key(s, step, "run", key, err) < 0)
		return -1;
	int cached = buildstate_cached(s, key, err);
	if (cached != 0)
		return cached < 0 ? -1 : 0;
	if (!*s->chain)
		return err_set(err, ERR_INVALID,
		               "RUN: there is nothing to run in an empty image (scratch)");

	id_make_hex(id);
	if (buildstate_print(s, err, " ---> Running in %.12s\n", id) < 0 ||
	    buildstate_root_open(s, false, &root, err) < 0)
		return -1;
	int code = run_step(s, &argv, &root, id, err);
	int rc = code < 0 ? -1 : 0;
	if (code > 0)
		rc = err_set(err, ERR_INVALID, "The command '%.300s' returned a non-zero code: %d",
		             command, code);
	if (rc == 0)
		rc = image_layer_from_upper(s->store, s->chain, root.upper_fd, true, &layer, err);
	buildstate_root_close(s, &root);
	if (rc < 0 || buildstate_print(s, err, "Removing intermediate container %.12s\n", id) < 0)
		return -1;
	return buildstate_commit(s, key, step, &layer, err);
}

/* ---- COPY and ADD ---- */

static int check_flags(const struct dockerfile_instruction *in, struct err *err)
{
	for (size_t i = 0; i < in->flags.count; i++) {
		const char *name = in->flags.items[i].key;
		bool known = strcmp(name, "chown") == 0 || strcmp(name, "chmod") == 0 ||
		             (strcmp(name, "from") == 0 && in->op == DOCKERFILE_COPY);
		if (!known)
			return err_set(err, ERR_UNSUPPORTED, "%s --%s is not supported", in->name,
			               name);
	}
	return 0;
}

/* The root that sources come from: the context, or a stage or image by --from. *owned is to be closed. */
static int source_root(struct buildstate *s, const char *from, int *owned, struct err *err)
{
	int64_t index;

	*owned = -1;
	if (!from) {
		if (s->request->context_fd < 0)
			return err_set(err, ERR_INVALID, "there is no build context to copy from");
		return s->request->context_fd;
	}
	for (size_t i = 0; i < s->stage_count; i++)
		if (*s->stages[i].name && strcasecmp(s->stages[i].name, from) == 0)
			return *owned = buildstate_image_root(s, s->stages[i].id, err);
	if (id_parse_int(from, "stage", 0, BUILDSTATE_STAGES_MAX, &index, NULL) == 0) {
		if ((size_t)index + 1 >= s->stage_count)
			return err_set(err, ERR_INVALID,
			               "--from=%s: there is no such stage before this one", from);
		return *owned = buildstate_image_root(s, s->stages[index].id, err);
	}
	auto_type(image) image = image_find(s->store, from, err);
	if (!image)
		return err_wrap(err, "--from=%s: neither a stage nor an image that is here", from);
	return *owned = buildstate_image_root(s, image->id, err);
}

static int load_ignore(struct buildstate *s, struct pattern_list *out, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(PATTERN_FILE_MAX);
	struct err why = ERR_INIT;

	*out = (struct pattern_list){0};
	if (fs_read_in(s->request->context_fd, ".dockerignore", PATTERN_FILE_MAX, &text, &why) <
	    0) {
		if (why.kind == ERR_NOT_FOUND)
			return 0;
		*err = why;
		return err_wrap(err, ".dockerignore");
	}
	if (pattern_list_parse(buf_str(&text), text.len, s->arena, out, err) < 0)
		return err_wrap(err, ".dockerignore");
	return 0;
}

/* Expands every argument; the last is the target. */
static int expand_arguments(struct buildstate *s, const struct dockerfile_instruction *in,
                            char ***out, struct err *err)
{
	struct words_env words = buildstate_words(s);
	char **args = arena_array(s->arena, in->arg_count + 1, sizeof(*args), err);

	if (!args)
		return -1;
	if (in->arg_count < 2)
		return err_set(err, ERR_INVALID,
		               "%s requires at least two arguments: SOURCE... TARGET", in->name);
	for (size_t i = 0; i < in->arg_count; i++) {
		args[i] = words_expand(in->args[i], &words, s->arena, err);
		if (!args[i])
			return -1;
		if (!*args[i])
			return err_set(err, ERR_INVALID, "%s: an argument is empty", in->name);
		if (str_starts(args[i], "<<"))
			return err_set(err, ERR_UNSUPPORTED, "%s: here-documents are not supported",
			               in->name);
		if (i + 1 < in->arg_count && in->op == DOCKERFILE_ADD &&
		    (strstr(args[i], "://") || str_starts(args[i], "git@")))
			return err_set(err, ERR_UNSUPPORTED,
			               "ADD of a URL is not supported: fetch %.200s in a RUN step",
			               args[i]);
	}
	*out = args;
	return 0;
}

static int parse_mode(const char *text, int *mode, struct err *err)
{
	char *end;

	*mode = -1;
	if (!text)
		return 0;
	long value = strtol(text, &end, 8);
	if (*end || !*text || value < 0 || value > 07777)
		return err_set(err, ERR_INVALID, "--chmod=%s: not an octal mode like 0755", text);
	*mode = (int)value;
	return 0;
}

/* Is it an archive that ADD unpacks: gzip, bzip2, xz, zstd, or a plain tar? */
static bool is_archive(int root_fd, const char *path)
{
	unsigned char head[262] = {0};
	auto_close int fd = fs_open_in(root_fd, path, O_RDONLY, 0, NULL);
	ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);

	if (n < 6)
		return false;
	return memcmp(head, "\x1f\x8b", 2) == 0 || memcmp(head, "BZh", 3) == 0 ||
	       memcmp(head,
	              "\xfd"
	              "7zXZ",
	              5) == 0 ||
	       memcmp(head, "\x28\xb5\x2f\xfd", 4) == 0 ||
	       (n == sizeof(head) && memcmp(head + 257, "ustar", 5) == 0);
}

static int unpack(struct buildstate *s, const struct copy_plan *plan, size_t i,
                  const struct copy_target *target, struct err *err)
{
	auto_close int tar = fs_open_in(plan->root_fd, plan->sources[i].path, O_RDONLY, 0, err);
	auto_close int dir = fs_mkdir_all_in(target->root_fd, target->path, 0755, err);

	if (tar < 0 || dir < 0)
		return -1;
	return image_unpack(s->store, tar, dir, IMAGE_UNPACK_OWNERS | IMAGE_UNPACK_FOLLOW, err);
}

static int place(struct buildstate *s, const struct copy_plan *plan,
                 const struct copy_target *target, bool add, struct err *err)
{
	for (size_t i = 0; i < plan->count; i++) {
		struct copy_plan one = *plan;
		one.sources = &plan->sources[i];
		one.count = 1;
		bool archive = add && !plan->sources[i].is_dir &&
		               is_archive(plan->root_fd, plan->sources[i].path);
		if ((archive ? unpack(s, plan, i, target, err) : copy_plan_run(&one, target, err)) <
		    0)
			return -1;
	}
	return 0;
}

static int copy_into(struct buildstate *s, const struct dockerfile_instruction *in,
                     const struct copy_plan *plan, struct copy_target *target,
                     struct image_layer *layer, struct err *err)
{
	struct words_env words = buildstate_words(s);
	const char *chown = dockerfile_flag(in, "chown");
	struct buildstate_root root;

	if (parse_mode(dockerfile_flag(in, "chmod"), &target->mode, err) < 0 ||
	    buildstate_root_open(s, true, &root, err) < 0)
		return -1;
	target->root_fd = root.root_fd;
	int rc = 0;
	if (chown) {
		char *owner = words_expand(chown, &words, s->arena, err);
		rc = owner ? s->runner->resolve_user(s->runner->ctx, owner, root.root_fd,
		                                     &target->uid, &target->gid, err)
		           : -1;
	}
	if (rc == 0)
		rc = place(s, plan, target, in->op == DOCKERFILE_ADD, err);
	if (rc == 0 && root.layers.count) {
		/* The overlay must be gone before its upper directory is taken. */
		close(root.root_fd);
		root.root_fd = -1;
	}
	if (rc == 0)
		rc = image_layer_from_upper(s->store, s->chain, root.upper_fd, true, layer, err);
	buildstate_root_close(s, &root);
	return rc;
}

static char *flags_text(struct buildstate *s, const struct dockerfile_instruction *in,
                        struct err *err)
{
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);

	for (size_t i = 0; i < in->flags.count; i++)
		buf_addf(&text, "--%s=%s ", in->flags.items[i].key,
		         in->flags.items[i].value ? in->flags.items[i].value : "");
	return buf_check(&text, err) < 0 ? NULL : arena_strdup(s->arena, buf_str(&text), err);
}

static int copy_from(struct buildstate *s, const struct dockerfile_instruction *in, int root_fd,
                     char **args, struct err *err)
{
	struct change c = change_of(s);
	const char *last = args[in->arg_count - 1];
	bool from_context = !dockerfile_flag(in, "from");
	struct pattern_list ignore = {0};
	struct copy_plan plan;
	struct image_layer layer;
	char hash[65], key[65];

	if (from_context && load_ignore(s, &ignore, err) < 0)
		return -1;
	if (copy_plan_make(root_fd, from_context ? &ignore : NULL, (const char *const *)args,
	                   in->arg_count - 1, s->arena, &plan, err) < 0 ||
	    copy_plan_hash(&plan, hash, err) < 0)
		return err_wrap(err, "%s failed", in->name);
	struct copy_target target = {
		.path = change_absolute(&c, last, err),
		.is_dir = str_ends(last, "/") || str_eq(last, ".") || plan.count > 1,
	};
	char *flags = flags_text(s, in, err);
	if (!target.path || !flags)
		return -1;
	if (plan.count > 1 && !str_ends(last, "/") && !str_eq(last, "."))
		return err_set(
			err, ERR_INVALID,
			"%s: with several sources the target must be a directory and end with /",
			in->name);
	char *step = arena_printf(s->arena, err, "/bin/sh -c #(nop) %s %s%s:%s in %s ", in->name,
	                          flags, plan.sources[0].is_dir || plan.count > 1 ? "dir" : "file",
	                          hash, target.path);
	if (!step || buildstate_key(s, step, target.is_dir ? "dir" : "file", key, err) < 0)
		return -1;
	int cached = buildstate_cached(s, key, err);
	if (cached != 0)
		return cached < 0 ? -1 : 0;
	if (copy_into(s, in, &plan, &target, &layer, err) < 0)
		return err_wrap(err, "%s failed", in->name);
	return buildstate_commit(s, key, step, &layer, err);
}

int files_copy(struct buildstate *s, const struct dockerfile_instruction *in, struct err *err)
{
	struct words_env words = buildstate_words(s);
	const char *from = dockerfile_flag(in, "from");
	char **args;

	if (check_flags(in, err) < 0 || expand_arguments(s, in, &args, err) < 0)
		return -1;
	if (from && !(from = words_expand(from, &words, s->arena, err)))
		return -1;
	auto_close int owned = -1;
	int root_fd = source_root(s, from, &owned, err);
	return root_fd < 0 ? -1 : copy_from(s, in, root_fd, args, err);
}

/* ---- WORKDIR ---- */

int files_workdir(struct buildstate *s, const char key[65], const char *created_by, struct err *err)
{
	struct buildstate_root root;
	struct image_layer layer;
	struct stat st;

	if (buildstate_root_open(s, true, &root, err) < 0)
		return -1;
	auto_close int there = fs_open_in(root.root_fd, s->config.working_dir, O_PATH, 0, NULL);
	int rc = 0;
	bool missing = there < 0;
	if (!missing && fstat(there, &st) == 0 && !S_ISDIR(st.st_mode))
		rc = err_set(err, ERR_INVALID, "WORKDIR %s: it is there and not a directory",
		             s->config.working_dir);
	if (missing) {
		auto_close int made =
			fs_mkdir_all_in(root.root_fd, s->config.working_dir, 0755, err);
		rc = made < 0 ? -1 : 0;
	}
	if (root.layers.count) {
		close(root.root_fd);
		root.root_fd = -1;
	}
	if (rc == 0 && missing)
		rc = image_layer_from_upper(s->store, s->chain, root.upper_fd, true, &layer, err);
	buildstate_root_close(s, &root);
	return rc < 0 ? -1 : buildstate_commit(s, key, created_by, missing ? &layer : NULL, err);
}
