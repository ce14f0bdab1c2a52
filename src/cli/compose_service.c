/* SPDX-License-Identifier: Apache-2.0 */
/* One service of a Compose file as a ServiceSpec. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cli/compose.h"
#include "cli/service_files.h"
#include "cli/spec.h"
#include "oci/reference.h"

#define FILE_MODE 0444

/* What is about the place where the file is run, and not about the cluster: left out, and said. */

static const struct compose_rule rules[] = {
	{"image", COMPOSE_TEXT, "Image"},
	{"command", COMPOSE_WORDS, "Args"},
	{"entrypoint", COMPOSE_WORDS, "Command"},
	{"hostname", COMPOSE_TEXT, "Hostname"},
	{"user", COMPOSE_TEXT, "User"},
	{"working_dir", COMPOSE_TEXT, "Dir"},
	{"group_add", COMPOSE_LIST, "Groups"},
	{"stop_signal", COMPOSE_TEXT, "StopSignal"},
	{"stop_grace_period", COMPOSE_DURATION, "StopGracePeriod"},
	{"stdin_open", COMPOSE_BOOL, "OpenStdin"},
	{"tty", COMPOSE_BOOL, "TTY"},
	{"read_only", COMPOSE_BOOL, "ReadOnly"},
	{"init", COMPOSE_BOOL, "Init"},
	{"isolation", COMPOSE_TEXT, "Isolation"},
	{"cap_add", COMPOSE_LIST, "CapabilityAdd"},
	{"cap_drop", COMPOSE_LIST, "CapabilityDrop"},
	{"sysctls", COMPOSE_MAP, "Sysctls"},
	{"labels", COMPOSE_MAP, "Labels"},
	COMPOSE_RULE_OTHER("configs"),
	COMPOSE_RULE_OTHER("deploy"),
	COMPOSE_RULE_OTHER("dns"),
	COMPOSE_RULE_OTHER("dns_opt"),
	COMPOSE_RULE_OTHER("dns_search"),
	COMPOSE_RULE_OTHER("env_file"),
	COMPOSE_RULE_OTHER("environment"),
	COMPOSE_RULE_OTHER("extra_hosts"),
	COMPOSE_RULE_OTHER("healthcheck"),
	COMPOSE_RULE_OTHER("logging"),
	COMPOSE_RULE_OTHER("networks"),
	COMPOSE_RULE_OTHER("ports"),
	COMPOSE_RULE_OTHER("restart"),
	COMPOSE_RULE_OTHER("secrets"),
	COMPOSE_RULE_OTHER("tmpfs"),
	COMPOSE_RULE_OTHER("ulimits"),
	COMPOSE_RULE_OTHER("volumes"),
	COMPOSE_RULE_IGNORED("build"),
	COMPOSE_RULE_IGNORED("cgroup_parent"),
	COMPOSE_RULE_IGNORED("container_name"),
	COMPOSE_RULE_IGNORED("depends_on"),
	COMPOSE_RULE_IGNORED("devices"),
	COMPOSE_RULE_IGNORED("domainname"),
	COMPOSE_RULE_IGNORED("expose"),
	COMPOSE_RULE_IGNORED("external_links"),
	COMPOSE_RULE_IGNORED("ipc"),
	COMPOSE_RULE_IGNORED("links"),
	COMPOSE_RULE_IGNORED("mac_address"),
	COMPOSE_RULE_IGNORED("network_mode"),
	COMPOSE_RULE_IGNORED("pid"),
	COMPOSE_RULE_IGNORED("platform"),
	COMPOSE_RULE_IGNORED("privileged"),
	COMPOSE_RULE_IGNORED("profiles"),
	COMPOSE_RULE_IGNORED("pull_policy"),
	COMPOSE_RULE_IGNORED("security_opt"),
	COMPOSE_RULE_IGNORED("shm_size"),
	COMPOSE_RULE_IGNORED("userns_mode"),
};

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The texts of `list` in order, each once: so that the same file gives the same spec. Owned. */
static struct json *sorted(const struct json *list)
{
	size_t count = json_count(list);
	auto_free const char **texts = calloc(count + 1, sizeof(char *));
	struct json *out = json_array();

	for (size_t i = 0; texts && i < count; i++)
		texts[i] = json_str(json_at(list, i));
	if (texts)
		qsort(texts, count, sizeof(*texts), compare_texts);
	for (size_t i = 0; texts && i < count; i++)
		if (i == 0 || !str_eq(texts[i], texts[i - 1]))
			json_append(out, json_string(texts[i]));
	return out;
}

/* ---- environment ---- */

/* Later variables replace earlier ones; without a value, ours. */
static int add_variable(const char *text, struct json *all, struct err *err)
{
	const char *equals = strchr(text, '=');
	auto_free char *name = strndup(text, equals ? (size_t)(equals - text) : strlen(text));
	const char *value = equals ? equals + 1 : name ? getenv(name) : NULL;

	if (!name)
		return err_nomem(err);
	if (!*name)
		return err_set(err, ERR_INVALID, "'%.60s': no name", text);
	return value && json_set(all, name, json_string(value)) < 0 ? err_nomem(err) : 0;
}

static int add_mapping(const struct json *from, struct json *all, struct err *err)
{
	void *iter = NULL;
	const char *key;
	struct json *item;
	char own[40];

	while (json_next(from, &iter, &key, &item)) {
		const char *text = json_is_null(item) ? getenv(key) : compose_text(item, own);
		if (!text && !json_is_null(item))
			return err_set(err, ERR_INVALID, "%s: not a text", key);
		if (text && json_set(all, key, json_string(text)) < 0)
			return err_nomem(err);
	}
	return 0;
}

static int add_env_files(const struct compose *file, const struct json *service, struct json *all,
                         struct err *err)
{
	const struct json *from = json_get(service, "env_file");
	auto_type(json) paths = from ? compose_value(from, COMPOSE_LIST, err) : json_array();

	for (size_t i = 0; i < json_count(paths); i++) {
		auto_type(json) lines = json_array();
		auto_free char *path = compose_path(file, json_str(json_at(paths, i)), err);
		if (!path || spec_env_file(path, lines, err) < 0)
			return -1;
		for (size_t k = 0; k < json_count(lines); k++)
			if (add_variable(json_str(json_at(lines, k)), all, err) < 0)
				return -1;
	}
	return paths ? 0 : err_wrap(err, "env_file");
}

static int set_environment(const struct compose *file, const struct json *service,
                           struct json *container, struct err *err)
{
	const struct json *from = json_get(service, "environment");
	auto_type(json) all = json_object();
	auto_type(json) list = json_array();
	void *iter = NULL;
	const char *name;
	struct json *value;

	if (add_env_files(file, service, all, err) < 0)
		return -1;
	for (size_t i = 0; json_is_array(from) && i < json_count(from); i++) {
		const char *text = json_str(json_at(from, i));
		if (!text || add_variable(text, all, err) < 0)
			return err_set(err, ERR_INVALID, "environment: item %zu is no KEY=VALUE",
			               i + 1);
	}
	if (json_is_object(from) && add_mapping(from, all, err) < 0)
		return err_wrap(err, "environment");
	while (json_next(all, &iter, &name, &value)) {
		auto_buf struct buf text = BUF_INIT(1u << 20);
		buf_addf(&text, "%s=%s", name, json_str(value));
		if (json_append(list, json_string(buf_str(&text))) < 0)
			return err_nomem(err);
	}
	return json_count(list) ? json_set(container, "Env", sorted(list)) : 0;
}

/* ---- the rest of the container ---- */

/* {"name": "1.2.3.4"}, "name:1.2.3.4" or "name=1.2.3.4" as lines of /etc/hosts. */
static int set_hosts(const struct json *service, struct json *container, struct err *err)
{
	const struct json *from = json_get(service, "extra_hosts");
	auto_type(json) out = json_array();
	auto_type(json) map = json_object();
	void *iter = NULL;
	const char *name;
	struct json *value;
	char line[512];

	for (size_t i = 0; json_is_array(from) && i < json_count(from); i++) {
		const char *text = json_str(json_at(from, i));
		size_t len = text ? strcspn(text, ":=") : 0;
		auto_free char *host = text ? strndup(text, len) : NULL;
		if (!host || !len || !text[len])
			return err_set(err, ERR_INVALID, "extra_hosts: item %zu is no HOST:IP",
			               i + 1);
		json_set(map, host, json_string(text + len + 1));
	}
	while (json_next(json_is_object(from) ? from : map, &iter, &name, &value)) {
		if (snprintf(line, sizeof(line), "%s %s", json_str(value), name) >=
		            (int)sizeof(line) ||
		    !json_is_string(value))
			return err_set(err, ERR_INVALID, "extra_hosts: %.60s: no address", name);
		json_append(out, json_string(line));
	}
	return json_count(out) ? json_set(container, "Hosts", sorted(out)) : 0;
}

static int set_dns(const struct json *service, struct json *container, struct err *err)
{
	static const struct compose_rule dns_rules[] = {{"dns", COMPOSE_LIST, "Nameservers"},
	                                                {"dns_search", COMPOSE_LIST, "Search"},
	                                                {"dns_opt", COMPOSE_LIST, "Options"}};
	auto_type(json) dns = json_object();

	for (size_t i = 0; i < ARRAY_LEN(dns_rules); i++) {
		const struct json *from = json_get(service, dns_rules[i].key);
		struct json *value = from ? compose_value(from, COMPOSE_LIST, err) : NULL;
		if (from && !value)
			return err_wrap(err, "%s", dns_rules[i].key);
		if (value)
			json_set(dns, dns_rules[i].to, value);
	}
	return json_count(dns) ? json_set(container, "DNSConfig", json_ref(dns)) : 0;
}

static int set_health(const struct json *service, struct json *container, struct err *err)
{
	static const struct compose_rule health_rules[] = {
		{"interval", COMPOSE_DURATION, "Interval"},
		{"timeout", COMPOSE_DURATION, "Timeout"},
		{"start_period", COMPOSE_DURATION, "StartPeriod"},
		{"start_interval", COMPOSE_DURATION, "StartInterval"},
		{"retries", COMPOSE_INT, "Retries"},
		COMPOSE_RULE_OTHER("test"),
		COMPOSE_RULE_OTHER("disable")};
	const struct json *from = json_get(service, "healthcheck"), *test = json_get(from, "test");
	struct json *health, *words = NULL;

	if (!from)
		return 0;
	json_set(container, "Healthcheck", json_object());
	health = json_get(container, "Healthcheck");
	if (compose_apply(from, health_rules, ARRAY_LEN(health_rules), health, NULL, err) < 0)
		return err_wrap(err, "healthcheck");
	if (json_truth(json_get(from, "disable"))) {
		words = json_array();
		json_append(words, json_string("NONE"));
	} else if (json_is_string(test)) {
		words = json_array();
		json_append(words, json_string("CMD-SHELL"));
		json_append(words, json_ref((struct json *)test));
	} else if (test && !(words = compose_value(test, COMPOSE_LIST, err))) {
		return err_wrap(err, "healthcheck: test");
	}
	return words ? json_set(health, "Test", words) : 0;
}

static int set_ulimits(const struct json *service, struct json *container, struct err *err)
{
	auto_type(json) out = json_array();
	void *iter = NULL;
	const char *name;
	struct json *value;

	while (json_next(json_get(service, "ulimits"), &iter, &name, &value)) {
		bool one = json_is_int(value);
		struct json *limit = json_object();
		json_append(out, limit);
		json_set(limit, "Name", json_string(name));
		for (int hard = 0; hard < 2; hard++) {
			const struct json *n =
				one ? value : json_get(value, hard ? "hard" : "soft");
			if (!json_is_int(n))
				return err_set(err, ERR_INVALID,
				               "ulimits: %s: neither a number nor soft and hard",
				               name);
			json_set(limit, hard ? "Hard" : "Soft", json_ref((struct json *)n));
		}
	}
	return json_count(out) ? json_set(container, "Ulimits", json_ref(out)) : 0;
}

/* "busybox" is "busybox:latest". */
static int set_image(struct json *container, struct err *err)
{
	const char *image = json_get_string(container, "Image");
	struct reference ref;
	char text[REFERENCE_MAX];

	if (str_empty(image))
		return err_set(err, ERR_INVALID, "image is missing: a stack builds none");
	if (reference_parse(image, &ref, err) < 0)
		return err_wrap(err, "image");
	return json_set(container, "Image", json_string(reference_familiar(&ref, text)));
}

/* ---- secrets and configs ---- */

static int add_file(const struct compose *file, const char *stack, const char *section,
                    const struct json *item, struct json *out, struct err *err)
{
	static const struct compose_rule file_rules[] = {{"target", COMPOSE_TEXT, "Name"},
	                                                 {"uid", COMPOSE_TEXT, "UID"},
	                                                 {"gid", COMPOSE_TEXT, "GID"},
	                                                 COMPOSE_RULE_OTHER("source"),
	                                                 COMPOSE_RULE_OTHER("mode")};
	const char *source =
		json_is_string(item) ? json_str(item) : json_get_string(item, "source");
	struct json *ref = json_object(), *target = json_object();

	json_append(out, ref);
	json_set(ref, "File", target);
	if (!source)
		return err_set(err, ERR_INVALID, "an entry needs a source");
	json_set(target, "Name", json_string(source));
	json_set(target, "UID", json_string("0"));
	json_set(target, "GID", json_string("0"));
	json_set(target, "Mode", json_int(json_get_int(item, "mode", FILE_MODE)));
	if (json_is_object(item) &&
	    compose_apply(item, file_rules, ARRAY_LEN(file_rules), target, NULL, err) < 0)
		return -1;
	struct json *name = compose_scoped(file, stack, section, source, err);
	bool secret = str_eq(section, "secrets");
	return name ? json_set(ref, secret ? "SecretName" : "ConfigName", name) : -1;
}

static int set_files(const struct compose *file, const char *stack, const struct json *service,
                     const char *section, struct json *container, struct err *err)
{
	const struct json *from = json_get(service, section);
	auto_type(json) out = json_array();

	for (size_t i = 0; i < json_count(from); i++)
		if (add_file(file, stack, section, json_at(from, i), out, err) < 0)
			return err_wrap(err, "%s", section);
	return json_count(out)
	               ? json_set(container, str_eq(section, "secrets") ? "Secrets" : "Configs",
	                          json_ref(out))
	               : 0;
}

static int set_container(const struct compose *file, const char *stack, const struct json *service,
                         struct json *container, struct json *ignored, struct err *err)
{
	if (compose_apply(service, rules, ARRAY_LEN(rules), container, ignored, err) < 0)
		return -1;
	if (set_image(container, err) < 0)
		return -1;
	if (!json_get(container, "Labels"))
		json_set(container, "Labels", json_object());
	json_set(json_get(container, "Labels"), COMPOSE_STACK_LABEL, json_string(stack));
	if (set_environment(file, service, container, err) < 0 ||
	    set_hosts(service, container, err) < 0 || set_dns(service, container, err) < 0 ||
	    set_health(service, container, err) < 0 || set_ulimits(service, container, err) < 0 ||
	    set_files(file, stack, service, "secrets", container, err) < 0 ||
	    set_files(file, stack, service, "configs", container, err) < 0)
		return -1;
	struct json *mounts = compose_mounts(file, stack, service, err);
	if (!mounts)
		return err_wrap(err, "volumes");
	if (json_count(mounts) > 0)
		return json_set(container, "Mounts", mounts);
	json_free(mounts);
	return 0;
}

/* ---- networks, ports, logging ---- */

static int add_network(const struct compose *file, const char *stack, const char *service,
                       const char *network, const struct json *options, struct json *out,
                       struct err *err)
{
	static const struct compose_rule network_rules[] = {{"aliases", COMPOSE_LIST, "Aliases"},
	                                                    COMPOSE_RULE_IGNORED("ipv4_address"),
	                                                    COMPOSE_RULE_IGNORED("ipv6_address"),
	                                                    COMPOSE_RULE_IGNORED("priority"),
	                                                    COMPOSE_RULE_IGNORED("link_local_ips")};
	struct json *one = json_object(), *target;

	json_append(out, one);
	target = compose_scoped(file, stack, "networks", network, err);
	if (!target || json_set(one, "Target", target) < 0 ||
	    compose_apply(options, network_rules, ARRAY_LEN(network_rules), one, NULL, err) < 0)
		return err_wrap(err, "networks");
	if (!json_get(one, "Aliases"))
		json_set(one, "Aliases", json_array());
	return json_append(json_get(one, "Aliases"), json_string(service));
}

static int compare_targets(const void *a, const void *b)
{
	const struct json *x = *(struct json *const *)a, *y = *(struct json *const *)b;

	return strcmp(json_get_string(x, "Target"), json_get_string(y, "Target"));
}

/* In the order in which docker's client sends them. Owned. */
static struct json *by_target(const struct json *networks)
{
	size_t count = json_count(networks);
	auto_free struct json **items = calloc(count + 1, sizeof(struct json *));
	struct json *out = json_array();

	if (!items)
		return out;
	for (size_t i = 0; i < count; i++)
		items[i] = json_at(networks, i);
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are what is sorted */
	qsort(items, count, sizeof(*items), compare_targets);
	for (size_t i = 0; i < count; i++)
		json_append(out, json_ref(items[i]));
	return out;
}

static int set_networks(const struct compose *file, const char *stack, const char *name,
                        const struct json *service, struct json *task, struct err *err)
{
	const struct json *from = json_get(service, "networks");
	auto_type(json) out = json_array();
	void *iter = NULL;
	const char *key;
	struct json *options;

	while (json_next(from, &iter, &key, &options))
		if (add_network(file, stack, name, key, options, out, err) < 0)
			return -1;
	for (size_t i = 0; json_is_array(from) && i < json_count(from); i++) {
		const char *network = json_str(json_at(from, i));
		if (!network || add_network(file, stack, name, network, NULL, out, err) < 0)
			return network ? -1 : err_set(err, ERR_INVALID, "networks: not a name");
	}
	if (!from && add_network(file, stack, name, "default", NULL, out, err) < 0)
		return -1;
	return json_set(task, "Networks", by_target(out));
}

static int set_ports(const struct json *service, struct json *spec, struct err *err)
{
	static const struct compose_rule port_rules[] = {
		{"target", COMPOSE_INT, "TargetPort"},  {"published", COMPOSE_INT, "PublishedPort"},
		{"protocol", COMPOSE_TEXT, "Protocol"}, {"mode", COMPOSE_TEXT, "PublishMode"},
		{"name", COMPOSE_TEXT, "Name"},         COMPOSE_RULE_IGNORED("app_protocol")};
	const struct json *from = json_get(service, "ports");
	auto_type(json) out = json_array();
	char own[40];

	for (size_t i = 0; i < json_count(from); i++) {
		const struct json *item = json_at(from, i);
		const char *text = compose_text(item, own);
		if (text && spec_service_port(text, out, err) < 0)
			return err_wrap(err, "ports");
		if (text)
			continue;
		struct json *port = json_object();
		json_append(out, port);
		json_set(port, "Protocol", json_string("tcp"));
		json_set(port, "PublishMode", json_string("ingress"));
		if (compose_apply(item, port_rules, ARRAY_LEN(port_rules), port, NULL, err) < 0)
			return err_wrap(err, "ports");
	}
	return json_count(out) ? json_set(json_get(spec, "EndpointSpec"), "Ports", json_ref(out))
	                       : 0;
}

static int set_logging(const struct json *service, struct json *task, struct err *err)
{
	static const struct compose_rule log_rules[] = {{"driver", COMPOSE_TEXT, "Name"},
	                                                {"options", COMPOSE_MAP, "Options"}};
	const struct json *from = json_get(service, "logging");
	auto_type(json) log = json_object();

	if (compose_apply(from, log_rules, ARRAY_LEN(log_rules), log, NULL, err) < 0)
		return err_wrap(err, "logging");
	return from ? json_set(task, "LogDriver", json_ref(log)) : 0;
}

struct json *compose_service(const struct compose *file, const char *stack, const char *name,
                             struct json *ignored, struct err *err)
{
	const struct json *service = json_get(json_get(file->doc, "services"), name);
	auto_type(json) spec = json_object();
	struct json *task = json_object(), *container = json_object(), *labels = json_object();
	char scoped[512];

	if ((size_t)snprintf(scoped, sizeof(scoped), "%s_%s", stack, name) >= sizeof(scoped))
		return err_set(err, ERR_INVALID, "the name is too long"), NULL;
	json_set(spec, "Name", json_string(scoped));
	json_set(spec, "Labels", labels);
	json_set(spec, "TaskTemplate", task);
	json_set(task, "ContainerSpec", container);
	json_set(spec, "EndpointSpec", json_object());
	if (!json_is_object(service))
		return err_set(err, ERR_INVALID, "not a mapping"), NULL;
	if (set_container(file, stack, service, container, ignored, err) < 0 ||
	    set_networks(file, stack, name, service, task, err) < 0 ||
	    set_ports(service, spec, err) < 0 || set_logging(service, task, err) < 0 ||
	    compose_deploy(service, spec, err) < 0)
		return NULL;
	labels = json_get(spec, "Labels");
	json_set(labels, COMPOSE_STACK_LABEL, json_string(stack));
	json_set(labels, COMPOSE_IMAGE_LABEL, json_ref(json_get(service, "image")));
	return json_ref(spec);
}
