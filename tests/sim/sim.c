/* SPDX-License-Identifier: Apache-2.0 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* sim - see sim.h. `sim --seeds 1..200 --seconds 60`; a failing seed is printed with the command
 * that repeats it. --break NAME turns a defence off: then a seed must fail. */

#define STEP_MS   100
#define CALM_MS   60000 /* after the last fault everything must have come right by then */
#define CLIENT_MS 400
#define FAULT_MS  900

static const char *const break_names[SIM_BREAKS] = {
	[SIM_BREAK_NONE] = "none",     [SIM_BREAK_STORE] = "store",
	[SIM_BREAK_EPOCH] = "epoch",   [SIM_BREAK_FROM] = "from",
	[SIM_BREAK_ACK] = "ack",       [SIM_BREAK_SLOT] = "slot",
	[SIM_BREAK_STATES] = "states", [SIM_BREAK_GRACE] = "grace",
	[SIM_BREAK_INTENT] = "intent", [SIM_BREAK_HANDOVER] = "handover",
};

struct options {
	uint64_t first, last;
	int64_t faults_ms;
	enum sim_break broken;
	bool verbose;
};

/* ---- faults ---- */

static void break_node(struct world *w, size_t i)
{
	struct agent *a = &w->agents[i];

	if (!a->up) {
		world_log(w, "node%zu is back", i);
		a->up = true;
		return;
	}
	switch (world_random(w, 3)) {
	case 0:
		world_log(w, "node%zu crashes", i);
		agent_crash(w, i);
		break;
	case 1:
		world_log(w, "node%zu: its agent restarts", i);
		agent_restart(w, i);
		break;
	default:
		a->paused_until_ms = w->now_ms + 500 + (int64_t)world_random(w, 6000);
		world_log(w, "node%zu pauses until %lld", i, (long long)a->paused_until_ms);
	}
}

static void fault(struct world *w)
{
	uint64_t what = world_random(w, 10);

	if (what == 0) {
		leader_crash(w, world_chance(w, 50));
	} else if (what == 1 && w->leader.c && w->now_ms >= w->leader.paused_until_ms) {
		bool lasting = world_chance(w, 50); /* long enough for the leader to notice */
		int64_t pause_ms = lasting ? 2500 + (int64_t)world_random(w, 6000)
		                           : (int64_t)world_random(w, 1500);

		w->leader.paused_until_ms = w->now_ms + pause_ms;
		if (lasting)
			w->leader.opened_ms = w->leader.paused_until_ms;
		world_log(w, "leader pauses until %lld", (long long)w->leader.paused_until_ms);
	} else {
		break_node(w, world_random(w, w->nodes));
	}
}

static void heal(struct world *w)
{
	world_log(w, "faults end");
	w->calm = true;
	w->leader_back_ms = 0;
	for (size_t i = 0; i < w->nodes; i++) {
		w->agents[i].up = true;
		w->agents[i].paused_until_ms = 0;
	}
}

/* ---- running ---- */

static void again(struct world *w, struct event event, int64_t in_ms)
{
	event.at_ms = w->now_ms + in_ms;
	event.text = NULL;
	world_schedule(w, event);
}

static void handle(struct world *w, const struct event *event)
{
	switch (event->kind) {
	case EVENT_AGENT_STEP:
		agent_step(w, event->node);
		again(w, *event, STEP_MS + (int64_t)world_random(w, 10));
		break;
	case EVENT_LEADER_STEP:
		leader_step(w);
		again(w, *event, STEP_MS);
		break;
	case EVENT_CLIENT:
		if (w->calm)
			break;
		leader_client(w);
		again(w, *event, 1 + (int64_t)world_random(w, 2 * CLIENT_MS));
		break;
	case EVENT_FAULT:
		if (w->calm)
			break;
		fault(w);
		again(w, *event, 1 + (int64_t)world_random(w, 2 * FAULT_MS));
		break;
	case EVENT_TO_LEADER:
		leader_take(w, event->node, event->hello, event->text);
		break;
	case EVENT_TO_AGENT:
		agent_take(w, event->node, event->hello, event->text);
		break;
	}
}

static void run_until(struct world *w, int64_t end_ms)
{
	struct event event;

	while (w->queued > 0 && w->queue[0].at_ms <= end_ms && world_next(w, &event)) {
		/* Freed by hand: a failed check leaves by longjmp, and loses this one text. */
		handle(w, &event);
		free(event.text);
	}
}

static void begin(struct world *w)
{
	w->nodes = 3 + world_random(w, SIM_NODES - 2);
	leader_open(w);
	for (size_t i = 0; i < w->nodes; i++) {
		struct event event = {
			.at_ms = w->now_ms + (int64_t)i, .kind = EVENT_AGENT_STEP, .node = i};

		agent_init(w, i);
		if (control_node_add(w->leader.c, world_time(w), w->agents[i].id, "worker", "",
		                     NULL) < 0)
			world_fail(w, "cannot add a node");
		world_schedule(w, event);
	}
	world_schedule(w, (struct event){.at_ms = w->now_ms, .kind = EVENT_LEADER_STEP});
	world_schedule(w, (struct event){.at_ms = w->now_ms + 500, .kind = EVENT_CLIENT});
	world_schedule(w, (struct event){.at_ms = w->now_ms + 3000, .kind = EVENT_FAULT});
}

static void live(struct world *w, const struct options *options)
{
	begin(w);
	run_until(w, w->now_ms + options->faults_ms);
	heal(w);
	run_until(w, w->now_ms + 10000); /* a leader is there, agents have come back */
	leader_heal(w);
	run_until(w, w->now_ms + CALM_MS);
	check_end(w);
}

static bool run_seed(const struct options *options, uint64_t seed, struct world *total)
{
	struct world *w = calloc(1, sizeof(*w));
	volatile bool good = false;

	if (!w)
		return false;
	w->broken = options->broken;
	w->verbose = options->verbose;
	if (setjmp(w->failed) == 0) {
		world_init(w, seed);
		live(w, options);
		good = true;
	} else {
		printf("sim: seed %llu at %.3f s: %s\n", (unsigned long long)seed,
		       (double)w->now_ms / 1000, w->complaint);
	}
	total->messages += w->messages;
	total->steps += w->steps;
	total->deaths += w->deaths;
	total->elections += w->elections;
	total->writes += w->writes;
	total->now_ms += w->now_ms;
	check_done(w);
	world_done(w);
	free(w);
	return good;
}

/* ---- options ---- */

static bool parse_break(const char *name, enum sim_break *broken)
{
	for (size_t i = 0; i < SIM_BREAKS; i++)
		if (strcmp(break_names[i], name) == 0) {
			*broken = (enum sim_break)i;
			return true;
		}
	return false;
}

static bool parse(int argc, char **argv, struct options *options)
{
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (strcmp(argv[i], "--verbose") == 0) {
			options->verbose = true;
			continue;
		}
		i++;
		if (strcmp(argv[i - 1], "--seeds") == 0) {
			char *end;

			options->first = options->last = strtoull(value, &end, 10);
			if (strncmp(end, "..", 2) == 0)
				options->last = strtoull(end + 2, &end, 10);
			if (*end || end == value)
				return false;
		} else if (strcmp(argv[i - 1], "--seconds") == 0) {
			options->faults_ms = strtoll(value, NULL, 10) * 1000;
		} else if (strcmp(argv[i - 1], "--hours") == 0) {
			options->faults_ms = strtoll(value, NULL, 10) * 3600000;
		} else if (strcmp(argv[i - 1], "--break") != 0 ||
		           !parse_break(value, &options->broken)) {
			return false;
		}
	}
	return options->faults_ms > 0 && options->first <= options->last;
}

int main(int argc, char **argv)
{
	struct options options = {.first = 1, .last = 20, .faults_ms = 60000};
	struct world *total = calloc(1, sizeof(*total));

	if (!total || !parse(argc, argv, &options)) {
		fprintf(stderr, "usage: sim [--seeds A..B] [--seconds N | --hours N] "
		                "[--break store|epoch|from|ack|slot|states|grace|intent|handover] "
		                "[--verbose]\n");
		free(total);
		return 2;
	}
	for (uint64_t seed = options.first; seed <= options.last; seed++) {
		if (run_seed(&options, seed, total))
			continue;
		printf("sim: repeat with: sim --seeds %llu --seconds %lld --break %s --verbose\n",
		       (unsigned long long)seed, (long long)options.faults_ms / 1000,
		       break_names[options.broken]);
		free(total);
		return 1;
	}
	printf("sim: %llu seeds, %.1f hours: %llu steps, %llu messages, %llu writes, %llu leaders, "
	       "%llu nodes lost, nothing wrong\n",
	       (unsigned long long)(options.last - options.first + 1),
	       (double)total->now_ms / 3600000, (unsigned long long)total->steps,
	       (unsigned long long)total->messages, (unsigned long long)total->writes,
	       (unsigned long long)total->elections, (unsigned long long)total->deaths);
	free(total);
	return 0;
}
