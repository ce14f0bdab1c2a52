/* SPDX-License-Identifier: Apache-2.0 */
#include "net/rules.h"

#include <nftables/libnftables.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* ---- text ---- */

static void write_sets(const struct rules_model *m, struct buf *out)
{
	buf_add(out, "\tset bridges {\n\t\ttype ifname\n");
	for (size_t i = 0; i < m->network_count; i++)
		buf_addf(out, "%s\"%s\"", i ? ", " : "\t\telements = { ", m->networks[i].bridge);
	buf_add(out, m->network_count ? " }\n\t}\n" : "\t}\n");
	/* A frame that stays on its bridge comes by here too where br_netfilter is loaded. */
	buf_add(out, "\tset inside {\n\t\ttype ifname . ifname\n");
	for (size_t i = 0; i < m->network_count; i++)
		buf_addf(out, "%s\"%s\" . \"%s\"", i ? ", " : "\t\telements = { ",
		         m->networks[i].bridge, m->networks[i].bridge);
	buf_add(out, m->network_count ? " }\n\t}\n" : "\t}\n");
}

static void write_port_map(const struct rules_model *m, bool by_address, struct buf *out)
{
	char ip[CIDR_IP_MAX];
	size_t n = 0;

	buf_addf(out,
	         "\tmap %s {\n\t\ttype %sinet_proto . inet_service : ipv4_addr . inet_service\n",
	         by_address ? "ports_by_address" : "ports", by_address ? "ipv4_addr . " : "");
	for (size_t i = 0; i < m->port_count; i++) {
		const struct rules_port *p = &m->ports[i];

		if ((p->host_ip != 0) != by_address)
			continue;
		buf_add(out, n++ ? ",\n\t\t\t" : "\t\telements = { ");
		if (by_address)
			buf_addf(out, "%s . ", cidr_format_ip(p->host_ip, ip));
		buf_addf(out, "%s . %u : %s . %u", p->proto, p->host_port,
		         cidr_format_ip(p->ip, ip), p->port);
	}
	buf_add(out, n ? " }\n\t}\n" : "\t}\n");
}

/* Services without a task are refused, at once and visibly. */
static void write_refused(const struct rules_model *m, struct buf *out)
{
	size_t n = 0;

	buf_add(out, "\tset refused {\n\t\ttype inet_proto . inet_service\n");
	for (size_t i = 0; i < m->service_count; i++)
		if (m->services[i].count == 0)
			buf_addf(out, "%s%s . %u", n++ ? ", " : "\t\telements = { ",
			         m->services[i].proto, m->services[i].port);
	buf_add(out, n ? " }\n\t}\n" : "\t}\n");
}

static void write_service_map(const struct rules_model *m, struct buf *out)
{
	size_t n = 0;

	buf_add(out, "\tmap services {\n\t\ttype inet_proto . inet_service : verdict\n");
	for (size_t i = 0; i < m->service_count; i++)
		if (m->services[i].count > 0)
			buf_addf(out, "%s%s . %u : goto service_%zu",
			         n++ ? ",\n\t\t\t" : "\t\telements = { ", m->services[i].proto,
			         m->services[i].port, i);
	buf_add(out, n ? " }\n\t}\n" : "\t}\n");
}

static void write_services(const struct rules_model *m, struct buf *out)
{
	char ip[CIDR_IP_MAX];

	write_refused(m, out);
	write_service_map(m, out);
	for (size_t i = 0; i < m->service_count; i++) {
		const struct rules_service *s = &m->services[i];

		if (s->count == 0)
			continue;
		buf_addf(out,
		         "\tchain service_%zu {\n\t\tmeta l4proto %s dnat ip to numgen random mod "
		         "%zu map {",
		         i, s->proto, s->count);
		for (size_t k = 0; k < s->count; k++)
			buf_addf(out, "%s %zu : %s . %u", k ? "," : "", k,
			         cidr_format_ip(s->backends[k].ip, ip), s->backends[k].port);
		buf_add(out, " }\n\t}\n");
	}
}

static void write_nat(struct buf *out)
{
	buf_add(out, "\tchain guard {\n"
	             "\t\ttype filter hook prerouting priority raw; policy accept;\n"
	             "\t\tiifname != \"lo\" ip daddr 127.0.0.0/8 drop\n"
	             "\t\tiifname != \"lo\" ip saddr 127.0.0.0/8 drop\n"
	             "\t}\n"
	             "\tchain publish {\n"
	             "\t\tmeta l4proto { tcp, udp, sctp } dnat ip to "
	             "ip daddr . meta l4proto . th dport map @ports_by_address\n"
	             "\t\tmeta l4proto { tcp, udp, sctp } dnat ip to "
	             "meta l4proto . th dport map @ports\n"
	             "\t\tmeta l4proto . th dport vmap @services\n"
	             "\t}\n"
	             "\tchain prerouting {\n"
	             "\t\ttype nat hook prerouting priority dstnat; policy accept;\n"
	             "\t\tmeta nfproto ipv4 fib daddr type local jump publish\n"
	             "\t}\n"
	             "\tchain output {\n"
	             "\t\ttype nat hook output priority -100; policy accept;\n"
	             "\t\tmeta nfproto ipv4 fib daddr type local jump publish\n"
	             "\t}\n"
	             "\tchain input {\n"
	             "\t\ttype filter hook input priority filter; policy accept;\n"
	             "\t\tct state new meta l4proto . th dport @refused jump refuse\n"
	             "\t}\n"
	             "\tchain refuse {\n"
	             "\t\tmeta l4proto tcp reject with tcp reset\n"
	             "\t\treject with icmpx port-unreachable\n"
	             "\t}\n");
}

static void write_forward(const struct rules_model *m, struct buf *out)
{
	buf_add(out, "\tchain forward {\n"
	             "\t\ttype filter hook forward priority filter; policy accept;\n"
	             "\t\tiifname . oifname @inside accept\n");
	for (size_t i = 0; i < m->network_count; i++)
		if (m->networks[i].internal)
			buf_addf(out, "\t\tiifname \"%s\" drop\n\t\toifname \"%s\" drop\n",
			         m->networks[i].bridge, m->networks[i].bridge);
	buf_add(out, "\t\tct state established,related accept\n"
	             "\t\tct status dnat accept\n"
	             "\t\toifname @bridges drop\n"
	             "\t}\n");
}

static void write_postrouting(const struct rules_model *m, struct buf *out)
{
	char subnet[CIDR_TEXT_MAX];

	buf_add(out, "\tchain postrouting {\n"
	             "\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
	             "\t\toifname @bridges ip saddr 127.0.0.0/8 masquerade\n"
	             "\t\tct status dnat oifname != @bridges masquerade\n");
	for (size_t i = 0; i < m->network_count; i++) {
		const struct rules_network *n = &m->networks[i];

		cidr_format(&n->subnet, subnet);
		/* To its own published port: the answer must come back by way of this machine. */
		buf_addf(out, "\t\tip saddr %s oifname \"%s\" ct status dnat masquerade\n", subnet,
		         n->bridge);
		if (n->masquerade && !n->internal)
			buf_addf(out, "\t\tip saddr %s oifname != \"%s\" masquerade\n", subnet,
			         n->bridge);
	}
	buf_add(out, "\t}\n");
}

int rules_write(const struct rules_model *model, const char *table, struct buf *out,
                struct err *err)
{
	/* Deleting what may not be there is an error to nft, hence add first. */
	buf_addf(out, "add table inet %s\ndelete table inet %s\ntable inet %s {\n", table, table,
	         table);
	write_sets(model, out);
	write_port_map(model, true, out);
	write_port_map(model, false, out);
	write_services(model, out);
	write_nat(out);
	write_forward(model, out);
	write_postrouting(model, out);
	buf_add(out, "}\n");
	return buf_check(out, err);
}

int rules_write_ports(const struct rules_port *ports, size_t count, const char *table, bool add,
                      struct buf *out, struct err *err)
{
	char ip[CIDR_IP_MAX];

	for (size_t i = 0; i < count; i++) {
		const struct rules_port *p = &ports[i];

		buf_addf(out, "%s element inet %s %s { ", add ? "add" : "delete", table,
		         p->host_ip ? "ports_by_address" : "ports");
		if (p->host_ip)
			buf_addf(out, "%s . ", cidr_format_ip(p->host_ip, ip));
		buf_addf(out, "%s . %u", p->proto, p->host_port);
		if (add)
			buf_addf(out, " : %s . %u", cidr_format_ip(p->ip, ip), p->port);
		buf_add(out, " }\n");
	}
	return buf_check(out, err);
}

/* ---- inside a container's namespace ---- */

/* How many entries the address has from here on. */
static size_t run_of(const struct rules_vip *vips, size_t count, size_t at)
{
	size_t n = 1;

	while (at + n < count && vips[at + n].ip == vips[at].ip)
		n++;
	return n;
}

static void write_vip_set(const struct rules_vip *vips, size_t count, struct buf *out)
{
	char ip[CIDR_IP_MAX];
	size_t n = 0;

	buf_add(out, "\tset refused {\n\t\ttype ipv4_addr\n");
	for (size_t i = 0; i < count; i += run_of(vips, count, i))
		if (vips[i].backend == 0)
			buf_addf(out, "%s%s", n++ ? ", " : "\t\telements = { ",
			         cidr_format_ip(vips[i].ip, ip));
	buf_add(out, n ? " }\n\t}\n" : "\t}\n");
	n = 0;
	buf_add(out, "\tmap vips {\n\t\ttype ipv4_addr : verdict\n");
	for (size_t i = 0; i < count; i += run_of(vips, count, i))
		if (vips[i].backend != 0)
			buf_addf(out, "%s%s : goto vip_%zu",
			         n++ ? ",\n\t\t\t" : "\t\telements = { ",
			         cidr_format_ip(vips[i].ip, ip), i);
	buf_add(out, n ? " }\n\t}\n" : "\t}\n");
}

static void write_vip_chain(const struct rules_vip *vips, size_t at, size_t count, struct buf *out)
{
	char ip[CIDR_IP_MAX];

	buf_addf(out, "\tchain vip_%zu {\n\t\tdnat ip to numgen random mod %zu map {", at, count);
	for (size_t i = 0; i < count; i++)
		buf_addf(out, "%s %zu : %s", i ? "," : "", i,
		         cidr_format_ip(vips[at + i].backend, ip));
	buf_add(out, " }\n\t}\n");
}

int rules_write_vips(const struct rules_vip *vips, size_t count, struct buf *out, struct err *err)
{
	size_t n;

	buf_add(out, "add table inet " RULES_VIP_TABLE "\ndelete table inet " RULES_VIP_TABLE
	             "\ntable inet " RULES_VIP_TABLE " {\n");
	write_vip_set(vips, count, out);
	for (size_t i = 0; i < count; i += n) {
		n = run_of(vips, count, i);
		if (vips[i].backend != 0)
			write_vip_chain(vips, i, n, out);
	}
	buf_add(out, "\tchain output {\n"
	             "\t\ttype nat hook output priority -100; policy accept;\n"
	             "\t\tip daddr vmap @vips\n"
	             "\t}\n"
	             "\tchain refuse {\n"
	             "\t\ttype filter hook output priority filter; policy accept;\n"
	             "\t\tip daddr @refused meta l4proto tcp reject with tcp reset\n"
	             "\t\tip daddr @refused reject with icmp port-unreachable\n"
	             "\t}\n"
	             "}\n");
	return buf_check(out, err);
}

/* ---- the kernel ---- */

struct rules {
	struct nft_ctx *nft;
};

struct rules *rules_create(struct err *err)
{
	auto_type(rules) rules = calloc(1, sizeof(*rules));

	if (!rules || !(rules->nft = nft_ctx_new(NFT_CTX_DEFAULT)) ||
	    nft_ctx_buffer_error(rules->nft) != 0 || nft_ctx_buffer_output(rules->nft) != 0) {
		(void)err_nomem(err);
		return NULL;
	}
	return move_ptr(rules);
}

void rules_free(struct rules *rules)
{
	if (!rules)
		return;
	if (rules->nft)
		nft_ctx_free(rules->nft);
	free(rules);
}

int rules_apply(struct rules *rules, const char *text, struct err *err)
{
	const char *why;

	if (nft_run_cmd_from_buffer(rules->nft, text) == 0) {
		(void)nft_ctx_get_error_buffer(rules->nft); /* empties it */
		return 0;
	}
	why = nft_ctx_get_error_buffer(rules->nft);
	return err_set(err, ERR_SYSTEM, "the packet rules were refused: %.*s",
	               why ? (int)strcspn(why, "\n") : 0, why ? why : "");
}

int rules_remove(struct rules *rules, const char *table, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(512);

	buf_addf(&text, "add table inet %s\ndelete table inet %s\n", table, table);
	if (buf_check(&text, err) < 0)
		return -1;
	return rules_apply(rules, buf_str(&text), err);
}

bool rules_exist(struct rules *rules, const char *table)
{
	auto_buf struct buf text = BUF_INIT(512);

	buf_addf(&text, "list chain inet %s guard\n", table);
	return rules_apply(rules, buf_str(&text), NULL) == 0;
}
