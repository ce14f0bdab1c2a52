/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "cluster/store_driver.h"
#include "sim.h"

#define LOSS_PERCENT  5
#define TWICE_PERCENT 5
#define LATE_PERCENT  3

static uint64_t rotate(uint64_t x, int by)
{
	return (x << by) | (x >> (64 - by));
}

uint64_t world_random(struct world *w, uint64_t below)
{
	uint64_t a = w->random[0], b = w->random[1];
	uint64_t result = a + b;

	b ^= a;
	w->random[0] = rotate(a, 24) ^ b ^ (b << 16);
	w->random[1] = rotate(b, 37);
	return (result >> 16) % below;
}

bool world_chance(struct world *w, unsigned percent)
{
	return world_random(w, 100) < percent;
}

void world_init(struct world *w, uint64_t seed)
{
	w->random[0] = seed * 0x9e3779b97f4a7c15ULL + 1;
	w->random[1] = seed ^ 0xd1b54a32d192ed03ULL;
	for (int i = 0; i < 16; i++)
		world_random(w, 2);
	w->now_ms = 1000;
	w->disk = store_disk_create(NULL);
	if (w->broken == SIM_BREAK_STORE)
		store_disk_trust_all(w->disk);
	w->seen = map_create(NULL);
}

void world_done(struct world *w)
{
	control_free(w->leader.c);
	store_free(w->leader.store);
	control_free(w->zombie.c);
	store_free(w->zombie.store);
	for (size_t i = 0; i < w->queued; i++)
		free(w->queue[i].text);
	free(w->queue);
	store_disk_free(w->disk);
}

/* ---- the queue ---- */

static bool before(const struct event *a, const struct event *b)
{
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void swap(struct event *a, struct event *b)
{
	struct event kept = *a;

	*a = *b;
	*b = kept;
}

void world_schedule(struct world *w, struct event event)
{
	if (w->queued == w->queue_cap) {
		size_t cap = w->queue_cap ? w->queue_cap * 2 : 64;
		struct event *grown = reallocarray(w->queue, cap, sizeof(*grown));

		if (!grown)
			world_fail(w, "out of memory");
		w->queue = grown;
		w->queue_cap = cap;
	}
	event.order = w->next_order++;
	w->queue[w->queued] = event;
	for (size_t i = w->queued++; i > 0 && before(&w->queue[i], &w->queue[(i - 1) / 2]);
	     i = (i - 1) / 2)
		swap(&w->queue[i], &w->queue[(i - 1) / 2]);
}

bool world_next(struct world *w, struct event *event)
{
	if (w->queued == 0)
		return false;
	*event = w->queue[0];
	w->queue[0] = w->queue[--w->queued];
	for (size_t i = 0;;) {
		size_t least = i, left = 2 * i + 1, right = left + 1;

		if (left < w->queued && before(&w->queue[left], &w->queue[least]))
			least = left;
		if (right < w->queued && before(&w->queue[right], &w->queue[least]))
			least = right;
		if (least == i)
			break;
		swap(&w->queue[i], &w->queue[least]);
		i = least;
	}
	if (event->at_ms > w->now_ms)
		w->now_ms = event->at_ms;
	return true;
}

/* ---- the network ---- */

static int64_t delay(struct world *w)
{
	if (!w->calm && world_chance(w, LATE_PERCENT))
		return 200 + (int64_t)world_random(w, 4000);
	return 1 + (int64_t)world_random(w, 20);
}

void world_send(struct world *w, enum event_kind kind, size_t node, bool flag, char *text)
{
	struct event event = {.kind = kind, .node = node, .hello = flag, .text = text};

	w->messages++;
	if (!w->calm && world_chance(w, LOSS_PERCENT)) {
		free(text);
		return;
	}
	event.at_ms = w->now_ms + delay(w);
	world_schedule(w, event);
	if (!w->calm && world_chance(w, TWICE_PERCENT)) {
		event.at_ms = w->now_ms + delay(w);
		event.text = strdup(text);
		world_schedule(w, event);
	}
}

/* ---- the rest ---- */

struct control_time world_time(const struct world *w)
{
	return (struct control_time){.mono_ms = w->now_ms,
	                             .wall_ns = (1700000000000 + w->now_ms) * 1000000};
}

void world_fail(struct world *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->complaint, sizeof(w->complaint), fmt, ap);
	va_end(ap);
	longjmp(w->failed, 1);
}

void world_log(const struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (!w->verbose)
		return;
	printf("%8.3f ", (double)w->now_ms / 1000);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}
