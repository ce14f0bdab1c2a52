/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * settings - what the registry is told: by its configuration file and by its command line, which know the
 * same keys. The table of keys in settings.c is all there is: --help, the man page and the checks
 * are made from it.
 *
 * The file has a line "key = value" each, "#" before comments; keys of type "list" may be repeated. The
 * command line ("--key value") goes before the file.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

struct err;

#define SETTINGS_LIST_MAX 256

struct settings_list {
	const char *items[SETTINGS_LIST_MAX];
	size_t count;
};

struct settings {
	struct arena arena; /* holds the texts */

	const char *root, *listen, *config, *log_level;
	bool read_only, check_references;
	int64_t blob_max, manifest_max;            /* bytes */
	int64_t uploads_max, upload_expiry_s;      /* sessions; seconds */
	const char *htpasswd, *tls_cert, *tls_key; /* paths */
	struct settings_list rules;
	bool token_serve;
	const char *token_realm, *token_service, *token_issuer, *token_certs, *token_jwks;
	struct settings_list quotas, webhooks;
	struct settings_list upstreams;
	const char *upstream_ca;
	int64_t upstream_ttl_s, upstream_keep_s, upstream_max;
	int64_t scrub_interval_s, scrub_rate;
	int64_t gc_interval_s, gc_grace_s;
	int64_t repositories_max, tags_max, connections_max;
};

/* Defaults, then the file, then the command line; checks every value. *action: what else was asked for. ERR_INVALID
 * names the key (and the line) and says what is allowed. */
enum settings_action {
	SETTINGS_RUN,
	SETTINGS_HELP,
	SETTINGS_VERSION,
	SETTINGS_MANPAGE,
	SETTINGS_COMPLETION,
};
int settings_parse(int argc, char **argv, struct settings *out, enum settings_action *action,
                   struct err *err);
void settings_done(struct settings *s);

/* One text of a configuration file; `where` names it in errors. */
int settings_parse_text(char *text, const char *where, struct settings *out, struct err *err);

void settings_help(int fd);
void settings_completion(int fd); /* for bash */
void settings_manpage(int fd);    /* buoy-registry(8), in man(7) */
