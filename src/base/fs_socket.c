/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/fs_lookup.h"

/* fs_socket - unix sockets by descriptor; see fs.h. An address holds 108 bytes, so it
 * names the directory (or the socket) by /proc/self/fd. */

#define BACKLOG 128 /* connections waiting to be accepted */

/* Takes away the socket of an earlier run, and nothing else. */
static int remove_old(int parent, const char *base, const char *name, struct err *err)
{
	struct stat st;

	if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "%s", name);
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, ERR_CONFLICT, "%s exists and is not a socket", name);
	if (unlinkat(parent, base, 0) < 0 && errno != ENOENT)
		return err_sys(err, "%s", name);
	return 0;
}

static int bind_in(int fd, int parent, const char *base, mode_t mode, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int len = snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s",
	                   parent, base);

	if (len < 0 || (size_t)len >= sizeof(address.sun_path))
		return err_set(err, ERR_INVALID, "the name of a socket is at most 80 bytes long");
	/* bind() takes the socket's mode, less the umask: never too open, not even shortly. */
	if (fchmod(fd, mode) < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    fchmodat(parent, base, mode, AT_SYMLINK_NOFOLLOW) < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(err, "listen");
	return 0;
}

int fs_listen_unix(int dir_fd, const char *name, int type, mode_t mode, struct err *err)
{
	const char *base;
	auto_close int parent = fs_lookup_parent(dir_fd, name, FS_OWN, &base, err);
	auto_close int fd = parent < 0 ? -1 : socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	if (parent < 0)
		return -1;
	if (fd < 0)
		return err_sys(err, "socket");
	if (remove_old(parent, base, name, err) < 0)
		return -1;
	if (bind_in(fd, parent, base, mode, err) < 0)
		return err_wrap(err, "%s", name);
	return move_fd(&fd);
}

static int connect_to(int socket_file, const char *path, int type, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	auto_close int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", socket_file);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return err_sys(err, "connect to %s", path);
	return move_fd(&fd);
}

int fs_connect_unix(int dir_fd, const char *name, int type, struct err *err)
{
	auto_close int file = fs_open(dir_fd, name, O_PATH | O_NOFOLLOW, 0, err);

	return file < 0 ? -1 : connect_to(file, name, type, err);
}

int fs_trusted_connect_unix(const char *path, int type, struct err *err)
{
	auto_close int file = fs_trusted_open(path, O_PATH, 0, err);

	return file < 0 ? -1 : connect_to(file, path, type, err);
}
