/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's configuration, as somebody may write it: never a crash, and what is taken is whole. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest-fuse/binds/decide.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct guest_config config;
	struct binds_table table = { .known = true };
	struct binds_question question = { .resolved = "" };
	struct binds_decision decision;
	char error[1024] = "", socket[sizeof(((struct sockaddr_un *) 0)->sun_path)];
	char path[] = "/dev/shm/bindshare-fuzz-XXXXXX";
	int fd = mkstemp(path), r;

	assert(fd >= 0 && write(fd, data, size) == (ssize_t) size && close(fd) == 0);
	r = guest_config_read(path, &config, error, sizeof(error));
	(void) unlink(path);
	if (r < 0) {
		assert(error[0] != '\0');
		return 0;
	}
	assert(config.address_text != NULL && config.root[0] == '/' && config.root[1] != '\0');
	assert(config.wait_ms <= 600000 && config.mount_options != NULL && config.run_directory[0] == '/');
	(void) guest_config_socket(&config, socket, error, sizeof(error));
	for (size_t i = 0; config.guest_paths[i] != NULL; i++) {
		assert(config.guest_paths[i][0] == '/' && binds_is_own(&config, config.guest_paths[i]));
		question.source = config.guest_paths[i];
		binds_decide(&config, &table, &question, &decision);
		assert(decision.verdict == BINDS_OWN);
	}
	guest_config_done(&config);
	return 0;
}
