/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/cgroup.h"
#include "runtime/checkpoint_outside.h"
#include "runtime/container.h"
#include "runtime/criu.h"
#include "runtime/hooks.h"
#include "runtime/identity.h"
#include "runtime/place.h"
#include "runtime/spec.h"

#define LOG_MAX         (8 << 20)
#define DESCRIPTORS_MAX (64 << 10)
#define LOG_LEVEL       4
#define DUMP_LOG        "dump.log"
#define RESTORE_LOG     "restore.log"
#define DESCRIPTORS     "descriptors.json"
#define ROOT_PLACE      "criu-root" /* in the container's state */

/* One checkpoint or restore under way. */
struct work {
	struct container *c;
	const struct checkpoint_options *o;
	struct checkpoint_restored *out; /* of a restore */
	struct buf options;              /* owned: for CRIU */
	int images_fd, work_fd;          /* among pass_fds */
	int pass_fds[CRIU_PASS_MAX];     /* owned but for 0, 1, 2: directories, namespaces */
	size_t pass_count;
	char root[PATH_MAX]; /* of a restore: where the root is mounted */
};

static void work_done(struct work *w)
{
	buf_free(&w->options);
	for (size_t i = 0; i < w->pass_count; i++)
		if (w->pass_fds[i] > STDERR_FILENO)
			close(w->pass_fds[i]);
}

static int pass(struct work *w, int fd)
{
	w->pass_fds[w->pass_count] = fd;
	return CRIU_PASS_FIRST + (int)w->pass_count++;
}

/* -1: out of descriptors. */
static int pass_stdio(struct work *w, int fd, struct err *err)
{
	if (!w->o->stdio)
		return pass(w, fd);
	int copy = fcntl(w->o->stdio[fd], F_DUPFD_CLOEXEC, CRIU_PASS_FIRST);
	return copy < 0 ? err_sys(err, "descriptor %d of the container", fd) : pass(w, copy);
}

/* ---- options that both have ---- */

static int cgroups_mode(const char *name)
{
	static const char *const names[] = {"ignore", "", "", "soft", "full", "strict"};

	for (size_t i = 0; name && i < ARRAY_LEN(names); i++)
		if (str_eq(names[i], name))
			return (int)i;
	return 3; /* soft */
}

/* A page server elsewhere takes the memory instead of files. */
static int add_page_server(struct work *w, struct err *err)
{
	const char *text = w->o->page_server;
	const char *colon = text ? strrchr(text, ':') : NULL;
	auto_buf struct buf address = BUF_INIT(256);
	int64_t port;

	if (!text)
		return 0;
	if (!colon || colon == text || id_parse_int(colon + 1, "port", 1, 65535, &port, NULL) < 0)
		return err_set(err, ERR_INVALID, "--page-server: '%s' is not ADDRESS:PORT", text);
	buf_add_mem(&address, text, (size_t)(colon - text));
	if (buf_check(&address, err) < 0)
		return -1;
	criu_add_named_number(&w->options, CRIU_OPT_PAGE_SERVER, buf_str(&address), port);
	return 0;
}

static int open_directories(struct work *w, bool create, struct err *err)
{
	const char *images = w->o->image_path ? w->o->image_path : "checkpoint";

	w->images_fd = fs_trusted_open_dir(images, create, err);
	if (w->images_fd < 0)
		return err_wrap(err, "--image-path");
	criu_add_number(&w->options, CRIU_OPT_IMAGES_DIR_FD, pass(w, w->images_fd));
	w->work_fd = fs_trusted_open_dir(w->o->work_path ? w->o->work_path : images, true, err);
	if (w->work_fd < 0)
		return err_wrap(err, "--work-path");
	criu_add_number(&w->options, CRIU_OPT_WORK_DIR_FD, pass(w, w->work_fd));
	return 0;
}

static void add_common(struct work *w, const char *log)
{
	const struct checkpoint_options *o = w->o;
	struct buf *b = &w->options;

	criu_add_number(b, CRIU_OPT_LOG_LEVEL, LOG_LEVEL);
	criu_add_text(b, CRIU_OPT_LOG_FILE, log);
	criu_add_flag(b, CRIU_OPT_NOTIFY_SCRIPTS, true);
	criu_add_flag(b, CRIU_OPT_ORPHAN_PTS_MASTER, true);
	criu_add_flag(b, CRIU_OPT_EVASIVE_DEVICES, true);
	criu_add_flag(b, CRIU_OPT_TCP_ESTABLISHED, o->tcp_established);
	criu_add_flag(b, CRIU_OPT_EXT_UNIX_SK, o->ext_unix_sk);
	criu_add_flag(b, CRIU_OPT_SHELL_JOB, o->shell_job);
	criu_add_flag(b, CRIU_OPT_FILE_LOCKS, o->file_locks);
	criu_add_flag(b, CRIU_OPT_AUTO_DEDUP, o->auto_dedup);
	criu_add_flag(b, CRIU_OPT_LAZY_PAGES, o->lazy_pages);
	if (o->empty_network)
		criu_add_number(b, CRIU_OPT_EMPTY_NS, CLONE_NEWNET);
	criu_add_flag(b, CRIU_OPT_MANAGE_CGROUPS, true);
	criu_add_number(b, CRIU_OPT_MANAGE_CGROUPS_MODE, cgroups_mode(o->cgroups_mode));
}

/* Puts the last errors of its log behind its own words. */
static int explain(const struct work *w, const char *what, const char *log, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(LOG_MAX);
	auto_buf struct buf tail = BUF_INIT(LOG_MAX);

	if (!err || err->kind != ERR_SYSTEM)
		return -1;
	if (fs_read(w->work_fd, log, LOG_MAX, &text, NULL) == 0)
		criu_log_tail(buf_str(&text), 3, &tail);
	const struct err said = *err;
	return err_set(err, said.kind, "%s %s failed: %s (see %s/%s)%s%s", what, w->c->id, said.msg,
	               w->o->work_path    ? w->o->work_path
	               : w->o->image_path ? w->o->image_path
	                                  : "checkpoint",
	               log, tail.len ? ": " : "", buf_str(&tail));
}

/* ---- checkpoint ---- */

static int save_descriptors(struct work *w, struct err *err)
{
	auto_type(json) list = json_array();
	auto_buf struct buf text = BUF_INIT(DESCRIPTORS_MAX);

	for (int fd = 0; fd < 3; fd++) {
		char key[PATH_MAX];
		bool external;
		if (outside_describe_fd((pid_t)w->c->pid, fd, key, sizeof(key), &external, err) < 0)
			return -1;
		if (external)
			criu_add_text(&w->options, CRIU_OPT_EXTERNAL, key);
		json_append(list, json_string(key));
	}
	if (json_write(list, &text, err) < 0)
		return -1;
	return fs_write_atomic(w->images_fd, DESCRIPTORS, text.data, text.len, 0600, err);
}

static int add_dump(struct work *w, struct cgroup *cg, struct err *err)
{
	const struct checkpoint_options *o = w->o;
	char path[PATH_MAX];
	struct buf *b = &w->options;

	criu_add_number(b, CRIU_OPT_PID, w->c->pid);
	criu_add_text(b, CRIU_OPT_ROOT, w->c->rootfs);
	criu_add_flag(b, CRIU_OPT_LEAVE_RUNNING, o->leave_running || o->pre_dump);
	criu_add_flag(b, CRIU_OPT_TRACK_MEM, o->pre_dump || o->parent_path);
	criu_add_text(b, CRIU_OPT_PARENT_IMG, o->parent_path);
	if (o->status_fd > 0) {
		int fd = fcntl((int)o->status_fd, F_DUPFD_CLOEXEC, CRIU_PASS_FIRST);
		if (fd < 0)
			return err_sys(err, "--status-fd %d", (int)o->status_fd);
		criu_add_number(b, CRIU_OPT_STATUS_FD, pass(w, fd));
	}
	if (cg && outside_freezer(cg, path, sizeof(path)))
		criu_add_text(b, CRIU_OPT_FREEZE_CGROUP, path);
	if (add_page_server(w, err) < 0 ||
	    outside_add_namespaces(w->c->spec, (pid_t)w->c->pid, b, err) < 0)
		return -1;
	outside_add_mounts(w->c, cg, false, b);
	return o->pre_dump ? 0 : save_descriptors(w, err);
}

static int check_dump(const struct checkpoint_options *o, struct err *err)
{
	if (o->parent_path && *o->parent_path == '/')
		return err_set(err, ERR_INVALID,
		               "--parent-path: '%s' must be relative to the images",
		               o->parent_path);
	if (o->lazy_pages && !o->page_server)
		return err_set(err, ERR_INVALID, "--lazy-pages: needs --page-server");
	if (o->pre_dump && o->lazy_pages)
		return err_set(err, ERR_INVALID, "--lazy-pages: not with --pre-dump");
	return 0;
}

int checkpoint_dump(struct container *c, const struct checkpoint_options *options, struct err *err)
{
	__attribute__((cleanup(work_done))) struct work w = {.c = c,
	                                                     .o = options,
	                                                     .options = BUF_INIT(CRIU_OPTIONS_MAX),
	                                                     .images_fd = -1,
	                                                     .work_fd = -1};
	struct criu_answer answer;
	int version;

	if (check_dump(options, err) < 0 || criu_check(options->criu, &version, err) < 0 ||
	    open_directories(&w, true, err) < 0)
		return -1;
	auto_type(cgroup) cg = container_cgroup(c, NULL);
	add_common(&w, DUMP_LOG);
	if (add_dump(&w, cg, err) < 0 || buf_check(&w.options, err) < 0)
		return -1;
	const struct criu_call call = {.program = options->criu,
	                               .type = options->pre_dump ? CRIU_PRE_DUMP : CRIU_DUMP,
	                               .options = &w.options,
	                               .pass_fds = w.pass_fds,
	                               .pass_count = w.pass_count};
	if (criu_call(&call, &answer, err) < 0)
		return explain(&w, "checkpoint of", DUMP_LOG, err);
	return 0;
}

/* ---- restore ---- */

static int load_descriptors(struct work *w, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(DESCRIPTORS_MAX);

	if (fs_read(w->images_fd, DESCRIPTORS, DESCRIPTORS_MAX, &text, err) < 0)
		return err_wrap(err, "--image-path: no checkpoint");
	auto_type(json) list = json_parse(text.data, text.len, err);
	if (!list)
		return err_wrap(err, DESCRIPTORS);
	for (int fd = 0; fd < 3; fd++) {
		const char *key = json_str(json_at(list, (size_t)fd));
		bool known = false;
		for (int i = 0; key && i < fd; i++)
			known |= str_eq(key, json_str(json_at(list, (size_t)i)));
		if (!key || known || !outside_is_inherited(key))
			continue;
		int number = pass_stdio(w, fd, err);
		if (number < 0)
			return -1;
		criu_add_named_number(&w->options, CRIU_OPT_INHERIT_FD, key, number);
	}
	return 0;
}

static int add_namespace(struct work *w, const struct oci_namespace *ns, struct err *err)
{
	const char *key = outside_namespace_key(ns->flag);

	if (!ns->path)
		return 0;
	if (ns->flag == CLONE_NEWCGROUP || ns->flag == CLONE_NEWTIME)
		return err_set(err, ERR_UNSUPPORTED,
		               "linux.namespaces: CRIU can join no %s namespace by path", ns->type);
	if (!key) {
		criu_add_pair(&w->options, CRIU_OPT_JOIN_NS, outside_namespace_file(ns->flag),
		              ns->path);
		return 0;
	}
	int fd = fs_trusted_open(ns->path, O_RDONLY, 0, err);
	if (fd < 0)
		return err_wrap(err, "linux.namespaces (%s)", ns->type);
	criu_add_named_number(&w->options, CRIU_OPT_INHERIT_FD, key, pass(w, fd));
	return 0;
}

static int add_restore(struct work *w, struct err *err)
{
	const struct json_array *namespaces = &w->c->spec->linux_.namespaces;
	const struct oci_namespace *all = namespaces->items;
	struct buf *b = &w->options;

	criu_add_flag(b, CRIU_OPT_RST_SIBLING, true); /* our child, not criu's */
	criu_add_text(b, CRIU_OPT_ROOT, w->root);
	criu_add_text(b, CRIU_OPT_LSM_PROFILE, w->o->lsm_profile);
	criu_add_text(b, CRIU_OPT_LSM_MOUNT_CONTEXT, w->o->lsm_mount_context);
	for (size_t i = 0; i < namespaces->count; i++)
		if (add_namespace(w, &all[i], err) < 0)
			return -1;
	outside_add_mounts(w->c, w->out->cgroup, true, b);
	if (w->out->cgroup)
		outside_add_cgroup_roots(w->out->cgroup, b);
	return load_descriptors(w, err);
}

/* It mounts below its work directory, which is to be of its mount namespace then. */
static int reopen_directories(const struct work *w, struct err *err)
{
	const char *images = w->o->image_path ? w->o->image_path : "checkpoint";
	auto_close int images_fd = fs_trusted_open_dir(images, false, err);
	auto_close int work_fd =
		images_fd < 0 ? -1
			      : fs_trusted_open_dir(w->o->work_path ? w->o->work_path : images,
	                                            false, err);

	if (work_fd < 0)
		return -1;
	if (dup2(images_fd, w->images_fd) < 0 || dup2(work_fd, w->work_fd) < 0)
		return err_sys(err, "directories of the images");
	return 0;
}

static int attach_root(const struct work *w, struct err *err)
{
	auto_close int root = w->o->root_fd > 0
	                              ? -1
	                              : fs_trusted_open(w->c->rootfs, O_PATH | O_DIRECTORY, 0, err);
	auto_close int clone = root < 0 ? -1 : fs_mount_clone(root, true, err);
	auto_close int place = fs_trusted_open(w->root, O_PATH | O_DIRECTORY, 0, err);

	if (place < 0 || (w->o->root_fd <= 0 && clone < 0))
		return err_wrap(err, "root.path");
	return fs_mount_attach(w->o->root_fd > 0 ? w->o->root_fd : clone, place, err);
}

/* In the child that becomes CRIU: it restores from where it is, so it is in the container's cgroup, and in a mount
 * namespace of its own in which the root is a mount. */
static int prepare_child(void *arg, struct err *err)
{
	struct work *w = arg;

	if (w->out->cgroup && cgroup_enter(w->out->cgroup, false, err) < 0)
		return -1;
	/* What CRIU (3.17) does not give back, the processes inherit from it. */
	identity_join_keyring(w->c->id);
	if (w->c->spec->process.no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, "process.noNewPrivileges");
	if (unshare(CLONE_NEWNS) < 0)
		return err_sys(err, "new mount namespace");
	if (fs_mount_propagation_root(MS_SLAVE, err) < 0 || reopen_directories(w, err) < 0)
		return -1;
	return attach_root(w, err);
}

static int run_hooks(struct work *w, pid_t pid, struct err *err)
{
	const struct hooks_state state = {
		.id = w->c->id, .status = "creating", .bundle = w->c->bundle, .pid = pid};

	w->out->hooks_begun = true;
	if (hooks_run(w->c->spec, SPEC_HOOK_PRESTART, &state, err) < 0)
		return -1;
	return hooks_run(w->c->spec, SPEC_HOOK_CREATE_RUNTIME, &state, err);
}

static int take_notice(void *arg, const struct criu_answer *notice, int fd, struct err *err)
{
	struct work *w = arg;

	if (fd >= 0 && str_eq(notice->notice, "orphan-pts-master") && w->out->console_fd < 0)
		w->out->console_fd = fd;
	else if (fd >= 0)
		close(fd);
	if (str_eq(notice->notice, "setup-namespaces"))
		return run_hooks(w, notice->pid, err);
	if (!str_eq(notice->notice, "post-restore"))
		return 0;
	w->out->pid = notice->pid;
	return FAILPOINT("restore.made", err) < 0 ||
	                       (w->out->cgroup &&
	                        cgroup_verify(w->out->cgroup, notice->pid, err) < 0) ||
	                       (!w->o->is_recorded &&
	                        container_save(w->c, notice->pid, w->out->cgroup, err) < 0) ||
	                       FAILPOINT("restore.saved", err) < 0
	               ? -1
	               : 0;
}

static int make_cgroup(struct work *w, pid_t *holder, struct err *err)
{
	const struct oci_linux *lin = &w->c->spec->linux_;
	const struct place place = container_place(w->c);

	if (place_make(&place, w->c->spec, w->c->id, &w->out->cgroup, holder, err) < 0)
		return -1;
	if (FAILPOINT("restore.cgroup", err) < 0)
		return -1;
	if (!w->out->cgroup)
		return 0;
	if (cgroup_apply(w->out->cgroup, &lin->resources, err) < 0)
		return -1;
	return cgroup_apply_devices(w->out->cgroup, &lin->resources, lin->devices.items,
	                            lin->devices.count, err);
}

static int make_root_place(struct work *w, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(PATH_MAX - 1);

	if (fs_mkdir(w->c->dir_fd, ROOT_PLACE, 0700, err) < 0 ||
	    outside_path(w->c->dir_fd, &path, err) < 0)
		return -1;
	buf_add(&path, "/" ROOT_PLACE);
	if (buf_check(&path, err) < 0)
		return -1;
	memcpy(w->root, buf_str(&path), path.len + 1);
	return outside_make_targets(w->c, w->o->root_fd, err);
}

static int call_restore(struct work *w, struct err *err)
{
	const struct criu_call call = {.program = w->o->criu,
	                               .type = CRIU_RESTORE,
	                               .options = &w->options,
	                               .prepare = prepare_child,
	                               .notify = take_notice,
	                               .arg = w,
	                               .pass_fds = w->pass_fds,
	                               .pass_count = w->pass_count};
	struct criu_answer answer;

	if (criu_call(&call, &answer, err) < 0)
		return explain(w, "restore of", RESTORE_LOG, err);
	if (w->out->pid <= 0 || w->out->pid != answer.pid)
		return err_set(err, ERR_INTERNAL, "criu told of process %d and made %d",
		               (int)w->out->pid, (int)answer.pid);
	return FAILPOINT("restore.running", err);
}

int checkpoint_restore(struct container *c, const struct checkpoint_options *options,
                       struct checkpoint_restored *out, struct err *err)
{
	__attribute__((cleanup(work_done))) struct work w = {.c = c,
	                                                     .o = options,
	                                                     .out = out,
	                                                     .options = BUF_INIT(CRIU_OPTIONS_MAX),
	                                                     .images_fd = -1,
	                                                     .work_fd = -1};
	pid_t holder = -1;
	int version;

	if (criu_check(options->criu, &version, err) < 0 || open_directories(&w, false, err) < 0 ||
	    make_root_place(&w, err) < 0)
		return -1;
	int rc = make_cgroup(&w, &holder, err);
	add_common(&w, RESTORE_LOG);
	if (rc == 0)
		rc = add_restore(&w, err);
	if (rc == 0)
		rc = buf_check(&w.options, err);
	if (rc == 0)
		rc = call_restore(&w, err);
	place_release(&holder);
	return rc;
}
