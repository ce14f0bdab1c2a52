/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* template_eval - the expressions inside {{ }}: see template.h for what is understood. */

#include <stdbool.h>

struct buf;
struct err;
struct json;

/* Is the text an expression that can be evaluated? */
int template_check(const char *text, struct err *err);
/* *result: the caller owns it; NULL for a key that is not there. */
int template_eval(const char *text, const struct json *dot, const struct json *root,
                  struct json **result, struct err *err);
/* As Go's fmt prints it: text as it is, "map[a:1]", "[a b]", "<no value>" for NULL. */
void template_print(const struct json *value, struct buf *out);
/* false, 0, "", null, an empty list or map, and what is not there are not true. */
bool template_truth(const struct json *value);
