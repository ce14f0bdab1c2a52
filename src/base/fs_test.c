/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/testing.h"

/*
 * Every test has a directory of its own:
 *
 *	root/        what the test works in (`dir`)
 *	outside/secret
 */
struct place {
	char path[64];
	int top;
	int dir;
};

static int make_place(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	snprintf(p->path, sizeof(p->path), "/tmp/buoy-fs-test-XXXXXX");
	assert_non_null(mkdtemp(p->path));
	p->top = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(p->top, "root", 0700), 0);
	assert_int_equal(mkdirat(p->top, "outside", 0700), 0);
	testing_write(p->top, "outside/secret", "secret");
	p->dir = openat(p->top, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(p->dir >= 0);
	*state = p;
	return 0;
}

static int remove_place(void **state)
{
	struct place *p = *state;

	close(p->dir);
	close(p->top);
	assert_int_equal(testing_remove_tree(p->path), 0);
	free(p);
	return 0;
}

#define CASE(fn) TEST_WITH(fn, make_place, remove_place)

static void assert_fails(int rc, const struct err *err, enum err_kind kind)
{
	assert_int_equal(rc, -1);
	assert_int_equal(err->kind, kind);
}

/* ---- open ---- */

static void our_own_names_stay_beneath_and_follow_no_link(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;

	testing_write(p->dir, "plain", "x");
	assert_int_equal(symlinkat("plain", p->dir, "link"), 0);
	assert_int_equal(symlinkat("..", p->dir, "up"), 0);
	auto_close int fd = fs_open(p->dir, "plain", O_RDONLY, 0, &err);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_fails(fs_open(p->dir, "link", O_RDONLY, 0, &err), &err, ERR_DENIED);
	assert_non_null(strstr(err.msg, "link"));
	assert_fails(fs_open(p->dir, "up/outside/secret", O_RDONLY, 0, &err), &err, ERR_DENIED);
	assert_fails(fs_open(p->dir, "../outside/secret", O_RDONLY, 0, &err), &err, ERR_DENIED);
	assert_fails(fs_open(p->dir, "/etc/passwd", O_RDONLY, 0, &err), &err, ERR_DENIED);
	assert_fails(fs_open(p->dir, "absent", O_RDONLY, 0, &err), &err, ERR_NOT_FOUND);
}

static void a_container_path_follows_links_inside_its_root(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	auto_buf struct buf text = BUF_INIT(100);

	assert_int_equal(mkdirat(p->dir, "etc", 0700), 0);
	testing_write(p->dir, "etc/name", "inside");
	assert_int_equal(symlinkat("/etc", p->dir, "absolute"), 0);
	assert_int_equal(symlinkat("../../../../etc", p->dir, "upwards"), 0);
	assert_int_equal(symlinkat("../outside/secret", p->dir, "out"), 0);
	assert_int_equal(fs_read_in(p->dir, "absolute/name", 100, &text, &err), 0);
	assert_int_equal(fs_read_in(p->dir, "/upwards/name", 100, &text, &err), 0);
	assert_int_equal(fs_read_in(p->dir, "../../etc/name", 100, &text, &err), 0);
	assert_string_equal(buf_str(&text), "insideinsideinside");
	assert_fails(fs_read_in(p->dir, "out", 100, &text, &err), &err, ERR_NOT_FOUND);
}

static void a_magic_link_is_never_followed(void **state)
{
	struct err err = ERR_INIT;
	auto_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	assert_fails(fs_open_in(proc, "self/cwd", O_RDONLY, 0, &err), &err, ERR_DENIED);
	auto_close int control = openat(proc, "self/cwd", O_RDONLY | O_CLOEXEC);
	assert_true(control >= 0);
}

struct exchange {
	int dir;
	atomic_bool stop;
};

static void *exchange_all_the_time(void *arg)
{
	struct exchange *x = arg;

	while (!atomic_load(&x->stop))
		renameat2(x->dir, "real", x->dir, "link", RENAME_EXCHANGE);
	return NULL;
}

static bool reads_secret(int fd)
{
	char text[8] = "";
	bool secret = fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && text[0] == 's';

	if (fd >= 0)
		close(fd);
	return secret;
}

/* Exchanges a directory for a link out of the root while both kinds of open look. */
static void a_link_exchanged_during_lookup_never_leads_out(void **state)
{
	struct place *p = *state;
	struct exchange x = {.dir = p->dir};
	pthread_t thread;
	int leaks = 0, control = 0, opened = 0;

	assert_int_equal(mkdirat(p->dir, "real", 0700), 0);
	testing_write(p->dir, "real/secret", "harmless");
	assert_int_equal(symlinkat("../outside", p->dir, "link"), 0);
	assert_int_equal(pthread_create(&thread, NULL, exchange_all_the_time, &x), 0);
	for (int i = 0; i < 20000; i++) {
		int in = fs_open_in(p->dir, "real/../real/secret", O_RDONLY, 0, NULL);
		int own;

		opened += in >= 0;
		leaks += reads_secret(in);
		own = fs_open(p->dir, "real/secret", O_RDONLY, 0, NULL);
		opened += own >= 0;
		leaks += reads_secret(own);
		control += reads_secret(openat(p->dir, "real/secret", O_RDONLY | O_CLOEXEC));
	}
	atomic_store(&x.stop, true);
	pthread_join(thread, NULL);
	assert_true(control > 0); /* the attack works where there is no defence */
	assert_true(opened > 0);
	assert_int_equal(leaks, 0);
}

static void an_unnamed_file_gets_a_name_once(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	auto_close int fd = fs_open_tmp(p->dir, &err);
	auto_close int second = fs_open_tmp(p->dir, &err);

	assert_true(fd >= 0 && second >= 0);
	assert_int_equal(fs_write_all(fd, "text", 4, &err), 0);
	assert_int_equal(fs_link_tmp(fd, p->dir, "name", &err), 0);
	testing_assert_file(p->dir, "name", "text");
	assert_fails(fs_link_tmp(second, p->dir, "name", &err), &err, ERR_CONFLICT);
	testing_assert_file(p->dir, "name", "text");
}

/* ---- directories ---- */

static void mkdir_all_makes_what_is_missing_and_nothing_else(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	struct stat st;

	auto_close int deep = fs_mkdir_all(p->dir, "a//b/c/", 0710, &err);
	auto_close int again = fs_mkdir_all(p->dir, "a/b/c", 0710, &err);
	assert_true(deep >= 0 && again >= 0);
	assert_int_equal(fs_stat(p->dir, "a/b/c", &st, &err), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0710);
	testing_write(deep, "in", "x");
	testing_assert_file(p->dir, "a/b/c/in", "x");

	assert_int_equal(symlinkat("../outside", p->dir, "out"), 0);
	assert_fails(fs_mkdir_all(p->dir, "out/new", 0700, &err), &err, ERR_DENIED);
	assert_fails(fs_mkdir_all(p->dir, "x/../../outside/new", 0700, &err), &err, ERR_DENIED);
	assert_fails(fs_mkdir_all(p->dir, "", 0700, &err), &err, ERR_INVALID);
	assert_int_equal(faccessat(p->top, "outside/new", F_OK, 0), -1);
}

static void mkdir_all_in_stays_inside_the_root(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;

	assert_int_equal(mkdirat(p->dir, "real", 0700), 0);
	assert_int_equal(symlinkat("/real", p->dir, "link"), 0);
	assert_int_equal(symlinkat("../../outside", p->dir, "out"), 0);
	auto_close int a = fs_mkdir_all_in(p->dir, "/link/x/y", 0755, &err);
	auto_close int b = fs_mkdir_all_in(p->dir, "../../link/x/../z", 0755, &err);
	assert_true(a >= 0 && b >= 0);
	assert_true(fs_exists(p->dir, "real/x/y"));
	assert_true(fs_exists(p->dir, "real/z"));
	/* A link to nowhere is not an invitation to make its target. */
	assert_int_equal(fs_mkdir_all_in(p->dir, "out/new", 0755, &err), -1);
	assert_int_equal(faccessat(p->top, "outside/new", F_OK, 0), -1);
}

static void a_parent_is_found_in_the_containers_view(void **state)
{
	static const char *const bad[] = {"", "/", "..", ".", "a/..", "a/", "a/."};
	struct place *p = *state;
	struct err err = ERR_INIT;
	const char *base;

	assert_int_equal(mkdirat(p->dir, "a", 0700), 0);
	assert_int_equal(symlinkat("/a", p->dir, "link"), 0);
	auto_close int fd = fs_open_parent_in(p->dir, "/link/new", &base, &err);
	assert_true(fd >= 0);
	assert_string_equal(base, "new");
	assert_int_equal(mkdirat(fd, base, 0700), 0);
	assert_true(fs_exists(p->dir, "a/new"));
	auto_close int top = fs_open_parent_in(p->dir, "/new", &base, &err);
	assert_int_equal(mkdirat(top, base, 0700), 0);
	assert_true(fs_exists(p->dir, "new"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_fails(fs_open_parent_in(p->dir, bad[i], &base, &err), &err, ERR_INVALID);
}

static int count_and_remove(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	(void)d_type;
	++*(int *)arg;
	return unlinkat(dir_fd, name, 0);
}

static int stop_at_once(void *arg, int dir_fd, const char *name, unsigned char d_type)
{
	(void)dir_fd, (void)name, (void)d_type;
	++*(int *)arg;
	return 42;
}

static void a_list_shows_each_entry_and_stops_when_told(void **state)
{
	struct place *p = *state;
	char name[16];
	int seen = 0;

	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "%d", i);
		testing_write(p->dir, name, "");
	}
	assert_int_equal(fs_list(p->dir, stop_at_once, &seen, NULL), 42);
	assert_int_equal(seen, 1);
	seen = 0;
	assert_int_equal(fs_list(p->dir, count_and_remove, &seen, NULL), 0);
	assert_int_equal(seen, 300);
	seen = 0;
	assert_int_equal(fs_list(p->dir, count_and_remove, &seen, NULL), 0);
	assert_int_equal(seen, 0);
}

/* ---- whole files ---- */

static void a_file_is_read_up_to_the_limit(void **state)
{
	struct place *p = *state;
	char text[100001];

	memset(text, 'x', 100000);
	text[100000] = '\0';
	testing_write(p->dir, "f", text);
	for (size_t max = 99999; max <= 100001; max++) {
		auto_buf struct buf out = BUF_INIT(200000);
		struct err err = ERR_INIT;
		int rc = fs_read(p->dir, "f", max, &out, &err);

		assert_int_equal(rc, max < 100000 ? -1 : 0);
		assert_int_equal(err.kind, max < 100000 ? ERR_LIMIT : ERR_NONE);
		assert_int_equal(out.len, max < 100000 ? out.len : 100000);
	}
}

static void only_a_regular_file_is_read(void **state)
{
	struct place *p = *state;
	auto_buf struct buf out = BUF_INIT(1 << 20);
	struct err err = ERR_INIT;

	assert_int_equal(mkfifoat(p->dir, "fifo", 0600), 0);
	assert_fails(fs_read(p->dir, "fifo", 10, &out, &err), &err, ERR_INVALID);
	assert_fails(fs_read(p->dir, ".", 10, &out, &err), &err, ERR_INVALID);
	assert_fails(fs_trusted_read("/dev/null", 10, &out, &err), &err, ERR_INVALID);
	assert_int_equal(fs_trusted_read("/proc/self/status", 1 << 16, &out, &err), 0);
	assert_true(out.len > 100);
}

static void a_replaced_file_is_whole_and_leaves_nothing_behind(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	struct stat st;
	int entries = 0;

	assert_int_equal(fs_mkdir(p->dir, "d", 0700, &err), 0);
	assert_int_equal(fs_write_durable(p->dir, "d/f", "one", 3, 0666, &err), 0);
	assert_int_equal(fs_stat(p->dir, "d/f", &st, &err), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0666); /* whatever the umask is */
	assert_int_equal(fs_write_atomic(p->dir, "d/f", "two!", 4, 0600, &err), 0);
	testing_assert_file(p->dir, "d/f", "two!");
	assert_int_equal(fs_mkdir(p->dir, "d/full", 0700, &err), 0);
	assert_int_equal(fs_write_atomic(p->dir, "d/full", "x", 1, 0600, &err), -1);
	auto_close int d = fs_open_dir(p->dir, "d", &err);
	assert_int_equal(unlinkat(d, "full", AT_REMOVEDIR), 0);
	assert_int_equal(fs_list(d, count_and_remove, &entries, &err), 0);
	assert_int_equal(entries, 1);
}

static void replacing_a_link_does_not_write_through_it(void **state)
{
	struct place *p = *state;

	assert_int_equal(symlinkat("../outside/secret", p->dir, "link"), 0);
	assert_int_equal(fs_write_durable(p->dir, "link", "mine", 4, 0600, NULL), 0);
	testing_assert_file(p->top, "outside/secret", "secret");
	testing_assert_file(p->dir, "link", "mine");
}

static void write_existing_makes_no_file(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;

	assert_fails(fs_write_existing(p->dir, "f", "x", 1, &err), &err, ERR_NOT_FOUND);
	testing_write(p->dir, "f", "abc");
	assert_int_equal(fs_write_existing(p->dir, "f", "x", 1, &err), 0);
	testing_assert_file(p->dir, "f", "xbc");
}

static void a_copy_has_the_length_asked_for(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	uint64_t copied = 0;
	int ends[2];

	testing_write(p->dir, "in", "0123456789");
	auto_close int in = fs_open(p->dir, "in", O_RDONLY, 0, &err);
	auto_close int out = fs_open(p->dir, "out", O_RDWR | O_CREAT, 0600, &err);
	assert_int_equal(fs_copy_fd(in, out, 4, &copied, &err), 0);
	assert_int_equal(copied, 4);
	assert_int_equal(fs_copy_fd(in, out, UINT64_MAX, &copied, &err), 0);
	assert_int_equal(copied, 6);
	testing_assert_file(p->dir, "out", "0123456789");
	assert_fails(fs_copy_fd(in, out, 1, &copied, &err), &err, ERR_INVALID);

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	auto_close int from = ends[0];
	assert_int_equal(write(ends[1], "pipe", 4), 4);
	close(ends[1]);
	assert_int_equal(fs_copy_fd(from, out, UINT64_MAX, NULL, &err), 0);
	testing_assert_file(p->dir, "out", "0123456789pipe");
	auto_close int proc = fs_trusted_open("/proc/self/stat", O_RDONLY, 0, &err);
	assert_int_equal(fs_copy_fd(proc, out, UINT64_MAX, &copied, &err), 0);
	assert_true(copied > 20);
}

/* ---- names ---- */

static void names_are_made_moved_and_removed(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	auto_buf struct buf target = BUF_INIT(100);

	testing_write(p->dir, "a", "A");
	testing_write(p->dir, "b", "B");
	assert_fails(fs_rename_new(p->dir, "a", p->dir, "b", &err), &err, ERR_CONFLICT);
	testing_assert_file(p->dir, "b", "B");
	assert_int_equal(fs_rename(p->dir, "a", p->dir, "b", &err), 0);
	testing_assert_file(p->dir, "b", "A");
	assert_int_equal(fs_link(p->dir, "b", p->dir, "c", &err), 0);
	assert_int_equal(fs_symlink("any/where", p->dir, "l", &err), 0);
	assert_int_equal(fs_readlink(p->dir, "l", &target, &err), 0);
	assert_string_equal(buf_str(&target), "any/where");
	assert_fails(fs_readlink(p->dir, "b", &target, &err), &err, ERR_INVALID);
	assert_int_equal(fs_mknod(p->dir, "fifo", S_IFIFO | 0600, makedev(0, 0), &err), 0);
	assert_true(fs_exists(p->dir, "l") && fs_exists(p->dir, "fifo"));
	assert_fails(fs_mkdir(p->dir, "c", 0700, &err), &err, ERR_CONFLICT);
	assert_int_equal(fs_mkdir(p->dir, "d", 0700, &err), 0);
	assert_int_equal(fs_unlink(p->dir, "d", &err), -1);
	assert_int_equal(fs_unlink(p->dir, "l", &err), 0);
	assert_int_equal(fs_unlink(p->dir, "l", &err), 0);
	assert_int_equal(fs_unlink(p->dir, "none/l", &err), 0);
	assert_int_equal(fs_rmdir(p->dir, "d", &err), 0);
	assert_fails(fs_rmdir(p->dir, "d", &err), &err, ERR_NOT_FOUND);
	assert_false(fs_exists(p->dir, "d"));
}

static void a_parent_that_is_a_link_is_refused(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;

	assert_int_equal(symlinkat("../outside", p->dir, "out"), 0);
	assert_fails(fs_mkdir(p->dir, "out/new", 0700, &err), &err, ERR_DENIED);
	assert_fails(fs_unlink(p->dir, "out/secret", &err), &err, ERR_DENIED);
	assert_fails(fs_remove_tree(p->dir, "out/secret", &err), &err, ERR_DENIED);
	assert_fails(fs_write_durable(p->dir, "out/secret", "", 0, 0600, &err), &err, ERR_DENIED);
	assert_fails(fs_symlink("x", p->dir, "out/new", &err), &err, ERR_DENIED);
	assert_fails(fs_rename(p->dir, "out/secret", p->dir, "got", &err), &err, ERR_DENIED);
	assert_fails(fs_link(p->dir, "out/secret", p->dir, "got", &err), &err, ERR_DENIED);
	testing_assert_file(p->top, "outside/secret", "secret");
}

static void removing_a_tree_follows_no_link(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;

	auto_close int deep = fs_mkdir_all(p->dir, "t/a/b", 0700, &err);
	testing_write(deep, "f", "x");
	assert_int_equal(symlinkat("../../../../outside", deep, "out"), 0);
	assert_int_equal(symlinkat("../../outside", p->dir, "link"), 0);
	assert_int_equal(fs_remove_tree(p->dir, "t", &err), 0);
	assert_int_equal(fs_remove_tree(p->dir, "link", &err), 0);
	assert_int_equal(fs_remove_tree(p->dir, "t", &err), 0);
	assert_false(fs_exists(p->dir, "t") || fs_exists(p->dir, "link"));
	testing_assert_file(p->top, "outside/secret", "secret");
}

static void a_tree_deeper_than_any_path_is_removed(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	int at = dup(p->dir);

	for (int i = 0; i < 3000; i++) {
		assert_int_equal(mkdirat(at, "d", 0700), 0);
		testing_write(at, "f", "x");
		int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		close(at);
		at = next;
	}
	close(at);
	assert_int_equal(fs_remove_tree(p->dir, "d", &err), 0);
	assert_false(fs_exists(p->dir, "d"));
}

static void a_file_with_two_names_is_counted_once(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	char text[8192];
	uint64_t one, two, entries;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	testing_write(p->dir, "a", text);
	assert_int_equal(fs_disk_usage(p->dir, ".", &one, &entries, &err), 0);
	assert_int_equal(entries, 2);
	assert_true(one >= 8192);
	assert_int_equal(linkat(p->dir, "a", p->dir, "b", 0), 0);
	assert_int_equal(symlinkat("../outside", p->dir, "out"), 0);
	assert_int_equal(fs_disk_usage(p->dir, ".", &two, &entries, &err), 0);
	assert_int_equal(entries, 4);
	assert_true(two < one + 8192);
}

/* ---- sockets ---- */

static void a_socket_is_replaced_but_nothing_else(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	char long_path[300];
	struct stat st;

	memset(long_path, 'd', 200);
	long_path[200] = '\0';
	auto_close int dir = fs_mkdir_all(p->dir, long_path, 0700, &err);
	for (int i = 0; i < 2; i++) {
		auto_close int server = fs_listen_unix(dir, "s", SOCK_STREAM, 0620, &err);
		auto_close int client = fs_connect_unix(dir, "s", SOCK_STREAM, &err);

		assert_true(server >= 0 && client >= 0);
		assert_int_equal(fs_stat(dir, "s", &st, &err), 0);
		assert_int_equal(st.st_mode, S_IFSOCK | 0620);
		auto_close int accepted = accept(server, NULL, NULL);
		assert_true(accepted >= 0);
	}
	assert_int_equal(fs_connect_unix(dir, "s", SOCK_STREAM, &err), -1); /* nobody listens */
	testing_write(dir, "f", "x");
	assert_fails(fs_listen_unix(dir, "f", SOCK_STREAM, 0600, &err), &err, ERR_CONFLICT);
	testing_assert_file(dir, "f", "x");
}

TESTING_MAIN(
	CASE(our_own_names_stay_beneath_and_follow_no_link),
	CASE(a_container_path_follows_links_inside_its_root), CASE(a_magic_link_is_never_followed),
	CASE(a_link_exchanged_during_lookup_never_leads_out),
	CASE(an_unnamed_file_gets_a_name_once),
	CASE(mkdir_all_makes_what_is_missing_and_nothing_else),
	CASE(mkdir_all_in_stays_inside_the_root), CASE(a_parent_is_found_in_the_containers_view),
	CASE(a_list_shows_each_entry_and_stops_when_told), CASE(a_file_is_read_up_to_the_limit),
	CASE(only_a_regular_file_is_read), CASE(a_replaced_file_is_whole_and_leaves_nothing_behind),
	CASE(replacing_a_link_does_not_write_through_it), CASE(write_existing_makes_no_file),
	CASE(a_copy_has_the_length_asked_for), CASE(names_are_made_moved_and_removed),
	CASE(a_parent_that_is_a_link_is_refused), CASE(removing_a_tree_follows_no_link),
	CASE(a_tree_deeper_than_any_path_is_removed), CASE(a_file_with_two_names_is_counted_once),
	CASE(a_socket_is_replaced_but_nothing_else))
