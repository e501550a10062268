/* SPDX-License-Identifier: Apache-2.0 */
/* One mount: what all parts of the client share. */
#include "guest-fuse/mount/client.h"

#include <sys/eventfd.h>

#include "protocol/cleanup.h"
#include "protocol/clock.h"

double client_keep(const struct client *client, int64_t since)
{
	double left = client->timeout - (double) (clock_ns() - since) / 1e9;

	return left > 0 ? left : 0;
}

void client_wake(struct client *client)
{
	(void) eventfd_write(client->wake, 1);
}

void client_stir(struct client *client)
{
	/* Seldom more than a load: the keeper stays awake for a while. */
	if (atomic_load(&client->dozing) && atomic_exchange(&client->dozing, false))
		client_wake(client);
}

bool client_die(struct client *client, int error)
{
	int alive = 0;

	if (!atomic_compare_exchange_strong(&client->dead, &alive, error))
		return false;
	lanes_kill(&client->lanes);
	client->alive = close_fd(client->alive);
	client_wake(client);
	return true;
}
