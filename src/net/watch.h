/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * watch - notices when somebody takes our nft table away ("nft flush ruleset", a firewall that reloads).
 *
 * Published ports and the walls between networks are only as good as the table, so it is put back at
 * once. One thread that sleeps until the kernel tells of a change.
 */

#include "base/cleanup.h"

struct err;
struct watch;

/* Calls fn(arg) on the watcher's thread whenever a table of that name was deleted; by us, too. */
struct watch *watch_start(const char *table, void (*fn)(void *arg), void *arg, struct err *err);
void watch_free(struct watch *watch); /* waits for a running fn; accepts NULL */
DEFINE_AUTO(watch)
