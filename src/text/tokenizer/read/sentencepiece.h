/* SPDX-License-Identifier: Apache-2.0 */
/* What a SentencePiece model file says. */
#ifndef SLUICE_TEXT_SENTENCEPIECE_H
#define SLUICE_TEXT_SENTENCEPIECE_H

#include "sluice/base.h"

enum sentencepiece_type {
    PIECE_NORMAL = 1,
    PIECE_UNKNOWN,
    PIECE_CONTROL,
    PIECE_USER_DEFINED,
    PIECE_UNUSED,
    PIECE_BYTE,
};

enum sentencepiece_algorithm {
    ALGORITHM_UNIGRAM = 1,
    ALGORITHM_BPE,
    ALGORITHM_WORD,
    ALGORITHM_CHAR
};

struct wire_bytes {
    const char *data; /* in the file's bytes */
    size_t length;
};

struct sentencepiece {
    struct wire_bytes text;
    float score;
    int64_t type;
};

struct sentencepiece_model {
    struct sentencepiece *pieces; /* owned; by id */
    size_t count, capacity;
    /* trainer_spec */
    int64_t algorithm, bos, eos, pad; /* ids; -1: none */
    int64_t byte_fallback, whitespace_suffix;
    /* normalizer_spec */
    struct wire_bytes map;
    int64_t dummy_prefix, remove_spaces, escape_spaces;
    struct wire_bytes denormalizer_map;
};
/* Reads sentencepiece_model.proto's ModelProto; texts stay in `bytes`. STATUS_INVALID where it is
 * none: pieces are checked (UTF-8, not empty, finite scores), ids are in range. */
status sentencepiece_read(const char *bytes, size_t length,
                          struct sentencepiece_model *model) MUST_CHECK;
void sentencepiece_destroy(struct sentencepiece_model *model);

#endif
