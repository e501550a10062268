/* SPDX-License-Identifier: Apache-2.0 */
/* A temporary directory for a test. */
#include "tests/support/scratch.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[SCRATCH_PATH];

const char *scratch_make(void)
{
	strcpy(directory, "/tmp/bindshare-test-XXXXXX");
	assert_non_null(mkdtemp(directory));
	return directory;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	return remove(path);
}

void scratch_remove(void)
{
	assert_int_equal(nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT), 0);
}

int scratch_set_up(void **state)
{
	(void) scratch_make();
	return 0;
}

int scratch_tear_down(void **state)
{
	scratch_remove();
	return 0;
}

const char *scratch_path(const char *name)
{
	static char paths[8][SCRATCH_PATH];
	static unsigned next;
	char *path = paths[next++ % 8];

	assert_true(snprintf(path, SCRATCH_PATH, "%s/%s", directory, name) < SCRATCH_PATH);
	return path;
}

const char *scratch_file(const char *name, const char *text, mode_t mode)
{
	const char *path = scratch_path(name);
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, mode), 0);
	return path;
}

const char *scratch_directory(const char *name)
{
	const char *path = scratch_path(name);

	assert_int_equal(mkdir(path, 0755), 0);
	return path;
}

int scratch_listen(const char *name, int backlog, struct sockaddr_un *ret_name)
{
	const char *path = scratch_path(name);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(strlen(path) < sizeof(ret_name->sun_path));
	*ret_name = (struct sockaddr_un){ .sun_family = AF_UNIX };
	strcpy(ret_name->sun_path, path);
	assert_int_equal(bind(listener, (struct sockaddr *) ret_name, sizeof(*ret_name)), 0);
	assert_int_equal(listen(listener, backlog), 0);
	return listener;
}
