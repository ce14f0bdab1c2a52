/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/demux.h"

#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"

static int target(const struct demux *d)
{
	if (!d->raw && d->head[0] == 2)
		return d->err_fd ? d->err_fd : STDERR_FILENO;
	return d->out_fd ? d->out_fd : STDOUT_FILENO;
}

/* Takes bytes of the head; how many were used. */
static size_t feed_head(struct demux *d, const unsigned char *data, size_t len)
{
	size_t want = sizeof(d->head) - d->head_len;
	size_t n = len < want ? len : want;

	memcpy(d->head + d->head_len, data, n);
	d->head_len += n;
	if (d->head_len == sizeof(d->head))
		d->left = (uint32_t)d->head[4] << 24 | (uint32_t)d->head[5] << 16 |
		          (uint32_t)d->head[6] << 8 | d->head[7];
	return n;
}

int demux_feed(struct demux *d, const void *data, size_t len, struct err *err)
{
	const unsigned char *p = data;

	if (d->raw)
		return fs_write_all(target(d), data, len, err);
	while (len > 0) {
		size_t n;
		if (d->head_len < sizeof(d->head)) {
			n = feed_head(d, p, len);
			if (d->head[0] > 2)
				return err_set(err, ERR_INVALID,
				               "the daemon sent a frame of unknown kind %d",
				               d->head[0]);
		} else {
			n = len < d->left ? len : d->left;
			if (fs_write_all(target(d), p, n, err) < 0)
				return -1;
			d->left -= (uint32_t)n;
		}
		if (d->head_len == sizeof(d->head) && d->left == 0)
			d->head_len = 0;
		p += n;
		len -= n;
	}
	return 0;
}

int demux_write(void *arg, const void *data, size_t len)
{
	return demux_feed(arg, data, len, NULL);
}
