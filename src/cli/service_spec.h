/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * service_spec - the flags of `service create` and `service update`, and what they do to a spec.
 *
 *	auto_type(json) spec = service_spec_new(args, err);        // create
 *	service_spec_apply(args, json_get(service, "Spec"), err);  // update: in place
 *
 * Only what a flag names is changed; every other key, known or not, stays. A flag that adds and one
 * that removes may be given together: first things are removed, then added.
 */

#include "base/json.h"
#include "cli/args.h"

struct err;

/* Those that mean the same to both commands. */
#define SERVICE_SPEC_FLAGS                                                                         \
	{"args", 0, FLAG_STRING, "WORDS",                                                          \
	 "Arguments of the program, as a shell would split them"},                                 \
		{"cap-add", 0, FLAG_LIST, "CAP", "Give a capability"},                             \
		{"cap-drop", 0, FLAG_LIST, "CAP", "Take a capability away"},                       \
		{"detach", 'd', FLAG_BOOL, NULL, "Do not wait until it runs"},                     \
		{"endpoint-mode", 0, FLAG_STRING, "MODE", "vip or dnsrr"},                         \
		{"entrypoint", 0, FLAG_STRING, "WORDS", "Instead of the image's entrypoint"},      \
		{"health-cmd", 0, FLAG_STRING, "COMMAND", "Command that checks the health"},       \
		{"health-interval", 0, FLAG_STRING, "DURATION", "Time between checks"},            \
		{"health-retries", 0, FLAG_INT, "N", "Failures in a row that mean unhealthy"},     \
		{"health-start-period", 0, FLAG_STRING, "DURATION", "Time to start up"},           \
		{"health-timeout", 0, FLAG_STRING, "DURATION", "Longest time of a check"},         \
		{"hostname", 0, FLAG_STRING, "NAME", "Host name; may hold {{.Task.Slot}} etc."},   \
		{"init", 0, FLAG_BOOL, NULL, "Run an init that reaps (not supported yet)"},        \
		{"limit-cpu", 0, FLAG_STRING, "N", "How many CPUs' time a task may use"},          \
		{"limit-memory", 0, FLAG_STRING, "SIZE", "Most memory of a task, as in 512m"},     \
		{"limit-pids", 0, FLAG_INT, "N", "Most processes of a task; 0: no limit"},         \
		{"log-driver", 0, FLAG_STRING, "NAME", "json-file, local or none"},                \
		{"log-opt", 0, FLAG_LIST, "KEY=VALUE", "Option of the log driver"},                \
		{"no-healthcheck", 0, FLAG_BOOL, NULL, "Do not check the health"},                 \
		{"no-resolve-image", 0, FLAG_BOOL, NULL, "Accepted: digests are not looked up"},   \
		{"priority", 0, FLAG_INT, "N",                                                     \
	         "Tasks of lower priority make room; -1000 to 1000, 0 by default"},                \
		{"quiet", 'q', FLAG_BOOL, NULL, "Show no progress"},                               \
		{"read-only", 0, FLAG_BOOL, NULL, "The root file system is read-only"},            \
		{"rebalance", 0, FLAG_BOOL, NULL,                                                  \
	         "Move tasks to machines that have fewer of them"},                                \
		{"replicas", 0, FLAG_INT, "N", "How many tasks"},                                  \
		{"replicas-max-per-node", 0, FLAG_INT, "N",                                        \
	         "Most tasks on one node; 0: no limit"},                                           \
		{"reserve-cpu", 0, FLAG_STRING, "N", "CPUs that a node must have free"},           \
		{"reserve-memory", 0, FLAG_STRING, "SIZE", "Memory that a node must have free"},   \
		{"restart-condition", 0, FLAG_STRING, "WHEN", "none, on-failure or any"},          \
		{"restart-delay", 0, FLAG_STRING, "DURATION", "Time before a restart"},            \
		{"restart-max-attempts", 0, FLAG_INT, "N", "Restarts before it is given up"},      \
		{"restart-window", 0, FLAG_STRING, "DURATION", "Time in which they are counted"},  \
		{"rollback-delay", 0, FLAG_STRING, "DURATION", "Time between tasks"},              \
		{"rollback-failure-action", 0, FLAG_STRING, "WHAT", "pause or continue"},          \
		{"rollback-max-failure-ratio", 0, FLAG_STRING, "N",                                \
	         "Share that may fail, 0 to 1"},                                                   \
		{"rollback-monitor", 0, FLAG_STRING, "DURATION", "Time a task is watched"},        \
		{"rollback-order", 0, FLAG_STRING, "ORDER", "start-first or stop-first"},          \
		{"rollback-parallelism", 0, FLAG_INT, "N", "Tasks at once; 0: all"},               \
		{"stop-grace-period", 0, FLAG_STRING, "DURATION", "Time to stop before a kill"},   \
		{"stop-signal", 0, FLAG_STRING, "SIGNAL", "Signal that stops it"},                 \
		{"tty", 't', FLAG_BOOL, NULL, "Give it a terminal"},                               \
		{"update-delay", 0, FLAG_STRING, "DURATION", "Time between tasks"},                \
		{"update-failure-action", 0, FLAG_STRING, "WHAT", "pause, continue or rollback"},  \
		{"update-max-failure-ratio", 0, FLAG_STRING, "N", "Share that may fail, 0 to 1"},  \
		{"update-monitor", 0, FLAG_STRING, "DURATION", "Time a task is watched"},          \
		{"update-order", 0, FLAG_STRING, "ORDER", "start-first or stop-first"},            \
		{"update-parallelism", 0, FLAG_INT, "N", "Tasks at once; 0: all"},                 \
		{"user", 'u', FLAG_STRING, "USER[:GROUP]", "User of the process"},                 \
		{"with-registry-auth", 0, FLAG_BOOL, NULL,                                         \
	         "Send our credentials for the image along"},                                      \
	{                                                                                          \
		"workdir", 'w', FLAG_STRING, "PATH", "Working directory"                           \
	}

#define SERVICE_CREATE_FLAGS                                                                       \
	SERVICE_SPEC_FLAGS,                                                                        \
		{"config", 0, FLAG_LIST, "CONFIG",                                                 \
	         "A config: its name, or source=,target=,mode=,uid=,gid="},                        \
		{"constraint", 0, FLAG_LIST, "RULE", "As in node.role==worker"},                   \
		{"container-label", 0, FLAG_LIST, "KEY=VALUE", "Set a label of the containers"},   \
		{"dns", 0, FLAG_LIST, "IP", "Name server"},                                        \
		{"dns-option", 0, FLAG_LIST, "OPTION", "Option of resolv.conf"},                   \
		{"dns-search", 0, FLAG_LIST, "DOMAIN", "Domain that names are looked up in"},      \
		{"env", 'e', FLAG_LIST, "KEY[=VALUE]", "Set a variable"},                          \
		{"env-file", 0, FLAG_LIST, "FILE", "Read variables from a file"},                  \
		{"group", 0, FLAG_LIST, "GROUP", "Further group of the process"},                  \
		{"host", 0, FLAG_LIST, "HOST:IP", "Add a line to /etc/hosts"},                     \
		{"label", 'l', FLAG_LIST, "KEY=VALUE", "Set a label of the service"},              \
		{"max-concurrent", 0, FLAG_INT, "N",                                               \
	         "Tasks of a replicated-job at a time (default: all)"},                            \
		{"mode", 0, FLAG_STRING, "MODE",                                                   \
	         "replicated, global (one on every node), replicated-job or global-job"},          \
		{"mount", 0, FLAG_LIST, "SPEC",                                                    \
	         "type=bind|volume|tmpfs,source=,target=,readonly"},                               \
		{"name", 0, FLAG_STRING, "NAME", "Name of the service"},                           \
		{"network", 0, FLAG_LIST, "NETWORK", "Network to connect to"},                     \
		{"placement-pref", 0, FLAG_LIST, "spread=LABEL", "Spread evenly over a label"},    \
		{"publish", 'p', FLAG_LIST, "[PUBLISHED:]PORT",                                    \
	         "Publish a port; also published=,target=,protocol=,mode=ingress|host"},           \
		{"secret", 0, FLAG_LIST, "SECRET",                                                 \
	         "A secret: its name, or source=,target=,mode=,uid=,gid="},                        \
		{"sysctl", 0, FLAG_LIST, "KEY=VALUE", "Set a kernel parameter of the containers"}, \
	{                                                                                          \
		"ulimit", 0, FLAG_LIST, "NAME=SOFT[:HARD]", "Limit of the process"                 \
	}

#define SERVICE_UPDATE_FLAGS                                                                       \
	SERVICE_SPEC_FLAGS, {"config-add", 0, FLAG_LIST, "CONFIG", "Add a config"},                \
		{"config-rm", 0, FLAG_LIST, "CONFIG", "Remove a config"},                          \
		{"constraint-add", 0, FLAG_LIST, "RULE", "Add a constraint"},                      \
		{"constraint-rm", 0, FLAG_LIST, "RULE", "Remove a constraint"},                    \
		{"container-label-add", 0, FLAG_LIST, "KEY=VALUE", "Add or change a label"},       \
		{"container-label-rm", 0, FLAG_LIST, "KEY", "Remove a label of the containers"},   \
		{"dns-add", 0, FLAG_LIST, "IP", "Add a name server"},                              \
		{"dns-option-add", 0, FLAG_LIST, "OPTION", "Add an option of resolv.conf"},        \
		{"dns-option-rm", 0, FLAG_LIST, "OPTION", "Remove an option of resolv.conf"},      \
		{"dns-rm", 0, FLAG_LIST, "IP", "Remove a name server"},                            \
		{"dns-search-add", 0, FLAG_LIST, "DOMAIN", "Add a domain"},                        \
		{"dns-search-rm", 0, FLAG_LIST, "DOMAIN", "Remove a domain"},                      \
		{"env-add", 0, FLAG_LIST, "KEY=VALUE", "Add or change a variable"},                \
		{"env-rm", 0, FLAG_LIST, "KEY", "Remove a variable"},                              \
		{"force", 0, FLAG_BOOL, NULL, "Replace the tasks even if nothing changes"},        \
		{"group-add", 0, FLAG_LIST, "GROUP", "Add a further group"},                       \
		{"group-rm", 0, FLAG_LIST, "GROUP", "Remove a further group"},                     \
		{"host-add", 0, FLAG_LIST, "HOST:IP", "Add a line to /etc/hosts"},                 \
		{"host-rm", 0, FLAG_LIST, "HOST:IP", "Remove a line of /etc/hosts"},               \
		{"image", 0, FLAG_STRING, "IMAGE", "Another image"},                               \
		{"label-add", 0, FLAG_LIST, "KEY=VALUE", "Add or change a label"},                 \
		{"label-rm", 0, FLAG_LIST, "KEY", "Remove a label of the service"},                \
		{"mount-add", 0, FLAG_LIST, "SPEC", "Add or change a mount"},                      \
		{"mount-rm", 0, FLAG_LIST, "TARGET", "Remove a mount"},                            \
		{"network-add", 0, FLAG_LIST, "NETWORK", "Connect to a network"},                  \
		{"network-rm", 0, FLAG_LIST, "NETWORK", "Leave a network"},                        \
		{"placement-pref-add", 0, FLAG_LIST, "spread=LABEL", "Add a preference"},          \
		{"placement-pref-rm", 0, FLAG_LIST, "spread=LABEL", "Remove a preference"},        \
		{"publish-add", 0, FLAG_LIST, "[PUBLISHED:]PORT", "Add or change a port"},         \
		{"publish-rm", 0, FLAG_LIST, "PORT", "Remove a port by the container's"},          \
		{"secret-add", 0, FLAG_LIST, "SECRET", "Add a secret"},                            \
		{"secret-rm", 0, FLAG_LIST, "SECRET", "Remove a secret"},                          \
		{"sysctl-add", 0, FLAG_LIST, "KEY=VALUE", "Add or change a kernel parameter"},     \
		{"sysctl-rm", 0, FLAG_LIST, "KEY", "Leave a kernel parameter as it is"},           \
		{"ulimit-add", 0, FLAG_LIST, "NAME=SOFT[:HARD]", "Add or change a limit"},         \
	{                                                                                          \
		"ulimit-rm", 0, FLAG_LIST, "NAME", "Remove a limit"                                \
	}

/* A spec from the flags and the words IMAGE [COMMAND] [ARG...]; the caller owns it. NULL:
 * ERR_INVALID names the flag. */
struct json *service_spec_new(const struct args *args, struct err *err);
/* Changes `spec` by the flags given. On failure it may be half changed. */
int service_spec_apply(const struct args *args, struct json *spec, struct err *err);
/* Replicas of a replicated service, completions of a replicated job; ERR_INVALID for global ones. */
int service_spec_scale(struct json *spec, int64_t replicas, struct err *err);
