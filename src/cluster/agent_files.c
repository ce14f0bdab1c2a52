/* SPDX-License-Identifier: Apache-2.0 */
/* A task's secrets and configs: asked of the leader when its container is made, kept nowhere. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/agent_state.h"
#include "cluster/vault.h"
#include "http/client.h"

#define FETCH_MS    10000
#define SECRETS_DIR "/run/secrets/"
#define CONFIGS_DIR "/"

static uint32_t number(const char *text)
{
	return text ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

static const struct json *find_data(const struct json *list, const char *id)
{
	for (size_t i = 0; i < json_count(list); i++)
		if (str_eq(json_get_string(json_at(list, i), "ID"), id))
			return json_at(list, i);
	return NULL;
}

static int open_one(const struct json *given, const struct service_file *from, const char *dir,
                    struct arena *arena, struct agent_file *to, struct err *err)
{
	struct buf data = BUF_INIT(CONFIG_BYTES_MAX);
	const char *text = json_get_string(given, "Data");

	if (!text || base64_decode(text, strlen(text), &data, err) < 0)
		return err_set(err, ERR_UNAVAILABLE, "%s did not come with the others", from->name);
	*to = (struct agent_file){.uid = number(from->file.uid),
	                          .gid = number(from->file.gid),
	                          .mode = (uint32_t)from->file.mode,
	                          .templated = json_get_bool(given, "Templated", false),
	                          .len = data.len};
	to->data = arena_memdup(arena, buf_str(&data), data.len + 1, err);
	to->target = arena_printf(arena, err, "%s%s", *from->file.name == '/' ? "" : dir,
	                          from->file.name);
	vault_wipe_buf(&data);
	return to->data && to->target ? 0 : -1;
}

static int open_all(const struct json *list, const struct json_array *from, const char *dir,
                    struct arena *arena, struct agent_work *work, struct err *err)
{
	const struct service_file *items = from->items;

	for (size_t i = 0; i < from->count; i++) {
		struct agent_file *to = (struct agent_file *)&work->files[work->file_count];

		if (open_one(find_data(list, items[i].id), &items[i], dir, arena, to, err) < 0)
			return err_wrap(err, "%s", items[i].name);
		work->file_count++;
	}
	return 0;
}

static struct json *ask(struct agent *agent, const char *task_id, struct err *err)
{
	char path[64];
	struct json *reply = NULL;
	auto_type(http_client) client = agent_client(agent, FETCH_MS, err);

	snprintf(path, sizeof(path), "/v1/files/%.32s", task_id);
	if (!client || http_call_json(client, "GET", path, NULL, &reply, err) < 0)
		return NULL;
	return reply;
}

int files_fetch(struct agent *agent, struct agent_work *work, struct arena *arena, struct err *err)
{
	const struct service_container *spec = &work->task->spec.container;
	size_t count = spec->secrets.count + spec->configs.count;

	if (count == 0)
		return 0;
	work->files = arena_array(arena, count, sizeof(*work->files), err);
	auto_type(json) reply = work->files ? ask(agent, work->task->id, err) : NULL;
	if (!reply)
		return -1;
	const struct json *list = json_get(reply, "Files");
	if (open_all(list, &spec->secrets, SECRETS_DIR, arena, work, err) < 0 ||
	    open_all(list, &spec->configs, CONFIGS_DIR, arena, work, err) < 0) {
		files_wipe(work);
		return -1;
	}
	return 0;
}

void files_wipe(const struct agent_work *work)
{
	for (size_t i = 0; i < work->file_count; i++)
		explicit_bzero(work->files[i].data, work->files[i].len);
}
