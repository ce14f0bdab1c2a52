/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/swarm.h"

#include "base/json.h"
#include "daemon/daemon.h"

const char *swarm_ping_state(struct daemon *d)
{
	(void)d;
	return "inactive";
}

struct json *swarm_info(struct daemon *d)
{
	struct json *doc = json_object();

	(void)d;
	json_set(doc, "NodeID", json_string(""));
	json_set(doc, "NodeAddr", json_string(""));
	json_set(doc, "LocalNodeState", json_string("inactive"));
	json_set(doc, "ControlAvailable", json_bool(false));
	json_set(doc, "Error", json_string(""));
	json_set(doc, "RemoteManagers", json_null());
	return doc;
}
