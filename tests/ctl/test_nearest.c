/* SPDX-License-Identifier: Apache-2.0 */
/* Which word was probably meant. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/nearest.h"
#include "protocol/cleanup.h"

static const char *meant(const char *word)
{
	static const char *const words[] = { "status", "stats", "share", "doctor", "read-only", "ls" };
	struct nearest nearest = nearest_begin(word);

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		nearest_try(&nearest, words[i], words[i]);
	return nearest.found;
}

static void a_word_with_a_slip_or_two_is_known(void **state)
{
	assert_string_equal(meant("statu"), "status");   /* one left out */
	assert_string_equal(meant("statuss"), "status"); /* one too many */
	assert_string_equal(meant("stotus"), "status");  /* another one */
	assert_string_equal(meant("sattus"), "status");  /* two exchanged count as one */
	assert_string_equal(meant("docotr"), "doctor");
	assert_string_equal(meant("doctrr"), "doctor");
	assert_string_equal(meant("stat"), "stats"); /* the nearer of two */
}

static void two_exchanged_letters_are_one_slip(void **state)
{
	struct nearest nearest = nearest_begin("shrae");

	nearest_try(&nearest, "share", "share");
	assert_int_equal(nearest.distance, 1);
}

static void what_is_cut_short_is_known(void **state)
{
	assert_string_equal(meant("read"), "read-only");
	assert_string_equal(meant("doc"), "doctor");
	assert_null(meant("do")); /* too little of it */
}

static void what_is_far_from_all_is_nothing(void **state)
{
	assert_null(meant("frobnicate"));
	assert_null(meant("xx")); /* no letter of "ls" is left */
	assert_null(meant(""));
	assert_null(meant("a word that is much longer than all that there are"));
}

static void the_first_of_two_that_are_as_near_is_kept(void **state)
{
	struct nearest nearest = nearest_begin("ab");

	nearest_try(&nearest, "abc", "first");
	nearest_try(&nearest, "abd", "second");
	assert_string_equal(nearest.found, "first");
	nearest_try(&nearest, "ab", "third");
	assert_string_equal(nearest.found, "third");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_word_with_a_slip_or_two_is_known),
		cmocka_unit_test(two_exchanged_letters_are_one_slip),
		cmocka_unit_test(what_is_cut_short_is_known),
		cmocka_unit_test(what_is_far_from_all_is_nothing),
		cmocka_unit_test(the_first_of_two_that_are_as_near_is_kept),
	};

	return cmocka_run_group_tests_name("nearest", tests, NULL, NULL);
}
