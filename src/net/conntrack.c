/* SPDX-License-Identifier: Apache-2.0 */
#include "net/conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"

#define FILTER_IP_SRC 1U /* CTA_FILTER_F_CTA_IP_SRC, which the kernel keeps to itself */
#define FORGET_MAX    65536

struct flow {
	struct nlattr *tuple; /* owned: how it began, as the kernel wrote it */
	size_t target;        /* index */
	bool established;
};

struct flows {
	const struct conntrack_target *targets;
	size_t target_count;
	struct flow *items; /* owned */
	size_t count, cap;
	bool failed;
};

static void flows_done(struct flows *flows)
{
	for (size_t i = 0; i < flows->count; i++)
		free(flows->items[i].tuple);
	free(flows->items);
}

static void free_socket(struct nl_sock **sock)
{
	nl_socket_free(*sock);
}

static void free_message(struct nl_msg **msg)
{
	nlmsg_free(*msg);
}
#define auto_msg __attribute__((cleanup(free_message))) struct nl_msg *

static struct nl_msg *make_message(int type, int flags)
{
	struct nfgenmsg head = {.nfgen_family = AF_INET, .version = NFNETLINK_V0};
	auto_msg msg =
		nlmsg_alloc_simple((NFNL_SUBSYS_CTNETLINK << 8) | type, NLM_F_REQUEST | flags);

	if (!msg || nlmsg_append(msg, &head, sizeof(head), NLMSG_ALIGNTO) < 0)
		return NULL;
	return move_ptr(msg);
}

/* Only flows whose answers come from `ip`. */
static int put_filter(struct nl_msg *msg, uint32_t ip)
{
	struct nlattr *tuple = nla_nest_start(msg, CTA_TUPLE_REPLY | NLA_F_NESTED), *inner;

	if (!tuple || !(inner = nla_nest_start(msg, CTA_TUPLE_IP | NLA_F_NESTED)) ||
	    nla_put_u32(msg, CTA_IP_V4_SRC, htonl(ip)) < 0)
		return -1;
	nla_nest_end(msg, inner);
	nla_nest_end(msg, tuple);
	inner = nla_nest_start(msg, CTA_FILTER | NLA_F_NESTED);
	if (!inner || nla_put_u32(msg, CTA_FILTER_ORIG_FLAGS, 0) < 0 ||
	    nla_put_u32(msg, CTA_FILTER_REPLY_FLAGS, FILTER_IP_SRC) < 0)
		return -1;
	nla_nest_end(msg, inner);
	return 0;
}

struct source { /* of a flow's answers */
	uint32_t ip;
	uint16_t port;
	uint8_t proto;
};

static bool read_source(struct nlattr *reply, struct source *out)
{
	struct nlattr *tuple[CTA_TUPLE_MAX + 1], *ip[CTA_IP_MAX + 1], *l4[CTA_PROTO_MAX + 1];

	if (!reply || nla_parse_nested(tuple, CTA_TUPLE_MAX, reply, NULL) < 0 ||
	    !tuple[CTA_TUPLE_IP] || !tuple[CTA_TUPLE_PROTO] ||
	    nla_parse_nested(ip, CTA_IP_MAX, tuple[CTA_TUPLE_IP], NULL) < 0 ||
	    nla_parse_nested(l4, CTA_PROTO_MAX, tuple[CTA_TUPLE_PROTO], NULL) < 0 ||
	    !ip[CTA_IP_V4_SRC] || !l4[CTA_PROTO_NUM])
		return false;
	out->proto = nla_get_u8(l4[CTA_PROTO_NUM]);
	out->ip = ntohl(nla_get_u32(ip[CTA_IP_V4_SRC]));
	out->port = l4[CTA_PROTO_SRC_PORT] ? ntohs(nla_get_u16(l4[CTA_PROTO_SRC_PORT])) : 0;
	return true;
}

static bool find_target(const struct flows *flows, const struct source *source, size_t *index)
{
	for (size_t i = 0; i < flows->target_count; i++) {
		const struct conntrack_target *t = &flows->targets[i];

		if ((t->ip && t->ip != source->ip) || (t->port && t->port != source->port) ||
		    (t->udp_only && source->proto != IPPROTO_UDP))
			continue;
		*index = i;
		return true;
	}
	return false;
}

static bool is_established(struct nlattr *info)
{
	struct nlattr *proto[CTA_PROTOINFO_MAX + 1], *tcp[CTA_PROTOINFO_TCP_MAX + 1];

	if (!info || nla_parse_nested(proto, CTA_PROTOINFO_MAX, info, NULL) < 0 ||
	    !proto[CTA_PROTOINFO_TCP] ||
	    nla_parse_nested(tcp, CTA_PROTOINFO_TCP_MAX, proto[CTA_PROTOINFO_TCP], NULL) < 0 ||
	    !tcp[CTA_PROTOINFO_TCP_STATE])
		return false;
	return nla_get_u8(tcp[CTA_PROTOINFO_TCP_STATE]) > TCP_CONNTRACK_SYN_SENT;
}

static int grow(struct flows *flows)
{
	size_t cap = flows->cap ? flows->cap * 2 : 64;
	struct flow *more = reallocarray(flows->items, cap, sizeof(*more));

	if (!more)
		return -1;
	flows->items = more;
	flows->cap = cap;
	return 0;
}

static void keep(struct flows *flows, const struct flow *flow)
{
	struct nlattr *copy = NULL;

	if (flows->count < flows->cap || grow(flows) == 0)
		copy = calloc(1, (size_t)nla_total_size(nla_len(flow->tuple)));
	if (!copy) {
		flows->failed = true;
		return;
	}
	memcpy(copy, flow->tuple, (size_t)(NLA_HDRLEN + nla_len(flow->tuple)));
	flows->items[flows->count] = *flow;
	flows->items[flows->count++].tuple = copy;
}

static int on_flow(struct nl_msg *msg, void *arg)
{
	struct nlattr *attr[CTA_MAX + 1];
	struct flows *flows = arg;
	struct source source;
	struct flow flow = {0};

	if (flows->failed || flows->count >= FORGET_MAX ||
	    nlmsg_parse(nlmsg_hdr(msg), sizeof(struct nfgenmsg), attr, CTA_MAX, NULL) < 0 ||
	    !attr[CTA_TUPLE_ORIG] || !read_source(attr[CTA_TUPLE_REPLY], &source) ||
	    !find_target(flows, &source, &flow.target))
		return NL_OK;
	flow.tuple = attr[CTA_TUPLE_ORIG];
	flow.established = source.proto == IPPROTO_TCP && is_established(attr[CTA_PROTOINFO]);
	keep(flows, &flow);
	return NL_OK;
}

static int list_flows(struct nl_sock *sock, struct flows *flows, struct err *err)
{
	auto_msg msg = make_message(IPCTNL_MSG_CT_GET, NLM_F_DUMP);
	bool one = flows->target_count == 1 && flows->targets[0].ip;
	int result;

	if (!msg || (one && put_filter(msg, flows->targets[0].ip) < 0))
		return err_nomem(err);
	nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, on_flow, flows);
	result = nl_send_auto(sock, msg);
	if (result >= 0)
		result = nl_recvmsgs_default(sock);
	if (result < 0)
		return err_set(err, ERR_SYSTEM, "list tracked flows: %s", nl_geterror(result));
	return flows->failed ? err_nomem(err) : 0;
}

static int forget_one(struct nl_sock *sock, const struct nlattr *tuple)
{
	auto_msg msg = make_message(IPCTNL_MSG_CT_DELETE, NLM_F_ACK);

	if (!msg ||
	    nla_put(msg, CTA_TUPLE_ORIG | NLA_F_NESTED, nla_len(tuple), nla_data(tuple)) < 0 ||
	    nl_send_auto(sock, msg) < 0)
		return -1;
	return nl_wait_for_ack(sock); /* it may have ended by itself meanwhile */
}

int conntrack_forget(struct conntrack_target *targets, size_t count,
                     void (*recheck)(void *arg, struct conntrack_target *targets, size_t count),
                     void *arg, struct err *err)
{
	__attribute__((cleanup(free_socket))) struct nl_sock *sock = nl_socket_alloc();
	__attribute__((cleanup(flows_done))) struct flows flows = {.targets = targets,
	                                                           .target_count = count};
	int result, gone = 0;

	if (!sock)
		return err_nomem(err);
	result = nl_connect(sock, NETLINK_NETFILTER);
	if (result < 0)
		return err_set(err, ERR_SYSTEM, "open a netlink socket: %s", nl_geterror(result));
	if (list_flows(sock, &flows, err) < 0)
		return -1;
	if (recheck && flows.count > 0)
		recheck(arg, targets, count);
	for (size_t i = 0; i < flows.count; i++)
		if (!flows.items[i].established || targets[flows.items[i].target].established)
			gone += forget_one(sock, flows.items[i].tuple) >= 0;
	return gone;
}
