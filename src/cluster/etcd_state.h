/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* etcd_state - what etcd.c, etcd_lead.c and store_etcd.c share. etcd.h is the door. */

#include "cluster/etcd.h"
#include "http/client.h"

#define ETCD_POINTS_MAX 16
#define ETCD_HOST_MAX   250
#define ETCD_KEY_MAX    1024

struct etcd_endpoint {
	char base[ETCD_HOST_MAX + 24];
	struct http_client *client; /* owned; NULL until it is needed */
};

struct etcd {
	char *url, *socket, *prefix;   /* owned; the prefix ends in a slash */
	char *user, *password, *token; /* owned; NULL: no authentication */
	char *ca, *cert, *key;         /* owned; may be NULL */
	bool tls;
	int64_t call_ms;
	struct etcd_endpoint points[ETCD_POINTS_MAX];
	size_t count, current;
};

/* A client of its own for one endpoint. */
struct http_client *etcd_client(const struct etcd *etcd, size_t at, int64_t stall_ms,
                                struct err *err);
/* One attempt at one endpoint, the caller's to choose; body is taken. */
struct json *etcd_call_at(struct etcd *etcd, size_t at, const char *what, struct json *body,
                          int64_t ms, struct err *err);
/* PREFIX + name as a field, and the end of the range of keys that begin with it. */
void etcd_set_key(const struct etcd *etcd, struct json *object, const char *field,
                  const char *name);
void etcd_set_end(const struct etcd *etcd, struct json *object, const char *name);
