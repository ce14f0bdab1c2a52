/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/service_lists.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "cli/spec.h"

static struct json *part(struct json *object, const char *key)
{
	if (!json_is_object(json_get(object, key)))
		(void)json_set(object, key, json_object());
	return json_get(object, key);
}

/* ---- which item is meant ---- */

static bool same_variable(const struct json *item, const char *text)
{
	const char *own = json_str(item);
	size_t len = strcspn(text, "=");

	return own && strcspn(own, "=") == len && strncmp(own, text, len) == 0;
}

static bool same_text(const struct json *item, const char *text)
{
	return str_eq(json_str(item), text);
}

static bool same_target(const struct json *item, const char *text)
{
	return str_eq(json_get_string(item, "Target"), text);
}

/* "80", "80/udp": the container's port; tcp unless it is said. */
static bool same_port(const struct json *item, const char *text)
{
	const char *protocol = json_get_string(item, "Protocol");
	char own[32];

	snprintf(own, sizeof(own), "%d/%.8s", (int)json_get_int(item, "TargetPort", 0),
	         str_empty(protocol) ? "tcp" : protocol);
	if (strchr(text, '/'))
		return str_eq(own, text);
	return strncmp(own, text, strlen(text)) == 0 && str_eq(own + strlen(text), "/tcp");
}

static bool named(const struct args *args, const char *flag, const struct json *item,
                  bool (*same)(const struct json *item, const char *text))
{
	for (size_t i = 0; i < args_count(args, flag); i++)
		if (same(item, args_at(args, flag, i)))
			return true;
	return false;
}

/* ---- a list ---- */

struct rule {
	const char *key;
	const char *flags[3]; /* that add */
	const char *rm;
	bool (*same)(const struct json *item, const char *text);
	/* Appends the item or items that text stands for. */
	int (*add)(const char *text, struct json *list, struct err *err);
	/* The text by which an item is known, for `same`. */
	const char *(*name)(const struct json *item, char text[64]);
};

static bool given(const struct args *args, const struct rule *rule)
{
	bool any = rule->rm && args_has(args, rule->rm);

	for (size_t i = 0; i < ARRAY_LEN(rule->flags); i++)
		any = any || (rule->flags[i] && args_has(args, rule->flags[i]));
	return any;
}

static int collect(const struct args *args, const struct rule *rule, struct json *added,
                   struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(rule->flags); i++)
		for (size_t k = 0; rule->flags[i] && k < args_count(args, rule->flags[i]); k++)
			if (rule->add(args_at(args, rule->flags[i], k), added, err) < 0)
				return -1;
	return 0;
}

static bool replaced(const struct rule *rule, const struct json *item, const struct json *added)
{
	char text[64];

	for (size_t i = 0; i < json_count(added); i++) {
		const char *name = rule->name(json_at(added, i), text);
		if (name && rule->same(item, name))
			return true;
	}
	return false;
}

/* Adds to `added` what spec_env_file() read, or nothing. */
static int apply(const struct args *args, const struct rule *rule, struct json *object,
                 struct json *added, struct err *err)
{
	const struct json *old = json_get(object, rule->key);
	auto_type(json) list = json_array();

	if (collect(args, rule, added, err) < 0)
		return -1;
	if (!given(args, rule) && json_count(added) == 0)
		return 0;
	for (size_t i = 0; i < json_count(old); i++) {
		struct json *item = json_at(old, i);
		bool gone = rule->rm && named(args, rule->rm, item, rule->same);
		if (!gone && !replaced(rule, item, added))
			json_append(list, json_ref(item));
	}
	for (size_t i = 0; i < json_count(added); i++)
		json_append(list, json_ref(json_at(added, i)));
	return json_set(object, rule->key, json_ref(list)) < 0 ? err_nomem(err) : 0;
}

/* ---- how items are made ---- */

static int add_text(const char *text, struct json *list, struct err *err)
{
	return json_append(list, json_string(text)) < 0 ? err_nomem(err) : 0;
}

static int add_mount(const char *text, struct json *list, struct err *err)
{
	struct json *mount = spec_mount(text, err);

	return mount ? json_append(list, mount) : -1;
}

/* "name:1.2.3.4" is "1.2.3.4 name" in the spec, as in /etc/hosts. */
static int add_host(const char *text, struct json *list, struct err *err)
{
	const char *colon = strchr(text, ':');
	char line[512];

	if (!colon || colon == text || !colon[1])
		return err_set(err, ERR_INVALID, "host '%s': not HOST:IP", text);
	int n = snprintf(line, sizeof(line), "%s %.*s", colon + 1, (int)(colon - text), text);
	if (n < 0 || (size_t)n >= sizeof(line))
		return err_set(err, ERR_INVALID, "host '%.40s...': too long", text);
	return add_text(line, list, err);
}

static bool same_host(const struct json *item, const char *text)
{
	auto_type(json) list = json_array();

	if (same_text(item, text))
		return true;
	return add_host(text, list, NULL) == 0 && same_text(item, json_str(json_at(list, 0)));
}

static int add_network(const char *text, struct json *list, struct err *err)
{
	struct json *network = json_object();

	json_set(network, "Target", json_string(text));
	return json_append(list, network) < 0 ? err_nomem(err) : 0;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the shape of a callback */
static const char *name_text(const struct json *item, char text[64])
{
	(void)text;
	return json_str(item);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the shape of a callback */
static const char *name_target(const struct json *item, char text[64])
{
	(void)text;
	return json_get_string(item, "Target");
}

static const char *name_port(const struct json *item, char text[64])
{
	const char *protocol = json_get_string(item, "Protocol");

	snprintf(text, 64, "%d/%.8s", (int)json_get_int(item, "TargetPort", 0),
	         str_empty(protocol) ? "tcp" : protocol);
	return text;
}

/* ---- labels ---- */

int service_lists_labels(const struct args *args, const char *add, const char *rm,
                         struct json *object, const char *key, struct err *err)
{
	auto_type(json) map = json_object();
	void *iter = NULL;
	const char *name;
	struct json *value;

	if (!args_has(args, add) && !args_has(args, rm))
		return 0;
	while (json_next(json_get(object, key), &iter, &name, &value)) {
		bool gone = false;
		for (size_t i = 0; i < args_count(args, rm); i++)
			gone = gone || str_eq(args_at(args, rm, i), name);
		if (!gone)
			json_set(map, name, json_ref(value));
	}
	for (size_t i = 0; i < args_count(args, add); i++)
		if (spec_label(args_at(args, add, i), map, err) < 0)
			return err_wrap(err, "--%s", add);
	return json_set(object, key, json_ref(map));
}

/* ---- all of them ---- */

static int apply_env(const struct args *args, struct json *container, struct err *err)
{
	static const struct rule rule = {"Env",         {"env", "env-add"}, "env-rm",
	                                 same_variable, spec_env,           name_text};
	auto_type(json) added = json_array();

	for (size_t i = 0; i < args_count(args, "env-file"); i++)
		if (spec_env_file(args_at(args, "env-file", i), added, err) < 0)
			return -1;
	return apply(args, &rule, container, added, err);
}

/* Object, rule: what is left when the special ones are done. */
static int apply_list(const struct args *args, struct json *object, const struct rule *rule,
                      struct err *err)
{
	auto_type(json) added = json_array();

	return given(args, rule) ? apply(args, rule, object, added, err) : 0;
}

int service_lists_apply(const struct args *args, struct json *spec, struct err *err)
{
	static const struct rule constraints = {"Constraints",   {"constraint", "constraint-add"},
	                                        "constraint-rm", same_text,
	                                        add_text,        name_text};
	static const struct rule mounts = {
		"Mounts", {"mount", "mount-add"}, "mount-rm", same_target, add_mount, name_target};
	static const struct rule hosts = {
		"Hosts", {"host", "host-add"}, "host-rm", same_host, add_host, name_text};
	static const struct rule networks = {"Networks",  {"network"}, NULL,
	                                     same_target, add_network, name_target};
	static const struct rule ports = {"Ports",   {"publish", "publish-add"}, "publish-rm",
	                                  same_port, spec_service_port,          name_port};
	struct json *task = part(spec, "TaskTemplate");
	struct json *container = part(task, "ContainerSpec");

	if (apply_env(args, container, err) < 0 ||
	    service_lists_labels(args, "label", "label-rm", spec, "Labels", err) < 0 ||
	    service_lists_labels(args, "label-add", "", spec, "Labels", err) < 0 ||
	    service_lists_labels(args, "container-label", "container-label-rm", container, "Labels",
	                         err) < 0 ||
	    service_lists_labels(args, "container-label-add", "", container, "Labels", err) < 0 ||
	    apply_list(args, part(task, "Placement"), &constraints, err) < 0 ||
	    apply_list(args, container, &mounts, err) < 0 ||
	    apply_list(args, container, &hosts, err) < 0 ||
	    apply_list(args, task, &networks, err) < 0)
		return -1;
	return apply_list(args, part(spec, "EndpointSpec"), &ports, err);
}
