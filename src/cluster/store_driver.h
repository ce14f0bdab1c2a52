/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * store_driver - what a driver of store.h provides. Used by the drivers, and by tests that put
 * faults between a store and its disk; nobody else.
 */

#include "cluster/store.h"

struct store_op {
	struct store_op *next;
	enum store_kind kind;
	bool remove;
	int64_t expected;
	char *id;   /* owned */
	char *text; /* owned; NULL when removing */
	size_t len;
	char *spare; /* owned; the driver's to use */
};

struct store_visitor {
	int (*fn)(void *arg, const struct store_object *object, struct err *err);
	void *arg;
};

struct store_driver {
	/* 1: visited, 0: no such object, -1. */
	int (*get)(void *state, enum store_kind kind, const char *id,
	           const struct store_visitor *visitor, struct err *err);
	int (*list)(void *state, enum store_kind kind, const struct store_visitor *visitor,
	            struct err *err);
	/* All of it or nothing, if `epoch` is still the newest. The new revision. May take the ops'
	 * texts. */
	int64_t (*commit)(void *state, int64_t epoch, struct store_op *ops, struct err *err);
	/* The newest revision, whoever wrote it. */
	int (*revision)(void *state, int64_t *revision, struct err *err);
	void (*close)(void *state);
};

/* Takes ownership of state, also on failure. */
struct store *store_create(const struct store_driver *driver, void *state, int64_t epoch,
                           int64_t revision, struct err *err);

/* The refusals, in one wording. */
int store_check_epoch(int64_t ours, int64_t newest, struct err *err);
int store_check_version(const struct store_op *op, int64_t found, struct err *err);

/* Faults a test may put into a memory disk. Never set outside tests. */
enum store_fault {
	STORE_FAULT_NONE,
	STORE_FAULT_BEFORE, /* the next commit fails and writes nothing */
	STORE_FAULT_AFTER,  /* the next commit is written, and its answer is lost */
	STORE_FAULT_AWAY,   /* from now on no question arrives */
	STORE_FAULT_DEAF,   /* from now on no answer does: commits are written */
};

void store_disk_fail_next(struct store_disk *disk, enum store_fault fault);
/* Compare neither epochs nor versions: the defence off, so that a test can see that it matters. */
void store_disk_trust_all(struct store_disk *disk);

/* As in etcd: who may commit is decided elsewhere (0: nobody), and a handle is opened under the epoch that was
 * given there. */
void store_disk_set_epoch(struct store_disk *disk, int64_t epoch);
struct store *store_memory_open_as(struct store_disk *disk, int64_t epoch, struct err *err);
