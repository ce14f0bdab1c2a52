/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mount_options.h"

#include <linux/mount.h>
#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "base/testing.h"

#define REC     16384UL
#define PRIVATE (1UL << 18)
#define SLAVE   (1UL << 19)

/* Words are parted by spaces. */
static struct mount_plan *parse(struct arena *arena, const char *type, const char *words,
                                struct err *err)
{
	char *items[32];
	size_t count = 0;
	char *text = arena_strdup(arena, words, err);

	for (char *p = text; *p;) {
		size_t len = strcspn(p, " ");
		items[count++] = p;
		bool last = p[len] == '\0';
		p[len] = '\0';
		p += len + !last;
	}
	struct json_strings options = {.items = items, .count = count};
	return mount_options_parse(&options, type, arena, err);
}

static void words_become_attributes_and_the_last_one_wins(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 16);
	struct err err = ERR_INIT;
	struct mount_plan *plan = parse(&arena, "tmpfs", "rw ro nosuid suid nodev noexec", &err);

	(void)state;
	assert_non_null(plan);
	assert_int_equal(plan->attr_set, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	assert_int_equal(plan->attr_clear, MOUNT_ATTR_NOSUID);
}

static void one_way_of_atime_replaces_another(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 16);
	struct err err = ERR_INIT;
	struct mount_plan *plan = parse(&arena, "tmpfs", "noatime strictatime", &err);

	(void)state;
	assert_int_equal(plan->attr_set, MOUNT_ATTR_STRICTATIME);
	assert_int_equal(plan->attr_clear, MOUNT_ATTR__ATIME);
}

static void a_leading_r_acts_on_everything_below(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 16);
	struct err err = ERR_INIT;
	struct mount_plan *plan = parse(&arena, NULL, "rbind rro rslave private", &err);

	(void)state;
	assert_non_null(plan);
	assert_true(plan->bind && plan->recursive);
	assert_int_equal(plan->rec_set, MOUNT_ATTR_RDONLY);
	assert_int_equal(plan->attr_set, 0);
	assert_int_equal(plan->propagation_count, 2);
	assert_int_equal(plan->propagation[0], SLAVE | REC);
	assert_int_equal(plan->propagation[1], PRIVATE);
}

static void what_is_not_a_word_is_data_for_the_file_system(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 16);
	struct err err = ERR_INIT;
	struct mount_plan *plan = parse(&arena, "tmpfs", "size=64m nosuid inode64 sync", &err);

	(void)state;
	assert_int_equal(plan->data_count, 3);
	assert_string_equal(plan->data[0].key, "size");
	assert_string_equal(plan->data[0].value, "64m");
	assert_string_equal(plan->data[1].key, "inode64");
	assert_null(plan->data[1].value);
	assert_string_equal(plan->data[2].key, "sync");
}

static void what_cannot_be_done_is_refused_by_name(void **state)
{
	static const struct {
		const char *type, *words, *message;
	} cases[] = {
		{"bind", "size=1", "unknown mount option 'size'"},
		{"tmpfs", "bind nosiud", "unknown mount option 'nosiud'"},
		{"cgroup", "rw foo", "unknown mount option 'foo'"},
		{"bind", "idmap remount",
	         "mount option 'remount' goes with neither idmap nor tmpcopyup"},
		{NULL, "ro", "no type, and not a bind mount"},
		{"proc", "tmpcopyup", "mount option 'tmpcopyup' needs type tmpfs"},
		{"bind", "shared slave shared slave shared", "too many propagation words"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_arena struct arena arena = ARENA_INIT(1 << 16);
		struct err err = ERR_INIT;
		assert_null(parse(&arena, cases[i].type, cases[i].words, &err));
		assert_string_equal(err.msg, cases[i].message);
	}
}

static void id_maps_and_remounts_are_words(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 16);
	struct err err = ERR_INIT;
	struct mount_plan *one = parse(&arena, "bind", "rbind idmap", &err);
	struct mount_plan *all = parse(&arena, "bind", "rbind ridmap", &err);
	struct mount_plan *again = parse(&arena, NULL, "remount ro", &err);

	(void)state;
	assert_true(one->idmap && !one->idmap_recursive);
	assert_true(all->idmap && all->idmap_recursive);
	assert_true(again->remount && again->attr_set == MOUNT_ATTR_RDONLY);
}

/* `features` promises them one by one. */
static void every_word_that_is_listed_is_taken(void **state)
{
	size_t count = 0;

	(void)state;
	for (const char *word; (word = mount_options_word(count)); count++) {
		auto_arena struct arena arena = ARENA_INIT(1 << 16);
		struct err err = ERR_INIT;
		struct mount_plan *plan = parse(&arena, "tmpfs", word, &err);
		if (!plan)
			fail_msg("%s: %s", word, err.msg);
		assert_int_equal(plan->data_count, str_eq(word, "sync") ||
		                                           str_eq(word, "dirsync") ||
		                                           str_eq(word, "lazytime"));
	}
	assert_true(count > 60);
}

static void propagation_words_are_known_for_the_root_as_well(void **state)
{
	(void)state;
	assert_int_equal(mount_options_propagation("rslave"), SLAVE | REC);
	assert_int_equal(mount_options_propagation("ro"), 0);
	assert_int_equal(mount_options_propagation("nonsense"), 0);
}

TESTING_MAIN(TEST(id_maps_and_remounts_are_words), TEST(every_word_that_is_listed_is_taken),
             TEST(words_become_attributes_and_the_last_one_wins),
             TEST(one_way_of_atime_replaces_another), TEST(a_leading_r_acts_on_everything_below),
             TEST(what_is_not_a_word_is_data_for_the_file_system),
             TEST(what_cannot_be_done_is_refused_by_name),
             TEST(propagation_words_are_known_for_the_root_as_well))
