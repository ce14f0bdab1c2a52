/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/progress.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "daemon/reply.h"
#include "http/server.h"

#define BAR_WIDTH 50

static void human_size(int64_t bytes, char text[16])
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1000 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1000;
		unit++;
	}
	snprintf(text, 16, "%.4g%s", value, units[unit]);
}

/* "[=====>     ]  12MB/40MB": older clients show this text as it is. */
static void bar(int64_t current, int64_t total, char text[BAR_WIDTH + 48])
{
	char now[16], all[16];
	int done = (int)(current * BAR_WIDTH / total);

	done = done > BAR_WIDTH ? BAR_WIDTH : done;
	memset(text, ' ', BAR_WIDTH + 2);
	text[0] = '[';
	memset(text + 1, '=', (size_t)done);
	if (done < BAR_WIDTH)
		text[1 + done] = '>';
	human_size(current, now);
	human_size(total, all);
	snprintf(text + BAR_WIDTH + 1, 46, "]  %s/%s", now, all);
}

int progress_send(struct progress *p, struct json *doc, struct err *err)
{
	bool first = !p->stream;

	if (first)
		p->stream = http_stream_begin(p->req, 200, "application/json", err);
	if (!p->stream) {
		json_free(doc);
		return -1;
	}
	if (first && p->heading && http_stream_json(p->stream, move_ptr(p->heading), err) < 0) {
		json_free(doc);
		return -1;
	}
	return http_stream_json(p->stream, doc, err);
}

static int update(void *arg, const char *id, const char *status, int64_t current, int64_t total)
{
	struct progress *p = arg;
	struct json *doc = reply_status(id, status);
	struct json *detail = json_object();

	if (total > 0) {
		char text[BAR_WIDTH + 48];
		bar(current, total, text);
		json_set(detail, "current", json_int(current));
		json_set(detail, "total", json_int(total));
		json_set(doc, "progress", json_string(text));
	}
	if (id)
		json_set(doc, "progressDetail", detail);
	else
		json_free(detail);
	return progress_send(p, doc, NULL);
}

struct image_progress progress_of(struct progress *p)
{
	return (struct image_progress){.update = update, .arg = p};
}

int progress_end(struct progress *p, int rc, const struct err *why)
{
	json_free(move_ptr(p->heading));
	if (!p->stream && rc < 0)
		return -1;
	if (!p->stream)
		return http_reply(p->req, 200, "application/json", "", 0);
	if (rc < 0)
		(void)http_stream_json(p->stream, reply_failure(why->msg), NULL);
	http_stream_end(p->stream);
	return 0;
}
