/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of a tokenizer and how they hand text to each other. The way of a text:
 *
 *     text ─► added tokens that match raw text ─► normalizers ─► added tokens that match normalized
 *     text ─► pre-tokenizers ─► model ─► post-processors ─► ids
 *
 * Between the steps a text is a list of pieces: spans of one base text, some already a token. */
#ifndef SLUICE_TEXT_TOKENIZER_INTERNAL_H
#define SLUICE_TEXT_TOKENIZER_INTERNAL_H

#include "sluice/json.h"
#include "sluice/tokenizer.h"
#include "text/regex/regex.h"
#include "text/unicode/unicode.h"

/* ---- Vocabulary: strings and ids (vocabulary.c) ---- */

enum { TOKEN_MAX_ID = (1 << 24) - 1 }; /* bounds the tables indexed by id */

struct token_entry {
    const char *text; /* NUL behind it */
    uint32_t length;
    int32_t id;
};

/* Zero-initialise before first use. */
struct token_table {
    struct arena strings;
    struct token_entry *entries;
    size_t count, capacity; /* strings; two of them may share an id */
    struct token_slot *slots;
    size_t slot_count;
    uint32_t *by_id; /* [id_count]: entry + 1, or 0 */
    size_t id_count; /* greatest id + 1 */
    size_t id_capacity;
};
/* Adds or moves a string; the later of two strings with one id is the id's. */
status token_table_add(struct token_table *table, const char *text, size_t length,
                       int64_t id) MUST_CHECK;
int32_t token_table_find(const struct token_table *table, const char *text, size_t length);
const struct token_entry *token_table_at(const struct token_table *table, int32_t id); /* or NULL */
void token_table_destroy(struct token_table *table);

/* A trie over bytes: node 0 is the root and at the same time "no such node". */
struct byte_trie {
    uint32_t roots[256]; /* children of the root */
    struct byte_trie_edge *edges;
    size_t edge_count, edge_slots;
    int32_t *values; /* by node; -1: no string ends here */
    size_t node_count, node_capacity;
};
/* `value` at least 0; a string that is there already keeps its value. */
status byte_trie_add(struct byte_trie *trie, const char *text, size_t length,
                     int32_t value) MUST_CHECK;
uint32_t byte_trie_child(const struct byte_trie *trie, uint32_t node, unsigned char byte);
void byte_trie_destroy(struct byte_trie *trie);

/* The 256 characters that stand for bytes in byte-level vocabularies (GPT-2's table). */
struct byte_alphabet {
    uint16_t character[256];
    int16_t byte[0x200]; /* by character; -1: stands for none */
};
void byte_alphabet_create(struct byte_alphabet *alphabet);
/* Appends `length` bytes as the characters that stand for them. */
status byte_alphabet_append(const struct byte_alphabet *alphabet, const char *bytes, size_t length,
                            struct buffer *out) MUST_CHECK;

/* Growable ids. */
status token_list_append(struct token_list *list, int32_t id) MUST_CHECK;

/* ---- Patterns ---- */

/* A literal, or a regular expression where `regex` is set. */
struct text_pattern {
    struct regex *regex; /* owned */
    const char *literal; /* in the tokenizer's arena; not empty */
    size_t length;
};
status text_pattern_create(struct text_pattern *pattern, const char *text, size_t length,
                           bool is_regex, struct arena *arena) MUST_CHECK;

struct pattern_scan {
    const struct text_pattern *pattern;
    const char *text;
    size_t length, position;
    struct regex_scan regex; /* its stack is kept from scan to scan */
    size_t match_start, match_end;
};
void pattern_scan_start(struct pattern_scan *scan, const struct text_pattern *pattern,
                        const char *text, size_t length);
status pattern_scan_next(struct pattern_scan *scan, bool *found) MUST_CHECK;
void pattern_scan_destroy(struct pattern_scan *scan);

/* Appends `text` with every match replaced. */
status text_pattern_replace(const struct text_pattern *pattern, struct pattern_scan *scan,
                            const char *text, size_t length, const char *content,
                            size_t content_length, struct buffer *out) MUST_CHECK;

/* ---- Pieces ---- */

struct piece {
    size_t start, length; /* of the base text */
    int32_t token;        /* -1: text that is still to be tokenized */
    bool at_origin;       /* begins where the text given to encode begins */
};

struct piece_list {
    struct piece *items;
    size_t count, capacity;
};
status piece_list_append(struct piece_list *list, struct piece piece) MUST_CHECK;

/* ---- Normalizers (normalize.c) ---- */

enum normalizer_kind {
    NORMALIZER_FORM,    /* NFC, NFD, NFKC, NFKD */
    NORMALIZER_PREPEND, /* content, unless the text is empty */
    NORMALIZER_REPLACE, /* pattern by content */
    NORMALIZER_STRIP,   /* white space */
    NORMALIZER_LOWERCASE,
    NORMALIZER_STRIP_ACCENTS,
    NORMALIZER_BERT,
    NORMALIZER_NMT,
    NORMALIZER_PRECOMPILED,
    NORMALIZER_BYTE_LEVEL,
    NORMALIZER_SENTENCEPIECE, /* all of a normalizer_spec */
};

struct normalizer {
    enum normalizer_kind kind;
    bool compose, compatibility;    /* FORM */
    bool strip_left, strip_right;   /* STRIP */
    bool clean_text, chinese_chars; /* BERT, with the two below */
    bool strip_accents, lowercase;
    struct text_pattern pattern; /* REPLACE */
    const char *content;         /* PREPEND, REPLACE */
    size_t content_length;
    /* PRECOMPILED: SentencePiece's character map, a double array over the strings to replace and
     * the NUL-terminated replacements that its values point into. */
    uint32_t *map_units;
    size_t map_unit_count;
    const char *map_strings;
    size_t map_strings_length;
    /* SENTENCEPIECE, with the map */
    bool dummy_prefix, dummy_first; /* first: before the text given to encode alone, and not where
                                       it begins with a space */
    bool remove_spaces, escape_spaces;
    struct byte_trie kept; /* strings that stay as they are: user-defined symbols */
};

struct normalize_scratch {
    struct buffer a, b;
    struct unicode_normalizer unicode;
    struct pattern_scan scan;
};
/* Runs all normalizers over a text. The result is in *out (in the scratch, or `text` itself) until
 * the next call. *at_origin becomes false where the first characters were taken away. */
status normalize_text(const struct normalizer *normalizers, size_t count,
                      const struct byte_alphabet *alphabet, struct normalize_scratch *scratch,
                      const char *text, size_t length, const char **out, size_t *out_length,
                      bool *at_origin) MUST_CHECK;
void normalize_scratch_destroy(struct normalize_scratch *scratch);
void normalizer_destroy(struct normalizer *normalizer);

/* precompiled.c: from its bytes, from those in base64, and applied. */
status precompiled_create(struct normalizer *normalizer, const unsigned char *bytes, size_t length,
                          struct arena *arena) MUST_CHECK;
status precompiled_create_from_base64(struct normalizer *normalizer, const char *text,
                                      size_t length, struct arena *arena) MUST_CHECK;
/* How many bytes at `text` the map's shortest or longest string there takes, with what replaces
 * them; 0: none. */
size_t precompiled_match(const struct normalizer *map, const char *text, size_t length,
                         bool longest, const char **replacement, size_t *replacement_length);
status precompiled_apply(const struct normalizer *normalizer, const char *text, size_t length,
                         struct buffer *out) MUST_CHECK;

/* sentencepiece_text.c: as sentencepiece/src/normalizer.cc does it. */
status sentencepiece_normalize(const struct normalizer *normalizer, const char *text, size_t length,
                               struct buffer *out, bool at_origin) MUST_CHECK;

/* ---- Pre-tokenizers (pretokenize.c) ---- */

enum pre_tokenizer_kind {
    PRE_TOKENIZER_SPLIT, /* by pattern */
    PRE_TOKENIZER_BYTE_LEVEL,
    PRE_TOKENIZER_METASPACE,
    PRE_TOKENIZER_DIGITS,
    PRE_TOKENIZER_PUNCTUATION,
    PRE_TOKENIZER_WHITESPACE, /* words and what is neither word nor space */
    PRE_TOKENIZER_WHITESPACE_SPLIT,
    PRE_TOKENIZER_DELIMITER,
    PRE_TOKENIZER_FIXED_LENGTH,
};

enum split_behavior {
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_MERGED_WITH_PREVIOUS,
    SPLIT_MERGED_WITH_NEXT,
    SPLIT_CONTIGUOUS,
};

enum prepend_scheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };

struct pre_tokenizer {
    enum pre_tokenizer_kind kind;
    struct text_pattern pattern; /* SPLIT; BYTE_LEVEL with use_regex */
    enum split_behavior behavior;
    bool invert;
    bool add_prefix_space, use_regex; /* BYTE_LEVEL */
    int32_t character;                /* METASPACE: the replacement; DELIMITER */
    enum prepend_scheme prepend;      /* METASPACE, with `split` */
    bool split;
    size_t fixed_length; /* FIXED_LENGTH, in characters */
};

struct pre_tokenize_scratch {
    struct buffer texts[2]; /* base texts, taken in turn */
    struct piece_list pieces;
    struct pattern_scan scan;
};
/* Splits the pieces of *base. The new base text may be in the scratch. `keep_bytes`: a ByteLevel
 * that comes last leaves bytes as they are, for a model that maps them itself. */
status pre_tokenize(const struct pre_tokenizer *pre_tokenizers, size_t count,
                    const struct byte_alphabet *alphabet, bool keep_bytes,
                    struct pre_tokenize_scratch *scratch, const char **base,
                    struct piece_list *pieces) MUST_CHECK;
void pre_tokenize_scratch_destroy(struct pre_tokenize_scratch *scratch);

/* ---- Models ---- */

enum model_kind { MODEL_BPE, MODEL_UNIGRAM, MODEL_WORDPIECE, MODEL_WORDLEVEL };

enum { NO_TOKEN = -1 };

struct bpe_model {
    struct bpe_merge *merges; /* hash table */
    size_t merge_slots, merge_count;
    bool has_unknown; /* an unknown token is named; `unknown` is NO_TOKEN if it is in no vocabulary
                       */
    int32_t unknown;
    bool fuse_unknown, byte_fallback, ignore_merges;
    const char *prefix, *suffix; /* of parts that continue and that end a word; "" for none */
    int32_t byte_ids[256];       /* <0x00>…; NO_TOKEN where the vocabulary has none */
    /* No merge reaches from a character other than ▁ that is not in this set to a ▁ behind it, so
     * that a text may be cut there. */
    bool may_cut;
    struct unicode_set no_cut_behind;
};
/* Ranks order the merges, lowest first; the later of two merges of one pair counts. */
status bpe_add_merge(struct bpe_model *model, int32_t left, int32_t right, uint32_t rank,
                     int32_t merged) MUST_CHECK;
struct bpe_merge_parts {
    const char *left, *right;
    size_t left_length, right_length;
};
/* The same from token strings, which with what they make must be in the vocabulary. `joined` is
 * room to work in. */
status bpe_add_merge_of(struct bpe_model *model, const struct token_table *vocabulary,
                        const struct bpe_merge_parts *parts, uint32_t rank,
                        struct buffer *joined) MUST_CHECK;
struct scored_token {
    double score;
    int32_t id;
};
/* Merges from the scores of the tokens that take part, each of whose texts is its own in the
 * vocabulary; sorts `tokens` (bpe_scored.c). */
status bpe_add_scored_merges(struct bpe_model *model, const struct token_table *vocabulary,
                             struct scored_token *tokens, size_t count) MUST_CHECK;
/* After the last merge. */
status bpe_finish(struct bpe_model *model, const struct token_table *vocabulary) MUST_CHECK;
void bpe_destroy(struct bpe_model *model);

struct bpe_scratch {
    struct bpe_symbol *symbols;
    size_t symbol_capacity;
    uint64_t *heap;
    size_t heap_capacity;
    struct buffer part;
};

struct unigram_model {
    double *scores; /* by id, one for each id of the vocabulary */
    double unknown_score;
    int32_t unknown; /* or NO_TOKEN */
    bool byte_fallback;
    bool single_precision; /* sums are floats, as SentencePiece's: ways that are equal stay equal */
    struct byte_trie trie;
};

struct unigram_scratch {
    struct unigram_node *nodes;
    size_t node_capacity;
    struct token_list reversed; /* ends of the pieces found, last first */
};

struct wordpiece_model {
    struct byte_trie trie;
    uint32_t prefix_node; /* where continuing pieces hang; 0: there are none */
    bool prefix_empty;
    size_t max_characters; /* of a word; longer ones are unknown */
    int32_t unknown;       /* or NO_TOKEN */
};

/* Words seen before and their ids, bounded; forgets everything when it is full. */
struct word_cache {
    struct word_slot *slots;
    size_t count;
    struct buffer keys;
    struct token_list ids;
};

/* ---- Added tokens (added.c) ---- */

struct added_token {
    const char *content;
    size_t length;
    const char *normalized_content; /* what it looks like behind the normalizers */
    size_t normalized_length;
    int32_t id;
    bool single_word, strip_left, strip_right, normalized, special;
    bool verbatim; /* no normalizer changes it */
};

struct added_vocabulary {
    struct added_token *tokens;
    size_t count, capacity;
    int32_t next_id;               /* for a token that the model lacks */
    struct token_table by_content; /* to index into tokens */
    struct byte_trie raw, normalized;
};
/* Before a group of tokens: counts from which id on there are free ones. */
void added_vocabulary_begin(struct tokenizer *tokenizer);
/* Adds the token as the reference does: the id that the vocabulary has for its content, else the
 * next free one. */
status added_vocabulary_add(struct tokenizer *tokenizer, struct added_token token) MUST_CHECK;
/* After the last token. */
status added_vocabulary_finish(struct added_vocabulary *added) MUST_CHECK;
/* Splits one piece of text at the added tokens of a trie. */
status added_vocabulary_split(const struct added_vocabulary *added, const struct byte_trie *trie,
                              const char *base, struct piece piece,
                              struct piece_list *out) MUST_CHECK;
void added_vocabulary_destroy(struct added_vocabulary *added);

/* ---- Decoders (decode.c) ---- */

enum decoder_kind {
    DECODER_BYTE_LEVEL,
    DECODER_BYTE_FALLBACK,
    DECODER_FUSE,
    DECODER_STRIP,
    DECODER_REPLACE,
    DECODER_METASPACE,
    DECODER_WORDPIECE,
    DECODER_BPE,
};

struct decoder {
    enum decoder_kind kind;
    struct text_pattern pattern; /* REPLACE */
    const char *content;         /* REPLACE; WORDPIECE: the prefix; BPE: the suffix */
    size_t content_length;
    int32_t character;     /* STRIP, METASPACE */
    size_t start, stop;    /* STRIP: characters at most */
    bool keep_first_space; /* METASPACE */
    bool cleanup;          /* WORDPIECE */
};

/* How a sequence can be decoded piece by piece (stream.c). */
struct stream_plan {
    bool whole;           /* not at all: a decoder looks across pieces */
    bool byte_level;      /* characters may be cut between tokens */
    size_t byte_fallback; /* which decoder joins byte tokens; SIZE_MAX: none */
};
void stream_plan_create(struct tokenizer *tokenizer);

/* Decoding of ids that are known to give text. `incomplete_tail` false leaves away a character that
 * has only begun. */
status decode_ids(const struct tokenizer *tokenizer, const int32_t *ids, size_t count,
                  bool incomplete_tail, struct buffer *out) MUST_CHECK;
/* The text that decoders take for an id, or NULL where decode skips it. */
const struct token_entry *decode_entry(const struct tokenizer *tokenizer, int32_t id,
                                       bool skip_special);
/* The byte that a token's text is, as it comes to a ByteFallback (<0x0A>); -1: it is none. */
status decode_byte(const struct tokenizer *tokenizer, int32_t id, int *byte) MUST_CHECK;
/* Bytes of `id` under a ByteLevel decoder. */
status decode_bytes(const struct tokenizer *tokenizer, int32_t id, struct buffer *out) MUST_CHECK;
/* How many bytes at the end of `bytes` begin a character that is not complete. */
size_t decode_incomplete_tail(const char *bytes, size_t length);

/* ---- Post-processors ---- */

enum post_processor_kind { POST_TEMPLATE, POST_BERT };

struct template_item {
    bool is_sequence;
    bool is_second; /* of a pair's template: the second text */
    int type;       /* of its tokens, in a pair's template: 0 or 1 */
    int32_t *ids;   /* of the special token; [id_count] in the arena */
    size_t id_count;
};

struct template_items {
    struct template_item *items;
    size_t count;
};

struct post_processor {
    enum post_processor_kind kind;
    struct template_items single; /* TEMPLATE */
    struct template_items pair;   /* likewise, of two texts; none where there is no item */
    bool has_two_ends;   /* BERT: Roberta's, which puts two between texts and has one type */
    int32_t first, last; /* BERT (and Roberta's): [CLS] and [SEP] */
};

/* ---- The whole ---- */

struct tokenizer {
    struct arena arena;
    struct byte_alphabet alphabet;
    struct token_table vocabulary;
    size_t model_size; /* how many tokens the model counts; new ones get ids from here on */
    enum model_kind model;
    struct bpe_model bpe;
    struct unigram_model unigram;
    struct wordpiece_model wordpiece;
    int32_t wordlevel_unknown; /* or NO_TOKEN */
    struct normalizer *normalizers;
    size_t normalizer_count, normalizer_capacity;
    struct pre_tokenizer *pre_tokenizers;
    size_t pre_tokenizer_count, pre_tokenizer_capacity;
    struct post_processor *post_processors;
    size_t post_processor_count, post_processor_capacity;
    struct decoder *decoders;
    size_t decoder_count, decoder_capacity;
    bool has_decoder;
    struct added_vocabulary added;
    struct stream_plan stream;
    const char *names[TOKENIZER_NAME_COUNT]; /* NULL: none */
    /* By id, [size]: what decoders see of it (NULL text: nothing), and whether it is special. */
    struct token_entry *decoded;
    bool *special;
    size_t size;
};

struct tokenizer_scratch {
    const struct tokenizer *owner;
    struct normalize_scratch normalize;
    struct pre_tokenize_scratch pre_tokenize;
    struct buffer base; /* normalized text of all pieces */
    struct piece_list raw, pieces;
    struct bpe_scratch bpe;
    struct unigram_scratch unigram;
    struct word_cache cache;
    struct buffer mapped;
    struct token_list word, processed;
};

status bpe_encode(const struct bpe_model *model, const struct token_table *vocabulary,
                  struct bpe_scratch *scratch, const char *text, size_t length,
                  struct token_list *out) MUST_CHECK;
void bpe_scratch_destroy(struct bpe_scratch *scratch);
/* Where the part that begins at `start` may end, so that parts can be encoded one by one. */
size_t bpe_find_cut(const struct bpe_model *model, const char *text, size_t length, size_t start);

/* `plain` by id: the pieces that texts are made of; NULL: all. */
status unigram_finish(struct unigram_model *model, const struct token_table *vocabulary,
                      const bool *plain) MUST_CHECK;
status unigram_encode(const struct unigram_model *model, const struct token_table *vocabulary,
                      struct unigram_scratch *scratch, const char *text, size_t length,
                      struct token_list *out) MUST_CHECK;
void unigram_destroy(struct unigram_model *model);
void unigram_scratch_destroy(struct unigram_scratch *scratch);

status wordpiece_finish(struct wordpiece_model *model, const struct token_table *vocabulary,
                        const char *prefix, size_t prefix_length) MUST_CHECK;
status wordpiece_encode(const struct wordpiece_model *model, const char *text, size_t length,
                        struct token_list *out) MUST_CHECK;
void wordpiece_destroy(struct wordpiece_model *model);

/* The ids of a word, or false. */
bool word_cache_find(const struct word_cache *cache, const char *word, size_t length, uint64_t hash,
                     const int32_t **ids, size_t *count);
status word_cache_add(struct word_cache *cache, const char *word, size_t length, uint64_t hash,
                      const int32_t *ids, size_t count) MUST_CHECK;
void word_cache_destroy(struct word_cache *cache);
enum { WORD_CACHE_LONGEST = 128 }; /* bytes of a word worth keeping */

/* Id of the byte token <0xHH>, or NO_TOKEN. */
int32_t token_table_find_byte(const struct token_table *table, unsigned char byte);

/* One without parts, or NULL when memory runs out. */
struct tokenizer *tokenizer_new(void);
/* Behind the parts: tables for decoding, the stream's plan. */
status tokenizer_finish(struct tokenizer *tokenizer) MUST_CHECK;

/* Parts from JSON (tokenizer_load_*.c); each appends to the tokenizer. */
status tokenizer_load_model(struct tokenizer *tokenizer, const struct json *model) MUST_CHECK;
status tokenizer_load_normalizer(struct tokenizer *tokenizer, const struct json *value) MUST_CHECK;
status tokenizer_load_pre_tokenizer(struct tokenizer *tokenizer,
                                    const struct json *value) MUST_CHECK;
status tokenizer_load_post_processor(struct tokenizer *tokenizer,
                                     const struct json *value) MUST_CHECK;
status tokenizer_load_decoder(struct tokenizer *tokenizer, const struct json *value) MUST_CHECK;

/* The parts that a GGUF file's vocabulary asks for (gguf.c). */
status tokenizer_load_gguf(struct tokenizer *tokenizer,
                           const struct gguf_vocabulary *vocabulary) MUST_CHECK;

/* Room for one more part at the end of an array. */
status tokenizer_add_normalizer(struct tokenizer *tokenizer, struct normalizer **out) MUST_CHECK;
status tokenizer_add_pre_tokenizer(struct tokenizer *tokenizer,
                                   struct pre_tokenizer **out) MUST_CHECK;
status tokenizer_add_post_processor(struct tokenizer *tokenizer,
                                    struct post_processor **out) MUST_CHECK;
status tokenizer_add_decoder(struct tokenizer *tokenizer, struct decoder **out) MUST_CHECK;

/* The model's vocabulary from {"token": id, …}. */
status tokenizer_load_vocabulary(struct tokenizer *tokenizer,
                                 const struct json *vocabulary) MUST_CHECK;

/* BERT's: words without their spaces, punctuation alone. */
status tokenizer_add_bert_pre_tokenizer(struct tokenizer *tokenizer) MUST_CHECK;
/* A Split that isolates what a regular expression matches. */
status tokenizer_add_split(struct tokenizer *tokenizer, const char *pattern) MUST_CHECK;
/* A decoder of a kind, for its other fields to be set. */
status tokenizer_add_decoder_of(struct tokenizer *tokenizer, enum decoder_kind kind,
                                struct decoder **out) MUST_CHECK;
/* SentencePiece's decoders: ▁ is a space, bytes are joined, the space before the text goes. */
status tokenizer_add_space_decoders(struct tokenizer *tokenizer, bool strip_first) MUST_CHECK;

/* A ByteLevel with GPT-2's pattern, for JSON and GGUF. */
status pre_tokenizer_make_byte_level(struct pre_tokenizer *pre_tokenizer, bool add_prefix_space,
                                     bool use_regex, struct arena *arena) MUST_CHECK;

#endif
