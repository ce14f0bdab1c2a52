/* SPDX-License-Identifier: Apache-2.0 */
#include "build/change.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "build/build.h"

#define DONE_MAX   (256u << 10) /* bytes of an instruction as evaluated */
#define PORTS_MAX  1000         /* ports that one range may have */
#define HEALTH_MIN 1000000      /* nanoseconds */

static void drop_json(void *j)
{
	json_free(j);
}

/* ---- lists ---- */

static int add_string(struct arena *arena, struct json_strings *list, const char *text,
                      struct err *err)
{
	char **items = arena_array(arena, list->count + 2, sizeof(*items), err);
	char *copy = arena_strdup(arena, text, err);

	if (!items || !copy)
		return -1;
	if (list->count)
		memcpy(items, list->items, list->count * sizeof(*items));
	items[list->count] = copy;
	*list = (struct json_strings){.items = items, .count = list->count + 1, .present = true};
	return 0;
}

static int set_env(struct change *c, const char *name, const char *value, struct err *err)
{
	struct json_strings *env = &c->config->env;
	char *pair = arena_printf(c->arena, err, "%s=%s", name, value);
	size_t len = strlen(name) + 1;

	if (!pair)
		return -1;
	for (size_t i = 0; i < env->count; i++) {
		if (strncmp(env->items[i], pair, len) == 0) {
			env->items[i] = pair;
			return 0;
		}
	}
	return add_string(c->arena, env, pair, err);
}

int change_set_pair(struct arena *arena, struct json_strmap *map, const char *key,
                    const char *value, struct err *err)
{
	for (size_t i = 0; i < map->count; i++) {
		if (strcmp(map->items[i].key, key) == 0) {
			map->items[i].value = arena_strdup(arena, value, err);
			return map->items[i].value ? 0 : -1;
		}
	}
	struct json_pair *items = arena_array(arena, map->count + 1, sizeof(*items), err);
	if (!items)
		return -1;
	if (map->count)
		memcpy(items, map->items, map->count * sizeof(*items));
	items[map->count].key = arena_strdup(arena, key, err);
	items[map->count].value = arena_strdup(arena, value, err);
	if (!items[map->count].key || !items[map->count].value)
		return -1;
	*map = (struct json_strmap){.items = items, .count = map->count + 1, .present = true};
	return 0;
}

/* {"key": {}} more in a set such as ExposedPorts. The set is copied: it may be shared with the parent. */
static int add_to_set(struct change *c, struct json **set, const char *key, struct err *err)
{
	struct json *copy = json_object(), *value;
	const char *name;
	void *iter = NULL;

	while (*set && json_next(*set, &iter, &name, &value))
		json_set(copy, name, json_ref(value));
	if (!copy || json_set(copy, key, json_object()) < 0) {
		json_free(copy);
		return err_nomem(err);
	}
	*set = copy;
	return arena_later(c->arena, drop_json, copy, err);
}

/* ---- commands ---- */

int change_command(struct change *c, const struct dockerfile_instruction *in, size_t first,
                   struct json_strings *out, struct err *err)
{
	static const char *const usual[] = {"/bin/sh", "-c"};
	struct json_strings list = {.present = true};
	const struct json_strings *shell = &c->config->shell;

	if (!in->json && shell->count == 0)
		for (size_t i = 0; i < ARRAY_LEN(usual); i++)
			if (add_string(c->arena, &list, usual[i], err) < 0)
				return -1;
	for (size_t i = 0; !in->json && i < shell->count; i++)
		if (add_string(c->arena, &list, shell->items[i], err) < 0)
			return -1;
	for (size_t i = first; i < in->arg_count; i++)
		if (add_string(c->arena, &list, in->args[i], err) < 0)
			return -1;
	*out = list;
	return 0;
}

static char *quote_list(struct change *c, const char *name, const struct json_strings *list,
                        struct err *err)
{
	auto_buf struct buf text = BUF_INIT(DONE_MAX);

	buf_addf(&text, "%s [", name);
	for (size_t i = 0; i < list->count; i++)
		buf_addf(&text, "%s\"%s\"", i ? " " : "", list->items[i]);
	buf_add(&text, "]");
	return buf_check(&text, err) < 0 ? NULL : arena_strdup(c->arena, buf_str(&text), err);
}

static int do_cmd(struct change *c, const struct dockerfile_instruction *in, char **done,
                  struct err *err)
{
	if (change_command(c, in, 0, &c->config->cmd, err) < 0)
		return -1;
	c->config->args_escaped = false;
	c->cmd_set = true;
	*done = quote_list(c, "CMD", &c->config->cmd, err);
	return *done ? 0 : -1;
}

static int do_entrypoint(struct change *c, const struct dockerfile_instruction *in, char **done,
                         struct err *err)
{
	if (change_command(c, in, 0, &c->config->entrypoint, err) < 0)
		return -1;
	if (!c->cmd_set)
		c->config->cmd = (struct json_strings){0};
	*done = quote_list(c, "ENTRYPOINT", &c->config->entrypoint, err);
	return *done ? 0 : -1;
}

static int do_shell(struct change *c, const struct dockerfile_instruction *in, char **done,
                    struct err *err)
{
	if (!in->json || in->arg_count == 0)
		return err_set(err, ERR_INVALID,
		               "SHELL needs a JSON array: SHELL [\"/bin/bash\", \"-c\"]");
	if (change_command(c, in, 0, &c->config->shell, err) < 0)
		return -1;
	*done = quote_list(c, "SHELL", &c->config->shell, err);
	return *done ? 0 : -1;
}

/* ---- pairs ---- */

static int do_pairs(struct change *c, const struct dockerfile_instruction *in, char **done,
                    struct err *err)
{
	auto_buf struct buf text = BUF_INIT(DONE_MAX);
	bool env = in->op == DOCKERFILE_ENV;

	buf_add(&text, in->name);
	/* All values are evaluated with the variables as they were before the line. */
	for (size_t i = 0; i + 1 < in->arg_count; i += 2) {
		in->args[i] = words_expand(in->args[i], &c->words, c->arena, err);
		in->args[i + 1] = in->args[i]
		                          ? words_expand(in->args[i + 1], &c->words, c->arena, err)
		                          : NULL;
		if (!in->args[i + 1])
			return -1;
		if (!*in->args[i])
			return err_set(err, ERR_INVALID, "%s: a name is empty", in->name);
		buf_addf(&text, " %s=%s", in->args[i], in->args[i + 1]);
	}
	for (size_t i = 0; i + 1 < in->arg_count; i += 2) {
		int rc = env ? set_env(c, in->args[i], in->args[i + 1], err)
		             : change_set_pair(c->arena, &c->config->labels, in->args[i],
		                               in->args[i + 1], err);
		if (rc < 0)
			return -1;
	}
	*done = buf_check(&text, err) < 0 ? NULL : arena_strdup(c->arena, buf_str(&text), err);
	return *done ? 0 : -1;
}

/* ---- single values ---- */

static int one_word(struct change *c, const struct dockerfile_instruction *in, char **value,
                    char **done, struct err *err)
{
	*value = words_expand(in->args[0], &c->words, c->arena, err);
	if (!*value)
		return -1;
	if (!**value)
		return err_set(err, ERR_INVALID, "%s: the value is empty", in->name);
	*done = arena_printf(c->arena, err, "%s %s", in->name, *value);
	return *done ? 0 : -1;
}

char *change_absolute(struct change *c, const char *path, struct err *err)
{
	const char *dir = str_empty(c->config->working_dir) ? "/" : c->config->working_dir;
	auto_buf struct buf whole = BUF_INIT(8192);
	auto_buf struct buf clean = BUF_INIT(8192);

	buf_addf(&whole, "%s/%s", *path == '/' ? "" : dir, path);
	if (buf_check(&whole, err) < 0)
		return NULL;
	for (const char *s = buf_str(&whole); *s;) {
		size_t len = strcspn(s, "/");
		if (len == 2 && s[0] == '.' && s[1] == '.') {
			while (clean.len > 0 && clean.data[--clean.len] != '/')
				;
			if (clean.data)
				clean.data[clean.len] = '\0';
		} else if (len > 0 && !(len == 1 && *s == '.')) {
			buf_add(&clean, "/");
			buf_add_mem(&clean, s, len);
		}
		s += len;
		s += *s == '/';
	}
	if (buf_check(&clean, err) < 0)
		return NULL;
	return arena_strdup(c->arena, clean.len ? buf_str(&clean) : "/", err);
}

static int do_workdir(struct change *c, const struct dockerfile_instruction *in, char **done,
                      struct err *err)
{
	char *path;

	if (one_word(c, in, &path, done, err) < 0)
		return -1;
	c->config->working_dir = change_absolute(c, path, err);
	*done = c->config->working_dir
	                ? arena_printf(c->arena, err, "WORKDIR %s", c->config->working_dir)
	                : NULL;
	return *done ? 0 : -1;
}

static int do_stopsignal(struct change *c, const struct dockerfile_instruction *in, char **done,
                         struct err *err)
{
	char *value;
	int64_t number;

	if (one_word(c, in, &value, done, err) < 0)
		return -1;
	const char *name = str_starts(value, "SIG") ? value + 3 : value;
	bool known = id_parse_int(value, "signal", 1, SIGRTMAX, &number, NULL) == 0 ||
	             str_starts(name, "RTMIN") || str_starts(name, "RTMAX");
	for (int s = 1; !known && s < NSIG; s++) {
		const char *abbreviation = sigabbrev_np(s);
		known = abbreviation && strcmp(abbreviation, name) == 0;
	}
	if (!known)
		return err_set(err, ERR_INVALID, "STOPSIGNAL: unknown signal '%s'", value);
	c->config->stop_signal = value;
	return 0;
}

/* ---- sets ---- */

static int parse_port(const char *text, size_t len, int64_t *port, struct err *err)
{
	char number[8];

	if (len >= sizeof(number))
		return err_set(err, ERR_INVALID, "EXPOSE: bad port '%.*s'", (int)len, text);
	snprintf(number, sizeof(number), "%.*s", (int)len, text);
	return id_parse_int(number, "EXPOSE: port", 1, 65535, port, err);
}

/* "80", "80/udp", "8000-8010/tcp". */
static int expose(struct change *c, const char *text, struct err *err)
{
	const char *slash = strchr(text, '/');
	const char *proto = slash ? slash + 1 : "tcp";
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	const char *dash = memchr(text, '-', len);
	size_t head = dash ? (size_t)(dash - text) : len;
	int64_t first, last;

	if (strcmp(proto, "tcp") != 0 && strcmp(proto, "udp") != 0 && strcmp(proto, "sctp") != 0)
		return err_set(err, ERR_INVALID, "EXPOSE %s: the protocol is not tcp, udp or sctp",
		               text);
	if (parse_port(text, head, &first, err) < 0)
		return -1;
	last = first;
	if (dash && parse_port(dash + 1, len - head - 1, &last, err) < 0)
		return -1;
	if (last < first || last - first >= PORTS_MAX)
		return err_set(err, ERR_INVALID, "EXPOSE %s: bad range", text);
	for (int64_t port = first; port <= last; port++) {
		char key[24];
		snprintf(key, sizeof(key), "%d/%s", (int)port, proto);
		if (add_to_set(c, &c->config->exposed_ports, key, err) < 0)
			return -1;
	}
	return 0;
}

static int do_set(struct change *c, const struct dockerfile_instruction *in, char **done,
                  struct err *err)
{
	auto_buf struct buf text = BUF_INIT(DONE_MAX);

	buf_add(&text, in->name);
	for (size_t i = 0; i < in->arg_count; i++) {
		struct words_list words;
		if (words_split(in->args[i], &c->words, c->arena, &words, err) < 0)
			return -1;
		for (size_t k = 0; k < words.count; k++) {
			buf_addf(&text, " %s", words.items[k]);
			int rc = in->op == DOCKERFILE_EXPOSE
			                 ? expose(c, words.items[k], err)
			                 : add_to_set(c, &c->config->volumes, words.items[k], err);
			if (rc < 0)
				return -1;
		}
	}
	*done = buf_check(&text, err) < 0 ? NULL : arena_strdup(c->arena, buf_str(&text), err);
	return *done ? 0 : -1;
}

/* ---- HEALTHCHECK, ONBUILD ---- */

static int health_time(const struct dockerfile_instruction *in, const char *flag, int64_t *out,
                       struct err *err)
{
	const char *text = dockerfile_flag(in, flag);

	*out = 0;
	if (!text)
		return 0;
	if (clock_parse_duration(text, out, err) < 0)
		return err_wrap(err, "HEALTHCHECK --%s", flag);
	if (*out < 0 || (*out > 0 && *out < HEALTH_MIN))
		return err_set(err, ERR_INVALID, "HEALTHCHECK --%s: less than 1ms", flag);
	return 0;
}

static int health_flags(const struct dockerfile_instruction *in, struct oci_healthcheck *check,
                        struct err *err)
{
	static const char *const known[] = {"interval", "timeout", "start-period", "start-interval",
	                                    "retries"};
	const char *retries = dockerfile_flag(in, "retries");

	for (size_t i = 0; i < in->flags.count; i++) {
		bool ok = false;
		for (size_t k = 0; k < ARRAY_LEN(known); k++)
			ok |= strcmp(in->flags.items[i].key, known[k]) == 0;
		if (!ok)
			return err_set(err, ERR_INVALID, "HEALTHCHECK: unknown flag --%s",
			               in->flags.items[i].key);
	}
	if (retries &&
	    id_parse_int(retries, "HEALTHCHECK --retries", 0, 1000000, &check->retries, err) < 0)
		return -1;
	if (health_time(in, "interval", &check->interval, err) < 0 ||
	    health_time(in, "timeout", &check->timeout, err) < 0 ||
	    health_time(in, "start-period", &check->start_period, err) < 0)
		return -1;
	return health_time(in, "start-interval", &check->start_interval, err);
}

static int do_health(struct change *c, const struct dockerfile_instruction *in, char **done,
                     struct err *err)
{
	struct oci_healthcheck *check = arena_alloc(c->arena, sizeof(*check), err);

	if (!check)
		return -1;
	*done = in->text;
	if (strcmp(in->args[0], "NONE") == 0) {
		if (in->arg_count > 1)
			return err_set(err, ERR_INVALID, "HEALTHCHECK NONE takes no arguments");
		c->config->healthcheck = check;
		return add_string(c->arena, &check->test, "NONE", err);
	}
	if (strcmp(in->args[0], "CMD") != 0)
		return err_set(err, ERR_INVALID, "HEALTHCHECK: '%s' is not CMD or NONE",
		               in->args[0]);
	if (in->arg_count < 2)
		return err_set(err, ERR_INVALID, "HEALTHCHECK CMD: the command is missing");
	if (health_flags(in, check, err) < 0 ||
	    add_string(c->arena, &check->test, in->json ? "CMD" : "CMD-SHELL", err) < 0)
		return -1;
	for (size_t i = 1; i < in->arg_count; i++)
		if (add_string(c->arena, &check->test, in->args[i], err) < 0)
			return -1;
	c->config->healthcheck = check;
	return 0;
}

static int do_onbuild(struct change *c, const struct dockerfile_instruction *in, char **done,
                      struct err *err)
{
	struct dockerfile_instruction trigger;

	if (dockerfile_parse_line(in->args[0], "ONBUILD", in->line, c->arena, &trigger, err) < 0)
		return -1;
	if (trigger.op == DOCKERFILE_ONBUILD || trigger.op == DOCKERFILE_FROM ||
	    trigger.op == DOCKERFILE_MAINTAINER)
		return err_set(err, ERR_INVALID, "%s isn't allowed as an ONBUILD trigger",
		               trigger.name);
	*done = in->text;
	return add_string(c->arena, &c->config->on_build, in->args[0], err);
}

/* ---- the door ---- */

int change_apply(struct change *c, const struct dockerfile_instruction *in, char **done,
                 struct err *err)
{
	char *value;

	if (in->flags.count && in->op != DOCKERFILE_HEALTHCHECK)
		return err_set(err, ERR_INVALID, "%s: unknown flag --%s", in->name,
		               in->flags.items[0].key);
	if (in->arg_count == 0 && !in->json)
		return err_set(err, ERR_INVALID, "%s needs at least one argument", in->name);
	switch (in->op) {
	case DOCKERFILE_CMD:
		return do_cmd(c, in, done, err);
	case DOCKERFILE_ENTRYPOINT:
		return do_entrypoint(c, in, done, err);
	case DOCKERFILE_SHELL:
		return do_shell(c, in, done, err);
	case DOCKERFILE_ENV:
	case DOCKERFILE_LABEL:
		return do_pairs(c, in, done, err);
	case DOCKERFILE_USER:
		if (one_word(c, in, &value, done, err) < 0)
			return -1;
		c->config->user = value;
		return 0;
	case DOCKERFILE_WORKDIR:
		return do_workdir(c, in, done, err);
	case DOCKERFILE_STOPSIGNAL:
		return do_stopsignal(c, in, done, err);
	case DOCKERFILE_EXPOSE:
	case DOCKERFILE_VOLUME:
		return do_set(c, in, done, err);
	case DOCKERFILE_HEALTHCHECK:
		return do_health(c, in, done, err);
	case DOCKERFILE_ONBUILD:
		return do_onbuild(c, in, done, err);
	case DOCKERFILE_ADD:
	case DOCKERFILE_ARG:
	case DOCKERFILE_COPY:
	case DOCKERFILE_FROM:
	case DOCKERFILE_MAINTAINER:
	case DOCKERFILE_RUN:
		break;
	}
	return err_set(err, ERR_UNSUPPORTED, "%s is not a valid change command", in->name);
}

static const char *find_in_config(void *arg, const char *name)
{
	const struct oci_run_config *config = arg;
	size_t len = strlen(name);

	for (size_t i = config->env.count; i-- > 0;)
		if (strncmp(config->env.items[i], name, len) == 0 &&
		    config->env.items[i][len] == '=')
			return config->env.items[i] + len + 1;
	return NULL;
}

int build_apply_changes(const char *const *changes, struct arena *arena,
                        struct oci_run_config *config, struct err *err)
{
	struct change c = {.arena = arena,
	                   .words = {.find = find_in_config, .arg = config, .escape = '\\'},
	                   .config = config};

	for (size_t i = 0; changes && changes[i]; i++) {
		struct dockerfile_instruction in;
		char *done;
		if (dockerfile_parse_line(changes[i], "change", (int)i + 1, arena, &in, err) < 0)
			return -1;
		if (change_apply(&c, &in, &done, err) < 0) {
			if (err->kind == ERR_UNSUPPORTED)
				err->kind = ERR_INVALID;
			return err_wrap(err, "change:%zu", i + 1);
		}
	}
	return 0;
}
