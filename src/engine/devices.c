/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/devices.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "api/container.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"

#define DEVICES_MAX 4096 /* of a privileged container */

struct lists {
	struct json *nodes, *rules;
	int bad;
	struct buf *path; /* while walking */
	int left;
};

static int rule(struct json *list, bool allow, const char *type, int64_t major, int64_t minor,
                const char *access)
{
	struct json *one = json_object();
	int bad = json_set(one, "allow", json_bool(allow)) |
	          json_set(one, "access", json_string(access));

	if (type)
		bad |= json_set(one, "type", json_string(type));
	if (major >= 0)
		bad |= json_set(one, "major", json_int(major));
	if (minor >= 0)
		bad |= json_set(one, "minor", json_int(minor));
	return json_append(list, one) | bad;
}

static int usual_rules(struct json *list)
{
	static const struct {
		int major, minor;
	} nodes[] = {{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 1}, {5, 2}, {136, -1}};
	int bad = rule(list, false, NULL, -1, -1, "rwm") | rule(list, true, "c", -1, -1, "m") |
	          rule(list, true, "b", -1, -1, "m");

	for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
		bad |= rule(list, true, "c", nodes[i].major, nodes[i].minor, "rwm");
	return bad;
}

static int node(struct lists *lists, const char *path, const struct stat *st, const char *access)
{
	const char *type = S_ISBLK(st->st_mode) ? "b" : "c";
	struct json *one = json_object();
	int bad = json_set(one, "path", json_string(path)) |
	          json_set(one, "type", json_string(type)) |
	          json_set(one, "major", json_int(major(st->st_rdev))) |
	          json_set(one, "minor", json_int(minor(st->st_rdev))) |
	          json_set(one, "fileMode", json_int(st->st_mode & 07777)) |
	          json_set(one, "uid", json_int(st->st_uid)) |
	          json_set(one, "gid", json_int(st->st_gid)) | json_append(lists->nodes, one);

	if (access)
		bad |= rule(lists->rules, true, type, major(st->st_rdev), minor(st->st_rdev),
		            access);
	return bad;
}

static int add_device(struct lists *lists, const struct api_device *d, struct err *err)
{
	const char *target =
		str_empty(d->path_in_container) ? d->path_on_host : d->path_in_container;
	const char *access = str_empty(d->cgroup_permissions) ? "rwm" : d->cgroup_permissions;
	struct stat st;

	if (str_empty(d->path_on_host) || *d->path_on_host != '/')
		return err_set(err, ERR_INVALID, "Devices: PathOnHost must be an absolute path");
	if (access[strspn(access, "rwm")])
		return err_set(err, ERR_INVALID, "invalid device cgroup permissions '%s': r, w, m",
		               access);
	auto_close int fd = fs_trusted_open(d->path_on_host, O_PATH, 0, err);
	if (fd < 0)
		return err_wrap(err,
		                "error gathering device information while adding custom device "
		                "\"%s\"",
		                d->path_on_host);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "device %s", d->path_on_host);
	if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, ERR_INVALID,
		               "error gathering device information while adding "
		               "custom device \"%s\": not a device node",
		               d->path_on_host);
	lists->bad |= node(lists, target, &st, access);
	return 0;
}

static int walk(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	static const char *const skip[] = {"pts", "shm",     "mqueue", "hugepages",
	                                   "fd",  "console", "ptmx"};
	struct lists *lists = arg;
	struct stat st;
	size_t before = lists->path->len;

	(void)d_type;
	for (size_t i = 0; i < ARRAY_LEN(skip); i++)
		if (str_eq(name, skip[i]))
			return 0;
	if (fs_stat(dir_fd, name, &st, NULL) < 0 || lists->left == 0)
		return 0;
	buf_addf(lists->path, "/%s", name);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
		lists->left--;
		if (st.st_rdev != 0)
			lists->bad |= node(lists, buf_str(lists->path), &st, NULL);
	} else if (S_ISDIR(st.st_mode)) {
		auto_close int dir = fs_open_dir(dir_fd, name, NULL);
		if (dir >= 0)
			(void)fs_list(dir, walk, lists, NULL);
	}
	lists->path->len = before;
	lists->path->data[before] = '\0';
	return 0;
}

static int add_all(struct lists *lists, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(4096);
	auto_close int dev = fs_trusted_open("/dev", O_RDONLY | O_DIRECTORY, 0, err);

	if (dev < 0)
		return -1;
	buf_add(&path, "/dev");
	lists->path = &path;
	lists->left = DEVICES_MAX;
	return fs_list(dev, walk, lists, err);
}

int devices_spec(const struct api_host_config *host, struct json *linux_json,
                 struct json *resources, struct err *err)
{
	struct lists lists = {.nodes = json_array(), .rules = json_array()};
	int rc = 0;

	lists.bad |= host->privileged ? rule(lists.rules, true, NULL, -1, -1, "rwm")
	                              : usual_rules(lists.rules);
	if (host->privileged)
		rc = add_all(&lists, err);
	for (size_t i = 0; rc == 0 && i < host->devices.count; i++)
		rc = add_device(&lists, (const struct api_device *)host->devices.items + i, err);
	lists.bad |= json_set(linux_json, "devices", lists.nodes);
	lists.bad |= json_set(resources, "devices", lists.rules);
	if (rc == 0 && lists.bad)
		return err_nomem(err);
	return rc;
}
