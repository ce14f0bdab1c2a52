/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/reference.h"

#include "base/err.h"
#include "base/testing.h"

#define HEX64  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX64
#define TEN    "abcdefghij"
#define FIFTY  TEN TEN TEN TEN TEN

static void names_are_normalised_and_shown_in_familiar_form(void **state)
{
	static const struct {
		const char *text, *full, *familiar;
	} cases[] = {
		{"debian", "docker.io/library/debian:latest", "debian:latest"},
		{"debian:12", "docker.io/library/debian:12", "debian:12"},
		{"library/debian:12", "docker.io/library/debian:12", "debian:12"},
		{"docker.io/debian", "docker.io/library/debian:latest", "debian:latest"},
		{"index.docker.io/debian", "docker.io/library/debian:latest", "debian:latest"},
		{"team/app", "docker.io/team/app:latest", "team/app:latest"},
		{"localhost/app", "localhost/app:latest", "localhost/app:latest"},
		{"localhost", "docker.io/library/localhost:latest", "localhost:latest"},
		{"127.0.0.1:5000/bb:1", "127.0.0.1:5000/bb:1", "127.0.0.1:5000/bb:1"},
		{"[::1]:5000/bb", "[::1]:5000/bb:latest", "[::1]:5000/bb:latest"},
		{"[fe80::2]/bb", "[fe80::2]/bb:latest", "[fe80::2]/bb:latest"},
		{"host:5000/a/b/c:1", "host:5000/a/b/c:1", "host:5000/a/b/c:1"},
		{"Quay.IO/a_b/c__d/e---f.g", "Quay.IO/a_b/c__d/e---f.g:latest",
	         "Quay.IO/a_b/c__d/e---f.g:latest"},
		{"x@" DIGEST, "docker.io/library/x@" DIGEST, "x@" DIGEST},
		{"x:1@" DIGEST, "docker.io/library/x:1@" DIGEST, "x:1@" DIGEST},
		{"a:5000", "docker.io/library/a:5000", "a:5000"},
		{"x:_V1.0-rc", "docker.io/library/x:_V1.0-rc", "x:_V1.0-rc"},
		/* These would read back as something else without their prefix. */
		{"docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest"},
		{"docker.io/localhost/c", "docker.io/localhost/c:latest",
	         "docker.io/localhost/c:latest"},
		{"library/" HEX64, "docker.io/library/" HEX64 ":latest",
	         "library/" HEX64 ":latest"},
	};
	char text[REFERENCE_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct reference ref = {0}, again = {0};
		struct err err = ERR_INIT;

		if (reference_parse(cases[i].text, &ref, &err) < 0)
			fail_msg("%s: %s", cases[i].text, err.msg);
		assert_string_equal(reference_format(&ref, text), cases[i].full);
		assert_string_equal(reference_familiar(&ref, text), cases[i].familiar);
		assert_int_equal(reference_parse(text, &again, &err), 0);
		assert_memory_equal(&ref, &again, sizeof(ref));
	}
}

static void bad_references_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		":",
		":1",
		"@" DIGEST,
		"/",
		"/x",
		"x/",
		"a//b",
		"Debian",
		"team/App",
		HEX64,
		HEX64 ":1",
		"x:",
		"x:-1",
		"x:.1",
		"x:a b",
		"x@",
		"x@sha256:12",
		"x@" DIGEST "0",
		"x@sha512:" HEX64,
		"-x",
		"x-",
		"x..y",
		"x___y",
		"_x",
		"x_",
		".x",
		"a._b",
		"../x",
		"x/../y",
		"x/./y",
		"./x",
		"https://host/x",
		"host:/x",
		"host:123456/x",
		"ho st.x/y",
		"-a.b/x",
		"a-.b/x",
		"a..b/x",
		".b/x",
		"b./x",
		"[::1/x",
		"[]:1/x",
		"[::1]x/y",
		"x\n",
		" x",
		"x:1:2",
		"x@" DIGEST "@" DIGEST,
		"caf\xc3\xa9",
		"x:" FIFTY FIFTY TEN TEN "123456789",
		FIFTY FIFTY FIFTY FIFTY FIFTY "/" TEN,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct reference ref = {.tag = "kept"};
		struct err err = ERR_INIT;

		if (reference_parse(bad[i], &ref, &err) == 0)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(err.kind, ERR_INVALID);
		assert_string_equal(ref.tag, "kept");
	}
}

static void a_bare_name_gets_no_tag(void **state)
{
	struct reference ref = {0};
	char text[REFERENCE_MAX];

	(void)state;
	assert_int_equal(reference_parse_bare("debian", &ref, NULL), 0);
	assert_string_equal(ref.tag, "");
	assert_string_equal(reference_format(&ref, text), "docker.io/library/debian");
	assert_int_equal(reference_parse_bare("debian:12", &ref, NULL), 0);
	assert_string_equal(ref.tag, "12");
	assert_string_equal(reference_name(&ref, text), "docker.io/library/debian");
	assert_string_equal(reference_familiar_name(&ref, text), "debian");
}

static void an_error_says_which_part_is_wrong(void **state)
{
	struct reference ref;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(reference_parse("Debian:12", &ref, &err), -1);
	assert_non_null(strstr(err.msg, "lower-case"));
	assert_int_equal(reference_parse("debian:12!", &ref, &err), -1);
	assert_non_null(strstr(err.msg, "bad tag \"12!\""));
	assert_int_equal(reference_parse("ho_st:50/x", &ref, &err), -1);
	assert_non_null(strstr(err.msg, "bad registry \"ho_st:50\""));
	assert_int_equal(reference_parse("x@sha256:1", &ref, &err), -1);
	assert_non_null(strstr(err.msg, "bad digest"));
}

static void the_name_ends_at_255_bytes(void **state)
{
	/* "h.x/" + 251 = 255 */
	static const char fits[] = "h.x/" FIFTY FIFTY FIFTY FIFTY FIFTY "a";
	static const char too_long[] = "h.x/" FIFTY FIFTY FIFTY FIFTY FIFTY "ab";
	struct reference ref;

	(void)state;
	assert_int_equal(reference_parse(fits, &ref, NULL), 0);
	assert_int_equal(reference_parse(too_long, &ref, NULL), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(names_are_normalised_and_shown_in_familiar_form),
		TEST(bad_references_are_refused),
		TEST(a_bare_name_gets_no_tag),
		TEST(an_error_says_which_part_is_wrong),
		TEST(the_name_ends_at_255_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
