/* SPDX-License-Identifier: Apache-2.0 */
/* spec, features: what the runtime offers. */
#include <getopt.h>
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

int command_spec(const struct command_globals *g, int argc, char **argv, struct err *err)
{
	static const struct option options[] = {{"bundle", required_argument, NULL, 'b'}, {0}};
	auto_buf struct buf text = BUF_INIT(64 << 10);
	const char *bundle = ".";
	int c;

	(void)g;
	while ((c = getopt_long(argc, argv, "b:", options, NULL)) != -1) {
		if (c != 'b')
			return err_set(err, ERR_INVALID, "spec: unknown option");
		bundle = optarg;
	}
	auto_close int dir = fs_trusted_open_dir(bundle, false, err);
	auto_type(json) j = json_parse(default_config, strlen(default_config), err);
	if (dir < 0 || !j || json_write_pretty(j, &text, err) < 0)
		return -1;
	if (fs_exists(dir, "config.json"))
		return err_set(err, ERR_CONFLICT, "config.json exists already");
	buf_add(&text, "\n");
	if (buf_check(&text, err) < 0)
		return -1;
	return fs_write_atomic(dir, "config.json", text.data, text.len, 0644, err);
}

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
	json_set(cgroup, "systemd", json_bool(false));
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

int command_features(const struct command_globals *g, int argc, char **argv, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(256 << 10);
	auto_type(json) j = json_object();

	(void)g, (void)argv;
	if (argc != 1)
		return err_set(err, ERR_INVALID, "features: takes no arguments");
	json_set(j, "ociVersionMin", json_string("1.0.0"));
	json_set(j, "ociVersionMax", json_string("1.3.0"));
	json_set(j, "hooks", hook_names());
	json_set(j, "mountOptions", names(mount_options_word));
	json_set(j, "linux", linux_features());
	if (json_write_pretty(j, &text, err) < 0 || buf_check(&text, err) < 0)
		return -1;
	puts(buf_str(&text));
	return 0;
}
