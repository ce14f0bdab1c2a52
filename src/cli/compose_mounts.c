/* SPDX-License-Identifier: Apache-2.0 */
/* `volumes` and `tmpfs` of a service as mounts. */

#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "cli/compose.h"

struct place {
	const struct compose *file;
	const char *stack;
};

/* The source as the node shall have it: a path, or the volume's own name with its driver and labels. */
static int set_source(const struct place *p, const char *source, struct json *mount,
                      struct err *err)
{
	static const struct compose_rule rules[] = {{"driver", COMPOSE_TEXT, "Name"},
	                                            {"driver_opts", COMPOSE_MAP, "Options"},
	                                            COMPOSE_RULE_OTHER("labels"),
	                                            COMPOSE_RULE_OTHER("name"),
	                                            COMPOSE_RULE_OTHER("external")};
	const struct json *entry = json_get(json_get(p->file->doc, "volumes"), source);
	const char *type = json_get_string(mount, "Type");

	if (str_eq(type, "bind")) {
		auto_free char *path = compose_path(p->file, source, err);
		return path ? json_set(mount, "Source", json_string(path)) : -1;
	}
	struct json *name = compose_scoped(p->file, p->stack, "volumes", source, err);
	if (!name || json_set(mount, "Source", name) < 0)
		return -1;
	if (compose_is_external(entry))
		return 0;
	const struct json *from = json_get(entry, "labels");
	struct json *labels = from ? compose_value(from, COMPOSE_MAP, err) : json_object();
	if (!labels)
		return err_wrap(err, "volumes.%s.labels", source);
	json_set(labels, COMPOSE_STACK_LABEL, json_string(p->stack));
	json_set(spec_part(mount, "VolumeOptions"), "Labels", labels);
	auto_type(json) driver = json_object();
	if (compose_apply(entry, rules, ARRAY_LEN(rules), driver, NULL, err) < 0)
		return err_wrap(err, "volumes.%s", source);
	return json_count(driver) ? json_set(spec_part(mount, "VolumeOptions"), "DriverConfig",
	                                     json_ref(driver))
	                          : 0;
}

static int add_mode(const char *word, struct json *mount, struct err *err)
{
	static const char *const propagations[] = {"rprivate", "private", "rshared",
	                                           "shared",   "rslave",  "slave"};

	if (str_eq(word, "ro"))
		return json_set(mount, "ReadOnly", json_bool(true));
	if (str_eq(word, "nocopy"))
		return json_set(spec_part(mount, "VolumeOptions"), "NoCopy", json_bool(true));
	for (size_t i = 0; i < ARRAY_LEN(propagations); i++)
		if (str_eq(word, propagations[i]))
			return json_set(spec_part(mount, "BindOptions"), "Propagation",
			                json_string(word));
	/* Labels for SELinux, and how well a Mac keeps up: nothing to do here. */
	if (str_eq(word, "rw") || str_eq(word, "z") || str_eq(word, "Z") ||
	    str_eq(word, "cached") || str_eq(word, "delegated") || str_eq(word, "consistent"))
		return 0;
	return err_set(err, ERR_INVALID, "mode '%.40s': not ro, rw, nocopy or a propagation", word);
}

/* "[SOURCE:]TARGET[:MODE,...]". */
static int read_short(const struct place *p, const char *text, struct json *mount, struct err *err)
{
	auto_free char *own = strdup(text);
	char *target = own ? strchr(own, ':') : NULL, *mode, *save = NULL;

	if (!own)
		return err_nomem(err);
	json_set(mount, "Type", json_string(target && strchr("./~", *own) ? "bind" : "volume"));
	if (!target)
		return json_set(mount, "Target", json_string(own));
	*target++ = '\0';
	mode = strchr(target, ':');
	if (mode)
		*mode++ = '\0';
	json_set(mount, "Target", json_string(target));
	for (char *word = mode ? strtok_r(mode, ",", &save) : NULL; word;
	     word = strtok_r(NULL, ",", &save))
		if (add_mode(word, mount, err) < 0)
			return -1;
	return set_source(p, own, mount, err);
}

static int read_long(const struct place *p, const struct json *from, struct json *mount,
                     struct err *err)
{
	static const struct compose_rule rules[] = {{"type", COMPOSE_TEXT, "Type"},
	                                            {"target", COMPOSE_TEXT, "Target"},
	                                            {"read_only", COMPOSE_BOOL, "ReadOnly"},
	                                            {"consistency", COMPOSE_TEXT, "Consistency"},
	                                            COMPOSE_RULE_OTHER("source"),
	                                            COMPOSE_RULE_OTHER("bind"),
	                                            COMPOSE_RULE_OTHER("volume"),
	                                            COMPOSE_RULE_OTHER("tmpfs")};
	static const struct compose_rule bind[] = {{"propagation", COMPOSE_TEXT, "Propagation"},
	                                           COMPOSE_RULE_IGNORED("create_host_path"),
	                                           COMPOSE_RULE_IGNORED("selinux")};
	static const struct compose_rule volume[] = {{"nocopy", COMPOSE_BOOL, "NoCopy"}};
	static const struct compose_rule tmpfs[] = {{"size", COMPOSE_SIZE, "SizeBytes"},
	                                            {"mode", COMPOSE_INT, "Mode"}};
	const char *source = json_get_string(from, "source");

	if (compose_apply(from, rules, ARRAY_LEN(rules), mount, NULL, err) < 0)
		return -1;
	if (!json_get(mount, "Type"))
		json_set(mount, "Type", json_string("volume"));
	if (json_get(from, "bind") && compose_apply(json_get(from, "bind"), bind, ARRAY_LEN(bind),
	                                            spec_part(mount, "BindOptions"), NULL, err) < 0)
		return err_wrap(err, "bind");
	if (json_get(from, "volume") &&
	    compose_apply(json_get(from, "volume"), volume, ARRAY_LEN(volume),
	                  spec_part(mount, "VolumeOptions"), NULL, err) < 0)
		return err_wrap(err, "volume");
	if (json_get(from, "tmpfs") &&
	    compose_apply(json_get(from, "tmpfs"), tmpfs, ARRAY_LEN(tmpfs),
	                  spec_part(mount, "TmpfsOptions"), NULL, err) < 0)
		return err_wrap(err, "tmpfs");
	if (str_eq(json_get_string(mount, "Type"), "tmpfs") || !source)
		return 0;
	return set_source(p, source, mount, err);
}

static int add_tmpfs(const struct json *service, struct json *out, struct err *err)
{
	const struct json *from = json_get(service, "tmpfs");
	auto_type(json) list = from ? compose_value(from, COMPOSE_LIST, err) : json_array();

	for (size_t i = 0; i < json_count(list); i++) {
		struct json *mount = json_object();
		json_append(out, mount);
		json_set(mount, "Type", json_string("tmpfs"));
		json_set(mount, "Target", json_ref(json_at(list, i)));
	}
	return list ? 0 : err_wrap(err, "tmpfs");
}

struct json *compose_mounts(const struct compose *file, const char *stack,
                            const struct json *service, struct err *err)
{
	const struct json *from = json_get(service, "volumes");
	const struct place place = {file, stack};
	auto_type(json) out = json_array();

	if (add_tmpfs(service, out, err) < 0)
		return NULL;
	for (size_t i = 0; i < json_count(from); i++) {
		const struct json *item = json_at(from, i);
		struct json *mount = json_object();
		json_append(out, mount);
		if ((json_is_string(item) ? read_short(&place, json_str(item), mount, err)
		                          : read_long(&place, item, mount, err)) < 0)
			return NULL;
	}
	return json_ref(out);
}
