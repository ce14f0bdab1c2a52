/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * house - what the registry does by itself, on one thread in the background: it ends uploads that nobody goes
 * on with, and collects content that nothing refers to.
 *
 * Collecting happens beside pushes and pulls. A blob is dropped from its repository when no manifest of the
 * repository refers to it and its lease (the file's ctime) is older than gc-grace; a file of the pool when no
 * repository links to it, likewise. The repository is held from the last look at its manifests until the blobs
 * are gone, so a manifest that is pushed meanwhile either counts or finds its blobs missing and says so.
 */

#include <stddef.h>

#include "registry/chore.h"

struct err;
struct registry;

/* Starts the thread; chore_free() ends it. `registry` is borrowed. */
struct chore *house_start(struct registry *registry, struct err *err);

struct house_swept {
	size_t links, files; /* taken from repositories, and from the pool */
};
/* One round over everything, on the caller's thread. What is damaged is logged and left alone. */
int house_collect(struct registry *registry, struct house_swept *swept, struct err *err);
