/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * evict - makes room where we keep what upstreams have: what nobody asked for within upstream-keep goes, and beyond
 * upstream-max the blobs that nobody asked for longest. All of it can be had again.
 */

#include <stddef.h>

struct err;
struct registry;

/* On the caller's thread; *count gets how many files went. */
int evict(struct registry *r, size_t *count, struct err *err);
