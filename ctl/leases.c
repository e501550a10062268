/* SPDX-License-Identifier: Apache-2.0 */
/* The leases of a mount in words. */
#include "ctl/leases.h"

#include <stdio.h>
#include <string.h>

#include "protocol/cleanup.h"

/* Why leases are not given. That none were asked for is the mount's own decision. */
static const struct {
	const char *state, *words;
} reasons[] = {
	{ "no-watch", "no leases: this machine has neither fanotify nor inotify for the user" },
	{ "no-marks", "no more leases: other programs of the user have taken what may be watched; raise "
	              "fs.fanotify.max_user_marks or fs.inotify.max_user_watches" },
	{ "file-system", "no leases: others can write to the share's file system without this machine's knowing" },
	{ "behind", "no leases until the guest has acted on what it was told" },
};

static json_int_t integer(const json_t *leases, const char *key)
{
	return json_integer_value(json_object_get(leases, key));
}

const char *leases_short(const json_t *leases, char text[LEASES_SHORT_SIZE])
{
	const char *state = json_string_value(json_object_get(leases, "state"));
	json_int_t count = integer(leases, "directories"), most = integer(leases, "directories_max");

	if (state == NULL)
		(void) snprintf(text, LEASES_SHORT_SIZE, "-");
	else if (count == 0 && strcmp(state, "given") != 0)
		(void) snprintf(text, LEASES_SHORT_SIZE, "%.11s", state);
	else
		(void) snprintf(text, LEASES_SHORT_SIZE, "%lld/%lld", (long long) count, (long long) most);
	return text;
}

void leases_print_notes(const json_t *leases)
{
	const char *state = json_string_value(json_object_get(leases, "state"));
	json_int_t most = integer(leases, "directories_max"), overflows = integer(leases, "overflows");

	for (unsigned i = 0; i < ARRAY_SIZE(reasons); i++)
		if (state != NULL && strcmp(state, reasons[i].state) == 0)
			printf("        %s\n", reasons[i].words);
	if (most > 0 && integer(leases, "directories") >= most)
		printf("        all %lld leases that there may be are given: one that nobody asked for lately ends for "
		       "each new one\n",
		       (long long) most);
	if (overflows > 0)
		printf("        the host's queue of events overflowed %lld times: the guest forgot what it knew each "
		       "time\n",
		       (long long) overflows);
}
