/* SPDX-License-Identifier: Apache-2.0 */
/* Names in directories, also those whose hashes are equal, and against a model that looks at everything each time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest-fuse/mount/known/hash.h"
#include "guest-fuse/mount/known/names.h"

static int set_up(void **state)
{
	*state = calloc(1, sizeof(struct names));
	return *state == NULL ? -1 : names_init(*state);
}

static int tear_down(void **state)
{
	names_done(*state);
	free(*state);
	return 0;
}

static size_t entries_in(const struct names *names, uint64_t parent)
{
	struct named *first = names_first(names, parent);
	size_t count = 0;

	for (struct named *named = first; named != NULL; named = names_next(named, first)) {
		assert_int_equal(named->parent, parent);
		count++;
	}
	return count;
}

/* Those that have this place. */
static size_t entries_at(const struct names *names, uint64_t parent, const char *name)
{
	size_t count = 0;

	for (struct named *named = names_at(names, parent, name); named != NULL; named = names_next_at(named)) {
		assert_int_equal(named->parent, parent);
		assert_string_equal(named->name, name);
		count++;
	}
	return count;
}

static void a_name_leads_to_one_entry_of_its_directory(void **state)
{
	struct named one = { .name = NULL }, other = { .name = NULL }, elsewhere = { .name = NULL };

	assert_null(names_find(*state, 1, "name"));
	assert_null(names_first(*state, 1));
	names_add(*state, &one, 1, "name");
	names_add(*state, &elsewhere, 2, "name");
	assert_ptr_equal(names_find(*state, 1, "name"), &one);
	assert_ptr_equal(names_find(*state, 2, "name"), &elsewhere);
	assert_null(names_find(*state, 1, "nam"));
	names_add(*state, &other, 1, "name");
	assert_ptr_equal(names_find(*state, 1, "name"), &other);
	assert_int_equal(entries_in(*state, 1), 2);
	assert_true(other.indexed && !one.indexed && entries_at(*state, 1, "name") == 2);
	/* The one that was replaced goes, and the other's name stays. */
	names_remove(*state, &one);
	assert_ptr_equal(names_find(*state, 1, "name"), &other);
	assert_int_equal(entries_in(*state, 1), 1);
	names_unindex(&other);
	names_unindex(&other);
	assert_null(names_find(*state, 1, "name"));
	assert_int_equal(entries_in(*state, 1), 1);
	names_index(*state, &other);
	assert_ptr_equal(names_find(*state, 1, "name"), &other);
	names_remove(*state, &other);
	names_remove(*state, &other);
	assert_null(names_find(*state, 1, "name"));
	assert_null(names_first(*state, 1));
	assert_ptr_equal(names_find(*state, 2, "name"), &elsewhere);
}

static void an_entry_without_a_name_is_in_its_directory(void **state)
{
	struct named nameless = { .name = NULL };

	names_add(*state, &nameless, 1, NULL);
	assert_ptr_equal(names_first(*state, 1), &nameless);
	assert_null(names_next(&nameless, &nameless));
	names_remove(*state, &nameless);
	assert_null(names_first(*state, 1));
}

static void a_directory_tells_in_which_order_they_came(void **state)
{
	struct named named[4] = { { .name = NULL } };
	char text[4][2] = { "d", "a", "c", "b" };
	struct named *at;

	for (size_t i = 0; i < 4; i++)
		names_add(*state, &named[i], 1, text[i]);
	names_remove(*state, &named[0]);
	names_add(*state, &named[0], 1, text[0]);
	at = names_first(*state, 1);
	for (size_t i = 1; i <= 4; i++) {
		assert_ptr_equal(at, &named[i % 4]);
		at = names_next(at, &named[1]);
	}
	assert_null(at);
}

static void names_of_255_bytes_differ_in_their_last_one(void **state)
{
	struct named one = { .name = NULL }, other = { .name = NULL };
	char first[256], second[256];

	memset(first, 'x', 255);
	first[255] = '\0';
	memcpy(second, first, sizeof(second));
	second[254] = 'y';
	names_add(*state, &one, 1, first);
	names_add(*state, &other, 1, second);
	assert_ptr_equal(names_find(*state, 1, first), &one);
	assert_ptr_equal(names_find(*state, 1, second), &other);
}

/* Enough that two of them have the same hash of 32 bits: all but 1 time in 10^18. */
enum { KEYS = 600000 };

/* A key as names.c makes it. */
struct key {
	uint64_t parent;
	char name[8];
};

struct hashed {
	struct key key;
	uint32_t hash;
};

static int by_hash(const void *left, const void *right)
{
	const struct hashed *one = left, *other = right;

	return (one->hash > other->hash) - (one->hash < other->hash);
}

/* Two keys of the same hash, which differ in their parents or in their names. */
static void find_equal(bool parents, struct key *ret_one, struct key *ret_other)
{
	struct hashed *hashed = calloc(KEYS, sizeof(*hashed));
	size_t i;

	assert_non_null(hashed);
	for (i = 0; i < KEYS; i++) {
		struct key *key = &hashed[i].key;

		key->parent = parents ? i + 1 : 1;
		snprintf(key->name, sizeof(key->name), "%06zu", parents ? 0 : i);
		hashed[i].hash = hash_bytes(key, sizeof(key->parent) + strlen(key->name));
	}
	qsort(hashed, KEYS, sizeof(*hashed), by_hash);
	for (i = 1; i < KEYS && hashed[i].hash != hashed[i - 1].hash;)
		i++;
	assert_true(i < KEYS);
	*ret_one = hashed[i - 1].key;
	*ret_other = hashed[i].key;
	free(hashed);
}

static void equal_hashes_are_told_apart(void **state)
{
	struct named named[4] = { { .name = NULL } };
	struct key keys[4];

	find_equal(true, &keys[0], &keys[1]);
	find_equal(false, &keys[2], &keys[3]);
	for (size_t i = 0; i < 4; i++) {
		assert_null(names_find(*state, keys[i].parent, keys[i].name));
		names_add(*state, &named[i], keys[i].parent, keys[i].name);
	}
	assert_int_equal(named[0].hash, named[1].hash);
	assert_int_equal(named[2].hash, named[3].hash);
	for (size_t i = 0; i < 4; i++)
		assert_ptr_equal(names_find(*state, keys[i].parent, keys[i].name), &named[i]);
	names_remove(*state, &named[0]);
	names_remove(*state, &named[3]);
	assert_null(names_find(*state, keys[0].parent, keys[0].name));
	assert_ptr_equal(names_find(*state, keys[1].parent, keys[1].name), &named[1]);
	assert_ptr_equal(names_find(*state, keys[2].parent, keys[2].name), &named[2]);
	assert_null(names_find(*state, keys[3].parent, keys[3].name));
}

enum { ENTRIES = 600, DIRECTORIES = 150, NAMES = 12, STEPS = 60000 };

/* What the table should hold. */
struct model {
	struct named named[ENTRIES];
	uint64_t parent[ENTRIES]; /* 0: in no directory */
	unsigned name[ENTRIES];
	struct named *leads[DIRECTORIES + 1][NAMES];
};

static char texts[NAMES][8];

static void compare(const struct names *names, const struct model *model)
{
	size_t counts[DIRECTORIES + 1] = { 0 }, at[DIRECTORIES + 1][NAMES] = { { 0 } };

	for (size_t i = 0; i < ENTRIES; i++) {
		counts[model->parent[i]]++;
		at[model->parent[i]][model->name[i]]++;
	}
	for (uint64_t parent = 1; parent <= DIRECTORIES; parent++) {
		assert_int_equal(entries_in(names, parent), counts[parent]);
		for (unsigned name = 0; name < NAMES; name++) {
			assert_ptr_equal(names_find(names, parent, texts[name]), model->leads[parent][name]);
			assert_int_equal(entries_at(names, parent, texts[name]), at[parent][name]);
		}
	}
}

static void leads_no_more(struct model *model, size_t i)
{
	struct named **leads = &model->leads[model->parent[i]][model->name[i]];

	if (model->parent[i] != 0 && *leads == &model->named[i])
		*leads = NULL;
}

static void step(struct names *names, struct model *model)
{
	size_t i = (size_t) rand() % ENTRIES;
	uint64_t parent = 1 + (uint64_t) rand() % DIRECTORIES;
	unsigned name = (unsigned) rand() % NAMES;
	int what = rand() % 8;

	if (what < 5) {
		names_remove(names, &model->named[i]);
		leads_no_more(model, i);
		names_add(names, &model->named[i], parent, texts[name]);
		model->parent[i] = parent;
		model->name[i] = name;
		model->leads[parent][name] = &model->named[i];
	} else if (what < 7) {
		names_remove(names, &model->named[i]);
		leads_no_more(model, i);
		model->parent[i] = 0;
	} else if (model->parent[i] != 0) {
		names_unindex(&model->named[i]);
		leads_no_more(model, i);
	}
}

static void it_holds_what_a_simple_table_holds(void **state)
{
	struct model *model = calloc(1, sizeof(*model));

	assert_non_null(model);
	srand(1);
	for (unsigned name = 0; name < NAMES; name++)
		snprintf(texts[name], sizeof(texts[name]), "name%u", name);
	for (int i = 0; i < STEPS; i++) {
		step(*state, model);
		if (i % 500 == 0)
			compare(*state, model);
	}
	for (size_t i = 0; i < ENTRIES; i++) {
		names_remove(*state, &model->named[i]);
		leads_no_more(model, i);
		model->parent[i] = 0;
		if (i % 50 == 0)
			compare(*state, model);
	}
	compare(*state, model);
	assert_int_equal(((struct names *) *state)->entries.count, 0);
	assert_int_equal(((struct names *) *state)->directories.count, 0);
	free(model);
}

static void buckets_grow_with_the_entries(void **state)
{
	enum { MANY = 5000 };
	struct named *many = calloc(MANY, sizeof(*many));
	const struct names *names = *state;
	char(*text)[8] = calloc(MANY, sizeof(*text));

	assert_non_null(many);
	assert_non_null(text);
	for (size_t i = 0; i < MANY; i++) {
		snprintf(text[i], sizeof(text[i]), "%zu", i);
		names_add(*state, &many[i], i + 1, text[i]);
	}
	assert_in_range(names->entries.size, MANY, 2 * MANY);
	assert_in_range(names->directories.size, MANY, 2 * MANY);
	for (size_t i = 0; i < MANY; i++) {
		assert_ptr_equal(names_find(names, i + 1, text[i]), &many[i]);
		assert_ptr_equal(names_first(names, i + 1), &many[i]);
	}
	free(many);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_name_leads_to_one_entry_of_its_directory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_entry_without_a_name_is_in_its_directory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_directory_tells_in_which_order_they_came, set_up, tear_down),
		cmocka_unit_test_setup_teardown(names_of_255_bytes_differ_in_their_last_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(equal_hashes_are_told_apart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(it_holds_what_a_simple_table_holds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(buckets_grow_with_the_entries, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
