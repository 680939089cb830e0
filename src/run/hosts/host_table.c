/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks grouped by host, and a host's addresses. */
#include "run/hosts/host_table.h"

#include <ifaddrs.h>
#include <mpi.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/ranks/world.h"
#include "sluice/mpi_check.h"
#include "sluice/run.h"

/* ---- Cards ---- */

/* Addresses that mean something on other hosts as well. */
static bool take_address(const struct sockaddr *from, uint8_t to[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (from->sa_family == AF_INET) {
        struct sockaddr_in address;
        memcpy(&address, from, sizeof address);
        memcpy(to, mapped, sizeof mapped);
        memcpy(to + sizeof mapped, &address.sin_addr, 4);
        return true;
    }
    if (from->sa_family == AF_INET6) {
        struct sockaddr_in6 address;
        memcpy(&address, from, sizeof address);
        memcpy(to, &address.sin6_addr, 16);
        return !IN6_IS_ADDR_LINKLOCAL(&address.sin6_addr);
    }
    return false;
}

static void add_addresses(struct host_card *card)
{
    struct ifaddrs *all;
    if (getifaddrs(&all) != 0) {
        return;
    }
    for (const struct ifaddrs *item = all; item != NULL; item = item->ifa_next) {
        const unsigned wanted = IFF_UP, unwanted = IFF_LOOPBACK;
        if (item->ifa_addr != NULL && (item->ifa_flags & wanted) != 0 &&
            (item->ifa_flags & unwanted) == 0 && card->addresses < HOST_ADDRESSES &&
            take_address(item->ifa_addr, card->address[card->addresses])) {
            card->addresses++;
        }
    }
    freeifaddrs(all);
}

void host_card_fill(struct host_card *card)
{
    const char *node = getenv("SLURMD_NODENAME"); /* what --exclude takes */
    snprintf(card->name, sizeof card->name, "%s",
             node != NULL && node[0] != '\0' ? node : world_get()->host);
    add_addresses(card);
}

/* ---- The table ---- */

static status allocate(struct host_table *table, int ranks)
{
    const size_t count = (size_t)ranks;
    table->cards = calloc(count, sizeof *table->cards);
    table->host_of = calloc(count, sizeof *table->host_of);
    table->ranks = calloc(count, sizeof *table->ranks);
    table->hosts = calloc(count, sizeof *table->hosts);
    return table->cards != NULL && table->host_of != NULL && table->ranks != NULL &&
                   table->hosts != NULL
               ? STATUS_OK
               : status_fail(STATUS_NO_MEMORY, "out of memory for a table of %d ranks", ranks);
}

/* A host's leader is its first rank, so that its number is known before the others need it. */
static void group(struct host_table *table, int ranks)
{
    for (int rank = 0; rank < ranks; rank++) {
        const int leader = table->cards[rank].leader;
        const int host = leader == rank ? table->count++ : table->host_of[leader];
        table->host_of[rank] = host;
        table->hosts[host].count++;
    }
    int *next = table->ranks;
    for (int host = 0; host < table->count; host++) {
        table->hosts[host].ranks = next;
        next += table->hosts[host].count;
        table->hosts[host].count = 0;
    }
    for (int rank = 0; rank < ranks; rank++) {
        struct host *host = &table->hosts[table->host_of[rank]];
        host->ranks[host->count++] = rank;
    }
}

status host_table_create(const struct host_card *own, struct host_table *out)
{
    *out = (struct host_table){0};
    const int ranks = world_get()->size;
    TRY(run_agree(allocate(out, ranks)));
    TRY(run_agree(mpi_check(MPI_Allgather(own, sizeof *own, MPI_BYTE, out->cards, sizeof *own,
                                          MPI_BYTE, MPI_COMM_WORLD),
                            "exchange addresses")));
    group(out, ranks);
    return STATUS_OK;
}

void host_table_destroy(struct host_table *table)
{
    free(table->cards);
    free(table->host_of);
    free(table->ranks);
    free(table->hosts);
    *table = (struct host_table){0};
}

/* ---- In words ---- */

const char *host_name(const struct host_table *table, int host)
{
    return table->cards[table->hosts[host].ranks[0]].name;
}

const char *host_describe_ranks(const struct host *host, char *text, size_t size)
{
    size_t length = (size_t)snprintf(text, size, host->count == 1 ? "rank" : "ranks");
    for (int i = 0; i < host->count && length < size;) {
        int last = i;
        while (last + 1 < host->count && host->ranks[last + 1] == host->ranks[last] + 1) {
            last++;
        }
        length += (size_t)snprintf(text + length, size - length, "%s %d", i > 0 ? "," : "",
                                   host->ranks[i]);
        if (last > i && length < size) {
            length += (size_t)snprintf(text + length, size - length, "-%d", host->ranks[last]);
        }
        i = last + 1;
    }
    return text;
}
