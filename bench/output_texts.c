/* SPDX-License-Identifier: Apache-2.0 */
/* What texts cost in an output file, variable and packed: bench_output_texts TEXT [ROWS [BYTES]].
 *
 * ROWS answers (100,000) of about BYTES (800) are cut out of the text at places that have nothing
 * to do with each other, written, and read back in order. The files lie in $TMPDIR or /tmp. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sluice/data.h"

struct answers {
    const struct buffer *text;
    int64_t rows;
    size_t bytes;
};

/* Begins and ends with whole characters, so that nothing is replaced. */
static struct result answer(const struct answers *answers, int64_t row)
{
    const struct buffer *text = answers->text;
    uint64_t place = (uint64_t)row * UINT64_C(0x9E3779B97F4A7C15);
    size_t start = (size_t)((place >> 20) % (text->length - answers->bytes));
    size_t end = start + answers->bytes;
    while (start < end && ((unsigned char)text->data[start] & 0xC0) == 0x80) {
        start++;
    }
    while (end > start && ((unsigned char)text->data[end] & 0xC0) == 0x80) {
        end--;
    }
    return (struct result){.row = row,
                           .id = "a row",
                           .id_length = 5,
                           .text = text->data + start,
                           .text_length = end - start};
}

static status write_file(const char *path, const struct answers *answers, bool packed)
{
    const struct output_columns columns = {.packed_texts = packed};
    struct output_writer *writer;
    TRY(output_create(path, true, &columns, &writer));
    for (int64_t row = 0; row < answers->rows; row++) {
        const struct result result = answer(answers, row);
        status s = output_append(writer, &result);
        if (s != STATUS_OK) {
            output_abandon(writer);
            return s;
        }
    }
    return output_finish(writer);
}

static status count_bytes(void *context, const struct result *result)
{
    *(int64_t *)context += (int64_t)result->text_length;
    return STATUS_OK;
}

static status measure(const char *path, const struct answers *answers, bool packed)
{
    double start = clock_seconds();
    TRY(write_file(path, answers, packed));
    double written = clock_seconds();
    struct output_reader *reader;
    int64_t bytes = 0;
    TRY(output_open(path, &reader));
    status s = output_visit(reader, count_bytes, &bytes);
    output_reader_close(reader);
    TRY(s);
    double read = clock_seconds();
    struct stat info;
    if (stat(path, &info) != 0) {
        return status_fail_errno(STATUS_IO, "%s", path);
    }
    printf("%-9s %6.1f MB of texts, file of %6.1f MB, written in %.2f s, read in %.2f s\n",
           packed ? "packed" : "variable", (double)bytes / 1e6, (double)info.st_size / 1e6,
           written - start, read - written);
    return STATUS_OK;
}

static status measure_both(const char *text_path, int64_t rows, size_t bytes)
{
    const char *folder = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    char path[4096];
    struct buffer text = {0};
    snprintf(path, sizeof path, "%s/output_texts_%ld.h5", folder, (long)getpid());
    status s = file_read(text_path, 1 << 30, &text);
    if (s == STATUS_OK && (bytes < 16 || text.length <= bytes)) {
        s = status_fail(STATUS_INVALID, "%s: %zu bytes, and answers of %zu", text_path, text.length,
                        bytes);
    }
    const struct answers answers = {&text, rows, bytes};
    for (int packed = 0; s == STATUS_OK && packed < 2; packed++) {
        s = measure(path, &answers, packed != 0);
    }
    unlink(path);
    buffer_destroy(&text);
    return s;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: bench_output_texts TEXT [ROWS [BYTES]]\n");
        return 2;
    }
    long rows = argc > 2 ? atol(argv[2]) : 100000;
    long bytes = argc > 3 ? atol(argv[3]) : 800;
    if (measure_both(argv[1], rows > 0 ? rows : 1, bytes > 0 ? (size_t)bytes : 0) != STATUS_OK) {
        fprintf(stderr, "%s\n", status_message());
        return 1;
    }
    return 0;
}
