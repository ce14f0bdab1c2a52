/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor_checkpoint - containers of the engine, to files and back.
 *
 * A supervisor has no way to CRIU: Landlock ends at its own directory. So a checkpoint is made by a spare (serve.c) that becomes
 * nobody's supervisor, and a restore before the supervisor confines itself, as its launch.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/json.h"
#include "runtime/cgroup.h"
#include "runtime/checkpoint.h"
#include "runtime/checkpoint_outside.h"
#include "runtime/container.h"
#include "runtime/layers.h"
#include "runtime/protocol.h"
#include "runtime/spec.h"
#include "runtime/supervisor.h"

#define BUNDLE_MAX 4096

static int take_places(const struct json *from, struct checkpoint_options *o, struct err *err)
{
	o->image_path = json_get_string(from, "images");
	o->work_path = json_get_string(from, "work");
	if (!o->image_path || *o->image_path != '/' || !o->work_path || *o->work_path != '/')
		return err_set(err, ERR_INVALID, "images, work: not absolute paths");
	return 0;
}

/* "Not found" is for what a caller has named. */
static int explain(const struct err *why, struct err *err)
{
	return err_set(err, why->kind == ERR_NOT_FOUND ? ERR_UNSUPPORTED : why->kind, "%s",
	               why->msg);
}

/* ---- a checkpoint ---- */

static int dump(const struct protocol_packet *request, int run_dir_fd, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(2L * SPEC_ARENA_MAX);
	const char *id = json_get_string(request->body, "id");
	auto_close int config_fd = -1;
	struct record record;

	if (!id || id_check_name(id, "id", err) < 0)
		return id ? -1 : err_set(err, ERR_INVALID, "id: missing");
	struct container c = {.root_fd = run_dir_fd, .dir_fd = -1};
	struct checkpoint_options options = {
		.leave_running = json_get_bool(request->body, "leave_running", false),
	};
	if (take_places(json_get(request->body, "into"), &options, err) < 0 ||
	    supervisor_ask(run_dir_fd, id, &record, &config_fd, err) < 0)
		return -1;
	c.spec = supervisor_read_spec(config_fd, &arena, err);
	c.id = arena_strdup(&arena, id, err);
	c.bundle = arena_strdup(&arena, "", err);
	c.pid = record.seen.pid;
	struct err why = ERR_INIT;
	if (!c.spec || !c.id || !c.bundle)
		return -1;
	return checkpoint_dump(&c, &options, &why) < 0 ? explain(&why, err) : 0;
}

int supervisor_checkpoint(struct protocol_packet *request, int run_dir_fd, int note_fd,
                          struct nursery nursery)
{
	const struct sigaction standard = {.sa_handler = SIG_DFL};
	struct err err = ERR_INIT;

	close(note_fd); /* it may take long: the launcher does not wait for us */
	nursery_close(&nursery);
	(void)sigaction(SIGCHLD, &standard, NULL); /* the launcher ignores it, we wait for CRIU */
	auto_close int reply_fd =
		fcntl(protocol_fd(request, request->body, "reply"), F_DUPFD_CLOEXEC, 3);
	int rc = dump(request, run_dir_fd, &err);
	protocol_packet_done(request);
	return protocol_send(reply_fd, rc < 0 ? protocol_error(&err) : json_object(), NULL, 0,
	                     NULL) < 0;
}

/* ---- a restore ---- */

static void undo(struct checkpoint_restored *r)
{
	if (r->pid > 0)
		(void)kill(r->pid, SIGKILL);
	while (r->pid > 0 && waitpid(r->pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (r->cgroup)
		(void)cgroup_remove(r->cgroup, NULL);
	cgroup_free(r->cgroup);
	cleanup_close(&r->console_fd);
}

int supervisor_restore(struct supervision *s, struct oci_spec *spec, const struct spawn_options *o,
                       const struct json *from, struct err *err)
{
	const int stdio[] = {o->stdin_fd, o->stdout_fd, o->stderr_fd};
	struct checkpoint_restored made = CHECKPOINT_RESTORED_INIT;
	auto_buf struct buf bundle = BUF_INIT(BUNDLE_MAX);

	if (!o->rootfs || o->userns_fd > 0)
		return err_set(err, ERR_UNSUPPORTED,
		               "a checkpoint is restored in layers, without a user namespace");
	struct checkpoint_options options = {.stdio = stdio, .is_recorded = true};
	if (take_places(from, &options, err) < 0 || outside_path(o->bundle_fd, &bundle, err) < 0)
		return -1;
	auto_close int root = layers_mount(o->rootfs, 0, layers_attr(&spec->process), err);
	if (root < 0)
		return err_wrap(err, "root");
	struct container c = {.id = s->id, .root_fd = -1, .dir_fd = s->dir_fd, .spec = spec};
	c.bundle = arena_strdup(&s->arena, buf_str(&bundle), err);
	if (!c.bundle)
		return -1;
	struct err why = ERR_INIT;
	options.root_fd = root;
	if (checkpoint_restore(&c, &options, &made, &why) < 0) {
		undo(&made);
		return explain(&why, err);
	}
	int pidfd = pidfd_open(made.pid, 0);
	if (pidfd < 0) {
		(void)err_sys(err, "wait for process %d", (int)made.pid);
		undo(&made);
		return -1;
	}
	s->spawned.pid = made.pid;
	s->spawned.pidfd = pidfd;
	s->spawned.cgroup = made.cgroup;
	s->spawned.console_fd = made.console_fd;
	s->awaits_start = true;
	return 0;
}
