/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/crossing.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "runtime/birth.h"

/* The go-between makes a few system calls. A child that has a copy of our memory goes on from there, and has all
 * that is below for itself: dead frames, and then the rest of the stack. */
#define STACK_SIZE (16 << 10)
#define WAITS_MAX  100

struct crossing {
	struct birth *birth;
	int pid_ns_fd;
	struct clone_args *args;
	pid_t pid;
	int error;
};

static int cross(void *arg)
{
	struct crossing *c = arg;

	if ((c->pid_ns_fd < 0 || setns(c->pid_ns_fd, CLONE_NEWPID) == 0) &&
	    setns(c->birth->plan.userns_fd, CLONE_NEWUSER) == 0)
		c->pid = birth_clone(c->birth, c->args);
	if (c->pid < 0) /* else errno is the child's, which runs */
		c->error = errno;
	return 0;
}

pid_t crossing_clone(struct birth *birth, int pid_ns_fd, struct clone_args *args)
{
	_Alignas(16) char stack[STACK_SIZE];
	struct crossing c = {.birth = birth, .pid_ns_fd = pid_ns_fd, .args = args, .pid = -1};

	args->flags = (args->flags & ~(uint64_t)CLONE_NEWUSER) | CLONE_PARENT;
	args->exit_signal = 0; /* CLONE_PARENT: that of the go-between */
	pid_t pid = clone(cross, stack + sizeof(stack),
	                  CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, &c);
	if (pid < 0)
		return -1;
	/* It is as good as gone; a signal may come in between, and errno is not to be looked at. */
	for (int i = 0; i < WAITS_MAX && waitpid(pid, NULL, 0) != pid; i++)
		;
	if (c.pid < 0)
		errno = c.error;
	return c.pid;
}

int crossing_mount(int dir_fd, int userns_fd, struct err *err)
{
	auto_close int clone = fs_mount_clone(dir_fd, false, err);

	if (clone < 0 || fs_mount_idmap(clone, userns_fd, false, err) < 0)
		return -1;
	return move_fd(&clone);
}

void crossing_map_bind(int mount_fd, bool recursive, int userns_fd)
{
	if (!recursive || fs_mount_idmap(mount_fd, userns_fd, true, NULL) < 0)
		(void)fs_mount_idmap(mount_fd, userns_fd, false, NULL);
}
