/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/snapshots.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/testing.h"

#define S 1000000000LL

struct bench {
	char path[64];
	int fd;
	int64_t now;
};

static void bench_init(struct bench *b)
{
	snprintf(b->path, sizeof(b->path), "/tmp/buoy-snapshots-XXXXXX");
	assert_non_null(mkdtemp(b->path));
	b->fd = open(b->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(clock_parse("2026-02-03T04:05:06Z", &b->now, NULL), 0);
}

static void bench_done(struct bench *b)
{
	close(b->fd);
	testing_remove_tree(b->path);
}

static void take(struct bench *b, const char *content)
{
	auto_buf struct buf text = BUF_INIT(1024);
	char name[SNAPSHOTS_NAME_MAX];

	buf_add(&text, content);
	assert_int_equal(snapshots_write(b->fd, b->now, &text, name, NULL), 0);
}

static void the_newest_are_kept_and_nothing_else_is_touched(void **state)
{
	(void)state;
	struct bench b;
	auto_buf struct buf text = BUF_INIT(1024);

	bench_init(&b);
	testing_write(b.fd, "mine.backup", "x");
	testing_write(b.fd, "2026-02-03T0405Z.backup", "x");
	for (int i = 0; i < 5; i++, b.now += 61 * S)
		take(&b, i == 4 ? "last" : "before");
	assert_int_equal(snapshots_prune(b.fd, 2, NULL), 3);
	assert_int_equal(snapshots_prune(b.fd, 2, NULL), 0);
	auto_type(json) list = snapshots_list(b.fd, NULL);
	assert_int_equal(json_count(list), 2);
	assert_string_equal(json_get_string(json_at(list, 0), "Name"), "2026-02-03T040910Z.backup");
	assert_string_equal(json_get_string(json_at(list, 0), "Created"), "2026-02-03T04:09:10Z");
	assert_int_equal(json_get_int(json_at(list, 0), "Size", 0), 4);
	assert_int_equal(snapshots_read(b.fd, "2026-02-03T040910Z.backup", &text, NULL), 0);
	assert_string_equal(buf_str(&text), "last");
	testing_assert_file(b.fd, "mine.backup", "x");
	testing_assert_file(b.fd, "2026-02-03T0405Z.backup", "x");
	bench_done(&b);
}

static void the_next_is_due_an_interval_after_the_last(void **state)
{
	(void)state;
	struct bench b;

	bench_init(&b);
	assert_int_equal(snapshots_due_ms(b.fd, 60, b.now), 0);
	take(&b, "x");
	assert_in_range(snapshots_due_ms(b.fd, 60, b.now), 59000, 60001);
	assert_in_range(snapshots_due_ms(b.fd, 60, b.now + 50 * S), 9000, 10001);
	assert_int_equal(snapshots_due_ms(b.fd, 60, b.now + 60 * S), 0);
	assert_int_equal(snapshots_due_ms(b.fd, 60, b.now - 3600 * S),
	                 0); /* the clock was set back */
	bench_done(&b);
}

static void settings_and_names_have_bounds(void **state)
{
	(void)state;
	struct bench b;
	auto_buf struct buf text = BUF_INIT(1024);
	struct err err = ERR_INIT;

	bench_init(&b);
	assert_int_equal(snapshots_check(&(struct snapshots_settings){0, 1}, NULL), 0);
	assert_int_equal(snapshots_check(&(struct snapshots_settings){-1, 1}, NULL), -1);
	assert_int_equal(snapshots_check(&(struct snapshots_settings){1, 0}, NULL), -1);
	assert_int_equal(snapshots_check(&(struct snapshots_settings){1, 1001}, NULL), -1);
	assert_int_equal(snapshots_read(b.fd, "../cluster/key.pem", &text, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	assert_int_equal(snapshots_read(b.fd, "2026-02-03T040910Z.backup", &text, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	bench_done(&b);
}

TESTING_MAIN(TEST(the_newest_are_kept_and_nothing_else_is_touched),
             TEST(the_next_is_due_an_interval_after_the_last), TEST(settings_and_names_have_bounds))
