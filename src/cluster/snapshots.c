/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/snapshots.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "cluster/backup.h"

#define PATTERN   "dddd-dd-ddTddddddZ.backup"
#define NS_PER_S  1000000000
#define NS_PER_MS 1000000
#define FILES_MAX 4096

int snapshots_check(const struct snapshots_settings *settings, struct err *err)
{
	if (settings->interval_s < 0)
		return err_set(err, ERR_INVALID,
		               "snapshots: an interval of a second at least, or 0 for none");
	if (settings->keep < 1 || settings->keep > SNAPSHOTS_KEEP_MAX)
		return err_set(err, ERR_INVALID, "snapshots: between 1 and %d can be kept",
		               SNAPSHOTS_KEEP_MAX);
	return 0;
}

/* ---- names ---- */

static bool is_name(const char *text)
{
	if (!text || strlen(text) != strlen(PATTERN))
		return false;
	for (size_t i = 0; PATTERN[i]; i++)
		if (PATTERN[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != PATTERN[i])
			return false;
	return true;
}

static void make_name(int64_t wall_ns, char name[SNAPSHOTS_NAME_MAX])
{
	char t[CLOCK_TEXT_MAX];

	clock_format(wall_ns, t);
	snprintf(name, SNAPSHOTS_NAME_MAX, "%.13s%.2s%.2sZ.backup", t, t + 14, t + 17);
}

/* When it was made, as Docker's times are written. */
static void time_of(const char *name, char text[CLOCK_TEXT_MAX])
{
	snprintf(text, CLOCK_TEXT_MAX, "%.13s:%.2s:%.2sZ", name, name + 13, name + 15);
}

/* ---- the directory ---- */

struct listing {
	char names[FILES_MAX][SNAPSHOTS_NAME_MAX];
	size_t count;
	struct err *err;
};

static int add_name(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	struct listing *list = arg;

	(void)dir_fd, (void)d_type;
	if (!is_name(name))
		return 0;
	if (list->count == FILES_MAX)
		return err_set(list->err, ERR_LIMIT, "more than %d snapshots in one directory",
		               FILES_MAX);
	snprintf(list->names[list->count++], SNAPSHOTS_NAME_MAX, "%s", name);
	return 0;
}

static int newest_first(const void *a, const void *b)
{
	return strcmp(b, a);
}

/* Owned; freed by free(). */
static struct listing *read_listing(int dir_fd, struct err *err)
{
	struct listing *list = calloc(1, sizeof(*list));

	if (!list) {
		err_nomem(err);
		return NULL;
	}
	list->err = err;
	if (fs_list(dir_fd, add_name, list, err) < 0) {
		free(list);
		return NULL;
	}
	qsort(list->names, list->count, SNAPSHOTS_NAME_MAX, newest_first);
	return list;
}

int snapshots_write(int dir_fd, int64_t wall_ns, const struct buf *text,
                    char name[SNAPSHOTS_NAME_MAX], struct err *err)
{
	make_name(wall_ns, name);
	return fs_write_durable(dir_fd, name, text->data, text->len, 0600, err);
}

int snapshots_prune(int dir_fd, int64_t keep, struct err *err)
{
	auto_free struct listing *list = read_listing(dir_fd, err);
	int removed = 0;

	if (!list)
		return -1;
	for (size_t i = (size_t)keep; i < list->count; i++, removed++)
		if (fs_unlink(dir_fd, list->names[i], err) < 0)
			return -1;
	return removed;
}

int64_t snapshots_due_ms(int dir_fd, int64_t interval_s, int64_t wall_ns)
{
	auto_free struct listing *list = read_listing(dir_fd, NULL);
	char text[CLOCK_TEXT_MAX];
	int64_t made;

	if (!list || list->count == 0)
		return 0;
	time_of(list->names[0], text);
	if (clock_parse(text, &made, NULL) < 0 || made > wall_ns)
		return 0;
	int64_t due = made + interval_s * NS_PER_S - wall_ns;
	return due <= 0 ? 0 : due / NS_PER_MS + 1;
}

struct json *snapshots_list(int dir_fd, struct err *err)
{
	auto_free struct listing *list = read_listing(dir_fd, err);
	struct json *out = list ? json_array() : NULL;

	for (size_t i = 0; list && i < list->count; i++) {
		struct json *item;
		char text[CLOCK_TEXT_MAX];
		struct stat st;

		if (fs_stat(dir_fd, list->names[i], &st, NULL) < 0)
			continue; /* it has just gone */
		item = json_object();
		time_of(list->names[i], text);
		json_set(item, "Name", json_string(list->names[i]));
		json_set(item, "Created", json_string(text));
		json_set(item, "Size", json_int((int64_t)st.st_size));
		json_append(out, item);
	}
	return out;
}

int snapshots_read(int dir_fd, const char *name, struct buf *out, struct err *err)
{
	if (!is_name(name))
		return err_set(err, ERR_INVALID, "%.60s: no snapshot is called so", name);
	return fs_read(dir_fd, name, BACKUP_MAX, out, err);
}
