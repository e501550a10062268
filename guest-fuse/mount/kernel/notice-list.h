/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel is still to be told, for the invalidator, whose lock guards it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "protocol/fields.h"

/*
 * What is told later, in ms. A directory's name is told again (invalidator.h). A file's attributes that say that it has
 * lost its last name are told after the name: link(2) fails with ENOENT when it has found the file by the name just
 * before, instead of asking the server, which would have it look again. A file waits while the kernel asks about it
 * (invalidator.h): LATER_PAGES if it has only pages of it.
 */
enum later { LATER_ATTRIBUTES, LATER_FILE, LATER_PAGES, LATER_NAME, LATER_NAME_AGAIN, LATERS };

extern const int notice_list_later_ms[LATERS];

/* What the kernel is to be told. */
struct notice {
	struct notice *next;
	uint64_t sequence; /* 0: this is no INVALIDATE */
	uint32_t what;
	uint64_t directory, node;
	uint64_t named;       /* the object that the kernel knows at the name; 0: none */
	bool named_directory; /* and it is a directory */
	int64_t at;           /* clock_ms(): not before */
	int64_t since;        /* clock_ms(): it waits since then; LATER_FILE and LATER_PAGES */
	enum later later;     /* the list that it goes to when it was told; LATERS: none */
	struct proto_name name;
};

/* A list, in order of their times, which is the order in which they are added. */
struct notice_list {
	struct notice *first, **last;
	unsigned count;
};

void notice_list_init(struct notice_list *list);
/* Frees those that are left. */
void notice_list_done(struct notice_list *list);
/* Takes the notice over: as the last one; at this place of the list. */
void notice_list_append(struct notice_list *list, struct notice *notice);
void notice_list_insert(struct notice_list *list, struct notice *notice, struct notice **at);
/* There is one; it is the caller's. */
struct notice *notice_list_take_first(struct notice_list *list);
