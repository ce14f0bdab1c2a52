/* SPDX-License-Identifier: Apache-2.0 */

/*
 * image_tool - the image store without a daemon, for tests: `image_tool STORE COMMAND ARG...`.
 * Prints what it made; errors go to stderr as "KIND: words" with exit status 1.
 */

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/err.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "image/image.h"

struct tool {
	struct image_store *store;
	char **args;
	int count;
};

static int show(void *arg, const char *id, const char *status, int64_t current, int64_t total)
{
	(void)arg;
	if (total == 0)
		fprintf(stderr, "%s: %s\n", id, status);
	(void)current;
	return 0;
}

static const struct image_progress progress = {.update = show};

static const struct image_auth *auth_of(struct image_auth *auth)
{
	auth->username = getenv("IMAGE_USER");
	auth->password = getenv("IMAGE_PASSWORD");
	return auth;
}

static int do_import(struct tool *t, struct err *err)
{
	struct oci_run_config config = {0};
	struct reference ref;
	char id[DIGEST_TEXT_MAX];
	auto_close int fd = fs_trusted_open(t->args[0], O_RDONLY, 0, err);

	if (fd < 0 || reference_parse(t->args[1], &ref, err) < 0 ||
	    image_import(t->store, fd, &ref, NULL, &config, id, err) < 0)
		return -1;
	return printf("%s\n", id) < 0 ? -1 : 0;
}

static int do_pull(struct tool *t, struct err *err)
{
	struct reference ref;
	struct image_auth auth = {0};
	struct image_pulled pulled;

	if (reference_parse(t->args[0], &ref, err) < 0 ||
	    image_pull(t->store, &ref, t->count > 1 ? t->args[1] : NULL, auth_of(&auth), &progress,
	               &pulled, err) < 0)
		return -1;
	printf("%s %s\n", pulled.id, pulled.digest);
	return 0;
}

/* One of several pulls at once. */
struct puller {
	struct tool tool;
	pthread_t thread;
	struct err err;
};

static void *pull_one(void *arg)
{
	struct puller *p = arg;

	(void)do_pull(&p->tool, &p->err);
	return NULL;
}

static int do_pulls(struct tool *t, struct err *err)
{
	struct puller pullers[8] = {0};
	int n = t->count < 8 ? t->count : 8;
	int rc = 0;

	for (int i = 0; i < n; i++) {
		pullers[i].tool = (struct tool){t->store, t->args + i, 1};
		if (pthread_create(&pullers[i].thread, NULL, pull_one, &pullers[i]) != 0)
			abort();
	}
	for (int i = 0; i < n; i++) {
		pthread_join(pullers[i].thread, NULL);
		if (pullers[i].err.kind != ERR_NONE) {
			*err = pullers[i].err;
			rc = -1;
		}
	}
	return rc;
}

static int do_push(struct tool *t, struct err *err)
{
	struct reference ref;
	struct image_auth auth = {0};
	char digest[DIGEST_TEXT_MAX];
	int64_t size;

	if (reference_parse(t->args[0], &ref, err) < 0 ||
	    image_push(t->store, &ref, auth_of(&auth), &progress, digest, &size, err) < 0)
		return -1;
	printf("%s\n", digest);
	return 0;
}

static int do_login(struct tool *t, struct err *err)
{
	struct image_auth auth = {0};

	return image_login(t->store, t->args[0], auth_of(&auth), err);
}

static int do_tag(struct tool *t, struct err *err)
{
	struct reference ref;

	if (reference_parse(t->args[1], &ref, err) < 0)
		return -1;
	return image_tag(t->store, t->args[0], &ref, err);
}

static int say(void *arg, const char *name, bool is_name)
{
	(void)arg, (void)is_name;
	printf("%s\n", name);
	return 0;
}

static int do_load(struct tool *t, struct err *err)
{
	auto_close int fd = fs_trusted_open(t->args[0], O_RDONLY, 0, err);

	return fd < 0 ? -1 : image_load(t->store, fd, &progress, say, NULL, err);
}

static int do_save(struct tool *t, struct err *err)
{
	auto_close int fd = fs_trusted_open(t->args[0], O_WRONLY | O_CREAT | O_TRUNC, 0600, err);

	return fd < 0 ? -1
	              : image_save(t->store, (const char *const *)t->args + 1, (size_t)t->count - 1,
	                           fd, err);
}

static int do_list(struct tool *t, struct err *err)
{
	size_t count;
	struct image **list = image_list(t->store, true, &count, err);

	if (!list)
		return -1;
	for (size_t i = 0; i < count; i++) {
		printf("%s %s %s %lld\n", list[i]->id, list[i]->names[0] ? list[i]->names[0] : "-",
		       list[i]->digests[0] ? list[i]->digests[0] : "-", (long long)list[i]->size);
		image_free(list[i]);
	}
	free(list);
	return 0;
}

static int do_remove(struct tool *t, struct err *err)
{
	return image_remove(t->store, t->args[0], false, false, NULL, err);
}

/* Where the layers lie, top first: for an overlay's lowers. */
static int do_layers(struct tool *t, struct err *err)
{
	auto_type(image) image = image_find(t->store, t->args[0], err);

	for (size_t i = image ? image->layer_count : 0; i > 0; i--)
		printf("layers/%s/diff\n", digest_hex(image->layers[i - 1]));
	return image ? 0 : -1;
}

/* Mounts the image's layers, as a container has them, on a directory. */
static int do_mount(struct tool *t, struct err *err)
{
	struct image_layers layers;
	auto_close int target = fs_trusted_open_dir(t->args[1], false, err);
	struct fs_mount_option options[512];
	char paths[512][32];

	if (target < 0 || image_layers_open(t->store, t->args[0], &layers, err) < 0)
		return -1;
	size_t n = 0;
	for (; n < layers.count && n < 511; n++) {
		(void)snprintf(paths[n], sizeof(paths[n]), "/proc/self/fd/%d", layers.fds[n]);
		options[n] = (struct fs_mount_option){"lowerdir+", paths[n]};
	}
	options[n++] =
		(struct fs_mount_option){"lowerdir+", t->args[2]}; /* an empty one below all */
	auto_close int mount =
		fs_mount_detached("overlay", "overlay", options, n, MOUNT_ATTR_RDONLY, err);
	image_layers_close(&layers);
	return mount < 0 ? -1 : fs_mount_attach(mount, target, err);
}

static int do_layer(struct tool *t, struct err *err)
{
	struct image_layer layer;
	auto_close int fd = fs_trusted_open(t->args[0], O_RDONLY, 0, err);

	if (fd < 0 || image_layer_from_tar(t->store, "", fd, &layer, err) < 0)
		return -1;
	printf("layers/%s/diff %s\n", digest_hex(layer.chain_id), layer.diff_id);
	return 0;
}

static int do_upper(struct tool *t, struct err *err)
{
	struct image_layer layer;
	auto_close int fd = fs_trusted_open_dir(t->args[0], false, err);

	if (fd < 0 || image_layer_from_upper(t->store, "", fd, false, &layer, err) < 0)
		return -1;
	printf("layers/%s/diff %s blobs/sha256/%s\n", digest_hex(layer.chain_id), layer.diff_id,
	       digest_hex(layer.blob));
	return 0;
}

/* As a build's last step: an upper becomes a layer, its files moved into the store, and an image. */
static int do_commit(struct tool *t, struct err *err)
{
	char config[512], id[DIGEST_TEXT_MAX];
	struct image_layer layer;
	struct reference ref;
	auto_close int fd = fs_trusted_open_dir(t->args[0], false, err);

	if (fd < 0 || reference_parse(t->args[1], &ref, err) < 0 ||
	    image_layer_from_upper(t->store, "", fd, true, &layer, err) < 0)
		return -1;
	int len = snprintf(config, sizeof(config),
	                   "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":"
	                   "{\"type\":\"layers\",\"diff_ids\":[\"%s\"]}}",
	                   layer.diff_id);
	if (image_create(t->store, config, (size_t)len, "", &ref, id, err) < 0)
		return -1;
	printf("%s\n", id);
	return 0;
}

static int do_unpack(struct tool *t, struct err *err)
{
	auto_close int fd = fs_trusted_open(t->args[0], O_RDONLY, 0, err);
	auto_close int dir = fs_trusted_open_dir(t->args[1], false, err);

	if (fd < 0 || dir < 0)
		return -1;
	return image_unpack(t->store, fd, dir, t->count > 2 ? IMAGE_UNPACK_FOLLOW : 0, err);
}

static int do_export(struct tool *t, struct err *err)
{
	auto_close int dir = fs_trusted_open_dir(t->args[0], false, err);
	auto_close int fd = fs_trusted_open(t->args[1], O_WRONLY | O_CREAT | O_TRUNC, 0600, err);

	return dir < 0 || fd < 0 ? -1 : image_export_dir(t->store, dir, fd, err);
}

static int show_damage(void *arg, const struct image_damage *d)
{
	size_t images = 0;

	(void)arg;
	while (d->images[images])
		images++;
	return printf("%s|%s|%s|%zu|%s|%s\n", d->layer, d->what, d->reason, images,
	              d->mended ? "mended" : "damaged", d->outcome) < 0
	               ? -1
	               : 0;
}

static int do_check(struct tool *t, struct err *err)
{
	struct image_checked done;
	const struct image_check check = {
		.repair = strcmp(t->args[0], "repair") == 0,
		.progress = &progress,
		.damaged = show_damage,
	};

	if (image_check(t->store, &check, &done, err) < 0)
		return -1;
	return printf("%lld layers\n", (long long)done.layers) < 0 ? -1 : 0;
}

static const struct {
	const char *name;
	int args;
	int (*run)(struct tool *t, struct err *err);
} commands[] = {
	{"pull", 1, do_pull},     {"mount", 3, do_mount},   {"pulls", 1, do_pulls},
	{"push", 1, do_push},     {"login", 1, do_login},   {"import", 2, do_import},
	{"load", 1, do_load},     {"save", 2, do_save},     {"tag", 2, do_tag},
	{"list", 0, do_list},     {"remove", 1, do_remove}, {"layers", 1, do_layers},
	{"layer", 1, do_layer},   {"upper", 1, do_upper},   {"commit", 2, do_commit},
	{"unpack", 2, do_unpack}, {"export", 2, do_export}, {"check", 1, do_check},
};

/* Directories unless IMAGE_FORM says "tars" (where the machine can): most tests look into them. */
static enum image_form form(void)
{
	const char *wanted = getenv("IMAGE_FORM");

	return wanted && strcmp(wanted, "tars") == 0 ? IMAGE_FORM_TARS : IMAGE_FORM_DIRECTORIES;
}

#define LIST_MAX 16

/* The words of an environment variable; NULL when it is not set. */
static const char *const *words_of(const char *variable, const char *list[LIST_MAX])
{
	char *text = getenv(variable), *save = NULL;
	size_t n = 0;

	for (char *word = text ? strtok_r(text, " ", &save) : NULL; word && n + 1 < LIST_MAX;
	     word = strtok_r(NULL, " ", &save))
		list[n++] = word;
	list[n] = NULL;
	return text ? list : NULL;
}

static int run(struct tool *t, const char *dir, const char *name, struct err *err)
{
	auto_close int fd = fs_trusted_open_dir(dir, true, err);
	const char *insecure[LIST_MAX], *mirrors[LIST_MAX], *certs[LIST_MAX];
	const struct image_store_options options = {
		.form = form(),
		.insecure_registries = words_of("IMAGE_INSECURE", insecure),
		.mirrors = words_of("IMAGE_MIRRORS", mirrors),
		.certs_dirs = words_of("IMAGE_CERTS", certs),
	};
	int rc = fd < 0 ? -1 : 1;

	if (rc > 0)
		t->store = image_store_open(fd, &options, err);
	if (!t->store)
		return -1;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0 && t->count >= commands[i].args)
			rc = commands[i].run(t, err);
	if (rc > 0)
		rc = err_set(err, ERR_INVALID, "unknown command %s, or too few arguments", name);
	image_store_close(t->store);
	return rc;
}

int main(int argc, char **argv)
{
	struct tool t = {.args = argv + 3, .count = argc - 3};
	struct err err = ERR_INIT;

	if (argc > 1 && strcmp(argv[1], "worker") == 0)
		return image_worker_main(argc, argv);
	if (argc < 3 || failpoint_init(&err) < 0) {
		fprintf(stderr, "usage: image_tool STORE COMMAND ARG... %s\n", err.msg);
		return 2;
	}
	if (run(&t, argv[1], argv[2], &err) == 0)
		return 0;
	fprintf(stderr, "%d: %s\n", (int)err.kind, err.msg);
	return 1;
}
