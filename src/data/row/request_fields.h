/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of the fields that a request may have: which are read, which are refused by name,
 * which change no answer. request.c reads rows by it, `sluice help fields` and docs/openai-batch.md
 * are made from it.
 *
 * The names are those of OpenAI's API, of vLLM's and SGLang's extensions to it, and a few that
 * other engines understand. A field that is in no table is data: it travels on. */
#ifndef SLUICE_DATA_REQUEST_FIELDS_H
#define SLUICE_DATA_REQUEST_FIELDS_H

#include "sluice/data.h"

enum request_use {
    REQUEST_PROMPT,    /* the prompt itself, under one of its names */
    REQUEST_PARAMETER, /* a parameter of src/data/row/generate.c under one of its names */
    REQUEST_TEMPLATE,  /* a member of struct row where the chat template is used, else data */
    REQUEST_MEMBER,    /* a member of struct row, always */
    REQUEST_FORM,      /* the form of the answer: src/data/row/structured.c */
    REQUEST_REFUSED,   /* an error row where it asks for something */
    REQUEST_HARMLESS,  /* changes no answer; travels on */
};

struct request_field {
    const char *name;
    enum request_use use;
    /* The word is too common to be understood outside the body of an OpenAI line. */
    bool body_only;
    /* Null, false, 0 and what is empty ask for nothing. So do these: words, numbers, "true". Of a
     * list or of an object's "type" the same is asked. */
    const char *fine[2];
    const char *asks; /* "false" or "0": asks for something all the same */
    /* REQUEST_TEMPLATE, REQUEST_MEMBER: the type that it must have, and which member of struct row,
     * a const struct json *, is to point to it. null is as if it were not there. */
    enum json_type type;
    size_t offset;
    const char *here;    /* what it does, for the documentation */
    const char *in_vllm; /* what `vllm run-batch` does with it */
};

/* The row of the table, NULL for a name that it does not have. */
const struct request_field *request_field_find(const char *name, size_t length);
/* By index, for loops and for documentation: NULL past the end. */
const struct request_field *request_field_at(size_t index);
/* "read", "template", "refused"…: a word for tables. */
const char *request_use_name(enum request_use use);

/* Whether a value of the field asks for nothing. */
bool request_field_asks_nothing(const struct request_field *field, const struct json *value);

#endif
