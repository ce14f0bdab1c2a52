/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <locale.h>
#include <stdbool.h>
#include <string.h>
#include <wchar.h>

#include "base/buf.h"
#include "base/err.h"

#define COLUMNS_MAX 64
#define CELL_MIN    10
#define GAP         3

/* What the API sends is UTF-8, whatever our environment says. Only for those who need it: the tables of a
 * locale take longer to load than most commands to run. */
static void know_widths(void)
{
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		setlocale(LC_CTYPE, "");
}

/* Columns of the character at text and, in *n, its bytes; a byte that is no character counts as one. */
static size_t width_of_one(const char *text, size_t len, size_t *n)
{
	mbstate_t state = {0};
	wchar_t c;

	*n = mbrtowc(&c, text, len, &state);
	if (*n == 0 || *n == (size_t)-1 || *n == (size_t)-2) {
		*n = 1;
		return 1;
	}
	int w = wcwidth(c);
	return w > 0 ? (size_t)w : 0;
}

static size_t width_of(const char *text, size_t len)
{
	bool knows = false;
	size_t width = 0, n;

	for (size_t i = 0; i < len; i += n) {
		unsigned char c = (unsigned char)text[i];
		if (c < 0x80) {
			n = 1;
			width += c >= ' ' && c != 0x7f;
			continue;
		}
		if (!knows)
			know_widths();
		knows = true;
		width += width_of_one(text + i, len - i, &n);
	}
	return width;
}

static void measure(const char *text, size_t widths[COLUMNS_MAX])
{
	size_t column = 0;

	for (const char *p = text; *p; p++) {
		size_t len = strcspn(p, "\t\n");
		size_t width = width_of(p, len);
		/* The last cell of a row pushes nothing. */
		if (p[len] == '\t' && width > widths[column])
			widths[column] = width;
		column = p[len] == '\t' && column + 1 < COLUMNS_MAX ? column + 1 : 0;
		p += len;
		if (!*p)
			break;
	}
}

static void lay(const char *text, const size_t widths[COLUMNS_MAX], struct buf *out)
{
	size_t column = 0;

	for (const char *p = text;; p++) {
		size_t len = strcspn(p, "\t\n");
		size_t width = width_of(p, len);
		size_t want = (widths[column] + GAP > CELL_MIN ? widths[column] + GAP : CELL_MIN);
		buf_add_mem(out, p, len);
		p += len;
		if (*p != '\t') {
			buf_add(out, "\n");
			column = 0;
		} else if (width < want) {
			buf_addf(out, "%*s", (int)(want - width), "");
		}
		if (*p == '\t' && column + 1 < COLUMNS_MAX)
			column++;
		if (!*p)
			return;
	}
}

int table_align(const char *text, struct buf *out, struct err *err)
{
	size_t widths[COLUMNS_MAX] = {0};

	measure(text, widths);
	lay(text, widths, out);
	return buf_check(out, err);
}
