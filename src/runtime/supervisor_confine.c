/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_confine - what a supervisor gives up once its process is born. */
#include <fcntl.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/landlock.h"
#include "runtime/cgroup.h"
#include "runtime/supervisor.h"

static int allow(const struct supervision *s, int rules_fd, struct err *err)
{
	const uint64_t own = LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_MAKE;
	auto_close int proc = fs_trusted_open("/proc", O_PATH | O_DIRECTORY, 0, err);

	/* Whether processes live, and since when. */
	if (proc < 0 || landlock_allow(rules_fd, proc, LANDLOCK_READ, err) < 0 ||
	    landlock_allow(rules_fd, s->dir_fd, own, err) < 0)
		return -1;
	if (s->has_log && landlock_allow(rules_fd, s->log.dir_fd, own, err) < 0)
		return -1;
	return s->spawned.cgroup ? cgroup_allow(s->spawned.cgroup, rules_fd, err) : 0;
}

int supervisor_confine(const struct supervision *s, int *rules_fd, struct err *err)
{
	if (landlock_abi() == 0)
		return 0; /* the engine has said so at its start */
	auto_close int fd = landlock_open(0, err);
	if (fd < 0 || allow(s, fd, err) < 0)
		return err_wrap(err, "confine the supervisor");
	*rules_fd = move_fd(&fd);
	return 0;
}
