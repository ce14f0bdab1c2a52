/* SPDX-License-Identifier: Apache-2.0 */
/* The whole state of the cluster, as one text. */

#include "base/err.h"
#include "cluster/backup.h"
#include "cluster/leader_state.h"

int leader_backup(struct leader *leader, const char *passphrase, struct buf *out, struct err *err)
{
	struct control *c = leader_enter(leader, err);
	const struct cluster *cluster = c ? control_cluster(c) : NULL;
	int rc = -1;

	if (!c)
		return -1;
	if (cluster)
		rc = backup_write(leader->store,
		                  &(struct backup_about){.cluster_id = cluster->id,
		                                         .store = leader->socket ? "etcd"
		                                                  : leader->url  ? "url"
		                                                                 : "file",
		                                         .vault = &leader->vault},
		                  passphrase, out, err);
	else
		err_set(err, ERR_UNAVAILABLE, "the cluster's state cannot be read now");
	leader_exit(leader);
	return rc;
}
