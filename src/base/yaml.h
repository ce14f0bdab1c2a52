/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * yaml - a YAML 1.2 document as JSON (core schema), by libyaml.
 *
 *	auto_type(json) doc = yaml_parse(text, len, err);
 *
 * Anchors, aliases and merge keys (<<) are resolved. Plain scalars become null, booleans (also yes, no, on, off
 * of YAML 1.1 stay text: people mean the words), integers (017 is octal, as in 1.1) and floats;
 * quoted ones stay strings. Times
 * and binary stay text. Keys must be scalars, and stand once.
 */

#include <stddef.h>

struct err;
struct json;

#define YAML_NODES_MAX 100000 /* after aliases are resolved: a bomb stays small */

/* The first document; the caller owns it. An empty text is null. ERR_INVALID names line and column, both from
 * 1; ERR_LIMIT: more nodes, or deeper than JSON_DEPTH_MAX. */
struct json *yaml_parse(const char *text, size_t len, struct err *err);
