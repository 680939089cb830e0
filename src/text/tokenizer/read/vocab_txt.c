/* SPDX-License-Identifier: Apache-2.0 */
/* WordPiece from BERT's vocab.txt: a token a line, numbered from 0. */
#include <string.h>

#include "text/tokenizer/read/source.h"

/* Ends of lines are \n, \r\n and \r. A line that comes again takes the later number, as in the
 * reference, where the earlier one is then no token's. */
static status load_lines(struct tokenizer *tokenizer, struct text_span file)
{
    int64_t id = 0;
    size_t bad_offset;
    if (!utf8_valid(file.data, file.length, &bad_offset)) {
        return status_fail(STATUS_INVALID, "byte %zu: not valid UTF-8", bad_offset);
    }
    for (size_t at = 0; at < file.length; id++) {
        size_t start = at;
        while (at < file.length && file.data[at] != '\n' && file.data[at] != '\r') {
            at++;
        }
        TRY(token_table_add(&tokenizer->vocabulary, file.data + start, at - start, id));
        at += at + 1 < file.length && file.data[at] == '\r' && file.data[at + 1] == '\n' ? 2 : 1;
    }
    tokenizer->model_size = (size_t)id;
    return STATUS_OK;
}

static status load_normalizer(const struct tokenizer_source *source, struct tokenizer *tokenizer)
{
    struct normalizer *normalizer;
    TRY(tokenizer_add_normalizer(tokenizer, &normalizer));
    normalizer->kind = NORMALIZER_BERT;
    normalizer->clean_text = normalizer->chinese_chars = normalizer->lowercase = true;
    TRY(source_bool(source, "do_lower_case", &normalizer->lowercase));
    TRY(source_bool(source, "tokenize_chinese_chars", &normalizer->chinese_chars));
    normalizer->strip_accents = normalizer->lowercase;
    return source_bool(source, "strip_accents", &normalizer->strip_accents);
}

static status load_model(const struct tokenizer_source *source, struct tokenizer *tokenizer)
{
    enum { LONGEST_WORD = 100 };
    struct wordpiece_model *model = &tokenizer->wordpiece;
    const char *unknown = source->roles[ROLE_UNKNOWN];
    tokenizer->model = MODEL_WORDPIECE;
    model->max_characters = LONGEST_WORD;
    model->unknown = token_table_find(&tokenizer->vocabulary, unknown, strlen(unknown));
    if (model->unknown == NO_TOKEN) {
        return status_fail(STATUS_INVALID, "no line is the unknown token \"%.60s\"", unknown);
    }
    return wordpiece_finish(model, &tokenizer->vocabulary, "##", 2);
}

static status load_decoder(struct tokenizer *tokenizer)
{
    struct decoder *decoder;
    TRY(tokenizer_add_decoder_of(tokenizer, DECODER_WORDPIECE, &decoder));
    decoder->content = "##";
    decoder->content_length = 2;
    decoder->cleanup = true;
    return STATUS_OK;
}

status tokenizer_load_wordpiece(struct tokenizer_source *source, struct tokenizer *tokenizer)
{
    TRY(load_lines(tokenizer, source->files->vocabulary));
    TRY(load_model(source, tokenizer));
    TRY(load_normalizer(source, tokenizer));
    TRY(tokenizer_add_bert_pre_tokenizer(tokenizer));
    return load_decoder(tokenizer);
}
