/* SPDX-License-Identifier: Apache-2.0 */
/* The whole state of the cluster, as one text. */

#include "base/err.h"
#include "cluster/backup.h"
#include "cluster/leader_state.h"
#include "cluster/snapshots.h"

#define SNAPSHOTS                                                                                  \
	"Snapshots" /* in the cluster object's secret: Docker's clients leave out of the spec what they do not know */

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

int leader_read_snapshots(struct leader *leader, struct snapshots_settings *out, struct err *err)
{
	if (leader_lock(leader, err) < 0)
		return -1;
	const struct cluster *cluster = control_cluster(leader->control);
	const struct json *doc = cluster ? json_get(cluster->secret, SNAPSHOTS) : NULL;
	*out = (struct snapshots_settings){
		.interval_s = json_get_int(doc, "IntervalSeconds", 0),
		.keep = json_get_int(doc, "Keep", SNAPSHOTS_KEEP),
	};
	pthread_mutex_unlock(&leader->lock);
	return 0;
}

int leader_set_snapshots(struct leader *leader, const struct snapshots_settings *settings,
                         struct err *err)
{
	struct control *c = leader_enter(leader, err);
	struct json *doc;

	if (!c)
		return -1;
	doc = json_object();
	json_set(doc, "IntervalSeconds", json_int(settings->interval_s));
	json_set(doc, "Keep", json_int(settings->keep));
	int rc = leader_set_secret(c, SNAPSHOTS, doc, err);
	leader_exit(leader);
	return rc;
}
