/* SPDX-License-Identifier: Apache-2.0 */
#include "net/store.h"

#include "base/arena.h"
#include "base/db.h"
#include "base/err.h"
#include "base/testing.h"

static struct db *open_store(void)
{
	struct db *db = store_open(-1, ":memory:", NULL);

	assert_non_null(db);
	return db;
}

static void add_network(struct db *db, const char *id, const char *name, const char *subnet)
{
	struct store_network n = {.mtu = 1400, .masquerade = true};

	snprintf(n.n.id, sizeof(n.n.id), "%s", id);
	n.n.name = (char *)(uintptr_t)name;
	n.n.driver = (char *)(uintptr_t) "bridge";
	assert_int_equal(cidr_parse(subnet, &n.subnet, NULL), 0);
	n.range = n.subnet;
	snprintf(n.n.subnet, sizeof(n.n.subnet), "%s", subnet);
	cidr_format_ip(n.subnet.base + 1, n.n.gateway);
	snprintf(n.n.bridge, sizeof(n.n.bridge), "by-%.8s", id);
	assert_int_equal(store_network_insert(db, &n, NULL), 0);
}

static int add_endpoint(struct db *db, const char *network, const char *container, uint32_t ip,
                        const char *name)
{
	const char *const names[] = {name, "shared", NULL};
	struct store_endpoint e = {.ip = ip, .e = {.prefix_len = 24, .interface = "eth0"}};

	id_make_hex(e.e.id);
	snprintf(e.container_id, sizeof(e.container_id), "%s", container);
	snprintf(e.e.network_id, sizeof(e.e.network_id), "%s", network);
	snprintf(e.e.interface, sizeof(e.e.interface), "eth-%.8s", network);
	assert_int_equal(store_sandbox_insert(db, container, NULL), 0);
	return store_endpoint_insert(db, &e, names, NULL);
}

static void a_network_is_found_by_name_id_and_unique_prefix(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	auto_type(db) db = open_store();
	struct store_network found = {0};
	struct err err = ERR_INIT;

	(void)state;
	add_network(db, "aaaa1111", "one", "10.1.0.0/24");
	add_network(db, "aaaa2222", "two", "10.2.0.0/24");
	assert_int_equal(store_network_find(db, "one", &arena, &found, NULL), 0);
	assert_string_equal(found.n.id, "aaaa1111");
	assert_int_equal(found.gateway, 0x0a010001);
	assert_int_equal(found.mtu, 1400);
	assert_int_equal(store_network_find(db, "aaaa2", &arena, &found, NULL), 0);
	assert_string_equal(found.n.name, "two");
	assert_int_equal(store_network_find(db, "aaaa", &arena, &found, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	assert_int_equal(store_network_find(db, "three", &arena, &found, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_string_equal(err.msg, "network three not found");
}

static void no_address_is_given_twice(void **state)
{
	auto_type(db) db = open_store();
	auto_free uint32_t *ips = NULL;
	size_t count;

	(void)state;
	add_network(db, "aaaa1111", "one", "10.1.0.0/24");
	assert_int_equal(add_endpoint(db, "aaaa1111", "c2", 0x0a010003, "b"), 0);
	assert_int_equal(add_endpoint(db, "aaaa1111", "c1", 0x0a010002, "a"), 0);
	assert_int_equal(add_endpoint(db, "aaaa1111", "c3", 0x0a010002, "c"), -1);
	assert_int_equal(store_address_list(db, "aaaa1111", &ips, &count, NULL), 0);
	assert_int_equal(count, 2);
	assert_int_equal(ips[0], 0x0a010002);
	assert_int_equal(ips[1], 0x0a010003);
}

static void names_are_seen_only_from_the_same_network(void **state)
{
	auto_type(db) db = open_store();
	struct store_asker inside = {.network_id = "aaaa1111", .ip = 0x0a010002};
	struct store_asker outside = {.network_id = "bbbb2222", .ip = 0x0a020002};
	uint32_t ips[8];

	(void)state;
	add_network(db, "aaaa1111", "one", "10.1.0.0/24");
	add_network(db, "bbbb2222", "two", "10.2.0.0/24");
	assert_int_equal(add_endpoint(db, "aaaa1111", "c1", 0x0a010002, "Web"), 0);
	assert_int_equal(add_endpoint(db, "aaaa1111", "c2", 0x0a010003, "db"), 0);
	assert_int_equal(add_endpoint(db, "bbbb2222", "c3", 0x0a020002, "other"), 0);
	assert_int_equal(store_name_resolve(db, &inside, "web", ips, 8, NULL), 1);
	assert_int_equal(ips[0], 0x0a010002);
	assert_int_equal(store_name_resolve(db, &inside, "shared", ips, 8, NULL), 2);
	assert_int_equal(store_name_resolve(db, &inside, "other", ips, 8, NULL), 0);
	assert_int_equal(store_name_resolve(db, &outside, "web", ips, 8, NULL), 0);
}

static void the_default_network_has_no_names(void **state)
{
	auto_type(db) db = open_store();
	struct store_asker asker = {.network_id = "aaaa1111", .ip = 0x0a010002};
	uint32_t ips[8];

	(void)state;
	add_network(db, "aaaa1111", "bridge", "10.1.0.0/24");
	assert_int_equal(add_endpoint(db, "aaaa1111", "c1", 0x0a010002, "web"), 0);
	assert_int_equal(store_name_resolve(db, &asker, "web", ips, 8, NULL), 0);
}

static void a_port_leads_to_the_first_endpoint_that_is_left(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	auto_type(db) db = open_store();
	struct rules_port port = {.proto = "tcp", .host_port = 80, .port = 8080}, *list;
	struct store_endpoint *endpoints;
	size_t count;

	(void)state;
	add_network(db, "aaaa1111", "one", "10.1.0.0/24");
	add_network(db, "bbbb2222", "two", "10.2.0.0/24");
	assert_int_equal(add_endpoint(db, "aaaa1111", "c1", 0x0a010002, "a"), 0);
	assert_int_equal(add_endpoint(db, "bbbb2222", "c1", 0x0a020002, "a"), 0);
	assert_int_equal(store_port_insert(db, "c1", &port, NULL), 0);
	assert_int_equal(store_port_list(db, NULL, &arena, &list, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_int_equal(list[0].ip, 0x0a010002);
	assert_int_equal(store_endpoint_list(db, &(struct store_filter){.network_id = "aaaa1111"},
	                                     &arena, &endpoints, &count, NULL),
	                 0);
	assert_int_equal(store_endpoint_delete(db, endpoints[0].e.id, NULL), 0);
	assert_int_equal(store_port_list(db, "c1", &arena, &list, &count, NULL), 0);
	assert_int_equal(list[0].ip, 0x0a020002);
}

static void services_are_kept_with_their_backends_in_order(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	auto_type(db) db = open_store();
	struct rules_backend backends[] = {{.ip = 1, .port = 11}, {.ip = 2, .port = 12}};
	struct rules_service in[] = {{.proto = "tcp", .port = 80, .backends = backends, .count = 2},
	                             {.proto = "udp", .port = 53}},
			     *out;
	size_t count;

	(void)state;
	assert_int_equal(store_service_replace(db, in, 2, NULL), 0);
	assert_int_equal(store_service_replace(db, in, 2, NULL), 0);
	assert_int_equal(store_service_list(db, &arena, &out, &count, NULL), 0);
	assert_int_equal(count, 2);
	assert_int_equal(out[0].count, 2);
	assert_int_equal(out[0].backends[1].port, 12);
	assert_int_equal(out[1].count, 0);
}

static void names_of_an_overlay_are_for_those_who_are_on_it(void **state)
{
	static const struct store_name names[] = {{"web", 0x0a010009}, {"Web.1", 0x0a010008}};
	static const struct store_peer peers[] = {{.ip = 0x0a010008, .node = "192.0.2.7"}};
	static const struct store_vip vips[] = {{0x0a010009, 0x0a010007}, {0x0a010009, 0x0a010008}};
	static const struct store_overlay overlay = {peers, 1, names, 2, vips, 2};
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	auto_type(db) db = open_store();
	struct store_asker on = {"aaaa", 0x0a010005}, off = {"bbbb", 0x0a020005};
	struct store_peer *got_peers;
	struct store_vip *got_vips;
	uint32_t ips[4];
	char name[64];
	size_t count;

	(void)state;
	add_network(db, "aaaa", "one", "10.1.0.0/24");
	add_network(db, "bbbb", "two", "10.2.0.0/24");
	assert_int_equal(add_endpoint(db, "aaaa", "c1", 0x0a010005, "c1"), 0);
	assert_int_equal(add_endpoint(db, "bbbb", "c2", 0x0a020005, "c2"), 0);
	assert_int_equal(store_overlay_replace(db, "aaaa", &overlay, NULL), 0);
	assert_int_equal(store_name_resolve(db, &on, "WEB", ips, 4, NULL), 1);
	assert_int_equal(ips[0], 0x0a010009);
	assert_int_equal(store_name_resolve(db, &on, "web.1", ips, 4, NULL), 1);
	assert_int_equal(store_name_resolve(db, &off, "web", ips, 4, NULL), 0);
	on.ip = 0x0a010008;
	assert_int_equal(store_name_of(db, &on, name, sizeof(name), NULL), 1);
	assert_string_equal(name, "Web.1");
	on.ip = 0x0a010005;
	assert_int_equal(store_peer_list(db, "aaaa", &arena, &got_peers, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_string_equal(got_peers[0].node, "192.0.2.7");
	assert_int_equal(store_vip_list(db, "aaaa", &arena, &got_vips, &count, NULL), 0);
	assert_int_equal(count, 2);
	assert_int_equal(got_vips[1].backend, 0x0a010008);
	assert_int_equal(store_overlay_replace(db, "aaaa", NULL, NULL), 0);
	assert_int_equal(store_name_resolve(db, &on, "web", ips, 4, NULL), 0);
}

TESTING_MAIN(TEST(a_network_is_found_by_name_id_and_unique_prefix), TEST(no_address_is_given_twice),
             TEST(names_are_seen_only_from_the_same_network),
             TEST(the_default_network_has_no_names),
             TEST(a_port_leads_to_the_first_endpoint_that_is_left),
             TEST(services_are_kept_with_their_backends_in_order),
             TEST(names_of_an_overlay_are_for_those_who_are_on_it))
