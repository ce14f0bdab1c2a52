/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/spec.h"

static const char *find_path(const struct json_strings *env)
{
	for (size_t i = env->items ? env->count : 0; i > 0; i--)
		if (str_starts(env->items[i - 1], "PATH="))
			return env->items[i - 1] + 5;
	return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

static int failed(const char *name, int number, struct err *err)
{
	struct stat st;

	errno = number;
	if (number == EACCES && stat(name, &st) == 0 && S_ISDIR(st.st_mode))
		return err_set(err, ERR_DENIED, "exec: \"%s\": is a directory", name);
	if (number == EPERM)
		return err_set(
			err, ERR_DENIED,
			"exec: \"%s\": permission denied: perhaps it has file capabilities (see "
			"getcap) that the container has not (--cap-add)",
			name);
	if (number == EACCES)
		return err_set(err, ERR_DENIED, "exec: \"%s\": permission denied", name);
	if (number == ENOENT || number == ENOTDIR)
		return err_set(err, ERR_NOT_FOUND,
		               "exec: \"%s\": stat %s: no such file or directory", name, name);
	return err_sys(err, "exec: \"%s\"", name);
}

/* What is done with each candidate; returns only if it was not the right one, with errno. */
struct attempt {
	char *const *argv, *const *envp;
	bool only_check;
};

/* 0: it could be executed (only_check). -1 with errno. */
static int try_one(const struct attempt *a, const char *path)
{
	struct stat st;

	if (!a->only_check)
		return execve(path, a->argv, a->envp);
	if (stat(path, &st) < 0 || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
		return -1;
	if (S_ISREG(st.st_mode))
		return 0;
	errno = EACCES;
	return -1;
}

static int search(const char *name, const struct attempt *a, const char *path, struct err *err)
{
	bool denied = false;

	for (const char *dir = path; *dir;) {
		char full[PATH_MAX];
		size_t len = strcspn(dir, ":");
		int n = snprintf(full, sizeof(full), "%.*s%s%s", (int)len, dir, len ? "/" : "./",
		                 name);

		errno = ENAMETOOLONG;
		if (n < (int)sizeof(full) && try_one(a, full) == 0)
			return 0;
		if (errno == EACCES)
			denied = true;
		else if (errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG)
			return failed(name, errno, err);
		dir += len + (dir[len] == ':');
	}
	if (denied)
		return err_set(err, ERR_DENIED, "exec: \"%s\": permission denied", name);
	return err_set(err, ERR_NOT_FOUND, "exec: \"%s\": executable file not found in $PATH",
	               name);
}

static int attempt(const struct oci_process *process, bool only_check, struct err *err)
{
	char *const none[] = {NULL};
	const struct attempt a = {.argv = process->args.items,
	                          .envp = process->env.items ? process->env.items : none,
	                          .only_check = only_check};
	const char *name = a.argv[0];

	if (!strchr(name, '/'))
		return search(name, &a, find_path(&process->env), err);
	return try_one(&a, name) == 0 ? 0 : failed(name, errno, err);
}

int program_check(const struct oci_process *process, struct err *err)
{
	return attempt(process, true, err);
}

int program_exec(const struct oci_process *process, struct err *err)
{
	return attempt(process, false, err);
}

int program_exit_status(const struct err *err)
{
	return err->kind == ERR_NOT_FOUND ? 127 : 126;
}
