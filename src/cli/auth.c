/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "oci/reference.h"

#define CONFIG_MAX (1u << 20)
#define DOCKER_HUB "https://index.docker.io/v1/"

static int config_dir(struct buf *out, struct err *err)
{
	const char *dir = getenv("DOCKER_CONFIG");
	const char *home = getenv("HOME");

	if (!str_empty(dir))
		buf_add(out, dir);
	else if (!str_empty(home))
		buf_addf(out, "%s/.docker", home);
	else
		return err_set(err, ERR_NOT_FOUND, "neither DOCKER_CONFIG nor HOME is set");
	return buf_check(out, err);
}

/* The whole file; an empty object when there is none. */
static struct json *read_config(struct err *err)
{
	auto_buf struct buf path = BUF_INIT(4096);
	auto_buf struct buf text = BUF_INIT(CONFIG_MAX);
	struct err why = ERR_INIT;

	if (config_dir(&path, NULL) < 0)
		return json_object();
	buf_add(&path, "/config.json");
	if (fs_trusted_read(buf_str(&path), CONFIG_MAX, &text, &why) < 0) {
		if (why.kind == ERR_NOT_FOUND)
			return json_object();
		if (err)
			*err = why;
		return NULL;
	}
	struct json *doc = json_parse(buf_str(&text), text.len, err);
	if (!doc)
		err_wrap(err, "%s", buf_str(&path));
	return doc;
}

static int write_config(const struct json *doc, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(4096);
	auto_buf struct buf text = BUF_INIT(CONFIG_MAX);

	if (config_dir(&path, err) < 0 || json_write_pretty(doc, &text, err) < 0)
		return -1;
	buf_add(&text, "\n");
	auto_close int dir = fs_trusted_open_dir(buf_str(&path), true, err);
	if (dir < 0)
		return -1;
	return fs_write_durable(dir, "config.json", buf_str(&text), text.len, 0600, err);
}

/* {"auth": base64(user:password)} or the parts, as {"username","password","identitytoken"}. */
static struct json *credentials_of(const struct json *entry, const char *server)
{
	const char *auth = json_get_string(entry, "auth");
	const char *token = json_get_string(entry, "identitytoken");
	auto_buf struct buf text = BUF_INIT(64u << 10);
	struct json *out = json_object();

	if (!str_empty(auth) && base64_decode(auth, strlen(auth), &text, NULL) == 0 &&
	    text.len > 0) {
		char *colon = strchr(text.data, ':');
		if (colon) {
			*colon = '\0';
			json_set(out, "username", json_string(text.data));
			json_set(out, "password", json_string(colon + 1));
		}
	}
	if (!str_empty(token))
		json_set(out, "identitytoken", json_string(token));
	if (json_count(out))
		json_set(out, "serveraddress", json_string(server));
	return out;
}

static const char *header(struct cli *cli, const char *name, const struct json *doc,
                          struct err *err)
{
	auto_buf struct buf text = BUF_INIT(CONFIG_MAX);
	auto_buf struct buf out = BUF_INIT(2 * CONFIG_MAX);

	if (json_write(doc, &text, err) < 0)
		return NULL;
	buf_addf(&out, "%s: ", name);
	base64url_encode(buf_str(&text), text.len, &out);
	return buf_check(&out, err) < 0 ? NULL : arena_strdup(&cli->arena, buf_str(&out), err);
}

const char *auth_header(struct cli *cli, const char *image, struct err *err)
{
	auto_type(json) config = read_config(err);
	struct reference ref;

	if (!config || reference_parse(image, &ref, err) < 0)
		return NULL;
	const char *server = str_eq(ref.domain, "docker.io") ? DOCKER_HUB : ref.domain;
	auto_type(json) doc = credentials_of(json_get(json_get(config, "auths"), server), server);
	return header(cli, "X-Registry-Auth", doc, err);
}

const char *auth_config_header(struct cli *cli, struct err *err)
{
	auto_type(json) config = read_config(err);
	auto_type(json) all = json_object();
	void *iter = NULL;
	const char *server;
	struct json *entry;

	if (!config)
		return NULL;
	while (json_next(json_get(config, "auths"), &iter, &server, &entry))
		json_set(all, server, credentials_of(entry, server));
	return header(cli, "X-Registry-Config", all, err);
}

/* A document with the entry put in or left out (documents have no way to drop a key). */
static struct json *changed_auths(const struct json *auths, const char *server,
                                  struct json *replacement)
{
	struct json *out = json_object();
	void *iter = NULL;
	const char *name;
	struct json *entry;

	while (json_next(auths, &iter, &name, &entry))
		if (!str_eq(name, server))
			json_set(out, name, json_ref(entry));
	if (replacement)
		json_set(out, server, replacement);
	return out;
}

int auth_store(const char *server, const char *user, const char *password, struct err *err)
{
	auto_type(json) config = read_config(err);
	auto_buf struct buf pair = BUF_INIT(64u << 10);
	auto_buf struct buf encoded = BUF_INIT(128u << 10);
	struct json *entry = NULL;

	if (!config)
		return -1;
	if (!json_is_object(config))
		return err_set(err, ERR_INVALID, "config.json is not an object");
	const char *key = str_eq(server, "docker.io") ? DOCKER_HUB : server;
	if (password) {
		buf_addf(&pair, "%s:%s", user, password);
		base64_encode(buf_str(&pair), pair.len, &encoded);
		if (buf_check(&pair, err) < 0 || buf_check(&encoded, err) < 0)
			return -1;
		entry = json_object();
		json_set(entry, "auth", json_string(buf_str(&encoded)));
	} else if (!json_get(json_get(config, "auths"), key)) {
		return err_set(err, ERR_NOT_FOUND, "not logged in to %s", server);
	}
	json_set(config, "auths", changed_auths(json_get(config, "auths"), key, entry));
	return write_config(config, err);
}
