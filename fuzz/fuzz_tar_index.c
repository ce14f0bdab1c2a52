/* SPDX-License-Identifier: Apache-2.0 */

/* A hostile archive as a layer with an index: what is accepted was read to its end, and its index is as long as it says. */

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "bytes.h"
#include "image/apply.h"
#include "image/erofs.h"
#include "image/tarindex.h"

static void check_index(int fd)
{
	struct stat st;
	uint8_t head[128];
	uint32_t blocks, meta;

	assert(fstat(fd, &st) == 0 && st.st_size % EROFS_BLOCK == 0);
	assert(pread(fd, head, sizeof(head), 1024) == sizeof(head));
	memcpy(&blocks, head + 36, sizeof(blocks));
	memcpy(&meta, head + 40, sizeof(meta));
	assert((int64_t)blocks * EROFS_BLOCK == st.st_size && meta < blocks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct apply_limits limits = {.entries = 200, .bytes = 1 << 20, .ratio = 200};
	struct bytes bytes = {data, size};
	const struct apply_source source = {bytes_give, &bytes};
	struct apply_result result;
	int fd = memfd_create("index", MFD_CLOEXEC);

	assert(fd >= 0);
	if (tarindex_stream(&source, fd, &limits, &result, NULL) == 0) {
		assert(result.stream == (int64_t)size && bytes.left == 0);
		check_index(fd);
	}
	close(fd);
	return 0;
}
