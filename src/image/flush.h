/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * flush - makes files durable while they are still being written, on a thread of its own.
 *
 *	auto_type(flush) f = flush_create(err);
 *	flush_add(f, fd);                // borrowed until flush_free()
 *	flush_poke(f);                   // "there is more": the thread runs fdatasync(2)
 *	flush_end(f);                    // all is written; does not wait
 *	flush_finish(f, err);            // waits: everything is on the disk
 *
 * What is written early need not be waited for at the end, and the last sync of one layer passes while the next is
 * fetched. It waits for these files alone, not for what others write, as syncfs(2) does. The first failure of the
 * disk is kept and said by flush_finish(): the kernel tells it only once.
 */

#include "base/cleanup.h"

struct err;
struct flush;

#define FLUSH_FILES 8

struct flush *flush_create(struct err *err);
void flush_free(struct flush *f); /* gives up what is not done */
DEFINE_AUTO(flush)
/* Files and directories; at most FLUSH_FILES. Before flush_end(). */
void flush_add(struct flush *f, int fd);
void flush_poke(struct flush *f);
void flush_end(struct flush *f);
/* After flush_end(). May be called again. ERR_LIMIT (no space), ERR_SYSTEM. */
int flush_finish(struct flush *f, struct err *err);
