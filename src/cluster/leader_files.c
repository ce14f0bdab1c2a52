/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets and configs on their way to a node: those of one task, to the node that has it. */

#include <string.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/leader_state.h"
#include "cluster/secret.h"

static int add_file(struct leader *leader, struct json *list, enum store_kind kind,
                    const struct service_file *file, struct err *err)
{
	const struct secret *s = secret_find(leader->control, kind, file->id, err);
	struct buf data = BUF_INIT(CONFIG_BYTES_MAX), text = BUF_INIT(VAULT_TEXT_MAX);
	char label[SECRET_LABEL_MAX];

	if (!s || vault_open_text(&leader->vault, secret_label(kind, s->spec.name, label),
	                          s->sealed, &data, err) < 0)
		return -1;
	base64_encode(data.data, data.len, &text);
	vault_wipe_buf(&data);
	struct json *one = json_object();
	json_set(one, "ID", json_string(s->id));
	json_set(one, "Templated", json_bool(json_get_string(s->spec.templating, "Name") != NULL));
	int rc = json_set(one, "Data", json_string(buf_str(&text)));
	vault_wipe_buf(&text);
	return json_append(list, one) < 0 || rc < 0 ? err_nomem(err) : 0;
}

static int add_files(struct leader *leader, struct json *list, enum store_kind kind,
                     const struct json_array *files, struct err *err)
{
	const struct service_file *items = files->items;

	for (size_t i = 0; i < files->count; i++)
		if (add_file(leader, list, kind, &items[i], err) < 0)
			return -1;
	return 0;
}

/* With the lock held. A node that asks for another's task learns no more than that it is not its own. */
static struct json *collect(struct leader *leader, const char *peer, const char *task_id,
                            struct err *err)
{
	const struct task *task = control_task(leader->control, task_id);
	auto_type(json) list = json_array();

	if (!task || !str_eq(task->node_id, peer) || !control_node(leader->control, peer)) {
		err_set(err, ERR_DENIED, "node %s has no task %.32s", peer, task_id);
		return NULL;
	}
	const struct service_container *container = &task->spec.container;
	if (add_files(leader, list, STORE_SECRET, &container->secrets, err) < 0 ||
	    add_files(leader, list, STORE_CONFIG, &container->configs, err) < 0)
		return NULL;
	return move_ptr(list);
}

int leader_give_files(void *ctx, struct http_request *req, struct err *err)
{
	struct leader *leader = ctx;
	const char *peer = leader_peer(req, err);

	if (!peer || leader_lock(leader, err) < 0)
		return -1;
	struct json *list = collect(leader, peer, http_arg(req, 0), err);
	leader_exit(leader);
	if (!list)
		return -1;
	struct json *reply = json_object();
	json_set(reply, "Files", list);
	return http_reply_json(req, 200, reply);
}
