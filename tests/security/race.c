/* SPDX-License-Identifier: Apache-2.0 */

/*
 * race - opens a path while a neighbour exchanges one of its directories for a symlink.
 *
 *	race N        prints {"opens", "escaped", "escaped_plainly", "again"}
 *
 * The path is looked up by fs_open_in(), as all of the program does, and by plain openat(2), which
 * is the control: it must get out, or there was no race.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"

#define EXCHANGE 2 /* RENAME_EXCHANGE */

static void die(const char *what)
{
	perror(what);
	_exit(2);
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die(path);
	close(fd);
}

/* root/a/file says "in"; root/b is a symlink to ../out, whose file says "out". */
static void make_tree(void)
{
	if (mkdir("root", 0700) || mkdir("root/a", 0700) || mkdir("out", 0700))
		die("mkdir");
	write_text("root/a/file", "in");
	write_text("out/file", "out");
	if (symlink("../out", "root/b"))
		die("symlink");
}

static void exchange_for_ever(int root)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		syscall(SYS_renameat2, root, "a", root, "b", EXCHANGE);
}

static int is_outside(int fd)
{
	char text[4] = "";
	int out = read(fd, text, 3) == 3 && strcmp(text, "out") == 0;

	close(fd);
	return out;
}

int main(int argc, char **argv)
{
	long n = argc > 1 ? strtol(argv[1], NULL, 10) : 200000;
	long escaped = 0, plainly = 0, again = 0;
	char dir[] = "/tmp/race-XXXXXX";

	if (!mkdtemp(dir) || chdir(dir))
		die(dir);
	make_tree();
	int root = open("root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	pid_t child = fork();
	if (root < 0 || child < 0)
		die("start");
	if (child == 0)
		exchange_for_ever(root);
	for (long i = 0; i < n; i++) {
		struct err err = ERR_INIT;
		int fd = fs_open_in(root, "a/file", O_RDONLY, 0, &err);
		if (fd >= 0)
			escaped += is_outside(fd);
		else
			again += err.kind == ERR_UNAVAILABLE;
		fd = openat(root, "a/file", O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			plainly += is_outside(fd);
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	if (chdir("/"))
		die("/");
	int parent = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
	(void)fs_remove_tree(parent, dir + strlen("/tmp/"), NULL);
	printf("{\"opens\": %ld, \"escaped\": %ld, \"escaped_plainly\": %ld, \"again\": %ld}\n", n,
	       escaped, plainly, again);
	return 0;
}
