/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/template.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/testing.h"

static struct json_pair labels[] = {{(char *)"tier", (char *)"front"}};
static const struct json_strmap label_map = {.items = labels, .count = 1, .present = true};

static const struct template_values values = {
	.service_id = "sid",
	.service_name = "web",
	.service_labels = &label_map,
	.node_id = "nid",
	.node_hostname = "host1",
	.node_architecture = "x86_64",
	.node_os = "linux",
	.task_id = "tid",
	.task_name = "web.3.tid",
	.task_slot = "3",
};

static void assert_expands(const char *text, const char *expected)
{
	auto_arena struct arena arena = ARENA_INIT(4096);
	struct err err = ERR_INIT;
	char *got = template_expand(text, &values, &arena, &err);

	if (!got)
		fail_msg("%s: %s", text, err.msg);
	assert_string_equal(got, expected);
}

static void every_known_place_is_filled_in(void **state)
{
	(void)state;
	assert_expands("plain", "plain");
	assert_expands("{{.Service.Name}}-{{.Task.Slot}}", "web-3");
	assert_expands("A={{ .Node.Hostname }}/{{.Node.ID}}", "A=host1/nid");
	assert_expands("{{.Task.Name}} {{.Task.ID}} {{.Service.ID}}", "web.3.tid tid sid");
	assert_expands("{{.Node.Platform.OS}}/{{.Node.Platform.Architecture}}", "linux/x86_64");
	assert_expands("{{.Service.Labels.tier}}{{index .Service.Labels \"tier\"}}", "frontfront");
	assert_expands("<{{.Service.Labels.none}}>", "<>");
}

static void what_is_not_known_is_refused(void **state)
{
	(void)state;
	const char *const bad[] = {
		"{{.Task.Slto}}", "{{", "a{{}}", "{{.Node.Hostname", "{{index .Service.Labels \"}}",
		"{{printf 1}}"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		auto_arena struct arena arena = ARENA_INIT(4096);
		struct err err = ERR_INIT;

		assert_null(template_expand(bad[i], &values, &arena, &err));
		assert_int_equal(err.kind, ERR_INVALID);
	}
}

TESTING_MAIN(TEST(every_known_place_is_filled_in), TEST(what_is_not_known_is_refused))
