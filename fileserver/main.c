/* SPDX-License-Identifier: Apache-2.0 */
/* bindshare-fileserver: the broker, or with --worker the half that serves one mounted share. */
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>

#include "fileserver/broker/broker.h"
#include "fileserver/worker/worker.h"
#include "protocol/faults.h"

int main(int argc, char **argv)
{
	static struct options options;
	int code;

	if (argc == 2 && strcmp(argv[1], "--worker") == 0) {
		/* It was started by way of /proc/self/exe, and that is what ps(1) and top(1) would show. */
		(void) prctl(PR_SET_NAME, "bindshare-wrk");
		log_init("bindshare-worker", LOG_LEVEL_INFO);
		return faults_start() ? worker_main() : EX_USAGE;
	}
	code = options_parse(argc, argv, &options);
	if (code >= 0)
		return code;
	return faults_start() ? broker_run(&options) : EX_USAGE;
}
