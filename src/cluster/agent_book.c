/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent has been told, in memory and on the disk. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/db.h"
#include "base/err.h"
#include "base/map.h"
#include "base/str.h"
#include "cluster/agent_state.h"

#define DATABASE "agent.db"

static const char *const migrations[] = {
	"create table mark(name text primary key, value integer not null);"
	"create table task(id text primary key, text text not null, desired integer not null,"
	" state integer not null, status text, dropped integer not null)",
	"create table manager(addr text primary key)",
	NULL,
};

void record_free(struct record *record)
{
	if (!record)
		return;
	free(record->text);
	free(record->slot);
	free(record->status);
	free(record);
}
DEFINE_AUTO(record)

static void slot_name(const struct task *t, char *text, size_t size)
{
	snprintf(text, size, "%s/%lld", t->service_id ? t->service_id : "", (long long)t->slot);
}

/* Makes the record of a task; text is copied. */
static struct record *record_make(const char *text, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(MODEL_ARENA_MAX);
	auto_type(record) record = calloc(1, sizeof(*record));
	const struct task *t = task_decode(text, strlen(text), &arena, err);
	char slot[96];

	if (!t || !record) {
		if (t)
			err_nomem(err);
		return NULL;
	}
	slot_name(t, slot, sizeof(slot));
	snprintf(record->id, sizeof(record->id), "%s", t->id);
	record->text = strdup(text);
	record->slot = strdup(slot);
	record->desired = t->desired;
	record->state = t->status.state;
	if (!record->text || !record->slot) {
		err_nomem(err);
		return NULL;
	}
	return move_ptr(record);
}

/* ---- the disk ---- */

static int load_task(struct agent *agent, struct db_rows *rows, struct err *err)
{
	auto_type(record) record = record_make(db_text(rows, 1), err);
	const char *status = db_text(rows, 4);

	if (!record)
		return -1;
	record->desired = (enum task_state)db_int(rows, 2);
	record->state = (enum task_state)db_int(rows, 3);
	record->dropped = db_int(rows, 5) != 0;
	if (status) {
		record->status = strdup(status);
		record->status_version = ++agent->news;
	}
	if (map_set(agent->records, record->id, record, NULL, err) < 0)
		return -1;
	move_ptr(record);
	return 0;
}

static int load_managers(struct agent *agent, struct err *err)
{
	int more;
	auto_type(db_rows) rows = db_query(agent->db, err, "select addr from manager", "");

	if (!rows)
		return -1;
	while ((more = db_step(rows, err)) > 0 && agent->manager_count < AGENT_MANAGERS_MAX)
		snprintf(agent->managers[agent->manager_count++], ADDRESS_MAX, "%.90s",
		         db_text(rows, 0));
	return more < 0 ? -1 : 0;
}

static int write_managers(struct agent *agent, const struct json *list, struct err *err)
{
	if (db_exec(agent->db, err, "delete from manager", "") < 0)
		return -1;
	for (size_t i = 0; i < json_count(list) && i < AGENT_MANAGERS_MAX; i++)
		if (db_exec(agent->db, err, "insert or ignore into manager(addr) values(?)", "t",
		            json_str(json_at(list, i))) < 0)
			return -1;
	return 0;
}

static bool same_managers(const struct agent *agent, const struct json *list)
{
	if (json_count(list) != agent->manager_count)
		return false;
	for (size_t i = 0; i < agent->manager_count; i++)
		if (!str_eq(agent->managers[i], json_str(json_at(list, i))))
			return false;
	return true;
}

int book_set_managers(struct agent *agent, const struct json *list, struct err *err)
{
	if (json_count(list) == 0 || same_managers(agent, list))
		return 0;
	if (db_begin(agent->db, err) < 0)
		return -1;
	if (write_managers(agent, list, err) < 0) {
		db_rollback(agent->db);
		return -1;
	}
	if (db_commit(agent->db, err) < 0)
		return -1;
	char now[ADDRESS_MAX];
	snprintf(now, sizeof(now), "%s",
	         agent->at > 0 && agent->at <= agent->manager_count ? agent->managers[agent->at - 1]
	                                                            : "");
	agent->manager_count = 0;
	agent->at = 0;
	for (size_t i = 0; i < json_count(list) && i < AGENT_MANAGERS_MAX; i++) {
		const char *addr = json_str(json_at(list, i));

		snprintf(agent->managers[agent->manager_count++], ADDRESS_MAX, "%.90s",
		         addr ? addr : "");
		if (str_eq(addr, now))
			agent->at = agent->manager_count;
	}
	return 0;
}

int book_open(struct agent *agent, int dir_fd, struct err *err)
{
	int more;

	agent->db = db_open(dir_fd, DATABASE, migrations, DB_FULL, err);
	if (!agent->db || db_query_int(agent->db, err, &agent->epoch,
	                               "select value from mark where name = 'epoch'", "") < 0)
		return -1;
	auto_type(db_rows) rows = db_query(
		agent->db, err, "select id, text, desired, state, status, dropped from task", "");
	if (!rows)
		return -1;
	while ((more = db_step(rows, err)) > 0)
		if (load_task(agent, rows, err) < 0)
			return -1;
	return more < 0 ? -1 : load_managers(agent, err);
}

int book_set_epoch(struct agent *agent, int64_t epoch, struct err *err)
{
	if (epoch <= agent->epoch)
		return 0;
	if (db_exec(agent->db, err,
	            "insert into mark(name, value) values('epoch', ?)"
	            " on conflict(name) do update set value = excluded.value",
	            "i", epoch) < 0)
		return -1;
	agent->epoch = epoch;
	return 0;
}

int book_save_status(struct agent *agent, const struct record *record, struct err *err)
{
	return db_exec(agent->db, err, "update task set state = ?, status = ? where id = ?", "itt",
	               (int64_t)record->state, record->status, record->id);
}

int book_forget(struct agent *agent, const char *task_id, struct err *err)
{
	return db_exec(agent->db, err, "delete from task where id = ?", "t", task_id);
}

/* ---- assignments ---- */

static bool is_in(const struct proto_assignments *set, const char *id)
{
	const struct task *tasks = set->tasks.items;

	for (size_t i = 0; i < set->tasks.count; i++)
		if (str_eq(tasks[i].id, id))
			return true;
	return false;
}

static enum task_state higher(enum task_state a, enum task_state b)
{
	return a > b ? a : b;
}

static int write_task(struct agent *agent, const struct task *t, const char *text, struct err *err)
{
	return db_exec(agent->db, err,
	               "insert into task(id, text, desired, state, dropped) values(?, ?, ?, ?, 0)"
	               " on conflict(id) do update set desired = max(desired, excluded.desired)",
	               "ttii", t->id, text, (int64_t)t->desired, (int64_t)t->status.state);
}

static int write_drop(struct agent *agent, const char *id, struct err *err)
{
	return db_exec(agent->db, err, "update task set dropped = 1 where id = ?", "t", id);
}

/* Which of our records this set takes away, as ids. */
static bool is_dropped(const struct proto_assignments *set, const char *id)
{
	if (str_eq(set->type, PROTO_COMPLETE))
		return !is_in(set, id);
	for (size_t i = 0; i < set->removed.count; i++)
		if (str_eq(set->removed.items[i], id))
			return true;
	return false;
}

static int write_all(struct agent *agent, const struct proto_assignments *set,
                     struct record *const *fresh, struct err *err)
{
	const struct task *tasks = set->tasks.items;
	const char *id;
	void *value;

	for (size_t i = 0; i < set->tasks.count; i++)
		if (write_task(agent, &tasks[i], fresh[i]->text, err) < 0)
			return -1;
	map_for_each (agent->records, iter, &id, &value)
		if (is_dropped(set, id) && write_drop(agent, id, err) < 0)
			return -1;
	return 0;
}

/* After the commit; cannot fail but for memory, which the next complete set heals. */
static int take_over(struct agent *agent, const struct proto_assignments *set,
                     struct record **fresh, struct err *err)
{
	const char *id;
	void *value;

	for (size_t i = 0; i < set->tasks.count; i++) {
		struct record *known = map_find(agent->records, fresh[i]->id);

		if (known) {
			known->desired = higher(known->desired, fresh[i]->desired);
			task_kick(agent, known);
			continue;
		}
		if (map_set(agent->records, fresh[i]->id, fresh[i], NULL, err) < 0)
			return -1;
		task_kick(agent, move_ptr(fresh[i]));
	}
	map_for_each (agent->records, iter, &id, &value) {
		struct record *record = value;

		if (!is_dropped(set, id))
			continue;
		record->dropped = true;
		task_kick(agent, record);
	}
	return 0;
}

static struct record *record_of(const struct task *t, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(MODEL_TEXT_MAX);

	if (json_encode_text(&task_table, t, &text, err) < 0)
		return NULL;
	return record_make(buf_str(&text), err);
}

static int apply(struct agent *agent, const struct proto_assignments *set, struct record **fresh,
                 struct err *err)
{
	const struct task *tasks = set->tasks.items;

	for (size_t i = 0; i < set->tasks.count; i++) {
		fresh[i] = record_of(&tasks[i], err);
		if (!fresh[i])
			return -1;
	}
	if (db_begin(agent->db, err) < 0)
		return -1;
	if (write_all(agent, set, fresh, err) < 0) {
		db_rollback(agent->db);
		return -1;
	}
	if (db_commit(agent->db, err) < 0)
		return -1;
	return take_over(agent, set, fresh, err);
}

int book_apply(struct agent *agent, const struct proto_assignments *set, struct err *err)
{
	struct record **fresh = calloc(set->tasks.count + 1, sizeof(struct record *));

	if (!fresh)
		return err_nomem(err);
	int rc = apply(agent, set, fresh, err);
	for (size_t i = 0; i < set->tasks.count; i++)
		record_free(fresh[i]);
	free(fresh);
	return rc;
}
