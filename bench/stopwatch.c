/* SPDX-License-Identifier: Apache-2.0 */

/*
 * stopwatch - runs programs and says what they took.
 *
 *	stopwatch
 *
 * Each line on stdin is a number n and a command, separated by tabs: n of it are started at once, an
 * argument's "@" being the number of each, and waited for. The answer is a line of four numbers: ns from
 * the first start to the last end, CPU time of all in us, the largest memory of any in KiB (of the program
 * and of what it has waited for), and the first status that was not 0. Their output goes to
 * /dev/null, their errors to our stderr. Small, so that being its child costs nothing.
 */

#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE  8192
#define ARGS_MAX   64
#define STARTS_MAX 64

struct totals {
	int64_t cpu_us;
	long memory_kib;
	int status;
};

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static pid_t start(char *const *words, int number, const posix_spawn_file_actions_t *actions)
{
	char numbered[ARGS_MAX][512], *argv[ARGS_MAX + 1] = {NULL};
	pid_t pid;

	for (int i = 0; words[i]; i++) {
		const char *at = strchr(words[i], '@');

		argv[i] = words[i];
		if (!at)
			continue;
		snprintf(numbered[i], sizeof(numbered[i]), "%.*s%d%s", (int)(at - words[i]),
		         words[i], number, at + 1);
		argv[i] = numbered[i];
	}
	return posix_spawnp(&pid, argv[0], actions, NULL, argv, environ) == 0 ? pid : -1;
}

static void reap(pid_t pid, struct totals *sum)
{
	struct rusage used;
	int status = 127 << 8;

	if (pid >= 0 && wait4(pid, &status, 0, &used) == pid) {
		sum->cpu_us += (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * INT64_C(1000000) +
		               used.ru_utime.tv_usec + used.ru_stime.tv_usec;
		if (used.ru_maxrss > sum->memory_kib)
			sum->memory_kib = used.ru_maxrss;
	}
	if (sum->status == 0)
		sum->status = status;
}

static void measure(int count, char *const *words, const posix_spawn_file_actions_t *actions)
{
	struct totals sum = {0};
	pid_t pids[STARTS_MAX];
	int64_t begin = now_ns();

	for (int i = 0; i < count; i++)
		pids[i] = start(words, i, actions);
	for (int i = 0; i < count; i++)
		reap(pids[i], &sum);
	printf("%lld %lld %ld %d\n", (long long)(now_ns() - begin), (long long)sum.cpu_us,
	       sum.memory_kib, sum.status);
	fflush(stdout);
}

int main(void)
{
	posix_spawn_file_actions_t actions;
	char line[LINE_SIZE];

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	while (fgets(line, sizeof(line), stdin)) {
		char *words[ARGS_MAX + 1] = {NULL}, *rest = line;
		int count = 0, n = 0;

		line[strcspn(line, "\n")] = '\0';
		n = atoi(strsep(&rest, "\t"));
		while (rest && count < ARGS_MAX)
			words[count++] = strsep(&rest, "\t");
		if (n < 1 || n > STARTS_MAX || !words[0]) {
			fprintf(stderr, "stopwatch: a line is 1 to %d, a tab, and a command\n",
			        STARTS_MAX);
			return 125;
		}
		measure(n, words, &actions);
	}
	return 0;
}
