/* SPDX-License-Identifier: Apache-2.0 */
#include "build/copy.h"

#include <sys/stat.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/testing.h"

struct fixture {
	char path[64];
	int top, from, to; /* owned */
};

static int setup(void **state)
{
	static struct fixture f;

	snprintf(f.path, sizeof(f.path), "/tmp/copy-test-XXXXXX");
	if (!mkdtemp(f.path))
		return -1;
	f.top = open(f.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mkdirat(f.top, "from", 0700);
	mkdirat(f.top, "to", 0700);
	testing_write(f.top, "secret", "secret");
	f.from = openat(f.top, "from", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f.to = openat(f.top, "to", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mkdirat(f.from, "src", 0750);
	mkdirat(f.from, "src/deep", 0700);
	testing_write(f.from, "a.txt", "a");
	testing_write(f.from, "b.txt", "b");
	testing_write(f.from, "skip.md", "s");
	testing_write(f.from, "src/main.c", "int main;");
	testing_write(f.from, "src/deep/x", "x");
	symlinkat("main.c", f.from, "src/link");
	symlinkat("../../secret", f.from, "out");
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close(f->from);
	close(f->to);
	close(f->top);
	return testing_remove_tree(f->path);
}

static int make(struct fixture *f, struct arena *arena, const struct pattern_list *ignore,
                const char *source, struct copy_plan *plan, struct err *err)
{
	const char *const args[] = {source};

	return copy_plan_make(f->from, ignore, args, 1, arena, plan, err);
}

static int run(struct fixture *f, const struct copy_plan *plan, const char *path, bool is_dir,
               struct err *err)
{
	const struct copy_target target = {.root_fd = f->to,
	                                   .path = path,
	                                   .is_dir = is_dir,
	                                   .uid = geteuid(),
	                                   .gid = getegid(),
	                                   .mode = -1};

	return copy_plan_run(plan, &target, err);
}

static void a_file_goes_to_a_name_or_into_a_directory(void **state)
{
	struct fixture *f = *state;
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct copy_plan plan;
	struct err err = ERR_INIT;

	assert_int_equal(make(f, &arena, NULL, "/a.txt", &plan, &err), 0);
	assert_int_equal(run(f, &plan, "/new/name", false, &err), 0);
	testing_assert_file(f->to, "new/name", "a");
	assert_int_equal(run(f, &plan, "/new", false, &err), 0);
	testing_assert_file(f->to, "new/a.txt", "a");
	assert_int_equal(run(f, &plan, "/other", true, &err), 0);
	testing_assert_file(f->to, "other/a.txt", "a");
}

static void of_a_directory_the_content_is_copied(void **state)
{
	struct fixture *f = *state;
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct copy_plan plan;
	struct err err = ERR_INIT;
	struct stat st;

	assert_int_equal(make(f, &arena, NULL, "src", &plan, &err), 0);
	assert_int_equal(run(f, &plan, "/app", false, &err), 0);
	testing_assert_file(f->to, "app/main.c", "int main;");
	testing_assert_file(f->to, "app/deep/x", "x");
	assert_int_equal(fstatat(f->to, "app", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(fstatat(f->to, "app/deep", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(fstatat(f->to, "app/link", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISLNK(st.st_mode));
}

static void wildcards_and_the_ignore_file_choose(void **state)
{
	struct fixture *f = *state;
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct pattern_list ignore;
	struct copy_plan plan;
	struct err err = ERR_INIT;

	assert_int_equal(pattern_list_parse("*.md\nsrc/deep", 13, &arena, &ignore, &err), 0);
	assert_int_equal(make(f, &arena, &ignore, "*.txt", &plan, &err), 0);
	assert_int_equal(plan.count, 2);
	assert_int_equal(make(f, &arena, &ignore, "*.md", &plan, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_int_equal(make(f, &arena, &ignore, "skip.md", &plan, &err), -1);
	assert_int_equal(make(f, &arena, &ignore, ".", &plan, &err), 0);
	assert_int_equal(run(f, &plan, "/all", true, &err), 0);
	testing_assert_file(f->to, "all/src/main.c", "int main;");
	assert_int_equal(faccessat(f->to, "all/skip.md", F_OK, 0), -1);
	assert_int_equal(faccessat(f->to, "all/src/deep", F_OK, 0), -1);
}

static void the_hash_sees_content_and_modes_but_not_times(void **state)
{
	struct fixture *f = *state;
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
	struct copy_plan plan;
	struct err err = ERR_INIT;
	char first[65], again[65];

	assert_int_equal(make(f, &arena, NULL, "src", &plan, &err), 0);
	assert_int_equal(copy_plan_hash(&plan, first, &err), 0);
	utimensat(f->from, "src/main.c", old, 0);
	assert_int_equal(copy_plan_hash(&plan, again, &err), 0);
	assert_string_equal(first, again);
	fchmodat(f->from, "src/main.c", 0755, 0);
	assert_int_equal(copy_plan_hash(&plan, again, &err), 0);
	assert_string_not_equal(first, again);
	fchmodat(f->from, "src/main.c", 0600, 0);
	testing_write(f->from, "src/deep/x", "y");
	assert_int_equal(copy_plan_hash(&plan, again, &err), 0);
	assert_string_not_equal(first, again);
}

static void nothing_outside_the_context_can_be_named(void **state)
{
	static const char *const bad[] = {"../secret", "../../secret", "src/../../secret", "out"};
	struct fixture *f = *state;
	auto_arena struct arena arena = ARENA_INIT(1 << 20);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct copy_plan plan;
		struct err err = ERR_INIT;
		assert_int_equal(make(f, &arena, NULL, bad[i], &plan, &err), -1);
		assert_int_equal(err.kind, ERR_NOT_FOUND);
	}
}

#define CASE(fn) TEST_WITH(fn, setup, teardown)
TESTING_MAIN(CASE(a_file_goes_to_a_name_or_into_a_directory),
             CASE(of_a_directory_the_content_is_copied), CASE(wildcards_and_the_ignore_file_choose),
             CASE(the_hash_sees_content_and_modes_but_not_times),
             CASE(nothing_outside_the_context_can_be_named))
