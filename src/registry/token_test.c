/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/token.h"

#include <time.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/testing.h"
#include "registry/jwt.h"
#include "registry/settings.h"

struct fixture {
	char path[64];
	int dir;
	struct settings settings;
	struct tokens *tokens;
	struct jwt_signer *signer; /* the key that they trust */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char text[4096];

	snprintf(f->path, sizeof(f->path), "/tmp/buoy-token-XXXXXX");
	f->dir = open(mkdtemp(f->path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->settings = (struct settings){.token_serve = true, .htpasswd = "users"};
	f->tokens = tokens_open(&f->settings, f->dir, NULL);
	assert_non_null(f->tokens);
	int fd = openat(f->dir, "token.key", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	assert_true(n > 0);
	text[n] = '\0';
	f->signer = jwt_signer_create(text, NULL);
	*state = f;
	return f->signer ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	tokens_free(f->tokens);
	jwt_signer_free(f->signer);
	unlinkat(f->dir, "token.key", 0);
	close(f->dir);
	rmdir(f->path);
	free(f);
	return 0;
}

static enum access_verdict check(struct fixture *f, const char *claims, const char *name,
                                 enum access_action action, struct err *why)
{
	auto_type(json) doc = json_parse(claims, strlen(claims), NULL);
	auto_buf struct buf header = BUF_INIT(JWT_MAX);

	assert_non_null(doc);
	buf_add(&header, "Bearer ");
	assert_int_equal(jwt_sign(f->signer, doc, &header, NULL), 0);
	return tokens_check(f->tokens, buf_str(&header), name, action, why);
}

#define WHO       "\"iss\":\"buoy-registry\",\"aud\":\"buoy-registry\""
#define TIME      ",\"exp\":4000000000"
#define ONE(n, a) "{\"type\":\"repository\",\"name\":\"" n "\",\"actions\":[" a "]}"

static void a_token_opens_what_it_names(void **state)
{
	static const struct {
		const char *access, *name;
		enum access_action action;
		enum access_verdict verdict;
	} rows[] = {
		{ONE("a/b", "\"pull\""), "a/b", ACCESS_PULL, ACCESS_YES},
		{ONE("a/b", "\"pull\""), "a/b", ACCESS_PUSH, ACCESS_NO},
		{ONE("a/b", "\"pull\""), "a/bc", ACCESS_PULL, ACCESS_NO},
		{ONE("a/b", "\"pull\""), "a", ACCESS_PULL, ACCESS_NO},
		{ONE("a/b", "\"*\""), "a/b", ACCESS_DELETE, ACCESS_YES},
		{ONE("a", "\"pull\"") "," ONE("b", "\"delete\""), "b", ACCESS_DELETE, ACCESS_YES},
		{ONE("*", "\"pull\""), "a", ACCESS_PULL, ACCESS_NO}, /* no pattern */
		{"{\"type\":\"registry\",\"name\":\"catalog\",\"actions\":[\"*\"]}", "_catalog",
	         ACCESS_PULL, ACCESS_YES},
		{ONE("_catalog", "\"pull\""), "_catalog", ACCESS_PULL, ACCESS_NO},
		{"{\"type\":\"registry\",\"name\":\"a\",\"actions\":[\"*\"]}", "a", ACCESS_PULL,
	         ACCESS_NO},
		{"3,null,{\"type\":\"repository\",\"name\":\"a\",\"actions\":\"pull\"}", "a",
	         ACCESS_PULL, ACCESS_NO},
		{"", "a", ACCESS_PULL, ACCESS_NO},
		{"", NULL, ACCESS_PULL, ACCESS_YES},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char claims[600];

		snprintf(claims, sizeof(claims), "{" WHO TIME ",\"access\":[%s]}", rows[i].access);
		assert_int_equal(check(*state, claims, rows[i].name, rows[i].action, NULL),
		                 rows[i].verdict);
	}
	assert_int_equal(check(*state, "{" WHO TIME "}", "a", ACCESS_PULL, NULL), ACCESS_NO);
}

static void a_token_is_for_one_service_of_one_issuer_in_its_time(void **state)
{
	static const struct {
		const char *claims, *says;
	} rows[] = {
		{"{\"iss\":\"x\",\"aud\":\"buoy-registry\"" TIME "}", "another issuer"},
		{"{\"aud\":\"buoy-registry\"" TIME "}", "another issuer"},
		{"{\"iss\":\"buoy-registry\",\"aud\":\"x\"" TIME "}", "another service"},
		{"{\"iss\":\"buoy-registry\",\"aud\":[\"x\",null,3]" TIME "}", "another service"},
		{"{\"iss\":\"buoy-registry\"" TIME "}", "another service"},
		{"{" WHO ",\"exp\":1700000000}", "expired"},
		{"{" WHO "}", "expired"},
		{"{" WHO ",\"exp\":\"4000000000\"}", "expired"},
		{"{" WHO TIME ",\"nbf\":4000000000}", "not good yet"},
		{"{" WHO TIME ",\"nbf\":\"1\"}", "not good yet"},
	};
	struct err why = ERR_INIT;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(check(*state, rows[i].claims, NULL, ACCESS_PULL, &why),
		                 ACCESS_SIGN_IN);
		assert_non_null(strstr(why.msg, rows[i].says));
	}
	assert_int_equal(
		check(*state, "{" WHO TIME ",\"nbf\":1700000000}", NULL, ACCESS_PULL, NULL),
		ACCESS_YES); /* control */
	assert_int_equal(check(*state,
	                       "{\"iss\":\"buoy-registry\",\"aud\":[\"x\",\"buoy-registry\"]" TIME
	                       "}",
	                       NULL, ACCESS_PULL, NULL),
	                 ACCESS_YES);
}

static void what_is_handed_out_passes_and_no_longer_than_said(void **state)
{
	struct fixture *f = *state;
	auto_buf struct buf now = BUF_INIT(JWT_MAX), past = BUF_INIT(JWT_MAX);
	struct json *access[2] = {json_array(), json_array()};

	buf_add(&now, "bearer ");
	buf_add(&past, "Bearer ");
	assert_int_equal(tokens_issue(f->tokens, "ann", access[0], time(NULL), &now, NULL), 0);
	assert_int_equal(tokens_issue(f->tokens, "ann", access[1], time(NULL) - 2 * TOKEN_SECONDS,
	                              &past, NULL),
	                 0);
	assert_true(tokens_is_bearer(buf_str(&now)) && !tokens_is_bearer("Basic x") &&
	            !tokens_is_bearer(NULL));
	assert_int_equal(tokens_check(f->tokens, buf_str(&now), NULL, ACCESS_PULL, NULL),
	                 ACCESS_YES);
	assert_int_equal(tokens_check(f->tokens, buf_str(&past), NULL, ACCESS_PULL, NULL),
	                 ACCESS_SIGN_IN);
}

static void a_challenge_says_what_to_ask_for(void **state)
{
	static const struct {
		struct tokens_challenge c;
		const char *text;
	} rows[] = {
		{{.origin = "https://h:1"},
	         "Bearer realm=\"https://h:1/token\",service=\"buoy-registry\""},
		{{.origin = "http://h", .name = "a/b", .action = ACCESS_PUSH},
	         "Bearer realm=\"http://h/token\",service=\"buoy-registry\",scope=\"repository:a/b:pull,"
	         "push\""},
		{{.origin = "http://h",
	          .name = "a",
	          .action = ACCESS_DELETE,
	          .problem = "invalid_token"},
	         "Bearer realm=\"http://h/token\",service=\"buoy-registry\",scope=\"repository:a:delete\""
	         ",error=\"invalid_token\""},
		{{.origin = "http://h", .name = "_catalog", .action = ACCESS_PULL},
	         "Bearer realm=\"http://h/token\",service=\"buoy-registry\",scope=\"registry:catalog:*\""},
		{{.origin = "http://h", .name = "no\"name", .action = ACCESS_PULL},
	         "Bearer realm=\"http://h/token\",service=\"buoy-registry\""},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		auto_buf struct buf text = BUF_INIT(1024);

		assert_int_equal(tokens_challenge(f->tokens, &rows[i].c, &text, NULL), 0);
		assert_string_equal(buf_str(&text), rows[i].text);
	}
}

static void a_scope_has_three_parts(void **state)
{
	static const char *const bad[] = {"", "a", "a:b", "a::b", ":b:c", "x:y"};
	struct tokens_scope s;

	(void)state;
	assert_true(tokens_parse_scope("repository:a/b:pull,push", &s));
	assert_string_equal(s.type, "repository");
	assert_string_equal(s.name, "a/b");
	assert_string_equal(s.actions, "pull,push");
	assert_true(tokens_parse_scope("repository:host:5000/a:pull", &s));
	assert_string_equal(s.name, "host:5000/a");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(tokens_parse_scope(bad[i], &s));
	char huge[2000];
	memset(huge, 'a', sizeof(huge));
	huge[sizeof(huge) - 1] = '\0';
	for (size_t at = 0; at + 1 < sizeof(huge); at += 300) {
		huge[at] = ':';
		assert_false(tokens_parse_scope(huge, &s));
	}
}

#define WITH(fn) TEST_WITH(fn, setup, teardown)

TESTING_MAIN(WITH(a_token_opens_what_it_names),
             WITH(a_token_is_for_one_service_of_one_issuer_in_its_time),
             WITH(what_is_handed_out_passes_and_no_longer_than_said),
             WITH(a_challenge_says_what_to_ask_for), TEST(a_scope_has_three_parts))
