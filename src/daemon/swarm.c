/* SPDX-License-Identifier: Apache-2.0 */
/* /swarm: making, joining, leaving a cluster. */

#include "daemon/swarm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "cluster/member.h"
#include "cluster/node.h"
#include "cluster/store.h"
#include "daemon/daemon.h"
#include "daemon/executor.h"
#include "daemon/overlays.h"
#include "engine/engine.h"
#include "http/route.h"

#define SHOW_MAX (64u << 20) /* bytes of a list */
#define PEM_MAX  (64u << 10)

#define TAKEN_OVER_MS    20
#define TAKEN_OVER_TRIES 100

/* ---- life ---- */

/* Lives as long as the member, which borrows it. */
struct swarm_self {
	struct node_description description;
	struct utsname machine;
	struct json *plugins;
};

static struct json *plugin(const char *type, const char *name)
{
	struct json *doc = json_object();

	json_set(doc, "Type", json_string(type));
	json_set(doc, "Name", json_string(name));
	return doc;
}

static struct json *plugins(void)
{
	struct json *list = json_array();

	json_append(list, plugin("Log", "json-file"));
	json_append(list, plugin("Log", "local"));
	json_append(list, plugin("Network", "bridge"));
	json_append(list, plugin("Network", "host"));
	json_append(list, plugin("Network", "null"));
	json_append(list, plugin("Network", "overlay"));
	json_append(list, plugin("Volume", "local"));
	return list;
}

static void describe(struct daemon *d, struct swarm_self *self)
{
	struct sysinfo info = {0};

	uname(&self->machine);
	sysinfo(&info);
	self->plugins = plugins();
	self->description = (struct node_description){
		.hostname = (char *)d->name,
		.platform = {.architecture = self->machine.machine, .os = (char *)"linux"},
		.resources = {.nano_cpus = sysconf(_SC_NPROCESSORS_ONLN) * 1000000000L,
	                      .memory_bytes = (int64_t)info.totalram * info.mem_unit},
		.engine = {.version = (char *)BUOY_VERSION, .plugins = self->plugins},
	};
}

int swarm_dispatch(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	struct http_route_match match;

	http_route_find(d->shared, http_method(req), http_path(req), &match);
	for (int left = TAKEN_OVER_TRIES;; left--) {
		int rc = member_relay(d->member, req, err);
		if (rc <= 0)
			return rc;
		if (!match.route)
			return err_set(err, ERR_NOT_FOUND, "page not found");
		rc = match.route->fn(ctx, req, err);
		if (rc == 0 || !store_was_taken_over(err) || left == 0)
			return rc;
		/* Another manager leads already, and we are about to hear of it: it is asked then. */
		clock_sleep_ms(TAKEN_OVER_MS);
	}
}

int swarm_open(struct daemon *d, struct err *err)
{
	d->shared = daemon_cluster_routes(err);
	if (!d->shared)
		return -1;
	d->self = calloc(1, sizeof(*d->self));
	if (!d->self)
		return err_nomem(err);
	d->executor = executor_create(d->engine, d->run, err);
	if (!d->executor)
		return -1;
	describe(d, d->self);
	d->member = member_open(&(struct member_options){.root_fd = engine_root_fd(d->engine),
	                                                 .description = &d->self->description,
	                                                 .executor = executor_vtable(d->executor),
	                                                 .log = d->log,
	                                                 .compact_ms = d->store_compaction_ms,
	                                                 .api = {.routes = d->shared, .ctx = d}},
	                        err);
	if (!d->member)
		return -1;
	overlays_serve(d->overlays, d->member);
	return executor_watch(d->executor, d->member, err);
}

void swarm_close(struct daemon *d)
{
	overlays_stop(d->overlays);
	executor_unwatch(d->executor);
	member_close(d->member);
	executor_free(d->executor);
	if (d->self)
		json_free(d->self->plugins);
	free(d->self);
	free(d->shared);
	d->shared = NULL;
	d->member = NULL;
	d->executor = NULL;
	d->self = NULL;
}

/* ---- what others ask ---- */

const char *swarm_ping_state(struct daemon *d)
{
	struct member_view view;

	if (!d->member)
		return "inactive";
	member_look(d->member, &view);
	if (!view.active)
		return "inactive";
	return view.manager ? "active/manager" : "active/worker";
}

static struct json *remote_managers(const struct member_view *view)
{
	struct json *one = json_object(), *list = json_array();

	json_set(one, "NodeID", json_string(view->leader_id));
	json_set(one, "Addr", json_string(view->leader));
	json_append(list, one);
	return list;
}

/* What only a manager knows. */
static void add_cluster(struct daemon *d, struct json *doc)
{
	auto_buf struct buf text = BUF_INIT(SHOW_MAX);
	struct control *c = member_enter(d->member, NULL);
	const struct node *n;
	int64_t nodes = 0, managers = 0;

	if (!c)
		return;
	for (size_t at = 0; (n = control_next_node(c, &at)) != NULL; nodes++)
		managers += n->manager != NULL;
	member_exit(d->member);
	json_set(doc, "Nodes", json_int(nodes));
	json_set(doc, "Managers", json_int(managers));
	if (member_inspect(d->member, false, &text, NULL) == 0)
		json_set(doc, "Cluster", json_parse(buf_str(&text), text.len, NULL));
}

struct json *swarm_info(struct daemon *d)
{
	struct member_view view = {0};
	struct json *doc = json_object();

	if (d->member)
		member_look(d->member, &view);
	bool broken = view.active && view.manager && view.error[0] && !view.connected;
	json_set(doc, "NodeID", json_string(view.node_id));
	json_set(doc, "NodeAddr", json_string(view.addr));
	json_set(doc, "LocalNodeState",
	         json_string(!view.active ? "inactive"
	                     : broken     ? "error"
	                                  : "active"));
	json_set(doc, "ControlAvailable", json_bool(view.manager));
	json_set(doc, "Error", json_string(view.error));
	json_set(doc, "RemoteManagers", view.active ? remote_managers(&view) : json_null());
	if (view.manager)
		add_cluster(d, doc);
	return doc;
}

/* ---- shared with nodes.c, services.c, tasks.c ---- */

int swarm_read_version(struct http_request *req, const char *what, uint64_t *version,
                       struct err *err)
{
	const char *text = http_query(req, "version");
	char *end = NULL;

	if (str_empty(text))
		return err_set(err, ERR_INVALID,
		               "invalid %s version '': strconv.ParseUint: parsing \"\": invalid "
		               "syntax",
		               what);
	*version = strtoull(text, &end, 10);
	if (*end || *text < '0' || *text > '9')
		return err_set(err, ERR_INVALID,
		               "invalid %s version '%.40s': strconv.ParseUint: parsing \"%.40s\": "
		               "invalid syntax",
		               what, text, text);
	return 0;
}

struct json *swarm_read_filters(struct http_request *req, struct err *err)
{
	const char *text = http_query(req, "filters");

	if (str_empty(text))
		return json_object();
	return json_parse(text, strlen(text), err);
}

int swarm_fail(struct http_request *req, struct err *err)
{
	if (err->kind == ERR_CONFLICT && strstr(err->msg, "update out of sequence"))
		return http_reply_error(req, 500,
		                        "rpc error: code = Unknown desc = update out of sequence");
	return -1;
}

int swarm_show(struct daemon *d, struct http_request *req,
               int (*fn)(struct control *c, struct http_request *req, struct buf *out,
                         struct err *err),
               struct err *err)
{
	struct buf out = BUF_INIT(SHOW_MAX);
	struct control *c = member_enter(d->member, err);

	if (!c)
		return -1;
	int rc = fn(c, req, &out, err);
	member_exit(d->member);
	if (rc < 0) {
		buf_free(&out);
		return -1;
	}
	return http_reply_buf(req, 200, &out);
}

int swarm_change(struct daemon *d, struct http_request *req,
                 int (*fn)(struct control *c, struct http_request *req, struct err *err),
                 struct err *err)
{
	struct control *c = member_enter(d->member, err);

	if (!c)
		return -1;
	int rc = fn(c, req, err);
	member_exit(d->member);
	return rc < 0 ? swarm_fail(req, err) : http_reply_empty(req, 200);
}

/* ---- the routes ---- */

/* A number that a spec leaves out, or 0 where 0 makes no sense. */
static void set_default(struct json *spec, const char *part, const char *key, int64_t value)
{
	struct json *inner = json_get(spec, part);

	if (!json_is_object(inner)) {
		json_set(spec, part, json_object());
		inner = json_get(spec, part);
	}
	if (json_get_int(inner, key, 0) == 0)
		json_set(inner, key, json_int(value));
}

/* The clients read these, so they are there. */
static void complete_spec(struct json *spec)
{
	if (!json_get_string(spec, "Name"))
		json_set(spec, "Name", json_string("default"));
	if (!json_is_object(json_get(spec, "Labels")))
		json_set(spec, "Labels", json_object());
	set_default(spec, "Orchestration", "TaskHistoryRetentionLimit", 5);
	set_default(spec, "Raft", "SnapshotInterval", 10000);
	set_default(spec, "Raft", "LogEntriesForSlowFollowers", 500);
	set_default(spec, "Raft", "ElectionTick", 10);
	set_default(spec, "Raft", "HeartbeatTick", 1);
	set_default(spec, "Dispatcher", "HeartbeatPeriod", 1000000000);
	set_default(spec, "CAConfig", "NodeCertExpiry", 7776000000000000);
	if (!json_is_object(json_get(spec, "TaskDefaults")))
		json_set(spec, "TaskDefaults", json_object());
	if (!json_is_object(json_get(spec, "EncryptionConfig"))) {
		struct json *encryption = json_object();
		json_set(encryption, "AutoLockManagers", json_bool(false));
		json_set(spec, "EncryptionConfig", encryption);
	}
}

static const char *text_or(const char *text, const char *otherwise)
{
	return str_empty(text) ? otherwise : text;
}

void swarm_drop_files(struct store_files *f)
{
	buf_free(&f->ca);
	buf_free(&f->cert);
	if (f->key.data)
		explicit_bzero(f->key.data, f->key.len);
	buf_free(&f->key);
}

/* What the client sends of a PEM text, or else what is in the daemon's file. */
static int read_pem(const struct json *tls, const char *field, const char *path, struct buf *out,
                    struct err *err)
{
	const char *text = json_get_string(tls, field);

	*out = BUF_INIT(PEM_MAX);
	if (!str_empty(text))
		buf_add(out, text);
	else if (path && fs_trusted_read(path, PEM_MAX, out, err) < 0)
		return -1;
	return buf_check(out, err);
}

int swarm_read_store(struct daemon *d, const struct json *body, struct store_files *f,
                     struct member_init *init, struct err *err)
{
	const struct json *tls = json_get(body, "StoreTLS");

	init->store = text_or(json_get_string(body, "Store"), d->store);
	if (read_pem(tls, "CA", d->store_ca, &f->ca, err) < 0 ||
	    read_pem(tls, "Cert", d->store_cert, &f->cert, err) < 0 ||
	    read_pem(tls, "Key", d->store_key, &f->key, err) < 0)
		return -1;
	init->tls = (struct leader_tls){.ca = f->ca.len ? buf_str(&f->ca) : NULL,
	                                .cert = f->cert.len ? buf_str(&f->cert) : NULL,
	                                .key = f->key.len ? buf_str(&f->key) : NULL};
	if (!init->store && (init->tls.ca || init->tls.cert || init->tls.key))
		return err_set(err, ERR_INVALID,
		               "certificates of a store are of use only with --store etcds://...");
	return 0;
}

static int check_founding_ca(const struct json *config, struct err *err)
{
	if (json_count(json_get(config, "ExternalCAs")) > 0)
		return err_set(err, ERR_UNSUPPORTED,
		               "an external CA is not supported: a cluster makes its own root; "
		               "another takes its place with swarm ca --rotate --ca-cert FILE "
		               "--ca-key FILE");
	if (!str_empty(json_get_string(config, "SigningCACert")) ||
	    !str_empty(json_get_string(config, "SigningCAKey")))
		return err_set(err, ERR_UNSUPPORTED,
		               "a cluster begins with a root of its own: swarm ca --rotate puts "
		               "another in its place");
	return 0;
}

static int init(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	char node_id[ID_SWARM_MAX];
	__attribute__((cleanup(swarm_drop_files))) struct store_files files = {0};
	auto_type(json) body = http_body_json(req, err);

	if (!body)
		return -1;
	if (json_get_bool(body, "AutoLockManagers", false))
		return err_set(err, ERR_UNSUPPORTED, "locked managers are not supported yet");
	struct json *spec = json_get(body, "Spec");
	auto_type(json) empty = json_object();
	if (!json_is_object(spec))
		spec = empty;
	complete_spec(spec);
	if (check_founding_ca(json_get(spec, "CAConfig"), err) < 0)
		return -1;
	/* The client always names an address; one given to the daemon is meant for its default. */
	const char *listen = json_get_string(body, "ListenAddr");
	if (d->listen_addr && (str_empty(listen) || str_eq(listen, "0.0.0.0:2377")))
		listen = d->listen_addr;
	struct member_init init = {
		.listen = listen,
		.advertise = text_or(json_get_string(body, "AdvertiseAddr"), d->advertise_addr),
		.spec = spec,
		.availability = json_get_string(body, "Availability"),
	};
	struct member_view view;

	member_look(d->member, &view);
	if (json_get_bool(body, "ForceNewCluster", false) && view.active) {
		if (member_start_anew(d->member, node_id, err) < 0)
			return -1;
		return http_reply_json(req, 200, json_string(node_id));
	}
	if (swarm_read_store(d, body, &files, &init, err) < 0)
		return -1;
	if (member_init(d->member, &init, node_id, err) < 0)
		return -1;
	return http_reply_json(req, 200, json_string(node_id));
}

static int join(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	struct err why = ERR_INIT;
	auto_type(json) body = http_body_json(req, err);

	if (!body)
		return -1;
	const char *listen = json_get_string(body, "ListenAddr");
	if (d->listen_addr && (str_empty(listen) || str_eq(listen, "0.0.0.0:2377")))
		listen = d->listen_addr;
	const struct json *remotes = json_get(body, "RemoteAddrs");
	if (json_count(remotes) == 0)
		return err_set(err, ERR_INVALID, "at least one RemoteAddr is required to join");
	for (size_t i = 0; i < json_count(remotes); i++) {
		struct member_join join = {
			.remote = json_str(json_at(remotes, i)),
			.token = json_get_string(body, "JoinToken"),
			.advertise =
				text_or(json_get_string(body, "AdvertiseAddr"), d->advertise_addr),
			.listen = listen,
		};

		if (member_join(d->member, &join, &why) == 0)
			return http_reply_empty(req, 200);
	}
	*err = why;
	return -1;
}

static int migrate(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	__attribute__((cleanup(swarm_drop_files))) struct store_files files = {0};
	auto_type(json) body = http_body_json(req, err);
	struct member_init init = {0};

	if (!body || swarm_read_store(d, body, &files, &init, err) < 0 ||
	    member_migrate(d->member, &init, err) < 0)
		return -1;
	return http_reply_empty(req, 200);
}

static int leave(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	bool force;

	if (http_query_bool(req, "force", false, &force, err) < 0 ||
	    member_leave(d->member, force, err) < 0)
		return -1;
	return http_reply_empty(req, 200);
}

static int inspect(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	struct buf out = BUF_INIT(SHOW_MAX);

	if (member_inspect(d->member, true, &out, err) < 0) {
		buf_free(&out);
		return -1;
	}
	return http_reply_buf(req, 200, &out);
}

static int update(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	uint64_t version;
	bool worker, manager, unlock;
	auto_type(json) spec = http_body_json(req, err);

	if (!spec || swarm_read_version(req, "swarm", &version, err) < 0 ||
	    http_query_bool(req, "rotateWorkerToken", false, &worker, err) < 0 ||
	    http_query_bool(req, "rotateManagerToken", false, &manager, err) < 0 ||
	    http_query_bool(req, "rotateManagerUnlockKey", false, &unlock, err) < 0)
		return -1;
	if (unlock || json_get_bool(json_get(spec, "EncryptionConfig"), "AutoLockManagers", false))
		return err_set(err, ERR_UNSUPPORTED, "locked managers are not supported yet");
	unsigned rotate =
		(worker ? LEADER_ROTATE_WORKER : 0u) | (manager ? LEADER_ROTATE_MANAGER : 0u);
	if (json_count(spec) > 0)
		complete_spec(spec);
	if (member_update(d->member, spec, version, rotate, err) < 0)
		return swarm_fail(req, err);
	return http_reply_empty(req, 200);
}

/* {"Role", "Seconds"} -> {"Token"}. */
static int one_use(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	char token[TOKEN_MAX];
	auto_type(json) body = http_body_json(req, err);
	const char *role = json_get_string(body, "Role");

	if (!body)
		return -1;
	if (!str_eq(role, "worker") && !str_eq(role, "manager"))
		return err_set(err, ERR_INVALID, "Role: worker or manager");
	struct leader_one_use wanted = {.manager = str_eq(role, "manager"),
	                                .seconds = json_get_int(body, "Seconds", 0)};
	if (member_make_one_use(d->member, &wanted, token, err) < 0)
		return -1;
	struct json *reply = json_object();
	json_set(reply, "Token", json_string(token));
	return http_reply_json(req, 200, reply);
}

static int no_unlock(void *ctx, struct http_request *req, struct err *err)
{
	(void)ctx, (void)req;
	return err_set(err, ERR_UNSUPPORTED, "locked managers are not supported yet");
}

/* Clients pin a service's image by it, and go on with a warning without. */
static int distribution(void *ctx, struct http_request *req, struct err *err)
{
	(void)ctx;
	return err_set(err, ERR_NOT_FOUND,
	               "the digest of %.200s is not looked up: nodes use their own copy or pull",
	               http_arg(req, 0));
}

const struct http_route swarm_routes[] = {
	{"GET", "/swarm", inspect, false},
	{"POST", "/swarm/init", init, false},
	{"POST", "/swarm/join", join, false},
	{"POST", "/swarm/leave", leave, false},
	{"POST", "/swarm/update", update, false},
	{"POST", "/buoy/v1/cluster/migrate", migrate, false},
	{"POST", "/buoy/v1/cluster/token", one_use, false},
	{"GET", "/swarm/unlockkey", no_unlock, false},
	{"POST", "/swarm/unlock", no_unlock, false},
	{"GET", "/distribution/{*}/json", distribution, false},
	{NULL, NULL, NULL, false},
};
