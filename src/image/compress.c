/* SPDX-License-Identifier: Apache-2.0 */
#include "image/compress.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdbool.h>
#include <string.h>
#include <zstd.h>

#include <archive.h>
#include <archive_entry.h>

#include "base/err.h"

#define COMPRESS_BLOCK      (64u << 10) /* bytes read or written at once */
#define COMPRESS_WINDOW_LOG 27          /* zstd: at most 128 MiB of history */

struct compress_reader {
	int fd; /* borrowed */
	enum compress_kind kind;
	uint64_t taken;
	bool source_end;
	bool member_end;   /* a gzip member or zstd frame is complete; another may follow */
	size_t at, filled; /* what is unread of in[] */
	struct inflate_state *gzip;
	ZSTD_DCtx *zstd;
	struct archive *other;
	uint8_t in[COMPRESS_BLOCK];
};

struct compress_writer {
	int (*write)(void *arg, const void *data, size_t len, struct err *err);
	void *arg;
	uint8_t *level_buf;
	struct isal_zstream stream;
	uint8_t out[COMPRESS_BLOCK];
};

enum compress_kind compress_detect(const void *data, size_t len)
{
	static const struct {
		enum compress_kind kind;
		size_t len;
		uint8_t bytes[COMPRESS_MAGIC];
	} magics[] = {
		{COMPRESS_GZIP, 3, {0x1f, 0x8b, 0x08}},
		{COMPRESS_ZSTD, 4, {0x28, 0xb5, 0x2f, 0xfd}},
		{COMPRESS_OTHER, 6, {0xfd, '7', 'z', 'X', 'Z', 0}},
		{COMPRESS_OTHER, 3, {'B', 'Z', 'h'}},
	};

	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
		if (len >= magics[i].len && memcmp(data, magics[i].bytes, magics[i].len) == 0)
			return magics[i].kind;
	return COMPRESS_NONE;
}

/* ---- reading ---- */

/* Reads more behind what is unread; fills the buffer only as far as one read gives. */
static int fill(struct compress_reader *r, struct err *err)
{
	if (r->at == r->filled)
		r->at = r->filled = 0;
	if (r->source_end || r->filled == sizeof(r->in))
		return 0;

	ssize_t n;
	do
		n = read(r->fd, r->in + r->filled, sizeof(r->in) - r->filled);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, "cannot read the archive");
	r->source_end = n == 0;
	r->filled += (size_t)n;
	r->taken += (uint64_t)n;
	return 0;
}

static ssize_t other_read(struct archive *a, void *arg, const void **data)
{
	struct compress_reader *r = arg;
	struct err err = ERR_INIT;

	if (r->at == r->filled && fill(r, &err) < 0) {
		archive_set_error(a, EIO, "%s", err.msg);
		return -1;
	}
	*data = r->in + r->at;
	size_t n = r->filled - r->at;
	r->at = r->filled;
	return (ssize_t)n;
}

/* xz and bzip2 by way of libarchive's "raw" format: one entry that is the whole stream. */
static int open_other(struct compress_reader *r, struct err *err)
{
	struct archive_entry *entry;

	r->other = archive_read_new();
	if (!r->other)
		return err_nomem(err);
	archive_read_support_filter_xz(r->other);
	archive_read_support_filter_bzip2(r->other);
	archive_read_support_format_raw(r->other);
	if (archive_read_open(r->other, r, NULL, other_read, NULL) != ARCHIVE_OK ||
	    archive_read_next_header(r->other, &entry) != ARCHIVE_OK)
		return err_set(err, ERR_INVALID, "cannot decompress: %s",
		               archive_error_string(r->other));
	return 0;
}

static int open_kind(struct compress_reader *r, struct err *err)
{
	switch (r->kind) {
	case COMPRESS_GZIP:
		r->gzip = calloc(1, sizeof(*r->gzip));
		if (!r->gzip)
			return err_nomem(err);
		isal_inflate_init(r->gzip);
		r->gzip->crc_flag = ISAL_GZIP;
		return 0;
	case COMPRESS_ZSTD:
		r->zstd = ZSTD_createDCtx();
		if (!r->zstd)
			return err_nomem(err);
		ZSTD_DCtx_setParameter(r->zstd, ZSTD_d_windowLogMax, COMPRESS_WINDOW_LOG);
		return 0;
	case COMPRESS_OTHER:
		return open_other(r, err);
	case COMPRESS_NONE:
		return 0;
	}
	return err_set(err, ERR_INTERNAL, "unknown compression");
}

struct compress_reader *compress_reader_open(int fd, struct err *err)
{
	auto_type(compress_reader) r = calloc(1, sizeof(*r));

	if (!r) {
		(void)err_nomem(err);
		return NULL;
	}
	r->fd = fd;
	while (r->filled < COMPRESS_MAGIC && !r->source_end)
		if (fill(r, err) < 0)
			return NULL;
	r->kind = compress_detect(r->in, r->filled);
	if (open_kind(r, err) < 0)
		return NULL;
	return move_ptr(r);
}

void compress_reader_free(struct compress_reader *r)
{
	if (!r)
		return;
	free(r->gzip);
	ZSTD_freeDCtx(r->zstd);
	archive_read_free(r->other);
	free(r);
}

static ssize_t read_plain(struct compress_reader *r, void *data, size_t len, struct err *err)
{
	if (r->at == r->filled && fill(r, err) < 0)
		return -1;

	size_t n = r->filled - r->at < len ? r->filled - r->at : len;
	memcpy(data, r->in + r->at, n);
	r->at += n;
	return (ssize_t)n;
}

/* After a member: is there another one? What follows and is none is padding. */
static bool next_member(struct compress_reader *r, enum compress_kind kind)
{
	if (compress_detect(r->in + r->at, r->filled - r->at) != kind)
		return false;
	r->member_end = false;
	if (kind == COMPRESS_GZIP) {
		isal_inflate_reset(r->gzip);
		r->gzip->crc_flag = ISAL_GZIP;
	}
	return true;
}

/* Makes sure that there is input, or that the stream may end here: 1 go on, 0 end. */
static int want_input(struct compress_reader *r, enum compress_kind kind, struct err *err)
{
	if (r->member_end) {
		if (r->at > 0) {
			memmove(r->in, r->in + r->at, r->filled - r->at);
			r->filled -= r->at;
			r->at = 0;
		}
		while (r->filled < COMPRESS_MAGIC && !r->source_end)
			if (fill(r, err) < 0)
				return -1;
		if (next_member(r, kind))
			return 1;
		/* Take the padding, so that a writer at the other end is not cut off. */
		for (r->at = r->filled; !r->source_end; r->at = r->filled)
			if (fill(r, err) < 0)
				return -1;
		return 0;
	}
	if (r->at == r->filled && fill(r, err) < 0)
		return -1;
	return 1;
}

static ssize_t read_gzip(struct compress_reader *r, void *data, size_t len, struct err *err)
{
	struct inflate_state *s = r->gzip;

	for (;;) {
		int more = want_input(r, COMPRESS_GZIP, err);
		if (more <= 0)
			return more;

		s->next_in = r->in + r->at;
		s->avail_in = (uint32_t)(r->filled - r->at);
		s->next_out = data;
		s->avail_out = (uint32_t)len;
		int rc = isal_inflate(s);
		size_t made = len - s->avail_out;
		bool idle = made == 0 && s->avail_in == r->filled - r->at;
		r->at = r->filled - s->avail_in;
		r->member_end = s->block_state == ISAL_BLOCK_FINISH;
		if (rc < 0)
			return err_set(err, ERR_INVALID, "damaged gzip stream");
		if (made > 0)
			return (ssize_t)made;
		if (idle && r->source_end && !r->member_end)
			return err_set(err, ERR_INVALID, "gzip stream is cut short");
	}
}

static ssize_t read_zstd(struct compress_reader *r, void *data, size_t len, struct err *err)
{
	for (;;) {
		int more = want_input(r, COMPRESS_ZSTD, err);
		if (more <= 0)
			return more;

		ZSTD_inBuffer in = {r->in, r->filled, r->at};
		ZSTD_outBuffer out = {data, len, 0};
		size_t rc = ZSTD_decompressStream(r->zstd, &out, &in);
		bool idle = out.pos == 0 && in.pos == r->at;
		r->at = in.pos;
		if (ZSTD_isError(rc))
			return err_set(err, ERR_INVALID, "damaged zstd stream: %s",
			               ZSTD_getErrorName(rc));
		r->member_end = rc == 0;
		if (out.pos > 0)
			return (ssize_t)out.pos;
		if (idle && r->source_end && !r->member_end)
			return err_set(err, ERR_INVALID, "zstd stream is cut short");
	}
}

static ssize_t read_other(struct compress_reader *r, void *data, size_t len, struct err *err)
{
	ssize_t n = archive_read_data(r->other, data, len);

	if (n < 0)
		return err_set(err, ERR_INVALID, "cannot decompress: %s",
		               archive_error_string(r->other));
	return n;
}

ssize_t compress_reader_read(struct compress_reader *r, void *data, size_t len, struct err *err)
{
	if (len > COMPRESS_BLOCK)
		len = COMPRESS_BLOCK;
	switch (r->kind) {
	case COMPRESS_GZIP:
		return read_gzip(r, data, len, err);
	case COMPRESS_ZSTD:
		return read_zstd(r, data, len, err);
	case COMPRESS_OTHER:
		return read_other(r, data, len, err);
	case COMPRESS_NONE:
		return read_plain(r, data, len, err);
	}
	return err_set(err, ERR_INTERNAL, "unknown compression");
}

uint64_t compress_reader_taken(const struct compress_reader *r)
{
	return r->taken;
}

/* ---- writing ---- */

struct compress_writer *compress_writer_create(int (*write)(void *arg, const void *data, size_t len,
                                                            struct err *err),
                                               void *arg, struct err *err)
{
	auto_type(compress_writer) w = calloc(1, sizeof(*w));

	if (w)
		w->level_buf = malloc(ISAL_DEF_LVL3_DEFAULT);
	if (!w || !w->level_buf) {
		(void)err_nomem(err);
		return NULL;
	}
	w->write = write;
	w->arg = arg;
	isal_deflate_init(&w->stream);
	w->stream.level = 3;
	w->stream.level_buf = w->level_buf;
	w->stream.level_buf_size = ISAL_DEF_LVL3_DEFAULT;
	w->stream.gzip_flag = IGZIP_GZIP;
	return move_ptr(w);
}

void compress_writer_free(struct compress_writer *w)
{
	if (!w)
		return;
	free(w->level_buf);
	free(w);
}

/* Runs the compressor until it has taken its input and given what it wants to give. */
static int deflate_all(struct compress_writer *w, struct err *err)
{
	do {
		w->stream.next_out = w->out;
		w->stream.avail_out = sizeof(w->out);
		if (isal_deflate(&w->stream) != COMP_OK)
			return err_set(err, ERR_INTERNAL, "gzip compressor failed");
		size_t made = sizeof(w->out) - w->stream.avail_out;
		if (made > 0 && w->write(w->arg, w->out, made, err) < 0)
			return -1;
	} while (w->stream.avail_out == 0);
	return 0;
}

int compress_writer_add(struct compress_writer *w, const void *data, size_t len, struct err *err)
{
	const uint8_t *next = data;

	while (len > 0) {
		size_t n = len < COMPRESS_BLOCK ? len : COMPRESS_BLOCK;
		// NOLINTNEXTLINE(performance-no-int-to-ptr) drops const: the library only reads it
		w->stream.next_in = (uint8_t *)(uintptr_t)next;
		w->stream.avail_in = (uint32_t)n;
		if (deflate_all(w, err) < 0)
			return -1;
		next += n;
		len -= n;
	}
	return 0;
}

int compress_writer_finish(struct compress_writer *w, struct err *err)
{
	w->stream.end_of_stream = 1;
	w->stream.next_in = NULL;
	w->stream.avail_in = 0;
	return deflate_all(w, err);
}
