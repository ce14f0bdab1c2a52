/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/etcd_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"
#include "cluster/ca.h"
#include "http/server.h"

#define PROGRAM     "etcd"
#define SOCKET      "client:0" /* etcd wants a port in it */
#define LOG         "log"
#define TRUST       "trust"
#define TRUST_MAX   (64u << 10)
#define LOG_MAX     (8 << 20)
#define LOOK_MS     10000
#define PAUSE_MIN   200
#define PAUSE_MAX   10000
#define STEADY_MS   60000 /* one that ran so long begins with the short pause again */
#define AWAIT_STEP  20
#define END_MS      8000
#define ARGS_MAX    48
#define QUOTA_BYTES "8589934592"
/* Entries that a follower may lag behind before it gets a whole snapshot; they stay in memory. */
#define SNAPSHOT_COUNT "10000"

struct etcd_run {
	struct log log;
	char *name, *listen, *peer, *cluster; /* owned */
	bool existing, alone;
	int dir_fd, stop_fd;
	int top_fd; /* where ca.pem is */
	char socket[64];
	char token[ID_SWARM_MAX]; /* of use when a new cluster begins */
	pthread_t thread;
	bool watching;
	pthread_mutex_t lock; /* guards what follows */
	bool missing;         /* there is no such program */
	int pidfd;            /* of the one that runs; -1: none */
};

static int open_pid(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static int send_signal(int pidfd, int signal)
{
	return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

/* ---- starting ---- */

static size_t fill_args(const struct etcd_run *run, const char *args[ARGS_MAX])
{
	static const char socket_url[] = "unix://" SOCKET;
	static const char cert[] = "../" ETCD_RUN_CERT, key[] = "../" ETCD_RUN_KEY;
	const char *const list[] = {
		PROGRAM,
		"--name",
		run->name,
		"--data-dir",
		"data",
		"--listen-client-urls",
		socket_url,
		"--advertise-client-urls",
		socket_url,
		"--listen-peer-urls",
		run->listen,
		"--initial-advertise-peer-urls",
		run->peer,
		"--initial-cluster",
		run->cluster,
		/* Members of a cluster that was before, by the same names, must not be taken for ours. */
		"--initial-cluster-token",
		run->token,
		"--initial-cluster-state",
		run->existing ? "existing" : "new",
		"--peer-cert-file",
		cert,
		"--peer-key-file",
		key,
		"--peer-trusted-ca-file",
		"../ca.pem",
		"--peer-client-cert-auth",
		"--peer-cert-allowed-cn",
		CA_ETCD_NAME,
		/* A machine may call from another of its addresses than others call it by. */
		"--experimental-peer-skip-client-san-verification",
		"--quota-backend-bytes",
		QUOTA_BYTES,
		"--snapshot-count",
		SNAPSHOT_COUNT,
		"--logger",
		"zap",
		"--log-level",
		"warn",
		run->alone ? "--force-new-cluster" : NULL,
	};

	memcpy(args, list, sizeof(list));
	args[ARRAY_LEN(list)] = NULL;
	return ARRAY_LEN(list);
}

static int prepare(const struct etcd_run *run, int log_fd, posix_spawn_file_actions_t *actions,
                   posix_spawnattr_t *attr)
{
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(attr, &none);
	posix_spawnattr_setsigdefault(attr, &all);
	/* A session of its own: a terminal's signals are not meant for it. */
	posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
	                                       POSIX_SPAWN_SETSID);
	int rc = posix_spawn_file_actions_addfchdir_np(actions, run->dir_fd);
	if (rc == 0)
		rc = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(actions, log_fd, 1);
	return rc == 0 ? posix_spawn_file_actions_adddup2(actions, log_fd, 2) : rc;
}

/* 0 or an errno. */
static int spawn(const struct etcd_run *run, int log_fd, pid_t *pid)
{
	/* Nothing of our environment: etcd takes options from it. */
	char *const env[] = {
		(char[]){"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		NULL};
	const char *args[ARGS_MAX];
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;

	if (posix_spawn_file_actions_init(&actions) != 0)
		return ENOMEM;
	if (posix_spawnattr_init(&attr) != 0) {
		posix_spawn_file_actions_destroy(&actions);
		return ENOMEM;
	}
	fill_args(run, args);
	int rc = prepare(run, log_fd, &actions, &attr);
	if (rc == 0)
		rc = posix_spawnp(pid, PROGRAM, &actions, &attr, (char *const *)args, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

static int open_log(const struct etcd_run *run)
{
	return fs_open(run->dir_fd, LOG, O_WRONLY | O_CREAT | O_APPEND, 0600, NULL);
}

/* What it says is for looking into when something is wrong: not for ever. */
static void trim_log(const struct etcd_run *run)
{
	auto_close int fd = open_log(run);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > LOG_MAX)
		(void)!ftruncate(fd, 0);
}

/* ---- finding ---- */

/* One that runs already, by who listens on its socket. */
static int find_running(const struct etcd_run *run)
{
	auto_close int fd = fs_connect_unix(run->dir_fd, SOCKET, SOCK_STREAM, NULL);
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || cred.pid <= 0)
		return -1;
	return open_pid(cred.pid);
}

static void set_state(struct etcd_run *run, int pidfd, bool missing)
{
	pthread_mutex_lock(&run->lock);
	run->pidfd = pidfd;
	run->missing = missing;
	pthread_mutex_unlock(&run->lock);
}

/* ---- whom it trusts ---- */

static int digest_trust(const struct etcd_run *run, char hex[HASH_HEX_MAX])
{
	auto_buf struct buf text = BUF_INIT(TRUST_MAX);

	if (fs_read(run->top_fd, "ca.pem", TRUST_MAX, &text, NULL) < 0)
		return -1;
	hash_bytes_hex(text.data, text.len, hex);
	return 0;
}

/* Before it starts: one that is replaced meanwhile is not the one that is noted, and then it starts once more. */
static void note_trust(const struct etcd_run *run)
{
	char hex[HASH_HEX_MAX];

	if (digest_trust(run, hex) == 0)
		(void)fs_write_durable(run->dir_fd, TRUST, hex, strlen(hex), 0600, NULL);
}

bool etcd_run_is_stale(struct etcd_run *run)
{
	auto_buf struct buf noted = BUF_INIT(HASH_HEX_MAX);
	char hex[HASH_HEX_MAX];

	return digest_trust(run, hex) == 0 &&
	       fs_read(run->dir_fd, TRUST, HASH_HEX_MAX - 1, &noted, NULL) == 0 &&
	       !str_eq(buf_str(&noted), hex);
}

/* ---- watching ---- */

/* The pidfd of a process that runs now. */
static int bring_up(struct etcd_run *run)
{
	int pidfd = find_running(run);
	pid_t pid;

	if (pidfd >= 0) {
		log_info(&run->log, "etcd found running", "%s", "");
		if (!fs_exists(run->dir_fd, TRUST)) /* of a daemon that never replaced ca.pem */
			note_trust(run);
		if (etcd_run_is_stale(run)) /* a daemon before us was cut short */
			(void)send_signal(pidfd, SIGTERM);
		return pidfd;
	}
	/* Nobody listens on it: one that was killed left it, and etcd would not replace it. */
	(void)fs_unlink(run->dir_fd, SOCKET, NULL);
	note_trust(run);
	auto_close int log_fd = open_log(run);
	int rc = log_fd >= 0 ? spawn(run, log_fd, &pid) : EIO;
	if (rc != 0) {
		log_error(&run->log, "etcd not started", "error=%s",
		          rc == ENOENT ? "there is no such program: install etcd-server"
		                       : strerror(rc));
		set_state(run, -1, rc == ENOENT);
		return -1;
	}
	log_info(&run->log, "etcd started", "pid=%d", pid);
	return open_pid(pid);
}

/* 1: it ended, 0: we were told to stop. */
static int watch(struct etcd_run *run, int pidfd)
{
	struct pollfd p[2] = {{.fd = pidfd, .events = POLLIN},
	                      {.fd = run->stop_fd, .events = POLLIN}};

	for (;;) {
		int n = poll(p, 2, LOOK_MS);

		if (p[1].revents)
			return 0;
		if (n > 0 && p[0].revents)
			return 1;
		trim_log(run);
	}
}

static bool pause_ms(struct etcd_run *run, int64_t ms)
{
	struct pollfd p = {.fd = run->stop_fd, .events = POLLIN};

	return poll(&p, 1, (int)ms) == 0;
}

static void *supervise(void *arg)
{
	struct etcd_run *run = arg;
	int64_t pause = PAUSE_MIN;

	for (;;) {
		siginfo_t how = {0};
		int64_t began = clock_mono_ms();
		int pidfd = bring_up(run);

		if (pidfd >= 0) {
			set_state(run, pidfd, false);
			if (watch(run, pidfd) == 0)
				return NULL; /* etcd_run_end() or _free() closes the pidfd */
			set_state(run, -1, false);
			/* Fails for one that an earlier daemon started. */
			(void)waitid(P_PIDFD, (id_t)pidfd, &how, WEXITED | WNOHANG);
			close(pidfd);
			log_warn(&run->log, "etcd ended", "status=%d; its last words are in %s",
			         how.si_status, ETCD_RUN_DIR "/" LOG);
			run->alone = false;
		}
		if (clock_mono_ms() - began > STEADY_MS)
			pause = PAUSE_MIN;
		if (!pause_ms(run, pause))
			return NULL;
		pause = pause * 2 > PAUSE_MAX ? PAUSE_MAX : pause * 2;
	}
}

/* ---- life ---- */

static int copy_text(char **to, const char *from, struct err *err)
{
	*to = strdup(from);
	return *to ? 0 : err_nomem(err);
}

static int fill(struct etcd_run *run, const struct etcd_run_options *options, struct err *err)
{
	run->log = options->log ? *options->log : (struct log){.fd = -1};
	id_make_swarm(run->token);
	run->existing = options->existing;
	run->alone = options->alone;
	if (copy_text(&run->name, options->name, err) < 0 ||
	    copy_text(&run->listen, options->listen, err) < 0 ||
	    copy_text(&run->peer, options->peer, err) < 0 ||
	    copy_text(&run->cluster, options->cluster, err) < 0)
		return -1;
	run->dir_fd = fs_mkdir_all(options->dir_fd, ETCD_RUN_DIR, 0700, err);
	run->stop_fd = eventfd(0, EFD_CLOEXEC);
	run->top_fd = fcntl(options->dir_fd, F_DUPFD_CLOEXEC, 3);
	if (run->dir_fd < 0 || run->stop_fd < 0 || run->top_fd < 0)
		return run->dir_fd < 0 ? -1 : err_sys(err, "etcd");
	snprintf(run->socket, sizeof(run->socket), "/proc/self/fd/%d/" SOCKET, run->dir_fd);
	return 0;
}

struct etcd_run *etcd_run_start(const struct etcd_run_options *options, struct err *err)
{
	struct etcd_run *run = calloc(1, sizeof(*run));
	pthread_attr_t attr;

	if (!run) {
		err_nomem(err);
		return NULL;
	}
	run->dir_fd = run->top_fd = run->stop_fd = run->pidfd = -1;
	pthread_mutex_init(&run->lock, NULL);
	if (fill(run, options, err) < 0) {
		etcd_run_free(run);
		return NULL;
	}
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, HTTP_STACK_SIZE);
	run->watching = pthread_create(&run->thread, &attr, supervise, run) == 0;
	pthread_attr_destroy(&attr);
	if (run->watching)
		return run;
	err_set(err, ERR_SYSTEM, "cannot start the thread that watches etcd");
	etcd_run_free(run);
	return NULL;
}

const char *etcd_run_socket(const struct etcd_run *run)
{
	return run->socket;
}

int etcd_run_await(struct etcd_run *run, int64_t ms, struct err *err)
{
	int64_t until = clock_mono_ms() + ms;

	for (;;) {
		auto_close int fd = fs_connect_unix(run->dir_fd, SOCKET, SOCK_STREAM, NULL);

		if (fd >= 0)
			return 0;
		pthread_mutex_lock(&run->lock);
		bool missing = run->missing;
		pthread_mutex_unlock(&run->lock);
		if (missing)
			return err_set(err, ERR_UNSUPPORTED,
			               "there is no etcd on this machine: install it (Debian: "
			               "etcd-server)");
		if (clock_mono_ms() >= until)
			return err_set(err, ERR_TIMEOUT,
			               "etcd does not answer; its last words are in " ETCD_RUN_DIR
			               "/" LOG " below the cluster's directory");
		clock_sleep_ms(AWAIT_STEP);
	}
}

/* Politely, then by force; whoever watches starts the next. */
static void end_running(struct etcd_run *run)
{
	pthread_mutex_lock(&run->lock);
	auto_close int pidfd = run->pidfd >= 0 ? fcntl(run->pidfd, F_DUPFD_CLOEXEC, 3) : -1;
	pthread_mutex_unlock(&run->lock);
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	if (pidfd < 0)
		return;
	(void)send_signal(pidfd, SIGTERM);
	if (poll(&p, 1, END_MS) != 0)
		return;
	(void)send_signal(pidfd, SIGKILL);
	(void)poll(&p, 1, END_MS);
}

int etcd_run_trust(struct etcd_run *run, int64_t ms, struct err *err)
{
	if (!etcd_run_is_stale(run))
		return 0;
	log_info(&run->log, "etcd starts anew", "%s", "the root certificates are others");
	end_running(run);
	return etcd_run_await(run, ms, err) < 0 ? -1 : 1;
}

static void stop_watching(struct etcd_run *run)
{
	uint64_t one = 1;

	if (!run->watching)
		return;
	(void)!write(run->stop_fd, &one, sizeof(one));
	pthread_join(run->thread, NULL);
	run->watching = false;
}

void etcd_run_free(struct etcd_run *run)
{
	if (!run)
		return;
	stop_watching(run);
	if (run->pidfd >= 0)
		close(run->pidfd);
	if (run->dir_fd >= 0)
		close(run->dir_fd);
	if (run->top_fd >= 0)
		close(run->top_fd);
	if (run->stop_fd >= 0)
		close(run->stop_fd);
	pthread_mutex_destroy(&run->lock);
	free(run->name);
	free(run->listen);
	free(run->peer);
	free(run->cluster);
	free(run);
}

void etcd_run_end(struct etcd_run *run)
{
	if (!run)
		return;
	stop_watching(run);
	struct pollfd p = {.fd = run->pidfd, .events = POLLIN};
	if (run->pidfd >= 0) {
		(void)send_signal(run->pidfd, SIGTERM);
		if (poll(&p, 1, END_MS) == 0) {
			(void)send_signal(run->pidfd, SIGKILL);
			(void)poll(&p, 1, END_MS);
		}
		(void)waitid(P_PIDFD, (id_t)run->pidfd, NULL, WEXITED | WNOHANG);
	}
	etcd_run_free(run);
}
