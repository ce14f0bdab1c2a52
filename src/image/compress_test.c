/* SPDX-License-Identifier: Apache-2.0 */
#include "image/compress.h"

#include <zstd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/testing.h"

#define SIZE (3u << 20)

static int collect(void *arg, const void *data, size_t len, struct err *err)
{
	buf_add_mem(arg, data, len);
	return buf_check(arg, err);
}

static char *make_text(void)
{
	char *text = malloc(SIZE);
	unsigned seed = 7;

	assert_non_null(text);
	for (size_t i = 0; i < SIZE; i++) {
		seed = seed * 1103515245 + 12345;
		text[i] = (char)('a' + (seed >> 16) % (i % 4096 < 2048 ? 26 : 2));
	}
	return text;
}

static void gzip(const char *text, size_t len, struct buf *out)
{
	auto_type(compress_writer) w = compress_writer_create(collect, out, NULL);

	assert_non_null(w);
	for (size_t at = 0; at < len; at += 10000)
		assert_int_equal(compress_writer_add(w, text + at,
		                                     len - at < 10000 ? len - at : 10000, NULL),
		                 0);
	assert_int_equal(compress_writer_finish(w, NULL), 0);
}

/* Reads the bytes back through a file; -1 or the number of bytes. */
static ssize_t unpack(const struct buf *packed, struct buf *out, struct err *err)
{
	FILE *file = tmpfile();
	char block[5000];
	ssize_t n = -1;

	fwrite(packed->data, 1, packed->len, file);
	rewind(file);
	auto_type(compress_reader) r = compress_reader_open(fileno(file), err);
	while (r && (n = compress_reader_read(r, block, sizeof(block), err)) > 0)
		buf_add_mem(out, block, (size_t)n);
	fclose(file);
	return n < 0 ? -1 : (ssize_t)out->len;
}

static void gzip_gives_back_what_it_was_given(void **state)
{
	auto_free char *text = make_text();
	auto_buf struct buf packed = BUF_INIT(2 * SIZE), again = BUF_INIT(2 * SIZE),
			    out = BUF_INIT(2 * SIZE);

	(void)state;
	gzip(text, SIZE, &packed);
	gzip(text, SIZE, &again);
	assert_true(packed.len < SIZE);
	assert_int_equal(packed.len, again.len);
	assert_memory_equal(packed.data, again.data, packed.len);
	assert_int_equal(compress_detect(packed.data, packed.len), COMPRESS_GZIP);
	assert_int_equal(unpack(&packed, &out, NULL), SIZE);
	assert_memory_equal(out.data, text, SIZE);
}

static void members_behind_one_another_are_one_stream(void **state)
{
	auto_buf struct buf packed = BUF_INIT(SIZE), out = BUF_INIT(SIZE);
	char zeros[3000] = {0};

	(void)state;
	gzip("first ", 6, &packed);
	gzip("second", 6, &packed);
	buf_add_mem(&packed, zeros, sizeof(zeros));
	assert_int_equal(unpack(&packed, &out, NULL), 12);
	assert_string_equal(buf_str(&out), "first second");
}

static void zstd_is_read(void **state)
{
	auto_free char *text = make_text();
	auto_buf struct buf packed = BUF_INIT(2 * SIZE), out = BUF_INIT(2 * SIZE);
	size_t bound = ZSTD_compressBound(SIZE);
	auto_free char *room = malloc(bound);

	(void)state;
	buf_add_mem(&packed, room, ZSTD_compress(room, bound, text, SIZE, 3));
	assert_int_equal(unpack(&packed, &out, NULL), SIZE);
	assert_memory_equal(out.data, text, SIZE);
	packed.len -= 10;
	buf_clear(&out);
	assert_int_equal(unpack(&packed, &out, NULL), -1);
}

static void damage_and_a_cut_are_noticed(void **state)
{
	auto_free char *text = make_text();
	auto_buf struct buf packed = BUF_INIT(2 * SIZE), out = BUF_INIT(2 * SIZE);
	struct err err = ERR_INIT;

	(void)state;
	gzip(text, SIZE, &packed);
	size_t len = packed.len;
	packed.len = len - 1;
	assert_int_equal(unpack(&packed, &out, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	packed.len = len;
	packed.data[len / 2] ^= 0x40;
	buf_clear(&out);
	assert_int_equal(unpack(&packed, &out, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
}

static void other_bytes_pass_unchanged(void **state)
{
	auto_buf struct buf in = BUF_INIT(100), out = BUF_INIT(100);

	(void)state;
	buf_add(&in, "no archive");
	assert_int_equal(unpack(&in, &out, NULL), 10);
	assert_string_equal(buf_str(&out), "no archive");
	buf_clear(&in);
	buf_add(&in, "x");
	buf_clear(&out);
	assert_int_equal(unpack(&in, &out, NULL), 1);
}

TESTING_MAIN(TEST(gzip_gives_back_what_it_was_given),
             TEST(members_behind_one_another_are_one_stream), TEST(zstd_is_read),
             TEST(damage_and_a_cut_are_noticed), TEST(other_bytes_pass_unchanged))
