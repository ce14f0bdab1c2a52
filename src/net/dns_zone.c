/* SPDX-License-Identifier: Apache-2.0 */
#include "net/dns_zone.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/str.h"
#include "net/dns_message.h"
#include "net/store.h"

#define ANSWER_MAX 64
#define DNS_PORT   53

unsigned dns_server_address(const char *server, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, server, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(DNS_PORT);
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, server, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(DNS_PORT);
		return sizeof(*v6);
	}
	return 0;
}

/* Every answer begins at another address, so that clients which take the first are spread. */
static void rotate(uint32_t *ips, size_t count)
{
	uint32_t turned[ANSWER_MAX];
	uint8_t by;

	if (count < 2)
		return;
	id_random(&by, sizeof(by));
	for (size_t i = 0; i < count; i++)
		turned[i] = ips[(i + by) % count];
	memcpy(ips, turned, count * sizeof(*ips));
}

static int lookup(const struct dns_zone *zone, uint32_t asking, const char *name, uint32_t *ips)
{
	struct store_asker asker = {.network_id = zone->network_id, .ip = asking};
	char bare[DNS_NAME_MAX], suffix[sizeof(zone->network_name) + 1];
	int n = store_name_resolve(zone->db, &asker, name, ips, ANSWER_MAX, NULL);

	if (n != 0)
		return n;
	snprintf(suffix, sizeof(suffix), ".%s", zone->network_name);
	if (strlen(name) <= strlen(suffix) || !str_ends(name, suffix))
		return 0;
	snprintf(bare, sizeof(bare), "%.*s", (int)(strlen(name) - strlen(suffix)), name);
	return store_name_resolve(zone->db, &asker, bare, ips, ANSWER_MAX, NULL);
}

static enum dns_verdict answer(const uint8_t *query, size_t len, const struct dns_answer *a,
                               struct dns_reply *reply)
{
	int size = dns_answer_write(query, len, a, reply->out, reply->max, NULL);

	if (size < 0)
		return DNS_DROP;
	reply->len = (size_t)size;
	return DNS_REPLY;
}

/* Fills *a; true if the question is ours to answer. */
static bool answer_reverse(const struct dns_zone *zone, const struct dns_question *q,
                           char full[DNS_NAME_MAX], struct dns_answer *a)
{
	struct store_asker asked = {.network_id = zone->network_id};
	char name[128];
	int found;

	if (!dns_parse_reverse(q->name, &asked.ip) || !cidr_contains(&zone->subnet, asked.ip))
		return false;
	found = store_name_of(zone->db, &asked, name, sizeof(name), NULL);
	a->rcode = found > 0 ? DNS_RCODE_OK : found == 0 ? DNS_RCODE_NXDOMAIN : DNS_RCODE_SERVFAIL;
	if (found <= 0)
		return true;
	snprintf(full, DNS_NAME_MAX, "%.127s.%.120s.", name, zone->network_name);
	a->ptr = full;
	return true;
}

static bool answer_local(const struct dns_zone *zone, uint32_t asking, const struct dns_question *q,
                         uint32_t *ips, struct dns_answer *a)
{
	int n = lookup(zone, asking, q->name, ips);

	if (n == 0)
		return false;
	if (n < 0) {
		a->rcode = DNS_RCODE_SERVFAIL;
		return true;
	}
	/* Of a name that exists, other types are empty: an asker for AAAA must not get NXDOMAIN. */
	if (q->type != DNS_TYPE_A && q->type != DNS_TYPE_ANY)
		return true;
	rotate(ips, (size_t)n);
	a->ips = ips;
	a->count = (size_t)n;
	return true;
}

static void choose_upstream(const struct dns_zone *zone, uint32_t asking, struct resolv *out)
{
	struct store_asker asker = {.network_id = zone->network_id, .ip = asking};
	char list[256] = "", *rest = NULL;

	(void)store_dns_of(zone->db, &asker, list, sizeof(list), NULL);
	if (!list[0]) {
		(void)resolv_read_host(out, NULL);
		return;
	}
	*out = (struct resolv){0};
	for (char *word = strtok_r(list, " ", &rest); word && out->server_count < RESOLV_SERVER_MAX;
	     word = strtok_r(NULL, " ", &rest))
		snprintf(out->servers[out->server_count++], sizeof(out->servers[0]), "%s", word);
}

enum dns_verdict dns_zone_decide(const struct dns_zone *zone, uint32_t asking, const uint8_t *query,
                                 size_t len, bool udp, struct dns_reply *reply)
{
	struct dns_answer a = {.rcode = DNS_RCODE_OK};
	struct dns_question q;
	char full[DNS_NAME_MAX];
	uint32_t ips[ANSWER_MAX];

	if (!cidr_contains(&zone->subnet, asking) || dns_question_parse(query, len, &q, NULL) < 0)
		return DNS_DROP;
	if (udp && reply->max > q.udp_max)
		reply->max = q.udp_max;
	if (!zone->relay_only && q.internet) {
		if (q.type == DNS_TYPE_PTR && answer_reverse(zone, &q, full, &a))
			return answer(query, len, &a, reply);
		if (answer_local(zone, asking, &q, ips, &a))
			return answer(query, len, &a, reply);
	}
	reply->upstream = (struct resolv){0};
	if (!zone->internal)
		choose_upstream(zone, asking, &reply->upstream);
	if (reply->upstream.server_count > 0)
		return DNS_FORWARD;
	a.rcode = zone->internal ? DNS_RCODE_NXDOMAIN : DNS_RCODE_SERVFAIL;
	return answer(query, len, &a, reply);
}
