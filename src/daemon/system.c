/* SPDX-License-Identifier: Apache-2.0 */
/* The machine as a whole: /_ping, /version, /info, /auth, /system/df, /plugins. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "daemon/daemon.h"
#include "daemon/reply.h"
#include "daemon/swarm.h"
#include "daemon/view.h"
#include "engine/container.h"
#include "engine/engine.h"
#include "engine/volume.h"
#include "image/image.h"

#define RELEASE_MAX (64u << 10) /* bytes of /etc/os-release */
#define LIST_ARENA  (64u << 20)

static int ping(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;

	if (http_reply_header(req, "Cache-Control", "no-cache, no-store, must-revalidate", err) <
	            0 ||
	    http_reply_header(req, "Pragma", "no-cache", err) < 0 ||
	    http_reply_header(req, "Builder-Version", "1", err) < 0 ||
	    http_reply_header(req, "Swarm", swarm_ping_state(d), err) < 0)
		return -1;
	return http_reply(req, 200, "text/plain; charset=utf-8", "OK", 2);
}

static void version_text(unsigned version, char text[8])
{
	snprintf(text, 8, "%u.%u", version / 100, version % 100);
}

static int version(void *ctx, struct http_request *req, struct err *err)
{
	char newest[8], oldest[8];
	struct utsname host;

	(void)ctx;
	version_text(DAEMON_API_VERSION, newest);
	version_text(DAEMON_API_VERSION_MIN, oldest);
	if (uname(&host) < 0)
		return err_sys(err, "uname");

	struct json *details = json_object();
	json_set(details, "ApiVersion", json_string(newest));
	json_set(details, "MinAPIVersion", json_string(oldest));
	json_set(details, "Arch", json_string(oci_architecture()));
	json_set(details, "Os", json_string("linux"));
	json_set(details, "KernelVersion", json_string(host.release));
	json_set(details, "Experimental", json_string("true"));

	struct json *engine = json_object();
	json_set(engine, "Name", json_string("Engine"));
	json_set(engine, "Version", json_string(BUOY_VERSION));
	json_set(engine, "Details", details);
	struct json *components = json_array();
	json_append(components, engine);

	struct json *platform = json_object();
	json_set(platform, "Name", json_string("buoy"));

	struct json *doc = json_object();
	json_set(doc, "Platform", platform);
	json_set(doc, "Components", components);
	json_set(doc, "Version", json_string(BUOY_VERSION));
	json_set(doc, "ApiVersion", json_string(newest));
	json_set(doc, "MinAPIVersion", json_string(oldest));
	json_set(doc, "GitCommit", json_string(""));
	json_set(doc, "GoVersion", json_string(""));
	json_set(doc, "Os", json_string("linux"));
	json_set(doc, "Arch", json_string(oci_architecture()));
	json_set(doc, "KernelVersion", json_string(host.release));
	json_set(doc, "BuildTime", json_string(""));
	return http_reply_json(req, 200, doc);
}

/* ---- info ---- */

/* PRETTY_NAME of os-release(5), without its quotes; "Linux" where there is none. */
static void operating_system(char *text, size_t size)
{
	auto_buf struct buf file = BUF_INIT(RELEASE_MAX);

	snprintf(text, size, "Linux");
	if (fs_trusted_read("/etc/os-release", RELEASE_MAX, &file, NULL) < 0)
		return;
	const char *line = strstr(buf_str(&file), "PRETTY_NAME=");
	if (!line)
		return;
	line += strlen("PRETTY_NAME=");
	line += *line == '"';
	snprintf(text, size, "%.*s", (int)strcspn(line, "\"\n"), line);
}

static struct json *words(const char *const *items)
{
	struct json *list = json_array();

	for (; *items; items++)
		json_append(list, json_string(*items));
	return list;
}

static struct json *plugins(void)
{
	struct json *p = json_object();

	json_set(p, "Volume", words((const char *const[]){"local", NULL}));
	json_set(p, "Network",
	         words((const char *const[]){"bridge", "host", "null", "overlay", NULL}));
	json_set(p, "Authorization", json_null());
	json_set(p, "Log", words((const char *const[]){"json-file", "local", "none", NULL}));
	return p;
}

static void add_abilities(struct json *doc)
{
	static const char *const yes[] = {"MemoryLimit",     "SwapLimit",        "CpuCfsPeriod",
	                                  "CpuCfsQuota",     "CPUShares",        "CPUSet",
	                                  "PidsLimit",       "IPv4Forwarding",   "OomKillDisable",
	                                  "KernelMemoryTCP", "ExperimentalBuild"};
	static const char *const no[] = {"Debug", "LiveRestoreDisabled", "BridgeNfIptables",
	                                 "BridgeNfIp6tables"};

	for (size_t i = 0; i < ARRAY_LEN(yes); i++)
		json_set(doc, yes[i], json_bool(true));
	for (size_t i = 0; i < ARRAY_LEN(no); i++)
		json_set(doc, no[i], json_bool(false));
	json_set(doc, "LiveRestoreEnabled", json_bool(true));
}

static struct json *runtimes(void)
{
	struct json *runtime = json_object();
	struct json *all = json_object();

	json_set(runtime, "path", json_string("buoy-runtime"));
	json_set(all, "buoy-runtime", runtime);
	return all;
}

static struct json *driver_status(void)
{
	struct json *pair = words((const char *const[]){"Layers", "unpacked directories", NULL});
	struct json *all = json_array();

	json_append(all, pair);
	return all;
}

/* As dockerd: subnets by themselves, hosts as indexes that are not secure; of mirrors those of docker.io. */
static struct json *registry_config(const struct daemon *d)
{
	struct json *config = json_object(), *indexes = json_object(), *mirrors = json_array();
	struct json *subnets = json_array();

	json_append(subnets, json_string("127.0.0.0/8"));
	for (const char *const *m = d->registry_mirrors; m && *m; m++)
		if (str_starts(*m, "http"))
			json_append(mirrors, json_string(*m));
	for (const char *const *h = d->insecure_registries; h && *h; h++) {
		if (strchr(*h, '/')) {
			json_append(subnets, json_string(*h));
			continue;
		}
		struct json *index = json_object();
		json_set(index, "Name", json_string(*h));
		json_set(index, "Mirrors", json_array());
		json_set(index, "Secure", json_bool(false));
		json_set(index, "Official", json_bool(false));
		json_set(indexes, *h, index);
	}
	json_set(config, "InsecureRegistryCIDRs", subnets);
	json_set(config, "IndexConfigs", indexes);
	json_set(config, "Mirrors", mirrors);
	return config;
}

static void add_machine(struct json *doc, struct daemon *d)
{
	char os[128], now[CLOCK_TEXT_MAX];
	struct utsname host;
	struct sysinfo memory;

	operating_system(os, sizeof(os));
	if (uname(&host) == 0) {
		json_set(doc, "KernelVersion", json_string(host.release));
		json_set(doc, "Architecture", json_string(host.machine));
	}
	if (sysinfo(&memory) == 0)
		json_set(doc, "MemTotal", json_int((int64_t)memory.totalram * memory.mem_unit));
	json_set(doc, "NCPU", json_int(sysconf(_SC_NPROCESSORS_ONLN)));
	json_set(doc, "OperatingSystem", json_string(os));
	json_set(doc, "OSVersion", json_string(""));
	json_set(doc, "OSType", json_string("linux"));
	json_set(doc, "Name", json_string(d->name));
	json_set(doc, "DockerRootDir", json_string(d->root));
	json_set(doc, "SystemTime", json_string(clock_format(clock_wall_ns(), now)));
}

static int64_t count_images(struct daemon *d)
{
	struct image_usage usage = {0};

	(void)image_disk_usage(engine_images(d->engine), &usage, NULL);
	return usage.images;
}

static struct json *warnings(const struct engine_info *info)
{
	char text[400];

	if (!info->userns_why_not)
		return json_null();
	snprintf(text, sizeof(text), "WARNING: containers have no user namespaces of their own: %s",
	         info->userns_why_not);
	return words((const char *const[]){text, NULL});
}

static int info(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	struct engine_info counts = {0};
	struct json *doc = json_object();

	(void)err;
	engine_info(d->engine, &counts);
	json_set(doc, "ID", json_string(engine_id(d->engine)));
	json_set(doc, "Containers", json_int(counts.containers));
	json_set(doc, "ContainersRunning", json_int(counts.running));
	json_set(doc, "ContainersPaused", json_int(counts.paused));
	json_set(doc, "ContainersStopped", json_int(counts.stopped));
	json_set(doc, "Images", json_int(count_images(d)));
	json_set(doc, "Driver", json_string("overlay2"));
	json_set(doc, "DriverStatus", driver_status());
	json_set(doc, "Plugins", plugins());
	add_abilities(doc);
	json_set(doc, "LoggingDriver", json_string("json-file"));
	json_set(doc, "CgroupDriver", json_string("cgroupfs"));
	json_set(doc, "CgroupVersion",
	         json_string(access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0 ? "2" : "1"));
	json_set(doc, "NEventsListener", json_int(0));
	add_machine(doc, d);
	json_set(doc, "IndexServerAddress", json_string("https://index.docker.io/v1/"));
	json_set(doc, "RegistryConfig", registry_config(d));
	json_set(doc, "GenericResources", json_null());
	json_set(doc, "HttpProxy", json_string(""));
	json_set(doc, "HttpsProxy", json_string(""));
	json_set(doc, "NoProxy", json_string(""));
	json_set(doc, "Labels", json_array());
	json_set(doc, "ServerVersion", json_string(BUOY_VERSION));
	json_set(doc, "Runtimes", runtimes());
	json_set(doc, "DefaultRuntime", json_string("buoy-runtime"));
	json_set(doc, "Swarm", swarm_info(d));
	json_set(doc, "Isolation", json_string(""));
	json_set(doc, "InitBinary", json_string(""));
	json_set(doc, "SecurityOptions",
	         words((const char *const[]){"name=seccomp,profile=builtin",
	                                     "name=no-new-privileges",
	                                     counts.user_namespaces ? "name=userns" : NULL, NULL}));
	json_set(doc, "Warnings", warnings(&counts));
	return http_reply_json(req, 200, doc);
}

/* ---- the rest ---- */

static int auth(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_type(json) body = http_body_json(req, err);

	if (!body)
		return -1;
	const char *server = json_get_string(body, "serveraddress");
	struct image_auth credentials = {
		.username = json_get_string(body, "username"),
		.password = json_get_string(body, "password"),
		.identity_token = json_get_string(body, "identitytoken"),
		.server = server,
	};
	struct err why = ERR_INIT;
	if (image_login(engine_images(d->engine), str_empty(server) ? "docker.io" : server,
	                &credentials, &why) < 0)
		return http_reply_error(req, why.kind == ERR_DENIED ? 401 : 500, why.msg);

	struct json *doc = json_object();
	json_set(doc, "IdentityToken", json_string(""));
	json_set(doc, "Status", json_string("Login Succeeded"));
	return http_reply_json(req, 200, doc);
}

static int64_t containers_of(const struct container_view *views, size_t count, const char *image)
{
	int64_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += str_eq(views[i].image_id, image);
	return n;
}

static struct json *df_images(struct daemon *d, struct arena *arena, struct err *err)
{
	const struct container_list_options all = {.all = true};
	struct image_store *store = engine_images(d->engine);
	struct container_view *views = NULL;
	size_t count = 0, used = 0;

	if (container_list(d->engine, &all, arena, &views, &used, err) < 0)
		return NULL;
	struct image **images = image_list(store, false, &count, err);
	struct json *list = images ? json_array() : NULL;
	for (size_t i = 0; images && i < count; i++) {
		const struct image *image = images[i];
		struct json *one = json_object();
		json_set(one, "Id", json_string(image->id));
		json_set(one, "ParentId", json_string(image->parent));
		json_set(one, "RepoTags", reply_list(image->names));
		json_set(one, "RepoDigests", reply_list(image->digests));
		json_set(one, "Created", json_int(image->created_ns / 1000000000));
		json_set(one, "Size", json_int(image->size));
		json_set(one, "SharedSize", json_int(image_shared_size(store, image->id, NULL)));
		json_set(one, "VirtualSize", json_int(image->size));
		json_set(one, "Labels", reply_strmap(&image->config->config.labels));
		json_set(one, "Containers", json_int(containers_of(views, used, image->id)));
		json_append(list, one);
		image_free(images[i]);
	}
	free(images);
	return list;
}

static struct json *df_containers(struct daemon *d, struct arena *arena, struct err *err)
{
	const struct container_list_options all = {.all = true, .size = true};
	struct container_view *views = NULL;
	size_t count = 0;

	if (container_list(d->engine, &all, arena, &views, &count, err) < 0)
		return NULL;
	struct json *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_append(list, view_summary(&views[i]));
	return list;
}

static struct json *df_volumes(struct daemon *d, struct arena *arena, struct err *err)
{
	struct volume *volumes = NULL;
	size_t count = 0;

	if (volume_list(d->engine, true, arena, &volumes, &count, err) < 0)
		return NULL;
	struct json *list = json_array();
	for (size_t i = 0; i < count; i++) {
		struct json *usage = json_object();
		struct json *one = json_object();
		json_set(usage, "Size", json_int(volumes[i].size));
		json_set(usage, "RefCount", json_int(volumes[i].ref_count));
		json_set(one, "Name", json_string(volumes[i].name));
		json_set(one, "Driver", json_string("local"));
		json_set(one, "Mountpoint", json_string(volumes[i].mountpoint));
		json_set(one, "Scope", json_string("local"));
		json_set(one, "Labels", json_null());
		json_set(one, "Options", json_null());
		json_set(one, "UsageData", usage);
		json_append(list, one);
	}
	return list;
}

/* What "type" asks for, as often as it is given; all without it. */
static int df_wanted(struct http_request *req, bool wanted[4], struct err *err)
{
	static const char *const types[] = {"container", "image", "volume", "build-cache"};
	size_t count = http_query_count(req, "type");

	for (size_t t = 0; t < ARRAY_LEN(types); t++)
		wanted[t] = count == 0;
	for (size_t i = 0; i < count; i++) {
		size_t t = 0;
		while (t < ARRAY_LEN(types) && !str_eq(types[t], http_query_at(req, "type", i)))
			t++;
		if (t == ARRAY_LEN(types))
			return err_set(err, ERR_INVALID,
			               "unknown object type: %.40s; there are container, image, "
			               "volume and build-cache",
			               http_query_at(req, "type", i));
		wanted[t] = true;
	}
	return 0;
}

static int disk_usage(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(LIST_ARENA);
	auto_type(json) containers = NULL;
	auto_type(json) images = NULL;
	auto_type(json) volumes = NULL;
	struct image_usage usage = {0};
	bool wanted[4];

	if (df_wanted(req, wanted, err) < 0 ||
	    (wanted[1] && image_disk_usage(engine_images(d->engine), &usage, err) < 0))
		return -1;
	containers = wanted[0] ? df_containers(d, &arena, err) : json_null();
	images = wanted[1] ? df_images(d, &arena, err) : json_null();
	volumes = wanted[2] ? df_volumes(d, &arena, err) : json_null();
	if (!containers || !images || !volumes)
		return -1;
	struct json *doc = json_object();
	json_set(doc, "LayersSize", json_int(usage.layer_bytes));
	json_set(doc, "Images", move_ptr(images));
	json_set(doc, "Containers", move_ptr(containers));
	json_set(doc, "Volumes", move_ptr(volumes));
	json_set(doc, "BuildCache", wanted[3] ? json_array() : json_null());
	json_set(doc, "BuilderSize", json_int(0));
	return http_reply_json(req, 200, doc);
}

static int plugin_list(void *ctx, struct http_request *req, struct err *err)
{
	(void)ctx, (void)err;
	return http_reply_json(req, 200, json_array());
}

static int plugin_find(void *ctx, struct http_request *req, struct err *err)
{
	(void)ctx;
	return err_set(err, ERR_NOT_FOUND, "plugin \"%s\" not found", http_arg(req, 0));
}

const struct http_route system_routes[] = {
	{"GET", "/_ping", ping, false},
	{"GET", "/version", version, false},
	{"GET", "/info", info, false},
	{"POST", "/auth", auth, false},
	{"GET", "/system/df", disk_usage, false},
	{"GET", "/plugins", plugin_list, false},
	{"GET", "/plugins/{*}/json", plugin_find, false},
	{NULL, NULL, NULL, false},
};
