/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/ids.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/userns.h"
#include "engine/check.h"
#include "engine/private.h"
#include "engine/user.h"

/* Beyond what distributions give to people (/etc/subuid), below 2^31: programs keep ids in an int. */
#define FIRST_RANGE 0x40000000u
#define BLOCK       256u /* ranges */
#define BLOCKS      64u
#define RANGES      (BLOCK * BLOCKS)
#define LOCKS_FILE  "/run/buoy.ids"

struct ids {
	pthread_mutex_t lock;
	uint16_t users[RANGES]; /* guarded by lock */
	bool ours[BLOCKS];      /* guarded by lock */
	int locks_fd;
	char why_not[256];
};

/* ---- can it be done ---- */

/* The same calls as for a container: an idmapped mount of two directories under an overlay. */
static int try_overlay(int scratch_fd, int userns_fd, struct err *err)
{
	auto_close int lower = fs_mount_clone(scratch_fd, false, err);
	auto_close int work = fs_mkdir_all(scratch_fd, "probe/work", 0700, err);
	auto_close int upper = fs_mkdir_all(scratch_fd, "probe/upper", 0700, err);
	char paths[3][48];

	if (lower < 0 || work < 0 || upper < 0 || fs_mount_idmap(lower, userns_fd, false, err) < 0)
		return -1;
	snprintf(paths[0], sizeof(paths[0]), "/proc/self/fd/%d", lower);
	snprintf(paths[1], sizeof(paths[1]), "/proc/self/fd/%d", upper);
	snprintf(paths[2], sizeof(paths[2]), "/proc/self/fd/%d", work);
	const struct fs_mount_option options[] = {
		{"lowerdir+", paths[0]}, {"upperdir", paths[1]}, {"workdir", paths[2]}};
	auto_close int mount = fs_mount_detached("overlay", "overlay", options, 3, 0, err);
	return mount < 0 ? -1 : 0;
}

static int probe(int scratch_fd, struct err *err)
{
	auto_close int userns_fd = userns_open_mapped(0, FIRST_RANGE, IDS_COUNT, err);

	if (userns_fd < 0)
		return -1;
	int rc = try_overlay(scratch_fd, userns_fd, err);
	(void)fs_remove_tree(scratch_fd, "probe", NULL);
	return rc;
}

struct ids *ids_open(int scratch_fd, struct err *err)
{
	struct ids *ids = calloc(1, sizeof(*ids));
	struct err why = ERR_INIT;

	if (!ids)
		return err_nomem(err), NULL;
	pthread_mutex_init(&ids->lock, NULL);
	ids->locks_fd = fs_trusted_open(LOCKS_FILE, O_RDWR | O_CREAT | O_NOFOLLOW, 0600, &why);
	if (ids->locks_fd < 0 || probe(scratch_fd, &why) < 0)
		snprintf(ids->why_not, sizeof(ids->why_not), "%.255s", why.msg);
	return ids;
}

void ids_free(struct ids *ids)
{
	if (!ids)
		return;
	cleanup_close(&ids->locks_fd);
	pthread_mutex_destroy(&ids->lock);
	free(ids);
}

const char *ids_why_not(const struct ids *ids)
{
	return ids->why_not[0] ? ids->why_not : NULL;
}

/* ---- ranges ---- */

/* An open file description's lock: gone when this daemon is. */
static bool lock_block(struct ids *ids, unsigned block) /* lock held */
{
	struct flock range = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)block, .l_len = 1};

	if (!ids->ours[block] && fcntl(ids->locks_fd, F_OFD_SETLK, &range) == 0)
		ids->ours[block] = true;
	return ids->ours[block];
}

static bool take_in(struct ids *ids, unsigned block, uint32_t *first) /* lock held */
{
	for (unsigned i = block * BLOCK; i < (block + 1) * BLOCK; i++) {
		if (ids->users[i])
			continue;
		ids->users[i] = 1;
		*first = FIRST_RANGE + i * IDS_COUNT;
		return true;
	}
	return false;
}

int ids_take(struct ids *ids, uint32_t *first, struct err *err)
{
	bool found = false;

	pthread_mutex_lock(&ids->lock);
	for (unsigned i = 0; !found && i < BLOCKS; i++)
		found = ids->ours[i] && take_in(ids, i, first);
	for (unsigned i = 0; !found && i < BLOCKS; i++)
		found = !ids->ours[i] && lock_block(ids, i) && take_in(ids, i, first);
	pthread_mutex_unlock(&ids->lock);
	if (found)
		return 0;
	return err_set(err, ERR_LIMIT,
	               "no range of user ids is left for another container: remove some, or use "
	               "--userns host");
}

static uint16_t *users_of(struct ids *ids, uint32_t first)
{
	uint32_t n = (first - FIRST_RANGE) / IDS_COUNT;

	return first < FIRST_RANGE || n >= RANGES ? NULL : &ids->users[n];
}

void ids_share(struct ids *ids, uint32_t first)
{
	pthread_mutex_lock(&ids->lock);
	uint16_t *users = users_of(ids, first);
	if (users) {
		(void)lock_block(ids, (first - FIRST_RANGE) / IDS_COUNT / BLOCK);
		++*users;
	}
	pthread_mutex_unlock(&ids->lock);
}

void ids_give(struct ids *ids, uint32_t first)
{
	pthread_mutex_lock(&ids->lock);
	uint16_t *users = users_of(ids, first);
	if (users && *users)
		--*users;
	pthread_mutex_unlock(&ids->lock);
}

/* ---- rules ---- */

/* What works with the host's ids only; "" if nothing does. */
static const char *needs_host(const struct api_host_config *h)
{
	if (h->privileged)
		return "--privileged";
	if (check_mode_is(h->network_mode, "host"))
		return "--network host";
	if (check_mode_is(h->pid_mode, "host"))
		return "--pid host";
	if (check_mode_is(h->ipc_mode, "host"))
		return "--ipc host";
	return "";
}

/* The range of the containers whose namespaces it joins: one and the same. *found: there are any. */
static int joined(struct container *c, const struct api_host_config *h, bool *found,
                  uint32_t *first, struct err *err)
{
	const char *modes[] = {h->network_mode, h->ipc_mode, h->pid_mode};

	*found = false;
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		const char *name = check_mode_container(modes[i]);
		auto_type(container) other = name ? container_get(c->engine, name, err) : NULL;
		if (!name)
			continue;
		if (!other)
			return -1;
		if (*found && other->first_id != *first)
			return err_set(err, ERR_INVALID,
			               "the containers to be joined have different user "
			               "namespaces: make one of them join the other");
		*found = true;
		*first = other->first_id;
	}
	return 0;
}

static int choose(struct container *c, const struct api_host_config *h, struct err *err)
{
	struct ids *ids = c->engine->ids;
	const char *why = needs_host(h), *mode = h->userns_mode ? h->userns_mode : "";
	bool own = str_eq(mode, "auto"), join;
	uint32_t first = 0;

	if (joined(c, h, &join, &first, err) < 0)
		return -1;
	if (join && first && (*why || str_eq(mode, "host")))
		return err_set(err, ERR_INVALID,
		               "%s: the container to be joined has a user namespace of its own; "
		               "give it --userns host",
		               *why ? why : "--userns host");
	if (own && *why)
		return err_set(err, ERR_INVALID, "--userns auto and %s exclude each other", why);
	if (own && ids_why_not(ids))
		return err_set(err, ERR_UNSUPPORTED, "--userns auto: %s", ids_why_not(ids));
	if (join) {
		if (first)
			ids_share(ids, first);
		c->first_id = first;
		return 0;
	}
	if (*why || str_eq(mode, "host") || ids_why_not(ids) || (!own && c->engine->userns_host))
		return 0;
	return ids_take(ids, &c->first_id, err);
}

int ids_choose(struct container *c, const struct config *config, struct err *err)
{
	return choose(c, &config->create.host, err);
}

int ids_check_user(uint32_t first, const struct user *user, struct err *err)
{
	uint32_t most = user->uid > user->gid ? user->uid : user->gid;

	for (size_t i = 0; i < user->group_count; i++)
		most = user->groups[i] > most ? user->groups[i] : most;
	if (!first || most < IDS_COUNT)
		return 0;
	return err_set(err, ERR_INVALID,
	               "user or group %u: a container's user namespace has the ids 0 to %u; "
	               "--userns host has all",
	               most, IDS_COUNT - 1);
}

/* ---- files ---- */

int ids_own(int dir_fd, uint32_t first, struct err *err)
{
	struct stat st;

	if (fstat(dir_fd, &st) < 0)
		return err_sys(err, "stat");
	if (st.st_uid >= first && st.st_uid < first + IDS_COUNT)
		return 0; /* the container may have given it to another of its users */
	return fchown(dir_fd, first, first) < 0 ? err_sys(err, "chown") : 0;
}

int ids_mount(int dir_fd, uint32_t first, struct err *err)
{
	if (!first)
		return fs_open_dir(dir_fd, ".", err);
	auto_close int userns_fd = userns_open_mapped(first, 0, IDS_COUNT, err);
	auto_close int clone = userns_fd < 0 ? -1 : fs_mount_clone(dir_fd, false, err);
	if (clone < 0 || fs_mount_idmap(clone, userns_fd, false, err) < 0)
		return -1;
	return move_fd(&clone);
}

int ids_view(int dir_fd, uint32_t first, struct err *err)
{
	auto_close int mount = ids_mount(dir_fd, first, err);

	return mount < 0 ? -1 : fs_open_dir(mount, ".", err);
}
