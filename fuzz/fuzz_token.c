/* SPDX-License-Identifier: Apache-2.0 */
/* What a registry reads of tokens. The first byte chooses: a token (nothing that this target can make is signed by the key
 * that is trusted), a key set, PEM text, the scope of a request for a token. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/json.h"
#include "registry/jwt.h"
#include "registry/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_token(const struct jwt_keys *keys, const char *token)
{
	struct err err = ERR_INIT;
	auto_type(json) claims = jwt_verify(keys, token, &err);

	assert(!claims && err.kind != ERR_NONE);
}

static void fuzz_scope(const char *text)
{
	struct tokens_scope s;

	if (!tokens_parse_scope(text, &s))
		return;
	assert(s.type[0] && s.name[0]);
	assert(strlen(s.type) + strlen(s.name) + strlen(s.actions) + 2 == strlen(text));
}

static struct jwt_keys *make_trusted(void)
{
	auto_type(jwt_signer) signer = jwt_signer_create(NULL, NULL);
	struct jwt_keys *keys = jwt_keys_create(NULL);

	assert(signer && keys && jwt_keys_add_signer(keys, signer, NULL) == 0);
	return keys;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct jwt_keys *trusted; /* made once: it costs more than all the rest */
	auto_type(jwt_keys) keys = NULL;
	auto_free char *text = NULL;

	if (size == 0)
		return 0;
	text = strndup((const char *)data + 1, size - 1);
	keys = jwt_keys_create(NULL);
	if (!text || !keys)
		return 0;
	if (data[0] == 't') {
		if (!trusted)
			trusted = make_trusted();
		fuzz_token(trusted, text);
	} else if (data[0] == 'k') {
		(void)jwt_keys_add_set(keys, (const char *)data + 1, size - 1, NULL);
	} else if (data[0] == 'p') {
		(void)jwt_keys_add_pem(keys, (const char *)data + 1, size - 1, NULL);
	} else if (data[0] == 's') {
		fuzz_scope(text);
	}
	assert(jwt_keys_count(keys) <= JWT_KEYS_MAX);
	return 0;
}
