/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * auth - credentials of registries: $DOCKER_CONFIG/config.json or ~/.docker/config.json, as docker keeps them, so that
 * a `docker login` counts here and the other way round. Who keeps a registry's password is said there too: the
 * program that "credHelpers" names for it, else the one of "credsStore" (credhelper.h), else the file itself
 * under "auths". Keys that we do not know stay as they are.
 *
 * Reading goes on without credentials, with a warning, when a helper fails; writing does not.
 */

#include "cli/cli.h"

/* "X-Registry-Auth: ..." for an image's registry; "e30" (= {}) inside when there are no credentials. */
const char *auth_header(struct cli *cli, const char *image, struct err *err);
/* "X-Registry-Config: ..." with all of them, for builds. */
const char *auth_config_header(struct cli *cli, struct err *err);

struct json;
/* What is kept for a server, as docker's API has it; {} when there is nothing. The caller owns *out. */
int auth_find(struct cli *cli, const char *server, struct json **out, struct err *err);

struct auth_login {
	const char *user;
	const char *password;
	const char *identity_token; /* kept instead of the password; or NULL */
};

/* Keeps a login. *in_file: it lies in config.json, where whoever can read the file can read it. */
int auth_store(const char *server, const struct auth_login *login, bool *in_file, struct err *err);
/* ERR_NOT_FOUND: there was none. */
int auth_forget(const char *server, struct err *err);
/* The file's path, for messages; in the arena. */
const char *auth_file(struct cli *cli, struct err *err);
