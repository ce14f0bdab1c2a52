/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * secret - what the API does with secrets and configs: one function per request. The rules stand in
 * service.h. `kind` is STORE_SECRET or STORE_CONFIG.
 *
 * The bytes come sealed (vault.h) and are not looked at here. They never change: a service that shall have
 * others refers to another secret, so that its tasks are replaced.
 */

#include "cluster/control.h"
#include "cluster/store.h"

struct buf;

#define SECRET_LABEL_MAX (SECRET_NAME_MAX + 16)

/* "secret/NAME": what the bytes are sealed under. */
char *secret_label(enum store_kind kind, const char *name, char label[SECRET_LABEL_MAX]);

/* The parts of a spec that are not its bytes: name, labels, templating. ERR_INVALID in Docker's words;
 * ERR_UNSUPPORTED for drivers. */
int secret_spec_check(enum store_kind kind, const struct secret_spec *spec, struct err *err);
/* ERR_INVALID: nothing, or too much. */
int secret_size_check(enum store_kind kind, size_t len, struct err *err);

/* ERR_CONFLICT: the name is taken. id: of ID_SWARM_MAX bytes. */
int secret_create(struct control *c, struct control_time now, enum store_kind kind,
                  const struct secret_spec *spec, const char *sealed, char *id, struct err *err);

/* Other labels; nothing else can change. version: what the client read. */
int secret_set_labels(struct control *c, struct control_time now, enum store_kind kind,
                      const char *ref, uint64_t version, const struct json_strmap *labels,
                      struct err *err);

/* ERR_INVALID while a service refers to it. */
int secret_remove(struct control *c, struct control_time now, enum store_kind kind, const char *ref,
                  struct err *err);

/* By id, name, or the beginning of an id. */
const struct secret *secret_find(const struct control *c, enum store_kind kind, const char *ref,
                                 struct err *err);

/* Calls fn for each that the filters (id name names label) let through. */
int secret_list(const struct control *c, enum store_kind kind, const struct json *filters,
                int (*fn)(void *arg, const struct secret *s, struct err *err), void *arg,
                struct err *err);
