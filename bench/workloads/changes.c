/* SPDX-License-Identifier: Apache-2.0 */
/* How long a change on the host takes until the guest sees it. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/workloads/measure.h"
#include "bench/workloads/workloads.h"
#include "protocol/cleanup.h"

enum { PAUSE_US = 200, NAME = 32, TEXT = 16, UNSEEN_ENOUGH = 2 };

/* A peer that never sees a change is given up after so long: the sample counts as that. */
static const uint64_t give_up_ns = 5000000000;

static void host_write(int host, const char *name, const char text[TEXT])
{
	_cleanup_close_ int fd = openat(host, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, text, TEXT) != TEXT)
		err(EXIT_FAILURE, "writing %s on the host", name);
}

static bool guest_sees(int guest, const char *name, const char text[TEXT])
{
	_cleanup_close_ int fd = openat(guest, name, O_RDONLY | O_CLOEXEC);
	char back[TEXT];
	ssize_t n = fd < 0 ? -1 : read(fd, back, TEXT);

	if (n != TEXT)
		return false;
	for (int i = 0; i < TEXT; i++)
		if (back[i] != text[i])
			return false;
	return true;
}

static bool guest_has(int guest, const char *name, const char text[TEXT])
{
	struct stat st;

	(void) text;
	return fstatat(guest, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Waits until the guest sees it; returns false when it does not. */
static bool await(const struct place *place, const char *name, const char text[TEXT], struct samples *samples,
                  bool (*seen)(int guest, const char *name, const char text[TEXT]))
{
	uint64_t begin = measure_now();
	bool visible;

	do {
		visible = seen(place->directory, name, text);
		if (!visible)
			(void) usleep(PAUSE_US);
	} while (!visible && measure_now() - begin < give_up_ns);
	samples_add(samples, begin);
	return visible;
}

static void changed_content(const struct place *place, int host, int count)
{
	struct samples samples;
	char text[TEXT] = "";
	int unseen = 0;

	samples_init(&samples, (size_t) count);
	(void) snprintf(text, TEXT, "version %06d", 0);
	host_write(host, "changing", text);
	(void) await(place, "changing", text, &samples, guest_sees);
	samples.count = 0;
	for (int i = 1; i <= count && unseen < UNSEEN_ENOUGH; i++) {
		(void) snprintf(text, TEXT, "version %06d", i);
		host_write(host, "changing", text);
		unseen += !await(place, "changing", text, &samples, guest_sees);
	}
	report_latency("host's write seen", &samples);
	report_value("host's write, not seen in 5 s", "count", unseen);
	samples_done(&samples);
}

/* The guest has looked for the name before: that it was not there is what a cache may remember. */
static void new_names(const struct place *place, int host, int count)
{
	struct samples samples;
	char name[NAME], text[TEXT] = "new";
	int unseen = 0;

	samples_init(&samples, (size_t) count);
	for (int i = 0; i < count && unseen < UNSEEN_ENOUGH; i++) {
		(void) snprintf(name, NAME, "new%04d", i);
		if (guest_has(place->directory, name, text))
			errx(EXIT_FAILURE, "%s is there already", name);
		host_write(host, name, text);
		unseen += !await(place, name, text, &samples, guest_has);
	}
	report_latency("host's new name seen", &samples);
	report_value("host's new name, not seen in 5 s", "count", unseen);
	samples_done(&samples);
}

void changes_run(const struct place *place)
{
	_cleanup_close_ int host =
	        open(place->host != NULL ? place->host : place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (host < 0)
		err(EXIT_FAILURE, "%s", place->host);
	changed_content(place, host, place->quick ? 3 : 10);
	new_names(place, host, place->quick ? 2 : 5);
}
