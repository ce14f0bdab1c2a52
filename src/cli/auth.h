/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * auth - credentials of registries: $DOCKER_CONFIG/config.json or ~/.docker/config.json, key "auths", as
 * docker keeps them, so that a `docker login` counts here and the other way round. Credential helpers
 * are not asked.
 */

#include "cli/cli.h"

/* "X-Registry-Auth: ..." for an image's registry; "e30=" inside when there are no credentials. */
const char *auth_header(struct cli *cli, const char *image, struct err *err);
/* "X-Registry-Config: ..." with all of them, for builds. */
const char *auth_config_header(struct cli *cli, struct err *err);

/* Adds or (password NULL) removes a server's entry. ERR_NOT_FOUND: it was not there. */
int auth_store(const char *server, const char *user, const char *password, struct err *err);
