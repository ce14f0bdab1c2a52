/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * body - the flags of `run` and `create`, and the request that they make.
 *
 * BODY_FLAGS go into both commands' tables, so that one list describes them. The words are IMAGE
 * [COMMAND] [ARG...].
 */

#include "base/json.h"
#include "cli/args.h"

struct err;

#define BODY_FLAGS                                                                                 \
	{"add-host", 0, FLAG_LIST, "HOST:IP", "Add a line to /etc/hosts"},                         \
		{"annotation", 0, FLAG_LIST, "KEY=VALUE", "Add an annotation"},                    \
		{"attach", 'a', FLAG_LIST, "STREAM", "Attach to stdin, stdout or stderr"},         \
		{"cap-add", 0, FLAG_LIST, "CAP", "Give a capability"},                             \
		{"cap-drop", 0, FLAG_LIST, "CAP", "Take a capability away"},                       \
		{"cidfile", 0, FLAG_STRING, "FILE", "Write the container's id to a file"},         \
		{"cgroup-parent", 0, FLAG_STRING, "PATH", "Cgroup to make the container's in"},    \
		{"cgroupns", 0, FLAG_STRING, "MODE", "Cgroup namespace: host or private"},         \
		{"cpu-shares", 'c', FLAG_INT, "N", "Relative weight of CPU time"},                 \
		{"cpus", 0, FLAG_STRING, "N", "How many CPUs' time it may use, as in 1.5"},        \
		{"cpuset-cpus", 0, FLAG_STRING, "LIST", "CPUs it may run on, as in 0-3,7"},        \
		{"cpuset-mems", 0, FLAG_STRING, "LIST", "Memory nodes it may use"},                \
		{"detach-keys", 0, FLAG_STRING, "KEYS", "Keys that leave the container"},          \
		{"device", 0, FLAG_LIST, "HOST[:TARGET[:rwm]]", "Give a device of the machine"},   \
		{"dns", 0, FLAG_LIST, "IP", "DNS server"},                                         \
		{"dns-option", 0, FLAG_LIST, "OPTION", "Option of the resolver"},                  \
		{"dns-search", 0, FLAG_LIST, "DOMAIN", "Domain to search names in"},               \
		{"domainname", 0, FLAG_STRING, "NAME", "NIS domain name"},                         \
		{"entrypoint", 0, FLAG_STRING, "PROGRAM", "Instead of the image's entrypoint"},    \
		{"env", 'e', FLAG_LIST, "KEY[=VALUE]", "Set a variable"},                          \
		{"env-file", 0, FLAG_LIST, "FILE", "Read variables from a file"},                  \
		{"expose", 0, FLAG_LIST, "PORT[/PROTO]", "Note a port as the container's"},        \
		{"group-add", 0, FLAG_LIST, "GROUP", "Add a group to the process"},                \
		{"health-cmd", 0, FLAG_STRING, "COMMAND", "Command that checks the health"},       \
		{"health-interval", 0, FLAG_STRING, "DURATION", "Time between checks"},            \
		{"health-retries", 0, FLAG_INT, "N", "Failures in a row that mean unhealthy"},     \
		{"health-start-period", 0, FLAG_STRING, "DURATION", "Time to start up"},           \
		{"health-timeout", 0, FLAG_STRING, "DURATION", "Longest time of a check"},         \
		{"hostname", 'h', FLAG_STRING, "NAME", "Host name of the container"},              \
		{"init", 0, FLAG_BOOL, NULL, "Run an init that reaps (not supported yet)"},        \
		{"interactive", 'i', FLAG_BOOL, NULL, "Keep standard input open"},                 \
		{"ip", 0, FLAG_STRING, "IP", "Address in the network"},                            \
		{"ipc", 0, FLAG_STRING, "MODE", "IPC namespace"},                                  \
		{"label", 'l', FLAG_LIST, "KEY=VALUE", "Set a label"},                             \
		{"log-driver", 0, FLAG_STRING, "NAME", "json-file, local or none"},                \
		{"log-opt", 0, FLAG_LIST, "KEY=VALUE", "Option of the log driver"},                \
		{"mac-address", 0, FLAG_STRING, "MAC", "Hardware address"},                        \
		{"memory", 'm', FLAG_STRING, "SIZE", "Most memory, as in 512m"},                   \
		{"memory-reservation", 0, FLAG_STRING, "SIZE", "Memory it should have"},           \
		{"memory-swap", 0, FLAG_STRING, "SIZE", "Most memory and swap; -1: no limit"},     \
		{"mount", 0, FLAG_LIST, "SPEC",                                                    \
	         "type=bind|volume|tmpfs,source=,target=,readonly"},                               \
		{"name", 0, FLAG_STRING, "NAME", "Name of the container"},                         \
		{"network", 0, FLAG_LIST, "NETWORK", "Network to connect to: also none, host"},    \
		{"net", 0, FLAG_LIST, "NETWORK", "The same as --network"},                         \
		{"network-alias", 0, FLAG_LIST, "NAME", "Further name in the network"},            \
		{"no-healthcheck", 0, FLAG_BOOL, NULL, "Do not check the health"},                 \
		{"oom-kill-disable", 0, FLAG_BOOL, NULL, "No OOM killer for it"},                  \
		{"oom-score-adj", 0, FLAG_INT, "N", "Preference of the OOM killer"},               \
		{"pid", 0, FLAG_STRING, "MODE", "PID namespace: host or container:NAME"},          \
		{"pids-limit", 0, FLAG_INT, "N", "Most processes; -1: no limit"},                  \
		{"platform", 0, FLAG_STRING, "OS/ARCH", "Platform of an image that is pulled"},    \
		{"privileged", 0, FLAG_BOOL, NULL, "All capabilities and devices"},                \
		{"publish", 'p', FLAG_LIST, "[IP:][HOST:]PORT", "Publish a port"},                 \
		{"publish-all", 'P', FLAG_BOOL, NULL, "Publish all exposed ports"},                \
		{"pull", 0, FLAG_STRING, "WHEN", "Pull the image: always, missing or never"},      \
		{"quiet", 'q', FLAG_BOOL, NULL, "Show no progress of a pull"},                     \
		{"read-only", 0, FLAG_BOOL, NULL, "The root file system is read-only"},            \
		{"restart", 0, FLAG_STRING, "POLICY",                                              \
	         "no, always, unless-stopped, on-failure[:N]"},                                    \
		{"rm", 0, FLAG_BOOL, NULL, "Remove the container when it has ended"},              \
		{"runtime", 0, FLAG_STRING, "NAME", "OCI runtime"},                                \
		{"security-opt", 0, FLAG_LIST, "OPTION",                                           \
	         "no-new-privileges=false, caps=docker, seccomp=PROFILE, ..."},                    \
		{"shm-size", 0, FLAG_STRING, "SIZE", "Size of /dev/shm"},                          \
		{"stop-signal", 0, FLAG_STRING, "SIGNAL", "Signal that stops it"},                 \
		{"stop-timeout", 0, FLAG_INT, "SECONDS", "Time to stop in before it is killed"},   \
		{"sysctl", 0, FLAG_LIST, "KEY=VALUE", "Kernel parameter of its namespaces"},       \
		{"tmpfs", 0, FLAG_LIST, "PATH[:OPTIONS]", "Mount a tmpfs"},                        \
		{"tty", 't', FLAG_BOOL, NULL, "Give it a terminal"},                               \
		{"ulimit", 0, FLAG_LIST, "NAME=SOFT[:HARD]", "Resource limit"},                    \
		{"user", 'u', FLAG_STRING, "USER[:GROUP]", "User of the process"},                 \
		{"userns", 0, FLAG_STRING, "MODE", "auto, user ids of its own, or host"},          \
		{"uts", 0, FLAG_STRING, "MODE", "UTS namespace: host"},                            \
		{"volume", 'v', FLAG_LIST, "[SOURCE:]TARGET[:ro]",                                 \
	         "Mount a volume or a directory"},                                                 \
		{"volumes-from", 0, FLAG_LIST, "CONTAINER", "The volumes of another container"},   \
	{                                                                                          \
		"workdir", 'w', FLAG_STRING, "PATH", "Working directory"                           \
	}

/* What is attached: chosen by the command (run -d attaches nothing). */
struct body_streams {
	bool in, out, err;
};

/* The caller owns the document. NULL: ERR_INVALID names the flag. */
struct json *body_make(const struct args *args, const struct body_streams *streams,
                       struct err *err);
