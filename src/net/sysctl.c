/* SPDX-License-Identifier: Apache-2.0 */
#include "net/sysctl.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"

#define PATH_MAX_TEXT 160

static int full_path(const char *path, char text[PATH_MAX_TEXT], struct err *err)
{
	int n = snprintf(text, PATH_MAX_TEXT, "/proc/sys/net/%s", path);

	if (n < 0 || n >= PATH_MAX_TEXT)
		return err_set(err, ERR_LIMIT, "the sysctl name %.60s is too long", path);
	return 0;
}

int sysctl_get(const char *path, int64_t *value, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(64);
	char full[PATH_MAX_TEXT];

	if (full_path(path, full, err) < 0 || fs_trusted_read(full, 64, &text, err) < 0)
		return -1;
	if (text.len > 0 && text.data[text.len - 1] == '\n')
		text.data[--text.len] = '\0';
	return id_parse_int(buf_str(&text), path, INT64_MIN, INT64_MAX, value, err);
}

int sysctl_set_text(const char *path, const char *value, struct err *err)
{
	char full[PATH_MAX_TEXT];
	auto_close int fd = -1;

	if (full_path(path, full, err) < 0)
		return -1;
	fd = fs_trusted_open(full, O_WRONLY, 0, err);
	if (fd < 0)
		return -1;
	if (fs_write_all(fd, value, strlen(value), err) < 0)
		return err_wrap(err, "set %s to %s", path, value);
	return 0;
}

int sysctl_set(const char *path, int64_t value, struct err *err)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, value);
	return sysctl_set_text(path, text, err);
}

int sysctl_set_interface(const char *family, const char *interface, const char *key, int64_t value,
                         struct err *err)
{
	char path[PATH_MAX_TEXT];

	snprintf(path, sizeof(path), "%s/conf/%s/%s", family, interface, key);
	return sysctl_set(path, value, err);
}
