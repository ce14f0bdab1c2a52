/* SPDX-License-Identifier: Apache-2.0 */
/* service create, update, scale, rollback: changing services, and waiting until they are as wanted. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/auth.h"
#include "cli/commands.h"
#include "cli/service.h"

#define POLL_MS   250
#define STABLE_MS 2000 /* all must have run for so long */

static struct json *find(struct cli *cli, const char *name, struct err *err)
{
	const char *path = api_path(cli, "/services/", name, NULL, err);

	return path ? api_get(cli, path, err) : NULL;
}

/* ---- waiting ---- */

/* How many of the tasks that should run do; *error: what keeps the newest from it. */
static int64_t count_running(const struct json *tasks, const char **error)
{
	int64_t running = 0;

	*error = NULL;
	for (size_t i = 0; i < json_count(tasks); i++) {
		const struct json *task = json_at(tasks, i);
		const struct json *status = json_get(task, "Status");
		const char *message = json_get_string(status, "Err");
		if (!str_eq(json_get_string(task, "DesiredState"), "running"))
			continue;
		if (str_eq(json_get_string(status, "State"), "running"))
			running++;
		else if (!str_empty(message))
			*error = message;
	}
	return running;
}

static struct json *get_tasks(struct cli *cli, const char *id, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	auto_type(json) filters = json_object();
	auto_buf struct buf text = BUF_INIT(API_PATH_MAX);
	struct json *services = json_array(), *fresh = json_array();

	json_append(services, json_string(id));
	json_append(fresh, json_string("true"));
	json_set(filters, "service", services);
	json_set(filters, "_up-to-date", fresh);
	if (json_write(filters, &text, err) < 0)
		return NULL;
	api_begin(&path, "/tasks", NULL, NULL);
	api_query(&path, "filters", buf_str(&text));
	return api_get(cli, buf_str(&path), err);
}

/* Tasks wanted; for a global service, as many as the daemon counts. */
static int64_t wanted(struct cli *cli, const char *id, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	api_begin(&path, "/services", NULL, NULL);
	api_query(&path, "status", "true");
	api_filter(&path, "id", id);
	auto_type(json) list = api_get(cli, buf_str(&path), err);
	if (!list)
		return -1;
	return json_get_int(json_get(json_at(list, 0), "ServiceStatus"), "DesiredTasks", 0);
}

static void show(const struct cli *cli, int64_t running, int64_t want, const char *error)
{
	printf("%soverall progress: %d out of %d tasks%s%.60s", cli->out_tty ? "\r\033[2K" : "",
	       (int)running, (int)want, error ? "; " : "", error ? error : "");
	fputs(cli->out_tty ? "" : "\n", stdout);
	fflush(stdout);
}

static int converge(struct cli *cli, const char *id, bool quiet, struct err *err)
{
	int64_t shown = -1, shown_want = -1, since = 0;

	for (;;) {
		auto_type(json) tasks = get_tasks(cli, id, err);
		const char *error = NULL;
		int64_t want = tasks ? wanted(cli, id, err) : -1;
		if (want < 0)
			return -1;
		int64_t running = count_running(tasks, &error), now = clock_mono_ms();
		if (!quiet && (running != shown || want != shown_want)) {
			show(cli, running, want, error);
			shown = running;
			shown_want = want;
		}
		if (running != want)
			since = 0;
		else if (since == 0)
			since = now;
		else if (now - since >= STABLE_MS)
			break;
		clock_sleep_ms(POLL_MS);
	}
	if (!quiet)
		printf("%sverify: Service converged\n", cli->out_tty ? "\n" : "");
	return 0;
}

static int finish(struct cli *cli, const struct args *args, const char *id, struct err *err)
{
	if (args_bool(args, "detach"))
		return 0;
	return converge(cli, id, args_bool(args, "quiet"), err);
}

/* ---- create ---- */

/* Sends a spec; with --with-registry-auth our credentials go along. Takes ownership of spec. */
static int send_spec(struct cli *cli, const struct args *args, const char *path, struct json *spec,
                     struct json **reply, struct err *err)
{
	auto_type(json) body = spec;
	auto_buf struct buf text = BUF_INIT(16u << 20);
	const char *image =
		json_get_string(json_get(json_get(spec, "TaskTemplate"), "ContainerSpec"), "Image");
	const char *headers[] = {"Content-Type: application/json", NULL, NULL};
	struct http_client *client = api_client(cli, err);
	struct http_response response = {0};

	if (!args_bool(args, "with-registry-auth"))
		return api_send(cli, "POST", path, json_ref(spec), reply, err);
	headers[1] = auth_header(cli, image ? image : "", err);
	if (!client || !headers[1] || json_write(body, &text, err) < 0)
		return -1;
	const struct http_call call = {.method = "POST",
	                               .path = path,
	                               .headers = headers,
	                               .body = buf_str(&text),
	                               .body_len = text.len};
	int rc = http_call_run(client, &call, &response, err);
	if (rc == 0)
		rc = http_expect(&response, err);
	if (rc == 0 && response.len > 0) {
		*reply = json_parse(response.body, response.len, err);
		rc = *reply ? 0 : -1;
	}
	http_response_done(&response);
	return rc;
}

static void show_warnings(const struct json *reply)
{
	const struct json *warnings = json_get(reply, "Warnings");

	for (size_t i = 0; i < json_count(warnings); i++)
		fprintf(stderr, "buoy: warning: %s\n", json_str(json_at(warnings, i)));
}

static int run_create(struct cli *cli, const struct args *args, struct err *err)
{
	const char *path = api_path(cli, "/services/create", NULL, NULL, err);
	struct json *spec = service_make(args, err), *answer = NULL;

	if (!path || !spec) {
		json_free(spec);
		return -1;
	}
	if (send_spec(cli, args, path, spec, &answer, err) < 0)
		return -1;
	auto_type(json) reply = answer;
	const char *id = json_get_string(reply, "ID");
	show_warnings(reply);
	printf("%s\n", id ? id : "");
	fflush(stdout);
	return id ? finish(cli, args, id, err) : 0;
}

/* ---- update ---- */

static int post_update(struct cli *cli, const struct args *args, const struct json *service,
                       struct json *spec, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	struct json *answer = NULL;

	api_begin(&path, "/services/", json_get_string(service, "ID"), "/update");
	api_query_int(&path, "version", json_get_int(json_get(service, "Version"), "Index", 0));
	if (args_bool(args, "rollback"))
		api_query(&path, "rollback", "previous");
	else
		api_query(&path, "registryAuthFrom", "spec");
	if (send_spec(cli, args, buf_str(&path), json_ref(spec), &answer, err) < 0)
		return -1;
	show_warnings(answer);
	json_free(answer);
	return 0;
}

static int run_update(struct cli *cli, const struct args *args, struct err *err)
{
	auto_type(json) service = find(cli, args->words[0], err);

	if (!service)
		return -1;
	struct json *spec = json_get(service, "Spec");
	if (!args_bool(args, "rollback") && service_change(args, spec, err) < 0)
		return -1;
	if (post_update(cli, args, service, spec, err) < 0)
		return -1;
	printf("%s\n", args->words[0]);
	fflush(stdout);
	return finish(cli, args, json_get_string(service, "ID"), err);
}

static int run_rollback(struct cli *cli, const struct args *args, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	auto_type(json) service = find(cli, args->words[0], err);

	if (!service)
		return -1;
	api_begin(&path, "/services/", json_get_string(service, "ID"), "/update");
	api_query_int(&path, "version", json_get_int(json_get(service, "Version"), "Index", 0));
	api_query(&path, "rollback", "previous");
	if (api_send(cli, "POST", buf_str(&path), json_ref(json_get(service, "Spec")), NULL, err) <
	    0)
		return -1;
	printf("%s\n", args->words[0]);
	fflush(stdout);
	return finish(cli, args, json_get_string(service, "ID"), err);
}

/* "web=5". */
static int scale_one(struct cli *cli, const struct args *args, const char *pair, struct err *err)
{
	const char *equals = strrchr(pair, '=');
	int64_t replicas;

	if (!equals || id_parse_int(equals + 1, "replicas", 0, 1000000, &replicas, NULL) < 0)
		return err_set(err, ERR_INVALID, "scale '%s': not SERVICE=REPLICAS", pair);
	const char *name = arena_strndup(&cli->arena, pair, (size_t)(equals - pair), err);
	auto_type(json) service = name ? find(cli, name, err) : NULL;
	if (!service)
		return -1;
	struct json *spec = json_get(service, "Spec");
	if (service_scale(spec, replicas, err) < 0 ||
	    post_update(cli, args, service, spec, err) < 0)
		return -1;
	printf("%s scaled to %s\n", name, equals + 1);
	fflush(stdout);
	return finish(cli, args, json_get_string(service, "ID"), err);
}

static int run_scale(struct cli *cli, const struct args *args, struct err *err)
{
	(void)err;
	return cli_each(cli, args, scale_one);
}

static const struct flag create_flags[] = {
	{"constraint", 0, FLAG_LIST, "EXPRESSION",
         "Where tasks may run, as in node.labels.disk==ssd"},
	{"container-label", 0, FLAG_LIST, "KEY=VALUE", "Set a label on the containers"},
	{"env", 'e', FLAG_LIST, "KEY[=VALUE]", "Set a variable"},
	{"env-file", 0, FLAG_LIST, "FILE", "Read variables from a file"},
	{"label", 'l', FLAG_LIST, "KEY=VALUE", "Set a label on the service"},
	{"mode", 0, FLAG_STRING, "MODE", "replicated or global"},
	{"mount", 0, FLAG_LIST, "SPEC", "type=bind|volume|tmpfs,source=,target=,readonly"},
	{"name", 0, FLAG_STRING, "NAME", "Name of the service"},
	{"network", 0, FLAG_LIST, "NETWORK", "Network to connect to"},
	{"publish", 'p', FLAG_LIST, "[PUBLISHED:]PORT", "Publish a port on every machine"},
	SERVICE_FLAGS,
	{NULL},
};

static const struct flag update_flags[] = {
	{"args", 0, FLAG_STRING, "WORDS", "Arguments of the command"},
	{"constraint-add", 0, FLAG_LIST, "EXPRESSION", "Add a constraint"},
	{"constraint-rm", 0, FLAG_LIST, "EXPRESSION", "Take a constraint away"},
	{"container-label-add", 0, FLAG_LIST, "KEY=VALUE", "Set a label on the containers"},
	{"container-label-rm", 0, FLAG_LIST, "KEY", "Take a label of the containers away"},
	{"env-add", 'e', FLAG_LIST, "KEY[=VALUE]", "Set a variable"},
	{"env-rm", 0, FLAG_LIST, "KEY", "Take a variable away"},
	{"force", 0, FLAG_BOOL, NULL, "Make all tasks anew, even if nothing has changed"},
	{"image", 0, FLAG_STRING, "IMAGE", "Another image"},
	{"label-add", 0, FLAG_LIST, "KEY=VALUE", "Set a label on the service"},
	{"label-rm", 0, FLAG_LIST, "KEY", "Take a label of the service away"},
	{"mount-add", 0, FLAG_LIST, "SPEC", "Add a mount"},
	{"mount-rm", 0, FLAG_LIST, "TARGET", "Take a mount away"},
	{"publish-add", 'p', FLAG_LIST, "[PUBLISHED:]PORT", "Publish a further port"},
	{"publish-rm", 0, FLAG_LIST, "PORT", "Take a port of the container back"},
	{"rollback", 0, FLAG_BOOL, NULL, "Go back to the spec before the last update"},
	SERVICE_FLAGS,
	{NULL},
};

static const struct flag wait_flags[] = {
	{"detach", 'd', FLAG_BOOL, NULL, "Do not wait until it is done"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Show no progress"},
	{NULL},
};

const struct command command_deploy[] = {
	{.group = "service",
         .name = "create",
         .synopsis = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
         .summary = "Make a service: tasks that are kept running somewhere",
         .flags = create_flags,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .passes_on = true,
         .run = run_create},
	{.group = "service",
         .name = "update",
         .synopsis = "[OPTIONS] SERVICE",
         .summary = "Change a service; its tasks are replaced step by step",
         .flags = update_flags,
         .min = 1,
         .max = 1,
         .run = run_update},
	{.group = "service",
         .name = "rollback",
         .synopsis = "[OPTIONS] SERVICE",
         .summary = "Take the last update of a service back",
         .flags = wait_flags,
         .min = 1,
         .max = 1,
         .run = run_rollback},
	{.group = "service",
         .name = "scale",
         .synopsis = "[OPTIONS] SERVICE=REPLICAS [SERVICE=REPLICAS...]",
         .summary = "Change how many tasks services have",
         .flags = wait_flags,
         .min = 1,
         .max = CLI_ARGS_ANY,
         .run = run_scale},
	{.name = NULL},
};
