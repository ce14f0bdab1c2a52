/* SPDX-License-Identifier: Apache-2.0 */
/* update: other limits for a container that is there, from a file of resources or from flags. */
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
#include "runtime/rdt.h"
#include "runtime/spec.h"

enum flag_kind {
	FLAG_NUMBER,
	FLAG_SIZE, /* "64m"; -1 is no limit */
	FLAG_TEXT,
};

#define FLAGS 16

struct update_options {
	const char *resources;
	const char *l3_schema, *mb_schema;
	const char *values[FLAGS]; /* one per entry of `flags`; NULL: not given */
};

/* Each flag is one field of linux.resources; its name is entry i + 1 of update_options. */
static const struct flag {
	const char *group, *field;
	enum flag_kind kind;
} flags[FLAGS] = {
	{"blockIO", "weight", FLAG_NUMBER},
	{"cpu", "period", FLAG_NUMBER},
	{"cpu", "quota", FLAG_NUMBER},
	{"cpu", "burst", FLAG_NUMBER},
	{"cpu", "shares", FLAG_NUMBER},
	{"cpu", "realtimePeriod", FLAG_NUMBER},
	{"cpu", "realtimeRuntime", FLAG_NUMBER},
	{"cpu", "idle", FLAG_NUMBER},
	{"cpu", "cpus", FLAG_TEXT},
	{"cpu", "mems", FLAG_TEXT},
	{"memory", "kernel", FLAG_SIZE},
	{"memory", "kernelTCP", FLAG_SIZE},
	{"memory", "limit", FLAG_SIZE},
	{"memory", "reservation", FLAG_SIZE},
	{"memory", "swap", FLAG_SIZE},
	{"pids", "limit", FLAG_NUMBER},
};

static const struct option_entry update_options[] = {
	OPTION(struct update_options, resources, "resources", 'r', OPTION_TEXT, "FILE",
               "a linux.resources object; - is stdin"),
	OPTION(struct update_options, values[0], "blkio-weight", 0, OPTION_TEXT, "N",
               "weight of block I/O, 10 to 1000"),
	OPTION(struct update_options, values[1], "cpu-period", 0, OPTION_TEXT, "N",
               "length of a CPU period, in microseconds"),
	OPTION(struct update_options, values[2], "cpu-quota", 0, OPTION_TEXT, "N",
               "CPU time within a period, in microseconds"),
	OPTION(struct update_options, values[3], "cpu-burst", 0, OPTION_TEXT, "N",
               "CPU time that may be saved up, in microseconds"),
	OPTION(struct update_options, values[4], "cpu-share", 0, OPTION_TEXT, "N",
               "CPU weight relative to others"),
	OPTION(struct update_options, values[5], "cpu-rt-period", 0, OPTION_TEXT, "N",
               "real-time period, in microseconds"),
	OPTION(struct update_options, values[6], "cpu-rt-runtime", 0, OPTION_TEXT, "N",
               "real-time CPU time within a period, in microseconds"),
	OPTION(struct update_options, values[7], "cpu-idle", 0, OPTION_TEXT, "N",
               "1: run only when nobody else wants to"),
	OPTION(struct update_options, values[8], "cpuset-cpus", 0, OPTION_TEXT, "LIST",
               "CPUs that may be used, as 0-3,7"),
	OPTION(struct update_options, values[9], "cpuset-mems", 0, OPTION_TEXT, "LIST",
               "memory nodes that may be used"),
	OPTION(struct update_options, values[10], "kernel-memory", 0, OPTION_TEXT, "BYTES",
               "limit of kernel memory"),
	OPTION(struct update_options, values[11], "kernel-memory-tcp", 0, OPTION_TEXT, "BYTES",
               "limit of TCP buffers"),
	OPTION(struct update_options, values[12], "memory", 0, OPTION_TEXT, "BYTES",
               "limit of memory"),
	OPTION(struct update_options, values[13], "memory-reservation", 0, OPTION_TEXT, "BYTES",
               "memory below which none is taken back first"),
	OPTION(struct update_options, values[14], "memory-swap", 0, OPTION_TEXT, "BYTES",
               "limit of memory and swap together"),
	OPTION(struct update_options, values[15], "pids-limit", 0, OPTION_TEXT, "N",
               "limit of processes"),
	OPTION(struct update_options, l3_schema, "l3-cache-schema", 0, OPTION_TEXT, "SCHEMA",
               "share of the L3 cache, as L3:0=f0;1=f (linux.intelRdt)"),
	OPTION(struct update_options, mb_schema, "mem-bw-schema", 0, OPTION_TEXT, "SCHEMA",
               "share of memory bandwidth, as MB:0=20;1=70 (linux.intelRdt)"),
	OPTIONS_END,
};

static struct json *flag_value(const struct flag *flag, const char *name, const char *text,
                               struct err *err)
{
	int64_t n;

	if (flag->kind == FLAG_TEXT)
		return json_string(text);
	if (flag->kind == FLAG_SIZE && !str_eq(text, "-1")) {
		if (id_parse_size(text, &n, err) < 0) {
			err_wrap(err, "--%s", name);
			return NULL;
		}
		return json_int(n);
	}
	if (id_parse_int(text, name, INT64_MIN + 1, INT64_MAX, &n, err) < 0)
		return NULL;
	return json_int(n);
}

static int set_flag(struct json *resources, size_t index, const char *text, struct err *err)
{
	const struct flag *flag = &flags[index];
	auto_type(json) value = flag_value(flag, update_options[index + 1].name, text, err);

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
static int parse(const struct update_options *o, struct buf *text, struct err *err)
{
	auto_type(json) resources = json_object();

	for (size_t i = 0; i < FLAGS; i++)
		if (o->values[i] && set_flag(resources, i, o->values[i], err) < 0)
			return -1;
	if (o->resources && json_count(resources) > 0)
		return err_set(err, ERR_INVALID, "update: --resources goes with no other limit");
	if (o->resources)
		return read_file(o->resources, text, err);
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

static int update_rdt(const struct container *c, const struct update_options *o, struct err *err)
{
	const struct oci_rdt *rdt = c->spec->linux_.intel_rdt;

	if (!o->l3_schema && !o->mb_schema)
		return 0;
	if (!rdt)
		return err_set(err, ERR_INVALID,
		               "--l3-cache-schema, --mem-bw-schema: container %s was made without "
		               "linux.intelRdt",
		               c->id);
	auto_close int root = rdt_open(err);
	return root < 0 ? -1 : rdt_update(root, rdt, c->id, o->l3_schema, o->mb_schema, err);
}

static int update(const struct command_globals *g, const void *options, char **words,
                  struct err *err)
{
	auto_buf struct buf text = BUF_INIT(SPEC_TEXT_MAX);

	if (parse(options, &text, err) < 0)
		return -1;
	const char *id = command_take_id(words, err);
	auto_type(container) k = id ? container_open(g->root, id, err) : NULL;
	auto_type(cgroup) cg = k ? container_cgroup(k, err) : NULL;
	if (!cg)
		return -1;
	struct oci_resources *resources =
		spec_parse_resources(buf_str(&text), text.len, &k->arena, err);
	if (!resources)
		return -1;
	if (container_status(k) == CONTAINER_STOPPED)
		return err_set(err, ERR_CONFLICT, "container %s is not running", id);
	drop_zeros(&resources->memory);
	if (update_rdt(k, options, err) < 0)
		return -1;
	const struct place place = container_place(k);
	if (cgroup_apply(cg, resources, err) < 0)
		return -1;
	return place_tell(&place, k->spec, k->id, resources, cg, err);
}

const struct command command_update = {
	.name = "update",
	.arguments = "[OPTIONS] ID",
	.summary = "change the limits of a container",
	.options = update_options,
	.options_size = sizeof(struct update_options),
	.run = update,
	.failed_exit = 1,
};
