/* SPDX-License-Identifier: Apache-2.0 */
/* What somebody else has chosen moves no cursor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "ctl/printable.h"
#include "tests/ctl/printed.h"

static const char *written(const char *text)
{
	printed_begin();
	printable_write(stdout, text);
	return printed_end();
}

static void what_moves_a_cursor_is_written_in_hexadecimal(void **state)
{
	assert_string_equal(written("/a\x1b[2J\x07\n\t\r\x01\x1f\x7f"),
	                    "/a\\x1b[2J\\x07\\x0a\\x09\\x0d\\x01\\x1f\\x7f");
}

static void all_else_is_written_as_it_is(void **state)
{
	assert_string_equal(written(" ~\\x\xc3\xa4\xff"), " ~\\x\xc3\xa4\xff");
	assert_string_equal(written(""), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_moves_a_cursor_is_written_in_hexadecimal),
		cmocka_unit_test(all_else_is_written_as_it_is),
	};

	return cmocka_run_group_tests_name("printable", tests, NULL, NULL);
}
