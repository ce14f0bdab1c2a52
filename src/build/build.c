/* SPDX-License-Identifier: Apache-2.0 */
#include "build/build.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "build/buildstate.h"
#include "build/change.h"
#include "build/files.h"

#define BUILD_ARENA (256u << 20) /* configs of all steps; a step takes a few tens of KiB */

/* ---- ARG ---- */

/* The value that --build-arg gives, if it does. */
static bool given(struct buildstate *s, const char *name, const char **value)
{
	const struct json_strmap *args = &s->request->args;

	for (size_t i = 0; i < args->count; i++) {
		if (strcmp(args->items[i].key, name) != 0)
			continue;
		s->arg_used[i < BUILDSTATE_ARGS_MAX ? i : 0] = true;
		*value = args->items[i].value;
		return true;
	}
	return false;
}

static const char *find_global(void *state, const char *name)
{
	struct buildstate *s = state;

	for (size_t i = s->global_count; i-- > 0;)
		if (strcmp(s->globals[i].name, name) == 0)
			return s->globals[i].value;
	return NULL;
}

static int declare(struct buildstate_arg *list, size_t *count, const char *name, const char *value,
                   struct err *err)
{
	for (size_t i = 0; i < *count; i++) {
		if (strcmp(list[i].name, name) == 0) {
			list[i].value = value;
			return 0;
		}
	}
	if (*count == BUILDSTATE_ARGS_MAX)
		return err_set(err, ERR_LIMIT, "more than %d arguments", BUILDSTATE_ARGS_MAX);
	list[(*count)++] = (struct buildstate_arg){name, value};
	return 0;
}

/* "name" or "name=default". `in_stage`: a name alone takes the value of a global one. */
static int declare_one(struct buildstate *s, const char *text, bool in_stage, struct err *err)
{
	struct words_env words = buildstate_words(s);
	char *name = arena_strdup(s->arena, text, err);
	const char *value = NULL;

	if (!name)
		return -1;
	char *equals = strchr(name, '=');
	if (equals)
		*equals = '\0';
	if (!*name)
		return err_set(err, ERR_INVALID, "ARG: '%s' has no name", text);
	if (!in_stage)
		words.find = find_global;
	if (!given(s, name, &value)) {
		if (equals)
			value = words_expand(equals + 1, &words, s->arena, err);
		else if (in_stage)
			value = find_global(s, name);
		if (equals && !value)
			return -1;
	}
	return in_stage ? declare(s->args, &s->arg_count, name, value, err)
	                : declare(s->globals, &s->global_count, name, value, err);
}

static int do_arg(struct buildstate *s, const struct dockerfile_instruction *in, struct err *err)
{
	bool in_stage = s->stage_count > 0;

	for (size_t i = 0; i < in->arg_count; i++)
		if (declare_one(s, in->args[i], in_stage, err) < 0)
			return -1;
	if (!in_stage)
		return 0;
	/* A stage's ARG changes no image, but it is a step of the image's history, as with Docker. */
	char key[65];
	char *step = arena_printf(s->arena, err, "/bin/sh -c #(nop)  %s", in->text);
	if (!step || buildstate_key(s, step, NULL, key, err) < 0)
		return -1;
	int cached = buildstate_cached(s, key, err);
	if (cached != 0)
		return cached < 0 ? -1 : 0;
	return buildstate_commit(s, key, step, NULL, err);
}

/* ---- FROM ---- */

static int pull_base(struct buildstate *s, const char *name, char id[DIGEST_TEXT_MAX],
                     struct err *err)
{
	const struct build_request *r = s->request;
	struct image_pulled pulled;
	struct reference ref;

	if (reference_parse(name, &ref, err) < 0)
		return -1;
	const struct image_auth *auth = r->auth_for ? r->auth_for(r->auth_arg, ref.domain) : NULL;
	if (image_pull(s->store, &ref, r->platform, auth, &s->output->pull, &pulled, err) < 0)
		return -1;
	memcpy(id, pulled.id, sizeof(pulled.id));
	return 0;
}

static int find_base(struct buildstate *s, const char *name, char id[DIGEST_TEXT_MAX],
                     struct err *err)
{
	struct err why = ERR_INIT;

	for (size_t i = 0; i + 1 < s->stage_count; i++) {
		if (*s->stages[i].name && strcasecmp(s->stages[i].name, name) == 0) {
			memcpy(id, s->stages[i].id, DIGEST_TEXT_MAX);
			return 0;
		}
	}
	if (strcmp(name, "scratch") == 0) {
		*id = '\0';
		return 0;
	}
	auto_type(image) image = s->request->pull ? NULL : image_find(s->store, name, &why);
	if (!image && (s->request->pull || why.kind == ERR_NOT_FOUND))
		return pull_base(s, name, id, err);
	if (!image) {
		*err = why;
		return -1;
	}
	memcpy(id, image->id, DIGEST_TEXT_MAX);
	return 0;
}

static int step(struct buildstate *s, const struct dockerfile_instruction *in, struct err *err);

/* What the base image's author asked to be done in every image on top of it. */
static int run_triggers(struct buildstate *s, struct err *err)
{
	struct json_strings triggers = s->config.on_build;

	s->config.on_build = (struct json_strings){0};
	if (triggers.count == 0)
		return 0;
	if (buildstate_print(s, err, "# Executing %zu build trigger%s\n", triggers.count,
	                     triggers.count == 1 ? "" : "s") < 0)
		return -1;
	for (size_t i = 0; i < triggers.count; i++) {
		struct dockerfile_instruction in;
		if (dockerfile_parse_line(triggers.items[i], "ONBUILD", (int)i + 1, s->arena, &in,
		                          err) < 0 ||
		    step(s, &in, err) < 0)
			return err_wrap(err, "ONBUILD trigger %zu of the base image", i + 1);
	}
	return 0;
}

static int begin_stage(struct buildstate *s, const char *name, struct err *err)
{
	if (s->stage_count == BUILDSTATE_STAGES_MAX)
		return err_set(err, ERR_LIMIT, "more than %d stages", BUILDSTATE_STAGES_MAX);
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("_.-", *c))
			return err_set(
				err, ERR_INVALID,
				"invalid name for build stage: \"%s\": letters, digits, _ . - only",
				name);
	if (*name && !isalpha((unsigned char)*name))
		return err_set(err, ERR_INVALID,
		               "invalid name for build stage: \"%s\": it must begin with a letter",
		               name);
	for (size_t i = 0; *name && i < s->stage_count; i++)
		if (strcasecmp(s->stages[i].name, name) == 0)
			return err_set(err, ERR_INVALID, "stage name \"%s\" is already used", name);
	s->stages[s->stage_count++] = (struct buildstate_stage){.name = name};
	s->arg_count = 0;
	s->cmd_set = false;
	return 0;
}

static int do_from(struct buildstate *s, const struct dockerfile_instruction *in, struct err *err)
{
	struct words_env words = {.find = find_global, .arg = s, .escape = s->escape};
	bool named = in->arg_count == 3 && strcasecmp(in->args[1], "as") == 0;
	char id[DIGEST_TEXT_MAX];

	for (size_t i = 0; i < in->flags.count; i++)
		if (strcmp(in->flags.items[i].key, "platform") != 0)
			return err_set(err, ERR_INVALID, "FROM: unknown flag --%s",
			               in->flags.items[i].key);
	if (in->arg_count != 1 && !named)
		return err_set(err, ERR_INVALID,
		               "FROM requires either one argument, or three: "
		               "FROM <image> [AS <name>]");
	char *base = words_expand(in->args[0], &words, s->arena, err);
	if (!base)
		return -1;
	if (!*base)
		return err_set(err, ERR_INVALID, "base name (%s) should not be blank", in->args[0]);
	if (begin_stage(s, named ? in->args[2] : "", err) < 0 || find_base(s, base, id, err) < 0 ||
	    buildstate_load(s, id, err) < 0)
		return -1;
	if (buildstate_print(s, err, *id ? " ---> %.12s\n" : " --->%s\n",
	                     *id ? digest_hex(id) : "") < 0)
		return -1;
	return run_triggers(s, err);
}

/* ---- the others ---- */

static int do_change(struct buildstate *s, const struct dockerfile_instruction *in, struct err *err)
{
	struct change c = {.arena = s->arena,
	                   .words = buildstate_words(s),
	                   .config = &s->config,
	                   .cmd_set = s->cmd_set};
	const struct oci_run_config before = s->config;
	char key[65];
	char *done;

	if (change_apply(&c, in, &done, err) < 0)
		return -1;
	/* Evaluated for the key; on a hit the cached image's config takes its place. */
	const struct oci_run_config after = s->config;
	char *created_by = arena_printf(s->arena, err, "/bin/sh -c #(nop) %s", done);
	s->config = before;
	if (!created_by || buildstate_key(s, created_by, NULL, key, err) < 0)
		return -1;
	s->cmd_set = c.cmd_set;
	int cached = buildstate_cached(s, key, err);
	if (cached != 0)
		return cached < 0 ? -1 : 0;
	s->config = after;
	if (in->op == DOCKERFILE_WORKDIR)
		return files_workdir(s, key, created_by, err);
	return buildstate_commit(s, key, created_by, NULL, err);
}

static int do_maintainer(struct buildstate *s, const struct dockerfile_instruction *in,
                         struct err *err)
{
	char key[65];
	char *created_by =
		arena_printf(s->arena, err, "/bin/sh -c #(nop) MAINTAINER %s", in->args[0]);

	if (!created_by || buildstate_key(s, created_by, NULL, key, err) < 0)
		return -1;
	int cached = buildstate_cached(s, key, err);
	if (cached != 0)
		return cached < 0 ? -1 : 0;
	s->author = in->args[0];
	return buildstate_commit(s, key, created_by, NULL, err);
}

static int step(struct buildstate *s, const struct dockerfile_instruction *in, struct err *err)
{
	if (s->stage_count == 0 && in->op != DOCKERFILE_FROM && in->op != DOCKERFILE_ARG)
		return err_set(err, ERR_INVALID,
		               "no build stage yet: a Dockerfile begins with FROM, "
		               "and only ARG may stand before it");
	switch (in->op) {
	case DOCKERFILE_FROM:
		return do_from(s, in, err);
	case DOCKERFILE_ARG:
		return do_arg(s, in, err);
	case DOCKERFILE_RUN:
		return files_run(s, in, err);
	case DOCKERFILE_COPY:
	case DOCKERFILE_ADD:
		return files_copy(s, in, err);
	case DOCKERFILE_MAINTAINER:
		return do_maintainer(s, in, err);
	case DOCKERFILE_CMD:
	case DOCKERFILE_ENTRYPOINT:
	case DOCKERFILE_ENV:
	case DOCKERFILE_EXPOSE:
	case DOCKERFILE_HEALTHCHECK:
	case DOCKERFILE_LABEL:
	case DOCKERFILE_ONBUILD:
	case DOCKERFILE_SHELL:
	case DOCKERFILE_STOPSIGNAL:
	case DOCKERFILE_USER:
	case DOCKERFILE_VOLUME:
	case DOCKERFILE_WORKDIR:
		return do_change(s, in, err);
	}
	return err_set(err, ERR_INTERNAL, "an instruction without a meaning");
}

/* ---- the whole ---- */

static int read_dockerfile(struct buildstate *s, struct dockerfile *file, struct err *err)
{
	const struct build_request *r = s->request;
	auto_buf struct buf text = BUF_INIT(DOCKERFILE_MAX);

	if (r->dockerfile_text)
		return dockerfile_parse(r->dockerfile_text, strlen(r->dockerfile_text), s->file,
		                        s->arena, file, err);
	if (r->context_fd < 0)
		return err_set(err, ERR_INVALID, "neither a context nor a Dockerfile was given");
	struct err why = ERR_INIT;
	if (fs_read_in(r->context_fd, r->dockerfile, DOCKERFILE_MAX, &text, &why) < 0) {
		if (why.kind == ERR_NOT_FOUND)
			return err_set(err, ERR_INVALID, "Cannot locate specified Dockerfile: %s",
			               r->dockerfile);
		*err = why;
		return -1;
	}
	return dockerfile_parse(buf_str(&text), text.len, s->file, s->arena, file, err);
}

/* How many instructions are to be done: up to the end of the target stage, or all. */
static int find_target(struct buildstate *s, const struct dockerfile *file, size_t *end,
                       struct err *err)
{
	const char *target = s->request->target;
	size_t stage = 0;
	bool inside = false;

	*end = file->count;
	if (str_empty(target))
		return 0;
	for (size_t i = 0; i < file->count; i++) {
		const struct dockerfile_instruction *in = &file->items[i];
		char number[24];
		if (in->op != DOCKERFILE_FROM)
			continue;
		if (inside) {
			*end = i;
			return 0;
		}
		snprintf(number, sizeof(number), "%zu", stage++);
		inside = (in->arg_count == 3 && strcasecmp(in->args[2], target) == 0) ||
		         strcmp(number, target) == 0;
	}
	return inside ? 0
	              : err_set(err, ERR_INVALID,
	                        "failed to reach build target %s in %s: no stage has this name",
	                        target, s->file);
}

/* --label: one step more, at the end. */
static int label_step(struct buildstate *s, struct err *err)
{
	const struct json_strmap *labels = &s->request->labels;
	auto_buf struct buf text = BUF_INIT(256u << 10);
	char key[65];

	buf_add(&text, "LABEL");
	for (size_t i = 0; i < labels->count; i++)
		buf_addf(&text, " %s=%s", labels->items[i].key,
		         labels->items[i].value ? labels->items[i].value : "");
	if (buf_check(&text, err) < 0 || buildstate_print(s, err, "Step %zu/%zu : %s\n", ++s->step,
	                                                  s->step_count, buf_str(&text)) < 0)
		return -1;
	char *created_by = arena_printf(s->arena, err, "/bin/sh -c #(nop) %s", buf_str(&text));
	if (!created_by || buildstate_key(s, created_by, NULL, key, err) < 0)
		return -1;
	int cached = buildstate_cached(s, key, err);
	if (cached != 0)
		return cached < 0 ? -1 : 0;
	for (size_t i = 0; i < labels->count; i++)
		if (change_set_pair(s->arena, &s->config.labels, labels->items[i].key,
		                    labels->items[i].value ? labels->items[i].value : "", err) < 0)
			return -1;
	return buildstate_commit(s, key, created_by, NULL, err);
}

static int run_steps(struct buildstate *s, const struct dockerfile *file, size_t end,
                     struct err *err)
{
	bool labels = s->request->labels.count > 0;

	s->step_count = end + labels;
	for (size_t i = 0; i < end; i++) {
		const struct dockerfile_instruction *in = &file->items[i];
		if (buildstate_print(s, err, "Step %zu/%zu : %s\n", ++s->step, s->step_count,
		                     in->text) < 0)
			return -1;
		if (step(s, in, err) < 0)
			return err_wrap(err, "%s:%d", s->file, in->line);
		if (s->stage_count)
			memcpy(s->stages[s->stage_count - 1].id, s->id, DIGEST_TEXT_MAX);
	}
	return labels ? label_step(s, err) : 0;
}

static int warn_unused(struct buildstate *s, struct err *err)
{
	auto_buf struct buf names = BUF_INIT(64u << 10);

	for (size_t i = 0; i < s->request->args.count && i < BUILDSTATE_ARGS_MAX; i++)
		if (!s->arg_used[i])
			buf_addf(&names, "%s%s", names.len ? " " : "",
			         s->request->args.items[i].key);
	if (names.len == 0)
		return 0;
	return buildstate_print(s, err, "[Warning] One or more build-args [%s] were not consumed\n",
	                        buf_str(&names));
}

static int finish(struct buildstate *s, char id[DIGEST_TEXT_MAX], struct err *err)
{
	if (!*s->id)
		return err_set(err, ERR_INVALID,
		               "%s: no image was generated: scratch alone is none", s->file);
	if (warn_unused(s, err) < 0)
		return -1;
	if (s->output->result && s->output->result(s->output->arg, s->id) < 0)
		return err_set(err, ERR_CANCELED, "the client went away");
	if (buildstate_print(s, err, "Successfully built %.12s\n", digest_hex(s->id)) < 0)
		return -1;
	for (const char *const *tag = s->request->tags; tag && *tag; tag++) {
		struct reference ref;
		char familiar[REFERENCE_MAX];
		if (reference_parse(*tag, &ref, err) < 0 ||
		    image_tag(s->store, s->id, &ref, err) < 0)
			return -1;
		if (buildstate_print(s, err, "Successfully tagged %s\n",
		                     reference_familiar(&ref, familiar)) < 0)
			return -1;
	}
	memcpy(id, s->id, DIGEST_TEXT_MAX);
	return 0;
}

static int check_tags(const struct build_request *request, struct err *err)
{
	struct reference ref;

	for (const char *const *tag = request->tags; tag && *tag; tag++) {
		if (reference_parse(*tag, &ref, err) < 0)
			return err_wrap(err, "invalid argument \"%s\" for -t, --tag", *tag);
		if (*ref.digest)
			return err_set(err, ERR_INVALID, "-t %s: a tag cannot have a digest", *tag);
	}
	return 0;
}

int build_run(struct image_store *store, const struct build_runner *runner,
              const struct build_request *request, const struct build_output *output,
              char id[DIGEST_TEXT_MAX], struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(BUILD_ARENA);
	auto_free struct buildstate *s = calloc(1, sizeof(*s));
	struct dockerfile file;
	size_t end;

	if (!s)
		return err_nomem(err);
	s->store = store;
	s->runner = runner;
	s->request = request;
	s->output = output;
	s->arena = &arena;
	s->file = str_empty(request->dockerfile) ? "Dockerfile" : request->dockerfile;
	if (check_tags(request, err) < 0 || read_dockerfile(s, &file, err) < 0)
		return -1;
	s->escape = file.escape;
	if (find_target(s, &file, &end, err) < 0 || run_steps(s, &file, end, err) < 0)
		return -1;
	return finish(s, id, err);
}
