/* SPDX-License-Identifier: Apache-2.0 */
#include "base/failpoint.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"

#define POINTS_MAX 32
#define NAME_MAX_  64

enum action {
	ACTION_EXIT,
	ACTION_ERRNO,
	ACTION_SLEEP,
};

struct point {
	char name[NAME_MAX_];
	enum action action;
	int number;       /* errno, or milliseconds */
	int pass;         /* act on this pass only; 0: on each */
	atomic_int count; /* passes so far */
};

/* The one table of this kind: written by failpoint_init() before threads exist. */
static struct point points[POINTS_MAX];
static size_t point_count;
bool failpoint_enabled;

static int parse_action(struct point *p, char *action, struct err *err)
{
	char *at = strchr(action, '@');
	char *colon = strchr(action, ':');

	if (at) {
		*at = '\0';
		p->pass = (int)strtol(at + 1, NULL, 10);
		if (p->pass <= 0)
			return err_set(err, ERR_INVALID, "failpoint %s: bad pass '%s'", p->name,
			               at + 1);
	}
	if (strcmp(action, "exit") == 0) {
		p->action = ACTION_EXIT;
		return 0;
	}
	if (!colon)
		return err_set(err, ERR_INVALID,
		               "failpoint %s: action '%s' is not exit, errno:N or sleep:MS",
		               p->name, action);
	*colon = '\0';
	p->number = (int)strtol(colon + 1, NULL, 10);
	if (strcmp(action, "errno") == 0)
		p->action = ACTION_ERRNO;
	else if (strcmp(action, "sleep") == 0)
		p->action = ACTION_SLEEP;
	else
		return err_set(err, ERR_INVALID,
		               "failpoint %s: action '%s' is not exit, errno:N or sleep:MS",
		               p->name, action);
	return 0;
}

static int parse_point(char *text, struct err *err)
{
	char *equals = strchr(text, '=');

	if (!equals || equals == text || (size_t)(equals - text) >= NAME_MAX_)
		return err_set(err, ERR_INVALID, "failpoint '%s': not NAME=ACTION", text);
	if (point_count == POINTS_MAX)
		return err_set(err, ERR_LIMIT, "more than %d failpoints", POINTS_MAX);

	struct point *p = &points[point_count];
	*equals = '\0';
	memcpy(p->name, text, strlen(text) + 1);
	if (parse_action(p, equals + 1, err) < 0)
		return -1;
	point_count++;
	return 0;
}

#ifdef BUOY_FAILPOINTS
/* The linker's names for the ends of the section; none in a program without failpoints. */
extern const char __start_failpoints[] __attribute__((weak));
extern const char __stop_failpoints[] __attribute__((weak));

_Noreturn static void list_all(void)
{
	for (const char *at = __start_failpoints; at < __stop_failpoints; at += strlen(at) + 1)
		if (*at)
			puts(at);
	_exit(fflush(stdout) == 0 ? 0 : 1);
}

static const char *wanted(void)
{
	return secure_getenv("BUOY_FAILPOINTS");
}
#else
static const char *wanted(void)
{
	return NULL;
}

_Noreturn static void list_all(void)
{
	_exit(0);
}
#endif

int failpoint_init(struct err *err)
{
	const char *list = wanted();
	char *save = NULL;

	if (!list || !*list)
		return 0;

	if (strcmp(list, "list") == 0)
		list_all();

	char *copy = strdup(list);
	if (!copy)
		return err_nomem(err);
	for (char *text = strtok_r(copy, ",", &save); text; text = strtok_r(NULL, ",", &save)) {
		if (parse_point(text, err) < 0) {
			free(copy);
			return -1;
		}
	}
	free(copy);
	failpoint_enabled = point_count > 0;
	return 0;
}

static int act(const struct point *p, struct err *err)
{
	struct timespec ts = {p->number / 1000, (p->number % 1000) * 1000000L};

	switch (p->action) {
	case ACTION_EXIT:
		kill(getpid(), SIGKILL);
		_exit(137); /* the first process of a pid namespace does not hear itself */
	case ACTION_SLEEP:
		nanosleep(&ts, NULL);
		return 0;
	case ACTION_ERRNO:
		errno = p->number;
		return err_sys(err, "failpoint %s", p->name);
	}
	return 0;
}

int failpoint_hit(const char *name, struct err *err)
{
	for (size_t i = 0; i < point_count; i++) {
		struct point *p = &points[i];
		if (strcmp(p->name, name) != 0)
			continue;
		int pass = atomic_fetch_add(&p->count, 1) + 1;
		if (p->pass == 0 || p->pass == pass)
			return act(p, err);
	}
	return 0;
}
