/* SPDX-License-Identifier: Apache-2.0 */
/* Replicas beside each other, then the ranks of a replica. Peers are compared by their median: one
 * that is slow does not make the others look fast. */
#include "run/output/slow_ranks.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Differences that count as a reason. */
static const double DEARER = 1.15, MORE_TIME = 0.1, WAITS_LESS = 0.2;

struct peers {
    const struct rank_metrics *ranks;
    size_t count;
    bool of_answers;
    double *values; /* [count], scratch of medians */
};

typedef double (*measure)(const struct peers *peers, const struct rank_metrics *rank);

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool leads(const struct rank_metrics *rank)
{
    return rank->tp == 0 && rank->pp == 0;
}

/* Whether `other` is one that `rank` is measured by: another replica's leader, or with `inside`
 * another rank of the replica. */
static bool is_peer(const struct rank_metrics *rank, const struct rank_metrics *other, bool inside)
{
    return other != rank && (inside ? other->dp == rank->dp : leads(other));
}

static double median(const struct peers *peers, const struct rank_metrics *rank, bool inside,
                     measure of)
{
    size_t count = 0;
    for (size_t i = 0; i < peers->count; i++) {
        if (is_peer(rank, &peers->ranks[i], inside)) {
            peers->values[count++] = of(peers, &peers->ranks[i]);
        }
    }
    qsort(peers->values, count, sizeof *peers->values, compare_doubles);
    return count == 0       ? NAN
           : count % 2 == 1 ? peers->values[count / 2]
                            : (peers->values[count / 2 - 1] + peers->values[count / 2]) / 2;
}

/* ---- Measures ---- */

static int64_t tokens_of(const struct peers *peers, const struct rank_metrics *rank)
{
    return peers->of_answers ? rank->output_tokens : rank->prompt_tokens;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static double rate(const struct peers *peers, const struct rank_metrics *rank)
{
    return ratio((double)tokens_of(peers, rank), rank->seconds_total);
}

/* Of the time in which it had rows. */
static double busy_rate(const struct peers *peers, const struct rank_metrics *rank)
{
    return ratio((double)tokens_of(peers, rank), rank->seconds_total - rank->seconds_idle);
}

/* Seconds of computing a token, prompts and answers alike. */
static double cost(const struct peers *peers, const struct rank_metrics *rank)
{
    (void)peers;
    return ratio(rank->seconds_prefill + rank->seconds_decode,
                 (double)(rank->prompt_tokens + rank->output_tokens));
}

static double share_waiting(const struct peers *peers, const struct rank_metrics *rank)
{
    (void)peers;
    return ratio(rank->seconds_communication, rank->seconds_total);
}

static double share_idle(const struct peers *peers, const struct rank_metrics *rank)
{
    (void)peers;
    return ratio(rank->seconds_idle, rank->seconds_total);
}

static double preemptions(const struct peers *peers, const struct rank_metrics *rank)
{
    (void)peers;
    return (double)rank->preemptions;
}

/* ---- Reasons ---- */

__attribute__((format(printf, 2, 3))) static void add_reason(struct rank_verdict *verdict,
                                                             const char *format, ...)
{
    const size_t used = strlen(verdict->reason);
    size_t start = used;
    if (used > 0) {
        start += (size_t)snprintf(verdict->reason + used, sizeof verdict->reason - used, "; ");
    }
    if (start < sizeof verdict->reason) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(verdict->reason + start, sizeof verdict->reason - start, format, arguments);
        va_end(arguments);
    }
}

/* How many other leaders have the same text, a host or a device. */
static size_t count_same(const struct peers *peers, const struct rank_metrics *rank, size_t member)
{
    size_t same = 0;
    for (size_t i = 0; i < peers->count; i++) {
        const struct rank_metrics *other = &peers->ranks[i];
        same += is_peer(rank, other, false) &&
                strcmp((const char *)other + member, (const char *)rank + member) == 0;
    }
    return same;
}

static void say_place(const struct peers *peers, const struct rank_metrics *rank,
                      struct rank_verdict *verdict)
{
    if (count_same(peers, rank, offsetof(struct rank_metrics, device)) == 0) {
        add_reason(verdict, "no other replica runs on a device like its %.60s", rank->device);
    } else if (count_same(peers, rank, offsetof(struct rank_metrics, host)) == 0) {
        add_reason(verdict, "it is alone on %.60s", rank->host);
    }
}

static void explain_replica(const struct peers *peers, const struct rank_metrics *rank,
                            struct rank_verdict *verdict)
{
    const double dearer = ratio(cost(peers, rank), median(peers, rank, false, cost));
    const double waiting = share_waiting(peers, rank), idle = share_idle(peers, rank);
    if (dearer > DEARER) {
        add_reason(verdict, "computing a token takes it %.1f times as long", dearer);
    }
    if (waiting > median(peers, rank, false, share_waiting) + MORE_TIME) {
        add_reason(verdict, "it spends %.0f%% of its time waiting for other ranks of its replica",
                   100 * waiting);
    }
    if (idle > median(peers, rank, false, share_idle) + MORE_TIME) {
        add_reason(verdict, "it had no rows for %.0f%% of its time", 100 * idle);
    }
    if (preemptions(peers, rank) > 2 * median(peers, rank, false, preemptions)) {
        add_reason(verdict, "%lld sequences gave up their place in the KV cache",
                   (long long)rank->preemptions);
    }
    if (verdict->reason[0] == '\0') {
        add_reason(verdict, "its steps are as fast as the others', with fewer rows in them");
    }
    say_place(peers, rank, verdict);
}

/* Ranks of a replica wait for the slowest of them, which waits least itself. */
static void judge_inside(const struct peers *peers, const struct rank_metrics *rank,
                         struct rank_verdict *verdict)
{
    const double others = median(peers, rank, true, share_waiting);
    if (others - share_waiting(peers, rank) < WAITS_LESS || !isfinite(others)) {
        return;
    }
    verdict->is_slow = true;
    add_reason(verdict,
               "the other ranks of its replica wait for it: they spend %.0f%% of their time so, it "
               "%.0f%%",
               100 * others, 100 * share_waiting(peers, rank));
}

static void judge(const struct peers *peers, const struct rank_metrics *rank,
                  struct rank_verdict *verdict)
{
    *verdict = (struct rank_verdict){.leads = leads(rank), .peers = NAN};
    if (verdict->leads) {
        verdict->rate = rate(peers, rank);
        verdict->peers = median(peers, rank, false, rate);
        verdict->is_slow =
            verdict->rate < SLOW_SHARE * verdict->peers &&
            busy_rate(peers, rank) < SLOW_SHARE * median(peers, rank, false, busy_rate);
        if (verdict->is_slow) {
            explain_replica(peers, rank, verdict);
        }
    }
    judge_inside(peers, rank, verdict);
}

bool slow_ranks_of_answers(const struct rank_metrics *ranks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ranks[i].output_tokens > 0) {
            return true;
        }
    }
    return false;
}

status slow_ranks_find(const struct rank_metrics *ranks, size_t count,
                       struct rank_verdict *verdicts)
{
    struct peers peers = {
        .ranks = ranks, .count = count, .of_answers = slow_ranks_of_answers(ranks, count)};
    peers.values = calloc(count + 1, sizeof *peers.values);
    if (peers.values == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for %zu ranks", count);
    }
    for (size_t i = 0; i < count; i++) {
        judge(&peers, &ranks[i], &verdicts[i]);
    }
    free(peers.values);
    return STATUS_OK;
}
