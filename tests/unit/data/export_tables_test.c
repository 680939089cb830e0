/* SPDX-License-Identifier: Apache-2.0 */
/* Exports as tables: CSV, plain text and Parquet of every type of field; columns that are chosen,
 * an input that is joined again, and the file that they go to. */
#include "output_examples.h"

#include <hdf5.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "sluice/export.h"

static status collect(void *context, const char *bytes, size_t length)
{
    return buffer_append(context, bytes, length);
}

static struct export_where where_of(const char *text)
{
    struct export_where where = {.kind = WHERE_ALL};
    if (text != NULL) {
        assert_int_equal(export_where_parse(text, &where), STATUS_OK);
    }
    return where;
}

static status export_to(const char *path, const struct export_options *options, struct buffer *out)
{
    struct output_reader *reader = open_reader(path);
    buffer_clear(out);
    assert_int_equal(buffer_append_text(out, ""), STATUS_OK);
    status s = output_export_as(reader, options, collect, out);
    output_reader_close(reader);
    return s;
}

static void expect_export(const char *path, const struct export_options *options,
                          const char *wanted)
{
    struct buffer out = {0};
    if (export_to(path, options, &out) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    assert_string_equal(out.data, wanted);
    buffer_destroy(&out);
}

static void expect_refused(const char *path, const struct export_options *options,
                           const char *message)
{
    struct buffer out = {0};
    assert_int_equal(export_to(path, options, &out), STATUS_INVALID);
    assert_string_equal(status_message(), message);
    buffer_destroy(&out);
}

/* Rows with these fields and texts, one sample each. */
static const char *write_rows(void *const *state, const char *const (*rows)[2], size_t count)
{
    const char *path = scratch_path(state, "rows.h5");
    struct output_writer *writer = create(path, true, &(struct output_columns){0});
    for (size_t i = 0; i < count; i++) {
        char id[16];
        snprintf(id, sizeof id, "r%zu", i);
        const struct result result = {.row = (int64_t)i,
                                      .id = id,
                                      .id_length = strlen(id),
                                      .finish_reason = FINISH_STOP,
                                      .error = "",
                                      .text = rows[i][0],
                                      .text_length = strlen(rows[i][0]),
                                      .passthrough = rows[i][1],
                                      .passthrough_length = strlen(rows[i][1])};
        assert_int_equal(output_append(writer, &result), STATUS_OK);
    }
    assert_int_equal(output_finish(writer), STATUS_OK);
    return path;
}

/* ---- Cells ---- */

static void cells_are_quoted_where_they_must(void **state)
{
    static const char *const rows[][2] = {
        {"plain", "{\"f\":\"a,b\"}"}, {" before", "{\"f\":\"a\\\"b\"}"},
        {"behind ", "{\"f\":null}"},  {"two\nlines", "{\"f\":\"c\\rd\"}"},
        {"tab\t\\", "{\"f\":true}"},  {"", "{\"f\":[1,\"x\"]}"},
        {"one b\n", "{\"f\":1.50}"},  {"x", ""},
    };
    const char *const text_and_field[] = {"f", "text"};
    const char *path = write_rows(state, rows, COUNT_OF(rows));
    struct export_options options = {
        .format = EXPORT_CSV, .columns = text_and_field, .column_count = 2};
    expect_export(path, &options,
                  "f,text\n\"a,b\",plain\n\"a\"\"b\",\" before\"\n,\"behind \"\n\"c\rd\","
                  "\"two\nlines\"\ntrue,tab\t\\\n\"[1,\"\"x\"\"]\",\n1.50,\"one b\n\"\n,x\n");
    options.format = EXPORT_TEXT;
    expect_export(path, &options,
                  "a,b\tplain\na\"b\t before\n\tbehind \nc\\rd\ttwo\\nlines\ntrue\ttab\\t\\\\\n"
                  "[1,\"x\"]\t\n1.50\tone b\\n\n\tx\n");
    options.column_count = 0; /* the answers */
    expect_export(path, &options,
                  "plain\n before\nbehind \ntwo\\nlines\ntab\\t\\\\\n\none b\\n\nx\n");
    options.format = EXPORT_JSONL;
    options.columns = text_and_field;
    options.column_count = 1;
    expect_export(path, &options,
                  "{\"f\":\"a,b\"}\n{\"f\":\"a\\\"b\"}\n{\"f\":null}\n{\"f\":\"c\\rd\"}\n"
                  "{\"f\":true}\n{\"f\":[1,\"x\"]}\n{\"f\":1.50}\n{}\n");
}

static void tables_have_all_columns(void **state)
{
    const char *path = scratch_path(state, "all.h5");
    write_examples(path, &all_columns);
    struct export_options options = {.format = EXPORT_CSV};
    expect_export(
        path, &options,
        "id,row,sample,prompt,text,finish_reason,prompt_tokens,completion_tokens,error,token_ids,"
        "logprobs,top_logprob_ids,top_logprob_values,label,input_input_text,input_text,body\n"
        "first,0,0,\"Say \"\"hi\"\"\",\"hi \xF0\x9F\x98\x80\n"
        "\",stop,4,3,,\"[11,12,13]\",\"[-0.1,-0.25,-3]\",\"[[11,90],[12,91],[13,92]]\",\"[[-0.1,-2."
        "5],[-0.25,-1.5],[-3,-4]]\",1.50,mine,,\n"
        "first,0,1,\"Say \"\"hi\"\"\",a\xEF\xBF\xBD"
        "b\xEF\xBF\xBD,length,4,2,,\"[11,12]\",\"[-0.1,-0.25]\",\"[[11],[90]]\",\"[[-0.1],[-2.5]]"
        "\",1.50,,,\n"
        "1,1,0,,,error,0,0,line 2: no prompt,,,,,,,,\n"
        "2.50,2,0,p,t,stop,1,1,,,,,,,,,\"{\"\"model\"\":\"\"m-7\"\"}\"\n");
    const char *const own[] = {"seconds",      "rank",        "endpoint", "status_code",
                               "id_is_number", "passthrough", "id"};
    options.columns = own;
    options.column_count = COUNT_OF(own);
    options.where = where_of("finish=stop");
    expect_export(path, &options,
                  "seconds,rank,endpoint,status_code,id_is_number,passthrough,id\n"
                  "0.5,1,chat,200,false,\"{\"\"label\"\":1.50,\"\"text\"\":\"\"mine\"\",\"\"input_"
                  "text\"\":null}\",first\n"
                  "1,3,completions,200,true,\"{\"\"body\"\":{\"\"model\"\":\"\"m-7\"\"}}\",2.50\n");
}

/* ---- Columns ---- */

static void columns_that_are_not_there(void **state)
{
    static const char *const rows[][2] = {{"a", "{\"one\":1,\"row\":2}"}, {"b", "{\"two\":1}"}};
    const char *path = write_rows(state, rows, COUNT_OF(rows));
    const char *const names[] = {"text", "three"};
    struct export_options options = {.format = EXPORT_CSV, .columns = names, .column_count = 2};
    expect_refused(path, &options,
                   "columns: no result has \"three\"; there are id, row, sample, text, "
                   "finish_reason, prompt_tokens, completion_tokens, error, seconds, rank, "
                   "endpoint, status_code, passthrough, one, input_row, two");
    options.format = EXPORT_OPENAI;
    expect_refused(path, &options,
                   "the form openai is a fixed one: it takes no columns and no input");
    options.column_count = 0;
    options.format = EXPORT_CSV;
    expect_export(path, &options,
                  "id,row,sample,text,finish_reason,prompt_tokens,completion_tokens,error,one,"
                  "input_row,two\nr0,0,0,a,stop,0,0,,1,2,\nr1,1,0,b,stop,0,0,,,,1\n");
}

static void too_many_fields(void **state)
{
    struct buffer fields = {0};
    assert_int_equal(buffer_append_text(&fields, "{\"f0\":0"), STATUS_OK);
    for (int i = 1; i < 5000; i++) {
        assert_int_equal(buffer_format(&fields, ",\"f%d\":%d", i, i), STATUS_OK);
    }
    assert_int_equal(buffer_append_byte(&fields, '}'), STATUS_OK);
    const char *const rows[][2] = {{"a", fields.data}};
    const char *path = write_rows(state, rows, 1);
    struct buffer out = {0};
    assert_int_equal(export_to(path, &(struct export_options){.format = EXPORT_CSV}, &out),
                     STATUS_LIMIT);
    assert_non_null(strstr(status_message(), "the rows have more than "));
    buffer_destroy(&out);
    buffer_destroy(&fields);
}

static void fields_that_are_no_object(void **state)
{
    static const char *const rows[][2] = {{"a", "[1]"}};
    const char *path = write_rows(state, rows, 1);
    char message[600];
    snprintf(message, sizeof message, "%s: row 0: passthrough: expected an object, not an array",
             path);
    expect_refused(path, &(struct export_options){.format = EXPORT_JSONL}, message);
}

/* ---- Parquet ---- */

/* What its pages hold, in order, unpacked: letters as they are, other bytes as in C. */
static void dump_pages(const struct buffer *file, struct buffer *out)
{
    static const char magic[] = "\x28\xB5\x2F\xFD";
    for (size_t at = 0; at + 4 < file->length; at++) {
        char content[4096];
        if (memcmp(file->data + at, magic, 4) != 0) {
            continue;
        }
        const size_t packed = ZSTD_findFrameCompressedSize(file->data + at, file->length - at);
        assert_false(ZSTD_isError(packed));
        const size_t length = ZSTD_decompress(content, sizeof content, file->data + at, packed);
        assert_false(ZSTD_isError(length));
        for (size_t i = 0; i < length; i++) {
            const unsigned char byte = (unsigned char)content[i];
            assert_int_equal(byte >= ' ' && byte < 127 && byte != '\\'
                                 ? buffer_append_byte(out, (char)byte)
                                 : buffer_format(out, "\\%x", byte),
                             STATUS_OK);
        }
        assert_int_equal(buffer_append_byte(out, '\n'), STATUS_OK);
        at += packed - 1;
    }
}

static void expect_pages(const char *path, const struct export_options *options, const char *wanted)
{
    struct buffer file = {0}, pages = {0};
    if (export_to(path, options, &file) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    assert_memory_equal(file.data, "PAR1", 4);
    assert_memory_equal(file.data + file.length - 4, "PAR1", 4);
    dump_pages(&file, &pages);
    assert_string_equal(pages.data, wanted);
    buffer_destroy(&file);
    buffer_destroy(&pages);
}

static void every_type_in_parquet(void **state)
{
    static const char *const rows[][2] = {
        {"a", "{\"b\":true,\"i\":1,\"n\":1,\"t\":\"x\",\"m\":1,\"z\":null,\"big\":1}"},
        {"b", "{\"b\":null,\"i\":-2,\"n\":1.5,\"t\":\"yz\",\"m\":\"s\",\"z\":null,\"big\":1e999}"},
        {"c", ""},
    };
    const char *path = write_rows(state, rows, COUNT_OF(rows));
    const char *const names[] = {"b", "i", "n", "t", "m", "z", "big", "text", "finish_reason"};
    struct export_options options = {
        .format = EXPORT_PARQUET, .columns = names, .column_count = COUNT_OF(names)};
    expect_pages(
        path, &options,
        "\\4\\0\\0\\0\\2\\1\\4\\0\\1\n"
        "\\4\\0\\0\\0\\4\\1\\2\\0\\1\\0\\0\\0\\0\\0\\0\\0\\fe\\ff\\ff\\ff\\ff\\ff\\ff\\ff\n"
        "\\4\\0\\0\\0\\4\\1\\2\\0\\0\\0\\0\\0\\0\\0\\f0?\\0\\0\\0\\0\\0\\0\\f8?\n"
        "\\4\\0\\0\\0\\4\\1\\2\\0\\1\\0\\0\\0x\\2\\0\\0\\0yz\n"
        "\\4\\0\\0\\0\\4\\1\\2\\0\\1\\0\\0\\01\\3\\0\\0\\0\"s\"\n"
        "\\2\\0\\0\\0\\6\\0\n"
        "\\4\\0\\0\\0\\2\\1\\4\\0\\0\\0\\0\\0\\0\\0\\f0?\n"
        "\\2\\0\\0\\0\\6\\1\\1\\0\\0\\0a\\1\\0\\0\\0b\\1\\0\\0\\0c\n"
        "\\2\\0\\0\\0\\6\\1\\4\\0\\0\\0stop\\4\\0\\0\\0stop\\4\\0\\0\\0stop\n");
    path = scratch_path(state, "all.h5");
    write_examples(path, &all_columns);
    const char *const arrays[] = {
        "id",    "token_ids", "logprobs", "top_logprob_ids", "top_logprob_values",
        "error", "seconds",   "row",      "sample",          "id_is_number"};
    options.columns = arrays;
    options.column_count = COUNT_OF(arrays);
    expect_pages(
        path, &options,
        "\\2\\0\\0\\0\\8\\1\\5\\0\\0\\0first\\5\\0\\0\\0first\\1\\0\\0\\01\\4\\0\\0\\02.50\n"
        "\\a\\0\\0\\0\\2\\0\\4\\1\\2\\0\\2\\1\\4\\0\\4\\0\\0\\0\\a\\2\\4\\0\\b\\0\\0\\0\\c\\0\\0\\0"
        "\\d\\0\\0\\0\\b\\0\\0\\0\\c\\0\\0\\0\n"
        "\\a\\0\\0\\0\\2\\0\\4\\1\\2\\0\\2\\1\\4\\0\\4\\0\\0\\0\\a\\2\\4\\0\\cd\\cc\\cc\\bd\\0\\0\\"
        "80\\be\\0\\0@\\c0\\cd\\cc\\cc\\bd\\0\\0\\80\\be\n"
        "\\12\\0\\0\\0\\2\\0\\2\\2\\2\\1\\2\\2\\2\\1\\2\\2\\2\\0\\2\\1\\4\\0\\4\\0\\0\\0\\10\\3\\4"
        "\\0\\b\\0\\0\\0Z\\0\\0\\0\\c\\0\\0\\0["
        "\\0\\0\\0\\d\\0\\0\\0\\5c\\0\\0\\0\\b\\0\\0\\0Z\\0\\0\\0\n"
        "\\12\\0\\0\\0\\2\\0\\2\\2\\2\\1\\2\\2\\2\\1\\2\\2\\2\\0\\2\\1\\4\\0\\4\\0\\0\\0\\10\\3\\4"
        "\\0\\cd\\cc\\cc\\bd\\0\\0 "
        "\\c0\\0\\0\\80\\be\\0\\0\\c0\\bf\\0\\0@\\c0\\0\\0\\80\\c0\\cd\\cc\\cc\\bd\\0\\0 \\c0\n"
        "\\6\\0\\0\\0\\4\\0\\2\\1\\2\\0\\11\\0\\0\\0line 2: no prompt\n"
        "\\2\\0\\0\\0\\8\\1\\0\\0\\0\\0\\0\\0\\e0?\\0\\0\\0\\0\\0\\0\\e8?"
        "\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\f0?\n"
        "\\2\\0\\0\\0\\8\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\1\\0\\0\\0\\0\\0\\0\\0"
        "\\2\\0\\0\\0\\0\\0\\0\\0\n"
        "\\2\\0\\0\\0\\8\\1\\0\\0\\0\\0\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\n"
        "\\2\\0\\0\\0\\8\\1\\8\n");
    options.column_count = 0;
    struct buffer file = {0};
    assert_int_equal(export_to(path, &options, &file), STATUS_OK);
    const char *const notes[] = {"sluice.created", "2026-01-31T12:00:00Z", "sluice.model_path",
                                 "models/tiny",    "sluice.job",           "a: 1\n"};
    for (size_t i = 0; i < COUNT_OF(notes); i++) {
        assert_non_null(memmem(file.data, file.length, notes[i], strlen(notes[i])));
    }
    assert_null(memmem(file.data, file.length, "sluice.data_path", 16));
    buffer_destroy(&file);
}

/* ---- An input that is joined again ---- */

static void the_input_comes_back(void **state)
{
    static const char *const rows[][2] = {{"a", "{\"kept\":1}"}, {"b", ""}, {"c", ""}};
    static const char lines[] = "{\"id\":\"r0\",\"prompt\":\"p\",\"row\":5,\"x\":[1]}\n"
                                "no JSON\n"
                                "{\"custom_id\":\"r2\",\"id\":\"other\",\"prompt\":\"q\"}\n";
    const char *path = write_rows(state, rows, COUNT_OF(rows));
    struct record_reader_options input = {
        .path = scratch_write(state, "in.jsonl", lines, sizeof lines - 1), .limit = -1};
    struct export_options options = {.format = EXPORT_JSONL, .input = &input};
    static const char results[] = "\"sample\":0,\"text\":\"%c\",\"finish_reason\":\"stop\","
                                  "\"prompt_tokens\":0,\"completion_tokens\":0";
    char own[3][128], wanted[1024];
    for (int i = 0; i < 3; i++) {
        snprintf(own[i], sizeof own[i], results, 'a' + i);
    }
    snprintf(wanted, sizeof wanted,
             "{\"id\":\"r0\",\"row\":0,%s,\"prompt\":\"p\",\"input_row\":5,\"x\":[1]}\n"
             "{\"id\":\"r1\",\"row\":1,%s}\n"
             "{\"id\":\"r2\",\"row\":2,%s,\"input_id\":\"other\",\"prompt\":\"q\"}\n",
             own[0], own[1], own[2]);
    expect_export(path, &options, wanted);
    options.id_field = "x"; /* then `id` is a field like others */
    struct buffer out = {0};
    assert_int_equal(export_to(path, &options, &out), STATUS_OK);
    assert_non_null(strstr(out.data, "\"input_id\":\"r0\",\"prompt\":\"p\""));
    input.limit = 2;
    assert_int_equal(export_to(path, &options, &out), STATUS_INVALID);
    assert_string_equal(status_message(), "the input has no row 2");
    buffer_destroy(&out);
}

static void add_dataset(hid_t file, const char *name, hid_t type, hsize_t count, const void *items)
{
    hid_t space = H5Screate_simple(1, &count, NULL);
    hid_t dataset = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, items) >= 0);
    H5Dclose(dataset);
    H5Sclose(space);
}

/* Rows of HDF5 that are texts or token ids alone become fields as lines of JSON have them. */
static void inputs_of_hdf5_come_back(void **state)
{
    static const char *const rows[][2] = {{"a", ""}, {"b", ""}};
    const char *path = write_rows(state, rows, COUNT_OF(rows));
    const char *input_path = scratch_path(state, "in.h5");
    const char *const names[] = {"row", "prompt"}, *const tokens_only[] = {"prompt_token_ids"};
    const struct record_reader_options input = {.path = input_path, .limit = -1};
    struct export_options options = {
        .format = EXPORT_JSONL, .input = &input, .columns = names, .column_count = 2};

    static const char *const texts[] = {"say \"x\"", ""};
    hid_t file = H5Fcreate(input_path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    add_dataset(file, "prompt", type, 2, texts);
    H5Tclose(type);
    H5Fclose(file);
    expect_export(path, &options,
                  "{\"row\":0,\"prompt\":\"say \\\"x\\\"\"}\n{\"row\":1,\"prompt\":\"\"}\n");

    static const int32_t tokens[] = {4, 5, 6, 7, 8};
    static const int64_t offsets[] = {0, 3, 5};
    file = H5Fcreate(input_path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    add_dataset(file, "input_ids", H5T_NATIVE_INT32, 5, tokens);
    add_dataset(file, "input_offsets", H5T_NATIVE_INT64, 3, offsets);
    H5Fclose(file);
    options.columns = tokens_only;
    options.column_count = 1;
    expect_export(path, &options, "{\"prompt_token_ids\":[4,5,6]}\n{\"prompt_token_ids\":[7,8]}\n");
}

/* ---- Which results ---- */

static void count_results(void *context, int64_t results)
{
    *(int64_t *)context = results;
}

static void some_results(void **state)
{
    const char *path = scratch_path(state, "all.h5");
    write_examples(path, &all_columns);
    const char *const names[] = {"row", "sample"};
    int64_t count = -1;
    struct export_options options = {.format = EXPORT_CSV,
                                     .columns = names,
                                     .column_count = 2,
                                     .progress = count_results,
                                     .progress_context = &count};
    static const char *const expected[][2] = {{"error", "1,0\n"},
                                              {"ok", "0,0\n0,1\n2,0\n"},
                                              {"finish=stop", "0,0\n2,0\n"},
                                              {"finish=length", "0,1\n"},
                                              {"finish=error", "1,0\n"}};
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "row,sample\n%s", expected[i][1]);
        options.where = where_of(expected[i][0]);
        count = -1;
        expect_export(path, &options, wanted);
        assert_int_equal(count, 4);
    }
    struct export_where where;
    assert_int_equal(export_where_parse("done", &where), STATUS_INVALID);
    assert_int_equal(export_where_parse("finish=", &where), STATUS_INVALID);
    assert_int_equal(export_where_parse("", &where), STATUS_INVALID);
}

static void forms_have_names(void **state)
{
    (void)state;
    enum export_format format;
    static const struct {
        const char *path;
        enum export_format format;
    } paths[] = {{"a.jsonl", EXPORT_JSONL},
                 {"a.csv", EXPORT_CSV},
                 {"a.csv.gz", EXPORT_CSV},
                 {"a.b/c.txt.zst", EXPORT_TEXT},
                 {"a.openai.jsonl", EXPORT_OPENAI},
                 {"a.parquet", EXPORT_PARQUET},
                 {"a.openai.jsonl.gz", EXPORT_OPENAI}};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        assert_true(export_format_by_path(paths[i].path, &format));
        assert_int_equal(format, paths[i].format);
    }
    assert_false(export_format_by_path("a.xml", &format));
    assert_false(export_format_by_path("csv", &format));
    for (int i = 0; export_form((enum export_format)i) != NULL; i++) {
        assert_true(export_format_by_name(export_form((enum export_format)i)->name, &format));
        assert_int_equal(format, i);
    }
    assert_false(export_format_by_name("", &format));
    assert_false(export_format_by_name("CSV", &format));
}

/* ---- The file ---- */

static void read_packed(const char *path, struct buffer *out)
{
    struct buffer file = {0};
    assert_int_equal(buffer_reserve(&file, 8 << 20), STATUS_OK);
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    file.length = fread(file.data, 1, 8 << 20, stream);
    fclose(stream);
    buffer_clear(out);
    assert_int_equal(buffer_reserve(out, 8 << 20), STATUS_OK);
    if (strstr(path, ".gz") != NULL) {
        gzFile packed = gzopen(path, "rb");
        out->length = (size_t)gzread(packed, out->data, 8 << 20);
        assert_int_equal(gzclose(packed), Z_OK);
        assert_memory_equal(file.data, "\x1F\x8B", 2);
    } else if (strstr(path, ".zst") != NULL) {
        out->length = ZSTD_decompress(out->data, 8 << 20, file.data, file.length);
        assert_false(ZSTD_isError(out->length));
    } else {
        memcpy(out->data, file.data, file.length);
        out->length = file.length;
    }
    buffer_destroy(&file);
}

static void files_hold_all_bytes(void **state)
{
    enum { BYTES = 5 << 19, STEP = 300007 }; /* more than two blocks, and not at their borders */
    char *bytes = malloc(BYTES);
    assert_non_null(bytes);
    uint32_t number = 1;
    for (int i = 0; i < BYTES; i++) {
        number = number * 1664525 + 1013904223;
        bytes[i] = (char)(number >> 24); /* which nothing packs */
    }
    static const char *const names[] = {"x.csv", "x.csv.gz", "x.csv.zst"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const char *path = scratch_path(state, names[i]);
        struct buffer out = {0};
        struct export_file *file;
        assert_int_equal(export_file_create(path, false, &file), STATUS_OK);
        for (int at = 0; at < BYTES; at += STEP) {
            const int length = BYTES - at < STEP ? BYTES - at : STEP;
            assert_int_equal(export_file_write(file, bytes + at, (size_t)length), STATUS_OK);
        }
        assert_int_equal(export_file_bytes(file), BYTES);
        assert_int_equal(access(path, F_OK), -1); /* not before it is whole */
        assert_int_equal(export_file_finish(file), STATUS_OK);
        read_packed(path, &out);
        assert_int_equal(out.length, BYTES);
        assert_memory_equal(out.data, bytes, BYTES);
        buffer_destroy(&out);
    }
    free(bytes);
}

static void files_that_are_there_stay(void **state)
{
    struct export_file *file;
    struct buffer out = {0};
    char message[600], partial[300];
    const char *path = scratch_write(state, "there.csv", "old", 3);
    assert_int_equal(export_file_create(path, false, &file), STATUS_EXISTS);
    snprintf(message, sizeof message, "%s exists; --overwrite replaces it", path);
    assert_string_equal(status_message(), message);
    assert_int_equal(export_file_create(path, true, &file), STATUS_OK);
    assert_int_equal(export_file_write(file, "new", 3), STATUS_OK);
    export_file_abandon(file);
    snprintf(partial, sizeof partial, "%s.partial", path);
    assert_int_equal(access(partial, F_OK), -1);
    read_packed(path, &out);
    assert_int_equal(out.length, 3);
    assert_memory_equal(out.data, "old", 3);
    assert_int_equal(export_file_create(path, true, &file), STATUS_OK);
    assert_int_equal(export_file_write(file, "new", 3), STATUS_OK);
    assert_int_equal(export_file_finish(file), STATUS_OK);
    read_packed(path, &out);
    assert_memory_equal(out.data, "new", 3);
    const char *folder = scratch_path(state, "folder.csv");
    assert_int_equal(mkdir(folder, 0777), 0);
    assert_int_equal(export_file_create(folder, true, &file), STATUS_EXISTS);
    snprintf(message, sizeof message, "%s exists and is no file", folder);
    assert_string_equal(status_message(), message);
    assert_int_equal(export_file_create(scratch_path(state, "no/x.csv"), true, &file), STATUS_IO);
    assert_null(file);
    export_file_abandon(NULL);
    buffer_destroy(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_are_quoted_where_they_must),
        cmocka_unit_test(tables_have_all_columns),
        cmocka_unit_test(columns_that_are_not_there),
        cmocka_unit_test(too_many_fields),
        cmocka_unit_test(fields_that_are_no_object),
        cmocka_unit_test(every_type_in_parquet),
        cmocka_unit_test(the_input_comes_back),
        cmocka_unit_test(inputs_of_hdf5_come_back),
        cmocka_unit_test(some_results),
        cmocka_unit_test(forms_have_names),
        cmocka_unit_test(files_hold_all_bytes),
        cmocka_unit_test(files_that_are_there_stay),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
