/* SPDX-License-Identifier: Apache-2.0 */
#include "image/challenge.h"

#include "base/err.h"
#include "base/testing.h"

static void bearer_and_basic_are_understood(void **state)
{
	struct challenge c;

	(void)state;
	assert_int_equal(
		challenge_parse("Bearer realm=\"https://auth.docker.io/token\","
	                        "service=\"registry.docker.io\",scope=\"repository:x:pull\"",
	                        &c, NULL),
		0);
	assert_int_equal(c.scheme, CHALLENGE_BEARER);
	assert_string_equal(c.realm, "https://auth.docker.io/token");
	assert_string_equal(c.service, "registry.docker.io");
	assert_int_equal(challenge_parse("bearer service=s , realm=\"http://h/a\\\"b\"", &c, NULL),
	                 0);
	assert_string_equal(c.realm, "http://h/a\"b");
	assert_int_equal(challenge_parse("Basic realm=\"basic\"", &c, NULL), 0);
	assert_int_equal(c.scheme, CHALLENGE_BASIC);
}

static void other_schemes_and_realms_are_refused(void **state)
{
	struct err err = ERR_INIT;
	struct challenge c;

	(void)state;
	assert_int_equal(challenge_parse("Negotiate", &c, &err), -1);
	assert_int_equal(err.kind, ERR_UNSUPPORTED);
	assert_int_equal(challenge_parse("Bearer realm=\"file:///etc/passwd\"", &c, &err), -1);
	assert_int_equal(challenge_parse("Bearer service=\"x\"", &c, &err), -1);
	assert_int_equal(challenge_parse("Bearer realm=\"https://cut", &c, &err), -1);
}

static bool trusts(const char *realm, const char *base)
{
	struct challenge c = {.scheme = CHALLENGE_BEARER};

	snprintf(c.realm, sizeof(c.realm), "%s", realm);
	return challenge_trusts(&c, base);
}

static void a_password_goes_only_where_its_registry_lives(void **state)
{
	(void)state;
	assert_true(trusts("https://auth.docker.io/token", "https://registry-1.docker.io"));
	assert_true(trusts("https://r.example.org:5000/auth", "https://r.example.org:5000"));
	assert_true(trusts("https://gitlab.example.org/jwt", "https://registry.example.org"));
	assert_true(trusts("http://127.0.0.1:9000/t", "http://127.0.0.1:5000"));
	assert_false(trusts("https://evil.org/token", "https://registry-1.docker.io"));
	assert_false(trusts("http://auth.docker.io/token", "https://registry-1.docker.io"));
	assert_false(trusts("https://docker.io.evil.org/", "https://registry-1.docker.io"));
	assert_false(trusts("https://evildocker.io/", "https://registry-1.docker.io"));
	assert_false(
		trusts("https://registry-1.docker.io@evil.org/", "https://registry-1.docker.io"));
	assert_false(
		trusts("https://registry-1.docker.io.evil.org/", "https://registry-1.docker.io"));
	assert_false(trusts("https://evil.co.uk/", "https://shop.co.uk"));
	assert_true(trusts("https://auth.shop.co.uk/", "https://registry.shop.co.uk"));
	assert_false(trusts("https://10.0.0.2/t", "https://10.0.0.1"));
	assert_false(trusts("https://1.2.0.1/t", "https://9.9.0.1"));
	assert_false(trusts("https://b.org/t", "http://127.0.0.1:5000"));
}

TESTING_MAIN(TEST(bearer_and_basic_are_understood), TEST(other_schemes_and_realms_are_refused),
             TEST(a_password_goes_only_where_its_registry_lives))
