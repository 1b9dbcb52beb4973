// SPDX-License-Identifier: MIT
// An intrusive doubly linked list: the link lies in the element, so that joining and leaving a list
// never allocates. A struct list is its own head; an unlinked link points to itself.
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};

// CONTAINER_OF returns the struct `type` whose member `member` is *link.
#define CONTAINER_OF(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_append(struct list *head, struct list *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

static inline void list_prepend(struct list *head, struct list *link)
{
    list_append(head->next, link);
}

// list_remove unlinks; harmless on an unlinked link.
static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

// list_first returns the first link, NULL when the list is empty.
static inline struct list *list_first(const struct list *head)
{
    return list_empty(head) ? NULL : head->next;
}

// list_shift unlinks and returns the first link, NULL when the list is empty.
static inline struct list *list_shift(struct list *head)
{
    struct list *first = list_first(head);
    if (first)
        list_remove(first);
    return first;
}

// list_splice moves all of `from` to the end of `to`.
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#endif
