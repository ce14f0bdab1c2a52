/* SPDX-License-Identifier: Apache-2.0 */
#include "net/dns_message.h"

#include "base/err.h"
#include "base/testing.h"

/* id 0x1234, RD, one question: "Web.example" type A class IN */
static const uint8_t question_a[] = {0x12, 0x34, 1,   0,   0,   1,   0, 0,   0,   0,
                                     0,    0,    3,   'W', 'e', 'b', 7, 'e', 'x', 'a',
                                     'm',  'p',  'l', 'e', 0,   0,   1, 0,   1};

static void a_question_is_read_in_lower_case(void **state)
{
	struct dns_question q;

	(void)state;
	assert_int_equal(dns_question_parse(question_a, sizeof(question_a), &q, NULL), 0);
	assert_string_equal(q.name, "web.example");
	assert_int_equal(q.type, DNS_TYPE_A);
	assert_int_equal(q.udp_max, 512);
	assert_true(q.internet);
}

static void an_answer_is_no_question(void **state)
{
	uint8_t wire[sizeof(question_a)];
	struct dns_question q;

	(void)state;
	memcpy(wire, question_a, sizeof(wire));
	wire[2] |= 0x80;
	assert_int_equal(dns_question_parse(wire, sizeof(wire), &q, NULL), -1);
}

static void a_cut_question_is_refused_at_every_length(void **state)
{
	struct dns_question q;

	(void)state;
	for (size_t len = 0; len < sizeof(question_a); len++)
		assert_int_equal(dns_question_parse(question_a, len, &q, NULL), -1);
}

static void addresses_are_answered_with_the_asker_s_id(void **state)
{
	uint32_t ips[] = {0xac110002, 0xac110003};
	struct dns_answer answer = {.ips = ips, .count = 2};
	uint8_t out[512];
	int len = dns_answer_write(question_a, sizeof(question_a), &answer, out, sizeof(out), NULL);

	(void)state;
	assert_true(len > (int)sizeof(question_a));
	assert_memory_equal(out, question_a, 2);
	assert_true(out[2] & 0x80);       /* an answer */
	assert_int_equal(out[3] & 15, 0); /* no error */
	assert_int_equal(out[6] << 8 | out[7], 2);
	assert_memory_equal(out + len - 4, "\xac\x11\x00\x03", 4);
}

static void a_long_answer_is_cut_and_says_so(void **state)
{
	uint32_t ips[64] = {0};
	struct dns_answer answer = {.ips = ips, .count = 64};
	uint8_t out[512];
	int len = dns_answer_write(question_a, sizeof(question_a), &answer, out, sizeof(out), NULL);

	(void)state;
	assert_true(len > 0 && len <= 512);
	assert_true(out[2] & 0x02); /* truncated: ask again by TCP */
}

static void an_error_code_is_answered_without_records(void **state)
{
	struct dns_answer answer = {.rcode = DNS_RCODE_NXDOMAIN};
	uint8_t out[512];
	int len = dns_answer_write(question_a, sizeof(question_a), &answer, out, sizeof(out), NULL);

	(void)state;
	assert_true(len > 0);
	assert_int_equal(out[3] & 15, 3);
	assert_int_equal(out[7], 0);
}

static void reverse_names_are_read(void **state)
{
	uint32_t ip;

	(void)state;
	assert_true(dns_parse_reverse("2.0.17.172.in-addr.arpa", &ip));
	assert_int_equal(ip, 0xac110002);
	assert_false(dns_parse_reverse("2.0.17.in-addr.arpa", &ip));
	assert_false(dns_parse_reverse("2.0.17.256.in-addr.arpa", &ip));
	assert_false(dns_parse_reverse("1.2.0.17.172.in-addr.arpa", &ip));
	assert_false(dns_parse_reverse("x.0.17.172.in-addr.arpa", &ip));
	assert_false(dns_parse_reverse("in-addr.arpa", &ip));
	assert_false(dns_parse_reverse("", &ip));
}

TESTING_MAIN(TEST(a_question_is_read_in_lower_case), TEST(an_answer_is_no_question),
             TEST(a_cut_question_is_refused_at_every_length),
             TEST(addresses_are_answered_with_the_asker_s_id),
             TEST(a_long_answer_is_cut_and_says_so),
             TEST(an_error_code_is_answered_without_records), TEST(reverse_names_are_read))
