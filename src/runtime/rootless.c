/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/rootless.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/spec.h"
#include "runtime/tool.h"

#define FILE_MAX      (1 << 20)
#define MAP_WAIT_MS   10000
#define NESTING_MAX   32
#define ALL_IDS       4294967295LL
#define NAME_MAX_SIZE 256

int rootless_default_root(char *path, size_t size, struct err *err)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	int n = !str_empty(dir) && *dir == '/'
	                ? snprintf(path, size, "%s/buoy-runtime", dir)
	                : snprintf(path, size, "/run/user/%u/buoy-runtime", geteuid());
	return n < (int)size ? 0 : err_set(err, ERR_LIMIT, "XDG_RUNTIME_DIR is too long");
}

/* ---- which ids are the user's ---- */

/* The line of passwd(5) whose third field is the uid; no NSS in a static program. */
static void find_name(unsigned uid, char name[NAME_MAX_SIZE])
{
	auto_buf struct buf text = BUF_INIT(FILE_MAX);
	char wanted[32];

	name[0] = '\0';
	(void)snprintf(wanted, sizeof(wanted), ":%u:", uid);
	if (fs_trusted_read("/etc/passwd", FILE_MAX, &text, NULL) < 0)
		return;
	for (const char *line = buf_str(&text); *line;
	     line += strcspn(line, "\n"), line += *line == '\n') {
		size_t len = strcspn(line, ":\n");
		const char *second = line[len] == ':' ? line + len + 1 : "";
		const char *third = second + strcspn(second, ":\n");
		if (len < NAME_MAX_SIZE && str_starts(third, wanted)) {
			(void)snprintf(name, NAME_MAX_SIZE, "%.*s", (int)len, line);
			return;
		}
	}
}

bool rootless_find_range(const char *text, const char *name, unsigned uid, unsigned *start,
                         unsigned *count)
{
	char number[16];

	(void)snprintf(number, sizeof(number), "%u", uid);
	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		size_t len = strcspn(line, ":\n");
		uint64_t first, n;
		const char *at = line + len + 1;
		if (line[len] != ':' || len == 0 ||
		    !((strlen(name) == len && strncmp(line, name, len) == 0) ||
		      (strlen(number) == len && strncmp(line, number, len) == 0)))
			continue;
		if (!id_scan_u64(&at, &first) || *at++ != ':' || !id_scan_u64(&at, &n))
			continue;
		if (n > 0 && first + n <= (uint64_t)ALL_IDS && n < UINT32_MAX) {
			*start = (unsigned)first;
			*count = (unsigned)n;
			return true;
		}
	}
	return false;
}

/* ---- mapping ---- */

/* newuidmap PID 0 UID 1 1 START COUNT. */
static int map_by_tool(const char *tool, const char *file, pid_t pid, unsigned id, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(FILE_MAX);
	char name[NAME_MAX_SIZE], words[4][16];
	unsigned start, count;

	find_name(getuid(), name);
	if (fs_trusted_read(file, FILE_MAX, &text, err) < 0)
		return -1;
	if (!rootless_find_range(buf_str(&text), name, getuid(), &start, &count))
		return err_set(err, ERR_NOT_FOUND, "%s has no ids for user %u", file, getuid());
	(void)snprintf(words[0], sizeof(words[0]), "%d", pid);
	(void)snprintf(words[1], sizeof(words[1]), "%u", id);
	(void)snprintf(words[2], sizeof(words[2]), "%u", start);
	(void)snprintf(words[3], sizeof(words[3]), "%u", count);
	const char *const argv[] = {tool, words[0], "0",      words[1], "1",
	                            "1",  words[2], words[3], NULL};
	return tool_run(argv, MAP_WAIT_MS, NULL, err);
}

static int write_file(const char *path, const char *text, struct err *err)
{
	auto_close int fd = fs_trusted_open(path, O_WRONLY, 0, err);

	return fd < 0 ? -1 : fs_write_all(fd, text, strlen(text), err);
}

/* The user alone: what anybody may write by himself. Then he can give up no group either. */
static int map_alone(uid_t uid, gid_t gid, struct err *err)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "0 %u 1\n", uid);
	if (write_file("/proc/self/uid_map", text, err) < 0 ||
	    write_file("/proc/self/setgroups", "deny", err) < 0)
		return -1;
	(void)snprintf(text, sizeof(text), "0 %u 1\n", gid);
	return write_file("/proc/self/gid_map", text, err);
}

/* Waits outside until the namespace is there, then maps it from there. The answer is one byte. */
static _Noreturn void map_from_outside(pid_t pid, int begin_fd, int done_fd)
{
	char byte = 'n';

	if (read(begin_fd, &byte, 1) == 1) {
		bool ok = map_by_tool("newuidmap", "/etc/subuid", pid, getuid(), NULL) == 0 &&
		          map_by_tool("newgidmap", "/etc/subgid", pid, getgid(), NULL) == 0;
		byte = ok ? 'y' : 'n';
		(void)!write(done_fd, &byte, 1);
	}
	_exit(0);
}

static int make_namespace(int begin_fd, int done_fd, struct err *err)
{
	uid_t uid = getuid();
	gid_t gid = getgid();
	char byte = 'b';

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return err_sys(err,
		               "a user namespace of one's own (is user.max_user_namespaces 0?)");
	if (write(begin_fd, &byte, 1) != 1 || read(done_fd, &byte, 1) != 1)
		return err_set(err, ERR_SYSTEM, "map the ids of the user namespace");
	if (byte != 'y' && map_alone(uid, gid, err) < 0)
		return err_wrap(err, "map the ids of the user namespace");
	return 0;
}

/* Root of it, with no group that is not in it where groups can be given up. */
static int become_root(struct err *err)
{
	if ((setgroups(0, NULL) < 0 && errno != EPERM) || setresgid(0, 0, 0) < 0 ||
	    setresuid(0, 0, 0) < 0)
		return err_sys(err, "become root of the user namespace");
	return 0;
}

int rootless_enter(struct err *err)
{
	int begin[2], done[2];

	if (pipe2(begin, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	auto_close int begin_reader = begin[0];
	auto_close int begin_writer = begin[1];
	if (pipe2(done, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	auto_close int done_reader = done[0];
	auto_close int done_writer = done[1];
	pid_t self = getpid(), helper = fork();
	if (helper < 0)
		return err_sys(err, "fork");
	if (helper == 0) {
		close(move_fd(&begin_writer));
		map_from_outside(self, begin_reader, done_writer);
	}
	close(move_fd(&done_writer));
	int rc = make_namespace(begin_writer, done_reader, err);
	close(move_fd(&begin_writer));
	while (waitpid(helper, NULL, 0) < 0 && errno == EINTR)
		;
	return rc < 0 ? -1 : become_root(err);
}

/* ---- joining ---- */

static bool same_namespace(int a, int b)
{
	struct stat first, second;

	return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_ino == second.st_ino &&
	       first.st_dev == second.st_dev;
}

/* The outermost one that is still below ours: the container's may lie in it. */
int rootless_join(pid_t container_pid, struct err *err)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/user", container_pid);
	auto_close int own = fs_trusted_open("/proc/self/ns/user", O_RDONLY, 0, err);
	auto_close int fd = own < 0 ? -1 : fs_trusted_open(path, O_RDONLY, 0, err);
	if (fd < 0)
		return -1;
	for (int i = 0; i < NESTING_MAX && !same_namespace(fd, own); i++) {
		int parent = ioctl(fd, NS_GET_PARENT);
		if (parent < 0)
			return err_sys(err, "find the user namespace of process %d", container_pid);
		bool found = same_namespace(parent, own);
		if (found) {
			close(parent);
			if (setns(fd, CLONE_NEWUSER) < 0 || unshare(CLONE_NEWNS) < 0)
				return err_sys(err, "join the user namespace of process %d",
				               container_pid);
			return become_root(err);
		}
		close(move_fd(&fd));
		fd = parent;
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	}
	return err_set(err, ERR_DENIED, "process %d is in no user namespace of yours",
	               container_pid);
}

/* ---- in terms of the namespace ---- */

bool rootless_is_inside(void)
{
	auto_buf struct buf text = BUF_INIT(FILE_MAX);

	if (fs_trusted_read("/proc/self/uid_map", FILE_MAX, &text, NULL) < 0)
		return false;
	return rootless_find_id(buf_str(&text), 0, ALL_IDS) != 0;
}

long long rootless_find_id(const char *maps, long long host_id, long long count)
{
	uint64_t inside, outside, n;

	while (id_scan_u64(&maps, &inside) && id_scan_u64(&maps, &outside) &&
	       id_scan_u64(&maps, &n)) {
		long long first = (long long)outside, length = (long long)n;
		if (host_id >= first && host_id + count <= first + length)
			return (long long)inside + (host_id - first);
		maps += *maps == '\n';
	}
	return -1;
}

static int translate(struct json_array *maps, const char *field, const char *file, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(FILE_MAX);
	struct oci_idmap *all = maps->items;

	if (fs_trusted_read(file, FILE_MAX, &text, err) < 0)
		return -1;
	for (size_t i = 0; i < maps->count; i++) {
		long long id = rootless_find_id(buf_str(&text), all[i].host_id, all[i].size);
		if (id < 0)
			return err_set(err, ERR_DENIED,
			               "linux.%s[%zu]: %lld ids of the host from %lld on are not "
			               "yours (see subuid(5))",
			               field, i, (long long)all[i].size, (long long)all[i].host_id);
		all[i].host_id = id;
	}
	return 0;
}

int rootless_translate(struct oci_spec *spec, struct err *err)
{
	struct oci_linux *lin = &spec->linux_;

	if (translate(&lin->uid_mappings, "uidMappings", "/proc/self/uid_map", err) < 0)
		return -1;
	return translate(&lin->gid_mappings, "gidMappings", "/proc/self/gid_map", err);
}
