/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/seccomp.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "oci/image.h"
#include "seccomp_default.h" /* made from seccomp_default.json by the build */

static const char *native_arch(void)
{
	static const char *const names[][2] = {
		{"amd64", "SCMP_ARCH_X86_64"},    {"arm64", "SCMP_ARCH_AARCH64"},
		{"riscv64", "SCMP_ARCH_RISCV64"}, {"s390x", "SCMP_ARCH_S390X"},
		{"ppc64le", "SCMP_ARCH_PPC64LE"}, {"386", "SCMP_ARCH_X86"},
		{"arm", "SCMP_ARCH_ARM"},
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eq(oci_architecture(), names[i][0]))
			return names[i][1];
	return "SCMP_ARCH_NATIVE";
}

static bool list_has(const struct json *list, const char *text)
{
	for (size_t i = 0; i < json_count(list); i++)
		if (str_eq(json_str(json_at(list, i)), text))
			return true;
	return false;
}

static bool all_caps(const struct json *list, const char *const *caps)
{
	for (size_t i = 0; i < json_count(list); i++) {
		const char *wanted = json_str(json_at(list, i));
		size_t k = 0;
		while (caps[k] && !str_eq(caps[k], wanted))
			k++;
		if (!caps[k])
			return false;
	}
	return true;
}

static bool any_cap(const struct json *list, const char *const *caps)
{
	for (size_t k = 0; caps[k]; k++)
		if (list_has(list, caps[k]))
			return true;
	return false;
}

/* "6.1.0-13" and the like: the first two numbers. */
static bool read_version(const char *text, uint64_t version[2])
{
	return id_scan_u64(&text, &version[0]) && *text++ == '.' && id_scan_u64(&text, &version[1]);
}

static bool kernel_at_least(const char *wanted)
{
	uint64_t have[2] = {0}, want[2] = {0};
	struct utsname name;

	if (!wanted)
		return true;
	if (uname(&name) < 0 || !read_version(name.release, have) || !read_version(wanted, want))
		return false;
	return have[0] != want[0] ? have[0] > want[0] : have[1] >= want[1];
}

/* Docker's conditions: includes must hold, excludes must not. */
static bool rule_applies(const struct json *rule, const char *const *caps)
{
	const struct json *in = json_get(rule, "includes"), *out = json_get(rule, "excludes");
	const struct json *arches = json_get(in, "arches");
	const char *arch = oci_architecture();

	if (json_count(arches) && !list_has(arches, arch))
		return false;
	if (!all_caps(json_get(in, "caps"), caps) ||
	    !kernel_at_least(json_get_string(in, "minKernel")))
		return false;
	if (list_has(json_get(out, "arches"), arch) || any_cap(json_get(out, "caps"), caps))
		return false;
	return !json_get_string(out, "minKernel") ||
	       !kernel_at_least(json_get_string(out, "minKernel"));
}

static int copy_key(const struct json *from, struct json *to, const char *key)
{
	struct json *value = json_get(from, key);

	return !value || json_is_null(value) ? 0 : json_set(to, key, json_ref(value));
}

static int add_rule(const struct json *rule, struct json *list, struct err *err)
{
	struct json *out = json_object();
	int bad = copy_key(rule, out, "action") | copy_key(rule, out, "errnoRet");

	if (json_count(json_get(rule, "args")))
		bad |= copy_key(rule, out, "args");
	if (json_get_string(rule, "name")) { /* the oldest form: one name */
		struct json *names = json_array();
		bad |= json_append(names, json_string(json_get_string(rule, "name")));
		bad |= json_set(out, "names", names);
	} else {
		bad |= copy_key(rule, out, "names");
	}
	if (json_append(list, out) < 0 || bad)
		return err_nomem(err);
	return 0;
}

static struct json *convert(const struct json *profile, const char *const *caps, struct err *err)
{
	const struct json *rules = json_get(profile, "syscalls");
	auto_type(json) out = json_object();
	struct json *list = json_array(), *arches = json_array();
	int bad = copy_key(profile, out, "defaultAction") |
	          copy_key(profile, out, "defaultErrnoRet") | copy_key(profile, out, "flags");

	bad |= json_append(arches, json_string(native_arch()));
	bad |= json_set(out, "architectures", arches);
	bad |= json_set(out, "syscalls", list);
	if (bad)
		return err_nomem(err), NULL;
	for (size_t i = 0; i < json_count(rules); i++)
		if (rule_applies(json_at(rules, i), caps) &&
		    add_rule(json_at(rules, i), list, err) < 0)
			return NULL;
	return move_ptr(out);
}

struct json *seccomp_profile(const char *text, const char *const *caps, struct err *err)
{
	static const char *const known[] = {"defaultAction", "defaultErrnoRet", "architectures",
	                                    "archMap",       "syscalls",        "flags"};
	auto_type(json) profile = json_parse(text, strlen(text), err);
	const char *key;
	struct json *value;

	if (!profile)
		return err_wrap(err, "seccomp profile"), NULL;
	if (!json_get_string(profile, "defaultAction"))
		return err_set(err, ERR_INVALID, "seccomp profile: no defaultAction"), NULL;
	for (void *iter = NULL; json_next(profile, &iter, &key, &value);) {
		size_t i = 0;
		while (i < ARRAY_LEN(known) && !str_eq(key, known[i]))
			i++;
		if (i == ARRAY_LEN(known))
			return err_set(err, ERR_INVALID, "seccomp profile: unknown key '%.40s'",
			               key),
			       NULL;
	}
	return convert(profile, caps, err);
}

struct json *seccomp_default(const char *const *caps, struct err *err)
{
	auto_type(json) profile =
		json_parse(seccomp_default_json, sizeof(seccomp_default_json) - 1, err);

	return profile ? convert(profile, caps, err) : NULL;
}
