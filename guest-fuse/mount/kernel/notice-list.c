/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel is still to be told. */
#include "guest-fuse/mount/kernel/notice-list.h"

#include <stdlib.h>

const int notice_list_later_ms[LATERS] = { 4, 1, 1, 20, 500 };

void notice_list_insert(struct notice_list *list, struct notice *notice, struct notice **at)
{
	notice->next = *at;
	*at = notice;
	if (notice->next == NULL)
		list->last = &notice->next;
	list->count++;
}

void notice_list_append(struct notice_list *list, struct notice *notice)
{
	notice_list_insert(list, notice, list->last);
}

struct notice *notice_list_take_first(struct notice_list *list)
{
	struct notice *notice = list->first;

	list->first = notice->next;
	if (list->first == NULL)
		list->last = &list->first;
	list->count--;
	return notice;
}

void notice_list_init(struct notice_list *list)
{
	*list = (struct notice_list){ .last = &list->first };
}

void notice_list_done(struct notice_list *list)
{
	while (list->first != NULL)
		free(notice_list_take_first(list));
}
