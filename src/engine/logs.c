/* SPDX-License-Identifier: Apache-2.0 */
/* logs - reads what the supervisor wrote: container.log and its rotated elders. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "engine/check.h"
#include "engine/private.h"

#define CHUNK      65536
#define RECORD_MAX (1u << 20) /* bytes of one record as it is in the file */
#define NAME       "container.log"

struct reader {
	const struct container_logs_options *options;
	int (*fn)(void *arg, int stream, int64_t time_ns, const char *data, size_t len);
	void *arg;
	int dir;
	int fd; /* the file being read; -1 */
	ino_t inode;
	int64_t skip; /* records to leave out: all but the tail */
	struct buf line;
	bool over; /* past `until` */
};

/* One record of the file to the caller. */
static int give(struct reader *r, const char *text, size_t len, struct err *err)
{
	auto_type(json) record = json_parse(text, len, NULL);
	const char *data = json_get_string(record, "log");
	const char *time = json_get_string(record, "time");
	int stream = str_eq(json_get_string(record, "stream"), "stderr") ? 2 : 1;
	int64_t ns = 0;

	if (!data || !time || clock_parse(time, &ns, NULL) < 0)
		return 0; /* torn by a crash */
	if (r->skip > 0) {
		r->skip--;
		return 0;
	}
	if (r->options->until_ns && ns > r->options->until_ns) {
		r->over = true;
		return 0;
	}
	if ((r->options->since_ns && ns < r->options->since_ns) ||
	    (stream == 1 && !r->options->out) || (stream == 2 && !r->options->err))
		return 0;
	if (r->fn(r->arg, stream, ns, data, strlen(data)) < 0)
		return err_set(err, ERR_CANCELED, "canceled");
	return 0;
}

/* Splits what was read into lines; an unfinished one waits in r->line. */
static int feed(struct reader *r, const char *data, size_t len, struct err *err)
{
	while (len && !r->over) {
		const char *end = memchr(data, '\n', len);
		size_t n = end ? (size_t)(end - data) : len;
		buf_add_mem(&r->line, data, n);
		if (!end)
			break;
		int rc = buf_check(&r->line, NULL) == 0
		                 ? give(r, buf_str(&r->line), r->line.len, err)
		                 : 0;
		if (rc < 0)
			return -1;
		buf_free(&r->line);
		r->line = BUF_INIT(RECORD_MAX);
		data += n + 1;
		len -= n + 1;
	}
	return 0;
}

static int drain(struct reader *r, struct err *err)
{
	char chunk[CHUNK];

	while (!r->over) {
		ssize_t n = r->fd < 0 ? 0 : read(r->fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "log");
		if (n == 0)
			return 0;
		if (feed(r, chunk, (size_t)n, err) < 0)
			return -1;
	}
	return 0;
}

static void reader_open(struct reader *r, const char *name)
{
	struct stat st;

	if (r->fd >= 0)
		close(r->fd);
	r->fd = fs_open(r->dir, name, O_RDONLY, 0, NULL);
	r->inode = r->fd >= 0 && fstat(r->fd, &st) == 0 ? st.st_ino : 0;
	buf_free(&r->line);
	r->line = BUF_INIT(RECORD_MAX);
}

static void rotated_name(char name[64], int i)
{
	if (i == 0)
		snprintf(name, 64, "%s", NAME);
	else
		snprintf(name, 64, "%s.%d", NAME, i);
}

static int64_t count_lines(int dir, const char *name)
{
	auto_close int fd = fs_open(dir, name, O_RDONLY, 0, NULL);
	char chunk[CHUNK];
	int64_t lines = 0;

	for (ssize_t n; fd >= 0 && (n = read(fd, chunk, sizeof(chunk))) > 0;)
		for (const char *p = chunk; (p = memchr(p, '\n', (size_t)(chunk + n - p))); p++)
			lines++;
	return lines;
}

static int oldest(int dir)
{
	char name[64];
	int i = 0;

	for (;;) {
		rotated_name(name, i + 1);
		if (!fs_exists(dir, name))
			return i;
		i++;
	}
}

static int read_files(struct reader *r, struct err *err)
{
	int first = oldest(r->dir);
	int64_t total = 0;
	char name[64];

	if (r->options->tail >= 0) {
		for (int i = first; i >= 0; i--) {
			rotated_name(name, i);
			total += count_lines(r->dir, name);
		}
		r->skip = total > r->options->tail ? total - r->options->tail : 0;
	}
	for (int i = first; i >= 0 && !r->over; i--) {
		rotated_name(name, i);
		reader_open(r, name);
		if (drain(r, err) < 0)
			return -1;
	}
	return 0;
}

static bool was_rotated(const struct reader *r)
{
	struct stat st;

	return fs_stat(r->dir, NAME, &st, NULL) == 0 && st.st_ino != r->inode;
}

static int catch_up(struct reader *r, struct err *err)
{
	if (drain(r, err) < 0)
		return -1;
	while (!r->over && was_rotated(r)) {
		/* The old file may have got its last lines between the two looks. */
		if (drain(r, err) < 0)
			return -1;
		reader_open(r, NAME);
		if (drain(r, err) < 0)
			return -1;
	}
	return 0;
}

static int watch_log(int dir, struct err *err)
{
	auto_close int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char path[40];

	if (fd < 0)
		return err_sys(err, "inotify");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", dir);
	if (inotify_add_watch(fd, path, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0)
		return err_sys(err, "inotify");
	return move_fd(&fd);
}

static void swallow(int fd)
{
	char chunk[4096];

	while (read(fd, chunk, sizeof(chunk)) > 0)
		;
}

#define LOST_MS 60000 /* a lost notification delays a line by this, no more */

/* Milliseconds to wait for more; negative: the time asked for is over. */
static int patience(const struct container_logs_options *options)
{
	int64_t left;

	if (!options->until_ns)
		return LOST_MS;
	left = (options->until_ns - clock_wall_ns()) / 1000000;
	if (left < 0)
		return -1;
	return left > LOST_MS ? LOST_MS : (int)left + 1;
}

static int follow(struct reader *r, struct engine *engine, const struct container_wait *end,
                  int notify, struct err *err)
{
	struct pollfd fds[4] = {
		{.fd = notify, .events = POLLIN},
		{.fd = wait_fd(end), .events = POLLIN},
		{.fd = r->options->cancel_fd, .events = POLLIN | POLLRDHUP},
		{.fd = engine->stop_fd, .events = POLLIN},
	};

	while (!r->over) {
		int wait_ms = patience(r->options);
		if (wait_ms < 0)
			return 0;
		int n = poll(fds, 4, wait_ms);
		if (n < 0 && errno != EINTR)
			return err_sys(err, "log");
		if (n > 0 && (fds[2].revents || fds[3].revents))
			return err_set(err, ERR_CANCELED, "canceled");
		if (n > 0 && fds[0].revents)
			swallow(notify);
		if (catch_up(r, err) < 0)
			return -1;
		if (n > 0 && fds[1].revents)
			return 0;
	}
	return 0;
}

static int read_logs(struct reader *r, struct container *c, struct err *err)
{
	auto_type(container_wait) end = NULL;
	auto_close int notify = -1;

	/* Watch first, then read: nothing falls between the two. */
	if (r->options->follow) {
		end = container_wait_begin(c->engine, c->id, CONTAINER_NOT_RUNNING, err);
		notify = end ? watch_log(r->dir, err) : -1;
		if (notify < 0)
			return -1;
	}
	if (read_files(r, err) < 0)
		return -1;
	if (r->options->follow && !r->over)
		return follow(r, c->engine, end, notify, err);
	return 0;
}

int container_logs(struct engine *engine, const char *ref,
                   const struct container_logs_options *options,
                   int (*fn)(void *arg, int stream, int64_t time_ns, const char *data, size_t len),
                   void *arg, struct err *err)
{
	auto_type(container) c = container_get(engine, ref, err);
	auto_type(config) config = c ? container_config(c) : NULL;
	auto_close int dir = c ? container_dir(c, err) : -1;
	auto_close int log = dir < 0 ? -1 : fs_mkdir_all(dir, "log", 0700, err);
	struct check_log log_config;
	struct reader r = {.options = options,
	                   .fn = fn,
	                   .arg = arg,
	                   .dir = log,
	                   .fd = -1,
	                   .line = BUF_INIT(RECORD_MAX)};

	if (log < 0 || check_log_config(&config->create.host.log_config, &log_config, err) < 0)
		return -1;
	if (log_config.none)
		return err_set(err, ERR_UNSUPPORTED,
		               "configured logging driver does not support reading");
	int rc = read_logs(&r, c, err);
	if (r.fd >= 0)
		close(r.fd);
	buf_free(&r.line);
	return rc;
}
