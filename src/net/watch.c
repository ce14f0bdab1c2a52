/* SPDX-License-Identifier: Apache-2.0 */
#include "net/watch.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "base/err.h"
#include "base/str.h"

struct watch {
	struct nl_sock *sock;
	int stop; /* an eventfd */
	char table[32];
	void (*fn)(void *arg);
	void *arg;
	pthread_t thread;
	bool started;
	bool deleted; /* since the last call; the thread's own */
};

static int on_event(struct nl_msg *msg, void *arg)
{
	struct nlmsghdr *head = nlmsg_hdr(msg);
	struct nlattr *attr[NFTA_TABLE_MAX + 1];
	struct watch *watch = arg;

	if (head->nlmsg_type != ((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_DELTABLE) ||
	    nlmsg_parse(head, sizeof(struct nfgenmsg), attr, NFTA_TABLE_MAX, NULL) < 0)
		return NL_OK;
	if (attr[NFTA_TABLE_NAME] && str_eq(nla_get_string(attr[NFTA_TABLE_NAME]), watch->table))
		watch->deleted = true;
	return NL_OK;
}

static void *run(void *arg)
{
	struct watch *watch = arg;
	struct pollfd fds[2] = {
		{.fd = nl_socket_get_fd(watch->sock), .events = POLLIN},
		{.fd = watch->stop, .events = POLLIN},
	};

	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[1].revents)
			return NULL;
		/* Too many events at once overflow the socket: then it may have been ours. */
		if (nl_recvmsgs_default(watch->sock) < 0)
			watch->deleted = true;
		if (watch->deleted) {
			watch->deleted = false;
			watch->fn(watch->arg);
		}
	}
}

static int open_socket(struct watch *watch, struct err *err)
{
	int result;

	watch->sock = nl_socket_alloc();
	if (!watch->sock)
		return err_nomem(err);
	nl_socket_disable_seq_check(watch->sock);
	nl_socket_modify_cb(watch->sock, NL_CB_VALID, NL_CB_CUSTOM, on_event, watch);
	result = nl_connect(watch->sock, NETLINK_NETFILTER);
	if (result == 0)
		result = nl_socket_add_memberships(watch->sock, NFNLGRP_NFTABLES, 0);
	if (result == 0)
		result = nl_socket_set_nonblocking(watch->sock);
	if (result < 0)
		return err_set(err, ERR_SYSTEM, "watch the packet rules: %s", nl_geterror(result));
	return 0;
}

struct watch *watch_start(const char *table, void (*fn)(void *arg), void *arg, struct err *err)
{
	auto_type(watch) watch = calloc(1, sizeof(*watch));

	if (!watch) {
		(void)err_nomem(err);
		return NULL;
	}
	watch->fn = fn;
	watch->arg = arg;
	snprintf(watch->table, sizeof(watch->table), "%s", table);
	watch->stop = eventfd(0, EFD_CLOEXEC);
	if (watch->stop < 0) {
		(void)err_sys(err, "watch the packet rules");
		return NULL;
	}
	if (open_socket(watch, err) < 0)
		return NULL;
	errno = pthread_create(&watch->thread, NULL, run, watch);
	if (errno) {
		(void)err_sys(err, "start a thread");
		return NULL;
	}
	watch->started = true;
	return move_ptr(watch);
}

void watch_free(struct watch *watch)
{
	uint64_t one = 1;

	if (!watch)
		return;
	if (watch->started) {
		(void)!write(watch->stop, &one, sizeof(one));
		pthread_join(watch->thread, NULL);
	}
	if (watch->sock)
		nl_socket_free(watch->sock);
	if (watch->stop >= 0)
		close(watch->stop);
	free(watch);
}
