/* SPDX-License-Identifier: Apache-2.0 */
/* supervise - an end to a supervisor that nobody waits for. */

#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "engine/private.h"

#define END_MS  5000 /* a process in an uninterruptible wait may outlast SIGKILL for long */
#define LOOK_MS 5

const char *supervise_reason(const struct err *why, const char *id)
{
	const char *exec = strstr(why->msg, "exec: ");
	size_t n = strlen(id);

	if (exec)
		return exec;
	return strncmp(why->msg, id, n) == 0 && strncmp(why->msg + n, ": ", 2) == 0
	               ? why->msg + n + 2
	               : why->msg;
}

int supervise_end(struct engine *engine, const char *id, struct err *err)
{
	int64_t end = clock_mono_ms() + END_MS;
	int dir = engine->supervisors_fd;

	if (!fs_exists(dir, id))
		return 0;
	for (;;) {
		struct err why = ERR_INIT;
		if (supervisor_forget(dir, id, &why) == 0)
			return 0;
		auto_type(supervisor) s = supervisor_connect(dir, id, NULL);
		if (s)
			(void)supervisor_kill(s, 9, true, NULL);
		if (clock_mono_ms() >= end) {
			if (err)
				*err = why;
			return -1;
		}
		clock_sleep_ms(LOOK_MS);
	}
}
