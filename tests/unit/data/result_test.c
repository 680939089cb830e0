/* SPDX-License-Identifier: Apache-2.0 */
/* Encoded results: what goes in comes out, and no damaged bytes get through unchecked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/data.h"

static const int32_t ids[] = {7, -1, INT32_MAX};
static const float values[] = {-0.25f, -1e-30f, -100.0f};
static const int32_t top_ids[] = {1, 2, 3, 4, 5, 6};
static const float top_values[] = {-1, -2, -3, -4, -5, -6};

static struct result full_result(void)
{
    return (struct result){
        .row = INT64_C(5000000000),
        .sample = 3,
        .rank = 12,
        .finish_reason = FINISH_LENGTH,
        .id = "id-\xC3\xA9",
        .id_length = 5,
        .id_is_number = true,
        .is_fault = true,
        .endpoint = ENDPOINT_EMBEDDINGS,
        .prompt = "",
        .prompt_length = 0,
        .text = "a\0b",
        .text_length = 3,
        .error = "",
        .passthrough = "{\"k\":1.50}",
        .passthrough_length = 10,
        .prompt_tokens = 17,
        .completion_tokens = 3,
        .token_ids = ids,
        .logprobs = values,
        .top_logprobs = 2,
        .top_ids = top_ids,
        .top_values = top_values,
        .embedding_width = 3,
        .embedding = values,
        .seconds = 0.1,
        .arithmetic = "2, a GPU",
        .arithmetic_length = 8,
        .stream = UINT64_C(0x9000000000000001),
    };
}

static void everything_comes_back(void **state)
{
    (void)state;
    struct result in = full_result();
    struct result out;
    struct buffer bytes = {0};
    struct arena arena = {0};
    size_t used;
    assert_int_equal(result_encode(&in, &bytes), STATUS_OK);
    size_t first = bytes.length;
    struct result empty = {.finish_reason = FINISH_ERROR, .error = "why", .error_length = 3};
    assert_int_equal(result_encode(&empty, &bytes), STATUS_OK);

    assert_int_equal(result_decode(bytes.data, bytes.length, &arena, &out, &used), STATUS_OK);
    assert_int_equal(used, first);
    assert_true(out.row == in.row && out.sample == 3 && out.rank == 12);
    assert_int_equal(out.finish_reason, FINISH_LENGTH);
    assert_true(out.is_fault && out.id_is_number);
    assert_int_equal(out.endpoint, ENDPOINT_EMBEDDINGS);
    assert_string_equal(out.id, in.id);
    assert_non_null(out.prompt);
    assert_int_equal(out.text_length, 3);
    assert_memory_equal(out.text, "a\0b", 4);
    assert_int_equal(out.error_length, 0);
    assert_string_equal(out.passthrough, in.passthrough);
    assert_int_equal(out.prompt_tokens, 17);
    assert_int_equal(out.completion_tokens, 3);
    assert_memory_equal(out.token_ids, ids, sizeof ids);
    assert_memory_equal(out.logprobs, values, sizeof values);
    assert_int_equal(out.top_logprobs, 2);
    assert_memory_equal(out.top_ids, top_ids, sizeof top_ids);
    assert_memory_equal(out.top_values, top_values, sizeof top_values);
    assert_string_equal(out.arithmetic, "2, a GPU");
    assert_int_equal(out.arithmetic_length, 8);
    assert_true(out.stream == UINT64_C(0x9000000000000001));
    assert_int_equal(out.embedding_width, 3);
    assert_true(out.id_is_number);
    assert_memory_equal(out.embedding, values, sizeof values);
    assert_true(out.seconds == 0.1);

    assert_int_equal(result_decode(bytes.data + first, bytes.length - first, &arena, &out, &used),
                     STATUS_OK);
    assert_int_equal(used, bytes.length - first);
    assert_null(out.prompt);
    assert_null(out.token_ids);
    assert_null(out.logprobs);
    assert_null(out.top_ids);
    assert_int_equal(out.top_logprobs, 0);
    assert_string_equal(out.error, "why");
    assert_string_equal(out.id, "");
    buffer_destroy(&bytes);
    arena_destroy(&arena);
}

static void the_bytes_do_not_depend_on_the_host(void **state)
{
    (void)state;
    const struct result in = {.row = 0x0102, .sample = 1, .id = "x", .id_length = 1, .seconds = 1};
    static const unsigned char head[] = {70, 0, 0, 0, 2, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 1};
    struct buffer bytes = {0};
    assert_int_equal(result_encode(&in, &bytes), STATUS_OK);
    assert_int_equal(bytes.length, 70);
    assert_memory_equal(bytes.data, head, sizeof head);
    assert_memory_equal(bytes.data + 36, "\1\0\0\0", 4);
    assert_memory_equal(bytes.data + 56, "\0\0\0\0\0\0\xF0\x3F", 8);
    assert_memory_equal(bytes.data + 64, "x\0\0\0\0\0", 6);
    buffer_destroy(&bytes);
}

/* Journals of this form are on disk: whatever becomes of the code, form 2 stays these bytes. */
static void every_part_has_its_place(void **state)
{
    (void)state;
    static const char expected[] =
        "c10000000201ff0700f2052a01000000030000000c0000001100000003000000"
        "02000000050000000000000003000000000000000a0000009a9999999999b93f"
        "07000000ffffffffffffff7f000080be6042a28d0000c8c20100000002000000"
        "03000000040000000500000006000000000080bf000000c0000040c0000080c0"
        "0000a0c00000c0c003000000000080be6042a28d0000c8c20100000000000090"
        "08322c2061204750550069642dc3a9000061006200007b226b223a312e35307d"
        "00";
    const struct result in = full_result();
    struct buffer bytes = {0}, text = {0};
    assert_int_equal(result_encode(&in, &bytes), STATUS_OK);
    for (size_t i = 0; i < bytes.length; i++) {
        assert_int_equal(buffer_format(&text, "%02x", (unsigned char)bytes.data[i]), STATUS_OK);
    }
    assert_string_equal(text.data, expected);
    buffer_destroy(&bytes);
    buffer_destroy(&text);
}

/* In memory of exactly the size, so that a sanitizer sees a read past it. */
static status decode_exact(const char *bytes, size_t length, size_t *used)
{
    struct arena arena = {0};
    struct result out;
    char *copy = malloc(length > 0 ? length : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, length);
    status s = result_decode(copy, length, &arena, &out, used);
    free(copy);
    arena_destroy(&arena);
    return s;
}

static void cut_and_changed_bytes_are_checked(void **state)
{
    (void)state;
    struct result in = full_result();
    struct buffer bytes = {0};
    size_t used;
    assert_int_equal(result_encode(&in, &bytes), STATUS_OK);
    for (size_t length = 0; length < bytes.length; length++) {
        assert_int_equal(decode_exact(bytes.data, length, &used), STATUS_INVALID);
        assert_int_equal(used, 0);
    }
    for (size_t at = 0; at < 64; at++) {
        for (int bit = 0; bit < 8; bit++) {
            bytes.data[at] ^= (char)(1 << bit);
            status s = decode_exact(bytes.data, bytes.length, &used);
            assert_true(s == STATUS_INVALID || (s == STATUS_OK && used == bytes.length));
            /* Byte 5 is the finish reason; an empty prompt is as good as none, an id may be a
             * number, and each endpoint is one, each validity too. */
            bool checked = at < 5 || (at == 6 && bit > 0 && bit < 5) ||
                           (at == 7 && bit > 0 && bit != 5 && bit != 6) || (at >= 28 && at < 56);
            if (checked && s == STATUS_OK) {
                fail_msg("byte %zu, bit %d changed and taken", at, bit);
            }
            bytes.data[at] ^= (char)(1 << bit);
        }
    }
    buffer_destroy(&bytes);
}

/* Bits that form 2 has no place for make it form 3; a form 3 without them is none. */
static void labels_are_a_form_of_their_own(void **state)
{
    (void)state;
    static const float scores[] = {0.25f, 0.75f};
    struct result in = full_result(), out;
    struct buffer bytes = {0};
    struct arena arena = {0};
    size_t used;
    in.label = "so-so";
    in.label_length = 5;
    in.labels = 2;
    in.label_scores = scores;
    assert_int_equal(result_encode(&in, &bytes), STATUS_OK);
    assert_int_equal(bytes.data[4], 3);
    assert_int_equal(result_decode(bytes.data, bytes.length, &arena, &out, &used), STATUS_OK);
    assert_int_equal(used, bytes.length);
    assert_int_equal(out.label_length, 5);
    assert_string_equal(out.label, "so-so");
    assert_int_equal(out.labels, 2);
    assert_memory_equal(out.label_scores, scores, sizeof scores);
    assert_int_equal(out.top_logprobs, in.top_logprobs);
    bytes.data[34] = 0;
    assert_int_equal(decode_exact(bytes.data, bytes.length, &used), STATUS_INVALID);
    arena_destroy(&arena);
    buffer_destroy(&bytes);
}

static void the_form_before_is_read(void **state)
{
    (void)state;
    struct result in = full_result();
    struct buffer bytes = {0};
    size_t used;
    in.is_fault = in.id_is_number = false;
    in.endpoint = ENDPOINT_NONE;
    in.arithmetic = NULL;
    in.arithmetic_length = 0;
    in.stream = 0;
    assert_int_equal(result_encode(&in, &bytes), STATUS_OK);
    bytes.data[4] = 1;
    assert_int_equal(decode_exact(bytes.data, bytes.length, &used), STATUS_OK);
    bytes.data[7] |= 1; /* which had no endpoints */
    assert_int_equal(decode_exact(bytes.data, bytes.length, &used), STATUS_INVALID);
    bytes.data[7] = 0;
    bytes.data[4] = 4;
    assert_int_equal(decode_exact(bytes.data, bytes.length, &used), STATUS_INVALID);
    assert_non_null(strstr(status_message(), "results of form 4"));
    buffer_destroy(&bytes);
}

/* What is decoded is encoded to the same bytes: a number of 0 has no bit. */
static void a_part_of_nothing_is_refused(void **state)
{
    (void)state;
    struct result in = {.id = "x", .id_length = 1, .stream = 7};
    struct buffer bytes = {0};
    size_t used;
    assert_int_equal(result_encode(&in, &bytes), STATUS_OK);
    assert_int_equal(decode_exact(bytes.data, bytes.length, &used), STATUS_OK);
    assert_int_equal(bytes.data[64], 7);
    bytes.data[64] = 0;
    assert_int_equal(decode_exact(bytes.data, bytes.length, &used), STATUS_INVALID);
    buffer_destroy(&bytes);
}

/* Nor has an empty text. */
static void a_text_of_nothing_is_refused(void **state)
{
    (void)state;
    struct result in = {.id = "x", .id_length = 1, .reasoning = "y", .reasoning_length = 1};
    struct buffer bytes = {0};
    size_t used;
    assert_int_equal(result_encode(&in, &bytes), STATUS_OK);
    assert_int_equal(decode_exact(bytes.data, bytes.length, &used), STATUS_OK);
    assert_true(bytes.data[64] == 1 && bytes.data[68] == 'y');
    bytes.data[64] = 0;
    memmove(bytes.data + 68, bytes.data + 69, bytes.length - 69);
    bytes.data[0] = (char)--bytes.length;
    assert_int_equal(decode_exact(bytes.data, bytes.length, &used), STATUS_INVALID);
    buffer_destroy(&bytes);
}

static void nonsense_is_not_encoded(void **state)
{
    (void)state;
    struct buffer bytes = {0};
    struct result result = full_result();
    result.completion_tokens = -1;
    assert_int_equal(result_encode(&result, &bytes), STATUS_INTERNAL);
    result = full_result();
    result.row = -1;
    assert_int_equal(result_encode(&result, &bytes), STATUS_INTERNAL);
    result = full_result();
    result.text_length = (size_t)UINT32_MAX + 1;
    assert_int_equal(result_encode(&result, &bytes), STATUS_LIMIT);
    assert_int_equal(bytes.length, 0);
    buffer_destroy(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_comes_back),
        cmocka_unit_test(the_bytes_do_not_depend_on_the_host),
        cmocka_unit_test(every_part_has_its_place),
        cmocka_unit_test(cut_and_changed_bytes_are_checked),
        cmocka_unit_test(labels_are_a_form_of_their_own),
        cmocka_unit_test(the_form_before_is_read),
        cmocka_unit_test(a_part_of_nothing_is_refused),
        cmocka_unit_test(a_text_of_nothing_is_refused),
        cmocka_unit_test(nonsense_is_not_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
