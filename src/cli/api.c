/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/api.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define BODY_MAX (64u << 20)

struct http_client *api_connect(const struct cli *cli, struct err *err)
{
	return http_client_create(&(struct http_client_options){.base = cli->host}, err);
}

struct http_client *api_client(struct cli *cli, struct err *err)
{
	if (!cli->client)
		cli->client = api_connect(cli, err);
	return cli->client;
}

/* libcurl names the failure; what people need to know is whether the daemon runs. */
static int explain(const struct cli *cli, int rc, struct err *err)
{
	if (rc < 0 && err_is(err, ERR_UNAVAILABLE) && !strstr(err->msg, "swarm"))
		return err_wrap(err, "cannot reach buoyd at %s (is it running?)", cli->host);
	return rc;
}

void api_begin(struct buf *path, const char *before, const char *name, const char *after)
{
	buf_clear(path);
	buf_addf(path, "%s%s", API_VERSION, before);
	if (name)
		http_encode(path, name);
	if (after)
		buf_add(path, after);
}

void api_query(struct buf *path, const char *key, const char *value)
{
	buf_add(path, strchr(buf_str(path), '?') ? "&" : "?");
	http_encode(path, key);
	buf_add(path, "=");
	http_encode(path, value);
}

void api_query_int(struct buf *path, const char *key, int64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", (long long)value);
	api_query(path, key, text);
}

const char *api_path(struct cli *cli, const char *before, const char *name, const char *after,
                     struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, before, name, after);
	return buf_check(&path, err) < 0 ? NULL : arena_strdup(&cli->arena, buf_str(&path), err);
}

static int query_json(struct buf *path, const char *key, const struct json *doc, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(API_PATH_MAX);

	if (json_write(doc, &text, err) < 0)
		return -1;
	api_query(path, key, buf_str(&text));
	return 0;
}

static int add_filter(struct json *all, const char *key, const char *value, struct err *err)
{
	if (!json_get(all, key))
		json_set(all, key, json_array());
	return json_append(json_get(all, key), json_string(value)) < 0 ? err_nomem(err) : 0;
}

int api_filters_among(struct buf *path, const struct args *args, const char *key,
                      const struct json *values, struct err *err)
{
	auto_type(json) all = json_object();
	size_t count = args_count(args, "filter");

	for (size_t i = 0; i < json_count(values); i++)
		if (add_filter(all, key, json_str(json_at(values, i)), err) < 0)
			return -1;
	for (size_t i = 0; i < count; i++) {
		const char *text = args_at(args, "filter", i);
		const char *equals = strchr(text, '=');
		char own[64];
		if (!equals || (size_t)(equals - text) >= sizeof(own))
			return err_set(err, ERR_INVALID, "--filter %s: not KEY=VALUE", text);
		snprintf(own, sizeof(own), "%.*s", (int)(equals - text), text);
		if (add_filter(all, own, equals + 1, err) < 0)
			return -1;
	}
	return json_count(all) ? query_json(path, "filters", all, err) : 0;
}

int api_filters_and(struct buf *path, const struct args *args, const char *key, const char *value,
                    struct err *err)
{
	auto_type(json) values = json_array();

	if (key && value && json_append(values, json_string(value)) < 0)
		return err_nomem(err);
	return api_filters_among(path, args, key, values, err);
}

int api_filters(struct buf *path, const struct args *args, struct err *err)
{
	return api_filters_and(path, args, NULL, NULL, err);
}

void api_filter(struct buf *path, const char *key, const char *value)
{
	auto_type(json) all = json_object();
	struct json *list = json_array();

	json_append(list, json_string(value));
	json_set(all, key, list);
	(void)query_json(path, "filters", all, NULL);
}

struct json *api_get(struct cli *cli, const char *path, struct err *err)
{
	struct http_client *client = api_client(cli, err);
	struct json *reply = NULL;

	if (!client ||
	    explain(cli, http_call_json(client, "GET", path, NULL, &reply, err), err) < 0)
		return NULL;
	if (!reply)
		err_set(err, ERR_INTERNAL, "the daemon's answer was empty");
	return reply;
}

int api_send(struct cli *cli, const char *method, const char *path, struct json *body,
             struct json **reply, struct err *err)
{
	struct http_client *client = api_client(cli, err);

	if (!client) {
		json_free(body);
		return -1;
	}
	return explain(cli, http_call_json(client, method, path, body, reply, err), err);
}

int api_stream(struct cli *cli, const struct http_call *call, struct err *err)
{
	struct http_client *client = api_client(cli, err);
	struct http_response response = {0};

	if (!client)
		return -1;
	int rc = explain(cli, http_call_run(client, call, &response, err), err);
	if (rc == 0)
		rc = http_expect(&response, err);
	http_response_done(&response);
	return rc;
}

int api_hijack(struct cli *cli, const char *path, struct json *body, struct err *err)
{
	const struct http_client_options options = {.base = cli->host};
	auto_type(json) doc = body;
	auto_buf struct buf text = BUF_INIT(BODY_MAX);

	if (doc && json_write(doc, &text, err) < 0)
		return -1;
	return explain(cli, http_upgrade(&options, "POST", path, buf_str(&text), text.len, err),
	               err);
}
