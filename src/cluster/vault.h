/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * vault - the bytes of secrets and configs, as the store has them: sealed.
 *
 *	struct vault vault = {0};
 *	vault_open(dir_fd, true, &vault, err);               // the key in vault.key, made if missing
 *	vault_seal(&vault, "secret/db", data, len, &text, err);
 *	vault_open_text(&vault, "secret/db", text, &data, err);
 *	vault_done(&vault);
 *
 * AES-256-GCM with one key per cluster and a nonce of chance per text. The label goes into the seal, so that a
 * text that was moved to another name in the store does not open. The key is in a file of its own on each
 * manager's disk (VAULT_FILE, 0600) and never in the store: whoever reads etcd, cluster.db or a copy
 * of them reads no secret. Managers that join get it over the cluster's TLS.
 *
 * A sealed text names its key by a digest, so that a wrong key is said to be one. Nothing here blocks but
 * for the file, or keeps state.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;

#define VAULT_FILE     "vault.key"
#define VAULT_KEY_SIZE 32
#define VAULT_TEXT_MAX (2u << 20) /* bytes of a sealed text */

struct vault {
	bool known; /* there is a key */
	uint8_t key[VAULT_KEY_SIZE];
};

/* Reads the key from the directory. Without one: a new one is written there if `create`, else
 * vault->known stays false and 0 is returned. */
int vault_open(int dir_fd, bool create, struct vault *vault, struct err *err);
void vault_done(struct vault *vault); /* wipes it */

/* The key as text, to be handed to another manager; owned, and the caller wipes it. NULL: there is none. */
char *vault_export(const struct vault *vault, struct err *err);
/* Writes such a text to the directory. ERR_INVALID when it is none. */
int vault_import(int dir_fd, const char *text, struct err *err);

/* *text is owned by the caller. ERR_UNAVAILABLE without a key. */
int vault_seal(const struct vault *vault, const char *label, const void *data, size_t len,
               char **text, struct err *err);
/* Appends the bytes to out, which the caller wipes. ERR_UNAVAILABLE: sealed with a key that we do not have;
 * ERR_DENIED: changed since, or sealed under another label. */
int vault_open_text(const struct vault *vault, const char *label, const char *text, struct buf *out,
                    struct err *err);

/* For buffers and texts that held a secret; accepts NULL. */
void vault_wipe_buf(struct buf *b); /* and frees it */
void vault_wipe_text(char *text);   /* likewise */
