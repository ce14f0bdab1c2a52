/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/program.h"

#include <errno.h>
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
	for (size_t i = env->count; i > 0; i--)
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
	if (number == EACCES || number == EPERM)
		return err_set(err, ERR_DENIED, "exec: \"%s\": permission denied", name);
	if (number == ENOENT || number == ENOTDIR)
		return err_set(err, ERR_NOT_FOUND,
		               "exec: \"%s\": stat %s: no such file or directory", name, name);
	return err_sys(err, "exec: \"%s\"", name);
}

static int search(const char *name, char *const *argv, char *const *envp, const char *path,
                  struct err *err)
{
	bool denied = false;

	for (const char *dir = path; *dir;) {
		char full[PATH_MAX];
		size_t len = strcspn(dir, ":");
		int n = snprintf(full, sizeof(full), "%.*s%s%s", (int)len, dir, len ? "/" : "./",
		                 name);

		if (n < (int)sizeof(full))
			execve(full, argv, envp);
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

int program_exec(const struct oci_process *process, struct err *err)
{
	char *const none[] = {NULL};
	char *const *argv = process->args.items;
	char *const *envp = process->env.items ? process->env.items : none;

	if (!strchr(argv[0], '/'))
		return search(argv[0], argv, envp, find_path(&process->env), err);
	execve(argv[0], argv, envp);
	return failed(argv[0], errno, err);
}

int program_exit_status(const struct err *err)
{
	return err->kind == ERR_NOT_FOUND ? 127 : 126;
}
