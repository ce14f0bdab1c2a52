/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * service - the flags of `service create` and `service update`, and what they make of a spec.
 *
 * Both begin with a document (an empty one, or what the daemon has) and change in it what was asked for.
 * A list is given whole on create (--env) and in pieces on update (--env-add, --env-rm).
 */

#include "base/json.h"
#include "cli/args.h"

struct err;

/* Flags that both have. */
#define SERVICE_FLAGS                                                                               \
	{"cap-add", 0, FLAG_LIST, "CAP", "Give a capability"},                                      \
		{"cap-drop", 0, FLAG_LIST, "CAP", "Take a capability away"},                        \
		{"detach", 'd', FLAG_BOOL, NULL, "Do not wait until it runs"},                      \
		{"endpoint-mode", 0, FLAG_STRING, "MODE", "vip or dnsrr"},                          \
		{"entrypoint", 0, FLAG_STRING, "PROGRAM", "Instead of the image's entrypoint"},     \
		{"health-cmd", 0, FLAG_STRING, "COMMAND", "Command that checks the health"},        \
		{"health-interval", 0, FLAG_STRING, "DURATION", "Time between checks"},             \
		{"health-retries", 0, FLAG_INT, "N", "Failures in a row that mean unhealthy"},      \
		{"health-start-period", 0, FLAG_STRING, "DURATION", "Time to start up"},            \
		{"health-timeout", 0, FLAG_STRING, "DURATION", "Longest time of a check"},          \
		{"hostname", 0, FLAG_STRING, "NAME",                                                \
	         "Host name; {{.Service.Name}}, {{.Task.Slot}}, {{.Node.Hostname}} are filled in"}, \
		{"init", 0, FLAG_BOOL, NULL, "Run an init that reaps"},                             \
		{"limit-cpu", 0, FLAG_STRING, "N", "Most CPUs of a task, as in 0.5"},               \
		{"limit-memory", 0, FLAG_STRING, "SIZE", "Most memory of a task"},                  \
		{"limit-pids", 0, FLAG_INT, "N", "Most processes of a task"},                       \
		{"log-driver", 0, FLAG_STRING, "NAME", "Log driver"},                               \
		{"quiet", 'q', FLAG_BOOL, NULL, "Show no progress"},                                \
		{"read-only", 0, FLAG_BOOL, NULL, "The root file system is read-only"},             \
		{"replicas", 0, FLAG_INT, "N", "How many tasks"},                                   \
		{"replicas-max-per-node", 0, FLAG_INT, "N", "Most tasks on one machine"},           \
		{"reserve-cpu", 0, FLAG_STRING, "N", "CPUs that a task must find free"},            \
		{"reserve-memory", 0, FLAG_STRING, "SIZE", "Memory that a task must find free"},    \
		{"restart-condition", 0, FLAG_STRING, "WHEN", "none, on-failure or any"},           \
		{"restart-delay", 0, FLAG_STRING, "DURATION", "Time before a task is replaced"},    \
		{"restart-max-attempts", 0, FLAG_INT, "N", "Most restarts"},                        \
		{"restart-window", 0, FLAG_STRING, "DURATION", "Time in which restarts count"},     \
		{"rollback-parallelism", 0, FLAG_INT, "N", "Tasks rolled back at once"},            \
		{"stop-grace-period", 0, FLAG_STRING, "DURATION", "Time to stop in"},               \
		{"stop-signal", 0, FLAG_STRING, "SIGNAL", "Signal that stops a task"},              \
		{"tty", 't', FLAG_BOOL, NULL, "Give it a terminal"},                                \
		{"update-delay", 0, FLAG_STRING, "DURATION", "Time between updates of tasks"},      \
		{"update-failure-action", 0, FLAG_STRING, "ACTION",                                 \
	         "pause, continue or rollback"},                                                    \
		{"update-max-failure-ratio", 0, FLAG_STRING, "N", "Share of failures borne"},       \
		{"update-monitor", 0, FLAG_STRING, "DURATION", "How long a new task is watched"},   \
		{"update-order", 0, FLAG_STRING, "ORDER", "stop-first or start-first"},             \
		{"update-parallelism", 0, FLAG_INT, "N", "Tasks updated at once; 0: all"},          \
		{"user", 'u', FLAG_STRING, "USER[:GROUP]", "User of the process"},                  \
		{"with-registry-auth", 0, FLAG_BOOL, NULL,                                          \
	         "Send our credentials to the machines"},                                           \
	{                                                                                           \
		"workdir", 'w', FLAG_STRING, "PATH", "Working directory"                            \
	}

/* A new spec from IMAGE [COMMAND] [ARG...]; the caller owns it. */
struct json *service_make(const struct args *args, struct err *err);
/* Changes a spec in place. */
int service_change(const struct args *args, struct json *spec, struct err *err);
/* Replicas of a replicated service; -1: another mode. */
int64_t service_replicas(const struct json *spec);
/* Sets them. ERR_INVALID for another mode. */
int service_scale(struct json *spec, int64_t replicas, struct err *err);
