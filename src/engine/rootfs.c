/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/rootfs.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/buf.h"
#include "base/fs.h"
#include "engine/private.h"
#include "image/image.h"

#define OPTIONS_MAX (1u << 16)

int rootfs_overlay(const int *lower_fds, size_t count, struct err *err)
{
	auto_buf struct buf lower = BUF_INIT(OPTIONS_MAX);

	if (count == 0)
		return err_set(err, ERR_INVALID, "an image without layers has no files");
	if (count == 1)
		return fs_open(lower_fds[0], ".", O_RDONLY | O_DIRECTORY, 0, err);
	for (size_t i = 0; i < count; i++)
		buf_addf(&lower, "%s/proc/self/fd/%d", i ? ":" : "", lower_fds[i]);
	if (buf_check(&lower, err) < 0)
		return -1;
	struct fs_mount_option options[] = {{"lowerdir", buf_str(&lower)}, {"ro", NULL}};
	return fs_mount_detached("overlay", "overlay", options, 2, MOUNT_ATTR_RDONLY, err);
}

int rootfs_image_open(struct engine *engine, const char *image_id, struct err *err)
{
	struct image_layers layers = {0};

	if (image_layers_open(engine->images, image_id, &layers, err) < 0)
		return -1;
	int fd = rootfs_overlay(layers.fds, layers.count, err);
	image_layers_close(&layers);
	return fd;
}

int rootfs_container_open(struct container *c, struct err *err)
{
	auto_close int dir = container_dir(c, err);
	auto_close int upper = dir < 0 ? -1 : fs_open_dir(dir, "upper", err);
	struct image_layers layers = {0};

	if (upper < 0 || image_layers_open(c->engine->images, c->image_id, &layers, err) < 0)
		return -1;
	auto_free int *fds = calloc(layers.count + 1, sizeof(int));
	int fd = -1;
	if (fds) {
		fds[0] = upper;
		if (layers.count)
			memcpy(fds + 1, layers.fds, layers.count * sizeof(int));
		fd = rootfs_overlay(fds, layers.count + 1, err);
	} else {
		err_nomem(err);
	}
	image_layers_close(&layers);
	return fd;
}

int container_rootfs_open(struct engine *engine, const char *ref, struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);
	pid_t pid;
	bool up;

	if (!c)
		return -1;
	pthread_mutex_lock(&c->lock);
	up = container_is_up(c);
	pid = c->pid;
	pthread_mutex_unlock(&c->lock);
	if (!up || pid <= 0)
		return rootfs_container_open(c, err);
	auto_buf struct buf path = BUF_INIT(64);
	buf_addf(&path, "/proc/%d/root", (int)pid);
	return fs_trusted_open(buf_str(&path), O_PATH | O_DIRECTORY, 0, err);
}
