/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * model - what a cluster is made of: cluster, node, service, task; and how each is written.
 *
 *	auto_arena struct arena a = ARENA_INIT(MODEL_ARENA_MAX);
 *	struct service *s = service_decode(text, len, &a, err);
 *	if (s->spec.mode == SERVICE_REPLICATED && s->spec.replicas == 0) ...
 *
 * Objects are written as Docker's API shows them, so a stored record needs no
 * translation on its way out. The JSON tables below are that shape; keys of our own
 * are marked "ours". A service's spec is kept twice: the parts the control plane acts
 * on as fields, and the whole document as it came (`raw`), which is what is stored,
 * shown and handed to agents. So keys this file does not know survive.
 *
 * Everything an object points to lives in the arena it was decoded into (or outlives
 * it). No function here blocks, keeps state, or knows the time.
 *
 * Rules of a task (Swarm's): it copies its spec, is assigned once and never moves; a
 * restart is a new task in the same slot. `desired` is written by the leader alone,
 * `status` by the node's agent alone, except that the leader may say orphaned. Both
 * only rise, so a message that is late or repeated does no harm.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

struct arena;
struct buf;
struct err;

#define MODEL_ARENA_MAX    (8u << 20) /* memory of one decoded object */
#define MODEL_TEXT_MAX     (2u << 20) /* bytes of one object's text */
#define MODEL_NAME_MAX     63         /* bytes of a service's name */
#define MODEL_REPLICAS_MAX 100000

/* ---- task states, in Swarm's order: a task's state only rises ---- */

enum task_state {
	TASK_NEW = 0,   /* made by the orchestrator */
	TASK_PENDING,   /* its resources are allocated; waits for a node */
	TASK_ASSIGNED,  /* has a node */
	TASK_ACCEPTED,  /* the agent has it on its disk */
	TASK_PREPARING, /* image, mounts */
	TASK_READY,     /* could start; waits for desired = running */
	TASK_STARTING,
	TASK_RUNNING,  /* and healthy, if it has a health check */
	TASK_COMPLETE, /* ended with exit code 0 by itself */
	TASK_SHUTDOWN, /* stopped because it was asked to */
	TASK_FAILED,   /* ended by itself with another exit code, or was unhealthy */
	TASK_REJECTED, /* the node could not even prepare it */
	TASK_REMOVE,   /* desired only: stop and forget */
	TASK_ORPHANED, /* its node is gone; written by the leader */
	TASK_STATES,
};

const char *task_state_name(enum task_state state);
/* ERR_INVALID names the text and the states. */
int task_state_parse(const char *name, enum task_state *state, struct err *err);
static inline bool task_state_is_final(enum task_state state)
{
	return state > TASK_RUNNING;
}

/* ---- shared pieces ---- */

struct model_version {
	uint64_t index; /* revision of the store in which the object was last written */
};

struct model_resources {
	int64_t nano_cpus; /* 1e9 is one CPU */
	int64_t memory_bytes;
	int64_t pids; /* limits only */
};

struct model_port {
	char *name;
	char *protocol; /* tcp udp */
	int64_t target_port;
	int64_t published_port; /* 0 in a spec: choose one */
	char *publish_mode;     /* ingress: on every node; host: on the task's node */
};

/* ---- service ---- */

struct service_requirements {
	struct model_resources limits;
	struct model_resources reservations;
};

struct service_restart {
	char *condition;      /* none on-failure any (NULL = any) */
	int64_t delay;        /* ns; SERVICE_UNSET = 5 s */
	int64_t max_attempts; /* 0 = no end */
	int64_t window;       /* ns; 0 = attempts are counted for ever */
};

struct service_placement {
	struct json_strings constraints;
	struct json_array preferences; /* struct service_preference */
	int64_t max_replicas;          /* per node; 0 = no limit */
};

struct service_spread {
	char *descriptor; /* "node.labels.zone" */
};

struct service_preference {
	struct service_spread spread;
};

struct service_mount {
	char *type; /* bind volume tmpfs */
	char *source;
	char *target;
	bool read_only;
	struct json *options; /* BindOptions, VolumeOptions... are read from the raw document */
};

struct service_health {
	struct json_strings test;
	int64_t interval; /* ns, also below; 0 = the image's or the default */
	int64_t timeout;
	int64_t start_period;
	int64_t start_interval;
	int64_t retries;
};

/* A secret or config that a task's container sees as a file. */
struct service_file_target {
	char *name;      /* absolute, or below /run/secrets (secrets) or / (configs) */
	char *uid, *gid; /* numbers, as text; NULL = 0 */
	int64_t mode;    /* permission bits */
};

struct service_file {
	char *id, *name; /* of the secret or config */
	struct service_file_target file;
	struct json *runtime; /* configs: not a file, but for the runtime's own use */
};

struct service_container {
	char *image;
	struct json_strmap labels;
	struct json_strings command; /* replaces the image's entrypoint */
	struct json_strings args;    /* replaces the image's command */
	char *hostname;
	struct json_strings env;
	char *dir;
	char *user;
	struct json_strings groups;
	bool tty;
	bool open_stdin;
	bool read_only;
	struct json_array mounts; /* struct service_mount */
	char *stop_signal;
	int64_t stop_grace; /* ns; SERVICE_UNSET = 10 s */
	struct service_health *health;
	struct json_strings hosts; /* "IP name [name...]" */
	struct json *dns;
	struct json_strings cap_add;
	struct json_strings cap_drop;
	struct json *init; /* bool or null */
	struct json_strmap sysctls;
	struct json *ulimits;
	struct json *privileges;
	struct json_array secrets; /* struct service_file, also below */
	struct json_array configs;
	char *isolation;
};

struct service_network {
	char *target; /* network id or name */
	struct json_strings aliases;
};

/* TaskTemplate: what a task copies. */
struct service_task {
	struct service_container container;
	struct service_requirements resources;
	struct service_restart restart;
	struct service_placement placement;
	struct json_array networks; /* struct service_network */
	int64_t force_update;       /* a change alone makes new tasks */
	char *runtime;              /* NULL or "container" */
	struct json *log_driver;
};

struct service_update_config {
	int64_t parallelism;  /* tasks at a time; 0 = all; absent = 1 */
	int64_t delay;        /* ns between batches */
	char *failure_action; /* pause (NULL) continue rollback */
	int64_t monitor;      /* ns a new task is watched; SERVICE_UNSET = 5 s */
	double max_failure_ratio;
	char *order; /* stop-first (NULL) start-first */
};

struct service_endpoint_spec {
	char *mode;              /* vip (NULL) dnsrr */
	struct json_array ports; /* struct model_port */
};

enum service_mode {
	SERVICE_REPLICATED,
	SERVICE_GLOBAL,
	SERVICE_REPLICATED_JOB, /* `replicas` tasks run to their end, `max_concurrent` at a time */
	SERVICE_GLOBAL_JOB,     /* one on each node */
};

static inline bool service_mode_is_job(enum service_mode mode)
{
	return mode == SERVICE_REPLICATED_JOB || mode == SERVICE_GLOBAL_JOB;
}

static inline bool service_mode_is_global(enum service_mode mode)
{
	return mode == SERVICE_GLOBAL || mode == SERVICE_GLOBAL_JOB;
}

const char *service_mode_name(enum service_mode mode); /* "replicated-job" */

/* A service's label: its tasks may displace tasks of lower priority that reserve what they need. */
#define SERVICE_PRIORITY     "buoy.priority"
#define SERVICE_PRIORITY_MAX 1000 /* and from -1000 */
/* Another: "true" lets its tasks move to machines that have fewer of them. */
#define SERVICE_REBALANCE "buoy.rebalance"

#define SERVICE_UNSET (-1) /* a number that was not given; see the field for what it means */

struct service_spec {
	char *name;
	struct json_strmap labels;
	struct service_task task;
	struct json *mode_raw;
	struct service_update_config update;
	struct service_update_config rollback;
	struct service_endpoint_spec endpoint;
	struct json_array networks; /* old place of task.networks */
	/* derived by service_spec_decode: */
	enum service_mode mode;
	int64_t replicas;       /* of a job: how many must complete */
	int64_t max_concurrent; /* jobs; 0 = all */
	int64_t priority;       /* from the label; 0 where there is none */
	bool rebalance;         /* from the label */
	struct json *raw;       /* the whole document; borrowed from the arena */
	struct json *task_raw;  /* its TaskTemplate */
};

struct service_vip {
	char *network_id;
	char *addr; /* "10.0.3.2/24" */
};

struct service_endpoint {
	struct json *spec;             /* EndpointSpec as it was allocated */
	struct json_array ports;       /* struct model_port, published_port filled in */
	struct json_array virtual_ips; /* struct service_vip */
};

struct service_update_status {
	char *state; /* updating paused completed rollback_started rollback_paused rollback_completed */
	char *started_at;
	char *completed_at;
	char *message;
};

struct service {
	char *id;
	struct model_version version;
	char *created_at;
	char *updated_at;
	struct json *spec_raw;     /* "Spec" */
	struct json *previous_raw; /* "PreviousSpec" or NULL */
	struct service_endpoint endpoint;
	struct service_update_status *update_status; /* NULL: never updated */
	/* ours: another one when tasks must be replaced to match the spec, that of the spec before after a rollback;
	 * of a job: rises when it shall run again */
	int64_t spec_version;
	int64_t previous_version; /* ours: which one the previous spec is; 0: none */
	int64_t newest_version;   /* ours: the highest given so far */
	char *last_execution;     /* ours; jobs: when this run was asked for */
	/* derived by service_decode: */
	struct service_spec spec;
};

/* ---- network: an overlay, on which tasks meet over all machines ---- */

struct network_driver {
	char *name; /* "overlay" */
	struct json_strmap options;
};

struct network_spec {
	char *name;
	struct json_strmap labels;
	struct network_driver driver;
	bool internal;   /* no way out */
	bool attachable; /* for plain containers too */
};

/* A plain container on an attachable network. */
struct network_attachment {
	char *id; /* the endpoint's, made by the node: a request that comes twice is one */
	char *container_id, *node_id;
	char *address; /* "10.0.3.9" */
	struct json_strings names;
};

struct network {
	char *id;
	struct model_version version;
	char *created_at;
	char *updated_at;
	struct network_spec spec;
	/* ours, by the allocator: */
	char *subnet;  /* "10.0.3.0/24" */
	char *gateway; /* every machine's own end has this address */
	int64_t vni;   /* the number that the machines' packets for each other carry */
	struct json_array attachments; /* struct network_attachment */
};

/* A task on a network. */
struct task_network {
	struct network network;        /* as far as its node must know it to make it */
	struct json_strings addresses; /* one: "10.0.3.7/24" */
};

/* ---- task ---- */

struct task_container {
	char *container_id;
	int64_t pid;
	int64_t exit_code;
};

struct task_ports {
	struct json_array
		ports; /* struct model_port: where the node's own address answers for this task */
};

struct task_status {
	char *timestamp; /* when the agent saw it */
	char *state_name;
	char *message; /* what is going on: "preparing" */
	char *error;   /* "Err": why not */
	struct task_container *container;
	struct task_ports ports;
	char *address;         /* ours: of the container, on its node */
	enum task_state state; /* derived */
};

struct task {
	char *id;
	struct model_version version;
	char *created_at;
	char *updated_at;
	struct json_strmap labels;
	struct json *spec_raw; /* "Spec": the TaskTemplate it copied */
	char *service_id;
	char *service_name; /* ours; the container is called NAME.SLOT.ID (NAME.NODE.ID when global) */
	int64_t slot;       /* from 1; 0 in a global service, whose slot is the node */
	char *node_id;      /* NULL or "" until assigned */
	struct task_status status;
	char *desired_name;
	struct json_array networks; /* struct task_network; once its addresses are chosen */
	struct json_array ports;    /* ours: struct model_port, what its service publishes */
	int64_t spec_version;       /* ours: the service's when it was made */
	int64_t restarts;           /* ours: restarts in this slot since restarts_since */
	char *restarts_since;       /* ours: start of the window the restarts are counted in */
	int64_t generation;         /* ours: rises from task to task within a slot */
	struct model_version *job_iteration; /* tasks of jobs: which run, from 0; NULL of others */
	bool done;       /* ours: the restart policy ended this slot; a new spec revives it */
	bool held;       /* ours: its node is not told of it before others there have made room */
	char *displaced; /* ours: "made room for web.1 of priority 10" */
	enum task_state desired;  /* derived */
	struct service_task spec; /* derived */
};

/* ---- node ---- */

struct node_spec {
	char *name;
	struct json_strmap labels;
	char *role;         /* worker manager */
	char *availability; /* active pause drain */
};

struct node_platform {
	char *architecture;
	char *os;
};

struct node_engine {
	char *version;
	struct json_strmap labels;
	struct json *plugins;
};

/* What an agent says about its machine when it connects. */
struct node_description {
	char *hostname;
	struct node_platform platform;
	struct model_resources resources;
	struct node_engine engine;
	struct json *tls;
};

struct node_status {
	char *state; /* unknown ready down disconnected */
	char *message;
	char *addr; /* IP other nodes reach it at */
};

struct node_manager {
	bool leader;
	char *reachability;
	char *addr; /* IP:PORT */
};

struct node {
	char *id;
	struct model_version version;
	char *created_at;
	char *updated_at;
	struct node_spec spec;
	struct node_description description;
	struct node_status status;
	struct node_manager *manager; /* NULL: a worker */
};

/* ---- cluster: one object, with the settings and the secrets of the whole ---- */

struct cluster_tokens {
	char *worker;
	char *manager;
};

struct cluster {
	char *id;
	struct model_version version;
	char *created_at;
	char *updated_at;
	struct json *spec_raw; /* Docker's swarm Spec: Name, Labels, Orchestration, CAConfig... */
	struct json *tls;      /* "TLSInfo" */
	struct cluster_tokens tokens; /* "JoinTokens" */
	struct json *secret;          /* ours, never shown: what cluster/ca keeps here */
};

/* ---- secret and config: a name and bytes that never change ---- */

#define SECRET_BYTES_MAX (500u * 1024) /* a secret is smaller than that */
#define CONFIG_BYTES_MAX (1000u * 1024)
#define SECRET_NAME_MAX  64

struct secret_spec {
	char *name;
	struct json_strmap labels;
	struct json *driver;     /* secrets of somebody else's store: not supported */
	struct json *templating; /* {"Name": "golang"}: places are filled in per task */
};

/* Both kinds. The bytes are sealed by cluster/vault before they come here: whoever reads the store does not
 * read them, and nothing in the control plane can open them. */
struct secret {
	char *id;
	struct model_version version;
	char *created_at;
	char *updated_at;
	struct secret_spec spec;
	char *sealed; /* ours, never shown */
};

/* ---- tables; decoding alone fills no derived field: use the functions below ---- */

extern const struct json_table model_version_table;
extern const struct json_table model_resources_table;
extern const struct json_table model_port_table;
extern const struct json_table service_spec_table;
extern const struct json_table service_task_table;
extern const struct json_table service_endpoint_table;
extern const struct json_table service_table;
extern const struct json_table task_status_table;
extern const struct json_table task_table;
extern const struct json_table node_spec_table;
extern const struct json_table node_description_table;
extern const struct json_table node_table;
extern const struct json_table cluster_table;
extern const struct json_table network_spec_table;
extern const struct json_table network_table;
extern const struct json_table secret_spec_table;
extern const struct json_table secret_table; /* also of configs */

/* Text to objects, derived fields included. NULL: ERR_INVALID with the path, ERR_NOMEM,
 * ERR_LIMIT. The object and what it points to live in the arena. */
struct service *service_decode(const char *text, size_t len, struct arena *arena, struct err *err);
struct task *task_decode(const char *text, size_t len, struct arena *arena, struct err *err);
struct node *node_decode(const char *text, size_t len, struct arena *arena, struct err *err);
struct cluster *cluster_decode(const char *text, size_t len, struct arena *arena, struct err *err);
struct network *network_decode(const char *text, size_t len, struct arena *arena, struct err *err);
struct secret *secret_decode(const char *text, size_t len, struct arena *arena, struct err *err);

/* Fills a spec from its document, which the arena must keep alive (JSON_RAW and
 * arena_later do). Shape only: what a spec may say is service_spec_check's. */
int service_spec_decode(struct json *raw, struct arena *arena, struct service_spec *spec,
                        struct err *err);
int service_task_decode(struct json *raw, struct arena *arena, struct service_task *task,
                        struct err *err);

/* Docker's rules for a new or changed service: a name and an image are there, the mode, ports,
 * conditions, orders, actions and constraints exist, durations are not negative. ERR_INVALID in
 * Docker's words where it has some; ERR_UNSUPPORTED for what is not built yet. */
int service_spec_check(const struct service_spec *spec, struct err *err);

/* Sets an enum and its name together. */
void task_set_state(struct task_status *status, enum task_state state);
void task_set_desired(struct task *task, enum task_state desired);

/* The values a spec leaves out. */
int64_t service_restart_delay_ms(const struct service_restart *restart);
bool service_restart_wanted(const struct service_restart *restart, enum task_state ended);
