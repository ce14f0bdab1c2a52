/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/constraint.h"

#include <ctype.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "cluster/model.h"

static const char *label(const struct json_strmap *labels, const char *name, size_t len)
{
	for (size_t i = 0; i < labels->count; i++)
		if (strlen(labels->items[i].key) == len &&
		    strncmp(labels->items[i].key, name, len) == 0)
			return labels->items[i].value;
	return "";
}

static bool is(const char *key, size_t len, const char *name)
{
	return strlen(name) == len && strncasecmp(key, name, len) == 0;
}

static bool begins(const char *key, size_t len, const char *prefix)
{
	return len > strlen(prefix) && strncasecmp(key, prefix, strlen(prefix)) == 0;
}

static const char *text_or_empty(const char *text)
{
	return text ? text : "";
}

/* Docker's names for what the kernel calls otherwise. */
static const char *architecture(const char *name)
{
	if (str_eq(name, "x86_64"))
		return "amd64";
	if (str_eq(name, "aarch64"))
		return "arm64";
	return text_or_empty(name);
}

const char *constraint_value(const char *key, size_t len, const struct node *node)
{
	const size_t node_prefix = strlen("node.labels."), engine_prefix = strlen("engine.labels.");

	if (is(key, len, "node.id"))
		return text_or_empty(node->id);
	if (is(key, len, "node.hostname"))
		return text_or_empty(node->description.hostname);
	if (is(key, len, "node.role"))
		return text_or_empty(node->spec.role);
	if (is(key, len, "node.platform.os"))
		return text_or_empty(node->description.platform.os);
	if (is(key, len, "node.platform.arch"))
		return architecture(node->description.platform.architecture);
	if (begins(key, len, "node.labels."))
		return label(&node->spec.labels, key + node_prefix, len - node_prefix);
	if (begins(key, len, "engine.labels."))
		return label(&node->description.engine.labels, key + engine_prefix,
		             len - engine_prefix);
	return NULL;
}

static const char *trim(const char *text, size_t *len)
{
	while (*len > 0 && isspace((unsigned char)*text))
		text++, --*len;
	while (*len > 0 && isspace((unsigned char)text[*len - 1]))
		--*len;
	return text;
}

int constraint_parse(const char *text, struct constraint *constraint, struct err *err)
{
	static const struct node nobody; /* only its keys are asked for */
	const char *equal = strstr(text, "=="), *unequal = strstr(text, "!=");
	const char *at = !unequal || (equal && equal < unequal) ? equal : unequal;
	struct constraint c = {0};

	if (!at)
		return err_set(err, ERR_INVALID,
		               "constraint \"%s\": expected KEY==VALUE or KEY!=VALUE", text);
	c.equal = at[0] == '=';
	c.key_len = (size_t)(at - text);
	c.key = trim(text, &c.key_len);
	c.value_len = strlen(at + 2);
	c.value = trim(at + 2, &c.value_len);
	if (c.key_len == 0 || !constraint_value(c.key, c.key_len, &nobody))
		return err_set(
			err, ERR_INVALID,
			"constraint \"%s\": unknown key; allowed are node.id, node.hostname, "
			"node.role, node.platform.os, node.platform.arch, node.labels.NAME, "
			"engine.labels.NAME",
			text);
	if (c.value_len == 0)
		return err_set(err, ERR_INVALID, "constraint \"%s\": no value", text);
	*constraint = c;
	return 0;
}

static bool same(const struct constraint *c, const char *value)
{
	return strlen(value) == c->value_len && strncasecmp(value, c->value, c->value_len) == 0;
}

bool constraint_match(const struct constraint *c, const struct node *node)
{
	const char *value = constraint_value(c->key, c->key_len, node);
	bool equal = value && same(c, value);

	/* An architecture may be asked for by either name. */
	if (is(c->key, c->key_len, "node.platform.arch"))
		equal = equal || same(c, text_or_empty(node->description.platform.architecture));
	return equal == c->equal;
}
