/* SPDX-License-Identifier: Apache-2.0 */
/* A measurement from model to report: what every rank does, in order. */
#include "sluice/bench.h"

#include <limits.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "measure/bench_steps.h"
#include "run/ranks/devices.h"
#include "run/ranks/world.h"
#include "sluice/mpi_check.h"
#include "sluice/run.h"

struct measurement {
    const struct job *job;
    const struct bench_options *options;
    const struct world *world;
    struct bench_report *report;
    struct model *model;
    struct stage stage;
    MPI_Comm control, replica; /* MPI_COMM_NULL until they exist */
    struct bench_load load;
    struct timeline timeline;
    struct bench_rank own;
};

/* ---- Setting up ---- */

/* This replica's requests: part dp of as equal ones as can be. */
static void choose_load(struct measurement *self)
{
    const struct plan *plan = &self->report->plan;
    int64_t replica = self->world->rank / (plan->tp * plan->pp);
    int64_t first = self->options->requests * replica / plan->dp;
    int64_t end = self->options->requests * (replica + 1) / plan->dp;
    self->load = (struct bench_load){.first_row = first,
                                     .requests = (int)(end - first),
                                     .lengths = self->options->lengths,
                                     .prompt_tokens = self->options->prompt_tokens,
                                     .new_tokens = self->options->new_tokens};
    if (self->options->timeline && replica == 0) {
        self->load.timeline = &self->timeline;
    }
}

static int64_t peak_host_memory(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : 0;
}

static void describe_rank(struct measurement *self)
{
    const struct plan *plan = &self->report->plan;
    struct bench_rank *own = &self->own;
    struct backend *backend = self->stage.backend;
    own->rank = self->world->rank;
    own->dp = own->rank / (plan->tp * plan->pp);
    own->pp = self->stage.partition.pp_rank;
    own->tp = self->stage.partition.tp_rank;
    own->leader = stage_is_leader(&self->stage);
    own->load_seconds = self->stage.load_seconds;
    own->host_peak_loading = peak_host_memory();
    snprintf(own->host, sizeof own->host, "%s", self->world->host);
    snprintf(own->device, sizeof own->device, "%s", backend->operations->device_name(backend));
}

static status check_kind(const struct measurement *self)
{
    return model_embedding(self->model) == NULL
               ? STATUS_OK
               : status_fail(STATUS_UNSUPPORTED,
                             "%s: %s is %s: it generates nothing that could be measured",
                             self->job->model.path, model_config(self->model)->architecture,
                             model_config(self->model)->encoder ? "an encoder"
                                                                : "without logits of tokens");
}

static status set_up(struct measurement *self)
{
    TRY(mpi_check(MPI_Comm_dup(MPI_COMM_WORLD, &self->control), "duplicate the world"));
    MPI_Comm_set_errhandler(self->control, MPI_ERRORS_RETURN);
    TRY(run_agree(model_open(self->job->model.path, &self->model)));
    TRY(run_agree(check_kind(self)));
    TRY(devices_plan(self->job, self->model, &self->report->plan));
    self->report->plan.random_weights = self->options->random_weights;
    const struct plan *plan = &self->report->plan;
    if (self->options->requests < plan->dp) {
        return status_fail(STATUS_INVALID, "%d requests for %d replicas", self->options->requests,
                           plan->dp);
    }
    choose_load(self);
    int ranks = plan->tp * plan->pp;
    TRY(mpi_check(MPI_Comm_split(MPI_COMM_WORLD, self->world->rank / ranks, self->world->rank,
                                 &self->replica),
                  "group a replica's ranks"));
    MPI_Comm_set_errhandler(self->replica, MPI_ERRORS_RETURN);
    TRY(run_agree(
        stage_create(plan, self->model, self->replica, self->world->rank % ranks, &self->stage)));
    describe_rank(self);
    return STATUS_OK;
}

/* ---- The bound ---- */

/* Rank 0's device stands for all. */
static status measure_bound(struct measurement *self)
{
    struct bench_report *report = self->report;
    const struct plan *plan = &report->plan;
    const struct model_config *config = model_config(self->model);
    struct partition whole;
    TRY(partition_create(config, 1, 0, 1, 0, plan->slices, &whole));
    int64_t bytes = model_weight_bytes(self->model, &whole, self->stage.backend, plan->stored);
    partition_destroy(&whole);
    if (bytes < 0) {
        return STATUS_INVALID; /* the message is model_weight_bytes's */
    }
    double value_bytes = (double)bytes / model_weight_values(config);
    /* A bfloat16 checkpoint stays in 16 bits also where arithmetic is in float32. */
    bool narrow = plan->stored == WEIGHT_FLOAT32 && value_bytes < 3;
    TRY(ceilings_measure(self->stage.backend, narrow ? WEIGHT_BFLOAT16 : plan->stored,
                         plan->max_batch_tokens, &report->ceilings));
    const struct bound_load load = {.devices = plan->tp * plan->pp,
                                    .memory_bytes = plan->memory_bytes * plan->tp * plan->pp,
                                    .weight_value_bytes = value_bytes,
                                    .kv_value_bytes = (double)dtype_bytes(plan->kv_dtype),
                                    .requests = self->load.requests,
                                    .prompt_tokens = self->load.prompt_tokens,
                                    .new_tokens = self->load.new_tokens};
    serial_bound_compute(config, &load, &report->ceilings, &report->bound);
    return STATUS_OK;
}

/* ---- Runs ---- */

/* A barrier at which nobody keeps a processor busy. */
static status wait_for_all(struct measurement *self)
{
    MPI_Request request;
    TRY(mpi_check(MPI_Ibarrier(self->control, &request), "wait for the other ranks"));
    int done = 0;
    for (int rounds = 0; !done; rounds++) {
        TRY(mpi_check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "wait for the other ranks"));
        if (!done) {
            world_pause(rounds);
        }
    }
    return STATUS_OK;
}

/* One run of the replicas for which `takes_part`; the output tokens and the seconds of the slowest
 * at every rank. The steps of this rank's replica stay in *times. */
static status run_once(struct measurement *self, bool takes_part, struct bench_times *times,
                       int64_t *output_tokens, double *seconds)
{
    *times = (struct bench_times){0};
    TRY(wait_for_all(self));
    timeline_restart(&self->timeline);
    if (takes_part) {
        const uint64_t before = forward_communication_bytes(self->stage.forward);
        TRY(bench_generate(self->job, &self->stage, self->replica, &self->load, times));
        times->communication_bytes = forward_communication_bytes(self->stage.forward) - before;
    }
    TRY(wait_for_all(self));
    TRY(mpi_check(
        MPI_Allreduce(&times->output_tokens, output_tokens, 1, MPI_INT64_T, MPI_SUM, self->control),
        "add up tokens"));
    return mpi_check(MPI_Allreduce(&times->seconds, seconds, 1, MPI_DOUBLE, MPI_MAX, self->control),
                     "compare times");
}

static double rate_of(int64_t tokens, double seconds)
{
    return seconds > 0 ? (double)tokens / seconds : 0;
}

static void keep_times(struct measurement *self, struct bench_times *times)
{
    struct bench_rank *own = &self->own;
    step_times_summarize(&times->prefill, &own->prefill);
    step_times_summarize(&times->decode, &own->decode);
    own->seconds = times->seconds;
    own->communication = times->communication;
    own->communication_bytes = (int64_t)times->communication_bytes;
    own->steps = times->steps;
    own->output_tokens = times->output_tokens;
    own->prompt_tokens = times->prompt_tokens;
    own->preemptions = times->preemptions;
    own->kv_peak_blocks = times->kv_peak_blocks;
    own->plan = times->plan;
    own->launch = times->launch;
    own->wait = times->wait;
    own->complete = times->complete;
    own->gap = times->gap;
}

static int compare_rates(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median_rate(const double *rates, int count)
{
    double *sorted = malloc((size_t)count * sizeof *sorted);
    if (sorted == NULL) {
        return rates[count - 1];
    }
    memcpy(sorted, rates, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, compare_rates);
    double median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
    free(sorted);
    return median;
}

static status run_all(struct measurement *self)
{
    struct bench_report *report = self->report;
    struct bench_times times;
    double seconds;
    status s;
    if (self->options->compare_one) {
        s = run_once(self, self->own.dp == 0, &times, &report->output_tokens, &seconds);
        bench_times_destroy(&times);
        TRY(s);
        report->one_rate = rate_of(report->output_tokens, seconds);
    }
    for (int i = 0; i < self->options->repeat; i++) {
        s = run_once(self, true, &times, &report->output_tokens, &seconds);
        if (s == STATUS_OK) {
            report->rates[report->repeats++] = rate_of(report->output_tokens, seconds);
            keep_times(self, &times);
        }
        bench_times_destroy(&times);
        TRY(s);
    }
    report->rate = median_rate(report->rates, report->repeats);
    report->seconds = report->rate > 0 ? (double)report->output_tokens / report->rate : 0;
    report->prompt_tokens = 0;
    for (int64_t row = 0; row < self->options->requests; row++) {
        report->prompt_tokens += bench_prompt_length(&self->load, row);
    }
    return STATUS_OK;
}

/* ---- The end ---- */

static status note_memory(struct measurement *self)
{
    struct backend *backend = self->stage.backend;
    int64_t free_bytes = 0;
    TRY(backend->operations->memory(backend, &self->own.device_total, &free_bytes));
    self->own.device_used = self->own.device_total - free_bytes;
    self->own.host_peak = peak_host_memory();
    return STATUS_OK;
}

static status gather_ranks(struct measurement *self)
{
    return mpi_check(MPI_Gather(&self->own, sizeof self->own, MPI_BYTE, self->report->ranks,
                                sizeof self->own, MPI_BYTE, 0, self->control),
                     "gather what ranks measured");
}

/* ---- The timeline ---- */

/* This rank's events, if it has any to show, as text. */
static status write_events(struct measurement *self, struct buffer *out)
{
    if (self->load.timeline == NULL) {
        return STATUS_OK;
    }
    const struct bench_rank *own = &self->own;
    char label[192];
    snprintf(label, sizeof label, "rank %d on %s: tp %d, pp %d", own->rank, own->host, own->tp,
             own->pp);
    return timeline_write(self->load.timeline, own->rank, label, out);
}

/* Rank 0 takes the others' text, one after the other: only those of the first replica have some. */
static status take_events(struct measurement *self, const struct buffer *own, struct buffer *out)
{
    TRY(buffer_append(out, own->data, own->length));
    int ranks = self->report->plan.tp * self->report->plan.pp;
    for (int rank = 1; rank < ranks; rank++) {
        MPI_Status info;
        int bytes;
        TRY(mpi_check(MPI_Probe(rank, 0, self->control, &info), "receive a timeline"));
        TRY(mpi_check(MPI_Get_count(&info, MPI_BYTE, &bytes), "receive a timeline"));
        TRY(buffer_reserve(out, (size_t)bytes));
        TRY(mpi_check(MPI_Recv(out->data + out->length, bytes, MPI_BYTE, rank, 0, self->control,
                               MPI_STATUS_IGNORE),
                      "receive a timeline"));
        out->length += (size_t)bytes;
    }
    return STATUS_OK;
}

/* The whole file's text at rank 0. */
static status gather_events(struct measurement *self, const struct buffer *own)
{
    struct buffer *out = &self->report->timeline;
    if (self->world->rank != 0) {
        return self->load.timeline == NULL
                   ? STATUS_OK
                   : mpi_check(MPI_Send(own->data, (int)own->length, MPI_BYTE, 0, 0, self->control),
                               "send a timeline");
    }
    TRY(buffer_append_text(out, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"));
    TRY(take_events(self, own, out));
    out->length -= strlen(",\n"); /* of the last event; a rank has its name at least */
    return buffer_append_text(out, "\n]}\n");
}

static status gather_timeline(struct measurement *self)
{
    if (!self->options->timeline) {
        return STATUS_OK;
    }
    struct buffer own = {0};
    status s = write_events(self, &own);
    if (s == STATUS_OK && own.length > INT_MAX) {
        s = status_fail(STATUS_LIMIT, "a timeline of %zu bytes: measure fewer steps", own.length);
    }
    s = run_agree(s);
    if (s == STATUS_OK) {
        s = gather_events(self, &own);
    }
    buffer_destroy(&own);
    return s;
}

static status create_report(struct measurement *self)
{
    struct bench_report *report = self->report;
    report->rates = calloc((size_t)self->options->repeat, sizeof *report->rates);
    report->ranks = calloc((size_t)self->world->size, sizeof *report->ranks);
    return report->rates != NULL && report->ranks != NULL
               ? STATUS_OK
               : status_fail(STATUS_NO_MEMORY, "out of memory for a report");
}

static status measure(struct measurement *self, bool *failed_alone)
{
    TRY(set_up(self));
    TRY(run_agree(create_report(self)));
    TRY(run_agree(self->world->rank == 0 ? measure_bound(self) : STATUS_OK));
    status s = bench_warm_up(&self->stage, &self->load);
    stage_note_steps(&self->stage, INT64_MAX); /* all that comes once has come */
    if (s == STATUS_OK) {
        s = run_all(self);
    }
    if (s == STATUS_OK) { /* the profile's memory does not count */
        s = note_memory(self);
    }
    if (s == STATUS_OK && self->options->phases) {
        s = bench_profile(&self->stage, &self->load, &self->own.prefill_profile,
                          &self->own.decode_profile);
    }
    if (s == STATUS_OK) {
        s = gather_ranks(self);
    }
    if (s == STATUS_OK) {
        s = gather_timeline(self);
    }
    *failed_alone = s != STATUS_OK; /* the others may be in the middle of a step */
    return status_context(s, "rank %d", self->world->rank);
}

status bench_run(const struct job *job, const struct bench_options *options,
                 struct bench_report *report, bool *failed_alone)
{
    struct measurement self = {.job = job,
                               .options = options,
                               .world = world_get(),
                               .report = report,
                               .control = MPI_COMM_NULL,
                               .replica = MPI_COMM_NULL};
    *report = (struct bench_report){0};
    *failed_alone = false;
    status s = measure(&self, failed_alone);
    stage_destroy(&self.stage);
    if (self.replica != MPI_COMM_NULL) {
        MPI_Comm_free(&self.replica);
    }
    if (self.control != MPI_COMM_NULL) {
        MPI_Comm_free(&self.control);
    }
    model_close(self.model);
    timeline_destroy(&self.timeline);
    return s;
}

void bench_report_destroy(struct bench_report *report)
{
    free(report->rates);
    free(report->ranks);
    buffer_destroy(&report->timeline);
    *report = (struct bench_report){0};
}
