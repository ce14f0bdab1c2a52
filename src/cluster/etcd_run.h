/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * etcd_run - the etcd of a manager, which this program starts and looks after (store "etcd").
 *
 *	struct etcd_run *run = etcd_run_start(&options, err);
 *	etcd_run_await(run, 20000, err);                          // it answers
 *	etcd_open(&(struct etcd_options){.socket = etcd_run_socket(run)}, err);
 *	etcd_run_free(run);                                       // it runs on
 *
 * It lives in the directory `etcd` below dir_fd: `data`, `log`, and `client:0`, the unix socket by which
 * alone it takes requests, and `trust`, the digest of the ca.pem that it was started with; so nobody but root of this machine can read or change what it holds. The
 * members speak to each other over TLS: ca.pem, etcd.pem and etcd-key.pem stand in dir_fd, and a peer's
 * certificate must say CA_ETCD_NAME, which no node's does.
 *
 * It outlives the program, as containers do: a daemon that is killed or upgraded takes no voice from
 * the cluster's quorum. Whoever starts next finds it by its socket. One that ends is started again, after
 * a pause that grows up to ten seconds.
 *
 * Thread-safe; a thread of its own watches. Nothing blocks but etcd_run_await() and _end().
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

struct err;
struct etcd_run;
struct log;

#define ETCD_RUN_DIR       "etcd"
#define ETCD_RUN_CERT      "etcd.pem"
#define ETCD_RUN_KEY       "etcd-key.pem"
#define ETCD_RUN_PEER_STEP 3 /* the members' port is the cluster's and so many: 2380 */

struct etcd_run_options {
	int dir_fd; /* borrowed during the call */
	const char *name;
	const char *listen, *peer; /* URLs of this member, for the others */
	const char *cluster; /* "NAME=URL,...", ourselves included; of use at the first start */
	bool existing;       /* others run already */
	bool alone;          /* start anew from the data of one member: the others are lost */
	const struct log *log;
};
struct etcd_run *etcd_run_start(const struct etcd_run_options *options, struct err *err);
/* Path of its socket; borrowed. */
const char *etcd_run_socket(const struct etcd_run *run);
/* After ca.pem was replaced: etcd reads it at its start, so one that trusts what was there before ends, and is started
 * again. Blocks until the new one takes connections. 1: that was done, 0: there was no need. */
int etcd_run_trust(struct etcd_run *run, int64_t ms, struct err *err);
/* Does one run that trusts something else than ca.pem? */
bool etcd_run_is_stale(struct etcd_run *run);
/* Until it takes connections. ERR_TIMEOUT, or ERR_UNSUPPORTED when there is no such program. */
int etcd_run_await(struct etcd_run *run, int64_t ms, struct err *err);
void etcd_run_free(struct etcd_run *run); /* accepts NULL */
/* Ends it, too: politely, then by force. */
void etcd_run_end(struct etcd_run *run);
