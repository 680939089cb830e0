/* SPDX-License-Identifier: Apache-2.0 */
/* In what two results of the same row differ, for `sluice compare`. */
#ifndef SLUICE_CLI_DIFFERENCE_H
#define SLUICE_CLI_DIFFERENCE_H

#include "sluice/data.h"

enum difference_kind {
    DIFFERS_ID,
    DIFFERS_PROMPT, /* its text where both have it, or its number of tokens */
    DIFFERS_ANSWER, /* token ids where both have them, or the text */
    DIFFERS_FINISH_REASON,
    DIFFERS_ERROR,   /* one has an error, or both have and say something else */
    DIFFERS_NUMBERS, /* bits of log-probabilities or of an embedding */
    DIFFERENCE_KINDS
};
const char *difference_kind_name(enum difference_kind kind); /* "finish_reason" */

struct difference {
    bool kinds[DIFFERENCE_KINDS];
    int64_t token;       /* first token id that differs; -1: none, or not known */
    size_t byte;         /* where the texts (or the errors, where both have one) part ways */
    int64_t character;   /* the same in characters; -1: the texts are the same */
    const char *numbers; /* of DIFFERS_NUMBERS: their name */
    int64_t number;      /* first of them that differs */
    double values[2];    /* that number */
};

/* Fills *out and says whether there is any difference. What only one of the two has stored is not
 * compared, nor what is no part of an answer: seconds, ranks, devices, the line that an error
 * names. Ids are compared where `by_id` is false. */
bool difference_find(const struct result *a, const struct result *b, bool by_id,
                     struct difference *out);

/* Appends lines of text for a terminal of 80 columns, or one JSON object. */
status difference_describe(const struct result *a, const struct result *b,
                           const struct difference *difference, struct buffer *out) MUST_CHECK;
status difference_describe_json(const struct result *a, const struct result *b,
                                const struct difference *difference, struct buffer *out) MUST_CHECK;

/* Appends "row 3, id \"q3\"", with ", sample 1" where that is not the first, without a newline. */
status difference_name_result(const struct result *result, struct buffer *out) MUST_CHECK;
/* Appends `"row":3,"sample":0,"id":"q3"`. */
status difference_name_result_json(const struct result *result, struct buffer *out) MUST_CHECK;

#endif
