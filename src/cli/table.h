/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * table - columns that stand under each other.
 *
 *	table_align("NAME\tSTATUS\nweb\tUp", &out, err);   // "NAME      STATUS\nweb       Up\n"
 *
 * Cells are parted by tabs, rows by newlines. Columns are three blanks apart and at least ten wide, and
 * widths are those of the terminal (wide and combining characters), not bytes.
 */

struct buf;
struct err;

int table_align(const char *text, struct buf *out, struct err *err);
