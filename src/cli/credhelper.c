/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/credhelper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"

#define PROGRAM_PREFIX "docker-credential-"
#define PROGRAM_MAX    128
#define SAID_MAX       200       /* characters of a program's complaint that we show */
#define TOKEN_USER     "<token>" /* the name under which an identity token is kept */
#define NONE_HERE      "credentials not found in native keychain"
#define WAIT_SLICE_MS  10

/* It becomes the name of a program: one file name, no path. */
static int program_of(const char *name, char out[PROGRAM_MAX], struct err *err)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";

	if (str_empty(name) || name[strspn(name, allowed)] ||
	    strlen(name) > PROGRAM_MAX - sizeof(PROGRAM_PREFIX))
		return err_set(err, ERR_INVALID, "\"%.60s\" cannot be a credential helper's name",
		               name ? name : "");
	(void)snprintf(out, PROGRAM_MAX, PROGRAM_PREFIX "%s", name);
	return 0;
}

/* What it reads: a file in memory, so that a program that does not read cannot block us. */
static int input_of(const char *text, struct err *err)
{
	auto_close int fd = memfd_create("input", MFD_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "memfd_create");
	if (fs_write_all(fd, text, strlen(text), err) < 0)
		return -1;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, "lseek");
	return move_fd(&fd);
}

static int start(const char *program, const char *action, int in, int out, pid_t *pid)
{
	char *argv[] = {(char *)program, (char *)action, NULL};
	posix_spawn_file_actions_t actions;

	if (posix_spawn_file_actions_init(&actions) != 0)
		return ENOMEM;
	int rc = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	if (rc == 0)
		rc = posix_spawnp(pid, program, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

/* To the end of the output, or of patience. */
static int read_until(int fd, int64_t deadline, struct buf *out, struct err *err)
{
	char data[4096];

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = deadline - clock_mono_ms();
		int ready = left > 0 ? poll(&p, 1, (int)left) : 0;
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready == 0)
			return err_set(err, ERR_TIMEOUT, "it did not answer in time");
		ssize_t n = ready < 0 ? -1 : read(fd, data, sizeof(data));
		if (n < 0)
			return err_sys(err, "cannot read its answer");
		if (n == 0)
			return 0;
		buf_add_mem(out, data, (size_t)n);
		explicit_bzero(data, (size_t)n);
		if (buf_check(out, NULL) < 0)
			return err_set(err, ERR_LIMIT, "it printed more than %u bytes",
			               CREDHELPER_OUTPUT_MAX);
	}
}

/* Its exit status; killed when it is not gone by then. */
static int end(pid_t pid, int64_t deadline)
{
	int status = 0;
	pid_t gone;

	while ((gone = waitpid(pid, &status, WNOHANG)) == 0 && clock_mono_ms() < deadline)
		clock_sleep_ms(WAIT_SLICE_MS);
	if (gone == 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, &status, 0);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* A program that fails says why on standard output. */
static int refused(int status, const char *said, struct err *err)
{
	size_t n = strcspn(said, "\r\n");

	if (str_starts(said, NONE_HERE))
		return err_set(err, ERR_NOT_FOUND, "it has no credentials for this server");
	if (n == 0)
		return err_set(err, ERR_UNAVAILABLE, "it failed with status %d", status);
	return err_set(err, ERR_UNAVAILABLE, "%.*s", (int)(n < SAID_MAX ? n : SAID_MAX), said);
}

static int converse(const char *program, const char *action, const char *input, int64_t deadline,
                    struct buf *out, struct err *err)
{
	auto_close int in = input_of(input, err);
	int pipes[2];
	pid_t pid;

	if (in < 0)
		return -1;
	if (pipe2(pipes, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	auto_close int from = pipes[0];
	int rc = start(program, action, in, pipes[1], &pid);
	close(pipes[1]);
	if (rc == ENOENT)
		return err_set(err, ERR_UNAVAILABLE,
		               "it is not in PATH: install it, or take it out of config.json "
		               "(credsStore, credHelpers)");
	if (rc != 0) {
		errno = rc;
		return err_sys(err, "it cannot be started");
	}
	rc = read_until(from, deadline, out, err);
	int status = end(pid, rc < 0 ? 0 : deadline);
	if (rc < 0)
		return -1;
	return status == 0 ? 0 : refused(status, buf_str(out), err);
}

int credhelper_run(const char *name, const char *action, const char *input, int timeout_ms,
                   struct buf *out, struct err *err)
{
	char program[PROGRAM_MAX];

	if (program_of(name, program, err) < 0)
		return -1;
	if (converse(program, action, input, clock_mono_ms() + timeout_ms, out, err) < 0)
		return err_wrap(err, "%s %s", program, action);
	return 0;
}

static struct json *ask(const char *name, const char *action, const char *input, struct err *err)
{
	auto_buf struct buf out = BUF_INIT(CREDHELPER_OUTPUT_MAX);
	struct json *doc = NULL;

	if (credhelper_run(name, action, input, CREDHELPER_TIMEOUT_MS, &out, err) == 0)
		doc = json_parse(buf_str(&out), out.len, NULL);
	else
		return NULL;
	if (out.data)
		explicit_bzero(out.data, out.len);
	if (json_is_object(doc))
		return doc;
	json_free(doc);
	(void)err_set(err, ERR_INVALID, PROGRAM_PREFIX "%s %s: its answer is no JSON object", name,
	              action);
	return NULL;
}

struct json *credhelper_get(const char *name, const char *server, struct err *err)
{
	auto_type(json) answer = ask(name, "get", server, err);
	struct json *out;

	if (!answer)
		return NULL;
	const char *user = json_get_string(answer, "Username");
	const char *secret = json_get_string(answer, "Secret");
	if (str_empty(user) || !secret) {
		(void)err_set(err, ERR_INVALID,
		              PROGRAM_PREFIX "%s get: its answer lacks Username or Secret", name);
		return NULL;
	}
	out = json_object();
	if (str_eq(user, TOKEN_USER)) {
		json_set(out, "identitytoken", json_string(secret));
	} else {
		json_set(out, "username", json_string(user));
		json_set(out, "password", json_string(secret));
	}
	json_set(out, "serveraddress", json_string(server));
	return out;
}

struct json *credhelper_list(const char *name, struct err *err)
{
	return ask(name, "list", "unused", err); /* as docker sends it: some wait for input */
}

int credhelper_store(const char *name, const char *server, const char *user, const char *secret,
                     struct err *err)
{
	auto_buf struct buf in = BUF_INIT(CREDHELPER_OUTPUT_MAX);
	auto_buf struct buf out = BUF_INIT(CREDHELPER_OUTPUT_MAX);
	auto_type(json) doc = json_object();

	json_set(doc, "ServerURL", json_string(server));
	json_set(doc, "Username", json_string(user ? user : TOKEN_USER));
	json_set(doc, "Secret", json_string(secret));
	if (json_write(doc, &in, err) < 0)
		return -1;
	int rc = credhelper_run(name, "store", buf_str(&in), CREDHELPER_TIMEOUT_MS, &out, err);
	explicit_bzero(in.data, in.len);
	return rc;
}

int credhelper_erase(const char *name, const char *server, struct err *err)
{
	auto_buf struct buf out = BUF_INIT(CREDHELPER_OUTPUT_MAX);
	struct err why = ERR_INIT;
	int rc = credhelper_run(name, "erase", server, CREDHELPER_TIMEOUT_MS, &out, &why);

	if (rc < 0 && why.kind == ERR_NOT_FOUND)
		return 0;
	if (rc < 0 && err)
		*err = why;
	return rc;
}
