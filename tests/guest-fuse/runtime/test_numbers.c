/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of a JSON text that come out as they went in. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest-fuse/runtime/numbers.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"

/* Through a parser and back. */
static void assert_kept(const char *text)
{
	struct numbers numbers;
	_cleanup_free_ char *hidden = numbers_hide(&numbers, text, strlen(text)), *written = NULL, *shown = NULL;
	_cleanup_json_ json_t *root = NULL;

	assert_non_null(hidden);
	root = json_loads(hidden, 0, NULL);
	if (root == NULL)
		fail_msg("no JSON: %s", hidden);
	written = json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER);
	shown = numbers_show(&numbers, written);
	assert_string_equal(shown, text);
}

static void numbers_come_out_as_they_went_in(void **state)
{
	assert_kept("{\"a\":18446744073709551615,\"b\":-9223372036854775808,\"c\":1e3,\"d\":1.50,\"e\":-0}");
	assert_kept("[0,[1,2],{\"a\":[3]}]");
	assert_kept("{\"a\":true,\"b\":null,\"c\":\"\"}");
	assert_kept("{}");
}

static void what_looks_like_a_number_in_a_string_is_text(void **state)
{
	assert_kept("{\"12\":\"34\",\"a\":\"x 5 \\\" 6\",\"b\":\"\\\\\",\"c\":7}");
	assert_kept("[\"#0123456789abcdef:12\"]"); /* almost the mark */
}

static void a_hidden_number_has_its_value(void **state)
{
	static const char text[] = "{\"a\":42,\"b\":-7,\"c\":\"42\",\"d\":18446744073709551615}";
	struct numbers numbers;
	_cleanup_free_ char *hidden = numbers_hide(&numbers, text, strlen(text));
	_cleanup_json_ json_t *root = json_loads(hidden, 0, NULL);

	assert_int_equal(numbers_value(&numbers, json_object_get(root, "a")), 42);
	assert_int_equal(numbers_value(&numbers, json_object_get(root, "b")), -7);
	assert_int_equal(numbers_value(&numbers, json_object_get(root, "c")), 0);      /* a text */
	assert_true(numbers_value(&numbers, json_object_get(root, "d")) == INT64_MAX); /* as far as it fits */
	assert_int_equal(numbers_value(&numbers, json_object_get(root, "none")), 0);
}

static void what_is_broken_stays_within_its_memory(void **state)
{
	static const char *const broken[] = { "", "\"", "\"\\", "-", "[1,", "{\"a\":1", "12\"34", "1\\" };

	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		struct numbers numbers;
		size_t length = strlen(broken[i]);
		_cleanup_free_ char *copy = malloc(length > 0 ? length : 1), *hidden = NULL, *shown = NULL;

		memcpy(copy, broken[i], length); /* without a NUL */
		hidden = numbers_hide(&numbers, copy, length);
		assert_non_null(hidden);
		shown = numbers_show(&numbers, hidden);
		assert_non_null(shown);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_come_out_as_they_went_in),
		cmocka_unit_test(what_looks_like_a_number_in_a_string_is_text),
		cmocka_unit_test(a_hidden_number_has_its_value),
		cmocka_unit_test(what_is_broken_stays_within_its_memory),
	};

	return cmocka_run_group_tests_name("numbers", tests, NULL, NULL);
}
