/* SPDX-License-Identifier: Apache-2.0 */
/* /images: list, inspect, history, tag, remove, prune. What moves bytes is in transfer.c. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/pattern.h"
#include "base/str.h"
#include "daemon/daemon.h"
#include "daemon/reply.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/filter.h"
#include "image/image.h"

/* ---- list ---- */

static bool any_name_matches(const struct json *filters, const struct image *image)
{
	const char *pattern;

	if (!filter_has(filters, "reference"))
		return true;
	for (size_t i = 0; (pattern = filter_value(filters, "reference", i)); i++) {
		for (char **name = image->names; *name; name++) {
			char bare[REFERENCE_MAX];
			snprintf(bare, sizeof(bare), "%s", *name);
			char *colon = strrchr(bare, ':');
			if (colon && !strchr(colon, '/'))
				*colon = '\0';
			if (pattern_match(pattern, *name) || pattern_match(pattern, bare))
				return true;
		}
	}
	return false;
}

/* Limits on the time of creation, both exclusive; 0: none. */
struct span {
	int64_t after_ns, before_ns;
};

/* "before" and "since" name images, "until" is a time or a duration. */
static int span_of(struct daemon *d, const struct json *filters, struct span *out, struct err *err)
{
	static const char *const names[] = {"before", "since"};
	const char *until = filter_value(filters, "until", 0);
	struct span s = {0};
	int64_t ago;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *name = filter_value(filters, names[i], 0);
		auto_type(image) image =
			name ? image_find(engine_images(d->engine), name, err) : NULL;
		if (name && !image)
			return -1;
		if (image)
			*(i == 0 ? &s.before_ns : &s.after_ns) = image->created_ns;
	}
	if (until && clock_parse_duration(until, &ago, NULL) == 0)
		ago = clock_wall_ns() - ago;
	else if (until && clock_parse(until, &ago, err) < 0)
		return err_wrap(err, "filter until=%s", until);
	if (until && (!s.before_ns || ago < s.before_ns))
		s.before_ns = ago;
	*out = s;
	return 0;
}

/* The filters that listing and pruning share. */
static bool fits(const struct json *filters, const struct span *span, const struct image *image)
{
	return (!span->after_ns || image->created_ns > span->after_ns) &&
	       (!span->before_ns || image->created_ns < span->before_ns) &&
	       filter_matches_labels(filters, &image->config->config.labels);
}

static bool wanted(const struct json *filters, const struct span *span, const struct image *image)
{
	bool dangling = false;

	(void)filter_bool(filters, "dangling", &dangling, NULL);
	if (filter_has(filters, "dangling") && dangling != (image->names[0] == NULL))
		return false;
	return any_name_matches(filters, image) && fits(filters, span, image);
}

/* Docker shows a nameless image as <none>:<none> up to 1.42. */
static struct json *tags_for_list(const struct image *image, unsigned version)
{
	if (image->names[0] || version > 142)
		return reply_list(image->names);
	struct json *list = json_array();
	json_append(list, json_string("<none>:<none>"));
	return list;
}

static struct json *summary(const struct image *image, unsigned version)
{
	struct json *doc = json_object();

	json_set(doc, "Containers", json_int(-1));
	json_set(doc, "Created", json_int(image->created_ns / 1000000000));
	json_set(doc, "Id", json_string(image->id));
	json_set(doc, "Labels", reply_strmap(&image->config->config.labels));
	json_set(doc, "ParentId", json_string(image->parent));
	json_set(doc, "RepoDigests", reply_list(image->digests));
	json_set(doc, "RepoTags", tags_for_list(image, version));
	json_set(doc, "SharedSize", json_int(-1));
	json_set(doc, "Size", json_int(image->size));
	if (version < 144)
		json_set(doc, "VirtualSize", json_int(image->size));
	return doc;
}

static int list(void *ctx, struct http_request *req, struct err *err)
{
	static const char *const allowed[] = {"before",    "dangling", "label", "label!",
	                                      "reference", "since",    "until", NULL};
	struct daemon *d = ctx;
	auto_type(json) filters = filter_parse(http_query(req, "filters"), err);
	struct span span;
	size_t count = 0;
	bool all;

	if (!filters || filter_check(filters, allowed, err) < 0 ||
	    span_of(d, filters, &span, err) < 0 ||
	    http_query_bool(req, "all", false, &all, err) < 0)
		return -1;
	struct image **images = image_list(engine_images(d->engine), all, &count, err);
	if (!images)
		return -1;
	struct json *doc = json_array();
	for (size_t i = 0; i < count; i++) {
		if (wanted(filters, &span, images[i]))
			json_append(doc, summary(images[i], http_version(req)));
		image_free(images[i]);
	}
	free(images);
	return http_reply_json(req, 200, doc);
}

/* ---- one image ---- */

static struct json *config_of(const struct image *image)
{
	auto_type(json) text = json_parse(image->config_text, image->config_len, NULL);
	struct json *config = json_get(text, "config");

	return json_is_object(config) ? json_ref(config) : json_object();
}

/* Docker shows all of these, also where the image's config leaves them out. */
static struct json *full_config(const struct image *image)
{
	static const char *const strings[] = {"Hostname", "Domainname", "User", "Image",
	                                      "WorkingDir"};
	static const char *const flags[] = {"AttachStdin", "AttachStdout", "AttachStderr",
	                                    "Tty",         "OpenStdin",    "StdinOnce"};
	static const char *const others[] = {"Env",        "Cmd",     "Volumes",
	                                     "Entrypoint", "OnBuild", "Labels"};
	auto_type(json) own = config_of(image);
	struct json *doc = json_object();
	struct json *value;
	const char *key;
	void *iter = NULL;

	for (size_t i = 0; i < ARRAY_LEN(strings); i++)
		json_set(doc, strings[i], json_string(""));
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		json_set(doc, flags[i], json_bool(false));
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		json_set(doc, others[i], json_null());
	while (json_next(own, &iter, &key, &value))
		json_set(doc, key, json_ref(value));
	return doc;
}

static struct json *rootfs(const struct image *image)
{
	struct json *layers = json_array();
	struct json *doc = json_object();

	for (size_t i = 0; i < image->config->rootfs.diff_ids.count; i++)
		json_append(layers, json_string(image->config->rootfs.diff_ids.items[i]));
	json_set(doc, "Type", json_string("layers"));
	json_set(doc, "Layers", layers);
	return doc;
}

static struct json *graph_driver(void)
{
	struct json *doc = json_object();

	json_set(doc, "Data", json_null());
	json_set(doc, "Name", json_string("overlay2"));
	return doc;
}

static const char *last_comment(const struct image *image)
{
	const struct oci_history *history = image->config->history.items;
	size_t count = image->config->history.count;

	return count && history[count - 1].comment ? history[count - 1].comment : "";
}

static int inspect(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_type(image) image = image_find(engine_images(d->engine), http_arg(req, 0), err);
	char tagged[CLOCK_TEXT_MAX];

	if (!image)
		return -1;
	const struct oci_config *c = image->config;
	struct json *metadata = json_object();
	json_set(metadata, "LastTagTime", json_string(clock_format(image->tagged_ns, tagged)));

	struct json *doc = json_object();
	json_set(doc, "Id", json_string(image->id));
	json_set(doc, "RepoTags", reply_list(image->names));
	json_set(doc, "RepoDigests", reply_list(image->digests));
	json_set(doc, "Parent", json_string(image->parent));
	json_set(doc, "Comment", json_string(last_comment(image)));
	json_set(doc, "Created", json_string(c->created ? c->created : CLOCK_ZERO));
	if (http_version(req) < 145) { /* compose 1.29 reads it */
		json_set(doc, "Container", json_string(""));
		json_set(doc, "ContainerConfig", full_config(image));
	}
	json_set(doc, "DockerVersion", json_string(""));
	json_set(doc, "Author", json_string(c->author ? c->author : ""));
	json_set(doc, "Config", full_config(image));
	json_set(doc, "Architecture", json_string(c->architecture ? c->architecture : ""));
	if (!str_empty(c->variant))
		json_set(doc, "Variant", json_string(c->variant));
	json_set(doc, "Os", json_string(c->os ? c->os : ""));
	json_set(doc, "Size", json_int(image->size));
	if (http_version(req) < 144)
		json_set(doc, "VirtualSize", json_int(image->size));
	json_set(doc, "GraphDriver", graph_driver());
	json_set(doc, "RootFS", rootfs(image));
	json_set(doc, "Metadata", metadata);
	return http_reply_json(req, 200, doc);
}

/* One line per step of the build, newest first. Ids of steps that are images of their own are not kept. */
static int history(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_type(image) image = image_find(engine_images(d->engine), http_arg(req, 0), err);

	if (!image)
		return -1;
	const struct oci_history *steps = image->config->history.items;
	struct json *doc = json_array();
	for (size_t i = image->config->history.count; i-- > 0;) {
		bool top = i + 1 == image->config->history.count;
		int64_t created = 0;
		struct json *one = json_object();
		(void)clock_parse(steps[i].created ? steps[i].created : CLOCK_ZERO, &created, NULL);
		json_set(one, "Comment", json_string(steps[i].comment ? steps[i].comment : ""));
		json_set(one, "Created", json_int(created / 1000000000));
		json_set(one, "CreatedBy",
		         json_string(steps[i].created_by ? steps[i].created_by : ""));
		json_set(one, "Id", json_string(top ? image->id : "<missing>"));
		json_set(one, "Size", json_int(top && !steps[i].empty_layer ? image->size : 0));
		json_set(one, "Tags",
		         top && image->names[0] ? reply_list(image->names) : json_null());
		json_append(doc, one);
	}
	return http_reply_json(req, 200, doc);
}

/* ---- names ---- */

static int tag(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	struct image_store *store = engine_images(d->engine);
	const char *repo = http_query(req, "repo");
	const char *tag_name = http_query(req, "tag");
	char text[REFERENCE_MAX * 2], familiar[REFERENCE_MAX];
	struct reference ref;

	if (str_empty(repo))
		return err_set(err, ERR_INVALID, "repo: name the repository");
	snprintf(text, sizeof(text), "%s%s%s", repo, str_empty(tag_name) ? "" : ":",
	         str_empty(tag_name) ? "" : tag_name);
	if (reference_parse(text, &ref, err) < 0)
		return -1;
	if (*ref.digest)
		return err_set(err, ERR_INVALID, "%s: a tag cannot have a digest", text);
	auto_type(image) image = image_find(store, http_arg(req, 0), err);
	if (!image || image_tag(store, image->id, &ref, err) < 0)
		return -1;
	event_add(d->engine, "image", "tag", image->id, "name", reference_familiar(&ref, familiar),
	          NULL);
	return http_reply_empty(req, 201);
}

struct removal {
	struct daemon *d;
	struct json *list; /* borrowed */
};

static void told(struct removal *r, const char *what, const char *event, const char *name)
{
	struct json *one = json_object();

	json_set(one, what, json_string(name));
	json_append(r->list, one);
	if (strcmp(what, "Untagged") == 0 || str_starts(name, "sha256:"))
		event_add(r->d->engine, "image", event, name, "name", name, NULL);
}

static void untagged(void *arg, const char *name)
{
	told(arg, "Untagged", "untag", name);
}

static void deleted(void *arg, const char *id)
{
	told(arg, "Deleted", "delete", id);
}

static bool in_use(void *arg, const char *id, bool running_only, char who[65])
{
	struct removal *r = arg;

	return engine_image_in_use(r->d->engine, id, running_only, who);
}

static int delete (void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	bool force, no_prune;

	if (http_query_bool(req, "force", false, &force, err) < 0 ||
	    http_query_bool(req, "noprune", false, &no_prune, err) < 0)
		return -1;
	auto_type(json) list = json_array();
	struct removal removal = {.d = d, .list = list};
	const struct image_removed removed = {
		.untagged = untagged, .deleted = deleted, .in_use = in_use, .arg = &removal};
	if (image_remove(engine_images(d->engine), http_arg(req, 0), force, no_prune, &removed,
	                 err) < 0)
		return -1;
	return http_reply_json(req, 200, move_ptr(list));
}

/* Pruning keeps what is used, and what the filters leave out. */
struct choice {
	struct removal removal; /* first: untagged() and deleted() look for it here */
	const struct json *filters;
	struct span span;
};

static bool is_kept(void *arg, const char *id, bool running_only, char who[65])
{
	struct choice *c = arg;
	struct daemon *d = c->removal.d;
	auto_type(image) image = image_find(engine_images(d->engine), id, NULL);

	return (image && !fits(c->filters, &c->span, image)) ||
	       engine_image_in_use(d->engine, id, running_only, who);
}

static int prune(void *ctx, struct http_request *req, struct err *err)
{
	static const char *const allowed[] = {"dangling", "label", "label!", "until", NULL};
	struct daemon *d = ctx;
	auto_type(json) filters = filter_parse(http_query(req, "filters"), err);
	bool dangling = true;

	if (!filters || filter_check(filters, allowed, err) < 0 ||
	    filter_bool(filters, "dangling", &dangling, err) < 0)
		return -1;
	auto_type(json) list = json_array();
	struct choice choice = {.removal = {.d = d, .list = list}, .filters = filters};
	const struct image_removed removed = {
		.untagged = untagged, .deleted = deleted, .in_use = is_kept, .arg = &choice};
	if (span_of(d, filters, &choice.span, err) < 0)
		return -1;
	int64_t bytes = image_prune(engine_images(d->engine), !dangling, &removed, err);
	if (bytes < 0)
		return -1;
	struct json *doc = json_object();
	json_set(doc, "ImagesDeleted", json_count(list) ? json_ref(list) : json_null());
	json_set(doc, "SpaceReclaimed", json_int(bytes));
	return http_reply_json(req, 200, doc);
}

static int search(void *ctx, struct http_request *req, struct err *err)
{
	(void)ctx, (void)req;
	return err_set(err, ERR_UNSUPPORTED,
	               "image search is not supported: registries have no common "
	               "search; pull an image by its name");
}

const struct http_route images_routes[] = {
	{"GET", "/images/json", list, false},        {"GET", "/images/search", search, false},
	{"GET", "/images/{*}/json", inspect, false}, {"GET", "/images/{*}/history", history, false},
	{"POST", "/images/{*}/tag", tag, false},     {"POST", "/images/prune", prune, false},
	{"DELETE", "/images/{*}", delete, false},    {NULL, NULL, NULL, false},
};
