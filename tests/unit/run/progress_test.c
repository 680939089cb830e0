/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of a job while it runs: which replicas are slow, the live line, the metrics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/report/live_line.h"
#include "run/report/metrics_file.h"
#include "run/report/pace.h"

/* ---- Paces ---- */

/* `seconds` of work, a state a second: replica i computes rates[i] tokens in each; 0: silent. */
static void work(struct paces *paces, const double *rates, int seconds, bool rows_left, double *now)
{
    for (int second = 0; second < seconds; second++) {
        *now += 1;
        for (int i = 0; i < paces->count; i++) {
            struct replica_state state = paces->replicas[i].state;
            if (rates[i] > 0) {
                snprintf(state.host, sizeof state.host, "node%d", i);
                state.tokens += (int64_t)rates[i];
                state.output_tokens += (int64_t)rates[i] / 2;
                state.busy_seconds += 1;
                state.running = i + 1;
                state.waiting = 2;
                state.kv_blocks = 10;
                state.kv_blocks_used = 5;
                paces_take(paces, i, &state, *now);
            }
        }
        paces_judge(paces, rows_left, *now);
    }
}

static void expect_slow(struct paces *paces, double now, const char *wanted)
{
    struct buffer text = {0};
    assert_int_equal(buffer_append_text(&text, ""), STATUS_OK);
    assert_int_equal(paces_describe_slow(paces, now, &text), STATUS_OK);
    assert_string_equal(text.data, wanted);
    buffer_destroy(&text);
}

static void expect_summary(struct paces *paces, const char *wanted)
{
    struct buffer text = {0};
    assert_int_equal(buffer_append_text(&text, ""), STATUS_OK);
    assert_int_equal(paces_summarise(paces, &text), STATUS_OK);
    assert_string_equal(text.data, wanted);
    buffer_destroy(&text);
}

static void slow_ranks_are_named(void **state)
{
    (void)state;
    struct paces paces = {0};
    double now = 100;
    assert_int_equal(paces_begin(&paces, 4, 1, now), STATUS_OK);
    work(&paces, (double[]){100, 81, 79, 100}, 9, true, &now);
    expect_slow(&paces, now, ""); /* too early to tell */
    work(&paces, (double[]){100, 81, 79, 100}, 21, true, &now);
    expect_slow(&paces, now, "rank 2 on node2: 79.0 tokens/s, 21% below its peers' 100.0");
    work(&paces, (double[]){100, 100, 100, 100}, 40, true, &now);
    expect_slow(&paces, now, "");
    expect_summary(&paces,
                   "rank 2 on node2: 91.0 tokens/s, 9% below its peers' 100.0, slow or silent "
                   "for 20.0 s");
    paces_destroy(&paces);
}

static void few_rows_are_not_slow(void **state)
{
    (void)state;
    struct paces paces = {0};
    double now = 0;
    assert_int_equal(paces_begin(&paces, 2, 4, now), STATUS_OK);
    work(&paces, (double[]){100, 20}, 40, false, &now);
    expect_slow(&paces, now, "");
    work(&paces, (double[]){100, 20}, 5, true, &now);
    expect_slow(&paces, now, "ranks 4 to 7 on node1: 20.0 tokens/s, 80% below its peers' 100.0");
    paces_destroy(&paces);
}

static void silent_ranks_are_named(void **state)
{
    (void)state;
    struct paces paces = {0};
    double now = 0;
    assert_int_equal(paces_begin(&paces, 3, 1, now), STATUS_OK);
    work(&paces, (double[]){50, 50, 0}, 20, true, &now);
    expect_slow(&paces, now, "");
    work(&paces, (double[]){50, 0, 0}, 5, true, &now);
    expect_slow(&paces, now, "rank 2: not heard of for 25.0 s");
    work(&paces, (double[]){50, 0, 0}, 20, true, &now);
    expect_slow(&paces, now,
                "rank 1 on node1: not heard of for 25.0 s; rank 2: not heard of for 45.0 s");
    paces_done(&paces, 1); /* who has no more rows says nothing */
    work(&paces, (double[]){50, 0, 50}, 30, true, &now);
    expect_slow(&paces, now, "");
    paces_destroy(&paces);
}

static void totals_are_of_all(void **state)
{
    (void)state;
    struct paces paces = {0};
    double now = 0;
    assert_int_equal(paces_begin(&paces, 2, 1, now), STATUS_OK);
    work(&paces, (double[]){100, 40}, 30, true, &now);
    struct pace_total total = paces_total(&paces);
    assert_int_equal(total.output_tokens, 30 * 70);
    assert_int_equal(total.running, 3);
    assert_int_equal(total.waiting, 4);
    assert_true(total.kv_use == 0.5);
    assert_in_range((int64_t)(total.tokens_per_second + 0.5), 66, 74);
    expect_summary(&paces, "rank 1 on node1: 40.0 tokens/s, 60% below its peers' 100.0, slow or "
                           "silent for 20.0 s");
    paces_destroy(&paces);
}

static int compare_doubles(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* The median of all rates but the one at `own`; 0 where there is no other. */
static double expected_peers(const double *rates, int count, int own)
{
    double others[8];
    int known = 0;
    for (int i = 0; i < count; i++) {
        if (i != own && rates[i] > 0) {
            others[known++] = rates[i];
        }
    }
    qsort(others, (size_t)known, sizeof *others, compare_doubles);
    return known == 0       ? 0
           : known % 2 == 1 ? others[known / 2]
                            : (others[known / 2 - 1] + others[known / 2]) / 2;
}

/* Of any number of replicas, some of them silent and some equally fast: each is held against the
 * median of the others. */
static void peers_are_the_median_of_the_others(void **state)
{
    (void)state;
    uint32_t random = 7;
    for (int trial = 0; trial < 300; trial++) {
        struct paces paces = {0};
        double now = 0, rates[8];
        const int count = 1 + trial % 8;
        for (int i = 0; i < count; i++) {
            random = random * 1664525u + 1013904223u;
            rates[i] = (double)(10 * ((random >> 16) % (trial % 2 == 0 ? 4 : 40)));
        }
        assert_int_equal(paces_begin(&paces, count, 1, now), STATUS_OK);
        work(&paces, rates, 40, true, &now);
        for (int i = 0; i < count; i++) {
            const struct replica_pace *pace = &paces.replicas[i];
            const double peers = rates[i] > 0 ? expected_peers(rates, count, i) : 0;
            assert_true(pace->rate == rates[i]);
            assert_true(pace->peers_rate == peers);
            assert_int_equal(pace->pace, rates[i] == 0            ? PACE_SILENT
                                         : rates[i] < 0.8 * peers ? PACE_SLOW
                                                                  : PACE_EVEN);
        }
        paces_destroy(&paces);
    }
}

/* ---- The live line ---- */

static const struct job_progress example = {.rows = 100000,
                                            .rows_done = 12345,
                                            .error_rows = 3,
                                            .output_tokens = 7000000,
                                            .tokens_kept = 110000,
                                            .seconds = 1000,
                                            .rows_per_second = 56.2,
                                            .tokens_now = 7012,
                                            .running = 64,
                                            .waiting = 128,
                                            .kv_use = 0.43};

static void expect_line(const struct job_progress *progress, int columns, const char *wanted)
{
    char text[LIVE_LINE_BYTES];
    live_line_compose(progress, columns, false, text);
    assert_string_equal(text, wanted);
    assert_true((int)strlen(text) <= columns);
}

static void line_fits(void **state)
{
    (void)state;
    char text[LIVE_LINE_BYTES];
    struct job_progress progress = example;
    expect_line(
        &progress, 120,
        "[####                                  ] 12345/100.0k 12.3% 7012 tok/s (6890) ETA 26 "
        "min 64 run+128 KV 43% 3 err");
    expect_line(&progress, 79,
                "[#         ] 12345/100.0k 12.3% 7012 tok/s (6890) ETA 26 min 64 run+128 3 err");
    expect_line(&progress, 40, "[      ] 12345/100.0k ETA 26 min 3 err");
    for (int columns = 20; columns < 300; columns++) {
        live_line_compose(&progress, columns, false, text);
        assert_true((int)strlen(text) <= columns);
        assert_null(strchr(text, '\033'));
    }
    progress.rows = -1; /* not known: no bar, no share, no end */
    expect_line(&progress, 79, "12345 rows 7012 tok/s (6890) 64 run+128 KV 43% 3 err");
    progress =
        (struct job_progress){.rows = 20, .rows_done = 20, .seconds = 2, .output_tokens = 10};
    expect_line(&progress, 79,
                "[######################################] 20/20 100.0% 0 tok/s (5) 0 run+0 KV 0%");
}

static void line_has_colours(void **state)
{
    (void)state;
    char text[LIVE_LINE_BYTES];
    struct job_progress progress = example;
    snprintf(progress.slow, sizeof progress.slow, "rank 1");
    live_line_compose(&progress, 120, true, text);
    assert_non_null(strstr(text, "[\033[32m####\033[0m "));
    assert_non_null(strstr(text, "\033[31m3 err\033[0m"));
    assert_non_null(strstr(text, "\033[33m7012 tok/s (6890)\033[0m"));
}

/* ---- Metrics ---- */

static void metrics_are_told(void **state)
{
    (void)state;
    struct paces paces = {0};
    struct buffer text = {0};
    double now = 10;
    assert_int_equal(paces_begin(&paces, 2, 2, now), STATUS_OK);
    work(&paces, (double[]){100, 0}, 5, true, &now);
    assert_int_equal(metrics_describe(&example, &paces, "a\"b\\c\n.h5", true, now + 2, &text),
                     STATUS_OK);
    assert_non_null(strstr(text.data,
                           "# HELP sluice_rows_done_total Rows with a result, of all starts.\n"
                           "# TYPE sluice_rows_done_total counter\n"
                           "sluice_rows_done_total{output=\"a\\\"b\\\\c\\n.h5\"} 12345\n"));
    assert_non_null(
        strstr(text.data, "sluice_kv_cache_use_ratio{output=\"a\\\"b\\\\c\\n.h5\"} 0.43\n"));
    assert_non_null(strstr(text.data, "sluice_job_running{output=\"a\\\"b\\\\c\\n.h5\"} 1\n"));
    assert_non_null(strstr(text.data, "sluice_replica_silent_seconds{output=\"a\\\"b\\\\c\\n.h5\","
                                      "replica=\"0\",rank=\"0\",host=\"node0\"} 2\n"));
    assert_null(strstr(text.data, "replica=\"1\"")); /* nothing is known of it */
    struct job_progress unknown = example;
    unknown.rows = -1;
    buffer_clear(&text);
    assert_int_equal(metrics_describe(&unknown, &paces, "x", false, now, &text), STATUS_OK);
    assert_null(strstr(text.data, "sluice_rows{"));
    assert_non_null(strstr(text.data, "sluice_job_running{output=\"x\"} 0\n"));
    buffer_destroy(&text);
    paces_destroy(&paces);
}

/* The next line of a text, NULL at its end. */
static char *next_line(char **text)
{
    char *line = strsep(text, "\n");
    return line != NULL && *line != '\0' ? line : NULL;
}

/* The text exposition format: of every metric a HELP, a TYPE, and then lines of it alone, each with
 * its labels in braces, a space and a number. */
static void metrics_are_well_formed(void **state)
{
    (void)state;
    struct paces paces = {0};
    struct buffer text = {0};
    double now = 10;
    assert_int_equal(paces_begin(&paces, 3, 2, now), STATUS_OK);
    work(&paces, (double[]){100, 0, 40}, 40, true, &now);
    assert_int_equal(metrics_describe(&example, &paces, "out.h5", true, now, &text), STATUS_OK);
    char *rest = text.data, *line = next_line(&rest);
    int metrics = 0, samples = 0;
    while (line != NULL) {
        char name[64], other[64], type[64], labels[256];
        double value;
        assert_int_equal(sscanf(line, "# HELP %63s %*s", name), 1);
        assert_true(strlen(line) > strlen("# HELP  ") + strlen(name));
        line = next_line(&rest);
        assert_non_null(line);
        assert_int_equal(sscanf(line, "# TYPE %63s %63s", other, type), 2);
        assert_string_equal(other, name);
        assert_true(strcmp(type, "gauge") == 0 || strcmp(type, "counter") == 0);
        assert_int_equal(strcmp(type, "counter") == 0, strstr(name, "_total") != NULL);
        for (line = next_line(&rest); line != NULL && *line != '#'; line = next_line(&rest)) {
            assert_int_equal(sscanf(line, "%63[a-z_]{%255[^}]} %lf", other, labels, &value), 3);
            assert_string_equal(other, name);
            assert_int_equal(strncmp(labels, "output=\"out.h5\"", 15), 0);
            samples++;
        }
        metrics++;
    }
    assert_int_equal(metrics, 1 + 15 + 3);
    assert_int_equal(samples, 1 + 15 + 3 * 2); /* of two replicas that have said something */
    buffer_destroy(&text);
    buffer_clear(&text);
    assert_int_equal(metrics_describe(&example, &paces, "x", true, now, &text), STATUS_OK);
    for (const char *const *wanted =
             (const char *const[]){
                 "\n# TYPE sluice_replica_slow gauge\n"
                 "sluice_replica_slow{output=\"x\",replica=\"0\",rank=\"0\",host=\"node0\"} 0\n"
                 "sluice_replica_slow{output=\"x\",replica=\"2\",rank=\"4\",host=\"node2\"} 1\n",
                 "sluice_replica_tokens_per_second{output=\"x\",replica=\"2\",rank=\"4\",host="
                 "\"node2\"} 40\n",
                 NULL};
         *wanted != NULL; wanted++) {
        assert_non_null(strstr(text.data, *wanted));
    }
    buffer_destroy(&text);
    paces_destroy(&paces);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_ranks_are_named),
        cmocka_unit_test(few_rows_are_not_slow),
        cmocka_unit_test(silent_ranks_are_named),
        cmocka_unit_test(totals_are_of_all),
        cmocka_unit_test(peers_are_the_median_of_the_others),
        cmocka_unit_test(metrics_are_well_formed),
        cmocka_unit_test(line_fits),
        cmocka_unit_test(line_has_colours),
        cmocka_unit_test(metrics_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
