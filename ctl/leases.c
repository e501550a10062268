/* SPDX-License-Identifier: Apache-2.0 */
/* The leases of a mount in words. */
#include "ctl/leases.h"

#include <stdio.h>
#include <string.h>

#include "protocol/cleanup.h"

/* That none were asked for is the mount's own decision. */
static const struct leases_reason reasons[] = {
	{ "no-watch", "no leases: this machine has neither fanotify nor inotify for the user", "note",
	  "Raise fs.fanotify.max_user_groups, or fs.inotify.max_user_instances, if other programs have taken them." },
	{ "no-marks", "no more leases: the user's programs watch as much as they may", "warning",
	  "Raise fs.fanotify.max_user_marks, or fs.inotify.max_user_watches where there is no fanotify." },
	{ "file-system", "no leases: others can write to the share's file system without this machine's knowing",
	  "note", "Nothing is wrong: it is right within a second, as without leases." },
	{ "behind", "no leases until the guest has acted on what it was told", "warning",
	  "See in the guest what keeps bindshare-mount from its work." },
};

const struct leases_reason *leases_reason(const json_t *leases)
{
	const char *state = json_string_value(json_object_get(leases, "state"));

	for (unsigned i = 0; i < ARRAY_SIZE(reasons) && state != NULL; i++)
		if (strcmp(state, reasons[i].state) == 0)
			return &reasons[i];
	return NULL;
}

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
	json_int_t most = integer(leases, "directories_max"), overflows = integer(leases, "overflows");
	const struct leases_reason *reason = leases_reason(leases);

	if (reason != NULL)
		printf("        %s\n", reason->words);
	if (most > 0 && integer(leases, "directories") >= most)
		printf("        all %lld leases that there may be are given: one that nobody asked for lately ends for "
		       "each new one\n",
		       (long long) most);
	if (overflows > 0)
		printf("        the host's queue of events overflowed %lld times: the guest forgot what it knew each "
		       "time\n",
		       (long long) overflows);
}
