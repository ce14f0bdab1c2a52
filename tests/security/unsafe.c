/* SPDX-License-Identifier: Apache-2.0 */

/*
 * unsafe - turns single defences off, so that each test can show that it would notice.
 *
 * It is linked, with the linker's --wrap, around the unchanged objects of buoy-runtime and buoyd
 * into control programs that are never installed (meson.build). BUOY_UNSAFE names what is off:
 *
 *	paths       openat2 follows whatever it meets
 *	masks       nothing is masked or made read-only below /proc and /sys
 *	caps        capabilities stay as they are
 *	nnp         no_new_privs is not set
 *	seccomp     no filter
 *	fds         descriptors stay open for the program
 *	groups      the caller's supplementary groups stay
 *	cwd         the working directory is not looked at after chdir
 *	ids         numbers of users are read as strtol does
 *	dumpable    a process that is about to enter a container can be looked into
 *	selfexe     the program file is not protected
 *	devices     no rules for devices
 *	terminal    any device is a terminal multiplexer of ours
 *	strayed     the process stays in its caller's cgroup, which start checks
 *	placement   the same, and nobody checks
 *	names       every name is a good one
 *	landlock    a supervisor keeps all files and networks
 *
 * A supervisor of this runtime also tries what it must not be able to (nobody else can make it), and appends what came of it to the
 * file that BUOY_UNSAFE_REPORT names.
 */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_off(const char *defence)
{
	const char *off = getenv("BUOY_UNSAFE");

	return off && strcmp(off, defence) == 0;
}

struct cgroup;
struct err;
struct oci_capabilities;
struct rootfs;

#define WRAP(type, name, ...)                                                                      \
	type __real_##name(__VA_ARGS__);                                                           \
	type __wrap_##name(__VA_ARGS__);                                                           \
	type __wrap_##name(__VA_ARGS__)

long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, ...);

long __wrap_syscall(long number, ...)
{
	long a[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_openat2 && (int)a[0] != AT_FDCWD && is_off("paths")) {
		struct open_how how = *(const struct open_how *)a[2];

		const char *path = (const char *)a[1];

		/* As one that glues the root and a name together: "/" is the root's. */
		path += strspn(path, "/");
		a[1] = (long)(*path ? path : ".");
		how.resolve = 0;
		how.flags &= ~(uint64_t)O_NOFOLLOW;
		return __real_syscall(number, a[0], a[1], (long)&how, a[3], 0, 0);
	}
	return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int __real_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
int __wrap_prctl(int option, ...);

int __wrap_prctl(int option, ...)
{
	unsigned long a[4];
	va_list list;

	va_start(list, option);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(list, unsigned long);
	va_end(list);
	if (is_off("caps") && (option == PR_CAPBSET_DROP || option == PR_CAPBSET_READ))
		return 0;
	if (is_off("nnp") && option == PR_SET_NO_NEW_PRIVS)
		return 0;
	if (is_off("dumpable") && option == PR_SET_DUMPABLE)
		return 0;
	return __real_prctl(option, a[0], a[1], a[2], a[3]);
}

WRAP(int, rootfs_mask, struct rootfs *fs, struct err *err)
{
	return is_off("masks") ? 0 : __real_rootfs_mask(fs, err);
}

WRAP(int, identity_set_capabilities, const struct oci_capabilities *caps, struct err *err)
{
	return is_off("caps") ? 0 : __real_identity_set_capabilities(caps, err);
}

WRAP(int, filter_install, const void *bpf, size_t len, unsigned flags, struct err *err)
{
	return is_off("seccomp") ? 0 : __real_filter_install(bpf, len, flags, err);
}

WRAP(int, close_range, unsigned first, unsigned last, int flags)
{
	return is_off("fds") ? 0 : __real_close_range(first, last, flags);
}

WRAP(int, setgroups, size_t count, const gid_t *groups)
{
	return is_off("groups") ? 0 : __real_setgroups(count, groups);
}

WRAP(int, identity_enter_cwd, const char *cwd, struct err *err)
{
	return is_off("cwd") ? chdir(cwd) : __real_identity_enter_cwd(cwd, err);
}

WRAP(int, id_parse_u32, const char *text, uint32_t *value, struct err *err)
{
	if (!is_off("ids"))
		return __real_id_parse_u32(text, value, err);
	*value = (uint32_t)strtol(text, NULL, 0);
	return 0;
}

WRAP(int, id_check_name, const char *name, const char *what, struct err *err)
{
	return is_off("names") ? 0 : __real_id_check_name(name, what, err);
}

WRAP(int, statvfs64, const char *path, struct statvfs *st)
{
	int rc = __real_statvfs64(path, st);

	if (is_off("selfexe"))
		st->f_flag |= ST_RDONLY;
	return rc;
}

WRAP(int, fstatfs64, int fd, struct statfs *st)
{
	int rc = __real_fstatfs64(fd, st);

	if (is_off("terminal"))
		st->f_type = DEVPTS_SUPER_MAGIC;
	return rc;
}

#ifdef UNSAFE_RUNTIME /* what buoyd does not contain */
struct oci_resources;

static void attempt(int report_fd, const char *what, bool done)
{
	(void)dprintf(report_fd, "%s: %s\n", what,
	              done                                ? "open"
	              : errno == EACCES || errno == EPERM ? "refused"
	                                                  : strerror(errno));
}

static bool opens(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd >= 0)
		(void)close(fd);
	return fd >= 0;
}

static bool executes(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		(void)execl("/bin/true", "true", (char *)NULL);
		_exit(errno);
	}
	(void)waitpid(pid, &status, 0);
	errno = WEXITSTATUS(status);
	return status == 0;
}

/* Nobody listens there: what is allowed gets as far as that. */
static bool connects(void)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool done = connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 || errno == ECONNREFUSED;
	int kept = errno;

	(void)close(fd);
	errno = kept;
	return done;
}

static void look_around(int report_fd, const char *report)
{
	char made[4096], gone[4096];

	(void)snprintf(made, sizeof(made), "%s.made", report);
	(void)snprintf(gone, sizeof(gone), "%s.gone", report);
	attempt(report_fd, "read", opens("/etc/shadow", O_RDONLY));
	attempt(report_fd, "list", opens("/etc", O_RDONLY | O_DIRECTORY));
	attempt(report_fd, "write", opens(report, O_WRONLY));
	attempt(report_fd, "make", opens(made, O_WRONLY | O_CREAT | O_EXCL));
	attempt(report_fd, "remove", unlink(gone) == 0);
	attempt(report_fd, "execute", executes());
	attempt(report_fd, "connect", connects());
}

WRAP(int, landlock_enter, int rules_fd, struct err *err)
{
	const char *report = getenv("BUOY_UNSAFE_REPORT");
	int report_fd = report ? open(report, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
	int rc = is_off("landlock") ? 0 : __real_landlock_enter(rules_fd, err);

	if (report_fd >= 0) {
		look_around(report_fd, report);
		(void)close(report_fd);
	}
	return rc;
}

WRAP(int, cgroup_enter, struct cgroup *cgroup, bool cloned, struct err *err)
{
	if (is_off("strayed") || is_off("placement"))
		return 0;
	return __real_cgroup_enter(cgroup, cloned, err);
}

WRAP(int, cgroup_verify, struct cgroup *cgroup, pid_t pid, struct err *err)
{
	return is_off("placement") ? 0 : __real_cgroup_verify(cgroup, pid, err);
}

WRAP(int, cgroup_apply_devices, struct cgroup *cgroup, const struct oci_resources *resources,
     const void *devices, size_t count, struct err *err)
{
	return is_off("devices")
	               ? 0
	               : __real_cgroup_apply_devices(cgroup, resources, devices, count, err);
}
#endif
