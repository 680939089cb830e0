/* SPDX-License-Identifier: Apache-2.0 */
/* What a job needs of a model without a tokenizer: rows of token ids. */
#include "run/data_set.h"
#include "run/prompt.h"

static status refuse(const struct model *model)
{
    status s = model_need_tokenizer(model);
    (void)s;
    return STATUS_REFUSED; /* with that message */
}

/* Reads until a row can run, or until so many cannot that the rest will be alike. A row that is
 * wrong in itself says nothing. */
static status find_tokens(const struct job *job, const struct model *model,
                          struct record_reader *reader, struct record *record, struct arena *arena)
{
    enum { ENOUGH = 1000 };
    struct row_format format = prompt_row_format(job);
    for (int texts = 0; texts < ENOUGH;) {
        bool more;
        TRY(record_reader_next(reader, record, &more));
        if (!more) {
            return texts == 0 ? STATUS_OK : refuse(model);
        }
        struct row row;
        arena_reset(arena);
        if (record->kind == RECORD_BAD) {
            continue;
        }
        const status s = row_parse(record, &format, &job->generate, arena, &row);
        if (s == STATUS_NO_MEMORY) {
            return s;
        }
        if (s != STATUS_OK) {
            continue;
        }
        if (row.kind == PROMPT_TOKENS) {
            return STATUS_OK;
        }
        texts++;
    }
    return refuse(model);
}

status prompt_check_tokenizer(const struct job *job, const struct input_files *files,
                              const struct model *model)
{
    if (model_tokenizer(model) != NULL) {
        return STATUS_OK;
    }
    struct record_reader_options options = data_set_options(job, files);
    options.quiet = true;
    struct record_reader *reader;
    TRY(record_reader_open(&options, &reader));
    struct record record = {0};
    struct arena arena = {0};
    status s = find_tokens(job, model, reader, &record, &arena);
    buffer_destroy(&record.bytes);
    arena_destroy(&arena);
    record_reader_close(reader);
    return s;
}
