/* SPDX-License-Identifier: Apache-2.0 */

/* A hostile archive onto a directory: whatever the bytes are, nothing beside that directory changes. */

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "image/ahead.h"
#include "image/apply.h"

static int base_fd = -1;

static int count_entry(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	(void)dir_fd, (void)name, (void)d_type;
	++*(int *)arg;
	return 0;
}

static void check_canary(void)
{
	struct stat st;
	int entries = 0;

	assert(fs_list(base_fd, count_entry, &entries, NULL) == 0 && entries == 2);
	assert(fs_stat(base_fd, "canary", &st, NULL) == 0);
	assert(S_ISREG(st.st_mode) && st.st_size == 5 && st.st_nlink == 1);
	assert((st.st_mode & 07777) == 0600);
}

static void make_base(void)
{
	char path[] = "/tmp/image-fuzz.XXXXXX";

	assert(mkdtemp(path));
	base_fd = fs_trusted_open_dir(path, false, NULL);
	assert(base_fd >= 0);
	assert(fs_write_atomic(base_fd, "canary", "alive", 5, 0600, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct apply_limits limits = {.entries = 200, .bytes = 1 << 20, .ratio = 200};
	struct apply_result result;

	if (size < 2)
		return 0;
	if (base_fd < 0)
		make_base();
	int root = fs_mkdir_all(base_fd, "root", 0700, NULL);
	int in = memfd_create("tar", MFD_CLOEXEC);
	assert(root >= 0 && in >= 0);
	assert(write(in, data + 1, size - 1) == (ssize_t)(size - 1) && lseek(in, 0, SEEK_SET) == 0);
	unsigned flags = data[0] & (APPLY_LAYER | APPLY_FOLLOW | APPLY_KEEP_TYPE);
	struct ahead *from = ahead_create(in, NULL);
	assert(from);
	(void)apply_tar(from, root, -1, flags | APPLY_UNPRIVILEGED, &limits, &result, NULL);
	ahead_free(from);
	close(in);
	close(root);
	assert(fs_remove_tree(base_fd, "root", NULL) == 0);
	assert(fs_mkdir(base_fd, "root", 0700, NULL) == 0);
	check_canary();
	return 0;
}
