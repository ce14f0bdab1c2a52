/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/merge.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/testing.h"

static const char image_text[] =
	"{\"User\":\"app\",\"Env\":[\"PATH=/bin\",\"A=1\"],\"Entrypoint\":[\"/init\"],\"Cmd\":[\"run\"],"
	"\"WorkingDir\":\"/srv\",\"Labels\":{\"a\":\"image\",\"b\":\"image\"},\"ExposedPorts\":{\"80/tcp\":{}},"
	"\"Volumes\":{\"/data\":{}},\"StopSignal\":\"SIGINT\"}";

static struct api_config merged(struct arena *arena, const char *request)
{
	struct oci_run_config image = {0};
	struct api_config config = {0};
	struct err err = ERR_INIT;

	assert_int_equal(json_decode_text(image_text, strlen(image_text), &oci_run_config_table,
	                                  arena, &image, NULL),
	                 0);
	assert_int_equal(
		json_decode_text(request, strlen(request), &api_config_table, arena, &config, NULL),
		0);
	if (merge_image(arena, &image, &config, &err) < 0)
		fail_msg("%s", err.msg);
	return config;
}

static void an_empty_request_takes_everything(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct api_config c = merged(&arena, "{}");

	(void)state;
	assert_string_equal(c.user, "app");
	assert_string_equal(c.working_dir, "/srv");
	assert_string_equal(c.stop_signal, "SIGINT");
	assert_string_equal(c.entrypoint.items[0], "/init");
	assert_string_equal(c.cmd.items[0], "run");
	assert_int_equal(json_count(c.volumes), 1);
}

static void a_command_keeps_the_entrypoint(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct api_config c = merged(&arena, "{\"Cmd\":[\"x\"]}");

	(void)state;
	assert_string_equal(c.entrypoint.items[0], "/init");
	assert_string_equal(c.cmd.items[0], "x");
}

static void an_entrypoint_drops_the_command(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct api_config c = merged(&arena, "{\"Entrypoint\":[\"sh\"]}");

	(void)state;
	assert_string_equal(c.entrypoint.items[0], "sh");
	assert_int_equal(c.cmd.count, 0);
}

static void an_empty_entrypoint_means_none(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct api_config c = merged(&arena, "{\"Entrypoint\":[\"\"],\"Cmd\":[\"x\"]}");

	(void)state;
	assert_int_equal(c.entrypoint.count, 0);
	assert_string_equal(c.cmd.items[0], "x");
}

static void variables_and_labels_add_up_and_the_request_wins(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct api_config c =
		merged(&arena, "{\"Env\":[\"A=2\",\"B=3\"],\"Labels\":{\"a\":\"mine\"},"
	                       "\"ExposedPorts\":{\"53/udp\":{}}}");

	(void)state;
	assert_int_equal(c.env.count, 3);
	assert_string_equal(c.env.items[0], "PATH=/bin");
	assert_string_equal(c.env.items[1], "A=2");
	assert_int_equal(c.labels.count, 2);
	assert_string_equal(c.labels.items[1].value, "mine");
	assert_int_equal(json_count(c.exposed_ports), 2);
}

static void nothing_to_run_is_an_error(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct oci_run_config image = {0};
	struct api_config config = {0};
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(merge_image(&arena, &image, &config, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
}

TESTING_MAIN(TEST(an_empty_request_takes_everything), TEST(a_command_keeps_the_entrypoint),
             TEST(an_entrypoint_drops_the_command), TEST(an_empty_entrypoint_means_none),
             TEST(variables_and_labels_add_up_and_the_request_wins),
             TEST(nothing_to_run_is_an_error))
