/* SPDX-License-Identifier: Apache-2.0 */
/* state, list, ps: what is there, and what it does. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/cgroup.h"
#include "runtime/command.h"
#include "runtime/container.h"
#include "runtime/tool.h"

#define PIDS_MAX      65536
#define PS_OUTPUT_MAX (4 << 20)
#define PS_WAIT_MS    10000

const char *command_take_id(char **words, struct err *err)
{
	if (words[0] && !words[1])
		return words[0];
	if (!words[0])
		err_set(err, ERR_INVALID, "no container id given");
	else
		err_set(err, ERR_INVALID, "takes one container id, and '%s' is there, too",
		        words[1]);
	return NULL;
}

int command_print_json(const struct json *j, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(16 << 20);

	if (json_write_pretty(j, &text, err) < 0 || buf_check(&text, err) < 0)
		return -1;
	puts(buf_str(&text));
	return 0;
}

/* ---- state ---- */

static int state(const struct command_globals *g, const void *options, char **words,
                 struct err *err)
{
	const char *id = command_take_id(words, err);
	auto_type(container) c = id ? container_open(g->root, id, err) : NULL;
	auto_type(json) j = c ? container_state(c, err) : NULL;

	(void)options;
	return j ? command_print_json(j, err) : -1;
}

const struct command command_state = {
	.name = "state",
	.arguments = "ID",
	.summary = "print the state as JSON",
	.options = command_no_options,
	.run = state,
	.failed_exit = 1,
};

/* ---- list ---- */

struct list_options {
	const char *format;
	bool quiet;
};

static const struct option_entry list_options[] = {
	OPTION(struct list_options, format, "format", 'f', OPTION_CHOICE, "table|json",
               "how to print them (default: table)"),
	OPTION(struct list_options, quiet, "quiet", 'q', OPTION_FLAG, NULL, "print ids alone"),
	OPTIONS_END,
};

struct list {
	const char *root;
	struct json *all;
	bool quiet, json;
};

static int list_one(void *arg, const char *id)
{
	struct list *list = arg;
	auto_type(container) c = container_open(list->root, id, NULL);

	if (list->quiet) {
		puts(id);
		return 0;
	}
	auto_type(json) j = c ? container_state(c, NULL) : NULL;
	if (!j)
		return 0; /* just going away */
	if (list->json)
		return json_append(list->all, move_ptr(j));
	printf("%-24s %-8lld %-9s %-40s %-31s %s\n", id, (long long)json_get_int(j, "pid", 0),
	       json_get_string(j, "status"), json_get_string(j, "bundle"),
	       json_get_string(j, "created"), json_get_string(j, "owner"));
	return 0;
}

static int list(const struct command_globals *g, const void *options, char **words, struct err *err)
{
	const struct list_options *o = options;
	auto_type(json) all = json_array();
	struct list list = {
		.root = g->root, .all = all, .quiet = o->quiet, .json = str_eq(o->format, "json")};

	if (words[0])
		return err_set(err, ERR_INVALID, "takes no arguments, and '%s' is there", words[0]);
	if (!list.quiet && !list.json)
		printf("%-24s %-8s %-9s %-40s %-31s %s\n", "ID", "PID", "STATUS", "BUNDLE",
		       "CREATED", "OWNER");
	if (container_list(g->root, list_one, &list, err) < 0)
		return -1;
	return list.json && !list.quiet ? command_print_json(all, err) : 0;
}

const struct command command_list = {
	.name = "list",
	.arguments = "[OPTIONS]",
	.summary = "list containers",
	.options = list_options,
	.options_size = sizeof(struct list_options),
	.run = list,
	.failed_exit = 1,
};

/* ---- ps ---- */

struct ps_options {
	const char *format;
};

static const struct option_entry ps_options[] = {
	OPTION(struct ps_options, format, "format", 'f', OPTION_CHOICE, "table|json",
               "how to print them (default: table)"),
	OPTIONS_END,
};

struct members {
	pid_t *pids;
	size_t count;
};

static void print_process(pid_t pid)
{
	auto_buf struct buf line = BUF_INIT(64 << 10);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	(void)fs_trusted_read(path, 32 << 10, &line, NULL);
	for (size_t i = 0; i + 1 < line.len; i++)
		if ((unsigned char)line.data[i] < 0x20)
			line.data[i] = ' ';
	printf("%-8d %s\n", pid, buf_str(&line));
}

static int print_members(const struct members *m, bool as_json, struct err *err)
{
	auto_type(json) all = json_array();

	if (!as_json)
		printf("%-8s %s\n", "PID", "CMD");
	for (size_t i = 0; i < m->count; i++) {
		if (as_json)
			json_append(all, json_int(m->pids[i]));
		else
			print_process(m->pids[i]);
	}
	return as_json ? command_print_json(all, err) : 0;
}

/* The word at this place of a line of blank-separated columns; its length, 0 if there is none. */
static size_t column(const char *line, size_t len, size_t index, const char **word)
{
	const char *end = line + len;

	for (;; index--) {
		while (line < end && isblank((unsigned char)*line))
			line++;
		*word = line;
		while (line < end && !isblank((unsigned char)*line))
			line++;
		if (index == 0 || line == end)
			return index == 0 ? (size_t)(line - *word) : 0;
	}
}

static bool find_pid_column(const char *line, size_t len, size_t *index)
{
	const char *word;
	size_t n;

	for (*index = 0; (n = column(line, len, *index, &word)) > 0; ++*index)
		if (n == 3 && strncmp(word, "PID", 3) == 0)
			return true;
	return false;
}

static bool is_member(const struct members *m, const char *line, size_t len, size_t index)
{
	const char *word;

	if (column(line, len, index, &word) == 0)
		return false;
	long pid = strtol(word, NULL, 10);
	for (size_t i = 0; i < m->count; i++)
		if (m->pids[i] == pid)
			return true;
	return false;
}

/* The host's ps knows its columns; of its lines those of the container are shown. */
static int print_by_ps(const struct members *m, char **words, struct err *err)
{
	auto_buf struct buf out = BUF_INIT(PS_OUTPUT_MAX);
	const char *argv[64] = {"ps"};
	size_t index = 0;
	bool head = true;

	for (size_t i = 0; words[i]; i++) {
		if (i + 2 >= ARRAY_LEN(argv))
			return err_set(err, ERR_LIMIT, "more than %zu arguments for ps",
			               ARRAY_LEN(argv) - 2);
		argv[i + 1] = words[i];
	}
	if (tool_run(argv, PS_WAIT_MS, &out, err) < 0)
		return -1;
	for (const char *line = buf_str(&out); *line;) {
		size_t len = strcspn(line, "\n");
		if (head && !find_pid_column(line, len, &index))
			return err_set(err, ERR_INVALID, "ps: its output has no PID column");
		if (head || is_member(m, line, len, index))
			printf("%.*s\n", (int)len, line);
		head = false;
		line += len + (line[len] == '\n');
	}
	return 0;
}

static int ps(const struct command_globals *g, const void *options, char **words, struct err *err)
{
	const struct ps_options *o = options;
	auto_free pid_t *pids = calloc(PIDS_MAX, sizeof(*pids));

	if (!pids)
		return err_nomem(err);
	if (!words[0])
		return err_set(err, ERR_INVALID, "no container id given");
	auto_type(container) k = container_open(g->root, words[0], err);
	auto_type(cgroup) cg = k ? container_cgroup(k, err) : NULL;
	if (!cg)
		return -1;
	ssize_t count = cgroup_pids(cg, pids, PIDS_MAX, err);
	if (count < 0)
		return -1;
	struct members m = {.pids = pids, .count = count > PIDS_MAX ? PIDS_MAX : (size_t)count};
	bool as_json = str_eq(o->format, "json");
	return words[1] && !as_json ? print_by_ps(&m, words + 1, err)
	                            : print_members(&m, as_json, err);
}

const struct command command_ps = {
	.name = "ps",
	.arguments = "[OPTIONS] ID [PS-OPTION]...",
	.summary = "list a container's processes, with the columns that ps(1) is asked for",
	.options = ps_options,
	.options_size = sizeof(struct ps_options),
	.run = ps,
	.first_word_ends = true,
	.failed_exit = 1,
};
