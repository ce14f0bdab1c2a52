/* SPDX-License-Identifier: Apache-2.0 */
#include "image/erofs.h"

#include <endian.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/err.h"
#include "base/testing.h"

/* What was written, read by a reader of our own: the kernel's is in tests/e2e/test_image_forms.py. */
struct image {
	uint8_t *data;
	size_t size;
};

static uint64_t number(const struct image *i, uint64_t at, size_t bytes)
{
	uint64_t n = 0;

	assert_true(at + bytes <= i->size);
	for (size_t b = 0; b < bytes; b++)
		n |= (uint64_t)i->data[at + b] << (8 * b);
	return n;
}

static uint64_t inode_at(const struct image *i, uint64_t nid)
{
	return number(i, 1024 + 40, 4) * EROFS_BLOCK + nid * 32;
}

/* Looks a name up as the kernel does, if slowly; checks the order on the way. 0: not there. */
static uint64_t look_up(const struct image *i, uint64_t dir, const char *wanted)
{
	uint64_t inode = inode_at(i, dir), size = number(i, inode + 8, 8), found = 0;
	uint64_t first = number(i, inode + 16, 4) * EROFS_BLOCK;
	char last[256] = "";

	assert_true(S_ISDIR(number(i, inode + 4, 2)));
	for (uint64_t block = first; block < first + size; block += EROFS_BLOCK) {
		uint64_t end =
			first + size - block < EROFS_BLOCK ? first + size - block : EROFS_BLOCK;
		uint64_t count = number(i, block + 8, 2) / 12;
		assert_true(count > 0);
		for (uint64_t n = 0; n < count; n++) {
			uint64_t at = number(i, block + n * 12 + 8, 2);
			uint64_t next = n + 1 < count ? number(i, block + n * 12 + 20, 2) : end;
			char name[256] = "";
			memcpy(name, i->data + block + at,
			       strnlen((char *)i->data + block + at, next - at));
			assert_true(strcmp(name, last) > 0);
			memcpy(last, name, sizeof(last));
			if (strcmp(name, wanted) == 0)
				found = number(i, block + n * 12, 8);
		}
	}
	return found;
}

static struct erofs_node *add(struct erofs_node *dir, const char *name, mode_t mode)
{
	struct erofs_node *node = erofs_node_create(mode, NULL);

	assert_non_null(node);
	assert_int_equal(erofs_node_add(dir, name, node, NULL), 0);
	return node;
}

static struct image written(struct erofs_node *root)
{
	struct image i;
	struct stat st;
	int fd = memfd_create("index", MFD_CLOEXEC);

	assert_int_equal(erofs_write(fd, root, EROFS_DATA, NULL), 0);
	assert_int_equal(fstat(fd, &st), 0);
	i.size = (size_t)st.st_size;
	i.data = mmap(NULL, i.size, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_true(i.data != MAP_FAILED);
	close(fd);
	assert_int_equal(number(&i, 1024, 4), 0xE0F5E1E2);
	assert_int_equal(i.size % EROFS_BLOCK, 0);
	return i;
}

static void done(struct image *i, struct erofs_node *root)
{
	munmap(i->data, i->size);
	erofs_node_free_tree(root);
}

static void names_of_many_blocks_stand_in_order(void **state)
{
	struct erofs_node *root = erofs_node_create(S_IFDIR | 0755, NULL);
	char name[300];

	(void)state;
	for (int n = 0; n < 600; n++) {
		(void)snprintf(name, sizeof(name), "%0*d", 1 + n % 250, n * 7919 % 100000);
		add(root, name, S_IFREG);
	}
	add(root, "-before-the-dots", S_IFREG);
	struct image i = written(root);
	uint64_t top = number(&i, 1024 + 14, 2);
	assert_int_equal(look_up(&i, top, "."), top);
	assert_int_equal(look_up(&i, top, ".."), top);
	assert_true(look_up(&i, top, "-before-the-dots") > 0);
	for (int n = 0; n < 600; n++) {
		(void)snprintf(name, sizeof(name), "%0*d", 1 + n % 250, n * 7919 % 100000);
		assert_true(look_up(&i, top, name) > 0);
	}
	assert_int_equal(look_up(&i, top, "none"), 0);
	done(&i, root);
}

static void a_files_content_is_a_chunk_of_the_tar(void **state)
{
	struct erofs_node *root = erofs_node_create(S_IFDIR | 0755, NULL);
	struct erofs_node *file = add(root, "f", S_IFREG | 0640);

	(void)state;
	file->size = 5000;
	file->data = 77 * EROFS_BLOCK;
	assert_int_equal(erofs_node_add(root, "hard", file, NULL), 0);
	struct image i = written(root);
	uint64_t nid = look_up(&i, number(&i, 1024 + 14, 2), "f"), inode = inode_at(&i, nid);
	assert_int_equal(look_up(&i, number(&i, 1024 + 14, 2), "hard"), nid);
	assert_int_equal(number(&i, inode + 4, 2), S_IFREG | 0640);
	assert_int_equal(number(&i, inode + 8, 8), 5000);
	assert_int_equal(number(&i, inode + 44, 4), 2); /* links */
	assert_int_equal(number(&i, inode, 2), 1 | (4 << 1));
	assert_int_equal(number(&i, inode + 16, 2) & 31, 4); /* 2^4 blocks hold 5000 bytes */
	assert_int_equal(number(&i, inode + 64 + 2, 2), 1);  /* of the first further device */
	assert_int_equal(number(&i, inode + 64 + 4, 4), 77);
	done(&i, root);
}

static void what_is_removed_takes_what_is_below_along(void **state)
{
	struct erofs_node *root = erofs_node_create(S_IFDIR | 0755, NULL);
	struct erofs_node *dir = add(root, "d", S_IFDIR | 0700);
	struct erofs_node *file = add(dir, "f", S_IFREG);

	(void)state;
	assert_int_equal(erofs_node_add(root, "kept", file, NULL), 0);
	erofs_node_remove(root, "d");
	assert_int_equal(file->links, 1);
	struct image i = written(root);
	assert_int_equal(look_up(&i, number(&i, 1024 + 14, 2), "d"), 0);
	assert_true(look_up(&i, number(&i, 1024 + 14, 2), "kept") > 0);
	done(&i, root);
}

static void attributes_follow_the_inode(void **state)
{
	struct erofs_node *root = erofs_node_create(S_IFDIR | 0755, NULL);
	struct erofs_node *file = add(root, "f", S_IFREG);

	(void)state;
	assert_int_equal(erofs_node_set_xattr(file, "user.a", "old", 3, NULL), 0);
	assert_int_equal(erofs_node_set_xattr(file, "user.a", "value", 5, NULL), 0);
	struct image i = written(root);
	uint64_t inode = inode_at(&i, look_up(&i, number(&i, 1024 + 14, 2), "f"));
	assert_int_equal(number(&i, inode + 2, 2),
	                 1 + 3); /* a header, and 4 + 1 + 5 bytes in units of 4 */
	assert_memory_equal(i.data + inode + 76, "\1\1\5\0avalue", 10);
	done(&i, root);
}

static void too_many_attributes_are_refused(void **state)
{
	struct erofs_node *root = erofs_node_create(S_IFDIR | 0755, NULL);
	static const char value[65000];
	struct err err = ERR_INIT;
	char name[16];

	(void)state;
	for (int n = 0; n < 5; n++) {
		(void)snprintf(name, sizeof(name), "user.%d", n);
		assert_int_equal(erofs_node_set_xattr(root, name, value, sizeof(value), NULL), 0);
	}
	int fd = memfd_create("index", MFD_CLOEXEC);
	assert_int_equal(erofs_write(fd, root, EROFS_DATA, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);
	close(fd);
	erofs_node_free_tree(root);
}

TESTING_MAIN(TEST(names_of_many_blocks_stand_in_order), TEST(a_files_content_is_a_chunk_of_the_tar),
             TEST(what_is_removed_takes_what_is_below_along), TEST(attributes_follow_the_inode),
             TEST(too_many_attributes_are_refused))
