/* SPDX-License-Identifier: Apache-2.0 */
/* Plain containers on the cluster's networks: passed on to the agent, as long as there is one. */

#include "base/err.h"
#include "cluster/member_state.h"

int member_attach(struct member *m, const struct agent_attach *want, struct arena *arena,
                  struct agent_attached *out, struct err *err)
{
	pthread_rwlock_rdlock(&m->lock);
	int rc = m->agent ? agent_attach(m->agent, want, arena, out, err)
	                  : err_set(err, ERR_UNAVAILABLE,
	                            "This node is not part of a swarm: network %.128s cannot be "
	                            "had",
	                            want->network);
	pthread_rwlock_unlock(&m->lock);
	return rc;
}

void member_attach_done(struct member *m, const char *id)
{
	pthread_rwlock_rdlock(&m->lock);
	if (m->agent)
		agent_attach_done(m->agent, id);
	pthread_rwlock_unlock(&m->lock);
}

void member_detached(struct member *m)
{
	pthread_rwlock_rdlock(&m->lock);
	if (m->agent)
		agent_detached(m->agent);
	pthread_rwlock_unlock(&m->lock);
}
