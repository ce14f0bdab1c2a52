/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/volume.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/db.h"
#include "base/fs.h"
#include "base/str.h"
#include "engine/copy.h"
#include "engine/event.h"
#include "engine/filter.h"
#include "engine/private.h"
#include "engine/volumes.h"

#define TEXT_MAX (1u << 20)

struct pairs {
	struct json_strmap map;
};
static const struct json_field pairs_fields[] = {
	JSON_FIELD(struct pairs, map, "m", JSON_STRMAP, .empty = JSON_EMPTY_EMPTY),
	JSON_END,
};
static const struct json_table pairs_table = JSON_TABLE(struct pairs, pairs_fields);

static int write_map(const struct json_strmap *map, struct buf *out, struct err *err)
{
	struct pairs pairs = {*map};

	if (json_encode_text(&pairs_table, &pairs, out, err) < 0)
		return -1;
	return buf_check(out, err);
}

static int read_map(const char *text, struct arena *arena, struct json_strmap *map, struct err *err)
{
	struct pairs pairs = {0};

	if (json_decode_text(text, strlen(text), &pairs_table, arena, &pairs, err) < 0)
		return -1;
	*map = pairs.map;
	return 0;
}

#define COLUMNS                                                                                    \
	"select name, labels, options, created, anonymous, (select count(*) from volume_use "      \
	"where volume = name) from volume "

static int read_row(struct engine *engine, struct db_rows *row, struct arena *arena,
                    struct volume *out, struct err *err)
{
	struct volume v = {.size = -1};

	v.name = arena_strdup(arena, db_text(row, 0), err);
	v.driver = arena_strdup(arena, "local", err);
	v.scope = arena_strdup(arena, "local", err);
	v.mountpoint =
		arena_printf(arena, err, "%s/volumes/%s/_data", engine->root, db_text(row, 0));
	if (!v.name || !v.driver || !v.scope || !v.mountpoint ||
	    read_map(db_text(row, 1), arena, &v.labels, err) < 0 ||
	    read_map(db_text(row, 2), arena, &v.options, err) < 0)
		return -1;
	v.created_ns = db_int(row, 3);
	v.anonymous = db_int(row, 4);
	v.ref_count = db_int(row, 5);
	*out = v;
	return 0;
}

int volume_find(struct engine *engine, const char *name, struct arena *arena, struct volume *out,
                struct err *err)
{
	auto_type(db_rows) rows = db_query(engine->db, err, COLUMNS "where name = ?", "t", name);
	int rc = rows ? db_step(rows, err) : -1;

	if (rc < 0)
		return -1;
	if (rc == 0)
		return err_set(err, ERR_NOT_FOUND, "get %s: no such volume", name);
	return read_row(engine, rows, arena, out, err);
}

static int make_dir(struct engine *engine, const char *name, struct err *err)
{
	auto_close int dir = fs_mkdir_all(engine->volumes_fd, name, 0711, err);
	auto_close int data = dir < 0 ? -1 : fs_mkdir_all(dir, "_data", 0755, err);

	return data < 0 ? -1 : 0;
}

static int insert(struct engine *engine, const struct volume_spec *spec, const char *name,
                  struct err *err)
{
	auto_buf struct buf labels = BUF_INIT(TEXT_MAX), options = BUF_INIT(TEXT_MAX);
	int64_t anonymous = str_empty(spec->name);

	if (write_map(&spec->labels, &labels, err) < 0 ||
	    write_map(&spec->options, &options, err) < 0 || make_dir(engine, name, err) < 0)
		return -1;
	return db_exec(engine->db, err, "insert into volume values(?,?,?,?,?)", "tttii", name,
	               buf_str(&labels), buf_str(&options), clock_wall_ns(), anonymous);
}

int volume_create(struct engine *engine, const struct volume_spec *spec, struct arena *arena,
                  struct volume *out, struct err *err)
{
	char made[ID_HEX_MAX];
	const char *name = str_empty(spec->name) ? id_make_hex(made) : spec->name;
	struct err why = ERR_INIT;
	int rc;

	if (id_check_name(name, "volume name", err) < 0)
		return -1;
	if (!str_empty(spec->driver) && !str_eq(spec->driver, "local"))
		return err_set(err, ERR_NOT_FOUND,
		               "error looking up volume plugin %s: plugin \"%s\" "
		               "not found",
		               spec->driver, spec->driver);
	if (spec->options.count)
		return err_set(err, ERR_UNSUPPORTED,
		               "volume option '%s' is not supported by the "
		               "local driver",
		               spec->options.items[0].key);
	pthread_mutex_lock(&engine->volume_lock);
	rc = volume_find(engine, name, arena, out, &why);
	bool made_now = rc < 0 && err_is(&why, ERR_NOT_FOUND);
	if (made_now)
		rc = insert(engine, spec, name, &why) < 0
		             ? -1
		             : volume_find(engine, name, arena, out, &why);
	pthread_mutex_unlock(&engine->volume_lock);
	if (rc < 0) {
		if (err)
			*err = why;
		return -1;
	}
	if (made_now)
		event_add(engine, "volume", "create", name, "driver", "local", NULL);
	return 0;
}

static int64_t measure(struct engine *engine, const char *name)
{
	uint64_t bytes = 0, entries;

	if (fs_disk_usage(engine->volumes_fd, name, &bytes, &entries, NULL) < 0)
		return 0;
	return (int64_t)bytes;
}

int volume_list(struct engine *engine, bool with_size, struct arena *arena, struct volume **out,
                size_t *count, struct err *err)
{
	int64_t room = 0;
	size_t n = 0;
	int rc = db_query_int(engine->db, err, &room, "select count(*) from volume", "");

	if (rc < 0)
		return -1;
	struct volume *list = arena_array(arena, (size_t)room + 1, sizeof(*list), err);
	if (!list)
		return -1;
	auto_type(db_rows) rows = db_query(engine->db, err, COLUMNS "order by name", "");
	if (!rows)
		return -1;
	while (n < (size_t)room && (rc = db_step(rows, err)) > 0)
		if (read_row(engine, rows, arena, &list[n++], err) < 0)
			return -1;
	if (rc < 0)
		return -1;
	for (size_t i = 0; with_size && i < n; i++)
		list[i].size = measure(engine, list[i].name);
	*out = list;
	*count = n;
	return 0;
}

static int in_use(struct engine *engine, const char *name, struct err *err)
{
	auto_type(db_rows) rows = db_query(
		engine->db, err, "select container from volume_use where volume = ?", "t", name);
	int rc = rows ? db_step(rows, err) : -1;

	if (rc > 0)
		return err_set(err, ERR_CONFLICT, "remove %s: volume is in use - [%s]", name,
		               db_text(rows, 0));
	return rc;
}

/* The row goes first: a directory without one is swept at the next start. */
static int remove_one(struct engine *engine, const char *name, struct err *err)
{
	if (in_use(engine, name, err) < 0 ||
	    db_exec(engine->db, err, "delete from volume where name = ?", "t", name) < 0)
		return -1;
	if (fs_remove_tree(engine->volumes_fd, name, err) < 0)
		return err_wrap(err, "volume %s", name);
	return 0;
}

int volume_remove(struct engine *engine, const char *name, bool force, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(TEXT_MAX * 4);
	struct err why = ERR_INIT;
	struct volume volume;
	int rc;

	pthread_mutex_lock(&engine->volume_lock);
	rc = volume_find(engine, name, &arena, &volume, &why);
	bool missing = rc < 0 && err_is(&why, ERR_NOT_FOUND);
	if (rc == 0)
		rc = remove_one(engine, name, &why);
	pthread_mutex_unlock(&engine->volume_lock);
	if (missing && force)
		return 0;
	if (rc < 0) {
		if (err)
			*err = why;
		return -1;
	}
	event_add(engine, "volume", "destroy", name, "driver", "local", NULL);
	return 0;
}

int64_t volume_prune(struct engine *engine, bool all, const struct json *filters,
                     struct arena *arena, struct json_strings *removed, struct err *err)
{
	static const char *const allowed[] = {"all", "label", "label!", NULL};
	struct volume *list;
	size_t count;
	int64_t bytes = 0;

	if (filter_check(filters, allowed, err) < 0 || filter_bool(filters, "all", &all, err) < 0 ||
	    volume_list(engine, false, arena, &list, &count, err) < 0)
		return -1;
	char **names = arena_array(arena, count + 1, sizeof(*names), err);
	if (!names)
		return -1;
	*removed = (struct json_strings){names, 0, true};
	for (size_t i = 0; i < count; i++) {
		if (list[i].ref_count || (!list[i].anonymous && !all) ||
		    !filter_matches_labels(filters, &list[i].labels))
			continue;
		int64_t size = measure(engine, list[i].name);
		if (volume_remove(engine, list[i].name, false, NULL) == 0) {
			bytes += size;
			names[removed->count++] = list[i].name;
		}
	}
	return bytes;
}

static int any_entry(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	(void)arg, (void)dir_fd, (void)name, (void)d_type;
	return 1;
}

int volumes_fill(struct engine *engine, const char *name, int root_fd, const char *path,
                 struct err *err)
{
	auto_buf struct buf data = BUF_INIT(512);
	int from = fs_open_in(root_fd, path, O_RDONLY | O_DIRECTORY, 0, NULL);
	int rc = 0;

	if (from < 0)
		return 0;
	buf_addf(&data, "%s/_data", name);
	int to = fs_open_dir(engine->volumes_fd, buf_str(&data), err);
	int used = to < 0 ? -1 : fs_list(to, any_entry, NULL, err);
	if (used == 0)
		rc = copy_tree(from, to, err);
	else if (used < 0)
		rc = -1;
	if (to >= 0)
		close(to);
	close(from);
	return rc < 0 ? err_wrap(err, "volume %s: copying %s from the image", name, path) : 0;
}

void volumes_drop(struct engine *engine, const struct config *config)
{
	for (size_t i = 0; i < config->mount_count; i++) {
		const struct container_mount *m = &config->mounts[i];
		int64_t anonymous = 0;
		if (!str_eq(m->type, "volume") ||
		    db_query_int(engine->db, NULL, &anonymous,
		                 "select anonymous from volume where name = ?", "t", m->name) <= 0)
			continue;
		if (anonymous)
			(void)volume_remove(engine, m->name, false, NULL);
	}
}

static int sweep_one(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	struct engine *engine = arg;
	int64_t found = 0;

	(void)d_type;
	if (db_query_int(engine->db, NULL, &found, "select count(*) from volume where name = ?",
	                 "t", name) > 0 &&
	    found == 0)
		(void)fs_remove_tree(dir_fd, name, NULL);
	return 0;
}

int volumes_sweep(struct engine *engine, struct err *err)
{
	return fs_list(engine->volumes_fd, sweep_one, engine, err);
}
