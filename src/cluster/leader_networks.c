/* SPDX-License-Identifier: Apache-2.0 */
/* Plain containers on the cluster's networks: their nodes ask for an address, and say when they are gone. */

#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/leader_state.h"
#include "cluster/network.h"
#include "cluster/proto.h"

#define ARENA_BYTES (8u << 20)

static int read_names(const struct json *doc, const char *field, struct arena *arena,
                      struct json_strings *out, struct err *err)
{
	const struct json *list = json_get(doc, field);

	*out = (struct json_strings){.present = true};
	out->items = arena_array(arena, json_count(list) + 1, sizeof(char *), err);
	if (!out->items)
		return -1;
	for (size_t i = 0; i < json_count(list); i++) {
		const char *name = json_str(json_at(list, i));

		if (!str_empty(name))
			out->items[out->count++] = (char *)name;
	}
	return 0;
}

static int attach(struct leader *leader, const struct network_want *want, struct arena *arena,
                  struct network *n, char **address, struct err *err)
{
	struct control *c = leader_enter(leader, err);
	if (!c)
		return -1;
	int rc = network_attach(c, leader_now(), want, arena, n, address, err);

	leader_exit(leader);
	return rc;
}

int leader_attach(void *ctx, struct http_request *req, struct err *err)
{
	struct leader *leader = ctx;
	auto_arena struct arena arena = ARENA_INIT(ARENA_BYTES);
	auto_type(json) doc = http_body_json(req, err);
	const char *peer = leader_peer(req, err);
	struct network n = {0};
	char *address = NULL;

	if (!doc || !peer)
		return -1;
	struct network_want want = {
		.network = json_get_string(doc, "Network"),
		.node_id = peer,
		.id = json_get_string(doc, "ID"),
		.container_id = json_get_string(doc, "ContainerID"),
		.address = json_get_string(doc, "Address"),
	};
	if (str_empty(want.network))
		return err_set(err, ERR_INVALID, "Network: name the network");
	if (read_names(doc, "Names", &arena, &want.names, err) < 0 ||
	    attach(leader, &want, &arena, &n, &address, err) < 0)
		return -1;
	struct json *network = json_encode(&network_table, &n, err);
	if (!network)
		return -1;
	struct json *reply = json_object();
	json_set(reply, "Network", network);
	json_set(reply, "Address", json_string(address));
	return http_reply_json(req, 200, reply);
}

int leader_detach(void *ctx, struct http_request *req, struct err *err)
{
	struct leader *leader = ctx;
	auto_arena struct arena arena = ARENA_INIT(ARENA_BYTES);
	auto_type(json) doc = http_body_json(req, err);
	const char *peer = leader_peer(req, err);
	struct json_strings ids;

	if (!doc || !peer || read_names(doc, "IDs", &arena, &ids, err) < 0)
		return -1;
	struct control *c = leader_enter(leader, err);
	if (!c)
		return -1;
	int rc = network_detach(c, leader_now(), peer, &ids, err);
	leader_exit(leader);
	return rc < 0 ? -1 : http_reply_json(req, 200, json_object());
}
