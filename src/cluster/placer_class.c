/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include "base/str.h"
#include "cluster/placer_state.h"

/*
 * placer_class - what many nodes have in common, so that it is looked at once.
 *
 * A class is all that constraints can ask of a node but its id and name. What is remembered per
 * class or value only grows; when labels change so often that it is much more than there are
 * nodes, all of it is forgotten.
 */

#define TEXT_MAX (256u << 10)

/* ---- classes ---- */

static void add_labels(struct buf *text, const struct json_strmap *labels)
{
	buf_add(text, "\x1e");
	for (size_t i = 0; i < labels->count; i++)
		buf_addf(text, "%s=%s\x1f", labels->items[i].key,
		         labels->items[i].value ? labels->items[i].value : "");
}

static const char *text_of(const char *text)
{
	return text ? text : "";
}

int placer_classify(struct placer *p, uint32_t slot, const struct node *n, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);

	buf_addf(&text, "%s\x1f%s\x1f%s", text_of(n->spec.role),
	         text_of(n->description.platform.os),
	         text_of(n->description.platform.architecture));
	add_labels(&text, &n->spec.labels);
	add_labels(&text, &n->description.engine.labels);
	if (buf_check(&text, err) < 0)
		return -1;
	uintptr_t id = (uintptr_t)map_find(p->classes, buf_str(&text));
	if (id == 0) {
		id = map_count(p->classes) + 1;
		if (map_set(p->classes, buf_str(&text), (void *)id, NULL, err) < 0)
			return -1;
	}
	p->spots[slot].class_id = (uint32_t)id - 1;
	return 0;
}

/* ---- constraints ---- */

static void rule_free(struct rule *rule)
{
	if (!rule)
		return;
	free(rule->text);
	free(rule->known);
	free(rule->match);
	free(rule);
}

static void forget_rules(struct placer *p)
{
	for (size_t i = 0; i < p->rule_count; i++)
		rule_free(p->rules[i]);
	p->rule_count = 0;
	map_free(p->rules_by_text);
	p->rules_by_text = NULL;
}

static bool asks_for_one(const struct constraint *c)
{
	static const char *const own[] = {"node.id", "node.hostname"};

	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		if (strlen(own[i]) == c->key_len && strncasecmp(c->key, own[i], c->key_len) == 0)
			return true;
	return false;
}

static struct rule *rule_create(const char *text, struct err *err)
{
	struct rule *rule = calloc(1, sizeof(*rule));

	if (!rule || !(rule->text = strdup(text))) {
		free(rule);
		err_nomem(err);
		return NULL;
	}
	if (constraint_parse(rule->text, &rule->constraint, err) < 0) {
		rule_free(rule);
		return NULL;
	}
	rule->own = asks_for_one(&rule->constraint);
	return rule;
}

static int keep_rule(struct placer *p, struct rule *rule, struct err *err)
{
	if (p->rule_count == p->rule_cap) {
		size_t cap = p->rule_cap ? p->rule_cap * 2 : 16;
		struct rule **grown = reallocarray(p->rules, cap, sizeof(void *));

		if (!grown)
			return err_nomem(err);
		p->rules = grown;
		p->rule_cap = cap;
	}
	if (map_set(p->rules_by_text, rule->text, rule, NULL, err) < 0)
		return -1;
	p->rules[p->rule_count++] = rule;
	return 0;
}

struct rule *placer_rule(struct placer *p, const char *text, struct err *err)
{
	struct rule *rule = p->rules_by_text ? map_find(p->rules_by_text, text) : NULL;

	if (rule)
		return rule;
	if (!p->rules_by_text && !(p->rules_by_text = map_create(err)))
		return NULL;
	rule = rule_create(text, err);
	if (rule && keep_rule(p, rule, err) < 0) {
		rule_free(rule);
		return NULL;
	}
	return rule;
}

static bool grow_bits(struct rule *rule, size_t words)
{
	uint64_t *known = reallocarray(rule->known, words, sizeof(*known));

	if (known)
		rule->known = known;
	uint64_t *match = reallocarray(rule->match, words, sizeof(*match));
	if (match)
		rule->match = match;
	if (!known || !match)
		return false;
	memset(known + rule->words, 0, (words - rule->words) * sizeof(*known));
	memset(match + rule->words, 0, (words - rule->words) * sizeof(*match));
	rule->words = words;
	return true;
}

bool placer_rule_match(struct rule *rule, const struct placer *p, uint32_t slot)
{
	uint32_t class_id = p->spots[slot].class_id;
	size_t word = class_id / 64;
	uint64_t bit = UINT64_C(1) << (class_id % 64);

	if (rule->own)
		return constraint_match(&rule->constraint, p->nodes[slot]);
	if (word < rule->words && (rule->known[word] & bit))
		return rule->match[word] & bit;
	bool match = constraint_match(&rule->constraint, p->nodes[slot]);
	/* Without memory for the bits it is worked out each time. */
	if (word >= rule->words && !grow_bits(rule, (word + 16) * 2))
		return match;
	rule->known[word] |= bit;
	if (match)
		rule->match[word] |= bit;
	return match;
}

/* ---- values of spread preferences ---- */

static void domain_free(struct domain *d)
{
	if (!d)
		return;
	free(d->key);
	map_free(d->values);
	free(d->of_slot);
	free(d->parent);
	free(d);
}

static void forget_domains(struct placer *p)
{
	for (size_t i = 0; i < p->domain_count; i++)
		domain_free(p->domains[i]);
	p->domain_count = 0;
}

void placer_forget_classes(struct placer *p)
{
	forget_rules(p);
	forget_domains(p);
}

void placer_forget_node(struct placer *p, uint32_t slot)
{
	for (size_t i = 0; i < p->domain_count; i++) {
		p->domains[i]->complete = false;
		if (slot < p->domains[i]->slots)
			p->domains[i]->of_slot[slot] = 0;
	}
}

static struct domain *domain_create(const char *key, struct err *err)
{
	struct domain *d = calloc(1, sizeof(*d));

	if (!d || !(d->key = strdup(key))) {
		free(d);
		err_nomem(err);
		return NULL;
	}
	d->values = map_create(err);
	if (!d->values) {
		domain_free(d);
		return NULL;
	}
	return d;
}

struct domain *placer_domain(struct placer *p, const struct service_preference *preferences,
                             size_t levels, struct err *err)
{
	auto_buf struct buf key = BUF_INIT(TEXT_MAX);

	for (size_t i = 0; i < levels; i++)
		buf_addf(&key, "%s\n", text_of(preferences[i].spread.descriptor));
	if (buf_check(&key, err) < 0)
		return NULL;
	for (size_t i = 0; i < p->domain_count; i++)
		if (str_eq(p->domains[i]->key, buf_str(&key)))
			return p->domains[i];
	if (p->domain_count == p->domain_cap) {
		size_t cap = p->domain_cap ? p->domain_cap * 2 : 8;
		struct domain **grown = reallocarray(p->domains, cap, sizeof(void *));

		if (!grown) {
			err_nomem(err);
			return NULL;
		}
		p->domains = grown;
		p->domain_cap = cap;
	}
	struct domain *d = domain_create(buf_str(&key), err);
	if (d)
		p->domains[p->domain_count++] = d;
	return d;
}

static int grow_slots(struct placer *p, struct domain *d, struct err *err)
{
	uint32_t *grown = reallocarray(d->of_slot, p->cap, sizeof(*grown));

	if (!grown)
		return err_nomem(err);
	memset(grown + d->slots, 0, (p->cap - d->slots) * sizeof(*grown));
	d->of_slot = grown;
	d->slots = p->cap;
	return 0;
}

/* The text by which nodes of one value are known: the descriptor's lines are the key's. */
static void value_text(const struct domain *d, const struct node *n, struct buf *text)
{
	for (const char *line = d->key; *line;) {
		size_t len = strcspn(line, "\n");
		const char *value = constraint_value(line, len, n);

		buf_addf(text, "%s\x1f", text_of(value));
		line += len + 1;
	}
}

static int add_value(struct domain *d, const char *text, uint32_t parent, struct err *err)
{
	if (d->count == d->cap) {
		uint32_t cap = d->cap ? d->cap * 2 : 16;
		uint32_t *grown = reallocarray(d->parent, cap, sizeof(*grown));

		if (!grown)
			return err_nomem(err);
		d->parent = grown;
		d->cap = cap;
	}
	if (map_set(d->values, text, (void *)((uintptr_t)d->count + 1), NULL, err) < 0)
		return -1;
	d->parent[d->count++] = parent;
	return 0;
}

int placer_value(struct placer *p, struct domain *d, struct domain *before, uint32_t slot,
                 uint32_t *value, struct err *err)
{
	if (slot < d->slots && d->of_slot[slot] != 0) {
		*value = d->of_slot[slot] - 1;
		return 0;
	}
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);
	uint32_t parent = before ? before->of_slot[slot] - 1 : 0; /* levels are asked in turn */

	if (slot >= d->slots && grow_slots(p, d, err) < 0)
		return -1;
	value_text(d, p->nodes[slot], &text);
	if (buf_check(&text, err) < 0)
		return -1;
	uintptr_t id = (uintptr_t)map_find(d->values, buf_str(&text));
	if (id == 0 && add_value(d, buf_str(&text), parent, err) < 0)
		return -1;
	if (id == 0)
		id = d->count;
	d->of_slot[slot] = (uint32_t)id;
	*value = (uint32_t)id - 1;
	return 0;
}
