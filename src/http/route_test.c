/* SPDX-License-Identifier: Apache-2.0 */
#include "http/route.h"

#include "base/err.h"
#include "base/testing.h"

static int nothing(void *ctx, struct http_request *req, struct err *err)
{
	(void)ctx, (void)req, (void)err;
	return 0;
}

static const struct http_route routes[] = {
	{"GET", "/images/json", nothing},       {"GET", "/images/{*}/json", nothing},
	{"GET", "/images/{*}/get", nothing},    {"POST", "/images/{*}/push", nothing},
	{"DELETE", "/images/{*}", nothing},     {"GET", "/c/{}", nothing},
	{"HEAD", "/c/{}/archive", nothing},     {"GET", "/c/{}/archive", nothing},
	{"PUT", "/v2/{*}/blobs/{}/x", nothing}, {NULL},
};

static void the_table_decides(void **state)
{
	/* route: index in the table; -1: not found; -2: another method */
	static const struct {
		const char *method, *path;
		int route;
		const char *first, *second;
	} cases[] = {
		{"GET", "/images/json", 0, NULL, NULL},
		{"HEAD", "/images/json", 0, NULL, NULL},
		{"GET", "/images/a/json", 1, "a", NULL},
		{"GET", "/images/h:5000/a/b:1/json", 1, "h:5000/a/b:1", NULL},
		{"GET", "/images/json/json", 1, "json", NULL},
		{"GET", "/images/a/json/get", 2, "a/json", NULL},
		{"DELETE", "/images/a/json", 4, "a/json", NULL},
		{"POST", "/images/push", -2, NULL, NULL},
		{"GET", "/c/1", 5, "1", NULL},
		{"GET", "/c/1/2", -1, NULL, NULL},
		{"GET", "/c/", -1, NULL, NULL},
		{"GET", "/c", -1, NULL, NULL},
		{"GET", "/", -1, NULL, NULL},
		{"HEAD", "/c/1/archive", 6, "1", NULL},
		{"GET", "/c/1/archive", 7, "1", NULL},
		{"POST", "/c/1/archive", -2, NULL, NULL},
		{"PUT", "/v2/a/b/blobs/c/x", 8, "a/b", "c"},
		{"PUT", "/v2/a/blobs/b/blobs/c/x", 8, "a/blobs/b", "c"},
		{"PUT", "/v2/blobs/c/x", -1, NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *args[] = {cases[i].first, cases[i].second};
		struct http_route_match match;

		http_route_find(routes, cases[i].method, cases[i].path, &match);
		if (cases[i].route < 0) {
			assert_null(match.route);
			assert_int_equal(match.other_method, cases[i].route == -2);
			continue;
		}
		if (match.route != &routes[cases[i].route])
			fail_msg("%s %s: another route", cases[i].method, cases[i].path);
		for (size_t a = 0; a < 2 && args[a]; a++) {
			assert_int_equal(match.args[a].len, strlen(args[a]));
			assert_memory_equal(match.args[a].text, args[a], match.args[a].len);
		}
	}
}

static void versions_are_taken_off_and_bounded(void **state)
{
	static const struct {
		const char *path, *rest;
		int version; /* -1: refused */
	} cases[] = {
		{"/v1.41/info", "/info", 141}, {"/v1.24/info", "/info", 124},
		{"/v1.44/info", "/info", 144}, {"/v1.45/info", NULL, -1},
		{"/v1.9/info", NULL, -1},      {"/v2.0/info", NULL, -1},
		{"/v0.99/info", NULL, -1},     {"/v1.100/info", NULL, -1},
		{"/info", "/info", 0},         {"/v1.41", "/v1.41", 0},
		{"/v1/info", "/v1/info", 0},   {"/v2/x/blobs", "/v2/x/blobs", 0},
		{"/v1.x/i", "/v1.x/i", 0},     {"/volumes", "/volumes", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *path = cases[i].path;
		unsigned version = 7;
		struct err err = ERR_INIT;
		int rc = http_route_version(&path, 124, 144, &version, &err);

		assert_int_equal(rc < 0, cases[i].version < 0);
		if (rc == 0) {
			assert_string_equal(path, cases[i].rest);
			assert_int_equal(version, cases[i].version);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_table_decides),
		TEST(versions_are_taken_off_and_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
