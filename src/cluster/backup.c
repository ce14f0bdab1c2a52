/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/backup.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "cluster/address.h"
#include "cluster/ca.h"
#include "cluster/vault.h"

#define FORMAT     "buoy-cluster-backup"
#define VERSION    1
#define ABOUT      "about"
#define END        "end"
#define SUM        "sha256 "
#define SUM_LINE   (sizeof(SUM) - 1 + HASH_HEX_MAX) /* with its newline */
#define PIECE      (512u << 10)
#define SALT_SIZE  16
#define ROUNDS     600000
#define ROUNDS_MAX 10000000
#define EPOCH_STEP (INT64_C(1) << 40)
#define LABEL_MAX  64

#define auto_secret_buf __attribute__((cleanup(vault_wipe_buf)))

/* ---- sealing ---- */

static int derive(const char *passphrase, const struct buf *salt, int64_t rounds,
                  struct vault *vault, struct err *err)
{
	gnutls_datum_t key = {(unsigned char *)passphrase, (unsigned)strlen(passphrase)};
	gnutls_datum_t from = {(unsigned char *)salt->data, (unsigned)salt->len};

	vault->known = gnutls_pbkdf2(GNUTLS_MAC_SHA256, &key, &from, (unsigned)rounds, vault->key,
	                             sizeof(vault->key)) >= 0;
	return vault->known ? 0 : err_set(err, ERR_SYSTEM, "no key from the passphrase");
}

/* The piece's place and whether more follow are part of its seal: none can be left out or exchanged. */
static void label_of(size_t number, bool last, char label[LABEL_MAX])
{
	snprintf(label, LABEL_MAX, "backup/%zu%s", number, last ? "/last" : "");
}

static int seal_all(const struct vault *vault, const struct buf *body, struct buf *out,
                    struct err *err)
{
	for (size_t at = 0, number = 0; at < body->len; at += PIECE, number++) {
		size_t len = body->len - at < PIECE ? body->len - at : PIECE;
		auto_free char *text = NULL;
		char label[LABEL_MAX];

		label_of(number, at + len == body->len, label);
		if (vault_seal(vault, label, body->data + at, len, &text, err) < 0)
			return -1;
		buf_addf(out, "%s\n", text);
	}
	return buf_check(out, err);
}

/* `text` ends with a newline. */
static int open_all(const struct vault *vault, char *text, struct buf *out, struct err *err)
{
	char *end;

	for (size_t number = 0; (end = strchr(text, '\n')) != NULL; text = end + 1, number++) {
		struct err why = ERR_INIT;
		char label[LABEL_MAX];

		*end = '\0';
		label_of(number, end[1] == '\0', label);
		if (vault_open_text(vault, label, text, out, &why) < 0)
			return err_set(err, ERR_DENIED,
			               "the passphrase is another one, or the backup was changed");
	}
	return 0;
}

/* ---- writing ---- */

struct writer {
	struct buf *body;
	size_t count;
};

static int add_line(struct buf *body, struct json *doc, struct err *err)
{
	auto_type(json) line = doc;
	int rc = json_write(line, body, err);

	buf_add(body, "\n");
	return rc < 0 ? -1 : buf_check(body, err);
}

static int add_object(void *arg, const struct store_object *object, struct err *err)
{
	struct writer *w = arg;
	struct json *doc = json_object();

	w->count++;
	json_set(doc, "Kind", json_string(store_kind_name(object->kind)));
	json_set(doc, "ID", json_string(object->id));
	auto_free char *text = strndup(object->text, object->len);
	if (!text) {
		json_free(doc);
		return err_nomem(err);
	}
	json_set(doc, "Text", json_string(text));
	return add_line(w->body, doc, err);
}

static int write_about(struct store *store, const struct backup_about *about, struct buf *body,
                       struct err *err)
{
	struct json *doc = json_object();
	char *key = about->vault->known ? vault_export(about->vault, err) : NULL;

	json_set(doc, "Kind", json_string(ABOUT));
	json_set(doc, "Epoch", json_int(store_epoch(store)));
	json_set(doc, "Store", json_string(about->store));
	if (key)
		json_set(doc, "VaultKey", json_string(key));
	vault_wipe_text(key);
	return add_line(body, doc, err);
}

static int write_body(struct store *store, const struct backup_about *about, struct buf *body,
                      struct err *err)
{
	struct writer w = {.body = body};
	struct json *end = NULL;

	if (write_about(store, about, body, err) < 0)
		return -1;
	for (int kind = 0; kind < STORE_KINDS; kind++)
		if (store_list(store, (enum store_kind)kind, add_object, &w, err) < 0)
			return -1;
	end = json_object();
	json_set(end, "Kind", json_string(END));
	json_set(end, "Count", json_int((int64_t)w.count));
	return add_line(body, end, err);
}

static int write_head(const struct backup_about *about, const struct buf *salt, struct buf *out,
                      struct err *err)
{
	auto_buf struct buf text = BUF_INIT(256);
	struct json *doc = json_object();
	char stamp[CLOCK_TEXT_MAX];

	json_set(doc, "Format", json_string(FORMAT));
	json_set(doc, "Version", json_int(VERSION));
	json_set(doc, "Created", json_string(clock_format(clock_wall_ns(), stamp)));
	json_set(doc, "ClusterID", json_string(about->cluster_id));
	if (salt) {
		base64_encode(salt->data, salt->len, &text);
		json_set(doc, "Salt", json_string(buf_str(&text)));
		json_set(doc, "Rounds", json_int(ROUNDS));
	}
	return add_line(out, doc, err);
}

static int write_sealed(const struct backup_about *about, const struct buf *body,
                        const char *passphrase, struct buf *out, struct err *err)
{
	char bytes[SALT_SIZE];
	struct buf salt = {.data = bytes, .len = sizeof(bytes)};
	struct vault vault = {0};

	if (gnutls_rnd(GNUTLS_RND_NONCE, bytes, sizeof(bytes)) < 0)
		return err_set(err, ERR_SYSTEM, "no random numbers");
	int rc = write_head(about, &salt, out, err);
	if (rc == 0)
		rc = derive(passphrase, &salt, ROUNDS, &vault, err);
	if (rc == 0)
		rc = seal_all(&vault, body, out, err);
	vault_done(&vault);
	return rc;
}

int backup_write(struct store *store, const struct backup_about *about, const char *passphrase,
                 struct buf *out, struct err *err)
{
	auto_secret_buf struct buf body = BUF_INIT(BACKUP_MAX);
	char hex[HASH_HEX_MAX];
	int rc = write_body(store, about, &body, err);

	if (rc < 0)
		return -1;
	if (str_empty(passphrase)) {
		rc = write_head(about, NULL, out, err);
		buf_add_mem(out, body.data, body.len);
	} else {
		rc = write_sealed(about, &body, passphrase, out, err);
	}
	if (rc < 0 || buf_check(out, err) < 0)
		return -1;
	buf_addf(out, SUM "%s\n", hash_bytes_hex(out->data, out->len, hex));
	return buf_check(out, err);
}

/* ---- reading ---- */

static int damaged(struct err *err, const char *how)
{
	return err_set(err, ERR_INVALID, "not a backup of a cluster, or damaged: %s", how);
}

/* The length of what the sum is of. */
static int check_sum(const char *text, size_t len, size_t *summed, struct err *err)
{
	char hex[HASH_HEX_MAX];

	if (len < SUM_LINE || len > BACKUP_MAX || memchr(text, '\0', len))
		return damaged(err, "no checksum at its end");
	*summed = len - SUM_LINE;
	const char *sum = text + *summed;
	if (!str_starts(sum, SUM) || text[len - 1] != '\n')
		return damaged(err, "no checksum at its end");
	hash_bytes_hex(text, *summed, hex);
	return strncmp(sum + strlen(SUM), hex, HASH_HEX_MAX - 1) == 0
	               ? 0
	               : damaged(err, "its checksum is another one");
}

static int check_head(const struct json *head, struct err *err)
{
	if (!str_eq(json_get_string(head, "Format"), FORMAT) ||
	    str_empty(json_get_string(head, "ClusterID")))
		return damaged(err, "its first line is of something else");
	if (json_get_int(head, "Version", 0) != VERSION)
		return err_set(err, ERR_UNSUPPORTED,
		               "the backup has version %lld, this program reads %d",
		               (long long)json_get_int(head, "Version", 0), VERSION);
	return 0;
}

static int open_sealed(const struct json *head, const char *passphrase, char *text, struct buf *out,
                       struct err *err)
{
	auto_buf struct buf salt = BUF_INIT(256);
	const char *salt_text = json_get_string(head, "Salt");
	int64_t rounds = json_get_int(head, "Rounds", 0);
	struct vault vault = {0};

	if (str_empty(passphrase))
		return err_set(err, ERR_DENIED, "the backup is sealed: a passphrase is needed");
	if (base64_decode(salt_text, strlen(salt_text), &salt, NULL) < 0 || rounds < 1 ||
	    rounds > ROUNDS_MAX)
		return damaged(err, "how it was sealed");
	int rc = derive(passphrase, &salt, rounds, &vault, err);
	if (rc == 0)
		rc = open_all(&vault, text, out, err);
	vault_done(&vault);
	return rc;
}

static int kind_of(const char *name)
{
	for (int kind = 0; kind < STORE_KINDS; kind++)
		if (str_eq(name, store_kind_name((enum store_kind)kind)))
			return kind;
	return -1;
}

static int take_text(char **to, const char *from, struct err *err)
{
	*to = from ? strdup(from) : NULL;
	return !from || *to ? 0 : err_nomem(err);
}

static int take_object(struct backup *b, const struct json *doc, struct err *err)
{
	const char *id = json_get_string(doc, "ID"), *text = json_get_string(doc, "Text");
	int kind = kind_of(json_get_string(doc, "Kind"));

	if (kind < 0 || str_empty(id) || !text)
		return damaged(err, "a line without kind, id or text");
	struct backup_item *items = realloc(b->items, (b->count + 1) * sizeof(*items));
	if (!items)
		return err_nomem(err);
	b->items = items;
	struct backup_item *item = &items[b->count++];
	*item = (struct backup_item){.kind = (enum store_kind)kind};
	if (take_text(&item->id, id, err) < 0)
		return -1;
	return take_text(&item->text, text, err);
}

/* 1: it was the last. */
static int take_line(struct backup *b, const char *line, size_t len, struct err *err)
{
	auto_type(json) doc = json_parse(line, len, NULL);
	const char *kind = json_get_string(doc, "Kind");

	if (!doc || !kind)
		return damaged(err, "a line that is no object");
	if (str_eq(kind, END))
		return json_get_int(doc, "Count", -1) == (int64_t)b->count
		               ? 1
		               : damaged(err, "not all of its objects are there");
	if (!str_eq(kind, ABOUT))
		return take_object(b, doc, err);
	b->epoch = json_get_int(doc, "Epoch", 0);
	snprintf(b->store, sizeof(b->store), "%.7s",
	         json_get_string(doc, "Store") ? json_get_string(doc, "Store") : "");
	return take_text(&b->vault_key, json_get_string(doc, "VaultKey"), err);
}

static int take_body(struct backup *b, const char *text, struct err *err)
{
	const char *end;
	int rc = 0;

	for (; rc == 0 && (end = strchr(text, '\n')) != NULL; text = end + 1)
		rc = take_line(b, text, (size_t)(end - text), err);
	if (rc == 0)
		return damaged(err, "it has no end");
	return rc < 0 ? -1 : 0;
}

static int read_all(const char *text, size_t summed, const char *passphrase, struct backup *out,
                    struct err *err)
{
	auto_secret_buf struct buf copy = BUF_INIT(BACKUP_MAX), body = BUF_INIT(BACKUP_MAX);

	buf_add_mem(&copy, text, summed);
	if (buf_check(&copy, err) < 0)
		return -1;
	char *first_end = strchr(buf_str(&copy), '\n');
	if (!first_end)
		return damaged(err, "it has no first line");
	auto_type(json) head = json_parse(copy.data, (size_t)(first_end - copy.data), NULL);
	if (check_head(head, err) < 0)
		return -1;
	snprintf(out->cluster_id, sizeof(out->cluster_id), "%.31s",
	         json_get_string(head, "ClusterID"));
	if (!json_get_string(head, "Salt"))
		return take_body(out, first_end + 1, err);
	if (open_sealed(head, passphrase, first_end + 1, &body, err) < 0)
		return -1;
	return take_body(out, buf_str(&body), err);
}

int backup_read(const char *text, size_t len, const char *passphrase, struct backup *out,
                struct err *err)
{
	size_t summed;

	*out = (struct backup){0};
	if (check_sum(text, len, &summed, err) < 0)
		return -1;
	if (read_all(text, summed, passphrase, out, err) == 0)
		return 0;
	backup_done(out);
	return -1;
}

void backup_done(struct backup *b)
{
	for (size_t i = 0; i < b->count; i++) {
		free(b->items[i].id);
		vault_wipe_text(b->items[i].text);
	}
	free(b->items);
	vault_wipe_text(b->vault_key);
	*b = (struct backup){0};
}

/* ---- using ---- */

int backup_ca(const struct backup *b, struct ca_identity *ca, struct err *err)
{
	for (size_t i = 0; i < b->count; i++) {
		if (b->items[i].kind != STORE_CLUSTER)
			continue;
		const char *text = b->items[i].text;
		auto_type(json) doc = json_parse(text, strlen(text), err);
		const char *cert = json_get_string(json_get(doc, "TLSInfo"), "TrustRoot");
		const char *key = json_get_string(json_get(doc, "Secret"), CA_KEY_FIELD);

		if (!cert || !key)
			break;
		if (take_text(&ca->cert, cert, err) < 0)
			return -1;
		return take_text(&ca->key, key, err);
	}
	return damaged(err, "it has no CA");
}

static void make_manager(struct json *node, const char *addr)
{
	struct json *status = json_object();

	json_set(status, "Leader", json_bool(true));
	json_set(status, "Reachability", json_string("reachable"));
	json_set(status, "Addr", json_string(addr));
	json_set(node, "ManagerStatus", status);
	json_set(json_get(node, "Spec"), "Role", json_string("manager"));
}

static int put_node(struct json *node, const char *id, struct store_tx *tx, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(BACKUP_MAX);

	if (json_write(node, &text, err) < 0)
		return -1;
	store_put(tx, STORE_NODE, id, STORE_NEW, text.data, text.len);
	return 0;
}

static int put_known(const struct backup_item *item, const struct backup_manager *manager,
                     struct store_tx *tx, struct err *err)
{
	auto_type(json) node = json_parse(item->text, strlen(item->text), err);

	if (!node)
		return -1;
	if (str_eq(item->id, manager->node_id)) {
		make_manager(node, manager->addr);
	} else if (json_is_object(json_get(node, "ManagerStatus"))) {
		json_set(node, "ManagerStatus", json_null());
		json_set(json_get(node, "Spec"), "Role", json_string("worker"));
	}
	return put_node(node, item->id, tx, err);
}

static int put_new(const struct backup_manager *manager, struct store_tx *tx, struct err *err)
{
	auto_type(json) node = json_object();
	struct json *spec = json_object(), *status = json_object();
	char stamp[CLOCK_TEXT_MAX], host[ADDRESS_MAX];

	if (address_host(manager->addr, host, err) < 0) {
		json_free(spec);
		json_free(status);
		return -1;
	}
	clock_format(clock_wall_ns(), stamp);
	json_set(spec, "Availability", json_string("active"));
	json_set(status, "State", json_string("unknown"));
	json_set(status, "Addr", json_string(host));
	json_set(node, "ID", json_string(manager->node_id));
	json_set(node, "CreatedAt", json_string(stamp));
	json_set(node, "UpdatedAt", json_string(stamp));
	json_set(node, "Spec", spec);
	json_set(node, "Status", status);
	make_manager(node, manager->addr);
	return put_node(node, manager->node_id, tx, err);
}

int backup_put(const struct backup *b, const struct backup_manager *manager, struct store_tx *tx,
               struct err *err)
{
	bool known = false;

	for (size_t i = 0; i < b->count; i++) {
		const struct backup_item *item = &b->items[i];

		if (item->kind != STORE_NODE) {
			store_put(tx, item->kind, item->id, STORE_NEW, item->text,
			          strlen(item->text));
			continue;
		}
		known = known || str_eq(item->id, manager->node_id);
		if (put_known(item, manager, tx, err) < 0)
			return -1;
	}
	return known ? 0 : put_new(manager, tx, err);
}

int64_t backup_epoch_base(const struct backup *b)
{
	return (b->epoch / EPOCH_STEP + 1) * EPOCH_STEP;
}
