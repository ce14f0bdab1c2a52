/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/access.h"

#include "base/base64.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/testing.h"
#include "registry/settings.h"

/* bcrypt of "U*U" with cost 5: a test vector of the algorithm's authors */
#define HASH "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"

struct fixture {
	char path[64];
	struct access *access;
};

static struct access *open_with(const char *path, const char *users, const char *const *rules,
                                struct err *err)
{
	struct settings_list list = {.count = 0};

	testing_write(AT_FDCWD, path, users);
	for (; rules && *rules; rules++)
		list.items[list.count++] = *rules;
	return access_open(path, &list, err);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->path, sizeof(f->path), "/tmp/buoy-access-XXXXXX");
	close(mkstemp(f->path));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	access_free(f->access);
	unlink(f->path);
	free(f);
	return 0;
}

static enum access_verdict check(struct fixture *f, const char *credentials, const char *name,
                                 enum access_action action)
{
	auto_buf struct buf header = BUF_INIT(256);

	buf_add(&header, "Basic ");
	if (credentials)
		base64_encode(credentials, strlen(credentials), &header);
	return access_check(f->access, credentials ? buf_str(&header) : NULL, name, action);
}

static void without_rules_who_is_signed_in_may_everything(void **state)
{
	struct fixture *f = *state;

	f->access = open_with(f->path, "# users\nann:" HASH "\n", NULL, NULL);
	assert_non_null(f->access);
	for (int i = 0; i < 2; i++) { /* the second is remembered */
		assert_int_equal(check(f, "ann:U*U", "a/b", ACCESS_DELETE), ACCESS_YES);
		assert_int_equal(check(f, "ann:U*V", "a/b", ACCESS_PULL), ACCESS_SIGN_IN);
		assert_int_equal(check(f, "bob:U*U", "a/b", ACCESS_PULL), ACCESS_SIGN_IN);
	}
	assert_int_equal(check(f, "ann", "a", ACCESS_PULL), ACCESS_SIGN_IN);
	assert_int_equal(check(f, NULL, "a", ACCESS_PULL), ACCESS_SIGN_IN);
}

static void rules_say_who_may_do_what(void **state)
{
	static const char *const rules[] = {"team/* ann pull,push", "open/* anonymous pull",
	                                    "all * delete", NULL};
	struct fixture *f = *state;

	f->access = open_with(f->path, "ann:" HASH "\nbob:" HASH "\n", rules, NULL);
	assert_non_null(f->access);
	assert_int_equal(check(f, "ann:U*U", "team/x/y", ACCESS_PUSH), ACCESS_YES);
	assert_int_equal(check(f, "ann:U*U", "team/x", ACCESS_DELETE), ACCESS_NO);
	assert_int_equal(check(f, "bob:U*U", "team/x", ACCESS_PULL), ACCESS_NO);
	assert_int_equal(check(f, NULL, "open/x", ACCESS_PULL), ACCESS_YES);
	assert_int_equal(check(f, NULL, "open/x", ACCESS_PUSH), ACCESS_SIGN_IN);
	assert_int_equal(check(f, "bob:wrong", "open/x", ACCESS_PULL), ACCESS_SIGN_IN);
	assert_int_equal(check(f, "bob:U*U", "all", ACCESS_DELETE), ACCESS_YES);
	assert_int_equal(check(f, NULL, "all", ACCESS_DELETE), ACCESS_SIGN_IN);
}

static void what_is_not_understood_is_refused(void **state)
{
	static const char *const bad_rules[][2] = {
		{"a ann", NULL}, {"a ann fly", NULL}, {"a ann pull more", NULL}};
	static const char *const bad_users[] = {"ann", "ann:{SHA}x", (":" HASH)};
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	for (size_t i = 0; i < 3; i++) {
		assert_null(open_with(f->path, "ann:" HASH "\n", bad_rules[i], &err));
		assert_int_equal(err.kind, ERR_INVALID);
		assert_null(open_with(f->path, bad_users[i], NULL, &err));
		assert_int_equal(err.kind, ERR_INVALID);
	}
}

#define WITH(fn) TEST_WITH(fn, setup, teardown)

TESTING_MAIN(WITH(without_rules_who_is_signed_in_may_everything), WITH(rules_say_who_may_do_what),
             WITH(what_is_not_understood_is_refused))
