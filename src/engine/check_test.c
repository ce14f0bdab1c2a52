/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/check.h"

#include <signal.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/testing.h"
#include "engine/mounts.h"

static int check_host(const char *host, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct api_container_create create = {0};
	char text[1024];

	snprintf(text, sizeof(text), "{\"Image\":\"x\",\"HostConfig\":%s}", host);
	if (api_container_create_parse(text, strlen(text), &arena, &create, err) < 0)
		return -1;
	return check_create(&create, err);
}

static void what_is_not_done_is_refused(void **state)
{
	static const char *const bad[] = {
		"{\"Init\":true}",
		"{\"Links\":[\"a:b\"]}",
		"{\"VolumesFrom\":[\"a\"]}",
		"{\"UsernsMode\":\"keep-id\"}",
		"{\"BlkioWeight\":10}",
		"{\"Memory\":1000}",
		"{\"MemorySwap\":100000000}",
		"{\"NanoCpus\":1}",
		"{\"NanoCpus\":500000000,\"CpuQuota\":5000}",
		"{\"RestartPolicy\":{\"Name\":\"maybe\"}}",
		"{\"RestartPolicy\":{\"Name\":\"always\",\"MaximumRetryCount\":2}}",
		"{\"AutoRemove\":true,\"RestartPolicy\":{\"Name\":\"always\"}}",
		"{\"IpcMode\":\"weird\"}",
		"{\"SecurityOpt\":[\"apparmor=strict\"]}",
		"{\"SecurityOpt\":[\"seccomp=/etc/x.json\"]}",
		"{\"LogConfig\":{\"Type\":\"syslog\"}}",
		"{\"LogConfig\":{\"Config\":{\"nosuch\":\"1\"}}}",
		"{\"PortBindings\":{\"http\":[]}}",
		"{\"PortBindings\":{\"80/icmp\":[]}}",
		"{\"PortBindings\":{\"70000\":[]}}",
		"{\"NewLock\":true}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct err err = ERR_INIT;
		if (check_host(bad[i], &err) == 0)
			fail_msg("accepted: %s", bad[i]);
		assert_true(err.kind == ERR_INVALID || err.kind == ERR_UNSUPPORTED);
	}
}

static void what_clients_always_send_is_fine(void **state)
{
	static const char *const good[] = {
		"{\"Init\":null,\"MemorySwappiness\":-1,\"ConsoleSize\":[0,0],\"Binds\":null}",
		"{\"Memory\":6291456,\"MemorySwap\":-1,\"NanoCpus\":500000000}",
		"{\"SecurityOpt\":[\"no-new-privileges\",\"seccomp=unconfined\",\"label=disable\"]}",
		"{\"PortBindings\":{\"80/tcp\":[{\"HostPort\":\"8080\"}],\"53/udp\":null}}",
		"{\"LogConfig\":{\"Type\":\"local\",\"Config\":{\"max-size\":\"10m\",\"max-file\":\"3\"}}}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct err err = ERR_INIT;
		if (check_host(good[i], &err) < 0)
			fail_msg("%s: %s", good[i], err.msg);
	}
}

static void signals_have_names_and_numbers(void **state)
{
	(void)state;
	assert_int_equal(check_signal("TERM", NULL), SIGTERM);
	assert_int_equal(check_signal("SIGTERM", NULL), SIGTERM);
	assert_int_equal(check_signal("sigkill", NULL), SIGKILL);
	assert_int_equal(check_signal("9", NULL), SIGKILL);
	assert_int_equal(check_signal("RTMIN+3", NULL), SIGRTMIN + 3);
	assert_int_equal(check_signal("WINCH", NULL), SIGWINCH);
	assert_int_equal(check_signal("0", NULL), -1);
	assert_int_equal(check_signal("NOSUCH", NULL), -1);
	assert_int_equal(check_signal("9x", NULL), -1);
	assert_int_equal(check_signal("RTMIN+99", NULL), -1);
}

static void binds_are_taken_apart(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 16);
	struct mounts_bind b;

	(void)state;
	assert_int_equal(mounts_parse_bind("/src:/dst:ro,z", &arena, &b, NULL), 0);
	assert_string_equal(b.source, "/src");
	assert_string_equal(b.target, "/dst");
	assert_true(b.read_only);
	assert_int_equal(mounts_parse_bind("vol:/dst:rslave", &arena, &b, NULL), 0);
	assert_string_equal(b.propagation, "rslave");
	assert_int_equal(mounts_parse_bind("/only", &arena, &b, NULL), 0);
	assert_null(b.source);
	assert_string_equal(b.target, "/only");
}

static void wrong_binds_are_refused(void **state)
{
	static const char *const bad[] = {"",       ":/a",          "/a:",        "/a:b",
	                                  "/a:/",   "/a:/b:x",      "/a:/b:ro:z", "../x:/a",
	                                  "v/w:/a", "/a:/b:ro,what"};
	auto_arena struct arena arena = ARENA_INIT(1 << 16);
	struct mounts_bind b;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (mounts_parse_bind(bad[i], &arena, &b, NULL) == 0)
			fail_msg("accepted: '%s'", bad[i]);
}

TESTING_MAIN(TEST(what_is_not_done_is_refused), TEST(what_clients_always_send_is_fine),
             TEST(signals_have_names_and_numbers), TEST(binds_are_taken_apart),
             TEST(wrong_binds_are_refused))
