/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <seccomp.h>

#include "base/err.h"
#include "base/str.h"
#include "base/testing.h"
#include "runtime/spec.h"

#define ALLOW      SECCOMP_RET_ALLOW
#define FAIL(n)    (SECCOMP_RET_ERRNO | (uint32_t)(n))
#define NUMBERS    470
#define CONDITIONS 3

static const uint64_t no_args[6];

static char *names_socket[] = {(char *)"socket", NULL};
static char *names_read[] = {(char *)"read", (char *)"no_such_call", NULL};

static struct json_strings strings(char **items, size_t count)
{
	return (struct json_strings){.items = items, .count = count, .present = true};
}

struct compiled {
	struct sock_filter *bpf;
	size_t len;
};

static void compile(const struct oci_seccomp *profile, struct compiled *out)
{
	struct err err = ERR_INIT;

	if (filter_compile(profile, &out->bpf, &out->len, &err) < 0)
		fail_msg("%s", err.msg);
}

static uint32_t ask(const struct compiled *c, uint32_t nr, const uint64_t args[6])
{
	return filter_simulate(c->bpf, c->len, AUDIT_ARCH_X86_64, nr, args);
}

static void a_listed_call_is_allowed_and_others_fail(void **state)
{
	struct oci_seccomp_rule rule = {.names = strings(names_read, 2),
	                                .action = (char *)"SCMP_ACT_ALLOW"};
	struct oci_seccomp profile = {.default_action = (char *)"SCMP_ACT_ERRNO",
	                              .rules = {.items = &rule, .count = 1}};
	struct compiled c;

	(void)state;
	compile(&profile, &c);
	assert_int_equal(ask(&c, SYS_read, no_args), ALLOW);
	assert_int_equal(ask(&c, SYS_read + 1, no_args), FAIL(ENOSYS)); /* newer than all named */
	free(c.bpf);

	profile.default_action = (char *)"SCMP_ACT_KILL_PROCESS";
	compile(&profile, &c);
	assert_int_equal(ask(&c, SYS_write, no_args), SECCOMP_RET_KILL_PROCESS);
	free(c.bpf);
}

static void foreign_calling_conventions_kill_unless_listed(void **state)
{
	char *both[] = {(char *)"SCMP_ARCH_X86", (char *)"SCMP_ARCH_X32"};
	struct oci_seccomp profile = {.default_action = (char *)"SCMP_ACT_ALLOW"};
	struct compiled c;

	(void)state;
	compile(&profile, &c);
	assert_int_equal(filter_simulate(c.bpf, c.len, AUDIT_ARCH_I386, 3, no_args),
	                 SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(ask(&c, 0x40000000U, no_args), SECCOMP_RET_KILL_PROCESS);
	free(c.bpf);

	profile.architectures = strings(both, 2);
	compile(&profile, &c);
	assert_int_equal(filter_simulate(c.bpf, c.len, AUDIT_ARCH_I386, 3, no_args), ALLOW);
	assert_int_equal(ask(&c, 0x40000000U, no_args), ALLOW);
	free(c.bpf);
}

static bool holds(uint64_t value, const struct oci_seccomp_arg *arg)
{
	if (str_eq(arg->op, "SCMP_CMP_NE"))
		return value != arg->value;
	if (str_eq(arg->op, "SCMP_CMP_LT"))
		return value < arg->value;
	if (str_eq(arg->op, "SCMP_CMP_LE"))
		return value <= arg->value;
	if (str_eq(arg->op, "SCMP_CMP_EQ"))
		return value == arg->value;
	if (str_eq(arg->op, "SCMP_CMP_GE"))
		return value >= arg->value;
	if (str_eq(arg->op, "SCMP_CMP_GT"))
		return value > arg->value;
	return (value & arg->value) == arg->value_two;
}

static const uint64_t edges[] = {
	0,
	1,
	2,
	40,
	0x7fffffff,
	0x80000000,
	0xffffffff,
	0x100000000,
	0x100000001,
	0x1ffffffff,
	0x7fffffffffffffff,
	0x8000000000000000,
	0xfffffffffffffffe,
	0xffffffffffffffff,
};

static void every_operator_compares_all_64_bits(void **state)
{
	struct oci_seccomp_arg arg = {.index = 2};
	struct oci_seccomp_rule rule = {.names = strings(names_socket, 1),
	                                .action = (char *)"SCMP_ACT_ALLOW",
	                                .args = {.items = &arg, .count = 1}};
	struct oci_seccomp profile = {.default_action = (char *)"SCMP_ACT_TRAP",
	                              .rules = {.items = &rule, .count = 1}};

	(void)state;
	for (size_t op = 0; filter_operator_name(op); op++) {
		for (size_t i = 0; i < ARRAY_LEN(edges); i++) {
			struct compiled c;
			arg.op = (char *)(uintptr_t)filter_operator_name(op);
			arg.value = edges[i];
			arg.value_two = edges[i] & 0x100000001;
			compile(&profile, &c);
			for (size_t j = 0; j < ARRAY_LEN(edges); j++) {
				uint64_t args[6] = {[2] = edges[j]};
				uint32_t want = holds(edges[j], &arg) ? ALLOW : SECCOMP_RET_TRAP;
				assert_int_equal(ask(&c, SYS_socket, args), want);
			}
			free(c.bpf);
		}
	}
}

static void a_rule_without_arguments_beats_those_with(void **state)
{
	struct oci_seccomp_arg arg = {.index = 0, .value = 38, .op = (char *)"SCMP_CMP_EQ"};
	struct oci_seccomp_rule rules[] = {
		{.names = strings(names_socket, 1),
	         .action = (char *)"SCMP_ACT_ALLOW",
	         .args = {.items = &arg, .count = 1}},
		{.names = strings(names_socket, 1), .action = (char *)"SCMP_ACT_TRAP"},
	};
	struct oci_seccomp profile = {.default_action = (char *)"SCMP_ACT_KILL",
	                              .rules = {.items = rules, .count = 2}};
	uint64_t args[6] = {38};
	struct compiled c;

	(void)state;
	compile(&profile, &c);
	assert_int_equal(ask(&c, SYS_socket, args), SECCOMP_RET_TRAP);
	free(c.bpf);
}

static void an_argument_named_twice_means_either(void **state)
{
	struct oci_seccomp_arg args[] = {
		{.index = 0, .value = 1, .op = (char *)"SCMP_CMP_EQ"},
		{.index = 0, .value = 2, .op = (char *)"SCMP_CMP_EQ"},
	};
	struct oci_seccomp_rule rule = {.names = strings(names_socket, 1),
	                                .action = (char *)"SCMP_ACT_ALLOW",
	                                .args = {.items = args, .count = 2}};
	struct oci_seccomp profile = {.default_action = (char *)"SCMP_ACT_TRAP",
	                              .rules = {.items = &rule, .count = 1}};
	struct compiled c;

	(void)state;
	compile(&profile, &c);
	for (uint64_t value = 0; value < 4; value++) {
		uint64_t call[6] = {value};
		assert_int_equal(ask(&c, SYS_socket, call),
		                 value == 1 || value == 2 ? ALLOW : SECCOMP_RET_TRAP);
	}
	free(c.bpf);
}

static void notified_calls_bring_a_listener(void **state)
{
	char *names[] = {(char *)"mkdir"}, *flags[] = {(char *)"SECCOMP_FILTER_FLAG_"
	                                                       "WAIT_KILLABLE_RECV"};
	struct oci_seccomp_rule rule = {.names = strings(names, 1),
	                                .action = (char *)"SCMP_ACT_NOTIFY"};
	struct oci_seccomp profile = {.default_action = (char *)"SCMP_ACT_ALLOW",
	                              .listener_path = (char *)"/run/agent",
	                              .flags = strings(flags, 1)};
	const uint64_t none[6] = {0};
	struct err err = ERR_INIT;
	struct compiled c;
	unsigned value;

	(void)state;
	assert_false(filter_notifies(&profile));
	assert_int_equal(filter_parse_flags(&profile, &value, &err), 0);
	assert_int_equal(value, 0); /* it is about notifications */
	profile.rules = (struct json_array){.items = &rule, .count = 1};
	assert_true(filter_notifies(&profile));
	assert_int_equal(filter_parse_flags(&profile, &value, &err), 0);
	assert_int_equal(value, SECCOMP_FILTER_FLAG_NEW_LISTENER | 1U << 5);
	compile(&profile, &c);
	assert_int_equal(ask(&c, SYS_mkdir, none), SECCOMP_RET_USER_NOTIF);
	assert_int_equal(ask(&c, SYS_rmdir, none), ALLOW);
	free(c.bpf);
}

static void what_is_unknown_is_refused_with_its_place(void **state)
{
	static const struct {
		const char *action, *arch, *flag, *words;
	} cases[] = {
		{"SCMP_ACT_NONE", NULL, NULL,
	         "linux.seccomp.defaultAction: unknown action 'SCMP_ACT_NONE'"},
		{"SCMP_ACT_NOTIFY", NULL, NULL,
	         "linux.seccomp.listenerPath: SCMP_ACT_NOTIFY needs the absolute path of an "
	         "agent's socket"},
		{"SCMP_ACT_ALLOW", "SCMP_ARCH_VAX", NULL,
	         "linux.seccomp.architectures[0]: unknown 'SCMP_ARCH_VAX'"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *arch[] = {(char *)(uintptr_t)cases[i].arch};
		struct oci_seccomp profile = {.default_action = (char *)(uintptr_t)cases[i].action,
		                              .architectures =
		                                      strings(arch, cases[i].arch ? 1 : 0)};
		struct err err = ERR_INIT;
		struct compiled c = {NULL, 0};
		assert_int_equal(filter_compile(&profile, &c.bpf, &c.len, &err), -1);
		assert_string_equal(err.msg, cases[i].words);
	}
	char *flags[] = {(char *)"SECCOMP_FILTER_FLAG_LOUD"};
	struct oci_seccomp profile = {.flags = strings(flags, 1)};
	struct err err = ERR_INIT;
	unsigned value;
	assert_int_equal(filter_parse_flags(&profile, &value, &err), -1);
	assert_string_equal(err.msg, "linux.seccomp.flags[0]: unknown 'SECCOMP_FILTER_FLAG_LOUD'");
}

/* ---- against libseccomp, whose output is a program of the same kind ---- */

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525U + 1013904223U;
	return *seed >> 8;
}

static void export(scmp_filter_ctx ctx, struct compiled *out)
{
	int fd = memfd_create("bpf", MFD_CLOEXEC);
	struct sock_filter code[8192];

	assert_true(fd >= 0);
	assert_int_equal(seccomp_export_bpf(ctx, fd), 0);
	ssize_t n = pread(fd, code, sizeof(code), 0);
	close(fd);
	assert_true(n > 0 && n < (ssize_t)sizeof(code));
	out->len = (size_t)n;
	out->bpf = malloc(out->len);
	assert_non_null(out->bpf);
	memcpy(out->bpf, code, out->len);
}

struct random_profile {
	struct oci_seccomp_rule rules[64];
	struct oci_seccomp_arg args[64][CONDITIONS];
	char *names[64][1];
	size_t count;
};

static const enum scmp_compare compares[] = {SCMP_CMP_NE,       SCMP_CMP_LT, SCMP_CMP_LE,
                                             SCMP_CMP_EQ,       SCMP_CMP_GE, SCMP_CMP_GT,
                                             SCMP_CMP_MASKED_EQ};

static void add_to_both(struct random_profile *p, scmp_filter_ctx ctx, uint32_t nr, uint32_t *seed)
{
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, (int)nr);
	size_t at = p->count;
	struct scmp_arg_cmp theirs[CONDITIONS];
	unsigned conditions = next_random(seed) % (CONDITIONS + 1);
	bool trap = next_random(seed) % 3 == 0;

	if (!name)
		return;
	for (unsigned i = 0; i < conditions; i++) {
		size_t op = next_random(seed) % ARRAY_LEN(compares);
		uint64_t value = edges[next_random(seed) % ARRAY_LEN(edges)];
		uint64_t two = op == 6 ? value & edges[next_random(seed) % ARRAY_LEN(edges)] : 0;
		p->args[at][i] =
			(struct oci_seccomp_arg){.index = i,
		                                 .value = value,
		                                 .value_two = two,
		                                 .op = (char *)(uintptr_t)filter_operator_name(op)};
		theirs[i] = (struct scmp_arg_cmp){
			.arg = i, .op = compares[op], .datum_a = value, .datum_b = two};
	}
	p->names[at][0] = name;
	p->rules[at] = (struct oci_seccomp_rule){
		.names = strings(p->names[at], 1),
		.action = (char *)(uintptr_t)(trap ? "SCMP_ACT_TRAP" : "SCMP_ACT_ALLOW"),
		.args = {.items = p->args[at], .count = conditions}};
	p->count++;
	assert_int_equal(seccomp_rule_add_array(ctx, trap ? SCMP_ACT_TRAP : SCMP_ACT_ALLOW, (int)nr,
	                                        conditions, theirs),
	                 0);
}

static void compare_all(const struct compiled *ours, const struct compiled *theirs, uint32_t seed)
{
	for (uint32_t nr = 0; nr < NUMBERS; nr++) {
		for (int round = 0; round < 24; round++) {
			uint64_t args[6];
			for (int i = 0; i < 6; i++)
				args[i] = edges[next_random(&seed) % ARRAY_LEN(edges)];
			assert_int_equal(ask(ours, nr, args), ask(theirs, nr, args));
		}
	}
}

static void random_profiles_mean_the_same_as_with_libseccomp(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 40; seed++) {
		struct random_profile p = {.count = 0};
		struct compiled ours, theirs;
		uint32_t random = seed;
		scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
		assert_non_null(ctx);
		for (uint32_t nr = seed % 5; nr < 330 && p.count < 60; nr += 1 + random % 9)
			add_to_both(&p, ctx, nr, &random);
		struct oci_seccomp profile = {.default_action = (char *)"SCMP_ACT_KILL_PROCESS",
		                              .rules = {.items = p.rules, .count = p.count}};
		compile(&profile, &ours);
		export(ctx, &theirs);
		compare_all(&ours, &theirs, seed);
		seccomp_release(ctx);
		for (size_t i = 0; i < p.count; i++)
			free(p.names[i][0]);
		free(ours.bpf);
		free(theirs.bpf);
	}
}

TESTING_MAIN(TEST(a_listed_call_is_allowed_and_others_fail),
             TEST(foreign_calling_conventions_kill_unless_listed),
             TEST(every_operator_compares_all_64_bits),
             TEST(a_rule_without_arguments_beats_those_with),
             TEST(an_argument_named_twice_means_either), TEST(notified_calls_bring_a_listener),
             TEST(what_is_unknown_is_refused_with_its_place),
             TEST(random_profiles_mean_the_same_as_with_libseccomp))
