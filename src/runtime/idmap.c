/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "runtime/spec.h"

static int write_map(pid_t pid, const char *file, const struct json_array *maps, struct err *err)
{
	const struct oci_idmap *all = maps->items;
	auto_buf struct buf text = BUF_INIT(16 << 10);
	char path[64];

	for (size_t i = 0; i < maps->count; i++)
		buf_addf(&text, "%lld %lld %lld\n", (long long)all[i].container_id,
		         (long long)all[i].host_id, (long long)all[i].size);
	if (buf_check(&text, err) < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	auto_close int fd = fs_trusted_open(path, O_WRONLY, 0, err);
	if (fd < 0)
		return -1;
	if (write(fd, text.data, text.len) != (ssize_t)text.len)
		return err_sys(err, "uidMappings, gidMappings: write %s", file);
	return 0;
}

int idmap_write(pid_t pid, const struct json_array *uids, const struct json_array *gids,
                struct err *err)
{
	if (write_map(pid, "uid_map", uids, err) < 0)
		return -1;
	return write_map(pid, "gid_map", gids, err);
}

static _Noreturn void wait_for_the_end(void)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	for (;;)
		pause();
}

int idmap_open(const struct json_array *uids, const struct json_array *gids, struct err *err)
{
	struct clone_args args = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
	char path[64];
	int fd = -1;

	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		wait_for_the_end();
	if (pid < 0)
		return err_sys(err, "user namespace for an id-mapped mount");
	if (idmap_write(pid, uids, gids, err) == 0) {
		snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
		fd = fs_trusted_open(path, O_RDONLY, 0, err);
	}
	(void)kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return fd;
}
