/* SPDX-License-Identifier: Apache-2.0 */
/* What the model decides of a job: the task, and its own sampling values as defaults. */
#include <string.h>

#include "sluice/job.h"
#include "sluice/task.h"

/* ---- The task ---- */

enum task job_task(const struct job *job, const struct model_config *config)
{
    if (job->generate.task == TASK_GENERATE && job->task > TASK_SCORE) {
        return (enum task)job->task;
    }
    unsigned abilities = config != NULL ? config->abilities : ABLE_LOGITS;
    if (job->task == TASK_GENERATE) { /* asked for: not what the model would rather do */
        abilities &= ~(unsigned)ABLE_BEST;
    }
    return task_choose(job->generate.task, abilities);
}

status job_check_task(const struct job *job, const struct model_config *config)
{
    if (job->task != -1) {
        TRY(task_check_model((enum task)job->task, config->abilities, config->architecture));
    }
    TRY(task_check_model(job_task(job, config), config->abilities, config->architecture));
    return job->task <= TASK_SCORE || job_task(job, config) == (enum task)job->task
               ? STATUS_OK
               : status_fail(STATUS_REFUSED, "task: %s, and generate.mode is %s: one of them",
                             task_facts((enum task)job->task)->name,
                             task_facts(job_task(job, config))->name);
}

/* ---- Sampling values ---- */

static bool is_set(const struct job *job, const char *name)
{
    for (size_t i = 0; i < job->generate_setting_count; i++) {
        if (strcmp(job->generate_settings[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* `params` is not touched where the value is out of range. */
static status try_value(const char *name, const struct json *value, struct generate_params *params)
{
    struct generate_params changed = *params;
    struct arena arena = {0}; /* these are numbers: nothing is kept in it */
    bool known;
    status s = generate_params_set(&changed, name, value, &arena, &known);
    arena_destroy(&arena);
    TRY(s);
    *params = changed;
    return STATUS_OK;
}

static status take(struct job *job, const char *name, const struct json *value,
                   struct buffer *taken)
{
    status s = try_value(name, value, &job->generate);
    if (s == STATUS_INVALID) {
        log_write(LOG_WARNING, "the model's own sampling values: %s; not used", status_message());
        return STATUS_OK;
    }
    TRY(s);
    job->model_defaults[job->model_default_count++] = (struct job_setting){name, value};
    return buffer_format(taken, "%s%s %s", taken->length > 0 ? ", " : "", name, value->text);
}

status job_take_model_defaults(struct job *job, const struct model *model, struct buffer *taken)
{
    job->generate.task = job_task(job, model_config(model));
    bool samples = task_facts(job->generate.task)->work == WORK_SAMPLE;
    const char *name;
    const struct json *value;
    job->model_default_count = 0;
    for (size_t i = 0; samples && job->generate.defaults == DEFAULTS_MODEL &&
                       model_sampling_default(model, i, &name, &value);
         i++) {
        bool room = job->model_default_count < COUNT_OF(job->model_defaults);
        if (value != NULL && room && !is_set(job, name)) {
            TRY(take(job, name, value, taken));
        }
    }
    return STATUS_OK;
}

/* ---- What the task has no use for ---- */

status job_warn_unused(const struct job *job)
{
    struct buffer names = {0};
    status s = STATUS_OK;
    for (size_t i = 0; i < job->generate_setting_count && s == STATUS_OK; i++) {
        const char *name = job->generate_settings[i].name;
        if (!generate_is_used(name, job->generate.task)) {
            s = buffer_format(&names, "%sgenerate.%s", names.length > 0 ? ", " : "", name);
        }
    }
    if (s == STATUS_OK && names.length > 0) {
        log_write(LOG_WARNING, "task %s has no use for %s", task_facts(job->generate.task)->name,
                  names.data);
    }
    buffer_destroy(&names);
    return s;
}
