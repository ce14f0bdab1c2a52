/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buildrun - one RUN of a build: a container of its own, for which no row is kept. What is left
 * when the daemon is killed meanwhile (its supervisor, its network) is swept at the next start.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "base/userns.h"
#include "engine/check.h"
#include "engine/ids.h"
#include "engine/mounts.h"
#include "engine/private.h"
#include "engine/spec.h"
#include "engine/user.h"

#define SHM_DEFAULT (64 << 20)
#define SPEC_MAX    (4u << 20)

struct run {
	struct engine *engine;
	const struct build_step *step;
	char id[80];
	char bundle[96]; /* name in builds_fd */
	int bundle_fd;
	char netns[256];
	bool sandbox;
	uint32_t first_id; /* see ids.h */
	struct config *config;
};

static int add_file(struct run *run, const char *name, struct buf *text, struct err *err)
{
	if (buf_check(text, err) < 0 ||
	    fs_write_atomic(run->bundle_fd, name, buf_str(text), text->len, 0644, err) < 0)
		return -1;
	return 0;
}

static int write_files(struct run *run, bool host, struct err *err)
{
	auto_buf struct buf hosts = BUF_INIT(1u << 20), resolv = BUF_INIT(1u << 20);
	auto_buf struct buf hostname = BUF_INIT(512);
	const char *const *extra = run->step->extra_hosts;

	buf_add(&hosts, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
	for (size_t i = 0; extra && extra[i]; i++) {
		size_t n = strcspn(extra[i], ":=");
		if (!extra[i][n])
			return err_set(err, ERR_INVALID, "bad format for add-host: \"%s\"",
			               extra[i]);
		buf_addf(&hosts, "%s\t%.*s\n", extra[i] + n + 1, (int)n, extra[i]);
	}
	buf_addf(&hostname, "%s\n", run->step->hostname ? run->step->hostname : "buildkit");
	if (host)
		(void)fs_trusted_read("/etc/resolv.conf", 1u << 20, &resolv, NULL);
	else if (net_resolv_conf(run->engine->net, run->id, &(struct net_dns){0}, &resolv, err) < 0)
		return -1;
	return add_file(run, "hosts", &hosts, err) < 0 ||
	                       add_file(run, "hostname", &hostname, err) < 0 ||
	                       add_file(run, "resolv.conf", &resolv, err) < 0
	               ? -1
	               : 0;
}

static int bring_network(struct run *run, struct err *err)
{
	const char *wanted = str_empty(run->step->network) ? "default" : run->step->network;
	struct net_endpoint endpoint;
	const struct net_owner owner = {
		.userns_fd = -1, .first_id = run->first_id, .id_count = IDS_COUNT};

	if (str_eq(wanted, "host"))
		return write_files(run, true, err);
	if (net_sandbox_create(run->engine->net, run->id, run->first_id ? &owner : NULL, err) < 0)
		return -1;
	run->sandbox = true;
	if (!str_eq(wanted, "none")) {
		struct net_attachment attachment = {
			.network = str_eq(wanted, "default") ? "bridge" : wanted,
			.container_name = run->id,
		};
		if (net_attach(run->engine->net, run->id, &attachment, &endpoint, err) < 0)
			return -1;
	}
	if (net_sandbox_path(run->engine->net, run->id, run->netns, sizeof(run->netns), err) < 0)
		return -1;
	return write_files(run, str_eq(wanted, "none"), err);
}

static size_t count_of(const char *const *list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

/* A container's config for the step, so that the spec is made by the same code. */
static int make_config(struct run *run, struct err *err)
{
	const struct build_step *step = run->step;
	struct config *config = run->config = config_create(err);

	if (!config)
		return -1;
	struct api_config *c = &config->create.config;
	struct api_host_config *h = &config->create.host;
	c->env = (struct json_strings){(char **)step->env, count_of(step->env), true};
	c->cmd = (struct json_strings){(char **)step->argv, count_of(step->argv), true};
	c->user = (char *)step->user;
	c->working_dir = (char *)step->cwd;
	c->hostname = (char *)(step->hostname ? step->hostname : "buildkit");
	/* What Dockerfiles do: sudo, setcap. The step has a user namespace, and whoever wrote it may say USER. */
	static char *const security[] = {(char *)"no-new-privileges=false", (char *)"caps=docker"};
	h->security_opt = (struct json_strings){(char **)security, ARRAY_LEN(security), true};
	h->memory = step->memory_bytes;
	h->memory_swap = step->memory_bytes;
	h->shm_size = step->shm_bytes ? step->shm_bytes : SHM_DEFAULT;
	config->mounts =
		arena_array(&config->arena, step->mount_count + 1, sizeof(*config->mounts), err);
	if (!config->mounts)
		return -1;
	for (size_t i = 0; i < step->mount_count; i++)
		config->mounts[config->mount_count++] =
			(struct container_mount){.type = (char *)"bind",
		                                 .source = (char *)step->mounts[i].source,
		                                 .destination = (char *)step->mounts[i].target,
		                                 .rw = !step->mounts[i].read_only};
	return config_set_argv(config, err);
}

static int write_spec(struct run *run, struct err *err)
{
	const struct build_step *step = run->step;
	auto_free int *layers = calloc(step->lower_count + 1, sizeof(int));
	auto_buf struct buf text = BUF_INIT(SPEC_MAX);
	char hosts[512], hostname[512], resolv[512];
	struct user user;

	if (!layers)
		return err_nomem(err);
	layers[0] = step->upper_fd;
	if (step->lower_count)
		memcpy(layers + 1, step->lower_fds, step->lower_count * sizeof(int));
	if (user_resolve_in_layers(step->user, layers, step->lower_count + 1, NULL, &user, err) <
	            0 ||
	    ids_check_user(run->first_id, &user, err) < 0)
		return -1;
	const char *root = run->engine->root;
	snprintf(hosts, sizeof(hosts), "%s/builds/%s/hosts", root, run->bundle);
	snprintf(hostname, sizeof(hostname), "%s/builds/%s/hostname", root, run->bundle);
	snprintf(resolv, sizeof(resolv), "%s/builds/%s/resolv.conf", root, run->bundle);
	struct spec_input input = {
		.id = run->id,
		.first_id = run->first_id,
		.config = run->config,
		.user = &user,
		.netns_path = *run->netns ? run->netns : NULL,
		.files = {hosts, hostname, resolv},
		.memory_v2 = run->engine->memory_v2,
	};
	auto_type(json) spec = spec_build(&input, err);
	if (!spec || json_write(spec, &text, err) < 0 || buf_check(&text, err) < 0)
		return -1;
	return fs_write_atomic(run->bundle_fd, "config.json", buf_str(&text), text.len, 0600, err);
}

static int launch(struct run *run, struct err *err)
{
	const struct build_step *step = run->step;
	struct launch_rootfs rootfs = {
		.lower_fds = step->lower_fds,
		.lower_count = step->lower_count,
		.upper_fd = step->upper_fd,
		.work_fd = step->work_fd,
		.is_volatile = true,
	};
	auto_close int userns_fd = -1;
	if (run->first_id) {
		auto_close int net = fs_trusted_open(run->netns, O_RDONLY, 0, err);
		userns_fd = net < 0 ? -1 : userns_owner(net, err);
		if (userns_fd < 0)
			return -1;
	}
	struct launch what = {.id = run->id,
	                      .bundle_fd = run->bundle_fd,
	                      .rootfs = &rootfs,
	                      .userns_fd = userns_fd};

	return launcher_create(run->engine->launcher, &what, err);
}

/* Docker's frames, from the stream to the step's output. */
struct frames {
	unsigned char head[8];
	size_t have; /* of head */
	size_t left; /* of the payload */
};

static int pass(const struct build_step *step, struct frames *f, const char *data, size_t len)
{
	while (len) {
		if (f->left == 0) {
			size_t n =
				sizeof(f->head) - f->have < len ? sizeof(f->head) - f->have : len;
			memcpy(f->head + f->have, data, n);
			f->have += n;
			data += n;
			len -= n;
			if (f->have < sizeof(f->head))
				return 0;
			f->have = 0;
			f->left = (size_t)f->head[4] << 24 | (size_t)f->head[5] << 16 |
			          (size_t)f->head[6] << 8 | f->head[7];
			continue;
		}
		size_t n = f->left < len ? f->left : len;
		if (step->output && step->output(step->arg, f->head[0] == 2 ? 2 : 1, data, n) < 0)
			return -1;
		f->left -= n;
		data += n;
		len -= n;
	}
	return 0;
}

static int relay(struct run *run, int stream, struct err *err)
{
	struct frames frames = {0};
	char chunk[16384];

	for (;;) {
		if (engine_poll(run->engine, stream, -1, 500, err) < 0)
			return -1;
		ssize_t n = recv(stream, chunk, sizeof(chunk), MSG_DONTWAIT);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return 0; /* it was cut off: the exit code says the rest */
		/* An empty call asks whether to go on, while the program is silent. */
		if (n < 0 && run->step->output && run->step->output(run->step->arg, 1, "", 0) < 0)
			return err_set(err, ERR_CANCELED, "the build was cancelled");
		if (n > 0 && pass(run->step, &frames, chunk, (size_t)n) < 0)
			return err_set(err, ERR_CANCELED, "the build was cancelled");
	}
}

static int wait_exit(struct supervisor *watch, struct supervised *state, struct err *err)
{
	int rc;

	do
		rc = supervisor_wait(watch, state, err);
	while (rc == 0);
	return rc < 0 ? -1 : 0;
}

static int run_program(struct run *run, struct err *err)
{
	int dir = run->engine->supervisors_fd;
	auto_type(supervisor) s = supervisor_connect(dir, run->id, err);
	auto_type(supervisor) watch = s ? supervisor_connect(dir, run->id, err) : NULL;
	struct supervisor_attach what = {.out = true, .err = true};
	struct supervised state = {0};

	if (!watch || supervisor_watch(watch, err) < 0)
		return -1;
	auto_close int stream = supervisor_attach(s, &what, err);
	if (stream < 0 || supervisor_start(s, err) < 0)
		return -1;
	if (relay(run, stream, err) < 0) {
		(void)supervisor_kill(s, 9, true, NULL);
		return -1;
	}
	if (wait_exit(watch, &state, err) < 0 &&
	    supervisor_read_exit(dir, run->id, &state, err) < 0)
		return -1;
	return state.exit_code & 0xff;
}

static int choose_ids(struct run *run, struct err *err)
{
	struct engine *engine = run->engine;

	if (engine->userns_host || ids_why_not(engine->ids) ||
	    check_mode_is(run->step->network, "host"))
		return 0;
	if (ids_take(engine->ids, &run->first_id, err) < 0)
		return -1;
	return ids_own(run->step->upper_fd, run->first_id, err);
}

static int prepare(struct run *run, struct err *err)
{
	run->bundle_fd = fs_mkdir_all(run->engine->builds_fd, run->bundle, 0711, err);
	if (run->bundle_fd < 0 || choose_ids(run, err) < 0 || make_config(run, err) < 0 ||
	    bring_network(run, err) < 0 || write_spec(run, err) < 0)
		return -1;
	return launch(run, err);
}

static void clean_up(struct run *run)
{
	(void)supervise_end(run->engine, run->id, NULL);
	if (run->sandbox)
		(void)net_sandbox_remove(run->engine->net, run->id, NULL);
	(void)fs_remove_tree(run->engine->builds_fd, run->bundle, NULL);
	if (run->bundle_fd >= 0)
		close(run->bundle_fd);
	config_free(run->config);
}

int buildrun_run(void *ctx, const struct build_step *step, struct err *err)
{
	struct run run = {.engine = ctx, .step = step, .bundle_fd = -1};
	int code = -1;

	id_make_hex(run.id);
	snprintf(run.bundle, sizeof(run.bundle), "%s", run.id);
	if (prepare(&run, err) == 0)
		code = run_program(&run, err);
	clean_up(&run);
	/* What it wrote becomes a layer. */
	if (code == 0 && run.first_id && ids_settle(step->upper_fd, run.first_id, err) < 0)
		code = -1;
	if (run.first_id)
		ids_give(run.engine->ids, run.first_id);
	return code;
}

int buildrun_resolve_user(void *ctx, const char *user, int root_fd, uint32_t *uid, uint32_t *gid,
                          struct err *err)
{
	struct user who;

	(void)ctx;
	if (user_resolve_in_root(user, root_fd, NULL, &who, err) < 0)
		return -1;
	*uid = who.uid;
	*gid = who.gid;
	return 0;
}
