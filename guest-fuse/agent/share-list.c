/* SPDX-License-Identifier: Apache-2.0 */
/* The server's list of shared directories. */
#include "guest-fuse/agent/share-list.h"

#include <stdlib.h>

void share_list_done(struct share_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->shares[i].path);
		free(list->shares[i].canonical);
	}
	free(list->shares);
	*list = (struct share_list){ 0 };
}
