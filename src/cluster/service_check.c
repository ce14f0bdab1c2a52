/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <string.h>

#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "cluster/constraint.h"
#include "cluster/model.h"
#include "cluster/placer.h"

/* service_check - what a service's spec may say; in Docker's words where it has some. */

#define NANO_CPUS_MIN 1000000 /* a thousandth of a CPU */
#define MEMORY_MIN    (INT64_C(4) * 1024 * 1024)

static int check_name(const char *name, struct err *err)
{
	if (str_empty(name))
		return err_set(err, ERR_INVALID, "name must be provided");
	if (strlen(name) > MODEL_NAME_MAX)
		return err_set(err, ERR_INVALID, "name must be %d characters or fewer",
		               MODEL_NAME_MAX);
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !(p > name && strchr("-_.", *p)))
			return err_set(err, ERR_INVALID,
			               "name must be valid as a DNS name component: \"%s\"", name);
	return 0;
}

static int check_one_of(const char *value, const char *what, const char *const *allowed,
                        struct err *err)
{
	if (str_empty(value))
		return 0;
	for (size_t i = 0; allowed[i]; i++)
		if (strcmp(value, allowed[i]) == 0)
			return 0;
	return err_set(err, ERR_INVALID, "invalid %s: \"%s\" (allowed: %s%s%s%s%s)", what, value,
	               allowed[0], allowed[1] ? ", " : "", allowed[1] ? allowed[1] : "",
	               allowed[1] && allowed[2] ? ", " : "",
	               allowed[1] && allowed[2] ? allowed[2] : "");
}

static int check_resources(const struct model_resources *r, struct err *err)
{
	if (r->nano_cpus != 0 && r->nano_cpus < NANO_CPUS_MIN)
		return err_set(err, ERR_INVALID, "invalid cpu value %g: Must be at least 0.001",
		               (double)r->nano_cpus / 1e9);
	if (r->memory_bytes != 0 && r->memory_bytes < MEMORY_MIN)
		return err_set(err, ERR_INVALID, "invalid memory value %lld: Must be at least 4MiB",
		               (long long)r->memory_bytes);
	if (r->pids < 0)
		return err_set(err, ERR_INVALID, "invalid pids limit %lld: must not be negative",
		               (long long)r->pids);
	return 0;
}

static int check_restart(const struct service_restart *restart, struct err *err)
{
	static const char *const conditions[] = {"none", "on-failure", "any", NULL};

	if (restart->delay < SERVICE_UNSET)
		return err_set(err, ERR_INVALID, "TaskSpec: restart-delay cannot be negative");
	if (restart->window < 0)
		return err_set(err, ERR_INVALID, "TaskSpec: restart-window cannot be negative");
	if (restart->max_attempts < 0)
		return err_set(err, ERR_INVALID,
		               "TaskSpec: restart-max-attempts cannot be negative");
	return check_one_of(restart->condition, "restart condition", conditions, err);
}

static int check_placement(const struct service_placement *placement, struct err *err)
{
	static const struct node nobody;
	const struct service_preference *preferences = placement->preferences.items;

	for (size_t i = 0; i < placement->constraints.count; i++) {
		struct constraint unused;

		if (constraint_parse(placement->constraints.items[i], &unused, err) < 0)
			return -1;
	}
	if (placement->preferences.count > PLACER_SPREADS_MAX)
		return err_set(err, ERR_INVALID, "more than %d placement preferences",
		               PLACER_SPREADS_MAX);
	for (size_t i = 0; i < placement->preferences.count; i++) {
		const char *key = preferences[i].spread.descriptor;

		if (str_empty(key) || !constraint_value(key, strlen(key), &nobody))
			return err_set(err, ERR_INVALID,
			               "placement preference: cannot spread over \"%s\" "
			               "(expected node.labels.NAME or engine.labels.NAME)",
			               key ? key : "");
	}
	if (placement->max_replicas < 0)
		return err_set(err, ERR_INVALID, "max replicas per node cannot be negative");
	return 0;
}

static int check_mounts(const struct json_array *mounts, struct err *err)
{
	static const char *const types[] = {"bind", "volume", "tmpfs", NULL};
	const struct service_mount *items = mounts->items;

	for (size_t i = 0; i < mounts->count; i++) {
		if (check_one_of(items[i].type, "mount type", types, err) < 0)
			return -1;
		if (str_empty(items[i].target) || items[i].target[0] != '/')
			return err_set(err, ERR_INVALID,
			               "invalid mount target, must be an absolute path: %s",
			               items[i].target ? items[i].target : "");
		if (str_eq(items[i].type, "bind") &&
		    (str_empty(items[i].source) || items[i].source[0] != '/'))
			return err_set(err, ERR_INVALID,
			               "invalid bind mount source, must be an absolute path: %s",
			               items[i].source ? items[i].source : "");
	}
	return 0;
}

/* "" is no number. NULL: 0. */
static bool is_id(const char *text)
{
	return !text || (*text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 10);
}

static int check_file(const struct service_file *file, const char *kind, struct err *err)
{
	if (str_empty(file->id) || str_empty(file->name))
		return err_set(err, ERR_INVALID,
		               "malformed %s reference: it needs the %s's id and name", kind, kind);
	if (file->runtime)
		return err_set(err, ERR_UNSUPPORTED,
		               "config %s: configs that are no file (credential specs) are not "
		               "supported",
		               file->name);
	if (str_empty(file->file.name) || strstr(file->file.name, "/../") ||
	    str_starts(file->file.name, "../") || str_ends(file->file.name, "/.."))
		return err_set(err, ERR_INVALID,
		               "malformed file %s reference, invalid target file name: \"%s\"",
		               kind, file->file.name ? file->file.name : "");
	if (!is_id(file->file.uid) || !is_id(file->file.gid))
		return err_set(err, ERR_INVALID, "%s %s: uid and gid must be numbers", kind,
		               file->name);
	if (file->file.mode < 0 || file->file.mode > 07777)
		return err_set(err, ERR_INVALID, "%s %s: invalid mode %lld", kind, file->name,
		               (long long)file->file.mode);
	return 0;
}

static int check_files(const struct json_array *files, const char *kind, struct err *err)
{
	const struct service_file *items = files->items;

	for (size_t i = 0; i < files->count; i++) {
		if (check_file(&items[i], kind, err) < 0)
			return -1;
		for (size_t k = 0; k < i; k++)
			if (str_eq(items[k].file.name, items[i].file.name))
				return err_set(
					err, ERR_INVALID,
					"%s references '%s' and '%s' have a conflicting target: "
					"'%s'",
					kind, items[k].name, items[i].name, items[i].file.name);
	}
	return 0;
}

/* A promise that nobody keeps is refused: what asks for nothing (null, false, empty) passes. */
static int check_privileges(const struct json *privileges, struct err *err)
{
	void *iter = NULL;
	const char *key;
	struct json *value;

	while (json_next(privileges, &iter, &key, &value))
		if (json_truth(value) || json_count(value) > 0 || !str_empty(json_str(value)))
			return err_set(err, ERR_UNSUPPORTED,
			               "ContainerSpec: Privileges.%s is not supported", key);
	return 0;
}

static int check_generic(const struct json *task, struct err *err)
{
	const struct json *reservations = json_get(json_get(task, "Resources"), "Reservations");

	if (json_count(json_get(reservations, "GenericResources")) > 0)
		return err_set(
			err, ERR_UNSUPPORTED,
			"generic resources are not supported: label the nodes that have them, "
			"and constrain the service to the label");
	return 0;
}

static int check_container(const struct service_container *container, struct err *err)
{
	if (str_empty(container->image))
		return err_set(err, ERR_INVALID, "ContainerSpec: image reference must be provided");
	if (container->stop_grace < SERVICE_UNSET)
		return err_set(err, ERR_INVALID,
		               "ContainerSpec: stop-grace-period cannot be negative");
	if (check_files(&container->secrets, "secret", err) < 0 ||
	    check_files(&container->configs, "config", err) < 0)
		return -1;
	if (check_privileges(container->privileges, err) < 0)
		return -1;
	return check_mounts(&container->mounts, err);
}

static int check_task(const struct service_task *task, struct err *err)
{
	if (!str_empty(task->runtime) && !str_eq(task->runtime, "container"))
		return err_set(err, ERR_UNSUPPORTED, "task runtime \"%s\" is not supported",
		               task->runtime);
	if (check_container(&task->container, err) < 0 ||
	    check_resources(&task->resources.limits, err) < 0 ||
	    check_resources(&task->resources.reservations, err) < 0 ||
	    check_restart(&task->restart, err) < 0)
		return -1;
	return check_placement(&task->placement, err);
}

static int check_update(const struct service_update_config *config, const char *what,
                        struct err *err)
{
	static const char *const actions[] = {"pause", "continue", "rollback", NULL};
	static const char *const orders[] = {"stop-first", "start-first", NULL};

	if (config->parallelism < 0)
		return err_set(err, ERR_INVALID, "TaskSpec: %s-parallelism cannot be negative",
		               what);
	if (config->delay < 0)
		return err_set(err, ERR_INVALID, "TaskSpec: %s-delay cannot be negative", what);
	if (config->monitor < SERVICE_UNSET)
		return err_set(err, ERR_INVALID, "TaskSpec: %s-monitor cannot be negative", what);
	if (config->max_failure_ratio < 0 || config->max_failure_ratio > 1)
		return err_set(
			err, ERR_INVALID,
			"TaskSpec: %s-maxfailureratio cannot be less than 0 or bigger than 1",
			what);
	if (check_one_of(config->failure_action, "failure action", actions, err) < 0)
		return -1;
	return check_one_of(config->order, "update order", orders, err);
}

static int check_port(const struct model_port *port, bool dnsrr, struct err *err)
{
	static const char *const protocols[] = {"tcp", "udp", NULL};
	static const char *const modes[] = {"ingress", "host", NULL};

	if (port->target_port < 1 || port->target_port > 65535)
		return err_set(err, ERR_INVALID,
		               "EndpointSpec: invalid target port %lld (allowed: 1-65535)",
		               (long long)port->target_port);
	if (port->published_port < 0 || port->published_port > 65535)
		return err_set(err, ERR_INVALID,
		               "EndpointSpec: invalid published port %lld (allowed: 0-65535)",
		               (long long)port->published_port);
	if (dnsrr && !str_eq(port->publish_mode, "host"))
		return err_set(err, ERR_INVALID,
		               "EndpointSpec: port published with ingress mode can't be used "
		               "with dnsrr mode");
	if (check_one_of(port->protocol, "protocol", protocols, err) < 0)
		return -1;
	return check_one_of(port->publish_mode, "publish mode", modes, err);
}

static int check_endpoint(const struct service_endpoint_spec *endpoint, struct err *err)
{
	static const char *const modes[] = {"vip", "dnsrr", NULL};
	const struct model_port *ports = endpoint->ports.items;

	if (check_one_of(endpoint->mode, "endpoint mode", modes, err) < 0)
		return -1;
	for (size_t i = 0; i < endpoint->ports.count; i++)
		if (check_port(&ports[i], str_eq(endpoint->mode, "dnsrr"), err) < 0)
			return -1;
	return 0;
}

static int check_mode(const struct service_spec *spec, struct err *err)
{
	if (service_mode_is_job(spec->mode) &&
	    (json_is_object(json_get(spec->raw, "UpdateConfig")) ||
	     json_is_object(json_get(spec->raw, "RollbackConfig"))))
		return err_set(err, ERR_INVALID,
		               "update and rollback configurations are not for jobs: a job runs "
		               "again with --force");
	if (service_mode_is_job(spec->mode) && str_eq(spec->task.restart.condition, "any"))
		return err_set(
			err, ERR_INVALID,
			"restart condition \"any\" is not for jobs (allowed: none, on-failure)");
	if (spec->max_concurrent < 0)
		return err_set(err, ERR_INVALID,
		               "Maximum concurrent jobs must be non-negative integer");
	if (spec->replicas < 0)
		return err_set(err, ERR_INVALID, "Number of replicas must be non-negative integer");
	if (spec->replicas > MODEL_REPLICAS_MAX)
		return err_set(err, ERR_INVALID, "too many replicas: %lld (at most %d)",
		               (long long)spec->replicas, MODEL_REPLICAS_MAX);
	return 0;
}

static int check_priority(const struct json_strmap *labels, struct err *err)
{
	int64_t priority;

	for (size_t i = 0; i < labels->count; i++)
		if (str_eq(labels->items[i].key, SERVICE_PRIORITY) &&
		    id_parse_int(labels->items[i].value, "label " SERVICE_PRIORITY,
		                 -SERVICE_PRIORITY_MAX, SERVICE_PRIORITY_MAX, &priority, err) < 0)
			return -1;
	return 0;
}

static int check_rebalance(const struct json_strmap *labels, struct err *err)
{
	static const char *const values[] = {"true", "false", NULL};

	for (size_t i = 0; i < labels->count; i++)
		if (str_eq(labels->items[i].key, SERVICE_REBALANCE) &&
		    check_one_of(labels->items[i].value, "label " SERVICE_REBALANCE, values, err) <
		            0)
			return -1;
	return 0;
}

int service_spec_check(const struct service_spec *spec, struct err *err)
{
	if (check_name(spec->name, err) < 0 || check_mode(spec, err) < 0 ||
	    check_priority(&spec->labels, err) < 0 || check_rebalance(&spec->labels, err) < 0 ||
	    check_task(&spec->task, err) < 0 || check_generic(spec->task_raw, err) < 0 ||
	    check_update(&spec->update, "update", err) < 0 ||
	    check_update(&spec->rollback, "rollback", err) < 0)
		return -1;
	return check_endpoint(&spec->endpoint, err);
}
