/* SPDX-License-Identifier: Apache-2.0 */
/* Data sets in, results out: record readers, rows, results, the journal and the HDF5 output file.
 *
 * A *record* is a row as it stands in the input, not yet understood: rank 0 reads records and sends
 * them on; the replica that gets one parses it into a *row*. A *result* is one sample of one row.
 */
#ifndef SLUICE_DATA_H
#define SLUICE_DATA_H

#include "sluice/base.h"
#include "sluice/generate.h"
#include "sluice/identity.h"
#include "sluice/json.h"

/* ---- Records: src/data/input/record_reader.c ---- */

enum record_kind {
    RECORD_JSON,   /* bytes: one JSON line, without its newline */
    RECORD_TEXT,   /* bytes: a prompt */
    RECORD_TOKENS, /* bytes: int32 token ids, native byte order */
    RECORD_BAD,    /* bytes: why the record could not be read; becomes an error row */
};

/* What a record's position counts. */
enum record_unit {
    UNIT_LINE,  /* lines of a file, from 1 */
    UNIT_PROMPT /* rows of an HDF5 file, from 0 */
};

struct record {
    int64_t row;      /* 0-based index among all rows */
    int64_t position; /* where a message points, in its file */
    enum record_unit unit;
    const char *file; /* of several: which; NULL where the data set is one file. Lives as long as
                         the reader, or the message that it came in */
    enum record_kind kind;
    struct buffer bytes; /* reused from call to call; the reader's caller owns the record */
};

enum { RECORD_PLACE_BYTES = 320 };

/* Where a record stands, for messages: "line 7", of several files "b.jsonl: line 7". */
void record_describe_place(const struct record *record, char text[RECORD_PLACE_BYTES]);

struct record_reader;
struct input_files;

struct record_reader_options {
    const char *path; /* a single file, where `files` is NULL: .jsonl, .csv, .tsv (also .gz, .zst),
                         .h5; compression is told by content, CSV by name, HDF5 by either */
    const struct input_files *files; /* several, one after the other; not needed after opening */
    /* Of CSV and HDF5, whose columns are known before the first row: the job's names must be among
     * them. NULL for the usual ones; the strings are borrowed. */
    const char *prompt_field, *id_field, *completion_field, *prompt_template;
    int64_t limit;      /* rows at most, of all files together; -1 for all */
    bool plain_columns; /* columns of texts are that, those with a parameter's name too */
    bool quiet;         /* no warnings about columns and empty files */
};

/* Opens a data set for one pass in order, in bounded memory: a record of more than 64 MiB is a
 * RECORD_BAD and skipped. Empty lines (only white space) are skipped. STATUS_NOT_FOUND, STATUS_IO,
 * STATUS_INVALID (an HDF5 file with none of the known layouts, a directory). The caller destroys
 * *out. */
status record_reader_open(const struct record_reader_options *options,
                          struct record_reader **out) MUST_CHECK;
/* Opens every file of a data set, looks at its first line and closes it again: what is wrong with
 * one of them as a whole is found before the first row runs. *rows are those of all files, -1
 * where only reading tells, which it does of all but HDF5. */
status record_reader_try(const struct record_reader_options *options, int64_t *rows) MUST_CHECK;

/* Reads the next record into `record`; *more is false at the end. An I/O error or a corrupt
 * compressed stream is a failure with the position, not a bad record. A data set that ends before
 * its first row is STATUS_INVALID: "PATH: holds no rows". */
status record_reader_next(struct record_reader *reader, struct record *record,
                          bool *more) MUST_CHECK;

/* After the end: bytes of the files as stored and their SHA-256 (of several that of their list, see
 * input_files_digest), hashed while reading, HDF5 on its own. Before the end (a `limit` was
 * reached) the rest is read for the hash. */
status record_reader_digest(struct record_reader *reader, int64_t *bytes,
                            char sha256_hex[65]) MUST_CHECK;
/* How many rows were read of each file: [files->count]. */
void record_reader_file_rows(const struct record_reader *reader, int64_t *rows);
void record_reader_close(struct record_reader *reader);

/* ---- Rows: src/data/row/row.c ---- */

enum prompt_kind { PROMPT_TEXT, PROMPT_MESSAGES, PROMPT_TOKENS };

/* data.chat of the job: whether a text prompt is wrapped as one user message. Messages always use
 * the template. auto: text prompts are used as they are; messages are rendered. always: text
 * becomes a user message. never: messages are an error. */
enum chat_mode { CHAT_AUTO, CHAT_ALWAYS, CHAT_NEVER };

struct row_format {
    const char *prompt_field; /* NULL: "prompt", then "text", "messages", "prompt_token_ids" */
    const char *id_field; /* NULL: "id", then "custom_id"; a row without one gets its index as id */
    const char *completion_field; /* NULL: "completion", where a row has it; looked for where the
                                     task takes one */
    const char
        *prompt_template; /* NULL, or makes prompts of columns; passed prompt_template_check */
    const char *system;   /* NULL, or a system message before every prompt; `chat` is then
                             always */
    enum chat_mode chat;
    bool columns_are_data; /* data.row_parameters: false: plain rows have no parameters of their own
                            */
};

/* Names of a row's fields, in its arena, NUL-terminated. */
struct name_list {
    const char **names;
    size_t count;
};

/* Which of OpenAI's endpoints a row was written for, and so the form in which exports answer it. A
 * plain row is as if written for the one that takes its prompt. */
enum endpoint {
    ENDPOINT_NONE,        /* not known: a row that could not be read */
    ENDPOINT_CHAT,        /* /v1/chat/completions: messages */
    ENDPOINT_COMPLETIONS, /* /v1/completions: a text or token ids */
    ENDPOINT_EMBEDDINGS,  /* /v1/embeddings */
};
const char *endpoint_name(enum endpoint endpoint); /* "none", "chat", "completions", "embeddings" */

/* A parsed row. Everything lives in the arena given to row_parse. */
struct row {
    int64_t index;
    enum prompt_kind kind;
    enum endpoint endpoint;
    const char *id; /* as written; where the row has none, its index */
    size_t id_length;
    bool has_id;
    bool id_is_number; /* it was a number, of which `id` has the digits as they were written */
    const char *text;  /* PROMPT_TEXT: UTF-8 */
    size_t text_length;
    const struct json *messages; /* PROMPT_MESSAGES: array of objects with role and content */
    /* What the chat template is given besides, each NULL where the row has none. */
    const struct json *tools, *documents, *template_variables, *reasoning_effort;
    const struct json *template_;             /* name or text of the template to use */
    const struct json *add_generation_prompt; /* true or false */
    const int32_t *tokens;                    /* PROMPT_TOKENS */
    size_t token_count;
    /* What is scored after the prompt: a text or token ids; neither: the prompt itself. */
    const char *completion;
    size_t completion_length;
    const struct json
        *completions; /* several of them, each answered by itself; NULL: one or none */
    const int32_t *completion_tokens;
    size_t completion_token_count;
    const struct json *token_types; /* list of 0 and 1, of token ids of a pair; NULL: all are 0 */
    struct generate_params params;  /* the job's, with the row's own fields applied */
    /* Of a request, each NULL where it says nothing. */
    const struct json *add_special_tokens; /* boolean: not what is usual for this kind of prompt */
    const struct json *truncation_side;    /* string: where params.truncate_prompt cuts */
    const struct json *return_token_ids;   /* boolean */
    const struct json *dimensions;         /* number: of an embedding */
    bool may_call_tools;                   /* it has tools, and tool_choice is not none */
    const struct json
        *passthrough; /* object of all other fields, as they were; NULL where there are none */
    /* For warnings. */
    struct name_list columns_taken;  /* columns of a plain row that were read as parameters */
    struct name_list unknown_fields; /* of a body: in no table, without effect */
    const char *model;               /* that a body names, or NULL */
};

/* A record's id without parsing the record (src/data/row/record_id.c): the member `field` of a JSON
 * line, where that is NULL `id` or `custom_id` as row_parse takes them. False where a look at the
 * outermost members finds none of at most 4096 bytes, or the record is no JSON. The text lives in
 * the arena. */
struct record_id {
    const char *text;
    size_t length;
    bool is_number; /* `text` has its digits */
};
bool record_find_id(const struct record *record, const char *field, struct arena *arena,
                    struct record_id *out);

/* Parses a record. On STATUS_INVALID the message says what is wrong with the field ("temperature:
 * expected a number, not a string") without position: the caller adds it; row->index, id and
 * passthrough are set as far as they could be. An OpenAI batch line ({"custom_id", "method", "url",
 * "body"}) has its prompt and parameters in the body; whatever body.model is. Known names of the
 * OpenAI form (max_tokens, max_completion_tokens, n, stop, logprobs as boolean with top_logprobs,
 * or as a number) and the job's own names both work, at the top level as well. Fields that would
 * change the answer and are not built in (response_format, best_of, stream…) are errors where
 * they ask for something. What is left of a body travels on as passthrough.body. */
status row_parse(const struct record *record, const struct row_format *format,
                 const struct generate_params *defaults, struct arena *arena,
                 struct row *row) MUST_CHECK;

/* How many answers a row has: its samples, or one for each of its completions (documents,
 * continuations). */
int row_answers(const struct row *row);
/* Makes completion number `part`, of row_answers, the row's. STATUS_INVALID where it is no text. */
status row_take_part(struct row *row, int part) MUST_CHECK;

/* The same from a line that is parsed already. */
status row_parse_json(const struct json *line, const struct row_format *format,
                      const struct generate_params *defaults, struct arena *arena,
                      struct row *row) MUST_CHECK;

/* Which stream of its seed's random numbers a row draws from (src/data/row/random_stream.c): what a
 * row answers may depend on the row, never on where it stands among others. `tokens` is the prompt
 * as the model gets it.
 *
 *   a seed of its own   one stream for all such rows: seed, sample and position say everything
 *   an id               a hash of the id as written and of the prompt's tokens, so that two rows
 *                       which share an id by mistake do not share their random numbers
 *   neither             the row's number
 */
uint64_t random_stream(const struct row *row, const int32_t *tokens, size_t count);
/* Whether the stream is of a row with an id: rows of one such stream and seed are likely twins. */
bool random_stream_has_id(uint64_t stream);

/* Whether data.prompt_template can be understood: STATUS_INVALID says what it lacks. */
status prompt_template_check(const char *text) MUST_CHECK;

/* One parameter by name from a JSON value, for rows and for the job file alike; *known is false for
 * a name that is no parameter. Strings are copied to the arena. STATUS_INVALID: "top_p: 1.5 is not
 * in (0, 1]". */
status generate_params_set(struct generate_params *params, const char *name,
                           const struct json *value, struct arena *arena, bool *known) MUST_CHECK;
/* Whether rows of a task look at the parameter, by any of its names; true for other names. */
bool generate_is_used(const char *name, enum task task);
void generate_params_defaults(struct generate_params *params);
/* Rows of the table, for documentation: false past the end. */
bool generate_field_describe(size_t index, const char **name, const char **type,
                             const char **default_text, const char **meaning);

/* Appends the table of a request's fields in Markdown: what `sluice help fields` prints and
 * docs/openai-batch.md holds. */
status request_fields_describe(struct buffer *out) MUST_CHECK;

/* ---- Results: src/data/output/columns.c and result.c ---- */

/* Whether an answer has the form that it was to have, and other things that may be asked of one. */
enum validity {
    VALID_NONE,  /* none was asked for */
    VALID_FALSE, /* it was cut off before its end */
    VALID_TRUE,
};

/* One sample of one row. The table of src/data/output/columns.c has a line for each member.
 * Pointers are borrowed (encode) or live in the arena (decode). */
struct result {
    int64_t row;
    const char *file; /* read from an output of several input files: the row's; else NULL */
    size_t file_length;
    int32_t sample;
    int32_t rank; /* leader of the replica that ran it */
    enum finish_reason finish_reason;
    bool is_fault; /* FINISH_ERROR for a reason that is not the row's own: not-finite logits, ranks
                      that died */
    enum endpoint endpoint;
    const char *id;
    size_t id_length;
    bool id_is_number;  /* in the input; JSON exports write it as one */
    const char *prompt; /* NULL unless output.include_prompt */
    size_t prompt_length;
    const char *text;
    size_t text_length;
    const char *reasoning; /* what the model thought before the text; NULL where nothing */
    size_t reasoning_length;
    const char *tool_calls; /* JSON list of {"name", "arguments"}, which are a text of JSON; NULL:
                               none */
    size_t tool_calls_length;
    enum validity valid;
    enum validity is_greedy; /* each scored token was the likeliest; none: nothing was scored */
    const char *error;       /* "" where there is none */
    size_t error_length;
    const char *passthrough; /* JSON object text, "" where there is none */
    size_t passthrough_length;
    int32_t prompt_tokens;
    int32_t completion_tokens;
    const int32_t *token_ids; /* [completion_tokens], NULL where not asked for */
    const float *logprobs;    /* [completion_tokens], NULL where not asked for */
    int32_t top_logprobs;     /* k of the two below, 0 for none */
    const int32_t *top_ids;   /* [completion_tokens, k] */
    const float *top_values;  /* [completion_tokens, k] */
    int32_t embedding_width;  /* of the next, 0 for none */
    const float *embedding;   /* [embedding_width] */
    const char *label;        /* the likeliest of a classifier's labels; NULL: none */
    size_t label_length;
    int32_t labels;            /* of the next, 0 for none */
    const float *label_scores; /* [labels] of each label; of a reranker or a reward model one */
    double score; /* the largest of these; read from an output file, NaN where there is none; not
                     sent */
    /* Read from an output file of scored texts, NaN where there are none; not sent. */
    double logprob_sum, logprob_mean, bits_per_byte;
    int64_t bytes;          /* of the scored text; likewise, and 0 where there is none */
    double seconds;         /* from admission to the last token */
    const char *arithmetic; /* what computed it (identity.h); NULL: as the journal was begun */
    size_t arithmetic_length;
    int64_t copied;  /* one more than the row that asked the same, from which all but id, prompt and
                        further fields is copied; 0: it was computed */
    uint64_t stream; /* of the random numbers that chose its tokens, where that is a row's by its
                        id; 0 elsewhere */
};

/* As the HTTP of an endpoint would answer: 200, 400 for a row that cannot be run, 500 where the
 * fault is not the row's. */
int result_status_code(const struct result *result);

/* Appends the encoded result, which says its own length: a row's results one after the other are
 * its journal entry. */
status result_encode(const struct result *result, struct buffer *out) MUST_CHECK;
/* Reads one result from the front of `length` bytes and says in *used how many it took; every
 * length inside is checked. Pointers go into `bytes` or the arena. */
status result_decode(const void *bytes, size_t length, struct arena *arena, struct result *out,
                     size_t *used) MUST_CHECK;

/* Which optional columns of an output file exist, or are needed: src/data/output/columns.c names
 * these members. */
struct output_columns {
    bool prompt, token_ids, logprobs;
    bool id_is_number; /* some id was a number */
    bool arithmetic;   /* some rows were computed by another arithmetic than the others */
    bool packed_texts; /* texts are stored as compressed bytes and offsets */
    bool reasoning, tool_calls, valid;
    bool copied_from;        /* some rows were copied from others */
    bool scores;             /* what the log-probabilities of each result come to */
    int32_t top_logprobs;    /* the largest k that is asked for; 0 for none */
    int32_t embedding_width; /* 0: none */
    bool label, score;
    int32_t labels; /* how many scores a result has; 0: none are listed */
    /* Of several input files, or of those that a pattern matched; NULL for a single one. Borrowed
     * while results are appended. */
    const struct input_files *files;
    const int64_t *file_rows; /* [files->count] of each, in order */
    bool several_files;       /* output_create's to say */
};

/* ---- Journal: src/data/journal/journal.c ---- */

/* Append-only file OUT.h5.sluice/journal: a header that names the job, then entries (length,
 * checksum, payload). Single writer, held by a lock file. Not thread-safe. */
struct journal;

/* Opens or creates the folder `directory` and the journal in it. `identity` is a text of "key:
 * value" lines naming data set, model and parameters that matter; an existing journal with another
 * identity is refused (STATUS_EXISTS) with the first line that differs. `how`: of journal_how. A
 * torn end (a crash before a commit was through) is cut off with a warning;
 * damage to what was committed is STATUS_INVALID with the offset. A second live process is refused
 * (STATUS_EXISTS names host and pid); a stale lock of this host, or of an earlier start of this
 * Slurm job, is taken over. docs/journal-format.md has the details. */
status journal_open(const char *directory, const char *identity, unsigned how,
                    struct journal **out) MUST_CHECK;
enum journal_how {
    JOURNAL_FRESH = 1,      /* an existing journal is discarded */
    JOURNAL_KEEP_MIXED = 2, /* one of the same job with another arithmetic, though of this
                               generation, is continued */
    JOURNAL_UNNAMED = 4,    /* the data set's hashes are not known before journal_take_name: a new
                               one is not found by a later start until then; to one that is there,
                               whatever hashes it has, nothing is written */
};
bool journal_is_named(const struct journal *journal);
/* Gives a new journal its name and this identity, whose hashes alone may differ from those of the
 * one that it was opened with: it is as long. One that was there is refused as by journal_open
 * where its identity is another one, and is then as it was. */
status journal_take_name(struct journal *journal, const char *identity) MUST_CHECK;
/* Rows that a later start finds once they are committed, and bytes that wait in memory until the
 * journal has its name. */
int64_t journal_kept_rows(const struct journal *journal);
int64_t journal_held_bytes(const struct journal *journal);
/* The arithmetic (identity.h) that the journal was begun with. */
const char *journal_arithmetic(const struct journal *journal);
/* What journal_open would find, without changing anything. */
struct journal_state {
    bool exists; /* a journal of this identity */
    int64_t rows;
    bool lock_unsure; /* a process of another machine has its lock, and may be gone */
};
/* Fails as journal_open would: another job's journal, a damaged one, one in use. */
status journal_look(const char *directory, const char *identity, bool keep_mixed,
                    struct journal_state *out) MUST_CHECK;
/* Appends a finished row: all its samples, encoded, in order. Durable after journal_commit. A
 * row that is there already is STATUS_INTERNAL. */
status journal_append(struct journal *journal, int64_t row, const void *bytes,
                      size_t length) MUST_CHECK;
/* Has the processor fetch what journal_append will look at, when that is known some time before. */
void journal_prepare_append(const struct journal *journal, int64_t row);
/* Flushes and fsyncs what was appended. After a failure, here or in journal_append, what was
 * committed before is safe and nothing more is taken. */
status journal_commit(struct journal *journal) MUST_CHECK;
bool journal_has_row(const struct journal *journal, int64_t row);
int64_t journal_row_count(const struct journal *journal);
enum { JOURNAL_ERROR_BYTES = 200 };
/* What its rows come to, those of earlier starts as well. */
struct journal_totals {
    int64_t rows, error_rows, output_tokens;
    const char
        *last_error; /* of a row, cut off at JOURNAL_ERROR_BYTES; "" for none; the journal's */
};
struct journal_totals journal_totals(const struct journal *journal);
/* The columns that its rows need, all together: those that any row asked for, as wide as the widest
 * (prompt, token ids, log-probabilities; the rest is the job's to say). */
struct output_columns journal_columns(const struct journal *journal);
int64_t journal_bytes(const struct journal *journal);
/* Calls `visit` for every result in order of (row, sample), reading from disk in bounded memory. */
typedef status (*result_visitor)(void *context, const struct result *result);
status journal_visit(struct journal *journal, result_visitor visit, void *context) MUST_CHECK;
/* The same from this row on. */
status journal_visit_from(struct journal *journal, int64_t row, result_visitor visit,
                          void *context) MUST_CHECK;

/* The same of those rows alone that are not `left_out`. */
status journal_visit_rest(struct journal *journal, int64_t row,
                          bool (*left_out)(const void *context, int64_t row), result_visitor visit,
                          void *context) MUST_CHECK;

/* Where a row's entry stands. */
struct journal_place {
    int64_t row, offset;
    uint32_t length; /* of the entry, its head included */
};
/* The places of at most `most` rows from *row on, as far as there is no gap and they are in the
 * file; *row is then the first one behind them. Returns how many they are. */
size_t journal_follow(const struct journal *journal, int64_t *row, struct journal_place *places,
                      size_t most);
const char *journal_path(const struct journal *journal); /* of the file; lives as long */
/* Reads rows whose places are known while another thread appends to the journal. The caller closes
 * *out. */
struct journal_reader;
status journal_reader_open(const char *path, struct journal_reader **out) MUST_CHECK;
status journal_reader_visit(struct journal_reader *reader, const struct journal_place *places,
                            size_t count, result_visitor visit, void *context) MUST_CHECK;
/* Bytes of the journal that are in its file. */
int64_t journal_written(const struct journal *journal);
/* Goes through the entries from *offset on, 0 being the first, in the order in which they were
 * appended: calls `visit` for those that `wants` wants, each with all results of a row. None begins
 * at or behind `stop`; *offset is the one to go on with. */
struct journal_scan {
    int64_t stop, end; /* end: journal_written */
    bool (*wants)(const void *context, int64_t row);
    status (*visit)(void *context, const struct result *results, size_t count);
    void *context;
};
status journal_reader_scan(struct journal_reader *reader, int64_t *offset,
                           const struct journal_scan *scan) MUST_CHECK;
void journal_reader_close(struct journal_reader *reader);
/* Unlocks and closes; `remove` deletes the folder (after the output stands under its final name).
 */
void journal_close(struct journal *journal, bool remove);

/* ---- The templates' time: src/data/row/template_time.c ---- */

/* File OUT.h5.sluice/template_time: the time of the job's first start in Unix seconds, which is now
 * where the file is not there yet. On disk when the call returns. Under the journal's lock.
 * `fresh`: this start is the first. STATUS_INVALID for a damaged file. */
status template_time_open(const char *directory, bool fresh, int64_t *out) MUST_CHECK;

/* ---- Attempts: src/data/journal/attempts.c ---- */

/* File OUT.h5.sluice/attempts: which rows are under way, so that the next start knows them if this
 * one dies, and how often a row was under way when ranks died. docs/reliability.md has the rule by
 * which a row is run alone and set aside. Not thread-safe. */
struct attempts;

/* Opens or creates the file in the journal's folder, under the journal's lock. Takes in how the
 * last start ended, with the notes that dying ranks have left (attempts_note_path); rows that the
 * journal has are forgotten. `fresh`: all of it is. A damaged file is discarded with a warning. */
status attempts_open(const char *directory, const struct journal *journal, bool fresh,
                     struct attempts **out) MUST_CHECK;

enum attempt_verdict {
    ATTEMPT_FREE,      /* runs like any other row */
    ATTEMPT_SUSPECT,   /* is to run while nothing but other suspects is under way */
    ATTEMPT_SET_ASIDE, /* is not to run any more */
};
enum attempt_verdict attempts_verdict(const struct attempts *attempts, int64_t row);
/* Whether the last start died, perhaps of a row, or any row is a suspect: then no row is to be
 * looked at before it has begun. */
bool attempts_fear_rows(const struct attempts *attempts);
/* How many suspects may run together where this one is among them, itself included: 1 for one that
 * is to run alone, INT64_MAX where it does not matter. */
int64_t attempts_group(const struct attempts *attempts, int64_t row);
/* Of a row that is set aside, or nearly: "3 ranks died while …", into text[160]. */
void attempts_describe(const struct attempts *attempts, int64_t row, char text[160]);

/* A row is to go to a replica, which attempts_write has to come before: it writes the notes of all
 * rows that have begun since the last call. They outlast the process, not the machine. Constant
 * time a row, whatever the number of rows under way. */
status attempts_begin(struct attempts *attempts, int64_t row, int32_t replica) MUST_CHECK;
status attempts_write(struct attempts *attempts) MUST_CHECK;
/* It came back. */
void attempts_end(struct attempts *attempts, int64_t row);
/* Has the processor fetch what attempts_end will look at, when that is known some time before: with
 * a million rows under way it is in no cache. */
void attempts_prepare_end(const struct attempts *attempts, int64_t row);
/* A row runs alone: on disk when the call returns. */
status attempts_begin_alone(struct attempts *attempts, int64_t row) MUST_CHECK;
/* It came back. */
status attempts_end_alone(struct attempts *attempts) MUST_CHECK;

enum attempts_end {
    ATTEMPTS_DIED,    /* rows under way may have to do with it */
    ATTEMPTS_ORDERLY, /* stopped, or failed for a reason that is no row's */
    ATTEMPTS_DONE,    /* the job is done: the file goes with the journal's folder */
};
void attempts_close(struct attempts *attempts, enum attempts_end end);

/* Appends the path of the note that a rank writes when it dies of its own accord, and what stands
 * in it before the number of the signal: for a signal handler, which can format nothing. */
status attempts_note(const char *directory, int rank, int replica, struct buffer *path,
                     struct buffer *text) MUST_CHECK;

/* The same of the note by which a rank says that the end that is coming is no row's doing: it
 * counts where `ranks` of them have left one and none has crashed. */
status attempts_excuse(const char *directory, int rank, int ranks, struct buffer *path,
                       struct buffer *text) MUST_CHECK;

/* ---- Output file: src/data/output/output.c ---- */

/* Attributes of the root group, all texts UTF-8. */
struct output_attribute {
    const char *name;
    const char *text; /* or NULL: `number` is stored */
    double number;
};

/* One row of /metrics/ranks. */
struct rank_metrics {
    char host[64], device[64];
    int32_t rank, dp, tp, pp;
    int64_t rows, prompt_tokens, output_tokens, steps, preemptions;
    double seconds_total, seconds_prefill, seconds_decode, seconds_communication, seconds_idle;
    int64_t peak_memory_bytes, kv_bytes;
    double kv_peak_use;   /* share of KV blocks in use at the peak, 0 to 1 */
    double energy_joules; /* NaN where the device does not tell */
};

/* One sample of /metrics/timeline. */
struct timeline_point {
    double seconds; /* since the job's start */
    int32_t rank, running, waiting, kv_blocks_used;
    int64_t output_tokens, prompt_tokens, rows; /* so far */
};

/* Whether files with these columns have the same datasets. */
bool output_columns_same(const struct output_columns *a, const struct output_columns *b);
/* Whether a thread may write an output while another reads this data set: HDF5 lets one in at a
 * time, unless it was built for several. */
bool output_may_write_beside(const struct input_files *files);

struct output_writer;
/* Creates `path` + ".partial". STATUS_EXISTS when `path` exists and overwrite is false, or when
 * another process is writing the same file. Writes the attributes format_version, sluice_version
 * and created; all but the first may be written again. */
status output_create(const char *path, bool overwrite, const struct output_columns *columns,
                     struct output_writer **out) MUST_CHECK;
/* What a result lacks of the optional columns is filled with -1 and NaN, what it has too much is
 * left out. */
status output_append(struct output_writer *writer, const struct result *result) MUST_CHECK;
/* Takes the results of a row whose turn is yet to come: their texts go into the file, numbers and
 * places of texts stay in memory (some 100 bytes a result, 256 MiB at most). *taken is false where
 * that cannot be: a file with lists or packed texts, no more room, a row that is there already. */
status output_put_ahead(struct output_writer *writer, const struct result *results, size_t count,
                        bool *taken) MUST_CHECK;
bool output_has_ahead(const struct output_writer *writer, int64_t row);
int64_t output_ahead_end(const struct output_writer *writer); /* one more than the last such row */
/* Its turn has come: as output_append of its results. */
status output_append_ahead(struct output_writer *writer, int64_t row) MUST_CHECK;
/* Writes the bytes of every token that the flat columns name, once the last result is appended;
 * `get` appends those of one. */
status output_write_vocabulary(struct output_writer *writer,
                               status (*get)(const void *context, int32_t id, struct buffer *out),
                               const void *context) MUST_CHECK;
status output_write_ranks(struct output_writer *writer, const struct rank_metrics *ranks,
                          size_t count) MUST_CHECK;
status output_write_timeline(struct output_writer *writer, const struct timeline_point *points,
                             size_t count) MUST_CHECK;
/* The table of input files, for a writer that was created with them. */
status output_write_inputs(struct output_writer *writer) MUST_CHECK;
status output_write_attributes(struct output_writer *writer,
                               const struct output_attribute *attributes, size_t count) MUST_CHECK;
/* Flushes, fsyncs, renames to the final name, fsyncs the folder. The writer is gone afterwards,
 * also on failure. */
status output_finish(struct output_writer *writer) MUST_CHECK;
/* Removes the temporary file. */
void output_abandon(struct output_writer *writer);

/* ---- Reading an output file: src/data/output/reader.c ---- */

struct output_reader;
status output_open(const char *path, struct output_reader **out) MUST_CHECK;
void output_reader_close(struct output_reader *reader);
int64_t output_result_count(const struct output_reader *reader);
/* Adds the optional columns that the file has to `columns`, each as wide as the wider of both. */
void output_columns_join(const struct output_reader *reader, struct output_columns *columns);
status output_rank_metrics(struct output_reader *reader, struct arena *arena,
                           const struct rank_metrics **ranks, size_t *count) MUST_CHECK;
/* The samples over time, of one rank after the other, each in order of time; what a file of an
 * earlier version lacks is 0. Those of ranks that led a replica; NULL and 0 where there are none.
 */
status output_timeline(struct output_reader *reader, const struct rank_metrics *ranks, size_t count,
                       struct arena *arena, const struct timeline_point **points,
                       size_t *point_count) MUST_CHECK;
/* Paths of the input files, where the output names them; they live as long as the reader. */
void output_input_paths(const struct output_reader *reader, const char *const **paths,
                        size_t *count);
/* A root attribute as text (numbers are formatted), NULL where there is none. Lives in the arena.
 */
const char *output_attribute_text(struct output_reader *reader, const char *name,
                                  struct arena *arena);
/* Streams all results in order, in bounded memory. */
status output_visit(struct output_reader *reader, result_visitor visit, void *context) MUST_CHECK;
/* The same, one by one: a place in the results, of which a batch is in memory at a time. Several
 * may walk over one file. The caller closes *out; the reader outlives it. */
struct output_cursor;
status output_cursor_open(const struct output_reader *reader,
                          struct output_cursor **out) MUST_CHECK;
/* The next result is the one with this index, from 0 to output_result_count. Going on from where
 * one is costs nothing, a jump reads from disk. */
void output_cursor_seek(struct output_cursor *cursor, int64_t index);
/* The next result, valid until the next call; NULL behind the last one. */
status output_cursor_next(struct output_cursor *cursor, const struct result **result) MUST_CHECK;
void output_cursor_close(struct output_cursor *cursor);

#endif
