/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/settings.h"

#include "base/err.h"
#include "base/testing.h"

static int parse(const char *text, struct settings *s, struct err *err)
{
	char *copy = strdup(text);

	*s = (struct settings){.arena = ARENA_INIT(1 << 16)};
	int rc = settings_parse_text(copy, "file", s, err);
	free(copy);
	return rc;
}

static void a_file_is_read_line_by_line(void **state)
{
	struct settings s;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(parse("# a comment\n\n  root = /srv \r\nread-only=yes\nblob-max = 2g\n"
	                       "upload-expiry = 10m",
	                       &s, &err),
	                 0);
	assert_string_equal(s.root, "/srv");
	assert_true(s.read_only);
	assert_int_equal(s.blob_max, (int64_t)2 << 30);
	assert_int_equal(s.upload_expiry_s, 600);
	settings_done(&s);
}

static void what_is_wrong_is_named_with_its_line(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{"root = x\nrood = y", "line 2: unknown key \"rood\""},
		{"read-only = maybe", "read-only: bad value \"maybe\""},
		{"uploads-max = 0", "out of range"},
		{"uploads-max = 12x", "whole number"},
		{"blob-max = lots", "a size"},
		{"root", "key = value"},
		{"config = other", "no other file"},
	};
	struct settings s;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err err = ERR_INIT;

		assert_int_equal(parse(rows[i].text, &s, &err), -1);
		assert_int_equal(err.kind, ERR_INVALID);
		assert_non_null(strstr(err.msg, rows[i].says));
		settings_done(&s);
	}
}

static void the_command_line_goes_before_the_defaults(void **state)
{
	char program[] = "buoy-registry", root[] = "--root", value[] = "/r", max[] = "--tags-max=7";
	char *argv[] = {program, root, value, max, NULL};
	enum settings_action action;
	struct err err = ERR_INIT;
	struct settings s;

	(void)state;
	assert_int_equal(settings_parse(4, argv, &s, &action, &err), 0);
	assert_string_equal(s.root, "/r");
	assert_string_equal(s.listen, "127.0.0.1:5000");
	assert_int_equal(s.tags_max, 7);
	settings_done(&s);
	max[strlen("--tags-max")] = '\0';
	assert_int_equal(settings_parse(4, argv, &s, &action, &err), -1);
	assert_non_null(strstr(err.msg, "value is missing"));
}

TESTING_MAIN(TEST(a_file_is_read_line_by_line), TEST(what_is_wrong_is_named_with_its_line),
             TEST(the_command_line_goes_before_the_defaults))
