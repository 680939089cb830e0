/* SPDX-License-Identifier: Apache-2.0 */
/* What replicas did over time, cut into equal pieces: from the samples of an output's timeline. */
#ifndef SLUICE_RUN_OUTPUT_SERIES_H
#define SLUICE_RUN_OUTPUT_SERIES_H

#include "sluice/data.h"

enum { SERIES_MOST_PIECES = 120, SERIES_MOST_GAPS = 200 };

/* A stretch of time in which a replica computed nothing, or was in one long step. */
struct series_gap {
    int32_t rank;
    double from, to; /* seconds since the job's start */
    bool had_rows;
};

/* Everything lives in the arena. Values by replica and piece: [replicas · pieces], NaN where a
 * replica had no sample yet, or none any more. */
struct series {
    size_t replicas, pieces;
    double end;                                   /* seconds since the job's start */
    const int32_t *ranks;                         /* [replicas] that lead them */
    double *rate, *running, *waiting, *kv_blocks; /* rate: tokens a second */
    struct series_gap *gaps;                      /* [SERIES_MOST_GAPS] */
    size_t gap_count, gaps_left_out;
};

/* `of_answers`: rates are of output tokens, else of prompt tokens. Samples come as output_timeline
 * gives them; none make a series of no replicas. */
status series_make(const struct timeline_point *points, size_t count, bool of_answers,
                   struct arena *arena, struct series *out) MUST_CHECK;
/* One value a piece of all replicas': [pieces], NaN where all are. */
enum series_join { SERIES_SUM, SERIES_LEAST, SERIES_MOST };
status series_join(const struct series *self, const double *values, enum series_join how,
                   struct arena *arena, double **out) MUST_CHECK;
/* The largest value there is, at least 0. */
double series_peak(const double *values, size_t count);

#endif
