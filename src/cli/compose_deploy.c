/* SPDX-License-Identifier: Apache-2.0 */
/* `deploy` of a service: how many, where, within what limits, and how it is changed. */

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "cli/compose.h"

/* from[key] by its rules into to[name], if it is there. */
static int apply_part(const struct json *from, const char *key, const struct compose_rule *rules,
                      size_t count, struct json *to, const char *name, struct err *err)
{
	const struct json *inner = json_get(from, key);

	if (!inner)
		return 0;
	return compose_apply(inner, rules, count, spec_part(to, name), NULL, err) < 0
	               ? err_wrap(err, "%s", key)
	               : 0;
}

static int set_resources(const struct json *deploy, struct json *task, struct err *err)
{
	static const struct compose_rule limits[] = {{"cpus", COMPOSE_CPUS, "NanoCPUs"},
	                                             {"memory", COMPOSE_SIZE, "MemoryBytes"},
	                                             {"pids", COMPOSE_INT, "Pids"}};
	static const struct compose_rule reservations[] = {{"cpus", COMPOSE_CPUS, "NanoCPUs"},
	                                                   {"memory", COMPOSE_SIZE, "MemoryBytes"}};
	static const struct compose_rule both[] = {COMPOSE_RULE_OTHER("limits"),
	                                           COMPOSE_RULE_OTHER("reservations")};
	const struct json *from = json_get(deploy, "resources");

	if (!from)
		return 0;
	if (compose_apply(from, both, ARRAY_LEN(both), NULL, NULL, err) < 0 ||
	    apply_part(from, "limits", limits, ARRAY_LEN(limits), spec_part(task, "Resources"),
	               "Limits", err) < 0)
		return err_wrap(err, "resources");
	return apply_part(from, "reservations", reservations, ARRAY_LEN(reservations),
	                  spec_part(task, "Resources"), "Reservations", err) < 0
	               ? err_wrap(err, "resources")
	               : 0;
}

static int set_placement(const struct json *deploy, struct json *task, struct err *err)
{
	static const struct compose_rule rules[] = {
		{"constraints", COMPOSE_LIST, "Constraints"},
		{"max_replicas_per_node", COMPOSE_INT, "MaxReplicas"},
		COMPOSE_RULE_OTHER("preferences")};
	const struct json *from = json_get(json_get(deploy, "placement"), "preferences");
	auto_type(json) preferences = json_array();

	if (apply_part(deploy, "placement", rules, ARRAY_LEN(rules), task, "Placement", err) < 0)
		return -1;
	for (size_t i = 0; i < json_count(from); i++) {
		const char *label = json_get_string(json_at(from, i), "spread");
		struct json *one = json_object();
		json_append(preferences, one);
		if (!label)
			return err_set(err, ERR_INVALID,
			               "placement: preferences: not spread: LABEL");
		json_set(spec_part(one, "Spread"), "SpreadDescriptor", json_string(label));
	}
	return json_count(preferences) ? json_set(spec_part(task, "Placement"), "Preferences",
	                                          json_ref(preferences))
	                               : 0;
}

/* `restart: on-failure:3` counts where deploy.restart_policy says nothing. */
static int set_plain_restart(const struct json *service, struct json *task, struct err *err)
{
	const char *text = json_get_string(service, "restart");
	int64_t attempts;

	if (!text || !*text)
		return 0;
	struct json *policy = spec_part(task, "RestartPolicy");
	if (str_eq(text, "no"))
		return json_set(policy, "Condition", json_string("none"));
	if (str_eq(text, "always") || str_eq(text, "unless-stopped"))
		return json_set(policy, "Condition", json_string("any"));
	if (!str_eq(text, "on-failure") && !str_starts(text, "on-failure:"))
		return err_set(err, ERR_INVALID,
		               "restart: '%.40s' is not no, always, unless-stopped or "
		               "on-failure[:N]",
		               text);
	json_set(policy, "Condition", json_string("on-failure"));
	if (!strchr(text, ':'))
		return 0;
	if (id_parse_int(strchr(text, ':') + 1, "restart", 0, INT32_MAX, &attempts, err) < 0)
		return -1;
	return json_set(policy, "MaxAttempts", json_int(attempts));
}

static int set_restart(const struct json *service, const struct json *deploy, struct json *task,
                       struct err *err)
{
	static const struct compose_rule rules[] = {{"condition", COMPOSE_TEXT, "Condition"},
	                                            {"delay", COMPOSE_DURATION, "Delay"},
	                                            {"max_attempts", COMPOSE_INT, "MaxAttempts"},
	                                            {"window", COMPOSE_DURATION, "Window"}};

	if (!json_get(deploy, "restart_policy"))
		return set_plain_restart(service, task, err);
	return apply_part(deploy, "restart_policy", rules, ARRAY_LEN(rules), task, "RestartPolicy",
	                  err);
}

/* One task at a time, unless the file says otherwise. */
static int set_update(const struct json *deploy, const char *key, struct json *spec,
                      const char *name, struct err *err)
{
	static const struct compose_rule rules[] = {
		{"parallelism", COMPOSE_INT, "Parallelism"},
		{"delay", COMPOSE_DURATION, "Delay"},
		{"failure_action", COMPOSE_TEXT, "FailureAction"},
		{"monitor", COMPOSE_DURATION, "Monitor"},
		{"max_failure_ratio", COMPOSE_RATIO, "MaxFailureRatio"},
		{"order", COMPOSE_TEXT, "Order"}};

	if (!json_get(deploy, key))
		return 0;
	json_set(spec_part(spec, name), "Parallelism", json_int(1));
	return apply_part(deploy, key, rules, ARRAY_LEN(rules), spec, name, err);
}

static int set_mode(const struct json *deploy, struct json *spec, struct err *err)
{
	const char *mode = json_get_string(deploy, "mode");
	const struct json *from = json_get(deploy, "replicas");
	struct json *replicas = from ? compose_value(from, COMPOSE_INT, err) : json_int(1);
	struct json *out = spec_part(spec, "Mode");

	if (!replicas)
		return err_wrap(err, "replicas");
	if (!mode || str_eq(mode, "replicated"))
		return json_set(spec_part(out, "Replicated"), "Replicas", replicas);
	if (str_eq(mode, "replicated-job")) {
		json_set(spec_part(out, "ReplicatedJob"), "MaxConcurrent", json_ref(replicas));
		return json_set(spec_part(out, "ReplicatedJob"), "TotalCompletions", replicas);
	}
	json_free(replicas);
	if (from)
		return err_set(err, ERR_INVALID, "replicas can only be used with replicated mode");
	if (str_eq(mode, "global"))
		return json_set(out, "Global", json_object());
	if (str_eq(mode, "global-job"))
		return json_set(out, "GlobalJob", json_object());
	return err_set(err, ERR_INVALID,
	               "mode: '%.40s' is not replicated, global, replicated-job or global-job",
	               mode);
}

int compose_deploy(const struct json *service, struct json *spec, struct err *err)
{
	static const struct compose_rule rules[] = {
		{"labels", COMPOSE_MAP, "Labels"},   COMPOSE_RULE_OTHER("mode"),
		COMPOSE_RULE_OTHER("replicas"),      COMPOSE_RULE_OTHER("endpoint_mode"),
		COMPOSE_RULE_OTHER("update_config"), COMPOSE_RULE_OTHER("rollback_config"),
		COMPOSE_RULE_OTHER("resources"),     COMPOSE_RULE_OTHER("restart_policy"),
		COMPOSE_RULE_OTHER("placement")};
	const struct json *deploy = json_get(service, "deploy");
	const char *endpoint = json_get_string(deploy, "endpoint_mode");
	struct json *task = json_get(spec, "TaskTemplate");

	if (compose_apply(deploy, rules, ARRAY_LEN(rules), spec, NULL, err) < 0 ||
	    set_resources(deploy, task, err) < 0 || set_placement(deploy, task, err) < 0 ||
	    set_restart(service, deploy, task, err) < 0 || set_mode(deploy, spec, err) < 0 ||
	    set_update(deploy, "update_config", spec, "UpdateConfig", err) < 0 ||
	    set_update(deploy, "rollback_config", spec, "RollbackConfig", err) < 0)
		return err_wrap(err, "deploy");
	return endpoint ? json_set(spec_part(spec, "EndpointSpec"), "Mode", json_string(endpoint))
	                : 0;
}
