/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <string.h>
#include <wchar.h>

#include "base/buf.h"
#include "base/err.h"

#define COLUMNS_MAX 64
#define CELL_MIN    10
#define GAP         3

/* Columns that a cell takes; a byte that is no character counts as one. */
static size_t width_of(const char *text, size_t len)
{
	size_t width = 0;

	for (size_t i = 0; i < len;) {
		wchar_t c;
		mbstate_t state = {0};
		size_t n = mbrtowc(&c, text + i, len - i, &state);
		if (n == 0 || n == (size_t)-1 || n == (size_t)-2) {
			n = 1;
			width++;
		} else {
			int w = wcwidth(c);
			width += w > 0 ? (size_t)w : 0;
		}
		i += n;
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
