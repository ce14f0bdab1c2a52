/* SPDX-License-Identifier: Apache-2.0 */
/* posture: what the kernel says of a running container. */

#include <inttypes.h>
#include <stdio.h>

#include "base/str.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "cli/template.h"

#define TEXT_MAX (4u << 20)

static void print_words(const char *label, const struct json *list)
{
	printf("%-18s", label);
	for (size_t i = 0; i < json_count(list); i++) {
		const struct json *one = json_at(list, i);
		const char *text = json_str(one);
		if (text)
			printf(" %s", str_starts(text, "CAP_") ? text + 4 : text);
		else
			printf(" %" PRId64, json_num(one, 0));
	}
	printf("%s\n", json_count(list) ? "" : " -");
}

static void print_namespaces(const struct json *all)
{
	const char *name;
	struct json *one;

	printf("%-18s", "namespaces");
	for (void *iter = NULL; json_next((struct json *)all, &iter, &name, &one);)
		printf(" %s%s", name, json_get_bool(one, "Host", false) ? "=host" : "");
	printf("\n");
}

static void print_map(const char *label, const struct json *list)
{
	printf("%-18s", label);
	for (size_t i = 0; i < json_count(list); i++) {
		const struct json *one = json_at(list, i);
		printf(" %" PRId64 "->%" PRId64 " (%" PRId64 ")", json_get_int(one, "Inside", 0),
		       json_get_int(one, "Host", 0), json_get_int(one, "Count", 0));
	}
	printf("\n");
}

static void print_differences(const struct json *list)
{
	for (size_t i = 0; i < json_count(list); i++) {
		const struct json *one = json_at(list, i);
		printf("DIFFERS            %s: asked for %s, the kernel has %s\n",
		       json_get_string(one, "What"), json_get_string(one, "Config"),
		       json_get_string(one, "Kernel"));
	}
	if (json_count(list) == 0)
		printf("as configured      yes\n");
}

static void print_text(const struct json *doc)
{
	const struct json *caps = json_get(doc, "Capabilities"),
			  *seccomp = json_get(doc, "Seccomp");
	const struct json *limits = json_get(doc, "Limits");

	printf("%-18s %" PRId64 "\n", "pid", json_get_int(doc, "Pid", 0));
	print_words("uids", json_get(doc, "Uids"));
	print_words("gids", json_get(doc, "Gids"));
	print_words("groups", json_get(doc, "Groups"));
	print_map("uid map", json_get(doc, "UidMap"));
	print_map("gid map", json_get(doc, "GidMap"));
	print_words("bounding", json_get(caps, "Bounding"));
	print_words("effective", json_get(caps, "Effective"));
	print_words("permitted", json_get(caps, "Permitted"));
	print_words("inheritable", json_get(caps, "Inheritable"));
	print_words("ambient", json_get(caps, "Ambient"));
	printf("%-18s %s\n", "no new privileges",
	       json_get_bool(doc, "NoNewPrivileges", false) ? "yes" : "no");
	printf("%-18s %s, %" PRId64 " filters\n", "seccomp", json_get_string(seccomp, "Mode"),
	       json_get_int(seccomp, "Filters", 0));
	print_namespaces(json_get(doc, "Namespaces"));
	printf("%-18s %s\n", "read-only root",
	       json_get_bool(doc, "ReadonlyRootfs", false) ? "yes" : "no");
	print_words("masked", json_get(doc, "MaskedPaths"));
	print_words("read-only", json_get(doc, "ReadonlyPaths"));
	print_words("cgroup", json_get(doc, "Cgroup"));
	printf("%-18s memory %" PRId64 ", pids %" PRId64 "\n", "limits",
	       json_get_int(limits, "MemoryLimit", 0), json_get_int(limits, "PidsLimit", 0));
	print_differences(json_get(doc, "Differs"));
}

static int print(struct cli *cli, const char *format, const struct json *doc, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(TEXT_MAX);
	auto_type(template) t = NULL;

	if (str_empty(format)) {
		print_text(doc);
		return 0;
	}
	if (str_eq(format, "json")) {
		if (json_write_pretty(doc, &text, err) < 0)
			return -1;
	} else {
		t = template_parse(format, err);
		if (!t || template_write(t, doc, &text, err) < 0)
			return -1;
	}
	if (buf_check(&text, err) < 0)
		return -1;
	out_text(stdout, buf_str(&text), cli->out_tty);
	fputc('\n', stdout);
	return 0;
}

static int run(struct cli *cli, const struct args *args, struct err *err)
{
	const char *path = api_path(cli, "/buoy/v1/containers/", args->words[0], "/posture", err);
	auto_type(json) doc = path ? api_get(cli, path, err) : NULL;

	if (!doc || print(cli, args_string(args, "format"), doc, err) < 0)
		return -1;
	return json_count(json_get(doc, "Differs")) ? 1 : 0;
}

static const struct flag flags[] = {
	{"format", 'f', FLAG_STRING, "FORMAT", "json, or a Go template"},
	{NULL},
};

const struct command command_posture[] = {
	{.name = "posture",
         .synopsis = "[OPTIONS] CONTAINER",
         .summary =
                 "Show how a container is confined, as the kernel has it; exit code 1 where that differs",
         .flags = flags,
         .min = 1,
         .max = 1,
         .run = run},
	{.name = NULL},
};
