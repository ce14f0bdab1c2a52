/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/compose.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"

#define PATH_TEXT_MAX 8192

/* ---- values ---- */

const char *compose_text(const struct json *value, char text[40])
{
	auto_buf struct buf out = BUF_INIT(64);

	if (json_is_string(value))
		return json_str(value);
	if (!value || json_is_null(value) || json_is_object(value) || json_is_array(value) ||
	    json_write(value, &out, NULL) < 0)
		return NULL;
	snprintf(text, 40, "%s", buf_str(&out));
	return text;
}

static struct json *list(const struct json *value, struct err *err)
{
	auto_type(json) out = json_array();
	char own[40];

	if (!json_is_array(value)) {
		const char *text = compose_text(value, own);
		if (!text)
			return err_set(err, ERR_INVALID, "not a list"), NULL;
		json_append(out, json_string(text));
		return json_ref(out);
	}
	for (size_t i = 0; i < json_count(value); i++) {
		const char *text = compose_text(json_at(value, i), own);
		if (!text)
			return err_set(err, ERR_INVALID, "item %zu: not a text", i + 1), NULL;
		json_append(out, json_string(text));
	}
	return json_ref(out);
}

static struct json *words(const struct json *value, struct err *err)
{
	auto_type(json) out = json_array();

	if (!json_is_string(value))
		return list(value, err);
	return spec_words(json_str(value), out, err) < 0 ? NULL : json_ref(out);
}

/* {"A": "1", "B": null} or ["A=1", "B"]. */
static struct json *map(const struct json *value, struct err *err)
{
	auto_type(json) out = json_object();
	void *iter = NULL;
	const char *key;
	struct json *item;
	char own[40];

	if (!json_is_object(value)) {
		auto_type(json) items = list(value, err);
		for (size_t i = 0; i < json_count(items); i++)
			if (spec_label(json_str(json_at(items, i)), out, err) < 0)
				return NULL;
		return items ? json_ref(out) : NULL;
	}
	while (json_next(value, &iter, &key, &item)) {
		const char *text = json_is_null(item) ? "" : compose_text(item, own);
		if (!text)
			return err_set(err, ERR_INVALID, "%s: not a text", key), NULL;
		json_set(out, key, json_string(text));
	}
	return json_ref(out);
}

struct json *compose_value(const struct json *value, enum compose_kind kind, struct err *err)
{
	char own[40];

	if (kind == COMPOSE_WORDS)
		return words(value, err);
	if (kind == COMPOSE_LIST)
		return list(value, err);
	if (kind == COMPOSE_MAP)
		return map(value, err);
	const char *text = compose_text(value, own);
	if (!text)
		return err_set(err, ERR_INVALID, "not a single value"), NULL;
	return spec_value((enum spec_kind)kind, text, err);
}

static const struct compose_rule *rule_of(const char *key, const struct compose_rule *rules,
                                          size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(rules[i].key, key))
			return &rules[i];
	return NULL;
}

int compose_apply(const struct json *from, const struct compose_rule *rules, size_t count,
                  struct json *to, struct json *ignored, struct err *err)
{
	void *iter = NULL;
	const char *key;
	struct json *item;

	if (from && !json_is_object(from) && !json_is_null(from))
		return err_set(err, ERR_INVALID, "not a mapping");
	while (json_next(from, &iter, &key, &item)) {
		const struct compose_rule *rule = rule_of(key, rules, count);
		if (str_starts(key, "x-") || (rule && rule->kind == COMPOSE_OTHER))
			continue;
		if (!rule)
			return err_set(err, ERR_INVALID, "%s: no such key", key);
		if (rule->kind == COMPOSE_IGNORED && ignored)
			json_append(ignored, json_string(key));
		if (rule->kind == COMPOSE_IGNORED || json_is_null(item))
			continue;
		struct json *value = compose_value(item, rule->kind, err);
		if (!value)
			return err_wrap(err, "%s", key);
		if (json_set(to, rule->to, value) < 0)
			return err_nomem(err);
	}
	return 0;
}

char *compose_path(const struct compose *file, const char *path, struct err *err)
{
	auto_buf struct buf out = BUF_INIT(PATH_TEXT_MAX);
	const char *home = getenv("HOME");

	if (*path == '~' && (path[1] == '/' || !path[1]))
		buf_addf(&out, "%s%s", home ? home : "", path + 1);
	else if (*path == '/')
		buf_add(&out, path);
	else
		buf_addf(&out, "%s/%s", file->dir, str_starts(path, "./") ? path + 2 : path);
	if (buf_check(&out, err) < 0)
		return NULL;
	char *made = strdup(buf_str(&out));
	return made ? made : (err_nomem(err), NULL);
}

/* ---- names ---- */

bool compose_is_external(const struct json *entry)
{
	const struct json *external = json_get(entry, "external");

	return json_truth(external) || json_is_object(external) ||
	       str_eq(json_str(external), "true");
}

struct json *compose_scoped(const struct compose *file, const char *stack, const char *section,
                            const char *name, struct err *err)
{
	const struct json *all = json_get(file->doc, section), *entry = json_get(all, name);
	const char *own = json_get_string(entry, "name");
	char scoped[512];

	if (!entry && !(str_eq(section, "networks") && str_eq(name, "default")))
		return err_set(err, ERR_INVALID, "%s.%s is not in the file", section, name), NULL;
	if (!own)
		own = json_get_string(json_get(entry, "external"), "name");
	if (!own && compose_is_external(entry))
		own = name;
	if (own)
		return json_string(own);
	if ((size_t)snprintf(scoped, sizeof(scoped), "%s_%s", stack, name) >= sizeof(scoped))
		return err_set(err, ERR_INVALID, "%s.%.60s...: too long", section, name), NULL;
	return json_string(scoped);
}

/* ---- the stack ---- */

static int add_label(struct json *object, const char *key, const char *stack)
{
	if (!json_is_object(json_get(object, key)))
		(void)json_set(object, key, json_object());
	return json_set(json_get(object, key), COMPOSE_STACK_LABEL, json_string(stack));
}

static int read_ipam(const struct json *entry, struct json *network, struct err *err)
{
	static const struct compose_rule rules[] = {{"driver", COMPOSE_TEXT, "Driver"},
	                                            COMPOSE_RULE_OTHER("config")};
	static const struct compose_rule config_rules[] = {{"subnet", COMPOSE_TEXT, "Subnet"},
	                                                   {"gateway", COMPOSE_TEXT, "Gateway"},
	                                                   {"ip_range", COMPOSE_TEXT, "IPRange"}};
	const struct json *from = json_get(entry, "ipam"), *configs = json_get(from, "config");
	auto_type(json) ipam = json_object();
	struct json *made = json_array();

	json_set(ipam, "Config", made);
	if (compose_apply(from, rules, ARRAY_LEN(rules), ipam, NULL, err) < 0)
		return err_wrap(err, "ipam");
	for (size_t i = 0; i < json_count(configs); i++) {
		struct json *one = json_object();
		json_append(made, one);
		if (compose_apply(json_at(configs, i), config_rules, ARRAY_LEN(config_rules), one,
		                  NULL, err) < 0)
			return err_wrap(err, "ipam.config");
	}
	return from ? json_set(network, "IPAM", json_ref(ipam)) : 0;
}

static int read_network(const struct json *entry, const char *stack, struct json *network,
                        struct err *err)
{
	static const struct compose_rule rules[] = {{"driver", COMPOSE_TEXT, "Driver"},
	                                            {"driver_opts", COMPOSE_MAP, "Options"},
	                                            {"labels", COMPOSE_MAP, "Labels"},
	                                            {"attachable", COMPOSE_BOOL, "Attachable"},
	                                            {"internal", COMPOSE_BOOL, "Internal"},
	                                            {"enable_ipv6", COMPOSE_BOOL, "EnableIPv6"},
	                                            COMPOSE_RULE_OTHER("ipam"),
	                                            COMPOSE_RULE_OTHER("name"),
	                                            COMPOSE_RULE_OTHER("external")};

	json_set(network, "Driver", json_string("overlay"));
	if (compose_apply(entry, rules, ARRAY_LEN(rules), network, NULL, err) < 0 ||
	    read_ipam(entry, network, err) < 0)
		return -1;
	return add_label(network, "Labels", stack);
}

static int read_file(const struct json *entry, const char *stack, const struct compose *file,
                     struct json *object, struct err *err)
{
	static const struct compose_rule rules[] = {{"labels", COMPOSE_MAP, "Labels"},
	                                            COMPOSE_RULE_OTHER("file"),
	                                            {"content", COMPOSE_TEXT, "Content"},
	                                            {"environment", COMPOSE_TEXT, "Environment"},
	                                            {"template_driver", COMPOSE_TEXT, "Template"},
	                                            COMPOSE_RULE_OTHER("name"),
	                                            COMPOSE_RULE_OTHER("external")};
	const char *path = json_get_string(entry, "file");
	int sources = (path != NULL) + (json_get(entry, "content") != NULL) +
	              (json_get(entry, "environment") != NULL);

	if (compose_apply(entry, rules, ARRAY_LEN(rules), object, NULL, err) < 0)
		return -1;
	if (sources != 1)
		return err_set(err, ERR_INVALID,
		               "needs one of file, content, environment, or external: true");
	auto_free char *full = path ? compose_path(file, path, err) : NULL;
	if (path && (!full || json_set(object, "File", json_string(full)) < 0))
		return -1;
	return add_label(object, "Labels", stack);
}

/* One entry of a top-level section as {"Name", "External", ...}. */
static struct json *read_entry(const struct compose *file, const char *stack, const char *section,
                               const char *name, struct err *err)
{
	const struct json *entry = json_get(json_get(file->doc, section), name);
	auto_type(json) object = json_object();
	struct json *scoped = compose_scoped(file, stack, section, name, err);
	bool external = compose_is_external(entry);

	if (!scoped)
		return NULL;
	json_set(object, "Name", scoped);
	json_set(object, "External", json_bool(external));
	if (!external &&
	    (str_eq(section, "networks") ? read_network(entry, stack, object, err)
	                                 : read_file(entry, stack, file, object, err)) < 0)
		return err_wrap(err, "%s.%s", section, name), NULL;
	return json_ref(object);
}

/* Is it named by a service? Docker makes no network that nobody is on. */
static bool is_used(const struct json *specs, const char *name)
{
	for (size_t i = 0; i < json_count(specs); i++) {
		const struct json *task = json_get(json_at(specs, i), "TaskTemplate");
		const struct json *networks = json_get(task, "Networks");
		for (size_t k = 0; k < json_count(networks); k++)
			if (str_eq(json_get_string(json_at(networks, k), "Target"), name))
				return true;
	}
	return false;
}

static int read_section(const struct compose *file, const char *stack, const char *section,
                        const struct json *specs, struct json *out, struct err *err)
{
	const struct json *all = json_get(file->doc, section);
	bool networks = str_eq(section, "networks");
	void *iter = NULL;
	const char *name;
	struct json *entry;

	while (json_next(all, &iter, &name, &entry)) {
		struct json *made = read_entry(file, stack, section, name, err);
		if (!made)
			return -1;
		if (networks && !is_used(specs, json_get_string(made, "Name")))
			json_free(made);
		else
			json_append(out, made);
	}
	if (!networks || json_get(all, "default"))
		return 0;
	struct json *made = read_entry(file, stack, section, "default", err);
	if (made && !is_used(specs, json_get_string(made, "Name"))) {
		json_free(made);
		return 0;
	}
	return made ? json_append(out, made) : -1;
}

static int check_top(const struct json *doc, struct err *err)
{
	static const struct compose_rule rules[] = {
		COMPOSE_RULE_OTHER("version"),  COMPOSE_RULE_OTHER("name"),
		COMPOSE_RULE_OTHER("services"), COMPOSE_RULE_OTHER("networks"),
		COMPOSE_RULE_OTHER("volumes"),  COMPOSE_RULE_OTHER("secrets"),
		COMPOSE_RULE_OTHER("configs")};

	if (!json_is_object(doc))
		return err_set(err, ERR_INVALID, "not a Compose file: its top must be a mapping");
	if (compose_apply(doc, rules, ARRAY_LEN(rules), NULL, NULL, err) < 0)
		return -1;
	return json_count(json_get(doc, "services")) > 0
	               ? 0
	               : err_set(err, ERR_INVALID, "services: there are none");
}

struct json *compose_stack(const struct compose *file, const char *name, struct json *ignored,
                           struct err *err)
{
	static const char *const sections[][2] = {
		{"networks", "Networks"}, {"secrets", "Secrets"}, {"configs", "Configs"}};
	auto_type(json) stack = json_object();
	struct json *specs = json_array();
	void *iter = NULL;
	const char *service;
	struct json *entry;

	json_set(stack, "Services", specs);
	if (check_top(file->doc, err) < 0)
		return NULL;
	while (json_next(json_get(file->doc, "services"), &iter, &service, &entry)) {
		struct json *spec = compose_service(file, name, service, ignored, err);
		if (!spec)
			return err_wrap(err, "services.%s", service), NULL;
		json_append(specs, spec);
	}
	for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
		struct json *made = json_array();
		json_set(stack, sections[i][1], made);
		if (read_section(file, name, sections[i][0], specs, made, err) < 0)
			return NULL;
	}
	return json_ref(stack);
}
