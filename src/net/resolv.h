/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * resolv - /etc/resolv.conf: read the machine's, write a container's.
 */

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct err;

#define RESOLV_SERVER_MAX 3 /* as many as libc uses */
#define RESOLV_LIST_MAX   32

struct resolv {
	char servers[RESOLV_SERVER_MAX][46];
	size_t server_count;
	char search[1024]; /* separated by spaces */
	char options[256];
};

/* Lines that make no sense are skipped, as libc does. */
void resolv_parse(const char *text, struct resolv *out);
/* The machine's; no file is an empty one. */
int resolv_read_host(struct resolv *out, struct err *err);
bool resolv_is_loopback(const char *server);
/* Takes away servers that a container cannot reach: those on 127.0.0.0/8 and ::1. */
void resolv_drop_loopback(struct resolv *r);
int resolv_write(const struct resolv *r, struct buf *out, struct err *err);
/* Replaces a list by one from a user. ERR_INVALID: not an address, or too many. */
int resolv_set_servers(struct resolv *r, const char *const *servers, struct err *err);
int resolv_set_words(char *to, size_t size, const char *const *words, const char *what,
                     struct err *err);
