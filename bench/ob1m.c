/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ob1m - a million tasks on ten thousand machines: how fast the scheduler places them, and how well.
 *
 *	ob1m [--nodes N] [--seed S] [P1 P2 P3 P4 compaction control]
 *
 * Machines of four shapes (4, 8, 16, 32 CPUs with 4 GiB each), 16 classes, 250 racks, 3 zones. Workloads:
 *
 *	P1  1,000 services of 1,000 like tasks, each with a constraint
 *	P2  services of Pareto sizes with log-normal demands, a quarter with a constraint, a tenth spread over racks,
 *	    until 85 % of the CPUs or the memory are reserved; then an hour in which 1 % of the tasks a minute end and
 *	    are replaced, and 1 % of the machines are lost
 *	P3  100,000 tasks, all different
 *	P4  50,000 tasks on half the machines
 *	compaction  the fewest machines that hold P2's tasks, with samples and when every machine is looked at; on a
 *	    fifth of the machines
 *	control  services made through the whole control plane, its store in memory; on a tenth of the machines
 *
 * P1 to P4 ask the placer, which is what the scheduler asks. A task that was refused is compared with every machine
 * by itself, and it is an error (exit status 1) when one of them has room.
 */

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/err.h"
#include "base/str.h"
#include "cluster/constraint.h"
#include "cluster/control.h"
#include "cluster/fits.h"
#include "cluster/model.h"
#include "cluster/placer.h"
#include "cluster/proto.h"
#include "cluster/service.h"
#include "cluster/store.h"

#define CLASSES      16
#define RACKS        250
#define ZONES        3
#define SIZE_MAX_P2  5000 /* tasks of the largest service */
#define FULL         0.85
#define CHURN_ROUNDS 60

static const int64_t milli = 1000000, mib = INT64_C(1) << 20;

struct machine {
	struct node n;
	struct json_pair labels[3];
	char text[4][24];
	struct model_resources used;
	int64_t tasks;
	bool lost;
};

struct workload {
	struct bench_service *services;
	size_t service_count, service_cap;
	size_t task_count;
};

struct bench_service {
	struct model_resources want;
	char constraint[40];
	char *constraints[1];
	struct json_strings constraint_list;
	bool spread;
	size_t first, count; /* of its tasks */
};

struct world {
	struct machine *machines;
	size_t count;
	struct placer *placer;
	uint32_t *where; /* by task; PLACER_NONE: nowhere */
	size_t where_cap;
	bool whole;
	/* figures */
	size_t placed, refused, wrongly_refused, moved;
	double cpu_s, wall_s;
	uint32_t *latency; /* ns, a decision each */
	size_t decisions, latency_cap;
};

static struct service_preference by_rack[1] = {{.spread = {(char *)"node.labels.rack"}}};
static const struct json_array spread_by_rack = {.items = by_rack, .count = 1};
static const struct json_array spread_by_nothing;

/* ---- chance, the same every time ---- */

static uint64_t state;

static uint64_t draw(void)
{
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static size_t below(size_t n)
{
	return (size_t)(draw() % n);
}

static double fraction(void)
{
	return ((double)(draw() >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(void)
{
	return sqrt(-2.0 * log(fraction())) * cos(6.283185307179586 * fraction());
}

/* ---- time ---- */

static double seconds(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void *need(void *memory)
{
	if (memory)
		return memory;
	fprintf(stderr, "ob1m: out of memory\n");
	exit(1);
}

static void check(int rc, const struct err *err)
{
	if (rc == 0)
		return;
	fprintf(stderr, "ob1m: %s\n", err->msg);
	exit(1);
}

/* ---- machines ---- */

static void make_machine(struct machine *m, size_t i)
{
	static const int64_t shapes[] = {4, 8, 16, 32};
	int64_t cpus = shapes[below(4)];
	size_t rack = i % RACKS;

	*m = (struct machine){0};
	snprintf(m->text[0], sizeof(m->text[0]), "c%zu", below(CLASSES));
	snprintf(m->text[1], sizeof(m->text[1]), "r%zu", rack);
	snprintf(m->text[2], sizeof(m->text[2]), "z%zu", rack % ZONES);
	snprintf(m->text[3], sizeof(m->text[3]), "m%zu", i);
	m->labels[0] = (struct json_pair){(char *)"class", m->text[0]};
	m->labels[1] = (struct json_pair){(char *)"rack", m->text[1]};
	m->labels[2] = (struct json_pair){(char *)"zone", m->text[2]};
	m->n.id = m->n.description.hostname = m->text[3];
	m->n.spec.role = (char *)"worker";
	m->n.spec.labels = (struct json_strmap){.items = m->labels, .count = 3};
	m->n.description.platform.os = (char *)"linux";
	m->n.description.platform.architecture = (char *)"x86_64";
	m->n.description.resources.nano_cpus = cpus * 1000 * milli;
	m->n.description.resources.memory_bytes = cpus * 4096 * mib;
}

static void world_init(struct world *w, size_t count, bool whole)
{
	struct err err = ERR_INIT;

	*w = (struct world){.count = count, .whole = whole};
	w->machines = need(calloc(count, sizeof(*w->machines)));
	w->placer = need(placer_create(&err));
	for (size_t i = 0; i < count; i++) {
		make_machine(&w->machines[i], i);
		uint32_t slot = placer_add(w->placer, &w->machines[i].n, &err);
		check(slot == i ? 0 : -1, &err);
		placer_set_ready(w->placer, slot, true);
	}
}

static void world_done(struct world *w)
{
	placer_free(w->placer);
	free(w->machines);
	free(w->where);
	free(w->latency);
}

/* ---- workloads ---- */

static struct bench_service *add_service(struct workload *load, size_t tasks)
{
	if (load->service_count == load->service_cap) {
		load->service_cap = load->service_cap ? load->service_cap * 2 : 1024;
		load->services = need(
			reallocarray(load->services, load->service_cap, sizeof(*load->services)));
	}
	struct bench_service *s = &load->services[load->service_count++];
	*s = (struct bench_service){.first = load->task_count, .count = tasks};
	load->task_count += tasks;
	return s;
}

static void constrain(struct bench_service *s)
{
	static const char *const ops[] = {"==", "!="};
	size_t kind = below(4);

	if (kind == 0)
		snprintf(s->constraint, sizeof(s->constraint), "node.labels.zone%sz%zu", ops[0],
		         below(ZONES));
	else
		snprintf(s->constraint, sizeof(s->constraint), "node.labels.class%sc%zu",
		         ops[kind == 1], below(CLASSES));
}

/* The array may have moved while it grew. */
static void link_constraints(struct workload *load)
{
	for (size_t i = 0; i < load->service_count; i++) {
		struct bench_service *s = &load->services[i];

		s->constraints[0] = s->constraint;
		s->constraint_list = (struct json_strings){.items = s->constraints,
		                                           .count = s->constraint[0] != '\0'};
	}
}

static struct model_resources demand(void)
{
	double cpu = 250.0 * exp(0.9 * normal()), memory = 896.0 * exp(1.1 * normal());

	return (struct model_resources){
		.nano_cpus = (int64_t)fmin(fmax(cpu, 10.0), 4000.0) * milli,
		.memory_bytes = (int64_t)fmin(fmax(memory, 16.0), 16384.0) * mib,
	};
}

static void make_uniform(struct workload *load, size_t services, size_t tasks, bool constrained)
{
	for (size_t i = 0; i < services; i++) {
		struct bench_service *s = add_service(load, tasks);

		s->want = (struct model_resources){.nano_cpus = 100 * milli,
		                                   .memory_bytes = 400 * mib};
		if (constrained)
			snprintf(s->constraint, sizeof(s->constraint), "node.labels.class==c%zu",
			         i % CLASSES);
	}
}

static void make_mixed(struct workload *load, const struct world *w)
{
	double cpus = 0, memory = 0, cpus_used = 0, memory_used = 0;

	for (size_t i = 0; i < w->count; i++) {
		cpus += (double)w->machines[i].n.description.resources.nano_cpus;
		memory += (double)w->machines[i].n.description.resources.memory_bytes;
	}
	while (cpus_used < FULL * cpus && memory_used < FULL * memory) {
		double size = pow(fraction(), -1.0 / 1.16);
		struct bench_service *s = add_service(
			load, (size_t)fmin(size, SIZE_MAX_P2 * (double)w->count / 10000));

		s->want = demand();
		if (below(4) == 0)
			constrain(s);
		s->spread = below(10) == 0;
		cpus_used += (double)s->want.nano_cpus * (double)s->count;
		memory_used += (double)s->want.memory_bytes * (double)s->count;
	}
}

static void make_different(struct workload *load, size_t tasks)
{
	for (size_t i = 0; i < tasks; i++) {
		struct bench_service *s = add_service(load, 1);

		s->want = demand();
		s->want.nano_cpus += (int64_t)i; /* no two alike */
		if (below(4) == 0)
			constrain(s);
	}
}

/* ---- placing ---- */

static bool allowed(const struct world *w, const struct bench_service *s, size_t i)
{
	struct constraint c;

	return s->constraint[0] == '\0' || (constraint_parse(s->constraint, &c, NULL) == 0 &&
	                                    constraint_match(&c, &w->machines[i].n));
}

static bool fits_somewhere(const struct world *w, const struct bench_service *s)
{
	for (size_t i = 0; i < w->count; i++)
		if (!w->machines[i].lost &&
		    fits(&w->machines[i].n.description.resources, &w->machines[i].used, &s->want) &&
		    allowed(w, s, i))
			return true;
	return false;
}

static void put(struct world *w, const struct bench_service *s, size_t task, uint32_t slot)
{
	struct machine *m = &w->machines[slot];

	w->where[task] = slot;
	m->used.nano_cpus += s->want.nano_cpus;
	m->used.memory_bytes += s->want.memory_bytes;
	m->tasks++;
}

static void take_away(struct world *w, const struct bench_service *s, size_t task)
{
	struct machine *m = &w->machines[w->where[task]];

	m->used.nano_cpus -= s->want.nano_cpus;
	m->used.memory_bytes -= s->want.memory_bytes;
	m->tasks--;
	placer_set_load(w->placer, w->where[task], &m->used, m->tasks);
	w->where[task] = PLACER_NONE;
}

/* Every task of the service that has no machine gets one. */
static void place_service(struct world *w, const struct bench_service *s, size_t missing)
{
	struct placer_request request = {.want = s->want,
	                                 .constraints = &s->constraint_list,
	                                 .preferences =
	                                         s->spread ? &spread_by_rack : &spread_by_nothing,
	                                 .count = missing,
	                                 .whole = w->whole};
	struct err err = ERR_INIT;
	double before = seconds(CLOCK_MONOTONIC);

	check(placer_begin(w->placer, &request, &err), &err);
	for (size_t i = 0; missing < s->count && i < s->count; i++)
		if (w->where[s->first + i] != PLACER_NONE)
			placer_count(w->placer, w->where[s->first + i]);
	for (size_t i = 0; i < s->count; i++) {
		if (w->where[s->first + i] != PLACER_NONE)
			continue;
		uint32_t slot = placer_next(w->placer);
		double after = seconds(CLOCK_MONOTONIC);

		if (w->decisions < w->latency_cap)
			w->latency[w->decisions++] = (uint32_t)((after - before) * 1e9);
		before = after;
		if (slot == PLACER_NONE) {
			size_t left = 0;

			for (size_t k = i; k < s->count; k++)
				left += w->where[s->first + k] == PLACER_NONE;
			w->refused += left;
			w->wrongly_refused += fits_somewhere(w, s) ? left : 0;
			return;
		}
		put(w, s, s->first + i, slot);
		w->placed++;
	}
}

static void world_tasks(struct world *w, size_t count)
{
	w->where_cap = count;
	w->where = need(reallocarray(w->where, count + 1, sizeof(*w->where)));
	for (size_t i = 0; i < count; i++)
		w->where[i] = PLACER_NONE;
	w->latency_cap = count * 2;
	w->latency = need(reallocarray(w->latency, w->latency_cap + 1, sizeof(*w->latency)));
	w->decisions = w->placed = w->refused = w->wrongly_refused = 0;
}

static void place_all(struct world *w, const struct workload *load)
{
	double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);

	for (size_t i = 0; i < load->service_count; i++)
		place_service(w, &load->services[i], load->services[i].count);
	w->wall_s = seconds(CLOCK_MONOTONIC) - wall;
	w->cpu_s = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
}

/* ---- figures ---- */

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double peak_mib(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_maxrss / 1024;
}

static bool report(struct world *w, const char *name)
{
	qsort(w->latency, w->decisions, sizeof(*w->latency), compare_u32);
	printf("%-10s %9zu placed %6zu refused (%zu fit) %8.2f s wall %10.0f per CPU-second  "
	       "decision p50 %.2f p99 %.2f us  %4.0f MiB\n",
	       name, w->placed, w->refused, w->wrongly_refused, w->wall_s,
	       (double)w->placed / w->cpu_s,
	       w->decisions ? w->latency[w->decisions / 2] / 1e3 : 0.0,
	       w->decisions ? w->latency[w->decisions * 99 / 100] / 1e3 : 0.0, peak_mib());
	fflush(stdout);
	return w->wrongly_refused == 0;
}

/* ---- the hour after ---- */

static void lose_machine(struct world *w, const struct workload *load, size_t i)
{
	if (w->machines[i].lost)
		return;
	w->machines[i].lost = true;
	placer_set_ready(w->placer, (uint32_t)i, false);
	for (size_t k = 0; k < load->service_count; k++)
		for (size_t t = 0; t < load->services[k].count; t++)
			if (w->where[load->services[k].first + t] == i)
				take_away(w, &load->services[k], load->services[k].first + t);
}

/* One minute: what ends and what is lost, then what takes its place. Timed is the latter. */
static size_t churn_minute(struct world *w, const struct workload *load)
{
	size_t missing_all = 0;

	for (size_t k = 0; k < load->service_count; k++)
		for (size_t t = 0; t < load->services[k].count; t++)
			if (w->where[load->services[k].first + t] != PLACER_NONE && below(100) == 0)
				take_away(w, &load->services[k], load->services[k].first + t);
	if (below(CHURN_ROUNDS * 100) < w->count % (CHURN_ROUNDS * 100))
		lose_machine(w, load, below(w->count));
	for (size_t i = 0; i < w->count / 100 / CHURN_ROUNDS; i++)
		lose_machine(w, load, below(w->count));

	double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	for (size_t k = 0; k < load->service_count; k++) {
		size_t missing = 0;

		for (size_t t = 0; t < load->services[k].count; t++)
			missing += w->where[load->services[k].first + t] == PLACER_NONE;
		missing_all += missing;
		if (missing > 0)
			place_service(w, &load->services[k], missing);
	}
	w->wall_s += seconds(CLOCK_MONOTONIC) - wall;
	w->cpu_s += seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	return missing_all;
}

static bool churn(struct world *w, const struct workload *load)
{
	size_t wanted = 0, lost = 0;

	w->placed = w->refused = w->wrongly_refused = w->decisions = 0;
	w->wall_s = w->cpu_s = 0;
	for (int i = 0; i < CHURN_ROUNDS; i++)
		wanted += churn_minute(w, load);
	for (size_t i = 0; i < w->count; i++)
		lost += w->machines[i].lost;
	bool ok = report(w, "P2 churn");
	printf("%-10s %zu machines lost, %zu tasks needed a machine, %zu others were moved\n", "",
	       lost, wanted, w->placed + w->refused - wanted);
	return ok;
}

/* ---- the levels ---- */

static bool run_one(const char *name, size_t nodes, uint64_t seed)
{
	struct workload load = {0};
	struct world w;
	bool ok;

	state = seed;
	world_init(&w, str_eq(name, "P4") ? nodes / 2 : nodes, false);
	if (str_eq(name, "P1"))
		make_uniform(&load, 1000, nodes / 10, true);
	else if (str_eq(name, "P2"))
		make_mixed(&load, &w);
	else if (str_eq(name, "P3"))
		make_different(&load, nodes * 10);
	else
		make_uniform(&load, 50, nodes / 10, false);
	link_constraints(&load);
	world_tasks(&w, load.task_count);
	place_all(&w, &load);
	ok = report(&w, name);
	if (str_eq(name, "P2"))
		ok = churn(&w, &load) && ok;
	world_done(&w);
	free(load.services);
	return ok;
}

/* Does the workload fit on the first `nodes` of the machines? */
static bool holds(size_t nodes, const struct workload *load, uint64_t seed, bool whole)
{
	struct world w;

	state = seed;
	world_init(&w, nodes, whole);
	world_tasks(&w, load->task_count);
	place_all(&w, load);
	bool all = w.refused == 0;
	world_done(&w);
	return all;
}

static size_t fewest(size_t nodes, const struct workload *load, uint64_t seed, bool whole)
{
	size_t low = nodes / 2, high = nodes * 2; /* high holds them */

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (holds(middle, load, seed, whole))
			high = middle;
		else
			low = middle;
	}
	return high;
}

static bool compaction(size_t nodes, uint64_t seed)
{
	struct workload load = {0};
	struct world w;

	state = seed;
	world_init(&w, nodes, false);
	make_mixed(&load, &w);
	link_constraints(&load);
	world_done(&w);
	size_t sample = fewest(nodes, &load, seed, false);
	size_t whole = fewest(nodes, &load, seed, true);
	printf("compaction %9zu tasks need %zu machines with samples, %zu by full scans: %.4fx\n",
	       load.task_count, sample, whole, (double)sample / (double)whole);
	free(load.services);
	return true;
}

/* ---- through the control plane ---- */

static void join(struct control *c, struct control_time now, const struct machine *m)
{
	struct proto_hello hello = {.protocol = PROTO_VERSION,
	                            .node_id = m->n.id,
	                            .addr = (char *)"10.0.0.1",
	                            .description = m->n.description};
	struct err err = ERR_INIT;
	int64_t session;

	check(control_node_add(c, now, m->n.id, "worker", "10.0.0.1", &err), &err);
	check(control_agent_hello(c, now, &hello, &session, &err), &err);
}

static bool through_control(size_t nodes, uint64_t seed)
{
	struct err err = ERR_INIT;
	struct control_time now = {.mono_ms = 1000, .wall_ns = INT64_C(1700000000) * 1000000000};
	struct store_disk *disk = store_disk_create(NULL);
	struct control_config config = {.seed = {7, 9}, .store = store_memory_open(disk, &err)};
	struct control *c = need(control_open(&config, now, &err));
	struct control_message *message;
	const struct task *t;
	size_t assigned = 0, services = 10, replicas = nodes;
	char text[400], id[64];

	state = seed;
	for (size_t i = 0; i < nodes; i++) {
		struct machine m;

		make_machine(&m, i);
		join(c, now, &m);
		while ((message = control_take_message(c)) != NULL)
			control_message_free(message);
	}
	double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	for (size_t i = 0; i < services; i++) {
		snprintf(text, sizeof(text),
		         "{\"Name\":\"s%zu\",\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"x\"},"
		         "\"Resources\":{\"Reservations\":{\"NanoCPUs\":100000000,"
		         "\"MemoryBytes\":419430400}}},"
		         "\"Mode\":{\"Replicated\":{\"Replicas\":%zu}}}",
		         i, replicas);
		check(service_create(c, now, text, strlen(text), id, &err), &err);
		while ((message = control_take_message(c)) != NULL)
			control_message_free(message);
	}
	wall = seconds(CLOCK_MONOTONIC) - wall;
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	for (size_t at = 0; (t = control_next_task(c, &at)) != NULL;)
		assigned += t->status.state == TASK_ASSIGNED;
	printf("%-10s %9zu of %zu tasks on %zu machines, committed and told: %.2f s wall %10.0f per "
	       "CPU-second %4.0f MiB\n",
	       "control", assigned, services * replicas, nodes, wall, (double)assigned / cpu,
	       peak_mib());
	control_free(c);
	store_free(config.store);
	store_disk_free(disk);
	return assigned == services * replicas;
}

/* ---- the command line ---- */

static int usage(void)
{
	fprintf(stderr, "usage: ob1m [--nodes N] [--seed S] [P1 P2 P3 P4 compaction control]\n");
	return 2;
}

static bool run_named(const char *name, size_t nodes, uint64_t seed, bool *ok)
{
	static const char *const workloads[] = {"P1", "P2", "P3", "P4"};

	for (size_t i = 0; i < ARRAY_LEN(workloads); i++)
		if (str_eq(name, workloads[i])) {
			*ok = run_one(name, nodes, seed) && *ok;
			return true;
		}
	if (str_eq(name, "compaction"))
		*ok = compaction(nodes / 5, seed) && *ok;
	else if (str_eq(name, "control"))
		*ok = through_control(nodes / 10, seed) && *ok;
	else
		return false;
	return true;
}

int main(int argc, char **argv)
{
	static const char *const all[] = {"P1", "P2", "P3", "P4", "compaction", "control"};
	size_t nodes = 10000;
	uint64_t seed = 1;
	bool ok = true, named = false;

	for (int i = 1; i < argc; i++) {
		if (str_eq(argv[i], "--nodes") && i + 1 < argc)
			nodes = strtoull(argv[++i], NULL, 10);
		else if (str_eq(argv[i], "--seed") && i + 1 < argc)
			seed = strtoull(argv[++i], NULL, 10);
		else if (nodes < 10 || !run_named(argv[i], nodes, seed, &ok))
			return usage();
		else
			named = true;
	}
	for (size_t i = 0; !named && i < ARRAY_LEN(all); i++)
		run_named(all[i], nodes, seed, &ok);
	return ok ? 0 : 1;
}
