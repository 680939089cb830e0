/* SPDX-License-Identifier: Apache-2.0 */
/* Names and types of an output file. */
#include "data/output/layout.h"

const char *const output_number_paths[NUMBER_COUNT] = {
    [NUMBER_ROW] = "/results/row",
    [NUMBER_SAMPLE] = "/results/sample",
    [NUMBER_FINISH_REASON] = "/results/finish_reason",
    [NUMBER_PROMPT_TOKENS] = "/results/prompt_tokens",
    [NUMBER_COMPLETION_TOKENS] = "/results/completion_tokens",
    [NUMBER_SECONDS] = "/results/seconds",
    [NUMBER_RANK] = "/results/rank",
    [NUMBER_ENDPOINT] = "/results/endpoint",
    [NUMBER_STATUS_CODE] = "/results/status_code",
    [NUMBER_ID_IS_NUMBER] = "/results/id_is_number",
    [NUMBER_FILE] = "/results/file",
    [NUMBER_LOGPROB_SUM] = "/results/logprob_sum",
    [NUMBER_LOGPROB_MEAN] = "/results/logprob_mean",
};

const char *const output_text_paths[TEXT_COUNT] = {
    [TEXT_ID] = "/results/id",
    [TEXT_PROMPT] = "/results/prompt",
    [TEXT_TEXT] = "/results/text",
    [TEXT_ERROR] = "/results/error",
    [TEXT_PASSTHROUGH] = "/passthrough/json",
    [TEXT_ARITHMETIC] = "/results/arithmetic",
};

bool output_text_is_optional(enum output_text column)
{
    return column == TEXT_PROMPT || column == TEXT_ARITHMETIC;
}

bool output_number_is_optional(enum output_number column)
{
    return column >= NUMBER_ENDPOINT;
}

hid_t output_number_type(enum output_number column)
{
    switch (column) {
    case NUMBER_ROW:
        return H5T_NATIVE_INT64;
    case NUMBER_SECONDS:
    case NUMBER_LOGPROB_SUM:
    case NUMBER_LOGPROB_MEAN:
        return H5T_NATIVE_DOUBLE;
    case NUMBER_FINISH_REASON:
    case NUMBER_ENDPOINT:
    case NUMBER_ID_IS_NUMBER:
        return H5T_NATIVE_INT8;
    default:
        return H5T_NATIVE_INT32;
    }
}

static const char *finish_name(int8_t value)
{
    return finish_reason_name((enum finish_reason)value);
}

static const char *endpoint_value_name(int8_t value)
{
    return endpoint_name((enum endpoint)value);
}

/* As h5py writes and reads numpy's booleans. */
static const char *truth_name(int8_t value)
{
    return value != 0 ? "TRUE" : "FALSE";
}

hid_t output_enum_type(enum output_number column)
{
    static const struct {
        const char *(*name)(int8_t value);
        int8_t last;
    } enums[NUMBER_COUNT] = {
        [NUMBER_FINISH_REASON] = {finish_name, FINISH_ERROR},
        [NUMBER_ENDPOINT] = {endpoint_value_name, ENDPOINT_EMBEDDINGS},
        [NUMBER_ID_IS_NUMBER] = {truth_name, 1},
    };
    if (enums[column].name == NULL) {
        return 0;
    }
    hid_t type = H5Tenum_create(H5T_NATIVE_INT8);
    for (int8_t value = 0; type >= 0 && value <= enums[column].last; value++) {
        if (H5Tenum_insert(type, enums[column].name(value), &value) < 0) {
            H5Tclose(type);
            type = -1;
        }
    }
    return type;
}

struct member {
    const char *name;
    size_t offset;
    enum { MEMBER_TEXT, MEMBER_INT32, MEMBER_INT64, MEMBER_DOUBLE } kind;
};

static hid_t member_type(const struct member *member)
{
    switch (member->kind) {
    case MEMBER_INT32:
        return H5Tcopy(H5T_NATIVE_INT32);
    case MEMBER_INT64:
        return H5Tcopy(H5T_NATIVE_INT64);
    case MEMBER_DOUBLE:
        return H5Tcopy(H5T_NATIVE_DOUBLE);
    case MEMBER_TEXT:
        break;
    }
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0 && (H5Tset_size(type, sizeof((struct rank_metrics *)NULL)->host) < 0 ||
                      H5Tset_cset(type, H5T_CSET_UTF8) < 0)) {
        H5Tclose(type);
        return -1;
    }
    return type;
}

static hid_t compound_type(size_t size, const struct member *members, size_t count)
{
    hid_t type = H5Tcreate(H5T_COMPOUND, size);
    for (size_t i = 0; type >= 0 && i < count; i++) {
        hid_t part = member_type(&members[i]);
        if (part < 0 || H5Tinsert(type, members[i].name, members[i].offset, part) < 0) {
            H5Tclose(type);
            type = -1;
        }
        if (part >= 0) {
            H5Tclose(part);
        }
    }
    return type;
}

/* clang-format off */
#define RANK(name, kind) {#name, offsetof(struct rank_metrics, name), kind}
#define POINT(name, kind) {#name, offsetof(struct timeline_point, name), kind}
/* clang-format on */

hid_t output_rank_type(void)
{
    static const struct member members[] = {
        RANK(rank, MEMBER_INT32),
        RANK(host, MEMBER_TEXT),
        RANK(device, MEMBER_TEXT),
        RANK(dp, MEMBER_INT32),
        RANK(tp, MEMBER_INT32),
        RANK(pp, MEMBER_INT32),
        RANK(rows, MEMBER_INT64),
        RANK(prompt_tokens, MEMBER_INT64),
        RANK(output_tokens, MEMBER_INT64),
        RANK(steps, MEMBER_INT64),
        RANK(preemptions, MEMBER_INT64),
        RANK(seconds_total, MEMBER_DOUBLE),
        RANK(seconds_prefill, MEMBER_DOUBLE),
        RANK(seconds_decode, MEMBER_DOUBLE),
        RANK(seconds_communication, MEMBER_DOUBLE),
        RANK(seconds_idle, MEMBER_DOUBLE),
        RANK(peak_memory_bytes, MEMBER_INT64),
        RANK(kv_bytes, MEMBER_INT64),
        RANK(kv_peak_use, MEMBER_DOUBLE),
        RANK(energy_joules, MEMBER_DOUBLE),
    };
    return compound_type(sizeof(struct rank_metrics), members, COUNT_OF(members));
}

hid_t output_timeline_type(void)
{
    static const struct member members[] = {
        POINT(seconds, MEMBER_DOUBLE),      POINT(running, MEMBER_INT32),
        POINT(waiting, MEMBER_INT32),       POINT(kv_blocks_used, MEMBER_INT32),
        POINT(output_tokens, MEMBER_INT64),
    };
    return compound_type(sizeof(struct timeline_point), members, COUNT_OF(members));
}
