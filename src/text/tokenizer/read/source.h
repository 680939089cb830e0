/* SPDX-License-Identifier: Apache-2.0 */
/* Tokenizers of model directories without tokenizer.json: what their files say, and what is known
 * of the classes that transformers reads them with. */
#ifndef SLUICE_TEXT_TOKENIZER_SOURCE_H
#define SLUICE_TEXT_TOKENIZER_SOURCE_H

#include "text/tokenizer/internal.h"

/* Tokens that tokenizer_config.json and special_tokens_map.json name by what they are for. */
enum token_role {
    ROLE_NONE,
    ROLE_BOS,
    ROLE_EOS,
    ROLE_UNKNOWN,
    ROLE_SEPARATOR,
    ROLE_PAD,
    ROLE_CLASSIFY,
    ROLE_MASK,
    TOKEN_ROLE_COUNT
};

enum tokenizer_form {
    FORM_SENTENCEPIECE,
    FORM_BYTE_BPE,
    FORM_WORDPIECE,
    FORM_TIKTOKEN,
    FORM_TEKKEN
};

/* How the ids of a SentencePiece model's pieces become the tokenizer's. */
enum piece_layout {
    LAYOUT_PLAIN,
    LAYOUT_T5,        /* <extra_id_N> behind the pieces */
    LAYOUT_FAIRSEQ,   /* <s> <pad> </s> <unk>, the pieces from the fourth on, <mask> */
    LAYOUT_CAMEMBERT, /* five of its own, the pieces from the second on, <mask> */
    LAYOUT_UNKNOWN,   /* a class with rules of its own */
};

/* Special tokens of ids that follow each other, '#' in the name being a number that is counted up.
 */
struct token_series {
    const char *name; /* NULL ends a list */
    int32_t id, count, number;
};

/* A row of the table of classes (classes.c). Lists of names are in spaces, with one at
 * either end. */
struct tokenizer_class {
    enum tokenizer_form form;
    const char *names;       /* of tokenizer_class, without "Fast"; for tiktoken of files too */
    const char *model_types; /* of config.json, where there is no such name; "" for none */
    const char *roles[TOKEN_ROLE_COUNT]; /* where no file says; NULL: none */
    /* Around a text: tokens in spaces (or NULL), a role's token, the text, a role's token. Where
     * none of them is set, what add_bos_token and add_eos_token say; `add_bos` where they do not.
     */
    const char *prefix;
    enum token_role before, after;
    bool add_bos;
    enum piece_layout layout; /* SENTENCEPIECE */
    const char *pattern;      /* BYTE_BPE, TIKTOKEN; NULL: GPT-2's */
    bool compose;             /* NFC comes first */
    /* TIKTOKEN: behind so many ranks, where no file lists special tokens; NULL: there are none */
    const struct token_series *special;
    int rank_count;
};

/* What a builder works with. */
struct tokenizer_source {
    const struct tokenizer_files *files;
    const struct json *config, *map, *added; /* NULL where there is none */
    const struct tokenizer_class *class_;
    const char *roles[TOKEN_ROLE_COUNT]; /* by the files, else the class; NULL: none */
    const struct tekken *tekken;         /* while its ranks are read */
    bool match_raw; /* added tokens are looked for in the text as it is given */
    struct arena arena;
};

/* The row for the directory's class in this form. */
status tokenizer_class_find(struct tokenizer_source *source, enum tokenizer_form form) MUST_CHECK;

/* A boolean of tokenizer_config.json; missing or null leaves *out alone. */
status source_bool(const struct tokenizer_source *source, const char *key, bool *out) MUST_CHECK;

/* Added and special tokens, those in the tokenizer's vocabulary and those behind it. Before, a
 * builder has loaded the vocabulary and set model_size. */
status source_add_tokens(const struct tokenizer_source *source,
                         struct tokenizer *tokenizer) MUST_CHECK;
/* The class's own special tokens, at their ids. */
status source_add_series(const struct tokenizer_source *source,
                         struct tokenizer *tokenizer) MUST_CHECK;
/* A special token at its id; between added_vocabulary_begin and the next. */
status source_add_at(struct tokenizer *tokenizer, const char *content, size_t length,
                     int64_t id) MUST_CHECK;
/* Tokens around a text: the class's, and those of add_bos_token and add_eos_token. */
status source_add_template(const struct tokenizer_source *source,
                           struct tokenizer *tokenizer) MUST_CHECK;

/* The builders, one a form. */
status tokenizer_load_sentencepiece(struct tokenizer_source *source,
                                    struct tokenizer *tokenizer) MUST_CHECK;
status tokenizer_load_byte_bpe(struct tokenizer_source *source,
                               struct tokenizer *tokenizer) MUST_CHECK;
status tokenizer_load_wordpiece(struct tokenizer_source *source,
                                struct tokenizer *tokenizer) MUST_CHECK;
status tokenizer_load_tiktoken(struct tokenizer_source *source,
                               struct tokenizer *tokenizer) MUST_CHECK;
status tokenizer_load_tekken(struct tokenizer_source *source,
                             struct tokenizer *tokenizer) MUST_CHECK;

/* Lines of a vocabulary's file: the next that is not empty, without its end; false behind the last.
 */
struct text_lines {
    const char *at, *end;
    size_t number; /* of the line read last */
};
bool text_lines_next(struct text_lines *lines, struct text_span *out);
/* Both sides of the line's only space. */
bool text_line_split(struct text_span line, struct text_span *left, struct text_span *right);

/* A byte-level vocabulary has a token for each byte: without all of them a text would lose what it
 * is made of. */
status byte_bpe_check_alphabet(const struct tokenizer *tokenizer) MUST_CHECK;
/* What comes before and behind the model; `pattern` NULL: GPT-2's. */
status byte_bpe_load_text_parts(const struct tokenizer_source *source, struct tokenizer *tokenizer,
                                const char *pattern) MUST_CHECK;
/* Whether these are tiktoken's ranks: a token in base64, a space, a number. */
bool tiktoken_recognise(const char *text, size_t length);

#endif
