/* SPDX-License-Identifier: Apache-2.0 */
/* How fast replicas are beside each other, from what their leaders say of themselves: which of them
 * is slow, and which has not been heard of. */
#ifndef SLUICE_RUN_PACE_H
#define SLUICE_RUN_PACE_H

#include "run/ranks/wire.h"
#include "sluice/base.h"

enum pace { PACE_EVEN, PACE_SLOW, PACE_SILENT };

/* A sample every PACE_SAMPLE_SECONDS: the window is about half a minute. */
enum { PACE_SAMPLES = 7, PACE_SAMPLE_SECONDS = 5 };
/* Slow: below this share of the median of the others. */
#define PACE_SLOW_SHARE 0.8
/* Silent: a step may take some seconds on a CPU. */
#define PACE_SILENT_SECONDS 20.0

struct replica_pace {
    struct replica_state state; /* the latest */
    double heard;               /* when it came, clock_seconds */
    bool known;                 /* anything came */
    bool done;                  /* nothing more will come */
    struct pace_sample {
        double busy_seconds;
        int64_t tokens;
    } samples[PACE_SAMPLES]; /* the oldest first */
    int sample_count;
    double rate;       /* tokens a second of work, over the window; 0: not known */
    double peers_rate; /* the median of the others' */
    enum pace pace;
    double slow_seconds; /* for how long it was slow or silent, altogether */
};

/* Zero-initialise; end with paces_destroy. Written by these functions alone. */
struct paces {
    struct replica_pace *replicas; /* [count] */
    double *rates;                 /* [count], room for sorting */
    int count, ranks;              /* ranks of each replica */
    double started, last_judged;
    /* Sampled tokens of all replicas, a second apart: what "now" is worked out from. */
    struct pace_tick {
        double time;
        int64_t output_tokens;
    } ticks[11];
    int tick_count;
};
status paces_begin(struct paces *paces, int replicas, int replica_ranks, double now) MUST_CHECK;
void paces_destroy(struct paces *paces);

/* What a leader has said. */
void paces_take(struct paces *paces, int replica, const struct replica_state *state, double now);
/* It has no more rows, and says nothing more. */
void paces_done(struct paces *paces, int replica);
/* To be called often: judges every few seconds; true where it did. `rows_left`: leaders can have
 * as many rows as they want; where they cannot, none is slow for having few. */
bool paces_judge(struct paces *paces, bool rows_left, double now);

/* All replicas together. */
struct pace_total {
    int64_t output_tokens, running, waiting;
    double kv_use;            /* share of blocks in use */
    double tokens_per_second; /* sampled, over the last ten seconds */
};
struct pace_total paces_total(const struct paces *paces);

/* Appends "rank 3 on node17: 56.1 tokens/s, 38% below its peers' 90.2", or of a replica of several
 * ranks "ranks 4 to 7 on node18: …", or "…: not heard of for 25 s". */
status pace_describe(const struct paces *paces, int replica, double now,
                     struct buffer *out) MUST_CHECK;
/* Appends those that are slow or silent now, with "; " between them: nothing where none is. */
status paces_describe_slow(const struct paces *paces, double now, struct buffer *out) MUST_CHECK;
/* The same of the whole job, for its end: those slower than the others over all of it, or for a
 * part of it that is worth a word. */
status paces_summarise(struct paces *paces, struct buffer *out) MUST_CHECK;

#endif
