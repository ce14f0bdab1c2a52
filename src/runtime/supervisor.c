/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/landlock.h"
#include "runtime/cgroup.h"
#include "runtime/protocol.h"
#include "runtime/spec.h"

#define IDLE_MS         500 /* after which work memory is given back */
#define PAGE            4096
#define STACK_SPAN      (48 * PAGE) /* what a spawn may have used of it */
#define DRAIN_QUIET_MS  200         /* output from what a dead process left behind */
#define DRAIN_MAX_MS    2000
#define CGROUP_MAX_MS   2000 /* killed processes take a while to leave */
#define RECORD_TRIES    20
#define RECORD_RETRY_MS 250

/* ---- connections ---- */

static void take_connection(struct supervision *s, int fd)
{
	for (size_t i = 0; i < SUPERVISOR_CONNECTIONS_MAX; i++) {
		if (s->connections[i].fd >= 0)
			continue;
		s->connections[i] = (struct supervision_connection){.fd = fd, .slot = -1};
		return;
	}
	close(fd);
}

static void accept_connection(struct supervision *s)
{
	auto_close int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
	    (peer.uid != 0 && peer.uid != geteuid()))
		return;
	take_connection(s, move_fd(&fd));
}

static bool connections_full(const struct supervision *s)
{
	for (size_t i = 0; i < SUPERVISOR_CONNECTIONS_MAX; i++)
		if (s->connections[i].fd < 0)
			return false;
	return true;
}

static void connection_close(struct supervision_connection *c)
{
	cleanup_close(&c->fd);
	*c = (struct supervision_connection){.fd = -1, .slot = -1};
}

static void close_all(struct supervision *s)
{
	for (size_t i = 0; i < SUPERVISOR_CONNECTIONS_MAX; i++)
		connection_close(&s->connections[i]);
	cleanup_close(&s->listen_fd);
	s->listen_fd = -1;
}

/* ---- the end of the process ---- */

static void note_exit(struct supervision *s, int status)
{
	struct supervised *seen = &s->record.seen;

	s->ended = true;
	seen->state = SUPERVISED_STOPPED;
	seen->finished_ns = clock_wall_ns();
	seen->exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	seen->oom_killed =
		WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL; /* perhaps: oom_judge() */
	seen->pid = 0;
}

/* Our child, and what it left to us as its subreaper. */
static void reap(struct supervision *s)
{
	int status;
	pid_t pid;

	while (!s->awaits_start && (pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == s->spawned.pid && !s->ended)
			note_exit(s, status);
}

/* OOMKilled means that the process itself died of it: SIGKILL, the counter rose, and the rise was
 * not before a SIGKILL of ours. Children's deaths are counted in oom_kills only. */
static void oom_judge(struct supervision *s)
{
	uint64_t count = 0;

	if (s->spawned.cgroup && cgroup_oom_kills(s->spawned.cgroup, &count, NULL) == 0)
		s->record.oom_kills = count;
	s->record.seen.oom_killed = s->record.seen.oom_killed && count > s->oom_base;
}

static void drain(struct supervision *s)
{
	int64_t deadline = clock_mono_ms() + DRAIN_MAX_MS;

	streams_drain(&s->streams);
	while (streams_open(&s->streams) && clock_mono_ms() < deadline) {
		struct pollset set = {0};

		(void)streams_prepare(&s->streams, &set, clock_mono_ms());
		int n = poll(set.fds, set.count, DRAIN_QUIET_MS);

		if (n == 0)
			break;
		if (n > 0)
			streams_run(&s->streams, &set, clock_mono_ms());
		reap(s);
	}
	streams_end(&s->streams);
}

static void remove_cgroup(struct supervision *s)
{
	int64_t deadline = clock_mono_ms() + CGROUP_MAX_MS;

	if (!s->spawned.cgroup)
		return;
	while (cgroup_remove(s->spawned.cgroup, NULL) < 0 && clock_mono_ms() < deadline) {
		(void)cgroup_kill(s->spawned.cgroup, SIGKILL, NULL);
		clock_sleep_ms(5);
		reap(s);
	}
}

/* The engine has forgotten us before the end: nobody asks for a record. */
static bool is_forgotten(const struct supervision *s)
{
	struct stat st;

	return fstat(s->dir_fd, &st) == 0 && st.st_nlink == 0;
}

/* The record is the reason for our being: when there is no room for it we wait for some. */
static void write_exit(struct supervision *s)
{
	for (int i = 0; i < RECORD_TRIES && !is_forgotten(s); i++) {
		if (record_write(s->dir_fd, RECORD_EXIT, s->id, &s->record, NULL) == 0)
			return;
		clock_sleep_ms(RECORD_RETRY_MS);
	}
}

static void linger(struct supervision *s)
{
	while (streams_busy(&s->streams)) {
		struct pollset set = {0};
		int64_t wait_ms = streams_prepare(&s->streams, &set, clock_mono_ms());

		(void)poll(set.fds, set.count, (int)wait_ms);
		streams_run(&s->streams, &set, clock_mono_ms());
	}
}

static void finish(struct supervision *s)
{
	if (s->spawned.cgroup)
		(void)cgroup_kill(s->spawned.cgroup, SIGKILL, NULL);
	(void)FAILPOINT("supervisor.killed", NULL);
	drain(s);
	oom_judge(s);
	(void)FAILPOINT("supervisor.drained", NULL);
	remove_cgroup(s);
	(void)FAILPOINT("supervisor.exit.before", NULL);
	write_exit(s);
	(void)FAILPOINT("supervisor.exit.after", NULL);
	(void)fs_unlink(s->dir_fd, SUPERVISOR_SOCKET, NULL);
	(void)FAILPOINT("supervisor.exit.closed", NULL);
	supervisor_notify(s);
	close_all(s);
	linger(s);
}

/* ---- the loop ---- */

/* The spawn went deep once and its pages of the stack stay: nothing below this frame is in use. */
static __attribute__((noinline)) void release_stack(void)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	uintptr_t end = (here & ~(uintptr_t)(PAGE - 1)) - PAGE; /* one page for the call itself */

	(void)madvise((void *)(end - STACK_SPAN), STACK_SPAN, MADV_DONTNEED);
}

/* Shut down, as a process that waits for its start holds a copy. */
void supervisor_launched(struct supervision *s)
{
	if (s->note_fd < 0)
		return;
	(void)shutdown(s->note_fd, SHUT_RDWR);
	close(move_fd(&s->note_fd));
}

static void idle(struct supervision *s)
{
	supervisor_launched(s);
	(void)streams_idle(&s->streams);
	(void)malloc_trim(0);
	release_stack();
}

static void turn(struct supervision *s, bool *calm)
{
	struct pollset set = {0};
	int64_t wait_ms = streams_prepare(&s->streams, &set, clock_mono_ms());
	int signal_slot = s->awaits_start ? -1 : pollset_add(&set, s->signal_fd, POLLIN);
	int listen_slot = connections_full(s) ? -1 : pollset_add(&set, s->listen_fd, POLLIN);
	struct signalfd_siginfo info;
	bool awaited = s->awaits_start;

	for (size_t i = 0; i < SUPERVISOR_CONNECTIONS_MAX; i++)
		s->connections[i].slot = pollset_add(&set, s->connections[i].fd, POLLIN);
	if (!*calm && (wait_ms < 0 || wait_ms > IDLE_MS))
		wait_ms = IDLE_MS;

	int n = poll(set.fds, set.count, (int)wait_ms);

	if (n == 0 && wait_ms == IDLE_MS) {
		idle(s);
		*calm = true;
	}
	if (n < 0)
		return;
	*calm = *calm && n == 0;
	if (pollset_seen(&set, signal_slot)) {
		(void)!read(s->signal_fd, &info, sizeof(info));
		reap(s);
	}
	/* Nobody hears of the end before it is on record: who asks now sees his connection close
	 * once it is, in finish(). */
	if (s->ended)
		return;
	for (size_t i = 0; i < SUPERVISOR_CONNECTIONS_MAX; i++)
		if (pollset_seen(&set, s->connections[i].slot) &&
		    supervisor_answer(s, &s->connections[i]) < 0)
			connection_close(&s->connections[i]);
	if (awaited)
		reap(s); /* it may have died before SIGCHLD was blocked */
	if (pollset_seen(&set, listen_slot))
		accept_connection(s);
	streams_run(&s->streams, &set, clock_mono_ms());
}

/* SIGCHLD as a descriptor; a supervisor is ended by its process's end, not by a signal. Only
 * after the spawn, as the program would inherit what is blocked or ignored. */
static int take_signals(struct supervision *s, struct err *err)
{
	static const int ignored[] = {SIGPIPE, SIGHUP, SIGINT, SIGTERM, SIGQUIT};
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t mask;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		(void)sigaction(ignored[i], &ignore, NULL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
		return err_sys(err, "cannot block SIGCHLD");
	s->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signal_fd < 0 ? err_sys(err, "cannot make a signal descriptor") : 0;
}

static void init(struct supervision *s, int note_fd, struct nursery nursery)
{
	*s = (struct supervision){.dir_fd = -1,
	                          .listen_fd = -1,
	                          .signal_fd = -1,
	                          .config_fd = -1,
	                          .nursery = nursery,
	                          .note_fd = note_fd,
	                          .spawned = SPAWNED_INIT,
	                          .arena = ARENA_INIT(2L * SPEC_ARENA_MAX),
	                          .streams = STREAMS_INIT};
	for (size_t i = 0; i < SUPERVISOR_CONNECTIONS_MAX; i++)
		s->connections[i] = (struct supervision_connection){.fd = -1, .slot = -1};
}

static void detach(void)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};

	(void)setsid();
	(void)sigaction(SIGCHLD, &standard, NULL); /* the launcher ignores it, we wait */
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

static void set_name(const char *id)
{
	char name[16]; /* the kernel's limit */

	(void)snprintf(name, sizeof(name), "buoy:%.10s", id);
	(void)prctl(PR_SET_NAME, name, 0, 0, 0);
}

/* Nobody hears whether the process runs: then it must not. */
static void abandon(struct supervision *s)
{
	(void)kill(s->spawned.pid, SIGKILL);
	while (waitpid(s->spawned.pid, NULL, 0) < 0 && errno == EINTR)
		;
	remove_cgroup(s);
}

/* Not before the answer is sent: what fails until then takes the run directory away. */
static void enter_confinement(const struct supervision *s, int rules_fd)
{
	if (rules_fd >= 0 && landlock_enter(rules_fd, NULL) < 0)
		(void)kill(s->spawned.pid, SIGKILL);
}

static int begin(struct supervision *s, struct protocol_packet *request, int run_dir_fd)
{
	struct err err = ERR_INIT;
	auto_close int reply_fd =
		fcntl(protocol_fd(request, request->body, "reply"), F_DUPFD_CLOEXEC, 3);
	int flags = fcntl(reply_fd, F_GETFL); /* -1 is refused by the next call, too */
	(void)fcntl(reply_fd, F_SETFL, flags | O_NONBLOCK);
	int rc = supervisor_launch(s, request, run_dir_fd, &err);
	nursery_close(&s->nursery);

	if (rc == 0 && take_signals(s, &err) < 0) {
		abandon(s);
		rc = -1;
	}
	auto_close int rules_fd = -1;
	if (rc == 0 && (FAILPOINT("supervisor.signals", &err) < 0 ||
	                supervisor_confine(s, &rules_fd, &err) < 0)) {
		abandon(s);
		rc = -1;
	}
	protocol_packet_done(request);
	if (rc < 0) {
		(void)protocol_send(reply_fd, protocol_error(&err), NULL, 0, NULL);
		return -1;
	}
	struct json *answer = json_object();

	(void)json_set(answer, "pid", json_int(s->record.seen.pid));
	if (protocol_send(reply_fd, answer, NULL, 0, &err) == 0) {
		(void)FAILPOINT("supervisor.answered", NULL);
		enter_confinement(s, rules_fd);
		take_connection(s, move_fd(&reply_fd));
		return 0;
	}
	abandon(s);
	return -1;
}

int supervisor_run(struct protocol_packet *request, int run_dir_fd, int note_fd,
                   struct nursery nursery)
{
	struct supervision s;
	const char *id = json_get_string(request->body, "id");
	bool calm = false;

	init(&s, note_fd, nursery);
	detach();
	set_name(id ? id : "?");
	if (begin(&s, request, run_dir_fd) < 0) {
		if (s.dir_fd >= 0)
			(void)fs_remove_tree(run_dir_fd, s.id, NULL);
		return 1;
	}
	close(run_dir_fd);
	reap(&s); /* it may have died before SIGCHLD was blocked */
	while (!s.ended)
		turn(&s, &calm);
	finish(&s);
	streams_done(&s.streams);
	spawned_done(&s.spawned);
	arena_done(&s.arena);
	return 0;
}
