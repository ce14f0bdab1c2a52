/* SPDX-License-Identifier: Apache-2.0 */

/* How a supervisor gets its process: from the launch request to the answer. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "runtime/cgroup.h"
#include "runtime/hooks.h"
#include "runtime/protocol.h"
#include "runtime/spec.h"
#include "runtime/supervisor.h"

#define CONTAINER_TIMEOUT_S 10

/* Both ends of the process's stdio, until the spawn; all owned. */
struct stdio {
	int child[3];
	int ours[3];
};

static void stdio_done(struct stdio *io)
{
	for (size_t i = 0; i < 3; i++) {
		cleanup_close(&io->child[i]);
		cleanup_close(&io->ours[i]);
	}
}

static int make_pipe(int *read_end, int *write_end, struct err *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	*read_end = ends[0];
	*write_end = ends[1];
	return 0;
}

static int set_nonblocking(int fd, struct err *err)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_sys(err, "cannot make a descriptor non-blocking");
	return 0;
}

static int open_null(struct err *err)
{
	int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3); /* the launcher's, /dev/null */

	return fd < 0 ? err_sys(err, "cannot duplicate /dev/null") : fd;
}

static int make_stdio(struct stdio *io, bool terminal, bool stdin_open, struct err *err)
{
	for (int i = terminal ? 0 : 1; i < 3 && !terminal; i++)
		if (make_pipe(&io->ours[i], &io->child[i], err) < 0 ||
		    set_nonblocking(io->ours[i], err) < 0)
			return -1;
	if (terminal || !stdin_open) {
		for (int i = 0; i < (terminal ? 3 : 1); i++) {
			io->child[i] = open_null(err);
			if (io->child[i] < 0)
				return -1;
		}
		return 0;
	}
	if (make_pipe(&io->child[0], &io->ours[0], err) < 0)
		return -1;
	return set_nonblocking(io->ours[0], err);
}

static int take_stdio(struct supervision *s, struct stdio *io, bool stdin_open, struct err *err)
{
	struct streams *streams = &s->streams;
	int console = s->spawned.console_fd;

	if (console < 0) {
		streams->stdin_fd = move_fd(&io->ours[0]);
		streams->sources[0].fd = move_fd(&io->ours[1]);
		streams->sources[1].fd = move_fd(&io->ours[2]);
		return 0;
	}
	streams->terminal = true;
	if (set_nonblocking(console, err) < 0)
		return -1;
	streams->sources[0].fd = fcntl(console, F_DUPFD_CLOEXEC, 3);
	streams->stdin_fd = stdin_open ? fcntl(console, F_DUPFD_CLOEXEC, 3) : -1;
	if (streams->sources[0].fd < 0 || (stdin_open && streams->stdin_fd < 0))
		return err_sys(err, "cannot duplicate the terminal");
	return 0;
}

/* ---- the config ---- */

/* From the start, without moving the offset: the description may be shared with another process. */
static int read_at_start(int fd, struct buf *out, struct err *err)
{
	auto_free char *chunk = malloc(65536);
	off_t at = 0;
	ssize_t n;

	if (!chunk)
		return err_nomem(err);
	while ((n = pread(fd, chunk, 65536, at)) > 0) {
		buf_add_mem(out, chunk, (size_t)n);
		at += n;
	}
	if (n < 0)
		return err_sys(err, "cannot read a config");
	return buf_check(out, err);
}

struct oci_spec *supervisor_read_spec(int config_fd, struct arena *arena, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(SPEC_TEXT_MAX);

	if (read_at_start(config_fd, &text, err) < 0)
		return NULL;
	return spec_parse(buf_str(&text), text.len, arena, err);
}

static struct oci_process *read_process(int fd, struct arena *arena, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(SPEC_TEXT_MAX);

	if (read_at_start(fd, &text, err) < 0)
		return NULL;
	return spec_parse_process(buf_str(&text), text.len, arena, err);
}

int supervisor_ask(int run_dir_fd, const char *id, struct record *record, int *config_fd,
                   struct err *err)
{
	auto_packet struct protocol_packet reply = PROTOCOL_PACKET_INIT;
	struct timeval tv = {.tv_sec = CONTAINER_TIMEOUT_S};
	struct json *body = json_object();
	auto_close int dir_fd = fs_open_dir(run_dir_fd, id, NULL);
	auto_close int fd =
		dir_fd < 0 ? -1 : fs_connect_unix(dir_fd, SUPERVISOR_SOCKET, SOCK_SEQPACKET, NULL);

	(void)json_set(body, "op", json_string("config"));
	if (fd < 0) {
		json_free(body);
		return err_set(err, ERR_CONFLICT, "container %s is not running", id);
	}
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) < 0) {
		json_free(body);
		return err_sys(err, "cannot set a socket's time-out");
	}
	if (protocol_send(fd, body, NULL, 0, err) < 0)
		return -1;
	int rc = protocol_recv(fd, &reply, err);

	if (rc == 0)
		return err_set(err, ERR_CONFLICT, "container %s is not running", id);
	if (rc < 0 || protocol_check(reply.body, err) < 0 ||
	    record_decode(reply.body, record, err) < 0)
		return err_wrap(err, "container %s", id);
	if (record->seen.state == SUPERVISED_PAUSED)
		return err_set(err, ERR_CONFLICT, "container %s is paused", id);
	if (record->seen.state != SUPERVISED_RUNNING || reply.fd_count != 1)
		return err_set(err, ERR_CONFLICT, "container %s is not running", id);
	*config_fd = move_fd(&reply.fds[0]);
	return 0;
}

/* ---- the spawn ---- */

struct lowers {
	struct spawn_rootfs rootfs;
	bool present;
};

static int decode_rootfs(const struct protocol_packet *request, struct lowers *out, struct err *err)
{
	const struct json *rootfs = json_get(request->body, "rootfs");
	int64_t first = json_get_int(rootfs, "lowers", -1);
	int64_t count = json_get_int(rootfs, "lower_count", -1);

	*out = (struct lowers){.present = rootfs};
	if (!rootfs)
		return 0;
	if (first < 0 || count < 1 || first > (int64_t)request->fd_count ||
	    count > (int64_t)request->fd_count - first)
		return err_set(err, ERR_INVALID, "rootfs: its layers' descriptors did not come");
	out->rootfs = (struct spawn_rootfs){
		.lower_fds = request->fds + first,
		.lower_count = (size_t)count,
		.upper_fd = protocol_fd(request, rootfs, "upper"),
		.work_fd = protocol_fd(request, rootfs, "work"),
		.is_volatile = json_get_bool(rootfs, "volatile", false),
	};
	return 0;
}

static int open_log(struct supervision *s, const struct protocol_packet *request, struct err *err)
{
	const struct json *log = json_get(request->body, "log");
	int dir_fd = protocol_fd(request, log, "dir");
	const char *name = json_get_string(log, "name");

	if (!log)
		return 0;
	if (dir_fd < 0 || !name)
		return err_set(err, ERR_INVALID, "log: no directory or no name");
	if (logfile_open(&s->log, dir_fd, name, json_get_int(log, "size_max", 0),
	                 json_get_int(log, "files_max", 1), err) < 0)
		return -1;
	s->has_log = true;
	s->streams.log = &s->log;
	return 0;
}

static uint16_t get_u16(const struct json *body, const char *key)
{
	int64_t n = json_get_int(body, key, 0);

	return n > 0 && n <= UINT16_MAX ? (uint16_t)n : 0;
}

static int note_cgroup(struct supervision *s, const struct oci_spec *spec, struct err *err)
{
	char path[CGROUP_PATH_MAX];

	if (cgroup_make_path(spec->linux_.cgroups_path, s->id, path, err) < 0)
		return -1;
	return fs_symlink(path, s->dir_fd, RECORD_CGROUP, err);
}

static int make_container(struct supervision *s, struct oci_spec *spec,
                          const struct spawn_options *options, const struct json *from,
                          struct err *err)
{
	return from ? supervisor_restore(s, spec, options, from, err)
	            : spawn_container(spec, options, &s->spawned, err);
}

static int spawn(struct supervision *s, const struct protocol_packet *request, int run_dir_fd,
                 struct err *err)
{
	__attribute__((cleanup(stdio_done))) struct stdio io = {{-1, -1, -1}, {-1, -1, -1}};
	const struct json *body = request->body;
	const char *container = json_get_string(body, "exec_into");
	bool stdin_open = json_get_bool(body, "stdin_open", false);
	auto_close int config_fd = -1;
	struct record in = {0};
	struct lowers lowers;

	if (container)
		(void)supervisor_ask(run_dir_fd, container, &in, &config_fd, err);
	else
		config_fd = fs_open(protocol_fd(request, body, "bundle"), "config.json", O_RDONLY,
		                    0, err);
	if (config_fd < 0 || decode_rootfs(request, &lowers, err) < 0)
		return -1;

	struct oci_spec *spec = supervisor_read_spec(config_fd, &s->arena, err);
	const struct oci_process *process = spec ? &spec->process : NULL;

	if (spec && container)
		process = read_process(protocol_fd(request, body, "process"), &s->arena, err);
	/* A supervisor outlives the config; who asks it for a container hears of start and end by itself. */
	if (process && !container &&
	    (hooks_any(spec, SPEC_HOOK_POSTSTART) || hooks_any(spec, SPEC_HOOK_POSTSTOP)))
		return err_set(err, ERR_UNSUPPORTED,
		               "hooks.poststart, hooks.poststop: not under a supervisor");
	if (!process || make_stdio(&io, process->terminal, stdin_open, err) < 0 ||
	    FAILPOINT("supervisor.stdio", err) < 0)
		return -1;
	if (!container && note_cgroup(s, spec, err) < 0)
		return -1;

	struct spawn_options options = {
		.id = container ? container : s->id, /* whose cgroup it joins */
		.bundle_fd = protocol_fd(request, body, "bundle"),
		.rootfs = lowers.present ? &lowers.rootfs : NULL,
		.stdin_fd = io.child[0],
		.stdout_fd = io.child[1],
		.stderr_fd = io.child[2],
		.rows = get_u16(body, "rows"),
		.cols = get_u16(body, "cols"),
		.die_with_parent = true,
		.nursery = &s->nursery,
		.userns_fd = protocol_fd(request, body, "userns"),
	};
	int rc = container ? spawn_exec(spec, process, in.seen.pid, &options, &s->spawned, err)
	                   : make_container(s, spec, &options, json_get(body, "restore"), err);

	if (rc < 0)
		return -1;
	if (!container)
		s->config_fd = move_fd(&config_fd);
	return take_stdio(s, &io, stdin_open, err);
}

static void undo(struct supervision *s)
{
	if (s->spawned.pid > 0) {
		(void)kill(s->spawned.pid, SIGKILL);
		while (waitpid(s->spawned.pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (s->spawned.cgroup)
		(void)cgroup_remove(s->spawned.cgroup, NULL);
}

static void fill_record(struct supervision *s)
{
	struct record *r = &s->record;
	const char *path = s->spawned.cgroup ? cgroup_path(s->spawned.cgroup) : "";

	*r = (struct record){
		.seen = {.state = SUPERVISED_CREATED, .pid = s->spawned.pid},
		.pid_started = record_process_start(s->spawned.pid),
		.supervisor = getpid(),
		.supervisor_started = record_process_start(getpid()),
	};
	if (strlen(path) < sizeof(r->cgroup))
		memcpy(r->cgroup, path, strlen(path) + 1);
	if (s->spawned.cgroup)
		(void)cgroup_oom_kills(s->spawned.cgroup, &s->oom_base, NULL);
}

static int set_up(struct supervision *s, const struct protocol_packet *request, int run_dir_fd,
                  struct err *err)
{
	const struct json *body = request->body;

	s->streams.stdin_once = json_get_bool(body, "stdin_once", false);
	s->is_exec = json_get_string(body, "exec_into");
	if (open_log(s, request, err) < 0)
		return -1;
	s->listen_fd = fs_listen_unix(s->dir_fd, SUPERVISOR_SOCKET, SOCK_SEQPACKET, 0600, err);
	if (s->listen_fd < 0 || FAILPOINT("supervisor.socket", err) < 0 ||
	    spawn(s, request, run_dir_fd, err) < 0)
		return -1;
	fill_record(s);
	if (FAILPOINT("supervisor.spawned", err) < 0)
		return -1;
	if (record_write(s->dir_fd, RECORD_STATE, s->id, &s->record, err) < 0)
		return -1;
	return FAILPOINT("supervisor.recorded", err);
}

int supervisor_launch(struct supervision *s, struct protocol_packet *request, int run_dir_fd,
                      struct err *err)
{
	const char *id = json_get_string(request->body, "id");

	if (!id || id_check_name(id, "id", err) < 0)
		return id ? -1 : err_set(err, ERR_INVALID, "id: missing");
	memcpy(s->id, id, strlen(id) + 1); /* at most 128, id_check_name() says */
	if (fs_mkdir(run_dir_fd, id, 0700, err) < 0)
		return -1;
	s->dir_fd = fs_open_dir(run_dir_fd, id, err);
	if (s->dir_fd >= 0 && FAILPOINT("supervisor.dir", err) == 0 &&
	    set_up(s, request, run_dir_fd, err) == 0)
		return 0;
	undo(s);
	(void)fs_remove_tree(run_dir_fd, id, NULL);
	return -1;
}
