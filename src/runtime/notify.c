/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/notify.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "runtime/filter.h"
#include "runtime/hooks.h"
#include "runtime/init.h"
#include "runtime/spec.h"

#define WAIT_MAX_MS 30000 /* for an agent to take its listener */
#define STATE_MAX   (1 << 20)

/* ---- who releases the process ---- */

static struct json *process_state(const struct oci_spec *spec, const struct hooks_state *state,
                                  pid_t pid, struct err *err)
{
	const struct oci_seccomp *profile = spec->linux_.seccomp;
	auto_type(json) j = json_object();
	auto_type(json) container = hooks_state_json(spec, state, err);
	struct json *fds = json_array();

	json_append(fds, json_string("seccompFd"));
	json_set(j, "ociVersion", json_string(spec->version));
	json_set(j, "fds", fds);
	json_set(j, "pid", json_int(pid));
	if (profile->listener_metadata)
		json_set(j, "metadata", json_string(profile->listener_metadata));
	if (!container || json_set(j, "state", move_ptr(container)) < 0) {
		err_nomem(err);
		return NULL;
	}
	return move_ptr(j);
}

int notify_agent_make(const struct oci_spec *spec, const struct hooks_state *state, pid_t pid,
                      struct notify_agent *out, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(STATE_MAX);

	*out = (struct notify_agent){0};
	if (!spec->linux_.seccomp || !filter_notifies(spec->linux_.seccomp))
		return 0;
	auto_type(json) j = process_state(spec, state, pid, err);
	if (!j || json_write(j, &text, err) < 0 || buf_check(&text, err) < 0)
		return -1;
	out->pid = pid;
	out->path = strdup(spec->linux_.seccomp->listener_path);
	out->state = strdup(buf_str(&text));
	if (out->path && out->state)
		return 0;
	notify_agent_done(out);
	return err_nomem(err);
}

void notify_agent_done(struct notify_agent *agent)
{
	free(agent->path);
	free(agent->state);
	*agent = (struct notify_agent){0};
}

int notify_send(const struct notify_agent *agent, int listener_fd, struct err *err)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.head = {.cmsg_level = SOL_SOCKET,
	                      .cmsg_type = SCM_RIGHTS,
	                      .cmsg_len = CMSG_LEN(sizeof(int))}};
	struct iovec part = {.iov_base = agent->state, .iov_len = strlen(agent->state)};
	struct msghdr header = {.msg_iov = &part,
	                        .msg_iovlen = 1,
	                        .msg_control = control.bytes,
	                        .msg_controllen = sizeof(control.bytes)};
	auto_close int fd = fs_trusted_connect_unix(agent->path, SOCK_STREAM, err);

	if (fd < 0)
		return err_wrap(err, "linux.seccomp.listenerPath");
	memcpy(CMSG_DATA(&control.head), &listener_fd, sizeof(int));
	ssize_t n = sendmsg(fd, &header, MSG_NOSIGNAL);
	if (n < 0)
		return err_sys(err, "linux.seccomp.listenerPath: send");
	/* Descriptors go with the first part only. */
	return fs_write_all(fd, agent->state + n, part.iov_len - (size_t)n, err);
}

/* ---- the process ---- */

/* What the two share. */
struct handover {
	atomic_int listener; /* descriptor + 1; -1: there is none */
	atomic_int answer;   /* 1: the agent has it; -1: it does not */
};

/* Not filtered; shares the descriptors and nothing else. */
static _Noreturn void help(struct handover *shared, int control_fd)
{
	struct init_message message = {.type = INIT_LISTENER};
	int listener;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	while ((listener = atomic_load(&shared->listener)) == 0)
		usleep(100);
	if (listener < 0)
		_exit(0);
	bool taken = init_send(control_fd, &message, listener - 1, NULL) == 0 &&
	             init_receive(control_fd, &message, NULL, NULL) == 1 && message.type == INIT_GO;
	atomic_store(&shared->answer, taken ? 1 : -1);
	_exit(0);
}

/* Nobody waits for the helper: the kernel takes it away at once. Execve resets this. */
static int forget_children(struct err *err)
{
	struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};

	return sigaction(SIGCHLD, &action, NULL) < 0 ? err_sys(err, "SIGCHLD") : 0;
}

static int start_helper(struct handover *shared, int control_fd, struct err *err)
{
	struct clone_args args = {.flags = CLONE_FILES, .exit_signal = SIGCHLD};

	if (forget_children(err) < 0)
		return -1;
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		help(shared, control_fd);
	return pid < 0 ? err_sys(err, "hand the seccomp listener over") : 0;
}

int notify_install(int control_fd, const void *bpf, size_t len, unsigned flags, struct err *err)
{
	struct handover *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int64_t deadline_ms = clock_mono_ms() + WAIT_MAX_MS;
	int answer;

	if (shared == MAP_FAILED)
		return err_sys(err, "hand the seccomp listener over");
	if (start_helper(shared, control_fd, err) < 0)
		return -1;
	int listener = filter_install(bpf, len, flags, err);
	atomic_store(&shared->listener, listener < 0 ? -1 : listener + 1);
	if (listener < 0)
		return -1;
	/* From here on no system call: it might wait for an agent that is not there yet. The clock is read in the
	 * process's own memory. */
	while ((answer = atomic_load(&shared->answer)) == 0 && clock_mono_ms() < deadline_ms)
		;
	return answer == 1
	               ? 0
	               : err_set(err, ERR_CANCELED, "the seccomp agent has not taken the listener");
}
