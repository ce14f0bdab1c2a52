/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/birth.h"
#include "runtime/cgroup.h"
#include "runtime/crossing.h"
#include "runtime/filter.h"
#include "runtime/hooks.h"
#include "runtime/identity.h"
#include "runtime/idmap.h"
#include "runtime/init.h"
#include "runtime/labels.h"
#include "runtime/layers.h"
#include "runtime/mount_options.h"
#include "runtime/netdev.h"
#include "runtime/nursery.h"
#include "runtime/rdt.h"
#include "runtime/spec.h"
#include "runtime/task.h"
#include "runtime/userdev.h"

/* Below this the child may meet its own limit while it sets the container up. */
#define SHARING_MEMORY_MIN (4 << 20)

/* Everything the parent holds for one spawn; released whole. */
struct spawn {
	struct init_plan plan;
	struct sock_filter *bpf; /* owned until the birth has it */
	struct birth *birth;     /* owned until handed out */
	struct cgroup *cgroup;   /* owned until handed out */
	bool made_cgroup, made_rdt;
	pid_t holder;      /* keeps a scope of systemd's alive until the child is in it; -1 */
	bool hooks_begun;  /* a failure from here on is followed by the poststop hooks */
	int joined_userns; /* by path; -1 */
	int own_pid_ns;    /* to return to after joining another; -1 */
	int pid_ns;        /* to be joined for the clone; -1 */
};

static void close_all(int *fds, size_t count)
{
	for (size_t i = 0; fds && i < count; i++)
		cleanup_close(&fds[i]);
	free(fds);
}

static void drop_cgroup(struct spawn *s)
{
	place_release(&s->holder);
	(void)cgroup_remove(s->cgroup, NULL);
	s->made_cgroup = false;
}

static void spawn_done(struct spawn *s)
{
	struct init_plan *plan = &s->plan;

	cleanup_close(&plan->control_fd);
	cleanup_close(&plan->parent_fd);
	cleanup_close(&plan->root_fd);
	cleanup_close(&plan->init_pidfd);
	cleanup_close(&plan->init_root_fd);
	cleanup_close(&s->joined_userns);
	cleanup_close(&s->own_pid_ns);
	cleanup_close(&s->pid_ns);
	for (size_t i = 0; i < plan->join_count; i++)
		cleanup_close(&plan->joins[i].fd);
	close_all(plan->mount_fds, plan->spec->mounts.count);
	close_all(plan->cgroup_fds, CGROUP_HIERARCHIES_MAX);
	place_release(&s->holder);
	if (s->cgroup && s->made_cgroup)
		drop_cgroup(s);
	cgroup_free(s->cgroup);
	free(s->bpf);
	birth_free(s->birth);
}

static void spawn_init(struct spawn *s, const struct oci_spec *spec,
                       const struct oci_process *process, const struct spawn_options *options)
{
	*s = (struct spawn){
		.plan = {.spec = spec,
	                 .process = process,
	                 .options = options,
	                 .control_fd = -1,
	                 .parent_fd = -1,
	                 .root_fd = -1,
	                 .init_pidfd = -1,
	                 .init_root_fd = -1},
		.holder = -1,
		.joined_userns = -1,
		.own_pid_ns = -1,
		.pid_ns = -1,
	};
}

static int *new_fds(size_t count, struct err *err)
{
	int *fds = malloc((count + 1) * sizeof(*fds));

	if (!fds) {
		err_nomem(err);
		return NULL;
	}
	for (size_t i = 0; i <= count; i++)
		fds[i] = -1;
	return fds;
}

/* ---- what the child will need ---- */

static int prepare_seccomp(struct spawn *s, struct err *err)
{
	const struct spawn_options *options = s->plan.options;
	const struct oci_seccomp *profile = s->plan.spec->linux_.seccomp;

	if (!profile)
		return 0;
	if (filter_parse_flags(profile, &s->plan.seccomp_flags, err) < 0)
		return -1;
	if (options->seccomp_bpf) {
		s->plan.seccomp_bpf = options->seccomp_bpf;
		s->plan.seccomp_len = options->seccomp_len;
		return 0;
	}
	if (filter_compile(profile, &s->bpf, &s->plan.seccomp_len, err) < 0)
		return -1;
	s->plan.seccomp_bpf = s->bpf;
	return 0;
}

static int prepare_root(struct spawn *s, struct err *err)
{
	const struct spawn_options *options = s->plan.options;
	const char *path = s->plan.spec->root.path;

	if (options->rootfs) {
		s->plan.root_fd = layers_mount(options->rootfs, options->userns_fd,
		                               layers_attr(s->plan.process), err);
		return s->plan.root_fd < 0 ? err_wrap(err, "root") : 0;
	}
	auto_close int dir =
		*path == '/' ? fs_trusted_open(path, O_PATH | O_DIRECTORY, 0, err)
			     : fs_open_in(options->bundle_fd, path, O_PATH | O_DIRECTORY, 0, err);
	if (dir < 0)
		return err_wrap(err, "root.path");
	s->plan.root_fd = fs_mount_clone(dir, true, err);
	return s->plan.root_fd < 0 ? err_wrap(err, "root.path") : 0;
}

/* The mount's own id maps, or else the container's. */
static int open_idmap(const struct spawn *s, const struct oci_mount *m, struct err *err)
{
	const struct oci_linux *lin = &s->plan.spec->linux_;
	bool own = m->uid_mappings.count > 0;

	return idmap_open(own ? &m->uid_mappings : &lin->uid_mappings,
	                  own ? &m->gid_mappings : &lin->gid_mappings, err);
}

static int prepare_bind(struct spawn *s, const struct oci_mount *m, struct err *err)
{
	auto_close int source = *m->source == '/' ? fs_trusted_open(m->source, O_PATH, 0, err)
	                                          : fs_open_in(s->plan.options->bundle_fd,
	                                                       m->source, O_PATH, 0, err);

	auto_close int clone = source < 0 ? -1 : fs_mount_clone(source, m->plan->recursive, err);
	if (clone < 0)
		return err_wrap(err, "source");
	if (m->plan->idmap) {
		auto_close int userns = open_idmap(s, m, err);
		if (userns < 0 || fs_mount_idmap(clone, userns, m->plan->idmap_recursive, err) < 0)
			return -1;
	} else if (s->plan.options->userns_fd > 0) {
		crossing_map_bind(clone, m->plan->recursive, s->plan.options->userns_fd);
	}
	return move_fd(&clone);
}

static int prepare_mounts(struct spawn *s, struct err *err)
{
	const struct oci_mount *all = s->plan.spec->mounts.items;
	size_t count = s->plan.spec->mounts.count;

	s->plan.mount_fds = new_fds(count, err);
	if (!s->plan.mount_fds)
		return -1;
	for (size_t i = 0; i < count; i++) {
		const struct mount_plan *plan = all[i].plan;
		if (plan->remount || (!plan->bind && !plan->idmap))
			continue;
		s->plan.mount_fds[i] =
			plan->bind ? prepare_bind(s, &all[i], err) : open_idmap(s, &all[i], err);
		if (s->plan.mount_fds[i] < 0)
			return err_wrap(err, "mounts[%zu] (%s)", i, all[i].destination);
	}
	return 0;
}

/* The container's view of its cgroups, if it mounts one. */
static int prepare_cgroup_view(struct spawn *s, struct err *err)
{
	const struct oci_mount *all = s->plan.spec->mounts.items;
	bool wanted = false;

	for (size_t i = 0; i < s->plan.spec->mounts.count; i++)
		wanted |= str_eq(all[i].type, "cgroup") || str_eq(all[i].type, "cgroup2");
	if (!wanted || !s->cgroup)
		return 0;
	s->plan.cgroup_fds = new_fds(CGROUP_HIERARCHIES_MAX, err);
	if (!s->plan.cgroup_fds)
		return -1;
	for (size_t i = 0; i < cgroup_hierarchy_count(s->cgroup); i++) {
		const char *name;
		bool v2;
		int fd = cgroup_hierarchy_fd(s->cgroup, i, &name, &v2);
		if (fd < 0)
			continue;
		s->plan.cgroup_fds[i] = fs_mount_clone(fd, false, err);
		if (s->plan.cgroup_fds[i] < 0)
			return err_wrap(err, "view of the %s cgroup", name);
	}
	return 0;
}

static int prepare_cgroup(struct spawn *s, struct err *err)
{
	const struct oci_linux *lin = &s->plan.spec->linux_;
	const struct spawn_options *options = s->plan.options;

	int rc =
		place_make(&options->place, s->plan.spec, options->id, &s->cgroup, &s->holder, err);
	if (rc < 0 || !s->cgroup)
		return rc;
	s->made_cgroup = true;
	s->plan.cgroup = s->cgroup;
	if (FAILPOINT("spawn.cgroup", err) < 0 ||
	    cgroup_apply(s->cgroup, &lin->resources, err) < 0 ||
	    FAILPOINT("spawn.limits", err) < 0 ||
	    cgroup_apply_devices(s->cgroup, &lin->resources, lin->devices.items, lin->devices.count,
	                         err) < 0 ||
	    FAILPOINT("spawn.devices", err) < 0)
		return -1;
	return prepare_cgroup_view(s, err);
}

/* One that is joined gets the container's root and mounts, and so do those who are in it already. */
static bool is_our_mount_namespace(int fd)
{
	struct stat theirs, ours;

	return fstat(fd, &theirs) == 0 && stat("/proc/self/ns/mnt", &ours) == 0 &&
	       theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev;
}

static int open_namespace(const struct oci_namespace *ns, struct err *err)
{
	auto_close int fd = fs_trusted_open(ns->path, O_RDONLY, 0, err);

	if (fd < 0)
		return err_wrap(err, "linux.namespaces (%s)", ns->type);
	if (ns->flag == CLONE_NEWNS && is_our_mount_namespace(fd))
		return err_set(err, ERR_INVALID,
		               "linux.namespaces: %s is the runtime's own mount namespace: "
		               "everybody in it would get the container's root",
		               ns->path);
	return move_fd(&fd);
}

/* A process joins another pid namespace only by being born into it. */
static int join_for_clone(struct spawn *s, int fd, struct err *err)
{
	s->own_pid_ns = fs_trusted_open("/proc/self/ns/pid", O_RDONLY, 0, err);
	if (s->own_pid_ns < 0)
		return -1;
	s->pid_ns = fd;
	return 0;
}

/* A cgroup namespace is made by the child, clocks with offsets by task.c. */
static bool is_made_by_clone(const struct spawn *s, const struct oci_namespace *namespace)
{
	if (namespace->flag == CLONE_NEWTIME)
		return !s->plan.spec->linux_.time_offset_count;
	return namespace->flag != CLONE_NEWCGROUP;
}

static int prepare_namespaces(struct spawn *s, struct err *err)
{
	const struct oci_namespace *all = s->plan.spec->linux_.namespaces.items;

	for (size_t i = 0; i < s->plan.spec->linux_.namespaces.count; i++) {
		if (!all[i].path) {
			if (is_made_by_clone(s, &all[i]))
				s->plan.flags |= all[i].flag;
			continue;
		}
		int fd = open_namespace(&all[i], err);
		if (fd < 0)
			return -1;
		if (all[i].flag == CLONE_NEWPID) {
			if (join_for_clone(s, fd, err) < 0)
				return -1;
			continue;
		}
		if (all[i].flag == CLONE_NEWUSER) { /* the others have to be made in it */
			s->joined_userns = fd;
			s->plan.flags |= CLONE_NEWUSER;
			continue;
		}
		s->plan.joins[s->plan.join_count++] =
			(struct init_join){.fd = fd, .flag = all[i].flag};
	}
	s->plan.userns_fd = s->joined_userns >= 0 ? s->joined_userns : s->plan.options->userns_fd;
	s->plan.in_userns = (s->plan.flags & CLONE_NEWUSER) && s->plan.userns_fd > 0;
	s->plan.map_ids = (s->plan.flags & CLONE_NEWUSER) && !s->plan.in_userns;
	return 0;
}

static int prepare_sockets(struct spawn *s, struct err *err)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(err, "socketpair");
	s->plan.parent_fd = ends[0];
	s->plan.control_fd = ends[1];
	return 0;
}

/* ---- birth ---- */

/* Whether the child may use our memory until it executes its program (birth.h): we are there and wait until
 * then, do nothing else meanwhile, and nothing that the kernel does to it is done to us. */
static bool may_share(const struct spawn *s)
{
	const struct oci_spec *spec = s->plan.spec;
	const struct oci_memory *memory = &spec->linux_.resources.memory;
	bool other_clocks =
		spec_namespace(spec, CLONE_NEWTIME) != NULL || (s->plan.init_flags & CLONE_NEWTIME);
	bool tight = (memory->limit >= 0 && memory->limit < SHARING_MEMORY_MIN) ||
	             spec->linux_.resources.unified.count > 0;

	return s->plan.options->start_fd <= 0 && !other_clocks && !tight &&
	       s->plan.process->oom_score_adj == SPEC_UNSET &&
	       !(s->plan.seccomp_flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) &&
	       spec->linux_.net_device_count == 0;
}

static pid_t clone_from(struct spawn *s, struct clone_args *args)
{
	return s->plan.in_userns ? crossing_clone(s->birth, s->pid_ns, args)
	                         : birth_clone(s->birth, args);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the kernel writes it */
static pid_t clone_child(struct spawn *s, int *pidfd, struct err *err)
{
	int cgroup_fd = s->cgroup ? cgroup_clone_fd(s->cgroup) : -1;
	struct clone_args args = {
		.flags = CLONE_PIDFD | (uint64_t)(unsigned)s->plan.flags,
		.pidfd = (uint64_t)(uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
	};

	if (cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup_fd;
		s->plan.cloned_into_cgroup = true;
	}
	s->birth = birth_new(&s->plan, move_ptr(s->bpf), may_share(s), err);
	if (!s->birth)
		return -1;
	bool inside = nursery_suits(&s->plan) && nursery_enter(s->plan.options->nursery);
	pid_t pid = clone_from(s, &args);
	int clone_errno = errno; /* the child's to write, if there is one */
	if (inside && nursery_leave(s->plan.options->nursery, err) < 0) {
		if (pid > 0) {
			(void)kill(pid, SIGKILL);
			(void)waitpid(pid, NULL, 0);
		}
		return -1;
	}
	if (pid < 0)
		errno = clone_errno;
	return pid < 0 ? err_sys(err, "clone the container's first process") : pid;
}

static pid_t give_birth(struct spawn *s, int *pidfd, struct err *err)
{
	const struct oci_affinity *affinity =
		s->plan.is_exec ? &s->plan.process->exec_cpu_affinity : NULL;
	bool joins = s->pid_ns >= 0 && !s->plan.in_userns;
	struct task_birth birth = TASK_BIRTH_INIT;
	pid_t pid = -1;

	if (joins && setns(s->pid_ns, CLONE_NEWPID) < 0)
		return err_sys(err, "join the pid namespace");
	if (task_birth_begin(s->plan.spec, affinity, &birth, err) == 0)
		pid = clone_child(s, pidfd, err);
	bool returned = task_birth_end(&birth, pid < 0 ? NULL : err) == 0;
	/* EPERM: in a user namespace of our own (rootless.h) there is no way back, and no need of one. */
	if (joins && setns(s->own_pid_ns, CLONE_NEWPID) < 0 && pid > 0 && errno != EPERM) {
		returned = false;
		err_sys(err, "leave the pid namespace");
	}
	if (pid > 0 && !returned) {
		kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		return -1;
	}
	close(move_fd(&s->plan.control_fd));
	return pid;
}

static int map_ids(const struct spawn *s, pid_t pid, struct err *err)
{
	const struct oci_linux *lin = &s->plan.spec->linux_;

	return idmap_write(pid, &lin->uid_mappings, &lin->gid_mappings, err) < 0
	               ? err_wrap(err, "linux")
	               : 0;
}

static int run_hooks(struct spawn *s, pid_t pid, struct err *err)
{
	const struct hooks_state state = {.id = s->plan.options->id,
	                                  .status = "creating",
	                                  .bundle = s->plan.options->bundle_path,
	                                  .pid = pid};

	s->hooks_begun = true;
	if (hooks_run(s->plan.spec, SPEC_HOOK_PRESTART, &state, err) < 0)
		return -1;
	return hooks_run(s->plan.spec, SPEC_HOOK_CREATE_RUNTIME, &state, err);
}

/* Serves the child until it is ready or has failed. */
static int serve_child(struct spawn *s, pid_t pid, int *console_fd, struct err *err)
{
	const struct init_message go = {.type = INIT_GO};
	struct init_message message;

	for (;;) {
		int fd;
		int rc = init_receive(s->plan.parent_fd, &message, &fd, err);
		if (rc < 0)
			return -1;
		if (rc == 0)
			return err_set(err, ERR_SYSTEM, "the container's first process died");
		if (message.type == INIT_READY) {
			*console_fd = fd;
			return 0;
		}
		cleanup_close(&fd);
		if (message.type == INIT_FAILED) {
			if (err)
				*err = message.err;
			return -1;
		}
		if ((message.type == INIT_USERNS &&
		     (map_ids(s, pid, err) < 0 || FAILPOINT("spawn.mapped", err) < 0)) ||
		    (message.type == INIT_HOOKS && run_hooks(s, pid, err) < 0))
			return -1;
		if (init_send(s->plan.parent_fd, &go, -1, err) < 0)
			return -1;
	}
}

/* Lowering needs CAP_SYS_RESOURCE: what asks for no more protection than we have is let be. */
static int set_oom_score(const struct oci_process *process, pid_t pid, struct err *err)
{
	char path[64], text[16];
	struct err why = ERR_INIT;

	if (process->oom_score_adj == SPEC_UNSET)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	snprintf(text, sizeof(text), "%d", (int)process->oom_score_adj);
	auto_close int fd = fs_trusted_open(path, O_WRONLY, 0, err);
	if (fd < 0)
		return -1;
	if (fs_write_all(fd, text, strlen(text), &why) == 0 || process->oom_score_adj >= 0)
		return 0;
	if (err)
		*err = why;
	return err_wrap(err, "process.oomScoreAdj: %s", text);
}

/* The namespace is there from birth on, or is the one to be joined. */
static int give_devices(const struct spawn *s, pid_t pid, struct err *err)
{
	const struct oci_linux *lin = &s->plan.spec->linux_;
	char path[64];

	if (s->plan.is_exec || lin->net_device_count == 0)
		return 0;
	const struct oci_namespace *ns = spec_namespace(s->plan.spec, CLONE_NEWNET);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	auto_close int fd = fs_trusted_open(ns->path ? ns->path : path, O_RDONLY, 0, err);
	return fd < 0 ? -1 : netdev_move_all(lin, fd, err);
}

static int apply_rdt(struct spawn *s, pid_t pid, struct err *err)
{
	const struct oci_rdt *rdt = s->plan.spec->linux_.intel_rdt;

	if (!rdt)
		return 0;
	auto_close int root = rdt_open(err);
	if (root < 0)
		return -1;
	if (s->plan.is_exec) /* children of a class's members are in it; an exec is nobody's child there */
		return rdt_join(root, rdt, s->plan.options->id, pid, err);
	if (rdt_apply(root, rdt, s->plan.options->id, pid, err) < 0)
		return -1;
	s->made_rdt = true;
	return 0;
}

static void drop_rdt(struct spawn *s)
{
	auto_close int root = s->made_rdt ? rdt_open(NULL) : -1;

	if (root >= 0)
		(void)rdt_remove(root, s->plan.spec->linux_.intel_rdt, s->plan.options->id, NULL);
}

/* See init.c: only where the child cannot. */
static int set_rlimits(const struct spawn *s, pid_t pid, struct err *err)
{
	if (!((s->plan.flags | s->plan.init_flags) & CLONE_NEWUSER))
		return 0;
	return identity_set_rlimits(s->plan.process, pid, err);
}

/* What needs the parent's privileges, or its view. */
static int give_rest(struct spawn *s, pid_t pid, struct notify_agent *agent, struct err *err)
{
	const struct hooks_state state = {
		.id = s->plan.options->id,
		.status = s->plan.is_exec ? "running" : "creating",
		.bundle = s->plan.options->bundle_path,
		.pid = s->plan.is_exec ? s->plan.init_pid : pid,
	};

	if (set_rlimits(s, pid, err) < 0 || set_oom_score(s->plan.process, pid, err) < 0 ||
	    apply_rdt(s, pid, err) < 0 || task_set_priority(s->plan.process, pid, err) < 0)
		return -1;
	return notify_agent_make(s->plan.spec, &state, pid, agent, err);
}

static int finish(struct spawn *s, struct spawned *out, struct err *err)
{
	struct notify_agent agent = {0};
	int console_fd = -1, pidfd = -1;
	userdev_give_stdio(&s->plan);
	pid_t pid = give_birth(s, &pidfd, err);

	if (pid < 0)
		return -1;
	if (FAILPOINT("spawn.born", err) < 0 || give_devices(s, pid, err) < 0 ||
	    serve_child(s, pid, &console_fd, err) < 0 || FAILPOINT("spawn.ready", err) < 0 ||
	    give_rest(s, pid, &agent, err) < 0 ||
	    (s->cgroup && cgroup_verify(s->cgroup, pid, err) < 0) ||
	    FAILPOINT("spawn.verified", err) < 0) {
		kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		cleanup_close(&console_fd);
		cleanup_close(&pidfd);
		notify_agent_done(&agent);
		drop_rdt(s);
		return -1;
	}
	place_release(&s->holder);
	s->made_cgroup = false; /* stays */
	*out = (struct spawned){.pid = pid,
	                        .pidfd = pidfd,
	                        .control_fd = move_fd(&s->plan.parent_fd),
	                        .console_fd = console_fd,
	                        .agent = agent,
	                        .birth = move_ptr(s->birth),
	                        .cgroup = s->plan.is_exec ? NULL : move_ptr(s->cgroup)};
	return 0;
}

static void warn(const struct err *why)
{
	fprintf(stderr, "buoy-runtime: warning: %s\n", why->msg);
}

/* runtime.md, steps 12 and 13: destroyed first, then the hooks hear of it. */
static void abort_create(struct spawn *s)
{
	const struct hooks_state state = {.id = s->plan.options->id,
	                                  .status = "stopped",
	                                  .bundle = s->plan.options->bundle_path};

	if (s->cgroup && s->made_cgroup)
		drop_cgroup(s);
	hooks_run_poststop(s->plan.spec, &state, warn);
}

int spawn_container(const struct oci_spec *spec, const struct spawn_options *options,
                    struct spawned *out, struct err *err)
{
	__attribute__((cleanup(spawn_done))) struct spawn s;

	spawn_init(&s, spec, &spec->process, options);
	if (labels_check(spec, &spec->process, err) < 0 || prepare_seccomp(&s, err) < 0 ||
	    prepare_root(&s, err) < 0 || FAILPOINT("spawn.root", err) < 0 ||
	    prepare_mounts(&s, err) < 0 || FAILPOINT("spawn.binds", err) < 0 ||
	    prepare_namespaces(&s, err) < 0 || userdev_make(&s.plan, err) < 0 ||
	    prepare_sockets(&s, err) < 0 || FAILPOINT("spawn.sockets", err) < 0 ||
	    prepare_cgroup(&s, err) < 0)
		return -1;
	s.plan.run_hooks = hooks_any(spec, SPEC_HOOK_PRESTART) ||
	                   hooks_any(spec, SPEC_HOOK_CREATE_RUNTIME) ||
	                   hooks_any(spec, SPEC_HOOK_CREATE_CONTAINER);
	int rc = finish(&s, out, err);
	if (rc < 0 && s.hooks_begun)
		abort_create(&s);
	return rc;
}

/* ---- exec ---- */

/* Whether the process lives in another namespace of this kind than we do. */
static bool differs(pid_t pid, const char *kind)
{
	char path[64], own[64];
	struct stat theirs, ours;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, kind);
	snprintf(own, sizeof(own), "/proc/self/ns/%s", kind);
	if (stat(path, &theirs) < 0 || stat(own, &ours) < 0)
		return false;
	return theirs.st_ino != ours.st_ino || theirs.st_dev != ours.st_dev;
}

static int prepare_exec(struct spawn *s, pid_t init_pid, struct err *err)
{
	static const struct {
		const char *kind;
		int flag;
	} kinds[] = {
		{"user", CLONE_NEWUSER}, {"mnt", CLONE_NEWNS},  {"net", CLONE_NEWNET},
		{"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS}, {"cgroup", CLONE_NEWCGROUP},
		{"time", CLONE_NEWTIME},
	};
	char path[64];

	s->plan.is_exec = true;
	s->plan.init_pid = init_pid;
	s->plan.init_pidfd = (int)syscall(SYS_pidfd_open, init_pid, 0);
	if (s->plan.init_pidfd < 0)
		return err_sys(err, "container's process %d", init_pid);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (differs(init_pid, kinds[i].kind))
			s->plan.init_flags |= kinds[i].flag;
	snprintf(path, sizeof(path), "/proc/%d/root", init_pid);
	s->plan.init_root_fd = fs_trusted_open(path, O_PATH | O_DIRECTORY, 0, err);
	if (s->plan.init_root_fd < 0)
		return -1;
	if (!differs(init_pid, "pid"))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", init_pid);
	int fd = fs_trusted_open(path, O_RDONLY, 0, err);
	return fd < 0 ? -1 : join_for_clone(s, fd, err);
}

static int open_exec_cgroup(struct spawn *s, struct err *err)
{
	const struct spawn_options *options = s->plan.options;
	struct cgroup_layout layout;

	if (options->place.manager == PLACE_NONE && options->cgroup_count == 0)
		return 0;
	if (cgroup_layout_read(&layout, err) < 0)
		return -1;
	if (layout.count == 0)
		return 0;
	s->cgroup = place_open(&options->place, s->plan.spec, options->id, err);
	s->plan.cgroup = s->cgroup;
	for (size_t i = 0; s->cgroup && i < options->cgroup_count; i++)
		if (cgroup_descend(s->cgroup, options->cgroups[i], err) < 0)
			return -1;
	return s->cgroup ? 0 : -1;
}

int spawn_exec(const struct oci_spec *spec, const struct oci_process *process, pid_t init_pid,
               const struct spawn_options *options, struct spawned *out, struct err *err)
{
	__attribute__((cleanup(spawn_done))) struct spawn s;

	spawn_init(&s, spec, process, options);
	if (labels_check(spec, process, err) < 0 || prepare_seccomp(&s, err) < 0 ||
	    prepare_exec(&s, init_pid, err) < 0 || open_exec_cgroup(&s, err) < 0 ||
	    prepare_sockets(&s, err) < 0 || FAILPOINT("spawn.exec", err) < 0)
		return -1;
	return finish(&s, out, err);
}

/* ---- start ---- */

/* A process whose calls nobody answers would hang for good. */
static int serve_listener(int fd, const struct notify_agent *agent, int listener, struct err *err)
{
	const struct init_message go = {.type = INIT_GO};

	if (agent->path && listener >= 0 && notify_send(agent, listener, err) == 0)
		return init_send(fd, &go, -1, err);
	(void)kill(agent->pid, SIGKILL);
	return agent->path ? -1 : err_set(err, ERR_INTERNAL, "a seccomp listener for nobody");
}

/* The kernel closes the child's end when execve has succeeded. */
static int release(int fd, const struct notify_agent *agent, struct err *err)
{
	struct init_message message = {.type = INIT_RELEASE};
	auto_close int listener = -1;

	if (init_send(fd, &message, -1, err) < 0)
		return -1;
	int rc = init_receive(fd, &message, &listener, err);
	if (rc > 0 && message.type == INIT_LISTENER) {
		if (serve_listener(fd, agent, listener, err) < 0)
			return -1;
		cleanup_close(&listener);
		rc = init_receive(fd, &message, NULL, err);
	}
	if (rc <= 0)
		return rc;
	if (err && message.type == INIT_FAILED)
		*err = message.err;
	return message.type == INIT_FAILED ? -1 : err_set(err, ERR_INTERNAL, "unexpected answer");
}

int spawn_release(struct spawned *p, struct err *err)
{
	int rc = release(p->control_fd, &p->agent, err);

	close(move_fd(&p->control_fd));
	if (rc == 0) /* else it is still on its way out */
		birth_free(move_ptr(p->birth));
	return rc;
}

int spawn_release_by(int connection_fd, const struct notify_agent *agent, struct err *err)
{
	auto_close int fd = connection_fd;

	return release(fd, agent, err);
}

void spawned_done(struct spawned *p)
{
	cleanup_close(&p->pidfd);
	cleanup_close(&p->control_fd);
	cleanup_close(&p->console_fd);
	cgroup_free(p->cgroup);
	birth_free(p->birth);
	notify_agent_done(&p->agent);
	*p = SPAWNED_INIT;
}
