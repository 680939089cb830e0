/* SPDX-License-Identifier: Apache-2.0 */
/* An output file in which the input replaces datasets and values: read, exported and its ranks
 * listed, or refused; and nothing comes out of other files. The input's last byte says whether the
 * file's texts are variable or packed. */
#include "data/hdf5/support.h"
#include "data/output/layout.h"
#include "hdf5_build.h"
#include "run/output/series.h"
#include "run/output/slow_ranks.h"
#include "sluice/export.h"
#include "sluice/json.h"

static char path[600];
static struct buffer whole[2]; /* output files in order: of variable texts, of packed ones */

static const char *const paths[] = {
    "/results/row",
    "/results/sample",
    "/results/finish_reason",
    "/results/prompt_tokens",
    "/results/completion_tokens",
    "/results/seconds",
    "/results/rank",
    "/results/id",
    "/results/prompt",
    "/results/text",
    "/results/error",
    "/passthrough/json",
    "/results/token_offsets",
    "/results/token_ids",
    "/results/logprobs",
    "/results/top_logprob_ids",
    "/results/top_logprob_values",
    OUTPUT_RANKS_PATH,
    "/results/endpoint",
    "/results/status_code",
    "/results/id_is_number",
    OUTPUT_VOCABULARY_IDS_PATH,
    OUTPUT_VOCABULARY_PATH "/offsets",
    OUTPUT_VOCABULARY_PATH "/bytes",
    "/results/text/offsets",
    "/results/text/bytes",
    "/passthrough/json/offsets",
    "/passthrough/json/bytes",
    "/results/id/offsets",
    "/results/id/bytes",
    OUTPUT_TIMELINE_PATH "/rank_0",
    OUTPUT_TIMELINE_PATH "/rank_1",
};

static status token_bytes(const void *context, int32_t id, struct buffer *out)
{
    (void)context;
    return buffer_append(out, "\xF0\x9F\x98\x80", (size_t)id % 5);
}

static void make_whole(bool packed)
{
    static const int32_t ids[] = {1, 2, 3}, top_ids[] = {1, 4, 2, 5, 3, 6};
    static const float logprobs[] = {-1, -2, -3}, top_values[] = {-1, -2, -1, -2, -1, -2};
    const struct output_columns columns = {.prompt = true,
                                           .token_ids = true,
                                           .logprobs = true,
                                           .id_is_number = true,
                                           .packed_texts = packed,
                                           .top_logprobs = 2};
    const struct rank_metrics ranks[2] = {{.host = "a", .device = "cpu"}, {.rank = 1}};
    struct output_writer *writer;
    REQUIRE(output_create(path, true, &columns, &writer) == STATUS_OK);
    for (int i = 0; i < 4; i++) {
        const struct result result = {.row = i,
                                      .endpoint = (enum endpoint)i,
                                      .id = i % 2 == 0 ? "12" : "id",
                                      .id_length = 2,
                                      .id_is_number = i % 2 == 0,
                                      .text = "text",
                                      .text_length = 4,
                                      .error = "",
                                      .passthrough = "{\"a\":[1.50]}",
                                      .passthrough_length = 12,
                                      .completion_tokens = i,
                                      .token_ids = ids,
                                      .logprobs = logprobs,
                                      .top_logprobs = 2,
                                      .top_ids = top_ids,
                                      .top_values = top_values};
        REQUIRE(output_append(writer, &result) == STATUS_OK);
    }
    REQUIRE(output_write_vocabulary(writer, token_bytes, NULL) == STATUS_OK);
    const struct timeline_point points[] = {{.seconds = 1, .running = 2},
                                            {.seconds = 4, .output_tokens = 9},
                                            {.seconds = 2, .rank = 1}};
    REQUIRE(output_write_ranks(writer, ranks, 2) == STATUS_OK);
    REQUIRE(output_write_timeline(writer, points, COUNT_OF(points)) == STATUS_OK);
    REQUIRE(output_finish(writer) == STATUS_OK);
    REQUIRE(file_read(path, 1 << 24, &whole[packed]) == STATUS_OK);
}

static void replace_attribute(hid_t file, struct fuzz_input *input)
{
    hid_t type = choose_type(take_byte(input));
    hsize_t elements;
    hid_t space = choose_space(take_byte(input), take_byte(input), &elements);
    H5Adelete(file, "format_version");
    hid_t attribute = H5Acreate2(file, "format_version", type, space, H5P_DEFAULT, H5P_DEFAULT);
    if (attribute >= 0) {
        if (H5Sget_simple_extent_type(space) == H5S_SCALAR && H5Tget_size(type) <= 64 &&
            H5Tget_class(type) == H5T_INTEGER) {
            char value[64] = {0};
            struct fuzz_input data = take_bytes(input, H5Tget_size(type));
            memcpy(value, data.bytes, data.length);
            (void)H5Awrite(attribute, type, value);
        }
        H5Aclose(attribute);
    }
    H5Sclose(space);
    H5Tclose(type);
}

/* An element of a dataset, up to its first eight bytes, whatever its type; but for sequences, whose
 * elements are lengths and addresses in memory, and where these lie in another file, lengths that
 * HDF5 would allocate. */
static void overwrite(hid_t file, const char *name, struct fuzz_input *input)
{
    hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
    if (set < 0) {
        return;
    }
    hid_t type = H5Dget_type(set), space = H5Dget_space(set);
    hssize_t elements = H5Sget_simple_extent_npoints(space);
    size_t size = H5Tget_size(type);
    char values[4096];
    if (H5Tis_variable_str(type) == 0 && H5Tget_class(type) != H5T_VLEN && elements > 0 &&
        (size_t)elements * size <= sizeof values &&
        H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0) {
        size_t at = (size_t)take_byte(input) * size % ((size_t)elements * size);
        struct fuzz_input data = take_bytes(input, size < 8 ? size : 8);
        if (data.length > 0) {
            memcpy(values + at, data.bytes, data.length);
        }
        (void)H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    }
    H5Sclose(space);
    H5Tclose(type);
    H5Dclose(set);
}

static void edit(struct fuzz_input *input)
{
    hid_t access = hdf5_file_access();
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, access);
    REQUIRE(file >= 0);
    for (int edits = 0; input->length > 0 && edits < 12; edits++) {
        const char *name = paths[take_byte(input) % COUNT_OF(paths)];
        switch (take_byte(input) % 8) {
        case 0:
            H5Ldelete(file, name, H5P_DEFAULT);
            break;
        case 1:
        case 2:
            H5Ldelete(file, name, H5P_DEFAULT);
            build_dataset(file, name, input);
            break;
        case 3:
            replace_attribute(file, input);
            break;
        default:
            overwrite(file, name, input);
            break;
        }
    }
    H5Eclear2(H5E_DEFAULT);
    REQUIRE(H5Fclose(file) >= 0);
    H5Pclose(access);
}

static status check_line(void *context, const char *line, size_t length)
{
    struct arena arena = {0};
    struct json *parsed;
    (void)context;
    REQUIRE(length > 0 && line[length - 1] == '\n' && memchr(line, '\n', length - 1) == NULL);
    REQUIRE(json_parse(line, length, &arena, &parsed) == STATUS_OK);
    REQUIRE(!has_secret(line, length));
    arena_destroy(&arena);
    return STATUS_OK;
}

static status check_bytes(void *context, const char *bytes, size_t length)
{
    (void)context;
    REQUIRE(!has_secret(bytes, length));
    return STATUS_OK;
}

/* The tables of ranks and samples, and what a report makes of them. */
static void read_metrics(struct output_reader *reader)
{
    struct arena arena = {0};
    const struct rank_metrics *ranks;
    const struct timeline_point *points;
    size_t count, point_count;
    struct series series;
    status s = output_rank_metrics(reader, &arena, &ranks, &count);
    require_message(s);
    if (s == STATUS_OK && count < 1000) {
        struct rank_verdict *verdicts = arena_allocate_array(&arena, count + 1, sizeof *verdicts);
        REQUIRE(verdicts != NULL && slow_ranks_find(ranks, count, verdicts) == STATUS_OK);
        s = output_timeline(reader, ranks, count, &arena, &points, &point_count);
        require_message(s);
        if (s == STATUS_OK) {
            require_message(series_make(points, point_count, true, &arena, &series));
        }
    }
    arena_destroy(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct fuzz_input input = {bytes, length};
    hdf5_silence();
    if (whole[0].data == NULL) {
        make_secrets();
        snprintf(path, sizeof path, "%s/out.h5", fuzz_folder());
        make_whole(false);
        make_whole(true);
    }
    const struct buffer *file = &whole[length > 0 && (bytes[length - 1] & 1) != 0];
    write_fuzz_file(path, file->data, file->length);
    edit(&input);
    struct output_reader *reader;
    status s = output_open(path, &reader);
    require_message(s);
    if (s == STATUS_OK) {
        read_metrics(reader);
        require_message(output_export(reader, EXPORT_JSONL, check_line, NULL));
        require_message(output_export(reader, EXPORT_OPENAI, check_line, NULL));
        require_message(output_export(reader, EXPORT_CSV, check_bytes, NULL));
        require_message(output_export(reader, EXPORT_PARQUET, check_bytes, NULL));
        require_message(output_export(reader, EXPORT_TEXT, check_bytes, NULL));
        output_reader_close(reader);
    }
    return 0;
}
