/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/logfile.h"

#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/testing.h"

struct fixture {
	char path[64];
	int dir_fd;
	struct logfile log;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->path, sizeof(f->path), "/tmp/buoy-logfile-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->dir_fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	logfile_done(&f->log);
	close(f->dir_fd);
	testing_remove_tree(f->path);
	free(f);
	return 0;
}

static void start(struct fixture *f, int64_t size_max, int64_t files_max)
{
	assert_int_equal(logfile_open(&f->log, f->dir_fd, "x.log", size_max, files_max, NULL), 0);
}

/* The "log" texts of a file, one after the other, each behind its stream's letter. */
static char *texts(struct fixture *f, const char *name)
{
	static char out[400000];
	auto_buf struct buf text = BUF_INIT(1 << 22);
	size_t len = 0;

	assert_int_equal(fs_read(f->dir_fd, name, 1 << 22, &text, NULL), 0);
	for (const char *at = buf_str(&text); *at;) {
		const char *end = strchr(at, '\n');

		assert_non_null(end);
		auto_type(json) line = json_parse(at, (size_t)(end - at), NULL);

		assert_non_null(line);
		assert_non_null(json_get_string(line, "time"));
		len += (size_t)snprintf(out + len, sizeof(out) - len, "%c%s",
		                        json_get_string(line, "stream")[3],
		                        json_get_string(line, "log"));
		at = end + 1;
	}
	out[len] = '\0';
	return out;
}

static void lines_are_written_whole_and_with_their_stream(void **state)
{
	struct fixture *f = *state;

	start(f, 0, 1);
	logfile_add(&f->log, 1, "a\nb", 3);
	logfile_add(&f->log, 2, "E\n", 2);
	assert_string_equal(texts(f, "x.log"), "oa\neE\n");
	logfile_add(&f->log, 1, "c\n", 2);
	assert_string_equal(texts(f, "x.log"), "oa\neE\nobc\n");
}

static void a_last_line_without_a_newline_is_kept(void **state)
{
	struct fixture *f = *state;

	start(f, 0, 1);
	logfile_add(&f->log, 1, "no newline", 10);
	assert_string_equal(texts(f, "x.log"), "");
	logfile_finish(&f->log);
	assert_string_equal(texts(f, "x.log"), "ono newline");
}

static void odd_bytes_make_readable_json(void **state)
{
	struct fixture *f = *state;

	start(f, 0, 1);
	logfile_add(&f->log, 1, "\"\\\t\x01\x7f\xff\xc3\xa4\xf0\x9f\x98\x80\xed\xa0\x80\n", 17);
	assert_string_equal(texts(f, "x.log"), "o\"\\\t\x01\x7f\xef\xbf\xbd\xc3\xa4\xf0\x9f\x98\x80"
	                                       "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\n");
}

static void a_long_line_comes_in_pieces_of_whole_characters(void **state)
{
	struct fixture *f = *state;
	static char line[40001];

	for (size_t i = 0; i + 1 < sizeof(line); i += 2)
		memcpy(line + i, "\xc3\xa4", 2);
	line[sizeof(line) - 1] = '\n';
	start(f, 0, 1);
	logfile_add(&f->log, 1, "x", 1); /* puts characters across the cut */
	for (size_t at = 0; at < sizeof(line); at += 1000)
		logfile_add(&f->log, 1, line + at,
		            sizeof(line) - at < 1000 ? sizeof(line) - at : 1000);

	char *got = texts(f, "x.log");
	size_t pieces = 0, len = 0;

	for (char *at = got; *at; at++) {
		assert_int_not_equal((unsigned char)*at, 0xef); /* no U+FFFD */
		pieces += *at == 'o';
		len += *at != 'o';
	}
	assert_int_equal(pieces, 3);
	assert_int_equal(len, 1 + sizeof(line));
}

static void rotation_keeps_the_wanted_number_of_files(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char line[32];

	start(f, 1000, 3);
	for (int i = 0; i < 100; i++) {
		int n = snprintf(line, sizeof(line), "line %03d\n", i);

		logfile_add(&f->log, 1, line, (size_t)n);
	}
	assert_true(fs_exists(f->dir_fd, "x.log"));
	assert_true(fs_exists(f->dir_fd, "x.log.1"));
	assert_true(fs_exists(f->dir_fd, "x.log.2"));
	assert_false(fs_exists(f->dir_fd, "x.log.3"));
	assert_int_equal(fs_stat(f->dir_fd, "x.log.1", &st, NULL), 0);
	assert_true(st.st_size <= 1000);

	/* The files continue each other. */
	char older[16], newer[16];
	char *text = texts(f, "x.log.1");

	memcpy(older, text + strlen(text) - 4, 4);
	text = texts(f, "x.log");
	memcpy(newer, text + 6, 4);
	assert_int_equal(strtol(older, NULL, 10) + 1, strtol(newer, NULL, 10));
}

static void rotation_works_within_one_chunk(void **state)
{
	struct fixture *f = *state;
	static char chunk[20000];

	for (size_t i = 0; i < sizeof(chunk); i += 10)
		memcpy(chunk + i, "123456789\n", 10);
	start(f, 5000, 2);
	logfile_add(&f->log, 1, chunk, sizeof(chunk));

	struct stat st;

	assert_int_equal(fs_stat(f->dir_fd, "x.log", &st, NULL), 0);
	assert_true(st.st_size > 0 && st.st_size <= 5000);
	assert_int_equal(fs_stat(f->dir_fd, "x.log.1", &st, NULL), 0);
	assert_true(st.st_size > 4900 && st.st_size <= 5000);
}

static void one_file_starts_anew(void **state)
{
	struct fixture *f = *state;

	start(f, 200, 1);
	for (int i = 0; i < 10; i++)
		logfile_add(&f->log, 1, "0123456789\n", 11);
	assert_false(fs_exists(f->dir_fd, "x.log.1"));
	assert_string_equal(texts(f, "x.log"), "o0123456789\no0123456789\n");
}

static void an_existing_log_is_continued(void **state)
{
	struct fixture *f = *state;

	start(f, 0, 1);
	logfile_add(&f->log, 1, "a\n", 2);
	logfile_done(&f->log);
	start(f, 0, 1);
	logfile_add(&f->log, 1, "b\n", 2);
	assert_string_equal(texts(f, "x.log"), "oa\nob\n");
}

static void lost_lines_are_counted_and_nothing_stops(void **state)
{
	struct fixture *f = *state;

	start(f, 0, 1);
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	dup2(full, f->log.fd);
	close(full);
	logfile_add(&f->log, 1, "a\nb\n", 4);
	assert_int_equal(f->log.lost, 2);
}

static void a_name_with_a_slash_is_refused(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct logfile log;

	f->log = (struct logfile){.fd = -1, .dir_fd = -1};
	assert_int_equal(logfile_open(&log, f->dir_fd, "../x", 0, 1, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	assert_int_equal(logfile_open(&log, f->dir_fd, "x", 0, 0, &err), -1);
}

TESTING_MAIN(TEST_WITH(lines_are_written_whole_and_with_their_stream, setup, teardown),
             TEST_WITH(a_last_line_without_a_newline_is_kept, setup, teardown),
             TEST_WITH(odd_bytes_make_readable_json, setup, teardown),
             TEST_WITH(a_long_line_comes_in_pieces_of_whole_characters, setup, teardown),
             TEST_WITH(rotation_keeps_the_wanted_number_of_files, setup, teardown),
             TEST_WITH(rotation_works_within_one_chunk, setup, teardown),
             TEST_WITH(one_file_starts_anew, setup, teardown),
             TEST_WITH(an_existing_log_is_continued, setup, teardown),
             TEST_WITH(lost_lines_are_counted_and_nothing_stops, setup, teardown),
             TEST_WITH(a_name_with_a_slash_is_refused, setup, teardown))
