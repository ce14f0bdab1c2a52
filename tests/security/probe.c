/* SPDX-License-Identifier: Apache-2.0 */

/*
 * probe - what a hostile program in a container tries; static, so that it runs in any root.
 *
 *	probe VERB [ARGUMENT...]         one finding a line; what it could do begins with "open:"
 *
 * The same verbs run where the defence is off, as the control of each test.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXCHANGE  2 /* RENAME_EXCHANGE */
#define DEPTH_MAX 24

/* ---- plain looks ---- */

static _Noreturn void hold(void)
{
	for (;;)
		pause();
}

static int show(const char *path)
{
	char buffer[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return 1;
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		fwrite(buffer, 1, (size_t)n, stdout);
	close(fd);
	return 0;
}

/* Own descriptors, without the one that lists them: "3 /target". */
static int descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		char target[512] = "";
		if (e->d_name[0] == '.' || atoi(e->d_name) == dirfd(dir))
			continue;
		if (readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1) < 0)
			continue;
		printf("%s %s\n", e->d_name, target);
	}
	return dir ? closedir(dir) : 1;
}

/* "PATH kind rdev entries writable" of each path that is there. */
static int look(char **paths)
{
	for (; *paths; paths++) {
		struct stat st;
		int entries = 0;
		if (stat(*paths, &st) < 0)
			continue;
		DIR *dir = S_ISDIR(st.st_mode) ? opendir(*paths) : NULL;
		for (struct dirent *e; dir && (e = readdir(dir));)
			entries += e->d_name[0] != '.';
		if (dir)
			closedir(dir);
		printf("%s %s %u:%u %d %s\n", *paths,
		       S_ISDIR(st.st_mode)   ? "dir"
		       : S_ISCHR(st.st_mode) ? "chr"
		                             : "other",
		       major(st.st_rdev), minor(st.st_rdev), entries,
		       access(*paths, W_OK) == 0 ? "w" : strerror(errno));
	}
	return 0;
}

/* ---- a walk over /proc and /sys ---- */

static int is_process(const char *path)
{
	const char *name = path + strlen("/proc/");

	return strncmp(path, "/proc/", 6) == 0 &&
	       ((*name >= '0' && *name <= '9') || strncmp(name, "self", 4) == 0 ||
	        strncmp(name, "thread-self", 11) == 0);
}

static void try_file(const char *path, const struct stat *st)
{
	int fd = st->st_mode & 0222 ? open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1;

	if (fd >= 0) {
		printf("w %s\n", path);
		close(fd);
	}
	/* Readable ones: those of /proc itself and of its tables; sysfs is too large to review. */
	if (strncmp(path, "/proc/", 6) != 0 || strncmp(path, "/proc/sys/", 10) == 0)
		return;
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0) {
		printf("r %s\n", path);
		close(fd);
	}
}

static void walk(const char *path, dev_t dev, int depth)
{
	DIR *dir = depth < DEPTH_MAX ? opendir(path) : NULL;

	for (struct dirent *e; dir && (e = readdir(dir));) {
		char below[1024];
		struct stat st;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(below, sizeof(below), "%s/%s", path, e->d_name);
		if (is_process(below) || lstat(below, &st) < 0)
			continue;
		if (S_ISREG(st.st_mode))
			try_file(below, &st);
		if (S_ISDIR(st.st_mode) && st.st_dev == dev)
			walk(below, dev, depth + 1);
	}
	if (dir)
		closedir(dir);
}

static int audit(void)
{
	static const char *const tops[] = {"/proc", "/sys", "/sys/fs/cgroup", "/proc/sys"};
	struct stat st;

	for (size_t i = 0; i < sizeof(tops) / sizeof(*tops); i++)
		if (stat(tops[i], &st) == 0)
			walk(tops[i], st.st_dev, 0);
	return 0;
}

/* ---- system calls ---- */

static void report(const char *name, long rc)
{
	printf("%s%s %s\n", rc >= 0 ? "open: " : "", name, rc >= 0 ? "" : strerror(errno));
	fflush(stdout);
}

/* Runs fn in a child: what it does to itself stays there. */
static void in_child(const char *name, long (*fn)(void))
{
	int status;

	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		report(name, fn());
		_exit(0);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status))
		printf("%s killed by %d\n", name, WTERMSIG(status));
}

static long x32_getpid(void)
{
	return syscall(0x40000000 | 39);
}

static long i386_getpid(void)
{
	long rc = 20; /* getpid, by i386's numbers */

	__asm__ volatile("int $0x80" : "+a"(rc) : : "memory", "r8", "r9", "r10", "r11");
	if (rc < 0) {
		errno = (int)-rc;
		return -1;
	}
	return rc;
}

static long new_user(void)
{
	return syscall(SYS_unshare, CLONE_NEWUSER);
}

static long new_mounts(void)
{
	return syscall(SYS_unshare, CLONE_NEWNS);
}

static long clone3_user(void)
{
	uint64_t args[11] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD};
	long pid = syscall(SYS_clone3, args, sizeof(args));

	if (pid == 0)
		_exit(0);
	return pid;
}

static long mount_tmpfs(void)
{
	return mount("none", "/tmp", "tmpfs", 0, NULL);
}

static long set_root(void)
{
	return syscall(SYS_pivot_root, ".", ".");
}

static long add_key(void)
{
	return syscall(SYS_add_key, "user", "probe", "x", 1, -2);
}

static long keyctl(void)
{
	return syscall(SYS_keyctl, 0, -3, 1);
}

static long bpf(void)
{
	char attr[128] = {0};

	return syscall(SYS_bpf, 0, attr, sizeof(attr));
}

static long userfault(void)
{
	return syscall(SYS_userfaultfd, 0);
}

static long perf(void)
{
	uint64_t attr[16] = {(uint64_t)128 << 32 | 1};

	return syscall(SYS_perf_event_open, attr, 0, -1, -1, 0);
}

static long io_uring(void)
{
	char params[256] = {0};

	return syscall(SYS_io_uring_setup, 1, params);
}

static long open_by_handle(void)
{
	char handle[64] = {8};

	return syscall(SYS_open_by_handle_at, AT_FDCWD, handle, O_RDONLY);
}

static long af_alg(void)
{
	return socket(38, SOCK_SEQPACKET, 0);
}

static long af_vsock(void)
{
	return socket(40, SOCK_STREAM, 0);
}

static long raw_socket(void)
{
	return socket(AF_INET, SOCK_RAW, 1);
}

static long push_key(void)
{
	char c = 'x';

	return syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, &c);
}

static int calls(void)
{
	static const struct {
		const char *name;
		long (*fn)(void);
	} all[] = {{"unshare-user", new_user},   {"unshare-mount", new_mounts},
	           {"clone3-user", clone3_user}, {"mount", mount_tmpfs},
	           {"pivot_root", set_root},     {"add_key", add_key},
	           {"keyctl", keyctl},           {"bpf", bpf},
	           {"userfaultfd", userfault},   {"perf_event_open", perf},
	           {"io_uring_setup", io_uring}, {"open_by_handle_at", open_by_handle},
	           {"AF_ALG", af_alg},           {"AF_VSOCK", af_vsock},
	           {"raw", raw_socket},          {"TIOCSTI", push_key},
	           {"x32", x32_getpid},          {"i386", i386_getpid}};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		in_child(all[i].name, all[i].fn);
	return 0;
}

/* ---- release_agent ---- */

static void try_agent(const char *dir)
{
	char path[1024];

	snprintf(path, sizeof(path), "%s/release_agent", dir);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		printf("open: %s\n", path);
		close(fd);
	} else {
		printf("%s %s\n", path, strerror(errno));
	}
}

static void try_agents(void)
{
	static const char *const kinds[] = {"memory",  "pids",    "cpuset",
	                                    "devices", "freezer", "rdma"};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		char dir[64];
		snprintf(dir, sizeof(dir), "/sys/fs/cgroup/%s", kinds[i]);
		try_agent(dir);
		if (mount("none", "/tmp", "cgroup", 0, kinds[i]) == 0) {
			try_agent("/tmp");
			umount2("/tmp", MNT_DETACH);
		} else {
			printf("mount %s %s\n", kinds[i], strerror(errno));
		}
	}
}

/* As it is, and again from a user namespace of its own if it gets one. */
static int release_agent(void)
{
	try_agents();
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWCGROUP) == 0)
		try_agents();
	return 0;
}

/* ---- who comes by ---- */

static int stop_watching; /* set by TERM */

static void stop(int number)
{
	(void)number;
	stop_watching = 1;
}

/* One that ended while it was traced is its tracer's to reap. */
static void reap(void)
{
	while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
		;
}

/* Holds a program file and opens it for writing as soon as nobody executes it any more. */
static void overwrite(const char *path, const char *name)
{
	char self[64];
	int exe = open(path, O_RDONLY | O_CLOEXEC), fd = -1;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", exe);
	for (int i = 0; exe >= 0 && fd < 0 && i < 500; i++) {
		fd = open(self, O_WRONLY | O_CLOEXEC);
		if (fd < 0 && errno != ETXTBSY)
			break;
		reap();
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	if (fd >= 0) {
		printf("open: writable %s\n", name);
		close(fd);
	}
	if (exe >= 0)
		close(exe);
}

/* Descriptors of a newcomer that lead somewhere: anything but the usual three. */
static void rob(const char *pid)
{
	char path[64], target[512] = "";
	struct dirent *e;

	/* A program that is executed from a detached mount is "/". */
	snprintf(path, sizeof(path), "/proc/%s/exe", pid);
	ssize_t len = readlink(path, target, sizeof(target) - 1);
	int is_runtime = len > 0 && (strstr(target, "runtime") || strcmp(target, "/") == 0);
	if (is_runtime)
		printf("open: exe %s\n", target);
	if (is_runtime)
		overwrite(path, target);
	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	DIR *dir = opendir(path);
	while (dir && (e = readdir(dir)))
		if (atoi(e->d_name) > 2) {
			memset(target, 0, sizeof(target));
			if (readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1) > 0)
				printf("open: fd %s %s\n", e->d_name, target);
		}
	if (dir)
		closedir(dir);
	if (ptrace(PTRACE_SEIZE, atoi(pid), NULL, NULL) == 0) {
		memset(target, 0, sizeof(target));
		snprintf(path, sizeof(path), "/proc/%s/exe", pid);
		if (readlink(path, target, sizeof(target) - 1) > 0 && !strstr(target, "probe"))
			printf("open: traced %s\n", target);
		ptrace(PTRACE_DETACH, atoi(pid), NULL, NULL);
	}
	reap();
}

/* Looks into every process that is not its own until TERM. */
static int watch(void)
{
	signal(SIGTERM, stop);
	printf("watching\n");
	fflush(stdout);
	while (!stop_watching) {
		DIR *dir = opendir("/proc");
		for (struct dirent *e; dir && (e = readdir(dir));) {
			int pid = atoi(e->d_name);
			if (pid > 1 && pid != getpid())
				rob(e->d_name);
		}
		if (dir)
			closedir(dir);
	}
	fflush(stdout);
	return 0;
}

/* ---- exchange ---- */

static int exchange(const char *a, const char *b)
{
	for (;;)
		if (syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, EXCHANGE) < 0 &&
		    errno != ENOENT && errno != EBUSY)
			return 1;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (strcmp(verb, "hold") == 0)
		hold();
	if (strcmp(verb, "show") == 0 && argc > 2)
		return show(argv[2]);
	if (strcmp(verb, "open") == 0 && argc > 2)
		return open(argv[2], O_RDONLY | O_NONBLOCK | O_CLOEXEC) < 0;
	if (strcmp(verb, "fds") == 0)
		return descriptors();
	if (strcmp(verb, "look") == 0)
		return look(argv + 2);
	if (strcmp(verb, "audit") == 0)
		return audit();
	if (strcmp(verb, "calls") == 0)
		return calls();
	if (strcmp(verb, "release-agent") == 0)
		return release_agent();
	if (strcmp(verb, "watch") == 0)
		return watch();
	if (strcmp(verb, "exchange") == 0 && argc > 3)
		return exchange(argv[2], argv[3]);
	if (strcmp(verb, "true") == 0)
		return 0;
	fprintf(stderr, "probe: unknown verb '%s'\n", verb);
	return 2;
}
