/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/checkpoint_outside.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/cgroup.h"
#include "runtime/container.h"
#include "runtime/criu.h"
#include "runtime/mount_options.h"
#include "runtime/rootfs.h"
#include "runtime/spec.h"

#define MOUNTINFO_MAX (16 << 20)
#define NETWORK_KEY   "extRootNetNS" /* as other runtimes call them in their images */
#define PID_KEY       "extRootPidNS"

/* ---- descriptors ---- */

int outside_path(int fd, struct buf *out, struct err *err)
{
	char name[16];
	auto_close int fds = fs_trusted_open_dir("/proc/self/fd", false, err);

	(void)snprintf(name, sizeof(name), "%d", fd);
	return fds < 0 ? -1 : fs_readlink(fds, name, out, err);
}

/* A line of mountinfo begins with the mount's id. */
static bool has_mount(pid_t pid, int mount_id)
{
	auto_buf struct buf text = BUF_INIT(MOUNTINFO_MAX);
	char path[64], start[24];

	(void)snprintf(path, sizeof(path), "/proc/%d/mountinfo", pid);
	(void)snprintf(start, sizeof(start), "%d ", mount_id);
	if (fs_trusted_read(path, MOUNTINFO_MAX, &text, NULL) < 0)
		return false;
	for (const char *line = buf_str(&text); *line;
	     line += strcspn(line, "\n"), line += *line == '\n')
		if (str_starts(line, start))
			return true;
	return false;
}

static int find_mount_id(pid_t pid, int fd, int *id, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(4096);
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	if (fs_trusted_read(path, 4096, &text, err) < 0)
		return -1;
	const char *at = strstr(buf_str(&text), "mnt_id:");
	uint64_t number;
	if (at)
		at += strcspn(at, " \t");
	if (at)
		at += strspn(at, " \t");
	if (!at || !id_scan_u64(&at, &number) || number > INT_MAX)
		return err_set(err, ERR_INTERNAL, "%s: no mnt_id", path);
	*id = (int)number;
	return 0;
}

int outside_describe_fd(pid_t pid, int fd, char *key, size_t size, bool *external, struct err *err)
{
	auto_buf struct buf link = BUF_INIT(PATH_MAX);
	char path[64], name[16];
	struct stat st;
	int mount_id;

	*external = false;
	(void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	(void)snprintf(name, sizeof(name), "%d", fd);
	auto_close int fds = fs_trusted_open_dir(path, false, err);
	if (fds < 0 || fs_readlink(fds, name, &link, err) < 0)
		return -1;
	(void)snprintf(key, size, "%s", buf_str(&link));
	if (*key != '/')
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	if (stat(path, &st) < 0)
		return err_sys(err, "%s", path);
	if (!S_ISREG(st.st_mode))
		return 0;
	if (find_mount_id(pid, fd, &mount_id, err) < 0)
		return -1;
	*external = !has_mount(pid, mount_id);
	if (*external)
		(void)snprintf(key, size, "file[%x:%lx]", (unsigned)mount_id,
		               (unsigned long)st.st_ino);
	return 0;
}

bool outside_is_inherited(const char *key)
{
	return str_starts(key, "pipe:[") || str_starts(key, "file[");
}

/* ---- namespaces ---- */

const char *outside_namespace_key(int flag)
{
	if (flag == CLONE_NEWNET)
		return NETWORK_KEY;
	return flag == CLONE_NEWPID ? PID_KEY : NULL;
}

const char *outside_namespace_file(int flag)
{
	static const struct {
		int flag;
		const char *file;
	} all[] = {{CLONE_NEWNET, "net"},   {CLONE_NEWPID, "pid"},      {CLONE_NEWIPC, "ipc"},
	           {CLONE_NEWUTS, "uts"},   {CLONE_NEWNS, "mnt"},       {CLONE_NEWUSER, "user"},
	           {CLONE_NEWTIME, "time"}, {CLONE_NEWCGROUP, "cgroup"}};

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (all[i].flag == flag)
			return all[i].file;
	return "";
}

int outside_add_namespaces(const struct oci_spec *spec, pid_t pid, struct buf *options,
                           struct err *err)
{
	const struct oci_namespace *all = spec->linux_.namespaces.items;
	char text[96];
	struct stat st;

	for (size_t i = 0; i < spec->linux_.namespaces.count; i++) {
		const char *key = outside_namespace_key(all[i].flag);
		if (!all[i].path || !key)
			continue;
		const char *file = outside_namespace_file(all[i].flag);
		(void)snprintf(text, sizeof(text), "/proc/%d/ns/%s", pid, file);
		if (stat(text, &st) < 0)
			return err_sys(err, "%s", text);
		(void)snprintf(text, sizeof(text), "%s[%lu]:%s", file, (unsigned long)st.st_ino,
		               key);
		criu_add_text(options, CRIU_OPT_EXTERNAL, text);
	}
	return 0;
}

/* ---- mounts ---- */

/* A checkpoint gives each a name, a restore the source behind that name. The name is the mount point. */
static void add_mount(struct buf *options, const char *where, const char *source, bool restore)
{
	char text[2 * PATH_MAX + 16];

	(void)snprintf(text, sizeof(text), "mnt[%s]:%s", where, restore ? source : where);
	criu_add_text(options, CRIU_OPT_EXTERNAL, text);
}

static void add_bind(struct buf *options, const struct container *c, const struct oci_mount *m,
                     bool restore)
{
	char source[PATH_MAX];

	(void)snprintf(source, sizeof(source), "%s%s%s", *m->source == '/' ? "" : c->bundle,
	               *m->source == '/' ? "" : "/", m->source);
	add_mount(options, m->destination, source, restore);
}

/* As mounts.c has them: version 2 alone is one mount, else there is one per hierarchy. */
static void add_cgroups(struct buf *options, const struct cgroup *cg, const char *destination,
                        bool restore)
{
	size_t count = cgroup_hierarchy_count(cg);

	for (size_t i = 0; i < count; i++) {
		auto_buf struct buf path = BUF_INIT(PATH_MAX);
		char where[PATH_MAX];
		const char *name;
		bool v2;
		int fd = cgroup_hierarchy_fd(cg, i, &name, &v2);
		if (fd < 0 || outside_path(fd, &path, NULL) < 0)
			continue;
		bool alone = count == 1 && v2;
		(void)snprintf(where, sizeof(where), "%s%s%s", destination, alone ? "" : "/",
		               alone ? "" : name);
		add_mount(options, where, buf_str(&path), restore);
	}
}

/* Nodes are the host's where the container could make none. Those that it could make are no mounts, and then nobody asks
 * for these names. */
static void add_devices(struct buf *options, const struct oci_spec *spec, bool restore)
{
	const struct oci_device *devices = spec->linux_.devices.items;
	char path[32];

	for (size_t i = 0; i < ROOTFS_DEVICES; i++) {
		(void)snprintf(path, sizeof(path), "/dev/%s", rootfs_devices[i].name);
		add_mount(options, path, path, restore);
	}
	for (size_t i = 0; i < spec->linux_.devices.count; i++)
		add_mount(options, devices[i].path, devices[i].path, restore);
}

/* A masked file shows the host's null device; a masked directory a file system of the container's own, which CRIU is not to
 * leave out. Which is which, only the container can tell; a restore goes by what was left out. */
static void add_masks(struct buf *options, const struct container *c, bool restore)
{
	const struct json_strings *masked = &c->spec->linux_.masked_paths;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/root", (int)c->pid);
	auto_close int root = restore ? -1 : fs_trusted_open(path, O_PATH | O_DIRECTORY, 0, NULL);
	for (size_t i = 0; i < masked->count; i++) {
		struct stat st;
		auto_close int fd =
			root < 0 ? -1 : fs_open_in(root, masked->items[i], O_PATH, 0, NULL);
		if (restore || (fd >= 0 && fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode)))
			add_mount(options, masked->items[i], "/dev/null", restore);
	}
}

void outside_add_mounts(const struct container *c, const struct cgroup *cg, bool restore,
                        struct buf *options)
{
	const struct oci_mount *mounts = c->spec->mounts.items;

	for (size_t i = 0; i < c->spec->mounts.count; i++) {
		const struct oci_mount *m = &mounts[i];
		if (m->plan->bind && !m->plan->remount)
			add_bind(options, c, m, restore);
		else if (cg && (str_eq(m->type, "cgroup") || str_eq(m->type, "cgroup2")))
			add_cgroups(options, cg, m->destination, restore);
	}
	add_masks(options, c, restore);
	add_devices(options, c->spec, restore);
}

/* ---- cgroups ---- */

void outside_add_cgroup_roots(const struct cgroup *cg, struct buf *options)
{
	for (size_t i = 0; i < cgroup_hierarchy_count(cg); i++) {
		const char *name;
		bool v2;
		if (cgroup_hierarchy_fd(cg, i, &name, &v2) < 0)
			continue;
		if (str_eq(name, "systemd"))
			name = "name=systemd";
		criu_add_pair(options, CRIU_OPT_CG_ROOT, v2 ? NULL : name, cgroup_path(cg));
	}
}

bool outside_freezer(const struct cgroup *cg, char *path, size_t size)
{
	bool found = false;

	for (size_t i = 0; i < cgroup_hierarchy_count(cg); i++) {
		auto_buf struct buf text = BUF_INIT(PATH_MAX);
		const char *name;
		bool v2;
		int fd = cgroup_hierarchy_fd(cg, i, &name, &v2);
		bool freezer = str_eq(name, "freezer");
		if (fd < 0 || !(freezer || (v2 && !found)) || outside_path(fd, &text, NULL) < 0)
			continue;
		(void)snprintf(path, size, "%s", buf_str(&text));
		found = true;
		if (freezer) /* version 1's goes first: the other one knows only what is in no version 1 freezer */
			return true;
	}
	return found;
}

/* ---- mount points ---- */

/* What lies below another file system than the root's, CRIU makes itself, or is there. */
static bool is_below_another(const struct oci_spec *spec, const struct oci_mount *m)
{
	const struct oci_mount *all = spec->mounts.items;

	for (const struct oci_mount *other = all; other < m; other++) {
		size_t len = strlen(other->destination);
		if (!other->plan->remount && len > 1 &&
		    strncmp(m->destination, other->destination, len) == 0 &&
		    m->destination[len] == '/')
			return true;
	}
	return false;
}

static int source_is_directory(const struct container *c, const struct oci_mount *m, bool *is,
                               struct err *err)
{
	struct stat st;
	auto_close int bundle = fs_trusted_open_dir(c->bundle, false, err);
	auto_close int fd = bundle < 0          ? -1
	                    : *m->source == '/' ? fs_trusted_open(m->source, O_PATH, 0, err)
	                                        : fs_open_in(bundle, m->source, O_PATH, 0, err);

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		return err_sys(err, "source");
	*is = S_ISDIR(st.st_mode);
	return 0;
}

int outside_make_targets(const struct container *c, int root_fd, struct err *err)
{
	const struct oci_mount *all = c->spec->mounts.items;
	auto_close int opened = root_fd > 0 ? -1 : fs_trusted_open_dir(c->rootfs, false, err);
	const struct rootfs fs = {
		.root_fd = root_fd > 0 ? root_fd : opened, .null_fd = -1, .empty_fd = -1};

	if (fs.root_fd < 0)
		return err_wrap(err, "root.path");
	for (size_t i = 0; i < c->spec->mounts.count; i++) {
		const struct oci_mount *m = &all[i];
		bool directory = true;
		if (m->plan->remount || is_below_another(c->spec, m))
			continue;
		if (m->plan->bind && source_is_directory(c, m, &directory, err) < 0)
			return err_wrap(err, "mounts[%zu] (%s)", i, m->destination);
		int fd = rootfs_open_target(&fs, m->destination, directory, err);
		if (fd < 0)
			return err_wrap(err, "mounts[%zu] (%s)", i, m->destination);
		close(fd);
	}
	return 0;
}
