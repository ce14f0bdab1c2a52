/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * check - who looks for damage, and when: `buoy system check` (image_check() in image.h), and the first use of a layer after
 * the machine went down unexpectedly (boot.c). What is damaged and how it is mended: verify.h, mend.h.
 */

struct err;
struct image_store;

/* A layer in doubt is verified, once, and mended if need be; any other is let through at once. ERR_SYSTEM: it is
 * damaged and cannot be mended. To be called before its first use, if store->doubts. */
int layer_settle(struct image_store *store, const char *chain, struct err *err);
