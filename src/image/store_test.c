/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/testing.h"
#include "image/diff.h"
#include "image/image.h"

/* A store in a directory of its own; this program is its own worker. */
struct fixture {
	char path[64];
	int fd;
	struct image_store *store;
	struct err err;
};

static void reopen(struct fixture *f)
{
	image_store_close(f->store);
	f->store = image_store_open(f->fd, &(struct image_store_options){0}, &f->err);
	if (!f->store)
		fail_msg("%s", f->err.msg);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->path, sizeof(f->path), "/tmp/image-store-test.XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->fd = fs_trusted_open_dir(f->path, false, &f->err);
	assert_true(f->fd >= 0);
	reopen(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	image_store_close(f->store);
	close(f->fd);
	testing_remove_tree(f->path);
	free(f);
	return 0;
}

static int must(struct fixture *f, int rc)
{
	if (rc < 0)
		fail_msg("%s", f->err.msg);
	return rc;
}

/* An upper directory with one file of this text. */
static int make_upper(struct fixture *f, const char *name, const char *text)
{
	int fd = must(f, fs_mkdir_all(f->fd, name, 0755, &f->err));

	testing_write(fd, "file", text);
	return fd;
}

static struct image_layer add_layer(struct fixture *f, const char *parent, const char *text)
{
	struct image_layer layer;
	int upper = make_upper(f, "upper", text);

	must(f, image_layer_from_upper(f->store, parent, upper, true, &layer, &f->err));
	close(upper);
	must(f, fs_remove_tree(f->fd, "upper", &f->err));
	return layer;
}

/* An image of these layers; *id is filled. `salt` makes its config differ. */
static void add_image(struct fixture *f, const struct image_layer *layers, size_t count,
                      const char *parent, const char *name, const char *salt,
                      char id[DIGEST_TEXT_MAX])
{
	auto_buf struct buf text = BUF_INIT(65536);
	struct reference ref;

	buf_addf(&text,
	         "{\"created\":\"2026-01-02T03:04:05Z\",\"author\":\"%s\","
	         "\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{},"
	         "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[",
	         salt);
	for (size_t i = 0; i < count; i++)
		buf_addf(&text, "%s\"%s\"", i ? "," : "", layers[i].diff_id);
	buf_add(&text, "]}}");
	if (name)
		must(f, reference_parse(name, &ref, &f->err));
	must(f, image_create(f->store, buf_str(&text), text.len, parent, name ? &ref : NULL, id,
	                     &f->err));
}

static size_t count_layers(struct fixture *f)
{
	struct image_usage usage;

	must(f, image_disk_usage(f->store, &usage, &f->err));
	return (size_t)usage.layers;
}

static void an_image_is_found_by_name_id_and_prefix(void **state)
{
	struct fixture *f = *state;
	struct image_layer layer = add_layer(f, "", "one");
	char id[DIGEST_TEXT_MAX];

	add_image(f, &layer, 1, "", "app:1", "", id);
	const char *names[] = {"app:1", "docker.io/library/app:1", id, id + 7};
	for (size_t i = 0; i < 4; i++) {
		auto_type(image) image = image_find(f->store, names[i], &f->err);
		if (!image)
			fail_msg("%s: %s", names[i], f->err.msg);
		assert_string_equal(image->id, id);
		assert_string_equal(image->names[0], "app:1");
		assert_string_equal(image->layers[0], layer.chain_id);
		assert_int_equal(image->size, 3);
	}
	char prefix[16];
	snprintf(prefix, sizeof(prefix), "%.12s", id + 7);
	auto_type(image) image = image_find(f->store, prefix, &f->err);
	assert_non_null(image);
	assert_null(image_find(f->store, "nosuch", &f->err));
	assert_int_equal(f->err.kind, ERR_NOT_FOUND);
	assert_string_equal(f->err.msg, "No such image: nosuch:latest");
}

static void layers_open_top_first_with_their_content(void **state)
{
	struct fixture *f = *state;
	struct image_layer layers[2];
	struct image_layers open;
	char id[DIGEST_TEXT_MAX];

	layers[0] = add_layer(f, "", "low");
	layers[1] = add_layer(f, layers[0].chain_id, "high");
	add_image(f, layers, 2, "", "app", "", id);
	must(f, image_layers_open(f->store, id, &open, &f->err));
	assert_int_equal(open.count, 2);
	testing_assert_file(open.fds[0], "file", "high");
	testing_assert_file(open.fds[1], "file", "low");
	image_layers_close(&open);
	must(f, image_chain_open(f->store, layers[1].chain_id, &open, &f->err));
	assert_int_equal(open.count, 2);
	testing_assert_file(open.fds[0], "file", "high");
	image_layers_close(&open);
}

static void an_empty_upper_is_the_well_known_empty_layer(void **state)
{
	struct fixture *f = *state;
	struct image_layer layer;
	int upper = must(f, fs_mkdir_all(f->fd, "upper", 0755, &f->err));

	must(f, image_layer_from_upper(f->store, "", upper, false, &layer, &f->err));
	close(upper);
	assert_string_equal(
		layer.diff_id,
		"sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef");
	assert_int_equal(layer.size, 0);
}

static void moving_and_unpacking_an_upper_give_the_same_layer(void **state)
{
	struct fixture *f = *state;
	struct image_layer copied, moved;
	int upper = make_upper(f, "upper", "same");
	int sub = must(f, fs_mkdir_all(upper, "a/b", 0750, &f->err));

	testing_write(sub, "x", "linked");
	must(f, fs_link(sub, "x", upper, "y", &f->err));
	must(f, fs_symlink("../file", sub, "s", &f->err));
	must(f, fs_mknod(upper, "gone", S_IFCHR, makedev(0, 0), &f->err));
	close(sub);
	must(f, image_layer_from_upper(f->store, "", upper, false, &copied, &f->err));
	struct image_layers open;
	must(f, image_chain_open(f->store, copied.chain_id, &open, &f->err));
	struct stat st, st2;
	must(f, fs_stat(open.fds[0], "gone", &st, &f->err));
	assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
	must(f, fs_stat(open.fds[0], "a/b/x", &st, &f->err));
	must(f, fs_stat(open.fds[0], "y", &st2, &f->err));
	assert_int_equal(st.st_ino, st2.st_ino);
	must(f, fs_stat(open.fds[0], "a", &st, &f->err));
	must(f, fs_stat(upper, "a", &st2, &f->err));
	assert_int_equal(st.st_mode, st2.st_mode);
	assert_int_equal(st.st_mtime, st2.st_mtime);
	image_layers_close(&open);

	/* On another parent, so that it is another layer. */
	must(f, image_layer_from_upper(f->store, copied.chain_id, upper, true, &moved, &f->err));
	assert_string_equal(moved.diff_id, copied.diff_id);
	assert_string_equal(moved.blob, copied.blob);
	assert_false(fs_exists(upper, "a"));
	close(upper);
}

static void layers_shared_by_two_images_go_with_the_last(void **state)
{
	struct fixture *f = *state;
	struct image_layer layers[2];
	char one[DIGEST_TEXT_MAX], two[DIGEST_TEXT_MAX];

	layers[0] = add_layer(f, "", "base");
	layers[1] = add_layer(f, layers[0].chain_id, "top");
	add_image(f, layers, 1, "", "one", "", one);
	add_image(f, layers, 2, "", "two", "", two);
	must(f, image_remove(f->store, "one", false, false, NULL, &f->err));
	assert_int_equal(count_layers(f), 2);
	must(f, image_remove(f->store, two, false, false, NULL, &f->err));
	assert_int_equal(count_layers(f), 0);
	int left = must(f, fs_open_dir(f->fd, "blobs/sha256", &f->err));
	assert_false(fs_exists(left, digest_hex(layers[0].blob)));
	close(left);
}

static void an_open_layer_is_not_collected_until_it_is_closed(void **state)
{
	struct fixture *f = *state;
	struct image_layer layer = add_layer(f, "", "pinned");
	struct image_layers open;
	char id[DIGEST_TEXT_MAX];

	add_image(f, &layer, 1, "", "app", "", id);
	must(f, image_layers_open(f->store, id, &open, &f->err));
	must(f, image_remove(f->store, "app", false, false, NULL, &f->err));
	assert_int_equal(count_layers(f), 1);
	testing_assert_file(open.fds[0], "file", "pinned");
	image_layers_close(&open);
	reopen(f);
	assert_int_equal(count_layers(f), 0);
}

static void a_lease_keeps_the_layers_of_a_removed_image(void **state)
{
	struct fixture *f = *state;
	struct image_layer layer = add_layer(f, "", "leased");
	struct image_layers open;
	char id[DIGEST_TEXT_MAX];

	add_image(f, &layer, 1, "", "app", "", id);
	must(f, image_lease(f->store, id, "container:c1", &f->err));
	must(f, image_lease(f->store, id, "container:c1", &f->err));
	must(f, image_remove(f->store, "app", true, false, NULL, &f->err));
	reopen(f);
	must(f, image_layers_open(f->store, id, &open, &f->err));
	testing_assert_file(open.fds[0], "file", "leased");
	image_layers_close(&open);
	must(f, image_release(f->store, "container:c1", &f->err));
	assert_int_equal(count_layers(f), 0);
}

static bool is_c1(void *arg, const char *holder)
{
	(void)arg;
	return strcmp(holder, "container:c1") == 0;
}

static void leases_of_nobody_go_at_a_start(void **state)
{
	struct fixture *f = *state;
	struct image_layer one = add_layer(f, "", "one"), two = add_layer(f, "", "two");
	char id[DIGEST_TEXT_MAX];

	add_image(f, &one, 1, "", "app", "", id);
	must(f, image_lease(f->store, id, "container:c1", &f->err));
	add_image(f, &two, 1, "", "other", "", id);
	must(f, image_lease(f->store, id, "container:c0", &f->err));
	must(f, image_lease(f->store, id, "container:c2", &f->err));
	must(f, image_remove(f->store, "app", true, false, NULL, &f->err));
	must(f, image_remove(f->store, "other", true, false, NULL, &f->err));
	assert_int_equal(count_layers(f), 2);
	must(f, image_release_unknown(f->store, is_c1, NULL, &f->err));
	assert_int_equal(count_layers(f), 1);
}

static bool used_by_c1(void *arg, const char *id, bool running_only, char who[65])
{
	(void)id;
	if (running_only && !*(bool *)arg)
		return false;
	snprintf(who, 65, "c1c1c1c1c1c1c1c1");
	return true;
}

static void a_used_image_is_a_conflict_in_dockers_words(void **state)
{
	struct fixture *f = *state;
	struct image_layer layer = add_layer(f, "", "used");
	char id[DIGEST_TEXT_MAX], expected[400];
	bool running = false;
	struct image_removed told = {.in_use = used_by_c1, .arg = &running};

	add_image(f, &layer, 1, "", "app:1", "", id);
	assert_int_equal(image_remove(f->store, "app:1", false, false, &told, &f->err), -1);
	snprintf(
		expected, sizeof(expected),
		"conflict: unable to remove repository reference \"app:1\" (must force) - container "
		"c1c1c1c1c1c1 is using its referenced image %.12s",
		id + 7);
	assert_string_equal(f->err.msg, expected);
	assert_int_equal(f->err.kind, ERR_CONFLICT);
	running = true;
	assert_int_equal(image_remove(f->store, id, true, false, &told, &f->err), -1);
	snprintf(
		expected, sizeof(expected),
		"conflict: unable to delete %.12s (cannot be forced) - image is being used by running "
		"container c1c1c1c1c1c1",
		id + 7);
	assert_string_equal(f->err.msg, expected);
}

static void an_id_with_several_names_needs_force(void **state)
{
	struct fixture *f = *state;
	struct image_layer layer = add_layer(f, "", "names");
	struct reference ref;
	char id[DIGEST_TEXT_MAX];

	add_image(f, &layer, 1, "", "a:1", "", id);
	must(f, reference_parse("b:1", &ref, &f->err));
	must(f, image_tag(f->store, id, &ref, &f->err));
	assert_int_equal(image_remove(f->store, id, false, false, NULL, &f->err), -1);
	assert_int_equal(f->err.kind, ERR_CONFLICT);
	assert_non_null(strstr(f->err.msg, "(must be forced) - image is referenced in multiple"));
	must(f, image_remove(f->store, "a:1", false, false, NULL, &f->err));
	auto_type(image) image = image_find(f->store, "b:1", &f->err);
	assert_non_null(image);
	must(f, image_remove(f->store, id, true, false, NULL, &f->err));
	assert_int_equal(count_layers(f), 0);
}

static void parents_without_a_name_follow_their_last_child(void **state)
{
	struct fixture *f = *state;
	struct image_layer layers[2];
	char base[DIGEST_TEXT_MAX], top[DIGEST_TEXT_MAX];
	size_t count;

	layers[0] = add_layer(f, "", "base");
	layers[1] = add_layer(f, layers[0].chain_id, "top");
	add_image(f, layers, 1, "", NULL, "", base);
	add_image(f, layers, 2, base, "top", "", top);
	struct image **list = image_list(f->store, false, &count, &f->err);
	assert_int_equal(count, 1);
	image_free(list[0]);
	free(list);
	must(f, image_remove(f->store, "top", false, false, NULL, &f->err));
	assert_int_equal(count_layers(f), 0);
	list = image_list(f->store, true, &count, &f->err);
	assert_int_equal(count, 0);
	free(list);
}

static void prune_takes_what_has_no_name_and_with_all_what_nobody_uses(void **state)
{
	struct fixture *f = *state;
	struct image_layer layers[2];
	char one[DIGEST_TEXT_MAX], two[DIGEST_TEXT_MAX];

	layers[0] = add_layer(f, "", "aaaa");
	layers[1] = add_layer(f, "", "bb");
	add_image(f, &layers[0], 1, "", "named", "", one);
	add_image(f, &layers[1], 1, "", NULL, "", two);
	int64_t freed = image_prune(f->store, false, NULL, &f->err);
	assert_int_equal(freed, 2 + layers[1].blob_size);
	assert_null(image_find(f->store, two, &f->err));
	must(f, (int)image_prune(f->store, true, NULL, &f->err));
	assert_int_equal(count_layers(f), 0);
}

static void a_cache_entry_dies_with_its_image(void **state)
{
	struct fixture *f = *state;
	struct image_layer layer = add_layer(f, "", "cached");
	char id[DIGEST_TEXT_MAX], found[DIGEST_TEXT_MAX];

	add_image(f, &layer, 1, "", "app", "", id);
	must(f, image_cache_add(f->store, "key", id, &f->err));
	assert_int_equal(image_cache_find(f->store, "key", found, &f->err), 1);
	assert_string_equal(found, id);
	must(f, image_remove(f->store, "app", false, false, NULL, &f->err));
	assert_int_equal(image_cache_find(f->store, "key", found, &f->err), 0);
}

static void an_image_of_unknown_layers_is_refused(void **state)
{
	struct fixture *f = *state;
	struct image_layer layer = {0};
	static const char config[] =
		"{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\","
		"\"diff_ids\":"
		"[\"sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ee\"]}}";
	char id[DIGEST_TEXT_MAX];

	(void)layer;
	assert_int_equal(image_create(f->store, config, strlen(config), "", NULL, id, &f->err), -1);
	assert_int_equal(f->err.kind, ERR_NOT_FOUND);
}

static void what_a_crash_left_is_gone_after_the_next_open(void **state)
{
	struct fixture *f = *state;
	struct image_layer layer = add_layer(f, "", "kept");
	char id[DIGEST_TEXT_MAX];

	add_image(f, &layer, 1, "", "app", "", id);
	int staged = must(f, fs_mkdir_all(f->fd, "staging/abc/diff", 0700, &f->err));
	int orphan = must(f, fs_mkdir_all(f->fd, "layers/0123/diff", 0700, &f->err));
	testing_write(f->fd, "blobs/sha256/0123", "torn");
	close(staged);
	close(orphan);
	reopen(f);
	assert_false(fs_exists(f->fd, "staging/abc"));
	assert_false(fs_exists(f->fd, "layers/0123"));
	assert_false(fs_exists(f->fd, "blobs/sha256/0123"));
	auto_type(image) image = image_find(f->store, "app", &f->err);
	assert_non_null(image);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST_WITH(an_image_is_found_by_name_id_and_prefix, setup, teardown),
		TEST_WITH(layers_open_top_first_with_their_content, setup, teardown),
		TEST_WITH(an_empty_upper_is_the_well_known_empty_layer, setup, teardown),
		TEST_WITH(moving_and_unpacking_an_upper_give_the_same_layer, setup, teardown),
		TEST_WITH(layers_shared_by_two_images_go_with_the_last, setup, teardown),
		TEST_WITH(an_open_layer_is_not_collected_until_it_is_closed, setup, teardown),
		TEST_WITH(leases_of_nobody_go_at_a_start, setup, teardown),
		TEST_WITH(a_lease_keeps_the_layers_of_a_removed_image, setup, teardown),
		TEST_WITH(a_used_image_is_a_conflict_in_dockers_words, setup, teardown),
		TEST_WITH(an_id_with_several_names_needs_force, setup, teardown),
		TEST_WITH(parents_without_a_name_follow_their_last_child, setup, teardown),
		TEST_WITH(prune_takes_what_has_no_name_and_with_all_what_nobody_uses, setup,
	                  teardown),
		TEST_WITH(a_cache_entry_dies_with_its_image, setup, teardown),
		TEST_WITH(an_image_of_unknown_layers_is_refused, setup, teardown),
		TEST_WITH(what_a_crash_left_is_gone_after_the_next_open, setup, teardown),
	};

	if (argc > 1 && strcmp(argv[1], "worker") == 0)
		return image_worker_main(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
