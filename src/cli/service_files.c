/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/service_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "cli/api.h"

#define MODE_DEFAULT 0444
#define MODE_MAX     07777
#define TEXT_MAX     4096

/* "0400" as a number of eight. */
static int parse_mode(const char *text, int64_t *mode, struct err *err)
{
	char *end;

	*mode = strtol(text, &end, 8);
	if (!*text || *end || strspn(text, "01234567") != strlen(text) || *mode > MODE_MAX)
		return err_set(err, ERR_INVALID, "mode '%s': not octal, as in 0400", text);
	return 0;
}

static int set_part(struct json *file, const char **source, const char *key, const char *value,
                    struct err *err)
{
	int64_t mode;

	if (str_eq(key, "source") || str_eq(key, "src"))
		*source = value;
	else if (str_eq(key, "target"))
		json_set(file, "Name", json_string(value));
	else if (str_eq(key, "uid"))
		json_set(file, "UID", json_string(value));
	else if (str_eq(key, "gid"))
		json_set(file, "GID", json_string(value));
	else if (!str_eq(key, "mode"))
		return err_set(err, ERR_INVALID, "'%s': not one of source, target, uid, gid, mode",
		               key);
	else if (parse_mode(value, &mode, err) < 0)
		return -1;
	else
		json_set(file, "Mode", json_int(mode));
	return 0;
}

/* Takes `text` apart in place: a name alone, or KEY=VALUE pairs. */
static int parse(char *text, struct json *file, const char **source, struct err *err)
{
	char *save = NULL;

	if (!strpbrk(text, "=,")) {
		*source = text;
		return 0;
	}
	for (char *pair = strtok_r(text, ",", &save); pair; pair = strtok_r(NULL, ",", &save)) {
		char *equals = strchr(pair, '=');
		if (!equals || !equals[1])
			return err_set(err, ERR_INVALID, "'%s': not KEY=VALUE", pair);
		*equals = '\0';
		if (set_part(file, source, pair, equals + 1, err) < 0)
			return -1;
	}
	return *source ? 0 : err_set(err, ERR_INVALID, "source is missing: its name");
}

static int add(const char *text, const char *name_key, struct json *list, struct err *err)
{
	auto_type(json) ref = json_object();
	struct json *file = json_object();
	const char *source = NULL;
	char own[TEXT_MAX];

	json_set(ref, "File", file);
	json_set(file, "UID", json_string("0"));
	json_set(file, "GID", json_string("0"));
	json_set(file, "Mode", json_int(MODE_DEFAULT));
	if (snprintf(own, sizeof(own), "%s", text) >= (int)sizeof(own))
		return err_set(err, ERR_INVALID, "longer than %d bytes", TEXT_MAX);
	if (parse(own, file, &source, err) < 0)
		return err_wrap(err, "%s", text);
	if (!json_get(file, "Name"))
		json_set(file, "Name", json_string(source));
	json_set(ref, name_key, json_string(source));
	return json_append(list, json_ref(ref)) < 0 ? err_nomem(err) : 0;
}

int service_files_secret(const char *text, struct json *list, struct err *err)
{
	return add(text, "SecretName", list, err) < 0 ? err_wrap(err, "secret") : 0;
}

int service_files_config(const char *text, struct json *list, struct err *err)
{
	return add(text, "ConfigName", list, err) < 0 ? err_wrap(err, "config") : 0;
}

static int resolve(struct cli *cli, const struct json *list, const char *prefix, const char *id_key,
                   const char *name_key, struct err *err)
{
	for (size_t i = 0; i < json_count(list); i++) {
		struct json *ref = json_at(list, i);
		if (!str_empty(json_get_string(ref, id_key)))
			continue;
		const char *path = api_path(cli, prefix, json_get_string(ref, name_key), NULL, err);
		auto_type(json) found = path ? api_get(cli, path, err) : NULL;
		if (!found)
			return -1;
		/* What was named may be an ID: the daemon knows the name. */
		json_set(ref, id_key, json_ref(json_get(found, "ID")));
		json_set(ref, name_key, json_ref(json_get(json_get(found, "Spec"), "Name")));
	}
	return 0;
}

int service_files_resolve(struct cli *cli, struct json *spec, struct err *err)
{
	const struct json *container = json_get(json_get(spec, "TaskTemplate"), "ContainerSpec");

	if (resolve(cli, json_get(container, "Secrets"), "/secrets/", "SecretID", "SecretName",
	            err) < 0)
		return -1;
	return resolve(cli, json_get(container, "Configs"), "/configs/", "ConfigID", "ConfigName",
	               err);
}
