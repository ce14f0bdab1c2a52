/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* reply - the pieces that several routes build their answers of. The caller owns what is returned. */

#include "base/json.h"

struct json *reply_strings(const struct json_strings *list); /* null when there are none */
struct json *reply_list(char *const *items);                 /* NULL-terminated; [] when empty */
struct json *reply_strmap(const struct json_strmap *map);    /* null when absent, {} when empty */
/* Calls of a stream that a client reads as {"status": text, "id": id}. id may be NULL. */
struct json *reply_status(const char *id, const char *text);
/* {"errorDetail": {"message"}, "error"}: how a stream ends that has failed. */
struct json *reply_failure(const char *message);
