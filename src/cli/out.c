/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/out.h"

#include <ctype.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "cli/table.h"
#include "cli/template.h"

#define COMMAND_MAX  20         /* bytes shown */
#define COMMAND_TEXT (1u << 20) /* bytes */

#define SECOND         1000000000LL
#define LINE_MAX_BYTES (16u << 20)

/* C1 controls are two bytes in UTF-8: c2 80 to c2 9f. */
static bool is_c1(const unsigned char *p)
{
	return p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f;
}

void out_text(FILE *out, const char *text, bool terminal)
{
	if (!terminal) {
		fputs(text, out);
		return;
	}
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (is_c1(p))
			fprintf(out, "\\x%02x", *++p);
		else if ((*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f)
			fprintf(out, "\\x%02x", *p);
		else
			fputc(*p, out);
	}
}

char *out_age(int64_t ns, char text[40])
{
	static const struct {
		int64_t below, unit;
		const char *name;
	} steps[] = {
		{60, 1, "seconds"},
		{3600, 60, "minutes"},
		{48LL * 3600, 3600, "hours"},
		{14LL * 86400, 86400, "days"},
		{60LL * 86400, 7LL * 86400, "weeks"},
		{730LL * 86400, 30LL * 86400, "months"},
		{INT64_MAX, 365LL * 86400, "years"},
	};
	int64_t s = ns / SECOND;

	if (s < 1 || s == 1) {
		snprintf(text, 40, "%s", s < 1 ? "Less than a second" : "1 second");
		return text;
	}
	if ((s >= 60 && s < 120) || (s >= 3600 && s < 7200)) {
		snprintf(text, 40, "%s", s < 120 ? "About a minute" : "About an hour");
		return text;
	}
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		if (s < steps[i].below) {
			snprintf(text, 40, "%lld %s", (long long)(s / steps[i].unit),
			         steps[i].name);
			break;
		}
	}
	return text;
}

struct json *out_ago(int64_t wall_ns)
{
	char age[40], text[48];

	snprintf(text, sizeof(text), "%s ago", out_age(clock_wall_ns() - wall_ns, age));
	return json_string(text);
}

struct json *out_command(const char *text, bool full)
{
	auto_buf struct buf out = BUF_INIT(COMMAND_TEXT);

	if (!text)
		text = "";
	if (full || strlen(text) <= COMMAND_MAX)
		buf_addf(&out, "\"%s\"", text);
	else
		buf_addf(&out, "\"%.*s\xe2\x80\xa6\"", COMMAND_MAX - 1, text);
	return json_string(buf_str(&out));
}

void out_split_tag(const char *text, struct out_image_name *out)
{
	const char *slash = strrchr(text, '/');
	const char *colon = strrchr(slash ? slash : text, ':');

	snprintf(out->repository, sizeof(out->repository), "%.*s",
	         (int)(colon ? colon - text : (int)strlen(text)), text);
	snprintf(out->tag, sizeof(out->tag), "%s", colon ? colon + 1 : "<none>");
}

static char *size_text(int64_t bytes, int base, int digits, const char *const *units, char text[24])
{
	double value = (double)bytes;
	size_t i = 0;

	for (; value >= base && i < 5; i++)
		value /= base;
	if (i > 0 && value >= 999.5 && digits == 3) /* %g would write 1e+03 */
		snprintf(text, 24, "%.0f%s", value, units[i]);
	else if (i > 0)
		snprintf(text, 24, "%.*g%s", digits, value, units[i]);
	else
		snprintf(text, 24, "%lldB", (long long)bytes);
	return text;
}

/* Three digits, and four of the binary ones: docker's way. */
char *out_size(int64_t bytes, char text[24])
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};

	return size_text(bytes, 1000, 3, units, text);
}

char *out_size_binary(int64_t bytes, char text[24])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};

	return size_text(bytes, 1024, 4, units, text);
}

const char *out_id(struct cli *cli, const char *id, bool full)
{
	char *text;

	if (full || !id)
		return id ? id : "";
	if (str_starts(id, "sha256:"))
		id += strlen("sha256:");
	text = arena_strndup(&cli->arena, id, strnlen(id, ID_SHORT), NULL);
	return text ? text : id;
}

struct json *out_capital(const char *text)
{
	char word[64];

	snprintf(word, sizeof(word), "%s", text ? text : "");
	word[0] = (char)toupper((unsigned char)word[0]);
	return json_string(word);
}

/* ---- rows ---- */

static void print_line(const struct cli *cli, const char *text)
{
	out_text(stdout, text, cli->out_tty);
	fputc('\n', stdout);
}

static int print_plain(struct cli *cli, const struct template *t, const struct json *rows,
                       struct err *err)
{
	auto_buf struct buf line = BUF_INIT(LINE_MAX_BYTES);

	for (size_t i = 0; i < json_count(rows); i++) {
		buf_clear(&line);
		if (template_write(t, json_at(rows, i), &line, err) < 0 ||
		    buf_check(&line, err) < 0)
			return -1;
		print_line(cli, buf_str(&line));
	}
	return 0;
}

/* The heading is the template applied to a row whose fields are the headers. */
static struct json *headers(const struct out_listing *listing)
{
	struct json *row = json_object();

	for (const struct out_column *c = listing->columns; c->field; c++)
		json_set(row, c->field, json_string(c->header));
	return row;
}

static int print_table(struct cli *cli, const struct template *t, const struct out_listing *listing,
                       const struct json *rows, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(LINE_MAX_BYTES);
	auto_buf struct buf aligned = BUF_INIT(LINE_MAX_BYTES);
	auto_type(json) heading = headers(listing);

	if (template_write(t, heading, &text, err) < 0)
		return -1;
	for (size_t i = 0; i < json_count(rows); i++) {
		buf_add(&text, "\n");
		if (template_write(t, json_at(rows, i), &text, err) < 0)
			return -1;
	}
	if (buf_check(&text, err) < 0 || table_align(buf_str(&text), &aligned, err) < 0)
		return -1;
	out_text(stdout, buf_str(&aligned), cli->out_tty);
	return 0;
}

static const char *default_format(struct cli *cli, const struct out_listing *listing, bool quiet,
                                  struct err *err)
{
	auto_buf struct buf text = BUF_INIT(4096);

	if (quiet)
		return arena_printf(&cli->arena, err, "{{.%s}}", listing->quiet);
	buf_add(&text, "table ");
	for (size_t i = 0; i < listing->shown; i++)
		buf_addf(&text, "%s{{.%s}}", i ? "\t" : "", listing->columns[i].field);
	return arena_strdup(&cli->arena, buf_str(&text), err);
}

int out_rows(struct cli *cli, const struct args *args, const struct out_listing *listing,
             const struct json *rows, struct err *err)
{
	const char *format = args_string(args, "format");
	bool table;

	if (str_empty(format) || str_eq(format, "table"))
		format = default_format(cli, listing, listing->quiet && args_bool(args, "quiet"),
		                        err);
	else if (str_eq(format, "json"))
		format = "{{json .}}";
	if (!format)
		return -1;
	table = str_starts(format, "table ");
	auto_type(template) t = template_parse(format + (table ? strlen("table ") : 0), err);
	if (!t)
		return -1;
	return table ? print_table(cli, t, listing, rows, err) : print_plain(cli, t, rows, err);
}
