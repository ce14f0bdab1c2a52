/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/repo.h"

#include "base/err.h"
#include "base/json.h"
#include "base/testing.h"
#include "oci/image.h"

#define HEX   "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9" /* "hello world" */
#define BLOB  "sha256:" HEX
#define OTHER "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct fixture {
	char dir[64];
	struct blobs blobs;
	struct repos *repos;
	struct err err;
};

static void open_all(struct fixture *f)
{
	int fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(blobs_open(&f->blobs, fd, &f->err), 0);
	f->repos = repos_open(&f->blobs, 3, 4, &f->err);
	assert_non_null(f->repos);
}

static void close_all(struct fixture *f)
{
	repos_close(f->repos);
	blobs_close(&f->blobs);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/buoy-registry-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	open_all(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_all(f);
	testing_remove_tree(f->dir);
	free(f);
	return 0;
}

static int put(struct fixture *f, const char *name, const char *digest, const char *tag)
{
	struct repo *repo = repos_make(f->repos, name, &f->err);
	struct repo_manifest m = {.type = OCI_MANIFEST, .size = 11};
	const char *tags[] = {tag};

	if (!repo)
		return -1;
	snprintf(m.digest, sizeof(m.digest), "%s", digest);
	repo_hold(repo);
	int rc = repo_put(repo, &m, tags, tag ? 1 : 0, &f->err);
	repo_release(repo);
	return rc;
}

static int remove_it(struct fixture *f, const char *name, const char *reference)
{
	struct repo *repo = repos_find(f->repos, name, &f->err);

	repo_hold(repo);
	int rc = repo_remove(repo, reference, &f->err);
	repo_release(repo);
	return rc;
}

static bool has(struct fixture *f, const char *name, const char *reference)
{
	struct repo *repo = repos_find(f->repos, name, &f->err);
	struct repo_manifest m;

	return repo && repo_lookup(repo, reference, &m, &f->err) == 0;
}

static void what_was_put_is_there_after_a_restart(void **state)
{
	struct fixture *f = *state;
	struct repo_manifest m;

	assert_int_equal(put(f, "team/app", BLOB, "1.0"), 0);
	assert_int_equal(put(f, "team/app", BLOB, "latest"), 0);
	assert_int_equal(put(f, "team/app", OTHER, NULL), 0);
	close_all(f);
	open_all(f);
	assert_true(has(f, "team/app", "1.0"));
	assert_true(has(f, "team/app", OTHER));
	assert_false(has(f, "team/app", "2.0"));
	assert_int_equal(f->err.kind, ERR_NOT_FOUND);
	assert_null(repos_find(f->repos, "team", &f->err));
	struct repo *repo = repos_find(f->repos, "team/app", &f->err);
	assert_int_equal(repo_lookup(repo, "latest", &m, &f->err), 0);
	assert_string_equal(m.digest, BLOB);
	assert_string_equal(m.type, OCI_MANIFEST);
	assert_int_equal(m.size, 11);
}

static void a_tag_moves_and_its_manifest_stays(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put(f, "a", BLOB, "t"), 0);
	assert_int_equal(put(f, "a", OTHER, "t"), 0);
	assert_true(has(f, "a", BLOB));
	assert_int_equal(remove_it(f, "a", "t"), 0);
	assert_false(has(f, "a", "t"));
	assert_true(has(f, "a", OTHER));
}

static void a_removed_manifest_takes_its_tags(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put(f, "a", BLOB, "one"), 0);
	assert_int_equal(put(f, "a", OTHER, "other"), 0);
	assert_int_equal(put(f, "a", BLOB, "two"), 0);
	assert_int_equal(remove_it(f, "a", BLOB), 0);
	assert_false(has(f, "a", "one"));
	assert_false(has(f, "a", "two"));
	assert_true(has(f, "a", "other"));
	assert_int_equal(remove_it(f, "a", BLOB), -1);
	assert_int_equal(f->err.kind, ERR_NOT_FOUND);
}

static void tags_come_in_order_and_in_pages(void **state)
{
	static const char *const tags[] = {"b", "A", "c", "a"};
	struct fixture *f = *state;
	bool more = false;

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(put(f, "a", BLOB, tags[i]), 0);
	struct repo *repo = repos_find(f->repos, "a", &f->err);
	auto_type(json) page = repo_tags(repo, NULL, 2, &more, &f->err);
	assert_int_equal(json_count(page), 2);
	assert_string_equal(json_str(json_at(page, 0)), "A");
	assert_string_equal(json_str(json_at(page, 1)), "a");
	assert_true(more);
	auto_type(json) next = repo_tags(repo, "a", 2, &more, &f->err);
	assert_string_equal(json_str(json_at(next, 1)), "c");
	assert_false(more);
	auto_type(json) between = repo_tags(repo, "aa", 9, &more, &f->err);
	assert_string_equal(json_str(json_at(between, 0)), "b");
}

static void ceilings_hold(void **state)
{
	static const char *const tags[] = {"1", "2", "3", "4", "5"};
	struct fixture *f = *state;

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(put(f, "a", BLOB, tags[i]), 0);
	assert_int_equal(put(f, "a", BLOB, tags[4]), -1);
	assert_int_equal(f->err.kind, ERR_LIMIT);
	assert_false(has(f, "a", "5"));
	assert_int_equal(put(f, "b", BLOB, NULL), 0);
	assert_int_equal(put(f, "c", BLOB, NULL), 0);
	assert_int_equal(put(f, "d", BLOB, NULL), -1);
	assert_int_equal(f->err.kind, ERR_LIMIT);
}

static void content_is_kept_once_and_belongs_to_who_has_it(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_non_null(repos_make(f->repos, "a", &f->err));
	assert_non_null(repos_make(f->repos, "b", &f->err));
	assert_int_equal(blobs_publish_bytes(&f->blobs, "hello world", 11, BLOB, "a", &f->err), 1);
	assert_int_equal(blobs_publish_bytes(&f->blobs, "hello world", 11, BLOB, "a", &f->err), 0);
	assert_false(blobs_has(&f->blobs, "b", BLOB));
	assert_int_equal(blobs_mount(&f->blobs, BLOB, "b", "a", &f->err), -1);
	assert_int_equal(f->err.kind, ERR_NOT_FOUND);
	assert_int_equal(blobs_mount(&f->blobs, BLOB, "a", "b", &f->err), 1);
	int fd = blobs_read(&f->blobs, "b", BLOB, &st, &f->err);
	assert_true(fd >= 0);
	assert_int_equal(st.st_nlink, 3); /* the pool, a, b */
	close(fd);
	assert_int_equal(blobs_drop(&f->blobs, "a", BLOB, &f->err), 0);
	assert_false(blobs_has(&f->blobs, "a", BLOB));
	assert_true(blobs_has(&f->blobs, "b", BLOB));
}

#define WITH(fn) TEST_WITH(fn, setup, teardown)

TESTING_MAIN(WITH(what_was_put_is_there_after_a_restart), WITH(a_tag_moves_and_its_manifest_stays),
             WITH(a_removed_manifest_takes_its_tags), WITH(tags_come_in_order_and_in_pages),
             WITH(ceilings_hold), WITH(content_is_kept_once_and_belongs_to_who_has_it))
