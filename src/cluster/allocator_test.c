/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, subnets and numbers: given once, kept while somebody may use them, given again after that. */

#include "cluster/control_testing.h"
#include "cluster/endpoints.h"
#include "cluster/network.h"
#include "cluster/node.h"

#define ON(network) ",\"Networks\":[{\"Target\":\"" network "\"}]"

static int make_network(struct bench *b, const char *name, const char *subnet, struct err *err)
{
	struct network_wish wish = {.spec.name = (char *)name, .subnet = subnet};
	char id[32];

	return network_create(b->c, b->now, &wish, id, err);
}

static const struct network *network(struct bench *b, const char *name)
{
	static const struct network none = {.id = (char *)""};
	const struct network *n = network_find(b->c, name, NULL);

	assert_non_null(n);
	return n ? n : &none;
}

static const char *address_of(const struct task *t)
{
	const struct task_network *on = t->networks.items;

	return t->networks.count == 1 && on->addresses.count == 1 ? on->addresses.items[0] : "none";
}

static const char *vip_of(struct bench *b, const char *name)
{
	const struct service *s = service_find(b->c, name, NULL);

	return s && s->endpoint.virtual_ips.count == 1
	               ? ((struct service_vip *)s->endpoint.virtual_ips.items)->addr
	               : "none";
}

/* No two tasks that may be alive, no service and no gateway have the same one. */
static void check_unique(struct bench *b)
{
	const struct task *t, *other;

	for (size_t at = 0; (t = control_next_task(b->c, &at)) != NULL;) {
		if (t->status.state > TASK_RUNNING || t->networks.count == 0)
			continue;
		assert_string_not_equal(address_of(t), vip_of(b, "web"));
		for (size_t to = at; (other = control_next_task(b->c, &to)) != NULL;)
			if (other->status.state <= TASK_RUNNING && other->networks.count > 0)
				assert_string_not_equal(address_of(t), address_of(other));
	}
}

static void networks_get_subnets_and_numbers_of_their_own(void **state)
{
	struct err err = ERR_INIT;
	struct bench b;

	(void)state;
	bench_init(&b, 1); /* node0 is 10.0.0.1 */
	assert_int_equal(make_network(&b, "one", NULL, &err), 0);
	assert_int_equal(make_network(&b, "two", NULL, &err), 0);
	assert_int_equal(make_network(&b, "own", "192.168.7.0/28", &err), 0);
	assert_string_equal(network(&b, "one")->subnet, "10.0.1.0/24");
	assert_string_equal(network(&b, "one")->gateway, "10.0.1.1");
	assert_string_equal(network(&b, "two")->subnet, "10.0.2.0/24");
	assert_string_equal(network(&b, "own")->gateway, "192.168.7.1");
	assert_int_equal(network(&b, "one")->vni, 4096);
	assert_int_equal(network(&b, "own")->vni, 4098);
	assert_int_equal(make_network(&b, "one", NULL, &err), -1);
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_int_equal(make_network(&b, "three", "192.168.0.0/16", &err), -1);
	assert_int_equal(err.kind, ERR_DENIED);
	bench_done(&b);
}

static void tasks_and_services_get_addresses_that_differ(void **state)
{
	const char *first = NULL;
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	assert_int_equal(make_network(&b, "net", NULL, NULL), 0);
	bench_create(&b, SERVICE("web", "a", 5, ON("net")) "}");
	assert_int_equal(bench_running(&b, "web", NULL), 5);
	check_unique(&b);
	assert_string_equal(vip_of(&b, "web"), "10.0.1.2/24");
	first = address_of(bench_one(&b, "web", TASK_RUNNING, TASK_RUNNING));
	assert_true(str_starts(first, "10.0.1."));
	/* An update keeps the service's address, and the tasks get others. */
	bench_update(&b, "web", SERVICE("web", "b", 5, ON("net")) "}");
	bench_pass(&b, 60000);
	check_unique(&b);
	assert_string_equal(vip_of(&b, "web"), "10.0.1.2/24");
	assert_int_equal(bench_running(&b, "web", NULL), 5);
	bench_update(&b, "web",
	             SERVICE("web", "b", 5, ON("net")) ",\"EndpointSpec\":{\"Mode\":\"dnsrr\"}}");
	assert_string_equal(vip_of(&b, "web"), "none");
	bench_done(&b);
}

static void addresses_outlive_the_leader(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	assert_int_equal(make_network(&b, "net", NULL, NULL), 0);
	bench_create(&b, SERVICE("web", "a", 3, ON("net")) "}");
	bench_close(&b);
	bench_open(&b);
	bench_hello(&b, 0);
	bench_hello(&b, 1);
	bench_update(&b, "web", SERVICE("web", "a", 6, ON("net")) "}");
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "web", NULL), 6);
	check_unique(&b);
	bench_done(&b);
}

/* A /29 has six addresses: the gateway's, the service's, four for tasks. */
static void a_task_without_an_address_waits_and_says_so(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	assert_int_equal(make_network(&b, "small", "192.168.7.0/29", NULL), 0);
	bench_create(&b, SERVICE("web", "a", 5, ON("small")) "}");
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "web", NULL), 4);
	const struct task *t = bench_one(&b, "web", TASK_RUNNING, TASK_NEW);
	assert_string_equal(t->status.error, "no free address on network small (192.168.7.0/29)");
	check_unique(&b);
	/* One that has ended lets another in. */
	t = bench_one(&b, "web", TASK_RUNNING, TASK_RUNNING);
	bench_status(&b, 0, t->id, TASK_FAILED);
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "web", NULL), 4);
	check_unique(&b);
	bench_update(&b, "web", SERVICE("web", "a", 4, ON("small")) "}");
	bench_pass(&b, 1000);
	assert_null(bench_any(&b, "web", TASK_RUNNING, TASK_NEW));
	bench_done(&b);
}

static void the_address_of_a_task_on_a_dead_node_is_not_given_away(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	assert_int_equal(make_network(&b, "small", "192.168.7.0/29", NULL), 0);
	bench_create(&b, SERVICE("web", "a", 3, ON("small")) "}");
	size_t lost = bench_running(&b, "web", bench_nodes[1]);
	assert_true(lost > 0);
	b.silent[1] = true;
	bench_pass(&b, 10000);
	/* Four addresses; the lost tasks may still run and keep theirs. */
	assert_int_equal(bench_running(&b, "web", bench_nodes[0]), 4 - lost);
	const struct task *t, *other;
	for (size_t at = 0; (t = control_next_task(b.c, &at)) != NULL;)
		for (size_t to = at; (other = control_next_task(b.c, &to)) != NULL;)
			if (t->networks.count > 0 && other->networks.count > 0)
				assert_string_not_equal(address_of(t), address_of(other));
	bench_done(&b);
}

static void a_network_goes_when_nobody_is_on_it(void **state)
{
	struct err err = ERR_INIT;
	struct bench b;
	bool leaving;

	(void)state;
	bench_init(&b, 1);
	assert_int_equal(make_network(&b, "net", NULL, NULL), 0);
	bench_create(&b, SERVICE("web", "a", 1, ON("net")) "}");
	assert_int_equal(network_remove(b.c, b.now, "net", &leaving, &err), -1);
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_false(leaving);
	b.silent[0] = true; /* it does not stop its task yet */
	assert_int_equal(service_remove(b.c, b.now, "web", NULL), 0);
	assert_int_equal(network_remove(b.c, b.now, "net", &leaving, &err), -1);
	assert_true(leaving);
	b.silent[0] = false;
	bench_obey(&b);
	assert_int_equal(network_remove(b.c, b.now, "net", &leaving, &err), 0);
	assert_null(network_find(b.c, "net", &err));
	bench_done(&b);
}

static int attach(struct bench *b, size_t node, const char *id, const char *wanted, char *address,
                  struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(4 << 20);
	struct network_want want = {.network = "open",
	                            .node_id = bench_nodes[node],
	                            .id = id,
	                            .container_id = "c",
	                            .address = wanted};
	struct network n = {0};
	char *got;

	if (network_attach(b->c, b->now, &want, &arena, &n, &got, err) < 0)
		return -1;
	assert_string_equal(n.spec.name, "open");
	assert_int_equal(n.attachments.count, 0); /* no node's business */
	snprintf(address, 16, "%s", got);
	return 0;
}

static void make_open(struct bench *b)
{
	struct network_wish wish = {.spec = {.name = (char *)"open", .attachable = true},
	                            .subnet = "10.7.0.0/29"};
	char id[32];

	assert_int_equal(network_create(b->c, b->now, &wish, id, NULL), 0);
}

static void containers_get_addresses_once_and_give_them_back(void **state)
{
	struct err err = ERR_INIT;
	char one[16], two[16], same[16];
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	make_open(&b); /* five addresses beside the gateway's */
	assert_int_equal(attach(&b, 0, "e1", NULL, one, NULL), 0);
	assert_int_equal(attach(&b, 1, "e2", NULL, two, NULL), 0);
	assert_string_not_equal(one, two);
	/* The answer was lost, and the leader with it. */
	bench_close(&b);
	bench_open(&b);
	assert_int_equal(attach(&b, 0, "e1", NULL, same, NULL), 0);
	assert_string_equal(one, same);
	assert_int_equal(attach(&b, 1, "e1", NULL, same, &err), -1);
	assert_int_equal(err.kind, ERR_DENIED);
	assert_int_equal(attach(&b, 1, "e3", one, same, &err), -1);
	assert_int_equal(err.kind, ERR_DENIED);
	assert_int_equal(attach(&b, 1, "e3", "10.8.0.2", same, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	assert_int_equal(attach(&b, 1, "e3", "10.7.0.6", same, NULL), 0);
	assert_int_equal(attach(&b, 1, "e4", NULL, same, NULL), 0);
	assert_int_equal(attach(&b, 1, "e5", NULL, same, NULL), 0);
	assert_int_equal(attach(&b, 0, "e6", NULL, same, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);

	char *gone[] = {(char *)"e1", (char *)"e2", (char *)"unknown"};
	struct json_strings ids = {.items = gone, .count = 3, .present = true};
	assert_int_equal(network_detach(b.c, b.now, bench_nodes[0], &ids, NULL), 0);
	assert_int_equal(network(&b, "open")->attachments.count, 4); /* e2 is another node's */
	assert_int_equal(attach(&b, 0, "e6", NULL, same, NULL), 0);
	assert_string_equal(same, one);
	bench_done(&b);
}

static void only_attachable_networks_take_containers_and_nodes_that_go_leave_none(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(4 << 20);
	struct network_want want = {.network = "net", .node_id = bench_nodes[0], .id = "e1"};
	struct err err = ERR_INIT;
	struct network n = {0};
	struct bench b;
	char *address, got[16];
	bool leaving;

	(void)state;
	bench_init(&b, 2);
	assert_int_equal(make_network(&b, "net", NULL, NULL), 0);
	make_open(&b);
	assert_int_equal(network_attach(b.c, b.now, &want, &arena, &n, &address, &err), -1);
	assert_int_equal(err.kind, ERR_DENIED);
	assert_int_equal(attach(&b, 0, "e1", NULL, got, NULL), 0);
	assert_int_equal(attach(&b, 1, "e2", NULL, got, NULL), 0);
	assert_int_equal(network_remove(b.c, b.now, "open", &leaving, &err), -1);
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_int_equal(node_remove(b.c, b.now, bench_nodes[0], true, NULL), 0);
	const struct network *open = network(&b, "open");
	assert_int_equal(open->attachments.count, 1);
	assert_int_equal(attach(&b, 0, "e3", NULL, got, &err), -1);
	assert_int_equal(err.kind, ERR_DENIED);
	bench_done(&b);
}

static void the_table_says_who_is_where_and_who_answers(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(4 << 20);
	struct buf text = BUF_INIT(1 << 20);
	struct proto_endpoints table = {0};
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	assert_int_equal(make_network(&b, "net", NULL, NULL), 0);
	bench_create(&b, SERVICE("web", "a", 2, ON("net")) "}");
	b.silent[1] = true; /* its next task is on its way, and does not run */
	bench_update(&b, "web", SERVICE("web", "a", 4, ON("net")) "}");
	assert_int_equal(endpoints_write(b.c, 7, &text, NULL), 0);
	assert_int_equal(
		json_decode_text(text.data, text.len, &proto_endpoints_table, &arena, &table, NULL),
		0);
	assert_int_equal(table.networks.count, 1);
	const struct proto_network *n = table.networks.items;
	const struct proto_group *g = n->groups.items;
	assert_int_equal(n->members.count, 4);
	assert_int_equal(n->groups.count, 1);
	assert_string_equal(g->address, "10.0.1.2");
	assert_string_equal(g->tasks, "tasks.web");
	assert_string_equal(g->names.items[0], "web");
	assert_int_equal(g->backends.count, 3);
	const struct proto_member *m = n->members.items;
	for (size_t i = 0; i < n->members.count; i++) {
		bool first = str_eq(m[i].node_id, bench_nodes[0]);

		assert_string_equal(m[i].node_address, first ? "10.0.0.1" : "10.0.0.2");
		assert_int_equal(m[i].names.count, 1);
	}
	buf_free(&text);
	bench_done(&b);
}

TESTING_MAIN(TEST(networks_get_subnets_and_numbers_of_their_own),
             TEST(tasks_and_services_get_addresses_that_differ), TEST(addresses_outlive_the_leader),
             TEST(a_task_without_an_address_waits_and_says_so),
             TEST(the_address_of_a_task_on_a_dead_node_is_not_given_away),
             TEST(a_network_goes_when_nobody_is_on_it),
             TEST(containers_get_addresses_once_and_give_them_back),
             TEST(only_attachable_networks_take_containers_and_nodes_that_go_leave_none),
             TEST(the_table_says_who_is_where_and_who_answers))
