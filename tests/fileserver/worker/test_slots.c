/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers that a peer names objects by: each leads to the object that it was given for, or nowhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fileserver/worker/nodes/slots.h"
#include "protocol/fields.h"

enum { MANY = 1000 };

static int objects[MANY];

static int set_up(void **state)
{
	static struct slots slots;

	slots_init(&slots);
	*state = &slots;
	return 0;
}

static int tear_down(void **state)
{
	slots_done(*state);
	return 0;
}

static uint64_t take(struct slots *slots, void *object)
{
	uint64_t id = 0;

	assert_int_equal(slots_take(slots, object, &id), 0);
	assert_true(id != 0);
	return id;
}

static void a_number_leads_to_its_object(void **state)
{
	uint64_t first = take(*state, &objects[0]), second = take(*state, &objects[1]);

	assert_true(first != second);
	assert_ptr_equal(slots_find(*state, first), &objects[0]);
	assert_ptr_equal(slots_find(*state, second), &objects[1]);
}

static void a_number_that_was_never_given_leads_nowhere(void **state)
{
	uint64_t id;

	assert_null(slots_find(*state, 0));
	assert_null(slots_find(*state, UINT64_MAX));
	id = take(*state, &objects[0]);
	/* the slot without a generation, with another one, and the slots beside it */
	assert_null(slots_find(*state, PROTO_ID(0, PROTO_ID_SLOT(id))));
	assert_null(slots_find(*state, PROTO_ID(PROTO_ID_GENERATION(id) + 1, PROTO_ID_SLOT(id))));
	assert_null(slots_find(*state, id + 1));
	assert_null(slots_find(*state, PROTO_ID(1, 63)));
	assert_null(slots_find(*state, PROTO_ID(1, 64)));
	assert_null(slots_find(*state, 0));
}

static void a_number_that_was_given_back_leads_nowhere_also_when_its_slot_is_used_again(void **state)
{
	uint64_t first = take(*state, &objects[0]), second;

	slots_give_back(*state, first);
	assert_null(slots_find(*state, first));
	second = take(*state, &objects[1]);
	assert_int_equal(PROTO_ID_SLOT(second), PROTO_ID_SLOT(first));
	assert_int_equal(PROTO_ID_GENERATION(second), PROTO_ID_GENERATION(first) + 1);
	assert_null(slots_find(*state, first));
	assert_ptr_equal(slots_find(*state, second), &objects[1]);
}

static void what_was_given_back_last_is_used_first_and_nothing_is_lost(void **state)
{
	struct slots *slots = *state;
	uint64_t ids[4], again[4];

	for (int i = 0; i < 4; i++)
		ids[i] = take(slots, &objects[i]);
	for (int i = 0; i < 4; i++)
		slots_give_back(slots, ids[i]);
	for (int i = 0; i < 4; i++) {
		again[i] = take(slots, &objects[10 + i]);
		assert_int_equal(PROTO_ID_SLOT(again[i]), PROTO_ID_SLOT(ids[3 - i]));
	}
	assert_int_equal(slots->used, 4);
	for (int i = 0; i < 4; i++)
		assert_ptr_equal(slots_find(slots, again[i]), &objects[10 + i]);
}

static void the_table_grows_and_keeps_what_is_in_it(void **state)
{
	struct slots *slots = *state;
	uint64_t ids[MANY];

	for (int i = 0; i < MANY; i++) {
		ids[i] = take(slots, &objects[i]);
		assert_int_equal(PROTO_ID_SLOT(ids[i]), i);
	}
	assert_true(slots->size >= MANY && slots->size < 2 * MANY);
	for (int i = 0; i < MANY; i++)
		assert_ptr_equal(slots_find(slots, ids[i]), &objects[i]);
}

/* After 2^32 uses of one slot: 0 is no generation, or slot 0 would give the number 0. */
static void a_generation_that_wraps_is_never_0(void **state)
{
	struct slots *slots = *state;
	uint64_t id = take(slots, &objects[0]), last;

	slots_give_back(slots, id);
	slots->slots[0].generation = UINT32_MAX;
	last = take(slots, &objects[1]);
	assert_true(last == PROTO_ID(UINT32_MAX, 0));
	slots_give_back(slots, last);
	assert_null(slots_find(slots, 0));
	id = take(slots, &objects[2]);
	assert_true(id == PROTO_ID(1, 0));
	assert_null(slots_find(slots, last));
	assert_null(slots_find(slots, 0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_number_leads_to_its_object),
		TEST(a_number_that_was_never_given_leads_nowhere),
		TEST(a_number_that_was_given_back_leads_nowhere_also_when_its_slot_is_used_again),
		TEST(what_was_given_back_last_is_used_first_and_nothing_is_lost),
		TEST(the_table_grows_and_keeps_what_is_in_it),
		TEST(a_generation_that_wraps_is_never_0),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
