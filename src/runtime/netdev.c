/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/netdev.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "runtime/spec.h"

#define ADDRESSES_MAX 128
#define MESSAGE_MAX   512
#define ANSWER_MAX    32768

/* One address, as RTM_NEWADDR takes it. */
struct address {
	struct ifaddrmsg head;
	unsigned char local[16], peer[16];
	size_t local_len, peer_len; /* 0: absent */
	char label[IFNAMSIZ];
};

struct request {
	struct nlmsghdr head;
	char body[MESSAGE_MAX];
};

static void request_init(struct request *r, unsigned short type, unsigned short flags,
                         const void *fixed, size_t len)
{
	*r = (struct request){.head = {.nlmsg_len = (uint32_t)NLMSG_LENGTH(len),
	                               .nlmsg_type = type,
	                               .nlmsg_flags = (unsigned short)(NLM_F_REQUEST | flags),
	                               .nlmsg_seq = 1}};
	memcpy(NLMSG_DATA(&r->head), fixed, len);
}

static void request_add(struct request *r, unsigned short type, const void *data, size_t len)
{
	struct rtattr attr = {.rta_len = (unsigned short)RTA_LENGTH(len), .rta_type = type};
	char *at = (char *)r + NLMSG_ALIGN(r->head.nlmsg_len);

	memcpy(at, &attr, sizeof(attr)); /* callers add a handful of short ones */
	memcpy(at + RTA_LENGTH(0), data, len);
	r->head.nlmsg_len = (uint32_t)(NLMSG_ALIGN(r->head.nlmsg_len) + RTA_ALIGN(attr.rta_len));
}

static int open_netlink(struct err *err)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd < 0 ? err_sys(err, "netlink") : fd;
}

/* The kernel aligns each part; its own macros say so only by a cast. */
static void *after(struct nlmsghdr *m, unsigned *left)
{
	unsigned len = NLMSG_ALIGN(m->nlmsg_len);

	*left -= len < *left ? len : *left;
	return (char *)m + len;
}

static void *after_attr(struct rtattr *attr, int *left)
{
	int len = (int)RTA_ALIGN(attr->rta_len);

	*left -= len;
	return (char *)attr + len;
}

/* 1: the end of a dump, or the acknowledgement, was among the messages. */
static int each_message(char *answer, unsigned left, void (*fn)(void *arg, struct nlmsghdr *m),
                        void *arg, struct err *err)
{
	for (struct nlmsghdr *m = (void *)answer; NLMSG_OK(m, left); m = after(m, &left)) {
		if (m->nlmsg_type == NLMSG_DONE)
			return 1;
		if (m->nlmsg_type == NLMSG_ERROR) {
			errno = -((struct nlmsgerr *)NLMSG_DATA(m))->error;
			return errno ? err_sys(err, "netlink") : 1;
		}
		if (fn)
			fn(arg, m);
	}
	return 0;
}

/* Each message of the answer goes to fn, until the end of a dump or the acknowledgement. */
static int transact(int fd, const struct request *r, void (*fn)(void *arg, struct nlmsghdr *m),
                    void *arg, struct err *err)
{
	auto_free char *answer = malloc(ANSWER_MAX);

	if (!answer)
		return err_nomem(err);
	if (send(fd, r, r->head.nlmsg_len, 0) < 0)
		return err_sys(err, "netlink: send");
	for (;;) {
		ssize_t n = recv(fd, answer, ANSWER_MAX, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(err, "netlink: receive");
		int rc = each_message(answer, (unsigned)n, fn, arg, err);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
	}
}

/* ---- addresses ---- */

struct addresses {
	int index;
	size_t count;
	struct address all[ADDRESSES_MAX];
};

static void copy_bytes(unsigned char out[16], size_t *len, const struct rtattr *attr)
{
	size_t n = RTA_PAYLOAD(attr);

	if (n <= 16) {
		memcpy(out, RTA_DATA(attr), n);
		*len = n;
	}
}

/* Keeps the permanent ones of global scope. */
static void keep_address(void *arg, struct nlmsghdr *m)
{
	struct addresses *list = arg;
	struct ifaddrmsg *head = NLMSG_DATA(m);
	int left = (int)IFA_PAYLOAD(m);

	if (m->nlmsg_type != RTM_NEWADDR || (int)head->ifa_index != list->index ||
	    !(head->ifa_flags & IFA_F_PERMANENT) || head->ifa_scope != RT_SCOPE_UNIVERSE ||
	    list->count == ADDRESSES_MAX)
		return;
	struct address *a = &list->all[list->count++];
	*a = (struct address){.head = *head};
	struct rtattr *attr = (void *)((char *)head + NLMSG_ALIGN(sizeof(*head)));
	for (; RTA_OK(attr, left); attr = after_attr(attr, &left)) {
		if (attr->rta_type == IFA_LOCAL)
			copy_bytes(a->local, &a->local_len, attr);
		else if (attr->rta_type == IFA_ADDRESS)
			copy_bytes(a->peer, &a->peer_len, attr);
		else if (attr->rta_type == IFA_LABEL && RTA_PAYLOAD(attr) <= IFNAMSIZ)
			memcpy(a->label, RTA_DATA(attr), RTA_PAYLOAD(attr));
	}
}

static int read_addresses(int fd, struct addresses *list, struct err *err)
{
	const struct ifaddrmsg any = {.ifa_family = AF_UNSPEC};
	struct request r;

	request_init(&r, RTM_GETADDR, NLM_F_DUMP, &any, sizeof(any));
	return transact(fd, &r, keep_address, list, err);
}

static int add_address(int fd, const struct address *a, int index, struct err *err)
{
	struct ifaddrmsg head = a->head;
	struct request r;

	head.ifa_index = (unsigned)index;
	head.ifa_flags = IFA_F_PERMANENT;
	request_init(&r, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &head, sizeof(head));
	if (a->local_len)
		request_add(&r, IFA_LOCAL, a->local, a->local_len);
	if (a->peer_len)
		request_add(&r, IFA_ADDRESS, a->peer, a->peer_len);
	struct err why = ERR_INIT;
	if (transact(fd, &r, NULL, NULL, &why) == 0 || why.sys == EEXIST)
		return 0;
	if (err)
		*err = why;
	return err_wrap(err, "address");
}

/* ---- links ---- */

struct links {
	int indexes[1024];
	size_t count;
};

static void keep_link(void *arg, struct nlmsghdr *m)
{
	struct links *list = arg;
	struct ifinfomsg *head = NLMSG_DATA(m);

	if (m->nlmsg_type == RTM_NEWLINK && list->count < 1024)
		list->indexes[list->count++] = head->ifi_index;
}

static int read_links(int fd, struct links *list, struct err *err)
{
	const struct ifinfomsg any = {.ifi_family = AF_UNSPEC};
	struct request r;

	list->count = 0;
	request_init(&r, RTM_GETLINK, NLM_F_DUMP, &any, sizeof(any));
	return transact(fd, &r, keep_link, list, err);
}

/* The index that is new: it, and with a template the name, is the kernel's choice. */
static int find_new(const struct links *before, const struct links *after)
{
	for (size_t i = 0; i < after->count; i++) {
		size_t j = 0;
		while (j < before->count && before->indexes[j] != after->indexes[i])
			j++;
		if (j == before->count)
			return after->indexes[i];
	}
	return -1;
}

static int move_link(int fd, int index, const char *name, int netns_fd, struct err *err)
{
	const struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = index};
	struct request r;

	request_init(&r, RTM_NEWLINK, NLM_F_ACK, &head, sizeof(head));
	request_add(&r, IFLA_NET_NS_FD, &netns_fd, sizeof(netns_fd));
	request_add(&r, IFLA_IFNAME, name, strlen(name) + 1);
	return transact(fd, &r, NULL, NULL, err);
}

static int raise_link(int fd, int index, struct err *err)
{
	const struct ifinfomsg head = {.ifi_family = AF_UNSPEC,
	                               .ifi_index = index,
	                               .ifi_flags = IFF_UP,
	                               .ifi_change = IFF_UP};
	struct request r;

	request_init(&r, RTM_NEWLINK, NLM_F_ACK, &head, sizeof(head));
	return transact(fd, &r, NULL, NULL, err);
}

/* A socket belongs to the namespace in which it was made. */
static int open_netlink_in(int netns_fd, struct err *err)
{
	auto_close int own = fs_trusted_open("/proc/self/ns/net", O_RDONLY, 0, err);

	if (own < 0)
		return -1;
	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return err_sys(err, "enter the container's network");
	auto_close int fd = open_netlink(err);
	if (setns(own, CLONE_NEWNET) < 0)
		return err_sys(err, "leave the container's network");
	return move_fd(&fd);
}

static int move_one(const struct oci_net_device *d, int here, int there, int netns_fd,
                    struct err *err)
{
	auto_free struct addresses *list = calloc(1, sizeof(*list));
	auto_free struct links *before = calloc(2, sizeof(*before));

	if (!list || !before)
		return err_nomem(err);
	struct links *after = before + 1;
	list->index = (int)if_nametoindex(d->host_name);
	if (list->index == 0)
		return err_set(err, ERR_NOT_FOUND, "no such interface");
	if (read_addresses(here, list, err) < 0 || read_links(there, before, err) < 0 ||
	    move_link(here, list->index, d->name, netns_fd, err) < 0 ||
	    read_links(there, after, err) < 0)
		return -1;
	int index = find_new(before, after);
	if (index < 0)
		return err_set(err, ERR_INTERNAL, "it has not arrived");
	for (size_t i = 0; i < list->count; i++)
		if (add_address(there, &list->all[i], index, err) < 0)
			return -1;
	return raise_link(there, index, err);
}

int netdev_move_all(const struct oci_linux *lin, int netns_fd, struct err *err)
{
	auto_close int here = open_netlink(err);
	auto_close int there = here < 0 ? -1 : open_netlink_in(netns_fd, err);

	if (there < 0)
		return -1;
	for (size_t i = 0; i < lin->net_device_count; i++)
		if (move_one(&lin->net_devices[i], here, there, netns_fd, err) < 0)
			return err_wrap(err, "linux.netDevices.%s", lin->net_devices[i].host_name);
	return 0;
}
