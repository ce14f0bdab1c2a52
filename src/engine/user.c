/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/user.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/json.h"
#include "base/str.h"
#include "engine/rootfs.h"

#define FILE_MAX     (1u << 20) /* bytes of passwd or group that are looked at */
#define NAME_LEN_MAX 256

struct line {
	const char *field[7];
	size_t length[7];
	size_t count;
};

/* The next line of text, split at ':'. False at the end. */
static bool next_line(const char **text, struct line *line)
{
	const char *p = *text;

	if (!*p)
		return false;
	*line = (struct line){0};
	line->field[0] = p;
	line->count = 1;
	for (; *p && *p != '\n'; p++) {
		if (*p != ':' || line->count == 7)
			continue;
		line->length[line->count - 1] = (size_t)(p - line->field[line->count - 1]);
		line->field[line->count++] = p + 1;
	}
	line->length[line->count - 1] = (size_t)(p - line->field[line->count - 1]);
	*text = *p ? p + 1 : p;
	return true;
}

static bool field_is(const struct line *line, size_t i, const char *text)
{
	return i < line->count && strlen(text) == line->length[i] &&
	       memcmp(line->field[i], text, line->length[i]) == 0;
}

static bool field_id(const struct line *line, size_t i, uint32_t *id)
{
	char text[12];

	if (i >= line->count || line->length[i] >= sizeof(text))
		return false;
	memcpy(text, line->field[i], line->length[i]);
	text[line->length[i]] = '\0';
	return id_parse_u32(text, id, NULL) == 0;
}

static bool all_digits(const char *text)
{
	return *text && text[strspn(text, "0123456789")] == '\0';
}

static int check_name(const char *text, const char *what, struct err *err)
{
	if (isdigit((unsigned char)*text) || *text == '-' || *text == '+' ||
	    isspace((unsigned char)*text) || strlen(text) >= NAME_LEN_MAX)
		return err_set(err, ERR_INVALID,
		               "invalid %s '%.40s': a number from 0 to "
		               "4294967294, or a name that does not begin with "
		               "a digit",
		               what, text);
	return 0;
}

/* Fills uid, gid, home and the login name (empty when the file does not know the number). */
static int find_user(const char *wanted, const char *passwd, struct user *out, char *login,
                     struct err *err)
{
	bool number = all_digits(wanted);
	uint32_t uid = 0, id, gid;
	struct line line;

	*login = '\0';
	if (number && id_parse_u32(wanted, &uid, err) < 0)
		return err_wrap(err, "user");
	if (!number && check_name(wanted, "user", err) < 0)
		return -1;
	out->uid = uid;
	out->gid = 0;
	snprintf(out->home, sizeof(out->home), "/");
	while (next_line(&passwd, &line)) {
		if (!field_id(&line, 2, &id) || !field_id(&line, 3, &gid))
			continue;
		if (number ? id != uid : !field_is(&line, 0, wanted))
			continue;
		out->uid = id;
		out->gid = gid;
		if (line.count > 5 && line.length[5] && line.length[5] < sizeof(out->home))
			snprintf(out->home, sizeof(out->home), "%.*s", (int)line.length[5],
			         line.field[5]);
		if (line.length[0] < NAME_LEN_MAX)
			snprintf(login, NAME_LEN_MAX, "%.*s", (int)line.length[0], line.field[0]);
		return 0;
	}
	if (!number)
		return err_set(err, ERR_INVALID,
		               "unable to find user %s: no matching entries in passwd file",
		               wanted);
	return 0;
}

static int find_group(const char *wanted, const char *group, uint32_t *gid, struct err *err)
{
	struct line line;

	if (all_digits(wanted))
		return id_parse_u32(wanted, gid, err) < 0 ? err_wrap(err, "group") : 0;
	if (check_name(wanted, "group", err) < 0)
		return -1;
	while (next_line(&group, &line))
		if (field_is(&line, 0, wanted) && field_id(&line, 2, gid))
			return 0;
	return err_set(err, ERR_INVALID,
	               "unable to find group %s: no matching entries in group file", wanted);
}

static void add_group(struct user *out, uint32_t gid)
{
	for (size_t i = 0; i < out->group_count; i++)
		if (out->groups[i] == gid)
			return;
	if (out->group_count < USER_GROUPS_MAX)
		out->groups[out->group_count++] = gid;
}

/* "a,b,c" has login? */
static bool is_member(const struct line *line, const char *login)
{
	size_t n = strlen(login), left = line->count > 3 ? line->length[3] : 0;
	const char *p = left ? line->field[3] : "";

	while (left) {
		const char *comma = memchr(p, ',', left);
		size_t len = comma ? (size_t)(comma - p) : left;
		if (len == n && memcmp(p, login, n) == 0)
			return true;
		left -= comma ? len + 1 : len;
		p += len + 1;
	}
	return false;
}

static void add_memberships(const char *group, const char *login, struct user *out)
{
	struct line line;
	uint32_t gid;

	while (*login && next_line(&group, &line))
		if (is_member(&line, login) && field_id(&line, 2, &gid) && gid != out->gid)
			add_group(out, gid);
}

int user_resolve(const char *wanted, const char *passwd, const char *group,
                 const struct json_strings *group_add, struct user *out, struct err *err)
{
	const char *colon = wanted ? strchr(wanted, ':') : NULL;
	char name[NAME_LEN_MAX], login[NAME_LEN_MAX];
	struct user user = {0};
	size_t n = colon ? (size_t)(colon - wanted) : strlen(wanted ? wanted : "");

	if (n >= sizeof(name))
		return err_set(err, ERR_INVALID, "user: longer than %d bytes", NAME_LEN_MAX);
	snprintf(name, sizeof(name), "%.*s", (int)n, n ? wanted : "");
	if (find_user(n ? name : "0", passwd, &user, login, err) < 0)
		return -1;
	if (colon && colon[1]) {
		/* A group that is named means: this one and no other. */
		if (find_group(colon + 1, group, &user.gid, err) < 0)
			return -1;
	} else {
		add_memberships(group, login, &user);
	}
	for (size_t i = 0; group_add && i < group_add->count; i++) {
		uint32_t gid;
		if (find_group(group_add->items[i], group, &gid, err) < 0)
			return -1;
		add_group(&user, gid);
	}
	*out = user;
	return 0;
}

int user_resolve_in_root(const char *wanted, int root_fd, const struct json_strings *group_add,
                         struct user *out, struct err *err)
{
	auto_buf struct buf passwd = BUF_INIT(FILE_MAX), group = BUF_INIT(FILE_MAX);

	/* An image without the files is fine as long as nothing needs them. */
	(void)fs_read_in(root_fd, "etc/passwd", FILE_MAX, &passwd, NULL);
	(void)fs_read_in(root_fd, "etc/group", FILE_MAX, &group, NULL);
	return user_resolve(wanted, buf_str(&passwd), buf_str(&group), group_add, out, err);
}

enum layer_answer {
	LAYER_SILENT, /* look further down */
	LAYER_HAS,
	LAYER_REMOVED, /* a whiteout: the file is not there */
	LAYER_ODD,     /* symlinks, opaque directories ...: ask the kernel */
};

static enum layer_answer ask_layer(int layer_fd, const char *path, struct buf *out)
{
	struct stat st;

	if (fs_stat(layer_fd, "etc", &st, NULL) < 0)
		return LAYER_SILENT;
	if (!S_ISDIR(st.st_mode))
		return LAYER_ODD;
	if (fs_stat(layer_fd, path, &st, NULL) < 0)
		return LAYER_SILENT;
	if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0))
		return LAYER_REMOVED;
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return LAYER_ODD;
	buf_clear(out);
	return fs_read(layer_fd, path, FILE_MAX, out, NULL) < 0 ? LAYER_ODD : LAYER_HAS;
}

static bool read_from_layers(const int *layer_fds, size_t count, const char *path, struct buf *out)
{
	for (size_t i = 0; i < count; i++) {
		enum layer_answer answer = ask_layer(layer_fds[i], path, out);
		if (answer == LAYER_ODD)
			return false;
		if (answer != LAYER_SILENT)
			return true;
	}
	return true;
}

int user_resolve_in_layers(const char *wanted, const int *layer_fds, size_t count,
                           const struct json_strings *group_add, struct user *out, struct err *err)
{
	auto_buf struct buf passwd = BUF_INIT(FILE_MAX), group = BUF_INIT(FILE_MAX);

	if (read_from_layers(layer_fds, count, "etc/passwd", &passwd) &&
	    read_from_layers(layer_fds, count, "etc/group", &group))
		return user_resolve(wanted, buf_str(&passwd), buf_str(&group), group_add, out, err);
	auto_close int root = rootfs_overlay(layer_fds, count, err);
	if (root < 0)
		return -1;
	return user_resolve_in_root(wanted, root, group_add, out, err);
}
