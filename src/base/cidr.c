/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cidr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/id.h"
#include "base/str.h"

static uint32_t mask_of(int len)
{
	return len == 0 ? 0 : UINT32_MAX << (32 - len);
}

int cidr_parse_ip(const char *text, uint32_t *ip, struct err *err)
{
	struct in_addr addr;

	if (!text || inet_pton(AF_INET, text, &addr) != 1)
		return err_set(err, ERR_INVALID, "invalid IPv4 address \"%.40s\"",
		               text ? text : "");
	*ip = ntohl(addr.s_addr);
	return 0;
}

char *cidr_format_ip(uint32_t ip, char text[CIDR_IP_MAX])
{
	struct in_addr addr = {.s_addr = htonl(ip)};

	inet_ntop(AF_INET, &addr, text, CIDR_IP_MAX);
	return text;
}

int cidr_parse(const char *text, struct cidr *out, struct err *err)
{
	const char *slash = text ? strchr(text, '/') : NULL;
	char ip_text[CIDR_IP_MAX], meant[CIDR_TEXT_MAX];
	struct cidr c = {0};
	int64_t len;

	if (!slash || (size_t)(slash - text) >= sizeof(ip_text))
		return err_set(err, ERR_INVALID,
		               "invalid subnet \"%.40s\": it looks like 10.7.0.0/24",
		               text ? text : "");
	memcpy(ip_text, text, (size_t)(slash - text));
	ip_text[slash - text] = '\0';
	if (cidr_parse_ip(ip_text, &c.base, err) < 0 ||
	    id_parse_int(slash + 1, "prefix length", 0, 32, &len, err) < 0)
		return err_wrap(err, "subnet \"%.40s\"", text);
	c.len = (int)len;
	if (c.base & ~mask_of(c.len)) {
		c.base &= mask_of(c.len);
		return err_set(err, ERR_INVALID, "invalid subnet \"%s\": did you mean %s?", text,
		               cidr_format(&c, meant));
	}
	*out = c;
	return 0;
}

char *cidr_format(const struct cidr *c, char text[CIDR_TEXT_MAX])
{
	char ip[CIDR_IP_MAX];

	snprintf(text, CIDR_TEXT_MAX, "%s/%u", cidr_format_ip(c->base, ip), (unsigned)c->len & 63U);
	return text;
}

uint32_t cidr_last(const struct cidr *c)
{
	return c->base | ~mask_of(c->len);
}

bool cidr_contains(const struct cidr *c, uint32_t ip)
{
	return (ip & mask_of(c->len)) == c->base;
}

bool cidr_covers(const struct cidr *outer, const struct cidr *inner)
{
	return inner->len >= outer->len && cidr_contains(outer, inner->base);
}

bool cidr_overlaps(const struct cidr *a, const struct cidr *b)
{
	return cidr_covers(a, b) || cidr_covers(b, a);
}

bool cidr_is_host(const struct cidr *c, uint32_t ip)
{
	if (!cidr_contains(c, ip))
		return false;
	return c->len >= 31 || (ip != c->base && ip != cidr_last(c));
}

int cidr_pick_address(const struct cidr *subnet, const struct cidr *range, const uint32_t *taken,
                      size_t count, uint32_t *ip, struct err *err)
{
	char text[CIDR_TEXT_MAX];
	size_t at = 0;

	for (uint64_t next = range->base; next <= cidr_last(range); next++) {
		while (at < count && taken[at] < next)
			at++;
		if (at < count && taken[at] == next)
			continue;
		if (!cidr_is_host(subnet, (uint32_t)next))
			continue;
		*ip = (uint32_t)next;
		return 0;
	}
	return err_set(err, ERR_LIMIT, "no free address is left in %s", cidr_format(range, text));
}

static bool is_free(const struct cidr *c, const struct cidr *taken, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (cidr_overlaps(c, &taken[i]))
			return false;
	return true;
}

int cidr_pick_subnet(const struct cidr_pool *pools, size_t pool_count, const struct cidr *taken,
                     size_t count, struct cidr *out, struct err *err)
{
	for (size_t i = 0; i < pool_count; i++) {
		uint64_t step = (uint64_t)1 << (32 - pools[i].size);
		uint64_t last = cidr_last(&pools[i].range);

		for (uint64_t base = pools[i].range.base; base <= last; base += step) {
			struct cidr c = {.base = (uint32_t)base, .len = pools[i].size};

			if (!is_free(&c, taken, count))
				continue;
			*out = c;
			return 0;
		}
	}
	return err_set(err, ERR_LIMIT,
	               "no subnet is free: all address pools are used by networks or by routes of "
	               "this machine; name one with a subnet of your own");
}

const struct cidr_pool *cidr_default_pools(size_t *count)
{
	/* 172.17 to 172.31 is no single prefix, hence four. */
	static const struct cidr_pool pools[] = {
		{.range = {.base = 0xac110000, .len = 16}, .size = 16},
		{.range = {.base = 0xac120000, .len = 15}, .size = 16},
		{.range = {.base = 0xac140000, .len = 14}, .size = 16},
		{.range = {.base = 0xac180000, .len = 13}, .size = 16},
		{.range = {.base = 0xc0a80000, .len = 16}, .size = 20},
	};

	*count = ARRAY_LEN(pools);
	return pools;
}

struct cidr_pool cidr_make_pool(const struct cidr *range)
{
	int size = range->len <= 12 ? 16 : 24;

	if (range->len > 22)
		size = range->len + 2 < 29 ? range->len + 2 : 29;
	if (size < range->len)
		size = range->len;
	return (struct cidr_pool){.range = *range, .size = size};
}

char *cidr_format_mac(uint32_t ip, char text[CIDR_MAC_MAX])
{
	snprintf(text, CIDR_MAC_MAX, "02:42:%02x:%02x:%02x:%02x", (ip >> 24) & 255U,
	         (ip >> 16) & 255U, (ip >> 8) & 255U, ip & 255U);
	return text;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int cidr_parse_mac(const char *text, uint8_t mac[6], struct err *err)
{
	static const uint8_t zero[6];
	uint8_t parsed[6] = {0};

	if (strlen(text) != 17)
		return err_set(err, ERR_INVALID, "invalid MAC address \"%.40s\"", text);
	for (int i = 0; i < 6; i++) {
		int high = hex_digit(text[3 * i]), low = hex_digit(text[3 * i + 1]);

		if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':'))
			return err_set(err, ERR_INVALID, "invalid MAC address \"%s\"", text);
		parsed[i] = (uint8_t)(high * 16 + low);
	}
	if ((parsed[0] & 1) || memcmp(parsed, zero, 6) == 0)
		return err_set(err, ERR_INVALID,
		               "invalid MAC address \"%s\": it must be a unicast address", text);
	memcpy(mac, parsed, 6);
	return 0;
}
