/* SPDX-License-Identifier: Apache-2.0 */
#include "build/change.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/testing.h"
#include "build/build.h"

/* The config after the instructions, as JSON. */
static const char *after(struct arena *arena, const char *const *lines)
{
	struct oci_run_config config = {0};
	auto_buf struct buf text = BUF_INIT(1 << 16);
	struct err err = ERR_INIT;

	if (build_apply_changes(lines, arena, &config, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(json_encode_text(&oci_run_config_table, &config, &text, &err), 0);
	return arena_strdup(arena, buf_str(&text), &err);
}
#define AFTER(...) after(&arena, (const char *const[]){__VA_ARGS__, NULL})

static void has(const char *json, const char *part)
{
	assert_non_null(json);
	if (!strstr(json, part))
		fail_msg("%s is not in %s", part, json ? json : "");
}

static void commands_have_two_forms(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);

	(void)state;
	has(AFTER("CMD echo hi"), "\"Cmd\":[\"/bin/sh\",\"-c\",\"echo hi\"]");
	has(AFTER("CMD [\"echo\", \"hi\"]"), "\"Cmd\":[\"echo\",\"hi\"]");
	has(AFTER("SHELL [\"/bin/bash\",\"-c\"]", "CMD x"), "\"Cmd\":[\"/bin/bash\",\"-c\",\"x\"]");
}

static void an_entrypoint_drops_only_an_inherited_command(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);

	(void)state;
	has(AFTER("CMD [\"a\"]", "ENTRYPOINT [\"b\"]"), "\"Cmd\":[\"a\"]");
}

static void values_are_expanded_with_what_was_before_the_line(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);

	(void)state;
	has(AFTER("ENV a=1", "ENV a=2 b=$a c=\"x y\""), "\"Env\":[\"a=2\",\"b=1\",\"c=x y\"]");
	has(AFTER("ENV who me and you"), "\"Env\":[\"who=me and you\"]");
	has(AFTER("LABEL a=b a=c"), "\"Labels\":{\"a\":\"c\"}");
}

static void paths_add_up(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);

	(void)state;
	has(AFTER("WORKDIR /a", "WORKDIR b/../c", "WORKDIR ./d/"), "\"WorkingDir\":\"/a/c/d\"");
	has(AFTER("WORKDIR ../../x"), "\"WorkingDir\":\"/x\"");
}

static void sets_grow(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);

	(void)state;
	has(AFTER("EXPOSE 80 53/udp", "EXPOSE 8000-8001"),
	    "\"ExposedPorts\":{\"80/tcp\":{},\"53/udp\":{},\"8000/tcp\":{},\"8001/tcp\":{}}");
	has(AFTER("VOLUME [\"/a b\", \"/c\"]"), "\"/c\":{}");
}

static void a_health_check_keeps_its_times(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);

	(void)state;
	const char *json = AFTER("HEALTHCHECK --interval=5s --retries=2 CMD curl -f /");
	has(json, "\"Test\":[\"CMD-SHELL\",\"curl -f /\"]");
	has(json, "\"Interval\":5000000000");
	has(json, "\"Retries\":2");
	has(AFTER("HEALTHCHECK NONE"), "\"Test\":[\"NONE\"]");
}

static void what_is_wrong_is_said(void **state)
{
	static const char *const table[][2] = {
		{"RUN x", "change:1: RUN is not a valid change command"},
		{"EXPOSE 99999", "change:1: EXPOSE: port"},
		{"EXPOSE 80/icmp",
	         "change:1: EXPOSE 80/icmp: the protocol is not tcp, udp or sctp"},
		{"STOPSIGNAL SIGNONE", "change:1: STOPSIGNAL: unknown signal 'SIGNONE'"},
		{"SHELL bash", "change:1: SHELL needs a JSON array"},
		{"HEALTHCHECK GET /", "change:1: HEALTHCHECK: 'GET' is not CMD or NONE"},
		{"HEALTHCHECK --interval=1us CMD x",
	         "change:1: HEALTHCHECK --interval: less than 1ms"},
		{"ONBUILD ONBUILD RUN x", "change:1: ONBUILD isn't allowed as an ONBUILD trigger"},
		{"USER $none", "change:1: USER: the value is empty"},
		{"USER --x a", "change:1: USER: unknown flag --x"},
	};
	auto_arena struct arena arena = ARENA_INIT(1 << 20);

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct oci_run_config config = {0};
		struct err err = ERR_INIT;
		const char *const lines[] = {table[i][0], NULL};
		assert_int_equal(build_apply_changes(lines, &arena, &config, &err), -1);
		assert_int_equal(err.kind, ERR_INVALID);
		if (strncmp(err.msg, table[i][1], strlen(table[i][1])) != 0)
			fail_msg("%s: %s", table[i][0], err.msg);
	}
}

TESTING_MAIN(TEST(commands_have_two_forms), TEST(an_entrypoint_drops_only_an_inherited_command),
             TEST(values_are_expanded_with_what_was_before_the_line), TEST(paths_add_up),
             TEST(sets_grow), TEST(a_health_check_keeps_its_times), TEST(what_is_wrong_is_said))
