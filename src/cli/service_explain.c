/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/service_explain.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/out.h"
#include "cli/table.h"

#define TEXT_MAX (1u << 20)

/* One row per filter that rules somebody out, then the nodes that would do. */
static void add_filters(const struct json *task, struct buf *text)
{
	const struct json *filters = json_get(task, "Filters"), *nodes = json_get(task, "Nodes");

	buf_add(text, "FILTER\tNODES\tWHICH\n");
	for (size_t i = 0; i < json_count(filters); i++) {
		const struct json *filter = json_at(filters, i);
		const char *name = json_get_string(filter, "Name");
		const char *between = "";

		if (json_get_int(filter, "Nodes", 0) == 0)
			continue;
		buf_addf(text, "%s\t%lld\t", name, (long long)json_get_int(filter, "Nodes", 0));
		for (size_t k = 0; k < json_count(nodes); k++) {
			if (!str_eq(json_get_string(json_at(nodes, k), "Filter"), name))
				continue;
			buf_addf(text, "%s%s", between,
			         json_get_string(json_at(nodes, k), "Hostname"));
			between = ", ";
		}
		buf_add(text, "\n");
	}
}

static int show_task(struct cli *cli, const struct json *task, const char *service, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(TEXT_MAX), aligned = BUF_INIT(TEXT_MAX);
	int64_t slot = json_get_int(task, "Slot", 0);
	const char *why = json_get_string(task, "Why"), *state = json_get_string(task, "State");

	if (slot > 0)
		buf_addf(&aligned, "%s.%lld", service, (long long)slot);
	else
		buf_addf(&aligned, "%s on %s", service, json_get_string(task, "NodeID"));
	buf_addf(&aligned, ": %s%s%s\n", state ? state : "", str_empty(why) ? "" : ": ",
	         why ? why : "");
	if (json_count(json_get(task, "Filters")) > 0) {
		add_filters(task, &text);
		if (buf_check(&text, err) < 0 || table_align(buf_str(&text), &aligned, err) < 0)
			return -1;
	}
	if (buf_check(&aligned, err) < 0)
		return -1;
	out_text(stdout, buf_str(&aligned), cli->out_tty);
	return 0;
}

int service_explain_run(struct cli *cli, const struct args *args, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/services/", args->words[0], "/explain");
	auto_type(json) doc = api_get(cli, buf_str(&path), err);
	if (!doc)
		return -1;
	const struct json *tasks = json_get(doc, "Tasks");
	const char *name = json_get_string(doc, "Name");
	printf("%s: %lld running, %zu waiting\n", name ? name : "",
	       (long long)json_get_int(doc, "Running", 0), json_count(tasks));
	for (size_t i = 0; i < json_count(tasks); i++)
		if (show_task(cli, json_at(tasks, i), name ? name : "", err) < 0)
			return -1;
	return 0;
}
