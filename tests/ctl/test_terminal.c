/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal that top draws on: keys, size, signals, and that it is as before in the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "ctl/terminal.h"
#include "protocol/cleanup.h"

enum { LONG_MS = 60000 };

static int master = -EBADF, saved_in = -EBADF, saved_out = -EBADF;
static struct sigaction saved[4];
static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGCONT };

/* Standard input and output are a terminal of 100 columns. */
static int set_up(void **state)
{
	struct winsize size = { .ws_col = 100, .ws_row = 30 };
	int slave;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
	saved_in = dup(STDIN_FILENO);
	(void) fflush(stdout);
	saved_out = dup(STDOUT_FILENO);
	assert_true(dup2(slave, STDIN_FILENO) >= 0 && dup2(slave, STDOUT_FILENO) >= 0);
	close_fd(slave);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		(void) sigaction(signals[i], NULL, &saved[i]);
	return 0;
}

static int tear_down(void **state)
{
	terminal_end();
	(void) dup2(saved_in, STDIN_FILENO);
	(void) dup2(saved_out, STDOUT_FILENO);
	saved_in = close_fd(saved_in);
	saved_out = close_fd(saved_out);
	master = close_fd(master);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		(void) sigaction(signals[i], &saved[i], NULL);
	return 0;
}

static tcflag_t modes(void)
{
	struct termios now;

	assert_int_equal(tcgetattr(STDIN_FILENO, &now), 0);
	return now.c_lflag & (tcflag_t) (ICANON | ECHO);
}

static void keys_come_one_by_one_and_are_not_shown(void **state)
{
	char shown;

	assert_true(terminal_begin());
	assert_int_equal(modes(), 0);
	assert_int_equal(write(master, "tq", 2), 2);
	assert_int_equal(terminal_key(LONG_MS), 't');
	assert_int_equal(terminal_key(LONG_MS), 'q');
	assert_int_equal(terminal_key(0), 0);
	assert_int_equal(fcntl(master, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(read(master, &shown, 1), -1);
}

static void it_is_as_before_in_the_end(void **state)
{
	tcflag_t before = modes();

	assert_true(before != 0);
	assert_true(terminal_begin());
	assert_true(modes() != before);
	terminal_end();
	assert_int_equal(modes(), before);
	terminal_end(); /* once more is nothing */
	assert_int_equal(modes(), before);
}

static void after_a_stop_it_is_taken_again(void **state)
{
	struct termios cooked;

	assert_true(terminal_begin());
	assert_int_equal(tcgetattr(STDIN_FILENO, &cooked), 0);
	cooked.c_lflag |= ICANON | ECHO;
	assert_int_equal(tcsetattr(STDIN_FILENO, TCSANOW, &cooked), 0); /* as the shell does */
	assert_int_equal(raise(SIGCONT), 0);
	assert_int_equal(modes(), 0);
}

static void its_size_is_told(void **state)
{
	int columns = 0, lines = 0;

	terminal_size(&columns, &lines);
	assert_int_equal(columns, 100);
	assert_int_equal(lines, 30);
}

static void a_signal_ends_it(void **state)
{
	assert_true(terminal_begin());
	assert_int_equal(raise(SIGTERM), 0);
	assert_int_equal(terminal_key(LONG_MS), -1);
	assert_int_equal(terminal_key(0), -1);
	assert_true(terminal_begin()); /* anew */
	assert_int_equal(terminal_key(0), 0);
}

static void what_is_no_terminal_is_left_alone(void **state)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int columns = 1, lines = 1;

	assert_true(dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDOUT_FILENO) >= 0);
	close_fd(null);
	assert_false(terminal_begin());
	terminal_size(&columns, &lines);
	assert_int_equal(columns, 0);
	assert_int_equal(lines, 0);
	assert_int_equal(terminal_key(1), 0);
}

static void a_terminal_that_is_gone_gives_no_keys_and_no_busy_loop(void **state)
{
	assert_true(terminal_begin());
	master = close_fd(master);
	/* SIGHUP goes to the session that has it for its own, which this is not. */
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(terminal_key(1), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(keys_come_one_by_one_and_are_not_shown),
		CASE(it_is_as_before_in_the_end),
		CASE(after_a_stop_it_is_taken_again),
		CASE(its_size_is_told),
		CASE(a_signal_ends_it),
		CASE(what_is_no_terminal_is_left_alone),
		CASE(a_terminal_that_is_gone_gives_no_keys_and_no_busy_loop),
	};

	return cmocka_run_group_tests_name("terminal", tests, NULL, NULL);
}
