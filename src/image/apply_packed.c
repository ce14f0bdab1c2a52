/* SPDX-License-Identifier: Apache-2.0 */
/* apply_packed - the extractor behind a decompressor (ahead.h): counts, hashes and copies what it hands on. */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/hash.h"
#include "image/ahead.h"
#include "image/apply.h"
#include "image/tarindex.h"

struct packed {
	struct ahead *from; /* borrowed */
	struct hash *hash;
	const struct apply_limits *limits;
	const char *next; /* what is unread of the block */
	size_t left;
	int64_t out; /* bytes unpacked */
	int copy_fd;
};

static int check_ratio(const struct packed *p, uint64_t in, struct err *err)
{
	if (p->out > APPLY_RATIO_FREE && p->out / p->limits->ratio > (int64_t)in)
		return err_set(err, ERR_LIMIT,
		               "archive unpacks to more than %lld times its size; refusing it",
		               (long long)p->limits->ratio);
	return 0;
}

/* 1, 0 at the end, -1. */
static int next_block(struct packed *p, struct err *err)
{
	const void *data;
	uint64_t taken;
	ssize_t n = ahead_next(p->from, &data, &taken, err);

	if (n <= 0)
		return (int)n;
	p->out += n;
	hash_add(p->hash, data, (size_t)n);
	if (check_ratio(p, taken, err) < 0)
		return -1;
	if (p->copy_fd >= 0 && fs_write_all(p->copy_fd, data, (size_t)n, err) < 0)
		return -1;
	p->next = data;
	p->left = (size_t)n;
	return 1;
}

static ssize_t read_packed(void *arg, void *data, size_t len, struct err *err)
{
	struct packed *p = arg;
	int more = p->left > 0 ? 1 : next_block(p, err);

	if (more <= 0)
		return more;
	size_t n = p->left < len ? p->left : len;
	memcpy(data, p->next, n);
	p->next += n;
	p->left -= n;
	return (ssize_t)n;
}

static int index_stream(const struct apply_source *source, int dir_fd,
                        const struct apply_limits *limits, struct apply_result *result,
                        struct err *err)
{
	auto_close int fd =
		fs_open(dir_fd, APPLY_INDEX_NAME, O_WRONLY | O_CREAT | O_EXCL, 0600, err);

	return fd < 0 ? -1 : tarindex_stream(source, fd, limits, result, err);
}

int apply_tar(struct ahead *from, int dir_fd, int copy_fd, unsigned flags,
              const struct apply_limits *limits, struct apply_result *result, struct err *err)
{
	auto_type(hash) hash = hash_create(err);
	struct packed packed = {.from = from, .hash = hash, .limits = limits, .copy_fd = copy_fd};
	const struct apply_source source = {.read = read_packed, .arg = &packed};
	char hex[HASH_HEX_MAX];

	if (!hash)
		return -1;
	int rc = flags & APPLY_INDEX ? index_stream(&source, dir_fd, limits, result, err)
	                             : apply_stream(&source, dir_fd, flags, limits, result, err);
	if (rc < 0)
		return -1;
	(void)snprintf(result->diff_id, sizeof(result->diff_id), "sha256:%s", hash_hex(hash, hex));
	return 0;
}
