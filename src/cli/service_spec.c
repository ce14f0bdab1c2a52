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

struct rule {
	const char *flag, *key;
	enum spec_kind kind;
};

/* ---- one flag, one key ---- */

/* Sets the keys of object[key] that flags name; object[key] is made only if one does. */
static int apply(const struct args *args, const struct rule *rules, size_t count,
                 struct json *object, const char *key, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		if (!args_has(args, rules[i].flag))
			continue;
		struct json *value =
			spec_value(rules[i].kind, args_string(args, rules[i].flag), err);
		if (!value)
			return err_wrap(err, "--%s", rules[i].flag);
		if (json_set(key ? spec_part(object, key) : object, rules[i].key, value) < 0)
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
		{"health-interval", "Interval", SPEC_DURATION},
		{"health-timeout", "Timeout", SPEC_DURATION},
		{"health-start-period", "StartPeriod", SPEC_DURATION},
		{"health-retries", "Retries", SPEC_INT},
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
		json_set(spec_part(container, "Healthcheck"), "Test", test);
	else
		json_free(test);
	return apply(args, rules, ARRAY_LEN(rules), container, "Healthcheck", err);
}

static int set_container(const struct args *args, struct json *container, struct err *err)
{
	static const struct rule rules[] = {
		{"image", "Image", SPEC_TEXT},
		{"hostname", "Hostname", SPEC_TEXT},
		{"user", "User", SPEC_TEXT},
		{"workdir", "Dir", SPEC_TEXT},
		{"stop-signal", "StopSignal", SPEC_TEXT},
		{"stop-grace-period", "StopGracePeriod", SPEC_DURATION},
		{"init", "Init", SPEC_BOOL},
		{"read-only", "ReadOnly", SPEC_BOOL},
		{"tty", "TTY", SPEC_BOOL},
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
		{"limit-cpu", "NanoCPUs", SPEC_CPUS},
		{"limit-memory", "MemoryBytes", SPEC_SIZE},
		{"limit-pids", "Pids", SPEC_INT},
	};
	static const struct rule reservations[] = {
		{"reserve-cpu", "NanoCPUs", SPEC_CPUS},
		{"reserve-memory", "MemoryBytes", SPEC_SIZE},
	};
	struct json *resources = spec_part(task, "Resources");

	if (apply(args, limits, ARRAY_LEN(limits), resources, "Limits", err) < 0)
		return -1;
	return apply(args, reservations, ARRAY_LEN(reservations), resources, "Reservations", err);
}

static int set_restart(const struct args *args, struct json *task, struct err *err)
{
	static const char *const conditions[] = {"none", "on-failure", "any", NULL};
	static const struct rule rules[] = {
		{"restart-condition", "Condition", SPEC_TEXT},
		{"restart-delay", "Delay", SPEC_DURATION},
		{"restart-max-attempts", "MaxAttempts", SPEC_INT},
		{"restart-window", "Window", SPEC_DURATION},
	};

	if (choose(args, "restart-condition", conditions, err) < 0)
		return -1;
	return apply(args, rules, ARRAY_LEN(rules), task, "RestartPolicy", err);
}

static int set_log(const struct args *args, struct json *task, struct err *err)
{
	if (args_has(args, "log-driver"))
		json_set(spec_part(task, "LogDriver"), "Name",
		         json_string(args_string(args, "log-driver")));
	for (size_t i = 0; i < args_count(args, "log-opt"); i++)
		if (spec_label(args_at(args, "log-opt", i),
		               spec_part(spec_part(task, "LogDriver"), "Options"), err) < 0)
			return err_wrap(err, "--log-opt");
	return 0;
}

static int set_task(const struct args *args, struct json *task, struct err *err)
{
	static const struct rule placement[] = {
		{"replicas-max-per-node", "MaxReplicas", SPEC_INT},
	};

	if (set_container(args, spec_part(task, "ContainerSpec"), err) < 0 ||
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
		{"parallelism", "Parallelism", SPEC_INT},
		{"delay", "Delay", SPEC_DURATION},
		{"failure-action", "FailureAction", SPEC_TEXT},
		{"monitor", "Monitor", SPEC_DURATION},
		{"max-failure-ratio", "MaxFailureRatio", SPEC_RATIO},
		{"order", "Order", SPEC_TEXT},
	};

	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		char flag[64];
		const struct rule rule = {flag, rules[i].key, rules[i].kind};
		snprintf(flag, sizeof(flag), "%s-%s", prefix, rules[i].flag);
		if (!args_has(args, flag))
			continue;
		if (!json_is_object(json_get(spec, key)))
			json_set(spec_part(spec, key), "Parallelism", json_int(1));
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
			spec_part(json_get(spec, "Mode"), keys[i]);
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
	static const struct rule names[] = {{"name", "Name", SPEC_TEXT}};
	static const struct rule endpoint[] = {{"endpoint-mode", "Mode", SPEC_TEXT}};

	if (choose(args, "endpoint-mode", modes, err) < 0 || check_update(args, err) < 0 ||
	    apply(args, names, ARRAY_LEN(names), spec, NULL, err) < 0 ||
	    apply(args, endpoint, ARRAY_LEN(endpoint), spec, "EndpointSpec", err) < 0 ||
	    set_mode(args, spec, err) < 0 ||
	    set_task(args, spec_part(spec, "TaskTemplate"), err) < 0 ||
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
	spec_part(task, "ContainerSpec");
	spec_part(task, "Placement");
	json_set(task, "ForceUpdate", json_int(0));
	json_set(spec, "Mode", mode);
	json_set(spec_part(mode, "Replicated"), "Replicas", json_int(1));
	json_set(spec_part(spec, "EndpointSpec"), "Mode", json_string("vip"));
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
