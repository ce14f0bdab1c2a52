/* SPDX-License-Identifier: Apache-2.0 */

/*
 * floor - the least that a container runtime can do, to see how far a real one is above it.
 *
 *	floor ROOTFS PROGRAM [ARG...]     one container; exits as the program did
 *	floor --warm ROOTFS PROGRAM ...   one for each line on stdin; prints for each, in ns, the time
 *	                                  from its start to its exec, and to its end
 *
 * Six namespaces (mount, pid, network, uts, ipc, cgroup), proc, dev and sys, pivot_root, exec, reap. No
 * config, no cgroup, no capabilities, no seccomp, no state: not to be used for anything else.
 * --warm is the floor of a launcher: a process that is there already, which only forks.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAMESPACES                                                                                 \
	(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP)

static void die(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	_exit(125);
}

static void mount_or_die(const char *source, const char *target, const char *type,
                         unsigned long flags)
{
	if (mount(source, target, type, flags, NULL) < 0)
		die(target);
}

_Noreturn static void child(char **argv)
{
	mount_or_die(NULL, "/", NULL, MS_REC | MS_PRIVATE);
	mount_or_die(argv[0], argv[0], NULL, MS_BIND);
	if (chdir(argv[0]) < 0)
		die(argv[0]);
	mount_or_die("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC);
	mount_or_die("tmpfs", "dev", "tmpfs", MS_NOSUID);
	mount_or_die("sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY);
	if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		die("pivot_root");
	execv(argv[1], argv + 1);
	die(argv[1]);
	__builtin_unreachable();
}

static pid_t start(char **argv)
{
	struct clone_args args = {.flags = NAMESPACES, .exit_signal = SIGCHLD};
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0)
		child(argv);
	if (pid < 0)
		die("clone3");
	return pid;
}

static int reap(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* Close-on-exec: the end of file is the moment of the exec. */
static void start_warm(char **argv)
{
	int ends[2];
	char byte;

	if (pipe2(ends, O_CLOEXEC) < 0)
		die("pipe2");
	int64_t begin = now_ns();
	pid_t pid = start(argv);
	close(ends[1]);
	while (read(ends[0], &byte, 1) > 0)
		;
	int64_t executed = now_ns();
	int code = reap(pid);
	printf("%lld %lld\n", (long long)(executed - begin), (long long)(now_ns() - begin));
	fflush(stdout);
	close(ends[0]);
	if (code != 0)
		exit(code);
}

int main(int argc, char **argv)
{
	if (argc > 3 && strcmp(argv[1], "--warm") == 0) {
		while (getchar() == '\n')
			start_warm(argv + 2);
		return 0;
	}
	if (argc < 3) {
		fprintf(stderr, "usage: floor [--warm] ROOTFS PROGRAM [ARG...]\n");
		return 125;
	}
	return reap(start(argv + 1));
}
