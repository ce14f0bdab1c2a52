/* SPDX-License-Identifier: Apache-2.0 */
/* update: other limits for a container that is there, from a file of resources or from flags. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/cgroup.h"
#include "runtime/command.h"
#include "runtime/container.h"
#include "runtime/spec.h"

enum flag_kind {
	FLAG_NUMBER,
	FLAG_SIZE, /* "64m"; -1 is no limit */
	FLAG_TEXT,
};

/* Each flag is one field of linux.resources. */
static const struct flag {
	const char *name, *group, *field;
	enum flag_kind kind;
} flags[] = {
	{"blkio-weight", "blockIO", "weight", FLAG_NUMBER},
	{"cpu-period", "cpu", "period", FLAG_NUMBER},
	{"cpu-quota", "cpu", "quota", FLAG_NUMBER},
	{"cpu-burst", "cpu", "burst", FLAG_NUMBER},
	{"cpu-share", "cpu", "shares", FLAG_NUMBER},
	{"cpu-rt-period", "cpu", "realtimePeriod", FLAG_NUMBER},
	{"cpu-rt-runtime", "cpu", "realtimeRuntime", FLAG_NUMBER},
	{"cpu-idle", "cpu", "idle", FLAG_NUMBER},
	{"cpuset-cpus", "cpu", "cpus", FLAG_TEXT},
	{"cpuset-mems", "cpu", "mems", FLAG_TEXT},
	{"kernel-memory", "memory", "kernel", FLAG_SIZE},
	{"kernel-memory-tcp", "memory", "kernelTCP", FLAG_SIZE},
	{"memory", "memory", "limit", FLAG_SIZE},
	{"memory-reservation", "memory", "reservation", FLAG_SIZE},
	{"memory-swap", "memory", "swap", FLAG_SIZE},
	{"pids-limit", "pids", "limit", FLAG_NUMBER},
};

static struct json *flag_value(const struct flag *flag, const char *text, struct err *err)
{
	int64_t n;

	if (flag->kind == FLAG_TEXT)
		return json_string(text);
	if (flag->kind == FLAG_SIZE && !str_eq(text, "-1")) {
		if (id_parse_size(text, &n, err) < 0) {
			err_wrap(err, "--%s", flag->name);
			return NULL;
		}
		return json_int(n);
	}
	if (id_parse_int(text, flag->name, INT64_MIN + 1, INT64_MAX, &n, err) < 0)
		return NULL;
	return json_int(n);
}

static int set_flag(struct json *resources, const struct flag *flag, const char *text,
                    struct err *err)
{
	auto_type(json) value = flag_value(flag, text, err);

	if (!value)
		return -1;
	if (!json_get(resources, flag->group) &&
	    json_set(resources, flag->group, json_object()) < 0)
		return err_nomem(err);
	if (json_set(json_get(resources, flag->group), flag->field, move_ptr(value)) < 0)
		return err_nomem(err);
	return 0;
}

static int read_file(const char *path, struct buf *text, struct err *err)
{
	if (str_eq(path, "-"))
		return fs_read_fd(STDIN_FILENO, SPEC_TEXT_MAX, text, err);
	return fs_trusted_read(path, SPEC_TEXT_MAX, text, err);
}

/* What was asked for, as the text of a linux.resources object. A file stands alone: flags beside
 * it would be a question of order. */
static int parse(int argc, char **argv, struct buf *text, struct err *err)
{
	struct option options[ARRAY_LEN(flags) + 2] = {{"resources", required_argument, NULL, 'r'}};
	auto_type(json) resources = json_object();
	const char *path = NULL;
	int c;

	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		options[i + 1] =
			(struct option){flags[i].name, required_argument, NULL, 256 + (int)i};
	while ((c = getopt_long(argc, argv, "r:", options, NULL)) != -1) {
		if (c == 'r')
			path = optarg;
		else if (c < 256)
			return err_set(err, ERR_INVALID, "update: unknown or incomplete option");
		else if (set_flag(resources, &flags[c - 256], optarg, err) < 0)
			return -1;
	}
	if (path && json_count(resources) > 0)
		return err_set(err, ERR_INVALID, "update: --resources goes with no other limit");
	if (path)
		return read_file(path, text, err);
	if (json_write(resources, text, err) < 0)
		return -1;
	return buf_check(text, err);
}

/* dockerd names every field of memory in an update, those that stay with 0 (as runc takes it). */
static void drop_zeros(struct oci_memory *memory)
{
	int64_t *const all[] = {&memory->limit, &memory->reservation, &memory->swap,
	                        &memory->kernel, &memory->kernel_tcp};

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (*all[i] == 0)
			*all[i] = SPEC_UNSET;
}

int command_update(const struct command_globals *g, int argc, char **argv, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(SPEC_TEXT_MAX);

	if (parse(argc, argv, &text, err) < 0)
		return -1;
	const char *id = command_take_id(argc, argv, err);
	auto_type(container) k = id ? container_open(g->root, id, err) : NULL;
	auto_type(cgroup) cg = k ? container_cgroup(k, err) : NULL;
	if (!cg)
		return -1;
	struct oci_resources *resources =
		spec_parse_resources(buf_str(&text), text.len, &k->arena, err);
	if (!resources)
		return -1;
	drop_zeros(&resources->memory);
	return cgroup_apply(cg, resources, err);
}
