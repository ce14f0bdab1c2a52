/* SPDX-License-Identifier: Apache-2.0 */
/* /buoy/v1/cluster/backup, restore: the cluster's state, out and in. */

#include "cluster/backup.h"

#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/member.h"
#include "cluster/vault.h"
#include "daemon/daemon.h"
#include "daemon/swarm.h"
#include "http/route.h"

#define PIECE     (64u << 10)
#define HEAD_MAX  (512u << 10) /* of what a restore is to be like */
#define FILE_TYPE "application/octet-stream"

#define auto_secret_buf __attribute__((cleanup(vault_wipe_buf)))

/* Relayed to the leader as any request is: so the passphrase is in the body, which no log shows. */
static int backup(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_secret_buf struct buf text = BUF_INIT(BACKUP_MAX);
	auto_type(json) body = http_body_json(req, err);

	if (!body || member_backup(d->member, json_get_string(body, "Passphrase"), &text, err) < 0)
		return -1;
	return http_reply(req, 200, FILE_TYPE, text.data, text.len);
}

static int read_body(struct http_request *req, struct buf *out, struct err *err)
{
	char piece[PIECE];
	ssize_t n;

	while ((n = http_body_read(req, piece, sizeof(piece), err)) > 0) {
		buf_add_mem(out, piece, (size_t)n);
		if (buf_check(out, err) < 0)
			return -1;
	}
	return n < 0 ? -1 : 0;
}

/* A line of JSON: what it is to be like; then the backup as it was given out. */
static int restore(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_secret_buf struct buf text = BUF_INIT(BACKUP_MAX);
	__attribute__((cleanup(swarm_drop_files))) struct store_files files = {0};
	char node_id[ID_SWARM_MAX];

	if (read_body(req, &text, err) < 0)
		return -1;
	const char *end = memchr(buf_str(&text), '\n', text.len < HEAD_MAX ? text.len : HEAD_MAX);
	if (!end)
		return err_set(err, ERR_INVALID, "a line of settings, then a backup");
	auto_type(json) head = json_parse(text.data, (size_t)(end - text.data), err);
	if (!head)
		return -1;
	struct member_restore r = {
		.text = end + 1,
		.len = text.len - (size_t)(end + 1 - text.data),
		.passphrase = json_get_string(head, "Passphrase"),
		.init.listen = json_get_string(head, "ListenAddr"),
		.init.advertise = json_get_string(head, "AdvertiseAddr"),
	};
	if (str_empty(r.init.listen))
		r.init.listen = d->listen_addr;
	if (str_empty(r.init.advertise))
		r.init.advertise = d->advertise_addr;
	if (swarm_read_store(d, head, &files, &r.init, err) < 0 ||
	    member_restore(d->member, &r, node_id, err) < 0)
		return -1;
	return http_reply_json(req, 200, json_string(node_id));
}

static int list_snapshots(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	struct json *doc = member_list_snapshots(d->member, err);

	return doc ? http_reply_json(req, 200, doc) : -1;
}

static int set_snapshots(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_type(json) body = http_body_json(req, err);
	struct snapshots_settings settings = {
		.interval_s = json_get_int(body, "IntervalSeconds", 0),
		.keep = json_get_int(body, "Keep", SNAPSHOTS_KEEP),
	};

	if (!body || member_set_snapshots(d->member, &settings, err) < 0)
		return -1;
	return http_reply_empty(req, 200);
}

static int take_snapshot(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	char name[SNAPSHOTS_NAME_MAX];

	if (member_take_snapshot(d->member, name, err) < 0)
		return -1;
	struct json *reply = json_object();
	json_set(reply, "Name", json_string(name));
	return http_reply_json(req, 200, reply);
}

/* Only of those that are whole. */
static int give_snapshot(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_secret_buf struct buf text = BUF_INIT(BACKUP_MAX);

	if (member_read_snapshot(d->member, http_arg(req, 0), &text, err) < 0)
		return -1;
	return http_reply(req, 200, FILE_TYPE, text.data, text.len);
}

/* Whether it is whole, in words. */
static int check_snapshot(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_secret_buf struct buf text = BUF_INIT(BACKUP_MAX);

	if (member_read_snapshot(d->member, http_arg(req, 0), &text, err) < 0)
		return -1;
	return http_reply_empty(req, 200);
}

const struct http_route backup_routes[] = {
	{"GET", "/buoy/v1/cluster/snapshots", list_snapshots, false},
	{"POST", "/buoy/v1/cluster/snapshots", set_snapshots, false},
	{"POST", "/buoy/v1/cluster/snapshots/take", take_snapshot, false},
	{"GET", "/buoy/v1/cluster/snapshots/{}", give_snapshot, false},
	{"POST", "/buoy/v1/cluster/snapshots/{}/verify", check_snapshot, false},
	{"POST", "/buoy/v1/cluster/backup", backup, false},
	{"POST", "/buoy/v1/cluster/restore", restore, true},
	{NULL, NULL, NULL, false},
};
