/* SPDX-License-Identifier: Apache-2.0 */
/* stack deploy: what is missing is made, what differs is changed; nothing else is touched. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/service_files.h"
#include "cli/service_send.h"
#include "cli/service_wait.h"
#include "cli/spec.h"
#include "cli/stack.h"

#define DATA_MAX (1000u << 10)

/* ---- networks ---- */

static int make_network(struct cli *cli, const struct json *network, const struct json *there,
                        struct err *err)
{
	const char *name = json_get_string(network, "Name");
	const char *path = json_get_bool(network, "External", false)
	                           ? api_path(cli, "/networks/", name, NULL, err)
	                           : api_path(cli, "/networks/create", NULL, NULL, err);

	if (!path)
		return -1;
	if (json_get_bool(network, "External", false)) {
		auto_type(json) found = api_get(cli, path, err);
		return found ? 0 : err_wrap(err, "external network");
	}
	if (stack_find(there, name))
		return 0;
	printf("Creating network %s\n", name);
	return api_send(cli, "POST", path, json_ref((struct json *)network), NULL, err);
}

static int make_networks(struct cli *cli, const struct json *stack, const char *name,
                         struct err *err)
{
	const struct json *networks = json_get(stack, "Networks");
	auto_type(json) there = stack_list(cli, "networks", name, err);

	for (size_t i = 0; there && i < json_count(networks); i++)
		if (make_network(cli, json_at(networks, i), there, err) < 0)
			return -1;
	return there ? 0 : -1;
}

/* ---- secrets and configs ---- */

static int read_data(const struct json *entry, struct buf *data, struct err *err)
{
	const char *file = json_get_string(entry, "File"),
		   *content = json_get_string(entry, "Content"),
		   *variable = json_get_string(entry, "Environment");

	if (file)
		return fs_trusted_read(file, DATA_MAX, data, err);
	if (!content && variable && !(content = getenv(variable)))
		return err_set(err, ERR_INVALID, "the variable %s is not set", variable);
	buf_add(data, content ? content : "");
	return buf_check(data, err);
}

static struct json *file_spec(const struct json *entry, struct err *err)
{
	auto_buf struct buf data = BUF_INIT(DATA_MAX);
	auto_type(json) spec = json_object();

	json_set(spec, "Name", json_ref(json_get(entry, "Name")));
	json_set(spec, "Labels", json_ref(json_get(entry, "Labels")));
	if (read_data(entry, &data, err) < 0 ||
	    spec_data(&data, json_get_string(entry, "Template"), spec, err) < 0)
		return NULL;
	return json_ref(spec);
}

/* One that is there is sent again: its labels may change, and the daemon says so when its bytes would. */
static int make_file(struct cli *cli, const char *kind, const struct json *entry,
                     const struct json *there, struct err *err)
{
	const char *name = json_get_string(entry, "Name");
	const struct json *old = stack_find(there, name);
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	char prefix[16];

	snprintf(prefix, sizeof(prefix), "/%ss/", kind);
	if (json_get_bool(entry, "External", false)) {
		api_begin(&path, prefix, name, NULL);
		auto_type(json) found = api_get(cli, buf_str(&path), err);
		return found ? 0 : err_wrap(err, "external %s", kind);
	}
	auto_type(json) spec = file_spec(entry, err);
	if (!spec)
		return err_wrap(err, "%s %s", kind, name);
	if (!old) {
		printf("Creating %s %s\n", kind, name);
		api_begin(&path, prefix, "create", NULL);
	} else {
		api_begin(&path, prefix, json_get_string(old, "ID"), "/update");
		api_query_int(&path, "version", json_get_int(json_get(old, "Version"), "Index", 0));
	}
	return api_send(cli, "POST", buf_str(&path), json_ref(spec), NULL, err) < 0
	               ? err_wrap(err, "%s %s", kind, name)
	               : 0;
}

static int make_files(struct cli *cli, const char *kind, const struct json *entries,
                      const char *stack, struct err *err)
{
	char kinds[16];

	snprintf(kinds, sizeof(kinds), "%ss", kind);
	auto_type(json) there = stack_list(cli, kinds, stack, err);
	for (size_t i = 0; there && i < json_count(entries); i++)
		if (make_file(cli, kind, json_at(entries, i), there, err) < 0)
			return -1;
	return there ? 0 : -1;
}

/* ---- services ---- */

static int update_service(struct cli *cli, const struct args *args, const struct json *old,
                          struct json *spec, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);

	stack_keep_force(old, spec);
	printf("Updating service %s (id: %s)\n", json_get_string(spec, "Name"),
	       json_get_string(old, "ID"));
	api_begin(&path, "/services/", json_get_string(old, "ID"), "/update");
	api_query_int(&path, "version", json_get_int(json_get(old, "Version"), "Index", 0));
	api_query(&path, "registryAuthFrom", "spec");
	return service_send(cli, args, buf_str(&path), spec, NULL, err);
}

static int make_service(struct cli *cli, const struct args *args, const struct json *there,
                        struct json *spec, struct err *err)
{
	const char *name = json_get_string(spec, "Name");
	const struct json *old = stack_find(there, name);
	const char *path = api_path(cli, "/services/create", NULL, NULL, err);
	int rc = path ? service_files_resolve(cli, spec, err) : -1;

	if (rc == 0 && old)
		rc = update_service(cli, args, old, spec, err);
	else if (rc == 0) {
		printf("Creating service %s\n", name);
		rc = service_send(cli, args, path, spec, NULL, err);
	}
	fflush(stdout);
	return rc < 0 ? err_wrap(err, "service %s", name) : 0;
}

static int prune(struct cli *cli, const struct json *there, const struct json *specs,
                 struct err *err)
{
	for (size_t i = 0; i < json_count(there); i++) {
		const char *name = stack_name_of(json_at(there, i));
		bool wanted = false;
		for (size_t k = 0; k < json_count(specs) && !wanted; k++)
			wanted = str_eq(json_get_string(json_at(specs, k), "Name"), name);
		const char *path = wanted ? NULL : api_path(cli, "/services/", name, NULL, err);
		if (wanted)
			continue;
		printf("Removing service %s\n", name);
		if (!path || api_send(cli, "DELETE", path, NULL, NULL, err) < 0)
			return -1;
	}
	return 0;
}

static int make_services(struct cli *cli, const struct args *args, const struct json *specs,
                         struct err *err)
{
	auto_type(json) there = stack_list(cli, "services", args->words[0], err);

	if (!there || (args_bool(args, "prune") && prune(cli, there, specs, err) < 0))
		return -1;
	for (size_t i = 0; i < json_count(specs); i++)
		if (make_service(cli, args, there, json_at(specs, i), err) < 0)
			return -1;
	return 0;
}

int stack_deploy_run(struct cli *cli, const struct args *args, struct err *err)
{
	const char *name = args->words[0];
	auto_type(json) stack = stack_read(cli, args, name, err);
	const struct json *specs = json_get(stack, "Services");

	if (!stack || make_networks(cli, stack, name, err) < 0 ||
	    make_files(cli, "secret", json_get(stack, "Secrets"), name, err) < 0 ||
	    make_files(cli, "config", json_get(stack, "Configs"), name, err) < 0 ||
	    make_services(cli, args, specs, err) < 0)
		return -1;
	for (size_t i = 0; !args_bool(args, "detach") && i < json_count(specs); i++) {
		const char *service = json_get_string(json_at(specs, i), "Name");
		if (!args_bool(args, "quiet"))
			printf("%s\n", service);
		fflush(stdout);
		if (service_wait(cli, service, args_bool(args, "quiet"), false, err) < 0)
			return err_wrap(err, "service %s", service);
	}
	return 0;
}
