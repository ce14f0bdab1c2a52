/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/service_lists.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "cli/service_files.h"
#include "cli/spec.h"

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

static bool same_secret(const struct json *item, const char *text)
{
	return str_eq(json_get_string(item, "SecretName"), text);
}

static bool same_config(const struct json *item, const char *text)
{
	return str_eq(json_get_string(item, "ConfigName"), text);
}

static const char *descriptor(const struct json *preference)
{
	return json_get_string(json_get(preference, "Spread"), "SpreadDescriptor");
}

/* "spread=LABEL". */
static bool same_preference(const struct json *item, const char *text)
{
	const char *equals = strchr(text, '=');

	return str_eq(descriptor(item), equals ? equals + 1 : text);
}

/* {"Name": "nofile", ...} */
static bool same_limit(const struct json *item, const char *text)
{
	return str_eq(json_get_string(item, "Name"), text);
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

#define SPREAD "spread="

static int add_preference(const char *text, struct json *list, struct err *err)
{
	if (!str_starts(text, SPREAD) || !text[strlen(SPREAD)])
		return err_set(err, ERR_INVALID,
		               "placement-pref %s: not spread=LABEL, as in "
		               "spread=node.labels.rack",
		               text);
	struct json *preference = json_object();
	json_set(spec_part(preference, "Spread"), "SpreadDescriptor",
	         json_string(text + strlen(SPREAD)));
	return json_append(list, preference) < 0 ? err_nomem(err) : 0;
}

static int add_limit(const char *text, struct json *list, struct err *err)
{
	struct json *limit = spec_ulimit(text, err);

	return limit ? json_append(list, limit) : -1;
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

/* NOLINTNEXTLINE(readability-non-const-parameter): the shape of a callback */
static const char *name_limit(const struct json *item, char text[64])
{
	(void)text;
	return json_get_string(item, "Name");
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the shape of a callback */
static const char *name_preference(const struct json *item, char text[64])
{
	(void)text;
	return descriptor(item);
}

/* For what may be there more than once: nothing is replaced. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the shape of a callback */
static const char *name_none(const struct json *item, char text[64])
{
	(void)item;
	(void)text;
	return NULL;
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

/* What DNSConfig holds, made only if a flag asks for it. */
static int apply_dns(const struct args *args, struct json *container, struct err *err)
{
	static const struct rule rules[] = {
		{"Nameservers", {"dns", "dns-add"}, "dns-rm", same_text, add_text, name_text},
		{"Search",
	         {"dns-search", "dns-search-add"},
	         "dns-search-rm",
	         same_text,
	         add_text,
	         name_text},
		{"Options",
	         {"dns-option", "dns-option-add"},
	         "dns-option-rm",
	         same_text,
	         add_text,
	         name_text},
	};

	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (given(args, &rules[i]) &&
		    apply_list(args, spec_part(container, "DNSConfig"), &rules[i], err) < 0)
			return -1;
	return 0;
}

static int apply_container(const struct args *args, struct json *container, struct err *err)
{
	static const struct rule rules[] = {
		{"Mounts", {"mount", "mount-add"}, "mount-rm", same_target, add_mount, name_target},
		{"Hosts", {"host", "host-add"}, "host-rm", same_host, add_host, name_text},
		{"Groups", {"group", "group-add"}, "group-rm", same_text, add_text, name_text},
		{"Ulimits",
	         {"ulimit", "ulimit-add"},
	         "ulimit-rm",
	         same_limit,
	         add_limit,
	         name_limit},
		{"Secrets",
	         {"secret", "secret-add"},
	         "secret-rm",
	         same_secret,
	         service_files_secret,
	         name_none},
		{"Configs",
	         {"config", "config-add"},
	         "config-rm",
	         same_config,
	         service_files_config,
	         name_none},
	};

	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (apply_list(args, container, &rules[i], err) < 0)
			return -1;
	if (apply_env(args, container, err) < 0 || apply_dns(args, container, err) < 0 ||
	    service_lists_labels(args, "sysctl", "sysctl-rm", container, "Sysctls", err) < 0 ||
	    service_lists_labels(args, "sysctl-add", "", container, "Sysctls", err) < 0 ||
	    service_lists_labels(args, "container-label", "container-label-rm", container, "Labels",
	                         err) < 0)
		return -1;
	return service_lists_labels(args, "container-label-add", "", container, "Labels", err);
}

/* Labels, so that docker's client and Compose files can say it too. */
static int apply_own(const struct args *args, struct json *spec, struct err *err)
{
	const char *text = args_string(args, "priority");
	const char *moves = args_bool(args, "rebalance") ? "true" : "false";

	if (text && json_set(spec_part(spec, "Labels"), "buoy.priority", json_string(text)) < 0)
		return err_nomem(err);
	if (args_has(args, "rebalance") &&
	    json_set(spec_part(spec, "Labels"), "buoy.rebalance", json_string(moves)) < 0)
		return err_nomem(err);
	return 0;
}

int service_lists_apply(const struct args *args, struct json *spec, struct err *err)
{
	static const struct rule constraints = {"Constraints",   {"constraint", "constraint-add"},
	                                        "constraint-rm", same_text,
	                                        add_text,        name_text};
	static const struct rule preferences = {
		"Preferences",       {"placement-pref", "placement-pref-add"},
		"placement-pref-rm", same_preference,
		add_preference,      name_preference};
	static const struct rule networks = {"Networks",   {"network", "network-add"},
	                                     "network-rm", same_target,
	                                     add_network,  name_target};
	static const struct rule ports = {"Ports",   {"publish", "publish-add"}, "publish-rm",
	                                  same_port, spec_service_port,          name_port};
	struct json *task = spec_part(spec, "TaskTemplate");

	if (apply_container(args, spec_part(task, "ContainerSpec"), err) < 0 ||
	    service_lists_labels(args, "label", "label-rm", spec, "Labels", err) < 0 ||
	    service_lists_labels(args, "label-add", "", spec, "Labels", err) < 0 ||
	    apply_own(args, spec, err) < 0 ||
	    apply_list(args, spec_part(task, "Placement"), &constraints, err) < 0 ||
	    apply_list(args, spec_part(task, "Placement"), &preferences, err) < 0 ||
	    apply_list(args, task, &networks, err) < 0)
		return -1;
	return apply_list(args, spec_part(spec, "EndpointSpec"), &ports, err);
}
