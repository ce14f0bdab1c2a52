/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/secret.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "cluster/control_state.h"
#include "cluster/filter.h"

/* ---- what one may be ---- */

static bool is_name(const char *name)
{
	size_t len = name ? strlen(name) : 0;

	if (len == 0 || len > SECRET_NAME_MAX || !isalnum((unsigned char)name[0]) ||
	    !isalnum((unsigned char)name[len - 1]))
		return false;
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
			return false;
	return true;
}

char *secret_label(enum store_kind kind, const char *name, char label[SECRET_LABEL_MAX])
{
	snprintf(label, SECRET_LABEL_MAX, "%s/%.64s", store_kind_name(kind), name);
	return label;
}

int secret_spec_check(enum store_kind kind, const struct secret_spec *spec, struct err *err)
{
	const char *templating = json_get_string(spec->templating, "Name");

	if (!is_name(spec->name))
		return err_set(err, ERR_INVALID,
		               "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the "
		               "start and end character must be [a-zA-Z0-9]");
	if (spec->driver && !json_is_null(spec->driver))
		return err_set(err, ERR_UNSUPPORTED, "%s drivers are not supported",
		               store_kind_name(kind));
	if (!str_empty(templating) && !str_eq(templating, "golang"))
		return err_set(err, ERR_UNSUPPORTED,
		               "template driver \"%s\" is not known (allowed: golang)", templating);
	return 0;
}

int secret_size_check(enum store_kind kind, size_t len, struct err *err)
{
	size_t most = kind == STORE_CONFIG ? CONFIG_BYTES_MAX : SECRET_BYTES_MAX;

	if (len < 1 || len >= most)
		return err_set(err, ERR_INVALID,
		               "%s data must be larger than 0 and less than %zu bytes",
		               store_kind_name(kind), most);
	return 0;
}

/* ---- finding ---- */

static struct mirror_secret *by_name(const struct control *c, enum store_kind kind,
                                     const char *name)
{
	struct mirror_secret *secret;

	for (size_t i = 0; (secret = mirror_secret_at(&c->m, kind, i)) != NULL; i++)
		if (str_eq(secret->s->spec.name, name))
			return secret;
	return NULL;
}

static struct mirror_secret *find(const struct control *c, enum store_kind kind, const char *ref,
                                  struct err *err)
{
	struct mirror_secret *found = mirror_find_secret(&c->m, kind, ref), *secret;
	size_t matches = 0;

	if (!found)
		found = by_name(c, kind, ref);
	if (found)
		return found;
	for (size_t i = 0; *ref && (secret = mirror_secret_at(&c->m, kind, i)) != NULL; i++)
		if (str_starts(secret->o.id, ref)) {
			found = secret;
			matches++;
		}
	if (matches == 1)
		return found;
	if (matches == 0)
		err_set(err, ERR_NOT_FOUND, "%s %s not found", store_kind_name(kind), ref);
	else
		err_set(err, ERR_INVALID, "%s %s is ambiguous (%zu matches found)",
		        store_kind_name(kind), ref, matches);
	return NULL;
}

const struct secret *secret_find(const struct control *c, enum store_kind kind, const char *ref,
                                 struct err *err)
{
	const struct mirror_secret *secret = find(c, kind, ref, err);

	return secret ? secret->s : NULL;
}

/* ---- changing ---- */

static void forget(struct control *c)
{
	mirror_done(&c->m);
	c->loaded = false;
}

int secret_create(struct control *c, struct control_time now, enum store_kind kind,
                  const struct secret_spec *spec, const char *sealed, char *id, struct err *err)
{
	char made[ID_SWARM_MAX], stamp[CLOCK_TEXT_MAX];
	struct secret s = {.id = made, .spec = *spec, .sealed = (char *)sealed};

	if (secret_spec_check(kind, spec, err) < 0 || control_begin(c, now, err) < 0)
		return -1;
	if (by_name(c, kind, spec->name))
		return err_set(err, ERR_CONFLICT, "%s %s already exists", store_kind_name(kind),
		               spec->name);
	control_make_id(c, made);
	s.created_at = s.updated_at = control_stamp(c, stamp);
	if (!mirror_add_secret(&c->m, kind, &s, err)) {
		forget(c);
		return -1;
	}
	if (control_finish(c, err) < 0)
		return -1;
	memcpy(id, made, sizeof(made));
	return 0;
}

int secret_set_labels(struct control *c, struct control_time now, enum store_kind kind,
                      const char *ref, uint64_t version, const struct json_strmap *labels,
                      struct err *err)
{
	if (control_begin(c, now, err) < 0)
		return -1;
	struct mirror_secret *secret = find(c, kind, ref, err);
	if (!secret)
		return -1;
	if (secret->s->version.index != version)
		return err_set(err, ERR_CONFLICT, "update out of sequence");
	struct secret next = *secret->s;
	next.spec.labels = *labels;
	if (mirror_change(&c->m, &secret->o, &next, err) < 0) {
		forget(c);
		return -1;
	}
	return control_finish(c, err);
}

static bool refers(const struct service_spec *spec, enum store_kind kind, const char *id)
{
	const struct service_container *container = &spec->task.container;
	const struct json_array *files =
		kind == STORE_CONFIG ? &container->configs : &container->secrets;
	const struct service_file *items = files->items;

	for (size_t i = 0; i < files->count; i++)
		if (str_eq(items[i].id, id))
			return true;
	return false;
}

/* "web, db": the services that refer to it. How many. */
static size_t list_users(const struct control *c, enum store_kind kind, const char *id,
                         struct buf *out)
{
	const struct mirror_service *service;
	size_t count = 0;

	for (size_t i = 0; (service = mirror_service_at(&c->m, i)) != NULL; i++)
		if (refers(&service->s->spec, kind, id))
			buf_addf(out, "%s%s", count++ ? ", " : "", service->s->spec.name);
	return count;
}

int secret_remove(struct control *c, struct control_time now, enum store_kind kind, const char *ref,
                  struct err *err)
{
	auto_buf struct buf users = BUF_INIT(ERR_MSG_MAX);

	if (control_begin(c, now, err) < 0)
		return -1;
	struct mirror_secret *secret = find(c, kind, ref, err);
	if (!secret)
		return -1;
	size_t count = list_users(c, kind, secret->o.id, &users);
	if (count > 0)
		return err_set(err, ERR_INVALID, "%s '%s' is in use by the following service%s: %s",
		               store_kind_name(kind), secret->s->spec.name, count > 1 ? "s" : "",
		               buf_str(&users));
	mirror_remove_secret(&c->m, secret);
	return control_finish(c, err);
}

/* ---- showing ---- */

static bool matches(const struct json *filters, const struct secret *s)
{
	return filter_prefix(filters, "id", s->id) &&
	       filter_prefix(filters, "name", s->spec.name) &&
	       filter_exact(filters, "names", s->spec.name) &&
	       filter_labels(filters, "label", &s->spec.labels);
}

int secret_list(const struct control *c, enum store_kind kind, const struct json *filters,
                int (*fn)(void *arg, const struct secret *s, struct err *err), void *arg,
                struct err *err)
{
	static const char *const allowed[] = {"id", "name", "names", "label", NULL};
	const struct mirror_secret *secret;

	if (filter_allow(filters, allowed, err) < 0)
		return -1;
	for (size_t i = 0; (secret = mirror_secret_at(&c->m, kind, i)) != NULL; i++)
		if (matches(filters, secret->s) && fn(arg, secret->s, err) < 0)
			return -1;
	return 0;
}
