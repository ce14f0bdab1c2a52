/* SPDX-License-Identifier: Apache-2.0 */
#include "http/status.h"

#include "base/testing.h"

static void kinds_survive_the_wire(void **state)
{
	static const enum err_kind kinds[] = {
		ERR_INVALID, ERR_DENIED,   ERR_NOT_FOUND,   ERR_CONFLICT,    ERR_LIMIT,
		ERR_TIMEOUT, ERR_CANCELED, ERR_UNAVAILABLE, ERR_UNSUPPORTED, ERR_SYSTEM,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		assert_int_equal(http_kind_of(http_status_of(kinds[i])), kinds[i]);
}

static void every_status_has_a_kind(void **state)
{
	(void)state;
	for (int status = 100; status < 400; status++)
		assert_int_equal(http_kind_of(status), ERR_NONE);
	for (int status = 400; status < 600; status++)
		assert_int_not_equal(http_kind_of(status), ERR_NONE);
	assert_int_equal(http_kind_of(418), ERR_INVALID);
	assert_int_equal(http_kind_of(401), ERR_DENIED);
	assert_int_equal(http_kind_of(429), ERR_UNAVAILABLE);
	assert_int_equal(http_status_of(ERR_INTERNAL), 500);
	assert_string_equal(http_status_text(404), "Not Found");
	assert_string_equal(http_status_text(299), "Unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(kinds_survive_the_wire),
		TEST(every_status_has_a_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
