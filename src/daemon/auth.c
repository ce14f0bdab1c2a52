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

#define AUTH_MAX (64u << 10) /* bytes, decoded */

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
