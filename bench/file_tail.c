/* SPDX-License-Identifier: Apache-2.0 */
/* What is left to do after the last row, and after a kill, without a coordinator and its messages:
 *
 *     bench_file_tail [UNDER_WAY [ROWS [BYTES]]]
 *
 * ROWS (1,000,000), of which UNDER_WAY (600,000) are under way at any time and end in any order,
 * stand in a journal, each with a text of BYTES (800). Then are measured, with the processor time
 * of all threads, in the process and in the kernel: reading them back in order; the same with
 * writing the output from nothing; and what a start after a kill opens, which is the journal and
 * the notes of as many rows under way. Files lie in $TMPDIR or /tmp, about 2 BYTES + 300 a row. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/journal/little_endian.h"
#include "sluice/data.h"
#include "sluice/run.h"

enum { RESULT_ROW = 8 /* its place in a result's head */ };

static const char identity[] = "bench: file_tail\n";

struct bench {
    int64_t under_way, rows;
    size_t bytes;
    char folder[256], journal[320], output[320];
};

/* ---- Time ---- */

struct spent {
    double wall, user, kernel;
};

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + 1e-6 * (double)time.tv_usec;
}

static struct spent spent_now(void)
{
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    return (struct spent){clock_seconds(), seconds_of(usage.ru_utime), seconds_of(usage.ru_stime)};
}

static void print_since(const char *what, struct spent before)
{
    const struct spent now = spent_now();
    printf("%-28s %6.2f s, processor %6.2f s + %5.2f s in the kernel\n", what,
           now.wall - before.wall, now.user - before.user, now.kernel - before.kernel);
}

/* ---- The journal ---- */

static status make_result(size_t bytes, struct buffer *out)
{
    struct buffer text = {0};
    status s = STATUS_OK;
    while (s == STATUS_OK && text.length < bytes) {
        s = buffer_append_text(&text, "An answer of several words, one after the other. ");
    }
    const struct result result = {.id = "row-0000000",
                                  .id_length = 11,
                                  .text = text.data != NULL ? text.data : "",
                                  .text_length = bytes,
                                  .error = "",
                                  .passthrough = "",
                                  .prompt_tokens = 30,
                                  .completion_tokens = 200,
                                  .seconds = 1.5};
    if (s == STATUS_OK) {
        s = result_encode(&result, out);
    }
    buffer_destroy(&text);
    return s;
}

static uint64_t next_random(uint64_t *random)
{
    *random = *random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *random >> 33;
}

/* Rows begin in order, and any one of those under way ends. */
static status append_rows(const struct bench *bench, struct journal *journal,
                          struct attempts *attempts, int64_t *under_way, struct buffer *result)
{
    uint64_t random = 1;
    int64_t count = 0, begun = 0;
    for (int64_t ended = 0; ended < bench->rows; ended++) {
        while (count < bench->under_way && begun < bench->rows) {
            TRY(attempts_begin(attempts, begun, 0));
            under_way[count++] = begun++;
        }
        if (begun == bench->rows && count == bench->under_way) {
            TRY(attempts_write(attempts));
        }
        size_t at = (size_t)(next_random(&random) % (uint64_t)count);
        const int64_t row = under_way[at];
        under_way[at] = under_way[--count];
        little_endian_put(result->data + RESULT_ROW, (uint64_t)row, 8);
        TRY(journal_append(journal, row, result->data, result->length));
        attempts_end(attempts, row);
    }
    return journal_commit(journal);
}

static status fill(const struct bench *bench, struct journal *journal, struct attempts *attempts)
{
    struct buffer result = {0};
    int64_t *under_way = calloc((size_t)bench->under_way + 1, sizeof *under_way);
    status s = under_way != NULL ? make_result(bench->bytes, &result)
                                 : status_fail(STATUS_NO_MEMORY, "out of memory for rows");
    if (s == STATUS_OK) {
        s = append_rows(bench, journal, attempts, under_way, &result);
    }
    buffer_destroy(&result);
    free(under_way);
    return s;
}

/* ---- What is measured ---- */

static status count_result(void *context, const struct result *result)
{
    *(int64_t *)context += (int64_t)result->text_length;
    return STATUS_OK;
}

static status write_result(void *context, const struct result *result)
{
    return output_append(context, result);
}

static status measure_reading(struct journal *journal)
{
    int64_t text = 0;
    const struct spent before = spent_now();
    TRY(journal_visit(journal, count_result, &text));
    print_since("read back", before);
    return STATUS_OK;
}

static status measure_writing(const struct bench *bench, struct journal *journal)
{
    const struct output_columns columns = {0};
    struct output_writer *writer;
    const struct spent before = spent_now();
    TRY(output_create(bench->output, true, &columns, &writer));
    status s = journal_visit(journal, write_result, writer);
    if (s != STATUS_OK) {
        output_abandon(writer);
        return s;
    }
    TRY(output_finish(writer));
    print_since("output from nothing", before);
    unlink(bench->output);
    return STATUS_OK;
}

/* As after a kill: nobody has said that this was an end. */
static status measure_reopening(const struct bench *bench)
{
    struct journal *journal;
    struct attempts *attempts;
    struct spent before = spent_now();
    TRY(journal_open(bench->journal, identity, 0, &journal));
    print_since("journal opened", before);
    before = spent_now();
    status s = attempts_open(bench->journal, journal, false, &attempts);
    if (s == STATUS_OK) {
        print_since("notes opened", before);
        attempts_close(attempts, ATTEMPTS_DONE);
    }
    journal_close(journal, true);
    return s;
}

/* The notes as they stand once UNDER_WAY rows are in them: of these the journal is to have none,
 * so it is one of half of the rows. */
static status measure_kill(struct bench *bench)
{
    struct journal *journal;
    struct attempts *attempts;
    struct buffer result = {0};
    TRY(make_result(bench->bytes, &result));
    TRY(journal_open(bench->journal, identity, JOURNAL_FRESH, &journal));
    TRY(attempts_open(bench->journal, journal, true, &attempts));
    for (int64_t row = 0; row < bench->rows; row++) {
        if (row % 2 == 0 || row >= 2 * bench->under_way) {
            little_endian_put(result.data + RESULT_ROW, (uint64_t)row, 8);
            TRY(journal_append(journal, row, result.data, result.length));
        } else {
            TRY(attempts_begin(attempts, row, 0));
        }
    }
    for (int64_t row = bench->rows; row < bench->rows + bench->under_way / 2; row++) {
        TRY(attempts_begin(attempts, row, 0));
    }
    TRY(attempts_write(attempts));
    TRY(journal_commit(journal));
    attempts_close(attempts, ATTEMPTS_DIED);
    journal_close(journal, false);
    buffer_destroy(&result);
    return measure_reopening(bench);
}

static status measure(struct bench *bench)
{
    struct journal *journal;
    struct attempts *attempts;
    const char *temporary = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    snprintf(bench->folder, sizeof bench->folder, "%s/file_tail_%ld", temporary, (long)getpid());
    snprintf(bench->journal, sizeof bench->journal, "%s/out.h5.sluice", bench->folder);
    snprintf(bench->output, sizeof bench->output, "%s/out.h5", bench->folder);
    if (mkdir(bench->folder, 0777) != 0) {
        return status_fail_errno(STATUS_IO, "%s", bench->folder);
    }
    TRY(journal_open(bench->journal, identity, 0, &journal));
    TRY(attempts_open(bench->journal, journal, false, &attempts));
    const struct spent before = spent_now();
    TRY(fill(bench, journal, attempts));
    print_since("rows into the journal", before);
    TRY(measure_reading(journal));
    TRY(measure_writing(bench, journal));
    attempts_close(attempts, ATTEMPTS_DONE);
    journal_close(journal, true);
    TRY(measure_kill(bench));
    rmdir(bench->folder);
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    struct bench bench = {.under_way = argc > 1 ? atoll(argv[1]) : 600000,
                          .rows = argc > 2 ? atoll(argv[2]) : 1000000,
                          .bytes = argc > 3 ? (size_t)atol(argv[3]) : 800};
    log_configure(LOG_ERROR, NULL);
    printf("%lld rows of %zu bytes, %lld under way\n", (long long)bench.rows, bench.bytes,
           (long long)bench.under_way);
    if (measure(&bench) != STATUS_OK) {
        fprintf(stderr, "%s\n", status_message());
        return 1;
    }
    return 0;
}
