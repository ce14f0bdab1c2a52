/* SPDX-License-Identifier: Apache-2.0 */
/* Files of containers: archive (docker cp) and changes (docker diff). */

#include "engine/archive.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "daemon/daemon.h"
#include "daemon/tar_stream.h"

#define HEADER_MAX (32u << 10)
#define STAT_NAME  "X-Docker-Container-Path-Stat"

/* A mode as Go's os.FileMode has it: permissions where everyone has them, the rest elsewhere. */
static int64_t go_mode(mode_t mode)
{
	static const struct {
		mode_t type;
		unsigned bits;
	} types[] = {
		{S_IFDIR, 1u << 31}, {S_IFLNK, 1u << 27},  {S_IFBLK, 1u << 26},
		{S_IFIFO, 1u << 25}, {S_IFSOCK, 1u << 24}, {S_IFCHR, 1u << 26 | 1u << 21},
	};
	unsigned out = mode & 0777;

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if ((mode & S_IFMT) == types[i].type)
			out |= types[i].bits;
	out |= mode & S_ISUID ? 1u << 23 : 0;
	out |= mode & S_ISGID ? 1u << 22 : 0;
	out |= mode & S_ISVTX ? 1u << 20 : 0;
	return out;
}

static int stat_header(struct http_request *req, const struct archive_path *path, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(HEADER_MAX), encoded = BUF_INIT(2 * HEADER_MAX);
	auto_type(json) doc = json_object();
	char time[CLOCK_TEXT_MAX];
	int64_t mtime = path->st.st_mtim.tv_sec * 1000000000LL + path->st.st_mtim.tv_nsec;

	json_set(doc, "name", json_string(path->name));
	json_set(doc, "size", json_int(path->st.st_size));
	json_set(doc, "mode", json_int(go_mode(path->st.st_mode)));
	json_set(doc, "mtime", json_string(clock_format(mtime, time)));
	json_set(doc, "linkTarget", json_string(path->link_target ? path->link_target : ""));
	if (json_write(doc, &text, err) < 0)
		return -1;
	base64_encode(buf_str(&text), text.len, &encoded);
	if (buf_check(&encoded, err) < 0)
		return -1;
	return http_reply_header(req, STAT_NAME, buf_str(&encoded), err);
}

static int open_query(struct daemon *d, struct http_request *req, struct archive_path *path,
                      struct err *err)
{
	const char *text = http_query(req, "path");

	if (str_empty(text))
		return err_set(err, ERR_INVALID, "bad parameter: path cannot be empty");
	if (archive_open(d->engine, http_arg(req, 0), text, path, err) < 0)
		return -1;
	return stat_header(req, path, err);
}

static int head(void *ctx, struct http_request *req, struct err *err)
{
	auto_archive_path path = {.dir_fd = -1};

	if (open_query(ctx, req, &path, err) < 0)
		return -1;
	return http_reply_empty(req, 200);
}

static int make_archive(struct tar_stream *p, int out_fd, struct err *err)
{
	return archive_write(p->d->engine, p->path, out_fd, err);
}

static int get(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_archive_path path = {.dir_fd = -1};
	struct tar_stream stream = {.make = make_archive, .d = d, .path = &path, .err = ERR_INIT};

	if (open_query(d, req, &path, err) < 0)
		return -1;
	return tar_stream_run(req, &stream, "application/x-tar", err);
}

static int put(void *ctx, struct http_request *req, struct err *err)
{
	const char *path = http_query(req, "path");
	struct daemon *d = ctx;
	bool keep_type, copy_ids;

	if (str_empty(path))
		return err_set(err, ERR_INVALID, "bad parameter: path cannot be empty");
	if (http_query_bool(req, "noOverwriteDirNonDir", false, &keep_type, err) < 0 ||
	    http_query_bool(req, "copyUIDGID", false, &copy_ids, err) < 0)
		return -1;
	auto_close int tar = http_body_fd(req, err);
	if (tar < 0 || archive_extract(d->engine, http_arg(req, 0), path, tar, keep_type, err) < 0)
		return -1;
	if (http_body_check(req, err) < 0)
		return -1;
	return http_reply_empty(req, 200);
}

/* ---- changes ---- */

static int add_change(void *arg, char kind, const char *path)
{
	struct json *entry = json_object();

	json_set(entry, "Path", json_string(path));
	json_set(entry, "Kind", json_int(kind == 'A' ? 1 : kind == 'D' ? 2 : 0));
	return json_append(arg, entry);
}

static int changes(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	struct json *list = json_array();

	if (archive_changes(d->engine, http_arg(req, 0), add_change, list, err) < 0) {
		json_free(list);
		return -1;
	}
	return http_reply_json(req, 200, list);
}

const struct http_route archive_routes[] = {
	{"HEAD", "/containers/{}/archive", head, false},
	{"GET", "/containers/{}/archive", get, false},
	{"PUT", "/containers/{}/archive", put, true},
	{"GET", "/containers/{}/changes", changes, false},
	{NULL, NULL, NULL, false},
};
