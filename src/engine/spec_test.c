/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/spec.h"

#include "base/str.h"
#include "base/testing.h"
#include "engine/private.h"
#include "engine/seccomp.h"

static struct json *spec_of(const char *request, struct err *err)
{
	auto_type(config) config = config_parse(request, NULL, err);
	struct user user = {.uid = 0, .home = "/root"};
	struct spec_input input = {
		.id = "0123",
		.config = config,
		.user = &user,
		.netns_path = "/run/netns/x",
		.files = {.hosts = "/h", .hostname = "/n", .resolv_conf = "/r"},
	};

	return config ? spec_build(&input, err) : NULL;
}

static const struct json *at(const struct json *doc, const char *a, const char *b)
{
	return json_get(json_get(doc, a), b);
}

static size_t index_of(const struct json *list, const char *key, const char *value)
{
	size_t i = 0;

	while (i < json_count(list) && !str_eq(json_get_string(json_at(list, i), key), value))
		i++;
	return i;
}

static bool has_string(const struct json *list, const char *text)
{
	for (size_t i = 0; i < json_count(list); i++)
		if (str_eq(json_str(json_at(list, i)), text))
			return true;
	return false;
}

static void defaults_are_closed(void **state)
{
	auto_type(json) spec = spec_of("{\"Cmd\":[\"x\"],\"Hostname\":\"h\"}", NULL);
	const struct json *caps = at(spec, "process", "capabilities");
	const struct json *linux_json = json_get(spec, "linux");

	(void)state;
	assert_non_null(spec);
	assert_int_equal(json_count(json_get(caps, "bounding")), 10);
	assert_false(has_string(json_get(caps, "bounding"), "CAP_SYS_ADMIN"));
	assert_null(json_get(caps, "ambient"));
	assert_non_null(json_get(linux_json, "seccomp"));
	assert_true(has_string(json_get(linux_json, "maskedPaths"), "/proc/kcore"));
	assert_true(has_string(json_get(linux_json, "readonlyPaths"), "/proc/sys"));
	for (size_t i = 0; i < 6; i++) {
		static const char *const types[] = {"mount", "network", "uts",
		                                    "pid",   "ipc",     "cgroup"};
		const struct json *list = json_get(linux_json, "namespaces");
		assert_true(index_of(list, "type", types[i]) < json_count(list));
	}
	const struct json *rules = at(linux_json, "resources", "devices");
	assert_false(
		json_get_bool(json_at(rules, 0), "allow", true)); /* first everything is closed */
}

static void privileged_is_open(void **state)
{
	auto_type(json) spec =
		spec_of("{\"Cmd\":[\"x\"],\"HostConfig\":{\"Privileged\":true}}", NULL);

	(void)state;
	assert_null(at(spec, "linux", "seccomp"));
	assert_int_equal(json_count(at(spec, "linux", "maskedPaths")), 0);
	assert_true(has_string(json_get(at(spec, "process", "capabilities"), "bounding"),
	                       "CAP_SYS_ADMIN"));
}

static void capabilities_are_added_and_dropped(void **state)
{
	auto_type(json) spec = spec_of("{\"Cmd\":[\"x\"],\"HostConfig\":{\"CapDrop\":[\"ALL\"],"
	                               "\"CapAdd\":[\"net_admin\",\"CAP_CHOWN\"]}}",
	                               NULL);
	const struct json *bounding = json_get(at(spec, "process", "capabilities"), "bounding");

	(void)state;
	assert_int_equal(json_count(bounding), 2);
	assert_true(has_string(bounding, "CAP_NET_ADMIN"));
	assert_true(has_string(bounding, "CAP_CHOWN"));
}

static void an_unknown_capability_is_refused(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_null(spec_of("{\"Cmd\":[\"x\"],\"HostConfig\":{\"CapAdd\":[\"FLY\"]}}", &err));
	assert_int_equal(err.kind, ERR_INVALID);
}

static void limits_become_resources(void **state)
{
	auto_type(json) spec =
		spec_of("{\"Cmd\":[\"x\"],\"HostConfig\":{\"Memory\":67108864,\"MemorySwap\":-1,"
	                "\"NanoCpus\":500000000,\"PidsLimit\":50,\"CpusetCpus\":\"0\"}}",
	                NULL);
	const struct json *r = at(spec, "linux", "resources");

	(void)state;
	assert_int_equal(json_get_int(json_get(r, "memory"), "limit", 0), 67108864);
	assert_int_equal(json_get_int(json_get(r, "memory"), "swap", 0), -1);
	assert_int_equal(json_get_int(json_get(r, "cpu"), "quota", 0), 50000);
	assert_int_equal(json_get_int(json_get(r, "cpu"), "period", 0), 100000);
	assert_string_equal(json_get_string(json_get(r, "cpu"), "cpus"), "0");
	assert_int_equal(json_get_int(json_get(r, "pids"), "limit", 0), 50);
}

static void the_environment_has_what_programs_expect(void **state)
{
	auto_type(json) spec = spec_of(
		"{\"Cmd\":[\"x\"],\"Tty\":true,\"Hostname\":\"h\",\"Env\":[\"A=1\",\"HOME=/else\"]}",
		NULL);
	const struct json *env = at(spec, "process", "env");

	(void)state;
	assert_true(has_string(env, "HOSTNAME=h"));
	assert_true(has_string(env, "TERM=xterm"));
	assert_true(has_string(env, "A=1"));
	assert_true(has_string(env, "HOME=/else"));
	assert_false(has_string(env, "HOME=/root"));
}

/* Conditions of the profile: mount(2) only with the capability that would allow it. */
static void the_filter_follows_the_capabilities(void **state)
{
	static const char *const none[] = {NULL}, *const admin[] = {"CAP_SYS_ADMIN", NULL};
	auto_type(json) closed = seccomp_default(none, NULL);
	auto_type(json) wide = seccomp_default(admin, NULL);
	bool found[2] = {false, false};
	const struct json *both[2] = {closed, wide};

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		const struct json *rules = json_get(both[k], "syscalls");
		for (size_t i = 0; i < json_count(rules); i++)
			found[k] = found[k] ||
			           (str_eq(json_get_string(json_at(rules, i), "action"),
			                   "SCMP_ACT_ALLOW") &&
			            has_string(json_get(json_at(rules, i), "names"), "mount"));
	}
	assert_false(found[0]);
	assert_true(found[1]);
	assert_int_equal(json_count(json_get(closed, "architectures")), 1);
}

static void a_wrong_profile_is_refused(void **state)
{
	static const char *const none[] = {NULL};

	(void)state;
	assert_null(seccomp_profile("{}", none, NULL));
	assert_null(seccomp_profile("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"surprise\":1}", none,
	                            NULL));
	assert_null(seccomp_profile("", none, NULL));
}

static void version_2_of_memory_is_told_from_mountinfo(void **state)
{
	static const char v1[] =
		"30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n"
		"31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n"
		"32 30 0:28 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n";
	static const char v2[] = "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 "
				 "rw,nsdelegate,memory_recursiveprot\n";
	static const char hybrid[] = "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
				     "32 30 0:28 / /x rw - cgroup cgroup rw,cpu,cpuacct\n"
				     "broken\n";

	(void)state;
	assert_false(spec_memory_is_v2(v1));
	assert_true(spec_memory_is_v2(v2));
	assert_true(spec_memory_is_v2(hybrid));
	assert_false(spec_memory_is_v2("1 2 3:4 / / rw - ext4 /dev/a rw\n"));
	assert_false(spec_memory_is_v2(""));
}

/* As a create and an update have it: a runtime on version 2 refuses both fields. */
static void what_version_2_lacks_is_left_out_there(void **state)
{
	struct err err = ERR_INIT;
	auto_type(config) config =
		config_parse("{\"Cmd\":[\"x\"],\"HostConfig\":{\"Memory\":67108864,"
	                     "\"MemorySwappiness\":10,\"OomKillDisable\":true}}",
	                     NULL, &err);

	(void)state;
	assert_non_null(config);
	auto_type(json) one = spec_resources(&config->create.host, false, &err);
	auto_type(json) two = spec_resources(&config->create.host, true, &err);
	assert_int_equal(json_num(at(one, "memory", "swappiness"), -1), 10);
	assert_true(json_truth(at(one, "memory", "disableOOMKiller")));
	assert_null(at(two, "memory", "swappiness"));
	assert_null(at(two, "memory", "disableOOMKiller"));
	assert_int_equal(json_num(at(two, "memory", "limit"), -1), 67108864);
}

static void an_exec_has_the_container_s_limits(void **state)
{
	struct err err = ERR_INIT;
	auto_type(config) config =
		config_parse("{\"Cmd\":[\"x\"],\"HostConfig\":{\"OomScoreAdj\":7,\"Ulimits\":[{"
	                     "\"Name\":\"nofile\",\"Soft\":77,\"Hard\":78}]}}",
	                     NULL, &err);
	struct user user = {.uid = 0, .home = "/root"};
	char word[] = "y", *words[] = {word, NULL};
	struct api_exec_create create = {.cmd = {.items = words, .count = 1}};

	(void)state;
	assert_non_null(config);
	auto_type(json) process = spec_exec_process(config, &create, &user, &err);
	const struct json *limit = json_at(json_get(process, "rlimits"), 0);
	assert_string_equal(json_get_string(limit, "type"), "RLIMIT_NOFILE");
	assert_int_equal(json_num(json_get(limit, "soft"), -1), 77);
	assert_int_equal(json_num(json_get(limit, "hard"), -1), 78);
	assert_int_equal(json_num(json_get(process, "oomScoreAdj"), -1), 7);
}

TESTING_MAIN(TEST(defaults_are_closed), TEST(privileged_is_open),
             TEST(capabilities_are_added_and_dropped), TEST(an_unknown_capability_is_refused),
             TEST(limits_become_resources), TEST(the_environment_has_what_programs_expect),
             TEST(the_filter_follows_the_capabilities), TEST(a_wrong_profile_is_refused),
             TEST(version_2_of_memory_is_told_from_mountinfo),
             TEST(what_version_2_lacks_is_left_out_there), TEST(an_exec_has_the_container_s_limits))
