/* SPDX-License-Identifier: Apache-2.0 */
/* From a job's keys to its data set. */
#include "run/data_set.h"

#include "sluice/task.h"

status data_set_find(const struct job *job, bool fresh, struct input_files *files)
{
    TRY(input_files_resolve(job->data.input.items, job->data.input.count, files));
    return fresh ? STATUS_OK : input_files_keep(job->output.path, job->output.overwrite, files);
}

status data_set_check_system(const struct job *job)
{
    return job->data.system == NULL || task_facts(job->generate.task)->takes_messages
               ? STATUS_OK
               : status_fail(STATUS_REFUSED,
                             "data.system: %s is an encoder, which embeds plain texts",
                             job->model.path);
}

struct record_reader_options data_set_options(const struct job *job,
                                              const struct input_files *files)
{
    const bool takes_completion = task_facts(job->generate.task)->takes_completion;
    return (struct record_reader_options){
        .files = files,
        .prompt_field = job->data.prompt_field,
        .id_field = job->data.id_field,
        .completion_field = takes_completion ? job->data.completion_field : NULL,
        .prompt_template = job->data.prompt_template,
        .plain_columns = !job->data.row_parameters,
        .limit = job->data.limit,
    };
}
