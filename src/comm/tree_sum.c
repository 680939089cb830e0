/* SPDX-License-Identifier: Apache-2.0 */
/* The tree over ranks in two ways, with the same additions of the same numbers.
 *
 * In round k ranks that differ in bit k have the two subtrees of one node. Addition is commutative,
 * so it does not matter which of them adds.
 *
 * Short messages: recursive doubling. Both exchange all that they have, and both add; a rank sends
 * log2 P times the message, in log2 P messages.
 * Long ones: recursive halving and then doubling (Rabenseifner, "Optimization of Collective
 * Reduction Operations", ICCS 2004), but with the nearest rank first, which keeps the tree. Each of
 * the two adds one half of what they share, so that a rank ends up with 1/P of the whole sum, and
 * the same rounds backwards gather it: 2 (P - 1) / P times the message, 1.5 at 4 ranks and 1.75 at
 * 8, in 2 log2 P messages. */
#include "comm/tree_sum.h"

#include "sluice/mpi_check.h"

enum { TAG = 1, MOST_ROUNDS = 31, LONG_BYTES = 16 << 10 };

/* Sends `own` to a partner and gets as many numbers of it, or another count. */
static status exchange(const struct tree_sum *sum, int partner, const float *own, size_t own_count,
                       float *other, size_t other_count)
{
    *sum->bytes += own_count * sizeof *own;
    return mpi_check(MPI_Sendrecv(own, (int)own_count, MPI_FLOAT, partner, TAG, other,
                                  (int)other_count, MPI_FLOAT, partner, TAG, sum->comm,
                                  MPI_STATUS_IGNORE),
                     "sum over tensor-parallel ranks");
}

static void add(float *own, const float *other, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        own[i] += other[i];
    }
}

static status sum_by_doubling(const struct tree_sum *sum, float *data, size_t count)
{
    for (int distance = 1; distance < sum->size; distance *= 2) {
        TRY(exchange(sum, sum->rank ^ distance, data, count, sum->scratch, count));
        add(data, sum->scratch, count);
    }
    return STATUS_OK;
}

/* A rank's part of what it shared with its partner of a round, and the partner's. */
struct halves {
    size_t own, own_count, other, other_count;
};

static struct halves cut(size_t from, size_t count, bool second)
{
    const size_t first = count / 2;
    const struct halves halves = {from, first, from + first, count - first};
    return second ? (struct halves){halves.other, halves.other_count, halves.own, halves.own_count}
                  : halves;
}

static status sum_by_halving(const struct tree_sum *sum, float *data, size_t count)
{
    struct halves rounds[MOST_ROUNDS];
    int round = 0;
    size_t from = 0, left = count;
    for (int distance = 1; distance < sum->size; distance *= 2, round++) {
        const struct halves at = cut(from, left, (sum->rank & distance) != 0);
        TRY(exchange(sum, sum->rank ^ distance, data + at.other, at.other_count, sum->scratch,
                     at.own_count));
        add(data + at.own, sum->scratch, at.own_count);
        rounds[round] = at;
        from = at.own;
        left = at.own_count;
    }
    while (round-- > 0) {
        const struct halves at = rounds[round];
        TRY(exchange(sum, sum->rank ^ (1 << round), data + at.own, at.own_count, data + at.other,
                     at.other_count));
    }
    return STATUS_OK;
}

status tree_sum(const struct tree_sum *sum, float *data, size_t count)
{
    /* Two ranks send as much either way. */
    return sum->size > 2 && count * sizeof *data >= LONG_BYTES ? sum_by_halving(sum, data, count)
                                                               : sum_by_doubling(sum, data, count);
}
