/* SPDX-License-Identifier: Apache-2.0 */
/* The server's first steps: its log and its process. */
#include "fileserver/broker/start.h"

#include <errno.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

int start_log(const struct options *options)
{
	int r;

	log_init("bindshare-fileserver", options->log_level);
	log_set_format(options->log_format);
	r = options->log_file != NULL ? log_to_file(options->log_file) : 0;
	if (r < 0)
		log_error("cannot open the log file %s: %s", options->log_file,
		          r == -ELOOP ? "it is a symbolic link; name the file itself" : strerror(-r));
	return r < 0 ? EX_CANTCREAT : EX_OK;
}

int start_process(const struct options *options)
{
	const struct rlimit none = { 0, 0 };

	if (geteuid() == 0 && !options->allow_root) {
		log_error("refuses to run as root, since guests would have root's rights in the shares; run it as the "
		          "user "
		          "whose files they are, or give --allow-root");
		return EX_NOPERM;
	}
	/* The token is in memory: it must not get into a core file. */
	if (sodium_init() < 0 || setrlimit(RLIMIT_CORE, &none) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
	    close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) < 0) {
		log_error("cannot set the process up: %s", strerror(errno));
		return EX_OSERR;
	}
	return EX_OK;
}
