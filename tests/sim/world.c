/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"
#include "cluster/store_driver.h"
#include "sim.h"

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
	w->loss_percent = world_chance(w, 60) ? 5 : 25;
	w->slow_percent = world_chance(w, 60) ? 10 : 80;
	w->pause_ms = world_chance(w, 60) ? 6500 : 13000;
	w->now_ms = 1000;
	w->disk = store_disk_create(NULL);
	if (w->broken == SIM_BREAK_STORE)
		store_disk_trust_all(w->disk);
	w->seen = map_create(NULL);
}

void world_done(struct world *w)
{
	for (size_t i = 0; i < SIM_MASTERS; i++)
		master_free(&w->masters[i]);
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

bool world_is_cut(const struct world *w, size_t from, size_t to)
{
	return w->now_ms < w->cut_until_ms[from][to];
}

static bool is_lost(struct world *w, const struct event *event)
{
	size_t master = event->master, node = PLACE_NODE(event->node);
	bool cut;

	if (event->kind == EVENT_TO_MASTER)
		cut = world_is_cut(w, node, master);
	else if (event->kind == EVENT_TO_AGENT)
		cut = world_is_cut(w, master, node);
	else if (event->kind == EVENT_TO_ETCD)
		cut = world_is_cut(w, master, PLACE_ETCD);
	else
		cut = world_is_cut(w, PLACE_ETCD, master);
	return cut || (!w->calm && world_chance(w, w->loss_percent));
}

void world_send(struct world *w, struct event event)
{
	w->counts.messages++;
	if (is_lost(w, &event)) {
		free(event.text);
		return;
	}
	event.at_ms = w->now_ms + delay(w);
	world_schedule(w, event);
	if (!w->calm && world_chance(w, TWICE_PERCENT)) {
		event.at_ms = w->now_ms + delay(w);
		event.text = event.text ? strdup(event.text) : NULL;
		world_schedule(w, event);
	}
}

/* ---- the rest ---- */

void world_fail(struct world *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->complaint, sizeof(w->complaint), fmt, ap);
	va_end(ap);
	longjmp(w->failed, 1);
}

void world_log(struct world *w, const char *fmt, ...)
{
	char *line = w->story[w->told++ % SIM_STORY];
	const size_t size = sizeof(w->story[0]);
	va_list ap;

	int at = snprintf(line, size, "%8.3f ", (double)w->now_ms / 1000);
	va_start(ap, fmt);
	vsnprintf(line + at, size - (size_t)at, fmt, ap);
	va_end(ap);
	if (w->verbose)
		puts(line);
}

void world_tell(const struct world *w)
{
	uint64_t first = w->told > SIM_STORY ? w->told - SIM_STORY : 0;

	for (uint64_t i = first; i < w->told && !w->verbose; i++)
		puts(w->story[i % SIM_STORY]);
}
