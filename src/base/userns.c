/* SPDX-License-Identifier: Apache-2.0 */
#include "base/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"

#define STACK_SIZE 16384

struct sleeper {
	int fd; /* of a pipe */
	pid_t parent;
};

/* Shares the caller's memory and thread-local storage while the caller runs on: plain system calls only. It holds
 * the pipe's other end as well, so a caller that is killed must take it along. */
static int sleep_until_closed(void *arg)
{
	const struct sleeper *s = arg;
	char c;

	(void)syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (syscall(SYS_getppid) == s->parent)
		(void)syscall(SYS_read, s->fd, &c, 1);
	(void)syscall(SYS_exit_group, 0);
	return 0;
}

static int open_of(pid_t pid, const char *name, int flags, struct err *err)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return fs_trusted_open(path, flags, 0, err);
}

static int open_all(pid_t pid, int flags, struct userns *out, struct err *err)
{
	out->fd = open_of(pid, "ns/user", O_RDONLY, err);
	if (out->fd < 0)
		return -1;
	out->uid_map_fd = open_of(pid, "uid_map", O_WRONLY, err);
	out->gid_map_fd = out->uid_map_fd < 0 ? -1 : open_of(pid, "gid_map", O_WRONLY, err);
	if (out->gid_map_fd < 0)
		return -1;
	if (!(flags & CLONE_NEWNET))
		return 0;
	out->net_fd = open_of(pid, "ns/net", O_RDONLY, err);
	return out->net_fd < 0 ? -1 : 0;
}

int userns_create(int flags, struct userns *out, struct err *err)
{
	_Alignas(16) char stack[STACK_SIZE];
	struct userns made = USERNS_INIT;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	/* The child has our descriptors, a copy of the pipe's writing end too: CLONE_FILES, so that closing it
	 * here closes it there. No signal at its end: nobody else's wait() may see it. */
	struct sleeper sleeper = {.fd = ends[0], .parent = getpid()};
	pid_t pid = clone(sleep_until_closed, stack + sizeof(stack),
	                  CLONE_VM | CLONE_FILES | CLONE_NEWUSER | flags, &sleeper);
	int rc = pid < 0 ? err_sys(err, "create a user namespace")
	                 : open_all(pid, flags, &made, err);
	close(ends[1]);
	while (pid > 0 && waitpid(pid, NULL, __WCLONE) < 0 && errno == EINTR)
		;
	close(ends[0]);
	if (rc < 0) {
		userns_close(&made);
		return -1;
	}
	*out = made;
	return 0;
}

static int write_map(int *fd, const char *text, struct err *err)
{
	ssize_t n = write(*fd, text, strlen(text));

	if (n != (ssize_t)strlen(text))
		return err_sys(err, "map the ids of a user namespace");
	close(*fd);
	*fd = -1;
	return 0;
}

int userns_map(struct userns *ns, uint32_t inside, uint32_t outside, uint32_t count,
               struct err *err)
{
	char text[64];

	snprintf(text, sizeof(text), "%u %u %u\n", inside, outside, count);
	if (write_map(&ns->uid_map_fd, text, err) < 0)
		return -1;
	return write_map(&ns->gid_map_fd, text, err);
}

void userns_close(struct userns *ns)
{
	cleanup_close(&ns->fd);
	cleanup_close(&ns->net_fd);
	cleanup_close(&ns->uid_map_fd);
	cleanup_close(&ns->gid_map_fd);
	*ns = USERNS_INIT;
}

int userns_open_mapped(uint32_t inside, uint32_t outside, uint32_t count, struct err *err)
{
	struct userns ns;

	if (userns_create(0, &ns, err) < 0)
		return -1;
	int rc = userns_map(&ns, inside, outside, count, err);
	int fd = rc < 0 ? -1 : move_fd(&ns.fd);
	userns_close(&ns);
	return fd;
}

struct net_job {
	int userns_fd;
	int net_fd; /* or -1 */
	int error;
};

/* The caller's thread stands still meanwhile. */
static int make_net(void *arg)
{
	struct net_job *job = arg;

	if (setns(job->userns_fd, CLONE_NEWUSER) == 0 && unshare(CLONE_NEWNET) == 0)
		job->net_fd = fs_trusted_open("/proc/self/ns/net", O_RDONLY, 0, NULL);
	job->error = errno;
	return 0;
}

int userns_add_net(int userns_fd, struct err *err)
{
	_Alignas(16) char stack[STACK_SIZE];
	struct net_job job = {.userns_fd = userns_fd, .net_fd = -1};
	pid_t pid =
		clone(make_net, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | CLONE_FILES, &job);

	if (pid < 0)
		return err_sys(err, "start a process");
	while (waitpid(pid, NULL, __WCLONE) < 0 && errno == EINTR)
		;
	errno = job.error;
	return job.net_fd < 0 ? err_sys(err, "create a network namespace") : job.net_fd;
}

int userns_owner(int ns_fd, struct err *err)
{
	int fd = ioctl(ns_fd, NS_GET_USERNS);

	if (fd < 0)
		return err_sys(err, "find the user namespace that owns a namespace");
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	return fd;
}
