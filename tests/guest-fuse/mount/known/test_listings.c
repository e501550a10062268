/* SPDX-License-Identifier: Apache-2.0 */
/* Directories that were fetched whole: what is told of names, for how long, what is worth fetching, and what goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "guest-fuse/mount/known/file-binds.h"
#include "guest-fuse/mount/known/held.h"
#include "guest-fuse/mount/known/listings.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/known/validity.h"
#include "protocol/clock.h"

#define ROOT    PROTO_ID(1, 0)
#define PARENT  PROTO_ID(1, 1)
#define MIB     ((size_t) 1 << 20)
#define ENTRIES 40

static struct listings *listings;
static struct objects *objects;
static struct file_binds *file_binds;
static struct held *held;
static struct validity validity;
static struct listings_found found;
static int64_t since;

static int set_up(void **state)
{
	listings = listings_new(MIB);
	file_binds = file_binds_new();
	held = held_new();
	validity_init(&validity, true, true, file_binds, held);
	validity.expires = true;
	since = clock_ns();
	return objects_new(ROOT, &objects);
}

static int tear_down(void **state)
{
	listings_free(listings);
	objects_free(objects);
	file_binds_free(file_binds);
	held_free(held);
	return 0;
}

static uint64_t node_of(uint64_t directory, unsigned number)
{
	return PROTO_ID(1, PROTO_ID_SLOT(directory) * 10000 + number);
}

/* A piece of so many files, named by their numbers. */
static void piece_init(uint64_t directory, unsigned count, bool leased, struct directory_piece *ret_piece)
{
	static uint8_t bytes[MIB];
	struct answer answer = { .since = since, .events = held_now(held), .leased = leased };
	struct proto_writer writer;

	proto_writer_init(&writer, bytes, sizeof(bytes));
	for (unsigned i = 0; i < count; i++) {
		struct proto_dirent dirent = { .cookie = i + 1, .node = node_of(directory, i) };

		dirent.attr = (struct proto_attr){ .mode = S_IFREG | 0644, .size = i, .flags = PROTO_ATTR_LEASED };
		dirent.name.length = (size_t) snprintf(dirent.name.text, sizeof(dirent.name.text), "%u", i);
		proto_put_dirent(&writer, &dirent);
	}
	assert_int_equal(
	        directory_piece_init(bytes, (size_t) (writer.next - writer.start), 0, &answer, true, ret_piece), 0);
}

static uint32_t whole = PROTO_WHOLE_QUIET;

static bool put_piece(uint64_t directory, unsigned count, bool leased, uint64_t ticket)
{
	struct directory_piece piece;
	bool kept;

	piece_init(directory, count, leased, &piece);
	kept = listings_put(listings, &validity, directory, ticket, &piece, whole);
	if (!kept)
		directory_piece_done(&piece);
	return kept;
}

static void put(uint64_t directory, unsigned count)
{
	uint64_t ticket;

	assert_true(listings_begin(listings, directory, &ticket));
	assert_true(put_piece(directory, count, true, ticket));
}

static enum listings_answer find(uint64_t directory, const char *name)
{
	return listings_find(listings, &validity, objects, directory, name, &found);
}

/* How many references come back of all that is not needed. */
static size_t taken(void)
{
	struct directory_piece piece;
	size_t count = 0;

	while (listings_take(listings, &piece)) {
		for (size_t i = 0; i < piece.count; i++)
			count += piece.items[i].held ? 1 : 0;
		directory_piece_done(&piece);
	}
	return count;
}

/* Whether the directory is worth fetching when so many different names were asked for. */
static uint32_t ask(uint64_t directory, unsigned names)
{
	static unsigned number;
	uint32_t most = 0;
	char name[16];

	for (unsigned i = 0; i < names; i++) {
		(void) snprintf(name, sizeof(name), "n%u", number++);
		most = listings_ask(listings, directory, name);
		listings_asked(listings, directory, since, true, true);
	}
	return most;
}

static void each_name_is_told_with_its_reference_once(void **state)
{
	put(PARENT, ENTRIES);
	assert_int_equal(listings_names(listings), ENTRIES);
	assert_int_equal(find(PARENT, "7"), LISTINGS_FOUND);
	assert_true(found.held && found.entry.node == node_of(PARENT, 7) && found.entry.attr.size == 7);
	assert_int_equal(find(PARENT, "7"), LISTINGS_FOUND);
	assert_false(found.held);
	assert_int_equal(find(PARENT, "40"), LISTINGS_MISSING);
	assert_int_equal(find(PARENT, ""), LISTINGS_MISSING);
	assert_int_equal(find(ROOT, "7"), LISTINGS_UNKNOWN);
	listings_drop(listings, PARENT);
	assert_int_equal(taken(), ENTRIES - 1);
	assert_int_equal(find(PARENT, "7"), LISTINGS_UNKNOWN);
	assert_int_equal(listings_names(listings), 0);
	assert_int_equal(listings_bytes(listings), 0);
}

static void of_a_part_no_name_is_missing(void **state)
{
	struct directory_piece piece;
	uint64_t ticket;

	piece_init(PARENT, ENTRIES, true, &piece);
	assert_true(listings_begin(listings, PARENT, &ticket));
	assert_true(listings_put(listings, &validity, PARENT, ticket, &piece, false));
	assert_int_equal(find(PARENT, "40"), LISTINGS_UNKNOWN);
	assert_int_equal(find(PARENT, "39"), LISTINGS_FOUND);
}

static void a_missing_name_is_known_for_a_moment(void **state)
{
	since = clock_ns() - 2 * LISTINGS_MISSING_NS;
	put(PARENT, ENTRIES);
	assert_int_equal(find(PARENT, "40"), LISTINGS_UNKNOWN);
	assert_true(found.unsure);
	assert_int_equal(find(PARENT, "39"), LISTINGS_FOUND);
	assert_false(found.unsure);
	listings_asked(listings, PARENT, clock_ns(), true, true);
	assert_int_equal(find(PARENT, "40"), LISTINGS_UNKNOWN);
	listings_asked(listings, PARENT, clock_ns(), true, false);
	assert_int_equal(find(PARENT, "40"), LISTINGS_MISSING);
	assert_false(found.unsure);
}

static void a_change_by_others_ends_it(void **state)
{
	put(PARENT, ENTRIES);
	held_changed(held, PARENT);
	assert_int_equal(find(PARENT, "7"), LISTINGS_UNKNOWN);
	assert_int_equal(taken(), ENTRIES);
	put(PARENT, ENTRIES);
	held_changed_all(held);
	assert_int_equal(find(PARENT, "40"), LISTINGS_UNKNOWN);
	assert_int_equal(taken(), ENTRIES);
	put(PARENT, ENTRIES);
	put(ROOT, ENTRIES);
	listings_drop(listings, 0);
	assert_int_equal(taken(), 2 * ENTRIES);
}

static void attributes_that_do_not_hold_are_asked_for(void **state)
{
	put(PARENT, ENTRIES);
	objects_changed(objects, node_of(PARENT, 3));
	held_changed(held, node_of(PARENT, 4));
	assert_int_equal(find(PARENT, "3"), LISTINGS_UNKNOWN);
	assert_int_equal(find(PARENT, "4"), LISTINGS_UNKNOWN);
	assert_int_equal(find(PARENT, "5"), LISTINGS_FOUND);
	listings_drop(listings, PARENT);
	assert_int_equal(taken(), ENTRIES - 1);
}

static void what_crossed_a_change_is_not_kept(void **state)
{
	struct directory_piece piece;
	uint64_t ticket;

	piece_init(PARENT, ENTRIES, true, &piece);
	assert_true(listings_begin(listings, PARENT, &ticket));
	held_changed(held, PARENT);
	assert_false(listings_put(listings, &validity, PARENT, ticket, &piece, whole));
	directory_piece_done(&piece);
	/* without a lease */
	assert_true(listings_begin(listings, PARENT, &ticket));
	assert_false(put_piece(PARENT, ENTRIES, false, ticket));
	/* from here: begun before, and begun and ended meanwhile */
	listings_changing(listings, PARENT, "1");
	assert_false(listings_begin(listings, PARENT, &ticket));
	listings_changed(listings, PARENT, "1", true);
	assert_true(listings_begin(listings, PARENT, &ticket));
	listings_changing(listings, PARENT, "1");
	listings_changed(listings, PARENT, "1", true);
	assert_false(put_piece(PARENT, ENTRIES, true, ticket));
	assert_int_equal(listings_names(listings), 0);
	assert_int_equal(taken(), 0);
	/* One at a time. */
	assert_true(listings_begin(listings, PARENT, &ticket));
	assert_false(listings_begin(listings, PARENT, &ticket));
	listings_in_vain(listings, PARENT);
	assert_true(listings_begin(listings, PARENT, &ticket));
	listings_too_many(listings, PARENT, 1000);
	assert_true(listings_begin(listings, PARENT, &ticket));
}

static void change(const char *name, bool gone)
{
	listings_changing(listings, PARENT, name);
	listings_changed(listings, PARENT, name, gone);
}

static void names_that_are_changed_from_here_are_the_servers_to_say(void **state)
{
	put(PARENT, ENTRIES);
	/* With a change the reference goes, too: it may be the object's end. */
	assert_int_equal(listings_changing(listings, PARENT, "1"), node_of(PARENT, 1));
	assert_int_equal(listings_changing(listings, PARENT, "1"), 0);
	listings_changed(listings, PARENT, "1", false);
	assert_int_equal(listings_changing(listings, PARENT, "made"), 0);
	listings_changing(listings, ROOT, "2");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(find(PARENT, "1"), LISTINGS_UNKNOWN);
		assert_int_equal(find(PARENT, "made"), LISTINGS_UNKNOWN);
		assert_int_equal(find(PARENT, "2"), LISTINGS_FOUND);
		assert_int_equal(find(PARENT, "missing"), LISTINGS_MISSING);
		listings_changed(listings, PARENT, i == 0 ? "1" : "made", false);
	}
	assert_int_equal(find(PARENT, "1"), LISTINGS_UNKNOWN);
	assert_int_equal(find(PARENT, "made"), LISTINGS_UNKNOWN);
	assert_int_equal(taken(), 0);
}

/* Missing, unless others have made it just now. */
static bool is_unsure(const char *name)
{
	return find(PARENT, name) == LISTINGS_UNKNOWN && found.unsure;
}

static void names_that_were_removed_from_here_are_most_likely_missing(void **state)
{
	put(PARENT, ENTRIES);
	listings_changing(listings, PARENT, "1");
	assert_int_equal(find(PARENT, "1"), LISTINGS_UNKNOWN);
	assert_false(found.unsure);
	listings_changed(listings, PARENT, "1", true);
	assert_true(is_unsure("1"));
	change("1", false);
	assert_int_equal(find(PARENT, "1"), LISTINGS_UNKNOWN);
	assert_false(found.unsure);
	/* also one that was made from here before: others may have made it again */
	change("made", false);
	assert_int_equal(find(PARENT, "made"), LISTINGS_UNKNOWN);
	assert_false(found.unsure);
	change("made", true);
	assert_true(is_unsure("made"));
	assert_int_equal(find(PARENT, "never"), LISTINGS_MISSING);
	assert_int_equal(find(PARENT, "2"), LISTINGS_FOUND);
	/* the directory was changed by others */
	held_changed(held, PARENT);
	assert_int_equal(find(PARENT, "1"), LISTINGS_UNKNOWN);
	assert_false(found.unsure);
}

static void where_names_are_being_changed_a_missing_one_is_unsure(void **state)
{
	struct directory_piece piece;

	whole = PROTO_WHOLE_CHANGED;
	put(PARENT, ENTRIES);
	whole = PROTO_WHOLE_QUIET;
	assert_int_equal(find(PARENT, "1"), LISTINGS_FOUND);
	assert_true(is_unsure("missing"));
	assert_false(listings_piece(listings, &validity, PARENT, &piece));
	whole = PROTO_WHOLE_NO;
	put(ROOT, ENTRIES);
	whole = PROTO_WHOLE_QUIET;
	assert_int_equal(find(ROOT, "missing"), LISTINGS_UNKNOWN);
	assert_false(found.unsure);
}

static void of_changes_that_cross_it_is_not_known_which_was_the_last(void **state)
{
	put(PARENT, ENTRIES);
	for (int i = 0; i < 2; i++) {
		listings_changing(listings, PARENT, "1");
		listings_changing(listings, PARENT, "1");
		listings_changed(listings, PARENT, "1", i == 0);
		assert_int_equal(find(PARENT, "1"), LISTINGS_UNKNOWN);
		listings_changed(listings, PARENT, "1", true);
		assert_int_equal(find(PARENT, "1"), LISTINGS_UNKNOWN);
	}
	change("1", true);
	assert_true(is_unsure("1"));
}

static void very_many_changed_names_are_not_worth_keeping(void **state)
{
	size_t bytes;
	char name[16];

	put(PARENT, ENTRIES);
	bytes = listings_bytes(listings);
	change("1", false);
	assert_true(listings_bytes(listings) > bytes);
	for (int i = 0; i < LISTINGS_ENTRIES; i++) {
		(void) snprintf(name, sizeof(name), "m%d", i);
		change(name, false);
	}
	assert_int_equal(find(PARENT, "2"), LISTINGS_UNKNOWN);
	assert_int_equal(taken(), ENTRIES - 1);
	assert_int_equal(listings_bytes(listings), 0);
}

static void it_is_worth_as_much_as_was_spent(void **state)
{
	assert_int_equal(listings_ask(listings, PARENT, "a"), 0);
	/* without a lease it would not be kept */
	listings_asked(listings, PARENT, since, false, true);
	assert_int_equal(listings_ask(listings, PARENT, "b"), 0);
	listings_asked(listings, PARENT, since, true, true);
	/* the same name again */
	assert_int_equal(listings_ask(listings, ROOT, "a"), 0);
	listings_asked(listings, ROOT, since, true, true);
	for (int i = 0; i < 10; i++)
		assert_int_equal(listings_ask(listings, ROOT, "a"), 0);
	assert_int_equal(listings_ask(listings, ROOT, "b"), 2 * LISTINGS_NAME);
	/* one that is too large is not counted again at once */
	listings_too_many(listings, ROOT, 1000);
	assert_int_equal(ask(ROOT, 1), 0);
	assert_int_equal(ask(ROOT, 1000 / LISTINGS_NAME), (1000 / LISTINGS_NAME + 3) * LISTINGS_NAME);
	listings_too_many(listings, ROOT, LISTINGS_ENTRIES + 1);
	assert_int_equal(ask(ROOT, 10000), 0);
}

static void what_was_not_worth_it_takes_longer_the_next_time(void **state)
{
	unsigned names;

	for (unsigned times = 0; times < 5; times++) {
		for (names = 1; ask(PARENT, 1) == 0; names++)
			assert_true(names < 1000);
		assert_int_equal(names, 2U << times);
		put(PARENT, ENTRIES);
		assert_int_equal(find(PARENT, "1"), LISTINGS_FOUND);
		held_changed(held, PARENT);
		assert_int_equal(find(PARENT, "1"), LISTINGS_UNKNOWN);
		(void) taken();
	}
	put(PARENT, ENTRIES);
	assert_int_equal(find(PARENT, "1"), LISTINGS_FOUND);
	assert_int_equal(find(PARENT, "2"), LISTINGS_FOUND);
	listings_drop(listings, PARENT);
	assert_int_equal(ask(PARENT, 1), 0);
	assert_int_not_equal(ask(PARENT, 1), 0);
}

static void what_is_known_of_all_names_can_be_listed(void **state)
{
	struct directory_piece piece;
	struct proto_dirent dirent;
	size_t references = 0;
	uint64_t ticket;

	assert_false(listings_piece(listings, &validity, PARENT, &piece));
	put(PARENT, ENTRIES);
	assert_int_equal(find(PARENT, "7"), LISTINGS_FOUND);
	assert_true(listings_piece(listings, &validity, PARENT, &piece));
	assert_int_equal(piece.count, ENTRIES);
	assert_true(piece.end && piece.after == 0);
	directory_piece_entry(&piece, 7, &dirent);
	assert_string_equal(dirent.name.text, "7");
	for (size_t i = 0; i < piece.count; i++)
		references += piece.items[i].held ? 1 : 0;
	assert_int_equal(references, ENTRIES - 1);
	directory_piece_done(&piece);
	/* It has the references now. */
	assert_int_equal(find(PARENT, "8"), LISTINGS_FOUND);
	assert_false(found.held);
	assert_true(listings_piece(listings, &validity, PARENT, &piece));
	directory_piece_done(&piece);
	listings_changing(listings, PARENT, "made");
	assert_false(listings_piece(listings, &validity, PARENT, &piece));
	listings_changed(listings, PARENT, "made", false);
	assert_false(listings_piece(listings, &validity, PARENT, &piece));
	put(PARENT, ENTRIES);
	held_changed(held, PARENT);
	assert_false(listings_piece(listings, &validity, PARENT, &piece));
	assert_int_equal(taken(), ENTRIES);
	/* a part */
	piece_init(PARENT, ENTRIES, true, &piece);
	assert_true(listings_begin(listings, PARENT, &ticket));
	assert_true(listings_put(listings, &validity, PARENT, ticket, &piece, false));
	assert_false(listings_piece(listings, &validity, PARENT, &piece));
}

static void the_least_recently_used_goes_first(void **state)
{
	uint64_t ticket;
	size_t bytes, most;

	put(PROTO_ID(1, 1), ENTRIES);
	bytes = listings_bytes(listings);
	assert_true(bytes > ENTRIES * 100 && bytes < ENTRIES * 250);
	most = MIB / bytes;
	for (unsigned i = 2; i <= most; i++)
		put(PROTO_ID(1, i), ENTRIES);
	assert_int_equal(taken(), 0);
	assert_int_equal(find(PROTO_ID(1, 1), "0"), LISTINGS_FOUND);
	put(PROTO_ID(1, most + 1), ENTRIES);
	assert_int_equal(taken(), ENTRIES);
	assert_int_equal(find(PROTO_ID(1, 1), "0"), LISTINGS_FOUND);
	assert_int_equal(find(PROTO_ID(1, 2), "0"), LISTINGS_UNKNOWN);
	assert_true(listings_bytes(listings) <= MIB);
	/* A number of names can be the limit. */
	listings_limit(listings, 2 * ENTRIES);
	put(PROTO_ID(1, 3), ENTRIES);
	assert_int_equal(listings_names(listings), 2 * ENTRIES);
	(void) taken();
	/* What alone is too much is not kept, and nothing goes for it. */
	assert_true(listings_begin(listings, PROTO_ID(1, 4), &ticket));
	assert_false(put_piece(PROTO_ID(1, 4), 3 * ENTRIES, true, ticket));
	assert_int_equal(listings_names(listings), 2 * ENTRIES);
}

static void without_memory_nothing_is_fetched(void **state)
{
	listings_free(listings);
	listings = listings_new(0);
	assert_int_equal(ask(PARENT, 100), 0);
	change("a", true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_name_is_told_with_its_reference_once),
		TEST(of_a_part_no_name_is_missing),
		TEST(a_missing_name_is_known_for_a_moment),
		TEST(a_change_by_others_ends_it),
		TEST(attributes_that_do_not_hold_are_asked_for),
		TEST(what_crossed_a_change_is_not_kept),
		TEST(names_that_are_changed_from_here_are_the_servers_to_say),
		TEST(names_that_were_removed_from_here_are_most_likely_missing),
		TEST(where_names_are_being_changed_a_missing_one_is_unsure),
		TEST(of_changes_that_cross_it_is_not_known_which_was_the_last),
		TEST(very_many_changed_names_are_not_worth_keeping),
		TEST(it_is_worth_as_much_as_was_spent),
		TEST(what_was_not_worth_it_takes_longer_the_next_time),
		TEST(what_is_known_of_all_names_can_be_listed),
		TEST(the_least_recently_used_goes_first),
		TEST(without_memory_nothing_is_fetched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
