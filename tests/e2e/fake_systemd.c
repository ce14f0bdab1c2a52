/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand-in for systemd's service manager on a private bus: makes the cgroup of a transient scope, moves its processes in,
 * and writes down what it was asked for.
 *
 *	fake_systemd LOG CGROUP        CGROUP: the directory that is its root in the hierarchy it keeps
 *
 * One line a call in LOG: "start UNIT Slice=... MemoryLimit=64 ...", "set UNIT ...", "stop UNIT". A unit whose name
 * has "refused" in it is refused; one with "lost" gets an answer and nothing more.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

struct fake {
	const char *log, *root;
	char slice[256], line[4096];
	size_t used;
	unsigned pids[16];
	size_t pid_count;
};

static void say(struct fake *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct fake *f, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	int n = vsnprintf(f->line + f->used, sizeof(f->line) - f->used, format, ap);
	va_end(ap);
	if (n > 0 && f->used + (size_t)n < sizeof(f->line))
		f->used += (size_t)n;
}

static void flush(struct fake *f)
{
	FILE *out = fopen(f->log, "a");

	if (out) {
		fprintf(out, "%s\n", f->line);
		fclose(out);
	}
	f->used = 0;
	f->line[0] = '\0';
}

static int read_array(struct fake *f, sd_bus_message *m, const char *name)
{
	const void *data;
	size_t size;

	if (sd_bus_message_read_array(m, name[0] == 'P' ? 'u' : 'y', &data, &size) < 0)
		return -1;
	if (name[0] == 'P') {
		f->pid_count = size / sizeof(unsigned);
		if (f->pid_count > 16)
			return -1;
		memcpy(f->pids, data, size);
		say(f, " PIDs=%zu", f->pid_count);
		return 0;
	}
	say(f, " %s=", name);
	for (size_t i = 0; i < size; i++)
		say(f, "%02x", ((const unsigned char *)data)[i]);
	return 0;
}

static int read_value(struct fake *f, sd_bus_message *m, const char *name, const char *signature)
{
	const char *text;
	uint64_t number;
	int flag;

	switch (signature[0]) {
	case 's':
		if (sd_bus_message_read(m, "s", &text) < 0)
			return -1;
		if (strcmp(name, "Slice") == 0)
			snprintf(f->slice, sizeof(f->slice), "%s", text);
		say(f, " %s=%s", name, text);
		return 0;
	case 't':
		if (sd_bus_message_read(m, "t", &number) < 0)
			return -1;
		say(f, " %s=%llu", name, (unsigned long long)number);
		return 0;
	case 'b':
		if (sd_bus_message_read(m, "b", &flag) < 0)
			return -1;
		say(f, " %s=%s", name, flag ? "yes" : "no");
		return 0;
	case 'a':
		return read_array(f, m, name);
	default:
		return -1;
	}
}

static int read_properties(struct fake *f, sd_bus_message *m)
{
	const char *name, *signature;
	char type;
	int rc;

	f->pid_count = 0;
	f->slice[0] = '\0';
	if (sd_bus_message_enter_container(m, 'a', "(sv)") < 0)
		return -1;
	while ((rc = sd_bus_message_enter_container(m, 'r', "sv")) > 0) {
		if (sd_bus_message_read(m, "s", &name) < 0 ||
		    sd_bus_message_peek_type(m, &type, &signature) < 0 ||
		    sd_bus_message_enter_container(m, 'v', signature) < 0 ||
		    read_value(f, m, name, signature) < 0 || sd_bus_message_exit_container(m) < 0 ||
		    sd_bus_message_exit_container(m) < 0)
			return -1;
	}
	return rc < 0 ? -1 : sd_bus_message_exit_container(m);
}

static int enter(const char *dir, unsigned pid)
{
	char file[PATH_MAX + 16];

	snprintf(file, sizeof(file), "%s/cgroup.procs", dir);
	FILE *out = fopen(file, "w");
	if (!out)
		return -1;
	fprintf(out, "%u", pid);
	return fclose(out);
}

static int make_scope(const struct fake *f, const char *unit)
{
	const char *slice = *f->slice ? f->slice : "system.slice";
	char dir[PATH_MAX];
	int used = snprintf(dir, sizeof(dir), "%s", f->root);

	for (size_t i = 1; i <= strlen(slice) - 6; i++)
		if (slice[i] == '-' || slice[i] == '.') {
			used += snprintf(dir + used, sizeof(dir) - (size_t)used, "/%.*s.slice",
			                 (int)i, slice);
			if (mkdir(dir, 0755) < 0 && errno != EEXIST)
				return -1;
		}
	snprintf(dir + used, sizeof(dir) - (size_t)used, "/%s", unit);
	if (mkdir(dir, 0755) < 0)
		return -1;
	for (size_t i = 0; i < f->pid_count; i++)
		if (enter(dir, f->pids[i]) < 0)
			return -1;
	return 0;
}

static int on_start(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct fake *f = arg;
	const char *unit, *mode;

	if (sd_bus_message_read(m, "ss", &unit, &mode) < 0)
		return -EINVAL;
	say(f, "start %s %s", unit, mode);
	if (read_properties(f, m) < 0)
		return sd_bus_error_set_const(error, SD_BUS_ERROR_INVALID_ARGS, "Bad properties.");
	flush(f);
	if (strstr(unit, "refused"))
		return sd_bus_error_setf(error, "org.freedesktop.systemd1.UnitExists",
		                         "Unit %s already exists.", unit);
	if (!strstr(unit, "lost") && make_scope(f, unit) < 0)
		return sd_bus_error_set_errnof(error, errno, "cannot make %s", unit);
	return sd_bus_reply_method_return(m, "o", "/org/freedesktop/systemd1/job/1");
}

static int on_set(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct fake *f = arg;
	const char *unit;
	int runtime;

	if (sd_bus_message_read(m, "sb", &unit, &runtime) < 0)
		return -EINVAL;
	say(f, "set %s", unit);
	if (read_properties(f, m) < 0)
		return sd_bus_error_set_const(error, SD_BUS_ERROR_INVALID_ARGS, "Bad properties.");
	flush(f);
	return sd_bus_reply_method_return(m, NULL);
}

static int on_stop(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct fake *f = arg;
	const char *unit, *mode;

	if (sd_bus_message_read(m, "ss", &unit, &mode) < 0)
		return -EINVAL;
	say(f, "stop %s", unit);
	flush(f);
	return sd_bus_error_setf(error, "org.freedesktop.systemd1.NoSuchUnit",
	                         "Unit %s not loaded.", unit);
}

static const sd_bus_vtable manager[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("StartTransientUnit", "ssa(sv)a(sa(sv))", "o", on_start,
                      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("SetUnitProperties", "sba(sv)", "", on_set, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("StopUnit", "ss", "o", on_stop, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

int main(int argc, char **argv)
{
	struct fake fake = {.log = argv[1], .root = argv[2]};
	sd_bus *bus = NULL;

	if (argc != 3 || sd_bus_default_system(&bus) < 0 ||
	    sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/systemd1",
	                             "org.freedesktop.systemd1.Manager", manager, &fake) < 0 ||
	    sd_bus_request_name(bus, "org.freedesktop.systemd1", 0) < 0) {
		fprintf(stderr, "fake_systemd: no bus\n");
		return 1;
	}
	for (;;) {
		int rc = sd_bus_process(bus, NULL);
		if (rc < 0 || (rc == 0 && sd_bus_wait(bus, UINT64_MAX) < 0))
			break;
	}
	sd_bus_unref(bus);
	return 0;
}
