/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/control_state.h"

/*
 * update - replaces the tasks of an older spec, some slots at a time.
 *
 * What is left to do is read from the slots each time, so an update goes on after a change of
 * leader. A slot is old, in flight (its new task does not run yet, or has not run for `delay`)
 * or settled. A new task that ends by itself within `monitor` counts as a failure of the update, whatever its
 * exit code; the update goes on with the next slot all the same, unless that was one failure too many. The restart
 * policy looks after the slot.
 */

struct progress {
	const struct service_update_config *config;
	size_t old, in_flight, failed, total;
	int64_t last_running_ms;
	const struct mirror_task *failure;
};

static bool is_rollback(const struct service *s)
{
	return s->update_status && str_starts(s->update_status->state, "rollback");
}

static bool is_active(const struct service *s)
{
	return s->update_status && (str_eq(s->update_status->state, "updating") ||
	                            str_eq(s->update_status->state, "rollback_started"));
}

static bool is_paused(const struct service *s)
{
	return s->update_status && (str_eq(s->update_status->state, "paused") ||
	                            str_eq(s->update_status->state, "rollback_paused"));
}

static int64_t monitor_ms(const struct service_update_config *config)
{
	return config->monitor == SERVICE_UNSET ? 5000 : config->monitor / 1000000;
}

static int set_status(struct control *c, struct mirror_service *service, const char *state,
                      const char *message, struct err *err)
{
	struct service *s = service->s;
	struct arena *arena = &service->o.arena;
	struct service_update_status *status = arena_alloc(arena, sizeof(*status), err);
	char stamp[CLOCK_TEXT_MAX];
	bool begins = str_eq(state, "updating") || str_eq(state, "rollback_started");

	if (!status)
		return -1;
	status->state = arena_strdup(arena, state, err);
	status->message = arena_strdup(arena, message, err);
	control_stamp(c, stamp);
	if (begins)
		status->started_at = arena_strdup(arena, stamp, err);
	else if (s->update_status)
		status->started_at = s->update_status->started_at;
	if (str_ends(state, "completed"))
		status->completed_at = arena_strdup(arena, stamp, err);
	if (!status->state || !status->message || (begins && !status->started_at))
		return -1;
	s->update_status = status;
	mirror_touch(&c->m, &service->o);
	return 0;
}

void update_set_version(struct service *s, bool replaces)
{
	if (s->newest_version < s->spec_version)
		s->newest_version = s->spec_version;
	s->previous_version = s->spec_version;
	if (replaces)
		s->spec_version = ++s->newest_version;
}

void update_swap_versions(struct service *s)
{
	int64_t previous = s->previous_version;

	if (previous == 0 || service_mode_is_job(s->spec.mode)) { /* a job's run is not undone */
		update_set_version(s, true);
		return;
	}
	s->previous_version = s->spec_version;
	s->spec_version = previous;
}

int update_begin(struct control *c, struct mirror_service *service, bool rollback, struct err *err)
{
	if (rollback)
		return set_status(c, service, "rollback_started", "manually requested rollback",
		                  err);
	return set_status(c, service, "updating", "update in progress", err);
}

/* ---- looking ---- */

static bool is_old(const struct slot *slot, const struct service *s)
{
	const struct mirror_task *newest = slot->tasks[slot->count - 1];

	if (!slot->wanted || slot->wanted->t->spec_version == s->spec_version)
		return false;
	/* Start-first, and the new task ended for good: the old one stays. */
	return !(newest->t->done && newest->t->spec_version == s->spec_version);
}

static bool ended_early(const struct progress *p, const struct mirror_task *task)
{
	enum task_state state = task->t->status.state;

	if (state != TASK_FAILED && state != TASK_REJECTED && state != TASK_COMPLETE)
		return false;
	return task->running_ms < 0 || task->ended_ms - task->running_ms <= monitor_ms(p->config);
}

static const struct mirror_task *failure_in(const struct progress *p, const struct slot *slot,
                                            const struct service *s)
{
	for (size_t i = slot->count; i-- > 0;)
		if (slot->tasks[i]->t->spec_version == s->spec_version &&
		    ended_early(p, slot->tasks[i]))
			return slot->tasks[i];
	return NULL;
}

static bool is_in_flight(struct control *c, struct mirror_service *service,
                         const struct progress *p, const struct mirror_task *task)
{
	int64_t until = task->running_ms + p->config->delay / 1000000;

	if (task->t->status.state != TASK_RUNNING)
		return true;
	if (c->now.mono_ms >= until)
		return false;
	control_wake(service, until);
	return true;
}

static void look(struct control *c, struct mirror_service *service, const struct slots *slots,
                 struct progress *p)
{
	const struct service *s = service->s;

	for (size_t i = 0; i < slots->count; i++) {
		const struct slot *slot = &slots->items[i];
		const struct mirror_task *failure = failure_in(p, slot, s);

		if (!slot->wanted && !slot->done)
			continue;
		p->total++;
		if (failure) {
			p->failed++;
			p->failure = failure;
		}
		if (is_old(slot, s)) {
			p->old++;
			continue;
		}
		if (!slot->wanted || slot->wanted->t->spec_version != s->spec_version)
			continue;
		if (failure && slot->wanted->t->status.state != TASK_RUNNING)
			continue;
		if (is_in_flight(c, service, p, slot->wanted))
			p->in_flight++;
		else if (slot->wanted->running_ms > p->last_running_ms)
			p->last_running_ms = slot->wanted->running_ms;
	}
}

/* ---- acting ---- */

static int roll_back(struct control *c, struct mirror_service *service, const char *message,
                     struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(MODEL_ARENA_MAX);
	struct service back = *service->s;
	struct service_spec spec;

	if (service_spec_decode(back.previous_raw, &arena, &spec, err) < 0)
		return -1;
	/* Someone may have taken a port it had before: then it keeps those of the failed spec. */
	(void)allocator_assign(c, service->o.id, &spec, &arena, &back.endpoint, NULL);
	back.spec_raw = service->s->previous_raw;
	back.previous_raw = service->s->spec_raw;
	update_swap_versions(&back);
	if (mirror_change_service(&c->m, service, &back, err) < 0)
		return -1;
	return set_status(c, service, "rollback_started", message, err);
}

static int fail(struct control *c, struct mirror_service *service, const struct progress *p,
                struct err *err)
{
	const char *action = p->config->failure_action;
	bool back = is_rollback(service->s);
	char message[128];

	snprintf(message, sizeof(message),
	         "update rolled back due to failure or early termination of task %s",
	         p->failure->o.id);
	if (str_eq(action, "rollback") && !back && service->s->previous_raw)
		return roll_back(c, service, message, err);
	snprintf(message, sizeof(message),
	         "%s paused due to failure or early termination of task %s",
	         back ? "rollback" : "update", p->failure->o.id);
	return set_status(c, service, back ? "rollback_paused" : "paused", message, err);
}

/* Start-first was under way when the spec went back: the task that is still there is the right one. */
static bool has_right_one(const struct slot *slot, const struct service *s)
{
	return slot->older && slot->older->t->spec_version == s->spec_version &&
	       !task_state_is_final(slot->older->t->status.state);
}

static int start_some(struct control *c, struct mirror_service *service, const struct slots *slots,
                      const struct progress *p, struct err *err)
{
	bool start_first = str_eq(p->config->order, "start-first");
	size_t room = p->config->parallelism > 0 ? (size_t)p->config->parallelism : SIZE_MAX;

	if (p->in_flight >= room)
		return 0;
	room -= p->in_flight;
	for (size_t i = 0; i < slots->count && room > 0; i++) {
		if (!is_old(&slots->items[i], service->s))
			continue;
		if (has_right_one(&slots->items[i], service->s)) {
			mirror_set_desired(&c->m, slots->items[i].wanted, TASK_SHUTDOWN);
			continue;
		}
		if (orchestrator_replace(c, service, &slots->items[i], start_first, err) < 0)
			return -1;
		room--;
	}
	service->evaluate = true; /* the new tasks may be let go in this very step */
	return 0;
}

static int complete(struct control *c, struct mirror_service *service, const struct progress *p,
                    struct err *err)
{
	int64_t watched_until = p->last_running_ms + monitor_ms(p->config);
	bool back = is_rollback(service->s);

	if (p->in_flight > 0)
		return 0;
	if (c->now.mono_ms < watched_until) {
		control_wake(service, watched_until);
		return 0;
	}
	return set_status(c, service, back ? "rollback_completed" : "completed",
	                  back ? "rollback completed" : "update completed", err);
}

static bool has_failed(const struct progress *p)
{
	if (p->failed == 0 || str_eq(p->config->failure_action, "continue"))
		return false;
	return (double)p->failed > p->config->max_failure_ratio * (double)p->total;
}

int update_run(struct control *c, struct mirror_service *service, struct err *err)
{
	auto_slots struct slots slots = {0};
	struct progress p = {.config = is_rollback(service->s) ? &service->s->spec.rollback
	                                                       : &service->s->spec.update,
	                     .last_running_ms = INT64_MIN / 2};

	if (is_paused(service->s) || service_mode_is_job(service->s->spec.mode))
		return 0;
	if (slots_list(&slots, service, err) < 0)
		return -1;
	look(c, service, &slots, &p);
	if (p.old == 0 && !is_active(service->s))
		return 0;
	if (!is_active(service->s) && update_begin(c, service, false, err) < 0)
		return -1;
	if (has_failed(&p))
		return fail(c, service, &p, err);
	if (p.old > 0)
		return start_some(c, service, &slots, &p, err);
	return complete(c, service, &p, err);
}
