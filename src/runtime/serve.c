/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/serve.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "runtime/protocol.h"
#include "runtime/supervisor.h"

static int check_descriptors(struct err *err)
{
	int type = 0;
	socklen_t len = sizeof(type);
	struct stat st;

	if (getsockopt(PROTOCOL_LAUNCHER_FD, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    type != SOCK_SEQPACKET)
		return err_set(err, ERR_INVALID,
		               "descriptor %d is not a seqpacket socket: the engine starts this",
		               PROTOCOL_LAUNCHER_FD);
	if (fstat(PROTOCOL_RUN_DIR_FD, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_set(err, ERR_INVALID, "descriptor %d is not a directory",
		               PROTOCOL_RUN_DIR_FD);
	if (fcntl(PROTOCOL_LAUNCHER_FD, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(PROTOCOL_RUN_DIR_FD, F_SETFD, FD_CLOEXEC) < 0)
		return err_sys(err, "cannot mark descriptors close-on-exec");
	return 0;
}

/* Nothing of the engine's stdio may live on in supervisors; stderr stays for ourselves. */
static int detach_stdio(struct err *err)
{
	auto_close int null_fd = fs_trusted_open("/dev/null", O_RDWR, 0, err);

	if (null_fd < 0)
		return -1;
	if (dup2(null_fd, STDIN_FILENO) < 0 || dup2(null_fd, STDOUT_FILENO) < 0)
		return err_sys(err, "cannot detach stdio");
	return 0;
}

static int prepare(struct err *err)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	if (check_descriptors(err) < 0 || detach_stdio(err) < 0)
		return -1;
	/* Supervisors are not waited for: their records speak. */
	if (sigaction(SIGCHLD, &ignore, NULL) < 0)
		return err_sys(err, "cannot ignore SIGCHLD");
	/* Nobody reads our memory or opens our executable through /proc. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, "cannot make the launcher undumpable");
	(void)prctl(PR_SET_NAME, "buoy-launcher", 0, 0, 0);
	umask(077);
	if (chdir("/") < 0)
		return err_sys(err, "cannot change to /");
	return 0;
}

static void refuse(const struct protocol_packet *request, const struct err *why)
{
	int fd = protocol_fd(request, request->body, "reply");

	if (fd >= 0)
		(void)protocol_send(fd, protocol_error(why), NULL, 0, NULL);
}

static void become_supervisor(struct protocol_packet *request)
{
	close(PROTOCOL_LAUNCHER_FD);
	(void)dup2(STDIN_FILENO, STDERR_FILENO);
	_exit(supervisor_run(request, PROTOCOL_RUN_DIR_FD));
}

static void launch(struct protocol_packet *request)
{
	struct err err = ERR_INIT;

	if (FAILPOINT("launcher.request", &err) < 0) {
		refuse(request, &err);
		return;
	}
	pid_t pid = fork();

	if (pid == 0)
		become_supervisor(request);
	(void)FAILPOINT("launcher.forked", NULL);
	if (pid > 0)
		return;
	(void)err_sys(&err, "cannot fork a supervisor");
	refuse(request, &err);
}

static int serve(struct err *err)
{
	struct json *ready = json_object();

	if (json_set(ready, "ready", json_bool(true)) < 0) {
		json_free(ready);
		return err_nomem(err);
	}
	if (protocol_send(PROTOCOL_LAUNCHER_FD, ready, NULL, 0, err) < 0)
		return -1;
	for (;;) {
		auto_packet struct protocol_packet request = PROTOCOL_PACKET_INIT;
		struct err why = ERR_INIT;
		int rc = protocol_recv(PROTOCOL_LAUNCHER_FD, &request, &why);

		if (rc == 0)
			return 0;
		if (rc > 0)
			launch(&request);
		else if (why.kind == ERR_SYSTEM)
			return err_set(err, ERR_SYSTEM, "%s", why.msg);
		/* else a bad packet: its reply socket closes, and the engine sees that */
	}
}

int serve_main(int argc, char **argv)
{
	struct err err = ERR_INIT;

	(void)argv;
	if (argc > 1)
		(void)err_set(&err, ERR_INVALID, "serve takes no arguments");
	else if (prepare(&err) == 0 && serve(&err) == 0)
		return 0;
	(void)fprintf(stderr, "buoy-runtime serve: %s\n", err.msg);
	return 1;
}
