/* SPDX-License-Identifier: Apache-2.0 */
/* caps - which capabilities a container has. */

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "engine/spec.h"

/* By number, as the kernel has them. */
static const char *const all[] = {
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_DAC_READ_SEARCH",
	"CAP_FOWNER",
	"CAP_FSETID",
	"CAP_KILL",
	"CAP_SETGID",
	"CAP_SETUID",
	"CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST",
	"CAP_NET_ADMIN",
	"CAP_NET_RAW",
	"CAP_IPC_LOCK",
	"CAP_IPC_OWNER",
	"CAP_SYS_MODULE",
	"CAP_SYS_RAWIO",
	"CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE",
	"CAP_SYS_PACCT",
	"CAP_SYS_ADMIN",
	"CAP_SYS_BOOT",
	"CAP_SYS_NICE",
	"CAP_SYS_RESOURCE",
	"CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG",
	"CAP_MKNOD",
	"CAP_LEASE",
	"CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL",
	"CAP_SETFCAP",
	"CAP_MAC_OVERRIDE",
	"CAP_MAC_ADMIN",
	"CAP_SYSLOG",
	"CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ",
	"CAP_PERFMON",
	"CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
};
_Static_assert(ARRAY_LEN(all) < SPEC_CAPS_MAX, "room for all and NULL");

/* The ten that a container has, then the four that Docker adds. */
static const char *const usual[] = {
	"CAP_CHOWN",  "CAP_DAC_OVERRIDE", "CAP_FSETID",           "CAP_FOWNER",      "CAP_SETGID",
	"CAP_SETUID", "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",  "CAP_KILL",
	"CAP_MKNOD",  "CAP_NET_RAW",      "CAP_SETFCAP",          "CAP_AUDIT_WRITE",
};
#define USUAL_TEN 10
_Static_assert(ARRAY_LEN(usual) == USUAL_TEN + 4, "Docker's set has fourteen");

static bool same(const char *cap, const char *text)
{
	return strcasecmp(cap, text) == 0 || strcasecmp(cap + strlen("CAP_"), text) == 0;
}

static bool names(const struct json_strings *list, const char *cap)
{
	for (size_t i = 0; i < list->count; i++)
		if (same(cap, list->items[i]))
			return true;
	return false;
}

static bool names_all(const struct json_strings *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcasecmp(list->items[i], "ALL") == 0)
			return true;
	return false;
}

static int check_names(const struct json_strings *list, const char *what, struct err *err)
{
	for (size_t i = 0; i < list->count; i++) {
		size_t k = 0;
		while (k < ARRAY_LEN(all) && !same(all[k], list->items[i]))
			k++;
		if (k == ARRAY_LEN(all) && strcasecmp(list->items[i], "ALL") != 0)
			return err_set(err, ERR_INVALID, "invalid %s: unknown capability: \"%s\"",
			               what, list->items[i]);
	}
	return 0;
}

/* A capability that this kernel, or this daemon's own bounding set, does not have cannot be given. */
static bool is_usual(const char *cap, enum spec_caps set)
{
	for (size_t i = 0; i < (set == SPEC_CAPS_DOCKER ? ARRAY_LEN(usual) : USUAL_TEN); i++)
		if (str_eq(usual[i], cap))
			return true;
	return false;
}

int spec_capabilities(const struct json_strings *add, const struct json_strings *drop,
                      enum spec_caps set, const char *caps[SPEC_CAPS_MAX], struct err *err)
{
	bool add_all = names_all(add), drop_all = names_all(drop);
	bool privileged = set == SPEC_CAPS_ALL;
	size_t n = 0;

	if (check_names(add, "CapAdd", err) < 0 || check_names(drop, "CapDrop", err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		bool have = privileged || add_all || (is_usual(all[i], set) && !drop_all);
		if (names(add, all[i]))
			have = true;
		if (names(drop, all[i]) && !privileged)
			have = false;
		if (have)
			caps[n++] = all[i];
	}
	caps[n] = NULL;
	return 0;
}

uint64_t spec_capability_mask(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_LEN(all); i++)
		if (str_eq(all[i], name))
			return UINT64_C(1) << i;
	return 0;
}

const char *spec_capability_name(unsigned n)
{
	return n < ARRAY_LEN(all) ? all[n] : "CAP_UNKNOWN";
}
