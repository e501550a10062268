/* SPDX-License-Identifier: Apache-2.0 */
/* bindsharectl top: looks again and again, and shows what changed. */
#include "ctl/top.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "ctl/client.h"
#include "ctl/rates.h"
#include "ctl/tables.h"
#include "ctl/terminal.h"
#include "protocol/clock.h"

static void look_done(struct rates_look *look)
{
	json_decref(look->status);
	json_decref(look->stats);
	*look = (struct rates_look){ 0 };
}

static int take_look(const char *path, struct rates_look *ret_look)
{
	struct rates_look look = { 0 };
	int code;

	look.status = client_ask(path, client_request("status"), &code);
	if (look.status != NULL)
		look.stats = client_ask(path, client_request("stats"), &code);
	if (look.stats == NULL) {
		look_done(&look);
		return code;
	}
	look.at = (double) clock_ns() / 1e9;
	*ret_look = look;
	return EX_OK;
}

bool top_knows(const char *key)
{
	return rates_order_named(key) != NULL;
}

static void show(const json_t *rows, const struct top_options *options, const struct rates_order *order)
{
	int columns = 0, lines = 0;

	if (options->as_json) {
		(void) json_dumpf(rows, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
		(void) putchar('\n');
	} else if (isatty(STDOUT_FILENO)) {
		terminal_size(&columns, &lines);
		/* To the upper left, and all below is empty. */
		(void) fputs("\x1b[H\x1b[J", stdout);
		tables_top(rows, order->name, columns, lines);
	} else {
		tables_top(rows, NULL, 0, 0);
	}
	(void) fflush(stdout);
}

/* Until the next look is due; keys choose the order meanwhile, which is shown at once. False: the user has ended it. */
static bool wait_and_listen(const json_t *rows, const struct top_options *options, const struct rates_order **order)
{
	int64_t due = clock_ms() + options->interval_s * 1000;

	for (int64_t left; (left = due - clock_ms()) > 0;) {
		const struct rates_order *chosen;
		int key = terminal_key((int) left);
		json_t *again;

		if (key == -1 || key == 'q' || key == 'Q')
			return false;
		chosen = rates_order_of_key(key);
		if (chosen == NULL)
			continue;
		*order = chosen;
		again = rows == NULL ? NULL : rates_reorder(rows, chosen);
		if (again != NULL)
			show(again, options, chosen);
		json_decref(again);
	}
	return true;
}

/* The looks, until there were enough, the server is gone, or the user ends them. */
static int look_on(const char *path, const struct top_options *options)
{
	const struct rates_order *order = rates_order_named(options->sort);
	struct rates_look before, after;
	json_t *rows = NULL;
	int code = take_look(path, &before);

	if (code != EX_OK)
		return code;
	for (long i = 0; options->count == 0 || i < options->count; i++) {
		if (!wait_and_listen(rows, options, &order))
			break;
		code = take_look(path, &after);
		if (code != EX_OK)
			break;
		json_decref(rows);
		rows = rates_between(&before, &after, time(NULL), order);
		show(rows, options, order);
		look_done(&before);
		before = after;
	}
	json_decref(rows);
	look_done(&before);
	return code;
}

int top_run(const char *path, const struct top_options *options)
{
	bool keys = !options->as_json && terminal_begin();
	int code = look_on(path, options);

	terminal_end();
	if (keys && terminal_key(0) == -1)
		terminal_die();
	return code;
}
