/* SPDX-License-Identifier: Apache-2.0 */
/* What is left to do after the last row, and after a kill, without a coordinator and its messages:
 *
 *     bench_file_tail [UNDER_WAY [ROWS [BYTES [RATE]]]]
 *
 * ROWS (1,000,000), of which UNDER_WAY (600,000) are under way at any time and end in any order,
 * stand in a journal, each with a text of BYTES (800). Then are measured, with the processor time
 * of all threads, in the process and in the kernel: reading them back in order; the same with
 * writing the output from nothing; what is left of the output when a thread has written it beside
 * the rows, of which RATE (38,400, those of 256 GPUs) a second have ended; reading both files; and
 * what a start after a kill opens, which is the journal and the notes of as many rows under way.
 * Files lie in $TMPDIR or /tmp, about 2 BYTES + 300 a row. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "data/journal/little_endian.h"
#include "run/writing/early_output.h"
#include "sluice/data.h"
#include "sluice/run.h"

enum { RESULT_ROW = 8 /* its place in a result's head */ };

static const char identity[] = "bench: file_tail\n";

struct bench {
    int64_t under_way, rows, rate;
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

/* What is done now and then while rows end: at their rate, where the output is written beside. */
static status take_turn(const struct bench *bench, struct journal *journal,
                        struct early_output *early, double start, int64_t ended)
{
    const double ahead = (double)ended / (double)bench->rate - (clock_seconds() - start);
    if (early == NULL) {
        return STATUS_OK;
    }
    if (ended % bench->rate < 256) {
        TRY(journal_commit(journal));
    }
    early_output_follow(early, bench->rows);
    if (ahead > 0) {
        nanosleep(&(struct timespec){.tv_sec = (time_t)ahead,
                                     .tv_nsec = (long)(1e9 * (ahead - (double)(time_t)ahead))},
                  NULL);
    }
    return STATUS_OK;
}

/* Rows begin in order, and any one of those under way ends. */
static status append_rows(const struct bench *bench, struct journal *journal,
                          struct attempts *attempts, struct early_output *early, int64_t *under_way,
                          struct buffer *result)
{
    const double start = clock_seconds();
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
        if (ended % 256 == 0) {
            TRY(take_turn(bench, journal, early, start, ended));
        }
    }
    return journal_commit(journal);
}

static status fill(const struct bench *bench, struct journal *journal, struct attempts *attempts,
                   struct early_output *early)
{
    struct buffer result = {0};
    int64_t *under_way = calloc((size_t)bench->under_way + 1, sizeof *under_way);
    status s = under_way != NULL ? make_result(bench->bytes, &result)
                                 : status_fail(STATUS_NO_MEMORY, "out of memory for rows");
    if (s == STATUS_OK) {
        s = append_rows(bench, journal, attempts, early, under_way, &result);
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

static status measure_file(const struct bench *bench)
{
    int64_t text = 0;
    struct output_reader *reader;
    const struct spent before = spent_now();
    TRY(output_open(bench->output, &reader));
    status s = output_visit(reader, count_result, &text);
    output_reader_close(reader);
    print_since("the file read", before);
    unlink(bench->output);
    return s;
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
    return measure_file(bench);
}

static struct output_columns no_columns(const void *context)
{
    (void)context;
    return (struct output_columns){0};
}

static status write_rest(struct early_output *early, struct journal *journal)
{
    struct results_file *file;
    int64_t row;
    const struct spent before = spent_now();
    TRY(early_output_take(early, &file, &row));
    if (file == NULL) {
        return status_fail(STATUS_INTERNAL, "nothing was written beside the rows");
    }
    status s = results_file_append_rest(file, journal, row);
    struct output_writer *writer = file->writer;
    if (s == STATUS_OK) {
        print_since("after the last row", before);
        file->writer = NULL;
        s = output_finish(writer);
    }
    results_file_destroy(file);
    print_since("with the file's sync", before);
    return s;
}

/* The same rows again, with a thread beside them. */
static status measure_beside(const struct bench *bench)
{
    struct journal *journal;
    struct attempts *attempts;
    struct early_output *early;
    struct early_output_options options = {
        .path = bench->output, .overwrite = true, .columns = no_columns};
    TRY(journal_open(bench->journal, identity, JOURNAL_FRESH, &journal));
    TRY(attempts_open(bench->journal, journal, true, &attempts));
    options.journal = journal;
    TRY(early_output_create(&options, &early));
    const struct spent before = spent_now();
    TRY(fill(bench, journal, attempts, early));
    print_since("rows, the output beside them", before);
    TRY(write_rest(early, journal));
    early_output_destroy(early);
    attempts_close(attempts, ATTEMPTS_DONE);
    journal_close(journal, true);
    return measure_file(bench);
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
    TRY(fill(bench, journal, attempts, NULL));
    print_since("rows into the journal", before);
    TRY(measure_reading(journal));
    TRY(measure_writing(bench, journal));
    attempts_close(attempts, ATTEMPTS_DONE);
    journal_close(journal, true);
    TRY(measure_beside(bench));
    TRY(measure_kill(bench));
    rmdir(bench->folder);
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    struct bench bench = {.under_way = argc > 1 ? atoll(argv[1]) : 600000,
                          .rows = argc > 2 ? atoll(argv[2]) : 1000000,
                          .bytes = argc > 3 ? (size_t)atol(argv[3]) : 800,
                          .rate = argc > 4 ? atoll(argv[4]) : 38400};
    log_configure(LOG_ERROR, NULL);
    printf("%lld rows of %zu bytes, %lld under way\n", (long long)bench.rows, bench.bytes,
           (long long)bench.under_way);
    if (measure(&bench) != STATUS_OK) {
        fprintf(stderr, "%s\n", status_message());
        return 1;
    }
    return 0;
}
