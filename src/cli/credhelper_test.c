/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/credhelper.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/testing.h"

#define SHORT_MS 300

/* A directory that is the whole PATH but for /bin, with one helper in it. */
struct helper {
	char dir[64];
	int fd;
	char *path; /* what PATH was */
};

static int make(void **state)
{
	struct helper *h = calloc(1, sizeof(*h));
	char path[128];

	(void)snprintf(h->dir, sizeof(h->dir), "/tmp/credhelper.XXXXXX");
	assert_non_null(mkdtemp(h->dir));
	h->fd = fs_trusted_open_dir(h->dir, false, NULL);
	h->path = strdup(getenv("PATH"));
	(void)snprintf(path, sizeof(path), "%s:/usr/bin:/bin", h->dir);
	setenv("PATH", path, 1);
	*state = h;
	return h->fd < 0;
}

static int drop(void **state)
{
	struct helper *h = *state;

	setenv("PATH", h->path, 1);
	close(h->fd);
	assert_int_equal(testing_remove_tree(h->dir), 0);
	free(h->path);
	free(h);
	return 0;
}

static void say(const struct helper *h, const char *script)
{
	auto_buf struct buf text = BUF_INIT(4096);

	buf_addf(&text, "#!/bin/sh\n%s\n", script);
	assert_int_equal(fs_write_atomic(h->fd, "docker-credential-test", buf_str(&text), text.len,
	                                 0700, NULL),
	                 0);
}

static int run(const char *name, const char *input, struct buf *out, struct err *err)
{
	return credhelper_run(name, "get", input, SHORT_MS * 20, out, err);
}

static void it_reads_standard_input_and_prints_an_object(void **state)
{
	say(*state, "[ \"$1\" = get ] && server=$(cat) && echo "
	            "'{\"Username\":\"me\",\"Secret\":\"p:w\",\"ServerURL\":\"'$server'\"}'");
	auto_type(json) doc = credhelper_get("test", "reg.example", NULL);
	assert_non_null(doc);
	assert_string_equal(json_get_string(doc, "username"), "me");
	assert_string_equal(json_get_string(doc, "password"), "p:w");
	assert_string_equal(json_get_string(doc, "serveraddress"), "reg.example");
}

static void an_identity_token_has_its_own_user_name(void **state)
{
	say(*state, "echo '{\"Username\":\"<token>\",\"Secret\":\"abc\"}'");
	auto_type(json) doc = credhelper_get("test", "reg.example", NULL);
	assert_string_equal(json_get_string(doc, "identitytoken"), "abc");
	assert_null(json_get_string(doc, "password"));
}

static void having_none_is_another_thing_than_failing(void **state)
{
	struct err err = ERR_INIT;

	say(*state, "echo 'credentials not found in native keychain'; exit 1");
	assert_null(credhelper_get("test", "x", &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	say(*state, "echo 'the vault is locked'; echo more; exit 3");
	assert_null(credhelper_get("test", "x", &err));
	assert_int_equal(err.kind, ERR_UNAVAILABLE);
	assert_string_equal(err.msg, "docker-credential-test get: the vault is locked");
	say(*state, "exit 3");
	assert_null(credhelper_get("test", "x", &err));
	assert_non_null(strstr(err.msg, "it failed with status 3"));
}

static void answers_that_are_none_are_refused(void **state)
{
	static const char *const scripts[] = {"echo hello", "echo '[]'", "echo '{}'", "true",
	                                      "echo '{\"Username\":\"\",\"Secret\":\"x\"}'"};

	for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
		struct err err = ERR_INIT;
		say(*state, scripts[i]);
		assert_null(credhelper_get("test", "x", &err));
		assert_int_equal(err.kind, ERR_INVALID);
	}
}

static void a_missing_program_is_named(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_null(credhelper_get("nobody-has-this", "x", &err));
	assert_int_equal(err.kind, ERR_UNAVAILABLE);
	assert_non_null(
		strstr(err.msg, "docker-credential-nobody-has-this get: it is not in PATH"));
}

static void a_name_is_no_path(void **state)
{
	static const char *const names[] = {"", "../test", "a/b", "a b", "a;b", "\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct err err = ERR_INIT;
		assert_null(credhelper_get(names[i], "x", &err));
		assert_int_equal(err.kind, ERR_INVALID);
	}
}

static void it_cannot_print_without_end(void **state)
{
	auto_buf struct buf out = BUF_INIT(CREDHELPER_OUTPUT_MAX);
	struct err err = ERR_INIT;

	say(*state, "while :; do echo 0123456789012345678901234567890123456789; done");
	assert_int_equal(run("test", "x", &out, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);
}

static void it_cannot_take_for_ever(void **state)
{
	static const char *const scripts[] = {"exec sleep 30", "exec >&-; exec sleep 30"};

	for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
		auto_buf struct buf out = BUF_INIT(CREDHELPER_OUTPUT_MAX);
		struct err err = ERR_INIT;
		say(*state, scripts[i]);
		assert_int_equal(credhelper_run("test", "get", "x", SHORT_MS, &out, &err), -1);
		assert_int_equal(err.kind, i == 0 ? ERR_TIMEOUT : ERR_UNAVAILABLE);
	}
}

static void storing_sends_what_docker_sends(void **state)
{
	const struct helper *h = *state;
	auto_buf struct buf got = BUF_INIT(4096);
	struct err err = ERR_INIT;
	char script[256];

	(void)snprintf(script, sizeof(script), "[ \"$1\" = store ] && cat > %s/in", h->dir);
	say(h, script);
	assert_int_equal(credhelper_store("test", "r", "me", "s\"x", &err), 0);
	assert_int_equal(fs_read(h->fd, "in", 4096, &got, NULL), 0);
	assert_string_equal(buf_str(&got),
	                    "{\"ServerURL\":\"r\",\"Username\":\"me\",\"Secret\":\"s\\\"x\"}");
	say(h, "echo 'credentials not found in native keychain'; exit 1");
	assert_int_equal(credhelper_erase("test", "r", &err), 0);
}

#define WITH_HELPER(f) TEST_WITH(f, make, drop)

TESTING_MAIN(WITH_HELPER(it_reads_standard_input_and_prints_an_object),
             WITH_HELPER(an_identity_token_has_its_own_user_name),
             WITH_HELPER(having_none_is_another_thing_than_failing),
             WITH_HELPER(answers_that_are_none_are_refused),
             WITH_HELPER(a_missing_program_is_named), WITH_HELPER(a_name_is_no_path),
             WITH_HELPER(it_cannot_print_without_end), WITH_HELPER(it_cannot_take_for_ever),
             WITH_HELPER(storing_sends_what_docker_sends))
