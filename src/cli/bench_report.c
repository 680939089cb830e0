/* SPDX-License-Identifier: Apache-2.0 */
/* A measurement on standard output. */
#include "cli/bench_report.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "sluice/json.h"

static double rate(int64_t tokens, double seconds)
{
    return seconds > 0 ? (double)tokens / seconds : 0;
}

static double share(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

/* The bound is of one replica; all of them together could do dp times as much. */
static double bound_of_all(const struct bench_report *report)
{
    return report->bound.tokens_per_second * report->plan.dp;
}

static double linear_share(const struct bench_report *report)
{
    return share(report->rate, report->one_rate * report->plan.dp);
}

/* The leader of the first replica, whose steps are shown. */
static const struct bench_rank *first_leader(const struct bench_report *report)
{
    int i = 0;
    while (!report->ranks[i].leader) {
        i++;
    }
    return &report->ranks[i];
}

/* For which the device has nothing to do between two steps. */
static double host_seconds(const struct bench_rank *leader)
{
    int64_t steps = leader->prefill.steps + leader->decode.steps;
    return steps > 0 ? leader->gap / (double)steps : 0;
}

/* ---- Text ---- */

static void print_head(const struct bench_title *title, const struct bench_report *report)
{
    const struct plan *plan = &report->plan;
    const struct bench_options *options = title->options;
    printf("# model    %s%s\n", title->model, options->random_weights ? ", random weights" : "");
    printf("# device   %s\n", report->ranks[0].device);
    printf("# types    weights %s, arithmetic %s, KV cache %s\n", weight_format_name(plan->stored),
           dtype_name(plan->compute), dtype_name(plan->kv_dtype));
    printf("# layout   %d ranks = dp %d x tp %d x pp %d, %d slices\n", plan->ranks, plan->dp,
           plan->tp, plan->pp, plan->slices);
    printf("# load     %d requests of %d + %d tokens%s%s, %d at once a replica, %d tokens a step\n",
           options->requests, options->prompt_tokens, options->new_tokens,
           options->lengths != BENCH_EQUAL ? " on average, lengths " : "",
           options->lengths != BENCH_EQUAL ? title->lengths : "", plan->max_sequences,
           plan->max_batch_tokens);
    printf("# ceilings copy %.3g GB/s, products %.3g TFLOP/s\n",
           report->ceilings.bytes_per_second / 1e9,
           ceilings_product_rate(&report->ceilings) / 1e12);
}

static void print_throughput(const struct bench_report *report)
{
    printf("\n%14s %10s %10s %14s %14s %14s %8s\n", "output tokens", "seconds", "output/s",
           "output/s/rank", "prompt+out/s", "serial bound", "share");
    printf("%14lld %10.3f %10.1f %14.1f %14.1f %14.1f %7.1f%%\n", (long long)report->output_tokens,
           report->seconds, report->rate, report->rate / report->plan.ranks,
           rate(report->prompt_tokens + report->output_tokens, report->seconds),
           bound_of_all(report), 100 * share(report->rate, bound_of_all(report)));
    if (report->repeats > 1) {
        printf("# runs    ");
        for (int i = 0; i < report->repeats; i++) {
            printf(" %.1f", report->rates[i]);
        }
        printf(" output/s; the median counts\n");
    }
    printf("# bound    %lld at once; a token: products %.3g us, prefill attention %.3g us, decode "
           "attention %.3g us\n",
           (long long)report->bound.batch, 1e6 * report->bound.products,
           1e6 * report->bound.prefill_attention, 1e6 * report->bound.decode_attention);
    if (report->one_rate > 0) {
        printf("# scaling  the first replica alone %.1f output/s; %d replicas reach %.1f%% of "
               "linear\n",
               report->one_rate, report->plan.dp, 100 * linear_share(report));
    }
}

static void print_steps(const char *name, const struct step_summary *steps)
{
    printf("%-8s %8lld %10lld %10.3f %10.3f %10.3f %10.3f %12.1f\n", name, (long long)steps->steps,
           (long long)steps->tokens, steps->seconds, 1e3 * steps->mean, 1e3 * steps->median,
           1e3 * steps->p99, rate(steps->tokens, steps->seconds));
}

static void print_leader(const struct bench_rank *leader)
{
    printf("\n%-8s %8s %10s %10s %10s %10s %10s %12s\n", "steps", "count", "tokens", "seconds",
           "mean ms", "median ms", "p99 ms", "tokens/s");
    print_steps("prefill", &leader->prefill);
    print_steps("decode", &leader->decode);
    const struct {
        const char *name;
        double seconds;
    } parts[] = {{"plan", leader->plan},
                 {"launch", leader->launch},
                 {"wait", leader->wait},
                 {"complete", leader->complete}};
    printf("\n%-8s %10s %8s\n", "host", "seconds", "share");
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        printf("%-8s %10.3f %7.1f%%\n", parts[i].name, parts[i].seconds,
               100 * share(parts[i].seconds, leader->seconds));
    }
}

/* Seconds of a rank's run, in three parts: its own work, waiting for other ranks or moving data to
 * them in the middle of steps, and between steps, without one to do. */
struct rank_seconds {
    double work, communication, idle;
};

static struct rank_seconds divide_seconds(const struct bench_rank *rank)
{
    const double steps = rank->launch + rank->wait + rank->plan + rank->complete;
    const double work = steps - rank->communication, idle = rank->seconds - steps;
    return (struct rank_seconds){.work = work > 0 ? work : 0,
                                 .communication = rank->communication,
                                 .idle = idle > 0 ? idle : 0};
}

/* Of the first replica: which stage the others wait for. */
static void print_stages(const struct bench_report *report)
{
    printf("\n%-8s %4s %8s %10s %10s %8s %8s %8s\n", "stage", "tp", "steps", "work s", "ms a step",
           "work", "others", "no step");
    for (int i = 0; i < report->plan.ranks && report->ranks[i].dp == 0; i++) {
        const struct bench_rank *rank = &report->ranks[i];
        const struct rank_seconds seconds = divide_seconds(rank);
        printf("%-8d %4d %8lld %10.3f %10.3f %7.1f%% %7.1f%% %7.1f%%\n", rank->pp, rank->tp,
               (long long)rank->steps, seconds.work,
               rank->steps > 0 ? 1e3 * seconds.work / (double)rank->steps : 0,
               100 * share(seconds.work, rank->seconds),
               100 * share(seconds.communication, rank->seconds),
               100 * share(seconds.idle, rank->seconds));
    }
}

static double profile_sum(const struct bench_profile *profile)
{
    double sum = 0;
    for (int i = 0; i < BENCH_PHASES; i++) {
        sum += profile->seconds[i];
    }
    return sum;
}

static void print_phases(const struct bench_rank *leader)
{
    const struct bench_profile *prefill = &leader->prefill_profile;
    const struct bench_profile *decode = &leader->decode_profile;
    double host = host_seconds(leader);
    double prefill_sum = profile_sum(prefill) + host, decode_sum = profile_sum(decode) + host;
    printf("\n# phases: a step of %d prompt tokens, and one of decoding %d sequences at %d tokens, "
           "operation by operation\n",
           prefill->tokens, decode->sequences, decode->context);
    printf("%-24s %12s %8s %12s %8s\n", "phase", "prefill ms", "share", "decode ms", "share");
    for (int i = 0; i < BENCH_PHASES; i++) {
        printf("%-24s %12.3f %7.1f%% %12.3f %7.1f%%\n", bench_phase_names[i],
               1e3 * prefill->seconds[i], 100 * share(prefill->seconds[i], prefill_sum),
               1e3 * decode->seconds[i], 100 * share(decode->seconds[i], decode_sum));
    }
    printf("%-24s %12.3f %7.1f%% %12.3f %7.1f%%\n", "host", 1e3 * host,
           100 * share(host, prefill_sum), 1e3 * host, 100 * share(host, decode_sum));
}

static void print_memory(const struct bench_report *report)
{
    const struct plan *plan = &report->plan;
    const struct bench_rank *first = &report->ranks[0];
    char text[6][24];
    printf("\n# memory   a rank: weights %s, KV cache %s, scratch %s; device %s of %s in use\n",
           format_bytes(plan->weight_bytes, text[0]), format_bytes(plan->kv_bytes, text[1]),
           format_bytes(plan->activation_bytes, text[2]), format_bytes(first->device_used, text[3]),
           format_bytes(first->device_total, text[4]));
}

static void print_ranks(const struct bench_report *report)
{
    printf("\n%4s %4s %4s %4s %10s %10s %10s %10s %14s %14s  %s\n", "rank", "dp", "tp", "pp",
           "output/s", "decode ms", "comm", "load s", "load peak", "host peak", "host");
    for (int i = 0; i < report->plan.ranks; i++) {
        const struct bench_rank *rank = &report->ranks[i];
        char loading[24], peak[24];
        printf("%4d %4d %4d %4d %10.1f %10.3f %9.1f%% %10.2f %14s %14s  %s\n", rank->rank, rank->dp,
               rank->tp, rank->pp, rate(rank->output_tokens, rank->seconds),
               1e3 * rank->decode.median, 100 * share(rank->communication, rank->seconds),
               rank->load_seconds, format_bytes(rank->host_peak_loading, loading),
               format_bytes(rank->host_peak, peak), rank->host);
    }
}

status bench_report_print(const struct bench_title *title, const struct bench_report *report)
{
    const struct bench_rank *leader = first_leader(report);
    print_head(title, report);
    print_throughput(report);
    print_leader(leader);
    if (report->plan.pp > 1) {
        print_stages(report);
    }
    if (title->options->phases) {
        print_phases(leader);
    }
    print_memory(report);
    print_ranks(report);
    return STATUS_OK;
}

/* ---- JSON ---- */

/* A member: `,` before it unless it is the first of its object. */
static status append_name(struct buffer *out, const char *name)
{
    char last = out->length > 0 ? out->data[out->length - 1] : '{';
    if (last != '{' && last != '[') {
        TRY(buffer_append_byte(out, ','));
    }
    if (name != NULL) {
        TRY(json_write_string(name, strlen(name), out));
        TRY(buffer_append_byte(out, ':'));
    }
    return STATUS_OK;
}

static status append_text(struct buffer *out, const char *name, const char *text)
{
    TRY(append_name(out, name));
    return json_write_string(text, strlen(text), out);
}

static status append_integer(struct buffer *out, const char *name, int64_t value)
{
    TRY(append_name(out, name));
    return buffer_format(out, "%lld", (long long)value);
}

static status append_number(struct buffer *out, const char *name, double value)
{
    TRY(append_name(out, name));
    return json_write_double(value, out);
}

static status append_open(struct buffer *out, const char *name, char bracket)
{
    TRY(append_name(out, name));
    return buffer_append_byte(out, bracket);
}

static status append_steps(struct buffer *out, const char *name, const struct step_summary *steps)
{
    TRY(append_open(out, name, '{'));
    TRY(append_integer(out, "count", steps->steps));
    TRY(append_integer(out, "tokens", steps->tokens));
    TRY(append_number(out, "seconds", steps->seconds));
    TRY(append_number(out, "mean", steps->mean));
    TRY(append_number(out, "median", steps->median));
    TRY(append_number(out, "p99", steps->p99));
    return buffer_append_byte(out, '}');
}

static status append_profile(struct buffer *out, const char *name,
                             const struct bench_profile *profile)
{
    TRY(append_open(out, name, '{'));
    TRY(append_integer(out, "tokens", profile->tokens));
    TRY(append_integer(out, "sequences", profile->sequences));
    TRY(append_integer(out, "context", profile->context));
    for (int i = 0; i < BENCH_PHASES; i++) {
        TRY(append_number(out, bench_phase_names[i], profile->seconds[i]));
    }
    return buffer_append_byte(out, '}');
}

static status append_rank(struct buffer *out, const struct bench_rank *rank, bool phases)
{
    TRY(append_open(out, NULL, '{'));
    TRY(append_text(out, "host", rank->host));
    TRY(append_text(out, "device", rank->device));
    TRY(append_integer(out, "rank", rank->rank));
    TRY(append_integer(out, "dp", rank->dp));
    TRY(append_integer(out, "tp", rank->tp));
    TRY(append_integer(out, "pp", rank->pp));
    TRY(append_number(out, "load_seconds", rank->load_seconds));
    TRY(append_integer(out, "host_peak_loading_bytes", rank->host_peak_loading));
    TRY(append_integer(out, "host_peak_bytes", rank->host_peak));
    TRY(append_integer(out, "device_used_bytes", rank->device_used));
    TRY(append_integer(out, "device_total_bytes", rank->device_total));
    TRY(append_number(out, "seconds", rank->seconds));
    TRY(append_number(out, "communication_seconds", rank->communication));
    TRY(append_integer(out, "communication_bytes", rank->communication_bytes));
    const struct rank_seconds seconds = divide_seconds(rank);
    TRY(append_integer(out, "steps", rank->steps));
    TRY(append_number(out, "work_seconds", seconds.work));
    TRY(append_number(out, "idle_seconds", seconds.idle));
    if (rank->leader) {
        TRY(append_integer(out, "output_tokens", rank->output_tokens));
        TRY(append_integer(out, "prompt_tokens", rank->prompt_tokens));
        TRY(append_integer(out, "preemptions", rank->preemptions));
        TRY(append_integer(out, "kv_peak_blocks", rank->kv_peak_blocks));
        TRY(append_steps(out, "prefill", &rank->prefill));
        TRY(append_steps(out, "decode", &rank->decode));
        TRY(append_number(out, "plan_seconds", rank->plan));
        TRY(append_number(out, "launch_seconds", rank->launch));
        TRY(append_number(out, "wait_seconds", rank->wait));
        TRY(append_number(out, "complete_seconds", rank->complete));
        TRY(append_number(out, "host_seconds_a_step", host_seconds(rank)));
    }
    if (phases) {
        TRY(append_profile(out, "prefill_profile", &rank->prefill_profile));
        TRY(append_profile(out, "decode_profile", &rank->decode_profile));
    }
    return buffer_append_byte(out, '}');
}

static status append_setting(struct buffer *out, const struct bench_title *title,
                             const struct bench_report *report)
{
    const struct plan *plan = &report->plan;
    TRY(append_text(out, "version", SLUICE_VERSION));
    TRY(append_text(out, "model", title->model));
    TRY(append_text(out, "lengths", title->lengths));
    TRY(append_name(out, "random_weights"));
    TRY(buffer_append_text(out, title->options->random_weights ? "true" : "false"));
    TRY(append_text(out, "dtype", weight_format_name(plan->stored)));
    TRY(append_text(out, "compute_dtype", dtype_name(plan->compute)));
    TRY(append_text(out, "kv_dtype", dtype_name(plan->kv_dtype)));
    const struct {
        const char *name;
        int64_t value;
    } integers[] = {{"ranks", plan->ranks},
                    {"dp", plan->dp},
                    {"tp", plan->tp},
                    {"pp", plan->pp},
                    {"slices", plan->slices},
                    {"requests", title->options->requests},
                    {"request_prompt_tokens", title->options->prompt_tokens},
                    {"request_new_tokens", title->options->new_tokens},
                    {"max_sequences", plan->max_sequences},
                    {"max_batch_tokens", plan->max_batch_tokens},
                    {"kv_blocks", plan->kv_blocks},
                    {"kv_block_tokens", plan->kv_block_tokens},
                    {"weight_bytes", plan->weight_bytes},
                    {"kv_bytes", plan->kv_bytes},
                    {"scratch_bytes", plan->activation_bytes},
                    {"memory_bytes", plan->memory_bytes},
                    {"prompt_tokens", report->prompt_tokens},
                    {"output_tokens", report->output_tokens},
                    {"bound_batch", report->bound.batch}};
    for (size_t i = 0; i < COUNT_OF(integers); i++) {
        TRY(append_integer(out, integers[i].name, integers[i].value));
    }
    return STATUS_OK;
}

static status append_outcome(struct buffer *out, const struct bench_report *report)
{
    const struct {
        const char *name;
        double value;
    } numbers[] = {{"seconds", report->seconds},
                   {"output_tokens_per_second", report->rate},
                   {"serial_bound", bound_of_all(report)},
                   {"serial_bound_share", share(report->rate, bound_of_all(report))},
                   {"copy_bytes_per_second", report->ceilings.bytes_per_second},
                   {"product_operations_per_second", ceilings_product_rate(&report->ceilings)}};
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        TRY(append_number(out, numbers[i].name, numbers[i].value));
    }
    if (report->one_rate > 0) {
        TRY(append_number(out, "one_replica_output_tokens_per_second", report->one_rate));
        TRY(append_number(out, "linear_share", linear_share(report)));
    }
    TRY(append_open(out, "runs", '['));
    for (int i = 0; i < report->repeats; i++) {
        TRY(append_number(out, NULL, report->rates[i]));
    }
    return buffer_append_byte(out, ']');
}

static status append_report(struct buffer *out, const struct bench_title *title,
                            const struct bench_report *report)
{
    TRY(append_open(out, NULL, '{'));
    TRY(append_setting(out, title, report));
    TRY(append_outcome(out, report));
    TRY(append_open(out, "ranks", '['));
    for (int i = 0; i < report->plan.ranks; i++) {
        TRY(append_rank(out, &report->ranks[i], title->options->phases));
    }
    return buffer_append_text(out, "]}\n");
}

status bench_report_json(const struct bench_title *title, const struct bench_report *report)
{
    struct buffer out = {0};
    status s = append_report(&out, title, report);
    if (s == STATUS_OK) {
        fputs(out.data, stdout);
    }
    buffer_destroy(&out);
    return s;
}
