/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor's findings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/findings.h"
#include "protocol/document.h"

static const char *member(const json_t *list, size_t index, const char *key)
{
	return json_string_value(json_object_get(json_array_get(list, index), key));
}

static void findings_are_kept_in_their_order(void **state)
{
	struct findings findings = { NULL };
	_cleanup_json_ json_t *list = NULL;

	findings_add(&findings, "one", "ok", NULL, "%d is %s", 1, "fine");
	findings_add(&findings, "two", "warning", "do this", "two");
	assert_false(findings_have_error(&findings));
	list = findings_take(&findings);
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(member(list, 0, "check"), "one");
	assert_string_equal(member(list, 0, "level"), "ok");
	assert_string_equal(member(list, 0, "text"), "1 is fine");
	assert_true(json_is_null(json_object_get(json_array_get(list, 0), "advice")));
	assert_string_equal(member(list, 1, "advice"), "do this");
}

static void an_error_anywhere_counts(void **state)
{
	struct findings findings = { NULL };

	assert_false(findings_have_error(&findings));
	findings_add(&findings, "one", "error", NULL, "x");
	findings_add(&findings, "two", "ok", NULL, "y");
	assert_true(findings_have_error(&findings));
	findings_done(&findings);
	assert_false(findings_have_error(&findings));
}

static void text_that_json_cannot_carry_is_told_to_be_that(void **state)
{
	struct findings findings = { NULL };
	_cleanup_json_ json_t *list = NULL;

	findings_add(&findings, "one", "ok", NULL, "a\xff");
	list = findings_take(&findings);
	assert_string_equal(member(list, 0, "text"), "text that is no UTF-8");
}

static void none_are_an_empty_list(void **state)
{
	struct findings findings = { NULL };
	_cleanup_json_ json_t *list = findings_take(&findings);

	assert_true(json_is_array(list));
	assert_int_equal(json_array_size(list), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(findings_are_kept_in_their_order),
		cmocka_unit_test(an_error_anywhere_counts),
		cmocka_unit_test(text_that_json_cannot_carry_is_told_to_be_that),
		cmocka_unit_test(none_are_an_empty_list),
	};

	return cmocka_run_group_tests_name("findings", tests, NULL, NULL);
}
