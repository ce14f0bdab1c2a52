/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/service_show.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/out.h"
#include "cli/tasklist.h"
#include "cli/template_eval.h"

#define TEXT_MAX (1u << 20)

/* ---- ls ---- */

static const char *mode_of(const struct json *spec)
{
	static const char *const keys[] = {"Global", "ReplicatedJob", "GlobalJob"};
	static const char *const names[] = {"global", "replicated job", "global job"};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (json_is_object(json_get(json_get(spec, "Mode"), keys[i])))
			return names[i];
	return "replicated";
}

/* "2/3", and "(max 1 per node)" where there is such a limit. */
static struct json *replicas(const struct json *service)
{
	const struct json *status = json_get(service, "ServiceStatus");
	const struct json *task = json_get(json_get(service, "Spec"), "TaskTemplate");
	int64_t max = json_get_int(json_get(task, "Placement"), "MaxReplicas", 0);
	char text[96];

	int n = snprintf(text, sizeof(text), "%lld/%lld",
	                 (long long)json_get_int(status, "RunningTasks", 0),
	                 (long long)json_get_int(status, "DesiredTasks", 0));
	if (max > 0 && n > 0)
		snprintf(text + n, sizeof(text) - (size_t)n, " (max %lld per node)",
		         (long long)max);
	return json_string(text);
}

static struct json *row(struct cli *cli, const struct json *service)
{
	const struct json *spec = json_get(service, "Spec");
	const struct json *container = json_get(json_get(spec, "TaskTemplate"), "ContainerSpec");
	const char *image = json_get_string(container, "Image");
	const char *at = image ? strstr(image, "@sha256:") : NULL;
	struct json *r = json_object();

	if (at && at > image)
		image = arena_strndup(&cli->arena, image, (size_t)(at - image), NULL);
	json_set(r, "ID", json_string(out_id(cli, json_get_string(service, "ID"), false)));
	json_set(r, "Name", json_ref(json_get(spec, "Name")));
	json_set(r, "Mode", json_string(mode_of(spec)));
	json_set(r, "Replicas", replicas(service));
	json_set(r, "Image", json_string(image ? image : ""));
	json_set(r, "Ports",
	         tasklist_ports(json_get(json_get(service, "Endpoint"), "Ports"), "ingress"));
	return r;
}

int service_show_labelled(struct cli *cli, const struct args *args, const char *label,
                          struct err *err)
{
	static const struct out_column columns[] = {
		{"ID", "ID"},       {"Name", "NAME"},   {"Mode", "MODE"}, {"Replicas", "REPLICAS"},
		{"Image", "IMAGE"}, {"Ports", "PORTS"}, {NULL, NULL}};
	const struct out_listing listing = {columns, 6, "ID"};
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	auto_type(json) rows = json_array();

	api_begin(&path, "/services", NULL, NULL);
	api_query(&path, "status", "true");
	if (api_filters_and(&path, args, label ? "label" : NULL, label, err) < 0)
		return -1;
	auto_type(json) list = api_get(cli, buf_str(&path), err);
	if (!list)
		return -1;
	for (size_t i = 0; i < json_count(list); i++)
		json_append(rows, row(cli, json_at(list, i)));
	auto_type(json) sorted = tasklist_sort(rows, "Name");
	return out_rows(cli, args, &listing, sorted, err);
}

int service_show_list(struct cli *cli, const struct args *args, struct err *err)
{
	return service_show_labelled(cli, args, NULL, err);
}

/* ---- inspect --pretty ---- */

/* "Label:  value" when there is one. */
static void line(const struct cli *cli, const char *label, const struct json *value)
{
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);

	if (!value || json_is_null(value) || str_eq(json_str(value), ""))
		return;
	template_print(value, &text);
	printf("%-16s", label);
	out_text(stdout, buf_str(&text), cli->out_tty);
	fputc('\n', stdout);
}

static void words(const struct cli *cli, const char *label, const struct json *list)
{
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);

	for (size_t i = 0; i < json_count(list); i++)
		buf_addf(&text, "%s%s", i ? " " : "", json_str(json_at(list, i)));
	if (json_count(list) == 0)
		return;
	auto_type(json) value = json_string(buf_str(&text));
	line(cli, label, value);
}

static void pairs(const struct cli *cli, const char *label, const struct json *map)
{
	void *iter = NULL;
	const char *key;
	struct json *value;

	if (json_count(map) > 0)
		printf("%s\n", label);
	while (json_next(map, &iter, &key, &value)) {
		auto_buf struct buf text = BUF_INIT(TEXT_MAX);
		buf_addf(&text, " %s=%s\n", key, json_str(value) ? json_str(value) : "");
		out_text(stdout, buf_str(&text), cli->out_tty);
	}
}

static void seconds(const char *label, const struct json *object, const char *key)
{
	if (json_get(object, key))
		printf("%-16s%gs\n", label, (double)json_get_int(object, key, 0) / 1e9);
}

static void update(const struct cli *cli, const char *label, const struct json *config)
{
	if (!json_is_object(config))
		return;
	printf("%s\n", label);
	line(cli, " Parallelism:", json_get(config, "Parallelism"));
	seconds(" Delay:", config, "Delay");
	line(cli, " On failure:", json_get(config, "FailureAction"));
	seconds(" Monitoring:", config, "Monitor");
	line(cli, " Order:", json_get(config, "Order"));
}

static void resources(const char *label, const struct json *r)
{
	char size[24];

	if (json_count(r) == 0)
		return;
	printf("%s\n", label);
	if (json_get_int(r, "NanoCPUs", 0) > 0)
		printf("%-16s%g\n", "  CPU:", (double)json_get_int(r, "NanoCPUs", 0) / 1e9);
	if (json_get_int(r, "MemoryBytes", 0) > 0)
		printf("%-16s%s\n",
		       "  Memory:", out_size_binary(json_get_int(r, "MemoryBytes", 0), size));
}

static void container(const struct cli *cli, const struct json *c)
{
	printf("ContainerSpec:\n");
	line(cli, " Image:", json_get(c, "Image"));
	words(cli, " Command:", json_get(c, "Command"));
	words(cli, " Args:", json_get(c, "Args"));
	words(cli, " Env:", json_get(c, "Env"));
	line(cli, " Dir:", json_get(c, "Dir"));
	line(cli, " User:", json_get(c, "User"));
	line(cli, " Hostname:", json_get(c, "Hostname"));
	for (size_t i = 0; i < json_count(json_get(c, "Mounts")); i++) {
		const struct json *mount = json_at(json_get(c, "Mounts"), i);
		printf(" Mount:\n");
		line(cli, "  Target:", json_get(mount, "Target"));
		line(cli, "  Source:", json_get(mount, "Source"));
		line(cli, "  Type:", json_get(mount, "Type"));
	}
}

static void service(const struct cli *cli, const struct json *s)
{
	const struct json *spec = json_get(s, "Spec");
	const struct json *task = json_get(spec, "TaskTemplate");
	const struct json *endpoint = json_get(s, "Endpoint");
	const struct json *status = json_get(s, "UpdateStatus");

	line(cli, "ID:", json_get(s, "ID"));
	line(cli, "Name:", json_get(spec, "Name"));
	pairs(cli, "Labels:", json_get(spec, "Labels"));
	printf("%-16s%s\n", "Service Mode:", mode_of(spec));
	line(cli,
	     " Replicas:", json_get(json_get(json_get(spec, "Mode"), "Replicated"), "Replicas"));
	if (status && !str_empty(json_get_string(status, "State"))) {
		printf("UpdateStatus:\n");
		line(cli, " State:", json_get(status, "State"));
		line(cli, " Started:", json_get(status, "StartedAt"));
		line(cli, " Completed:", json_get(status, "CompletedAt"));
		line(cli, " Message:", json_get(status, "Message"));
	}
	words(cli, "Placement:", json_get(json_get(task, "Placement"), "Constraints"));
	update(cli, "UpdateConfig:", json_get(spec, "UpdateConfig"));
	update(cli, "RollbackConfig:", json_get(spec, "RollbackConfig"));
	container(cli, json_get(task, "ContainerSpec"));
	printf("Resources:\n");
	resources(" Reservations:", json_get(json_get(task, "Resources"), "Reservations"));
	resources(" Limits:", json_get(json_get(task, "Resources"), "Limits"));
	line(cli, "Endpoint Mode:", json_get(json_get(spec, "EndpointSpec"), "Mode"));
	auto_type(json) ingress = tasklist_ports(json_get(endpoint, "Ports"), "ingress");
	line(cli, "Ports:", ingress);
	auto_type(json) host = tasklist_ports(json_get(endpoint, "Ports"), "host");
	line(cli, "Host ports:", host);
}

static int pretty_one(struct cli *cli, const struct args *args, const char *name, struct err *err)
{
	const char *path = api_path(cli, "/services/", name, NULL, err);
	auto_type(json) doc = path ? api_get(cli, path, err) : NULL;

	if (!doc)
		return -1;
	service(cli, doc);
	if (args->count > 1)
		fputc('\n', stdout);
	return 0;
}

int service_show_pretty(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, pretty_one);
}
