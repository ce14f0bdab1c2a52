/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include "base/buf.h"
#include "base/testing.h"

static void expect(const char *text, const char *expected)
{
	auto_buf struct buf out = BUF_INIT(4096);

	assert_int_equal(table_align(text, &out, NULL), 0);
	assert_string_equal(buf_str(&out), expected);
}

static void columns_stand_under_each_other(void **state)
{
	(void)state;
	expect("NAME\tSTATUS\nweb-frontend\tUp", "NAME           STATUS\nweb-frontend   Up\n");
}

static void a_narrow_column_is_ten_wide(void **state)
{
	(void)state;
	expect("A\tB", "A         B\n");
}

static void empty_cells_keep_their_place(void **state)
{
	(void)state;
	expect("A\tB\tC\nx\t\tz", "A         B         C\nx                   z\n");
}

static void the_last_cell_pushes_nothing(void **state)
{
	(void)state;
	expect("A\tB\nvery long text in one cell", "A         B\nvery long text in one cell\n");
}

static void widths_are_those_of_the_terminal(void **state)
{
	(void)state;
	expect("caf\xc3\xa9-caf\xc3\xa9\tB\n123456789\tC",
	       "caf\xc3\xa9-caf\xc3\xa9   B\n123456789   C\n");
}

TESTING_MAIN(TEST(columns_stand_under_each_other), TEST(a_narrow_column_is_ten_wide),
             TEST(empty_cells_keep_their_place), TEST(the_last_cell_pushes_nothing),
             TEST(widths_are_those_of_the_terminal))
