/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/systemd.h"

#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "base/testing.h"
#include "runtime/spec.h"

static void a_scope_has_slice_prefix_and_name(void **state)
{
	static const struct {
		const char *path, *slice, *unit;
	} cases[] = {
		{"machine.slice:libpod:abc", "machine.slice", "libpod-abc.scope"},
		{"system.slice:docker:a.b", "system.slice", "docker-a.b.scope"},
		{"user-1000.slice::x", "user-1000.slice", "x.scope"},
		{":cri:x.scope", "", "cri-x.scope"},
		{NULL, "", "buoy-web.scope"},
		{"", "", "buoy-web.scope"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct systemd_scope scope;
		struct err err = ERR_INIT;
		assert_int_equal(systemd_parse(cases[i].path, "web", false, &scope, &err), 0);
		assert_string_equal(scope.slice, cases[i].slice);
		assert_string_equal(scope.unit, cases[i].unit);
	}
}

static void what_is_no_scope_is_refused(void **state)
{
	static const char *const cases[] = {"/buoy/web",     "a.slice:b",     "a.slice:b:c:d",
	                                    "a.slice:b:",    "notaslice:b:c", "../x.slice:b:c",
	                                    "a.slice:b:c/d", "--a.slice:b:c", "a-.slice:b:c",
	                                    ".slice:b:c",    "-a.slice:b:c"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct systemd_scope scope;
		struct err err = ERR_INIT;
		assert_int_equal(systemd_parse(cases[i], "web", false, &scope, &err), -1);
		assert_int_equal(err.kind, ERR_INVALID);
		assert_non_null(strstr(err.msg, "cgroupsPath"));
	}
}

static void slices_nest_by_their_dashes(void **state)
{
	char path[CGROUP_PATH_MAX];

	(void)state;
	assert_int_equal(systemd_slice_path("a-b-c.slice", path, NULL), 0);
	assert_string_equal(path, "/a.slice/a-b.slice/a-b-c.slice");
	assert_int_equal(systemd_slice_path("machine.slice", path, NULL), 0);
	assert_string_equal(path, "/machine.slice");
	assert_int_equal(systemd_slice_path("-.slice", path, NULL), 0);
	assert_string_equal(path, "");
}

static void limits(const char *text, bool v2, const char *expect)
{
	auto_arena struct arena arena = ARENA_INIT(SPEC_ARENA_MAX);
	static struct systemd_words w;
	struct err err = ERR_INIT;
	char got[1024] = "";

	struct oci_resources *r = spec_parse_resources(text, strlen(text), &arena, &err);
	if (!r)
		fail_msg("%s", err.msg);
	w = (struct systemd_words){0};
	systemd_add_limits(r, v2, &w);
	for (size_t i = 0, used = 0; i < w.count; i++)
		used += (size_t)snprintf(got + used, sizeof(got) - used, "%s%s", i ? " " : "",
		                         w.items[i]);
	assert_string_equal(got, expect);
}

static void limits_are_properties_of_their_version(void **state)
{
	static const char all[] = "{\"memory\":{\"limit\":64,\"swap\":96,\"reservation\":32},"
				  "\"cpu\":{\"shares\":1024,\"quota\":50000,\"period\":100000,"
				  "\"cpus\":\"0-2,9\",\"mems\":\"0\"},\"pids\":{\"limit\":50}}";

	(void)state;
	limits(all, true,
	       "MemoryMax t 64 MemoryLow t 32 MemorySwapMax t 32 CPUWeight t 39 "
	       "CPUQuotaPerSecUSec t 500000 CPUQuotaPeriodUSec t 100000 AllowedCPUs ay 2 7 2 "
	       "AllowedMemoryNodes ay 1 1 TasksMax t 50");
	limits(all, false,
	       "MemoryLimit t 64 CPUShares t 1024 CPUQuotaPerSecUSec t 500000 TasksMax t 50");
	limits("{}", true, "");
	limits("{\"memory\":{\"limit\":-1},\"cpu\":{\"quota\":-1},\"pids\":{\"limit\":-1}}", true,
	       "MemoryMax t 18446744073709551615 CPUQuotaPerSecUSec t 18446744073709551615 "
	       "TasksMax t 18446744073709551615");
	limits("{\"cpu\":{\"quota\":12345}}", true, "CPUQuotaPerSecUSec t 130000");
}

TESTING_MAIN(TEST(a_scope_has_slice_prefix_and_name), TEST(what_is_no_scope_is_refused),
             TEST(slices_nest_by_their_dashes), TEST(limits_are_properties_of_their_version))
