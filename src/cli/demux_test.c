/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/demux.h"

#include "base/err.h"
#include "base/testing.h"

struct ends {
	int out[2], err[2];
	struct demux demux;
};

static void open_ends(struct ends *e)
{
	*e = (struct ends){0};
	assert_int_equal(pipe(e->out), 0);
	assert_int_equal(pipe(e->err), 0);
	e->demux.out_fd = e->out[1];
	e->demux.err_fd = e->err[1];
}

static void expect(struct ends *e, const char *out, const char *err)
{
	char text[256];

	close(e->out[1]);
	close(e->err[1]);
	ssize_t n = read(e->out[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	assert_string_equal(text, out);
	n = read(e->err[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	assert_string_equal(text, err);
	close(e->out[0]);
	close(e->err[0]);
}

static const char frames[] =
	"\1\0\0\0\0\0\0\3abc\2\0\0\0\0\0\0\2xy\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\1d";

static void frames_go_to_their_streams(void **state)
{
	struct ends e;

	(void)state;
	open_ends(&e);
	assert_int_equal(demux_feed(&e.demux, frames, sizeof(frames) - 1, NULL), 0);
	expect(&e, "abcd", "xy");
}

static void frames_may_come_byte_by_byte(void **state)
{
	struct ends e;

	(void)state;
	open_ends(&e);
	for (size_t i = 0; i < sizeof(frames) - 1; i++)
		assert_int_equal(demux_feed(&e.demux, frames + i, 1, NULL), 0);
	expect(&e, "abcd", "xy");
}

static void a_terminal_has_no_frames(void **state)
{
	struct ends e;

	(void)state;
	open_ends(&e);
	e.demux.raw = true;
	assert_int_equal(demux_feed(&e.demux, "\1\2x", 3, NULL), 0);
	expect(&e, "\1\2x", "");
}

static void what_is_no_frame_is_an_error(void **state)
{
	struct err err = ERR_INIT;
	struct ends e;

	(void)state;
	open_ends(&e);
	assert_int_equal(demux_feed(&e.demux, "HTTP/1.1", 8, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	expect(&e, "", "");
}

TESTING_MAIN(TEST(frames_go_to_their_streams), TEST(frames_may_come_byte_by_byte),
             TEST(a_terminal_has_no_frames), TEST(what_is_no_frame_is_an_error))
