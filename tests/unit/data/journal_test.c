/* SPDX-License-Identifier: Apache-2.0 */
/* The journal: what was committed survives cuts, kills and full disks, and damage is not taken for
 * an end. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/journal/lock.h"
#include "scratch_folder.h"
#include "sluice/data.h"

static const char identity[] = "data: sha256 1234\nmodel: tiny\nseed: 1\n";

/* A row's payload: `samples` results whose text is `size` letters made from the row's number. */
static void make_payload(int64_t row, int samples, size_t size, struct buffer *out)
{
    char *text = malloc(size + 1);
    assert_non_null(text);
    memset(text, 'a' + (int)(row % 26), size);
    buffer_clear(out);
    for (int i = 0; i < samples; i++) {
        const struct result result = {
            .row = row, .sample = i, .text = text, .text_length = size, .id = "i", .id_length = 1};
        assert_int_equal(result_encode(&result, out), STATUS_OK);
    }
    free(text);
}

static status append_row(struct journal *journal, int64_t row, int samples, size_t size)
{
    struct buffer payload = {0};
    make_payload(row, samples, size, &payload);
    status s = journal_append(journal, row, payload.data, payload.length);
    buffer_destroy(&payload);
    return s;
}

static struct journal *open_journal(const char *path)
{
    struct journal *journal;
    if (journal_open(path, identity, 0, &journal) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    return journal;
}

/* What a visit sees: order and content. */
struct seen {
    int64_t results, previous_row;
    int32_t previous_sample;
};

static status see(void *context, const struct result *result)
{
    struct seen *seen = context;
    assert_true(result->row > seen->previous_row ||
                (result->row == seen->previous_row && result->sample == seen->previous_sample + 1));
    for (size_t i = 0; i < result->text_length; i++) {
        assert_int_equal(result->text[i], 'a' + (int)(result->row % 26));
    }
    seen->results++;
    seen->previous_row = result->row;
    seen->previous_sample = result->sample;
    return STATUS_OK;
}

static int64_t count_results(struct journal *journal)
{
    struct seen seen = {.previous_row = -1, .previous_sample = -1};
    if (journal_visit(journal, see, &seen) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    return seen.results;
}

static void rows_come_back_in_order(void **state)
{
    const char *path = scratch_path(state, "order");
    struct journal *journal = open_journal(path);
    /* 0 to 2999 in a scrambled order; some of them large. */
    for (int64_t i = 0; i < 3000; i++) {
        int64_t row = i * 1009 % 3000;
        assert_int_equal(append_row(journal, row, 1 + (int)(row % 3),
                                    row % 500 == 0 ? 200000 : (size_t)(row % 300)),
                         STATUS_OK);
        if (i % 100 == 0) {
            assert_int_equal(journal_commit(journal), STATUS_OK);
        }
    }
    assert_int_equal(journal_row_count(journal), 3000);
    assert_int_equal(count_results(journal), 6000);
    assert_int_equal(append_row(journal, 5, 1, 1), STATUS_INTERNAL);
    assert_int_equal(journal_append(journal, 3000, "x", 1), STATUS_INTERNAL);
    int64_t bytes = journal_bytes(journal);
    journal_close(journal, false);
    journal = open_journal(path);
    assert_true(journal_bytes(journal) >= bytes);
    assert_int_equal(journal_row_count(journal), 3000);
    assert_true(journal_has_row(journal, 2999));
    assert_false(journal_has_row(journal, 3000));
    assert_false(journal_has_row(journal, -1));
    assert_false(journal_has_row(journal, INT64_MAX));
    assert_int_equal(count_results(journal), 6000);
    assert_int_equal(append_row(journal, INT64_C(5000000), 2, 10), STATUS_OK);
    assert_int_equal(count_results(journal), 6002);
    journal_close(journal, true);
    assert_int_equal(access(path, F_OK), -1);
}

static void columns_are_those_that_any_row_needs(void **state)
{
    static const int32_t ids[] = {1, 2, 3, 4, 5, 6};
    static const float values[] = {-1, -2, -3, -4, -5, -6};
    const struct result rows[] = {
        {.row = 0, .id = "", .text = "", .error = "", .passthrough = "", .prompt = "p"},
        {.row = 1,
         .id = "",
         .text = "",
         .error = "",
         .passthrough = "",
         .completion_tokens = 2,
         .token_ids = ids,
         .logprobs = values,
         .top_logprobs = 3,
         .top_ids = ids,
         .top_values = values},
        {.row = 2, .id = "", .text = "", .error = "", .passthrough = ""},
    };
    const char *path = scratch_path(state, "columns");
    struct journal *journal = open_journal(path);
    struct output_columns none = journal_columns(journal);
    assert_false(none.prompt || none.token_ids || none.logprobs || none.top_logprobs > 0);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buffer bytes = {0};
        assert_int_equal(result_encode(&rows[i], &bytes), STATUS_OK);
        assert_int_equal(journal_append(journal, rows[i].row, bytes.data, bytes.length), STATUS_OK);
        buffer_destroy(&bytes);
        struct output_columns columns = journal_columns(journal);
        assert_true(columns.prompt);
        assert_int_equal(columns.token_ids, i > 0);
    }
    for (int opened = 0; opened < 2; opened++) {
        struct output_columns columns = journal_columns(journal);
        assert_true(columns.prompt && columns.token_ids && columns.logprobs);
        assert_int_equal(columns.top_logprobs, 3);
        journal_close(journal, opened == 1);
        journal = opened == 0 ? open_journal(path) : NULL;
    }
}

static void another_job_is_refused_by_its_line(void **state)
{
    const char *path = scratch_path(state, "identity");
    struct journal *journal = open_journal(path);
    assert_int_equal(append_row(journal, 0, 1, 5), STATUS_OK);
    journal_close(journal, false);
    static const struct {
        const char *identity, *message;
    } others[] = {
        {"data: sha256 1234\nmodel: tiny\nseed: 2\n", "\"seed: 1\" there, \"seed: 2\" now"},
        {"data: sha256 1234\nmodel: tiny\n", "\"seed: 1\" there, the default now"},
        {"data: sha256 1234\nmodel: tiny\nseed: 1\nmore\n", "the default there, \"more\" now"},
        {"", "\"data: sha256 1234\" there, the default now"},
    };
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        assert_int_equal(journal_open(path, others[i].identity, 0, &journal), STATUS_EXISTS);
        if (strstr(status_message(), others[i].message) == NULL) {
            fail_msg("%s", status_message());
        }
    }
    journal = open_journal(path);
    assert_int_equal(journal_row_count(journal), 1);
    journal_close(journal, false);
    assert_int_equal(journal_open(path, others[0].identity, JOURNAL_FRESH, &journal), STATUS_OK);
    assert_int_equal(journal_row_count(journal), 0);
    journal_close(journal, false);
}

static void only_one_writer(void **state)
{
    const char *path = scratch_path(state, "lock");
    struct journal *journal = open_journal(path);
    struct journal *second;
    char self[32];
    snprintf(self, sizeof self, "process %ld", (long)getpid());
    assert_int_equal(journal_open(path, identity, 0, &second), STATUS_EXISTS);
    assert_null(second);
    assert_non_null(strstr(status_message(), self));
    journal_close(journal, false);
    journal = open_journal(path);
    journal_close(journal, false);
    /* A holder that died. */
    pid_t child = fork();
    if (child == 0) {
        _exit(journal_open(path, identity, 0, &journal) == STATUS_OK ? 0 : 1);
    }
    int exit_status;
    assert_int_equal(waitpid(child, &exit_status, 0), child);
    assert_int_equal(exit_status, 0);
    assert_int_equal(access(scratch_path(state, "lock/lock"), F_OK), 0);
    journal = open_journal(path);
    journal_close(journal, false);
    assert_int_equal(access(scratch_path(state, "lock/lock"), F_OK), -1);
}

static const char elsewhere[] = "host elsewhere\npid 12\nstart 99\nslurm 77 0\nplace other\nbeat ";

/* A holder on another machine: writes its lock and changes it until it is killed. */
static pid_t start_holder_elsewhere(const char *lock)
{
    pid_t child = fork();
    for (int beat = 0; child == 0; beat++) {
        FILE *file = fopen(lock, "r+");
        file = file != NULL ? file : fopen(lock, "w");
        fprintf(file, "%s%020d\n", elsewhere, beat);
        fclose(file);
        usleep(20000);
    }
    return child;
}

static void a_lock_of_another_machine_holds_while_it_lives(void **state)
{
    const char *path = scratch_path(state, "lease");
    const char *lock = scratch_path(state, "lease/lock");
    const struct journal_lock_times before = journal_lock_times;
    struct journal *journal;
    journal_lock_times = (struct journal_lock_times){.beat_seconds = 0.2, .lease_seconds = 1};
    journal = open_journal(path);
    journal_close(journal, false);
    pid_t child = start_holder_elsewhere(lock);
    while (access(lock, F_OK) != 0) {
        usleep(1000);
    }
    usleep(50000);
    assert_int_equal(journal_open(path, identity, 0, &journal), STATUS_EXISTS);
    assert_non_null(strstr(status_message(), "process 12 on host elsewhere"));
    assert_non_null(strstr(status_message(), lock));
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    /* Dead, it is taken over after the lease, and at once by a later start of the same Slurm job.
     */
    double start = clock_seconds();
    journal = open_journal(path);
    assert_true(clock_seconds() - start >= 1);
    journal_close(journal, false);
    /* One that died before it had said who it is. */
    scratch_write(state, "lease/lock", "host", 4);
    start = clock_seconds();
    journal = open_journal(path);
    assert_true(clock_seconds() - start >= 1);
    journal_close(journal, false);
    scratch_write(state, "lease/lock", elsewhere, strlen(elsewhere));
    setenv("SLURM_JOB_ID", "77", 1);
    setenv("SLURM_RESTART_COUNT", "1", 1);
    start = clock_seconds();
    journal = open_journal(path);
    assert_true(clock_seconds() - start < 0.9);
    unsetenv("SLURM_JOB_ID");
    unsetenv("SLURM_RESTART_COUNT");

    /* A holder shows that it lives, and notices that it was taken for dead. */
    struct buffer first = {0}, second = {0};
    assert_int_equal(file_read(lock, 4096, &first), STATUS_OK);
    usleep(500000);
    assert_int_equal(file_read(lock, 4096, &second), STATUS_OK);
    assert_string_not_equal(first.data, second.data);
    assert_int_equal(append_row(journal, 1, 1, 10), STATUS_OK);
    assert_int_equal(journal_commit(journal), STATUS_OK);
    assert_int_equal(unlink(lock), 0);
    scratch_write(state, "lease/lock", elsewhere, strlen(elsewhere));
    usleep(500000);
    assert_int_equal(append_row(journal, 2, 1, 10), STATUS_OK);
    assert_int_equal(journal_commit(journal), STATUS_EXISTS);
    assert_non_null(strstr(status_message(), "taken over"));
    journal_close(journal, false);
    assert_int_equal(access(lock, F_OK), 0); /* not its own any more, and left alone */
    assert_int_equal(unlink(lock), 0);
    journal = open_journal(path);
    assert_int_equal(journal_row_count(journal), 1);
    journal_close(journal, false);
    buffer_destroy(&first);
    buffer_destroy(&second);
    journal_lock_times = before;
}

/* Writes a journal of rows 0 to 5 in two commits, the second one without its mark when `unmarked`;
 * gives its bytes and where each entry ends. */
static void make_journal(void **state, bool unmarked, struct buffer *bytes, size_t ends[6])
{
    const char *path = scratch_path(state, "made");
    struct journal *journal;
    assert_int_equal(journal_open(path, identity, JOURNAL_FRESH, &journal), STATUS_OK);
    for (int64_t row = 0; row < 6; row++) {
        assert_int_equal(append_row(journal, row, 1, 20), STATUS_OK);
        ends[row] = (size_t)journal_bytes(journal);
        if (row == 2) {
            assert_int_equal(journal_commit(journal), STATUS_OK);
        }
    }
    journal_close(journal, false);
    buffer_clear(bytes);
    assert_int_equal(file_read(scratch_path(state, "made/journal"), 1 << 20, bytes), STATUS_OK);
    assert_int_equal(bytes->length, ends[5] + 32);
    if (unmarked) {
        bytes->length = ends[5];
    }
}

static status reopen_with(void **state, const char *bytes, size_t length, int64_t *rows)
{
    struct journal *journal;
    assert_non_null(scratch_write(state, "made/journal", bytes, length));
    status s = journal_open(scratch_path(state, "made"), identity, 0, &journal);
    if (s == STATUS_OK) {
        *rows = journal_row_count(journal);
        assert_int_equal(count_results(journal), *rows);
        if (length % 16 != 0) { /* syncing takes its time */
            journal_close(journal, false);
            return s;
        }
        /* It goes on where the good part ended. */
        assert_int_equal(append_row(journal, 100, 1, 50), STATUS_OK);
        journal_close(journal, false);
        journal = open_journal(scratch_path(state, "made"));
        assert_int_equal(journal_row_count(journal), *rows + 1);
        assert_int_equal(count_results(journal), *rows + 1);
        journal_close(journal, false);
    }
    return s;
}

static void a_journal_cut_anywhere_keeps_its_whole_rows(void **state)
{
    struct buffer bytes = {0};
    size_t ends[6];
    make_journal(state, false, &bytes, ends);
    size_t header = 24 + strlen(identity);
    /* Every cut of the last two rows, and some before. */
    for (size_t length = 0; length <= bytes.length; length += length < ends[3] ? 7 : 1) {
        int64_t rows = -1;
        status s = reopen_with(state, bytes.data, length, &rows);
        if (length < header) {
            assert_int_equal(s, STATUS_INVALID);
            continue;
        }
        int64_t expected = 0;
        for (int i = 0; i < 6; i++) {
            expected += ends[i] <= length;
        }
        assert_int_equal(s, STATUS_OK);
        assert_int_equal(rows, expected);
    }
    buffer_destroy(&bytes);
}

static void damage_before_a_mark_is_reported_and_after_it_cut(void **state)
{
    struct buffer bytes = {0};
    size_t ends[6];
    char expected[64];
    int64_t rows;
    make_journal(state, true, &bytes, ends);
    size_t start = 24 + strlen(identity);
    for (size_t at = 0; at < bytes.length; at += 3) {
        bytes.data[at] ^= 0x20;
        status s = reopen_with(state, bytes.data, bytes.length, &rows);
        bytes.data[at] ^= 0x20;
        size_t damaged = start;
        for (int i = 0; i < 6; i++) {
            damaged = at >= ends[i] + (i == 2 ? 32 : 0) ? ends[i] + (i == 2 ? 32 : 0) : damaged;
        }
        if (at < start) {
            assert_true(s == STATUS_INVALID || (s == STATUS_UNSUPPORTED && at >= 8 && at < 12));
        } else if (at < ends[2]) {
            assert_int_equal(s, STATUS_INVALID);
            snprintf(expected, sizeof expected, "offset %zu: a damaged entry", damaged);
            if (strstr(status_message(), expected) == NULL) {
                fail_msg("byte %zu: %s, not %s", at, status_message(), expected);
            }
        } else {
            /* The mark itself, or rows that were never acknowledged. */
            assert_int_equal(s, STATUS_OK);
            assert_true(rows >= 3 && rows < 6);
        }
    }
    /* Blocks that a crash left as zeros, with whole rows behind them. */
    memset(bytes.data + ends[2] + 32, 0, 16);
    assert_int_equal(reopen_with(state, bytes.data, bytes.length, &rows), STATUS_OK);
    assert_int_equal(rows, 3);
    buffer_destroy(&bytes);
}

static void a_journal_inside_a_payload_is_no_journal(void **state)
{
    struct buffer inner = {0};
    struct buffer payload = {0};
    size_t ends[6];
    make_journal(state, false, &inner, ends);
    const struct result result = {.row = 1, .text = inner.data, .text_length = inner.length};
    assert_int_equal(result_encode(&result, &payload), STATUS_OK);
    const char *path = scratch_path(state, "nested");
    struct journal *journal = open_journal(path);
    assert_int_equal(append_row(journal, 0, 1, 8), STATUS_OK);
    assert_int_equal(journal_commit(journal), STATUS_OK);
    int64_t end = journal_bytes(journal);
    assert_int_equal(journal_append(journal, 1, payload.data, payload.length), STATUS_OK);
    journal_close(journal, false);
    /* The last row loses its end; the marks that it carries must not count. */
    assert_int_equal(
        truncate(scratch_path(state, "nested/journal"), end + 32 + 64 + (off_t)inner.length), 0);
    journal = open_journal(path);
    assert_int_equal(journal_row_count(journal), 1);
    journal_close(journal, false);
    buffer_destroy(&inner);
    buffer_destroy(&payload);
}

static void a_killed_writer_loses_nothing_committed(void **state)
{
    const char *path = scratch_path(state, "killed");
    int64_t known = 0;
    for (int round = 0; round < 12; round++) {
        int report[2];
        assert_int_equal(pipe(report), 0);
        pid_t child = fork();
        if (child == 0) {
            struct journal *journal;
            if (journal_open(path, identity, 0, &journal) != STATUS_OK) {
                _exit(1);
            }
            for (int64_t row = journal_row_count(journal);; row++) {
                if (append_row(journal, row, 1, (size_t)(row * 37 % 3000)) != STATUS_OK) {
                    _exit(2);
                }
                if (row % 5 == 4) {
                    int64_t committed = row + 1;
                    if (journal_commit(journal) != STATUS_OK ||
                        write(report[1], &committed, sizeof committed) != sizeof committed) {
                        _exit(3);
                    }
                }
            }
        }
        close(report[1]);
        int64_t committed = known;
        for (int i = 0; i < 3 + round; i++) {
            assert_int_equal(read(report[0], &committed, sizeof committed), sizeof committed);
        }
        kill(child, SIGKILL);
        while (read(report[0], &committed, sizeof committed) == sizeof committed) {
        }
        close(report[0]);
        assert_int_equal(waitpid(child, NULL, 0), child);
        struct journal *journal = open_journal(path);
        known = journal_row_count(journal);
        assert_true(known >= committed);
        assert_int_equal(count_results(journal), known);
        journal_close(journal, false);
    }
}

static void a_full_disk_poisons_the_journal_and_loses_nothing(void **state)
{
    const char *path = scratch_path(state, "full");
    pid_t child = fork();
    if (child == 0) {
        struct journal *journal;
        const struct rlimit limit = {100000, 100000};
        signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0 ||
            journal_open(path, identity, 0, &journal) != STATUS_OK) {
            _exit(100);
        }
        int committed = 0;
        status s = STATUS_OK;
        for (int64_t row = 0; s == STATUS_OK && row < 99; row++) {
            s = append_row(journal, row, 1, 3000);
            s = s == STATUS_OK ? journal_commit(journal) : s;
            committed += s == STATUS_OK;
        }
        bool refuses =
            append_row(journal, 200, 1, 1) == STATUS_IO && journal_commit(journal) == STATUS_IO;
        journal_close(journal, false);
        _exit(s == STATUS_IO && refuses ? committed : 101);
    }
    int exit_status;
    assert_int_equal(waitpid(child, &exit_status, 0), child);
    assert_true(WIFEXITED(exit_status));
    int committed = WEXITSTATUS(exit_status);
    assert_true(committed >= 20 && committed < 40);
    struct journal *journal = open_journal(path);
    assert_true(journal_row_count(journal) >= committed);
    assert_int_equal(count_results(journal), journal_row_count(journal));
    journal_close(journal, false);
}

static void folders_that_cannot_be(void **state)
{
    struct journal *journal;
    scratch_write(state, "plain", "x", 1);
    assert_int_equal(journal_open(scratch_path(state, "plain"), identity, 0, &journal),
                     STATUS_EXISTS);
    assert_int_equal(journal_open(scratch_path(state, "no/where"), identity, 0, &journal),
                     STATUS_IO);
    assert_non_null(strstr(status_message(), "No such file"));
    journal = open_journal(scratch_path(state, "odd"));
    journal_close(journal, false);
    scratch_write(state, "odd/journal", "something else entirely, and long enough", 40);
    assert_int_equal(journal_open(scratch_path(state, "odd"), identity, 0, &journal),
                     STATUS_INVALID);
    assert_non_null(strstr(status_message(), "not a journal"));
}

/* A new journal without its name: rows go in and come out, a later start does not see it, and with
 * its name it is as any other. */
static void one_without_its_name_is_not_found(void **state)
{
    static const char later[] = "data: sha256 5678\nmodel: tiny\nseed: 1\n";
    const struct scratch_folder *scratch = *state;
    char path[600];
    snprintf(path, sizeof path, "%s/unnamed.sluice", scratch->path);
    struct journal *journal;
    struct journal_state seen;
    assert_int_equal(journal_open(path, identity, JOURNAL_UNNAMED, &journal), STATUS_OK);
    assert_false(journal_is_named(journal));
    assert_int_equal(append_row(journal, 3, 1, 10), STATUS_OK);
    assert_int_equal(journal_commit(journal), STATUS_OK);
    struct journal_reader *reader;
    assert_int_equal(journal_reader_open(journal_path(journal), &reader), STATUS_OK);
    journal_reader_close(reader);
    journal_close(journal, false);
    assert_int_equal(journal_look(path, identity, false, &seen), STATUS_OK);
    assert_false(seen.exists);

    assert_int_equal(journal_open(path, identity, JOURNAL_UNNAMED, &journal), STATUS_OK);
    assert_int_equal(journal_row_count(journal), 0);
    assert_int_equal(append_row(journal, 4, 1, 10), STATUS_OK);
    assert_int_equal(journal_take_name(journal, "data: longer\n"), STATUS_INTERNAL);
    assert_int_equal(journal_take_name(journal, later), STATUS_OK);
    assert_true(journal_is_named(journal));
    assert_int_equal(append_row(journal, 5, 1, 10), STATUS_OK);
    journal_close(journal, false);
    assert_int_equal(journal_open(path, identity, 0, &journal), STATUS_EXISTS);
    assert_int_equal(journal_open(path, later, JOURNAL_UNNAMED, &journal), STATUS_OK);
    assert_int_equal(journal_kept_rows(journal), 2); /* it was there */
    assert_int_equal(journal_row_count(journal), 2);
    assert_true(journal_has_row(journal, 4) && journal_has_row(journal, 5));
    journal_close(journal, true);
}

/* One that is there, of which it is not known yet whether its data set is this job's. */
static void one_of_hashes_not_known_yet(void **state)
{
    static const char zeros[] = "data sha256: 0000\nseed: 1\n";
    static const char same[] = "data sha256: 1234\nseed: 1\n";
    static const char other[] = "data sha256: 5678\nseed: 1\n";
    const struct scratch_folder *scratch = *state;
    char path[600];
    snprintf(path, sizeof path, "%s/held.sluice", scratch->path);
    struct journal *journal;
    assert_int_equal(journal_open(path, same, 0, &journal), STATUS_OK);
    assert_int_equal(append_row(journal, 1, 1, 10), STATUS_OK);
    journal_close(journal, false);

    /* Another parameter is seen at once, other hashes when they are known. */
    assert_int_equal(journal_open(path, "data sha256: 0000\nseed: 2\n", JOURNAL_UNNAMED, &journal),
                     STATUS_EXISTS);
    assert_int_equal(journal_open(path, zeros, JOURNAL_UNNAMED, &journal), STATUS_OK);
    assert_false(journal_is_named(journal));
    const int64_t bytes = journal_bytes(journal);
    assert_int_equal(append_row(journal, 2, 1, 3 << 20), STATUS_OK); /* more than pends else */
    assert_int_equal(journal_commit(journal), STATUS_OK);
    assert_int_equal(journal_written(journal), bytes);
    assert_int_equal(journal_kept_rows(journal), 1);
    assert_int_equal(journal_row_count(journal), 2);
    assert_true(journal_held_bytes(journal) > 3 << 20);
    assert_int_equal(journal_take_name(journal, other), STATUS_EXISTS);
    assert_non_null(strstr(status_message(), "holds rows of another job: \"data sha256: 1234\" "
                                             "there, \"data sha256: 5678\" now"));
    assert_int_equal(append_row(journal, 3, 1, 10), STATUS_IO);
    assert_int_equal(journal_kept_rows(journal), 1);
    journal_close(journal, false);

    /* One that ends before the hashes are known leaves it as it was. */
    assert_int_equal(journal_open(path, zeros, JOURNAL_UNNAMED, &journal), STATUS_OK);
    assert_int_equal(append_row(journal, 2, 1, 10), STATUS_OK);
    journal_close(journal, false);

    assert_int_equal(journal_open(path, zeros, JOURNAL_UNNAMED, &journal), STATUS_OK);
    assert_int_equal(journal_row_count(journal), 1);
    assert_int_equal(append_row(journal, 2, 1, 10), STATUS_OK);
    assert_int_equal(journal_take_name(journal, same), STATUS_OK);
    assert_true(journal_is_named(journal));
    assert_int_equal(journal_kept_rows(journal), 2);
    assert_int_equal(journal_held_bytes(journal), 0);
    assert_int_equal(append_row(journal, 3, 1, 10), STATUS_OK);
    assert_int_equal(journal_commit(journal), STATUS_OK);
    journal_close(journal, false);
    assert_int_equal(journal_open(path, same, 0, &journal), STATUS_OK);
    assert_int_equal(journal_row_count(journal), 3);
    journal_close(journal, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back_in_order),
        cmocka_unit_test(columns_are_those_that_any_row_needs),
        cmocka_unit_test(another_job_is_refused_by_its_line),
        cmocka_unit_test(one_without_its_name_is_not_found),
        cmocka_unit_test(one_of_hashes_not_known_yet),
        cmocka_unit_test(only_one_writer),
        cmocka_unit_test(a_lock_of_another_machine_holds_while_it_lives),
        cmocka_unit_test(a_journal_cut_anywhere_keeps_its_whole_rows),
        cmocka_unit_test(damage_before_a_mark_is_reported_and_after_it_cut),
        cmocka_unit_test(a_journal_inside_a_payload_is_no_journal),
        cmocka_unit_test(a_killed_writer_loses_nothing_committed),
        cmocka_unit_test(a_full_disk_poisons_the_journal_and_loses_nothing),
        cmocka_unit_test(folders_that_cannot_be),
    };
    log_configure(LOG_ERROR, NULL);
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
