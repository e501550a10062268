/* SPDX-License-Identifier: Apache-2.0 */
/* The leases of a mount in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/leases.h"
#include "protocol/document.h"
#include "tests/ctl/printed.h"

static json_t *leases(const char *state, int directories, int most, int overflows)
{
	return json_pack("{ss si si si}", "state", state, "directories", directories, "directories_max", most,
	                 "overflows", overflows);
}

static const char *brief(const char *state, int directories)
{
	static char text[LEASES_SHORT_SIZE];
	_cleanup_json_ json_t *object = leases(state, directories, 100, 0);

	return leases_short(object, text);
}

static const char *notes(const char *state, int directories, int most, int overflows)
{
	_cleanup_json_ json_t *object = leases(state, directories, most, overflows);

	printed_begin();
	leases_print_notes(object);
	return printed_end();
}

static void a_number_or_the_reason_why_there_is_none(void **state)
{
	char text[LEASES_SHORT_SIZE];

	assert_string_equal(brief("given", 0), "0/100");
	assert_string_equal(brief("given", 12345), "12345/100");
	assert_string_equal(brief("not-asked", 0), "not-asked");
	assert_string_equal(brief("file-system", 0), "file-system");
	/* One in the share may have leases where another has none; those that are there count. */
	assert_string_equal(brief("no-marks", 7), "7/100");
	assert_string_equal(brief("a state of a later server", 0), "a state of ");
	/* An older server. */
	assert_string_equal(leases_short(NULL, text), "-");
}

static void each_reason_is_a_line(void **state)
{
	assert_string_equal(notes("given", 5, 100, 0), "");
	assert_string_equal(notes("not-asked", 0, 0, 0), "");
	assert_non_null(strstr(notes("no-watch", 0, 0, 0), "        no leases: this machine has neither"));
	assert_non_null(strstr(notes("file-system", 0, 100, 0), "no leases: others can write"));
	assert_non_null(strstr(notes("behind", 3, 100, 0), "no leases until the guest has acted"));
	assert_non_null(strstr(notes("no-marks", 3, 100, 0), "no more leases: the user's programs"));
	assert_non_null(strstr(notes("given", 100, 100, 0), "all 100 leases that there may be are given"));
	assert_non_null(strstr(notes("given", 5, 100, 2), "overflowed 2 times"));
	printed_begin();
	leases_print_notes(NULL);
	assert_string_equal(printed_end(), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_number_or_the_reason_why_there_is_none),
		cmocka_unit_test(each_reason_is_a_line),
	};

	return cmocka_run_group_tests_name("leases", tests, NULL, NULL);
}
