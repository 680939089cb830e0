/* SPDX-License-Identifier: Apache-2.0 */
/* The job file, and the plan made from it: YAML keys as a table, layout against memory. */
#ifndef SLUICE_JOB_H
#define SLUICE_JOB_H

#include "sluice/backend_kind.h"
#include "sluice/data.h"
#include "sluice/engine.h"
#include "sluice/model.h"

enum share_reads { SHARE_AUTO, SHARE_ALWAYS, SHARE_NEVER };
/* In which rows are handed out: those that begin alike together and long ones first, or as read. */
enum order_choice { ORDER_PREFIX, ORDER_FILE };
enum strings_choice { STRINGS_VARIABLE, STRINGS_PACKED };

/* One path, or several. */
struct job_paths {
    const char *text; /* for messages: "a.jsonl, b.jsonl and 7 more"; NULL: not set */
    const char *const *items;
    size_t count;
};

/* -1 stands for "auto" in integers. Strings live in the job's arena. */
struct job {
    struct arena arena;
    int task; /* enum task, -1: what the model is made for */
    struct {
        const char *path;
        int dtype;    /* enum weight_format, -1: as the checkpoint and the device suggest */
        int kv_dtype; /* enum dtype, -1: float32 on the CPU, bfloat16 on a GPU */
        int64_t max_model_len; /* -1: what the model says */
        int reasoning;         /* index of reasoning_form_at, -1: by the vocabulary, -2: none */
        int tool_calls;        /* index of tool_call_form_at, -1: by the template, -2: none */
    } model;
    struct {
        struct job_paths input; /* names and patterns: input_files_resolve makes files of them */
        const char *prompt_template, *system;                   /* NULL: none */
        const char *prompt_field, *completion_field, *id_field; /* NULL: the usual names */
        enum chat_mode chat;
        const char *chat_template; /* name or file; NULL: what the model and the row say */
        int64_t template_time;     /* Unix seconds; -1: of the first start */
        int64_t limit;             /* -1: all */
        bool skip_bad_rows;        /* false: the first bad row ends the job */
        enum order_choice order;
        bool row_parameters; /* false: columns of plain rows are data, whatever they are called */
    } data;
    struct generate_params generate;
    struct {
        int64_t tp, pp, tp_slices; /* -1: auto */
    } layout;
    struct {
        const struct backend_kind *device;                        /* NULL: auto */
        int64_t max_batch_tokens, max_sequences, kv_block_tokens; /* -1: auto */
        int64_t kv_memory; /* bytes a rank; -1: what memory allows */
        bool prefix_cache, copy_equal_rows;
        enum engine_admission admission;
    } engine;
    struct {
        const char *path;
        bool include_prompt, include_token_ids, overwrite;
        enum strings_choice strings;
        const char *metrics; /* a file for node exporter; NULL: none */
    } output;
    struct {
        int64_t silence_warn;  /* seconds */
        int64_t silence_limit; /* seconds; -1: off */
        int share_reads;       /* enum share_reads */
    } run;
    /* What set `generate`, by name; job_write writes these values and defaults for the rest. */
    struct job_setting {
        const char *name;
        const struct json *value;
    } * generate_settings;
    size_t generate_setting_count;
    /* What job_take_model_defaults has set of `generate`. */
    struct job_setting model_defaults[8];
    size_t model_default_count;
};

/* Every key at its default, model.path, data.input and output.path NULL: for commands that have no
 * job file. End with job_destroy, also after a failure. */
status job_initialize(struct job *job) MUST_CHECK;

/* Reads a job file and applies `overrides` ("generate.temperature=0.7"; later ones win). Relative
 * paths inside stay relative to the working directory. STATUS_INVALID with "jobs/a.yaml: line 7:
 * generate.tempersture: unknown key; did you mean temperature?". End with job_destroy, also after a
 * failure. */
status job_load(const char *path, const char *const *overrides, size_t override_count,
                struct job *job) MUST_CHECK;
/* The same of a job's text, such as an output holds; `path` is what messages call it. */
status job_read(const char *path, const char *text, size_t length, const char *const *overrides,
                size_t override_count, struct job *job) MUST_CHECK;
void job_destroy(struct job *job);
/* The files that the job names, as far as they can be judged without reading them. STATUS_INVALID
 * where data.input is no data set (input_files_resolve), or where the output, or what is written
 * beside it on the way, would replace the data set, the job file or a file of the model, whatever
 * links lead there. One rank is enough. */
status job_check_files(const struct job *job, const char *job_path) MUST_CHECK;
/* The same of a command that writes `output`, which `option` has named, of a model and of one file,
 * which may be NULL. */
status job_check_output(const char *option, const char *output, const char *model,
                        const char *input) MUST_CHECK;
/* What the job's rows are for on this model (NULL: not known). STATUS_UNSUPPORTED where the model
 * cannot do what the job asks for. src/job/model_decides.c, like the next. */
enum task job_task(const struct job *job, const struct model_config *config);
status job_check_task(const struct job *job, const struct model_config *config) MUST_CHECK;
/* Sets job->generate.task to that, and takes the model's own sampling values where the job sets
 * none (generate.defaults: model) into job->generate; they live as long as the model. Appends
 * "temperature 0.6, top_p 0.9" to `taken`, nothing where nothing is; a value that is out of range
 * is skipped with a warning. Every rank comes to the same. */
status job_take_model_defaults(struct job *job, const struct model *model,
                               struct buffer *taken) MUST_CHECK;
/* Warns of keys in the section generate that the job sets and its task, generate.task, never looks
 * at. One rank is enough. */
status job_warn_unused(const struct job *job) MUST_CHECK;
/* Appends the resolved job, every key, as YAML that job_load reads back to the same job. */
status job_write(const struct job *job, struct buffer *out) MUST_CHECK;

/* Appends the table of keys in Markdown: what `sluice help job` prints and docs/job-file.md holds.
 */
status job_describe_keys(struct buffer *out) MUST_CHECK;

/* ---- The plan: src/job/plan.c ---- */

enum { MOST_TENSOR_RANKS = 8 };

/* What the ranks of a plan run on. */
struct plan_device {
    const struct backend_kind *kind;
    int index;            /* of the kind's devices on this host, for what the plan asks of it */
    char description[64]; /* "NVIDIA H100 80GB HBM3", for messages */
    char arithmetic[128]; /* device_facts.arithmetic of the device */
    int capability;       /* device_facts.capability: the least over ranks */
    int64_t memory_bytes; /* that a rank finds: the least over ranks */
    int near_ranks; /* 1, 2, 4 or 8: so many ranks in a row, counted from rank 0, have one host
                       each time; what auto takes for tensor parallelism first */
};

struct plan {
    const struct backend_kind *kind; /* of the devices that all ranks take */
    int device_index;                /* of this rank, on its host */
    char arithmetic[128];            /* of this rank's device: device_facts.arithmetic */
    enum weight_format stored;       /* what weights are kept in, but for what is exact */
    enum dtype compute, kv_dtype;
    int ranks, dp, tp, pp, slices;
    int max_model_len, max_sequences, max_batch_tokens, kv_block_tokens,
        kv_blocks;        /* kv_blocks: the least over stages */
    int64_t weight_bytes; /* of the rank that has most */
    int64_t activation_bytes;
    int64_t kv_bytes;     /* a rank */
    int state_places;     /* for states of sequences: max_sequences and kept_states, or 0 where none
                             are kept */
    int kept_states;      /* of those: for the prefix cache */
    int64_t state_bytes;  /* of all of them, of the rank that has most */
    int64_t memory_bytes; /* that a rank may use */
    bool plans_ahead;     /* a step is planned and launched while the one before it runs */
    bool share_reads;     /* the ranks of a host read weights together */
    double silence_limit; /* the job's run.silence_limit, in seconds; -1: off */
    bool random_weights;  /* false; the benchmark sets it: fill the weights instead of reading them
                           */
};
/* What the plan's steps ask at most of a rank with that part of the model. */
struct step_shape plan_step_shape(const struct plan *plan, const struct model_config *config,
                                  const struct partition *partition);
/* The device that the job asks for, as this host has it, with `ranks_per_host` ranks to share it:
 * `host_memory` bytes on a CPU (0: ask the system), each GPU's free memory otherwise. */
status plan_find_device(const struct job *job, int ranks_per_host, int64_t host_memory,
                        struct plan_device *out) MUST_CHECK;
/* Decides everything that the job leaves to auto. Deterministic from its arguments and what
 * `backend` answers for sizes (NULL: one is opened for the question); so that every rank comes to
 * the same plan, rank 0 computes it and sends it. STATUS_INVALID says what does not fit and by how
 * much: "weights take 16.1 GB a rank, 8.0 GB are there; use tp >= 4". */
status plan_create_on(const struct job *job, const struct model *model, int ranks,
                      const struct plan_device *device, struct backend *backend,
                      struct plan *out) MUST_CHECK;
/* Both: a plan for this host's device. */
status plan_create(const struct job *job, const struct model *model, int ranks, int ranks_per_host,
                   int64_t host_memory, struct backend *backend, struct plan *out) MUST_CHECK;
/* The plan as a text table for people. */
status plan_describe(const struct plan *plan, const struct model *model,
                     struct buffer *out) MUST_CHECK;

#endif
