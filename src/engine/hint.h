/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * hint - what a user will wonder about later, said when the container is made.
 *
 * no_new_privs is on by default and makes set-user-ID bits and file capabilities void: a program that lives by them
 * (sudo, su, an old ping) then fails with words of its own, which seldom say why. Where such a program is what a user other
 * than root is to run, a sentence says so. What a shell starts later cannot be seen; docs/design/011-defaults.md
 * names it. Looks into the root file system for users other than root only, so the usual create costs nothing.
 */

struct engine;
struct err;
struct json;
struct json_strings;

/* Sentences for the "Warnings" of a container just made, and of an exec; the caller owns the array. What cannot be looked
 * at gives no hint. */
struct json *hint_container(struct engine *engine, const char *ref);
struct json *hint_exec(struct engine *engine, const char *ref, const char *user,
                       const struct json_strings *command);
