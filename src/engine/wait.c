/* SPDX-License-Identifier: Apache-2.0 */
/* wait - those who wait for a container's end, and those who attached before its start. */

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/clock.h"
#include "engine/private.h"

struct container_wait {
	struct container *c;
	enum container_condition condition;
	int fd;       /* eventfd; readable when done */
	uint64_t run; /* whose exit it waits for, or a later one's */
	struct container_wait *next;
	bool done; /* guarded by c->lock, as is exit */
	struct container_exit exit;
};

struct container_attach {
	struct container *c;
	struct container_attach_options what;
	int fd; /* eventfd */
	struct container_attach *next;
	bool done;  /* guarded by c->lock, as is stream */
	int stream; /* owned; -1: there will be none */
};

static void fill_exit(const struct container *c, struct container_exit *exit)
{
	exit->code = c->exit_code;
	snprintf(exit->error, sizeof(exit->error), "%s", "");
}

/* c->lock held. */
static void wait_done(struct container_wait *wait)
{
	if (wait->done)
		return;
	fill_exit(wait->c, &wait->exit);
	wait->done = true;
	(void)eventfd_write(wait->fd, 1);
}

void wait_tell(struct container *c, enum container_condition what, uint64_t run)
{
	pthread_mutex_lock(&c->lock);
	for (struct container_wait *wait = c->waits; wait; wait = wait->next) {
		bool not_running = wait->condition == CONTAINER_NOT_RUNNING &&
		                   !container_is_up(c) && c->status != STATUS_RESTARTING;
		bool asked = wait->condition == what && wait->run <= run;
		if (what == CONTAINER_REMOVED || asked || not_running)
			wait_done(wait);
	}
	pthread_mutex_unlock(&c->lock);
}

struct container_wait *container_wait_begin(struct engine *engine, const char *ref,
                                            enum container_condition condition, struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);
	struct container_wait *wait = c ? calloc(1, sizeof(*wait)) : NULL;

	if (!c)
		return NULL;
	if (!wait)
		return err_nomem(err), NULL;
	wait->condition = condition;
	wait->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wait->fd < 0) {
		err_sys(err, "wait");
		free(wait);
		return NULL;
	}
	wait->c = move_ptr(c);
	pthread_mutex_lock(&wait->c->lock);
	/* An end that is on record is not the next one, even if others are still being told of it. */
	wait->run = wait->c->run + !container_is_up(wait->c);
	wait->next = wait->c->waits;
	wait->c->waits = wait;
	if (wait->c->gone || (condition == CONTAINER_NOT_RUNNING && !container_is_up(wait->c) &&
	                      wait->c->status != STATUS_RESTARTING))
		wait_done(wait);
	pthread_mutex_unlock(&wait->c->lock);
	return wait;
}

int container_wait_end(struct container_wait *wait, int cancel_fd, struct container_exit *out,
                       struct err *err)
{
	if (engine_poll(wait->c->engine, wait->fd, cancel_fd, -1, err) < 0)
		return -1;
	pthread_mutex_lock(&wait->c->lock);
	*out = wait->exit;
	pthread_mutex_unlock(&wait->c->lock);
	return 0;
}

int wait_fd(const struct container_wait *wait)
{
	return wait->fd;
}

void container_wait_free(struct container_wait *wait)
{
	if (!wait)
		return;
	struct container *c = wait->c;

	pthread_mutex_lock(&c->lock);
	for (struct container_wait **p = &c->waits; *p; p = &(*p)->next) {
		if (*p == wait) {
			*p = wait->next;
			break;
		}
	}
	pthread_mutex_unlock(&c->lock);
	close(wait->fd);
	container_free(c);
	free(wait);
}

/* ---- attach ---- */

static int attach_to(struct supervisor *s, const struct container_attach_options *what,
                     struct err *err)
{
	struct supervisor_attach attach = {what->in, what->out, what->err, what->logs};

	return supervisor_attach(s, &attach, err);
}

void attach_tell(struct container *c, struct supervisor *s)
{
	pthread_mutex_lock(&c->lock);
	struct container_attach *list = move_ptr(c->attaches);
	while (list) {
		struct container_attach *attach = list;
		list = attach->next;
		attach->next = NULL;
		/* The supervisor answers at once: it has nothing else to do before the start. */
		attach->stream = s ? attach_to(s, &attach->what, NULL) : -1;
		attach->done = true;
		(void)eventfd_write(attach->fd, 1);
	}
	pthread_mutex_unlock(&c->lock);
}

static int attach_now(struct container_attach *attach, struct err *err)
{
	struct container *c = attach->c;
	auto_type(supervisor) s = supervisor_connect(c->engine->supervisors_fd, c->id, err);

	if (!s)
		return -1;
	int stream = attach_to(s, &attach->what, err);
	if (stream < 0)
		return -1;
	pthread_mutex_lock(&c->lock);
	attach->stream = stream;
	attach->done = true;
	pthread_mutex_unlock(&c->lock);
	(void)eventfd_write(attach->fd, 1);
	return 0;
}

struct container_attach *container_attach_begin(struct engine *engine, const char *ref,
                                                const struct container_attach_options *what,
                                                struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);
	auto_type(container_attach) attach = c ? calloc(1, sizeof(*attach)) : NULL;
	bool up;

	if (!c)
		return NULL;
	if (!attach)
		return err_nomem(err), NULL;
	attach->what = *what;
	attach->stream = -1;
	attach->c = container_ref(c);
	attach->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (attach->fd < 0)
		return err_sys(err, "attach"), NULL;
	pthread_mutex_lock(&c->lock);
	up = container_is_up(c);
	bool gone = c->gone;
	bool paused = c->status == STATUS_PAUSED;
	if (!up && !gone) {
		attach->next = c->attaches;
		c->attaches = attach;
	}
	pthread_mutex_unlock(&c->lock);
	if (gone)
		return err_set(err, ERR_NOT_FOUND, "No such container: %s", ref), NULL;
	if (paused)
		return err_set(err, ERR_CONFLICT,
		               "container %s is paused, unpause the container "
		               "before attach",
		               ref),
		       NULL;
	if (up && attach_now(attach, err) < 0)
		return NULL;
	container_event(c, "attach", NULL, NULL);
	return move_ptr(attach);
}

bool container_attach_tty(const struct container_attach *attach)
{
	auto_type(config) config = container_config(attach->c);

	return config->create.config.tty;
}

/* Here the peer is a client that may have sent its input already, or all of it: only a connection that
 * is gone both ways ends the waiting. */
static int attach_poll(struct container_attach *attach, int cancel_fd, struct err *err)
{
	struct pollfd fds[3] = {
		{.fd = attach->fd, .events = POLLIN},
		{.fd = cancel_fd},
		{.fd = attach->c->engine->stop_fd, .events = POLLIN},
	};

	for (;;) {
		int n = poll(fds, 3, -1);
		if (n < 0 && errno != EINTR)
			return err_sys(err, "attach");
		if (n > 0 && fds[0].revents)
			return 0;
		if (n > 0 && (fds[2].revents || fds[1].revents & (POLLHUP | POLLERR)))
			return err_set(err, ERR_CANCELED, "canceled");
	}
}

int container_attach_end(struct container_attach *attach, int cancel_fd, struct err *err)
{
	int stream;

	if (attach_poll(attach, cancel_fd, err) < 0)
		return -1;
	pthread_mutex_lock(&attach->c->lock);
	stream = attach->stream;
	attach->stream = -1;
	pthread_mutex_unlock(&attach->c->lock);
	if (stream < 0)
		return err_set(err, ERR_CANCELED, "container %s was not started", attach->c->id);
	return stream;
}

void container_attach_free(struct container_attach *attach)
{
	if (!attach)
		return;
	struct container *c = attach->c;

	pthread_mutex_lock(&c->lock);
	for (struct container_attach **p = &c->attaches; *p; p = &(*p)->next) {
		if (*p == attach) {
			*p = attach->next;
			break;
		}
	}
	pthread_mutex_unlock(&c->lock);
	if (attach->stream >= 0)
		close(attach->stream);
	if (attach->fd >= 0)
		close(attach->fd);
	container_free(c);
	free(attach);
}
