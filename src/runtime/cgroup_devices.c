/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/cgroup_impl.h"
#include "runtime/spec.h"

/* Which devices a cgroup's members may use: version 1 by its files, version 2 by a BPF program
 * (bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE). */

#define VALUE_MAX 96
#define CODE_MAX  4096 /* instructions; some 300 rules */

/* What every container may use: making nodes of any kind, and the default devices. */
static const struct {
	char type;
	int major, minor; /* -1: all */
	const char *access;
} default_devices[] = {
	{'c', -1, -1, "m"}, {'b', -1, -1, "m"},    {'c', 1, 3, "rwm"}, {'c', 1, 5, "rwm"},
	{'c', 1, 7, "rwm"}, {'c', 1, 8, "rwm"},    {'c', 1, 9, "rwm"}, {'c', 5, 0, "rwm"},
	{'c', 5, 2, "rwm"}, {'c', 136, -1, "rwm"},
};

struct device_rule {
	bool allow;
	char type;
	int64_t major, minor;
	const char *access;
};

/* Walks the effective rules in order: none; the config's; then the defaults and the nodes made. */
static int each_rule(const struct oci_resources *r, const struct oci_device *devices, size_t count,
                     int (*fn)(void *arg, const struct device_rule *rule, struct err *err),
                     void *arg, struct err *err)
{
	const struct oci_device_rule *rules = r->devices.items;

	for (size_t i = 0; i < r->devices.count; i++) {
		struct device_rule rule = {.allow = rules[i].allow,
		                           .type = 'a',
		                           .major = rules[i].major,
		                           .minor = rules[i].minor,
		                           .access = "rwm"};
		if (!str_empty(rules[i].type))
			rule.type = *rules[i].type;
		if (!str_empty(rules[i].access))
			rule.access = rules[i].access;
		if (fn(arg, &rule, err) < 0)
			return err_wrap(err, "linux.resources.devices[%zu]", i);
	}
	for (size_t i = 0; i < ARRAY_LEN(default_devices); i++) {
		struct device_rule rule = {.allow = true,
		                           .type = default_devices[i].type,
		                           .major = default_devices[i].major,
		                           .minor = default_devices[i].minor,
		                           .access = default_devices[i].access};
		if (fn(arg, &rule, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < count; i++) {
		if (*devices[i].type == 'p')
			continue;
		struct device_rule rule = {.allow = true,
		                           .type = *devices[i].type == 'b' ? 'b' : 'c',
		                           .major = devices[i].major,
		                           .minor = devices[i].minor,
		                           .access = "rwm"};
		if (fn(arg, &rule, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- version 2 ---- */

struct v2_devices {
	struct device_rule *rules; /* owned */
	size_t count, max;
};

struct code {
	struct bpf_insn insns[CODE_MAX];
	size_t count;
};

static int collect_rule(void *arg, const struct device_rule *rule, struct err *err)
{
	struct v2_devices *state = arg;

	if (state->count == state->max)
		return err_set(err, ERR_LIMIT, "too many device rules");
	state->rules[state->count++] = *rule;
	return 0;
}

static void emit(struct code *c, struct bpf_insn insn)
{
	if (c->count < CODE_MAX)
		c->insns[c->count++] = insn;
}

static void emit_alu(struct code *c, int op, int reg, int32_t value)
{
	emit(c, (struct bpf_insn){.code = (uint8_t)(BPF_ALU64 | BPF_K | op),
	                          .dst_reg = (uint8_t)(reg & 15),
	                          .imm = value});
}

static void emit_load(struct code *c, int reg, size_t offset)
{
	emit(c, (struct bpf_insn){.code = BPF_LDX | BPF_MEM | BPF_W,
	                          .dst_reg = (uint8_t)(reg & 15),
	                          .src_reg = BPF_REG_1,
	                          .off = (int16_t)offset});
}

/* Leaves for the next rule, whose place is patched in when it is known. */
static void emit_leave(struct code *c, int op, int reg, int32_t value, size_t *leaves,
                       size_t *count)
{
	leaves[(*count)++] = c->count;
	emit(c, (struct bpf_insn){.code = (uint8_t)(BPF_JMP | BPF_K | op),
	                          .dst_reg = (uint8_t)(reg & 15),
	                          .imm = value});
}

static void emit_answer(struct code *c, bool allow)
{
	emit_alu(c, BPF_MOV, BPF_REG_0, allow);
	emit(c, (struct bpf_insn){.code = BPF_JMP | BPF_EXIT});
}

static int access_bits(const char *access)
{
	int bits = 0;

	bits |= strchr(access, 'm') ? BPF_DEVCG_ACC_MKNOD : 0;
	bits |= strchr(access, 'r') ? BPF_DEVCG_ACC_READ : 0;
	bits |= strchr(access, 'w') ? BPF_DEVCG_ACC_WRITE : 0;
	return bits;
}

/* r2 type, r3 access, r4 major, r5 minor. An allowing rule must cover all that is asked for, a denying one
 * any of it. */
static void emit_rule(struct code *c, const struct device_rule *rule)
{
	int access = access_bits(rule->access);
	size_t leaves[4], count = 0;

	if (rule->type != 'a')
		emit_leave(c, BPF_JNE, BPF_REG_2,
		           rule->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR, leaves,
		           &count);
	if (rule->major >= 0)
		emit_leave(c, BPF_JNE, BPF_REG_4, (int32_t)rule->major, leaves, &count);
	if (rule->minor >= 0)
		emit_leave(c, BPF_JNE, BPF_REG_5, (int32_t)rule->minor, leaves, &count);
	emit(c, (struct bpf_insn){.code = BPF_ALU64 | BPF_X | BPF_MOV,
	                          .dst_reg = BPF_REG_6,
	                          .src_reg = BPF_REG_3});
	emit_alu(c, BPF_AND, BPF_REG_6, rule->allow ? 7 & ~access : access);
	emit_leave(c, rule->allow ? BPF_JNE : BPF_JEQ, BPF_REG_6, 0, leaves, &count);
	emit_answer(c, rule->allow);
	for (size_t i = 0; i < count; i++)
		c->insns[leaves[i]].off = (int16_t)(c->count - leaves[i] - 1);
}

/* The last rule that fits decides, so it is asked first; without any, the answer is no. */
static int build_program(const struct v2_devices *state, struct code *c, struct err *err)
{
	emit_load(c, BPF_REG_2, offsetof(struct bpf_cgroup_dev_ctx, access_type));
	emit(c, (struct bpf_insn){.code = BPF_ALU64 | BPF_X | BPF_MOV,
	                          .dst_reg = BPF_REG_3,
	                          .src_reg = BPF_REG_2});
	emit_alu(c, BPF_AND, BPF_REG_2, 0xffff);
	emit_alu(c, BPF_RSH, BPF_REG_3, 16);
	emit_load(c, BPF_REG_4, offsetof(struct bpf_cgroup_dev_ctx, major));
	emit_load(c, BPF_REG_5, offsetof(struct bpf_cgroup_dev_ctx, minor));
	for (size_t i = state->count; i > 0; i--) {
		if (c->count > CODE_MAX - 32)
			return err_set(err, ERR_LIMIT, "too many device rules for a BPF program");
		emit_rule(c, &state->rules[i - 1]);
		/* what everything fits is the end of the search */
		const struct device_rule *rule = &state->rules[i - 1];
		if (rule->type == 'a' && rule->major < 0 && rule->minor < 0 &&
		    access_bits(rule->access) == 7)
			break;
	}
	emit_answer(c, false);
	return 0;
}

static int attach_program(int cgroup_fd, const struct code *c, struct err *err)
{
	static const char license[] = "Apache-2.0";
	union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
	                       .insn_cnt = (uint32_t)c->count,
	                       .insns = (uint64_t)(uintptr_t)c->insns,
	                       .license = (uint64_t)(uintptr_t)license};
	auto_close int program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));
	if (program < 0)
		return err_sys(err, "load the device program");
	union bpf_attr attach = {.target_fd = (uint32_t)cgroup_fd,
	                         .attach_bpf_fd = (uint32_t)program,
	                         .attach_type = BPF_CGROUP_DEVICE,
	                         .attach_flags = BPF_F_ALLOW_MULTI};
	if (syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof(attach)) < 0)
		return err_sys(err, "attach the device program");
	return 0;
}

static int apply_v2(struct cgroup_place *place, const struct oci_resources *r,
                    const struct oci_device *devices, size_t count, struct err *err)
{
	size_t max = r->devices.count + count + ARRAY_LEN(default_devices);
	auto_free struct device_rule *rules = calloc(max, sizeof(*rules));
	auto_free struct code *code = calloc(1, sizeof(*code));
	struct v2_devices state = {.rules = rules, .max = max};

	if (!rules || !code)
		return err_nomem(err);
	if (each_rule(r, devices, count, collect_rule, &state, err) < 0 ||
	    build_program(&state, code, err) < 0)
		return -1;
	return attach_program(place->fd, code, err);
}

/* ---- version 1 ---- */

struct v1_devices {
	struct cgroup_place *place;
	int allow_fd; /* owned */
	bool open;    /* everything is allowed now */
};

static int write_rule(const struct v1_devices *state, const struct device_rule *rule,
                      struct err *err)
{
	char text[VALUE_MAX], major[24] = "*", minor[24] = "*";
	const char *file = rule->allow ? "devices.allow" : "devices.deny";

	if (rule->type == 'a') /* the kernel takes "a" alone, for everything at once */
		return cgroup_write(state->place, file, "a", err);
	if (rule->major >= 0)
		snprintf(major, sizeof(major), "%" PRId64, rule->major);
	if (rule->minor >= 0)
		snprintf(minor, sizeof(minor), "%" PRId64, rule->minor);
	snprintf(text, sizeof(text), "%c %s:%s %s", rule->type, major, minor, rule->access);
	if (!rule->allow)
		return cgroup_write(state->place, file, text, err);
	return fs_write_all(state->allow_fd, text, strlen(text), err) < 0
	               ? err_wrap(err, "cgroup: %s '%s'", file, text)
	               : 0;
}

static int apply_rule_v1(void *arg, const struct device_rule *rule, struct err *err)
{
	struct v1_devices *state = arg;
	bool all = rule->type == 'a' && rule->major < 0 && rule->minor < 0;

	if (rule->type == 'a' && !all)
		return err_set(err, ERR_UNSUPPORTED, "type a with a number is not supported");
	if (all && state->open == rule->allow)
		return 0; /* it is so already */
	if (state->open && rule->allow)
		return 0; /* within everything; writing it would be an exception list's entry */
	if (all)
		state->open = rule->allow;
	return write_rule(state, rule, err);
}

int cgroup_apply_devices(struct cgroup *cg, const struct oci_resources *r,
                         const struct oci_device *devices, size_t count, struct err *err)
{
	struct v1_devices state = {.place = cgroup_find(cg, "devices")};

	if (!state.place)
		return r->devices.count == 0
		               ? 0
		               : err_set(err, ERR_UNSUPPORTED,
		                         "linux.resources.devices: no cgroup is mounted");
	if (state.place->hierarchy.v2)
		return apply_v2(state.place, r, devices, count, err);
	auto_close int allow_fd = fs_open(state.place->fd, "devices.allow", O_WRONLY, 0, err);
	state.allow_fd = allow_fd;
	if (allow_fd < 0 || cgroup_write(state.place, "devices.deny", "a", err) < 0 ||
	    each_rule(r, devices, count, apply_rule_v1, &state, err) < 0)
		return -1;

	auto_buf struct buf list = BUF_INIT(64 << 10);
	if (cgroup_read_place(state.place, "devices.list", &list, err) < 0)
		return -1;
	if (!state.open && str_starts(buf_str(&list), "a *:* rwm"))
		return err_set(err, ERR_INTERNAL, "device rules of cgroup %s did not take effect",
		               cg->path);
	return 0;
}
