/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks: what a job does with its rows.
 *
 * One table (src/data/row/task.c) says of each what a row must have, how it is encoded, what the
 * engine does with it and what comes out; whoever reads, encodes, runs or answers rows asks the
 * table and compares no task by name. CONTRIBUTING.md says how one is added. */
#ifndef SLUICE_TASK_H
#define SLUICE_TASK_H

#include "sluice/data.h"

/* How a row becomes token ids: src/run/prompt.c. */
enum task_encoding {
    ENCODE_PROMPT,     /* through the chat template where it is messages */
    ENCODE_COMPLETION, /* the same, and what follows it */
    ENCODE_CONTENT,    /* a text as an encoder's files ask for, cut to what the model takes;
                          messages through the chat template */
    ENCODE_PAIR,       /* a query with a document */
};

/* What the engine does with a row. */
enum task_work {
    WORK_SAMPLE, /* tokens are drawn one after the other until the answer ends; may be repeated */
    WORK_READ,   /* the row's own tokens, from one of them on, get their log-probabilities */
    WORK_POOL,   /* the row runs whole in one step, and what the layers leave becomes one vector */
};

/* What a model can be asked for. */
enum model_ability {
    ABLE_LOGITS = 1,  /* logits of tokens */
    ABLE_VECTORS = 2, /* vectors of its tokens */
    ABLE_LABELS = 4,  /* scores of labels */
    ABLE_RANK = 8,    /* one score of a query and a document */
    ABLE_VALUE = 16,  /* one value of a text */
    ABLE_BEST = 32,   /* vectors are what it was made for, though it has logits */
};

enum { TASK_COLUMNS_MOST = 8 };

struct task_facts {
    const char *name;       /* what the job file's `task` or `generate.mode` calls it */
    const char *done;       /* "a text is %s once" */
    unsigned needs;         /* the ability without which a model cannot */
    const char *refused[2]; /* of an encoder that cannot; its architecture stands between the two */

    /* What a row has. */
    bool takes_messages;        /* besides texts and token ids */
    bool takes_completion;      /* what follows the prompt; a row without one is meant whole */
    bool completion_may_be_ids; /* a list of numbers is one completion's token ids */
    const char *completion_name, *completions_name; /* its usual field, and one of a list of them */
    const char *prompt_name;      /* of a prompt besides the usual ones; NULL: none */
    const char *list_prompt_name; /* and of one before a list of completions: it comes first */
    enum endpoint endpoint; /* OpenAI's; ENDPOINT_NONE: the one that takes this kind of prompt */
    const char *url_end;    /* of the url in a batch's line */
    const char *urls;       /* "/v1/embeddings is": what such a url may be, for messages */

    /* How it is encoded. */
    enum task_encoding encoding;
    const char *truncation_side; /* where what is too long is cut, if the row asks for that */

    /* What the engine does, and what comes out. */
    enum task_work work;
    /* Columns of results (the names of src/data/output/columns.c), up to a NULL: those of every
     * answer, and those that come where the job or a row asks. What stands in neither list, but in
     * another task's, this one's answers cannot have. */
    const char *columns[TASK_COLUMNS_MOST], *columns_asked[TASK_COLUMNS_MOST];
};

const struct task_facts *task_facts(enum task task);

/* Whether every answer has this column. */
bool task_gives(const struct task_facts *task, const char *column);
/* Adds the columns that every answer has to those that a job or its rows ask for, and takes away
 * those that no answer can have. `width`: of the list of values that an answer may always have. */
void task_choose_columns(const struct task_facts *task, int width, struct output_columns *columns);

/* The task of a job that asks for `asked` on a model of these abilities (of enum model_ability):
 * that itself, but for sampling, in whose place comes the first task that the model can do. */
enum task task_choose(enum task asked, unsigned abilities);
/* STATUS_UNSUPPORTED, with the task's own words, where the model cannot do it. */
status task_check_model(enum task task, unsigned abilities, const char *architecture) MUST_CHECK;

#endif
