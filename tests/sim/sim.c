/* SPDX-License-Identifier: Apache-2.0 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* sim - see sim.h. `sim --seeds 1..200 --seconds 60 --jobs 2`; a failing seed is printed with its story's end and
 * the command that repeats it. --break NAME turns a defence off: then a seed must fail. */

static const char *const break_names[SIM_BREAKS] = {
	[SIM_BREAK_NONE] = "none",     [SIM_BREAK_STORE] = "store",
	[SIM_BREAK_EPOCH] = "epoch",   [SIM_BREAK_FROM] = "from",
	[SIM_BREAK_ACK] = "ack",       [SIM_BREAK_SLOT] = "slot",
	[SIM_BREAK_STATES] = "states", [SIM_BREAK_GRACE] = "grace",
	[SIM_BREAK_INTENT] = "intent", [SIM_BREAK_HANDOVER] = "handover",
	[SIM_BREAK_EMPTY] = "empty",   [SIM_BREAK_DURABLE] = "durable",
	[SIM_BREAK_LEASE] = "lease",   [SIM_BREAK_EARLY] = "early",
	[SIM_BREAK_NONCE] = "nonce",
};

struct options {
	uint64_t first, last, jobs;
	int64_t faults_ms;
	enum sim_break broken;
	bool verbose;
};

static void add(struct world_counts *total, const struct world_counts *more)
{
	uint64_t *to = (uint64_t *)total;
	const uint64_t *from = (const uint64_t *)more;

	for (size_t i = 0; i < sizeof(*total) / sizeof(*to); i++)
		to[i] += from[i];
}

static bool run_seed(const struct options *options, uint64_t seed, struct world_counts *total)
{
	struct world *w = calloc(1, sizeof(*w));
	volatile bool good = false;

	if (!w)
		return false;
	w->broken = options->broken;
	w->verbose = options->verbose;
	if (setjmp(w->failed) == 0) {
		world_init(w, seed);
		life_run(w, options->faults_ms);
		good = true;
	} else {
		world_tell(w);
		printf("sim: seed %llu at %.3f s: %s\n", (unsigned long long)seed,
		       (double)w->now_ms / 1000, w->complaint);
		printf("sim: repeat with: sim --seeds %llu --seconds %lld --break %s --verbose\n",
		       (unsigned long long)seed, (long long)options->faults_ms / 1000,
		       break_names[options->broken]);
	}
	w->counts.ms = (uint64_t)w->now_ms;
	add(total, &w->counts);
	check_done(w);
	world_done(w);
	free(w);
	return good;
}

/* Every jobs-th seed. */
static bool run_share(const struct options *options, uint64_t share, struct world_counts *total)
{
	for (uint64_t seed = options->first + share; seed <= options->last; seed += options->jobs)
		if (!run_seed(options, seed, total))
			return false;
	return true;
}

/* A process per share, which says by the pipe what it counted. */
static pid_t begin_share(const struct options *options, uint64_t share, int *from)
{
	int ends[2];

	fflush(stdout);
	if (pipe(ends) < 0)
		return -1;
	pid_t pid = fork();
	if (pid == 0) {
		struct world_counts counts = {0};
		bool good = run_share(options, share, &counts);

		fflush(stdout);
		_exit(write(ends[1], &counts, sizeof(counts)) == sizeof(counts) && good ? 0 : 1);
	}
	close(ends[1]);
	*from = ends[0];
	return pid;
}

static bool end_share(pid_t pid, int from, struct world_counts *total)
{
	struct world_counts counts = {0};
	int status = 1;

	if (pid < 0)
		return false;
	bool said = read(from, &counts, sizeof(counts)) == sizeof(counts);
	close(from);
	waitpid(pid, &status, 0);
	add(total, &counts);
	return said && status == 0;
}

#define JOBS_MAX 64

static bool run_all(const struct options *options, struct world_counts *total)
{
	pid_t pids[JOBS_MAX];
	int from[JOBS_MAX];
	bool good = true;

	if (options->jobs == 1)
		return run_share(options, 0, total);
	for (uint64_t i = 0; i < options->jobs; i++)
		pids[i] = begin_share(options, i, &from[i]);
	for (uint64_t i = 0; i < options->jobs; i++)
		good = end_share(pids[i], from[i], total) && good;
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
		} else if (strcmp(argv[i - 1], "--jobs") == 0) {
			options->jobs = strtoull(value, NULL, 10);
		} else if (strcmp(argv[i - 1], "--seconds") == 0) {
			options->faults_ms = strtoll(value, NULL, 10) * 1000;
		} else if (strcmp(argv[i - 1], "--hours") == 0) {
			options->faults_ms = strtoll(value, NULL, 10) * 3600000;
		} else if (strcmp(argv[i - 1], "--break") != 0 ||
		           !parse_break(value, &options->broken)) {
			return false;
		}
	}
	return options->faults_ms > 0 && options->first <= options->last && options->jobs > 0 &&
	       options->jobs <= JOBS_MAX;
}

static int usage(void)
{
	fprintf(stderr, "usage: sim [--seeds A..B] [--jobs N] [--seconds N | --hours N] "
	                "[--break DEFENCE] [--verbose]\ndefences:");
	for (size_t i = 1; i < SIM_BREAKS; i++)
		fprintf(stderr, " %s", break_names[i]);
	fputc('\n', stderr);
	return 2;
}

int main(int argc, char **argv)
{
	struct options options = {.first = 1, .last = 20, .jobs = 1, .faults_ms = 60000};
	struct world_counts t = {0};

	if (!parse(argc, argv, &options))
		return usage();
	if (!run_all(&options, &t))
		return 1;
	printf("sim: %llu seeds, %.1f hours: %llu steps, %llu messages, %llu writes, %llu leaders, "
	       "%llu cuts, %llu nodes lost, nothing wrong\n",
	       (unsigned long long)(options.last - options.first + 1), (double)t.ms / 3600000,
	       (unsigned long long)t.steps, (unsigned long long)t.messages,
	       (unsigned long long)t.writes, (unsigned long long)t.elections,
	       (unsigned long long)t.cuts, (unsigned long long)t.deaths);
	return 0;
}
