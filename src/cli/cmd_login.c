/* SPDX-License-Identifier: Apache-2.0 */
/* login, logout: credentials of registries. */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/auth.h"
#include "cli/commands.h"
#include "cli/terminal.h"

#define SECRET_MAX (16u << 10)
#define HUB        "docker.io"

static int read_password(const struct args *args, struct buf *out, struct err *err)
{
	if (args_has(args, "password")) {
		fprintf(stderr, "WARNING! Using --password via the CLI is insecure. "
		                "Use --password-stdin.\n");
		buf_add(out, args_string(args, "password"));
	} else if (args_bool(args, "password-stdin")) {
		if (fs_read_fd(STDIN_FILENO, SECRET_MAX, out, err) < 0)
			return -1;
		while (out->len > 0 && strchr("\r\n", out->data[out->len - 1]))
			out->data[--out->len] = '\0';
	} else if (!isatty(STDIN_FILENO)) {
		return err_set(err, ERR_INVALID,
		               "standard input is no terminal: use --password-stdin");
	} else if (terminal_ask("Password: ", true, out, err) < 0) {
		return -1;
	}
	if (out->len == 0)
		return err_set(err, ERR_INVALID, "the password is empty");
	return buf_check(out, err);
}

/* Asks the registry; *answer is what it said. `doc` is taken. */
static int check_login(struct cli *cli, const char *server, struct json *doc, struct json **answer,
                       struct err *err)
{
	const char *path = api_path(cli, "/auth", NULL, NULL, err);

	if (!path) {
		json_free(doc);
		return -1;
	}
	json_set(doc, "serveraddress", json_string(server));
	return api_send(cli, "POST", path, doc, answer, err);
}

/* 1: what is kept for the server still opens it; 0: it does not, or there is nothing. */
static int try_kept(struct cli *cli, const char *server, struct err *err)
{
	struct json *kept = NULL, *answer = NULL;
	struct err why = ERR_INIT;

	if (auth_find(cli, server, &kept, err) < 0)
		return -1;
	if (json_count(kept) == 0) {
		json_free(kept);
		return 0;
	}
	printf("Authenticating with existing credentials...\n");
	int rc = check_login(cli, server, kept, &answer, &why);
	if (rc < 0)
		printf("Login did not succeed: %s\n", why.msg);
	else
		printf("Login Succeeded\n");
	json_free(answer);
	return rc == 0;
}

static int keep(struct cli *cli, const char *server, const struct auth_login *login,
                struct err *err)
{
	bool in_file = false;

	if (auth_store(server, login, &in_file, err) < 0)
		return err_wrap(err, "the login succeeded, but cannot be kept");
	const char *file = in_file ? auth_file(cli, err) : NULL;
	if (file)
		fprintf(stderr,
		        "WARNING! Your password is stored unencrypted in %s.\n"
		        "Name a credential helper there (\"credsStore\") to keep it elsewhere.\n",
		        file);
	return 0;
}

static int ask_login(struct cli *cli, const char *server, const struct args *args, struct err *err)
{
	auto_buf struct buf user = BUF_INIT(SECRET_MAX);
	auto_buf struct buf password = BUF_INIT(SECRET_MAX);
	struct json *doc, *answer = NULL;

	if (args_has(args, "username"))
		buf_add(&user, args_string(args, "username"));
	else if (terminal_ask("Username: ", false, &user, err) < 0)
		return -1;
	if (user.len == 0)
		return err_set(err, ERR_INVALID, "the user name is empty");
	if (read_password(args, &password, err) < 0)
		return -1;
	doc = json_object();
	json_set(doc, "username", json_string(buf_str(&user)));
	json_set(doc, "password", json_string(buf_str(&password)));
	if (check_login(cli, server, doc, &answer, err) < 0)
		return err_wrap(err, "login to %s", server);
	const char *status = json_get_string(answer, "Status");
	printf("%s\n", status ? status : "Login Succeeded");
	const struct auth_login login = {buf_str(&user), buf_str(&password),
	                                 json_get_string(answer, "IdentityToken")};
	int rc = keep(cli, server, &login, err);
	json_free(answer);
	explicit_bzero(password.data, password.len);
	return rc;
}

static int run_login(struct cli *cli, const struct args *args, struct err *err)
{
	const char *server = args->count ? args->words[0] : HUB;
	bool from_stdin = args_bool(args, "password-stdin");

	if (from_stdin && args_has(args, "password"))
		return err_set(
			err, ERR_INVALID,
			"conflicting options: cannot specify both --password and --password-stdin");
	if (from_stdin && !args_has(args, "username"))
		return err_set(err, ERR_INVALID, "--password-stdin needs --username");
	if (!args_has(args, "username") && !args_has(args, "password")) {
		int kept = try_kept(cli, server, err);
		if (kept != 0)
			return kept < 0 ? -1 : 0;
	}
	return ask_login(cli, server, args, err);
}

static int run_logout(struct cli *cli, const struct args *args, struct err *err)
{
	const char *server = args->count ? args->words[0] : HUB;

	(void)cli;
	if (auth_forget(server, err) < 0)
		return -1;
	printf("Removing login credentials for %s\n", server);
	return 0;
}

static const struct flag login_flags[] = {
	{"password", 'p', FLAG_STRING, "PASSWORD",
         "Seen by others on this machine: rather use the next"},
	{"password-stdin", 0, FLAG_BOOL, NULL, "Read the password from standard input"},
	{"username", 'u', FLAG_STRING, "NAME", "Name of the user"},
	{NULL},
};
static const struct flag none[] = {{NULL}};

const struct command command_login[] = {
	{.name = "login",
         .synopsis = "[OPTIONS] [SERVER]",
         .summary = "Check and keep credentials of a registry",
         .flags = login_flags,
         .max = 1,
         .run = run_login},
	{.name = "logout",
         .synopsis = "[SERVER]",
         .summary = "Forget credentials of a registry",
         .flags = none,
         .max = 1,
         .run = run_logout},
	{.name = NULL},
};
