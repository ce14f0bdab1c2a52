/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cidr.h"

#include "base/err.h"
#include "base/str.h"
#include "base/testing.h"

static struct cidr make(const char *text)
{
	struct cidr c;

	assert_int_equal(cidr_parse(text, &c, NULL), 0);
	return c;
}

static uint32_t ip(const char *text)
{
	uint32_t value;

	assert_int_equal(cidr_parse_ip(text, &value, NULL), 0);
	return value;
}

static void a_subnet_is_read_and_written_back(void **state)
{
	static const char *const good[] = {"10.7.0.0/24", "0.0.0.0/0", "172.16.0.0/12",
	                                   "192.168.1.4/32"};
	char text[CIDR_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct cidr c = make(good[i]);

		assert_string_equal(cidr_format(&c, text), good[i]);
	}
}

static void nonsense_is_no_subnet(void **state)
{
	static const char *const bad[] = {
		"",           "10.7.0.0",     "10.7.0.0/",   "10.7.0.0/33",
		"10.7.0/24",  "10.7.0.0/-1",  "10.7.0.0/+8", "10.7.0.0/24 ",
		"fd00::/64",  "10.7.0.256/8", "/8",          "10.07.0.0/16",
		"1.2.3.4.5/8"};
	struct cidr c;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = ERR_INIT;

		assert_int_equal(cidr_parse(bad[i], &c, &err), -1);
		assert_int_equal(err.kind, ERR_INVALID);
	}
}

static void host_bits_are_an_error_that_names_the_subnet_meant(void **state)
{
	struct err err = ERR_INIT;
	struct cidr c;

	(void)state;
	assert_int_equal(cidr_parse("10.7.0.1/24", &c, &err), -1);
	assert_non_null(strstr(err.msg, "did you mean 10.7.0.0/24"));
}

static void the_lowest_free_address_is_chosen(void **state)
{
	struct cidr subnet = make("10.7.0.0/29");
	uint32_t taken[] = {ip("10.7.0.1"), ip("10.7.0.2"), ip("10.7.0.4")}, chosen;

	(void)state;
	assert_int_equal(cidr_pick_address(&subnet, &subnet, taken, 3, &chosen, NULL), 0);
	assert_int_equal(chosen, ip("10.7.0.3"));
	assert_int_equal(cidr_pick_address(&subnet, &subnet, taken, 0, &chosen, NULL), 0);
	assert_int_equal(chosen, ip("10.7.0.1")); /* not .0 */
}

static void a_full_subnet_says_so(void **state)
{
	struct cidr subnet = make("10.7.0.0/30");
	uint32_t taken[] = {ip("10.7.0.1"), ip("10.7.0.2")}, chosen;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(cidr_pick_address(&subnet, &subnet, taken, 2, &chosen, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT); /* .3 is the broadcast address */
}

static void an_address_stays_in_its_range(void **state)
{
	struct cidr subnet = make("10.7.0.0/24"), range = make("10.7.0.128/30");
	uint32_t taken[] = {ip("10.7.0.1"), ip("10.7.0.128")}, chosen;

	(void)state;
	assert_int_equal(cidr_pick_address(&subnet, &range, taken, 2, &chosen, NULL), 0);
	assert_int_equal(chosen, ip("10.7.0.129"));
}

static void the_end_of_the_address_space_is_no_trap(void **state)
{
	struct cidr subnet = make("255.255.255.248/29");
	uint32_t taken[6], chosen;

	(void)state;
	for (uint32_t i = 0; i < 6; i++)
		taken[i] = subnet.base + 1 + i;
	assert_int_equal(cidr_pick_address(&subnet, &subnet, taken, 6, &chosen, NULL), -1);
}

static void a_new_subnet_avoids_those_in_use(void **state)
{
	struct cidr taken[] = {make("172.17.0.0/16"), make("172.18.5.0/24"), make("0.0.0.0/32")},
		    got;
	char text[CIDR_TEXT_MAX];
	size_t count;
	const struct cidr_pool *pools = cidr_default_pools(&count);

	(void)state;
	assert_int_equal(cidr_pick_subnet(pools, count, taken, 3, &got, NULL), 0);
	assert_string_equal(cidr_format(&got, text), "172.19.0.0/16");
}

static void default_pools_do_not_overlap_and_run_out_with_a_word(void **state)
{
	struct cidr taken[64], got;
	struct err err = ERR_INIT;
	size_t count, n = 0;
	const struct cidr_pool *pools = cidr_default_pools(&count);

	(void)state;
	while (n < 64 && cidr_pick_subnet(pools, count, taken, n, &got, &err) == 0)
		taken[n++] = got;
	assert_int_equal(n, 31); /* 15 of 172.x, 16 of 192.168.x */
	assert_int_equal(err.kind, ERR_LIMIT);
}

static void a_pool_is_cut_into_sensible_pieces(void **state)
{
	struct cidr big = make("10.0.0.0/8"), small = make("10.77.0.0/16"),
		    tiny = make("10.7.0.0/28");

	(void)state;
	assert_int_equal(cidr_make_pool(&big).size, 16);
	assert_int_equal(cidr_make_pool(&small).size, 24);
	assert_in_range(cidr_make_pool(&tiny).size, 28, 29);
}

static void a_mac_address_follows_from_the_ip(void **state)
{
	char text[CIDR_MAC_MAX];
	uint8_t mac[6];

	(void)state;
	assert_string_equal(cidr_format_mac(ip("172.17.0.2"), text), "02:42:ac:11:00:02");
	assert_int_equal(cidr_parse_mac(text, mac, NULL), 0);
	assert_int_equal(mac[2], 0xac);
}

static void a_multicast_mac_is_refused(void **state)
{
	uint8_t mac[6];

	(void)state;
	assert_int_equal(cidr_parse_mac("01:00:5e:00:00:01", mac, NULL), -1);
	assert_int_equal(cidr_parse_mac("00:00:00:00:00:00", mac, NULL), -1);
	assert_int_equal(cidr_parse_mac("02-42-ac-11-00-02", mac, NULL), -1);
	assert_int_equal(cidr_parse_mac("", mac, NULL), -1);
}

TESTING_MAIN(TEST(a_subnet_is_read_and_written_back), TEST(nonsense_is_no_subnet),
             TEST(host_bits_are_an_error_that_names_the_subnet_meant),
             TEST(the_lowest_free_address_is_chosen), TEST(a_full_subnet_says_so),
             TEST(an_address_stays_in_its_range), TEST(the_end_of_the_address_space_is_no_trap),
             TEST(a_new_subnet_avoids_those_in_use),
             TEST(default_pools_do_not_overlap_and_run_out_with_a_word),
             TEST(a_pool_is_cut_into_sensible_pieces), TEST(a_mac_address_follows_from_the_ip),
             TEST(a_multicast_mac_is_refused))
