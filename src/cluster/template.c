/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/template.h"

#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define TEXT_MAX     (64u << 10)
#define PLACE_MAX    256
#define LABEL_PREFIX ".Service.Labels."
#define INDEX_PREFIX "index .Service.Labels "

static const char *label(const struct template_values *v, const char *key)
{
	for (size_t i = 0; v->service_labels && i < v->service_labels->count; i++)
		if (str_eq(v->service_labels->items[i].key, key))
			return v->service_labels->items[i].value;
	return "";
}

/* What stands between the braces, without the blanks around it. NULL: not known. */
static const char *value_of(const struct template_values *v, char *place)
{
	const struct {
		const char *name, *value;
	} known[] = {
		{".Service.ID", v->service_id},
		{".Service.Name", v->service_name},
		{".Node.ID", v->node_id},
		{".Node.Hostname", v->node_hostname},
		{".Node.Platform.Architecture", v->node_architecture},
		{".Node.Platform.OS", v->node_os},
		{".Task.ID", v->task_id},
		{".Task.Name", v->task_name},
		{".Task.Slot", v->task_slot},
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (str_eq(place, known[i].name))
			return known[i].value ? known[i].value : "";
	if (str_starts(place, LABEL_PREFIX))
		return label(v, place + strlen(LABEL_PREFIX));
	size_t len = strlen(place), start = strlen(INDEX_PREFIX);
	if (str_starts(place, INDEX_PREFIX) && len >= start + 2 && place[start] == '"' &&
	    place[len - 1] == '"') {
		place[len - 1] = '\0';
		return label(v, place + start + 1);
	}
	return NULL;
}

/* Copies [from, to) without the blanks at both ends. False: too long. */
static bool trim(const char *from, const char *to, char place[PLACE_MAX])
{
	while (from < to && *from == ' ')
		from++;
	while (to > from && to[-1] == ' ')
		to--;
	if (to - from >= PLACE_MAX)
		return false;
	memcpy(place, from, (size_t)(to - from));
	place[to - from] = '\0';
	return true;
}

char *template_expand(const char *text, const struct template_values *values, struct arena *arena,
                      struct err *err)
{
	auto_buf struct buf out = BUF_INIT(TEXT_MAX);
	const char *open;
	char place[PLACE_MAX];

	if (!strstr(text, "{{"))
		return (char *)text;
	while ((open = strstr(text, "{{")) != NULL) {
		const char *close = strstr(open, "}}");
		const char *value = NULL;

		if (close && trim(open + 2, close, place))
			value = value_of(values, place);
		if (!value) {
			err_set(err, ERR_INVALID, "template \"%.100s\": not known", open);
			return NULL;
		}
		buf_add_mem(&out, text, (size_t)(open - text));
		buf_add(&out, value);
		text = close + 2;
	}
	buf_add(&out, text);
	return buf_check(&out, err) < 0 ? NULL : arena_strdup(arena, buf_str(&out), err);
}
