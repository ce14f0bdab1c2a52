/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/control_state.h"

/*
 * restart - an ended task is put to rest and followed by a new one in its slot, after a delay
 * and as often as its policy allows. A successor is made at once, with desired state "ready", so
 * that it can be placed and fetched meanwhile; it may run when its time has come and nothing that
 * it follows can still be running.
 */

#define QUICK_MS     10000 /* a task that lived shorter than this may be in a crash loop */
#define BACKOFF_MS   100   /* for the second quick death; doubles up to the default delay */
#define BACKOFF_STEP 6     /* 100 ms << 6 is over 5 s */

/* Even with a delay of 0 a task that always dies at once must not spin. */
static int64_t delay_of(const struct control *c, const struct mirror_task *ended)
{
	int64_t delay = service_restart_delay_ms(&ended->t->spec.restart);
	int64_t lived = ended->running_ms < 0 ? 0 : c->now.mono_ms - ended->running_ms;
	int64_t quick = ended->t->restarts < BACKOFF_STEP ? ended->t->restarts : BACKOFF_STEP;

	if (lived >= QUICK_MS || quick == 0)
		return delay;
	int64_t backoff = (int64_t)BACKOFF_MS << (quick - 1);
	return delay > backoff ? delay : backoff;
}

static bool window_is_over(const struct control *c, const struct task *t)
{
	int64_t since;

	if (t->spec.restart.window <= 0 || str_empty(t->restarts_since))
		return false;
	if (clock_parse(t->restarts_since, &since, NULL) < 0)
		return true;
	return c->now.wall_ns - since > t->spec.restart.window;
}

/* Restarts that count against the policy, this one not included. */
static int64_t restarts_so_far(const struct control *c, const struct task *t)
{
	return window_is_over(c, t) ? 0 : t->restarts;
}

static bool may_restart(const struct control *c, const struct mirror_task *ended)
{
	const struct service_restart *policy = &ended->t->spec.restart;

	if (!service_restart_wanted(policy, ended->t->status.state))
		return false;
	if (ended->t->job_iteration && ended->t->status.state == TASK_COMPLETE)
		return false;
	return policy->max_attempts <= 0 || restarts_so_far(c, ended->t) < policy->max_attempts;
}

/* A paused update must not go on by way of restarts. */
bool restart_keeps_spec(const struct mirror_service *service, const struct mirror_task *ended)
{
	const struct service_update_status *status = service->s->update_status;

	return ended->t->spec_version != service->s->spec_version && status &&
	       (str_eq(status->state, "paused") || str_eq(status->state, "rollback_paused"));
}

static int count_restart(struct control *c, struct mirror_task *next,
                         const struct mirror_task *ended, struct err *err)
{
	char stamp[CLOCK_TEXT_MAX];
	int64_t so_far = restarts_so_far(c, ended->t);
	const char *since = so_far > 0 && ended->t->restarts_since ? ended->t->restarts_since
	                                                           : control_stamp(c, stamp);

	next->t->restarts_since = arena_strdup(&next->o.arena, since, err);
	next->t->restarts = so_far + 1;
	next->start_ms = c->now.mono_ms + delay_of(c, ended);
	return next->t->restarts_since ? 0 : -1;
}

static int follow(struct control *c, struct mirror_service *service, const struct slot *slot,
                  struct err *err)
{
	struct mirror_task *ended = slot->wanted, *next;
	bool orphaned = ended->t->status.state == TASK_ORPHANED;

	if (!orphaned && !may_restart(c, ended)) {
		ended->t->done = true;
		mirror_touch(&c->m, &ended->o);
		mirror_set_desired(&c->m, ended, TASK_SHUTDOWN);
		return 0;
	}
	mirror_set_desired(&c->m, ended, TASK_SHUTDOWN);
	if (slot->number == 0 && (orphaned || !ended->node))
		return 0; /* the orchestrator makes one when the node is back */
	next = orchestrator_add(c, service, slot, restart_keeps_spec(service, ended) ? ended : NULL,
	                        err);
	if (!next)
		return -1;
	if (orphaned) { /* not its fault: at once, and it does not count */
		next->t->restarts = ended->t->restarts;
		return 0;
	}
	return count_restart(c, next, ended, err);
}

/* Something told to stop that may not have. */
static bool is_stopping(const struct slot *slot)
{
	for (size_t i = 0; i < slot->count; i++) {
		const struct task *t = slot->tasks[i]->t;

		if (t->desired > TASK_RUNNING && t->status.state >= TASK_ASSIGNED &&
		    !task_state_is_final(t->status.state))
			return true;
	}
	return false;
}

static void let_go(struct control *c, struct mirror_service *service, const struct slot *slot)
{
	struct mirror_task *task = slot->wanted;

	if (!task || task->t->desired != TASK_READY)
		return;
	if (c->now.mono_ms < task->start_ms) {
		control_wake(service, task->start_ms);
		return;
	}
	if (!is_stopping(slot) || (c->config.unsafe & CONTROL_UNSAFE_HANDOVER))
		mirror_set_desired(&c->m, task, TASK_RUNNING);
}

/* Start-first: the old one goes when the new one runs; if the new one failed, the old one stays. */
static void settle_pair(struct control *c, const struct slot *slot)
{
	if (slot->older && slot->wanted->t->status.state == TASK_RUNNING)
		mirror_set_desired(&c->m, slot->older, TASK_SHUTDOWN);
}

int restart_run(struct control *c, struct mirror_service *service, struct err *err)
{
	auto_slots struct slots slots = {0};

	if (slots_list(&slots, service, err) < 0)
		return -1;
	for (size_t i = 0; i < slots.count; i++) {
		struct slot *slot = &slots.items[i];

		if (!slot->wanted)
			continue;
		settle_pair(c, slot);
		if (slot->older && task_state_is_final(slot->older->t->status.state))
			mirror_set_desired(&c->m, slot->older, TASK_SHUTDOWN);
		if (task_state_is_final(slot->wanted->t->status.state)) {
			if (follow(c, service, slot, err) < 0)
				return -1;
		} else {
			let_go(c, service, slot);
		}
	}
	return 0;
}
