/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/user.h"

#include "base/err.h"
#include "base/json.h"
#include "base/testing.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "broken\n"
			     "app:x:1000:1001:App:/home/app:/bin/sh\n"
			     "4294967296:x:0:0::/evil:/bin/sh\n"
			     "1000x:x:0:0::/:/bin/sh\n";
static const char group[] = "root:x:0:\nstaff:x:50:other,app\napp:x:1001:app\nwheel:x:10:root,app";

static void resolve_ok(const char *wanted, uint32_t uid, uint32_t gid)
{
	struct user user;
	struct err err = ERR_INIT;

	if (user_resolve(wanted, passwd, group, NULL, &user, &err) < 0)
		fail_msg("%s: %s", wanted, err.msg);
	assert_int_equal(user.uid, uid);
	assert_int_equal(user.gid, gid);
}

static void names_and_numbers_resolve(void **state)
{
	(void)state;
	resolve_ok("", 0, 0);
	resolve_ok(NULL, 0, 0);
	resolve_ok("app", 1000, 1001);
	resolve_ok("1000", 1000, 1001);
	resolve_ok("7", 7, 0);
	resolve_ok("app:staff", 1000, 50);
	resolve_ok("7:8", 7, 8);
	resolve_ok("2147483648", 2147483648u, 0);
	resolve_ok("4294967294", 4294967294u, 0);
}

/* A number is never a name, and what is neither is refused: never root by accident. */
static void what_is_none_is_refused(void **state)
{
	static const char *const bad[] = {"4294967295",
	                                  "4294967296",
	                                  "99999999999999999999",
	                                  "+1",
	                                  " 1",
	                                  "0x0",
	                                  "-1",
	                                  "1000x",
	                                  "nobody",
	                                  "app:",
	                                  "app:4294967295",
	                                  "app:nogroup"};
	struct user user;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct err err = ERR_INIT;
		int rc = user_resolve(bad[i], passwd, group, NULL, &user, &err);
		if (strcmp(bad[i], "app:") == 0)
			assert_int_equal(rc, 0); /* no group named: the login's own */
		else if (rc == 0)
			fail_msg("'%s' became %u:%u", bad[i], user.uid, user.gid);
	}
}

static void memberships_count_unless_a_group_is_named(void **state)
{
	struct user user;

	(void)state;
	assert_int_equal(user_resolve("app", passwd, group, NULL, &user, NULL), 0);
	assert_int_equal(user.group_count, 2);
	assert_int_equal(user.groups[0], 50);
	assert_int_equal(user.groups[1], 10);
	assert_int_equal(user_resolve("app:staff", passwd, group, NULL, &user, NULL), 0);
	assert_int_equal(user.group_count, 0);
}

static void groups_are_added(void **state)
{
	char *items[] = {(char *)"staff", (char *)"77", NULL};
	struct json_strings add = {items, 2, true};
	struct user user;

	(void)state;
	assert_int_equal(user_resolve("7", passwd, group, &add, &user, NULL), 0);
	assert_int_equal(user.group_count, 2);
	assert_int_equal(user.groups[0], 50);
	assert_int_equal(user.groups[1], 77);
}

static void home_comes_from_the_file(void **state)
{
	struct user user;

	(void)state;
	assert_int_equal(user_resolve("app", passwd, group, NULL, &user, NULL), 0);
	assert_string_equal(user.home, "/home/app");
	assert_int_equal(user_resolve("7", passwd, group, NULL, &user, NULL), 0);
	assert_string_equal(user.home, "/");
	assert_int_equal(user_resolve("0", "", "", NULL, &user, NULL), 0);
	assert_int_equal(user.uid, 0);
}

TESTING_MAIN(TEST(names_and_numbers_resolve), TEST(what_is_none_is_refused),
             TEST(memberships_count_unless_a_group_is_named), TEST(groups_are_added),
             TEST(home_comes_from_the_file))
