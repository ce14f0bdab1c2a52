/* SPDX-License-Identifier: Apache-2.0 */
/* layer_mount - layers that are a tar and its index: mounting them, once each, and whether that works here. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/map.h"
#include "image/erofs.h"
#include "image/layer.h"

static int mount_tar(int dir_fd, struct err *err)
{
	char source[32], device[32];
	auto_close int index = fs_open(dir_fd, APPLY_INDEX_NAME, O_RDONLY | O_NOFOLLOW, 0, err);
	auto_close int tar =
		index < 0 ? -1 : fs_open(dir_fd, LAYER_TAR, O_RDONLY | O_NOFOLLOW, 0, err);

	if (tar < 0)
		return -1;
	(void)snprintf(source, sizeof(source), "/proc/self/fd/%d", index);
	(void)snprintf(device, sizeof(device), "/proc/self/fd/%d", tar);
	return fs_mount_detached("erofs", source, &(struct fs_mount_option){"device", device}, 1,
	                         MOUNT_ATTR_RDONLY, err);
}

/* Called with mounts_lock held. */
static int find_or_mount(struct image_store *store, const char *chain, int dir_fd, struct err *err)
{
	int *kept = map_find(store->mounts, chain);

	if (!kept) {
		kept = malloc(sizeof(*kept));
		if (!kept)
			return err_nomem(err);
		*kept = mount_tar(dir_fd, err);
		if (*kept < 0 || map_set(store->mounts, chain, kept, NULL, err) < 0) {
			cleanup_close(kept);
			free(kept);
			return -1;
		}
	}
	int fd = fcntl(*kept, F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? err_sys(err, "cannot duplicate a layer's descriptor") : fd;
}

int layer_mount_shared(struct image_store *store, const char *chain, int dir_fd, struct err *err)
{
	pthread_mutex_lock(&store->mounts_lock);
	int fd = find_or_mount(store, chain, dir_fd, err);
	pthread_mutex_unlock(&store->mounts_lock);
	return fd;
}

void layer_forget(struct image_store *store, const char *chain)
{
	pthread_mutex_lock(&store->mounts_lock);
	int *kept = map_remove(store->mounts, chain);
	pthread_mutex_unlock(&store->mounts_lock);
	if (kept)
		cleanup_close(kept);
	free(kept);
}

void layer_forget_all(struct image_store *store)
{
	const char *chain;
	void *kept;

	map_for_each (store->mounts, iter, &chain, &kept) {
		cleanup_close(kept);
		free(kept);
	}
}

/* ---- does it work here? ---- */

#define PROBE "probe"

static int make_probe(int dir_fd, struct err *err)
{
	static const char content[EROFS_BLOCK] = PROBE;
	auto_close int tar = fs_open(dir_fd, LAYER_TAR, O_WRONLY | O_CREAT | O_EXCL, 0600, err);
	auto_close int index =
		tar < 0 ? -1
			: fs_open(dir_fd, APPLY_INDEX_NAME, O_WRONLY | O_CREAT | O_EXCL, 0600, err);

	if (index < 0 || fs_write_all(tar, content, sizeof(content), err) < 0)
		return -1;
	struct erofs_node *root = erofs_node_create(S_IFDIR | 0755, err);
	struct erofs_node *file = root ? erofs_node_create(S_IFREG | 0644, err) : NULL;
	int rc = -1;
	if (file) {
		file->size = sizeof(PROBE) - 1;
		rc = erofs_node_add(root, PROBE, file, err);
		if (rc < 0)
			erofs_node_free_tree(file);
	}
	if (rc == 0)
		rc = erofs_write(index, root, EROFS_DATA, err);
	erofs_node_free_tree(root);
	return rc;
}

/* As containers have it: a lower of an overlay, found by its descriptor. */
static int mount_over(int layer_fd, int other_fd, struct err *err)
{
	char paths[2][32];
	struct fs_mount_option options[2];

	for (int i = 0; i < 2; i++) {
		(void)snprintf(paths[i], sizeof(paths[i]), "/proc/self/fd/%d",
		               i ? other_fd : layer_fd);
		options[i] = (struct fs_mount_option){"lowerdir+", paths[i]};
	}
	return fs_mount_detached("overlay", "overlay", options, 2, MOUNT_ATTR_RDONLY, err);
}

static int probe_in(int dir_fd, struct err *err)
{
	char got[sizeof(PROBE)] = "";

	if (fs_mkdir(dir_fd, "other", 0700, err) < 0 || make_probe(dir_fd, err) < 0)
		return -1;
	auto_close int other = fs_open_dir(dir_fd, "other", err);
	auto_close int layer = other < 0 ? -1 : mount_tar(dir_fd, err);
	auto_close int overlay = layer < 0 ? -1 : mount_over(layer, other, err);
	auto_close int file = overlay < 0 ? -1 : fs_open(overlay, PROBE, O_RDONLY, 0, err);
	if (file < 0)
		return -1;
	if (read(file, got, sizeof(got)) != sizeof(PROBE) - 1 || strcmp(got, PROBE) != 0)
		return err_set(err, ERR_UNSUPPORTED, "a mounted layer holds something else");
	return 0;
}

int layer_probe(struct image_store *store, struct err *err)
{
	char name[STORE_NAME_MAX];

	if (geteuid() != 0)
		return err_set(err, ERR_UNSUPPORTED, "only root may mount them");
	auto_close int dir = store_staging_dir(store, name, err);
	int rc = dir < 0 ? -1 : probe_in(dir, err);
	if (dir >= 0)
		store_staging_remove(store, name);
	return rc;
}
