/* SPDX-License-Identifier: Apache-2.0 */
/* Records to engine sequences, finished samples to results. */
#include "run/open_rows.h"

#include <stdlib.h>
#include <string.h>

#include "run/answers/answers.h"
#include "run/answers/row_forms.h"
#include "run/order/twins.h"
#include "run/prompt.h"
#include "run/ranks/wire.h"
#include "sluice/task.h"

/* One of a row's answers that come apart: what the engine hands back. */
struct open_part {
    struct pending_row *row;
    int index;          /* among the row's results */
    const char *prompt; /* its own, as the row's */
    size_t prompt_length;
    const char *scored; /* the text that is scored, NULL where it is no text */
    size_t scored_length;
};

/* A row on its way; the arena holds the parsed row and the samples that finished first. */
struct pending_row {
    struct pending_row *next,
        *previous; /* all rows under way, so that a job that stops early can let go of them */
    struct arena arena;
    struct row row;
    const char *prompt; /* the text given to the tokenizer, for output.include_prompt */
    size_t prompt_length;
    char *passthrough;
    size_t passthrough_length;
    struct result *results;  /* [answers] */
    struct open_part *parts; /* [1, or one for each completion] */
    int answers, finished;
    struct twin twin;
    bool has_twin_entry;                    /* its twin is in the table */
    struct pending_row *copies, *next_copy; /* rows that ask the same and wait for its answer */
    struct structured_entry *form;          /* of its answer; NULL: any */
    bool is_thinking;                       /* the prompt ends within what the model thinks */
};

struct open_rows {
    struct open_rows_options options;
    struct row_format format;
    struct prompt_encoder prompts;
    struct answer_reader answers;
    struct row_forms forms;
    struct twins twins;
    struct buffer text, encoded, message;
    struct notes notes;
    int64_t taken, unfinished, tokens;
    bool have_forms;
    struct pending_row *pending;
};

status open_rows_create(const struct open_rows_options *options, struct open_rows **out)
{
    struct open_rows *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the queue of rows");
    }
    self->options = *options;
    self->format = prompt_row_format(options->job);
    answer_reader_start(&self->answers, options->job, options->model);
    row_forms_start(&self->forms, options->model, &self->answers);
    status s =
        prompt_encoder_start(&self->prompts, options->model, options->max_model_len, options->now);
    if (s != STATUS_OK) {
        open_rows_destroy(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

static struct pending_row *pending_create(struct open_rows *self)
{
    struct pending_row *pending = calloc(1, sizeof *pending);
    if (pending != NULL) {
        pending->next = self->pending;
        if (self->pending != NULL) {
            self->pending->previous = pending;
        }
        self->pending = pending;
    }
    return pending;
}

static void pending_destroy(struct open_rows *self, struct pending_row *pending)
{
    if (pending->has_twin_entry) {
        twins_remove(&self->twins, &pending->twin);
    }
    if (pending->next != NULL) {
        pending->next->previous = pending->previous;
    }
    if (pending->previous != NULL) {
        pending->previous->next = pending->next;
    } else {
        self->pending = pending->next;
    }
    row_forms_release(&self->forms, pending->form);
    arena_destroy(&pending->arena);
    free(pending);
}

void open_rows_destroy(struct open_rows *self)
{
    if (self == NULL) {
        return;
    }
    while (self->pending != NULL) {
        pending_destroy(self, self->pending);
    }
    prompt_encoder_end(&self->prompts);
    answer_reader_end(&self->answers);
    row_forms_end(&self->forms);
    buffer_destroy(&self->text);
    buffer_destroy(&self->encoded);
    buffer_destroy(&self->message);
    notes_destroy(&self->notes);
    free(self);
}

/* ---- A row into the engine ---- */

static status keep_prompt(struct open_rows *self, struct pending_row *pending)
{
    if (!self->options.job->output.include_prompt || pending->row.kind == PROMPT_TOKENS) {
        return STATUS_OK;
    }
    pending->prompt =
        arena_copy(&pending->arena, self->prompts.text.data, self->prompts.text.length);
    pending->prompt_length = self->prompts.text.length;
    return pending->prompt != NULL ? STATUS_OK
                                   : status_fail(STATUS_NO_MEMORY, "out of memory for a prompt");
}

/* A scored row's text is what is scored. */
static status keep_scored(struct open_rows *self, struct pending_row *pending,
                          struct open_part *part)
{
    const struct row *row = &pending->row;
    if (row->completion != NULL || row->completion_tokens != NULL) {
        part->scored = row->completion;
        part->scored_length = row->completion_length;
        return STATUS_OK;
    }
    if (row->kind == PROMPT_TOKENS) {
        return STATUS_OK;
    }
    part->scored_length = self->prompts.text.length;
    part->scored = arena_copy(&pending->arena, self->prompts.text.data, part->scored_length);
    return part->scored != NULL ? STATUS_OK
                                : status_fail(STATUS_NO_MEMORY, "out of memory for a text");
}

static status keep_passthrough(struct open_rows *self, struct pending_row *pending)
{
    if (pending->row.passthrough == NULL) {
        return STATUS_OK;
    }
    buffer_clear(&self->text);
    TRY(json_write(pending->row.passthrough, &self->text));
    pending->passthrough = arena_copy(&pending->arena, self->text.data, self->text.length);
    pending->passthrough_length = self->text.length;
    return pending->passthrough != NULL
               ? STATUS_OK
               : status_fail(STATUS_NO_MEMORY, "out of memory for a row's fields");
}

/* Where a row under way asks the same, this one waits for its answer (*is_copy); else it is the one
 * that others may wait for. */
static status join_twin(struct open_rows *self, struct pending_row *pending,
                        const struct token_list *tokens, bool *is_copy)
{
    *is_copy = false;
    if (!self->options.job->engine.copy_equal_rows || !twin_is_plain(&pending->row)) {
        return STATUS_OK;
    }
    twin_set(&pending->twin, &pending->row, tokens->ids, tokens->count);
    struct twin *twin = twins_find(&self->twins, &pending->twin);
    if (twin != NULL) {
        struct pending_row *original = twin->owner;
        pending->next_copy = original->copies;
        original->copies = pending;
        *is_copy = true;
        return STATUS_OK;
    }
    int32_t *copy = arena_allocate_array(&pending->arena, tokens->count, sizeof *copy);
    if (copy == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a row");
    }
    memcpy(copy, tokens->ids, tokens->count * sizeof *copy);
    pending->twin.tokens = copy;
    pending->twin.owner = pending;
    pending->has_twin_entry = true;
    twins_add(&self->twins, &pending->twin);
    return STATUS_OK;
}

static void describe_row(const struct open_rows *self, const struct pending_row *pending,
                         struct result *result)
{
    *result = (struct result){
        .row = pending->row.index,
        .rank = self->options.rank,
        .arithmetic = self->options.arithmetic,
        .arithmetic_length =
            self->options.arithmetic != NULL ? strlen(self->options.arithmetic) : 0,
        .endpoint = pending->row.endpoint,
        .id = pending->row.id != NULL ? pending->row.id : "",
        .id_length = pending->row.id_length,
        .id_is_number = pending->row.id_is_number,
        .prompt = pending->prompt,
        .prompt_length = pending->prompt_length,
        .text = "",
        .error = "",
        .passthrough = pending->passthrough != NULL ? pending->passthrough : "",
        .passthrough_length = pending->passthrough_length,
    };
}

/* A status that speaks of the row and not of the machine: such a row becomes an error result. */
static bool is_row_error(status s)
{
    return s == STATUS_INVALID || s == STATUS_LIMIT || s == STATUS_UNSUPPORTED;
}

/* A part that cannot run is an error by itself: the others are answered. */
static status fail_part(struct open_rows *self, const struct record *record,
                        struct pending_row *pending, int part)
{
    char place[RECORD_PLACE_BYTES];
    record_describe_place(record, place);
    const status s = status_context(STATUS_INVALID, "%s", place);
    (void)s;
    struct result *result = &pending->results[part];
    describe_row(self, pending, result);
    result->sample = part;
    result->prompt = NULL; /* that is of the part before */
    result->prompt_length = 0;
    result->finish_reason = FINISH_ERROR;
    result->error_length = strlen(status_message());
    result->error = arena_copy(&pending->arena, status_message(), result->error_length);
    pending->finished++;
    return result->error != NULL ? STATUS_OK
                                 : status_fail(STATUS_NO_MEMORY, "out of memory for a result");
}

static status admit_part(struct open_rows *self, struct pending_row *pending,
                         struct open_part *part);

static status admit(struct open_rows *self, const struct record *record,
                    struct pending_row *pending)
{
    status s = row_parse(record, &self->format, &self->options.job->generate, &pending->arena,
                         &pending->row);
    status kept = keep_passthrough(self, pending); /* an error row keeps its fields too */
    if (kept == STATUS_OK) {
        kept = notes_add_parsed(&self->notes, self->options.job, &pending->row);
    }
    if (s == STATUS_OK) {
        s = kept;
    }
    TRY(s);
    pending->answers = row_answers(&pending->row);
    const size_t parts = pending->row.completions != NULL ? (size_t)pending->answers : 1;
    pending->results =
        arena_allocate_array(&pending->arena, (size_t)pending->answers, sizeof *pending->results);
    pending->parts = arena_allocate_array(&pending->arena, parts, sizeof *pending->parts);
    if (pending->results == NULL || pending->parts == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a row");
    }
    for (size_t i = 0; i < parts; i++) {
        pending->parts[i] = (struct open_part){.row = pending, .index = (int)i};
        s = admit_part(self, pending, &pending->parts[i]);
        if (s != STATUS_OK &&
            !(parts > 1 && is_row_error(s) && self->options.job->data.skip_bad_rows)) {
            return s;
        }
        if (s != STATUS_OK) {
            TRY(fail_part(self, record, pending, (int)i));
        }
    }
    return STATUS_OK;
}

static status admit_part(struct open_rows *self, struct pending_row *pending,
                         struct open_part *part)
{
    TRY(row_take_part(&pending->row, part->index));
    TRY(prompt_encode(&self->prompts, &pending->row));
    self->tokens += (int64_t)self->prompts.tokens.count;
    TRY(keep_prompt(self, pending));
    part->prompt = pending->prompt;
    part->prompt_length = pending->prompt_length;
    pending->row.params.sampling.stream =
        random_stream(&pending->row, self->prompts.tokens.ids, self->prompts.tokens.count);
    const struct token_list *tokens = &self->prompts.tokens;
    pending->row.params.second_text = (int)self->prompts.second_text;
    int vocabulary = model_config(self->options.model)->vocabulary;
    if (task_facts(pending->row.params.task)->work != WORK_READ) {
        pending->is_thinking = answer_reader_is_thinking(&self->answers, tokens);
        TRY(row_forms_take(&self->forms, tokens, &pending->row.params, &pending->form));
        self->have_forms = self->have_forms || pending->form != NULL;
        bool is_copy;
        TRY(join_twin(self, pending, tokens, &is_copy));
        if (is_copy) {
            return STATUS_OK;
        }
        return engine_add(self->options.engine, pending->row.index, tokens->ids, tokens->count,
                          &pending->row.params, vocabulary, part);
    }
    TRY(keep_scored(self, pending, part));
    return engine_add_scored(self->options.engine, pending->row.index, tokens->ids, tokens->count,
                             self->prompts.first_scored, &pending->row.params, vocabulary, part);
}

static status finish_row(struct open_rows *self, const struct pending_row *pending, int count,
                         const struct result *results)
{
    buffer_clear(&self->encoded);
    for (int i = 0; i < count; i++) {
        TRY(result_encode(&results[i], &self->encoded));
    }
    self->unfinished--;
    return rows_append(&self->message, pending->row.index, self->encoded.data,
                       self->encoded.length);
}

status open_rows_add(struct open_rows *self, const struct record *record)
{
    struct pending_row *pending = pending_create(self);
    if (pending == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a row");
    }
    pending->row.index = record->row;
    self->taken++;
    self->unfinished++;
    status s = admit(self, record, pending);
    if (s == STATUS_OK && (pending->finished == 0 || pending->finished < pending->answers)) {
        return STATUS_OK; /* the engine holds it as its tag */
    }
    if (s == STATUS_OK) { /* none of its parts could run */
        s = finish_row(self, pending, pending->answers, pending->results);
        pending_destroy(self, pending);
        return s;
    }
    char place[RECORD_PLACE_BYTES];
    record_describe_place(record, place);
    s = status_context(s, "%s", place);
    if (is_row_error(s) && self->options.job->data.skip_bad_rows) {
        struct result result;
        describe_row(self, pending, &result);
        result.finish_reason = FINISH_ERROR;
        result.error = status_message();
        result.error_length = strlen(result.error);
        s = finish_row(self, pending, 1, &result);
    } else if (record->file == NULL) { /* else the place names it */
        s = status_context(s, "%s", self->options.job->data.input.text);
    }
    pending_destroy(self, pending);
    return s;
}

/* ---- Finished samples ---- */

/* What a pooled row's values are: an embedding, or scores with the label that has the largest of
 * them. Returns how many they are. */
static int32_t set_answer(const struct open_rows *self, const struct pending_row *pending,
                          const float *values, struct result *result)
{
    const struct model_config *config = model_config(self->options.model);
    const struct task_facts *task = task_facts(pending->row.params.task);
    const int32_t count = config->answer_width;
    *(task_gives(task, "embedding") ? &result->embedding_width : &result->labels) = count;
    if (task_gives(task, "label")) {
        int best = 0;
        for (int i = 1; i < count; i++) {
            best = values[i] > values[best] ? i : best;
        }
        result->label = config->label_names[best];
        result->label_length = strlen(result->label);
    }
    return count;
}

/* Copies a finished sample into the row's arena: the engine's memory goes with engine_release. */
static status keep_sample(struct open_rows *self, const struct open_part *part,
                          const struct finished_sample *sample)
{
    struct pending_row *pending = part->row;
    const int index = part->index + sample->sample;
    struct result *result = &pending->results[index];
    describe_row(self, pending, result);
    result->sample = index;
    result->prompt = part->prompt;
    result->prompt_length = part->prompt_length;
    if (pending->row.params.sampling.temperature > 0 &&
        random_stream_has_id(pending->row.params.sampling.stream)) {
        result->stream = pending->row.params.sampling.stream;
    }
    result->finish_reason = sample->reason;
    result->is_fault = sample->reason == FINISH_ERROR; /* the row itself was fit to run */
    result->prompt_tokens = sample->prompt_tokens;
    result->completion_tokens = sample->completion_tokens;
    result->seconds = sample->seconds;
    result->valid = !sample->has_form ? VALID_NONE : sample->is_valid ? VALID_TRUE : VALID_FALSE;
    struct arena *arena = &pending->arena;
    size_t count = (size_t)sample->completion_tokens;
    bool with_top = sample->top_ids != NULL && sample->top_count > 0;
    size_t top = with_top ? (size_t)sample->top_count : 0;
    const char *error = sample->error != NULL ? sample->error : "";
    const enum task_work work = task_facts(pending->row.params.task)->work;
    bool with_ids = prompt_keeps_token_ids(self->options.job, self->options.model, &pending->row);
    if (work == WORK_READ) {
        result->text = part->scored != NULL ? part->scored : "";
        result->text_length = part->scored_length;
        result->is_greedy = sample->reason == FINISH_ERROR ? VALID_NONE
                            : sample->is_greedy            ? VALID_TRUE
                                                           : VALID_FALSE;
    } else {
        result->text = arena_copy(arena, sample->text, sample->text_length);
        result->text_length = sample->text_length;
    }
    if (work == WORK_SAMPLE && result->text != NULL) {
        TRY(answer_reader_take(&self->answers, &pending->row, pending->is_thinking, sample, arena,
                               result));
    }
    result->error = arena_copy(arena, error, strlen(error));
    result->error_length = strlen(error);
    result->top_logprobs = (int32_t)top;
    size_t width = 0;
    if (sample->embedding != NULL) {
        width = (size_t)set_answer(self, pending, sample->embedding, result);
    }
    struct {
        const void *from;
        size_t bytes;
        const void **to;
    } copies[] = {
        {with_ids ? sample->token_ids : NULL, count * sizeof(int32_t),
         (const void **)&result->token_ids},
        {sample->logprobs, count * sizeof(float), (const void **)&result->logprobs},
        {with_top ? sample->top_ids : NULL, count * top * sizeof(int32_t),
         (const void **)&result->top_ids},
        {with_top ? sample->top_logprobs : NULL, count * top * sizeof(float),
         (const void **)&result->top_values},
        {sample->embedding, width * sizeof(float),
         result->labels > 0 ? (const void **)&result->label_scores
                            : (const void **)&result->embedding},
    };
    bool copied = result->text != NULL && result->error != NULL;
    for (size_t i = 0; i < COUNT_OF(copies); i++) {
        if (copies[i].from != NULL) {
            *copies[i].to = arena_copy(arena, copies[i].from, copies[i].bytes);
            copied = copied && *copies[i].to != NULL;
        }
    }
    return copied ? STATUS_OK : status_fail(STATUS_NO_MEMORY, "out of memory for a result");
}

/* An answer as that of a row which asked the same. */
static struct result copy_result(const struct open_rows *self, const struct pending_row *copy,
                                 const struct result *original)
{
    struct result own, result = *original;
    describe_row(self, copy, &own);
    result.row = own.row;
    result.id = own.id;
    result.id_length = own.id_length;
    result.id_is_number = own.id_is_number;
    result.prompt = own.prompt;
    result.prompt_length = own.prompt_length;
    result.passthrough = own.passthrough;
    result.passthrough_length = own.passthrough_length;
    result.seconds = 0;
    result.copied = original->row + 1;
    return result;
}

static status finish_copy(struct open_rows *self, struct pending_row *copy,
                          const struct pending_row *original)
{
    for (int i = 0; i < original->finished; i++) {
        copy->results[i] = copy_result(self, copy, &original->results[i]);
    }
    TRY(finish_row(self, copy, original->finished, copy->results));
    pending_destroy(self, copy);
    return STATUS_OK;
}

/* Rows that waited for this one's answer get it. An error is not copied: they run by themselves. */
static status finish_copies(struct open_rows *self, struct pending_row *original)
{
    bool has_failed = false;
    for (int i = 0; i < original->finished; i++) {
        has_failed |= original->results[i].finish_reason == FINISH_ERROR;
    }
    while (original->copies != NULL) {
        struct pending_row *copy = original->copies;
        original->copies = copy->next_copy;
        const struct twin *twin = &original->twin;
        TRY(has_failed ? engine_add(self->options.engine, copy->row.index, twin->tokens,
                                    twin->count, &copy->row.params,
                                    model_config(self->options.model)->vocabulary, copy->parts)
                       : finish_copy(self, copy, original));
    }
    return STATUS_OK;
}

status open_rows_collect(struct open_rows *self)
{
    struct finished_sample *sample;
    while ((sample = engine_next_finished(self->options.engine)) != NULL) {
        const struct open_part *part = sample->tag;
        struct pending_row *pending = part->row;
        status s = keep_sample(self, part, sample);
        engine_release(self->options.engine, sample);
        TRY(s);
        if (++pending->finished == pending->answers) {
            s = finish_row(self, pending, pending->finished, pending->results);
            s = s == STATUS_OK ? finish_copies(self, pending) : s;
            pending_destroy(self, pending);
            TRY(s);
        }
    }
    return STATUS_OK;
}

const struct buffer *open_rows_message(const struct open_rows *self)
{
    return &self->message;
}

void open_rows_clear(struct open_rows *self)
{
    buffer_clear(&self->message);
}

struct notes *open_rows_notes(struct open_rows *self)
{
    return &self->notes;
}

int64_t open_rows_unfinished(const struct open_rows *self)
{
    return self->unfinished;
}

int64_t open_rows_taken(const struct open_rows *self)
{
    return self->taken;
}

int64_t open_rows_tokens(const struct open_rows *self)
{
    return self->tokens;
}

bool open_rows_have_forms(const struct open_rows *self)
{
    return self->have_forms;
}
