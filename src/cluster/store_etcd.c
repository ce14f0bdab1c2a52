/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_etcd - objects as keys of etcd. See store.h and etcd.h.
 *
 * `head` holds "REVISION NONCE [CHUNKS]": our revision, which rises by one with each commit. Every
 * commit compares two things inside etcd: that the leader's key is still of our epoch, and that head is
 * as we saw it last. So what we know of versions from reading is true as long as our commits go
 * through, a commit that reaches etcd twice happens once, and one whose answer was lost is found
 * again by its nonce. An object's value is "VERSION\nTEXT".
 *
 * etcd takes 128 operations and 1.5 MiB a transaction. A larger commit is first laid down in chunks
 * below redo/NONCE/; the transaction that changes head to name them is the moment it happens.
 * Then its objects are put in place, which whoever opens the store next does again if need be.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "base/json.h"
#include "base/map.h"
#include "base/str.h"
#include "cluster/etcd_state.h"
#include "cluster/store_driver.h"

#define HEAD        "head"
#define LEADER      "leader"
#define EPOCH_BASE  "epoch-base"
#define NAME_MAX_   200 /* KIND/ID */
#define OPS_MAX     120
#define BYTES_MAX   (700u << 10)
#define VALUE_MAX   (64u << 20)
#define PAGE        500
#define NONCE_BYTES 8

struct etcd_store {
	struct etcd *etcd; /* owned */
	int64_t epoch;
	int64_t head_mod;                /* mod_revision of head, as last seen; 0: there is none */
	int64_t revision;                /* what head says */
	char nonce[2 * NONCE_BYTES + 1]; /* and of which commit */
	int64_t chunks;                  /* of it that may not be in place yet */
	struct map *versions;            /* of objects by KIND/ID, as numbers */
	bool listed[STORE_KINDS];        /* versions knows all of the kind */
	/* What was read when the store was opened: until it is used up, asked for again, or changed. No
	 * other may change it. */
	struct json *first;
};

static int name_of(enum store_kind kind, const char *id, char out[NAME_MAX_], struct err *err)
{
	int n = snprintf(out, NAME_MAX_, "o/%s/%s", store_kind_name(kind), id);

	return n > 0 && n < NAME_MAX_ ? 0 : err_set(err, ERR_INVALID, "the id is too long");
}

static void drop_first(struct etcd_store *s)
{
	json_free(s->first);
	s->first = NULL;
}

static void forget_versions(struct etcd_store *s)
{
	drop_first(s);
	map_free(s->versions);
	s->versions = NULL;
	memset(s->listed, 0, sizeof(s->listed));
}

static int learn(struct etcd_store *s, const char *name, int64_t version, struct err *err)
{
	if (!s->versions)
		s->versions = map_create(err);
	if (!s->versions)
		return -1;
	if (version == 0) {
		map_remove(s->versions, name);
		return 0;
	}
	return map_set(s->versions, name, (void *)(intptr_t)version, NULL, err);
}

/* ---- values ---- */

static void set_value(struct json *put, int64_t version, const char *text, size_t len)
{
	auto_buf struct buf value = BUF_INIT(VALUE_MAX);

	buf_addf(&value, "%lld\n", (long long)version);
	buf_add_mem(&value, text, len);
	etcd_set_bytes(put, "value", buf_str(&value), value.len);
}

/* Where the text of a value begins. */
static int split_value(const struct buf *value, int64_t *version, size_t *at, struct err *err)
{
	const char *text = buf_str(value), *end = memchr(text, '\n', value->len);

	*version = strtoll(text, NULL, 10);
	if (!end || *version <= 0)
		return err_set(err, ERR_INTERNAL, "etcd holds a value that is not of this store");
	*at = (size_t)(end - text) + 1;
	return 0;
}

static struct json *put_op(struct etcd_store *s, const char *name, int64_t version,
                           const char *text, size_t len)
{
	struct json *put = json_object(), *op = json_object();

	etcd_set_key(s->etcd, put, "key", name);
	set_value(put, version, text, len);
	json_set(op, "request_put", put);
	return op;
}

static struct json *remove_op(struct etcd_store *s, const char *name, bool all)
{
	struct json *range = json_object(), *op = json_object();

	etcd_set_key(s->etcd, range, "key", name);
	if (all)
		etcd_set_end(s->etcd, range, name);
	json_set(op, "request_delete_range", range);
	return op;
}

static struct json *head_op(struct etcd_store *s, int64_t revision, const char *nonce,
                            int64_t chunks)
{
	struct json *put = json_object(), *op = json_object();
	char text[96];

	snprintf(text, sizeof(text), "%lld %s %lld", (long long)revision, nonce, (long long)chunks);
	etcd_set_key(s->etcd, put, "key", HEAD);
	etcd_set_bytes(put, "value", text, strlen(text));
	json_set(op, "request_put", put);
	return op;
}

/* ---- head ---- */

/* "REVISION NONCE CHUNKS". */
static bool split_head(const char *text, int64_t *revision, char nonce[2 * NONCE_BYTES + 1],
                       int64_t *chunks)
{
	char *end;

	*revision = strtoll(text, &end, 10);
	size_t len = *end == ' ' ? strcspn(end + 1, " ") : 0;
	if (end == text || len == 0 || len > 2 * NONCE_BYTES || end[1 + len] != ' ')
		return false;
	memcpy(nonce, end + 1, len);
	nonce[len] = '\0';
	const char *last = end + 1 + len;
	*chunks = strtoll(last, &end, 10);
	return end != last && *end == '\0';
}

static int read_entry(struct etcd_store *s, const struct json *entry, struct err *err)
{
	auto_buf struct buf value = BUF_INIT(ETCD_KEY_MAX);
	int64_t revision = 0, chunks = 0;
	char nonce[2 * NONCE_BYTES + 1] = "";

	if (entry && etcd_bytes(entry, "value", &value, err) < 0)
		return -1;
	if (entry && !split_head(buf_str(&value), &revision, nonce, &chunks))
		return err_set(err, ERR_INTERNAL, "etcd's head is not of this store");
	int64_t mod = etcd_number(entry, "mod_revision");
	if (mod != s->head_mod)
		forget_versions(s);
	s->head_mod = mod;
	s->revision = revision;
	s->chunks = chunks;
	snprintf(s->nonce, sizeof(s->nonce), "%s", nonce);
	return 0;
}

static int read_head(struct etcd_store *s, struct err *err)
{
	struct json *body = json_object();

	etcd_set_key(s->etcd, body, "key", HEAD);
	auto_type(json) reply = etcd_call(s->etcd, "kv/range", body, err);
	return reply ? read_entry(s, json_at(json_get(reply, "kvs"), 0), err) : -1;
}

/* ---- transactions ---- */

/* 1: done, *mod is etcd's revision; 0: a newer leader, or head is not as we knew it; -1. */
static int run(struct etcd_store *s, struct json *ops, bool with_head, int64_t *mod,
               struct err *err)
{
	struct json *body = json_object(), *compare = json_array();

	json_append(compare, etcd_compare(s->etcd, LEADER, true, s->epoch));
	if (with_head)
		json_append(compare, etcd_compare(s->etcd, HEAD, false, s->head_mod));
	json_set(body, "compare", compare);
	json_set(body, "success", ops);
	auto_type(json) reply = etcd_call(s->etcd, "kv/txn", body, err);
	if (!reply)
		return -1;
	*mod = etcd_revision_of(reply);
	return json_get_bool(reply, "succeeded", false);
}

/* Who leads now, if not we. */
static int explain(struct etcd_store *s, struct err *err)
{
	auto_buf struct buf who = BUF_INIT(VALUE_MAX);
	int64_t epoch = 0, revision;

	int leads = etcd_holder(s->etcd, &who, &epoch, &revision, err);
	if (leads == 0)
		return err_set(err, ERR_DENIED, "the leadership of epoch %lld has lapsed",
		               (long long)s->epoch);
	if (leads < 0 || store_check_epoch(s->epoch, epoch, err) < 0)
		return -1;
	forget_versions(s);
	return err_set(err, ERR_UNAVAILABLE, "the store changed behind us: read again");
}

static int run_fenced(struct etcd_store *s, struct json *ops, int64_t *mod, struct err *err)
{
	int rc = run(s, ops, false, mod, err);

	return rc == 0 ? explain(s, err) : rc < 0 ? -1 : 0;
}

/* ---- large commits ---- */

/* Objects of a chunk: [{"N": name, "T": text}, ...]; no T: remove. */
static int put_in_place(struct etcd_store *s, const struct json *chunk, struct err *err)
{
	struct json *ops = json_array();
	size_t bytes = 0, count = 0;
	int64_t mod;

	for (size_t i = 0; i < json_count(chunk); i++) {
		const struct json *item = json_at(chunk, i);
		const char *name = json_get_string(item, "N"), *text = json_get_string(item, "T");

		json_append(ops, text ? put_op(s, name, s->revision, text, strlen(text))
		                      : remove_op(s, name, false));
		bytes += text ? strlen(text) : 0;
		if (++count < OPS_MAX && bytes < BYTES_MAX)
			continue;
		if (run_fenced(s, ops, &mod, err) < 0)
			return -1;
		ops = json_array();
		bytes = count = 0;
	}
	if (count == 0) {
		json_free(ops);
		return 0;
	}
	return run_fenced(s, ops, &mod, err);
}

static int place_chunk(struct etcd_store *s, int64_t number, struct err *err)
{
	auto_buf struct buf value = BUF_INIT(VALUE_MAX);
	struct json *body = json_object();
	char name[64];

	snprintf(name, sizeof(name), "redo/%s/%lld", s->nonce, (long long)number);
	etcd_set_key(s->etcd, body, "key", name);
	auto_type(json) reply = etcd_call(s->etcd, "kv/range", body, err);
	const struct json *entry = json_at(json_get(reply, "kvs"), 0);
	if (!reply || (entry && etcd_bytes(entry, "value", &value, err) < 0))
		return -1;
	if (!entry)
		return err_set(err, ERR_INTERNAL, "etcd lost a piece of commit %s", s->nonce);
	auto_type(json) chunk = json_parse(buf_str(&value), value.len, err);
	return chunk ? put_in_place(s, chunk, err) : -1;
}

/* What the last large commit left to do. */
static int settle(struct etcd_store *s, struct err *err)
{
	int64_t mod;

	if (s->chunks == 0)
		return 0;
	for (int64_t i = 0; i < s->chunks; i++)
		if (place_chunk(s, i, err) < 0)
			return -1;
	struct json *ops = json_array();
	json_append(ops, head_op(s, s->revision, s->nonce, 0));
	json_append(ops, remove_op(s, "redo/", true));
	int rc = run(s, ops, true, &mod, err);
	if (rc <= 0)
		return rc < 0 ? -1 : explain(s, err);
	s->head_mod = mod;
	s->chunks = 0;
	return 0;
}

static int lay_down(struct etcd_store *s, const char *nonce, int64_t number, struct json *chunk,
                    struct err *err)
{
	auto_type(json) owned = chunk;
	auto_buf struct buf text = BUF_INIT(VALUE_MAX);
	struct json *put = json_object(), *op = json_object(), *ops = json_array();
	char name[64];
	int64_t mod;

	snprintf(name, sizeof(name), "redo/%s/%lld", nonce, (long long)number);
	if (json_write(chunk, &text, err) == 0)
		etcd_set_bytes(put, "value", buf_str(&text), text.len);
	etcd_set_key(s->etcd, put, "key", name);
	json_set(op, "request_put", put);
	json_append(ops, op);
	return run_fenced(s, ops, &mod, err);
}

static int lay_down_all(struct etcd_store *s, const struct store_op *ops, const char *nonce,
                        int64_t *chunks, struct err *err)
{
	struct json *chunk = json_array();
	size_t bytes = 0;

	*chunks = 0;
	for (const struct store_op *op = ops; op; op = op->next) {
		struct json *item = json_object();
		char name[NAME_MAX_] = "";

		(void)name_of(op->kind, op->id, name, NULL);
		json_set(item, "N", json_string(name));
		if (!op->remove)
			json_set(item, "T", json_string(op->text));
		if (json_append(chunk, item) < 0) {
			json_free(chunk);
			return err_nomem(err);
		}
		bytes += op->len + sizeof(name);
		if (bytes < BYTES_MAX && op->next)
			continue;
		if (lay_down(s, nonce, (*chunks)++, chunk, err) < 0)
			return -1;
		chunk = json_array();
		bytes = 0;
	}
	json_free(chunk);
	return 0;
}

/* ---- reading ---- */

static int visit(struct etcd_store *s, const struct json *entry, enum store_kind kind,
                 const struct store_visitor *visitor, struct err *err)
{
	auto_buf struct buf key = BUF_INIT(ETCD_KEY_MAX), value = BUF_INIT(VALUE_MAX);
	struct store_object object = {.kind = kind};
	size_t at, skip = strlen(s->etcd->prefix);

	if (etcd_bytes(entry, "key", &key, err) < 0 ||
	    etcd_bytes(entry, "value", &value, err) < 0 ||
	    split_value(&value, &object.version, &at, err) < 0)
		return -1;
	const char *name = buf_str(&key) + skip;
	object.id = strrchr(name, '/') + 1;
	object.text = buf_str(&value) + at;
	object.len = value.len - at;
	if (learn(s, name, object.version, err) < 0)
		return -1;
	return visitor ? visitor->fn(visitor->arg, &object, err) : 0;
}

static int etcd_store_get(void *state, enum store_kind kind, const char *id,
                          const struct store_visitor *visitor, struct err *err)
{
	struct etcd_store *s = state;
	struct json *body = json_object();
	char name[NAME_MAX_];

	if (settle(s, err) < 0 || name_of(kind, id, name, err) < 0) {
		json_free(body);
		return -1;
	}
	etcd_set_key(s->etcd, body, "key", name);
	auto_type(json) reply = etcd_call(s->etcd, "kv/range", body, err);
	const struct json *entry = json_at(json_get(reply, "kvs"), 0);
	if (!reply)
		return -1;
	if (!entry)
		return 0;
	return visit(s, entry, kind, visitor, err) < 0 ? -1 : 1;
}

/* Everything in one request, as far as it goes: whoever takes over is waited for. */
static int read_first(struct etcd_store *s, struct err *err)
{
	struct json *body = json_object(), *compare = json_array(), *ops = json_array();
	char prefix[NAME_MAX_] = "";

	json_append(compare, etcd_compare(s->etcd, LEADER, true, s->epoch));
	json_append(ops, etcd_read(s->etcd, HEAD));
	for (int kind = 0; kind < STORE_KINDS; kind++) {
		struct json *range = json_object(), *op = json_object();

		(void)name_of((enum store_kind)kind, "", prefix, NULL);
		etcd_set_key(s->etcd, range, "key", prefix);
		etcd_set_end(s->etcd, range, prefix);
		etcd_set_number(range, "limit", PAGE);
		json_set(op, "request_range", range);
		json_append(ops, op);
	}
	json_set(body, "compare", compare);
	json_set(body, "success", ops);
	auto_type(json) reply = etcd_call(s->etcd, "kv/txn", body, err);
	if (!reply)
		return -1;
	if (!json_get_bool(reply, "succeeded", false))
		return explain(s, err);
	const struct json *head =
		json_get(json_at(json_get(reply, "responses"), 0), "response_range");
	if (read_entry(s, json_at(json_get(head, "kvs"), 0), err) < 0)
		return -1;
	s->first = s->chunks == 0 ? move_ptr(reply) : NULL;
	return settle(s, err);
}

/* The first page of a kind as it was read then, once. */
static struct json *take_first(struct etcd_store *s, enum store_kind kind, int64_t *revision)
{
	struct json *page;

	if (!s->first)
		return NULL;
	page = json_get(json_at(json_get(s->first, "responses"), (size_t)kind + 1),
	                "response_range");
	if (s->listed[kind])
		drop_first(s);
	*revision = s->first ? etcd_revision_of(s->first) : 0;
	return s->first ? json_ref(page) : NULL;
}

/* One page; *from becomes the name behind its last key. The pages are all of one revision of etcd. */
static struct json *read_page(struct etcd_store *s, const char *prefix, const struct buf *from,
                              int64_t revision, struct err *err)
{
	struct json *body = json_object();

	if (from->len > 0)
		etcd_set_bytes(body, "key", from->data,
		               from->len + 1); /* with its NUL: behind it */
	else
		etcd_set_key(s->etcd, body, "key", prefix);
	etcd_set_end(s->etcd, body, prefix);
	etcd_set_number(body, "limit", PAGE);
	if (revision > 0)
		etcd_set_number(body, "revision", revision);
	return etcd_call(s->etcd, "kv/range", body, err);
}

static int etcd_store_list(void *state, enum store_kind kind, const struct store_visitor *visitor,
                           struct err *err)
{
	struct etcd_store *s = state;
	auto_buf struct buf from = BUF_INIT(ETCD_KEY_MAX);
	char prefix[NAME_MAX_];
	int64_t revision = 0;

	if (settle(s, err) < 0 || name_of(kind, "", prefix, err) < 0)
		return -1;
	for (bool more = true; more;) {
		auto_type(json) page = revision == 0 ? take_first(s, kind, &revision) : NULL;

		if (!page)
			page = read_page(s, prefix, &from, revision, err);
		if (!page)
			return -1;
		const struct json *entries = json_get(page, "kvs");
		size_t count = json_count(entries);
		if (revision == 0)
			revision = etcd_revision_of(page);
		for (size_t i = 0; i < count; i++)
			if (visit(s, json_at(entries, i), kind, visitor, err) < 0)
				return -1;
		more = json_get_bool(page, "more", false) && count > 0;
		buf_clear(&from);
		if (more && etcd_bytes(json_at(entries, count - 1), "key", &from, err) < 0)
			return -1;
	}
	s->listed[kind] = true;
	return 0;
}

static int etcd_store_revision(void *state, int64_t *revision, struct err *err)
{
	struct etcd_store *s = state;
	bool fresh = s->first != NULL;

	for (int kind = 0; kind < STORE_KINDS; kind++)
		fresh = fresh && !s->listed[kind];
	if (!fresh && (read_head(s, err) < 0 || settle(s, err) < 0))
		return -1;
	*revision = s->revision;
	return 0;
}

/* ---- writing ---- */

static int check(struct etcd_store *s, const struct store_op *op, struct err *err)
{
	char name[NAME_MAX_];

	if (name_of(op->kind, op->id, name, err) < 0)
		return -1;
	if (op->expected == STORE_ANY)
		return 0;
	if (!s->listed[op->kind] && etcd_store_get(s, op->kind, op->id, NULL, err) < 0)
		return -1;
	int64_t version = s->versions ? (intptr_t)map_find(s->versions, name) : 0;
	return store_check_version(op, version, err);
}

static bool is_large(const struct store_op *ops)
{
	size_t count = 0, bytes = 0;

	for (const struct store_op *op = ops; op; op = op->next) {
		count++;
		bytes += op->len;
	}
	/* One object fits etcd's limit always: laying it down first would only write it twice. */
	return count > OPS_MAX || (count > 1 && bytes > BYTES_MAX);
}

static struct json *write_ops(struct etcd_store *s, const struct store_op *ops, int64_t revision)
{
	struct json *list = json_array();
	char name[NAME_MAX_] = "";

	for (const struct store_op *op = ops; op; op = op->next) {
		(void)name_of(op->kind, op->id, name, NULL);
		json_append(list, op->remove ? remove_op(s, name, false)
		                             : put_op(s, name, revision, op->text, op->len));
	}
	return list;
}

/* 1: it happened (*mod), 0: it did not, -1: not known, or an error. A lost answer is looked for. */
static int happen(struct etcd_store *s, struct json *list, const char *nonce, int64_t *mod,
                  struct err *err)
{
	struct err why = ERR_INIT;
	int rc = run(s, list, true, mod, &why);

	if (rc > 0)
		return 1;
	if (read_head(s, NULL) == 0 && str_eq(s->nonce, nonce)) {
		*mod = s->head_mod;
		return 1;
	}
	if (rc < 0) {
		/* It may still arrive. Then our next commit finds another head, and reads again. */
		forget_versions(s);
		if (err)
			*err = why;
		return -1;
	}
	return explain(s, err);
}

static int remember(struct etcd_store *s, const struct store_op *ops, struct err *err)
{
	char name[NAME_MAX_] = "";

	for (const struct store_op *op = ops; op; op = op->next) {
		(void)name_of(op->kind, op->id, name, NULL);
		if (learn(s, name, op->remove ? 0 : s->revision, err) < 0)
			return -1;
	}
	return 0;
}

static int64_t etcd_store_commit(void *state, int64_t epoch, struct store_op *ops, struct err *err)
{
	struct etcd_store *s = state;
	uint8_t random[NONCE_BYTES];
	char nonce[2 * NONCE_BYTES + 1];
	int64_t chunks = 0, mod, revision;

	(void)epoch; /* ours, from the start */
	drop_first(s);
	if (settle(s, err) < 0)
		return -1;
	for (const struct store_op *op = ops; op; op = op->next)
		if (check(s, op, err) < 0)
			return -1;
	id_random(random, sizeof(random));
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(nonce + 2 * i, 3, "%02x", random[i]);
	revision = s->revision + 1;
	bool large = is_large(ops);
	if (large && lay_down_all(s, ops, nonce, &chunks, err) < 0)
		return -1;
	struct json *list = large ? json_array() : write_ops(s, ops, revision);
	if (json_append(list, head_op(s, revision, nonce, chunks)) < 0) {
		json_free(list);
		return err_nomem(err);
	}
	if (happen(s, list, nonce, &mod, err) < 0)
		return -1;
	s->head_mod = mod;
	s->revision = revision;
	s->chunks = chunks;
	snprintf(s->nonce, sizeof(s->nonce), "%s", nonce);
	if (settle(s, err) < 0 || remember(s, ops, err) < 0) {
		forget_versions(s);
		return -1;
	}
	return revision;
}

static void etcd_store_close(void *state)
{
	struct etcd_store *s = state;

	forget_versions(s);
	etcd_free(s->etcd);
	free(s);
}

static const struct store_driver etcd_driver = {
	.get = etcd_store_get,
	.list = etcd_store_list,
	.commit = etcd_store_commit,
	.revision = etcd_store_revision,
	.close = etcd_store_close,
};

int etcd_set_epoch_base(struct etcd *etcd, int64_t base, struct err *err)
{
	struct json *body = json_object();
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)base);
	etcd_set_key(etcd, body, "key", EPOCH_BASE);
	etcd_set_bytes(body, "value", text, strlen(text));
	auto_type(json) reply = etcd_call(etcd, "kv/put", body, err);
	return reply ? 0 : -1;
}

static int read_epoch_base(struct etcd *etcd, int64_t *base, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(NAME_MAX_);
	struct json *body = json_object();

	*base = 0;
	etcd_set_key(etcd, body, "key", EPOCH_BASE);
	auto_type(json) reply = etcd_call(etcd, "kv/range", body, err);
	const struct json *entry = json_at(json_get(reply, "kvs"), 0);
	if (!reply || (entry && etcd_bytes(entry, "value", &text, err) < 0))
		return -1;
	if (entry)
		*base = strtoll(buf_str(&text), NULL, 10);
	return 0;
}

struct store *store_etcd_open(struct etcd *etcd, int64_t epoch, struct err *err)
{
	struct etcd_store *s = calloc(1, sizeof(*s));
	int64_t base;

	if (!s) {
		etcd_free(etcd);
		err_nomem(err);
		return NULL;
	}
	s->etcd = etcd;
	s->epoch = epoch;
	if (read_epoch_base(etcd, &base, err) < 0 || read_first(s, err) < 0) {
		etcd_store_close(s);
		return NULL;
	}
	return store_create(&etcd_driver, s, base + epoch, s->revision, err);
}
