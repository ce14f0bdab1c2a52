/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* etcd_testing - a real etcd for a test program: on the loopback, in a directory that goes with it. */

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/testing.h"
#include "cluster/etcd.h"
#include "cluster/port_testing.h"

struct etcd_testing {
	pid_t pid;
	int port;
	char dir[64];
};

static struct etcd_testing etcd_testing;

static inline void etcd_testing_stop(void)
{
	if (etcd_testing.pid <= 0)
		return;
	kill(etcd_testing.pid, SIGKILL);
	waitpid(etcd_testing.pid, NULL, 0);
	testing_remove_tree(etcd_testing.dir);
	etcd_testing.pid = 0;
}

static inline void etcd_testing_spawn(int port, int peer_port)
{
	char client[64], peer[64], cluster[80];
	posix_spawn_file_actions_t actions;

	snprintf(client, sizeof(client), "http://127.0.0.1:%d", port);
	snprintf(peer, sizeof(peer), "http://127.0.0.1:%d", peer_port);
	snprintf(cluster, sizeof(cluster), "default=%s", peer);
	const char *argv[] = {"etcd",
	                      "--data-dir",
	                      etcd_testing.dir,
	                      "--listen-client-urls",
	                      client,
	                      "--advertise-client-urls",
	                      client,
	                      "--listen-peer-urls",
	                      peer,
	                      "--initial-advertise-peer-urls",
	                      peer,
	                      "--initial-cluster",
	                      cluster,
	                      "--unsafe-no-fsync",
	                      NULL};

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, 1, 2);
	if (posix_spawnp(&etcd_testing.pid, "etcd", &actions, NULL, (char *const *)argv, environ) !=
	    0)
		fail_msg("etcd is missing: run `tools/deps peers`");
	posix_spawn_file_actions_destroy(&actions);
}

/* The client port of an etcd that runs until the program ends. */
static inline int etcd_testing_port(void)
{
	struct err err = ERR_INIT;
	char url[64];

	if (etcd_testing.pid > 0)
		return etcd_testing.port;
	snprintf(etcd_testing.dir, sizeof(etcd_testing.dir), "/tmp/buoy-etcd-XXXXXX");
	assert_non_null(mkdtemp(etcd_testing.dir));
	etcd_testing.port = testing_port();
	etcd_testing_spawn(etcd_testing.port, testing_port());
	atexit(etcd_testing_stop);
	snprintf(url, sizeof(url), "etcd://127.0.0.1:%d", etcd_testing.port);
	auto_type(etcd) e = etcd_open(&(struct etcd_options){.url = url, .call_ms = 20000}, &err);
	auto_buf struct buf who = BUF_INIT(4096);
	int64_t epoch, revision;
	if (!e || etcd_holder(e, &who, &epoch, &revision, &err) < 0)
		fail_msg("%s", err.msg);
	return etcd_testing.port;
}
