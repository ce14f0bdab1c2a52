/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * dns_message - DNS questions read and answers written. glibc's
 * resolver library stands behind it (arpa/nameser.h).
 *
 *	struct dns_question question;
 *	if (dns_question_parse(wire, len, &question, err) < 0) ...drop it
 *	struct dns_answer answer = {.ips = ips, .count = 2};
 *	size = dns_answer_write(wire, len, &answer, out, max, err);
 *
 * Pure: bytes in, bytes out. The bytes come from containers and may be anything.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define DNS_NAME_MAX    256
#define DNS_MESSAGE_MAX 65535
#define DNS_UDP_MAX     1232 /* what passes every path without fragments */
#define DNS_TTL_S       5    /* addresses are handed on quickly */

#define DNS_TYPE_A    1
#define DNS_TYPE_PTR  12
#define DNS_TYPE_AAAA 28
#define DNS_TYPE_ANY  255

#define DNS_RCODE_OK       0
#define DNS_RCODE_SERVFAIL 2
#define DNS_RCODE_NXDOMAIN 3

struct dns_question {
	char name[DNS_NAME_MAX]; /* lower case, no dot at the end */
	uint16_t type;
	size_t udp_max; /* the largest answer that the asker takes by UDP */
	bool internet;  /* class IN */
};

/* One question in a query. ERR_INVALID: anything else. */
int dns_question_parse(const uint8_t *wire, size_t len, struct dns_question *out, struct err *err);

/* "2.0.17.172.in-addr.arpa": the address it asks about. */
bool dns_parse_reverse(const char *name, uint32_t *ip);

struct dns_answer {
	int rcode;
	const uint32_t *ips; /* A records */
	size_t count;
	const char *ptr; /* a PTR record, or NULL */
};

/* The answer to the query in `wire`; with the truncation bit and no records if it is longer than max.
 * Returns its size, or -1. */
int dns_answer_write(const uint8_t *wire, size_t len, const struct dns_answer *answer, uint8_t *out,
                     size_t max, struct err *err);
