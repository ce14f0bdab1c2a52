/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/logfile.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"

/* A byte takes at most six ("\u001f"); the frame around a line is far below 128. */
#define ENCODED_MAX (LOGFILE_LINE_MAX * 6 + 128)
#define OUT_SIZE    (2 * 128 * 1024)
_Static_assert(OUT_SIZE >= 2 * ENCODED_MAX, "a line fits behind a line");

static int open_current(struct logfile *log, struct err *err)
{
	struct stat st;
	auto_close int fd = fs_open(log->dir_fd, log->name,
	                            O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0640, err);

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		return err_sys(err, "cannot stat log %s", log->name);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_INVALID, "log %s is not a regular file", log->name);
	log->size = st.st_size;
	log->fd = move_fd(&fd);
	return 0;
}

int logfile_open(struct logfile *log, int dir_fd, const char *name, int64_t size_max,
                 int64_t files_max, struct err *err)
{
	struct logfile fresh = {
		.dir_fd = -1, .fd = -1, .size_max = size_max, .files_max = files_max};

	if (str_empty(name) || strlen(name) >= sizeof(fresh.name) - 12 || strchr(name, '/') ||
	    name[0] == '.')
		return err_set(err, ERR_INVALID, "log name: must be a plain file name");
	if (size_max < 0 || files_max < 1)
		return err_set(err, ERR_INVALID,
		               "log limits: size %lld must be >= 0, files %lld >= 1",
		               (long long)size_max, (long long)files_max);
	memcpy(fresh.name, name, strlen(name) + 1);
	fresh.dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
	if (fresh.dir_fd < 0)
		return err_sys(err, "log directory");
	if (open_current(&fresh, err) < 0) {
		close(fresh.dir_fd);
		return -1;
	}
	*log = fresh;
	return 0;
}

/* name.(n-1) -> name.n ... name -> name.1; what falls off the end is removed. */
static void rotate(struct logfile *log)
{
	char from[LOGFILE_NAME_MAX + 24], to[LOGFILE_NAME_MAX + 24];

	cleanup_close(&log->fd);
	log->fd = -1;
	log->size = 0;
	if (log->files_max == 1)
		(void)fs_unlink(log->dir_fd, log->name, NULL);
	for (int64_t i = log->files_max - 1; i >= 1; i--) {
		(void)snprintf(to, sizeof(to), "%s.%lld", log->name, (long long)i);
		if (i == 1)
			(void)snprintf(from, sizeof(from), "%s", log->name);
		else
			(void)snprintf(from, sizeof(from), "%s.%lld", log->name, (long long)i - 1);
		(void)fs_rename(log->dir_fd, from, log->dir_fd, to, NULL);
	}
	(void)open_current(log, NULL);
}

static uint64_t count_lines(const char *text, size_t len)
{
	uint64_t lines = 0;

	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	return lines;
}

/* Writes out[0..len) and keeps what follows. */
static void flush(struct logfile *log, size_t len)
{
	if (len == 0)
		return;
	if (log->fd < 0)
		(void)open_current(log, NULL);
	if (log->fd >= 0 && fs_write_all(log->fd, log->out, len, NULL) == 0) {
		log->size += (int64_t)len;
	} else {
		log->lost += count_lines(log->out, len);
		if (log->fd >= 0)
			(void)!ftruncate(log->fd, log->size); /* no half lines */
	}
	memmove(log->out, log->out + len, log->out_len - len);
	log->out_len -= len;
}

/* Bytes of the UTF-8 sequence that begins so; 0 if none does. */
static size_t utf8_need(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first < 0xc2 || first >= 0xf5)
		return 0;
	if (first < 0xe0)
		return 2;
	return first < 0xf0 ? 3 : 4;
}

/* Overlong forms, surrogates and what lies above U+10FFFF are excluded by the second byte. */
static bool utf8_second(unsigned char first, unsigned char second)
{
	unsigned char low = 0x80, high = 0xbf;

	if (first == 0xe0)
		low = 0xa0;
	if (first == 0xed)
		high = 0x9f;
	if (first == 0xf0)
		low = 0x90;
	if (first == 0xf4)
		high = 0x8f;
	return second >= low && second <= high;
}

/* Length of the UTF-8 sequence at s, 0 if it is none; *more if it may be one that is cut short. */
static size_t utf8_length(const char *s, size_t len, bool *more)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t need = utf8_need(u[0]);

	*more = false;
	for (size_t i = 1; i < need; i++) {
		if (i == len) {
			*more = true;
			return 0;
		}
		if (i == 1 ? !utf8_second(u[0], u[1]) : (u[i] & 0xc0) != 0x80)
			return 0;
	}
	return need;
}

static char *put_text(char *to, const char *text)
{
	size_t n = strlen(text);

	// NOLINTNEXTLINE(bugprone-not-null-terminated-result) bytes of a line, not a string
	memcpy(to, text, n);
	return to + n;
}

static char *put_ascii(char *to, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";

	switch (c) {
	case '\n':
		return put_text(to, "\\n");
	case '\r':
		return put_text(to, "\\r");
	case '\t':
		return put_text(to, "\\t");
	case '"':
		return put_text(to, "\\\"");
	case '\\':
		return put_text(to, "\\\\");
	default:
		break;
	}
	if (c >= 0x20 && c != 0x7f) {
		*to = (char)c;
		return to + 1;
	}
	to = put_text(to, "\\u00");
	*to++ = hex[c >> 4];
	*to++ = hex[c & 15];
	return to;
}

static char *put_escaped(char *to, const char *s, size_t len)
{
	while (len > 0) {
		bool more;
		size_t n = utf8_length(s, len, &more);

		if (n == 1) {
			to = put_ascii(to, (unsigned char)*s);
		} else if (n == 0) {
			to = put_text(to, "\xef\xbf\xbd");
			n = 1;
		} else {
			memcpy(to, s, n);
			to += n;
		}
		s += n;
		len -= n;
	}
	return to;
}

static bool have_out(struct logfile *log)
{
	if (log->out)
		return true;
	void *mem =
		mmap(NULL, OUT_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		return false;
	log->out = mem;
	log->out_len = 0;
	return true;
}

static void write_line(struct logfile *log, int stream, const char *s, size_t len, const char *time)
{
	size_t before = log->out_len;
	char *to = log->out + before;

	to = put_text(to, "{\"log\":\"");
	to = put_escaped(to, s, len);
	to = put_text(to, stream == 2 ? "\",\"stream\":\"stderr\",\"time\":\""
	                              : "\",\"stream\":\"stdout\",\"time\":\"");
	to = put_text(to, time);
	to = put_text(to, "\"}\n");
	log->out_len = (size_t)(to - log->out);

	if (log->size_max > 0 && log->size + (int64_t)log->out_len > log->size_max &&
	    log->size + (int64_t)before > 0) {
		flush(log, before);
		rotate(log);
	}
	if (log->out_len + ENCODED_MAX > OUT_SIZE)
		flush(log, log->out_len);
}

/* How much of a line that is too long to put down now: not the start of a character whose rest
 * is still to come. */
static size_t piece_length(const char *s, size_t len)
{
	for (size_t back = 1; back <= 3 && back < len; back++) {
		bool more;

		(void)utf8_length(s + len - back, back, &more);
		if (more)
			return len - back;
	}
	return len;
}

static bool keep_part(struct logfile_part *part, const char *s, size_t len)
{
	if (!part->data)
		part->data = malloc(LOGFILE_LINE_MAX);
	if (!part->data)
		return false;
	memcpy(part->data + part->len, s, len);
	part->len += len;
	return true;
}

static void write_part(struct logfile *log, int stream, size_t len, const char *time)
{
	struct logfile_part *part = &log->parts[stream - 1];

	write_line(log, stream, part->data, len, time);
	memmove(part->data, part->data + len, part->len - len);
	part->len -= len;
	if (part->len > 0)
		return;
	free(part->data);
	part->data = NULL;
}

/* The next line, or piece of one, from s; returns how many bytes of s it took. */
static size_t take_line(struct logfile *log, int stream, const char *s, size_t len,
                        const char *time)
{
	struct logfile_part *part = &log->parts[stream - 1];
	size_t room = LOGFILE_LINE_MAX - part->len;
	size_t n = len < room ? len : room;
	const char *newline = memchr(s, '\n', n);

	if (newline)
		n = (size_t)(newline - s) + 1;
	if (part->len == 0 && (newline || n == LOGFILE_LINE_MAX)) { /* straight from the chunk */
		if (!newline)
			n = piece_length(s, n);
		write_line(log, stream, s, n, time);
		return n;
	}
	if (!keep_part(part, s, n)) {
		log->lost++;
		return n;
	}
	if (newline)
		write_part(log, stream, part->len, time);
	else if (part->len == LOGFILE_LINE_MAX)
		write_part(log, stream, piece_length(part->data, part->len), time);
	return n;
}

void logfile_add(struct logfile *log, int stream, const char *data, size_t len)
{
	char time[CLOCK_TEXT_MAX];

	if (!have_out(log)) {
		log->lost += count_lines(data, len);
		return;
	}
	clock_format(clock_wall_ns(), time);
	while (len > 0) {
		size_t n = take_line(log, stream, data, len, time);

		data += n;
		len -= n;
	}
	flush(log, log->out_len);
}

void logfile_finish(struct logfile *log)
{
	char time[CLOCK_TEXT_MAX];

	clock_format(clock_wall_ns(), time);
	for (int stream = 1; stream <= 2; stream++) {
		if (log->parts[stream - 1].len > 0 && have_out(log))
			write_part(log, stream, log->parts[stream - 1].len, time);
	}
	if (log->out)
		flush(log, log->out_len);
}

void logfile_idle(struct logfile *log)
{
	if (log->out)
		munmap(log->out, OUT_SIZE);
	log->out = NULL;
	log->out_len = 0;
}

void logfile_done(struct logfile *log)
{
	for (size_t i = 0; i < 2; i++) {
		free(log->parts[i].data);
		log->parts[i] = (struct logfile_part){0};
	}
	logfile_idle(log);
	cleanup_close(&log->fd);
	cleanup_close(&log->dir_fd);
	log->fd = log->dir_fd = -1;
}
