/* SPDX-License-Identifier: Apache-2.0 */
/* The hosts of a job: which ranks each has, and the addresses that they listen at. */
#ifndef SLUICE_RUN_HOST_TABLE_H
#define SLUICE_RUN_HOST_TABLE_H

#include <netinet/in.h>

#include "sluice/base.h"

enum { HOST_ADDRESSES = 6 };

/* What a rank tells the others of itself. */
struct host_card {
    char name[64];  /* the batch system's name of the host, else the host's own */
    int32_t leader; /* the host's first rank */
    int32_t addresses;
    uint16_t port;                       /* 0: it does not listen */
    uint8_t address[HOST_ADDRESSES][16]; /* IPv6, or IPv4 mapped into it */
};

struct host {
    int *ranks; /* [count], ascending; points into the table's */
    int count;
};

struct host_table {
    struct host_card *cards; /* [ranks] */
    int *host_of;            /* [ranks] */
    int *ranks;              /* [ranks], those of a host together */
    struct host *hosts;      /* [count], by their first ranks */
    int count;
};

/* Fills a rank's card but for port and leader. */
void host_card_fill(struct host_card *card);
/* The table from every rank's card. The caller ends it with host_table_destroy, also after a
 * failure. Collective; all ranks fail or none. */
status host_table_create(const struct host_card *own, struct host_table *out) MUST_CHECK;
void host_table_destroy(struct host_table *table);

/* "hb", as its first rank has named it. */
const char *host_name(const struct host_table *table, int host);
/* "rank 3", "ranks 2-5, 8" of a host, into `text`, cut where it is too long. Returns the text. */
const char *host_describe_ranks(const struct host *host, char *text, size_t size);

#endif
