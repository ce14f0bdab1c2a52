/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/rootfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/userns.h"
#include "engine/ids.h"
#include "engine/private.h"
#include "image/image.h"

#define LAYERS_MAX 500 /* overlayfs has this limit */

struct overlay {
	const int *lower_fds; /* top first */
	size_t count;
	int upper_fd, work_fd; /* -1: read-only */
};

/* Only text reaches the kernel, so descriptors are named by their /proc path. */
static int mount_overlay(const struct overlay *o, struct err *err)
{
	auto_free struct fs_mount_option *options = calloc(o->count + 2, sizeof(*options));
	auto_free char(*paths)[48] = calloc(o->count + 2, sizeof(*paths));
	bool writable = o->upper_fd >= 0;
	size_t n = 0;

	if (!options || !paths)
		return err_nomem(err);
	for (; n < o->count; n++) {
		(void)snprintf(paths[n], sizeof(*paths), "/proc/self/fd/%d", o->lower_fds[n]);
		options[n] = (struct fs_mount_option){"lowerdir+", paths[n]};
	}
	if (writable) {
		(void)snprintf(paths[n], sizeof(*paths), "/proc/self/fd/%d", o->upper_fd);
		options[n] = (struct fs_mount_option){"upperdir", paths[n]};
		n++;
		(void)snprintf(paths[n], sizeof(*paths), "/proc/self/fd/%d", o->work_fd);
		options[n] = (struct fs_mount_option){"workdir", paths[n]};
		n++;
	}
	return fs_mount_detached("overlay", "overlay", options, n, writable ? 0 : MOUNT_ATTR_RDONLY,
	                         err);
}

int rootfs_overlay(const int *lower_fds, size_t count, struct err *err)
{
	struct overlay o = {lower_fds, count, -1, -1};

	if (count == 0 || count > LAYERS_MAX)
		return err_set(err, ERR_INVALID, "a root has 1 to %d layers, this one has %zu",
		               LAYERS_MAX, count);
	if (count == 1)
		return fs_open(lower_fds[0], ".", O_RDONLY | O_DIRECTORY, 0, err);
	return mount_overlay(&o, err);
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
	auto_close int disk = dir < 0 ? -1 : fs_open_dir(dir, "upper", err);
	auto_close int upper = disk < 0 ? -1 : ids_mount(disk, c->first_id, err);
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

/* Each layer's directory becomes a mount of it, as the running container has them. */
static int map_layers(struct image_layers *layers, int userns_fd, struct err *err)
{
	for (size_t i = 0; i < layers->count; i++) {
		int clone = fs_mount_clone(layers->fds[i], false, err);
		if (clone < 0)
			return -1;
		close(layers->fds[i]);
		layers->fds[i] = clone;
		if (fs_mount_idmap(clone, userns_fd, false, err) < 0)
			return -1;
	}
	return 0;
}

int rootfs_container_open_rw(struct container *c, struct err *err)
{
	auto_close int dir = container_dir(c, err);
	auto_close int upper = dir < 0 ? -1 : fs_open_dir(dir, "upper", err);
	auto_close int work = upper < 0 ? -1 : fs_open_dir(dir, "work", err);
	struct image_layers layers = {0};

	if (work < 0 || image_layers_open(c->engine->images, c->image_id, &layers, err) < 0)
		return -1;
	auto_close int userns_fd = -1;
	int fd = -1;
	if (c->first_id)
		userns_fd = userns_open_mapped(0, c->first_id, IDS_COUNT, err);
	if (!c->first_id || (userns_fd >= 0 && map_layers(&layers, userns_fd, err) == 0)) {
		struct overlay o = {layers.fds, layers.count, upper, work};
		fd = mount_overlay(&o, err);
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

int container_layers_open(struct engine *engine, const char *ref, struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);

	return c ? rootfs_container_open(c, err) : -1;
}
