/* SPDX-License-Identifier: Apache-2.0 */
/* spec, features: what the runtime offers. */
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/command.h"
#include "runtime/filter.h"
#include "runtime/mount_options.h"
#include "runtime/spec.h"
#include "runtime/spec_check.h"

static const char default_config[] =
	"{\"ociVersion\":\"1.2.0\",\"process\":{\"terminal\":true,\"user\":{\"uid\":0,\"gid\":0},"
	"\"args\":[\"sh\"],\"env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\","
	"\"TERM=xterm\"],\"cwd\":\"/\",\"capabilities\":{"
	"\"bounding\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"],"
	"\"effective\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"],"
	"\"permitted\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"]},"
	"\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"hard\":1024,\"soft\":1024}],"
	"\"noNewPrivileges\":true},\"root\":{\"path\":\"rootfs\",\"readonly\":true},"
	"\"hostname\":\"buoy\",\"mounts\":["
	"{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\","
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
	"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\","
	"\"options\":[\"nosuid\",\"strictatime\",\"mode=755\",\"size=65536k\"]},"
	"{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\","
	"\"options\":[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\"]},"
	"{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"shm\","
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size=65536k\"]},"
	"{\"destination\":\"/dev/mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\","
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
	"{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\","
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]},"
	"{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\","
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"relatime\",\"ro\"]}],"
	"\"linux\":{\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]},"
	"\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\"},{\"type\":\"ipc\"},"
	"{\"type\":\"uts\"},{\"type\":\"mount\"},{\"type\":\"cgroup\"}],"
	"\"maskedPaths\":[\"/proc/acpi\",\"/proc/asound\",\"/proc/interrupts\",\"/proc/kcore\","
	"\"/proc/keys\",\"/proc/latency_stats\",\"/proc/sched_debug\",\"/proc/scsi\","
	"\"/proc/timer_list\",\"/proc/timer_stats\",\"/sys/devices/virtual/powercap\","
	"\"/sys/firmware\"],"
	"\"readonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\","
	"\"/proc/sysrq-trigger\"]}}";

/* One id of the caller's, as root. */
static struct json *single_map(unsigned host_id)
{
	struct json *maps = json_array(), *map = json_object();

	json_set(map, "containerID", json_int(0));
	json_set(map, "hostID", json_int(host_id));
	json_set(map, "size", json_int(1));
	json_append(maps, map);
	return maps;
}

/* With a single id mapped there is no group 5 for terminals; cgroups are the host's. */
static struct json *rootless_mounts(const struct json *mounts)
{
	struct json *kept = json_array();

	for (size_t i = 0; i < json_count(mounts); i++) {
		struct json *m = json_at(mounts, i), *options = json_array();
		const struct json *all = json_get(m, "options");
		for (size_t k = 0; k < json_count(all); k++)
			if (!str_starts(json_str(json_at(all, k)), "gid="))
				json_append(options, json_ref(json_at(all, k)));
		json_set(m, "options", options);
		if (!str_eq(json_get_string(m, "type"), "cgroup"))
			json_append(kept, json_ref(m));
	}
	return kept;
}

static int make_rootless(struct json *config, struct err *err)
{
	struct json *lin = json_get(config, "linux"), *ns = json_object();

	json_set(ns, "type", json_string("user"));
	json_append(json_get(lin, "namespaces"), ns);
	json_set(lin, "uidMappings", single_map(geteuid()));
	json_set(lin, "gidMappings", single_map(getegid()));
	json_set(lin, "resources", json_object());
	return json_set(config, "mounts", rootless_mounts(json_get(config, "mounts"))) < 0
	               ? err_nomem(err)
	               : 0;
}

struct spec_options {
	const char *bundle, *file;
	bool rootless;
};

static const struct option_entry spec_options[] = {
	OPTION(struct spec_options, bundle, "bundle", 'b', OPTION_TEXT, "DIR",
               "where to write it (default: the current directory)"),
	OPTION(struct spec_options, file, "file", 'f', OPTION_TEXT, "FILE",
               "what to call it (default: config.json)"),
	OPTION(struct spec_options, rootless, "rootless", 0, OPTION_FLAG, NULL,
               "for a container of the calling user"),
	OPTIONS_END,
};

static int write_spec(const struct json *config, const struct spec_options *o, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(64 << 10);
	const char *file = o->file ? o->file : "config.json";
	auto_close int dir = fs_trusted_open_dir(o->bundle ? o->bundle : ".", false, err);

	if (dir < 0 || json_write_pretty(config, &text, err) < 0)
		return -1;
	if (fs_exists(dir, file))
		return err_set(err, ERR_CONFLICT, "%s exists already", file);
	buf_add(&text, "\n");
	if (buf_check(&text, err) < 0)
		return -1;
	return fs_write_atomic(dir, file, text.data, text.len, 0644, err);
}

static int spec(const struct command_globals *g, const void *options, char **words, struct err *err)
{
	const struct spec_options *o = options;
	auto_type(json) j = json_parse(default_config, strlen(default_config), err);

	(void)g;
	if (words[0])
		return err_set(err, ERR_INVALID, "takes no arguments, and '%s' is there", words[0]);
	if (!j || (o->rootless && make_rootless(j, err) < 0))
		return -1;
	return write_spec(j, o, err);
}

const struct command command_spec = {
	.name = "spec",
	.arguments = "[OPTIONS]",
	.summary = "write a default config.json",
	.options = spec_options,
	.options_size = sizeof(struct spec_options),
	.run = spec,
	.failed_exit = 1,
};

/* ---- features: features.md and features-linux.md ---- */

static struct json *names(const char *(*name_at)(size_t index))
{
	struct json *list = json_array();

	for (size_t i = 0; name_at(i); i++)
		json_append(list, json_string(name_at(i)));
	return list;
}

static const char *namespace_at(size_t index)
{
	return spec_namespace_names[index];
}

/* libcap says "cap_kill" */
static void upper_case(char *text)
{
	for (; *text; text++)
		if (*text >= 'a' && *text <= 'z')
			*text = (char)(*text & ~0x20);
}

static struct json *capabilities(void)
{
	struct json *list = json_array();

	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
		char *name = cap_to_name(cap);
		if (!name)
			break;
		upper_case(name);
		json_append(list, json_string(name));
		cap_free(name);
	}
	return list;
}

static struct json *flag(const char *key, bool value)
{
	struct json *j = json_object();

	json_set(j, key, json_bool(value));
	return j;
}

static struct json *working_flags(void)
{
	struct json *list = json_array();

	for (size_t i = 0; filter_flag_name(i); i++)
		if (filter_flag_works(i))
			json_append(list, json_string(filter_flag_name(i)));
	return list;
}

static struct json *linux_features(void)
{
	struct json *j = json_object(), *cgroup = json_object(), *filter = json_object();

	json_set(j, "namespaces", names(namespace_at));
	json_set(j, "capabilities", capabilities());
	json_set(cgroup, "v1", json_bool(true));
	json_set(cgroup, "v2", json_bool(true));
	json_set(cgroup, "systemd", json_bool(true));
	json_set(cgroup, "systemdUser", json_bool(false));
	json_set(cgroup, "rdma", json_bool(true));
	json_set(j, "cgroup", cgroup);
	json_set(filter, "enabled", json_bool(true));
	json_set(filter, "actions", names(filter_action_name));
	json_set(filter, "operators", names(filter_operator_name));
	json_set(filter, "archs", names(filter_arch_name));
	json_set(filter, "knownFlags", names(filter_flag_name));
	json_set(filter, "supportedFlags", working_flags());
	json_set(j, "seccomp", filter);
	json_set(j, "apparmor", flag("enabled", true));
	json_set(j, "selinux", flag("enabled", true));
	struct json *rdt = flag("enabled", true);
	json_set(rdt, "schemata", json_bool(true));
	json_set(rdt, "monitoring", json_bool(true));
	json_set(j, "intelRdt", rdt);
	struct json *policy = json_object();
	json_set(policy, "modes", names(spec_memory_mode_name));
	json_set(policy, "flags", names(spec_memory_flag_name));
	json_set(j, "memoryPolicy", policy);
	json_set(j, "netDevices", flag("enabled", true));
	struct json *extensions = json_object();
	json_set(extensions, "idmap", flag("enabled", true));
	json_set(j, "mountExtensions", extensions);
	return j;
}

static struct json *hook_names(void)
{
	struct json *list = json_array();

	for (int i = 0; i < SPEC_HOOK_POINTS; i++)
		json_append(list, json_string(spec_hook_names[i]));
	return list;
}

/* What features.md has no field for. It is about this program: whether the machine has a CRIU that works, a checkpoint
 * says. */
static struct json *annotations(void)
{
	struct json *j = json_object();

	json_set(j, "org.buoy.checkpoint.enabled", json_string("true"));
	return j;
}

static int features(const struct command_globals *g, const void *options, char **words,
                    struct err *err)
{
	auto_type(json) j = json_object();

	(void)g, (void)options;
	if (words[0])
		return err_set(err, ERR_INVALID, "takes no arguments, and '%s' is there", words[0]);
	json_set(j, "ociVersionMin", json_string("1.0.0"));
	json_set(j, "ociVersionMax", json_string("1.3.0"));
	json_set(j, "hooks", hook_names());
	json_set(j, "mountOptions", names(mount_options_word));
	json_set(j, "linux", linux_features());
	json_set(j, "annotations", annotations());
	json_set(j, "potentiallyUnsafeConfigAnnotations", json_array());
	return command_print_json(j, err);
}

const struct command command_features = {
	.name = "features",
	.arguments = "",
	.summary = "print what this runtime can do, as JSON",
	.options = command_no_options,
	.run = features,
	.failed_exit = 1,
};
