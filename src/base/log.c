/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/id.h"

#define LINE_MAX_ 4096 /* bytes; longer lines are cut with "..." */

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const int level_priorities[] = {3, 4, 6, 7}; /* syslog(3) */

/* sd_journal: JOURNAL_STREAM is "<device>:<inode>" of the stream that fd 2 should be. */
static bool is_journal(int fd)
{
	const char *text = getenv("JOURNAL_STREAM");
	struct stat st;
	uint64_t dev, ino;

	if (!text || fstat(fd, &st) < 0)
		return false;
	if (!id_scan_u64(&text, &dev) || *text++ != ':' || !id_scan_u64(&text, &ino))
		return false;
	return st.st_dev == dev && st.st_ino == ino;
}

void log_init(struct log *log, enum log_level level)
{
	*log = (struct log){.fd = STDERR_FILENO, .level = level};
	log->journal = is_journal(log->fd);
}

int log_parse_level(const char *text, enum log_level *level, struct err *err)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return err_set(err, ERR_INVALID, "log level '%s' is not error, warn, info or debug", text);
}

/* Control characters could forge lines or move the cursor of whoever reads the log. */
static void escape(char *dst, size_t size, const char *src)
{
	size_t used = 0;

	for (; *src && used + 5 < size; src++) {
		unsigned char c = (unsigned char)*src;
		if (c >= 0x20 && c != 0x7f)
			dst[used++] = (char)c;
		else
			used += (size_t)snprintf(dst + used, size - used, "\\x%02x", c);
	}
	dst[used] = '\0';
}

static void time_text(char *text, size_t size)
{
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t n = strftime(text, size, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, size - n, ".%03ldZ", now.tv_nsec / 1000000);
}

/* The JSON form is what runc and crun write under --log-format json. */
static int format_json(char *line, size_t size, enum log_level level, const char *text)
{
	char quoted[LINE_MAX_];
	char when[40];
	size_t used = 0;

	for (; *text && used + 3 < sizeof(quoted); text++) {
		if (*text == '"' || *text == '\\')
			quoted[used++] = '\\';
		quoted[used++] = *text;
	}
	quoted[used] = '\0';
	time_text(when, sizeof(when));
	return snprintf(line, size, "{\"level\":\"%s\",\"msg\":\"%s\",\"time\":\"%s\"}\n",
	                level == LOG_LEVEL_WARN ? "warning" : level_names[level], quoted, when);
}

void log_write(const struct log *log, enum log_level level, const char *event, const char *fmt, ...)
{
	char raw[LINE_MAX_ - 512];
	char text[LINE_MAX_ - 256];
	char line[LINE_MAX_ * 2];
	char when[40];
	int n;

	if (!log || level > log->level)
		return;

	int used = snprintf(raw, sizeof(raw), "%s%s", event, *fmt ? " " : "");
	if (used >= 0 && (size_t)used < sizeof(raw)) {
		va_list ap;
		va_start(ap, fmt);
		vsnprintf(raw + used, sizeof(raw) - (size_t)used, fmt, ap);
		va_end(ap);
	}
	escape(text, sizeof(text), raw);

	if (log->json) {
		n = format_json(line, sizeof(line), level, text);
	} else if (log->journal) {
		n = snprintf(line, sizeof(line), "<%d>%s\n", level_priorities[level], text);
	} else {
		time_text(when, sizeof(when));
		n = snprintf(line, sizeof(line), "%s %-5s %s\n", when, level_names[level], text);
	}
	if (n > 0)
		(void)!write(log->fd, line, (size_t)n);
}
