/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/quota.h"

#include "base/err.h"
#include "base/fs.h"
#include "base/testing.h"
#include "registry/blobs.h"
#include "registry/settings.h"

struct fixture {
	char path[64];
	struct blobs blobs;
	struct settings_list lines;
	struct quotas *quotas;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->path, sizeof(f->path), "/tmp/buoy-quota-XXXXXX");
	int fd = open(mkdtemp(f->path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = f;
	return blobs_open(&f->blobs, fd, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	quotas_free(f->quotas);
	blobs_close(&f->blobs);
	fs_remove_tree(tmp, f->path + strlen("/tmp/"), NULL);
	close(tmp);
	free(f);
	return 0;
}

static struct quotas *open_with(struct fixture *f, const char *const *lines, struct err *err)
{
	f->lines.count = 0;
	for (; *lines; lines++)
		f->lines.items[f->lines.count++] = *lines;
	quotas_free(f->quotas);
	f->quotas = quotas_open(&f->lines, &f->blobs, err);
	return f->quotas;
}

static void lines_are_shared_or_for_each(void **state)
{
	static const char *const lines[] = {"team/* 100", "*/app 60 each", NULL};
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct quotas *q = open_with(f, lines, &err);

	assert_non_null(q);
	assert_int_equal(quotas_take(q, "team/app", 60, &err), 0);
	assert_int_equal(quotas_take(q, "team/app", 1, &err), -1); /* its own line */
	assert_int_equal(err.kind, ERR_DENIED);
	assert_non_null(strstr(err.msg, "team/app has used 60 of 60 bytes"));
	assert_int_equal(quotas_take(q, "team/b", 41, &err), -1); /* the team's */
	assert_non_null(strstr(err.msg, "team/* has used 60 of 100 bytes"));
	assert_int_equal(quotas_check(q, "team/b", 40, &err), 0);
	assert_int_equal(quotas_take(q, "team/b", 40, &err), 0);
	assert_int_equal(quotas_check(q, "team/c", 1, &err), -1);
	quotas_give(q, "team/app", 30);
	assert_int_equal(quotas_check(q, "team/c", 30, &err), 0);
	assert_int_equal(quotas_check(q, "team/c", 31, &err), -1);
	assert_int_equal(quotas_check(q, "team/c", UINT64_MAX, &err), -1);
	assert_int_equal(quotas_take(q, "other", UINT64_MAX / 2, &err), 0); /* no line: no limit */
	assert_int_equal(quotas_take(NULL, "x", 1, &err), 0);
}

static void what_is_on_the_disk_counts_from_the_start(void **state)
{
	static const char *const lines[] = {"a* 10", NULL};
	static const char digest[] =
		"sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
	struct fixture *f = *state;
	struct err err = ERR_INIT;

	assert_int_equal(blobs_make_repo(&f->blobs, "a/b", &err), 0);
	assert_int_equal(blobs_make_repo(&f->blobs, "a/c", &err), 0);
	assert_int_equal(blobs_publish_bytes(&f->blobs, "foo", 3, digest, "a/b", &err), 1);
	assert_int_equal(blobs_publish_bytes(&f->blobs, "foo", 3, digest, "a/b", &err), 0);
	assert_int_equal(blobs_mount(&f->blobs, digest, "a/b", "a/c", &err), 1);
	assert_int_equal(blobs_mount(&f->blobs, digest, "a/b", "a/c", &err), 0);
	assert_non_null(open_with(f, lines, &err));
	assert_int_equal(quotas_check(f->quotas, "a/d", 4, &err), 0);
	assert_int_equal(quotas_check(f->quotas, "a/d", 5, &err), -1);
}

static void what_is_not_understood_is_refused(void **state)
{
	static const char *const bad[][2] = {
		{"a"}, {"a lots"}, {"a 10 both"}, {"a 10 each more"}, {"a\"b 10"}, {""}};
	static const char *const none[] = {NULL};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = ERR_INIT;

		assert_null(open_with(f, bad[i], &err));
		assert_int_equal(err.kind, ERR_INVALID);
	}
	struct err err = ERR_INIT;
	assert_null(open_with(f, none, &err));
	assert_int_equal(err.kind, ERR_NONE);
}

#define WITH(fn) TEST_WITH(fn, setup, teardown)

TESTING_MAIN(WITH(lines_are_shared_or_for_each), WITH(what_is_on_the_disk_counts_from_the_start),
             WITH(what_is_not_understood_is_refused))
