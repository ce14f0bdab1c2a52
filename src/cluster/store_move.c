/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/store_move.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "base/json.h"
#include "cluster/etcd.h"
#include "cluster/store.h"

#define LEASE_SECONDS 30
#define STEP_KEY      "steps" /* written only to make etcd's revision rise */
#define HOLDER_MAX    4096

/* etcd's revision is above `epoch`. */
static int rise_above(struct etcd *etcd, int64_t epoch, struct err *err)
{
	auto_buf struct buf key = BUF_INIT(HOLDER_MAX);
	int64_t revision = 0;

	etcd_key(etcd, &key, STEP_KEY);
	while (revision <= epoch) {
		struct json *body = json_object();

		etcd_set_bytes(body, "key", buf_str(&key), key.len);
		auto_type(json) reply = etcd_call(etcd, "kv/put", body, err);
		if (!reply)
			return -1;
		revision = etcd_revision_of(reply);
	}
	return 0;
}

static int lead(struct etcd *etcd, int64_t lease, int64_t *epoch, struct err *err)
{
	char nonce[ID_SWARM_MAX];
	int rc = etcd_campaign(etcd, id_make_swarm(nonce), lease, epoch, NULL, err);

	if (rc == 0)
		return err_set(err, ERR_CONFLICT,
		               "a cluster is led from that etcd already: name "
		               "another prefix (etcd://HOST/PREFIX)");
	return rc < 0 ? -1 : 0;
}

static int put_one(void *arg, const struct store_object *object, struct err *err)
{
	(void)err;
	store_put(arg, object->kind, object->id, STORE_NEW, object->text, object->len);
	return 0;
}

static int copy_all(struct store *from, struct store *to, struct err *err)
{
	auto_type(store_tx) tx = store_begin(to, err);

	if (!tx)
		return -1;
	if (store_revision(to) > 0)
		return err_set(err, ERR_CONFLICT,
		               "that etcd holds a cluster already: name another "
		               "prefix (etcd://HOST/PREFIX)");
	for (int kind = 0; kind < STORE_KINDS; kind++)
		if (store_list(from, (enum store_kind)kind, put_one, tx, err) < 0)
			return -1;
	return store_commit(tx, err) < 0 ? -1 : 0;
}

/* As the leader of an epoch: takes the client over. */
static int fill(struct store *from, struct etcd *etcd, int64_t epoch, struct err *err)
{
	auto_type(store) to = store_etcd_open(etcd, epoch, err);

	return to ? copy_all(from, to, err) : -1;
}

int store_move_to_etcd(int dir_fd, const char *name, const struct etcd_options *options,
                       struct err *err)
{
	auto_type(store) from = store_sqlite_open(dir_fd, name, err);
	auto_type(etcd) etcd = from ? etcd_open(options, err) : NULL;
	int64_t epoch;

	if (!etcd || rise_above(etcd, store_epoch(from), err) < 0)
		return -1;
	int64_t lease = etcd_grant(etcd, LEASE_SECONDS, err);
	if (lease <= 0)
		return -1;
	int rc = lead(etcd, lease, &epoch, err);
	if (rc == 0) {
		struct etcd *writer = etcd_copy(etcd, err);

		rc = writer ? fill(from, writer, epoch, err) : -1;
		(void)etcd_resign(etcd, epoch, NULL);
	}
	etcd_revoke(etcd, lease);
	return rc;
}
