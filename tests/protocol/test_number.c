/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers in texts: digits and nothing else, and none becomes another one. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/cleanup.h"
#include "protocol/number.h"

static void numbers_are_read_as_they_are_written(void **state)
{
	static const struct {
		const char *text;
		uint64_t number;
	} cases[] = {
		{ "0", 0 },
		{ "7", 7 },
		{ "65535", 65535 },
		{ "007", 7 },
		{ "18446744073709551615", UINT64_MAX },
		{ "00000000000000000000000000000000000000001", 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t number = 99;

		assert_int_equal(number_parse(cases[i].text, 0, UINT64_MAX, &number), 0);
		assert_true(number == cases[i].number);
	}
}

static void what_is_no_number_is_refused(void **state)
{
	static const char *const texts[] = {
		"",    " ",  " 1",    "1 ",    "\t1", "1\n", "+1", "-1", "-0", "--1", "0x10",     "0X1",      "1.5",
		"1e3", "1k", "1_000", "1,000", "abc", "1a",  "a1", "/",  ":",  "0b1", "\xc2\xb2", "\xd9\xa1", "1\xff",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		uint64_t number = 99;

		if (number_parse(texts[i], 0, UINT64_MAX, &number) != -EINVAL)
			fail_msg("\"%s\" is taken", texts[i]);
		assert_true(number == 99);
	}
}

static void what_does_not_fit_is_refused(void **state)
{
	static const struct {
		const char *text;
		uint64_t least, most;
	} cases[] = {
		{ "18446744073709551616", 0, UINT64_MAX },
		{ "18446744073709551625", 0, UINT64_MAX },
		{ "184467440737095516150", 0, UINT64_MAX },
		{ "99999999999999999999999999999999999999999999", 0, UINT64_MAX },
		{ "0", 1, 10 },
		{ "11", 1, 10 },
		{ "4294967296", 0, UINT32_MAX },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t number = 99;

		if (number_parse(cases[i].text, cases[i].least, cases[i].most, &number) != -ERANGE)
			fail_msg("\"%s\" is taken", cases[i].text);
		assert_true(number == 99);
	}
}

static void both_ends_of_the_range_are_taken(void **state)
{
	uint64_t number;

	assert_int_equal(number_parse("1", 1, 10, &number), 0);
	assert_int_equal(number_parse("10", 1, 10, &number), 0);
	assert_int_equal(number_parse("5", 5, 5, &number), 0);
}

static void what_follows_a_number_is_told(void **state)
{
	const char *text = "12ms", *end = NULL;
	uint64_t number = 0;

	assert_int_equal(number_begin(text, 10, 12, &number, &end), 0);
	assert_true(number == 12);
	assert_ptr_equal(end, text + 2);
	assert_int_equal(number_begin("12", 10, UINT64_MAX, &number, &end), 0);
	assert_string_equal(end, "");
	assert_int_equal(number_begin("0x1f", 10, UINT64_MAX, &number, &end), 0);
	assert_true(number == 0);
	assert_string_equal(end, "x1f");
}

static void a_beginning_that_is_none_leaves_all_as_it_was(void **state)
{
	static const char *const texts[] = { "", "x", " 1", "-1", "+1", ":1" };
	const char *end = "as it was";
	uint64_t number = 99;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_int_equal(number_begin(texts[i], 10, UINT64_MAX, &number, &end), -EINVAL);
	assert_int_equal(number_begin("13ms", 10, 12, &number, &end), -ERANGE);
	assert_int_equal(number_begin("18446744073709551616x", 10, UINT64_MAX, &number, &end), -ERANGE);
	assert_true(number == 99);
	assert_string_equal(end, "as it was");
}

static void each_base_has_its_own_digits(void **state)
{
	const char *end;
	uint64_t number;

	assert_int_equal(number_begin("7789", 8, UINT64_MAX, &number, &end), 0);
	assert_true(number == 077);
	assert_string_equal(end, "89");
	assert_int_equal(number_begin("fFg", 16, UINT64_MAX, &number, &end), 0);
	assert_true(number == 0xff);
	assert_string_equal(end, "g");
	assert_int_equal(number_begin("102", 2, UINT64_MAX, &number, &end), 0);
	assert_true(number == 2);
	assert_int_equal(number_begin("f", 10, UINT64_MAX, &number, &end), -EINVAL);
	assert_int_equal(number_begin("8", 8, UINT64_MAX, &number, &end), -EINVAL);
	assert_int_equal(number_begin("ffffffffffffffff", 16, UINT64_MAX, &number, &end), 0);
	assert_true(number == UINT64_MAX);
	assert_int_equal(number_begin("10000000000000000", 16, UINT64_MAX, &number, &end), -ERANGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_read_as_they_are_written),
		cmocka_unit_test(what_is_no_number_is_refused),
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(both_ends_of_the_range_are_taken),
		cmocka_unit_test(what_follows_a_number_is_told),
		cmocka_unit_test(a_beginning_that_is_none_leaves_all_as_it_was),
		cmocka_unit_test(each_base_has_its_own_digits),
	};

	return cmocka_run_group_tests_name("number", tests, NULL, NULL);
}
