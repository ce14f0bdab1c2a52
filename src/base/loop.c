/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <systemd/sd-event.h>

#include "base/err.h"

struct post {
	void (*fn)(void *arg);
	void *arg;
	struct post *next;
};

struct loop {
	sd_event *event;       /* owned */
	int wake_fd;           /* owned; eventfd */
	sd_event_source *wake; /* owned */
	pthread_mutex_t lock;
	struct post *first, **last; /* guarded by lock; owned */
	bool stopping;              /* guarded by lock */
};

struct loop_source {
	sd_event_source *source; /* owned */
	void (*on_fd)(void *arg, int fd, uint32_t revents);
	void (*on_timer)(void *arg);
	void (*on_signal)(void *arg, int signal);
	void *arg;
};

static int fail(struct err *err, int rc, const char *what)
{
	errno = -rc;
	return err_sys(err, "event loop: %s", what);
}

static struct post *take_posts(struct loop *loop, bool *stopping)
{
	pthread_mutex_lock(&loop->lock);
	struct post *list = move_ptr(loop->first);
	loop->last = &loop->first;
	*stopping = loop->stopping;
	pthread_mutex_unlock(&loop->lock);
	return list;
}

static int on_wake(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct loop *loop = arg;
	uint64_t count;
	bool stopping;

	(void)source, (void)revents;
	(void)!read(fd, &count, sizeof(count));
	for (struct post *p = take_posts(loop, &stopping), *next; p; p = next) {
		next = p->next;
		p->fn(p->arg);
		free(p);
	}
	if (stopping)
		sd_event_exit(loop->event, 0);
	return 0;
}

struct loop *loop_create(struct err *err)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop) {
		err_nomem(err);
		return NULL;
	}
	pthread_mutex_init(&loop->lock, NULL);
	loop->last = &loop->first;
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = loop->wake_fd < 0 ? -errno : sd_event_new(&loop->event);
	if (rc >= 0)
		rc = sd_event_add_io(loop->event, &loop->wake, loop->wake_fd, EPOLLIN, on_wake,
		                     loop);
	if (rc < 0) {
		fail(err, rc, "create");
		loop_free(loop);
		return NULL;
	}
	return loop;
}

void loop_free(struct loop *loop)
{
	bool stopping;

	if (!loop)
		return;
	for (struct post *p = take_posts(loop, &stopping), *next; p; p = next) {
		next = p->next;
		free(p);
	}
	sd_event_source_disable_unref(loop->wake);
	sd_event_unref(loop->event);
	cleanup_close(&loop->wake_fd);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

int loop_run(struct loop *loop, struct err *err)
{
	int rc = sd_event_loop(loop->event);

	return rc < 0 ? fail(err, rc, "run") : 0;
}

static void wake(struct loop *loop)
{
	uint64_t one = 1;

	(void)!write(loop->wake_fd, &one, sizeof(one));
}

void loop_stop(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->stopping = true;
	pthread_mutex_unlock(&loop->lock);
	wake(loop);
}

int loop_post(struct loop *loop, void (*fn)(void *arg), void *arg, struct err *err)
{
	struct post *p = calloc(1, sizeof(*p));

	if (!p)
		return err_nomem(err);
	p->fn = fn;
	p->arg = arg;
	pthread_mutex_lock(&loop->lock);
	*loop->last = p;
	loop->last = &p->next;
	pthread_mutex_unlock(&loop->lock);
	wake(loop);
	return 0;
}

static int on_fd(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct loop_source *s = arg;

	(void)source;
	s->on_fd(s->arg, fd, revents);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct loop_source *s = arg;

	(void)source, (void)usec;
	s->on_timer(s->arg);
	return 0;
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	struct loop_source *s = arg;

	(void)source;
	s->on_signal(s->arg, (int)info->ssi_signo);
	return 0;
}

static struct loop_source *source_create(void *arg, struct err *err)
{
	struct loop_source *s = calloc(1, sizeof(*s));

	if (!s) {
		err_nomem(err);
		return NULL;
	}
	s->arg = arg;
	return s;
}

/* Gives s, or frees it when the registration failed. */
static struct loop_source *registered(struct loop_source *s, int rc, const char *what,
                                      struct err *err)
{
	if (rc >= 0)
		return s;
	fail(err, rc, what);
	loop_source_free(s);
	return NULL;
}

struct loop_source *loop_add_fd(struct loop *loop, int fd, uint32_t events,
                                void (*fn)(void *arg, int fd, uint32_t revents), void *arg,
                                struct err *err)
{
	struct loop_source *s = source_create(arg, err);

	if (!s)
		return NULL;
	s->on_fd = fn;
	return registered(s, sd_event_add_io(loop->event, &s->source, fd, events, on_fd, s),
	                  "watch a descriptor", err);
}

int loop_set_events(struct loop_source *source, uint32_t events, struct err *err)
{
	int rc = sd_event_source_set_io_events(source->source, events);

	return rc < 0 ? fail(err, rc, "change events") : 0;
}

struct loop_source *loop_add_timer(struct loop *loop, int64_t delay_ms, void (*fn)(void *arg),
                                   void *arg, struct err *err)
{
	struct loop_source *s = source_create(arg, err);

	if (!s)
		return NULL;
	s->on_timer = fn;
	int rc = sd_event_add_time_relative(loop->event, &s->source, CLOCK_MONOTONIC,
	                                    (uint64_t)delay_ms * 1000, 1000, on_timer, s);
	return registered(s, rc, "add a timer", err);
}

int loop_rearm(struct loop_source *timer, int64_t delay_ms, struct err *err)
{
	int rc = sd_event_source_set_time_relative(timer->source, (uint64_t)delay_ms * 1000);

	if (rc >= 0)
		rc = sd_event_source_set_enabled(timer->source, SD_EVENT_ONESHOT);
	return rc < 0 ? fail(err, rc, "arm a timer") : 0;
}

struct loop_source *loop_add_signal(struct loop *loop, int signal,
                                    void (*fn)(void *arg, int signal), void *arg, struct err *err)
{
	struct loop_source *s = source_create(arg, err);

	if (!s)
		return NULL;
	s->on_signal = fn;
	return registered(s, sd_event_add_signal(loop->event, &s->source, signal, on_signal, s),
	                  "catch a signal", err);
}

void loop_source_free(struct loop_source *source)
{
	if (!source)
		return;
	sd_event_source_disable_unref(source->source);
	free(source);
}
