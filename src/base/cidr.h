/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * cidr - IPv4 addresses and subnets: text, order, overlap, and the choice of a free one.
 *
 *	struct cidr subnet;
 *	if (cidr_parse("10.7.0.0/24", &subnet, err) < 0) ...
 *	uint32_t ip;
 *	if (cidr_pick_address(&subnet, taken, count, &ip, err) < 0) ...
 *
 * Addresses are host-order numbers, so that they can be compared and counted.
 * Pure: no kernel, no state.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define CIDR_IP_MAX   16 /* "255.255.255.255" and NUL */
#define CIDR_TEXT_MAX 20 /* with "/32" */
#define CIDR_MAC_MAX  18

struct cidr {
	uint32_t base; /* first address; the bits after the prefix are zero */
	int len;       /* prefix length, 0 to 32 */
};

/* Dotted quads only. ERR_INVALID names the text. */
int cidr_parse_ip(const char *text, uint32_t *ip, struct err *err);
char *cidr_format_ip(uint32_t ip, char text[CIDR_IP_MAX]);

/* "10.7.0.0/24". Host bits ("10.7.0.1/24") are ERR_INVALID, with the subnet that was meant. */
int cidr_parse(const char *text, struct cidr *out, struct err *err);
char *cidr_format(const struct cidr *c, char text[CIDR_TEXT_MAX]);

uint32_t cidr_last(const struct cidr *c);
bool cidr_contains(const struct cidr *c, uint32_t ip);
bool cidr_covers(const struct cidr *outer, const struct cidr *inner);
bool cidr_overlaps(const struct cidr *a, const struct cidr *b);
/* An address that a host may have: neither the subnet's first nor its last (but for /31, /32). */
bool cidr_is_host(const struct cidr *c, uint32_t ip);

/* The lowest host address of `range`, a part of `subnet`, that is not in `taken` (ascending).
 * ERR_LIMIT when all are taken. */
int cidr_pick_address(const struct cidr *subnet, const struct cidr *range, const uint32_t *taken,
                      size_t count, uint32_t *ip, struct err *err);

/* The first subnet of the pools that overlaps none of `taken`. ERR_LIMIT when none is left. */
struct cidr_pool {
	struct cidr range;
	int size; /* prefix length of what is cut from it */
};
int cidr_pick_subnet(const struct cidr_pool *pools, size_t pool_count, const struct cidr *taken,
                     size_t count, struct cidr *out, struct err *err);
/* What networks are cut from unless told: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 by /20. */
const struct cidr_pool *cidr_default_pools(size_t *count);
/* One pool with a sensible size of cut: at most 256 addresses each, or 65536 from a large pool. */
struct cidr_pool cidr_make_pool(const struct cidr *range);

/* The unicast, locally administered MAC address that goes with an IP: "02:42:ac:11:00:02". */
char *cidr_format_mac(uint32_t ip, char text[CIDR_MAC_MAX]);
/* Six pairs of hex digits; multicast and zero are ERR_INVALID. */
int cidr_parse_mac(const char *text, uint8_t mac[6], struct err *err);
