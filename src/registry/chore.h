/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * chore - work that goes on in the background, on a thread of its own, and ends when it is told to.
 *
 *	static void run(void *arg, struct chore *chore)
 *	{
 *		while (chore_wait(chore, clock_mono_ms() + EVERY_MS))
 *			look_around(arg);
 *	}
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

struct chore;
struct err;

/* Starts the thread, which ends when run() returns. arg is borrowed. */
struct chore *chore_start(void (*run)(void *arg, struct chore *chore), void *arg, struct err *err);
/* For run(): sleeps until that moment of CLOCK_MONOTONIC. False, at once: it is time to return. */
bool chore_wait(struct chore *chore, int64_t mono_ms);
/* Tells the thread to end and waits for it; accepts NULL. */
void chore_free(struct chore *chore);
DEFINE_AUTO(chore)
