/* SPDX-License-Identifier: Apache-2.0 */
/* GET /token: a signed-in user's (or nobody's) token for what the rules allow of the scopes that are asked for. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "registry/answer.h"
#include "registry/jwt.h"
#include "registry/registry.h"
#include "registry/token.h"

#define SCOPES_MAX 64
#define SECOND_NS  1000000000

struct grant {
	struct registry *r;
	const char *authorization;
	struct json *access;
	size_t count;
};

/* Of what is asked for, what the rules allow. */
static struct json *allowed(const struct grant *g, const char *name, char *actions)
{
	static const struct {
		const char *verb;
		enum access_action action;
	} known[] = {{"pull", ACCESS_PULL}, {"push", ACCESS_PUSH}, {"delete", ACCESS_DELETE}};
	struct json *list = json_array();
	char *rest = actions;

	for (char *word = strsep(&rest, ","); word; word = strsep(&rest, ","))
		for (size_t i = 0; i < ARRAY_LEN(known); i++)
			if ((str_eq(word, known[i].verb) || str_eq(word, "*")) &&
			    access_check(g->r->access, g->authorization, name, known[i].action) ==
			            ACCESS_YES)
				(void)json_append(list, json_string(known[i].verb));
	return list;
}

/* The catalog has one action only, "*". */
static struct json *allowed_catalog(const struct grant *g)
{
	struct json *list = json_array();

	if (access_check(g->r->access, g->authorization, REGISTRY_CATALOG, ACCESS_PULL) ==
	    ACCESS_YES)
		(void)json_append(list, json_string("*"));
	return list;
}

/* What is not understood is left out, as the scheme has it: the client sees it at its next request. */
static void add_scope(struct grant *g, const char *text)
{
	struct tokens_scope s;

	if (g->count == SCOPES_MAX || !tokens_parse_scope(text, &s))
		return;
	bool catalog = str_eq(s.type, "registry") && str_eq(s.name, "catalog");
	if (!catalog && (!str_eq(s.type, "repository") ||
	                 (!name_ok(s.name) && !str_eq(s.name, REGISTRY_METRICS))))
		return;
	struct json *actions = catalog ? allowed_catalog(g) : allowed(g, s.name, s.actions);
	if (json_count(actions) == 0) {
		json_free(actions);
		return;
	}
	struct json *one = json_object();
	(void)json_set(one, "type", json_string(s.type));
	(void)json_set(one, "name", json_string(s.name));
	(void)json_set(one, "actions", actions);
	(void)json_append(g->access, one);
	g->count++;
}

/* "scope" comes several times, or once with blanks between. */
static void add_scopes(struct grant *g, const struct http_request *req)
{
	for (size_t i = 0; i < http_query_count(req, "scope"); i++) {
		auto_free char *copy = strdup(http_query_at(req, "scope", i));
		char *rest = copy;

		for (char *word = strsep(&rest, " "); word; word = strsep(&rest, " "))
			add_scope(g, word);
	}
}

static int reply_token(struct http_request *req, const char *token, int64_t now_ns)
{
	char issued[CLOCK_TEXT_MAX];
	struct json *doc = json_object();

	(void)json_set(doc, "token", json_string(token));
	(void)json_set(doc, "access_token", json_string(token));
	(void)json_set(doc, "expires_in", json_int(TOKEN_SECONDS));
	(void)json_set(doc, "issued_at", json_string(clock_format(now_ns, issued)));
	(void)http_reply_header(req, "Cache-Control", "no-store", NULL);
	return http_reply_json(req, 200, doc);
}

int api_token(void *ctx, struct http_request *req, struct err *err)
{
	struct registry *r = ctx;
	struct grant g = {.r = r, .authorization = http_header(req, "Authorization")};
	auto_buf struct buf token = BUF_INIT(JWT_MAX);
	char user[ACCESS_USER_MAX] = "";
	int64_t now = clock_wall_ns();

	if (!tokens_serves(r->tokens))
		return answer_error(req, 404, "UNSUPPORTED",
		                    "this registry hands out no tokens (token-serve)");
	if (g.authorization && !access_sign_in(r->access, g.authorization, user)) {
		(void)http_reply_header(req, "WWW-Authenticate",
		                        "Basic realm=\"buoy-registry\", charset=\"UTF-8\"", NULL);
		return answer_error(req, 401, "UNAUTHORIZED", "wrong user or password");
	}
	g.access = json_array();
	add_scopes(&g, req);
	if (tokens_issue(r->tokens, user, g.access, now / SECOND_NS, &token, err) < 0)
		return answer_err(req, err);
	return reply_token(req, buf_str(&token), now);
}
