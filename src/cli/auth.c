/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/credhelper.h"
#include "oci/reference.h"

#define CONFIG_MAX (1u << 20)
#define PAIR_MAX   (64u << 10) /* bytes of "user:password" */
#define SERVER_MAX 300
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

/* A file that is a link stays one: what it points to is replaced. */
static int write_config(const struct json *doc, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(4096);
	auto_buf struct buf text = BUF_INIT(CONFIG_MAX);
	const char *name = "config.json";

	if (config_dir(&path, err) < 0 || json_write_pretty(doc, &text, err) < 0)
		return -1;
	buf_add(&text, "\n");
	auto_close int dir = fs_trusted_open_dir(buf_str(&path), true, err);
	if (dir < 0)
		return -1;
	buf_addf(&path, "/%s", name);
	auto_free char *real = realpath(buf_str(&path), NULL);
	char *slash = real ? strrchr(real, '/') : NULL;
	if (slash && slash != real) {
		*slash = '\0';
		close(dir);
		dir = fs_trusted_open_dir(real, false, err);
		name = slash + 1;
	}
	if (dir < 0)
		return -1;
	return fs_write_durable(dir, name, buf_str(&text), text.len, 0600, err);
}

const char *auth_file(struct cli *cli, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(4096);

	if (config_dir(&path, err) < 0)
		return NULL;
	buf_add(&path, "/config.json");
	return arena_strdup(&cli->arena, buf_str(&path), err);
}

/* ---- names of registries ---- */

/* "https://host:5000/v1/" and "host:5000" are one registry; its length. */
static const char *host_of(const char *server, size_t *len)
{
	if (str_starts(server, "https://"))
		server += strlen("https://");
	else if (str_starts(server, "http://"))
		server += strlen("http://");
	*len = strcspn(server, "/");
	return server;
}

static bool same_host(const char *a, const char *b)
{
	size_t n, m;
	const char *x = host_of(a, &n), *y = host_of(b, &m);

	return n == m && strncmp(x, y, n) == 0;
}

/* The key under which docker keeps a registry. */
static int key_of(const char *server, char key[SERVER_MAX], struct err *err)
{
	size_t n;
	const char *host = host_of(server, &n);

	if (n == 0 || n >= SERVER_MAX)
		return err_set(err, ERR_INVALID, "bad registry address \"%.100s\"", server);
	if ((n == 9 && strncmp(host, "docker.io", n) == 0) || same_host(server, DOCKER_HUB))
		(void)snprintf(key, SERVER_MAX, "%s", DOCKER_HUB);
	else
		(void)snprintf(key, SERVER_MAX, "%.*s", (int)n, host);
	return 0;
}

/* The helper that keeps this registry's credentials; NULL: the file does. */
static const char *helper_of(const struct json *config, const char *key)
{
	const char *own = json_get_string(json_get(config, "credHelpers"), key);
	const char *all = own ? own : json_get_string(config, "credsStore");

	return str_empty(all) ? NULL : all;
}

/* Keys that a later docker or an older one wrote differently. */
static const struct json *entry_of(const struct json *config, const char *key)
{
	const struct json *auths = json_get(config, "auths");
	const struct json *exact = json_get(auths, key);
	void *iter = NULL;
	const char *name;
	struct json *entry;

	while (!exact && json_next(auths, &iter, &name, &entry))
		if (same_host(name, key))
			exact = entry;
	return exact;
}

/* ---- reading ---- */

/* {"auth": base64(user:password)} or the parts, as {"username","password","identitytoken"}. */
static struct json *credentials_of(const struct json *entry, const char *server)
{
	static const char *const tokens[] = {"identitytoken", "registrytoken"};
	const char *auth = json_get_string(entry, "auth");
	auto_buf struct buf text = BUF_INIT(PAIR_MAX);
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
	for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
		const char *token = json_get_string(entry, tokens[i]);
		if (!str_empty(token))
			json_set(out, tokens[i], json_string(token));
	}
	if (json_count(out))
		json_set(out, "serveraddress", json_string(server));
	return out;
}

/* A helper that fails costs the credentials, not the pull: what is public can be had without. */
static struct json *ask_helper(struct cli *cli, const char *helper, const char *key)
{
	struct err why = ERR_INIT;
	struct json *doc = credhelper_get(helper, key, &why);

	if (doc)
		return doc;
	if (why.kind != ERR_NOT_FOUND) {
		(void)err_wrap(&why, "going on without credentials for %s", key);
		cli_complain(cli, &why);
	}
	return json_object();
}

static struct json *find(struct cli *cli, const struct json *config, const char *key)
{
	const char *helper = helper_of(config, key);

	return helper ? ask_helper(cli, helper, key) : credentials_of(entry_of(config, key), key);
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
	char key[SERVER_MAX];

	if (!config || reference_parse(image, &ref, err) < 0 || key_of(ref.domain, key, err) < 0)
		return NULL;
	auto_type(json) doc = find(cli, config, key);
	return header(cli, "X-Registry-Auth", doc, err);
}

/* What the store for all keeps. */
static void add_listed(struct cli *cli, const char *store, struct json *all)
{
	struct err why = ERR_INIT;
	auto_type(json) list = credhelper_list(store, &why);
	void *iter = NULL;
	const char *server;
	struct json *user;

	if (!list) {
		(void)err_wrap(&why, "going on without credentials");
		cli_complain(cli, &why);
	}
	while (json_next(list, &iter, &server, &user))
		json_set(all, server, ask_helper(cli, store, server));
}

const char *auth_config_header(struct cli *cli, struct err *err)
{
	auto_type(json) config = read_config(err);
	auto_type(json) all = json_object();
	const char *store = json_get_string(config, "credsStore"), *server;
	void *iter = NULL;
	struct json *entry;

	if (!config)
		return NULL;
	if (!str_empty(store))
		add_listed(cli, store, all);
	else
		while (json_next(json_get(config, "auths"), &iter, &server, &entry))
			json_set(all, server, credentials_of(entry, server));
	iter = NULL;
	while (json_next(json_get(config, "credHelpers"), &iter, &server, &entry))
		if (json_str(entry))
			json_set(all, server, ask_helper(cli, json_str(entry), server));
	return header(cli, "X-Registry-Config", all, err);
}

int auth_find(struct cli *cli, const char *server, struct json **out, struct err *err)
{
	auto_type(json) config = read_config(err);
	char key[SERVER_MAX];

	if (!config || key_of(server, key, err) < 0)
		return -1;
	*out = find(cli, config, key);
	return 0;
}

/* ---- writing ---- */

/* A document with the entry put in or left out (documents have no way to drop a key). */
static struct json *changed_auths(const struct json *auths, const char *server,
                                  struct json *replacement)
{
	struct json *out = json_object();
	void *iter = NULL;
	const char *name;
	struct json *entry;

	while (json_next(auths, &iter, &name, &entry))
		if (!same_host(name, server))
			json_set(out, name, json_ref(entry));
	if (replacement)
		json_set(out, server, replacement);
	return out;
}

static struct json *config_to_change(struct err *err)
{
	struct json *config = read_config(err);

	if (!config || json_is_object(config))
		return config;
	json_free(config);
	(void)err_set(err, ERR_INVALID, "config.json is not an object");
	return NULL;
}

/* As the file keeps them: {"auth"}, or {"identitytoken"} with the user's name. */
static struct json *entry_for(const struct auth_login *login, struct err *err)
{
	auto_buf struct buf pair = BUF_INIT(PAIR_MAX);
	auto_buf struct buf encoded = BUF_INIT(2 * PAIR_MAX);
	const char *token = login->identity_token;

	buf_addf(&pair, "%s:%s", login->user, str_empty(token) ? login->password : "");
	base64_encode(buf_str(&pair), pair.len, &encoded);
	if (buf_check(&pair, err) < 0 || buf_check(&encoded, err) < 0)
		return NULL;
	struct json *entry = json_object();
	json_set(entry, "auth", json_string(buf_str(&encoded)));
	if (!str_empty(token))
		json_set(entry, "identitytoken", json_string(token));
	return entry;
}

int auth_store(const char *server, const struct auth_login *login, bool *in_file, struct err *err)
{
	auto_type(json) config = config_to_change(err);
	bool token = !str_empty(login->identity_token);
	char key[SERVER_MAX];

	if (!config || key_of(server, key, err) < 0)
		return -1;
	const char *helper = helper_of(config, key);
	if (helper && credhelper_store(helper, key, token ? NULL : login->user,
	                               token ? login->identity_token : login->password, err) < 0)
		return -1;
	/* With a helper the file only remembers that there is a login, as docker's does. */
	struct json *entry = helper ? json_object() : entry_for(login, err);
	if (!entry)
		return -1;
	*in_file = !helper;
	json_set(config, "auths", changed_auths(json_get(config, "auths"), key, entry));
	return write_config(config, err);
}

int auth_forget(const char *server, struct err *err)
{
	auto_type(json) config = config_to_change(err);
	char key[SERVER_MAX];

	if (!config || key_of(server, key, err) < 0)
		return -1;
	const char *helper = helper_of(config, key);
	bool listed = entry_of(config, key);
	if (!helper && !listed)
		return err_set(err, ERR_NOT_FOUND, "not logged in to %s", server);
	if (helper && credhelper_erase(helper, key, err) < 0)
		return -1;
	if (!listed)
		return 0;
	json_set(config, "auths", changed_auths(json_get(config, "auths"), key, NULL));
	return write_config(config, err);
}
