/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * userns - user namespaces as descriptors: made, mapped, looked up.
 *
 *	struct userns ns = USERNS_INIT;
 *	userns_create(CLONE_NEWNET, &ns, err);    // and a network namespace that it owns
 *	userns_map(&ns, 0, 1879048192, 65536, err);
 *	setns(ns.fd, CLONE_NEWUSER);  fs_mount_idmap(mount, ns.fd, ...);
 *	userns_close(&ns);
 *
 * Made by a short-lived child that shares our memory and sleeps: nothing is copied, and a program with threads
 * may do it. No process stays; the descriptors keep the namespaces. Blocks for some 100 us. Thread-safe.
 */

#include <stdint.h>

struct err;

struct userns {
	int fd;
	int net_fd;                 /* with CLONE_NEWNET; else -1 */
	int uid_map_fd, gid_map_fd; /* -1 once it is mapped */
};
#define USERNS_INIT ((struct userns){.fd = -1, .net_fd = -1, .uid_map_fd = -1, .gid_map_fd = -1})

/* A user namespace without maps; flags: 0 or CLONE_NEWNET. */
int userns_create(int flags, struct userns *out, struct err *err);
/* Writes both maps, once: ids inside, inside+1, ... are outside, outside+1, ... out here. */
int userns_map(struct userns *ns, uint32_t inside, uint32_t outside, uint32_t count,
               struct err *err);
void userns_close(struct userns *ns);

/* Made and mapped: a descriptor for fs_mount_idmap(). */
int userns_open_mapped(uint32_t inside, uint32_t outside, uint32_t count, struct err *err);
/* A network namespace that belongs to the user namespace userns_fd. */
int userns_add_net(int userns_fd, struct err *err);
/* The user namespace that owns the namespace ns_fd (NS_GET_USERNS). */
int userns_owner(int ns_fd, struct err *err);
