/* SPDX-License-Identifier: Apache-2.0 */
/* state - engine.db: one row per container, kept before anything is acknowledged. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/db.h"
#include "base/failpoint.h"
#include "base/json.h"
#include "base/map.h"
#include "engine/ids.h"
#include "engine/private.h"

#define ROW_MAX (8u << 20)

const char *const state_schema[] = {
	"create table meta(key text primary key, value text not null);"
	"create table container(id text primary key, name text not null unique, created integer not "
	"null, image text not null, request text not null, mounts text not null, status text not "
	"null, pid integer not null, started integer not null, finished integer not null, exit_code "
	"integer not null, oom integer not null, error text not null, restarts integer not null, "
	"manually_stopped integer not null, ports text not null);"
	"create table volume(name text primary key, labels text not null, options text not null, "
	"created integer not null, anonymous integer not null);"
	"create table volume_use(volume text not null references volume(name), container text not "
	"null references container(id) on delete cascade, primary key(volume, container));",
	"alter table container add column first_id integer not null default 0;",
	NULL,
};

static int write_ports(const struct netinfo *info, struct buf *out, struct err *err)
{
	auto_type(json) list = json_array();

	for (size_t i = 0; info && i < info->port_count; i++) {
		const struct net_port *port = &info->ports[i];
		struct json *one = json_object();
		int bad = json_set(one, "container", json_int(port->container_port)) |
		          json_set(one, "host", json_int(port->host_port)) |
		          json_set(one, "proto", json_string(port->proto)) |
		          json_set(one, "ip", json_string(port->host_ip)) | json_append(list, one);
		if (bad < 0)
			return err_nomem(err);
	}
	return json_write(list, out, err);
}

/* A container of --rm does not survive a power cut anyway (the reconciler removes it): its rows need not
 * reach the disk at once. */
static void relax(const struct container *c, const struct config *config)
{
	if (config->create.host.auto_remove)
		db_relax(c->engine->db);
}

static void relax_end(const struct container *c, const struct config *config)
{
	if (config->create.host.auto_remove)
		db_relax_end(c->engine->db);
}

static int insert(struct container *c, struct err *err)
{
	auto_buf struct buf request = BUF_INIT(ROW_MAX), mounts = BUF_INIT(ROW_MAX);
	struct db *db = c->engine->db;
	int rc = 0;

	if (api_container_create_write(&c->config->create, &request, err) < 0 ||
	    config_write_mounts(c->config, &mounts, err) < 0 || buf_check(&request, err) < 0 ||
	    buf_check(&mounts, err) < 0)
		return -1;
	if (FAILPOINT("state.insert", err) < 0 || db_begin(db, err) < 0)
		return -1;
	rc = db_exec(db, err, "insert into container values(?,?,?,?,?,?,?,0,0,0,0,0,'',0,0,'[]',?)",
	             "ttitttti", c->id, c->name, c->created_ns, c->image_id, buf_str(&request),
	             buf_str(&mounts), status_text(c->status), (int64_t)c->first_id);
	for (size_t i = 0; rc >= 0 && i < c->config->mount_count; i++)
		if (strcmp(c->config->mounts[i].type, "volume") == 0)
			rc = db_exec(db, err, "insert or ignore into volume_use values(?,?)", "tt",
			             c->config->mounts[i].name, c->id);
	if (rc < 0) {
		db_rollback(db);
		return -1;
	}
	return db_commit(db, err);
}

int state_insert(struct container *c, struct err *err)
{
	auto_type(config) config = container_config(c);

	relax(c, config);
	int rc = insert(c, err);
	relax_end(c, config);
	return rc;
}

static int save(struct container *c, struct err *err)
{
	auto_buf struct buf ports = BUF_INIT(ROW_MAX);
	auto_type(netinfo) info = container_netinfo(c);

	if (write_ports(info, &ports, err) < 0 || buf_check(&ports, err) < 0 ||
	    FAILPOINT("state.save", err) < 0)
		return -1;
	pthread_mutex_lock(&c->lock);
	auto_free char *name = strdup(c->name), *error = strdup(c->error);
	int64_t pid = c->pid, started = c->started_ns, finished = c->finished_ns;
	int64_t code = c->exit_code, oom = c->oom_killed, restarts = c->restart_count;
	int64_t stopped = c->manually_stopped;
	enum container_status status = c->status;
	pthread_mutex_unlock(&c->lock);
	if (!name || !error)
		return err_nomem(err);
	return db_exec(c->engine->db, err,
	               "update container set name=?, status=?, pid=?, started=?, finished=?, "
	               "exit_code=?, oom=?, error=?, restarts=?, manually_stopped=?, ports=? "
	               "where id=?",
	               "ttiiiiitiitt", name, status_text(status), pid, started, finished, code, oom,
	               error, restarts, stopped, buf_str(&ports), c->id) < 0
	               ? -1
	               : 0;
}

int state_save(struct container *c, struct err *err)
{
	auto_type(config) config = container_config(c);

	relax(c, config);
	int rc = save(c, err);
	relax_end(c, config);
	return rc;
}

int state_save_config(struct container *c, const struct config *config, struct err *err)
{
	auto_buf struct buf request = BUF_INIT(ROW_MAX);

	if (api_container_create_write(&config->create, &request, err) < 0 ||
	    buf_check(&request, err) < 0)
		return -1;
	return db_exec(c->engine->db, err, "update container set request=? where id=?", "tt",
	               buf_str(&request), c->id) < 0
	               ? -1
	               : 0;
}

int state_delete(struct container *c, struct err *err)
{
	auto_type(config) config = container_config(c);

	if (FAILPOINT("state.delete", err) < 0)
		return -1;
	relax(c, config);
	int rc = db_exec(c->engine->db, err, "delete from container where id=?", "t", c->id);
	relax_end(c, config);
	return rc < 0 ? -1 : 0;
}

static int read_ports(const char *text, struct netinfo *info, struct err *err)
{
	auto_type(json) list = json_parse(text, strlen(text), err);

	if (!list)
		return -1;
	info->ports = arena_array(&info->arena, json_count(list) + 1, sizeof(*info->ports), err);
	if (!info->ports)
		return -1;
	for (size_t i = 0; i < json_count(list); i++) {
		const struct json *one = json_at(list, i);
		const char *proto = json_get_string(one, "proto"), *ip = json_get_string(one, "ip");
		struct net_port *port = &info->ports[info->port_count++];
		port->container_port = (uint16_t)json_get_int(one, "container", 0);
		port->host_port = (uint16_t)json_get_int(one, "host", 0);
		snprintf(port->proto, sizeof(port->proto), "%s", proto ? proto : "tcp");
		snprintf(port->host_ip, sizeof(port->host_ip), "%s", ip ? ip : "");
	}
	return 0;
}

/* Columns in the order of the select in state_load(). */
static struct container *load_row(struct engine *engine, struct db_rows *row, struct err *err)
{
	auto_type(container) c = NULL;

	if (!id_is_hex(db_text(row, 0), 64, 64))
		return err_set(err, ERR_INTERNAL, "engine.db: container id '%s'", db_text(row, 0)),
		       NULL;
	c = container_new(engine, db_text(row, 0), err);
	if (!c)
		return NULL;
	c->name = strdup(db_text(row, 1));
	if (!c->name)
		return err_nomem(err), NULL;
	c->created_ns = db_int(row, 2);
	snprintf(c->image_id, sizeof(c->image_id), "%s", db_text(row, 3));
	c->config = config_parse(db_text(row, 4), db_text(row, 5), err);
	c->netinfo = c->config ? netinfo_create(err) : NULL;
	if (!c->netinfo || read_ports(db_text(row, 15), c->netinfo, err) < 0)
		return err_wrap(err, "engine.db: container %s", c->name), NULL;
	if (!status_parse(db_text(row, 6), &c->status))
		c->status = STATUS_DEAD;
	c->pid = (pid_t)db_int(row, 7);
	c->started_ns = db_int(row, 8);
	c->finished_ns = db_int(row, 9);
	c->exit_code = (int)db_int(row, 10);
	c->oom_killed = db_int(row, 11);
	snprintf(c->error, sizeof(c->error), "%s", db_text(row, 12));
	c->restart_count = db_int(row, 13);
	c->manually_stopped = db_int(row, 14);
	c->first_id = (uint32_t)db_int(row, 16);
	if (c->first_id)
		ids_share(engine->ids, c->first_id);
	return move_ptr(c);
}

int state_load(struct engine *engine, struct err *err)
{
	auto_type(db_rows) rows = db_query(
		engine->db, err,
		"select id, name, created, image, request, mounts, status, pid, started, finished, "
		"exit_code, oom, error, restarts, manually_stopped, ports, first_id from container order by "
		"created",
		"");
	int rc;

	if (!rows)
		return -1;
	while ((rc = db_step(rows, err)) > 0) {
		struct container *c = load_row(engine, rows, err);
		if (!c)
			return -1;
		if (map_set(engine->by_id, c->id, c, NULL, err) < 0 ||
		    map_set(engine->by_name, c->name, c, NULL, err) < 0)
			return -1;
	}
	return rc;
}

int state_engine_id(struct engine *engine, struct err *err)
{
	auto_type(db_rows) rows =
		db_query(engine->db, err, "select value from meta where key='id'", "");
	int rc = rows ? db_step(rows, err) : -1;

	if (rc < 0)
		return -1;
	if (rc > 0 && id_is_hex(db_text(rows, 0), 64, 64)) {
		snprintf(engine->id, sizeof(engine->id), "%s", db_text(rows, 0));
		return 0;
	}
	id_make_hex(engine->id);
	return db_exec(engine->db, err, "insert or replace into meta values('id', ?)", "t",
	               engine->id) < 0
	               ? -1
	               : 0;
}
