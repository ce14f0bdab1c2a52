/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/vault.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/str.h"

#define NONCE_SIZE 12
#define TAG_SIZE   16
#define KEY_TEXT   256
#define ID_SIZE    17 /* 16 digits of the key's digest */
#define PREFIX     "v1:"

void vault_wipe_buf(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	buf_free(b);
}

void vault_wipe_text(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

static void wipe_text(char **text)
{
	vault_wipe_text(*text);
}

#define auto_secret_buf  __attribute__((cleanup(vault_wipe_buf)))
#define auto_secret_text __attribute__((cleanup(wipe_text)))

static void name_key(const struct vault *vault, char id[ID_SIZE])
{
	char hex[HASH_HEX_MAX];

	snprintf(id, ID_SIZE, "%.16s", hash_bytes_hex(vault->key, sizeof(vault->key), hex));
}

/* ---- the key ---- */

static int decode_key(const char *text, uint8_t key[VAULT_KEY_SIZE], struct err *err)
{
	auto_secret_buf struct buf bytes = BUF_INIT(KEY_TEXT);
	size_t len = strcspn(text, "\n");

	if (base64_decode(text, len, &bytes, NULL) < 0 || bytes.len != VAULT_KEY_SIZE)
		return err_set(err, ERR_INVALID, VAULT_FILE ": not a key of %d bytes in base64",
		               VAULT_KEY_SIZE);
	memcpy(key, bytes.data, VAULT_KEY_SIZE);
	return 0;
}

static int write_key(int dir_fd, const char *text, struct err *err)
{
	return fs_write_durable(dir_fd, VAULT_FILE, text, strlen(text), 0600, err);
}

char *vault_export(const struct vault *vault, struct err *err)
{
	struct buf text = BUF_INIT(KEY_TEXT);

	if (!vault->known)
		return NULL;
	base64_encode(vault->key, sizeof(vault->key), &text);
	return buf_take(&text, err);
}

int vault_import(int dir_fd, const char *text, struct err *err)
{
	uint8_t key[VAULT_KEY_SIZE];

	if (decode_key(text, key, err) < 0)
		return -1;
	explicit_bzero(key, sizeof(key));
	return write_key(dir_fd, text, err);
}

static int make_key(int dir_fd, struct vault *vault, struct err *err)
{
	if (gnutls_rnd(GNUTLS_RND_KEY, vault->key, sizeof(vault->key)) < 0)
		return err_set(err, ERR_SYSTEM, "no random numbers for the key of secrets");
	vault->known = true;
	auto_secret_text char *text = vault_export(vault, err);
	return text ? write_key(dir_fd, text, err) : -1;
}

int vault_open(int dir_fd, bool create, struct vault *vault, struct err *err)
{
	auto_secret_buf struct buf text = BUF_INIT(KEY_TEXT);

	*vault = (struct vault){0};
	if (!fs_exists(dir_fd, VAULT_FILE))
		return create ? make_key(dir_fd, vault, err) : 0;
	if (fs_read(dir_fd, VAULT_FILE, KEY_TEXT, &text, err) < 0 ||
	    decode_key(buf_str(&text), vault->key, err) < 0)
		return -1;
	vault->known = true;
	return 0;
}

void vault_done(struct vault *vault)
{
	explicit_bzero(vault, sizeof(*vault));
}

/* ---- texts ---- */

static int crypto_failed(int rc, const char *what, struct err *err)
{
	return err_set(err, ERR_SYSTEM, "cannot %s a secret: %s", what, gnutls_strerror(rc));
}

static int begin(const struct vault *vault, gnutls_aead_cipher_hd_t *cipher, struct err *err)
{
	gnutls_datum_t key = {.data = (uint8_t *)vault->key, .size = VAULT_KEY_SIZE};

	if (!vault->known)
		return err_set(err, ERR_UNAVAILABLE,
		               "this manager has no key for secrets and configs: copy "
		               "cluster/" VAULT_FILE " from another manager and restart buoyd");
	int rc = gnutls_aead_cipher_init(cipher, GNUTLS_CIPHER_AES_256_GCM, &key);
	return rc < 0 ? crypto_failed(rc, "use the key of", err) : 0;
}

/* nonce, then the sealed bytes with their tag: `room` bytes, as many as that takes. */
static int seal(const struct vault *vault, const char *label, const struct buf *plain, uint8_t *out,
                size_t room, struct err *err)
{
	gnutls_aead_cipher_hd_t cipher;
	size_t len = room - NONCE_SIZE;

	if (begin(vault, &cipher, err) < 0)
		return -1;
	int rc = gnutls_rnd(GNUTLS_RND_NONCE, out, NONCE_SIZE);
	if (rc >= 0)
		rc = gnutls_aead_cipher_encrypt(cipher, out, NONCE_SIZE, label, strlen(label),
		                                TAG_SIZE, plain->data, plain->len, out + NONCE_SIZE,
		                                &len);
	gnutls_aead_cipher_deinit(cipher);
	return rc < 0 ? crypto_failed(rc, "seal", err) : 0;
}

int vault_seal(const struct vault *vault, const char *label, const void *data, size_t len,
               char **text, struct err *err)
{
	const struct buf plain = {.data = (char *)data, .len = len};
	size_t room = NONCE_SIZE + len + TAG_SIZE;
	struct buf out = BUF_INIT(VAULT_TEXT_MAX);
	char id[ID_SIZE];

	if (len > VAULT_TEXT_MAX / 2)
		return err_set(err, ERR_LIMIT, "%zu bytes are too many to be sealed", len);
	auto_free uint8_t *sealed = malloc(room);
	if (!sealed)
		return err_nomem(err);
	if (seal(vault, label, &plain, sealed, room, err) < 0)
		return -1;
	name_key(vault, id);
	buf_addf(&out, PREFIX "%s:", id);
	base64_encode(sealed, room, &out);
	*text = buf_take(&out, err);
	return *text ? 0 : -1;
}

static int unseal(const struct vault *vault, const char *label, const struct buf *sealed,
                  struct buf *out, struct err *err)
{
	gnutls_aead_cipher_hd_t cipher;
	size_t len = sealed->len - NONCE_SIZE - TAG_SIZE, room = len;
	auto_free uint8_t *plain = malloc(room + 1);

	if (!plain)
		return err_nomem(err);
	if (begin(vault, &cipher, err) < 0)
		return -1;
	int rc = gnutls_aead_cipher_decrypt(cipher, sealed->data, NONCE_SIZE, label, strlen(label),
	                                    TAG_SIZE, sealed->data + NONCE_SIZE,
	                                    sealed->len - NONCE_SIZE, plain, &len);
	gnutls_aead_cipher_deinit(cipher);
	if (rc >= 0)
		buf_add_mem(out, plain, len);
	explicit_bzero(plain, room);
	if (rc < 0)
		return err_set(err, ERR_DENIED, "%s: what the store has was changed, or is not its",
		               label);
	return buf_check(out, err);
}

int vault_open_text(const struct vault *vault, const char *label, const char *text, struct buf *out,
                    struct err *err)
{
	auto_buf struct buf sealed = BUF_INIT(VAULT_TEXT_MAX);
	char id[ID_SIZE];
	const char *rest = text && str_starts(text, PREFIX) ? text + strlen(PREFIX) : NULL;

	if (!rest || strlen(rest) < ID_SIZE || rest[ID_SIZE - 1] != ':' ||
	    base64_decode(rest + ID_SIZE, strlen(rest) - ID_SIZE, &sealed, NULL) < 0 ||
	    sealed.len < NONCE_SIZE + TAG_SIZE)
		return err_set(err, ERR_DENIED, "%s: what the store has is no sealed text", label);
	name_key(vault, id);
	if (vault->known && strncmp(rest, id, ID_SIZE - 1) != 0)
		return err_set(err, ERR_UNAVAILABLE,
		               "%s was sealed with key %.16s, this manager has %s: copy "
		               "cluster/" VAULT_FILE " from the manager that has it",
		               label, rest, id);
	return unseal(vault, label, &sealed, out, err);
}
