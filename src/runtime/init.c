/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/init.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/str.h"
#include "runtime/cgroup.h"
#include "runtime/filter.h"
#include "runtime/hooks.h"
#include "runtime/identity.h"
#include "runtime/labels.h"
#include "runtime/notify.h"
#include "runtime/program.h"
#include "runtime/rootfs.h"
#include "runtime/spawn.h"
#include "runtime/spec.h"
#include "runtime/task.h"

/* ---- messages ---- */

int init_send(int socket, const struct init_message *message, int fd, struct err *err)
{
	struct init_message copy = *message;
	struct iovec part = {.iov_base = &copy, .iov_len = sizeof(copy)};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

	if (fd >= 0) {
		header.msg_control = control.bytes;
		header.msg_controllen = sizeof(control.bytes);
		struct cmsghdr *c = CMSG_FIRSTHDR(&header);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	if (sendmsg(socket, &header, MSG_NOSIGNAL) < 0)
		return err_sys(err, "send to the container's init");
	return 0;
}

int init_receive(int socket, struct init_message *message, int *fd, struct err *err)
{
	struct iovec part = {.iov_base = message, .iov_len = sizeof(*message)};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct msghdr header = {.msg_iov = &part,
	                        .msg_iovlen = 1,
	                        .msg_control = control.bytes,
	                        .msg_controllen = sizeof(control.bytes)};
	ssize_t n;

	if (fd)
		*fd = -1;
	do {
		n = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno != ECONNRESET)
		return err_sys(err, "receive from the container's init");
	if (n != (ssize_t)sizeof(*message))
		return 0;
	struct cmsghdr *c = CMSG_FIRSTHDR(&header);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int))) {
		int got;
		memcpy(&got, CMSG_DATA(c), sizeof(got));
		if (fd)
			*fd = got;
		else
			close(got);
	}
	message->err.msg[ERR_MSG_MAX - 1] = '\0';
	return 1;
}

static int ask(const struct init_plan *plan, int type, struct err *err)
{
	struct init_message message = {.type = type};

	if (init_send(plan->control_fd, &message, -1, err) < 0)
		return -1;
	if (init_receive(plan->control_fd, &message, NULL, err) != 1 || message.type != INIT_GO)
		return err_set(err, ERR_CANCELED, "the runtime went away");
	return 0;
}

/* ---- first steps ---- */

static void reset_signals(void)
{
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		if (i != SIGKILL && i != SIGSTOP)
			(void)signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* A new network namespace's loopback is down. */
static int raise_loopback(struct err *err)
{
	auto_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_name = "lo"};

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return err_sys(err, "loopback");
	request.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return err_sys(err, "raise the loopback");
	return 0;
}

static int set_names(const struct oci_spec *spec, struct err *err)
{
	if (!str_empty(spec->hostname) && sethostname(spec->hostname, strlen(spec->hostname)) < 0)
		return err_sys(err, "hostname");
	if (!str_empty(spec->domainname) &&
	    setdomainname(spec->domainname, strlen(spec->domainname)) < 0)
		return err_sys(err, "domainname");
	return 0;
}

static int become_root(struct err *err)
{
	/* EPERM: of a user without newgidmap, who can give up no group (user_namespaces(7), "deny"). */
	if ((setgroups(0, NULL) < 0 && errno != EPERM) || setresgid(0, 0, 0) < 0 ||
	    setresuid(0, 0, 0) < 0)
		return err_sys(err, "become root of the user namespace");
	return 0;
}

static int enter_namespaces(struct init_plan *plan, struct err *err)
{
	if (plan->cgroup && cgroup_enter(plan->cgroup, plan->cloned_into_cgroup, err) < 0)
		return -1;
	if (FAILPOINT("init.cgroup", err) < 0)
		return -1;
	for (size_t i = 0; i < plan->join_count; i++)
		if (setns(plan->joins[i].fd, plan->joins[i].flag) < 0)
			return err_sys(err, "linux.namespaces: join");
	if (plan->map_ids && ask(plan, INIT_USERNS, err) < 0)
		return -1;
	if ((plan->map_ids || plan->in_userns) && become_root(err) < 0)
		return -1;
	/* After entering the cgroup, which becomes the root of the new view. */
	const struct oci_namespace *cg = spec_namespace(plan->spec, CLONE_NEWCGROUP);
	if (cg && !cg->path && unshare(CLONE_NEWCGROUP) < 0)
		return err_sys(err, "new cgroup namespace");
	if ((plan->flags & CLONE_NEWNET) && raise_loopback(err) < 0)
		return -1;
	return FAILPOINT("init.namespaces", err);
}

/* ---- terminal and stdio ---- */

/* A container may have put anything at /dev/pts/ptmx: what was opened must be the multiplexer of
 * a devpts. */
static int open_ptmx(struct err *err)
{
	struct statfs fs;
	struct stat st;
	auto_close int dir = fs_trusted_open("/", O_PATH | O_DIRECTORY, 0, err);
	if (dir < 0)
		return -1;
	auto_close int fd = fs_open(dir, "dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK, 0, err);
	if (fd < 0)
		return -1;
	if (fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "/dev/pts/ptmx");
	if (fs.f_type != DEVPTS_SUPER_MAGIC || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2))
		return err_set(err, ERR_DENIED, "/dev/pts/ptmx is not a terminal multiplexer");
	if (fcntl(fd, F_SETFL, 0) < 0)
		return err_sys(err, "/dev/pts/ptmx");
	return move_fd(&fd);
}

static int open_terminal(const struct init_plan *plan, int *master, int *slave, struct err *err)
{
	struct winsize size = {.ws_row = plan->options->rows, .ws_col = plan->options->cols};
	int unlock = 0;

	if (!size.ws_row && !size.ws_col) {
		size.ws_row = (unsigned short)plan->process->console_size.height;
		size.ws_col = (unsigned short)plan->process->console_size.width;
	}
	*master = open_ptmx(err);
	if (*master < 0)
		return err_wrap(err, "process.terminal");
	if (ioctl(*master, TIOCSPTLCK, &unlock) < 0)
		return err_sys(err, "unlock the terminal");
	/* By descriptor: the name under /dev/pts could be another one's by now. */
	*slave = ioctl(*master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*slave < 0)
		return err_sys(err, "open the terminal's slave");
	if ((size.ws_row || size.ws_col) && ioctl(*master, TIOCSWINSZ, &size) < 0)
		return err_sys(err, "size of the terminal");
	if (plan->process->user.uid != 0 &&
	    fchown(*slave, (uid_t)plan->process->user.uid, (gid_t)-1) < 0)
		return err_sys(err, "owner of the terminal");
	return 0;
}

static int use_terminal(int slave, struct err *err)
{
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		return err_sys(err, "controlling terminal");
	for (int fd = 0; fd < 3; fd++)
		if (dup2(slave, fd) < 0)
			return err_sys(err, "stdio");
	return 0;
}

/* The program must be able to open /dev/stdout again, also as another user. */
static void give_pipe(int fd, uid_t uid)
{
	struct stat st;

	if (uid != 0 && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
		(void)fchown(fd, uid, (gid_t)-1);
}

static bool is_null(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

/* The caller's null device is a file of another mount namespace, which no checkpoint could find again. The container's own
 * does as well, where it is truly that. There are none of a container in the engine's user namespace. */
static void use_own_null(const struct init_plan *plan)
{
	if (plan->is_exec || plan->options->userns_fd > 0)
		return;
	auto_close int root = fs_trusted_open("/", O_PATH | O_DIRECTORY, 0, NULL);
	auto_close int place =
		root < 0 ? -1 : fs_open(root, "dev/null", O_PATH | O_NOFOLLOW, 0, NULL);
	if (!is_null(place))
		return;
	auto_close int own = fs_open(root, "dev/null", O_RDWR | O_NOFOLLOW | O_NOCTTY, 0, NULL);
	for (int i = 0; i < 3 && is_null(own); i++)
		if (is_null(i))
			(void)dup2(own, i);
}

static int use_stdio(const struct init_plan *plan, struct err *err)
{
	int fds[3] = {plan->options->stdin_fd, plan->options->stdout_fd, plan->options->stderr_fd};

	/* Out of the way first: one of them may itself be 0, 1 or 2. */
	for (int i = 0; i < 3; i++) {
		fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		if (fds[i] < 0)
			return err_sys(err, "stdio");
	}
	for (int i = 0; i < 3; i++) {
		if (dup2(fds[i], i) < 0)
			return err_sys(err, "stdio");
		give_pipe(i, (uid_t)plan->process->user.uid);
		close(fds[i]);
	}
	use_own_null(plan);
	return 0;
}

/* ---- the two kinds of processes ---- */

static int set_up_stdio(const struct init_plan *plan, struct rootfs *fs, int *master,
                        struct err *err)
{
	if (!plan->process->terminal)
		return use_stdio(plan, err);
	auto_close int slave = -1;
	if (open_terminal(plan, master, &slave, err) < 0)
		return -1;
	if (fs && rootfs_bind_console(fs, slave, err) < 0)
		return -1;
	return use_terminal(slave, err);
}

static int run_inside(const struct init_plan *plan, enum spec_hook point, const char *status,
                      struct err *err)
{
	const struct hooks_state state = {.id = plan->options->id,
	                                  .status = status,
	                                  .bundle = plan->options->bundle_path,
	                                  .pid = getpid()};

	return hooks_run(plan->spec, point, &state, err);
}

/* All mounts are made and the old root is still ours: paths of the host lead to the host's files. A
 * hook of the container finds the new root in its working directory. */
static int run_create_hooks(const struct init_plan *plan, struct err *err)
{
	if (ask(plan, INIT_HOOKS, err) < 0)
		return -1;
	if (!hooks_any(plan->spec, SPEC_HOOK_CREATE_CONTAINER))
		return 0;
	if (fchdir(plan->root_fd) < 0)
		return err_sys(err, "enter the container's root");
	return run_inside(plan, SPEC_HOOK_CREATE_CONTAINER, "creating", err);
}

static int enter_container(struct init_plan *plan, int *master, struct err *err)
{
	__attribute__((cleanup(rootfs_done))) struct rootfs fs = {
		.plan = plan, .root_fd = plan->root_fd, .null_fd = -1, .empty_fd = -1};

	if (enter_namespaces(plan, err) < 0 || set_names(plan->spec, err) < 0 ||
	    rootfs_setup(&fs, err) < 0)
		return -1;
	if (plan->run_hooks && run_create_hooks(plan, err) < 0)
		return -1;
	if (FAILPOINT("init.root.made", err) < 0 || labels_apply(plan->process, err) < 0 ||
	    rootfs_enter(&fs, err) < 0 || FAILPOINT("init.root.entered", err) < 0)
		return -1;
	return set_up_stdio(plan, &fs, master, err);
}

static int enter_existing(struct init_plan *plan, int *master, struct err *err)
{
	if (plan->cgroup && cgroup_enter(plan->cgroup, plan->cloned_into_cgroup, err) < 0)
		return -1;
	if (labels_apply(plan->process, err) < 0)
		return -1;
	if (plan->init_flags && setns(plan->init_pidfd, plan->init_flags) < 0)
		return err_sys(err, "join the container's namespaces");
	if ((plan->init_flags & CLONE_NEWUSER) && become_root(err) < 0)
		return -1;
	if (fchdir(plan->init_root_fd) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return err_sys(err, "enter the container's root");
	if (FAILPOINT("init.exec.entered", err) < 0)
		return -1;
	return set_up_stdio(plan, NULL, master, err);
}

/* ---- the end of the line ---- */

/* `start` may come from another process: then it connects to a socket in the state directory. */
static int wait_release(struct init_plan *plan, struct err *err)
{
	struct init_message message;
	int rc;

	if (plan->options->start_fd > 0) {
		int fd = accept4(plan->options->start_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			return err_sys(err, "wait for the start");
		close(plan->control_fd);
		plan->control_fd = fd;
	}
	rc = init_receive(plan->control_fd, &message, NULL, err);
	if (rc < 0)
		return -1;
	if (rc == 0 || message.type != INIT_RELEASE)
		return err_set(err, ERR_CANCELED, "the runtime went away");
	return FAILPOINT("init.released", err);
}

static int keep_fds(const struct spawn_options *options, struct err *err)
{
	unsigned first = 3 + (unsigned)options->preserve_fds;

	for (unsigned fd = 3; fd < first; fd++)
		if (fcntl((int)fd, F_SETFD, 0) < 0)
			return err_sys(err, "descriptor %u, which is to be kept", fd);
	if (close_range(first, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		return err_sys(err, "close descriptors");
	return 0;
}

static int install_filter(const struct init_plan *plan, struct err *err)
{
	if (plan->seccomp_flags & SECCOMP_FILTER_FLAG_NEW_LISTENER)
		return notify_install(plan->control_fd, plan->seccomp_bpf, plan->seccomp_len,
		                      plan->seccomp_flags, err);
	return filter_install(plan->seccomp_bpf, plan->seccomp_len, plan->seccomp_flags, err);
}

/* With no_new_privs the filter may go in last; without, installing it takes privilege. */
static int drop_privileges(const struct init_plan *plan, struct err *err)
{
	const struct oci_process *process = plan->process;

	if (process->no_new_privileges) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
			return err_sys(err, "process.noNewPrivileges");
		if (identity_set_capabilities(&process->capabilities, err) < 0)
			return -1;
		if (!plan->seccomp_bpf)
			return 0;
		return install_filter(plan, err);
	}
	if (plan->seccomp_bpf) {
		if (identity_raise(err) < 0 || install_filter(plan, err) < 0)
			return -1;
	}
	return identity_set_capabilities(&process->capabilities, err);
}

static int prepare(struct init_plan *plan, struct err *err)
{
	auto_close int master = -1;

	/* Who shares our namespaces may not look into us, or take what we hold, before we are one of them. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, "close this process to its neighbours");
	if (setsid() < 0)
		return err_sys(err, "new session");
	umask(0);
	if ((plan->is_exec ? enter_existing : enter_container)(plan, &master, err) < 0)
		return -1;
	if (!plan->options->no_new_keyring)
		identity_join_keyring(plan->options->id);
	/* In a user namespace nobody may raise a limit: there the parent sets them. */
	bool limits = !((plan->flags | plan->init_flags) & CLONE_NEWUSER);
	if (FAILPOINT("init.stdio", err) < 0 ||
	    task_set_own(plan->spec, plan->is_exec ? &plan->process->exec_cpu_affinity : NULL,
	                 err) < 0 ||
	    (limits && identity_set_rlimits(plan->process, 0, err) < 0) ||
	    identity_enter_cwd(plan->process->cwd, err) < 0 ||
	    identity_set_user(plan->process, err) < 0 || keep_fds(plan->options, err) < 0)
		return -1;

	if (plan->options->check_program && program_check(plan->process, err) < 0)
		return -1;
	/* After the change of user, which clears it. A parent that is gone already makes the send fail. */
	if (plan->options->die_with_parent && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return err_sys(err, "bind this process to its supervisor");

	struct init_message ready = {.type = INIT_READY};
	if (FAILPOINT("init.identity", err) < 0 ||
	    init_send(plan->control_fd, &ready, master, err) < 0)
		return -1;
	return FAILPOINT("init.ready", err);
}

/* A program of the container's: nothing of ours is left that it could use. */
static int run_start_hooks(const struct init_plan *plan, struct err *err)
{
	if (plan->is_exec || !hooks_any(plan->spec, SPEC_HOOK_START_CONTAINER))
		return 0;
	return run_inside(plan, SPEC_HOOK_START_CONTAINER, "created", err);
}

static void report(const struct init_plan *plan, const struct err *err)
{
	struct init_message message = {.type = INIT_FAILED, .err = *err};

	(void)init_send(plan->control_fd, &message, -1, NULL);
}

_Noreturn void init_run(struct init_plan *plan)
{
	struct err err = ERR_INIT;

	close(plan->parent_fd);
	reset_signals();
	if (prepare(plan, &err) < 0 || wait_release(plan, &err) < 0 ||
	    drop_privileges(plan, &err) < 0 || FAILPOINT("init.dropped", &err) < 0 ||
	    run_start_hooks(plan, &err) < 0) {
		report(plan, &err);
		_exit(1);
	}
	(void)program_exec(plan->process, &err);
	report(plan, &err);
	_exit(program_exit_status(&err));
}
