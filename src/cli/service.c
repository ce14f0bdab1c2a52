/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "cli/spec.h"

/* The object below `key`; made if it is missing. Borrowed. */
static struct json *below(struct json *doc, const char *key)
{
	if (!json_is_object(json_get(doc, key)))
		json_set(doc, key, json_object());
	return json_get(doc, key);
}

static struct json *task_of(struct json *spec)
{
	return below(spec, "TaskTemplate");
}

static struct json *container_of_spec(struct json *spec)
{
	return below(task_of(spec), "ContainerSpec");
}

/* Where a flag's value goes: the object is made only when the flag is given. */
enum place {
	IN_CONTAINER,
	IN_HEALTH,
	IN_RESTART,
	IN_UPDATE,
	IN_ROLLBACK,
	IN_LIMITS,
	IN_RESERVATIONS,
	IN_PLACEMENT,
	IN_ENDPOINT,
	IN_LOG,
};

static struct json *at_place(struct json *spec, enum place place)
{
	switch (place) {
	case IN_CONTAINER:
		return container_of_spec(spec);
	case IN_HEALTH:
		return below(container_of_spec(spec), "Healthcheck");
	case IN_RESTART:
		return below(task_of(spec), "RestartPolicy");
	case IN_UPDATE:
		return below(spec, "UpdateConfig");
	case IN_ROLLBACK:
		return below(spec, "RollbackConfig");
	case IN_LIMITS:
		return below(below(task_of(spec), "Resources"), "Limits");
	case IN_RESERVATIONS:
		return below(below(task_of(spec), "Resources"), "Reservations");
	case IN_PLACEMENT:
		return below(task_of(spec), "Placement");
	case IN_ENDPOINT:
		return below(spec, "EndpointSpec");
	case IN_LOG:
		return below(task_of(spec), "LogDriver");
	default:
		return NULL;
	}
}

enum kind {
	TEXT,
	NUMBER,
	TRUTH,
	DURATION,
	SIZE,
	CPUS,
	LIST,
	RATIO
};

static const struct rule {
	const char *flag;
	enum kind kind;
	enum place place;
	const char *key;
} rules[] = {
	{"cap-add", LIST, IN_CONTAINER, "CapabilityAdd"},
	{"cap-drop", LIST, IN_CONTAINER, "CapabilityDrop"},
	{"endpoint-mode", TEXT, IN_ENDPOINT, "Mode"},
	{"health-interval", DURATION, IN_HEALTH, "Interval"},
	{"health-retries", NUMBER, IN_HEALTH, "Retries"},
	{"health-start-period", DURATION, IN_HEALTH, "StartPeriod"},
	{"health-timeout", DURATION, IN_HEALTH, "Timeout"},
	{"hostname", TEXT, IN_CONTAINER, "Hostname"},
	{"image", TEXT, IN_CONTAINER, "Image"},
	{"init", TRUTH, IN_CONTAINER, "Init"},
	{"limit-cpu", CPUS, IN_LIMITS, "NanoCPUs"},
	{"limit-memory", SIZE, IN_LIMITS, "MemoryBytes"},
	{"limit-pids", NUMBER, IN_LIMITS, "Pids"},
	{"log-driver", TEXT, IN_LOG, "Name"},
	{"read-only", TRUTH, IN_CONTAINER, "ReadOnly"},
	{"replicas-max-per-node", NUMBER, IN_PLACEMENT, "MaxReplicas"},
	{"reserve-cpu", CPUS, IN_RESERVATIONS, "NanoCPUs"},
	{"reserve-memory", SIZE, IN_RESERVATIONS, "MemoryBytes"},
	{"restart-condition", TEXT, IN_RESTART, "Condition"},
	{"restart-delay", DURATION, IN_RESTART, "Delay"},
	{"restart-max-attempts", NUMBER, IN_RESTART, "MaxAttempts"},
	{"restart-window", DURATION, IN_RESTART, "Window"},
	{"rollback-parallelism", NUMBER, IN_ROLLBACK, "Parallelism"},
	{"stop-grace-period", DURATION, IN_CONTAINER, "StopGracePeriod"},
	{"stop-signal", TEXT, IN_CONTAINER, "StopSignal"},
	{"tty", TRUTH, IN_CONTAINER, "TTY"},
	{"update-delay", DURATION, IN_UPDATE, "Delay"},
	{"update-failure-action", TEXT, IN_UPDATE, "FailureAction"},
	{"update-max-failure-ratio", RATIO, IN_UPDATE, "MaxFailureRatio"},
	{"update-monitor", DURATION, IN_UPDATE, "Monitor"},
	{"update-order", TEXT, IN_UPDATE, "Order"},
	{"update-parallelism", NUMBER, IN_UPDATE, "Parallelism"},
	{"user", TEXT, IN_CONTAINER, "User"},
	{"workdir", TEXT, IN_CONTAINER, "Dir"},
};

/* The flag's value as JSON. NULL: ERR_INVALID. */
static struct json *value_of(const struct args *args, const struct rule *rule, struct err *err)
{
	const char *text = args_string(args, rule->flag);
	int64_t number = 0;
	int rc = 0;
	char *end;

	switch (rule->kind) {
	case TEXT:
		return json_string(text);
	case TRUTH:
		return json_bool(args_bool(args, rule->flag));
	case LIST:
		return spec_list(args, rule->flag);
	case RATIO:
		return json_double(strtod(text, &end));
	case NUMBER:
		number = args_int(args, rule->flag, 0);
		break;
	case DURATION:
		rc = clock_parse_duration(text, &number, err);
		break;
	case SIZE:
		rc = id_parse_size(text, &number, err);
		break;
	case CPUS:
		rc = spec_cpus(text, &number, err);
		break;
	default:
		break;
	}
	return rc < 0 ? NULL : json_int(number);
}

static int apply_rules(const struct args *args, struct json *spec, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		if (!args_has(args, rules[i].flag))
			continue;
		struct json *value = value_of(args, &rules[i], err);
		if (!value)
			return err_wrap(err, "--%s", rules[i].flag);
		if (json_set(at_place(spec, rules[i].place), rules[i].key, value) < 0)
			return err_nomem(err);
	}
	return 0;
}

/* ---- lists ---- */

/* Up to "=": what makes two entries the same. */
static size_t key_len(const char *text)
{
	return strcspn(text, "=");
}

static bool named_by(const struct args *args, const char *flag, const char *text, bool whole)
{
	for (size_t i = 0; i < args_count(args, flag); i++) {
		const char *other = args_at(args, flag, i);
		size_t n = whole ? strlen(text) : key_len(text);
		if ((whole ? strlen(other) : key_len(other)) == n && strncmp(other, text, n) == 0)
			return true;
	}
	return false;
}

/* The strings in `old` that neither flag names. */
static struct json *kept(const struct args *args, const struct json *old, const char *add,
                         const char *rm, bool whole)
{
	struct json *list = json_array();

	for (size_t i = 0; i < json_count(old); i++) {
		const char *text = json_str(json_at(old, i));
		if (text && !named_by(args, add, text, whole) && !named_by(args, rm, text, whole))
			json_append(list, json_ref(json_at(old, i)));
	}
	return list;
}

static int change_env(const struct args *args, struct json *spec, struct err *err)
{
	static const char *const adds[] = {"env", "env-add"};

	if (!args_has(args, "env") && !args_has(args, "env-add") && !args_has(args, "env-rm") &&
	    !args_has(args, "env-file"))
		return 0;
	struct json *container = container_of_spec(spec);
	auto_type(json) list = kept(args, json_get(container, "Env"), "env-add", "env-rm", false);
	for (size_t i = 0; i < args_count(args, "env-file"); i++)
		if (spec_env_file(args_at(args, "env-file", i), list, err) < 0)
			return -1;
	for (size_t k = 0; k < ARRAY_LEN(adds); k++)
		for (size_t i = 0; i < args_count(args, adds[k]); i++)
			if (spec_env(args_at(args, adds[k], i), list, err) < 0)
				return -1;
	return json_set(container, "Env", json_ref(list));
}

static int change_constraints(const struct args *args, struct json *spec)
{
	static const char *const adds[] = {"constraint", "constraint-add"};

	if (!args_has(args, "constraint") && !args_has(args, "constraint-add") &&
	    !args_has(args, "constraint-rm"))
		return 0;
	struct json *placement = at_place(spec, IN_PLACEMENT);
	struct json *list = kept(args, json_get(placement, "Constraints"), "constraint-add",
	                         "constraint-rm", true);
	for (size_t k = 0; k < ARRAY_LEN(adds); k++)
		for (size_t i = 0; i < args_count(args, adds[k]); i++)
			json_append(list, json_string(args_at(args, adds[k], i)));
	return json_set(placement, "Constraints", list);
}

static int change_labels(const struct args *args, struct json *doc, const char *const flags[3],
                         struct err *err)
{
	auto_type(json) labels = json_object();
	const struct json *old = json_get(doc, "Labels");
	void *iter = NULL;
	const char *key;
	struct json *value;

	if (!args_has(args, flags[0]) && !args_has(args, flags[1]) && !args_has(args, flags[2]))
		return 0;
	while (json_next(old, &iter, &key, &value))
		if (!named_by(args, flags[2], key, true))
			json_set(labels, key, json_ref(value));
	for (size_t k = 0; k < 2; k++)
		for (size_t i = 0; i < args_count(args, flags[k]); i++)
			if (spec_label(args_at(args, flags[k], i), labels, err) < 0)
				return -1;
	return json_set(doc, "Labels", json_ref(labels));
}

static bool port_named(const struct args *args, const struct json *port)
{
	for (size_t i = 0; i < args_count(args, "publish-rm"); i++) {
		int64_t target;
		char text[16];
		snprintf(text, sizeof(text), "%.*s",
		         (int)strcspn(args_at(args, "publish-rm", i), "/"),
		         args_at(args, "publish-rm", i));
		if (id_parse_int(text, "port", 1, 65535, &target, NULL) == 0 &&
		    json_get_int(port, "TargetPort", 0) == target)
			return true;
	}
	return false;
}

static int change_ports(const struct args *args, struct json *spec, struct err *err)
{
	static const char *const adds[] = {"publish", "publish-add"};
	auto_type(json) list = json_array();

	if (!args_has(args, "publish") && !args_has(args, "publish-add") &&
	    !args_has(args, "publish-rm"))
		return 0;
	struct json *endpoint = at_place(spec, IN_ENDPOINT);
	const struct json *old = json_get(endpoint, "Ports");
	for (size_t i = 0; i < json_count(old); i++)
		if (!port_named(args, json_at(old, i)))
			json_append(list, json_ref(json_at(old, i)));
	for (size_t k = 0; k < ARRAY_LEN(adds); k++)
		for (size_t i = 0; i < args_count(args, adds[k]); i++)
			if (spec_service_port(args_at(args, adds[k], i), list, err) < 0)
				return -1;
	return json_set(endpoint, "Ports", json_ref(list));
}

static int change_mounts(const struct args *args, struct json *spec, struct err *err)
{
	static const char *const adds[] = {"mount", "mount-add"};
	auto_type(json) list = json_array();

	if (!args_has(args, "mount") && !args_has(args, "mount-add") && !args_has(args, "mount-rm"))
		return 0;
	struct json *container = container_of_spec(spec);
	const struct json *old = json_get(container, "Mounts");
	for (size_t i = 0; i < json_count(old); i++) {
		const char *target = json_get_string(json_at(old, i), "Target");
		if (target && !named_by(args, "mount-rm", target, true))
			json_append(list, json_ref(json_at(old, i)));
	}
	for (size_t k = 0; k < ARRAY_LEN(adds); k++) {
		for (size_t i = 0; i < args_count(args, adds[k]); i++) {
			struct json *mount = spec_mount(args_at(args, adds[k], i), err);
			if (!mount)
				return -1;
			json_append(list, mount);
		}
	}
	return json_set(container, "Mounts", json_ref(list));
}

static int change_networks(const struct args *args, struct json *spec)
{
	size_t count = args_count(args, "network");
	struct json *list = count ? json_array() : NULL;

	for (size_t i = 0; i < count; i++) {
		struct json *one = json_object();
		json_set(one, "Target", json_string(args_at(args, "network", i)));
		json_append(list, one);
	}
	return count ? json_set(task_of(spec), "Networks", list) : 0;
}

/* --args "a b" and --entrypoint "x y": words parted by blanks. */
static struct json *words(const char *text)
{
	struct json *list = json_array();

	while (*(text += strspn(text, " \t"))) {
		size_t len = strcspn(text, " \t");
		auto_free char *word = strndup(text, len);
		json_append(list, word ? json_string(word) : NULL);
		text += len;
	}
	return list;
}

static int change_command(const struct args *args, struct json *spec)
{
	struct json *container = container_of_spec(spec);

	if (args_has(args, "args"))
		json_set(container, "Args", words(args_string(args, "args")));
	if (args_has(args, "entrypoint"))
		json_set(container, "Command", words(args_string(args, "entrypoint")));
	if (args_has(args, "health-cmd")) {
		struct json *test = json_array();
		json_append(test, json_string("CMD-SHELL"));
		json_append(test, json_string(args_string(args, "health-cmd")));
		json_set(at_place(spec, IN_HEALTH), "Test", test);
	}
	if (args_bool(args, "force"))
		json_set(task_of(spec), "ForceUpdate",
		         json_int(json_get_int(task_of(spec), "ForceUpdate", 0) + 1));
	return 0;
}

int64_t service_replicas(const struct json *spec)
{
	const struct json *replicated = json_get(json_get(spec, "Mode"), "Replicated");

	return replicated ? json_get_int(replicated, "Replicas", 1) : -1;
}

int service_scale(struct json *spec, int64_t replicas, struct err *err)
{
	struct json *mode = json_get(spec, "Mode");

	if (!json_get(mode, "Replicated"))
		return err_set(err, ERR_INVALID,
		               "only a replicated service has a number of replicas");
	return json_set(below(mode, "Replicated"), "Replicas", json_int(replicas));
}

int service_change(const struct args *args, struct json *spec, struct err *err)
{
	static const char *const own[] = {"label", "label-add", "label-rm"};
	static const char *const inner[] = {"container-label", "container-label-add",
	                                    "container-label-rm"};

	if (apply_rules(args, spec, err) < 0 || change_env(args, spec, err) < 0 ||
	    change_constraints(args, spec) < 0 || change_labels(args, spec, own, err) < 0 ||
	    change_labels(args, container_of_spec(spec), inner, err) < 0 ||
	    change_ports(args, spec, err) < 0 || change_mounts(args, spec, err) < 0 ||
	    change_networks(args, spec) < 0 || change_command(args, spec) < 0)
		return -1;
	if (args_has(args, "replicas"))
		return service_scale(spec, args_int(args, "replicas", 1), err);
	return 0;
}

static int set_mode(const struct args *args, struct json *spec, struct err *err)
{
	const char *text = args_string(args, "mode");
	struct json *mode = json_object(), *replicated;

	json_set(spec, "Mode", mode);
	if (str_eq(text, "global"))
		return json_set(mode, "Global", json_object());
	if (text && !str_eq(text, "replicated"))
		return err_set(err, ERR_INVALID, "--mode %s: replicated or global", text);
	replicated = json_object();
	json_set(replicated, "Replicas", json_int(1));
	return json_set(mode, "Replicated", replicated);
}

struct json *service_make(const struct args *args, struct err *err)
{
	auto_type(json) spec = json_object();
	struct json *container;

	json_set(spec, "Name",
	         json_string(args_has(args, "name") ? args_string(args, "name") : ""));
	json_set(spec, "Labels", json_object());
	container = container_of_spec(spec);
	json_set(container, "Image", json_string(args->words[0]));
	if (args->count > 1) {
		struct json *list = json_array();
		for (size_t i = 1; i < args->count; i++)
			json_append(list, json_string(args->words[i]));
		json_set(container, "Args", list);
	}
	if (set_mode(args, spec, err) < 0 || service_change(args, spec, err) < 0)
		return NULL;
	return move_ptr(spec);
}
