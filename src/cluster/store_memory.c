/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cluster/store_driver.h"

/* store_memory - objects in sorted arrays; for tests and the simulator. See store.h. */

struct entry {
	char *id;   /* owned */
	char *text; /* owned */
	size_t len;
	int64_t version;
};

struct shelf {
	struct entry *entries; /* owned; by id */
	size_t count, cap;
};

struct store_disk {
	int64_t epoch;
	int64_t revision;
	struct shelf shelves[STORE_KINDS];
	enum store_fault fault;
	bool trusting;
};

struct store_disk *store_disk_create(struct err *err)
{
	struct store_disk *disk = calloc(1, sizeof(*disk));

	if (!disk)
		err_nomem(err);
	return disk;
}

void store_disk_free(struct store_disk *disk)
{
	if (!disk)
		return;
	for (size_t k = 0; k < STORE_KINDS; k++) {
		struct shelf *shelf = &disk->shelves[k];

		for (size_t i = 0; i < shelf->count; i++) {
			free(shelf->entries[i].id);
			free(shelf->entries[i].text);
		}
		free(shelf->entries);
	}
	free(disk);
}

/* Where id is, or would be. */
static size_t position(const struct shelf *shelf, const char *id, bool *found)
{
	size_t low = 0, high = shelf->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(shelf->entries[middle].id, id);

		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*found = false;
	return low;
}

static int visit(const struct entry *e, enum store_kind kind, const struct store_visitor *visitor,
                 struct err *err)
{
	struct store_object object = {
		.kind = kind, .id = e->id, .version = e->version, .text = e->text, .len = e->len};

	return visitor->fn(visitor->arg, &object, err);
}

/* Nobody answers: such a fault lasts until another is set. */
static bool is_cut(const struct store_disk *disk)
{
	return disk->fault == STORE_FAULT_AWAY || disk->fault == STORE_FAULT_DEAF;
}

static int no_answer(struct err *err)
{
	return err_set(err, ERR_TIMEOUT, "the store does not answer");
}

static int memory_get(void *state, enum store_kind kind, const char *id,
                      const struct store_visitor *visitor, struct err *err)
{
	struct store_disk *disk = state;
	bool found;

	if (is_cut(disk))
		return no_answer(err);
	size_t at = position(&disk->shelves[kind], id, &found);

	if (!found)
		return 0;
	return visit(&disk->shelves[kind].entries[at], kind, visitor, err) < 0 ? -1 : 1;
}

static int memory_list(void *state, enum store_kind kind, const struct store_visitor *visitor,
                       struct err *err)
{
	struct store_disk *disk = state;
	const struct shelf *shelf = &disk->shelves[kind];

	if (is_cut(disk))
		return no_answer(err);
	for (size_t i = 0; i < shelf->count; i++)
		if (visit(&shelf->entries[i], kind, visitor, err) < 0)
			return -1;
	return 0;
}

static int check(struct store_disk *disk, const struct store_op *ops, struct err *err)
{
	for (const struct store_op *op = ops; op; op = op->next) {
		const struct shelf *shelf = &disk->shelves[op->kind];
		bool found;
		size_t at = position(shelf, op->id, &found);

		if (store_check_version(op, found ? shelf->entries[at].version : 0, err) < 0)
			return -1;
	}
	return 0;
}

/* Room for one more on every shelf that the transaction adds to, so that applying it cannot fail
 * half-way. */
static int reserve(struct store_disk *disk, struct store_op *ops, struct err *err)
{
	size_t more[STORE_KINDS] = {0};

	for (struct store_op *op = ops; op; op = op->next) {
		more[op->kind]++;
		op->spare = strdup(op->id);
		if (!op->spare)
			return err_nomem(err);
	}
	for (size_t k = 0; k < STORE_KINDS; k++) {
		struct shelf *shelf = &disk->shelves[k];
		size_t wanted = shelf->count + more[k];

		if (wanted <= shelf->cap)
			continue;
		size_t cap = wanted * 2;
		struct entry *grown = reallocarray(shelf->entries, cap, sizeof(*grown));
		if (!grown)
			return err_nomem(err);
		shelf->entries = grown;
		shelf->cap = cap;
	}
	return 0;
}

static void apply_remove(struct shelf *shelf, size_t at)
{
	free(shelf->entries[at].id);
	free(shelf->entries[at].text);
	shelf->count--;
	memmove(&shelf->entries[at], &shelf->entries[at + 1],
	        (shelf->count - at) * sizeof(*shelf->entries));
}

/* Takes the texts out of the operations: they are owned by the transaction, which is spent. */
static void apply(struct store_disk *disk, struct store_op *op)
{
	struct shelf *shelf = &disk->shelves[op->kind];
	bool found;
	size_t at = position(shelf, op->id, &found);

	if (op->remove) {
		if (found)
			apply_remove(shelf, at);
		return;
	}
	if (found) {
		free(shelf->entries[at].text);
	} else {
		memmove(&shelf->entries[at + 1], &shelf->entries[at],
		        (shelf->count - at) * sizeof(*shelf->entries));
		shelf->count++;
		shelf->entries[at] = (struct entry){.id = move_ptr(op->spare)};
	}
	struct entry *e = &shelf->entries[at];
	e->text = move_ptr(op->text);
	e->len = op->len;
	e->version = disk->revision;
}

static int64_t memory_commit(void *state, int64_t epoch, struct store_op *ops, struct err *err)
{
	struct store_disk *disk = state;
	enum store_fault fault = disk->fault;

	if (fault == STORE_FAULT_AWAY)
		return no_answer(err);
	if (!is_cut(disk))
		disk->fault = STORE_FAULT_NONE;
	if (fault == STORE_FAULT_BEFORE)
		return err_set(err, ERR_SYSTEM, "the disk failed");
	if (!disk->trusting &&
	    (store_check_epoch(epoch, disk->epoch, err) < 0 || check(disk, ops, err) < 0))
		return -1;
	if (reserve(disk, ops, err) < 0)
		return -1;
	disk->revision++;
	for (struct store_op *op = ops; op; op = op->next)
		apply(disk, op);
	if (fault == STORE_FAULT_AFTER)
		return err_set(err, ERR_SYSTEM, "the disk's answer was lost");
	if (fault == STORE_FAULT_DEAF)
		return no_answer(err);
	return disk->revision;
}

static int memory_revision(void *state, int64_t *revision, struct err *err)
{
	if (is_cut(state))
		return no_answer(err);
	*revision = ((struct store_disk *)state)->revision;
	return 0;
}

static void memory_close(void *state)
{
	(void)state; /* the disk is its maker's */
}

static const struct store_driver memory_driver = {
	.get = memory_get,
	.list = memory_list,
	.commit = memory_commit,
	.revision = memory_revision,
	.close = memory_close,
};

struct store *store_memory_open(struct store_disk *disk, struct err *err)
{
	disk->epoch++;
	return store_memory_open_as(disk, disk->epoch, err);
}

struct store *store_memory_open_as(struct store_disk *disk, int64_t epoch, struct err *err)
{
	return store_create(&memory_driver, disk, epoch, disk->revision, err);
}

void store_disk_set_epoch(struct store_disk *disk, int64_t epoch)
{
	disk->epoch = epoch;
}

void store_disk_fail_next(struct store_disk *disk, enum store_fault fault)
{
	disk->fault = fault;
}

void store_disk_trust_all(struct store_disk *disk)
{
	disk->trusting = true;
}
