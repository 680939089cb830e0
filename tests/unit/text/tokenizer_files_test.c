/* SPDX-License-Identifier: Apache-2.0 */
/* Tokenizers of directories without tokenizer.json: what is refused and with which words, hostile
 * files, tokens that other files add. tests/parity/tokenizer_folders_test.c compares ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/tokenizer.h"

/* ---- Writing a SentencePiece model ---- */

static void put(struct buffer *out, const void *bytes, size_t length)
{
    assert_int_equal(buffer_append(out, bytes, length), STATUS_OK);
}

static void put_varint(struct buffer *out, uint64_t value)
{
    do {
        char byte = (char)(value & 0x7F);
        value >>= 7;
        byte = (char)(byte | (value > 0 ? 0x80 : 0));
        put(out, &byte, 1);
    } while (value > 0);
}

static void put_number(struct buffer *out, int field, uint64_t value)
{
    put_varint(out, (uint64_t)field << 3);
    put_varint(out, value);
}

static void put_bytes(struct buffer *out, int field, const char *bytes, size_t length)
{
    put_varint(out, (uint64_t)field << 3 | 2);
    put_varint(out, length);
    put(out, bytes, length);
}

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

static void put_piece(struct buffer *out, const char *text, float score, int type)
{
    struct buffer piece = {0};
    char bits[4];
    memcpy(bits, &score, sizeof bits);
    put_bytes(&piece, 1, text, strlen(text));
    put_varint(&piece, 2 << 3 | 5);
    put(&piece, bits, sizeof bits);
    put_number(&piece, 3, (uint64_t)type);
    put_bytes(out, 1, piece.data, piece.length);
    buffer_destroy(&piece);
}

/* trainer_spec with the algorithm, and one more field where its number is not 0. */
static void put_trainer(struct buffer *out, int algorithm, int field, uint64_t value)
{
    struct buffer spec = {0};
    put_number(&spec, 3, (uint64_t)algorithm);
    if (field != 0) {
        put_number(&spec, field, value);
    }
    put_bytes(out, 2, spec.data, spec.length);
    buffer_destroy(&spec);
}

static void put_normalizer(struct buffer *out, bool dummy_prefix, bool remove_spaces)
{
    struct buffer spec = {0};
    put_number(&spec, 3, dummy_prefix);
    put_number(&spec, 4, remove_spaces);
    put_bytes(out, 3, spec.data, spec.length);
    buffer_destroy(&spec);
}

/* Ids: <unk> 0, <s> 1, </s> 2, ▁ 3, a 4, b 5, ab 6, ▁ab 7, <sep> 8. */
static void put_small_model(struct buffer *out, int algorithm)
{
    put_piece(out, "<unk>", 0, UNKNOWN);
    put_piece(out, "<s>", 0, CONTROL);
    put_piece(out, "</s>", 0, CONTROL);
    put_piece(out, "▁", -3, NORMAL);
    put_piece(out, "a", -4, NORMAL);
    put_piece(out, "b", -5, NORMAL);
    put_piece(out, "ab", -1, NORMAL);
    put_piece(out, "▁ab", -2, NORMAL);
    put_piece(out, "<sep>", 0, USER_DEFINED);
    put_trainer(out, algorithm, 0, 0);
}

/* ---- Tokenizers and ids ---- */

static struct text_span span(const char *text)
{
    return text != NULL ? (struct text_span){text, strlen(text)} : (struct text_span){0};
}

static status create(const char *name, const struct buffer *vocabulary, const char *config,
                     struct tokenizer **out)
{
    struct tokenizer_files files = {
        .name = name, .vocabulary = {vocabulary->data, vocabulary->length}, .config = span(config)};
    return tokenizer_create_from_files(&files, out);
}

static void assert_ids(const struct tokenizer *tokenizer, const char *text, const char *expected)
{
    struct tokenizer_scratch *scratch = tokenizer_scratch_create(tokenizer);
    struct token_list ids = {0};
    struct buffer line = {0};
    assert_non_null(scratch);
    assert_int_equal(tokenizer_encode(tokenizer, scratch, text, strlen(text), true, &ids),
                     STATUS_OK);
    put(&line, "", 0);
    for (size_t i = 0; i < ids.count; i++) {
        assert_int_equal(buffer_format(&line, "%s%d", i > 0 ? " " : "", ids.ids[i]), STATUS_OK);
    }
    assert_string_equal(line.data, expected);
    buffer_destroy(&line);
    token_list_destroy(&ids);
    tokenizer_scratch_destroy(scratch);
}

static void assert_model_ids(const struct buffer *model, const char *config, const char *text,
                             const char *expected)
{
    struct tokenizer *tokenizer;
    if (create("tokenizer.model", model, config, &tokenizer) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    assert_ids(tokenizer, text, expected);
    tokenizer_destroy(tokenizer);
}

static void assert_refused(const struct tokenizer_files *files, const char *message)
{
    struct tokenizer *tokenizer;
    assert_int_not_equal(tokenizer_create_from_files(files, &tokenizer), STATUS_OK);
    assert_null(tokenizer);
    if (strstr(status_message(), message) == NULL) {
        fail_msg("\"%s\" does not hold \"%s\"", status_message(), message);
    }
}

static void assert_model_refused(const struct buffer *model, const char *message)
{
    struct tokenizer_files files = {.name = "tokenizer.model",
                                    .vocabulary = {model->data, model->length}};
    assert_refused(&files, message);
}

/* ---- SentencePiece ---- */

static void spaces_are_as_the_model_says(void **state)
{
    (void)state;
    struct buffer kept = {0}, removed = {0}, bare = {0};
    put_small_model(&kept, 2);
    put_normalizer(&kept, true, false);
    put_small_model(&removed, 2);
    put_normalizer(&removed, true, true);
    put_small_model(&bare, 1);
    put_normalizer(&bare, false, false);
    assert_model_ids(&kept, NULL, "ab", "1 7");
    assert_model_ids(&kept, NULL, " ab  b", "1 3 7 3 3 5");
    assert_model_ids(&removed, NULL, " ab  b ", "1 7 3 5");
    assert_model_ids(&removed, NULL, "   ", "1");
    assert_model_ids(&bare, NULL, "ab ab", "1 6 7");
    /* tokenizer_config.json may say otherwise; legacy: false is transformers' way */
    assert_model_ids(&kept, "{\"add_prefix_space\": false}", "ab", "1 6");
    assert_model_ids(&kept, "{\"legacy\": false}", " ab", "1 7");
    assert_model_ids(&kept, "{\"legacy\": false}", "<s>ab", "1 1 6");
    assert_model_ids(&kept, "{\"add_bos_token\": false, \"add_eos_token\": true}", "ab", "7 2");
    buffer_destroy(&kept);
    buffer_destroy(&removed);
    buffer_destroy(&bare);
}

static void symbols_are_found_in_the_text(void **state)
{
    (void)state;
    struct buffer model = {0};
    put_small_model(&model, 2);
    put_normalizer(&model, true, false);
    assert_model_ids(&model, NULL, "<sep>ab", "1 3 8 6");  /* one space before all of it */
    assert_model_ids(&model, NULL, "ab</s>ab", "1 7 2 7"); /* one before each text */
    assert_model_ids(&model,
                     "{\"added_tokens_decoder\": {\"9\": {\"content\": \"<x>\", \"special\": true},"
                     "\"11\": {\"content\": \"<y>\", \"special\": true}}}",
                     "<x>ab<y>", "1 9 7 11");
    struct tokenizer *tokenizer;
    assert_int_equal(create("tokenizer.model", &model, NULL, &tokenizer), STATUS_OK);
    assert_string_equal(tokenizer_named(tokenizer, TOKENIZER_BOS), "<s>");
    assert_string_equal(tokenizer_named(tokenizer, TOKENIZER_EOS), "</s>");
    assert_null(tokenizer_named(tokenizer, TOKENIZER_PAD));
    assert_true(tokenizer_is_special(tokenizer, 1));
    assert_false(tokenizer_is_special(tokenizer, 8));
    tokenizer_destroy(tokenizer);
    buffer_destroy(&model);
}

/* A symbol of spaces is found in normalized texts, however a file lists it. */
static void symbols_of_spaces_are_listed(void **state)
{
    (void)state;
    struct buffer model = {0};
    put_small_model(&model, 2);
    put_piece(&model, "▁▁", 0, USER_DEFINED);
    put_normalizer(&model, false, false);
    assert_model_ids(&model, NULL, "ab  b", "1 6 9 5");
    assert_model_ids(&model,
                     "{\"added_tokens_decoder\": {\"9\": {\"content\": \"▁▁\", \"special\": false, "
                     "\"normalized\": false}}}",
                     "ab  b", "1 6 9 5");
    assert_model_ids(&model, "{\"extra_special_tokens\": {\"image_token\": \"<image>\"}}",
                     "ab<image>", "1 6 10");
    buffer_destroy(&model);
}

static void models_that_are_not_read(void **state)
{
    (void)state;
    static const struct {
        int algorithm, field;
        uint64_t value;
        const char *message;
    } cases[] = {
        {3, 0, 0, "a SentencePiece word model (supported: BPE, unigram)"},
        {4, 0, 0, "a SentencePiece char model (supported: BPE, unigram)"},
        {9, 0, 0, "of the unknown kind 9"},
        {2, 24, 1, "treat_whitespace_as_suffix"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buffer model = {0};
        put_small_model(&model, cases[i].algorithm);
        put_trainer(&model, cases[i].algorithm, cases[i].field, cases[i].value);
        assert_model_refused(&model, cases[i].message);
        buffer_destroy(&model);
    }
}

static void pieces_that_cannot_be(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        float score;
        int type;
        const char *message;
    } cases[] = {
        {"", 0, NORMAL, "piece 9: empty, or not valid UTF-8"},
        {"\xFF", 0, NORMAL, "piece 9: empty, or not valid UTF-8"},
        {"c", 1.0F / 0.0F, NORMAL, "piece 9: a score"},
        {"c", 0, 7, "piece 9: a score or a type"},
        {"ab", 0, NORMAL, "pieces 6 and 9 are the same"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buffer model = {0};
        put_small_model(&model, 2);
        put_piece(&model, cases[i].text, cases[i].score, cases[i].type);
        assert_model_refused(&model, cases[i].message);
        buffer_destroy(&model);
    }
    struct buffer bare = {0}, nothing = {0};
    put_piece(&bare, "<unk>", 0, UNKNOWN);
    assert_model_refused(&bare, "none that texts are made of");
    put_piece(&nothing, "a", 0, NORMAL);
    assert_model_refused(&nothing, "no piece for what is unknown");
    buffer_destroy(&bare);
    buffer_destroy(&nothing);
}

/* Any beginning of a model, and a model with any byte changed, is read or refused. */
static void broken_models_are_noticed(void **state)
{
    (void)state;
    struct buffer model = {0};
    struct tokenizer *tokenizer;
    put_small_model(&model, 2);
    put_normalizer(&model, true, true);
    for (size_t length = 0; length < model.length; length++) {
        char *cut = malloc(length + 1); /* its own memory, so that a sanitizer sees its end */
        assert_non_null(cut);
        memcpy(cut, model.data, length);
        struct buffer part = {.data = cut, .length = length};
        if (create("tokenizer.model", &part, NULL, &tokenizer) == STATUS_OK) {
            tokenizer_destroy(tokenizer);
        }
        free(cut);
    }
    for (size_t i = 0; i < model.length; i++) {
        char before = model.data[i];
        model.data[i] = (char)(before ^ 0x87);
        if (create("tokenizer.model", &model, NULL, &tokenizer) == STATUS_OK) {
            tokenizer_destroy(tokenizer);
        }
        model.data[i] = before;
    }
    static const char long_number[] = "\n\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01";
    struct buffer wide = {.data = (char *)long_number, .length = sizeof long_number - 1};
    assert_model_refused(&wide, "a number of more than 64 bits");
    static const char group[] = "\n\x02\x0B\x0C";
    struct buffer grouped = {.data = (char *)group, .length = sizeof group - 1};
    assert_model_refused(&grouped, "a field of the wire type 3");
    static const char page[] = "<!DOCTYPE html>";
    struct buffer html = {.data = (char *)page, .length = sizeof page - 1};
    assert_model_refused(&html, "neither a SentencePiece model nor tiktoken's ranks");
    static const char words[] = "a tokenizer";
    struct buffer other = {.data = (char *)words, .length = sizeof words - 1};
    assert_model_refused(&other, "neither a SentencePiece model nor tiktoken's ranks");
    buffer_destroy(&model);
}

/* Time in proportion to the vocabulary and the text, not to their squares. */
static void long_pieces_take_no_long_time(void **state)
{
    (void)state;
    enum { LENGTH = 200000 };
    struct buffer model = {0}, text = {0};
    assert_int_equal(buffer_reserve(&text, LENGTH + 1), STATUS_OK);
    memset(text.data, 'a', LENGTH);
    text.data[LENGTH] = '\0';
    put_small_model(&model, 2);
    put_piece(&model, text.data, -9, NORMAL);
    struct tokenizer *tokenizer;
    assert_int_equal(create("tokenizer.model", &model, NULL, &tokenizer), STATUS_OK);
    struct tokenizer_scratch *scratch = tokenizer_scratch_create(tokenizer);
    struct token_list ids = {0};
    assert_non_null(scratch);
    assert_int_equal(tokenizer_encode(tokenizer, scratch, text.data, LENGTH, false, &ids),
                     STATUS_OK);
    assert_int_equal(ids.count, LENGTH + 1);
    token_list_destroy(&ids);
    tokenizer_scratch_destroy(scratch);
    tokenizer_destroy(tokenizer);
    buffer_destroy(&model);
    buffer_destroy(&text);
}

/* ---- The other forms ---- */

static void other_files_that_are_not_read(void **state)
{
    (void)state;
    static const struct {
        const char *name, *vocabulary, *merges, *config, *model_type, *message;
    } cases[] = {
        {"vocab.json", "{\"a\": 0}", "#version: 0.2\n", NULL, "llama",
         "neither tokenizer_class in tokenizer_config.json nor model_type \"llama\""},
        {"vocab.json", "{\"a\": 0}", "", "{\"tokenizer_class\": \"CLIPTokenizerFast\"}", NULL,
         "the rules of tokenizer_class \"CLIPTokenizerFast\" are not known (known: GPT2Tokenizer"},
        {"vocab.json", "{\"a\": 0}", NULL, NULL, "gpt2", "there is no merges.txt beside it"},
        {"vocab.json", "{\"a\": 0}", "", NULL, "gpt2", "no token for the byte 0x00"},
        {"vocab.json", "[]", "", NULL, "gpt2", "expected an object"},
        {"vocab.json", "{\"a\": -1}", "", NULL, "gpt2", "id -1"},
        {"vocab.txt", "a\nb\n", NULL, NULL, "bert", "no line is the unknown token \"[UNK]\""},
        {"vocab.txt", "a\xFF", NULL, NULL, "bert", "not valid UTF-8"},
        {"vocab.txt", "a\n", NULL, NULL, NULL, "neither tokenizer_class"},
        {"x.tiktoken", "YQ== 0\n", NULL, NULL, "unheard", "nor model_type \"unheard\""},
        {"x.tiktoken", "a b", NULL, NULL, "qwen", "not tiktoken's ranks"},
        {"tokenizer.model", "YQ== 0\nYQ== 1\n", NULL, NULL, "llama", "line 2: a token or a rank"},
        {"tokenizer.model", "YQ== 0\nYg== 0\n", NULL, NULL, "llama", "line 2: a token or a rank"},
        {"tokenizer.model", "YQ== 0\nYg= 1\n", NULL, NULL, "llama", "line 2: 3 bytes of base64"},
        {"tokenizer.model", "YQ== 0\nY-== 1\n", NULL, NULL, "llama", "line 2: byte 1 is not"},
        {"tokenizer.model", "YQ== 0\nYg== 99999999\n", NULL, NULL, "llama", "line 2: expected"},
        {"tokenizer.model", "YQ== 0\n", NULL, NULL, "llama", "no token for the byte 0x00"},
        {"tekken.json", "{}", NULL, NULL, NULL, "\"vocab\" or the \"pattern\""},
        {"tekken.json", "{\"config\": {\"pattern\": \".\"}, \"vocab\": []}", NULL, NULL, NULL,
         "an early form, without \"special_tokens\""},
        {"tekken.json",
         "{\"config\": {\"pattern\": \".\", \"default_vocab_size\": 1}, \"vocab\": [],"
         "\"special_tokens\": [{}, {}]}",
         NULL, NULL, NULL, "counts that do not fit"},
        {"tekken.json",
         "{\"config\": {\"pattern\": \".\"}, \"vocab\": [{}], \"special_tokens\": []}", NULL, NULL,
         NULL, "vocab[0]: no \"token_bytes\""},
        {"tekken.json",
         "{\"config\": {\"pattern\": \".\"}, \"vocab\": [{\"token_bytes\": \"YQ==\"}],"
         "\"special_tokens\": []}",
         NULL, NULL, NULL, "no token for the byte 0x00"},
        {"sentencepiece.bpe.model", "\n", NULL, "{}", "xlm", "neither tokenizer_class"},
        {"spiece.model", "\n", NULL, NULL, "albert", "nor model_type \"albert\""},
        {"spiece.model", "\n", NULL, "{\"tokenizer_class\": \"XLNetTokenizer\"}", NULL,
         "the rules of tokenizer_class \"XLNetTokenizer\""},
        {"vocab.txt", "[UNK]\n", NULL, "{\"do_lower_case\": 1}", "bert",
         "\"do_lower_case\": expected a boolean"},
        {"vocab.txt", "[UNK]\n[CLS]\n", NULL, NULL, "bert", "\"[SEP]\" belongs around a text"},
        {"vocab.txt", "[UNK]\n", NULL, "[]", "bert", "tokenizer_config.json: expected an object"},
        {"vocab.txt", "[UNK]\n[CLS]\n[SEP]\n", NULL,
         "{\"added_tokens_decoder\": {\"5\": {\"content\": \"[UNK]\"}}}", "bert",
         "\"[UNK]\" is token 0 of the vocabulary, and is said to be 5"},
        {"vocab.txt", "[UNK]\n[CLS]\n[SEP]\n", NULL,
         "{\"added_tokens_decoder\": {\"5\": {\"content\": \"x\"}, \"05\": {\"content\": \"y\"}}}",
         "bert", "two tokens of the id 5"},
        {"vocab.txt", "[UNK]\n[CLS]\n[SEP]\n", NULL,
         "{\"added_tokens_decoder\": {\"99999999\": {\"content\": \"x\"}}}", "bert",
         "\"x\": no id of a token"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tokenizer_files files = {.name = cases[i].name,
                                        .vocabulary = span(cases[i].vocabulary),
                                        .merges = span(cases[i].merges),
                                        .config = span(cases[i].config),
                                        .model_type = cases[i].model_type};
        assert_refused(&files, cases[i].message);
    }
}

static void words_are_numbered_by_line(void **state)
{
    (void)state;
    static const char lines[] = "[PAD]\r\n[UNK]\r\n[CLS]\r[SEP]\nhello\n##s\nÉ\n!";
    struct tokenizer_files files = {
        .name = "vocab.txt", .vocabulary = span(lines), .model_type = "bert"};
    struct tokenizer *tokenizer;
    assert_int_equal(tokenizer_create_from_files(&files, &tokenizer), STATUS_OK);
    assert_ids(tokenizer, "HELLOs hello!", "2 4 5 4 7 3");
    assert_ids(tokenizer, "[SEP]É", "2 3 1 3"); /* the accent goes, and the rest is unknown */
    tokenizer_destroy(tokenizer);
    files.config = span("{\"do_lower_case\": false, \"cls_token\": \"hello\"}");
    assert_int_equal(tokenizer_create_from_files(&files, &tokenizer), STATUS_OK);
    assert_ids(tokenizer, "É Hello", "4 6 1 3");
    tokenizer_destroy(tokenizer);
    files.config = span(NULL);
    files.added_tokens = span("{\"<b>\": 9, \"<a>\": 8}");
    files.special_tokens_map = span("{\"additional_special_tokens\": [\"<c>\"]}");
    assert_int_equal(tokenizer_create_from_files(&files, &tokenizer), STATUS_OK);
    assert_ids(tokenizer, "<a><b><c>", "2 8 9 10 3");
    tokenizer_destroy(tokenizer);
}

/* docs/tokenizers.md names every class that is known. */
static void classes_are_documented(void **state)
{
    (void)state;
    static const char *const names[] = {"vocab.json", "vocab.txt", "x.tiktoken",
                                        "sentencepiece.bpe.model"};
    struct buffer docs = {0};
    assert_int_equal(file_read(SLUICE_SOURCE_DIR "/docs/tokenizers.md", 1 << 20, &docs), STATUS_OK);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct tokenizer_files files = {.name = names[i],
                                        .vocabulary = span(i < 2    ? ""
                                                           : i == 2 ? "YQ== 0"
                                                                    : "\n"),
                                        .config = span("{\"tokenizer_class\": \"XTokenizer\"}")};
        struct tokenizer *tokenizer;
        assert_int_equal(tokenizer_create_from_files(&files, &tokenizer), STATUS_UNSUPPORTED);
        const char *list = strstr(status_message(), "(known: ");
        assert_non_null(list);
        char message[2048], *rest = message;
        snprintf(message, sizeof message, "%s", list + strlen("(known: "));
        for (char *name = strsep(&rest, " )"); name != NULL; name = strsep(&rest, " )")) {
            if (strstr(docs.data, name) == NULL) {
                fail_msg("docs/tokenizers.md does not name %s", name);
            }
        }
    }
    buffer_destroy(&docs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spaces_are_as_the_model_says),
        cmocka_unit_test(symbols_are_found_in_the_text),
        cmocka_unit_test(symbols_of_spaces_are_listed),
        cmocka_unit_test(models_that_are_not_read),
        cmocka_unit_test(pieces_that_cannot_be),
        cmocka_unit_test(broken_models_are_noticed),
        cmocka_unit_test(long_pieces_take_no_long_time),
        cmocka_unit_test(other_files_that_are_not_read),
        cmocka_unit_test(words_are_numbered_by_line),
        cmocka_unit_test(classes_are_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
