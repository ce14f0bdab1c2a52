/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/digest.h"

#include "base/err.h"
#include "base/testing.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void a_sha256_digest_is_accepted(void **state)
{
	(void)state;
	assert_true(digest_ok("sha256:" EMPTY));
	assert_string_equal(digest_hex("sha256:" EMPTY), EMPTY);
	assert_int_equal(strlen("sha256:" EMPTY), DIGEST_SHA256);
}

static void sha512_is_accepted_where_it_is_asked_for(void **state)
{
	(void)state;
	assert_true(digest_any_ok("sha256:" EMPTY));
	assert_true(digest_any_ok("sha512:" EMPTY EMPTY));
	assert_false(digest_any_ok("sha512:" EMPTY));
	assert_false(digest_any_ok("sha256:" EMPTY EMPTY));
	assert_false(digest_any_ok("sha512:" EMPTY "../.." EMPTY));
	assert_false(digest_any_ok(NULL));
	assert_false(digest_ok("sha512:" EMPTY EMPTY));
}

static void anything_else_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"sha256:",
		EMPTY,
		"sha256:" EMPTY "0",
		"sha256:" EMPTY "/",
		"SHA256:" EMPTY,
		"sha512:" EMPTY,
		"sha256:../../../../../../../../../../../../../etc/passwd",
		"sha256:E3B0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85",
		" sha256:" EMPTY,
		"sha256: " EMPTY,
	};
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(digest_ok(bad[i]));
		assert_int_equal(digest_check(bad[i], &err), -1);
		assert_int_equal(err.kind, ERR_INVALID);
	}
	assert_false(digest_ok(NULL));
}

static void bytes_have_a_digest(void **state)
{
	char text[DIGEST_TEXT_MAX];

	(void)state;
	assert_string_equal(digest_of("", 0, text), "sha256:" EMPTY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_sha256_digest_is_accepted),
		TEST(sha512_is_accepted_where_it_is_asked_for),
		TEST(anything_else_is_refused),
		TEST(bytes_have_a_digest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
