/* SPDX-License-Identifier: Apache-2.0 */
/* swarm: making, joining and leaving a cluster. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/cluster_snapshots.h"
#include "cli/commands.h"
#include "cli/swarm_ca.h"

#define DEFAULT_LISTEN "0.0.0.0:2377"
#define PEM_MAX        (64u << 10)
#define NS_PER_S       1000000000
#define PASSPHRASE_MAX 4096
#define BACKUP_MAX     (1u << 30) /* what the daemon gives and takes */

static struct json *get(struct cli *cli, const char *what, struct err *err)
{
	const char *path = api_path(cli, what, NULL, NULL, err);

	return path ? api_get(cli, path, err) : NULL;
}

static int post(struct cli *cli, const char *what, struct json *body, struct json **reply,
                struct err *err)
{
	const char *path = api_path(cli, what, NULL, NULL, err);

	if (!path) {
		json_free(body);
		return -1;
	}
	return api_send(cli, "POST", path, body, reply, err);
}

static struct json *text_or(const struct args *args, const char *flag, const char *otherwise)
{
	const char *text = args_string(args, flag);

	return json_string(text ? text : otherwise);
}

static int check_availability(const struct args *args, struct err *err)
{
	const char *text = args_string(args, "availability");

	if (!text || str_eq(text, "active") || str_eq(text, "pause") || str_eq(text, "drain"))
		return 0;
	return err_set(err, ERR_INVALID, "--availability %s: not one of active, pause, drain",
	               text);
}

/* ---- tokens ---- */

/* Where others reach a manager: the address of the one we are, or else of any. */
static const char *manager_address(const struct json *info)
{
	const struct json *swarm = json_get(info, "Swarm");
	const struct json *managers = json_get(swarm, "RemoteManagers");
	const char *address = json_get_string(json_at(managers, 0), "Addr");

	for (size_t i = 0; i < json_count(managers); i++) {
		const struct json *m = json_at(managers, i);
		if (str_eq(json_get_string(m, "NodeID"), json_get_string(swarm, "NodeID")))
			address = json_get_string(m, "Addr");
	}
	return address;
}

/* The cluster's standing one; role: "worker" or "manager". Owned. */
static char *standing_token(struct cli *cli, const char *role, struct err *err)
{
	auto_type(json) swarm = get(cli, "/swarm", err);
	const char *token = json_get_string(json_get(swarm, "JoinTokens"),
	                                    str_eq(role, "worker") ? "Worker" : "Manager");
	char *copy = token ? strdup(token) : NULL;

	if (swarm && !copy)
		err_set(err, ERR_INTERNAL, "the daemon told no %s token", role);
	return copy;
}

static int print_token(struct cli *cli, const char *role, const char *token, struct err *err)
{
	auto_type(json) info = get(cli, "/info", err);
	const char *address = info ? manager_address(info) : NULL;

	if (!info)
		return -1;
	if (!address)
		return err_set(err, ERR_INTERNAL, "the daemon told no address");
	printf("To add a %s to this swarm, run the following command:\n\n"
	       "    buoy swarm join --token %s %s\n\n",
	       role, token, address);
	return 0;
}

static int print_join(struct cli *cli, const char *role, struct err *err)
{
	auto_free char *token = standing_token(cli, role, err);

	return token ? print_token(cli, role, token, err) : -1;
}

/* Owned. */
static char *one_use_token(struct cli *cli, const struct args *args, const char *role,
                           struct err *err)
{
	const char *expires = args_string(args, "expires");
	struct json *body = json_object(), *answer = NULL;
	int64_t ns;

	if (clock_parse_duration(expires ? expires : "1h", &ns, err) < 0) {
		json_free(body);
		(void)err_wrap(err, "--expires");
		return NULL;
	}
	json_set(body, "Role", json_string(role));
	json_set(body, "Seconds", json_int(ns / NS_PER_S));
	if (post(cli, "/buoy/v1/cluster/token", body, &answer, err) < 0)
		return NULL;
	auto_type(json) reply = answer;
	const char *token = json_get_string(reply, "Token");
	char *copy = token ? strdup(token) : NULL;
	if (!copy)
		err_set(err, ERR_INTERNAL, "the daemon told no token");
	return copy;
}

static int rotate(struct cli *cli, const char *role, struct err *err)
{
	auto_type(json) swarm = get(cli, "/swarm", err);
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	if (!swarm)
		return -1;
	api_begin(&path, "/swarm/update", NULL, NULL);
	api_query_int(&path, "version", json_get_int(json_get(swarm, "Version"), "Index", 0));
	api_query(&path, str_eq(role, "worker") ? "rotateWorkerToken" : "rotateManagerToken",
	          "true");
	return api_send(cli, "POST", buf_str(&path), json_ref(json_get(swarm, "Spec")), NULL, err);
}

static int run_token(struct cli *cli, const struct args *args, struct err *err)
{
	const char *role = args->words[0];
	bool quiet = args_bool(args, "quiet");

	if (!str_eq(role, "worker") && !str_eq(role, "manager"))
		return err_set(err, ERR_INVALID, "unknown role '%s': worker or manager", role);
	if (args_has(args, "expires") && !args_bool(args, "one-use"))
		return err_set(err, ERR_INVALID, "--expires is for --one-use tokens");
	if (args_bool(args, "rotate") && args_bool(args, "one-use"))
		return err_set(err, ERR_INVALID, "--rotate and --one-use exclude each other");
	if (args_bool(args, "rotate")) {
		if (rotate(cli, role, err) < 0)
			return -1;
		if (!quiet)
			printf("Successfully rotated %s join token.\n\n", role);
	}
	auto_free char *token = args_bool(args, "one-use") ? one_use_token(cli, args, role, err)
	                                                   : standing_token(cli, role, err);
	if (!token)
		return -1;
	if (!quiet)
		return print_token(cli, role, token, err);
	printf("%s\n", token);
	return 0;
}

/* ---- the spec of the cluster ---- */

static void set_in(struct json *spec, const char *part, const char *key, struct json *value)
{
	if (!json_is_object(json_get(spec, part)))
		json_set(spec, part, json_object());
	json_set(json_get(spec, part), key, value);
}

static int set_duration(const struct args *args, const char *flag, struct json *spec,
                        const char *part, const char *key, struct err *err)
{
	int64_t ns;

	if (!args_has(args, flag))
		return 0;
	if (clock_parse_duration(args_string(args, flag), &ns, err) < 0)
		return err_wrap(err, "--%s", flag);
	set_in(spec, part, key, json_int(ns));
	return 0;
}

static int apply_spec(const struct args *args, struct json *spec, struct err *err)
{
	if (args_has(args, "task-history-limit"))
		set_in(spec, "Orchestration", "TaskHistoryRetentionLimit",
		       json_int(args_int(args, "task-history-limit", 5)));
	if (args_has(args, "autolock"))
		set_in(spec, "EncryptionConfig", "AutoLockManagers",
		       json_bool(args_bool(args, "autolock")));
	if (set_duration(args, "dispatcher-heartbeat", spec, "Dispatcher", "HeartbeatPeriod", err) <
	    0)
		return -1;
	return set_duration(args, "cert-expiry", spec, "CAConfig", "NodeCertExpiry", err);
}

/* ---- init, join, leave, update ---- */

static int add_pem(const struct args *args, const char *flag, struct json *tls, const char *field,
                   struct err *err)
{
	auto_buf struct buf text = BUF_INIT(PEM_MAX);

	if (!args_has(args, flag))
		return 0;
	if (fs_trusted_read(args_string(args, flag), PEM_MAX, &text, err) < 0)
		return err_wrap(err, "--%s", flag);
	int rc = json_set(tls, field, json_string(buf_str(&text)));
	explicit_bzero(text.data, text.len);
	return rc < 0 ? err_nomem(err) : 0;
}

/* The files are ours, not the daemon's: their contents travel. */
static int add_store(const struct args *args, struct json *body, struct err *err)
{
	struct json *tls;

	if (args_string(args, "store"))
		json_set(body, "Store", json_string(args_string(args, "store")));
	if (!args_has(args, "store-ca") && !args_has(args, "store-cert") &&
	    !args_has(args, "store-key"))
		return 0;
	tls = json_object();
	json_set(body, "StoreTLS", tls);
	if (add_pem(args, "store-ca", tls, "CA", err) < 0 ||
	    add_pem(args, "store-cert", tls, "Cert", err) < 0)
		return -1;
	return add_pem(args, "store-key", tls, "Key", err);
}

static int run_init(struct cli *cli, const struct args *args, struct err *err)
{
	struct json *answer = NULL, *spec = json_object(), *body = json_object();

	json_set(body, "ListenAddr", text_or(args, "listen-addr", DEFAULT_LISTEN));
	json_set(body, "AdvertiseAddr", text_or(args, "advertise-addr", ""));
	json_set(body, "Availability", text_or(args, "availability", ""));
	json_set(body, "ForceNewCluster", json_bool(args_bool(args, "force-new-cluster")));
	json_set(body, "AutoLockManagers", json_bool(args_bool(args, "autolock")));
	json_set(body, "Spec", spec);
	if (check_availability(args, err) < 0 || apply_spec(args, spec, err) < 0 ||
	    add_store(args, body, err) < 0) {
		json_free(body);
		return -1;
	}
	if (post(cli, "/swarm/init", body, &answer, err) < 0)
		return -1;
	auto_type(json) id = answer;
	printf("Swarm initialized: current node (%s) is now a manager.\n\n",
	       json_str(id) ? json_str(id) : "");
	if (print_join(cli, "worker", err) < 0)
		return -1;
	printf("To add a manager to this swarm, run 'buoy swarm join-token manager' and follow the "
	       "instructions.\n\n");
	return 0;
}

static int run_join(struct cli *cli, const struct args *args, struct err *err)
{
	struct json *body, *remotes;

	if (!args_has(args, "token"))
		return err_set(err, ERR_INVALID,
		               "--token is needed: a manager shows it with "
		               "'buoy swarm join-token worker'");
	if (check_availability(args, err) < 0)
		return -1;
	body = json_object();
	remotes = json_array();
	json_append(remotes, json_string(args->words[0]));
	json_set(body, "ListenAddr", text_or(args, "listen-addr", DEFAULT_LISTEN));
	json_set(body, "AdvertiseAddr", text_or(args, "advertise-addr", ""));
	json_set(body, "Availability", text_or(args, "availability", ""));
	json_set(body, "JoinToken", json_string(args_string(args, "token")));
	json_set(body, "RemoteAddrs", remotes);
	if (post(cli, "/swarm/join", body, NULL, err) < 0)
		return -1;
	auto_type(json) info = get(cli, "/info", err);
	if (!info)
		return -1;
	printf("This node joined a swarm as a %s.\n",
	       json_get_bool(json_get(info, "Swarm"), "ControlAvailable", false) ? "manager"
	                                                                         : "worker");
	return 0;
}

static int run_migrate(struct cli *cli, const struct args *args, struct err *err)
{
	struct json *body = json_object();

	json_set(body, "Store", json_string(args->words[0]));
	if (add_store(args, body, err) < 0) {
		json_free(body);
		return -1;
	}
	if (post(cli, "/buoy/v1/cluster/migrate", body, NULL, err) < 0)
		return -1;
	printf("The cluster's state is in etcd now. To add a manager, run 'buoy swarm join-token "
	       "manager'\nand follow the instructions.\n");
	return 0;
}

/* ---- backup and restore ---- */

/* A file's first line. NULL: none was asked for; "" is refused, for it would seal nothing. */
static int read_passphrase(const struct args *args, struct json *body, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(PASSPHRASE_MAX);
	const char *file = args_string(args, "passphrase-file");

	if (!file)
		return 0;
	if (fs_trusted_read(file, PASSPHRASE_MAX, &text, err) < 0)
		return -1;
	char *line = (char *)buf_str(&text);
	line[strcspn(line, "\r\n")] = '\0';
	int rc = *line ? json_set(body, "Passphrase", json_string(line))
	               : err_set(err, ERR_INVALID, "%s: its first line is empty", file);
	explicit_bzero(text.data, text.len);
	return rc;
}

static int gather(void *arg, const void *data, size_t len)
{
	buf_add_mem(arg, data, len);
	return buf_check(arg, NULL);
}

/* It holds the cluster's keys: for its owner alone, also over a file that was for others. */
static int keep(const struct buf *text, const char *path, struct err *err)
{
	auto_close int fd = fs_trusted_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600, err);

	if (fd < 0)
		return -1;
	if (fchmod(fd, 0600) < 0 || fs_write_all(fd, text->data, text->len, err) < 0)
		return err_wrap(err, "%s", path);
	return fsync(fd) < 0 && errno != EINVAL ? err_sys(err, "%s", path) : 0;
}

static int run_backup(struct cli *cli, const struct args *args, struct err *err)
{
	static const char *const type[] = {"Content-Type: application/json", NULL};
	auto_buf struct buf text = BUF_INIT(BACKUP_MAX), request = BUF_INIT(PASSPHRASE_MAX * 8);
	const char *file = args->words[0], *path;
	auto_type(json) body = json_object();

	if (str_eq(file, "-") && cli->out_tty)
		return err_set(err, ERR_INVALID,
		               "a backup holds the cluster's keys and does not belong on a "
		               "terminal: name a file, or use a pipe");
	path = api_path(cli, "/buoy/v1/cluster/backup", NULL, NULL, err);
	if (!path || read_passphrase(args, body, err) < 0 || json_write(body, &request, err) < 0)
		return -1;
	const struct http_call call = {.method = "POST",
	                               .path = path,
	                               .headers = type,
	                               .body = request.data,
	                               .body_len = request.len,
	                               .write = gather,
	                               .write_arg = &text};
	int rc = api_stream(cli, &call, err);
	if (rc == 0 && str_eq(file, "-"))
		rc = fs_write_all(STDOUT_FILENO, text.data, text.len, err);
	else if (rc == 0)
		rc = keep(&text, file, err);
	if (text.data)
		explicit_bzero(text.data, text.len);
	return rc;
}

static int run_restore(struct cli *cli, const struct args *args, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(BACKUP_MAX), reply = BUF_INIT(PEM_MAX);
	auto_type(json) head = json_object();
	const char *path = api_path(cli, "/buoy/v1/cluster/restore", NULL, NULL, err);

	json_set(head, "ListenAddr", text_or(args, "listen-addr", ""));
	json_set(head, "AdvertiseAddr", text_or(args, "advertise-addr", ""));
	if (!path || read_passphrase(args, head, err) < 0 || add_store(args, head, err) < 0 ||
	    json_write(head, &text, err) < 0)
		return -1;
	buf_add(&text, "\n");
	if (fs_trusted_read(args->words[0], BACKUP_MAX - text.len, &text, err) < 0)
		return -1;
	const struct http_call call = {.method = "POST",
	                               .path = path,
	                               .body = text.data,
	                               .body_len = text.len,
	                               .write = gather,
	                               .write_arg = &reply};
	int rc = api_stream(cli, &call, err);
	explicit_bzero(text.data, text.len);
	if (rc < 0)
		return -1;
	auto_type(json) id = json_parse(buf_str(&reply), reply.len, NULL);
	printf("The cluster is restored: this node (%s) is its manager. Nodes that knew a manager "
	       "by\nthis address come by themselves.\n",
	       json_str(id) ? json_str(id) : "");
	return 0;
}

static int run_leave(struct cli *cli, const struct args *args, struct err *err)
{
	if (post(cli, args_bool(args, "force") ? "/swarm/leave?force=1" : "/swarm/leave", NULL,
	         NULL, err) < 0)
		return -1;
	printf("Node left the swarm.\n");
	return 0;
}

static int run_update(struct cli *cli, const struct args *args, struct err *err)
{
	auto_type(json) swarm = get(cli, "/swarm", err);
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	if (!swarm)
		return -1;
	if (args->value_count == 0)
		return err_set(err, ERR_INVALID,
		               "nothing to update: see 'buoy swarm update --help'");
	if (apply_spec(args, json_get(swarm, "Spec"), err) < 0)
		return -1;
	api_begin(&path, "/swarm/update", NULL, NULL);
	api_query_int(&path, "version", json_get_int(json_get(swarm, "Version"), "Index", 0));
	if (api_send(cli, "POST", buf_str(&path), json_ref(json_get(swarm, "Spec")), NULL, err) < 0)
		return -1;
	printf("Swarm updated.\n");
	return 0;
}

/* ---- locks ---- */

static int run_unlock(struct cli *cli, const struct args *args, struct err *err)
{
	(void)cli;
	return err_set(err, ERR_UNSUPPORTED,
	               "swarm %s: the keys of a manager are not locked (autolock is not supported)",
	               args->command->name);
}

/* ---- flags ---- */

#define SPEC_FLAGS                                                                                 \
	{"autolock", 0, FLAG_BOOL, NULL, "Lock the managers' keys (not supported)"},               \
		{"cert-expiry", 0, FLAG_STRING, "DURATION", "Life of a node's certificate"},       \
		{"dispatcher-heartbeat", 0, FLAG_STRING, "DURATION",                               \
	         "Time between signs of life"},                                                    \
	{                                                                                          \
		"task-history-limit", 0, FLAG_INT, "N", "Old tasks that are kept per slot"         \
	}

#define ADDRESS_FLAGS                                                                              \
	{"advertise-addr", 0, FLAG_STRING, "ADDRESS", "How others reach this node"},               \
		{"availability", 0, FLAG_STRING, "WHAT", "active, pause or drain"},                \
	{                                                                                          \
		"listen-addr", 0, FLAG_STRING, "ADDRESS", "Where it listens (0.0.0.0:2377)"        \
	}

#define STORE_FLAGS                                                                                \
	{"store-ca", 0, FLAG_STRING, "FILE", "CA of an etcds:// store (the system's)"},            \
		{"store-cert", 0, FLAG_STRING, "FILE",                                             \
	         "Our certificate for it, if it asks for one"},                                    \
	{                                                                                          \
		"store-key", 0, FLAG_STRING, "FILE", "Its key"                                     \
	}

static const struct flag init_flags[] = {
	ADDRESS_FLAGS,
	SPEC_FLAGS,
	{"force-new-cluster", 0, FLAG_BOOL, NULL,
         "Go on with this manager alone: the others are lost for good"},
	{"store", 0, FLAG_STRING, "URL",
         "Where its state is, for several managers: etcd, or etcd://HOST[:PORT],...[/PREFIX]"},
	STORE_FLAGS,
	{NULL},
};

static const struct flag migrate_flags[] = {STORE_FLAGS, {NULL}};

#define PASSPHRASE_FLAG                                                                            \
	{                                                                                          \
		"passphrase-file", 0, FLAG_STRING, "FILE", "Its first line seals the backup"       \
	}

static const struct flag backup_flags[] = {PASSPHRASE_FLAG, {NULL}};

static const struct flag restore_flags[] = {
	{"advertise-addr", 0, FLAG_STRING, "ADDRESS", "How others reach this node"},
	{"listen-addr", 0, FLAG_STRING, "ADDRESS", "Where it listens (0.0.0.0:2377)"},
	PASSPHRASE_FLAG,
	{"store", 0, FLAG_STRING, "URL",
         "Where its state shall be: file, etcd, or etcd://... (as it was)"},
	STORE_FLAGS,
	{NULL},
};

static const struct flag join_flags[] = {
	ADDRESS_FLAGS,
	{"token", 0, FLAG_STRING, "TOKEN", "What a manager's join-token shows"},
	{NULL},
};

static const struct flag token_flags[] = {
	{"expires", 0, FLAG_STRING, "DURATION", "How long a --one-use token is good for (1h)"},
	{"one-use", 0, FLAG_BOOL, NULL, "A token for one machine"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Only the token"},
	{"rotate", 0, FLAG_BOOL, NULL, "Make a new one; the old one is worth nothing then"},
	{NULL},
};

static const struct flag leave_flags[] = {
	{"force", 'f', FLAG_BOOL, NULL, "Even if it is the manager: the cluster is gone then"},
	{NULL},
};

static const struct flag update_flags[] = {SPEC_FLAGS, {NULL}};

static const struct flag none[] = {{NULL}};

const struct command command_swarm[] = {
	{.group = "swarm",
         .name = "ca",
         .synopsis = "[OPTIONS]",
         .summary = "Show the root certificate of the cluster, or replace it",
         .flags = swarm_ca_flags,
         .run = swarm_ca_run},
	{.group = "swarm",
         .name = "init",
         .synopsis = "[OPTIONS]",
         .summary = "Make a cluster with this node as its manager",
         .flags = init_flags,
         .run = run_init},
	{.group = "swarm",
         .name = "join",
         .synopsis = "[OPTIONS] HOST:PORT",
         .summary = "Join a cluster",
         .flags = join_flags,
         .min = 1,
         .max = 1,
         .run = run_join},
	{.group = "swarm",
         .name = "join-token",
         .synopsis = "[OPTIONS] worker|manager",
         .summary = "Show what others join with",
         .flags = token_flags,
         .min = 1,
         .max = 1,
         .run = run_token},
	{.group = "swarm",
         .name = "leave",
         .synopsis = "[OPTIONS]",
         .summary = "Leave the cluster",
         .flags = leave_flags,
         .run = run_leave},
	{.group = "swarm",
         .name = "unlock",
         .synopsis = "",
         .summary = "Unlock a manager (not supported)",
         .flags = none,
         .hidden = true,
         .run = run_unlock},
	{.group = "swarm",
         .name = "unlock-key",
         .synopsis = "",
         .summary = "Show the key that unlocks managers (not supported)",
         .flags = none,
         .hidden = true,
         .run = run_unlock},
	{.group = "swarm",
         .name = "update",
         .synopsis = "[OPTIONS]",
         .summary = "Change settings of the cluster",
         .flags = update_flags,
         .run = run_update},
	{.group = "cluster",
         .name = "backup",
         .synopsis = "[OPTIONS] FILE|-",
         .summary = "Write the cluster's whole state, keys included, to a file",
         .flags = backup_flags,
         .min = 1,
         .max = 1,
         .run = run_backup},
	{.group = "cluster",
         .name = "restore",
         .synopsis = "[OPTIONS] FILE",
         .summary = "Begin a cluster anew from a backup, with this node as its manager",
         .flags = restore_flags,
         .min = 1,
         .max = 1,
         .run = run_restore},
	{.group = "cluster",
         .name = "snapshots",
         .synopsis = "[OPTIONS]",
         .summary = "Backups that the leader takes by itself: how often, and which there are",
         .flags = cluster_snapshots_flags,
         .run = cluster_snapshots_run},
	{.group = "cluster",
         .name = "migrate-store",
         .synopsis = "[OPTIONS] etcd|URL",
         .summary = "Move the state of a living cluster from a file to etcd",
         .flags = migrate_flags,
         .min = 1,
         .max = 1,
         .run = run_migrate},
	{.name = NULL},
};
