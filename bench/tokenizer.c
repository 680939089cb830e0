/* SPDX-License-Identifier: Apache-2.0 */
/* How fast a tokenizer encodes and decodes a text: bench_tokenizer TOKENIZER.json TEXT [ROUNDS].
 *
 * The text is cut at line ends into pieces of about 8 KB, the size of a long prompt. The first
 * round starts with an empty word cache, the others with a warm one. One thread. */
#include <stdio.h>
#include <stdlib.h>

#include "sluice/tokenizer.h"

enum { PIECE_BYTES = 8192, FILE_LIMIT = 1 << 30 };

static size_t piece_end(const struct buffer *text, size_t start)
{
    size_t end = start + PIECE_BYTES;
    while (end < text->length && text->data[end - 1] != '\n') {
        end++;
    }
    return end < text->length ? end : text->length;
}

static status encode_all(const struct tokenizer *tokenizer, struct tokenizer_scratch *scratch,
                         const struct buffer *text, struct token_list *ids)
{
    ids->count = 0;
    for (size_t start = 0; start < text->length;) {
        size_t end = piece_end(text, start);
        TRY(tokenizer_encode(tokenizer, scratch, text->data + start, end - start, false, ids));
        start = end;
    }
    return STATUS_OK;
}

static status decode_all(const struct tokenizer *tokenizer, const struct token_list *ids,
                         struct buffer *out)
{
    struct token_stream stream = {0};
    status s = STATUS_OK;
    for (size_t i = 0; i < ids->count && s == STATUS_OK; i++) {
        s = token_stream_push(&stream, tokenizer, ids->ids[i], out);
    }
    if (s == STATUS_OK) {
        s = token_stream_finish(&stream, tokenizer, out);
    }
    token_stream_destroy(&stream);
    return s;
}

static status measure(const char *tokenizer_path, const char *text_path, int rounds)
{
    struct buffer json = {0}, text = {0}, decoded = {0};
    struct token_list ids = {0};
    struct tokenizer *tokenizer = NULL;
    struct tokenizer_scratch *scratch = NULL;
    status s = file_read(tokenizer_path, FILE_LIMIT, &json);
    if (s == STATUS_OK) {
        s = file_read(text_path, FILE_LIMIT, &text);
    }
    double start = clock_seconds();
    if (s == STATUS_OK) {
        s = tokenizer_create(json.data, json.length, NULL, 0, &tokenizer);
    }
    if (s == STATUS_OK) {
        printf("load            %8.3f s\n", clock_seconds() - start);
        scratch = tokenizer_scratch_create(tokenizer);
        s = scratch != NULL ? STATUS_OK : status_fail(STATUS_NO_MEMORY, "out of memory");
    }
    double megabytes = (double)text.length / 1e6;
    for (int round = 0; round < rounds && s == STATUS_OK; round++) {
        start = clock_seconds();
        s = encode_all(tokenizer, scratch, &text, &ids);
        double seconds = clock_seconds() - start;
        printf("encode round %-2d %8.2f MB/s %10.0f tokens/s\n", round + 1, megabytes / seconds,
               (double)ids.count / seconds);
    }
    if (s == STATUS_OK) {
        start = clock_seconds();
        s = decode_all(tokenizer, &ids, &decoded);
        double seconds = clock_seconds() - start;
        printf("decode stream   %8.2f MB/s %10.0f tokens/s\n", megabytes / seconds,
               (double)ids.count / seconds);
    }
    tokenizer_scratch_destroy(scratch);
    tokenizer_destroy(tokenizer);
    token_list_destroy(&ids);
    buffer_destroy(&json);
    buffer_destroy(&text);
    buffer_destroy(&decoded);
    return s;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: %s TOKENIZER.json TEXT [ROUNDS]\n", argv[0]);
        return 2;
    }
    if (measure(argv[1], argv[2], argc > 3 ? atoi(argv[3]) : 3) != STATUS_OK) {
        fprintf(stderr, "%s\n", status_message());
        return 1;
    }
    return 0;
}
