/* SPDX-License-Identifier: Apache-2.0 */
/* What ranks send, note, tally and say, with each of the allocations failing in turn, at whatever
 * place in a text memory runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "failing/failing.h"
#include "run/order/row_batch.h"
#include "run/output/series.h"
#include "run/output/slow_ranks.h"
#include "run/output_place.h"
#include "run/provenance.h"
#include "run/ranks/wire.h"
#include "run/report/error_tally.h"
#include "run/report/metrics_file.h"
#include "run/report/notes.h"
#include "run/report/pace.h"
#include "run/suspects.h"
#include "scratch_folder.h"
#include "sluice/chat.h"
#include "sluice/progress.h"

/* A buffer grows at some lengths only. With so many bytes before a text, one after the other, each
 * piece of it comes to be the one that there is no room for. */
enum { MOST_PADDING = 130 };

/* Appends a text to `out`. */
typedef status (*writer)(struct buffer *out);

static status write_padded(void *context)
{
    const writer write = *(const writer *)context;
    char padding[MOST_PADDING];
    memset(padding, '.', sizeof padding);
    for (size_t length = 0; length < MOST_PADDING; length++) {
        struct buffer out = {0};
        status s = buffer_append(&out, padding, length);
        s = s == STATUS_OK ? write(&out) : s;
        buffer_destroy(&out);
        TRY(s);
    }
    return STATUS_OK;
}

static void walk(const char *name, status (*act)(void *), const void *context)
{
    const struct failing_walk how = {
        .name = name, .kinds = FAIL_MEMORY, .act = act, .context = (void *)context, .once = true};
    assert_true(failing_walk(&how) > 0);
}

static void walk_text(const char *name, writer write)
{
    walk(name, write_padded, &write);
}

/* ---- Messages ---- */

static status write_shard(struct buffer *out)
{
    const struct record record = {.row = 1,
                                  .kind = RECORD_JSON,
                                  .file = "a file's name",
                                  .bytes = {.data = "abcdefgh", .length = 8}};
    TRY(shard_append(out, &record));
    return shard_append(out, &record);
}

static status write_rows(struct buffer *out)
{
    TRY(rows_append(out, 3, "abcdefghijklm", 13));
    return rows_append(out, 4, "abcdefghijklm", 13);
}

static status write_step(struct buffer *out)
{
    static const int32_t numbers[8] = {0, 1, 1};
    const uint8_t long_rope[] = {1};
    const struct batch batch = {.tokens = 1,
                                .sequences = 1,
                                .outputs = 1,
                                .token_ids = numbers,
                                .positions = numbers,
                                .query_start = numbers,
                                .context_length = numbers + 1,
                                .block_table = numbers,
                                .block_table_stride = 1,
                                .long_rope = long_rope,
                                .output_rows = numbers};
    (void)out; /* it clears what it is given */
    struct buffer message = {0};
    status s = step_pack(&batch, 16, 1, &message);
    buffer_destroy(&message);
    return s;
}

static status read_shard(void *context)
{
    (void)context;
    struct buffer message = {0};
    struct record record = {0};
    bool more = false;
    status s = shard_begin(&message);
    s = s == STATUS_OK ? write_shard(&message) : s;
    struct wire_reader reader = {message.data, message.length, 1};
    s = s == STATUS_OK ? shard_next(&reader, &record, &more) : s;
    buffer_destroy(&record.bytes);
    buffer_destroy(&message);
    return s;
}

static void messages(void **state)
{
    (void)state;
    walk_text("shards", write_shard);
    walk_text("rows", write_rows);
    walk_text("steps", write_step);
    walk("a shard", read_shard, NULL);
}

/* ---- Notes and errors ---- */

static status note_all(struct notes *notes)
{
    notes_add_row(notes, NOTE_ROW_PARAMETERS);
    notes_add_row(notes, NOTE_OTHER_MODEL);
    notes_add_row(notes, NOTE_UNKNOWN_FIELDS);
    for (int i = 0; i < 12; i++) {
        char name[8];
        snprintf(name, sizeof name, "n%d", i);
        TRY(notes_add_name(notes, NOTE_ROW_PARAMETERS, name, strlen(name), 1));
        TRY(notes_add_name(notes, NOTE_OTHER_MODEL, name, strlen(name), i));
    }
    return notes_add_name(notes, NOTE_UNKNOWN_FIELDS, "one", 3, 1);
}

static status write_notes(struct buffer *out)
{
    struct notes notes = {0}, others = {0};
    struct buffer packed = {0};
    status s = note_all(&notes);
    s = s == STATUS_OK ? notes_pack(&notes, out) : s;
    s = s == STATUS_OK ? notes_pack(&notes, &packed) : s;
    s = s == STATUS_OK ? notes_merge(&others, packed.data, packed.length) : s;
    s = s == STATUS_OK ? notes_describe(&others, out) : s;
    notes_destroy(&notes);
    notes_destroy(&others);
    buffer_destroy(&packed);
    return s;
}

static status write_errors(struct buffer *out)
{
    static const char *const errors[] = {"line 1: too long", "line 2: no prompt",
                                         "line 3: too long", "line 4: bad",
                                         "line 5: worse",    "a file: line 6: no place"};
    struct error_tally tally = {0};
    status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < COUNT_OF(errors); i++) {
        s = error_tally_add(&tally, (int64_t)i, errors[i], strlen(errors[i]));
    }
    struct buffer line = {0}; /* it is told from the line whether something stands before */
    s = s == STATUS_OK ? error_tally_describe(&tally, &line) : s;
    s = s == STATUS_OK ? buffer_append(out, line.data, line.length) : s;
    s = s == STATUS_OK ? error_tally_describe(&tally, out) : s;
    buffer_destroy(&line);
    error_tally_destroy(&tally);
    return s;
}

static void notes_and_errors(void **state)
{
    (void)state;
    walk_text("notes", write_notes);
    walk_text("errors", write_errors);
}

/* ---- What is said of a job ---- */

static const struct job_progress progress = {
    .rows = 10, .host = "h", .last_error = "e", .slow = "s"};

static void work(struct paces *paces)
{
    double now = 0;
    for (int second = 0; second < 120; second++, now++) {
        for (int i = 0; i < paces->count; i++) {
            struct replica_state s = paces->replicas[i].state;
            snprintf(s.host, sizeof s.host, "node%d", i);
            s.tokens += i == 1 || i == 2 ? 50 : 100;
            s.busy_seconds += 1;
            if (i < 4) {
                paces_take(paces, i, &s, now);
            }
        }
        paces_judge(paces, true, now);
    }
}

static status write_paces(struct buffer *out)
{
    struct paces paces = {0};
    status s = paces_begin(&paces, 5, 2, 0);
    if (s == STATUS_OK) {
        work(&paces);
        s = paces_describe_slow(&paces, 120, out);
    }
    for (int i = 0; s == STATUS_OK && i < 5; i++) {
        s = pace_describe(&paces, i, 120, out);
    }
    s = s == STATUS_OK ? paces_summarise(&paces, out) : s;
    s = s == STATUS_OK ? metrics_describe(&progress, &paces, "a\"b", true, 120, out) : s;
    paces_destroy(&paces);
    return s;
}

static status write_progress(struct buffer *out)
{
    return job_progress_append_json(&progress, out);
}

static void lines_about_a_job(void **state)
{
    (void)state;
    walk_text("paces", write_paces);
    walk_text("progress", write_progress);
    walk_text("forms", answer_forms_describe);
}

/* ---- What identifies a job ---- */

static status write_identity(struct buffer *out)
{
    struct input_file items[2] = {{.path = "some/where/a.jsonl"}, {.path = "b.jsonl"}};
    struct input_files files = {.items = items, .count = 2};
    const struct plan plan = {.kind = backend_kind_host(), .arithmetic = "sums"};
    const struct provenance provenance = {
        .files = &files, .part = "rows appended from: 3\n", .embedding = "embedding: mean\n"};
    static const char text[] = "model: {path: m}\ndata: {input: d}\noutput: {path: o}\n"
                               "generate: {seed: 4, stop: [a, b], temperature: 0.5}\n";
    struct job job;
    status s = job_read("job", text, sizeof text - 1, NULL, 0, &job);
    s = s == STATUS_OK ? provenance_identity(&provenance, &job, &plan, out) : s;
    struct buffer lines = {0};
    s = s == STATUS_OK ? buffer_append_text(&lines, "generate.seed: 4\ngenerate.n: 1\n") : s;
    s = s == STATUS_OK ? provenance_drop_defaults(lines.data, out) : s;
    s = s == STATUS_OK ? output_place_journal(&job, out) : s;
    buffer_destroy(&lines);
    job_destroy(&job);
    return s;
}

static void identities(void **state)
{
    (void)state;
    walk_text("an identity", write_identity);
}

/* ---- Rows that wait ---- */

static status keep_rows(void *context)
{
    (void)context;
    struct row_batch *batch;
    struct suspects suspects = {.fd = -1};
    struct record taken = {0};
    const struct row_key key = {0};
    TRY(row_batch_create(".", &batch));
    status s = STATUS_OK;
    for (int i = 0; s == STATUS_OK && i < 40; i++) {
        const struct record record = {
            .row = i, .file = "f", .bytes = {.data = "abcdefgh", .length = 8}};
        s = row_batch_add(batch, &record, &key);
        s = s == STATUS_OK ? suspects_keep(&suspects, ".", &record, 3) : s;
    }
    row_batch_sort(batch);
    s = s == STATUS_OK ? row_batch_take(batch, &taken) : s;
    bool more = false;
    if (s == STATUS_OK && suspects_begin_group(&suspects) > 0) {
        s = suspects_next(&suspects, &taken, &more);
    }
    buffer_destroy(&taken.bytes);
    suspects_destroy(&suspects);
    row_batch_destroy(batch);
    return s;
}

static void rows_that_wait(void **state)
{
    (void)state;
    walk("rows", keep_rows, NULL);
}

/* ---- Ranks beside each other ---- */

static status compare_ranks(void *context)
{
    (void)context;
    static const struct timeline_point points[] = {{.seconds = 1, .rank = 0, .output_tokens = 5},
                                                   {.seconds = 1, .rank = 1, .output_tokens = 5},
                                                   {.seconds = 2, .rank = 0, .output_tokens = 9},
                                                   {.seconds = 90, .rank = 1, .output_tokens = 9}};
    const struct rank_metrics ranks[2] = {{.rank = 0}, {.rank = 1, .dp = 1}};
    struct rank_verdict verdicts[2];
    struct arena arena = {0};
    struct series series;
    double *joined;
    status s = series_make(points, COUNT_OF(points), true, &arena, &series);
    s = s == STATUS_OK ? series_join(&series, series.rate, SERIES_SUM, &arena, &joined) : s;
    s = s == STATUS_OK ? slow_ranks_find(ranks, 2, verdicts) : s;
    arena_destroy(&arena);
    return s;
}

static void ranks_beside_each_other(void **state)
{
    (void)state;
    walk("ranks", compare_ranks, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages),          cmocka_unit_test(notes_and_errors),
        cmocka_unit_test(lines_about_a_job), cmocka_unit_test(identities),
        cmocka_unit_test(rows_that_wait),    cmocka_unit_test(ranks_beside_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
