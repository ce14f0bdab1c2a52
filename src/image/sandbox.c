/* SPDX-License-Identifier: Apache-2.0 */
#include "image/sandbox.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <seccomp.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/compat.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/landlock.h"
#include "base/str.h"
#include "image/apply.h"

#define SANDBOX_MEMORY                                                                             \
	(1ul << 30) /* bytes of heap and the like beyond what is mapped at the start */
#define SANDBOX_FILES          64 /* descriptors */
#define SANDBOX_FIRST_OTHER_FD 5

static int set_limit(int what, rlim_t value, struct err *err)
{
	if (setrlimit((__rlimit_resource_t)what, &(struct rlimit){value, value}) < 0)
		return err_sys(err, "cannot limit the unpacker's resources");
	return 0;
}

/* Bytes of data that are mapped now, the sixth number of statm; a sanitizer maps terabytes. */
static rlim_t mapped_data(void)
{
	auto_buf struct buf text = BUF_INIT(256);
	uint64_t pages = 0;

	if (fs_trusted_read("/proc/self/statm", 256, &text, NULL) < 0)
		return 0;
	const char *at = buf_str(&text);
	for (int i = 0; i < 6; i++)
		if (!id_scan_u64(&at, &pages))
			return 0;
	return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static int set_limits(struct err *err)
{
	if (set_limit(RLIMIT_CORE, 0, err) < 0 || set_limit(RLIMIT_NOFILE, SANDBOX_FILES, err) < 0)
		return -1;
	return set_limit(RLIMIT_DATA, mapped_data() + SANDBOX_MEMORY, err);
}

static int enter_root(int dir_fd, struct err *err)
{
	if (fchdir(dir_fd) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return err_sys(err, "the unpacker cannot enter its directory");
	return 0;
}

/* Bounding set, then permitted and effective; inheritable and ambient stay empty. */
static int drop_capabilities(unsigned flags, struct err *err)
{
	static const cap_value_t keep[] = {
		CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER,    CAP_FSETID,
		CAP_MKNOD, CAP_SETFCAP,      CAP_SYS_ADMIN, /* trusted.overlay.opaque */
	};
	int count = ARRAY_LEN(keep) - (flags & APPLY_LAYER ? 0 : 1);

	for (cap_value_t cap = 0; cap <= cap_max_bits() - 1; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
			return err_sys(err, "cannot drop capability %d", cap);
	cap_t caps = cap_init();
	if (!caps)
		return err_nomem(err);
	int rc = cap_set_flag(caps, CAP_PERMITTED, count, keep, CAP_SET);
	rc |= cap_set_flag(caps, CAP_EFFECTIVE, count, keep, CAP_SET);
	rc |= cap_set_proc(caps);
	cap_free(caps);
	if (rc < 0)
		return err_sys(err, "cannot drop the unpacker's capabilities");
	return 0;
}

/* What apply.c, its libraries and the end of a process call. */
static const int allowed[] = {
	SCMP_SYS(read),         SCMP_SYS(pread64),
	SCMP_SYS(readv),        SCMP_SYS(recvfrom),
	SCMP_SYS(write),        SCMP_SYS(pwrite64),
	SCMP_SYS(writev),       SCMP_SYS(close),
	SCMP_SYS(lseek),        SCMP_SYS(ftruncate),
	SCMP_SYS(openat2),      SCMP_SYS(mkdirat),
	SCMP_SYS(mknodat),      SCMP_SYS(linkat),
	SCMP_SYS(symlinkat),    SCMP_SYS(unlinkat),
	SCMP_SYS(fchown),       SCMP_SYS(fchownat),
	SCMP_SYS(fchmod),       SCMP_SYS(utimensat),
	SCMP_SYS(fsetxattr),    SCMP_SYS(fgetxattr),
	SCMP_SYS(fstat),        SCMP_SYS(newfstatat),
	SCMP_SYS(statx),        SCMP_SYS(getdents64),
	SCMP_SYS(readlinkat),   SCMP_SYS(fcntl),
	SCMP_SYS(umask),        SCMP_SYS(mmap),
	SCMP_SYS(munmap),       SCMP_SYS(mremap),
	SCMP_SYS(madvise),      SCMP_SYS(mprotect),
	SCMP_SYS(brk),          SCMP_SYS(futex),
	SCMP_SYS(getrandom),    SCMP_SYS(getpid),
	SCMP_SYS(gettid),       SCMP_SYS(exit),
	SCMP_SYS(exit_group),   SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(sigaltstack),  SCMP_SYS(clock_gettime),
	SCMP_SYS(sched_yield),  SCMP_SYS(restart_syscall),
	SCMP_SYS(tgkill),
};

/* What only an intruder calls. */
static const int deadly[] = {
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	SCMP_SYS(socket),
	SCMP_SYS(connect),
	SCMP_SYS(ptrace),
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(chroot),
	SCMP_SYS(setns),
	SCMP_SYS(unshare),
	SCMP_SYS(bpf),
	SCMP_SYS(init_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(fsopen),
	SCMP_SYS(move_mount),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(fork),
	SCMP_SYS(vfork),
	SCMP_SYS(clone),
	SCMP_SYS(clone3),
};

static int add_rules(scmp_filter_ctx filter, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(allowed); i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(deadly); i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
	if (rc == 0)
		rc = seccomp_load(filter);
	if (rc < 0) {
		errno = -rc;
		return err_sys(err, "cannot install the unpacker's system call filter");
	}
	return 0;
}

static int filter_calls(struct err *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));

	if (!filter)
		return err_nomem(err);
	/* For all threads. */
	int rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) < 0
	                 ? err_set(err, ERR_UNSUPPORTED,
	                           "a system call filter cannot hold for all threads here")
	                 : add_rules(filter, err);
	seccomp_release(filter);
	return rc;
}

/* A kernel without Landlock leaves the root directory and the filter; the engine says so at its start. */
static int confine(int dir_fd, struct err *err)
{
	if (landlock_abi() == 0)
		return 0;
	auto_close int rules = landlock_open(LANDLOCK_OPEN_SIGNALS, err);
	if (rules < 0 || landlock_allow(rules, dir_fd,
	                                LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_UNPACK, err) < 0)
		return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, "cannot give up new privileges");
	return landlock_enter(rules, err);
}

int sandbox_enter(int dir_fd, unsigned flags, int (*start)(void *arg, struct err *err), void *arg,
                  struct err *err)
{
	if (close_range(SANDBOX_FIRST_OTHER_FD, ~0u, 0) < 0)
		return err_sys(err, "cannot close descriptors");
	if (set_limits(err) < 0 || confine(dir_fd, err) < 0)
		return -1;
	if (geteuid() == 0 && (enter_root(dir_fd, err) < 0 || drop_capabilities(flags, err) < 0))
		return -1;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, "cannot make the unpacker undumpable");
	if (start && start(arg, err) < 0)
		return -1;
	return filter_calls(err);
}
