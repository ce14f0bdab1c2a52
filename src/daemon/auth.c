/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/auth.h"

#include <string.h>

#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "http/server.h"

#define AUTH_MAX   (64u << 10) /* bytes of X-Registry-Auth, decoded */
#define CONFIG_MAX (1u << 20)  /* of X-Registry-Config */

static const struct json_field fields[] = {
	JSON_FIELD(struct image_auth, username, "username", JSON_STRING),
	JSON_FIELD(struct image_auth, password, "password", JSON_STRING),
	JSON_FIELD(struct image_auth, identity_token, "identitytoken", JSON_STRING),
	JSON_FIELD(struct image_auth, registry_token, "registrytoken", JSON_STRING),
	JSON_FIELD(struct image_auth, server, "serveraddress", JSON_STRING),
	JSON_END,
};
static const struct json_table table = JSON_TABLE(struct image_auth, fields);

int auth_read(struct http_request *req, struct arena *arena, struct image_auth *out,
              struct err *err)
{
	const char *header = http_header(req, "X-Registry-Auth");
	auto_buf struct buf text = BUF_INIT(AUTH_MAX);
	struct image_auth auth = {0};

	if (str_empty(header)) {
		*out = auth;
		return 0;
	}
	if (base64_decode(header, strlen(header), &text, err) < 0 ||
	    json_decode_text(buf_str(&text), text.len, &table, arena, &auth, err) < 0)
		return err_wrap(err, "X-Registry-Auth");
	/* "" is what clients send for "none". */
	auth.username = str_empty(auth.username) ? NULL : auth.username;
	auth.password = str_empty(auth.password) ? NULL : auth.password;
	auth.identity_token = str_empty(auth.identity_token) ? NULL : auth.identity_token;
	auth.registry_token = str_empty(auth.registry_token) ? NULL : auth.registry_token;
	*out = auth;
	return 0;
}

/* ---- of several registries ---- */

int auth_registries_read(struct http_request *req, struct auth_registries *out, struct err *err)
{
	const char *header = http_header(req, "X-Registry-Config");
	auto_buf struct buf text = BUF_INIT(CONFIG_MAX);

	if (str_empty(header))
		return 0;
	if (base64_decode(header, strlen(header), &text, err) < 0)
		return err_wrap(err, "X-Registry-Config");
	out->doc = json_parse(buf_str(&text), text.len, err);
	return out->doc ? 0 : err_wrap(err, "X-Registry-Config");
}

/* "https://host:5000/v1/" is host:5000. */
static bool is_of(const char *server, const char *domain)
{
	const char *scheme = strstr(server, "://");
	const char *host = scheme ? scheme + strlen("://") : server;
	size_t n = strcspn(host, "/");

	return strlen(domain) == n && strncmp(host, domain, n) == 0;
}

static const struct json *entry_for(const struct json *doc, const char *domain)
{
	const struct json *exact = json_get(doc, domain);
	void *iter = NULL;
	const char *server;
	struct json *entry;

	if (!exact && strcmp(domain, "docker.io") == 0)
		return json_get(doc, "https://index.docker.io/v1/");
	while (!exact && json_next(doc, &iter, &server, &entry))
		if (is_of(server, domain))
			exact = entry;
	return exact;
}

const struct image_auth *auth_registries_find(void *arg, const char *domain)
{
	struct auth_registries *r = arg;
	const struct json *entry = entry_for(r->doc, domain);

	if (!entry)
		return NULL;
	struct image_auth *auth = arena_alloc(r->arena, sizeof(*auth), NULL);
	if (!auth)
		return NULL;
	auth->username = json_get_string(entry, "username");
	auth->password = json_get_string(entry, "password");
	auth->identity_token = json_get_string(entry, "identitytoken");
	auth->registry_token = json_get_string(entry, "registrytoken");
	return auth;
}
