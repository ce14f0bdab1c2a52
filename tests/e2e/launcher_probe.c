/* SPDX-License-Identifier: Apache-2.0 */

/*
 * launcher_probe - runtime/launcher.h for test scripts: one command a line, one reply a line.
 *
 *	launcher_probe RUNTIME RUN_DIR
 *	> create c1 /tmp/bundle stdin log=/tmp/logs        < ok
 *	> attach a c1 in,out,err                           < ok
 *	> start c1                                         < ok
 *	> read a 100 1000                                  < ok 68690a
 *
 * A reply is "ok ..." or "error KIND words". Streams and watches have names of one word; bytes
 * are hexadecimal.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "runtime/launcher.h"

#define WORDS_MAX  24
#define NAMES_MAX  512
#define LOWERS_MAX 16
#define BYTES_MAX  (256 * 1024)

struct named {
	char name[32];
	int fd;
	struct supervisor *watch;
};

struct probe {
	struct launcher *launcher;
	int run_fd;
	struct named named[NAMES_MAX];
	char bytes[BYTES_MAX];
};

static struct named *find(struct probe *p, const char *name)
{
	for (size_t i = 0; i < NAMES_MAX; i++)
		if (str_eq(p->named[i].name, name))
			return &p->named[i];
	return NULL;
}

static int add(struct probe *p, const char *name, int fd, struct supervisor *watch)
{
	struct named *n = find(p, "");

	if (!n)
		return -1;
	*n = (struct named){.fd = fd, .watch = watch};
	(void)snprintf(n->name, sizeof(n->name), "%s", name);
	return 0;
}

static int open_dir(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static char *read_file(const char *path)
{
	char *text = calloc(1, 1 << 20);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && read(fd, text, (1 << 20) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return text;
}

struct options {
	struct launch launch;
	struct launch_log log;
	struct launch_rootfs rootfs;
	struct launch_images images;
	int lowers[LOWERS_MAX];
	char *process;
};

static void option(struct options *o, char *word)
{
	char *value = strchr(word, '=');

	if (value)
		*value++ = '\0';
	if (str_eq(word, "stdin"))
		o->launch.stdin_open = true;
	else if (str_eq(word, "once"))
		o->launch.stdin_once = true;
	else if (str_eq(word, "rows"))
		o->launch.rows = (uint16_t)strtoul(value, NULL, 10);
	else if (str_eq(word, "cols"))
		o->launch.cols = (uint16_t)strtoul(value, NULL, 10);
	else if (str_eq(word, "log"))
		o->log.dir_fd = open_dir(value);
	else if (str_eq(word, "log_size"))
		o->log.size_max = strtoll(value, NULL, 10);
	else if (str_eq(word, "log_files"))
		o->log.files_max = strtoll(value, NULL, 10);
	else if (str_eq(word, "exec"))
		o->launch.exec_into = value;
	else if (str_eq(word, "process"))
		o->process = read_file(value);
	else if (str_eq(word, "lower") && o->rootfs.lower_count < LOWERS_MAX)
		o->lowers[o->rootfs.lower_count++] = open_dir(value);
	else if (str_eq(word, "upper"))
		o->rootfs.upper_fd = open_dir(value);
	else if (str_eq(word, "work"))
		o->rootfs.work_fd = open_dir(value);
	else if (str_eq(word, "restore"))
		o->images = (struct launch_images){value, value};
}

static int create(struct probe *p, char **words, size_t count, struct err *err)
{
	struct options o = {.log = {.dir_fd = -1, .name = "x-json.log", .files_max = 1},
	                    .rootfs = {.upper_fd = -1, .work_fd = -1}};
	bool exec = str_eq(words[2], "-");

	for (size_t i = 3; i < count; i++)
		option(&o, words[i]);
	o.rootfs.lower_fds = o.lowers;
	o.launch.id = words[1];
	o.launch.bundle_fd = exec ? -1 : open_dir(words[2]);
	o.launch.process_json = o.process;
	o.launch.log = o.log.dir_fd >= 0 ? &o.log : NULL;
	o.launch.rootfs = o.rootfs.lower_count > 0 ? &o.rootfs : NULL;
	o.launch.restore = o.images.images ? &o.images : NULL;

	int rc = launcher_create(p->launcher, &o.launch, err);

	free(o.process);
	cleanup_close(&o.launch.bundle_fd);
	cleanup_close(&o.log.dir_fd);
	cleanup_close(&o.rootfs.upper_fd);
	cleanup_close(&o.rootfs.work_fd);
	for (size_t i = 0; i < o.rootfs.lower_count; i++)
		close(o.lowers[i]);
	return rc;
}

static void print_seen(int rc, const struct supervised *s)
{
	static const char *const states[] = {"created", "running", "paused", "stopped"};

	printf("ok %d %s %d %d %d %" PRId64 " %" PRId64 "\n", rc, states[s->state], (int)s->pid,
	       s->exit_code, s->oom_killed, s->started_ns, s->finished_ns);
}

/* Commands about what has a name here. 1: done and answered; 0: not such a command; -1. */
static int on_named(struct probe *p, char **words, size_t count, struct err *err)
{
	struct named *n = count > 1 ? find(p, words[1]) : NULL;
	struct supervised seen;

	if (!n)
		return 0;
	if (str_eq(words[0], "read") && count == 4) {
		struct pollfd f = {.fd = n->fd, .events = POLLIN};
		size_t max = strtoul(words[2], NULL, 10);

		if (poll(&f, 1, (int)strtol(words[3], NULL, 10)) == 0) {
			printf("ok -\n");
			return 1;
		}
		ssize_t got = recv(n->fd, p->bytes, max < BYTES_MAX ? max : BYTES_MAX, 0);

		if (got < 0)
			return err_sys(err, "read");
		printf("ok ");
		for (ssize_t i = 0; i < got; i++)
			printf("%02x", (unsigned char)p->bytes[i]);
		printf("\n");
	} else if (str_eq(words[0], "write") && count == 3) {
		size_t len = strlen(words[2]) / 2;

		for (size_t i = 0; i < len; i++) {
			char hex[3] = {words[2][2 * i], words[2][2 * i + 1], '\0'};

			p->bytes[i] = (char)strtoul(hex, NULL, 16);
		}
		if (send(n->fd, p->bytes, len, MSG_NOSIGNAL) != (ssize_t)len)
			return err_sys(err, "write");
		printf("ok\n");
	} else if (str_eq(words[0], "shut")) {
		(void)shutdown(n->fd, SHUT_WR);
		printf("ok\n");
	} else if (str_eq(words[0], "close")) {
		if (n->watch)
			supervisor_close(n->watch);
		else
			close(n->fd);
		n->name[0] = '\0';
		printf("ok\n");
	} else if (str_eq(words[0], "wait") && n->watch) {
		int rc = supervisor_wait(n->watch, &seen, err);

		if (rc < 0)
			return -1;
		print_seen(rc, &seen);
	} else {
		return 0;
	}
	return 1;
}

static int attach(struct probe *p, struct supervisor *s, char **words, struct err *err)
{
	struct supervisor_attach what = {.in = strstr(words[3], "in"),
	                                 .out = strstr(words[3], "out"),
	                                 .err = strstr(words[3], "err"),
	                                 .logs = strstr(words[3], "logs")};
	int fd = supervisor_attach(s, &what, err);

	if (fd < 0)
		return -1;
	return add(p, words[1], fd, NULL);
}

/* Commands about a supervisor. 1: answered; 0: success, to be answered "ok"; -1. */
static int on_supervisor(struct supervisor *s, char **words, size_t count, struct err *err)
{
	const char *op = words[0];
	struct supervised seen;
	pid_t pids[256];

	if (str_eq(op, "state")) {
		if (supervisor_state(s, &seen, err) < 0)
			return -1;
		print_seen(0, &seen);
		return 1;
	}
	if (str_eq(op, "start"))
		return supervisor_start(s, err);
	if (str_eq(op, "kill") && count >= 3)
		return supervisor_kill(s, (int)strtol(words[2], NULL, 10), count > 3, err);
	if (str_eq(op, "resize") && count == 4)
		return supervisor_resize(s, (uint16_t)strtoul(words[2], NULL, 10),
		                         (uint16_t)strtoul(words[3], NULL, 10), err);
	if (str_eq(op, "pause") && count == 3)
		return supervisor_pause(s, words[2][0] == '1', err);
	if (str_eq(op, "update") && count == 3)
		return supervisor_update(s, words[2], err);
	if (str_eq(op, "pids")) {
		ssize_t n = supervisor_pids(s, pids, ARRAY_LEN(pids), err);

		if (n < 0)
			return -1;
		printf("ok");
		for (ssize_t i = 0; i < n && i < (ssize_t)ARRAY_LEN(pids); i++)
			printf(" %d", (int)pids[i]);
		printf("\n");
		return 1;
	}
	if (str_eq(op, "stats")) {
		auto_free char *text = supervisor_stats(s, err);

		if (!text)
			return -1;
		printf("ok %s\n", text);
		return 1;
	}
	return err_set(err, ERR_INVALID, "no command %s", op);
}

static int run(struct probe *p, char **words, size_t count, struct err *err)
{
	const char *op = words[0];
	struct supervised seen;
	int rc = on_named(p, words, count, err);

	if (rc != 0)
		return rc;
	if (str_eq(op, "launcher")) {
		printf("ok %d\n", (int)launcher_pid(p->launcher));
		return 1;
	}
	if (count < 2)
		return err_set(err, ERR_INVALID, "no command %s", op);
	if (str_eq(op, "create") && count >= 3)
		return create(p, words, count, err);
	if (str_eq(op, "exit")) {
		if (supervisor_read_exit(p->run_fd, words[1], &seen, err) < 0)
			return -1;
		print_seen(1, &seen);
		return 1;
	}
	if (str_eq(op, "checkpoint") && count == 3)
		return launcher_checkpoint(p->launcher, words[1],
		                           &(struct launch_images){words[2], words[2]}, false, err);
	if (str_eq(op, "forget"))
		return supervisor_forget(p->run_fd, words[1], err);

	bool names = str_eq(op, "attach") || str_eq(op, "watch"); /* their second word */
	auto_type(supervisor) s =
		supervisor_connect(p->run_fd, words[names && count > 2 ? 2 : 1], err);

	if (!s)
		return -1;
	if (str_eq(op, "attach") && count == 4)
		return attach(p, s, words, err);
	if (str_eq(op, "watch") && count == 3) {
		if (supervisor_watch(s, err) < 0)
			return -1;
		int fd = supervisor_fd(s);

		return add(p, words[1], fd, move_ptr(s));
	}
	return on_supervisor(s, words, count, err);
}

int main(int argc, char **argv)
{
	static struct probe p;
	static char line[512 * 1024];
	struct err err = ERR_INIT;
	struct log log = {.fd = 2, .level = LOG_LEVEL_WARN};

	if (argc != 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	p.run_fd = open_dir(argv[2]);
	p.launcher = launcher_start(argv[1], p.run_fd, &log, &err);
	if (!p.launcher) {
		printf("error %d %s\n", err.kind, err.msg);
		return 1;
	}
	printf("ok\n");
	while (fgets(line, sizeof(line), stdin)) {
		char *words[WORDS_MAX], *save = NULL;
		size_t count = 0;

		for (char *w = strtok_r(line, " \n", &save); w && count < WORDS_MAX;
		     w = strtok_r(NULL, " \n", &save))
			words[count++] = w;
		if (count == 0)
			continue;
		err = ERR_INIT;
		int rc = run(&p, words, count, &err);

		if (rc < 0)
			printf("error %d %s\n", err.kind, err.msg);
		else if (rc == 0)
			printf("ok\n");
	}
	launcher_stop(p.launcher);
	return 0;
}
