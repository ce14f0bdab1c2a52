/* SPDX-License-Identifier: Apache-2.0 */
#include "net/rules.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/testing.h"

static const struct rules_network networks[] = {
	{.bridge = "buoy0", .subnet = {.base = 0xac110000, .len = 16}, .masquerade = true},
	{.bridge = "by-1234",
         .subnet = {.base = 0xac120000, .len = 16},
         .internal = true,
         .masquerade = true},
};
static const struct rules_port ports[] = {
	{.proto = "tcp", .host_port = 8080, .ip = 0xac110002, .port = 80},
	{.proto = "udp", .host_ip = 0x7f000001, .host_port = 53, .ip = 0xac110003, .port = 5353},
};
static const struct rules_backend backends[] = {{.ip = 0xac110002, .port = 80},
                                                {.ip = 0x0a630003, .port = 32768}};
static const struct rules_service services[] = {
	{.proto = "tcp", .port = 9000, .backends = backends, .count = 2},
	{.proto = "tcp", .port = 9001},
};

static char *write_all(const struct rules_model *model)
{
	struct buf out = BUF_INIT(RULES_TEXT_MAX);

	assert_int_equal(rules_write(model, "buoy_x", &out, NULL), 0);
	assert_non_null(out.data);
	return buf_take(&out, NULL);
}

static void assert_has(const char *text, const char *part)
{
	assert_non_null(text);
	if (!strstr(text, part))
		fail_msg("not there: %s", part);
}

static void the_table_is_replaced_in_one_go(void **state)
{
	struct rules_model model = {0};
	char *text = write_all(&model);

	(void)state;
	assert_ptr_equal(strstr(text, "add table inet buoy_x\ndelete table inet buoy_x\n"
	                              "table inet buoy_x {\n"),
	                 text);
	free(text);
}

static void published_ports_become_map_elements(void **state)
{
	struct rules_model model = {.ports = ports, .port_count = 2};
	char *text = write_all(&model);

	(void)state;
	assert_has(text, "elements = { tcp . 8080 : 172.17.0.2 . 80 }");
	assert_has(text, "elements = { 127.0.0.1 . udp . 53 : 172.17.0.3 . 5353 }");
	free(text);
}

static void services_spread_and_empty_ones_refuse(void **state)
{
	struct rules_model model = {.services = services, .service_count = 2};
	char *text = write_all(&model);

	(void)state;
	assert_has(text, "tcp . 9000 : goto service_0");
	assert_has(text, "dnat ip to numgen random mod 2 map "
	                 "{ 0 : 172.17.0.2 . 80, 1 : 10.99.0.3 . 32768 }");
	assert_has(text, "set refused {\n\t\ttype inet_proto . inet_service\n"
	                 "\t\telements = { tcp . 9001 }");
	assert_null(strstr(text, "chain service_1"));
	free(text);
}

static void an_internal_network_passes_nothing_and_is_not_masqueraded(void **state)
{
	struct rules_model model = {.networks = networks, .network_count = 2};
	char *text = write_all(&model);

	(void)state;
	assert_has(text, "iifname \"by-1234\" drop");
	assert_has(text, "oifname \"by-1234\" drop");
	assert_has(text, "ip saddr 172.17.0.0/16 oifname != \"buoy0\" masquerade");
	assert_null(strstr(text, "ip saddr 172.18.0.0/16 oifname != \"by-1234\" masquerade"));
	free(text);
}

static void localhost_never_comes_from_outside(void **state)
{
	struct rules_model model = {0};
	char *text = write_all(&model);

	(void)state;
	assert_has(text, "type filter hook prerouting priority raw");
	assert_has(text, "iifname != \"lo\" ip daddr 127.0.0.0/8 drop");
	assert_has(text, "oifname @bridges drop");
	free(text);
}

static void a_single_port_is_a_small_change(void **state)
{
	auto_buf struct buf out = BUF_INIT(4096);

	(void)state;
	assert_int_equal(rules_write_ports(ports, 2, "buoy", true, &out, NULL), 0);
	assert_string_equal(
		buf_str(&out),
		"add element inet buoy ports { tcp . 8080 : 172.17.0.2 . 80 }\n"
		"add element inet buoy ports_by_address { 127.0.0.1 . udp . 53 : 172.17.0.3 . 5353 }\n");
	buf_clear(&out);
	assert_int_equal(rules_write_ports(ports, 1, "buoy", false, &out, NULL), 0);
	assert_string_equal(buf_str(&out), "delete element inet buoy ports { tcp . 8080 }\n");
}

static void a_virtual_address_leads_to_its_backends_or_nowhere(void **state)
{
	static const struct rules_vip vips[] = {
		{0x0a000102, 0x0a000105}, {0x0a000102, 0x0a000107}, {0x0a000103, 0}};
	struct buf out = BUF_INIT(RULES_TEXT_MAX);

	(void)state;
	assert_int_equal(rules_write_vips(vips, 3, &out, NULL), 0);
	const char *text = buf_str(&out);
	assert_has(text, "elements = { 10.0.1.2 : goto vip_0 }");
	assert_has(text, "dnat ip to numgen random mod 2 map { 0 : 10.0.1.5, 1 : 10.0.1.7 }");
	assert_has(text, "set refused {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.1.3 }");
	assert_null(strstr(text, "vip_2"));
	buf_free(&out);
}

TESTING_MAIN(TEST(the_table_is_replaced_in_one_go), TEST(published_ports_become_map_elements),
             TEST(services_spread_and_empty_ones_refuse),
             TEST(an_internal_network_passes_nothing_and_is_not_masqueraded),
             TEST(localhost_never_comes_from_outside), TEST(a_single_port_is_a_small_change),
             TEST(a_virtual_address_leads_to_its_backends_or_nowhere))
