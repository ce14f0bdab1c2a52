/* SPDX-License-Identifier: Apache-2.0 */
/* stack plan: what deploy would change, key by key, and where each task would go (cluster/plan.h). */

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/compose.h"
#include "cli/out.h"
#include "cli/stack.h"

#define TEXT_MAX  (1u << 20)
#define SHOWN_MAX 72 /* characters of a value */

struct plan {
	struct json *services;                     /* of the stack, as they are; owned */
	struct json *networks, *secrets, *configs; /* all that there are */
	struct json *answer;                       /* of the daemon */
};

static void plan_done(struct plan *plan)
{
	json_free(plan->services);
	json_free(plan->networks);
	json_free(plan->secrets);
	json_free(plan->configs);
	json_free(plan->answer);
}

#define auto_plan __attribute__((cleanup(plan_done)))

/* ---- what differs ---- */

static struct json *new_difference(const char *path, const struct json *before,
                                   const struct json *after)
{
	struct json *one = json_object();

	json_set(one, "Key", json_string(path));
	json_set(one, "Before", before ? json_ref((struct json *)before) : json_null());
	json_set(one, "After", after ? json_ref((struct json *)after) : json_null());
	return one;
}

static void compare(const struct json *before, const struct json *after, const char *path,
                    struct json *out);

/* Keys of `from`; those that `other` has too only if `shared`. */
static void compare_keys(const struct json *from, const struct json *before,
                         const struct json *after, const char *path, bool shared, struct json *out)
{
	void *iter = NULL;
	const char *key;
	struct json *value;

	while (json_next(from, &iter, &key, &value)) {
		char longer[512];
		if (!shared && json_get(before, key))
			continue;
		snprintf(longer, sizeof(longer), "%s%s%s", path, *path ? "." : "", key);
		/* It counts `update --force`, and deploy leaves it alone. */
		if (!str_eq(longer, "TaskTemplate.ForceUpdate"))
			compare(json_get(before, key), json_get(after, key), longer, out);
	}
}

static bool is_zero(const struct json *j)
{
	char text[40];

	return str_eq(compose_text(j, text), "0") || str_eq(compose_text(j, text), "0.0");
}

static void compare(const struct json *before, const struct json *after, const char *path,
                    struct json *out)
{
	/* For people, a number that is not given is 0. */
	if (json_alike(before, after) || (!before && is_zero(after)) || (!after && is_zero(before)))
		return;
	if ((json_is_object(before) || !before) && (json_is_object(after) || !after)) {
		compare_keys(before, before, after, path, true, out);
		compare_keys(after, before, after, path, false, out);
	} else {
		json_append(out, new_difference(path, before, after));
	}
}

/* Networks by their names, as the file has them: the daemon may know them by their IDs. */
static void name_networks(const struct json *spec, const struct json *networks)
{
	const struct json *list = json_get(json_get(spec, "TaskTemplate"), "Networks");

	for (size_t i = 0; i < json_count(list); i++) {
		const char *target = json_get_string(json_at(list, i), "Target");
		for (size_t k = 0; k < json_count(networks); k++)
			if (str_eq(json_get_string(json_at(networks, k), "Id"), target))
				json_set(json_at(list, i), "Target",
				         json_ref(json_get(json_at(networks, k), "Name")));
	}
}

/* ---- asking ---- */

static int look(struct cli *cli, const char *name, struct plan *plan, struct err *err)
{
	struct json **const lists[] = {&plan->networks, &plan->secrets, &plan->configs};
	static const char *const paths[] = {"/networks", "/secrets", "/configs"};

	plan->services = stack_list(cli, "services", name, err);
	for (size_t i = 0; plan->services && i < ARRAY_LEN(lists); i++) {
		const char *path = api_path(cli, paths[i], NULL, NULL, err);
		*lists[i] = path ? api_get(cli, path, err) : NULL;
		if (!*lists[i])
			return -1;
	}
	return plan->services ? 0 : -1;
}

/* Secrets and configs that are there have an ID, and the daemon's spec says which. */
static void add_ids(const struct json *files, const struct json *there, const char *id_key,
                    const char *name_key)
{
	for (size_t i = 0; i < json_count(files); i++) {
		struct json *file = json_at(files, i);
		const struct json *found = stack_find(there, json_get_string(file, name_key));
		if (found)
			json_set(file, id_key, json_ref(json_get(found, "ID")));
	}
}

static struct json *names_of(const struct json *entries)
{
	struct json *names = json_array();

	for (size_t i = 0; i < json_count(entries); i++)
		if (!json_get_bool(json_at(entries, i), "External", false))
			json_append(names, json_ref(json_get(json_at(entries, i), "Name")));
	return names;
}

/* Networks that are still to be made are left out: tasks may go anywhere for their sake. */
static void drop_networks(struct json *spec, const struct json *there)
{
	struct json *task = json_get(spec, "TaskTemplate"), *kept = json_array();
	const struct json *list = json_get(task, "Networks");

	for (size_t i = 0; i < json_count(list); i++)
		if (stack_find(there, json_get_string(json_at(list, i), "Target")))
			json_append(kept, json_ref(json_at(list, i)));
	json_set(task, "Networks", kept);
}

static struct json *request_of(const struct json *stack, const struct plan *plan, bool prune)
{
	auto_buf struct buf text = BUF_INIT(16 * TEXT_MAX);
	const struct json *specs = json_get(stack, "Services");
	struct json *request = json_object(), *removed = json_array();

	/* A copy: what is compared keeps its networks. */
	(void)json_write(specs, &text, NULL);
	struct json *own = json_parse(buf_str(&text), text.len, NULL);
	for (size_t i = 0; i < json_count(own); i++) {
		struct json *spec = json_at(own, i);
		stack_keep_force(stack_find(plan->services, json_get_string(spec, "Name")), spec);
		drop_networks(spec, plan->networks);
	}
	for (size_t i = 0; prune && i < json_count(plan->services); i++) {
		const char *name = stack_name_of(json_at(plan->services, i));
		if (!stack_find(specs, name))
			json_append(removed, json_string(name));
	}
	json_set(request, "Services", own);
	json_set(request, "Remove", removed);
	json_set(request, "Secrets", names_of(json_get(stack, "Secrets")));
	json_set(request, "Configs", names_of(json_get(stack, "Configs")));
	return request;
}

/* "Changes" of each service of the answer. */
static void add_changes(const struct plan *plan, const struct json *stack)
{
	const struct json *services = json_get(plan->answer, "Services");

	for (size_t i = 0; i < json_count(services); i++) {
		struct json *one = json_at(services, i), *changes = json_array();
		const char *name = json_get_string(one, "Name");
		struct json *old = stack_find(plan->services, name);
		const struct json *before = json_get(old, "Spec");
		const struct json *after = stack_find(json_get(stack, "Services"), name);
		json_set(one, "Changes", changes);
		const struct json *container =
			json_get(json_get(after, "TaskTemplate"), "ContainerSpec");
		if (!before || !after)
			continue;
		add_ids(json_get(container, "Secrets"), plan->secrets, "SecretID", "SecretName");
		add_ids(json_get(container, "Configs"), plan->configs, "ConfigID", "ConfigName");
		name_networks(before, plan->networks);
		compare(before, after, "", changes);
	}
}

/* ---- showing ---- */

static void show_value(const struct cli *cli, const struct json *value)
{
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);

	if (!value || json_is_null(value)) {
		printf("nothing");
		return;
	}
	(void)json_write(value, &text, NULL);
	if (text.len > SHOWN_MAX) {
		auto_buf struct buf shorter = BUF_INIT(TEXT_MAX);
		buf_addf(&shorter, "%.*s...", SHOWN_MAX, buf_str(&text));
		out_text(stdout, buf_str(&shorter), cli->out_tty);
		return;
	}
	out_text(stdout, buf_str(&text), cli->out_tty);
}

static void show_missing(const struct json *entries, const struct json *there, const char *what)
{
	for (size_t i = 0; i < json_count(entries); i++) {
		const struct json *entry = json_at(entries, i);
		const char *name = json_get_string(entry, "Name");
		if (!stack_find(there, name))
			printf("%s %s %s%s\n", json_get_bool(entry, "External", false) ? "!" : "+",
			       what, name,
			       json_get_bool(entry, "External", false)
			               ? " is external and is not there"
			               : "");
	}
}

static void show_tasks(const struct json *one)
{
	static const char *const keys[] = {"Started", "Stopped", "Kept", "Waiting"};
	static const char *const words[] = {"started", "stopped", "kept", "waiting"};
	const char *between = ": ";

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		int64_t n = json_get_int(one, keys[i], 0);
		if (n == 0)
			continue;
		printf("%s%lld %s", between, (long long)n, words[i]);
		between = ", ";
	}
	printf("\n");
}

static void show_service(const struct cli *cli, const struct json *one)
{
	const char *action = json_get_string(one, "Action"), *why = json_get_string(one, "Why");
	const struct json *changes = json_get(one, "Changes"), *nodes = json_get(one, "Nodes");
	bool same = str_eq(action, "update") && json_count(changes) == 0 &&
	            json_get_int(one, "Started", 0) == 0;

	printf("%s service %s",
	       same                       ? "="
	       : str_eq(action, "update") ? "~"
	       : str_eq(action, "remove") ? "-"
	                                  : "+",
	       json_get_string(one, "Name"));
	show_tasks(one);
	for (size_t i = 0; i < json_count(changes); i++) {
		const struct json *change = json_at(changes, i);
		printf("      %s: ", json_get_string(change, "Key"));
		show_value(cli, json_get(change, "Before"));
		printf(" -> ");
		show_value(cli, json_get(change, "After"));
		printf("\n");
	}
	for (size_t i = 0; !same && i < json_count(nodes); i++) {
		const struct json *row = json_at(nodes, i);
		const char *host = json_get_string(row, "Hostname");
		printf("      on %s: %lld -> %lld\n",
		       str_empty(host) ? json_get_string(row, "ID") : host,
		       (long long)json_get_int(row, "Before", 0),
		       (long long)json_get_int(row, "After", 0));
	}
	if (!str_empty(why))
		printf("      waiting: %s\n", why);
}

static void show(const struct cli *cli, const struct json *stack, const struct plan *plan)
{
	const struct json *services = json_get(plan->answer, "Services");

	show_missing(json_get(stack, "Networks"), plan->networks, "network");
	show_missing(json_get(stack, "Secrets"), plan->secrets, "secret");
	show_missing(json_get(stack, "Configs"), plan->configs, "config");
	for (size_t i = 0; i < json_count(services); i++)
		show_service(cli, json_at(services, i));
	printf("\nNothing was changed. ");
	if (!json_truth(json_get(plan->answer, "Ended")))
		printf("After an hour the cluster would not rest yet.\n");
	else
		printf("The cluster would rest after %lld s, if every task starts at once.\n",
		       (long long)json_get_int(plan->answer, "Seconds", 0));
}

static int show_json(const struct json *answer, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(64 * TEXT_MAX);

	if (json_write(answer, &text, err) < 0 || buf_check(&text, err) < 0)
		return -1;
	puts(buf_str(&text));
	return 0;
}

int stack_plan_run(struct cli *cli, const struct args *args, struct err *err)
{
	const char *name = args->words[0], *format = args_string(args, "format");
	const char *path = api_path(cli, "/buoy/v1/plan", NULL, NULL, err);
	auto_type(json) stack = stack_read(cli, args, name, err);
	auto_plan struct plan plan = {0};

	if (format && !str_eq(format, "json"))
		return err_set(err, ERR_INVALID, "--format %s: only json", format);
	if (!path || !stack || look(cli, name, &plan, err) < 0 ||
	    api_send(cli, "POST", path, request_of(stack, &plan, args_bool(args, "prune")),
	             &plan.answer, err) < 0)
		return -1;
	add_changes(&plan, stack);
	if (format)
		return show_json(plan.answer, err);
	show(cli, stack, &plan);
	return 0;
}
