/* SPDX-License-Identifier: Apache-2.0 */
/* Tokenizers, patterns and templates, with each of their allocations failing in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failing/failing.h"
#include "sluice/chat_template.h"
#include "sluice/json.h"
#include "sluice/tokenizer.h"
#include "text/regex/regex.h"

static void walk(const char *name, status (*act)(void *context), const void *context)
{
    const struct failing_walk how = {.name = name,
                                     .kinds = FAIL_MEMORY | FAIL_ARENA,
                                     .act = act,
                                     .context = (void *)context,
                                     .once = true};
    assert_true(failing_walk(&how) > 3);
}

/* ---- Tokenizers: made, a text to ids and back, also id by id ---- */

struct example {
    const char *name, *json, *config, *text;
};

static const struct example examples[] = {
    {"bpe",
     "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"\\u0120\":2,\"ab\":3,\"abab\":4,"
     "\"\\u0120ab\":5},\"merges\":[\"a b\",\"ab ab\",[\"\\u0120\",\"ab\"]]},\"normalizer\":{"
     "\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Lowercase\"},{\"type\":"
     "\"Replace\",\"pattern\":{\"Regex\":\"c+\"},\"content\":\"a\"}]},\"pre_tokenizer\":{\"type\":"
     "\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\" "
     "?\\\\p{L}+|\\\\s+\"},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\","
     "\"add_prefix_space\":false,\"use_regex\":false}]},\"decoder\":{\"type\":\"ByteLevel\"},"
     "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":"
     "\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],"
     "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[6],\"tokens\":[\"<s>\"]}}},"
     "\"added_tokens\":[{\"id\":6,\"content\":\"<s>\",\"special\":true},{\"id\":7,\"content\":"
     "\"<x>\",\"special\":false,\"lstrip\":true}]}",
     "{\"eos_token\":\"<s>\",\"added_tokens_decoder\":{\"8\":{\"content\":\"<y>\",\"special\":true}"
     "}}",
     "ABAB ab<x> c<s>ab"},
    {"unigram",
     "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"byte_fallback\":false,\"vocab\":[[\"<unk>\","
     "0],[\"\\u2581\",-2],[\"a\",-3],[\"b\",-3],[\"\\u2581ab\",-1]]},\"normalizer\":{\"type\":"
     "\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\\u2581\"},{\"type\":"
     "\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\\u2581\"}]},\"pre_tokenizer\":{"
     "\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"never\",\"split\":"
     "true},\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{"
     "\"String\":\"\\u2581\"},\"content\":\" \"},{\"type\":\"Fuse\"},{\"type\":\"Strip\","
     "\"content\":\" \",\"start\":1,\"stop\":0}]}}",
     NULL, "ab a zb ab"},
    {"wordpiece",
     "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":"
     "\"##\",\"max_input_chars_per_word\":9,\"vocab\":{\"[UNK]\":0,\"ab\":1,\"##b\":2,\"a\":3,"
     "\"##a\":4}},\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,"
     "\"handle_chinese_chars\":true,\"strip_accents\":null,\"lowercase\":true},\"pre_tokenizer\":{"
     "\"type\":\"BertPreTokenizer\"},\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\","
     "\"cleanup\":true}}",
     NULL,
     "ABB aba \xC3\x84"
     "b zz abbbbbbbbbbbb"},
};

static status there_and_back(const struct tokenizer *tokenizer, const char *text,
                             struct tokenizer_scratch *scratch, struct token_list *ids,
                             struct token_stream *stream, struct buffer *out)
{
    TRY(tokenizer_encode(tokenizer, scratch, text, strlen(text), true, ids));
    TRY(tokenizer_decode(tokenizer, ids->ids, ids->count, false, out));
    for (size_t i = 0; i < ids->count; i++) {
        TRY(tokenizer_token_bytes(tokenizer, ids->ids[i], out));
        TRY(token_stream_push(stream, tokenizer, ids->ids[i], out));
    }
    return token_stream_finish(stream, tokenizer, out);
}

static status tokenize(const struct tokenizer *tokenizer, const char *text)
{
    struct token_list ids = {0};
    struct token_stream stream = {0};
    struct buffer out = {0};
    struct tokenizer_scratch *scratch = tokenizer_scratch_create(tokenizer);
    status s = scratch != NULL ? there_and_back(tokenizer, text, scratch, &ids, &stream, &out)
                               : status_fail(STATUS_NO_MEMORY, "out of memory for a scratch");
    tokenizer_scratch_destroy(scratch);
    token_list_destroy(&ids);
    token_stream_destroy(&stream);
    buffer_destroy(&out);
    return s;
}

static status tokenize_example(void *context)
{
    const struct example *example = context;
    struct tokenizer *tokenizer;
    TRY(tokenizer_create(example->json, strlen(example->json), example->config,
                         example->config != NULL ? strlen(example->config) : 0, &tokenizer));
    status s = tokenize(tokenizer, example->text);
    tokenizer_destroy(tokenizer);
    return s;
}

static void tokenizers_of_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        walk(examples[i].name, tokenize_example, &examples[i]);
    }
}

static status tokenize_files(void *context)
{
    struct tokenizer *tokenizer;
    TRY(tokenizer_create_from_files(context, &tokenizer));
    status s = tokenize(tokenizer, "ab abab<s>");
    tokenizer_destroy(tokenizer);
    return s;
}

#define SPAN(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

/* A byte-level vocabulary: every byte, two merges, a special token. */
static void make_byte_vocabulary(struct buffer *out)
{
    assert_int_equal(buffer_append_text(out, "{\"ab\":256,\"<s>\":257,\"\\u0120ab\":258"),
                     STATUS_OK);
    for (int byte = 0, others = 0; byte < 256; byte++) {
        const bool shown = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
        assert_int_equal(buffer_format(out, ",\"\\u%04x\":%d", shown ? byte : 256 + others++, byte),
                         STATUS_OK);
    }
    assert_int_equal(buffer_append_text(out, "}"), STATUS_OK);
}

static void tokenizers_of_other_files(void **state)
{
    (void)state;
    struct buffer bytes = {0};
    make_byte_vocabulary(&bytes);
    const struct tokenizer_files files[] = {
        {.name = "vocab.json",
         .vocabulary = {bytes.data, bytes.length},
         .merges = SPAN("#version: 0.2\na b\n\xC4\xA0 ab\n"),
         .config = SPAN("{\"bos_token\":\"<s>\",\"tokenizer_class\":\"GPT2Tokenizer\"}"),
         .special_tokens_map = SPAN("{\"eos_token\":{\"content\":\"<s>\"}}"),
         .added_tokens = SPAN("{\"<t>\":259}"),
         .model_type = "gpt2"},
        {.name = "vocab.txt",
         .vocabulary = SPAN("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n##b\nab\n"),
         .config = SPAN("{\"tokenizer_class\":\"BertTokenizer\",\"do_lower_case\":true}"),
         .model_type = "bert"},
    };
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        walk(files[i].name, tokenize_files, &files[i]);
    }
    buffer_destroy(&bytes);
}

static status tokenize_gguf(void *context)
{
    struct tokenizer *tokenizer;
    TRY(tokenizer_create_from_gguf(context, &tokenizer));
    status s = tokenize(tokenizer, "ab a b");
    tokenizer_destroy(tokenizer);
    return s;
}

static void tokenizers_of_gguf(void **state)
{
    (void)state;
    static const char *const tokens[] = {"<unk>",
                                         "<s>",
                                         "</s>",
                                         "\xE2\x96\x81",
                                         "a",
                                         "b",
                                         "ab",
                                         "\xE2\x96\x81"
                                         "ab",
                                         "<0x20>"};
    static const float scores[] = {0, 0, 0, -1, -2, -3, -4, -5, 0};
    static const int32_t types[] = {2, 3, 3, 1, 1, 1, 1, 1, 6};
    static const char *const merges[] = {"a b"};
    static const char *const letters[] = {"a", "b", "ab", "\xC4\xA0", "<s>"};
    static const struct gguf_vocabulary both[] = {
        {.model = "llama",
         .token_count = COUNT_OF(tokens),
         .tokens = tokens,
         .scores = scores,
         .types = types,
         .bos = 1,
         .eos = 2,
         .unknown = 0,
         .add_bos = 1,
         .add_eos = 0,
         .add_space_prefix = 1},
        {.model = "gpt2",
         .pre = "llama-bpe",
         .token_count = COUNT_OF(letters),
         .tokens = letters,
         .merge_count = 1,
         .merges = merges,
         .bos = 4,
         .eos = 4,
         .unknown = -1,
         .add_bos = 1,
         .add_eos = -1,
         .add_space_prefix = -1},
    };
    for (size_t i = 0; i < COUNT_OF(both); i++) {
        walk(both[i].model, tokenize_gguf, &both[i]);
    }
}

/* ---- Patterns ---- */

static status find_all(void *context)
{
    const char *pattern = context;
    static const char text[] = "The 3 quick\tbrown\xC3\xA9 foxes' 42 tails, isn't it? aaaaaaaaaaab";
    struct regex *regex;
    TRY(regex_create(pattern, strlen(pattern), &regex));
    struct regex_scan scan = {0};
    bool found = true;
    status s = STATUS_OK;
    regex_scan_start(&scan, regex, text, sizeof text - 1);
    while (s == STATUS_OK && found) {
        s = regex_scan_next(&scan, &found);
    }
    free(scan.stack);
    regex_destroy(regex);
    return s;
}

static void patterns(void **state)
{
    (void)state;
    static const char *const all[] = {
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
        "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        "(a+a+)+b|[[:alpha:]&&[^aeiou]]+|(?x) x # comment\n | (?<=q)u\\w*",
        "(?:(a|b)*?c?)+|^The\\b|[\\x{e9}-\\x{ff}]|\\d{2,}?",
    };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        walk("pattern", find_all, all[i]);
    }
}

/* ---- Templates ---- */

static status render(void *context)
{
    static const char given[] =
        "[{\"role\":\"system\",\"content\":\"Be brief\"},{\"role\":\"user\",\"content\":\"a,b,c\","
        "\"n\":[3,1,2]},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"function\":{"
        "\"name\":\"f\",\"arguments\":{\"x\":1.5,\"y\":[true,null]}}}]}]";
    const char *text = context;
    struct chat_template *template_;
    struct arena arena = {0};
    struct buffer out = {0};
    struct json *messages;
    status s = json_parse(given, sizeof given - 1, &arena, &messages);
    if (s == STATUS_OK) {
        s = chat_template_create("t", text, strlen(text), &template_);
    }
    if (s == STATUS_OK) {
        const struct chat_variables variables = {
            .messages = messages, .bos_token = "<s>", .add_generation_prompt = true};
        s = chat_template_render(template_, &variables, &out);
        chat_template_destroy(template_);
    }
    buffer_destroy(&out);
    arena_destroy(&arena);
    return s;
}

static void templates(void **state)
{
    (void)state;
    static const char *const all[] = {
        "{{ bos_token }}{%- for m in messages %}[{{ loop.index0 }}/{{ m.role|upper }}] {{ "
        "(m.content "
        "or 'none')|trim }}{% if m.tool_calls %}{{ m.tool_calls|tojson(indent=2) }}{% endif %}{% "
        "endfor %}{% if add_generation_prompt %}>{% endif %}",
        "{% macro f(a, b='x') %}{{ a ~ b }}{% endmacro %}{{ f('1', b=2) }}{% set ns = "
        "namespace(n=0) %}{% for m in messages if m.n %}{% set ns.n = m.n|sort|join('-') %}{% "
        "endfor "
        "%}{{ ns.n }}{% macro g(a) %}{{ a ~ caller('w') }}{% endmacro %}{% call(z) g('q') %}{{ z "
        "}}{% endcall %}{{ messages[1].content.split(',')|reverse|"
        "list }}",
        "{{ messages|map(attribute='role')|unique|join(', ') }}{{ '%s-%05.2f'|format('a', 2.5) "
        "}}{{ "
        "'{:>5}'.format(3) }}{{ messages|selectattr('role', 'equalto', 'user')|list|length }}{{ "
        "messages|groupby('role')|length }}{{ {'a': 1, 'b': [1, (2,)]}|dictsort }}{{ "
        "'a b'.title().replace('A', 'x')[::-1] }}{% filter upper %}q{% endfilter %}{{ 7 // 2 ** 2 "
        "}}",
    };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        walk("template", render, all[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokenizers_of_json), cmocka_unit_test(tokenizers_of_other_files),
        cmocka_unit_test(tokenizers_of_gguf), cmocka_unit_test(patterns),
        cmocka_unit_test(templates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
