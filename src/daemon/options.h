/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* options - the command line of buoyd, as a table: --help and the man page are made from it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

struct err;

#define OPTIONS_HOSTS_MAX    8
#define OPTIONS_REGISTRY_MAX 32
#define OPTIONS_CERTS_MAX    8

struct options {
	const char *root, *run, *name, *listen_addr, *advertise_addr, *store, *net_name, *runtime;
	const char *store_ca, *store_cert, *store_key; /* files */
	int64_t store_compaction_ms;                   /* 0: the default */
	const char *hosts[OPTIONS_HOSTS_MAX + 1];      /* NULL-terminated */
	size_t host_count;
	const char *insecure_registries[OPTIONS_REGISTRY_MAX + 1];
	const char *registry_mirrors[OPTIONS_REGISTRY_MAX + 1];
	const char *registry_certs[OPTIONS_CERTS_MAX + 1];
	size_t mirror_count, certs_count;
	const char *layers; /* "mounted", "directories", or NULL: as this machine can */
	size_t registry_count;
	enum log_level log_level;
	bool help, version, userns_host;
};

/* Values are borrowed from argv. ERR_INVALID says what is wrong and what is allowed. */
int options_parse(int argc, char **argv, struct options *out, struct err *err);
void options_help(int fd);
void options_manpage(int fd); /* buoyd(8), in man(7) */
