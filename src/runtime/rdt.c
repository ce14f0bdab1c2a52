/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/rdt.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/spec.h"

#define SCHEMATA_MAX (64 << 10)
#define LINE_MAX_LEN 4096

int rdt_open(struct err *err)
{
	auto_buf struct buf text = BUF_INIT(16 << 20);
	char mount[1024];

	if (fs_trusted_read("/proc/self/mountinfo", 16 << 20, &text, err) < 0)
		return -1;
	for (const char *line = buf_str(&text); *line;) {
		size_t len = strcspn(line, "\n");
		const char *tail = memmem(line, len, " - resctrl ", 11);
		if (tail && sscanf(line, "%*s %*s %*s %*s %1023s", mount) == 1)
			return fs_trusted_open_dir(mount, false, err);
		line += len + (line[len] == '\n');
	}
	return err_set(err, ERR_UNSUPPORTED,
	               "linux.intelRdt: no resctrl file system is mounted (mount -t resctrl "
	               "resctrl /sys/fs/resctrl, on a machine that has the hardware)");
}

static bool has_schemata(const struct oci_rdt *rdt)
{
	return rdt->l3_schema || rdt->mb_schema || rdt->schemata.count > 0;
}

/* "0=f": a domain and its mask. false: it is not one. */
static bool read_entry(const char *text, long *domain, unsigned long *mask)
{
	char *end;

	*domain = strtol(text, &end, 10);
	if (end == text || *end != '=')
		return false;
	const char *digits = end + 1;
	*mask = strtoul(digits, &end, 16);
	return end != digits;
}

/* Whether each entry of a schema ("L3:0=f;1=f") stands in the file's line of that resource; numbers are as the
 * kernel writes them, with leading zeros. */
static bool line_has(const char *line, size_t len, const char *schema)
{
	const char *colon = strchr(schema, ':');

	for (const char *p = colon ? colon + 1 : schema; *p;) {
		long domain, there;
		unsigned long mask, value;
		bool found = false;
		if (!read_entry(p, &domain, &mask))
			return false;
		for (const char *q = memchr(line, ':', len); q && q < line + len && !found;) {
			found = read_entry(q + 1, &there, &value) && there == domain &&
			        value == mask;
			q = memchr(q + 1, ';', (size_t)(line + len - q - 1));
		}
		if (!found)
			return false;
		p += strcspn(p, ";");
		p += *p == ';';
	}
	return true;
}

static bool text_has(const char *text, const char *schema)
{
	size_t name = strcspn(schema, ":");

	for (const char *line = text; *line;) {
		size_t len = strcspn(line, "\n");
		const char *start = line + strspn(line, " ");
		if (strncmp(start, schema, name + 1) == 0 &&
		    line_has(start, len - (size_t)(start - line), schema))
			return true;
		line += len + (line[len] == '\n');
	}
	return false;
}

/* A class that others use must be as the config says already. */
static int check_existing(int dir_fd, const struct oci_rdt *rdt, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(SCHEMATA_MAX);
	const char *both[] = {rdt->l3_schema, rdt->mb_schema};

	if (!rdt->l3_schema && !rdt->mb_schema)
		return 0;
	if (fs_read(dir_fd, "schemata", SCHEMATA_MAX, &text, err) < 0)
		return -1;
	for (size_t i = 0; i < 2; i++)
		if (both[i] && !text_has(buf_str(&text), both[i]))
			return err_set(err, ERR_CONFLICT, "closID: %s exists with other schemata",
			               rdt->clos_id);
	return 0;
}

static int write_line(int dir_fd, const char *line, struct err *err)
{
	char text[LINE_MAX_LEN];
	int n = snprintf(text, sizeof(text), "%s\n", line);

	if (n >= (int)sizeof(text))
		return err_set(err, ERR_LIMIT, "schemata: a line is longer than %d bytes",
		               LINE_MAX_LEN - 2);
	if (fs_write_existing(dir_fd, "schemata", text, (size_t)n, err) < 0)
		return err_wrap(err, "schemata: write '%s'", line);
	return 0;
}

static int write_schemata(int dir_fd, const struct oci_rdt *rdt, struct err *err)
{
	if (rdt->l3_schema && write_line(dir_fd, rdt->l3_schema, err) < 0)
		return -1;
	if (rdt->mb_schema && write_line(dir_fd, rdt->mb_schema, err) < 0)
		return -1;
	for (size_t i = 0; i < rdt->schemata.count; i++)
		if (write_line(dir_fd, rdt->schemata.items[i], err) < 0)
			return -1;
	return 0;
}

/* The class's directory; *made: by us. */
static int open_class(int root_fd, const struct oci_rdt *rdt, const char *id, bool *made,
                      struct err *err)
{
	const char *name = rdt->clos_id ? rdt->clos_id : id;
	struct err why = ERR_INIT;

	if (str_eq(name, "/"))
		return fs_open_dir(root_fd, ".", err);
	if (rdt->clos_id && !has_schemata(rdt)) { /* prepared by somebody else, or an error */
		int fd = fs_open_dir(root_fd, name, err);
		return fd < 0 ? err_wrap(err, "closID: %s", name) : fd;
	}
	*made = fs_mkdir(root_fd, name, 0755, &why) == 0;
	if (!*made && !(rdt->clos_id && err_is(&why, ERR_CONFLICT))) {
		if (err)
			*err = why;
		return err_wrap(err, "closID: %s", name);
	}
	return fs_open_dir(root_fd, name, err);
}

static int write_task(int dir_fd, pid_t pid, struct err *err)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", pid);
	return fs_write_existing(dir_fd, "tasks", text, strlen(text), err);
}

static int enter_class(int class_fd, const struct oci_rdt *rdt, bool made, pid_t pid,
                       struct err *err)
{
	if (!made && check_existing(class_fd, rdt, err) < 0)
		return -1;
	if (write_schemata(class_fd, rdt, err) < 0)
		return -1;
	return write_task(class_fd, pid, err);
}

static int enter_monitor(int class_fd, const char *id, pid_t pid, struct err *err)
{
	auto_close int groups = fs_open_dir(class_fd, "mon_groups", err);

	if (groups < 0 || fs_mkdir(groups, id, 0755, err) < 0)
		return err_wrap(err, "enableMonitoring");
	auto_close int dir = fs_open_dir(groups, id, err);
	if (dir >= 0 && write_task(dir, pid, err) == 0)
		return 0;
	(void)fs_rmdir(groups, id, NULL);
	return err_wrap(err, "enableMonitoring");
}

int rdt_apply(int root_fd, const struct oci_rdt *rdt, const char *id, pid_t pid, struct err *err)
{
	bool made = false;
	auto_close int class_fd = open_class(root_fd, rdt, id, &made, err);

	if (class_fd >= 0 && enter_class(class_fd, rdt, made, pid, err) == 0 &&
	    (!rdt->monitoring || enter_monitor(class_fd, id, pid, err) == 0))
		return 0;
	if (made)
		(void)fs_rmdir(root_fd, rdt->clos_id ? rdt->clos_id : id, NULL);
	return err_wrap(err, "linux.intelRdt");
}

int rdt_update(int root_fd, const struct oci_rdt *rdt, const char *id, const char *l3_schema,
               const char *mb_schema, struct err *err)
{
	const char *name = !rdt->clos_id ? id : str_eq(rdt->clos_id, "/") ? "." : rdt->clos_id;
	auto_close int class_fd = fs_open_dir(root_fd, name, err);

	if (class_fd < 0 || (l3_schema && write_line(class_fd, l3_schema, err) < 0) ||
	    (mb_schema && write_line(class_fd, mb_schema, err) < 0))
		return err_wrap(err, "linux.intelRdt");
	return 0;
}

int rdt_join(int root_fd, const struct oci_rdt *rdt, const char *id, pid_t pid, struct err *err)
{
	const char *name = !rdt->clos_id ? id : str_eq(rdt->clos_id, "/") ? "." : rdt->clos_id;
	auto_close int class_fd = fs_open_dir(root_fd, name, err);

	if (class_fd < 0 || write_task(class_fd, pid, err) < 0)
		return err_wrap(err, "linux.intelRdt");
	if (!rdt->monitoring)
		return 0;
	auto_close int groups = fs_open_dir(class_fd, "mon_groups", err);
	auto_close int dir = groups < 0 ? -1 : fs_open_dir(groups, id, err);
	return dir < 0 || write_task(dir, pid, err) < 0 ? err_wrap(err, "linux.intelRdt") : 0;
}

int rdt_remove(int root_fd, const struct oci_rdt *rdt, const char *id, struct err *err)
{
	const char *name = !rdt->clos_id ? id : str_eq(rdt->clos_id, "/") ? "." : rdt->clos_id;
	struct err why = ERR_INIT;
	auto_close int class_fd = fs_open_dir(root_fd, name, NULL);
	auto_close int groups =
		class_fd < 0 || !rdt->monitoring ? -1 : fs_open_dir(class_fd, "mon_groups", NULL);

	if (groups >= 0 && fs_rmdir(groups, id, &why) < 0 && !err_is(&why, ERR_NOT_FOUND)) {
		if (err)
			*err = why;
		return err_wrap(err, "linux.intelRdt");
	}
	if (rdt->clos_id || class_fd < 0)
		return 0;
	return fs_rmdir(root_fd, id, err) < 0 ? err_wrap(err, "linux.intelRdt") : 0;
}
