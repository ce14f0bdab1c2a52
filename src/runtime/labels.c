/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/labels.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "runtime/spec.h"

#define ATTR "/proc/thread-self/attr/"

static bool has_profile(const struct oci_process *process)
{
	return !str_empty(process->apparmor_profile) &&
	       !str_eq(process->apparmor_profile, "unconfined");
}

static bool has_apparmor(void)
{
	auto_buf struct buf text = BUF_INIT(16);

	return fs_trusted_read("/sys/module/apparmor/parameters/enabled", 16, &text, NULL) == 0 &&
	       text.len > 0 && text.data[0] == 'Y';
}

static bool has_selinux(void)
{
	struct statfs fs;

	return statfs("/sys/fs/selinux", &fs) == 0 && (unsigned)fs.f_type == SELINUX_MAGIC;
}

int labels_check(const struct oci_spec *spec, const struct oci_process *process, struct err *err)
{
	bool context = !str_empty(process->selinux_label) || !str_empty(spec->linux_.mount_label);

	if (has_profile(process) && !has_apparmor())
		return err_set(err, ERR_UNSUPPORTED,
		               "process.apparmorProfile: AppArmor is not enabled on this machine");
	if (context && !has_selinux())
		return err_set(err, ERR_UNSUPPORTED, "%s: SELinux is not enabled on this machine",
		               str_empty(process->selinux_label) ? "linux.mountLabel"
		                                                 : "process.selinuxLabel");
	return 0;
}

/* attr: "exec". What else is mounted at /proc must not swallow a label. */
static int write_attr(const char *attr, const char *text, struct err *err)
{
	struct statfs fs;
	char path[64];

	snprintf(path, sizeof(path), ATTR "%s", attr);
	auto_close int fd = fs_trusted_open(path, O_WRONLY, 0, err);
	if (fd < 0)
		return -1;
	if (fstatfs(fd, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC)
		return err_set(err, ERR_DENIED, "%s is not procfs", path);
	return fs_write_all(fd, text, strlen(text), err);
}

static int apply_profile(const char *profile, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(4096);
	struct err why = ERR_INIT;

	buf_addf(&text, "exec %s", profile);
	if (buf_check(&text, err) < 0)
		return -1;
	/* Beside another security module the short name is that one's. */
	if (write_attr("apparmor/exec", buf_str(&text), &why) == 0)
		return 0;
	if (err_is(&why, ERR_NOT_FOUND) && write_attr("exec", buf_str(&text), err) == 0)
		return 0;
	if (err && !err_is(&why, ERR_NOT_FOUND))
		*err = why;
	return err_wrap(err, "process.apparmorProfile: %s", profile);
}

int labels_apply(const struct oci_process *process, struct err *err)
{
	if (has_profile(process) && apply_profile(process->apparmor_profile, err) < 0)
		return -1;
	if (str_empty(process->selinux_label))
		return 0;
	/* The session keyring that is made next is the container's as well. */
	if (write_attr("exec", process->selinux_label, err) < 0 ||
	    write_attr("keycreate", process->selinux_label, err) < 0)
		return err_wrap(err, "process.selinuxLabel");
	return 0;
}
