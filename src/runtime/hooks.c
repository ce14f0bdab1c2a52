/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"

bool hooks_any(const struct oci_spec *spec, enum spec_hook point)
{
	return spec->hooks.at[point].count > 0;
}

struct json *hooks_state_json(const struct oci_spec *spec, const struct hooks_state *state,
                              struct err *err)
{
	auto_type(json) j = json_object();

	json_set(j, "ociVersion", json_string(spec->version));
	json_set(j, "id", json_string(state->id ? state->id : ""));
	json_set(j, "status", json_string(state->status));
	json_set(j, "pid", json_int(state->pid));
	if (json_set(j, "bundle", json_string(state->bundle ? state->bundle : "")) < 0 ||
	    (spec->annotations && json_set(j, "annotations", json_ref(spec->annotations)) < 0)) {
		err_nomem(err);
		return NULL;
	}
	return move_ptr(j);
}

static int write_state(const struct oci_spec *spec, const struct hooks_state *state,
                       struct buf *out, struct err *err)
{
	auto_type(json) j = hooks_state_json(spec, state, err);

	return j ? json_write(j, out, err) : -1;
}

static _Noreturn void execute(const struct oci_hook *hook, int stdin_fd)
{
	char *const fallback[] = {hook->path, NULL};
	char *const none[] = {NULL};
	sigset_t no_signals;

	sigemptyset(&no_signals);
	sigprocmask(SIG_SETMASK, &no_signals, NULL);
	dup2(stdin_fd, STDIN_FILENO);
	(void)close_range(3, ~0U, 0);
	execve(hook->path, hook->args.count ? hook->args.items : fallback,
	       hook->env.items ? hook->env.items : none);
	_exit(127);
}

/* Whether it has ended in time. A seccomp filter that is in force already may forbid pidfd_open: then it
 * is looked at now and then. */
static bool ends_in_time(const struct oci_hook *hook, pid_t pid, int64_t deadline_ms)
{
	auto_close int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd end = {.fd = pidfd, .events = POLLIN};
	siginfo_t info = {0};

	if (hook->timeout == 0)
		return true;
	for (;;) {
		int64_t left = deadline_ms - clock_mono_ms();
		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
		    info.si_pid == pid)
			return true;
		if (left <= 0)
			return false;
		int pause = pidfd < 0 && left > 5 ? 5 : (int)left;
		if (pidfd >= 0)
			(void)poll(&end, 1, pause);
		else
			clock_sleep_ms(pause);
	}
}

static int wait_for(const struct oci_hook *hook, pid_t pid, int64_t deadline_ms, struct err *err)
{
	int status;

	if (!ends_in_time(hook, pid, deadline_ms)) {
		kill(pid, SIGKILL);
		(void)waitpid(pid, &status, 0);
		return err_set(err, ERR_TIMEOUT, "%s did not end in %lld s", hook->path,
		               (long long)hook->timeout);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(err, "wait for %s", hook->path);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return err_set(err, ERR_SYSTEM, "%s ended with status %d", hook->path,
	               WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* A hook that reads nothing may end before, and one that hangs must not hold us longer than its
 * time-out; its status is what counts. */
static void give_state(const struct oci_hook *hook, int writer, const struct buf *state,
                       int64_t deadline_ms)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, old;
	size_t done = 0;

	if (hook->timeout > 0)
		(void)fcntl(writer, F_SETFL, O_NONBLOCK);
	sigaction(SIGPIPE, &ignore, &old);
	while (done < state->len) {
		struct pollfd room = {.fd = writer, .events = POLLOUT};
		ssize_t n = write(writer, state->data + done, state->len - done);
		int64_t left = deadline_ms - clock_mono_ms();

		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || (errno != EINTR && errno != EAGAIN) ||
		         (hook->timeout > 0 && (left <= 0 || poll(&room, 1, (int)left) == 0)))
			break;
	}
	sigaction(SIGPIPE, &old, NULL);
}

static int run_one(const struct oci_hook *hook, const struct buf *state, struct err *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	auto_close int reader = ends[0];
	auto_close int writer = ends[1];
	pid_t pid = fork();
	if (pid < 0)
		return err_sys(err, "fork");
	if (pid == 0)
		execute(hook, reader);
	int64_t deadline_ms = clock_mono_ms() + hook->timeout * 1000;
	close(move_fd(&reader));
	give_state(hook, writer, state, deadline_ms);
	close(move_fd(&writer));
	return wait_for(hook, pid, deadline_ms, err);
}

int hooks_run(const struct oci_spec *spec, enum spec_hook point, const struct hooks_state *state,
              struct err *err)
{
	const struct oci_hook *all = spec->hooks.at[point].items;
	auto_buf struct buf text = BUF_INIT(1 << 20);

	if (!hooks_any(spec, point))
		return 0;
	if (write_state(spec, state, &text, err) < 0)
		return -1;
	for (size_t i = 0; i < spec->hooks.at[point].count; i++)
		if (run_one(&all[i], &text, err) < 0)
			return err_wrap(err, "hooks.%s[%zu]", spec_hook_names[point], i);
	return 0;
}

void hooks_run_poststop(const struct oci_spec *spec, const struct hooks_state *state,
                        void (*warn)(const struct err *why))
{
	const struct oci_hook *all = spec->hooks.at[SPEC_HOOK_POSTSTOP].items;
	auto_buf struct buf text = BUF_INIT(1 << 20);
	struct err err = ERR_INIT;

	if (!hooks_any(spec, SPEC_HOOK_POSTSTOP))
		return;
	if (write_state(spec, state, &text, &err) < 0) {
		warn(&err);
		return;
	}
	for (size_t i = 0; i < spec->hooks.at[SPEC_HOOK_POSTSTOP].count; i++) {
		err = ERR_INIT;
		if (run_one(&all[i], &text, &err) < 0) {
			err_wrap(&err, "hooks.%s[%zu]", spec_hook_names[SPEC_HOOK_POSTSTOP], i);
			warn(&err);
		}
	}
}
