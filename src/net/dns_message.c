/* SPDX-License-Identifier: Apache-2.0 */
#include "net/dns_message.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <ldns/ldns.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#define DNS_HEADER 12

static void free_packet(ldns_pkt **packet)
{
	ldns_pkt_free(*packet);
}
#define auto_packet __attribute__((cleanup(free_packet)))

static void free_record(ldns_rr **record)
{
	ldns_rr_free(*record);
}
#define auto_record __attribute__((cleanup(free_record)))

static ldns_pkt *parse(const uint8_t *wire, size_t len, struct err *err)
{
	ldns_pkt *packet = NULL;

	if (len < DNS_HEADER || len > DNS_MESSAGE_MAX ||
	    ldns_wire2pkt(&packet, wire, len) != LDNS_STATUS_OK) {
		(void)err_set(err, ERR_INVALID, "not a DNS message");
		return NULL;
	}
	return packet;
}

static int copy_name(const ldns_rdf *owner, char name[DNS_NAME_MAX], struct err *err)
{
	auto_free char *text = owner ? ldns_rdf2str(owner) : NULL;
	size_t len = text ? strlen(text) : 0;

	if (len == 0 || len >= DNS_NAME_MAX)
		return err_set(err, ERR_INVALID, "a DNS question without a usable name");
	if (len > 1 && text[len - 1] == '.')
		text[--len] = '\0';
	for (size_t i = 0; i <= len; i++)
		name[i] = (char)tolower((unsigned char)text[i]);
	return 0;
}

int dns_question_parse(const uint8_t *wire, size_t len, struct dns_question *out, struct err *err)
{
	auto_packet ldns_pkt *packet = parse(wire, len, err);
	const ldns_rr *question;
	size_t udp;

	if (!packet)
		return -1;
	if (ldns_pkt_qr(packet) || ldns_pkt_get_opcode(packet) != LDNS_PACKET_QUERY ||
	    ldns_pkt_qdcount(packet) != 1 || ldns_rr_list_rr_count(ldns_pkt_question(packet)) != 1)
		return err_set(err, ERR_INVALID, "not a DNS query with one question");
	question = ldns_rr_list_rr(ldns_pkt_question(packet), 0);
	if (copy_name(ldns_rr_owner(question), out->name, err) < 0)
		return -1;
	out->type = (uint16_t)ldns_rr_get_type(question);
	out->internet = ldns_rr_get_class(question) == LDNS_RR_CLASS_IN;
	udp = ldns_pkt_edns_udp_size(packet);
	out->udp_max = udp < 512 ? 512 : udp > DNS_UDP_MAX ? DNS_UDP_MAX : udp;
	return 0;
}

bool dns_parse_reverse(const char *name, uint32_t *ip)
{
	static const char suffix[] = ".in-addr.arpa";
	unsigned part[4] = {0};
	size_t digits = 0, n = 0;

	if (!str_ends(name, suffix))
		return false;
	for (const char *p = name; *p; p++) {
		if (isdigit((unsigned char)*p) && digits < 3) {
			part[n] = part[n] * 10 + (unsigned)(*p - '0');
			digits++;
			continue;
		}
		if (*p != '.' || digits == 0 || part[n] > 255)
			return false;
		if (n == 3) {
			if (!str_eq(p, suffix))
				return false;
			*ip = part[3] << 24 | part[2] << 16 | part[1] << 8 | part[0];
			return true;
		}
		n++;
		digits = 0;
	}
	return false;
}

/* Takes ownership of data, also on failure. */
static int push_record(ldns_pkt *reply, const ldns_rr *question, ldns_rr_type type, ldns_rdf *data,
                       struct err *err)
{
	auto_record ldns_rr *record = ldns_rr_new();
	ldns_rdf *owner = ldns_rdf_clone(ldns_rr_owner(question));

	if (!record || !owner || !data) {
		ldns_rdf_deep_free(owner);
		ldns_rdf_deep_free(data);
		return err_nomem(err);
	}
	ldns_rr_set_owner(record, owner);
	ldns_rr_set_type(record, type);
	ldns_rr_set_class(record, LDNS_RR_CLASS_IN);
	ldns_rr_set_ttl(record, DNS_TTL_S);
	if (!ldns_rr_push_rdf(record, data)) {
		ldns_rdf_deep_free(data);
		return err_nomem(err);
	}
	if (!ldns_pkt_push_rr(reply, LDNS_SECTION_ANSWER, record))
		return err_nomem(err);
	record = NULL;
	return 0;
}

static int push_answers(ldns_pkt *reply, const ldns_rr *question, const struct dns_answer *answer,
                        struct err *err)
{
	for (size_t i = 0; i < answer->count; i++) {
		uint32_t wire = htonl(answer->ips[i]);

		if (push_record(reply, question, LDNS_RR_TYPE_A,
		                ldns_rdf_new_frm_data(LDNS_RDF_TYPE_A, sizeof(wire), &wire),
		                err) < 0)
			return -1;
	}
	if (!answer->ptr)
		return 0;
	return push_record(reply, question, LDNS_RR_TYPE_PTR, ldns_dname_new_frm_str(answer->ptr),
	                   err);
}

static ldns_pkt *make_reply(const ldns_pkt *query, int rcode, struct err *err)
{
	auto_packet ldns_pkt *reply = ldns_pkt_new();
	ldns_rr *question = ldns_rr_clone(ldns_rr_list_rr(ldns_pkt_question(query), 0));

	if (!reply || !question || !ldns_pkt_push_rr(reply, LDNS_SECTION_QUESTION, question)) {
		ldns_rr_free(question);
		(void)err_nomem(err);
		return NULL;
	}
	ldns_pkt_set_id(reply, ldns_pkt_id(query));
	ldns_pkt_set_qr(reply, true);
	ldns_pkt_set_rd(reply, ldns_pkt_rd(query));
	ldns_pkt_set_ra(reply, true);
	ldns_pkt_set_aa(reply, rcode == DNS_RCODE_OK);
	ldns_pkt_set_rcode(reply, (uint8_t)rcode);
	if (ldns_pkt_edns(query))
		ldns_pkt_set_edns_udp_size(reply, DNS_UDP_MAX);
	return move_ptr(reply);
}

static int to_wire(const ldns_pkt *reply, uint8_t *out, size_t max, size_t *size, struct err *err)
{
	auto_free uint8_t *wire = NULL;

	*size = 0;
	if (ldns_pkt2wire(&wire, reply, size) != LDNS_STATUS_OK)
		return err_set(err, ERR_INTERNAL, "cannot write a DNS answer");
	if (*size <= max)
		memcpy(out, wire, *size);
	return 0;
}

int dns_answer_write(const uint8_t *wire, size_t len, const struct dns_answer *answer, uint8_t *out,
                     size_t max, struct err *err)
{
	auto_packet ldns_pkt *query = parse(wire, len, err);
	auto_packet ldns_pkt *full = NULL, *cut = NULL;
	size_t size;

	if (!query)
		return -1;
	if (ldns_rr_list_rr_count(ldns_pkt_question(query)) != 1)
		return err_set(err, ERR_INVALID, "not a DNS query with one question");
	full = make_reply(query, answer->rcode, err);
	if (!full ||
	    push_answers(full, ldns_rr_list_rr(ldns_pkt_question(query), 0), answer, err) < 0 ||
	    to_wire(full, out, max, &size, err) < 0)
		return -1;
	if (size <= max)
		return (int)size;
	cut = make_reply(query, answer->rcode, err);
	if (!cut)
		return -1;
	ldns_pkt_set_tc(cut, true);
	if (to_wire(cut, out, max, &size, err) < 0)
		return -1;
	if (size > max)
		return err_set(err, ERR_LIMIT, "a DNS answer does not fit into %zu bytes", max);
	return (int)size;
}
