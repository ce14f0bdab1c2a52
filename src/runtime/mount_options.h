/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * mount_options - the words of a mount's "options" as what the kernel wants.
 *
 * Words are those of mount(8) and of config.md ("rro" and kin are recursive). What is
 * not such a word is data for the file system ("size=64m"); a bind mount or a cgroup
 * mount has none, so there an unknown word is an error.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct err;
struct fs_mount_option;
struct json_strings;

#define MOUNT_PROPAGATION_MAX 4

struct mount_plan {
	bool bind, recursive;
	bool remount;                  /* change what is mounted there already */
	bool idmap, idmap_recursive;   /* "idmap", "ridmap" */
	bool copy_up;                  /* "tmpcopyup": tmpfs starts as a copy of what it hides */
	uint64_t attr_set, attr_clear; /* MOUNT_ATTR_*, this mount alone */
	uint64_t rec_set, rec_clear;   /* this mount and those below */
	unsigned long propagation[MOUNT_PROPAGATION_MAX]; /* MS_*, MS_REC where asked; in order */
	size_t propagation_count;
	struct fs_mount_option *data; /* for fsconfig(2) */
	size_t data_count;
};

/* type: the mount's; NULL or "bind" or "none" with a bind word is a bind mount. ERR_INVALID
 * names the word. The result is in the arena. */
struct mount_plan *mount_options_parse(const struct json_strings *options, const char *type,
                                       struct arena *arena, struct err *err);

/* "rslave" -> MS_SLAVE | MS_REC; 0 if it is not such a word. */
unsigned long mount_options_propagation(const char *name);

/* The words known, NULL at the end, for `features`. Index counts up from 0. */
const char *mount_options_word(size_t index);
