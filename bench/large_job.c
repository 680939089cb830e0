/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a job of many rows, without a model:
 *
 *     bench_large_job output OUT.h5 ROWS    a complete output: texts of about 300 bytes, fields of
 *                                           the input, errors, four ranks of which rank 3 is slow
 *     bench_large_job journal OUT.h5 ROWS   the journal of a job that has done ROWS of 10/9 ROWS;
 *                                           it is held as a running job holds it until standard
 *                                           input ends
 *
 * bench/large_job.sh measures commands with them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sluice/data.h"
#include "sluice/progress.h"

enum { RANKS = 4, SLOW_RANK = 3, POINTS = 900, ERRORS_EVERY = 997, COMMIT_ROWS = 4096 };
static const double SECONDS = 3600;

/* Texts pack about as well as people's. */
static const char *const words[] = {
    "the",  "of",   "and",   "to",    "in",    "is",   "it",   "you",   "that",  "he",    "was",
    "for",  "on",   "are",   "with",  "as",    "his",  "they", "be",    "at",    "one",   "have",
    "this", "from", "or",    "had",   "by",    "hot",  "but",  "some",  "what",  "there", "can",
    "out",  "all",  "were",  "your",  "when",  "up",   "use",  "word",  "how",   "said",  "each",
    "she",  "do",   "their", "time",  "if",    "will", "way",  "about", "many",  "then",  "them",
    "like", "long", "make",  "thing", "see",   "look", "day",  "come",  "sound", "most",  "number",
    "who",  "over", "know",  "water", "first", "side", "been", "find",  "new",   "work",  "part"};

struct row_texts {
    char id[32], fields[96], error[64], text[512];
};

static size_t make_text(uint64_t random, char text[512])
{
    const size_t count = 40 + random % 40;
    size_t length = 0;
    for (size_t i = 0; i < count && length < 500; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        length += (size_t)snprintf(text + length, 512 - length, "%s ",
                                   words[(random >> 33) % COUNT_OF(words)]);
    }
    return length;
}

/* The result's texts live in `texts`. */
static struct result make_result(int64_t row, struct row_texts *texts)
{
    const uint64_t mixed = (uint64_t)row * UINT64_C(0x9E3779B97F4A7C15) >> 20;
    const bool failed = row % ERRORS_EVERY == 0;
    snprintf(texts->id, sizeof texts->id, "row-%08lld", (long long)row);
    snprintf(texts->fields, sizeof texts->fields, "{\"label\":%d,\"topic\":\"topic-%d\"}",
             (int)(mixed % 1000), (int)(mixed % 17));
    snprintf(texts->error, sizeof texts->error, "line %lld: no prompt", (long long)row + 1);
    return (struct result){
        .row = row,
        .rank = (int32_t)(mixed % RANKS),
        .finish_reason = failed           ? FINISH_ERROR
                         : mixed % 5 == 0 ? FINISH_LENGTH
                                          : FINISH_STOP,
        .endpoint = ENDPOINT_COMPLETIONS,
        .id = texts->id,
        .id_length = strlen(texts->id),
        .text = texts->text,
        .text_length = failed ? 0 : make_text(mixed, texts->text),
        .error = failed ? texts->error : "",
        .error_length = failed ? strlen(texts->error) : 0,
        .passthrough = texts->fields,
        .passthrough_length = strlen(texts->fields),
        .prompt_tokens = failed ? 0 : (int32_t)(20 + mixed % 300),
        .completion_tokens = failed ? 0 : (int32_t)(40 + mixed % 90),
        .seconds = failed ? 0 : 0.2 + (double)(mixed % 4000) / 1000,
    };
}

/* ---- A complete output ---- */

static status write_ranks(struct output_writer *writer, int64_t rows)
{
    struct rank_metrics ranks[RANKS] = {0};
    for (int i = 0; i < RANKS; i++) {
        const double speed = i == SLOW_RANK ? 0.4 : 1;
        ranks[i] = (struct rank_metrics){
            .rank = i,
            .dp = i,
            .rows = (int64_t)((double)rows * speed / (RANKS - 1 + 0.4)),
            .prompt_tokens = rows * 40,
            .output_tokens = (int64_t)((double)rows * 85 * speed / (RANKS - 1 + 0.4)),
            .steps = 1000000,
            .seconds_total = SECONDS,
            .seconds_prefill = SECONDS * 0.2,
            .seconds_decode = SECONDS * 0.75,
            .seconds_idle = SECONDS * 0.05,
            .peak_memory_bytes = INT64_C(4000000000),
            .kv_peak_use = 0.9,
        };
        snprintf(ranks[i].host, sizeof ranks[i].host, "node%d", i / 2);
        snprintf(ranks[i].device, sizeof ranks[i].device, "cpu");
    }
    TRY(output_write_ranks(writer, ranks, RANKS));
    struct timeline_point *points = calloc(RANKS * POINTS, sizeof *points);
    if (points == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for samples over time");
    }
    for (int i = 0; i < RANKS * POINTS; i++) {
        const int rank = i / POINTS, at = i % POINTS + 1;
        points[i] = (struct timeline_point){
            .seconds = SECONDS * at / POINTS,
            .rank = rank,
            .running = 64,
            .waiting = at % 16,
            .kv_blocks_used = 3000 + at % 500,
            .output_tokens = ranks[rank].output_tokens * at / POINTS,
            .prompt_tokens = ranks[rank].prompt_tokens * at / POINTS,
            .rows = ranks[rank].rows * at / POINTS,
        };
    }
    status s = output_write_timeline(writer, points, (size_t)RANKS * POINTS);
    free(points);
    return s;
}

static status fill_output(struct output_writer *writer, int64_t rows)
{
    struct row_texts texts;
    double prompts = 0, answers = 0, errors = 0;
    for (int64_t row = 0; row < rows; row++) {
        const struct result result = make_result(row, &texts);
        prompts += result.prompt_tokens;
        answers += result.completion_tokens;
        errors += result.finish_reason == FINISH_ERROR;
        TRY(output_append(writer, &result));
    }
    TRY(write_ranks(writer, rows));
    const struct output_attribute attributes[] = {
        {"model_path", "models/none", 0},
        {"data_path", "rows.jsonl", 0},
        {"device", "cpu", 0},
        {"compute_dtype", "float32", 0},
        {"kv_dtype", "float32", 0},
        {"host", "node0", 0},
        {"layout", "dp 4, tp 1, pp 1, tp_slices 8", 0},
        {"job", "model: {path: models/none}\n", 0},
        {"rows", NULL, (double)rows},
        {"error_rows", NULL, errors},
        {"resumed_rows", NULL, 0},
        {"wall_seconds", NULL, SECONDS},
        {"wall_output_tokens", NULL, answers},
        {"prompt_tokens", NULL, prompts},
        {"output_tokens", NULL, answers},
    };
    return output_write_attributes(writer, attributes, COUNT_OF(attributes));
}

static status make_output(const char *path, int64_t rows)
{
    const struct output_columns columns = {0};
    struct output_writer *writer;
    TRY(output_create(path, true, &columns, &writer));
    status s = fill_output(writer, rows);
    if (s != STATUS_OK) {
        output_abandon(writer);
        return s;
    }
    return output_finish(writer);
}

/* ---- A journal ---- */

static status fill_journal(struct journal *journal, int64_t rows)
{
    struct row_texts texts;
    struct buffer bytes = {0};
    status s = STATUS_OK;
    for (int64_t row = 0; s == STATUS_OK && row < rows; row++) {
        const struct result result = make_result(row, &texts);
        buffer_clear(&bytes);
        s = result_encode(&result, &bytes);
        if (s == STATUS_OK) {
            s = journal_append(journal, row, bytes.data, bytes.length);
        }
        if (s == STATUS_OK && row % COMMIT_ROWS == 0) {
            s = journal_commit(journal);
        }
    }
    buffer_destroy(&bytes);
    TRY(s);
    return journal_commit(journal);
}

static status write_progress(const char *folder, const struct journal *journal, int64_t rows)
{
    const struct journal_totals totals = journal_totals(journal);
    struct job_progress progress = {
        .rows = rows + rows / 9,
        .rows_done = totals.rows,
        .rows_handed = totals.rows + 4096,
        .error_rows = totals.error_rows,
        .output_tokens = totals.output_tokens,
        .seconds = SECONDS,
        .rows_per_second = (double)rows / SECONDS,
        .tokens_per_second = (double)totals.output_tokens / SECONDS,
        .running = 256,
        .waiting = 64,
        .kv_use = 0.8,
        .started = time(NULL) - (int64_t)SECONDS,
        .updated = time(NULL),
        .ranks = RANKS,
        .dp = RANKS,
        .tp = 1,
        .pp = 1,
        .process = getpid(),
    };
    gethostname(progress.host, sizeof progress.host - 1);
    snprintf(progress.last_error, sizeof progress.last_error, "%s", totals.last_error);
    return job_progress_write(folder, &progress);
}

static status make_journal(const char *path, int64_t rows)
{
    struct buffer folder = {0};
    struct journal *journal = NULL;
    status s = buffer_format(&folder, "%s.sluice", path);
    if (s == STATUS_OK) {
        s = journal_open(folder.data, "bench: large job\n", JOURNAL_FRESH, &journal);
    }
    if (s == STATUS_OK) {
        s = fill_journal(journal, rows);
    }
    if (s == STATUS_OK) {
        s = write_progress(folder.data, journal, rows);
    }
    if (s == STATUS_OK) {
        puts("held");
        fflush(stdout);
        while (getchar() != EOF) {
        }
    }
    if (journal != NULL) {
        journal_close(journal, false);
    }
    buffer_destroy(&folder);
    return s;
}

int main(int argc, char **argv)
{
    const long long rows = argc == 4 ? atoll(argv[3]) : 0;
    const bool output = argc == 4 && strcmp(argv[1], "output") == 0;
    if (rows <= 0 || (!output && strcmp(argv[1], "journal") != 0)) {
        fprintf(stderr, "usage: bench_large_job output|journal OUT.h5 ROWS\n");
        return 2;
    }
    if ((output ? make_output(argv[2], rows) : make_journal(argv[2], rows)) != STATUS_OK) {
        fprintf(stderr, "%s\n", status_message());
        return 1;
    }
    return 0;
}
