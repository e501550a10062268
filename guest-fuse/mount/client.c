/* SPDX-License-Identifier: Apache-2.0 */
/* One mount: what all parts of the client share. */
#include "guest-fuse/mount/client.h"

#include <sys/eventfd.h>

void client_wake(struct client *client)
{
	(void) eventfd_write(client->wake, 1);
}

bool client_die(struct client *client, int error)
{
	int alive = 0;

	if (!atomic_compare_exchange_strong(&client->dead, &alive, error))
		return false;
	lanes_kill(&client->lanes);
	client_wake(client);
	return true;
}
