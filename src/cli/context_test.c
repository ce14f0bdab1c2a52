/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/context.h"

#include <sys/stat.h>

#include <archive.h>
#include <archive_entry.h>

#include "base/testing.h"

struct dir {
	char path[64];
	int fd;
};

static void make_dir(struct dir *d)
{
	snprintf(d->path, sizeof(d->path), "/tmp/context-test-XXXXXX");
	assert_non_null(mkdtemp(d->path));
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(d->fd >= 0);
	testing_write(d->fd, "Dockerfile", "FROM x\n");
	testing_write(d->fd, "kept", "1");
	testing_write(d->fd, "gone.o", "2");
	assert_int_equal(mkdirat(d->fd, "sub", 0755), 0);
	testing_write(d->fd, "sub/kept.o", "3");
	testing_write(d->fd, "sub/gone.o", "4");
	assert_int_equal(symlinkat("/etc/passwd", d->fd, "link"), 0);
}

static void remove_dir(struct dir *d)
{
	close(d->fd);
	testing_remove_tree(d->path);
}

static la_ssize_t feed(struct archive *a, void *arg, const void **data)
{
	static char block[4096];

	(void)a;
	*data = block;
	return context_read(arg, block, sizeof(block));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The sorted names in the tar, joined by blanks. */
static void names_of(struct context *c, char *text, size_t size)
{
	char *names[32];
	size_t count = 0, len = 0;
	struct archive *tar = archive_read_new();
	struct archive_entry *entry;

	archive_read_support_format_tar(tar);
	assert_int_equal(context_start(c, NULL), 0);
	assert_int_equal(archive_read_open(tar, c, NULL, feed, NULL), ARCHIVE_OK);
	while (count < 32 && archive_read_next_header(tar, &entry) == ARCHIVE_OK) {
		names[count++] = strdup(archive_entry_pathname(entry));
		assert_int_equal(archive_entry_uid(entry), 0);
	}
	archive_read_free(tar);
	assert_int_equal(context_finish(c, NULL), 0);
	qsort(names, count, sizeof(names[0]), by_name);
	text[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		len += (size_t)snprintf(text + len, size - len, "%s%s", i ? " " : "", names[i]);
		free(names[i]);
	}
}

static void everything_is_sent_without_an_ignore_file(void **state)
{
	struct dir d;
	char text[512];

	(void)state;
	make_dir(&d);
	struct context c = {.dir_fd = d.fd, .dockerfile = "Dockerfile"};
	names_of(&c, text, sizeof(text));
	assert_string_equal(text, "Dockerfile gone.o kept link sub/ sub/gone.o sub/kept.o");
	remove_dir(&d);
}

static void what_is_ignored_stays_here_but_for_the_dockerfile(void **state)
{
	struct dir d;
	char text[512];

	(void)state;
	make_dir(&d);
	testing_write(d.fd, ".dockerignore", "**/*.o\nDockerfile\nlink\n!sub/kept.o\n");
	struct context c = {.dir_fd = d.fd, .dockerfile = "Dockerfile"};
	names_of(&c, text, sizeof(text));
	assert_string_equal(text, ".dockerignore Dockerfile kept sub/ sub/kept.o");
	remove_dir(&d);
}

static void a_dockerfile_from_elsewhere_takes_its_name(void **state)
{
	struct context c = {
		.dir_fd = -1, .dockerfile = "other", .extra = "FROM y\n", .extra_len = 7};
	char text[512];

	(void)state;
	names_of(&c, text, sizeof(text));
	assert_string_equal(text, "other");
}

TESTING_MAIN(TEST(everything_is_sent_without_an_ignore_file),
             TEST(what_is_ignored_stays_here_but_for_the_dockerfile),
             TEST(a_dockerfile_from_elsewhere_takes_its_name))
