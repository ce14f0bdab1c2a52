/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A hostile archive as a layer in both forms: mounted by its index, and unpacked into a directory. Oracle: what both
 * take shows the same tree - names, types, modes, owners, sizes, times, devices, link targets, contents, names per
 * file - and nothing beside the directory changes. Mounting needs root and a kernel that mounts erofs from files:
 * elsewhere this target ends at once, with a word.
 */

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "bytes.h"
#include "image/apply.h"
#include "image/erofs.h"
#include "image/tarindex.h"

#define FILE_MAX    (2u << 20)
#define BLOCK       512
#define ARCHIVE_MAX (64u << 10)
#define TARGET_MAX  8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static int base_fd = -1; /* a directory of ours: canary, tar, index, root */

/* ---- two trees ---- */

struct pair {
	int other_fd;
	size_t count;
};

static void same_content(int a_fd, int b_fd, const char *name)
{
	auto_buf struct buf a = BUF_INIT(FILE_MAX), b = BUF_INIT(FILE_MAX);

	assert(fs_read(a_fd, name, FILE_MAX, &a, NULL) == 0);
	assert(fs_read(b_fd, name, FILE_MAX, &b, NULL) == 0);
	assert(a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0));
}

static void same_target(int a_fd, int b_fd, const char *name)
{
	auto_buf struct buf a = BUF_INIT(TARGET_MAX), b = BUF_INIT(TARGET_MAX);

	assert(fs_readlink(a_fd, name, &a, NULL) == 0 && fs_readlink(b_fd, name, &b, NULL) == 0);
	assert(str_eq(buf_str(&a), buf_str(&b)));
}

static int count_one(void *arg, int dir_fd, const char *name, unsigned char type)
{
	(void)dir_fd, (void)name, (void)type;
	++*(size_t *)arg;
	return 0;
}

static int same_entry(void *arg, int dir_fd, const char *name, unsigned char type);

static void same_dir(int a_fd, int b_fd)
{
	struct pair p = {.other_fd = b_fd};
	size_t there = 0;

	assert(fs_list(a_fd, same_entry, &p, NULL) == 0);
	assert(fs_list(b_fd, count_one, &there, NULL) == 0);
	assert(p.count == there);
}

/* Times of directories that no entry made are those of the making, so a directory's is left out. */
static int same_entry(void *arg, int dir_fd, const char *name, unsigned char type)
{
	struct pair *p = arg;
	struct stat a, b;

	(void)type;
	p->count++;
	assert(fs_stat(dir_fd, name, &a, NULL) == 0 && fs_stat(p->other_fd, name, &b, NULL) == 0);
	assert(a.st_mode == b.st_mode && a.st_uid == b.st_uid && a.st_gid == b.st_gid);
	if (S_ISDIR(a.st_mode)) {
		auto_close int one = fs_open_dir(dir_fd, name, NULL);
		auto_close int two = fs_open_dir(p->other_fd, name, NULL);
		assert(one >= 0 && two >= 0);
		same_dir(one, two);
		return 0;
	}
	assert(a.st_nlink == b.st_nlink && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
	       a.st_mtim.tv_nsec == b.st_mtim.tv_nsec);
	if (S_ISCHR(a.st_mode) || S_ISBLK(a.st_mode))
		assert(a.st_rdev == b.st_rdev);
	if (S_ISLNK(a.st_mode))
		same_target(dir_fd, p->other_fd, name);
	if (S_ISREG(a.st_mode)) {
		assert(a.st_size == b.st_size);
		same_content(dir_fd, p->other_fd, name);
	}
	return 0;
}

/* ---- one archive ---- */

static void check_canary(void)
{
	size_t entries = 0;
	struct stat st;

	assert(fs_list(base_fd, count_one, &entries, NULL) == 0 && entries == 4);
	assert(fs_stat(base_fd, "canary", &st, NULL) == 0);
	assert(S_ISREG(st.st_mode) && st.st_size == 5 && st.st_nlink == 1);
	assert((st.st_mode & 07777) == 0600);
}

static int mount_index(void)
{
	auto_close int tar = fs_open(base_fd, "tar", O_RDONLY, 0, NULL);
	auto_close int index = fs_open(base_fd, APPLY_INDEX_NAME, O_RDONLY, 0, NULL);
	char source[32], device[32];

	(void)snprintf(source, sizeof(source), "/proc/self/fd/%d", index);
	(void)snprintf(device, sizeof(device), "/proc/self/fd/%d", tar);
	return fs_mount_detached("erofs", source, &(struct fs_mount_option){"device", device}, 1,
	                         MOUNT_ATTR_RDONLY, NULL);
}

static int make_index(const uint8_t *data, size_t size, const struct apply_limits *limits)
{
	struct bytes bytes = {data, size};
	const struct apply_source source = {bytes_give, &bytes};
	struct apply_result result;
	auto_close int tar = fs_open(base_fd, "tar", O_WRONLY | O_CREAT | O_TRUNC, 0600, NULL);
	auto_close int index =
		fs_open(base_fd, APPLY_INDEX_NAME, O_RDWR | O_CREAT | O_TRUNC, 0600, NULL);

	assert(tar >= 0 && index >= 0 && fs_write_all(tar, data, size, NULL) == 0);
	return tarindex_stream(&source, index, limits, &result, NULL);
}

static int make_tree(const uint8_t *data, size_t size, const struct apply_limits *limits)
{
	struct bytes bytes = {data, size};
	const struct apply_source source = {bytes_give, &bytes};
	struct apply_result result;
	auto_close int root = fs_open_dir(base_fd, "root", NULL);

	assert(root >= 0);
	return apply_stream(&source, root, APPLY_LAYER | APPLY_OWNERS | APPLY_SPECIAL, limits,
	                    &result, NULL);
}

/* A header whose sum is wrong ends the archive: without this hardly any mutation would get behind the first. */
static void fix_sums(uint8_t *tar, size_t size)
{
	for (size_t at = 0; at + BLOCK <= size;) {
		uint8_t *header = tar + at;
		unsigned sum = 0;
		char text[13];

		memset(header + 148, ' ', 8);
		for (size_t i = 0; i < BLOCK; i++)
			sum += header[i];
		(void)snprintf(text, sizeof(text), "%06o", sum);
		memcpy(header + 148, text, 7);
		memcpy(text, header + 124, 12);
		text[12] = '\0';
		unsigned long long bytes = strtoull(text, NULL, 8);
		at += BLOCK;
		if (bytes < size)
			at += (bytes + BLOCK - 1) / BLOCK * BLOCK;
	}
}

static void one_archive(const uint8_t *data, size_t size)
{
	const struct apply_limits limits = {.entries = 200, .bytes = 1 << 20, .ratio = 200};

	int index = make_index(data, size, &limits);
	int tree = make_tree(data, size, &limits);
	check_canary();
	if (index == 0 && tree == 0) {
		auto_close int mount = mount_index();
		auto_close int root = fs_open_dir(base_fd, "root", NULL);
		assert(mount >= 0 && root >= 0);
		same_dir(mount, root);
	}
	assert(fs_remove_tree(base_fd, "root", NULL) == 0);
	assert(fs_mkdir(base_fd, "root", 0755, NULL) == 0);
}

/* The first byte says whether the archive is taken as it is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > ARCHIVE_MAX)
		return 0;
	uint8_t *tar = malloc(size - 1);
	if (!tar)
		return 0;
	memcpy(tar, data + 1, size - 1);
	if (data[0] & 1)
		fix_sums(tar, size - 1);
	one_archive(tar, size - 1);
	free(tar);
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const uint8_t nothing[1024];
	const struct apply_limits limits = APPLY_LIMITS;
	char path[] = "/tmp/layer-fuzz.XXXXXX";

	(void)argc, (void)argv;
	assert(mkdtemp(path));
	base_fd = fs_trusted_open_dir(path, false, NULL);
	assert(base_fd >= 0 && fs_mkdir(base_fd, "root", 0755, NULL) == 0);
	assert(fs_write_atomic(base_fd, "canary", "alive", 5, 0600, NULL) == 0);
	assert(make_index(nothing, sizeof(nothing), &limits) == 0);
	auto_close int probe = geteuid() == 0 ? mount_index() : -1;
	if (probe < 0) {
		fprintf(stderr, "layers cannot be mounted here: nothing to compare\n");
		_exit(0);
	}
	return 0;
}
