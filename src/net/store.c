/* SPDX-License-Identifier: Apache-2.0 */
#include "net/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/db.h"
#include "base/err.h"
#include "base/str.h"

#define NETWORK_MAX 4096 /* rows that are read into one list */
#define LIST_MAX    65536

static const char *const migrations[] = {
	"create table network(id text primary key, name text not null unique, driver text not null,"
	" subnet text not null, gateway text not null, ip_range text not null,"
	" bridge text not null, mtu integer not null, internal integer not null,"
	" attachable integer not null, masquerade integer not null, isolated integer not null,"
	" created_ns integer not null, meta text not null);"
	"create table sandbox(container_id text primary key, dns text not null default '');"
	"create table endpoint(id text primary key,"
	" network_id text not null references network(id),"
	" container_id text not null references sandbox(container_id),"
	" ip integer not null, prefix integer not null, mac text not null,"
	" interface text not null, host_if text not null, seq integer not null,"
	" unique(network_id, ip), unique(network_id, container_id),"
	" unique(container_id, interface));"
	"create table name(endpoint_id text not null references endpoint(id) on delete cascade,"
	" network_id text not null, name text not null collate nocase, own integer not null);"
	"create index name_by_name on name(network_id, name);"
	"create index name_by_endpoint on name(endpoint_id);"
	"create table port(proto text not null, host_ip integer not null,"
	" host_port integer not null, container_id text not null references sandbox(container_id),"
	" port integer not null, primary key(proto, host_ip, host_port));"
	"create index port_by_container on port(container_id);"
	"create table service(position integer primary key, proto text not null,"
	" port integer not null);"
	"create table backend(position integer not null, ip integer not null, port integer not null);"
	"create table setting(key text primary key, value integer not null);",
	"alter table network add column vni integer not null default 0;"
	"create table peer(network_id text not null, ip integer not null, node text not null,"
	" primary key(network_id, ip));"
	"create table overlay_name(network_id text not null, name text not null collate nocase,"
	" ip integer not null);"
	"create index overlay_name_by_name on overlay_name(network_id, name);"
	"create table vip(network_id text not null, ip integer not null, backend integer not null,"
	" primary key(network_id, ip, backend));",
	NULL,
};

struct db *store_open(int dir_fd, const char *name, struct err *err)
{
	return db_open(dir_fd, name, migrations, DB_NORMAL, err);
}

int store_sync(struct db *db, struct err *err)
{
	int64_t busy;

	return db_query_int(db, err, &busy, "pragma wal_checkpoint(passive)", "") < 0 ? -1 : 0;
}

/* db_exec() tells how many rows changed; our callers only want to know whether it worked. */
static int done(int changed)
{
	return changed < 0 ? -1 : 0;
}

struct list {
	void *items;
	size_t count;
};

struct shape {
	size_t size; /* of an item */
	size_t max;  /* items */
	int (*read)(struct db_rows *rows, struct arena *arena, void *item, struct err *err);
};

static int grow(struct arena *arena, size_t size, struct list *list, size_t *cap, struct err *err)
{
	void *more = arena_array(arena, *cap * 2, size, err);

	if (!more)
		return -1;
	memcpy(more, list->items, list->count * size);
	list->items = more;
	*cap *= 2;
	return 0;
}

/* Steps through rows into an array in the arena. */
static int collect(struct db_rows *rows, struct arena *arena, const struct shape *shape,
                   struct list *out, struct err *err)
{
	struct list list = {0};
	size_t cap = 16;
	int step;

	list.items = arena_array(arena, cap, shape->size, err);
	if (!list.items || !rows)
		return -1;
	while ((step = db_step(rows, err)) > 0) {
		if (list.count == shape->max)
			return err_set(err, ERR_LIMIT, "more than %zu rows in net.db", shape->max);
		if (list.count == cap && grow(arena, shape->size, &list, &cap, err) < 0)
			return -1;
		if (shape->read(rows, arena, (char *)list.items + list.count * shape->size, err) <
		    0)
			return -1;
		list.count++;
	}
	if (step < 0)
		return -1;
	*out = list;
	return 0;
}

static void copy_text(char *to, size_t size, const char *text)
{
	snprintf(to, size, "%s", text ? text : "");
}

/* ---- networks ---- */

struct meta {
	struct json_strmap labels, options;
};

static const struct json_field meta_fields[] = {
	JSON_FIELD(struct meta, labels, "labels", JSON_STRMAP, .empty = JSON_EMPTY_EMPTY),
	JSON_FIELD(struct meta, options, "options", JSON_STRMAP, .empty = JSON_EMPTY_EMPTY),
	JSON_END,
};
static const struct json_table meta_table = JSON_TABLE(struct meta, meta_fields);

int store_network_insert(struct db *db, const struct store_network *network, struct err *err)
{
	const struct net_network *n = &network->n;
	struct meta meta = {.labels = n->labels, .options = n->options};
	auto_buf struct buf text = BUF_INIT(1 << 20);
	char range[CIDR_TEXT_MAX];

	if (json_encode_text(&meta_table, &meta, &text, err) < 0 || buf_check(&text, err) < 0)
		return -1;
	return done(db_exec(db, err,
	                    "insert into network values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
	                    " ?)",
	                    "tttttttiiiiiiti", n->id, n->name, n->driver, n->subnet, n->gateway,
	                    n->subnet[0] ? cidr_format(&network->range, range) : "", n->bridge,
	                    (int64_t)network->mtu, (int64_t)n->internal, (int64_t)n->attachable,
	                    (int64_t)network->masquerade, (int64_t)network->isolated, n->created_ns,
	                    buf_str(&text), (int64_t)network->vni));
}

static int read_meta(const char *text, struct arena *arena, struct net_network *n, struct err *err)
{
	struct meta meta = {0};

	if (!text || json_decode_text(text, strlen(text), &meta_table, arena, &meta, err) < 0)
		return text ? -1 : err_set(err, ERR_INTERNAL, "a network without labels in net.db");
	n->labels = meta.labels;
	n->options = meta.options;
	return 0;
}

static int read_network(struct db_rows *rows, struct arena *arena, void *item, struct err *err)
{
	struct store_network *out = item;
	struct net_network *n = &out->n;

	copy_text(n->id, sizeof(n->id), db_text(rows, 0));
	n->name = arena_strdup(arena, db_text(rows, 1), err);
	n->driver = arena_strdup(arena, db_text(rows, 2), err);
	n->scope = arena_strdup(arena, str_eq(n->driver, "overlay") ? "swarm" : "local", err);
	if (!n->name || !n->driver || !n->scope)
		return -1;
	copy_text(n->subnet, sizeof(n->subnet), db_text(rows, 3));
	copy_text(n->gateway, sizeof(n->gateway), db_text(rows, 4));
	copy_text(n->bridge, sizeof(n->bridge), db_text(rows, 6));
	out->mtu = (int)db_int(rows, 7);
	n->internal = db_int(rows, 8) != 0;
	n->attachable = db_int(rows, 9) != 0;
	out->masquerade = db_int(rows, 10) != 0;
	out->isolated = db_int(rows, 11) != 0;
	n->created_ns = db_int(rows, 12);
	out->vni = (uint32_t)db_int(rows, 14);
	if (read_meta(db_text(rows, 13), arena, n, err) < 0)
		return -1;
	if (n->subnet[0] == '\0')
		return 0;
	if (cidr_parse(n->subnet, &out->subnet, err) < 0 ||
	    cidr_parse_ip(n->gateway, &out->gateway, err) < 0)
		return -1;
	return cidr_parse(db_text(rows, 5), &out->range, err);
}

static const struct shape network_shape = {
	.size = sizeof(struct store_network), .max = NETWORK_MAX, .read = read_network};

static int find_networks(struct db *db, const char *name, struct arena *arena, struct list *out,
                         struct err *err)
{
	auto_type(db_rows) rows =
		db_query(db, err, "select * from network where id = ?1 or name = ?1", "t", name);

	return collect(rows, arena, &network_shape, out, err);
}

static int find_by_prefix(struct db *db, const char *prefix, struct arena *arena, struct list *out,
                          struct err *err)
{
	char end[ID_HEX_MAX + 1];

	snprintf(end, sizeof(end), "%sg", prefix);
	auto_type(db_rows) rows = db_query(
		db, err, "select * from network where id >= ?1 and id < ?2", "tt", prefix, end);

	return collect(rows, arena, &network_shape, out, err);
}

int store_network_find(struct db *db, const char *name, struct arena *arena,
                       struct store_network *out, struct err *err)
{
	struct list found;

	if (find_networks(db, name, arena, &found, err) < 0)
		return -1;
	if (found.count == 0 && id_is_hex(name, 1, 64) &&
	    find_by_prefix(db, name, arena, &found, err) < 0)
		return -1;
	if (found.count == 0)
		return err_set(err, ERR_NOT_FOUND, "network %.128s not found", name);
	if (found.count > 1)
		return err_set(err, ERR_INVALID, "network %s is ambiguous (%zu matches found)",
		               name, found.count);
	*out = *(struct store_network *)found.items;
	return 0;
}

int store_network_list(struct db *db, struct arena *arena, struct store_network **out,
                       size_t *count, struct err *err)
{
	auto_type(db_rows) rows =
		db_query(db, err, "select * from network order by created_ns, name", "");
	struct list list;

	if (collect(rows, arena, &network_shape, &list, err) < 0)
		return -1;
	*out = list.items;
	*count = list.count;
	return 0;
}

int store_network_delete(struct db *db, const char *id, struct err *err)
{
	return done(db_exec(db, err, "delete from network where id = ?", "t", id));
}

/* ---- sandboxes ---- */

int store_sandbox_insert(struct db *db, const char *container_id, struct err *err)
{
	return done(db_exec(db, err, "insert or ignore into sandbox(container_id) values(?)", "t",
	                    container_id));
}

bool store_sandbox_exists(struct db *db, const char *container_id)
{
	int64_t one;

	return db_query_int(db, NULL, &one, "select 1 from sandbox where container_id = ?", "t",
	                    container_id) == 1;
}

int store_sandbox_delete(struct db *db, const char *container_id, struct err *err)
{
	return done(
		db_exec(db, err, "delete from sandbox where container_id = ?", "t", container_id));
}

static int read_text(struct db_rows *rows, struct arena *arena, void *item, struct err *err)
{
	char **text = item;

	*text = arena_strdup(arena, db_text(rows, 0), err);
	return *text ? 0 : -1;
}

int store_sandbox_list(struct db *db, struct arena *arena, char ***ids, size_t *count,
                       struct err *err)
{
	auto_type(db_rows) rows = db_query(db, err, "select container_id from sandbox", "");
	static const struct shape shape = {
		.size = sizeof(char *), .max = LIST_MAX, .read = read_text};
	struct list list;

	if (collect(rows, arena, &shape, &list, err) < 0)
		return -1;
	*ids = list.items;
	*count = list.count;
	return 0;
}

int store_sandbox_set_dns(struct db *db, const char *container_id, const char *dns, struct err *err)
{
	return done(db_exec(db, err, "update sandbox set dns = ?1 where container_id = ?2", "tt",
	                    dns, container_id));
}

/* ---- endpoints ---- */

static int insert_endpoint(struct db *db, const struct store_endpoint *endpoint,
                           const char *const *names, struct err *err)
{
	const struct net_endpoint *e = &endpoint->e;

	if (db_exec(db, err,
	            "insert into endpoint values(?, ?, ?, ?, ?, ?, ?, ?,"
	            " (select coalesce(max(seq), 0) + 1 from endpoint))",
	            "tttiittt", e->id, e->network_id, endpoint->container_id, (int64_t)endpoint->ip,
	            (int64_t)e->prefix_len, e->mac, e->interface, endpoint->host_if) < 0)
		return -1;
	for (size_t i = 0; names[i]; i++)
		if (db_exec(db, err, "insert into name values(?, ?, ?, ?)", "ttti", e->id,
		            e->network_id, names[i], (int64_t)(i == 0)) < 0)
			return -1;
	return 0;
}

int store_endpoint_insert(struct db *db, const struct store_endpoint *endpoint,
                          const char *const *names, struct err *err)
{
	if (db_begin(db, err) < 0)
		return -1;
	if (insert_endpoint(db, endpoint, names, err) < 0) {
		db_rollback(db);
		return -1;
	}
	return db_commit(db, err);
}

int store_endpoint_delete(struct db *db, const char *id, struct err *err)
{
	return done(db_exec(db, err, "delete from endpoint where id = ?", "t", id));
}

static int read_endpoint(struct db_rows *rows, struct arena *arena, void *item, struct err *err)
{
	struct store_endpoint *out = item;
	struct net_endpoint *e = &out->e;

	(void)arena, (void)err;
	copy_text(e->id, sizeof(e->id), db_text(rows, 0));
	copy_text(e->network_id, sizeof(e->network_id), db_text(rows, 1));
	copy_text(out->container_id, sizeof(out->container_id), db_text(rows, 2));
	out->ip = (uint32_t)db_int(rows, 3);
	cidr_format_ip(out->ip, e->ip);
	e->prefix_len = (int)db_int(rows, 4);
	copy_text(e->mac, sizeof(e->mac), db_text(rows, 5));
	copy_text(e->interface, sizeof(e->interface), db_text(rows, 6));
	copy_text(out->host_if, sizeof(out->host_if), db_text(rows, 7));
	copy_text(e->network_name, sizeof(e->network_name), db_text(rows, 8));
	copy_text(e->gateway, sizeof(e->gateway), db_text(rows, 9));
	return 0;
}

int store_endpoint_list(struct db *db, const struct store_filter *filter, struct arena *arena,
                        struct store_endpoint **out, size_t *count, struct err *err)
{
	static const struct shape shape = {
		.size = sizeof(struct store_endpoint), .max = LIST_MAX, .read = read_endpoint};
	auto_type(db_rows) rows =
		db_query(db, err,
	                 "select e.id, e.network_id, e.container_id, e.ip, e.prefix, e.mac,"
	                 " e.interface, e.host_if, n.name, n.gateway from endpoint e"
	                 " join network n on n.id = e.network_id"
	                 " where (?1 is null or e.container_id = ?1)"
	                 " and (?2 is null or e.network_id = ?2) order by e.seq",
	                 "tt", filter->container_id, filter->network_id);
	struct list list;

	if (collect(rows, arena, &shape, &list, err) < 0)
		return -1;
	*out = list.items;
	*count = list.count;
	return 0;
}

int store_address_list(struct db *db, const char *network_id, uint32_t **out, size_t *count,
                       struct err *err)
{
	auto_free uint32_t *ips = NULL;
	size_t n = 0;
	int64_t total;
	int step = 0;

	if (db_query_int(db, err, &total, "select count(*) from endpoint where network_id = ?", "t",
	                 network_id) < 0)
		return -1;
	ips = calloc((size_t)total + 1, sizeof(*ips));
	if (!ips)
		return err_nomem(err);
	auto_type(db_rows) rows =
		db_query(db, err, "select ip from endpoint where network_id = ? order by ip", "t",
	                 network_id);
	if (!rows)
		return -1;
	while (n < (size_t)total && (step = db_step(rows, err)) > 0)
		ips[n++] = (uint32_t)db_int(rows, 0);
	if (step < 0)
		return -1;
	*out = move_ptr(ips);
	*count = n;
	return 0;
}

/* ---- names ---- */

int store_name_resolve(struct db *db, const struct store_asker *asker, const char *name,
                       uint32_t *ips, size_t max, struct err *err)
{
	auto_type(db_rows) rows =
		db_query(db, err,
	                 "with mine as (select network_id from endpoint where container_id ="
	                 "  (select container_id from endpoint where network_id = ?2 and ip = ?3))"
	                 "select e.ip from name n join endpoint e on e.id = n.endpoint_id"
	                 " join network on network.id = n.network_id"
	                 " where n.name = ?1 and network.name <> 'bridge'"
	                 " and n.network_id in mine union "
	                 "select ip from overlay_name where name = ?1 and network_id in mine",
	                 "tti", name, asker->network_id, (int64_t)asker->ip);
	size_t n = 0;
	int step = 0;

	if (!rows)
		return -1;
	while (n < max && (step = db_step(rows, err)) > 0)
		ips[n++] = (uint32_t)db_int(rows, 0);
	return step < 0 ? -1 : (int)n;
}

static int first_text(struct db_rows *rows, char *text, size_t size, struct err *err)
{
	int step = rows ? db_step(rows, err) : -1;

	if (step > 0)
		copy_text(text, size, db_text(rows, 0));
	return step;
}

int store_name_of(struct db *db, const struct store_asker *asker, char *name, size_t size,
                  struct err *err)
{
	auto_type(db_rows) rows =
		db_query(db, err,
	                 "select n.name from endpoint e join name n on n.endpoint_id = e.id"
	                 " where e.network_id = ?1 and e.ip = ?2 and n.own = 1 union all "
	                 "select name from overlay_name where network_id = ?1 and ip = ?2",
	                 "ti", asker->network_id, (int64_t)asker->ip);

	return first_text(rows, name, size, err);
}

int store_dns_of(struct db *db, const struct store_asker *asker, char *dns, size_t size,
                 struct err *err)
{
	auto_type(db_rows) rows = db_query(db, err,
	                                   "select s.dns from endpoint e join sandbox s"
	                                   " on s.container_id = e.container_id"
	                                   " where e.network_id = ? and e.ip = ?",
	                                   "ti", asker->network_id, (int64_t)asker->ip);
	int found = first_text(rows, dns, size, err);

	if (found == 0)
		copy_text(dns, size, "");
	return found < 0 ? -1 : 0;
}

/* ---- ports ---- */

static int read_port(struct db_rows *rows, struct arena *arena, void *item, struct err *err)
{
	struct rules_port *p = item;

	(void)arena, (void)err;
	copy_text(p->proto, sizeof(p->proto), db_text(rows, 0));
	p->host_ip = (uint32_t)db_int(rows, 1);
	p->host_port = (uint16_t)db_int(rows, 2);
	p->port = (uint16_t)db_int(rows, 3);
	p->ip = (uint32_t)db_int(rows, 4);
	return 0;
}

static int collect_ports(struct db_rows *rows, struct arena *arena, struct rules_port **out,
                         size_t *count, struct err *err)
{
	static const struct shape shape = {
		.size = sizeof(struct rules_port), .max = LIST_MAX, .read = read_port};
	struct list list;

	if (collect(rows, arena, &shape, &list, err) < 0)
		return -1;
	*out = list.items;
	*count = list.count;
	return 0;
}

int store_port_list(struct db *db, const char *container_id, struct arena *arena,
                    struct rules_port **out, size_t *count, struct err *err)
{
	auto_type(db_rows) rows =
		db_query(db, err,
	                 "select p.proto, p.host_ip, p.host_port, p.port,"
	                 " (select e.ip from endpoint e where e.container_id = p.container_id"
	                 "  order by e.seq limit 1) as target"
	                 " from port p where (?1 is null or p.container_id = ?1)"
	                 " and target is not null order by p.proto, p.host_ip, p.host_port",
	                 "t", container_id);

	return collect_ports(rows, arena, out, count, err);
}

int store_port_held(struct db *db, const char *container_id, struct arena *arena,
                    struct rules_port **out, size_t *count, struct err *err)
{
	auto_type(db_rows) rows = db_query(db, err,
	                                   "select proto, host_ip, host_port, port, 0 from port"
	                                   " where ?1 is null or container_id = ?1",
	                                   "t", container_id);

	return collect_ports(rows, arena, out, count, err);
}

int store_port_insert(struct db *db, const char *container_id, const struct rules_port *port,
                      struct err *err)
{
	return done(db_exec(db, err, "insert into port values(?, ?, ?, ?, ?)", "tiiti", port->proto,
	                    (int64_t)port->host_ip, (int64_t)port->host_port, container_id,
	                    (int64_t)port->port));
}

int store_port_delete(struct db *db, const char *container_id, struct err *err)
{
	return done(db_exec(db, err, "delete from port where container_id = ?", "t", container_id));
}

/* ---- services ---- */

static int insert_service(struct db *db, const struct rules_service *s, int64_t position,
                          struct err *err)
{
	if (db_exec(db, err, "insert into service values(?, ?, ?)", "iti", position, s->proto,
	            (int64_t)s->port) < 0)
		return -1;
	for (size_t i = 0; i < s->count; i++)
		if (db_exec(db, err, "insert into backend values(?, ?, ?)", "iii", position,
		            (int64_t)s->backends[i].ip, (int64_t)s->backends[i].port) < 0)
			return -1;
	return 0;
}

static int replace_services(struct db *db, const struct rules_service *services, size_t count,
                            struct err *err)
{
	if (db_exec(db, err, "delete from backend", "") < 0 ||
	    db_exec(db, err, "delete from service", "") < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (insert_service(db, &services[i], (int64_t)i, err) < 0)
			return -1;
	return 0;
}

int store_service_replace(struct db *db, const struct rules_service *services, size_t count,
                          struct err *err)
{
	if (db_begin(db, err) < 0)
		return -1;
	if (replace_services(db, services, count, err) < 0) {
		db_rollback(db);
		return -1;
	}
	return db_commit(db, err);
}

static int read_service(struct db_rows *rows, struct arena *arena, void *item, struct err *err)
{
	struct rules_service *s = item;

	(void)arena, (void)err;
	copy_text(s->proto, sizeof(s->proto), db_text(rows, 0));
	s->port = (uint16_t)db_int(rows, 1);
	return 0;
}

static int read_backend(struct db_rows *rows, struct arena *arena, void *item, struct err *err)
{
	struct rules_backend *b = item;

	(void)arena, (void)err;
	b->ip = (uint32_t)db_int(rows, 0);
	b->port = (uint16_t)db_int(rows, 1);
	return 0;
}

static int list_backends(struct db *db, size_t position, struct arena *arena,
                         struct rules_service *s, struct err *err)
{
	static const struct shape shape = {
		.size = sizeof(struct rules_backend), .max = LIST_MAX, .read = read_backend};
	auto_type(db_rows) rows =
		db_query(db, err, "select ip, port from backend where position = ? order by rowid",
	                 "i", (int64_t)position);
	struct list list;

	if (collect(rows, arena, &shape, &list, err) < 0)
		return -1;
	s->backends = list.items;
	s->count = list.count;
	return 0;
}

int store_service_list(struct db *db, struct arena *arena, struct rules_service **out,
                       size_t *count, struct err *err)
{
	static const struct shape shape = {
		.size = sizeof(struct rules_service), .max = LIST_MAX, .read = read_service};
	auto_type(db_rows) rows =
		db_query(db, err, "select proto, port from service order by position", "");
	struct rules_service *services;
	struct list list;

	if (collect(rows, arena, &shape, &list, err) < 0)
		return -1;
	services = list.items;
	for (size_t i = 0; i < list.count; i++)
		if (list_backends(db, i, arena, &services[i], err) < 0)
			return -1;
	*out = services;
	*count = list.count;
	return 0;
}

/* ---- overlays ---- */

static int insert_overlay(struct db *db, const char *network_id, const struct store_overlay *o,
                          struct err *err)
{
	for (size_t i = 0; i < o->peer_count; i++)
		if (db_exec(db, err, "insert or replace into peer values(?, ?, ?)", "tit",
		            network_id, (int64_t)o->peers[i].ip, o->peers[i].node) < 0)
			return -1;
	for (size_t i = 0; i < o->name_count; i++)
		if (db_exec(db, err, "insert into overlay_name values(?, ?, ?)", "tti", network_id,
		            o->names[i].name, (int64_t)o->names[i].ip) < 0)
			return -1;
	for (size_t i = 0; i < o->vip_count; i++)
		if (db_exec(db, err, "insert or replace into vip values(?, ?, ?)", "tii",
		            network_id, (int64_t)o->vips[i].ip, (int64_t)o->vips[i].backend) < 0)
			return -1;
	return 0;
}

static int replace_overlay(struct db *db, const char *network_id, const struct store_overlay *o,
                           struct err *err)
{
	if (db_exec(db, err, "delete from peer where network_id = ?", "t", network_id) < 0 ||
	    db_exec(db, err, "delete from overlay_name where network_id = ?", "t", network_id) <
	            0 ||
	    db_exec(db, err, "delete from vip where network_id = ?", "t", network_id) < 0)
		return -1;
	return o ? insert_overlay(db, network_id, o, err) : 0;
}

int store_overlay_replace(struct db *db, const char *network_id, const struct store_overlay *o,
                          struct err *err)
{
	if (db_begin(db, err) < 0)
		return -1;
	if (replace_overlay(db, network_id, o, err) < 0) {
		db_rollback(db);
		return -1;
	}
	return db_commit(db, err);
}

static int read_peer(struct db_rows *rows, struct arena *arena, void *item, struct err *err)
{
	struct store_peer *p = item;

	(void)arena, (void)err;
	p->ip = (uint32_t)db_int(rows, 0);
	copy_text(p->node, sizeof(p->node), db_text(rows, 1));
	return 0;
}

int store_peer_list(struct db *db, const char *network_id, struct arena *arena,
                    struct store_peer **out, size_t *count, struct err *err)
{
	static const struct shape shape = {
		.size = sizeof(struct store_peer), .max = LIST_MAX, .read = read_peer};
	auto_type(db_rows) rows =
		db_query(db, err, "select ip, node from peer where network_id = ? order by ip", "t",
	                 network_id);
	struct list list;

	if (collect(rows, arena, &shape, &list, err) < 0)
		return -1;
	*out = list.items;
	*count = list.count;
	return 0;
}

static int read_vip(struct db_rows *rows, struct arena *arena, void *item, struct err *err)
{
	struct store_vip *v = item;

	(void)arena, (void)err;
	v->ip = (uint32_t)db_int(rows, 0);
	v->backend = (uint32_t)db_int(rows, 1);
	return 0;
}

int store_vip_list(struct db *db, const char *network_id, struct arena *arena,
                   struct store_vip **out, size_t *count, struct err *err)
{
	static const struct shape shape = {
		.size = sizeof(struct store_vip), .max = LIST_MAX, .read = read_vip};
	auto_type(db_rows) rows = db_query(
		db, err, "select ip, backend from vip where network_id = ? order by ip, backend",
		"t", network_id);
	struct list list;

	if (collect(rows, arena, &shape, &list, err) < 0)
		return -1;
	*out = list.items;
	*count = list.count;
	return 0;
}

/* ---- settings ---- */

int store_setting_put(struct db *db, const char *key, int64_t value, struct err *err)
{
	return done(
		db_exec(db, err, "insert or replace into setting values(?, ?)", "ti", key, value));
}

int store_setting_get(struct db *db, const char *key, int64_t *value, struct err *err)
{
	return db_query_int(db, err, value, "select value from setting where key = ?", "t", key);
}

int store_setting_delete(struct db *db, const char *key, struct err *err)
{
	return done(db_exec(db, err, "delete from setting where key = ?", "t", key));
}
