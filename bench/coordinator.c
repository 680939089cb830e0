/* SPDX-License-Identifier: Apache-2.0 */
/* What rank 0 spends on a row beside its own replica's work, with the real coordinator, journal and
 * notes of rows under way, real messages, and leaders that have no model:
 *
 *     mpirun -n 2 bench_coordinator [UNDER_WAY [ROWS [BYTES]]]
 *
 * Every rank but 0 is a leader that keeps its share of UNDER_WAY rows (1000), fetches them 256 at a
 * time and gives them back 32 a message, in any order, each with a text of BYTES (800). ROWS
 * (500,000) are what is measured, once the leaders are full: processor time of the calls of
 * coordinator_poll that found something to do, by rank 0's own thread: another writes the output
 * beside it. Then comes the end as after a kill: reopening the journal with the notes of UNDER_WAY
 * rows; then the last rows, and what is left to do until the file is there. After that, for
 * comparison, reading all back in order, with the bytes that takes, and the same with writing the
 * output from nothing; and what memory rank 0 has taken at most. Files lie in $TMPDIR or /tmp,
 * about 2 BYTES + 300 a row. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "data/journal/little_endian.h"
#include "run/coordinator.h"
#include "run/ranks/mailbox.h"
#include "run/ranks/wire.h"
#include "run/ranks/world.h"
#include "run/writing/early_output.h"
#include "sluice/inputs.h"
#include "sluice/run.h"

enum { REQUEST_ROWS = 256, MESSAGE_ROWS = 32, RESULT_ROW = 8 /* its place in a result's head */ };

static const char identity[] = "bench: coordinator\n";

struct bench {
    int64_t under_way, rows; /* rows: all, those that fill the leaders included */
    size_t bytes;
    char folder[256], journal[320], data[320], yaml[320], output[320];
    struct job job;
    struct input_files files;
};

static double clock_of(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Of all threads. */
static double cpu_seconds(void)
{
    return clock_of(CLOCK_PROCESS_CPUTIME_ID);
}

/* Bytes that system calls of this process have read so far. */
static int64_t bytes_read(void)
{
    FILE *file = fopen("/proc/self/io", "r");
    long long bytes = 0;
    if (file != NULL) {
        if (fscanf(file, "rchar: %lld", &bytes) != 1) {
            bytes = 0;
        }
        fclose(file);
    }
    return bytes;
}

/* ---- Leaders ---- */

struct leader {
    int64_t *rows; /* under way */
    int64_t count, most;
    bool requested, ended;
    uint64_t random;
    struct buffer result, message, incoming;
    struct record record;
    struct outbox outbox;
};

static uint64_t next_random(struct leader *self)
{
    self->random = self->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return self->random >> 33;
}

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

static status give_back_rows(struct leader *self)
{
    buffer_clear(&self->message);
    for (int i = 0; i < MESSAGE_ROWS && self->count > 0; i++) {
        int64_t at = (int64_t)(next_random(self) % (uint64_t)self->count);
        int64_t row = self->rows[at];
        self->rows[at] = self->rows[--self->count];
        little_endian_put(self->result.data + RESULT_ROW, (uint64_t)row, 8);
        TRY(rows_append(&self->message, row, self->result.data, self->result.length));
    }
    return outbox_send(&self->outbox, MPI_COMM_WORLD, 0, TAG_ROWS, self->message.data,
                       self->message.length);
}

static status take_shard(struct leader *self)
{
    MPI_Status info;
    bool got, more = true;
    TRY(message_poll(MPI_COMM_WORLD, 0, TAG_SHARD, &self->incoming, &info, &got));
    if (!got) {
        return STATUS_OK;
    }
    self->requested = false;
    self->ended = self->incoming.data[0] != SHARD_MORE;
    struct wire_reader reader = {self->incoming.data, self->incoming.length, 1};
    while (more) {
        TRY(shard_next(&reader, &self->record, &more));
        if (more) {
            self->rows[self->count++] = self->record.row;
        }
    }
    return STATUS_OK;
}

static status lead_round(struct leader *self)
{
    if (!self->requested && !self->ended && self->count < self->most) {
        const int32_t wanted = REQUEST_ROWS;
        self->requested = true;
        TRY(outbox_send(&self->outbox, MPI_COMM_WORLD, 0, TAG_REQUEST, &wanted, sizeof wanted));
    }
    TRY(take_shard(self));
    while (self->outbox.count < 16 && (self->count >= self->most || (self->ended && self->count))) {
        TRY(give_back_rows(self));
    }
    return outbox_poll(&self->outbox);
}

/* The last rows wait until rank 0 has opened its journal again. */
static status lead(const struct bench *bench, int rank, int leaders)
{
    struct leader self = {.most = bench->under_way / leaders, .random = (uint64_t)rank};
    self.rows = calloc((size_t)self.most + REQUEST_ROWS, sizeof *self.rows);
    status s = self.rows != NULL ? make_result(bench->bytes, &self.result)
                                 : status_fail(STATUS_NO_MEMORY, "out of memory for a leader");
    while (s == STATUS_OK && !(self.ended && self.count == 0)) {
        bool ended = self.ended;
        s = lead_round(&self);
        if (self.ended && !ended) {
            MPI_Request barrier; /* what rank 0 calls */
            MPI_Ibarrier(MPI_COMM_WORLD, &barrier);
            MPI_Wait(&barrier, MPI_STATUS_IGNORE);
        }
    }
    if (s == STATUS_OK) {
        s = outbox_send(&self.outbox, MPI_COMM_WORLD, 0, TAG_LEADER_DONE, "", 0);
    }
    if (s == STATUS_OK) {
        s = outbox_flush(&self.outbox);
    }
    outbox_destroy(&self.outbox);
    buffer_destroy(&self.result);
    buffer_destroy(&self.message);
    buffer_destroy(&self.incoming);
    buffer_destroy(&self.record.bytes);
    free(self.rows);
    return s;
}

/* ---- Rank 0 ---- */

static status write_data(const struct bench *bench)
{
    FILE *file = fopen(bench->data, "w");
    if (file == NULL) {
        return status_fail_errno(STATUS_IO, "%s", bench->data);
    }
    for (int64_t row = 0; row < bench->rows; row++) {
        fprintf(file,
                "{\"id\": \"row-%07lld\", \"prompt\": \"What is to be said of number %lld? Say it "
                "in a few words, please.\"}\n",
                (long long)row, (long long)row);
    }
    return fclose(file) == 0 ? STATUS_OK : status_fail_errno(STATUS_IO, "%s", bench->data);
}

static status prepare(struct bench *bench)
{
    const char *temporary = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    snprintf(bench->folder, sizeof bench->folder, "%s/coordinator_%ld", temporary, (long)getpid());
    snprintf(bench->journal, sizeof bench->journal, "%s/out.h5.sluice", bench->folder);
    snprintf(bench->data, sizeof bench->data, "%s/data.jsonl", bench->folder);
    snprintf(bench->output, sizeof bench->output, "%s/out.h5", bench->folder);
    snprintf(bench->yaml, sizeof bench->yaml, "%s/job.yaml", bench->folder);
    if (mkdir(bench->folder, 0777) != 0) {
        return status_fail_errno(STATUS_IO, "%s", bench->folder);
    }
    TRY(write_data(bench));
    FILE *file = fopen(bench->yaml, "w");
    if (file == NULL) {
        return status_fail_errno(STATUS_IO, "%s", bench->yaml);
    }
    fprintf(file,
            "model: {path: none}\ndata: {input: \"%s\"}\n"
            "output: {path: \"%s\"}\n",
            bench->data, bench->output);
    fclose(file);
    TRY(job_load(bench->yaml, NULL, 0, &bench->job));
    bench->job.generate.task = 0;
    return input_files_resolve(bench->job.data.input.items, bench->job.data.input.count,
                               &bench->files);
}

static void clean_up(struct bench *bench)
{
    unlink(bench->data);
    unlink(bench->yaml);
    rmdir(bench->folder);
    input_files_destroy(&bench->files);
    job_destroy(&bench->job);
}

/* Polls until so many rows were read, or until all is done (-1). *spent is the processor time of
 * calls that had something to do. */
static status poll_until(struct coordinator *coordinator, int64_t rows, double *spent)
{
    *spent = 0;
    while (rows >= 0 ? coordinator_totals(coordinator).rows_read < rows
                     : !coordinator_done(coordinator)) {
        bool idle;
        double start = clock_of(CLOCK_THREAD_CPUTIME_ID);
        TRY(coordinator_poll(coordinator, &idle));
        *spent += idle ? 0 : clock_of(CLOCK_THREAD_CPUTIME_ID) - start;
        if (idle) {
            world_pause(0);
        }
    }
    return STATUS_OK;
}

static status count_result(void *context, const struct result *result)
{
    *(int64_t *)context += (int64_t)result->text_length;
    return STATUS_OK;
}

/* Opens what a kill would leave: copies, since this process goes on. */
static status measure_reopening(const struct bench *bench, struct journal *journal)
{
    char copy[320], command[1024];
    snprintf(copy, sizeof copy, "%s/killed.h5.sluice", bench->folder);
    snprintf(command, sizeof command, "mkdir %s && cp %s/attempts %s/journal %s/", copy,
             bench->journal, bench->journal, copy);
    TRY(journal_commit(journal));
    if (system(command) != 0) {
        return status_fail(STATUS_IO, "%s: cannot be copied", bench->journal);
    }
    struct journal *opened;
    struct attempts *attempts;
    double start = clock_seconds();
    TRY(journal_open(copy, identity, 0, &opened));
    double middle = clock_seconds();
    TRY(attempts_open(copy, opened, false, &attempts));
    double end = clock_seconds();
    printf("reopened: journal of %lld rows in %.2f s, notes of rows under way in %.2f s\n",
           (long long)journal_row_count(opened), middle - start, end - middle);
    attempts_close(attempts, ATTEMPTS_ORDERLY);
    journal_close(opened, true);
    return STATUS_OK;
}

static status measure_reading(struct journal *journal)
{
    int64_t text = 0, before = bytes_read();
    double start = clock_seconds(), cpu = cpu_seconds();
    TRY(journal_visit(journal, count_result, &text));
    printf("read back: %lld rows, %.0f MB of texts, in %.2f s (%.2f s of processor), reading "
           "%.0f MB of %.0f\n",
           (long long)journal_row_count(journal), (double)text / 1e6, clock_seconds() - start,
           cpu_seconds() - cpu, (double)(bytes_read() - before) / 1e6,
           (double)journal_bytes(journal) / 1e6);
    return STATUS_OK;
}

static status write_result(void *context, const struct result *result)
{
    return output_append(context, result);
}

static struct output_columns no_columns(const void *context)
{
    (void)context;
    return (struct output_columns){0};
}

/* From the last row to the finished file. */
static status measure_end(const struct bench *bench, struct journal *journal,
                          struct early_output *early)
{
    struct results_file *file;
    int64_t row, before = bytes_read();
    double start = clock_seconds(), cpu = cpu_seconds();
    TRY(early_output_take(early, &file, &row));
    if (file == NULL) {
        const struct output_columns columns = {0};
        TRY(results_file_create(bench->output, true, &columns, "", &file));
    }
    status s = results_file_append_rest(file, journal, row);
    struct output_writer *writer = file->writer;
    if (s == STATUS_OK) {
        file->writer = NULL;
        s = output_finish(writer);
    }
    results_file_destroy(file);
    TRY(s);
    printf(
        "end: file there %.2f s after the last row (%.2f s of processor), %lld of %lld rows left "
        "to write, reading %.0f MB\n",
        clock_seconds() - start, cpu_seconds() - cpu, (long long)(bench->rows - row),
        (long long)bench->rows, (double)(bytes_read() - before) / 1e6);
    unlink(bench->output);
    return STATUS_OK;
}

static void print_memory(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        printf("memory of rank 0: %.0f MiB at most\n", (double)usage.ru_maxrss / 1024);
    }
}

/* What is left at the end where no row was written before: the whole file. */
static status measure_writing(const struct bench *bench, struct journal *journal)
{
    const char *path = bench->output;
    const struct output_columns columns = {0};
    struct output_writer *writer;
    struct stat info;
    int64_t before = bytes_read();
    double start = clock_seconds(), cpu = cpu_seconds();
    TRY(output_create(path, true, &columns, &writer));
    status s = journal_visit(journal, write_result, writer);
    if (s != STATUS_OK) {
        output_abandon(writer);
        return s;
    }
    TRY(output_finish(writer));
    if (stat(path, &info) != 0) {
        return status_fail_errno(STATUS_IO, "%s", path);
    }
    printf("written: file of %.0f MB in %.2f s (%.2f s of processor), reading %.0f MB\n",
           (double)info.st_size / 1e6, clock_seconds() - start, cpu_seconds() - cpu,
           (double)(bytes_read() - before) / 1e6);
    unlink(path);
    return STATUS_OK;
}

static status coordinate(const struct bench *bench, struct journal *journal,
                         struct early_output *early, struct coordinator *coordinator)
{
    double spent, filling;
    int64_t measured = bench->rows - bench->under_way;
    TRY(poll_until(coordinator, bench->under_way, &filling));
    double start = clock_seconds();
    TRY(poll_until(coordinator, bench->rows, &spent));
    double seconds = clock_seconds() - start;
    printf("%lld rows under way: %.2f us of processor a row (%.2f to fill), %.0f rows/s; journal "
           "and notes %.2f us\n",
           (long long)bench->under_way, 1e6 * spent / (double)measured,
           1e6 * filling / (double)bench->under_way, (double)measured / seconds,
           1e6 * coordinator_totals(coordinator).journal_seconds / (double)measured);
    /* The leaders hear of the end. */
    struct timespec pause = {.tv_nsec = 1000000};
    MPI_Request barrier;
    int there = 0;
    MPI_Ibarrier(MPI_COMM_WORLD, &barrier);
    while (!there) {
        TRY(coordinator_poll(coordinator, NULL));
        MPI_Test(&barrier, &there, MPI_STATUS_IGNORE);
        nanosleep(&pause, NULL);
    }
    TRY(measure_reopening(bench, journal));
    TRY(poll_until(coordinator, -1, &spent));
    print_memory();
    TRY(measure_end(bench, journal, early));
    TRY(measure_reading(journal));
    return measure_writing(bench, journal);
}

static status serve(struct bench *bench, int leaders)
{
    const struct plan plan = {.ranks = leaders + 1, .dp = leaders, .tp = 1, .pp = 1};
    struct journal *journal;
    struct attempts *attempts;
    struct early_output *early;
    struct coordinator *coordinator;
    TRY(prepare(bench));
    TRY(journal_open(bench->journal, identity, 0, &journal));
    TRY(attempts_open(bench->journal, journal, false, &attempts));
    const struct early_output_options output = {
        .path = bench->output, .overwrite = true, .journal = journal, .columns = no_columns};
    TRY(early_output_create(&output, &early));
    const struct coordinator_options options = {
        .job = &bench->job,
        .files = &bench->files,
        .journal = journal,
        .attempts = attempts,
        .early = early,
        .comm = MPI_COMM_WORLD,
        .replicas = leaders,
        .replica_ranks = 1,
        .rows = bench->rows,
        .progress = {.directory = bench->journal, .plan = &plan, .quiet = true}};
    TRY(coordinator_create(&options, &coordinator));
    status s = coordinate(bench, journal, early, coordinator);
    early_output_destroy(early);
    coordinator_destroy(coordinator);
    attempts_close(attempts, ATTEMPTS_DONE);
    journal_close(journal, true);
    clean_up(bench);
    return s;
}

int main(int argc, char **argv)
{
    int rank, size;
    if (run_start(&argc, &argv, &rank, &size) != STATUS_OK) {
        fprintf(stderr, "%s\n", status_message());
        return 1;
    }
    struct bench bench = {.under_way = argc > 1 ? atoll(argv[1]) : 1000,
                          .bytes = argc > 3 ? (size_t)atol(argv[3]) : 800};
    bench.rows = bench.under_way + (argc > 2 ? atoll(argv[2]) : 500000);
    if (size < 2 || bench.under_way < size - 1) {
        fprintf(stderr, "usage: mpirun -n 2 bench_coordinator [UNDER_WAY [ROWS [BYTES]]]\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    log_configure(LOG_ERROR, NULL);
    if ((rank == 0 ? serve(&bench, size - 1) : lead(&bench, rank, size - 1)) != STATUS_OK) {
        fprintf(stderr, "rank %d: %s\n", rank, status_message());
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    run_end();
    return 0;
}
