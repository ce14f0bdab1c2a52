/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * constraint - "node.labels.disk == ssd": placement constraints, read and matched.
 *
 * Keys: node.id node.hostname node.role node.platform.os node.platform.arch node.labels.NAME
 * engine.labels.NAME. Values are compared without regard to case, as Docker does. A label that a
 * node does not have counts as "".
 */

#include <stdbool.h>
#include <stddef.h>

struct err;
struct node;

struct constraint {
	const char *key; /* borrowed from the text, like value */
	size_t key_len;
	const char *value;
	size_t value_len;
	bool equal; /* == or != */
};

/* ERR_INVALID names the text and what is allowed. */
int constraint_parse(const char *text, struct constraint *constraint, struct err *err);
bool constraint_match(const struct constraint *constraint, const struct node *node);

/* The value of a key ("node.labels.zone") of a node; "" if it has none; NULL: no such key. */
const char *constraint_value(const char *key, size_t len, const struct node *node);
