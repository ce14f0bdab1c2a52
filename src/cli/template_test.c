/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/template.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/testing.h"

static const char document[] =
	"{\"Id\":\"abc\",\"Name\":\"/web\",\"State\":{\"Pid\":42,\"Running\":true},\"Labels\":{\"a\":\"1\","
	"\"b.c\":\"2\"},\"List\":[\"x\",\"y\"],\"Empty\":[],\"Nothing\":null,\"Ports\":{\"80/tcp\":[{"
	"\"HostPort\":\"8080\"}]}}";

static void expect(const char *format, const char *expected)
{
	struct err err = ERR_INIT;
	auto_type(json) doc = json_parse(document, strlen(document), NULL);
	auto_type(template) t = template_parse(format, &err);
	auto_buf struct buf out = BUF_INIT(4096);

	if (!t)
		fail_msg("%s: %s", format, err.msg);
	assert_int_equal(template_write(t, doc, &out, NULL), 0);
	assert_string_equal(buf_str(&out), expected);
}

static void fields_are_looked_up(void **state)
{
	(void)state;
	expect("{{.Id}} {{.State.Pid}} {{ .State.Running }}", "abc 42 true");
	expect("{{.ID}}", "abc");
	expect("{{.Nope}} {{.State.Nope.More}}", "<no value> <no value>");
	expect("{{.Nothing}}", "<nil>");
	expect("{{.List}} {{.Labels}}", "[x y] map[a:1 b.c:2]");
}

static void text_around_stays_and_escapes_are_read(void **state)
{
	(void)state;
	expect("a\\tb\\n{{.Id}}", "a\tb\nabc");
	expect("a  {{- .Id -}}  b", "aabcb");
	expect("{{/* nothing */}}x", "x");
}

static void json_prints_json(void **state)
{
	(void)state;
	expect("{{json .List}} {{json .Labels}} {{json .Id}} {{json .Nope}}",
	       "[\"x\",\"y\"] {\"a\":\"1\",\"b.c\":\"2\"} \"abc\" null");
	expect("{{.List | json}}", "[\"x\",\"y\"]");
}

static void index_reaches_into_lists_and_maps(void **state)
{
	(void)state;
	expect("{{index .List 1}} {{index .Labels \"b.c\"}}", "y 2");
	expect("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080");
	expect("{{index .List 9}}", "<no value>");
}

static void functions_do_what_their_names_say(void **state)
{
	(void)state;
	expect("{{join .List \", \"}}", "x, y");
	expect("{{upper .Id}} {{.Id | upper | lower}} {{title .Id}}", "ABC abc Abc");
	expect("{{len .List}} {{len .Id}} {{println .Id}}", "2 3 abc\n");
	expect("{{split \"a,b\" \",\"}}", "[a b]");
	expect("{{eq .Id \"abc\"}} {{ne .Id \"abc\"}} {{not .Empty}} {{or .Empty .Id}}",
	       "true false true abc");
}

static void blocks_choose_and_repeat(void **state)
{
	(void)state;
	expect("{{range .List}}<{{.}}>{{end}}", "<x><y>");
	expect("{{range .Empty}}x{{else}}none{{end}}", "none");
	expect("{{range .Labels}}{{.}}{{$.Id}} {{end}}", "1abc 2abc ");
	expect("{{if .State.Running}}up{{else}}down{{end}}", "up");
	expect("{{if .Empty}}some{{end}}", "");
	expect("{{with .State}}{{.Pid}}{{end}}", "42");
	expect("{{range .Ports}}{{range .}}{{.HostPort}}{{end}}{{end}}", "8080");
}

static void what_makes_no_sense_is_refused(void **state)
{
	static const char *const bad[] = {
		"{{.Id",         "{{range .List}}", "{{end}}",    "{{else}}",
		"{{nope .Id}}",  "{{.Id .Name}}",   "{{}}",       "{{json}}",
		"{{(.Id}}",      "{{\"x}}",         "{{.Id | }}", "{{json .A .B}}",
		"{{$x := .Id}}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = ERR_INIT;
		auto_type(template) t = template_parse(bad[i], &err);
		if (t)
			fail_msg("%s was taken", bad[i]);
		assert_int_equal(err.kind, ERR_INVALID);
	}
}

static void depth_is_limited(void **state)
{
	auto_buf struct buf text = BUF_INIT(1u << 16);
	struct err err = ERR_INIT;

	(void)state;
	for (int i = 0; i < 100; i++)
		buf_add(&text, "{{if .}}");
	auto_type(template) t = template_parse(buf_str(&text), &err);
	assert_null(t);
	assert_int_equal(err.kind, ERR_LIMIT);
	buf_clear(&text);
	buf_add(&text, "{{");
	for (int i = 0; i < 100; i++)
		buf_add(&text, "(");
	buf_add(&text, "}}");
	auto_type(template) u = template_parse(buf_str(&text), &err);
	assert_null(u);
}

TESTING_MAIN(TEST(fields_are_looked_up), TEST(text_around_stays_and_escapes_are_read),
             TEST(json_prints_json), TEST(index_reaches_into_lists_and_maps),
             TEST(functions_do_what_their_names_say), TEST(blocks_choose_and_repeat),
             TEST(what_makes_no_sense_is_refused), TEST(depth_is_limited))
