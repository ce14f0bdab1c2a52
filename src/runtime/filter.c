/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <seccomp.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "runtime/spec.h"

#define X32_BIT     0x40000000U
#define NUMBER_MAX  4096  /* system call numbers in use end far below */
#define RULES_MAX   16384 /* (call, rule) pairs of one architecture */
#define PROGRAM_MAX 4096  /* instructions: the kernel's BPF_MAXINSNS */

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

/* ---- words ---- */

static const struct {
	const char *name;
	uint32_t value;
	bool has_data; /* the errno or the tracer's message */
} actions[] = {
	{"SCMP_ACT_ALLOW", SECCOMP_RET_ALLOW, false},
	{"SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO, true},
	{"SCMP_ACT_KILL", SECCOMP_RET_KILL_THREAD, false},
	{"SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS, false},
	{"SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD, false},
	{"SCMP_ACT_LOG", SECCOMP_RET_LOG, false},
	{"SCMP_ACT_NOTIFY", SECCOMP_RET_USER_NOTIF, false},
	{"SCMP_ACT_TRACE", SECCOMP_RET_TRACE, true},
	{"SCMP_ACT_TRAP", SECCOMP_RET_TRAP, false},
};

enum compare {
	NOT_EQUAL,
	LESS,
	LESS_EQUAL,
	EQUAL,
	GREATER_EQUAL,
	GREATER,
	MASKED_EQUAL
};

static const char *const operators[] = {
	[NOT_EQUAL] = "SCMP_CMP_NE",           [LESS] = "SCMP_CMP_LT",
	[LESS_EQUAL] = "SCMP_CMP_LE",          [EQUAL] = "SCMP_CMP_EQ",
	[GREATER_EQUAL] = "SCMP_CMP_GE",       [GREATER] = "SCMP_CMP_GT",
	[MASKED_EQUAL] = "SCMP_CMP_MASKED_EQ",
};

static const struct arch {
	const char *name;
	uint32_t
		token; /* SCMP_ARCH_*; 0: no numbers known, which only the machine itself would need */
	uint32_t audit; /* AUDIT_ARCH_*, what the kernel reports */
} arches[] = {
	{"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64, AUDIT_ARCH_AARCH64},
	{"SCMP_ARCH_ARM", SCMP_ARCH_ARM, AUDIT_ARCH_ARM},
	{"SCMP_ARCH_LOONGARCH64", 0, AUDIT_ARCH_LOONGARCH64},
	{"SCMP_ARCH_M68K", 0, AUDIT_ARCH_M68K},
	{"SCMP_ARCH_MIPS", SCMP_ARCH_MIPS, AUDIT_ARCH_MIPS},
	{"SCMP_ARCH_MIPS64", SCMP_ARCH_MIPS64, AUDIT_ARCH_MIPS64},
	{"SCMP_ARCH_MIPS64N32", SCMP_ARCH_MIPS64N32, AUDIT_ARCH_MIPS64N32},
	{"SCMP_ARCH_MIPSEL", SCMP_ARCH_MIPSEL, AUDIT_ARCH_MIPSEL},
	{"SCMP_ARCH_MIPSEL64", SCMP_ARCH_MIPSEL64, AUDIT_ARCH_MIPSEL64},
	{"SCMP_ARCH_MIPSEL64N32", SCMP_ARCH_MIPSEL64N32, AUDIT_ARCH_MIPSEL64N32},
	{"SCMP_ARCH_PARISC", SCMP_ARCH_PARISC, AUDIT_ARCH_PARISC},
	{"SCMP_ARCH_PARISC64", SCMP_ARCH_PARISC64, AUDIT_ARCH_PARISC64},
	{"SCMP_ARCH_PPC", SCMP_ARCH_PPC, AUDIT_ARCH_PPC},
	{"SCMP_ARCH_PPC64", SCMP_ARCH_PPC64, AUDIT_ARCH_PPC64},
	{"SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE, AUDIT_ARCH_PPC64LE},
	{"SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64, AUDIT_ARCH_RISCV64},
	{"SCMP_ARCH_S390", SCMP_ARCH_S390, AUDIT_ARCH_S390},
	{"SCMP_ARCH_S390X", SCMP_ARCH_S390X, AUDIT_ARCH_S390X},
	{"SCMP_ARCH_SH", 0, AUDIT_ARCH_SHEL},
	{"SCMP_ARCH_SHEB", 0, AUDIT_ARCH_SH},
	{"SCMP_ARCH_X32", SCMP_ARCH_X32, AUDIT_ARCH_X86_64},
	{"SCMP_ARCH_X86", SCMP_ARCH_X86, AUDIT_ARCH_I386},
	{"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64, AUDIT_ARCH_X86_64},
};

static const struct {
	const char *name;
	unsigned value;
} flag_names[] = {
	{"SECCOMP_FILTER_FLAG_TSYNC", 0}, /* one thread: nothing to synchronise */
	{"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
	{"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
	{"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
};

const char *filter_action_name(size_t index)
{
	return index < ARRAY_LEN(actions) ? actions[index].name : NULL;
}

const char *filter_operator_name(size_t index)
{
	return index < ARRAY_LEN(operators) ? operators[index] : NULL;
}

const char *filter_arch_name(size_t index)
{
	return index < ARRAY_LEN(arches) ? arches[index].name : NULL;
}

const char *filter_flag_name(size_t index)
{
	return index < ARRAY_LEN(flag_names) ? flag_names[index].name : NULL;
}

static int parse_action(const char *name, const struct json *data, uint32_t *value, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
		if (!str_eq(actions[i].name, name))
			continue;
		int64_t number = EPERM;
		if (data && !json_is_null(data))
			number = json_num(data, -1);
		if (data && !json_is_null(data) && !actions[i].has_data)
			return err_set(err, ERR_INVALID, "action %s takes no errnoRet", name);
		if (number < 0 || number > 4095)
			return err_set(err, ERR_INVALID, "errnoRet is not in 0 to 4095");
		*value = actions[i].value | (actions[i].has_data ? (uint32_t)number : 0);
		return 0;
	}
	return err_set(err, ERR_INVALID, "unknown action '%s'", name);
}

static int parse_operator(const char *name, enum compare *op, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(operators); i++) {
		if (str_eq(operators[i], name)) {
			*op = (enum compare)i;
			return 0;
		}
	}
	return err_set(err, ERR_INVALID, "unknown operator '%s'", name);
}

static const struct arch *find_arch(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(arches); i++)
		if (str_eq(arches[i].name, name))
			return &arches[i];
	return NULL;
}

bool filter_notifies(const struct oci_seccomp *profile)
{
	const struct oci_seccomp_rule *rules = profile->rules.items;
	bool found = str_eq(profile->default_action, "SCMP_ACT_NOTIFY");

	for (size_t i = 0; i < profile->rules.count && !found; i++)
		found = str_eq(rules[i].action, "SCMP_ACT_NOTIFY");
	return found;
}

int filter_parse_flags(const struct oci_seccomp *profile, unsigned *flags, struct err *err)
{
	*flags = 0;
	for (size_t i = 0; i < profile->flags.count; i++) {
		size_t j = 0;
		while (j < ARRAY_LEN(flag_names) &&
		       !str_eq(flag_names[j].name, profile->flags.items[i]))
			j++;
		if (j == ARRAY_LEN(flag_names))
			return err_set(err, ERR_INVALID, "linux.seccomp.flags[%zu]: unknown '%s'",
			               i, profile->flags.items[i]);
		*flags |= flag_names[j].value;
	}
	if (filter_notifies(profile))
		*flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
	else /* about notifications, of which there are none */
		*flags &= ~(unsigned)SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	return 0;
}

/* ---- the program under construction ---- */

struct program {
	struct sock_filter *code; /* owned */
	size_t count;
	bool too_long;
};

static void emit(struct program *p, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
	if (p->count == PROGRAM_MAX) {
		p->too_long = true;
		return;
	}
	p->code[p->count++] = (struct sock_filter){.code = code, .jt = jt, .jf = jf, .k = k};
}

static void emit_load(struct program *p, size_t offset)
{
	emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void emit_return(struct program *p, uint32_t action)
{
	emit(p, BPF_RET | BPF_K, action, 0, 0);
}

/* A jump of any length whose target is set later, by patch(). */
static size_t emit_goto(struct program *p)
{
	emit(p, BPF_JMP | BPF_JA, 0, 0, 0);
	return p->count - 1;
}

static void patch(struct program *p, size_t at)
{
	if (!p->too_long)
		p->code[at].k = (uint32_t)(p->count - at - 1);
}

/* ---- one system call's rules ---- */

struct condition {
	unsigned index;
	enum compare op;
	uint64_t value, value_two;
};

/* One alternative: if all conditions hold, the action. */
struct alternative {
	uint32_t nr;
	size_t order;
	uint32_t action;
	unsigned count;
	struct condition conditions[6];
};

#define LOW_WORD(index)  (offsetof(struct seccomp_data, args) + (index) * sizeof(uint64_t))
#define HIGH_WORD(index) (LOW_WORD(index) + sizeof(uint32_t))
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "argument words are taken low first");

/*
 * A 64-bit comparison in 32-bit steps, high words first. Falls through when it holds, else
 * jumps; the jumps to be patched to the next alternative are put into *out.
 */
static void emit_condition(struct program *p, const struct condition *c, size_t *fails,
                           size_t *fail_count)
{
	uint32_t high = (uint32_t)(c->value >> 32), low = (uint32_t)c->value;

	if (c->op == MASKED_EQUAL) { /* value is the mask, value_two what remains */
		emit_load(p, HIGH_WORD(c->index));
		emit(p, BPF_ALU | BPF_AND | BPF_K, high, 0, 0);
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(c->value_two >> 32), 1, 0);
		fails[(*fail_count)++] = emit_goto(p);
		emit_load(p, LOW_WORD(c->index));
		emit(p, BPF_ALU | BPF_AND | BPF_K, low, 0, 0);
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)c->value_two, 1, 0);
		fails[(*fail_count)++] = emit_goto(p);
		return;
	}
	if (c->op == EQUAL) {
		emit_load(p, HIGH_WORD(c->index));
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, high, 1, 0);
		fails[(*fail_count)++] = emit_goto(p);
		emit_load(p, LOW_WORD(c->index));
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, low, 1, 0);
		fails[(*fail_count)++] = emit_goto(p);
		return;
	}
	if (c->op == NOT_EQUAL) { /* holds at once if the high words differ */
		emit_load(p, HIGH_WORD(c->index));
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, high, 0, 3);
		emit_load(p, LOW_WORD(c->index));
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, low, 0, 1);
		fails[(*fail_count)++] = emit_goto(p);
		return;
	}
	/* An order: by the high words unless they are equal. "a < b" is "not a >= b". */
	bool negate = c->op == LESS || c->op == LESS_EQUAL;
	bool or_equal = c->op == GREATER_EQUAL || c->op == LESS;

	emit_load(p, HIGH_WORD(c->index));
	emit(p, BPF_JMP | BPF_JGT | BPF_K, high, negate ? 3 : 4, 0);
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, high, 0, negate ? 3 : 2);
	emit_load(p, LOW_WORD(c->index));
	emit(p, (uint16_t)(BPF_JMP | BPF_K | (or_equal ? BPF_JGE : BPF_JGT)), low, negate ? 0 : 1,
	     negate ? 1 : 0);
	fails[(*fail_count)++] = emit_goto(p);
}

static void emit_alternative(struct program *p, const struct alternative *a)
{
	size_t fails[24];
	size_t count = 0;

	for (unsigned i = 0; i < a->count; i++)
		emit_condition(p, &a->conditions[i], fails, &count);
	emit_return(p, a->action);
	for (size_t i = 0; i < count; i++)
		patch(p, fails[i]);
}

/* ---- one architecture ---- */

/* Numbers [first, next range's first) go one way: an action, or a call with conditions. */
struct range {
	uint32_t first;
	uint32_t action;
	const struct alternative *alternatives; /* NULL: unconditional */
	size_t alternative_count;
};

struct section {
	struct alternative *all; /* owned; sorted by number */
	size_t count, max;
	struct range *ranges; /* owned */
	size_t range_count;
	uint32_t default_action;
};

static void section_done(struct section *s)
{
	free(s->all);
	free(s->ranges);
}

static int compare_alternatives(const void *a, const void *b)
{
	const struct alternative *x = a, *y = b;

	if (x->nr != y->nr)
		return x->nr < y->nr ? -1 : 1;
	if (!x->count != !y->count) /* without conditions first: it beats the others */
		return x->count ? 1 : -1;
	return x->order < y->order ? -1 : 1;
}

static int add_alternative(struct section *s, const struct alternative *a, struct err *err)
{
	if (s->count == s->max)
		return err_set(err, ERR_LIMIT, "more than %d rules", RULES_MAX);
	s->all[s->count] = *a;
	s->all[s->count].order = s->count;
	s->count++;
	return 0;
}

static int parse_condition(const struct oci_seccomp_arg *arg, struct condition *c, struct err *err)
{
	if (arg->index < 0 || arg->index > 5)
		return err_set(err, ERR_INVALID, "args[].index is not in 0 to 5");
	c->index = (unsigned)arg->index;
	c->value = arg->value;
	c->value_two = arg->value_two;
	return parse_operator(arg->op, &c->op, err);
}

/* The rule for one number. An argument named twice makes each condition a rule of its own. */
static int add_rule(struct section *s, const struct oci_seccomp_rule *rule, uint32_t nr,
                    uint32_t action, struct err *err)
{
	struct alternative a = {.nr = nr, .action = action};
	const struct oci_seccomp_arg *args = rule->args.items;
	unsigned seen[6] = {0};
	bool twice = false;

	if (rule->args.count > 64)
		return err_set(err, ERR_LIMIT, "more than 64 args");
	for (size_t i = 0; i < rule->args.count; i++) {
		struct condition c;
		if (parse_condition(&args[i], &c, err) < 0)
			return -1;
		twice |= seen[c.index]++ > 0;
	}
	if (!twice) {
		for (size_t i = 0; i < rule->args.count; i++)
			(void)parse_condition(&args[i], &a.conditions[a.count++], NULL);
		return add_alternative(s, &a, err);
	}
	a.count = 1;
	for (size_t i = 0; i < rule->args.count; i++) {
		(void)parse_condition(&args[i], &a.conditions[0], NULL);
		if (add_alternative(s, &a, err) < 0)
			return -1;
	}
	return 0;
}

static int collect_rules(struct section *s, const struct oci_seccomp *profile, uint32_t token,
                         struct err *err)
{
	const struct oci_seccomp_rule *rules = profile->rules.items;

	for (size_t i = 0; i < profile->rules.count; i++) {
		uint32_t action;
		if (parse_action(rules[i].action, rules[i].errno_json, &action, err) < 0)
			return err_wrap(err, "linux.seccomp.syscalls[%zu]", i);
		for (size_t n = 0; n < rules[i].names.count; n++) {
			int nr = seccomp_syscall_resolve_name_arch(token, rules[i].names.items[n]);
			uint32_t plain = (uint32_t)nr & ~(token == SCMP_ARCH_X32 ? X32_BIT : 0);
			if (nr < 0 || plain >= NUMBER_MAX)
				continue; /* this architecture has no such call */
			if (add_rule(s, &rules[i], plain, action, err) < 0)
				return err_wrap(err, "linux.seccomp.syscalls[%zu]", i);
		}
	}
	qsort(s->all, s->count, sizeof(*s->all), compare_alternatives);
	return 0;
}

static void add_range(struct section *s, struct range range)
{
	struct range *last = s->range_count ? &s->ranges[s->range_count - 1] : NULL;

	if (last && !last->alternatives && !range.alternatives && last->action == range.action)
		return;
	s->ranges[s->range_count++] = range;
}

/* Merges neighbours with one fate, which for the usual profiles leaves some 60 ranges. */
static void build_ranges(struct section *s)
{
	uint32_t next = 0;

	for (size_t i = 0; i < s->count;) {
		const struct alternative *a = &s->all[i];
		size_t same = 1;
		while (i + same < s->count && s->all[i + same].nr == a->nr)
			same++;
		if (a->nr > next)
			add_range(s, (struct range){.first = next, .action = s->default_action});
		if (a->count == 0)
			add_range(s, (struct range){.first = a->nr, .action = a->action});
		else
			add_range(s, (struct range){.first = a->nr,
			                            .alternatives = a,
			                            .alternative_count = same});
		next = a->nr + 1;
		i += same;
	}
	uint32_t newer = s->default_action;
	if (s->count > 0 && (newer & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO)
		newer = SECCOMP_RET_ERRNO | ENOSYS;
	add_range(s, (struct range){.first = next, .action = newer});
}

static void emit_leaf(struct program *p, const struct section *s, const struct range *r)
{
	for (size_t i = 0; i < r->alternative_count; i++)
		emit_alternative(p, &r->alternatives[i]);
	emit_return(p, r->alternatives ? s->default_action : r->action);
}

/* Binary search over ranges [from, to); the number is in the accumulator. */
static void emit_search(struct program *p, const struct section *s, size_t from, size_t to)
{
	if (to - from == 1) {
		emit_leaf(p, s, &s->ranges[from]);
		return;
	}
	size_t middle = from + (to - from) / 2;

	emit(p, BPF_JMP | BPF_JGE | BPF_K, s->ranges[middle].first, 0, 1);
	size_t right = emit_goto(p);
	emit_search(p, s, from, middle);
	patch(p, right);
	emit_search(p, s, middle, to);
}

/* How many there can be at most: small profiles should not touch much memory. */
static size_t count_alternatives(const struct oci_seccomp *profile)
{
	const struct oci_seccomp_rule *rules = profile->rules.items;
	size_t count = 0;

	for (size_t i = 0; i < profile->rules.count && count < RULES_MAX; i++)
		count += rules[i].names.count * (rules[i].args.count ? rules[i].args.count : 1);
	return count < RULES_MAX ? count : RULES_MAX;
}

static int emit_section(struct program *p, const struct oci_seccomp *profile, uint32_t token,
                        uint32_t default_action, struct err *err)
{
	__attribute__((cleanup(section_done))) struct section s = {.default_action =
	                                                                   default_action};

	s.max = count_alternatives(profile);
	s.all = calloc(s.max + 1, sizeof(*s.all));
	if (!s.all)
		return err_nomem(err);
	if (collect_rules(&s, profile, token, err) < 0)
		return -1;
	s.ranges = calloc(2 * s.count + 2, sizeof(*s.ranges));
	if (!s.ranges)
		return err_nomem(err);
	build_ranges(&s);
	emit_search(p, &s, 0, s.range_count);
	return 0;
}

/* ---- the whole ---- */

/* A set of architectures as a bit mask over `arches`. */
static int parse_arches(const struct oci_seccomp *profile, uint32_t *set, struct err *err)
{
	*set = 0;
	for (size_t i = 0; i < ARRAY_LEN(arches); i++)
		if (arches[i].token == seccomp_arch_native())
			*set |= 1U << i;
	for (size_t i = 0; i < profile->architectures.count; i++) {
		const struct arch *arch = find_arch(profile->architectures.items[i]);
		if (!arch)
			return err_set(err, ERR_INVALID,
			               "linux.seccomp.architectures[%zu]: unknown '%s'", i,
			               profile->architectures.items[i]);
		*set |= 1U << (arch - arches);
	}
	return 0;
}

static bool has_x32(uint32_t set)
{
	for (size_t i = 0; i < ARRAY_LEN(arches); i++)
		if (arches[i].token == SCMP_ARCH_X32)
			return set & (1U << i);
	return false;
}

/* x86-64 and x32 share one kernel architecture; a bit in the number tells them apart. */
static int emit_x86_64(struct program *p, const struct oci_seccomp *profile, uint32_t action,
                       bool x32, struct err *err)
{
	emit(p, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
	size_t to_x32 = emit_goto(p);
	if (emit_section(p, profile, SCMP_ARCH_X86_64, action, err) < 0)
		return -1;
	patch(p, to_x32);
	if (!x32) {
		emit_return(p, SECCOMP_RET_KILL_PROCESS);
		return 0;
	}
	emit(p, BPF_ALU | BPF_AND | BPF_K, ~X32_BIT, 0, 0);
	return emit_section(p, profile, SCMP_ARCH_X32, action, err);
}

static int emit_arch(struct program *p, const struct oci_seccomp *profile, const struct arch *arch,
                     uint32_t set, struct err *err)
{
	uint32_t action;

	if (parse_action(profile->default_action, profile->default_errno_json, &action, err) < 0)
		return err_wrap(err, "linux.seccomp.defaultAction");
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, arch->audit, 1, 0);
	size_t other = emit_goto(p);
	emit_load(p, offsetof(struct seccomp_data, nr));
	int rc = arch->token == SCMP_ARCH_X86_64
	                 ? emit_x86_64(p, profile, action, has_x32(set), err)
	                 : emit_section(p, profile, arch->token, action, err);
	patch(p, other);
	return rc;
}

static int check_listener(const struct oci_seccomp *profile, struct err *err)
{
	if (str_empty(profile->listener_path) && !str_empty(profile->listener_metadata))
		return err_set(err, ERR_INVALID,
		               "linux.seccomp.listenerMetadata: needs listenerPath");
	if (filter_notifies(profile) &&
	    (str_empty(profile->listener_path) || *profile->listener_path != '/'))
		return err_set(
			err, ERR_INVALID,
			"linux.seccomp.listenerPath: SCMP_ACT_NOTIFY needs the absolute path of "
			"an agent's socket");
	return 0;
}

int filter_compile(const struct oci_seccomp *profile, struct sock_filter **bpf, size_t *len,
                   struct err *err)
{
	auto_free struct sock_filter *code = calloc(PROGRAM_MAX, sizeof(*code));
	struct program p = {.code = code};
	uint32_t set;

	if (!code)
		return err_nomem(err);
	if (check_listener(profile, err) < 0 || parse_arches(profile, &set, err) < 0)
		return -1;

	emit_load(&p, offsetof(struct seccomp_data, arch));
	for (size_t i = 0; i < ARRAY_LEN(arches); i++) {
		if (!(set & (1U << i)) || !arches[i].token || arches[i].token == SCMP_ARCH_X32)
			continue;
		if (emit_arch(&p, profile, &arches[i], set, err) < 0)
			return -1;
	}
	emit_return(&p, SECCOMP_RET_KILL_PROCESS);
	if (p.too_long)
		return err_set(err, ERR_LIMIT, "linux.seccomp: needs more than %d instructions",
		               PROGRAM_MAX);
	*len = p.count * sizeof(*code);
	*bpf = move_ptr(code);
	return 0;
}

int filter_install(const void *bpf, size_t len, unsigned flags, struct err *err)
{
	struct sock_fprog program = {
		.len = (unsigned short)(len / sizeof(struct sock_filter)),
	};

	memcpy(&program.filter, &bpf, sizeof(bpf)); /* which the kernel only reads */

	int fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	return fd < 0 ? err_sys(err, "seccomp: install filter") : fd;
}

bool filter_flag_works(size_t index)
{
	unsigned flags = flag_names[index].value;

	/* The kernel looks at flags before it looks at the program, of which there is none. */
	if (flags == SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
		flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, NULL) < 0 && errno == EFAULT;
}

static uint32_t load_word(const struct seccomp_data *data, uint32_t offset)
{
	uint32_t word;

	memcpy(&word, (const char *)data + offset, sizeof(word));
	return word;
}

uint32_t filter_simulate(const struct sock_filter *bpf, size_t len, uint32_t arch, uint32_t nr,
                         const uint64_t args[6])
{
	struct seccomp_data data = {.nr = (int)nr, .arch = arch};
	uint32_t a = 0;

	memcpy(data.args, args, sizeof(data.args));
	for (size_t pc = 0; pc < len / sizeof(*bpf); pc++) {
		const struct sock_filter *i = &bpf[pc];
		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			a = load_word(&data, i->k);
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			break;
		case BPF_JMP | BPF_JA:
			pc += i->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += a == i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			pc += a >= i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			pc += a > i->k ? i->jt : i->jf;
			break;
		case BPF_RET | BPF_K:
			return i->k;
		default:
			return SECCOMP_RET_KILL_PROCESS; /* not ours */
		}
	}
	return SECCOMP_RET_KILL_PROCESS;
}
