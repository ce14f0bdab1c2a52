/* SPDX-License-Identifier: Apache-2.0 */
#include "image/apply.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/testing.h"
#include "image/ahead.h"

/*
 * Archives are written here byte by byte, as no library would write them. The extractor runs in this
 * process without its chroot and filter: what these tests show holds by path resolution alone. Beside the
 * root lies a canary, and after each archive it must be as it was.
 */

#define BLOCK 512

struct entry {
	const char *path;
	char type; /* '0' file, '1' hard link, '2' symlink, '3' char device, '5' directory, '6' fifo */
	const char *link;
	const char *content;
	unsigned mode; /* 0: 0644, directories 0755 */
};

struct fixture {
	char path[64];
	int base; /* holds root/ and canary/ */
	int root;
	struct buf tar;
	struct apply_result result;
	struct apply_limits limits;
	struct err err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->path, sizeof(f->path), "/tmp/image-apply-test.XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->base = fs_trusted_open_dir(f->path, false, NULL);
	f->root = fs_mkdir_all(f->base, "root", 0755, NULL);
	int canary = fs_mkdir_all(f->base, "canary", 0755, NULL);
	assert_true(f->base >= 0 && f->root >= 0 && canary >= 0);
	testing_write(canary, "file", "alive");
	close(canary);
	f->tar = BUF_INIT(64u << 20);
	f->limits = APPLY_LIMITS;
	*state = f;
	return 0;
}

static int count_entry(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	(void)dir_fd, (void)name, (void)d_type;
	++*(int *)arg;
	return 0;
}

/* The positive control of this check is the_canary_check_notices_a_change(). */
static bool canary_lives(struct fixture *f)
{
	auto_buf struct buf text = BUF_INIT(100);
	struct stat st;
	int outside = 0, inside = 0;
	auto_close int canary = fs_open_dir(f->base, "canary", NULL);

	return canary >= 0 && fs_list(f->base, count_entry, &outside, NULL) == 0 && outside == 2 &&
	       fs_list(canary, count_entry, &inside, NULL) == 0 && inside == 1 &&
	       fs_stat(canary, "file", &st, NULL) == 0 && st.st_nlink == 1 &&
	       (st.st_mode & 07777) == 0600 && fs_read(canary, "file", 100, &text, NULL) == 0 &&
	       strcmp(buf_str(&text), "alive") == 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close(f->root);
	close(f->base);
	buf_free(&f->tar);
	testing_remove_tree(f->path);
	free(f);
	return 0;
}

/* An octal number, as long as the field but one. */
static void put(char *field, size_t size, unsigned long value)
{
	for (size_t i = size - 1; i > 0; i--, value >>= 3)
		field[i - 1] = (char)('0' + (value & 7));
}

static void add(struct fixture *f, const struct entry *e)
{
	char h[BLOCK] = {0};
	size_t len = e->content ? strlen(e->content) : 0;
	unsigned sum = 0;

	memcpy(h, e->path, strnlen(e->path, 100));
	put(h + 100, 8, e->mode ? e->mode : e->type == '5' ? 0755 : 0644);
	put(h + 108, 8, 0);
	put(h + 116, 8, 0);
	put(h + 124, 12, len);
	put(h + 136, 12, 1000000000);
	memset(h + 148, ' ', 8);
	h[156] = e->type;
	if (e->link)
		memcpy(h + 157, e->link, strnlen(e->link, 100));
	memcpy(h + 257, "ustar\00000", 8);
	if (e->type == '3' || e->type == '4') {
		put(h + 329, 8, 1);
		put(h + 337, 8, 3);
	}
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)h[i];
	put(h + 148, 7, sum);
	h[154] = 0;
	buf_add_mem(&f->tar, h, BLOCK);
	if (len > 0) {
		char pad[BLOCK] = {0};
		buf_add_mem(&f->tar, e->content, len);
		buf_add_mem(&f->tar, pad, (BLOCK - len % BLOCK) % BLOCK);
	}
}

/* Applies what was added; the archive is empty again afterwards. */
static int apply(struct fixture *f, unsigned flags)
{
	char end[2 * BLOCK] = {0};
	FILE *file = tmpfile();

	assert_non_null(file);
	buf_add_mem(&f->tar, end, sizeof(end));
	assert_int_equal(buf_check(&f->tar, NULL), 0);
	assert_int_equal(fwrite(f->tar.data, 1, f->tar.len, file), f->tar.len);
	rewind(file);
	buf_clear(&f->tar);
	f->err = ERR_INIT;
	struct ahead *from = ahead_create(fileno(file), &f->err);
	assert_non_null(from);
	int rc = apply_tar(from, f->root, -1, flags | APPLY_UNPRIVILEGED, &f->limits, &f->result,
	                   &f->err);
	ahead_free(from);
	fclose(file);
	return rc;
}

static int apply_entries(struct fixture *f, unsigned flags, const struct entry *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		add(f, &list[i]);
	return apply(f, flags);
}

#define APPLY(f, flags, ...)                                                                       \
	({                                                                                         \
		const struct entry list_[] = {__VA_ARGS__};                                        \
		apply_entries(f, flags, list_, sizeof(list_) / sizeof(list_[0]));                  \
	})

static void files_directories_and_links_arrive(void **state)
{
	struct fixture *f = *state;
	struct stat st, st2;

	assert_int_equal(APPLY(f, 0, {"./d/", '5', .mode = 0750},
	                       {"d/file", '0', NULL, "text", 0604}, {"hard", '1', "d/file"},
	                       {"soft", '2', "d/../../canary"},
	                       {"/abs/deep/file", '0', NULL, "abs"}),
	                 0);
	testing_assert_file(f->root, "d/file", "text");
	testing_assert_file(f->root, "abs/deep/file", "abs");
	assert_int_equal(fs_stat(f->root, "d/file", &st, NULL), 0);
	assert_int_equal(fs_stat(f->root, "hard", &st2, NULL), 0);
	assert_int_equal(st.st_ino, st2.st_ino);
	assert_int_equal(st.st_mode & 07777, 0604);
	assert_int_equal(fs_stat(f->root, "d", &st, NULL), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(st.st_mtime, 1000000000);
	assert_int_equal(f->result.size, 7);
	assert_true(canary_lives(f));
}

static void names_never_leave_the_root(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(APPLY(f, 0, {"../canary/file", '0', NULL, "dead"}), -1);
	assert_int_equal(f->err.kind, ERR_INVALID);
	assert_int_equal(APPLY(f, 0, {"a/../../canary/new", '0', NULL, "dead"}), -1);
	assert_int_equal(APPLY(f, 0, {"..", '5', .mode = 0777}), -1);
	assert_int_equal(APPLY(f, 0, {"/../canary", '5', .mode = 0777}), -1);
	assert_true(canary_lives(f));
}

static void a_symbolic_link_is_no_way_out(void **state)
{
	struct fixture *f = *state;
	const char *const targets[] = {"../canary", "/", "../../../../../../tmp", f->path};

	for (size_t i = 0; i < 4; i++) {
		const struct entry list[] = {{"out", '2', targets[i]},
		                             {"out/file", '0', NULL, "dead"},
		                             {"out/canary/file", '0', NULL, "dead"}};
		assert_int_equal(apply_entries(f, 0, list, 3), -1);
		assert_true(canary_lives(f));
		/* Followed inside the root, if asked for: still no way out. */
		(void)apply_entries(f, APPLY_FOLLOW, list, 3);
		assert_true(canary_lives(f));
	}
}

static void a_symbolic_link_is_replaced_and_not_followed(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(APPLY(f, 0, {"x", '2', "../canary/file"}, {"x", '0', NULL, "mine", 0666}),
	                 0);
	testing_assert_file(f->root, "x", "mine");
	assert_int_equal(APPLY(f, 0, {"y", '2', "../canary"}, {"y", '5', .mode = 0777}), 0);
	assert_int_equal(APPLY(f, APPLY_FOLLOW, {"z", '2', "../canary"}, {"z", '5', .mode = 0777}),
	                 0);
	assert_true(canary_lives(f));
}

static void a_hard_link_cannot_name_what_is_outside(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(APPLY(f, 0, {"h", '1', "../canary/file"}), -1);
	assert_int_equal(APPLY(f, 0, {"h", '1', "/../canary/file"}), -1);
	assert_int_equal(APPLY(f, 0, {"out", '2', "../canary"}, {"h", '1', "out/file"}), -1);
	assert_int_equal(APPLY(f, APPLY_FOLLOW, {"out", '2', "../canary"}, {"h", '1', "out/file"}),
	                 -1);
	/* A link to a link is a second name of the link itself. */
	assert_int_equal(APPLY(f, 0, {"s", '2', "../canary/file"}, {"h", '1', "s"},
	                       {"h", '0', NULL, "mine", 0777}),
	                 0);
	assert_true(canary_lives(f));
}

static void later_entries_replace_earlier_ones(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(APPLY(f, 0, {"a", '0', NULL, "one"}, {"a", '0', NULL, "two"}), 0);
	testing_assert_file(f->root, "a", "two");
	assert_int_equal(
		APPLY(f, 0, {"b", '0', NULL, "file"}, {"b", '5'}, {"b/c", '0', NULL, "in"}), 0);
	testing_assert_file(f->root, "b/c", "in");
	assert_int_equal(APPLY(f, 0, {"d/e/f", '0', NULL, "in"}, {"d", '0', NULL, "file"}), 0);
	testing_assert_file(f->root, "d", "file");
	assert_int_equal(APPLY(f, 0, {"g", '0', NULL, "file"}, {"g/h", '0', NULL, "in"}), -1);
	assert_int_equal(fs_stat(f->root, "g", &st, NULL), 0);
}

static void a_type_is_kept_when_asked(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(APPLY(f, 0, {"d/x", '0', NULL, "in"}, {"f", '0', NULL, "file"}), 0);
	assert_int_equal(APPLY(f, APPLY_KEEP_TYPE, {"d", '0', NULL, "file"}), -1);
	assert_int_equal(f->err.kind, ERR_CONFLICT);
	assert_int_equal(APPLY(f, APPLY_KEEP_TYPE, {"f", '5'}), -1);
	testing_assert_file(f->root, "d/x", "in");
}

static void devices_need_leave(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(APPLY(f, 0, {"null", '3', .mode = 0666}), -1);
	assert_int_equal(f->err.kind, ERR_DENIED);
	assert_false(fs_exists(f->root, "null"));
}

static void too_deep_too_long_and_too_many_are_limits(void **state)
{
	struct fixture *f = *state;
	char deep[2 * APPLY_DEPTH_MAX + 8] = "";

	for (int i = 0; i < 45; i++) /* in one ustar name: 45 levels are fine */
		memcpy(deep + 2 * i, "d/", 3);
	deep[89] = '\0'; /* without the last slash, which would make it a directory */
	assert_int_equal(APPLY(f, 0, {deep, '0', NULL, "x"}), 0);
	f->limits.entries = 3;
	assert_int_equal(APPLY(f, 0, {"1", '0'}, {"2", '0'}, {"3", '0'}), 0);
	assert_int_equal(APPLY(f, 0, {"1", '0'}, {"2", '0'}, {"3", '0'}, {"4", '0'}), -1);
	assert_int_equal(f->err.kind, ERR_LIMIT);
	f->limits = APPLY_LIMITS;
	f->limits.bytes = 5;
	assert_int_equal(APPLY(f, 0, {"1", '0', NULL, "abc"}, {"2", '0', NULL, "de"}), 0);
	assert_int_equal(APPLY(f, 0, {"1", '0', NULL, "abc"}, {"2", '0', NULL, "def"}), -1);
	assert_int_equal(f->err.kind, ERR_LIMIT);
}

/* A GNU long name of `levels` components. */
static void add_deep(struct fixture *f, int levels)
{
	auto_buf struct buf name = BUF_INIT(65536);

	for (int i = 0; i < levels; i++)
		buf_add(&name, i ? "/d" : "d");
	add(f, &(struct entry){"././@LongLink", 'L', NULL, buf_str(&name)});
	add(f, &(struct entry){"short", '0', NULL, "x"});
}

static void long_names_have_a_limit(void **state)
{
	struct fixture *f = *state;

	add_deep(f, APPLY_DEPTH_MAX);
	assert_int_equal(apply(f, 0), 0);
	add_deep(f, APPLY_DEPTH_MAX + 1);
	assert_int_equal(apply(f, 0), -1);
	assert_int_equal(f->err.kind, ERR_LIMIT);
}

static void whiteouts_become_marks(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char value[4];

	assert_int_equal(APPLY(f, APPLY_LAYER, {"d", '5'}, {"d/.wh.gone", '0'},
	                       {"o/.wh..wh..opq", '0'}, {"o/new", '0', NULL, "n"},
	                       {".wh..wh.aufs", '0'}),
	                 0);
	assert_int_equal(fs_stat(f->root, "d/gone", &st, NULL), 0);
	assert_true(S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0));
	assert_false(fs_exists(f->root, "d/.wh.gone"));
	auto_close int o = fs_open_dir(f->root, "o", NULL);
	assert_int_equal(fgetxattr(o, "user.overlay.opaque", value, sizeof(value)), 1);
	assert_false(fs_exists(f->root, ".wh..wh.aufs"));
	testing_assert_file(o, "new", "n");
}

static void a_whiteout_never_hides_its_own_layer(void **state)
{
	struct fixture *f = *state;
	char value[4];

	assert_int_equal(APPLY(f, APPLY_LAYER, {"file", '0', NULL, "new"}, {".wh.file", '0'},
	                       {".wh.late", '0'}, {"late", '0', NULL, "later"}, {".wh.dir", '0'},
	                       {"dir", '5'}, {"dir/x", '0', NULL, "x"}),
	                 0);
	testing_assert_file(f->root, "file", "new");
	testing_assert_file(f->root, "late", "later");
	auto_close int dir = fs_open_dir(f->root, "dir", NULL);
	testing_assert_file(dir, "x", "x");
	/* Removed and made anew: the old content must not shine through. */
	assert_int_equal(fgetxattr(dir, "user.overlay.opaque", value, sizeof(value)), 1);
}

static void bad_whiteouts_are_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(APPLY(f, APPLY_LAYER, {".wh.", '0'}), -1);
	assert_int_equal(APPLY(f, APPLY_LAYER, {".wh...", '0'}), -1);
	assert_int_equal(APPLY(f, APPLY_LAYER, {"d/.wh..", '0'}), -1);
	assert_true(canary_lives(f));
}

static void garbage_and_cut_archives_are_errors(void **state)
{
	struct fixture *f = *state;
	char noise[BLOCK];

	memset(noise, 'x', sizeof(noise));
	for (int i = 0; i < 20; i++)
		buf_add_mem(&f->tar, noise, sizeof(noise));
	assert_int_equal(apply(f, 0), -1);
	assert_int_equal(f->err.kind, ERR_INVALID);
	add(f, &(struct entry){"file", '0', NULL, "text"});
	f->tar.data[124 + 6] = '7'; /* claims more content than there is */
	assert_int_equal(apply(f, 0), -1);
}

static void the_diff_id_counts_every_byte(void **state)
{
	struct fixture *f = *state;
	char first[DIGEST_TEXT_MAX];

	assert_int_equal(APPLY(f, 0, {"a", '0', NULL, "x"}), 0);
	memcpy(first, f->result.diff_id, sizeof(first));
	assert_int_equal(APPLY(f, 0, {"a", '0', NULL, "x"}), 0);
	assert_string_equal(first, f->result.diff_id);
	add(f, &(struct entry){"a", '0', NULL, "x"});
	char more[3 * BLOCK] = {0};
	buf_add_mem(&f->tar, more, sizeof(more));
	assert_int_equal(apply(f, 0), 0);
	assert_string_not_equal(first, f->result.diff_id);
}

static void the_canary_check_notices_a_change(void **state)
{
	struct fixture *f = *state;

	assert_true(canary_lives(f));
	testing_write(f->base, "canary/file", "dead");
	assert_false(canary_lives(f));
}

TESTING_MAIN(TEST_WITH(files_directories_and_links_arrive, setup, teardown),
             TEST_WITH(names_never_leave_the_root, setup, teardown),
             TEST_WITH(a_symbolic_link_is_no_way_out, setup, teardown),
             TEST_WITH(a_symbolic_link_is_replaced_and_not_followed, setup, teardown),
             TEST_WITH(a_hard_link_cannot_name_what_is_outside, setup, teardown),
             TEST_WITH(later_entries_replace_earlier_ones, setup, teardown),
             TEST_WITH(a_type_is_kept_when_asked, setup, teardown),
             TEST_WITH(devices_need_leave, setup, teardown),
             TEST_WITH(too_deep_too_long_and_too_many_are_limits, setup, teardown),
             TEST_WITH(long_names_have_a_limit, setup, teardown),
             TEST_WITH(whiteouts_become_marks, setup, teardown),
             TEST_WITH(a_whiteout_never_hides_its_own_layer, setup, teardown),
             TEST_WITH(bad_whiteouts_are_refused, setup, teardown),
             TEST_WITH(garbage_and_cut_archives_are_errors, setup, teardown),
             TEST_WITH(the_diff_id_counts_every_byte, setup, teardown),
             TEST_WITH(the_canary_check_notices_a_change, setup, teardown))
