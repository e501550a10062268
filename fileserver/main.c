/* SPDX-License-Identifier: Apache-2.0 */
/* bindshare-fileserver: the broker, or with --worker the half that serves one mounted share. */
#include <string.h>

#include "fileserver/broker/broker.h"
#include "fileserver/worker/worker.h"

int main(int argc, char **argv)
{
	static struct options options;
	int code;

	if (argc == 2 && strcmp(argv[1], "--worker") == 0) {
		log_init("bindshare-worker", LOG_LEVEL_INFO);
		return worker_main();
	}
	code = options_parse(argc, argv, &options);
	return code >= 0 ? code : broker_run(&options);
}
