/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/service_spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "cli/service_lists.h"
#include "cli/spec.h"

#define REPLICAS_MAX 1000000

/* How the text of a flag becomes the value of a key. */
enum kind {
	KIND_TEXT,
	KIND_INT, /* at least 0 */
	KIND_BOOL,
	KIND_DURATION, /* ns, at least 0 */
	KIND_SIZE,
	KIND_CPUS,
	KIND_RATIO, /* 0 to 1 */
};

struct rule {
	const char *flag, *key;
	enum kind kind;
};

/* ---- one flag, one key ---- */

static struct json *whole(const char *text, const char *flag, struct err *err)
{
	int64_t n;

	return id_parse_int(text, flag, 0, INT32_MAX, &n, err) < 0 ? NULL : json_int(n);
}

static struct json *duration(const char *text, const char *flag, struct err *err)
{
	int64_t ns;

	if (clock_parse_duration(text, &ns, err) < 0) {
		err_wrap(err, "--%s", flag);
		return NULL;
	}
	if (ns < 0) {
		err_set(err, ERR_INVALID, "--%s %s: not below 0", flag, text);
		return NULL;
	}
	return json_int(ns);
}

static struct json *size(const char *text, const char *flag, struct err *err)
{
	int64_t bytes;

	if (id_parse_size(text, &bytes, err) < 0) {
		err_wrap(err, "--%s", flag);
		return NULL;
	}
	return json_int(bytes);
}

/* 0 takes a limit away. */
static struct json *cpus(const char *text, const char *flag, struct err *err)
{
	int64_t nano = 0;

	if (!str_eq(text, "0") && spec_cpus(text, &nano, err) < 0) {
		err_wrap(err, "--%s", flag);
		return NULL;
	}
	return json_int(nano);
}

static struct json *ratio(const char *text, const char *flag, struct err *err)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= 0 && value <= 1)) {
		err_set(err, ERR_INVALID, "--%s %s: not a number from 0 to 1", flag, text);
		return NULL;
	}
	return json_double(value);
}

static struct json *value_of(const struct args *args, const struct rule *rule, struct err *err)
{
	const char *text = args_string(args, rule->flag);

	switch (rule->kind) {
	case KIND_INT:
		return whole(text, rule->flag, err);
	case KIND_BOOL:
		return json_bool(args_bool(args, rule->flag));
	case KIND_DURATION:
		return duration(text, rule->flag, err);
	case KIND_SIZE:
		return size(text, rule->flag, err);
	case KIND_CPUS:
		return cpus(text, rule->flag, err);
	case KIND_RATIO:
		return ratio(text, rule->flag, err);
	case KIND_TEXT:
		break;
	}
	return json_string(text);
}

/* The object at a key, made if there is none. */
static struct json *part(struct json *object, const char *key)
{
	if (!json_is_object(json_get(object, key)))
		(void)json_set(object, key, json_object());
	return json_get(object, key);
}

/* Sets the keys of object[key] that flags name; object[key] is made only if one does. */
static int apply(const struct args *args, const struct rule *rules, size_t count,
                 struct json *object, const char *key, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		if (!args_has(args, rules[i].flag))
			continue;
		struct json *value = value_of(args, &rules[i], err);
		if (!value)
			return -1;
		if (json_set(key ? part(object, key) : object, rules[i].key, value) < 0)
			return err_nomem(err);
	}
	return 0;
}

static int choose(const struct args *args, const char *flag, const char *const *allowed,
                  struct err *err)
{
	const char *text = args_string(args, flag);
	auto_buf struct buf names = BUF_INIT(ERR_MSG_MAX);

	for (size_t i = 0; text && allowed[i]; i++) {
		if (str_eq(text, allowed[i]))
			return 0;
		buf_addf(&names, "%s%s", i ? ", " : "", allowed[i]);
	}
	return text ? err_set(err, ERR_INVALID, "--%s %s: not one of %s", flag, text,
	                      buf_str(&names))
	            : 0;
}

/* ---- the container ---- */

static int set_words(const struct args *args, const char *flag, struct json *container,
                     const char *key, struct err *err)
{
	const char *text = args_string(args, flag);
	auto_type(json) list = json_array();

	if (!text)
		return 0;
	if (spec_words(text, list, err) < 0)
		return err_wrap(err, "--%s", flag);
	return json_set(container, key, json_ref(list));
}

static int set_health(const struct args *args, struct json *container, struct err *err)
{
	static const struct rule rules[] = {
		{"health-interval", "Interval", KIND_DURATION},
		{"health-timeout", "Timeout", KIND_DURATION},
		{"health-start-period", "StartPeriod", KIND_DURATION},
		{"health-retries", "Retries", KIND_INT},
	};
	bool none = args_bool(args, "no-healthcheck");
	struct json *test = json_array();

	if (none && args_has(args, "health-cmd")) {
		json_free(test);
		return err_set(err, ERR_INVALID,
		               "--no-healthcheck and --health-cmd exclude each other");
	}
	if (none) {
		json_append(test, json_string("NONE"));
		json_set(container, "Healthcheck", json_object());
	} else if (args_has(args, "health-cmd")) {
		json_append(test, json_string("CMD-SHELL"));
		json_append(test, json_string(args_string(args, "health-cmd")));
	}
	if (json_count(test))
		json_set(part(container, "Healthcheck"), "Test", test);
	else
		json_free(test);
	return apply(args, rules, ARRAY_LEN(rules), container, "Healthcheck", err);
}

static int set_container(const struct args *args, struct json *container, struct err *err)
{
	static const struct rule rules[] = {
		{"image", "Image", KIND_TEXT},
		{"hostname", "Hostname", KIND_TEXT},
		{"user", "User", KIND_TEXT},
		{"workdir", "Dir", KIND_TEXT},
		{"stop-signal", "StopSignal", KIND_TEXT},
		{"stop-grace-period", "StopGracePeriod", KIND_DURATION},
		{"init", "Init", KIND_BOOL},
		{"read-only", "ReadOnly", KIND_BOOL},
		{"tty", "TTY", KIND_BOOL},
	};

	if (apply(args, rules, ARRAY_LEN(rules), container, NULL, err) < 0 ||
	    set_words(args, "entrypoint", container, "Command", err) < 0 ||
	    set_words(args, "args", container, "Args", err) < 0)
		return -1;
	if (args_has(args, "cap-add"))
		json_set(container, "CapabilityAdd", spec_list(args, "cap-add"));
	if (args_has(args, "cap-drop"))
		json_set(container, "CapabilityDrop", spec_list(args, "cap-drop"));
	return set_health(args, container, err);
}

/* ---- the task ---- */

static int set_resources(const struct args *args, struct json *task, struct err *err)
{
	static const struct rule limits[] = {
		{"limit-cpu", "NanoCPUs", KIND_CPUS},
		{"limit-memory", "MemoryBytes", KIND_SIZE},
		{"limit-pids", "Pids", KIND_INT},
	};
	static const struct rule reservations[] = {
		{"reserve-cpu", "NanoCPUs", KIND_CPUS},
		{"reserve-memory", "MemoryBytes", KIND_SIZE},
	};
	struct json *resources = part(task, "Resources");

	if (apply(args, limits, ARRAY_LEN(limits), resources, "Limits", err) < 0)
		return -1;
	return apply(args, reservations, ARRAY_LEN(reservations), resources, "Reservations", err);
}

static int set_restart(const struct args *args, struct json *task, struct err *err)
{
	static const char *const conditions[] = {"none", "on-failure", "any", NULL};
	static const struct rule rules[] = {
		{"restart-condition", "Condition", KIND_TEXT},
		{"restart-delay", "Delay", KIND_DURATION},
		{"restart-max-attempts", "MaxAttempts", KIND_INT},
		{"restart-window", "Window", KIND_DURATION},
	};

	if (choose(args, "restart-condition", conditions, err) < 0)
		return -1;
	return apply(args, rules, ARRAY_LEN(rules), task, "RestartPolicy", err);
}

static int set_log(const struct args *args, struct json *task, struct err *err)
{
	if (args_has(args, "log-driver"))
		json_set(part(task, "LogDriver"), "Name",
		         json_string(args_string(args, "log-driver")));
	for (size_t i = 0; i < args_count(args, "log-opt"); i++)
		if (spec_label(args_at(args, "log-opt", i),
		               part(part(task, "LogDriver"), "Options"), err) < 0)
			return err_wrap(err, "--log-opt");
	return 0;
}

static int set_task(const struct args *args, struct json *task, struct err *err)
{
	static const struct rule placement[] = {
		{"replicas-max-per-node", "MaxReplicas", KIND_INT},
	};

	if (set_container(args, part(task, "ContainerSpec"), err) < 0 ||
	    set_resources(args, task, err) < 0 || set_restart(args, task, err) < 0 ||
	    set_log(args, task, err) < 0 ||
	    apply(args, placement, ARRAY_LEN(placement), task, "Placement", err) < 0)
		return -1;
	if (args_bool(args, "force"))
		json_set(task, "ForceUpdate", json_int(json_get_int(task, "ForceUpdate", 0) + 1));
	return 0;
}

/* ---- the service ---- */

/* prefix: "update" or "rollback". A configuration that is made here goes one task at a time. */
static int set_update(const struct args *args, const char *prefix, struct json *spec,
                      const char *key, struct err *err)
{
	static const struct rule rules[] = {
		{"parallelism", "Parallelism", KIND_INT},
		{"delay", "Delay", KIND_DURATION},
		{"failure-action", "FailureAction", KIND_TEXT},
		{"monitor", "Monitor", KIND_DURATION},
		{"max-failure-ratio", "MaxFailureRatio", KIND_RATIO},
		{"order", "Order", KIND_TEXT},
	};

	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		char flag[64];
		const struct rule rule = {flag, rules[i].key, rules[i].kind};
		snprintf(flag, sizeof(flag), "%s-%s", prefix, rules[i].flag);
		if (!args_has(args, flag))
			continue;
		if (!json_is_object(json_get(spec, key)))
			json_set(part(spec, key), "Parallelism", json_int(1));
		if (apply(args, &rule, 1, spec, key, err) < 0)
			return -1;
	}
	return 0;
}

static int check_update(const struct args *args, struct err *err)
{
	static const char *const orders[] = {"start-first", "stop-first", NULL};
	static const char *const actions[] = {"pause", "continue", "rollback", NULL};
	static const char *const fewer[] = {"pause", "continue", NULL};

	if (choose(args, "update-order", orders, err) < 0 ||
	    choose(args, "rollback-order", orders, err) < 0 ||
	    choose(args, "update-failure-action", actions, err) < 0)
		return -1;
	return choose(args, "rollback-failure-action", fewer, err);
}

int service_spec_scale(struct json *spec, int64_t replicas, struct err *err)
{
	struct json *mode = json_get(spec, "Mode");

	if (replicas < 0 || replicas > REPLICAS_MAX)
		return err_set(err, ERR_INVALID, "replicas %lld: not from 0 to %d",
		               (long long)replicas, REPLICAS_MAX);
	if (json_is_object(json_get(mode, "ReplicatedJob")))
		return json_set(json_get(mode, "ReplicatedJob"), "TotalCompletions",
		                json_int(replicas));
	if (!json_is_object(json_get(mode, "Replicated")))
		return err_set(err, ERR_INVALID, "only a replicated service has replicas");
	return json_set(json_get(mode, "Replicated"), "Replicas", json_int(replicas));
}

static int set_mode(const struct args *args, struct json *spec, struct err *err)
{
	static const char *const modes[] = {"replicated", "global", "replicated-job", "global-job",
	                                    NULL};
	static const char *const keys[] = {"Replicated", "Global", "ReplicatedJob", "GlobalJob"};
	const char *mode = args_string(args, "mode");
	int64_t at_a_time = args_int(args, "max-concurrent", args_int(args, "replicas", 1));

	if (choose(args, "mode", modes, err) < 0)
		return -1;
	for (size_t i = 0; mode && i < ARRAY_LEN(keys); i++)
		if (str_eq(mode, modes[i])) {
			json_set(spec, "Mode", json_object());
			part(json_get(spec, "Mode"), keys[i]);
		}
	if (str_eq(mode, "replicated-job")) {
		struct json *job = json_get(json_get(spec, "Mode"), "ReplicatedJob");

		json_set(job, "MaxConcurrent", json_int(at_a_time));
		json_set(job, "TotalCompletions", json_int(at_a_time));
	} else if (args_has(args, "max-concurrent")) {
		return err_set(err, ERR_INVALID,
		               "--max-concurrent: only with --mode replicated-job");
	}
	if (!args_has(args, "replicas"))
		return 0;
	if (service_spec_scale(spec, args_int(args, "replicas", 0), err) < 0)
		return err_wrap(err, "--replicas");
	return 0;
}

int service_spec_apply(const struct args *args, struct json *spec, struct err *err)
{
	static const char *const modes[] = {"vip", "dnsrr", NULL};
	static const struct rule names[] = {{"name", "Name", KIND_TEXT}};
	static const struct rule endpoint[] = {{"endpoint-mode", "Mode", KIND_TEXT}};

	if (choose(args, "endpoint-mode", modes, err) < 0 || check_update(args, err) < 0 ||
	    apply(args, names, ARRAY_LEN(names), spec, NULL, err) < 0 ||
	    apply(args, endpoint, ARRAY_LEN(endpoint), spec, "EndpointSpec", err) < 0 ||
	    set_mode(args, spec, err) < 0 || set_task(args, part(spec, "TaskTemplate"), err) < 0 ||
	    set_update(args, "update", spec, "UpdateConfig", err) < 0 ||
	    set_update(args, "rollback", spec, "RollbackConfig", err) < 0)
		return -1;
	return service_lists_apply(args, spec, err);
}

/* What docker's client says of a service that nothing is said about. */
static struct json *blank(void)
{
	struct json *spec = json_object();
	struct json *task = json_object(), *mode = json_object();

	json_set(spec, "Name", json_string(""));
	json_set(spec, "Labels", json_object());
	json_set(spec, "TaskTemplate", task);
	part(task, "ContainerSpec");
	part(task, "Placement");
	json_set(task, "ForceUpdate", json_int(0));
	json_set(spec, "Mode", mode);
	json_set(part(mode, "Replicated"), "Replicas", json_int(1));
	json_set(part(spec, "EndpointSpec"), "Mode", json_string("vip"));
	return spec;
}

struct json *service_spec_new(const struct args *args, struct err *err)
{
	auto_type(json) spec = blank();
	struct json *container = json_get(json_get(spec, "TaskTemplate"), "ContainerSpec");

	if (!args_has(args, "name")) {
		char hex[ID_HEX_MAX], name[32];
		snprintf(name, sizeof(name), "service-%.12s", id_make_hex(hex));
		json_set(spec, "Name", json_string(name));
	}
	if (service_spec_apply(args, spec, err) < 0)
		return NULL;
	json_set(container, "Image", json_string(args->words[0]));
	if (args->count > 1) {
		struct json *words = json_array();
		for (size_t i = 1; i < args->count; i++)
			json_append(words, json_string(args->words[i]));
		json_set(container, "Args", words);
	}
	return move_ptr(spec);
}
