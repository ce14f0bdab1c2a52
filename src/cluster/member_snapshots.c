/* SPDX-License-Identifier: Apache-2.0 */
/* Backups that the leader takes by itself, into a directory of its machine. Each manager that leads keeps its own. */

#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "cluster/backup.h"
#include "cluster/member_state.h"
#include "cluster/snapshots.h"
#include "cluster/vault.h"

#define DIRECTORY "snapshots" /* below the root, beside the cluster's: it outlives a swarm leave */
#define LOOK_MS   60000
#define AGAIN_MS  10000 /* after a failure */

static int open_directory(const struct member *m, struct err *err)
{
	return fs_mkdir_all(m->options.root_fd, DIRECTORY, 0700, err);
}

/* With the lock for reading, and a leader. */
static int take(struct member *m, int64_t keep, char name[SNAPSHOTS_NAME_MAX], struct err *err)
{
	struct buf text = BUF_INIT(BACKUP_MAX);
	auto_close int dir_fd = open_directory(m, err);
	int rc = dir_fd < 0 ? -1 : leader_backup(m->leader, NULL, &text, err);

	if (rc == 0)
		rc = snapshots_write(dir_fd, clock_wall_ns(), &text, name, err);
	vault_wipe_buf(&text);
	return rc < 0 || snapshots_prune(dir_fd, keep, err) < 0 ? -1 : 0;
}

/* With the lock for reading. */
static int64_t tend(struct member *m)
{
	struct snapshots_settings s;
	char name[SNAPSHOTS_NAME_MAX];
	struct err err = ERR_INIT;

	if (!m->leader || leader_read_snapshots(m->leader, &s, NULL) < 0 || s.interval_s == 0)
		return LOOK_MS;
	auto_close int dir_fd = open_directory(m, &err);
	int64_t due = dir_fd < 0 ? 0 : snapshots_due_ms(dir_fd, s.interval_s, clock_wall_ns());
	if (due > 0)
		return due < LOOK_MS ? due : LOOK_MS;
	if (dir_fd >= 0 && take(m, s.keep, name, &err) == 0) {
		m->keeper.no_snapshot = false;
		log_info(m->options.log, "snapshot taken", "name=%s", name);
		return s.interval_s * 1000 < LOOK_MS ? s.interval_s * 1000 : LOOK_MS;
	}
	if (!m->keeper.no_snapshot)
		log_error(m->options.log, "no snapshot of the cluster", "error=%s", err.msg);
	m->keeper.no_snapshot = true; /* is said once */
	return AGAIN_MS;
}

int64_t member_tend_snapshots(struct member *m)
{
	pthread_rwlock_rdlock(&m->lock);
	int64_t ms = tend(m);
	pthread_rwlock_unlock(&m->lock);
	return ms;
}

int member_take_snapshot(struct member *m, char name[SNAPSHOTS_NAME_MAX], struct err *err)
{
	struct snapshots_settings s;

	if (member_begin(m, err) < 0)
		return -1;
	int rc = leader_read_snapshots(m->leader, &s, err);
	if (rc == 0)
		rc = take(m, s.keep, name, err);
	pthread_rwlock_unlock(&m->lock);
	return rc;
}

int member_set_snapshots(struct member *m, const struct snapshots_settings *settings,
                         struct err *err)
{
	if (snapshots_check(settings, err) < 0)
		return -1;
	/* Not while one is taken by the settings before: none comes after the answer. */
	pthread_mutex_lock(&m->changing);
	int rc = member_begin(m, err);
	if (rc == 0) {
		rc = leader_set_snapshots(m->leader, settings, err);
		pthread_rwlock_unlock(&m->lock);
	}
	pthread_mutex_unlock(&m->changing);
	if (rc == 0)
		member_look_at_cert(m); /* its thread looks after these, too */
	return rc;
}

struct json *member_list_snapshots(struct member *m, struct err *err)
{
	struct snapshots_settings s;

	if (member_begin(m, err) < 0)
		return NULL;
	int rc = leader_read_snapshots(m->leader, &s, err);
	pthread_rwlock_unlock(&m->lock);
	auto_close int dir_fd = rc < 0 ? -1 : open_directory(m, err);
	struct json *list = dir_fd < 0 ? NULL : snapshots_list(dir_fd, err);
	if (!list)
		return NULL;
	struct json *doc = json_object();
	json_set(doc, "IntervalSeconds", json_int(s.interval_s));
	json_set(doc, "Keep", json_int(s.keep));
	json_set(doc, "Directory", json_string(DIRECTORY));
	json_set(doc, "Hostname", json_string(m->options.description->hostname));
	json_set(doc, "Snapshots", list);
	return doc;
}

int member_read_snapshot(struct member *m, const char *name, struct buf *out, struct err *err)
{
	struct backup backup = {0};
	auto_close int dir_fd = open_directory(m, err);

	if (dir_fd < 0 || snapshots_read(dir_fd, name, out, err) < 0)
		return -1;
	int rc = backup_read(buf_str(out), out->len, NULL, &backup, err);
	backup_done(&backup);
	return rc;
}
