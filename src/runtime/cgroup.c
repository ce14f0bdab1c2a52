/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/cgroup.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/str.h"
#include "runtime/cgroup_impl.h"

#define FILE_MAX_BYTES (1 << 20)
#define REMOVE_WAIT_MS 2000
#define FREEZE_WAIT_MS 2000
#define DEPTH_MAX      32
#define MAKE_TRIES     16

/* ---- what is mounted ---- */

static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = list; p; p = strchr(p, ',')) {
		p += *p == ',';
		if (strncmp(p, word, len) == 0 && (p[len] == ',' || p[len] == '\0'))
			return true;
	}
	return false;
}

/* Super options of a v1 mount hold its controllers among words like rw. */
static void add_controllers(char *out, size_t size, const char *options)
{
	static const char *const known[] = {"cpu",     "cpuacct", "cpuset",      "memory",
	                                    "devices", "freezer", "blkio",       "pids",
	                                    "hugetlb", "net_cls", "net_prio",    "perf_event",
	                                    "rdma",    "misc",    "name=systemd"};
	size_t used = 0;

	*out = '\0';
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (has_word(options, known[i]) && used + strlen(known[i]) + 2 < size)
			used += (size_t)snprintf(out + used, size - used, "%s%s", used ? "," : "",
			                         known[i]);
}

/* Another mount may lie over this one: then its path leads elsewhere or nowhere. */
static bool is_visible(const struct cgroup_hierarchy *h)
{
	struct statfs fs;

	if (statfs(h->mount, &fs) < 0)
		return false;
	return fs.f_type == (h->v2 ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC);
}

/* "36 35 98:0 /root /mount opts shared:1 - type source superopts" */
static int add_line(const char *line, size_t len, bool check, struct cgroup_layout *out,
                    struct err *err)
{
	char text[4096], mount[256], type[32], options[1024];

	if (len >= sizeof(text))
		return 0; /* some overlay; not a cgroup */
	memcpy(text, line, len);
	text[len] = '\0';
	const char *tail = strstr(text, " - cgroup");
	if (!tail || sscanf(text, "%*s %*s %*s %*s %255s", mount) != 1 ||
	    sscanf(tail, " - %31s %*s %1023s", type, options) != 2)
		return 0;

	struct cgroup_hierarchy h = {.v2 = str_eq(type, "cgroup2")};
	memcpy(h.mount, mount, sizeof(h.mount));
	if (!h.v2)
		add_controllers(h.controllers, sizeof(h.controllers), options);
	if (!h.v2 && !*h.controllers)
		return 0;
	if (check && !is_visible(&h))
		return 0;
	for (size_t i = 0; i < out->count; i++) /* the first mount of each counts */
		if (out->hierarchies[i].v2 == h.v2 &&
		    str_eq(out->hierarchies[i].controllers, h.controllers))
			return 0;
	if (out->count == CGROUP_HIERARCHIES_MAX)
		return err_set(err, ERR_LIMIT, "more than %d cgroup hierarchies",
		               CGROUP_HIERARCHIES_MAX);
	out->hierarchies[out->count++] = h;
	return 0;
}

static int parse_layout(const char *mountinfo, bool check, struct cgroup_layout *out,
                        struct err *err)
{
	*out = (struct cgroup_layout){0};
	for (const char *line = mountinfo; *line;) {
		size_t len = strcspn(line, "\n");
		if (add_line(line, len, check, out, err) < 0)
			return -1;
		line += len + (line[len] == '\n');
	}
	return 0;
}

int cgroup_layout_parse(const char *mountinfo, struct cgroup_layout *out, struct err *err)
{
	return parse_layout(mountinfo, false, out, err);
}

int cgroup_layout_read(struct cgroup_layout *out, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(16 << 20);

	if (fs_trusted_read("/proc/self/mountinfo", 16 << 20, &text, err) < 0)
		return -1;
	return parse_layout(buf_str(&text), true, out, err);
}

int cgroup_make_path(const char *cgroups_path, const char *id, char out[CGROUP_PATH_MAX],
                     struct err *err)
{
	int n;

	if (str_empty(cgroups_path))
		n = snprintf(out, CGROUP_PATH_MAX, "/buoy/%s", id);
	else
		n = snprintf(out, CGROUP_PATH_MAX, "%s%s", *cgroups_path == '/' ? "" : "/",
		             cgroups_path);
	if (n >= CGROUP_PATH_MAX)
		return err_set(err, ERR_LIMIT, "cgroup path is longer than %d bytes",
		               CGROUP_PATH_MAX - 1);
	while (n > 1 && out[n - 1] == '/')
		out[--n] = '\0';
	if (n <= 1 || strstr(out, "/../") || str_ends(out, "/.."))
		return err_set(err, ERR_INVALID, "cgroup path '%s' is not usable", out);
	return 0;
}

/* ---- files ---- */

struct cgroup_place *cgroup_find(struct cgroup *cg, const char *controller)
{
	struct cgroup_place *v2 = NULL;

	for (size_t i = 0; i < cg->count; i++) {
		struct cgroup_place *place = &cg->places[i];
		if (place->fd < 0)
			continue;
		if (place->hierarchy.v2)
			v2 = place;
		else if (has_word(place->hierarchy.controllers, controller))
			return place;
	}
	return v2;
}

int cgroup_write(struct cgroup_place *place, const char *file, const char *value, struct err *err)
{
	if (fs_write_existing(place->fd, file, value, strlen(value), err) < 0)
		return err_wrap(err, "cgroup: write '%s'", value);
	return 0;
}

int cgroup_read_place(struct cgroup_place *place, const char *file, struct buf *out,
                      struct err *err)
{
	if (fs_read(place->fd, file, FILE_MAX_BYTES, out, err) < 0)
		return err_wrap(err, "cgroup");
	return 0;
}

int cgroup_parse_field(const char *text, const char *key, uint64_t *value, struct err *err)
{
	size_t key_len = strlen(key);

	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, key_len) != 0 || line[key_len] != ' ')
			continue;

		const char *digits = line + key_len + 1;
		char *end;
		errno = 0;
		unsigned long long parsed = strtoull(digits, &end, 10);
		if (!isdigit((unsigned char)*digits) || errno || (*end != '\n' && *end != '\0'))
			return err_set(err, ERR_INVALID, "field %s is not a number", key);
		*value = parsed;
		return 0;
	}
	return err_set(err, ERR_NOT_FOUND, "no field %s", key);
}

/* ---- making ---- */

/* A new v1 cpuset takes no tasks until it has CPUs and memory nodes: the parent's. */
static int inherit_cpuset(int parent_fd, int fd, struct err *err)
{
	static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		auto_buf struct buf own = BUF_INIT(FILE_MAX_BYTES);
		auto_buf struct buf above = BUF_INIT(FILE_MAX_BYTES);

		if (fs_read(fd, files[i], FILE_MAX_BYTES, &own, err) < 0)
			return -1;
		if (own.len > 0 && buf_str(&own)[0] != '\n')
			continue;
		if (fs_read(parent_fd, files[i], FILE_MAX_BYTES, &above, err) < 0 ||
		    fs_write_existing(fd, files[i], buf_str(&above), above.len, err) < 0)
			return -1;
	}
	return 0;
}

/* v2: hands on to the children what this level has. Each word by itself, as one that is
 * refused (a threaded parent, a busy one) must not take the others with it. */
static void enable_controllers(int fd)
{
	static const char *const wanted[] = {"+cpu", "+memory", "+pids", "+cpuset", "+io"};
	auto_buf struct buf has = BUF_INIT(4096);

	if (fs_read(fd, "cgroup.controllers", 4096, &has, NULL) < 0 || has.len <= 1)
		return;
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		if (strstr(buf_str(&has), wanted[i] + 1))
			(void)fs_write_existing(fd, "cgroup.subtree_control", wanted[i],
			                        strlen(wanted[i]), NULL);
}

/* last: mostly not there yet, unlike those above it, which are shared. */
static int open_level(struct cgroup_place *place, int parent, const char *name, bool last,
                      struct err *err)
{
	struct err why = ERR_INIT;
	int fd = last ? -1 : fs_open_dir(parent, name, NULL);

	place->made = false;
	if (fd >= 0)
		return fd;
	place->made = fs_mkdir(parent, name, 0755, &why) == 0;
	if (!place->made && why.kind != ERR_CONFLICT) {
		if (err)
			*err = why;
		return -1;
	}
	if (FAILPOINT("cgroup.level", err) < 0)
		return -1;
	return fs_open_dir(parent, name, err);
}

static int enter_level(struct cgroup_place *place, int *parent, const char *name, bool last,
                       struct err *err)
{
	if (place->hierarchy.v2)
		enable_controllers(*parent);
	auto_close int fd = open_level(place, *parent, name, last, err);
	if (fd < 0)
		return -1;
	if (!place->hierarchy.v2 && has_word(place->hierarchy.controllers, "cpuset") &&
	    inherit_cpuset(*parent, fd, err) < 0)
		return -1;
	close(*parent);
	*parent = move_fd(&fd);
	return 0;
}

static int walk_place(struct cgroup_place *place, const char *path, struct err *err)
{
	auto_close int fd = fs_trusted_open_dir(place->hierarchy.mount, false, err);
	if (fd < 0)
		return -1;

	for (const char *p = path; *p;) {
		char name[256];
		p += strspn(p, "/");
		size_t len = strcspn(p, "/");
		if (len >= sizeof(name))
			return err_set(err, ERR_LIMIT, "a name in %s is too long", path);
		memcpy(name, p, len);
		name[len] = '\0';
		p += len;
		bool last = p[strspn(p, "/")] == '\0';
		if (len > 0 && enter_level(place, &fd, name, last, err) < 0)
			return -1;
	}
	place->fd = move_fd(&fd);
	return 0;
}

/* A level that is empty may be taken away by another daemon that stops, after it was entered. */
static int make_place(struct cgroup_place *place, const char *path, struct err *err)
{
	struct err why = ERR_INIT;

	for (int i = 0; i < MAKE_TRIES; i++) {
		why = ERR_INIT;
		if (walk_place(place, path, &why) == 0)
			return 0;
		if (!err_is(&why, ERR_NOT_FOUND) && why.sys != ENODEV)
			break;
	}
	if (err)
		*err = why;
	return -1;
}

static int refuse_members(struct cgroup_place *place, struct err *err)
{
	auto_buf struct buf procs = BUF_INIT(FILE_MAX_BYTES);

	if (place->made)
		return 0;
	if (cgroup_read_place(place, "cgroup.procs", &procs, err) < 0)
		return -1;
	if (procs.len > 0)
		return err_set(err, ERR_CONFLICT, "cgroup exists already and has members");
	return 0;
}

static int open_join(struct cgroup_place *place, struct err *err)
{
	place->join_fd = fs_open(place->fd, place->hierarchy.v2 ? "cgroup.procs" : "tasks",
	                         O_WRONLY, 0, err);
	return place->join_fd < 0 ? -1 : 0;
}

static struct cgroup *new_cgroup(const struct cgroup_layout *layout, const char *path,
                                 struct err *err)
{
	struct cgroup *cg = calloc(1, sizeof(*cg));

	if (!cg) {
		err_nomem(err);
		return NULL;
	}
	snprintf(cg->path, sizeof(cg->path), "%s", path);
	cg->count = layout->count;
	for (size_t i = 0; i < cg->count; i++)
		cg->places[i] = (struct cgroup_place){
			.hierarchy = layout->hierarchies[i], .fd = -1, .join_fd = -1};
	return cg;
}

static void drop_made(struct cgroup *cg)
{
	for (size_t i = 0; i < cg->count; i++) {
		struct cgroup_place *place = &cg->places[i];
		auto_close int root = fs_trusted_open_dir(place->hierarchy.mount, false, NULL);
		if (place->made && root >= 0)
			(void)fs_rmdir(root, cg->path + 1, NULL);
	}
}

static struct cgroup *make_cgroup(const struct cgroup_layout *layout, const char *path, bool adopt,
                                  struct err *err)
{
	auto_type(cgroup) cg = new_cgroup(layout, path, err);

	if (!cg)
		return NULL;
	for (size_t i = 0; i < cg->count; i++) {
		struct cgroup_place *place = &cg->places[i];
		if (make_place(place, path, err) < 0 ||
		    (!adopt && refuse_members(place, err) < 0) || open_join(place, err) < 0 ||
		    FAILPOINT("cgroup.place", err) < 0) {
			err_wrap(err, "cgroup %s", path);
			drop_made(cg);
			return NULL;
		}
	}
	return move_ptr(cg);
}

struct cgroup *cgroup_create(const struct cgroup_layout *layout, const char *path, struct err *err)
{
	return make_cgroup(layout, path, false, err);
}

struct cgroup *cgroup_adopt(const struct cgroup_layout *layout, const char *path, struct err *err)
{
	return make_cgroup(layout, path, true, err);
}

struct cgroup *cgroup_open(const struct cgroup_layout *layout, const char *path, struct err *err)
{
	auto_type(cgroup) cg = new_cgroup(layout, path, err);
	bool found = false;

	if (!cg)
		return NULL;
	for (size_t i = 0; i < cg->count; i++) {
		struct cgroup_place *place = &cg->places[i];
		auto_close int root = fs_trusted_open_dir(place->hierarchy.mount, false, NULL);
		if (root >= 0)
			place->fd = fs_open_dir(root, path + 1, NULL);
		if (place->fd < 0)
			continue;
		found = true;
		(void)open_join(place, NULL);
	}
	if (!found) {
		err_set(err, ERR_NOT_FOUND, "no cgroup %s", path);
		return NULL;
	}
	return move_ptr(cg);
}

void cgroup_free(struct cgroup *cg)
{
	if (!cg)
		return;
	for (size_t i = 0; i < cg->count; i++) {
		cleanup_close(&cg->places[i].fd);
		cleanup_close(&cg->places[i].join_fd);
	}
	free(cg);
}

const char *cgroup_path(const struct cgroup *cg)
{
	return cg->path;
}

/* ---- members ---- */

int cgroup_clone_fd(const struct cgroup *cg)
{
	for (size_t i = 0; i < cg->count; i++)
		if (cg->places[i].hierarchy.v2)
			return cg->places[i].fd;
	return -1;
}

int cgroup_enter(struct cgroup *cg, bool cloned, struct err *err)
{
	for (size_t i = 0; i < cg->count; i++) {
		struct cgroup_place *place = &cg->places[i];
		if (place->join_fd < 0 || (place->hierarchy.v2 && cloned))
			continue;
		if (write(place->join_fd, "0", 1) < 0)
			return err_sys(err, "join cgroup %s in %s", cg->path,
			               place->hierarchy.mount);
		if (FAILPOINT("cgroup.joined", err) < 0)
			return -1;
	}
	return 0;
}

/* The line of /proc/<pid>/cgroup for this hierarchy: "4:memory:/path" or "0::/path". */
static bool line_is_for(const char *line, const struct cgroup_hierarchy *h, const char **path)
{
	const char *names = strchr(line, ':');
	if (!names)
		return false;
	names++;
	const char *end = strchr(names, ':');
	if (!end)
		return false;
	*path = end + 1;
	if (h->v2)
		return end == names;
	char list[128];
	size_t len = (size_t)(end - names);
	if (len == 0 || len >= sizeof(list))
		return false;
	memcpy(list, names, len);
	list[len] = '\0';
	char first[96];
	snprintf(first, sizeof(first), "%s", h->controllers);
	first[strcspn(first, ",")] = '\0';
	return has_word(list, first);
}

static bool is_member(const char *text, const struct cgroup_place *place, const char *cgroup)
{
	char path[CGROUP_PATH_MAX + sizeof(place->below)];

	snprintf(path, sizeof(path), "%s%s", cgroup, place->below);
	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		const char *at;
		line += *line == '\n';
		if (!line_is_for(line, &place->hierarchy, &at))
			continue;
		size_t len = strcspn(at, "\n");
		size_t want = strlen(path);
		/* What we see may be below the root of a cgroup namespace of ours. */
		return len >= want && strncmp(at + len - want, path, want) == 0;
	}
	return false;
}

int cgroup_verify(const struct cgroup *cg, pid_t pid, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(64 << 10);
	char file[64];

	snprintf(file, sizeof(file), "/proc/%d/cgroup", pid);
	if (fs_trusted_read(file, 64 << 10, &text, err) < 0)
		return -1;
	for (size_t i = 0; i < cg->count; i++)
		if (cg->places[i].fd >= 0 && !is_member(buf_str(&text), &cg->places[i], cg->path))
			return err_set(err, ERR_INTERNAL, "process %d is not in cgroup %s of %s",
			               pid, cg->path, cg->places[i].hierarchy.mount);
	return 0;
}

struct pid_list {
	pid_t *pids;
	size_t max;
	size_t count;
	int depth;
	struct err *err;
};

static int list_pids(struct pid_list *list, int fd);

static int list_child(void *arg, int dir_fd, const char *name, unsigned char type)
{
	struct pid_list *list = arg;

	if (type != 4 /* DT_DIR */ || list->depth >= DEPTH_MAX)
		return 0;
	auto_close int fd = fs_open_dir(dir_fd, name, NULL);
	if (fd < 0)
		return 0; /* went away */
	list->depth++;
	int rc = list_pids(list, fd);
	list->depth--;
	return rc;
}

static int list_pids(struct pid_list *list, int fd)
{
	auto_buf struct buf text = BUF_INIT(16 << 20);

	if (fs_read(fd, "cgroup.procs", 16 << 20, &text, list->err) < 0)
		return -1;
	for (const char *p = buf_str(&text); isdigit((unsigned char)*p);) {
		char *end;
		long pid = strtol(p, &end, 10);
		if (pid > 0 && list->count++ < list->max)
			list->pids[list->count - 1] = (pid_t)pid;
		p = *end == '\n' ? end + 1 : end;
	}
	return fs_list(fd, list_child, list, list->err);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): filled by way of the list */
ssize_t cgroup_pids(struct cgroup *cg, pid_t *pids, size_t max, struct err *err)
{
	struct cgroup_place *place = cgroup_find(cg, "freezer");
	struct pid_list list = {.pids = pids, .max = max, .err = err};

	if (!place)
		place = cgroup_find(cg, "pids");
	if (!place)
		return err_set(err, ERR_NOT_FOUND, "no cgroup to list");
	if (list_pids(&list, place->fd) < 0)
		return -1;
	return (ssize_t)list.count;
}

/* ---- freezing and killing ---- */

static bool file_says(struct cgroup_place *place, const char *file, const char *text)
{
	auto_buf struct buf now = BUF_INIT(4096);

	return cgroup_read_place(place, file, &now, NULL) == 0 && strstr(buf_str(&now), text);
}

static bool is_frozen(struct cgroup_place *place)
{
	if (place->hierarchy.v2)
		return file_says(place, "cgroup.events", "frozen 1");
	return file_says(place, "freezer.state", "FROZEN");
}

bool cgroup_is_frozen(struct cgroup *cg)
{
	struct cgroup_place *place = cgroup_find(cg, "freezer");

	return place && is_frozen(place);
}

int cgroup_freeze(struct cgroup *cg, bool frozen, struct err *err)
{
	struct cgroup_place *place = cgroup_find(cg, "freezer");
	const char *file, *value;

	if (!place)
		return err_set(err, ERR_UNSUPPORTED, "no freezer cgroup is mounted");
	file = place->hierarchy.v2 ? "cgroup.freeze" : "freezer.state";
	value = place->hierarchy.v2 ? (frozen ? "1" : "0") : (frozen ? "FROZEN" : "THAWED");

	int64_t deadline = clock_mono_ms() + FREEZE_WAIT_MS;
	for (;;) {
		if (cgroup_write(place, file, value, err) < 0)
			return -1;
		if (is_frozen(place) == frozen)
			return 0;
		if (clock_mono_ms() >= deadline)
			break;
		clock_sleep_ms(1);
	}
	/* Half frozen is the worst of both: a v1 freeze can hang on a stopped member. */
	if (frozen && !place->hierarchy.v2)
		(void)cgroup_write(place, file, "THAWED", NULL);
	return err_set(err, ERR_TIMEOUT, "cgroup %s: did not %s in time", cg->path,
	               frozen ? "freeze" : "thaw");
}

static int signal_members(struct cgroup *cg, int signal, struct err *err)
{
	enum {
		MAX = 65536
	};
	auto_free pid_t *pids = calloc(MAX, sizeof(*pids));
	if (!pids)
		return err_nomem(err);
	ssize_t count = cgroup_pids(cg, pids, MAX, err);

	for (ssize_t i = 0; i < count && i < MAX; i++)
		if (kill(pids[i], signal) < 0 && errno != ESRCH)
			return err_sys(err, "kill %d", pids[i]);
	return count < 0 ? -1 : 0;
}

int cgroup_kill(struct cgroup *cg, int signal, struct err *err)
{
	struct cgroup_place *place = cgroup_find(cg, "freezer");

	if (signal != SIGKILL || !place)
		return signal_members(cg, signal, err);
	if (place->hierarchy.v2 && cgroup_write(place, "cgroup.kill", "1", NULL) == 0)
		return 0;
	/* Freezing makes the kernel patch its code, which halts all CPUs for milliseconds: not for an empty
	 * one, as it is after the end of a pid namespace. */
	if (cgroup_pids(cg, NULL, 0, NULL) == 0)
		return 0;
	/* v1: frozen, none can fork away; killed while frozen; thawed on every path. */
	(void)cgroup_freeze(cg, true, NULL);
	int rc = signal_members(cg, signal, err);
	(void)cgroup_freeze(cg, false, NULL);
	return rc;
}

/* ---- reading ---- */

bool cgroup_controller_is_v2(struct cgroup *cg, const char *controller)
{
	const struct cgroup_place *place = cgroup_find(cg, controller);

	return place && place->hierarchy.v2;
}

int cgroup_read(struct cgroup *cg, const char *controller, const char *v1_file, const char *v2_file,
                struct buf *out, struct err *err)
{
	struct cgroup_place *place = cgroup_find(cg, controller);
	const char *file = place && place->hierarchy.v2 ? v2_file : v1_file;

	if (!place || !file)
		return err_set(err, ERR_NOT_FOUND, "no cgroup controller %s", controller);
	return cgroup_read_place(place, file, out, err);
}

int cgroup_oom_kills(struct cgroup *cg, uint64_t *count, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(FILE_MAX_BYTES);
	struct err why = ERR_INIT;

	*count = 0;
	if (cgroup_read(cg, "memory", "memory.oom_control", "memory.events", &text, &why) < 0) {
		if (why.kind == ERR_NOT_FOUND)
			return 0;
		if (err)
			*err = why;
		return -1;
	}
	if (cgroup_parse_field(buf_str(&text), "oom_kill", count, err) < 0)
		return err_wrap(err, "cgroup %s", cg->path);
	return 0;
}

/* ---- removing ---- */

static int remove_children(void *arg, int dir_fd, const char *name, unsigned char type)
{
	int *depth = arg;

	if (type != 4 /* DT_DIR */ || *depth >= DEPTH_MAX)
		return 0;
	auto_close int fd = fs_open_dir(dir_fd, name, NULL);
	if (fd < 0)
		return 0;
	++*depth;
	(void)fs_list(fd, remove_children, depth, NULL);
	--*depth;
	(void)fs_rmdir(dir_fd, name, NULL);
	return 0;
}

static int remove_place(struct cgroup *cg, struct cgroup_place *place, int64_t deadline,
                        struct err *err)
{
	auto_close int root = fs_trusted_open_dir(place->hierarchy.mount, false, err);
	int depth = 0;

	if (root < 0)
		return -1;
	for (;;) {
		struct err why = ERR_INIT;
		if (fs_rmdir(root, cg->path + 1, &why) == 0 || why.kind == ERR_NOT_FOUND)
			return 0;
		if (why.sys != EBUSY && why.sys != ENOTEMPTY) {
			if (err)
				*err = why;
			return -1;
		}
		if (clock_mono_ms() >= deadline)
			return err_set(err, ERR_CONFLICT, "cgroup %s in %s still has members",
			               cg->path, place->hierarchy.mount);
		(void)fs_list(place->fd, remove_children, &depth, NULL);
		if (fs_rmdir(root, cg->path + 1, NULL) == 0)
			return 0;
		clock_sleep_ms(2);
	}
}

int cgroup_remove(struct cgroup *cg, struct err *err)
{
	int64_t deadline = clock_mono_ms() + REMOVE_WAIT_MS;
	int rc = 0;

	for (size_t i = 0; i < cg->count; i++)
		if (cg->places[i].fd >= 0 && (remove_place(cg, &cg->places[i], deadline, err) < 0 ||
		                              FAILPOINT("cgroup.removed", err) < 0))
			rc = -1;
	return rc;
}

size_t cgroup_hierarchy_count(const struct cgroup *cg)
{
	return cg->count;
}

int cgroup_hierarchy_fd(const struct cgroup *cg, size_t index, const char **name, bool *v2)
{
	const char *slash = strrchr(cg->places[index].hierarchy.mount, '/');

	*name = slash ? slash + 1 : cg->places[index].hierarchy.mount;
	*v2 = cg->places[index].hierarchy.v2;
	return cg->places[index].fd;
}
