/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/store_move.h"

#include "base/err.h"
#include "base/id.h"
#include "cluster/etcd.h"
#include "cluster/store.h"

#define LEASE_SECONDS 30

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

/* As the leader of an epoch: takes `writer` over. */
static int fill(struct etcd *etcd, struct etcd *writer, int64_t epoch,
                const struct store_filler *filler, struct err *err)
{
	auto_type(store) to = store_etcd_open(writer, epoch, err);
	auto_type(store_tx) tx = to ? store_begin(to, err) : NULL;

	if (!tx)
		return -1;
	if (store_revision(to) > 0)
		return err_set(err, ERR_CONFLICT,
		               "that etcd holds a cluster already: name another "
		               "prefix (etcd://HOST/PREFIX)");
	if (etcd_set_epoch_base(etcd, filler->epoch, err) < 0 ||
	    filler->put(filler->arg, tx, err) < 0)
		return -1;
	return store_commit(tx, err) < 0 ? -1 : 0;
}

int store_fill_etcd(const struct etcd_options *options, const struct store_filler *filler,
                    struct err *err)
{
	auto_type(etcd) etcd = etcd_open(options, err);
	int64_t epoch, lease = etcd ? etcd_grant(etcd, LEASE_SECONDS, err) : -1;

	if (lease <= 0)
		return -1;
	int rc = lead(etcd, lease, &epoch, err);
	if (rc == 0) {
		struct etcd *writer = etcd_copy(etcd, err);

		rc = writer ? fill(etcd, writer, epoch, filler, err) : -1;
		(void)etcd_resign(etcd, epoch, NULL);
	}
	etcd_revoke(etcd, lease);
	return rc;
}

int store_fill_file(int dir_fd, const char *name, const struct store_filler *filler,
                    struct err *err)
{
	if (store_sqlite_raise(dir_fd, name, filler->epoch, err) < 0)
		return -1;
	auto_type(store) to = store_sqlite_open(dir_fd, name, err);
	auto_type(store_tx) tx = to ? store_begin(to, err) : NULL;
	if (!tx || filler->put(filler->arg, tx, err) < 0)
		return -1;
	return store_commit(tx, err) < 0 ? -1 : 0;
}

/* ---- from a file ---- */

static int put_one(void *arg, const struct store_object *object, struct err *err)
{
	(void)err;
	store_put(arg, object->kind, object->id, STORE_NEW, object->text, object->len);
	return 0;
}

static int copy_all(void *arg, struct store_tx *tx, struct err *err)
{
	for (int kind = 0; kind < STORE_KINDS; kind++)
		if (store_list(arg, (enum store_kind)kind, put_one, tx, err) < 0)
			return -1;
	return 0;
}

int store_move_to_etcd(int dir_fd, const char *name, const struct etcd_options *options,
                       struct err *err)
{
	auto_type(store) from = store_sqlite_open(dir_fd, name, err);

	if (!from)
		return -1;
	struct store_filler filler = {.put = copy_all, .arg = from, .epoch = store_epoch(from)};
	return store_fill_etcd(options, &filler, err);
}
