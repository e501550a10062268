/* SPDX-License-Identifier: Apache-2.0 */
/* A terminal without lines: termios, its size, signals. */
#include "ctl/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static struct termios before;
static bool is_raw, has_input;
static volatile sig_atomic_t ended_by;

static void on_end(int number)
{
	ended_by = number;
}

/* Also when the shell has stopped it and lets it go on. */
static void set_raw(int number)
{
	struct termios raw = before;

	raw.c_lflag &= ~(tcflag_t) (ICANON | ECHO);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	(void) tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

bool terminal_begin(void)
{
	struct sigaction end = { .sa_handler = on_end }, go_on = { .sa_handler = set_raw };

	ended_by = 0;
	has_input = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
	if (!has_input)
		return false;
	(void) sigaction(SIGINT, &end, NULL);
	(void) sigaction(SIGTERM, &end, NULL);
	(void) sigaction(SIGHUP, &end, NULL);
	(void) sigaction(SIGCONT, &go_on, NULL);
	set_raw(0);
	is_raw = true;
	return true;
}

void terminal_end(void)
{
	if (is_raw)
		(void) tcsetattr(STDIN_FILENO, TCSANOW, &before);
	is_raw = false;
}

void terminal_size(int *ret_columns, int *ret_lines)
{
	struct winsize size = { 0 };

	(void) ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	*ret_columns = size.ws_col;
	*ret_lines = size.ws_row;
}

int terminal_key(int timeout_ms)
{
	struct pollfd poller = { .fd = STDIN_FILENO, .events = POLLIN };
	unsigned char key;
	ssize_t n;

	if (ended_by != 0)
		return -1;
	/* A signal cuts the wait short, be it one that ends all or SIGWINCH. */
	if (poll(&poller, has_input ? 1 : 0, timeout_ms) <= 0 || (poller.revents & (POLLIN | POLLHUP)) == 0)
		return ended_by != 0 ? -1 : 0;
	n = read(STDIN_FILENO, &key, 1);
	if (n == 1)
		return key;
	if (n == 0 || errno != EINTR)
		has_input = false;
	return ended_by != 0 ? -1 : 0;
}

void terminal_die(void)
{
	(void) signal(ended_by, SIG_DFL);
	(void) raise(ended_by);
}
