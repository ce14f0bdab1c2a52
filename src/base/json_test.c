/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <math.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/testing.h"

struct port {
	char *ip;
	int64_t number;
};

static const struct json_field port_fields[] = {
	JSON_FIELD(struct port, ip, "IP", JSON_STRING, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct port, number, "Port", JSON_INT, .required = true),
	JSON_END,
};
static const struct json_table port_table = JSON_TABLE_STRICT(struct port, port_fields);

struct doc {
	char *name;
	int64_t n;
	uint64_t u;
	double d;
	bool on;
	struct port first;
	struct port *maybe;
	struct json_strings cmd;
	struct json_array ports;
	struct json_strmap labels;
	struct json *raw;
};

static const struct json_field doc_fields[] = {
	JSON_FIELD(struct doc, name, "name", JSON_STRING),
	JSON_FIELD(struct doc, n, "n", JSON_INT),
	JSON_FIELD(struct doc, u, "u", JSON_UINT),
	JSON_FIELD(struct doc, d, "d", JSON_DOUBLE),
	JSON_FIELD(struct doc, on, "on", JSON_BOOL),
	JSON_FIELD(struct doc, first, "first", JSON_OBJECT, .table = &port_table),
	JSON_FIELD(struct doc, maybe, "maybe", JSON_POINTER, .table = &port_table),
	JSON_FIELD(struct doc, cmd, "cmd", JSON_STRINGS),
	JSON_FIELD(struct doc, ports, "ports", JSON_OBJECTS, .table = &port_table),
	JSON_FIELD(struct doc, labels, "labels", JSON_STRMAP),
	JSON_FIELD(struct doc, raw, "raw", JSON_RAW),
	JSON_END,
};
static const struct json_table doc_table = JSON_TABLE(struct doc, doc_fields);

static int decode(const char *text, struct arena *a, struct doc *doc, struct err *err)
{
	*doc = (struct doc){0};
	return json_decode_text(text, strlen(text), &doc_table, a, doc, err);
}

static void assert_refused(const char *text, const char *message)
{
	auto_arena struct arena a = ARENA_INIT(1 << 20);
	struct err err = ERR_INIT;
	struct doc doc;

	assert_int_equal(decode(text, &a, &doc, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	assert_string_equal(err.msg, message);
}

static void what_is_decoded_is_encoded_again(void **state)
{
	static const char text[] =
		"{\"name\":\"w\xc3\xa9\\\"b\\n\",\"n\":-5,\"u\":18446744073709551615,\"d\":0.1,"
		"\"on\":true,\"first\":{\"IP\":\"::\",\"Port\":1},\"maybe\":{\"Port\":2},"
		"\"cmd\":[\"a\",\"\"],\"ports\":[{\"Port\":3},{\"Port\":4}],"
		"\"labels\":{\"z\":\"1\",\"a\":\"2\"},\"raw\":[1,null,{\"x\":2.5}]}";
	auto_arena struct arena a = ARENA_INIT(1 << 20);
	auto_buf struct buf out = BUF_INIT(4096);
	struct err err = ERR_INIT;
	struct doc doc;

	(void)state;
	assert_int_equal(decode(text, &a, &doc, &err), 0);
	assert_true(doc.u == UINT64_MAX);
	assert_int_equal(doc.ports.count, 2);
	assert_int_equal(((struct port *)doc.ports.items)[1].number, 4);
	assert_null(doc.cmd.items[2]);
	assert_string_equal(doc.labels.items[0].key, "z");
	assert_int_equal(json_encode_text(&doc_table, &doc, &out, &err), 0);
	assert_string_equal(buf_str(&out), text);
}

static void an_error_names_the_path(void **state)
{
	(void)state;
	assert_refused("{\"ports\":[{\"Port\":1},{\"Port\":1},{\"Port\":\"x\"}]}",
	               "ports[2].Port: not a number");
	assert_refused("{\"ports\":[{}]}", "ports[0].Port: missing");
	assert_refused("{\"ports\":[{\"Port\":null}]}", "ports[0].Port: missing");
	assert_refused("{\"first\":{\"Port\":1,\"IQ\":1}}", "first.IQ: unknown key");
	assert_refused("{\"cmd\":[\"a\",1]}", "cmd[1]: not a string");
	assert_refused("{\"cmd\":\"a\"}", "cmd: not an array of strings");
	assert_refused("{\"labels\":{\"a\":1}}", "labels.a: not a string");
	assert_refused("{\"on\":1}", "on: not true or false");
	assert_refused("{\"u\":-1}", "u: must not be negative");
	assert_refused("{\"u\":1.5}", "u: not an integer of 64 bits");
	assert_refused("{\"n\":1.5}", "n: not an integer of 64 bits");
	assert_refused("{\"n\":9223372036854775808}", "n: not an integer of 64 bits");
	assert_refused("[]", "document: not an object");
}

static void absence_and_null_leave_a_number_alone(void **state)
{
	auto_arena struct arena a = ARENA_INIT(1 << 20);
	struct doc doc = {.n = 7, .u = 8, .name = (char *)"default", .on = true};
	const char *text = "{\"n\":null,\"cmd\":null,\"first\":null,\"other\":1}";

	(void)state;
	assert_int_equal(json_decode_text(text, strlen(text), &doc_table, &a, &doc, NULL), 0);
	assert_int_equal(doc.n, 7);
	assert_int_equal(doc.u, 8);
	assert_true(doc.on);
	assert_string_equal(doc.name, "default");
	assert_false(doc.cmd.present);
}

static void empty_is_not_absent(void **state)
{
	auto_arena struct arena a = ARENA_INIT(1 << 20);
	struct doc doc;

	(void)state;
	assert_int_equal(decode("{\"cmd\":[],\"ports\":[],\"labels\":{}}", &a, &doc, NULL), 0);
	assert_true(doc.cmd.present && doc.ports.present && doc.labels.present);
	assert_int_equal(doc.cmd.count + doc.ports.count + doc.labels.count, 0);
}

struct empties {
	char *s;
	int64_t n;
	struct json_strings list;
	struct json_strmap map;
	struct port *pointer;
};

#define EMPTY_FIELDS(how)                                                                          \
	{                                                                                          \
		JSON_FIELD(struct empties, s, "s", JSON_STRING, .empty = (how)),                   \
			JSON_FIELD(struct empties, n, "n", JSON_INT, .empty = (how)),              \
			JSON_FIELD(struct empties, list, "list", JSON_STRINGS, .empty = (how)),    \
			JSON_FIELD(struct empties, map, "map", JSON_STRMAP, .empty = (how)),       \
			JSON_FIELD(struct empties, pointer, "pointer", JSON_POINTER,               \
		                   .table = &port_table, .empty = (how)),                          \
			JSON_END,                                                                  \
	}

static void assert_empties(const struct json_field *fields, bool present, const char *expected)
{
	struct json_table table = JSON_TABLE(struct empties, fields);
	struct empties in = {.list.present = present, .map.present = present};
	auto_buf struct buf out = BUF_INIT(4096);

	assert_int_equal(json_encode_text(&table, &in, &out, NULL), 0);
	assert_string_equal(buf_str(&out), expected);
}

static void what_is_empty_is_written_as_the_table_says(void **state)
{
	static const struct json_field write[] = EMPTY_FIELDS(JSON_EMPTY_WRITE);
	static const struct json_field omit[] = EMPTY_FIELDS(JSON_EMPTY_OMIT);
	static const struct json_field null[] = EMPTY_FIELDS(JSON_EMPTY_NULL);
	static const struct json_field empty[] = EMPTY_FIELDS(JSON_EMPTY_EMPTY);

	(void)state;
	assert_empties(write, false,
	               "{\"s\":\"\",\"n\":0,\"list\":null,\"map\":null,\"pointer\":null}");
	assert_empties(write, true, "{\"s\":\"\",\"n\":0,\"list\":[],\"map\":{},\"pointer\":null}");
	assert_empties(omit, false, "{}");
	assert_empties(omit, true, "{}");
	assert_empties(null, false,
	               "{\"s\":null,\"n\":0,\"list\":null,\"map\":null,\"pointer\":null}");
	assert_empties(null, true, "{\"s\":null,\"n\":0,\"list\":[],\"map\":{},\"pointer\":null}");
	assert_empties(empty, false, "{\"s\":\"\",\"n\":0,\"list\":[],\"map\":{},\"pointer\":{}}");
}

static void what_cannot_be_json_says_why(void **state)
{
	struct doc doc = {.name = (char *)"\xff"};
	auto_buf struct buf out = BUF_INIT(4096);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(json_encode_text(&doc_table, &doc, &out, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	assert_string_equal(err.msg, "cannot be written as JSON: text is not UTF-8");
	doc = (struct doc){.d = (double)INFINITY};
	assert_int_equal(json_encode_text(&doc_table, &doc, &out, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
}

static void a_raw_value_outlives_the_document(void **state)
{
	auto_arena struct arena a = ARENA_INIT(1 << 20);
	struct doc doc = {0};
	struct json *text = json_parse("{\"raw\":{\"k\":[\"v\"]}}", 19, NULL);

	(void)state;
	assert_non_null(text);
	assert_int_equal(json_decode(text, &doc_table, &a, &doc, NULL), 0);
	json_free(text);
	assert_string_equal(json_str(json_at(json_get(doc.raw, "k"), 0)), "v");
}

static char *nested(size_t depth)
{
	char *text = calloc(1, 2 * depth + 1);

	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	return text;
}

static void nesting_ends_at_the_limit(void **state)
{
	(void)state;
	for (int over = -1; over <= 1; over++) {
		auto_free char *text = nested((size_t)(JSON_DEPTH_MAX + over));
		auto_type(json) doc = json_parse(text, strlen(text), NULL);
		auto_buf struct buf out = BUF_INIT(4096);

		assert_int_equal(doc != NULL, over <= 0);
		if (!doc)
			continue;
		assert_int_equal(json_write(doc, &out, NULL), 0);
		assert_string_equal(buf_str(&out), text);
	}
}

static void a_bracket_in_a_string_does_not_nest(void **state)
{
	char text[300];

	(void)state;
	snprintf(text, sizeof(text), "\"\\\"%0200d\"", 0);
	memset(text + 3, '[', 200);
	auto_type(json) doc = json_parse(text, strlen(text), NULL);
	assert_non_null(doc);
}

static void what_is_not_json_is_refused(void **state)
{
	static const char *const bad[] = {"",
	                                  "{",
	                                  "{\"a\":1,\"a\":2}",
	                                  "{} {}",
	                                  "[1,]",
	                                  "nul",
	                                  "\"\xff\"",
	                                  "\"a\\u0000b\"",
	                                  "18446744073709551616",
	                                  "-9223372036854775809",
	                                  "9223372036854775809",
	                                  "1e999",
	                                  "{a:1}",
	                                  "\"\\",
	                                  "-18446744073709551615"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = ERR_INIT;

		assert_null(json_parse(bad[i], strlen(bad[i]), &err));
		assert_int_equal(err.kind, ERR_INVALID);
	}
	assert_null(json_parse("1\0", 2, NULL));
}

static void assert_rewritten(const char *in, const char *expected)
{
	auto_type(json) doc = json_parse(in, strlen(in), NULL);
	auto_buf struct buf out = BUF_INIT(4096);

	assert_non_null(doc);
	assert_int_equal(json_write(doc, &out, NULL), 0);
	assert_string_equal(buf_str(&out), expected);
}

static void numbers_are_kept(void **state)
{
	(void)state;
	assert_rewritten("9223372036854775807", "9223372036854775807");
	assert_rewritten("-9223372036854775808", "-9223372036854775808");
	assert_rewritten("[9223372036854775808,18446744073709551615]",
	                 "[9223372036854775808,18446744073709551615]");
	assert_rewritten("0.1", "0.1");
	assert_rewritten("1.0", "1.0");
	assert_rewritten("1e300", "1e+300");
	assert_rewritten("\"18446744073709551615\"", "\"18446744073709551615\"");
}

static void a_document_made_by_hand_is_written_in_order(void **state)
{
	auto_type(json) doc = json_object();
	struct json *list = json_array();
	auto_buf struct buf out = BUF_INIT(4096);
	auto_buf struct buf pretty = BUF_INIT(4096);

	(void)state;
	assert_int_equal(json_append(list, json_null()), 0);
	assert_int_equal(json_set(doc, "z", json_string("\x01/\t")), 0);
	assert_int_equal(json_set(doc, "a", list), 0);
	assert_int_equal(json_set(doc, "e", json_object()), 0);
	assert_int_equal(json_set(doc, "bad", json_string("\xff")), -1);
	assert_int_equal(json_set(doc, "nan", json_double((double)NAN)), -1);
	assert_int_equal(json_write(doc, &out, NULL), 0);
	assert_string_equal(buf_str(&out), "{\"z\":\"\\u0001/\\t\",\"a\":[null],\"e\":{}}");
	assert_int_equal(json_write_pretty(doc, &pretty, NULL), 0);
	assert_string_equal(buf_str(&pretty), "{\n    \"z\": \"\\u0001/\\t\",\n    \"a\": [\n"
	                                      "        null\n    ],\n    \"e\": {}\n}");
}

static void readers_accept_null_and_wrong_types(void **state)
{
	auto_type(json) doc = json_parse("{\"s\":\"t\",\"n\":3,\"b\":true}", 24, NULL);
	void *iter = NULL;
	const char *key;
	struct json *value;

	(void)state;
	assert_non_null(doc);
	assert_null(json_get(NULL, "x"));
	assert_null(json_get_string(doc, "n"));
	assert_int_equal(json_get_int(doc, "s", 9), 9);
	assert_int_equal(json_get_int(doc, "n", 9), 3);
	assert_true(json_get_bool(doc, "b", false));
	assert_true(json_get_bool(doc, "n", true));
	assert_null(json_at(doc, 0));
	assert_int_equal(json_count(NULL), 0);
	assert_int_equal(json_count(doc), 3);
	assert_false(json_next(NULL, &iter, &key, &value));
	assert_int_equal(json_append(NULL, json_null()), -1);
	assert_int_equal(json_set(doc, "x", NULL), -1);
	json_free(NULL);
	assert_null(json_ref(NULL));
}

static bool alike(const char *a, const char *b)
{
	auto_type(json) x = json_parse(a, strlen(a), NULL);
	auto_type(json) y = json_parse(b, strlen(b), NULL);

	assert_non_null(x);
	assert_non_null(y);
	assert_int_equal(json_alike(x, y), json_alike(y, x));
	return json_alike(x, y);
}

static void alike_is_what_says_the_same(void **state)
{
	(void)state;
	assert_true(alike("{\"a\":1,\"b\":[1,{\"c\":2,\"d\":3}]}",
	                  "{\"b\":[1,{\"d\":3,\"c\":2}],\"a\":1}"));
	assert_true(alike("{\"a\":null,\"b\":{\"c\":\"\",\"d\":[]}}", "{}"));
	assert_false(alike("{\"a\":0}", "{}"));
	assert_true(alike("{\"a\":false}", "{}"));
	assert_false(alike("{\"a\":true}", "{}"));
	assert_false(alike("[1,2]", "[2,1]"));
	assert_false(alike("[1]", "[1,null]"));
	assert_false(alike("{\"a\":[1]}", "{\"a\":{\"b\":1}}"));
	assert_false(alike("{\"a\":1}", "{\"a\":1,\"b\":2}"));
	assert_true(json_alike(NULL, NULL));
}

TESTING_MAIN(TEST(what_is_decoded_is_encoded_again), TEST(an_error_names_the_path),
             TEST(absence_and_null_leave_a_number_alone), TEST(empty_is_not_absent),
             TEST(what_is_empty_is_written_as_the_table_says), TEST(what_cannot_be_json_says_why),
             TEST(a_raw_value_outlives_the_document), TEST(nesting_ends_at_the_limit),
             TEST(a_bracket_in_a_string_does_not_nest), TEST(what_is_not_json_is_refused),
             TEST(numbers_are_kept), TEST(a_document_made_by_hand_is_written_in_order),
             TEST(readers_accept_null_and_wrong_types), TEST(alike_is_what_says_the_same))
