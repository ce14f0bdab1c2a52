/* SPDX-License-Identifier: Apache-2.0 */
#include "net/dns_message.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <ctype.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"

#define DNS_HEADER    12
#define DNS_OWNER     0xc000 /* a compression pointer; RFC 1035, 4.1.4 */
#define DNS_FLAG_QR   0x8000
#define DNS_FLAG_AA   0x0400
#define DNS_FLAG_TC   0x0200
#define DNS_FLAG_RD   0x0100
#define DNS_FLAG_RA   0x0080
#define DNS_TYPE_EDNS 41
#define DNS_UDP_LEAST 512

/* ---- reading ---- */

struct query {
	ns_msg message;
	ns_rr question;
	size_t udp_max;
	bool edns;
};

/* EDNS (RFC 6891): the class of the OPT record is the size that the asker takes. */
static int find_edns(struct query *q, struct err *err)
{
	q->udp_max = DNS_UDP_LEAST;
	for (int i = 0; i < ns_msg_count(q->message, ns_s_ar); i++) {
		ns_rr record;
		if (ns_parserr(&q->message, ns_s_ar, i, &record) < 0)
			return err_set(err, ERR_INVALID, "not a DNS message");
		if (ns_rr_type(record) != DNS_TYPE_EDNS)
			continue;
		size_t size = ns_rr_class(record);
		q->edns = true;
		if (size > DNS_UDP_LEAST)
			q->udp_max = size < DNS_UDP_MAX ? size : DNS_UDP_MAX;
	}
	return 0;
}

static int parse(const uint8_t *wire, size_t len, struct query *q, struct err *err)
{
	*q = (struct query){0};
	if (len < DNS_HEADER || len > DNS_MESSAGE_MAX ||
	    ns_initparse(wire, (int)len, &q->message) < 0)
		return err_set(err, ERR_INVALID, "not a DNS message");
	if (ns_msg_getflag(q->message, ns_f_qr) ||
	    ns_msg_getflag(q->message, ns_f_opcode) != ns_o_query ||
	    ns_msg_count(q->message, ns_s_qd) != 1)
		return err_set(err, ERR_INVALID, "not a DNS query with one question");
	if (ns_parserr(&q->message, ns_s_qd, 0, &q->question) < 0)
		return err_set(err, ERR_INVALID, "not a DNS message");
	return find_edns(q, err);
}

int dns_question_parse(const uint8_t *wire, size_t len, struct dns_question *out, struct err *err)
{
	struct query q;

	if (parse(wire, len, &q, err) < 0)
		return -1;
	const char *name = *ns_rr_name(q.question) ? ns_rr_name(q.question) : ".";
	size_t size = strlen(name);
	if (size >= DNS_NAME_MAX)
		return err_set(err, ERR_INVALID, "a DNS question without a usable name");
	if (size > 1 && name[size - 1] == '.')
		size--;
	for (size_t i = 0; i < size; i++)
		out->name[i] = (char)tolower((unsigned char)name[i]);
	out->name[size] = '\0';
	out->type = (uint16_t)ns_rr_type(q.question);
	out->internet = ns_rr_class(q.question) == ns_c_in;
	out->udp_max = q.udp_max;
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

/* ---- writing ---- */

/* Sticky: what does not fit is noted once, and nothing is written any more. */
struct writer {
	uint8_t *out;
	size_t max, len;
	bool full;
};

static void put(struct writer *w, const void *data, size_t len)
{
	if (w->full || len > w->max - w->len) {
		w->full = true;
		return;
	}
	memcpy(w->out + w->len, data, len);
	w->len += len;
}

static void put16(struct writer *w, unsigned value)
{
	uint16_t wire = htons((uint16_t)value);

	put(w, &wire, sizeof(wire));
}

static void put32(struct writer *w, uint32_t value)
{
	uint32_t wire = htonl(value);

	put(w, &wire, sizeof(wire));
}

static int put_name(struct writer *w, const char *name, struct err *err)
{
	uint8_t wire[NS_MAXCDNAME];
	int n = dn_comp(name, wire, sizeof(wire), NULL, NULL);

	if (n < 0)
		return err_set(err, ERR_INVALID, "'%.80s' cannot be a DNS name", name);
	put(w, wire, (size_t)n);
	return 0;
}

/* What every answer record begins with; the owner is the question's name. */
static void put_record(struct writer *w, unsigned type)
{
	put16(w, DNS_OWNER | DNS_HEADER);
	put16(w, type);
	put16(w, ns_c_in);
	put32(w, DNS_TTL_S);
}

static int put_answers(struct writer *w, const struct dns_answer *answer, struct err *err)
{
	for (size_t i = 0; i < answer->count; i++) {
		put_record(w, DNS_TYPE_A);
		put16(w, sizeof(uint32_t));
		put32(w, answer->ips[i]);
	}
	if (!answer->ptr)
		return 0;
	uint8_t name[NS_MAXCDNAME];
	int size = dn_comp(answer->ptr, name, sizeof(name), NULL, NULL);
	if (size < 0)
		return err_set(err, ERR_INVALID, "'%.80s' cannot be a DNS name", answer->ptr);
	put_record(w, DNS_TYPE_PTR);
	put16(w, (unsigned)size);
	put(w, name, (size_t)size);
	return 0;
}

static void put_edns(struct writer *w)
{
	put(w, "", 1); /* the root owns it */
	put16(w, DNS_TYPE_EDNS);
	put16(w, DNS_UDP_MAX);
	put32(w, 0);
	put16(w, 0);
}

/* answer NULL: the truncated form, without records. */
static int write_reply(const struct query *q, int rcode, const struct dns_answer *answer,
                       struct writer *w, struct err *err)
{
	size_t records = answer ? answer->count + (answer->ptr != NULL) : 0;
	unsigned flags = DNS_FLAG_QR | DNS_FLAG_RA | (unsigned)rcode;

	flags |= rcode == DNS_RCODE_OK ? DNS_FLAG_AA : 0;
	flags |= ns_msg_getflag(q->message, ns_f_rd) ? DNS_FLAG_RD : 0;
	flags |= answer ? 0 : DNS_FLAG_TC;
	put16(w, ns_msg_id(q->message));
	put16(w, flags);
	put16(w, 1);
	put16(w, (unsigned)records);
	put16(w, 0);
	put16(w, q->edns);
	if (put_name(w, ns_rr_name(q->question), err) < 0)
		return -1;
	put16(w, ns_rr_type(q->question));
	put16(w, ns_rr_class(q->question));
	if (answer && put_answers(w, answer, err) < 0)
		return -1;
	if (q->edns)
		put_edns(w);
	return 0;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): written through struct writer */
int dns_answer_write(const uint8_t *wire, size_t len, const struct dns_answer *answer, uint8_t *out,
                     size_t max, struct err *err)
{
	struct writer full = {.out = out, .max = max}, cut = full;
	struct query q;

	if (parse(wire, len, &q, err) < 0 || write_reply(&q, answer->rcode, answer, &full, err) < 0)
		return -1;
	if (!full.full)
		return (int)full.len;
	if (write_reply(&q, answer->rcode, NULL, &cut, err) < 0)
		return -1;
	if (cut.full)
		return err_set(err, ERR_LIMIT, "a DNS answer does not fit into %zu bytes", max);
	return (int)cut.len;
}
