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

int hooks_check(const struct oci_spec *spec, struct err *err)
{
	static const enum spec_hook inside[] = {SPEC_HOOK_CREATE_CONTAINER,
	                                        SPEC_HOOK_START_CONTAINER};

	for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++)
		if (hooks_any(spec, inside[i]))
			return err_set(err, ERR_UNSUPPORTED, "hooks.%s: not supported",
			               spec_hook_names[inside[i]]);
	return 0;
}

static int write_state(const struct oci_spec *spec, const struct hooks_state *state,
                       struct buf *out, struct err *err)
{
	auto_type(json) j = json_object();

	json_set(j, "ociVersion", json_string(spec->version));
	json_set(j, "id", json_string(state->id ? state->id : ""));
	json_set(j, "status", json_string(state->status));
	json_set(j, "pid", json_int(state->pid));
	if (json_set(j, "bundle", json_string(state->bundle ? state->bundle : "")) < 0)
		return err_nomem(err);
	if (spec->annotations && json_set(j, "annotations", json_ref(spec->annotations)) < 0)
		return err_nomem(err);
	return json_write(j, out, err);
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

static int wait_for(const struct oci_hook *hook, pid_t pid, struct err *err)
{
	auto_close int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd end = {.fd = pidfd, .events = POLLIN};
	int status;

	if (pidfd >= 0 && hook->timeout > 0 && poll(&end, 1, (int)hook->timeout * 1000) == 0) {
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
	/* A hook that reads nothing may end before; its status is what counts. */
	struct sigaction ignore = {.sa_handler = SIG_IGN}, old;
	sigaction(SIGPIPE, &ignore, &old);
	close(move_fd(&reader));
	(void)fs_write_all(writer, state->data, state->len, NULL);
	close(move_fd(&writer));
	sigaction(SIGPIPE, &old, NULL);
	return wait_for(hook, pid, err);
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
