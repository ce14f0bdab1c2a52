/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * template - the part of Go's text/template that people use with --format.
 *
 *	auto_type(template) t = template_parse("{{.Names}}\t{{json .Labels}}", err);
 *	template_write(t, row, &line, err);
 *
 * {{.}} {{.A.B}} {{$.A}} {{"text"}} {{1}}, pipes and parentheses, {{if}} {{range}} {{with}} {{else}}
 * {{end}}, {{- trimming -}}, comments, and the functions json, len, index, join, split, lower, upper,
 * title, println, print, not, and, or, eq, ne. "\t" and "\n" outside of {{}} are a tab and a newline.
 * Keys are looked up as written, then without regard to case (.ID finds "Id"). Variables and
 * template definitions are not understood.
 */

#include "base/cleanup.h"

struct buf;
struct err;
struct json;
struct template;

/* ERR_INVALID shows where it stops making sense. */
struct template *template_parse(const char *text, struct err *err);
void template_free(struct template *t);
DEFINE_AUTO(template)

/* Applies it to a document (borrowed), appended to out. */
int template_write(const struct template *t, const struct json *doc, struct buf *out,
                   struct err *err);
