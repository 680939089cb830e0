/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring: throughput on synthetic prompts of given lengths, and what a device could do at most.
 * What `sluice bench` stands on. */
#ifndef SLUICE_BENCH_H
#define SLUICE_BENCH_H

#include "sluice/job.h"

/* ---- What a device can do: src/measure/ceilings.c ---- */

/* How long a large product takes: of one weight with so many rows of input. */
struct product_ceiling {
    double rows, seconds_per_value;
};
enum { CEILING_POINTS = 12 };

struct device_ceilings {
    double bytes_per_second; /* of a large copy within the device's memory, read plus written */
    struct product_ceiling products[CEILING_POINTS]; /* in the weights' type; rows ascending */
    int product_count;
    double rate_in_16_bits; /* operations (two a multiply-add) a second of the largest product in
                               16 bits */
};

/* Operations a second of the largest product. */
double ceilings_product_rate(const struct device_ceilings *ceilings);
/* Seconds of a weight at `rows`: in a straight line between points, below the first as the first,
 * beyond the last in proportion to rows. */
double ceilings_product_seconds(const struct device_ceilings *ceilings, double rows);
/* Of products in 16 bits where those in `stored` weights have `product_rate`: products in 8 bits
 * are twice as fast. */
double ceilings_rate_in_16_bits(double product_rate, enum weight_format stored);
/* Operations a second that the best known prefill attention reaches on prompts of `tokens`, causal,
 * only those below the diagonal counted. */
double ceilings_attention_rate(const struct device_ceilings *ceilings, double tokens);

/* Measures a backend's device with its own operations: a copy, large products. Takes about a second
 * and some hundred MB of the device's memory for that long. `max_tokens`: of the backend's options.
 */
status ceilings_measure(struct backend *backend, enum weight_format stored, int max_tokens,
                        struct device_ceilings *out) MUST_CHECK;

/* ---- The serial bound: src/measure/serial_bound.c ---- */

/* A replica and its load. */
struct bound_load {
    int devices;               /* tp · pp */
    int64_t memory_bytes;      /* for weights and KV cache, all devices together */
    double weight_value_bytes; /* of a weight as it is kept, scales included */
    double kv_value_bytes;
    int64_t requests; /* in all: no batch is larger */
    int prompt_tokens, new_tokens;
};

struct serial_bound {
    double tokens_per_second; /* output tokens of the whole job */
    int64_t batch;            /* sequences at once that memory and requests allow */
    double products, prefill_attention, decode_attention; /* seconds an output token */
};

/* Output tokens a second if every step's linear layers took as long as large products of as many
 * rows, prefill attention ran at its ceiling, and decode attention read the KV cache at the speed
 * of a copy, one after the other and nothing besides. The batch is as large as memory allows and
 * always full; prompts and outputs share its steps. Devices of a replica divide all of it without
 * loss. */
void serial_bound_compute(const struct model_config *config, const struct bound_load *load,
                          const struct device_ceilings *ceilings, struct serial_bound *out);

/* Weights of a model, embedding table included. */
double model_weight_values(const struct model_config *config);

/* ---- Times of steps: src/measure/step_times.c ---- */

/* Zero-initialise; free with step_times_destroy. */
struct step_times {
    double *seconds;
    size_t count, capacity;
    int64_t tokens; /* that went through the model in them */
};
status step_times_add(struct step_times *times, double seconds, int64_t tokens) MUST_CHECK;
void step_times_destroy(struct step_times *times);

struct step_summary {
    int64_t steps, tokens;
    double seconds, mean, median, p99; /* 0 where there are no steps; p99: 99% of steps are at most
                                          that long (nearest rank) */
};
/* Sorts the times. */
void step_times_summarize(struct step_times *times, struct step_summary *out);

/* ---- A measurement: src/measure/bench.c ---- */

/* What `prompt_tokens` and `new_tokens` mean. */
enum bench_lengths {
    BENCH_EQUAL,        /* every request has them */
    BENCH_SPREAD,       /* they are means, and lengths are log-normal about them, ten times a mean
                           at most; of an answer nothing is known before it ends */
    BENCH_SPREAD_KNOWN, /* the same lengths, all known to the scheduler: the longest come first */
};
enum { BENCH_SPREAD_MOST = 10 /* times the mean */ };

struct bench_options {
    bool random_weights;
    enum bench_lengths lengths;
    int prompt_tokens, new_tokens;
    int requests;     /* over all replicas */
    int repeat;       /* measured runs, one after the other */
    bool compare_one; /* before them: the first replica alone with its share of the requests */
    bool phases;      /* after them: a few steps with every operation timed on its own */
    bool timeline;    /* the report gets one */
};

enum bench_phase {
    BENCH_PRODUCTS,
    BENCH_ATTENTION,
    BENCH_COMMUNICATION,
    BENCH_SAMPLING,
    BENCH_OTHER, /* norms, rope, activations: what reads and writes rows */
    BENCH_PHASES
};
extern const char *const bench_phase_names[BENCH_PHASES];

/* Of one kind of step. */
struct bench_profile {
    int tokens, sequences, context; /* of the steps that were timed */
    double seconds[BENCH_PHASES];   /* a step */
};

/* What one rank reports. */
struct bench_rank {
    char host[64], device[128];
    int rank, dp, tp, pp;
    bool leader;
    double load_seconds;
    int64_t host_peak_loading, host_peak; /* bytes of this process, at most */
    int64_t device_total, device_used;    /* bytes, of the backend's device */
    double seconds;                       /* of the last measured run */
    double communication;                 /* seconds of it in calls to other ranks */
    int64_t communication_bytes;          /* sent in them */
    int64_t output_tokens, prompt_tokens, preemptions, kv_peak_blocks; /* leaders */
    struct step_summary prefill, decode; /* leaders: steps with prompt tokens among theirs, and
                                            without */
    int64_t steps;                       /* that this rank had a part in */
    double plan, complete;               /* leaders: seconds of the run that the host planned and
                                            completed steps */
    double gap; /* leaders: for which the device stood still between steps, by its clock, or
                   else plan and complete */
    double launch, wait; /* until a step's operations were started, and until it was sampled, or
                            sent on */
    struct bench_profile prefill_profile, decode_profile; /* zero where not asked for */
};

struct bench_report {
    struct plan plan;
    struct device_ceilings ceilings;
    struct serial_bound bound; /* of one replica with its share of the requests */
    double one_rate; /* output tokens/s of the first replica alone; 0 where not asked for */
    int repeats;
    double *rates;        /* [repeats] output tokens/s of all replicas together, as measured */
    double seconds, rate; /* of the median run */
    int64_t output_tokens, prompt_tokens; /* of one run, all replicas */
    struct bench_rank *ranks;             /* [plan.ranks] */
    struct buffer timeline; /* where asked for: a JSON object in Trace Event Format, of the last
                               measured run's steps and of the operations of `phases`; a process is
                               a rank of the first replica */
};

/* Measures. The job's data and output are not looked at. Collective over all ranks (see run_start
 * in sluice/run.h); *report is filled on rank 0, and everywhere ends with bench_report_destroy,
 * also after a failure. *failed_alone as in struct run_summary. */
status bench_run(const struct job *job, const struct bench_options *options,
                 struct bench_report *report, bool *failed_alone) MUST_CHECK;
void bench_report_destroy(struct bench_report *report);

#endif
