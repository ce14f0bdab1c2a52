/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/identity.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/json.h"
#include "runtime/spec.h"

void identity_join_keyring(const char *id)
{
	char name[160];

	(void)snprintf(name, sizeof(name), "_ses.%s", id ? id : "");
	(void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name, 0, 0, 0);
}

int identity_set_rlimits(const struct oci_process *process, pid_t pid, struct err *err)
{
	const struct oci_rlimit *all = process->rlimits.items;

	for (size_t i = 0; i < process->rlimits.count; i++) {
		struct rlimit limit = {.rlim_cur = all[i].soft, .rlim_max = all[i].hard};
		if (prlimit(pid, (__rlimit_resource_t)all[i].resource, &limit, NULL) < 0)
			return err_sys(err, "process.rlimits[%zu]: set %s to %llu:%llu", i,
			               all[i].type, (unsigned long long)all[i].soft,
			               (unsigned long long)all[i].hard);
	}
	return 0;
}

static int drop_bounding(uint64_t keep, struct err *err)
{
	int count = 0; /* of the capabilities that this kernel has */

	for (; count < 64; count++) {
		if (keep & (1ULL << count) || prctl(PR_CAPBSET_DROP, count, 0, 0, 0) == 0)
			continue;
		if (errno == EINVAL)
			break;
		return err_sys(err, "drop capability %d from the bounding set", count);
	}
	/* A wanted one that the runtime itself lacks stays missing: less, never more. */
	for (int cap = 0; cap < count; cap++)
		if (!(keep & (1ULL << cap)) && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) != 0)
			return err_set(err, ERR_INTERNAL,
			               "capability %d is still in the bounding set", cap);
	return 0;
}

static int set_groups(const struct oci_user *user, struct err *err)
{
	auto_free gid_t *groups = calloc(user->group_count + 1, sizeof(*groups));
	if (!groups)
		return err_nomem(err);
	for (size_t i = 0; i < user->group_count; i++)
		groups[i] = user->groups[i];
	/* EPERM: of a user without newgidmap, who can neither take nor give up a group. */
	if (setgroups(user->group_count, groups) < 0 && (errno != EPERM || user->group_count > 0))
		return err_sys(err, "process.user.additionalGids");
	return 0;
}

int identity_set_user(const struct oci_process *process, struct err *err)
{
	const struct oci_user *user = &process->user;
	gid_t gid = (gid_t)user->gid;
	uid_t uid = (uid_t)user->uid;

	if (drop_bounding(process->capabilities.mask[SPEC_CAP_BOUNDING], err) < 0)
		return -1;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return err_sys(err, "keep capabilities");
	if (set_groups(user, err) < 0)
		return -1;
	if (setresgid(gid, gid, gid) < 0)
		return err_sys(err, "process.user.gid: %u", gid);
	if (setresuid(uid, uid, uid) < 0)
		return err_sys(err, "process.user.uid: %u", uid);
	umask(user->umask == SPEC_UNSET ? 022 : (mode_t)user->umask);
	return 0;
}

/* ---- capget and capset, by the kernel's own interface ---- */

struct cap_sets {
	uint64_t effective, permitted, inheritable;
};

static int get_sets(struct cap_sets *sets)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return -1;
	sets->effective = data[0].effective | (uint64_t)data[1].effective << 32;
	sets->permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
	sets->inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
	return 0;
}

static int set_sets(const struct cap_sets *sets)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{.effective = (uint32_t)sets->effective,
	         .permitted = (uint32_t)sets->permitted,
	         .inheritable = (uint32_t)sets->inheritable},
		{.effective = (uint32_t)(sets->effective >> 32),
	         .permitted = (uint32_t)(sets->permitted >> 32),
	         .inheritable = (uint32_t)(sets->inheritable >> 32)},
	};

	return (int)syscall(SYS_capset, &header, data);
}

int identity_raise(struct err *err)
{
	struct cap_sets sets;

	if (get_sets(&sets) < 0)
		return err_sys(err, "read capabilities");
	sets.effective = sets.permitted;
	if (set_sets(&sets) < 0)
		return err_sys(err, "raise capabilities");
	return 0;
}

static int set_ambient(uint64_t ambient, struct err *err)
{
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return err_sys(err, "clear ambient capabilities");
	for (int cap = 0; cap < 64; cap++)
		if ((ambient & (1ULL << cap)) &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			return err_sys(err, "ambient capability %d", cap);
	return 0;
}

static int verify_sets(const struct cap_sets *want, uint64_t ambient, struct err *err)
{
	struct cap_sets now;

	if (get_sets(&now) < 0)
		return 0; /* forbidden by the filter that is already in force */
	if (now.effective != want->effective || now.permitted != want->permitted ||
	    now.inheritable != want->inheritable)
		return err_set(err, ERR_INTERNAL, "capabilities did not take effect");
	/* The kernel keeps the ambient set within the inheritable one. */
	for (int cap = 0; cap < 64; cap++)
		if ((now.inheritable & ~ambient & (1ULL << cap)) &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) > 0)
			return err_set(err, ERR_INTERNAL, "ambient capability %d is set", cap);
	return 0;
}

int identity_set_capabilities(const struct oci_capabilities *caps, struct err *err)
{
	struct cap_sets have;

	/* What the runtime does not have cannot be given on. */
	if (get_sets(&have) < 0)
		have.permitted = UINT64_MAX;
	struct cap_sets want = {
		.effective = caps->mask[SPEC_CAP_EFFECTIVE] & have.permitted,
		.permitted = caps->mask[SPEC_CAP_PERMITTED] & have.permitted,
		.inheritable = caps->mask[SPEC_CAP_INHERITABLE] & have.permitted,
	};
	uint64_t ambient = caps->mask[SPEC_CAP_AMBIENT] & have.permitted;

	if (set_sets(&want) < 0)
		return err_sys(err, "process.capabilities");
	if (set_ambient(ambient, err) < 0)
		return -1;
	return verify_sets(&want, ambient, err);
}

int identity_enter_cwd(const char *cwd, struct err *err)
{
	char now[PATH_MAX];

	if (chdir(cwd) < 0)
		return err_sys(err, "process.cwd: chdir to %s", cwd);
	/* A directory outside the root, reached by a leaked descriptor, has no path from here. */
	if (!getcwd(now, sizeof(now)))
		return err_sys(err, "process.cwd: %s is not inside the root", cwd);
	if (now[0] != '/')
		return err_set(err, ERR_DENIED, "process.cwd: %s is not inside the root", cwd);
	return 0;
}
