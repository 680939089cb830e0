/* SPDX-License-Identifier: Apache-2.0 */
/* Tokenizer: text to token ids and back, exactly as the Hugging Face `tokenizers` library does it.
 *
 * A tokenizer is immutable once created and may be used by many threads at once; each thread brings
 * its own `tokenizer_scratch`. */
#ifndef SLUICE_TOKENIZER_H
#define SLUICE_TOKENIZER_H

#include "sluice/base.h"

struct tokenizer;
struct tokenizer_scratch;

/* Growable token ids; zero-initialise before first use. */
struct token_list {
    int32_t *ids;
    size_t count;
    size_t capacity;
};
void token_list_destroy(struct token_list *list);

/* From the text of a tokenizer.json. `config` is the text of tokenizer_config.json, or NULL: it may
 * add tokens (added_tokens_decoder) that tokenizer.json lacks. Its clean_up_tokenization_spaces is
 * not obeyed, nor are truncation and padding: ids and text are what the library itself gives. The
 * caller destroys *out. STATUS_INVALID and STATUS_UNSUPPORTED name the construct: "pre_tokenizer:
 * unknown type \"X\" (supported: …)". */
status tokenizer_create(const char *json, size_t json_length, const char *config,
                        size_t config_length, struct tokenizer **out) MUST_CHECK;

/* What a GGUF file says of its tokenizer (tokenizer.ggml.*). Everything is borrowed for the call.
 */
struct gguf_vocabulary {
    const char *model; /* "gpt2" (byte-level BPE) or "llama" (SentencePiece-style BPE by score) */
    const char
        *pre; /* tokenizer.ggml.pre: "smollm", "llama-bpe", "qwen2", "default"…; NULL if absent */
    size_t token_count;
    const char *const *tokens; /* [token_count], NUL-terminated UTF-8 */
    const float *scores;       /* [token_count] or NULL */
    const int32_t *types; /* [token_count] or NULL: 1 normal, 2 unknown, 3 control, 4 user defined,
                             5 unused, 6 byte */
    size_t merge_count;
    const char *const *merges;              /* [merge_count] "left right" */
    int32_t bos, eos, unknown;              /* -1 where absent */
    int add_bos, add_eos, add_space_prefix; /* -1 where the file does not say, else 0 or 1 */
};
status tokenizer_create_from_gguf(const struct gguf_vocabulary *vocabulary,
                                  struct tokenizer **out) MUST_CHECK;

/* The files of a model directory without tokenizer.json that a tokenizer is made of, as their
 * bytes; NULL data: there is no such file. Everything is borrowed for the call. */
struct text_span {
    const char *data;
    size_t length;
};
struct tokenizer_files {
    const char *name; /* of the vocabulary's file, which tells with its bytes what it is:
                         SentencePiece's model (*.model), tiktoken's ranks (*.tiktoken, *.model), a
                         byte-level BPE's vocab.json, WordPiece's vocab.txt */
    struct text_span vocabulary;
    struct text_span merges; /* merges.txt, which a vocab.json needs */
    struct text_span config; /* tokenizer_config.json */
    struct text_span special_tokens_map, added_tokens;
    const char *model_type; /* of config.json; NULL where it does not say */
};
/* Ids are those of the libraries that the files are of (sentencepiece, tiktoken), or of
 * transformers where its class adds rules. STATUS_INVALID and STATUS_UNSUPPORTED say what is
 * missing. */
status tokenizer_create_from_files(const struct tokenizer_files *files,
                                   struct tokenizer **out) MUST_CHECK;

void tokenizer_destroy(struct tokenizer *tokenizer);

/* Working memory of one thread for this tokenizer, with a cache of the words it has seen; any size
 * of text afterwards. NULL when memory runs out. */
struct tokenizer_scratch *tokenizer_scratch_create(const struct tokenizer *tokenizer);
void tokenizer_scratch_destroy(struct tokenizer_scratch *scratch);

/* Appends the ids of `text` (UTF-8; may hold NULs). Special and added tokens inside the text are
 * recognised, as the reference does. `add_special`: apply the post-processor (bos and the like).
 * Time is linear in length. STATUS_INVALID for malformed UTF-8, STATUS_NO_MEMORY. */
status tokenizer_encode(const struct tokenizer *tokenizer, struct tokenizer_scratch *scratch,
                        const char *text, size_t length, bool add_special,
                        struct token_list *out) MUST_CHECK;

/* Appends the ids of two texts together, with what the post-processor puts around and between them
 * (a cross-encoder's input). Of texts that come to more than `most` tokens the longer loses its end
 * first. *second_text: where tokens of type 1 begin, behind those appended before; 0: none are. */
status tokenizer_encode_pair(const struct tokenizer *tokenizer, struct tokenizer_scratch *scratch,
                             const struct text_span texts[2], size_t most, struct token_list *out,
                             size_t *second_text) MUST_CHECK;

/* Appends the text of `count` ids to `out`. `skip_special`: special tokens give nothing. Ids
 * outside of the vocabulary give nothing, as in the reference. The output is always valid UTF-8
 * (U+FFFD where bytes are not). */
status tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count,
                        bool skip_special, struct buffer *out) MUST_CHECK;

/* Appends the bytes that one id stands for inside of a text: its space before a word, and of a
 * character that is spread over several tokens its part, which is no UTF-8 by itself. A special
 * token is its name. */
status tokenizer_token_bytes(const struct tokenizer *tokenizer, int32_t id,
                             struct buffer *out) MUST_CHECK;

/* Incremental decoding: what is emitted, concatenated, equals tokenizer_decode(all ids,
 * skip_special = !keep_special), and no piece ends inside a UTF-8 character. Zero-initialise; one a
 * sequence. */
struct token_stream {
    struct token_list window; /* ids whose text is not final yet, and a few before as context */
    size_t emitted_bytes;     /* of the window's text: already handed out */
    bool keep_special;        /* set before the first push */
};
/* Appends the text that became final with `id`. */
status token_stream_push(struct token_stream *stream, const struct tokenizer *tokenizer, int32_t id,
                         struct buffer *out) MUST_CHECK;
/* Appends what is left at the end of a sequence (an incomplete character becomes U+FFFD). */
status token_stream_finish(struct token_stream *stream, const struct tokenizer *tokenizer,
                           struct buffer *out) MUST_CHECK;
void token_stream_destroy(struct token_stream *stream);

/* Tokens by what they are for, where the files that the tokenizer was made of say so (or the class
 * that reads them does); NULL for one of a tokenizer.json or a GGUF file, whose names stand beside.
 */
enum tokenizer_name {
    TOKENIZER_BOS,
    TOKENIZER_EOS,
    TOKENIZER_PAD,
    TOKENIZER_UNKNOWN,
    TOKENIZER_NAME_COUNT
};
const char *tokenizer_named(const struct tokenizer *tokenizer, enum tokenizer_name name);

/* Appends a text (valid UTF-8) in lower case, by Unicode's full mapping without context. */
status text_lower_case(const char *text, size_t length, struct buffer *out) MUST_CHECK;

/* Number of ids, added tokens included: every id is in [0, size). */
size_t tokenizer_vocabulary_size(const struct tokenizer *tokenizer);
/* Id of an exact token string ("<|im_end|>", "▁the"), or -1. */
int32_t tokenizer_token_id(const struct tokenizer *tokenizer, const char *token);
/* Token string of an id as the vocabulary has it (not decoded), or NULL. Owned by the tokenizer. */
const char *tokenizer_token(const struct tokenizer *tokenizer, int32_t id);
bool tokenizer_is_special(const struct tokenizer *tokenizer, int32_t id);

#endif
