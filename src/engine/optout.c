/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/optout.h"

#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "engine/check.h"

#define FIXED_MAX 12

char **optout_list(const struct api_host_config *h, uint32_t first_id, struct arena *arena,
                   struct err *err)
{
	struct check_security security;
	char **list = arena_array(arena, FIXED_MAX + h->cap_add.count + 1, sizeof(*list), err);
	size_t count = 0;

	if (!list || check_security_options(&h->security_opt, &security, err) < 0)
		return NULL;
	const struct {
		bool is;
		const char *words;
	} fixed[] = {
		{h->privileged, "privileged"},
		{!first_id, "userns=host"},
		{check_mode_is(h->network_mode, "host"), "network=host"},
		{check_mode_is(h->pid_mode, "host"), "pid=host"},
		{check_mode_is(h->ipc_mode, "host"), "ipc=host"},
		{check_mode_is(h->uts_mode, "host"), "uts=host"},
		{check_mode_is(h->cgroupns_mode, "host"), "cgroupns=host"},
		{!h->privileged && !security.no_new_privileges, "no-new-privileges=false"},
		{security.docker_caps, "caps=docker"},
		{!h->privileged && security.seccomp_unconfined, "seccomp=unconfined"},
		{!h->privileged && security.seccomp_json, "seccomp=profile"},
		{!h->privileged && security.systempaths_unconfined, "systempaths=unconfined"},
	};
	_Static_assert(ARRAY_LEN(fixed) == FIXED_MAX, "there is room for all");
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
		if (!fixed[i].is)
			continue;
		list[count] = arena_strdup(arena, fixed[i].words, err);
		if (!list[count++])
			return NULL;
	}
	for (size_t i = 0; i < h->cap_add.count; i++) {
		list[count] = arena_printf(arena, err, "cap-add=%s", h->cap_add.items[i]);
		if (!list[count++])
			return NULL;
	}
	list[count] = NULL;
	return list;
}
