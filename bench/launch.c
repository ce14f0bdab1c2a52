/* SPDX-License-Identifier: Apache-2.0 */

/*
 * launch - starts containers through the launcher, as the engine does, and takes the time.
 *
 *	launch RUNTIME RUN_DIR BUNDLE
 *
 * For each line on stdin, which is a number n: n containers at once, each of which runs to its
 * end and is forgotten. Prints, in ns, for each the time from the request to the program's exec and to its
 * recorded end; an empty line closes the batch. "+" starts one and leaves it alive.
 */

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "runtime/launcher.h"

#define STARTS_MAX 64

struct start {
	struct launcher *launcher; /* borrowed */
	int run_dir_fd, bundle_fd;
	unsigned number; /* for the id */
	bool stays;
	int64_t executed_ns, ended_ns;
	int rc;
	struct err err;
};

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static int wait_for_exit(struct supervisor *s, struct err *err)
{
	struct supervised seen = {0};
	int rc;

	while ((rc = supervisor_wait(s, &seen, err)) == 0)
		;
	if (rc < 0)
		return -1;
	return seen.exit_code == 0 ? 0 : err_set(err, ERR_SYSTEM, "exit code %d", seen.exit_code);
}

static int run(struct start *s, struct err *err)
{
	char id[64];

	snprintf(id, sizeof(id), "bench-%d-%u", (int)getpid(), s->number);
	int64_t begin = now_ns();
	const struct launch launch = {.id = id, .bundle_fd = s->bundle_fd};
	pid_t pid;
	auto_type(supervisor) watch = launcher_open(s->launcher, &launch, &pid, err);

	if (!watch || supervisor_start_watched(watch, err) < 0)
		return -1;
	s->executed_ns = now_ns() - begin;
	if (s->stays)
		return 0;
	if (wait_for_exit(watch, err) < 0)
		return -1;
	s->ended_ns = now_ns() - begin;
	return supervisor_forget(s->run_dir_fd, id, err);
}

static void *thread(void *arg)
{
	struct start *s = arg;

	s->rc = run(s, &s->err);
	return NULL;
}

static int batch(struct start *all, unsigned count)
{
	pthread_t threads[STARTS_MAX];

	for (unsigned i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, thread, &all[i]) != 0)
			abort();
	for (unsigned i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < count; i++) {
		if (all[i].rc < 0) {
			fprintf(stderr, "launch: %s\n", all[i].err.msg);
			return -1;
		}
		printf("%lld %lld\n", (long long)all[i].executed_ns, (long long)all[i].ended_ns);
	}
	printf("\n");
	return fflush(stdout);
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	struct log log = {.fd = STDERR_FILENO, .level = LOG_LEVEL_WARN};
	int run_dir_fd = argc == 4 ? open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int bundle_fd = argc == 4 ? open(argv[3], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	unsigned number = 0;
	char line[16];

	if (run_dir_fd < 0 || bundle_fd < 0) {
		fprintf(stderr, "usage: launch RUNTIME RUN_DIR BUNDLE\n");
		return 125;
	}
	struct launcher *launcher = launcher_start(argv[1], run_dir_fd, &log, &err);
	if (!launcher) {
		fprintf(stderr, "launch: %s\n", err.msg);
		return 125;
	}
	while (fgets(line, sizeof(line), stdin)) {
		struct start all[STARTS_MAX] = {0};
		bool stays = line[0] == '+';
		unsigned count = stays ? 1 : (unsigned)strtoul(line, NULL, 10);

		for (unsigned i = 0; i < count && i < STARTS_MAX; i++)
			all[i] = (struct start){.launcher = launcher,
			                        .run_dir_fd = run_dir_fd,
			                        .bundle_fd = bundle_fd,
			                        .number = ++number,
			                        .stays = stays};
		if (batch(all, count < STARTS_MAX ? count : STARTS_MAX) < 0)
			return 1;
	}
	launcher_stop(launcher);
	return 0;
}
