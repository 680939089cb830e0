/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: any text as a template, rendered with fixed messages.
 *
 *     clang -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -Iinclude -Isrc
 * tests/fuzz/template_fuzz.c \ src/text/template*.c src/base/{memory,status,utf8,hash,json}.c
 * -lutf8proc -lyajl -lxxhash -lcrypto -lm
 */
#include <stdlib.h>
#include <string.h>

#include "sluice/chat_template.h"

static const char given[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"Be terse.\"},"
    "{\"role\":\"user\",\"content\":\"Gr\\u00fc\\u00dfe \\ud83d\\ude00 <b>\"},"
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"function\":{\"name\":\"f\","
    "\"arguments\":{\"x\":1,\"y\":[1.0,null,true]}}}]}],"
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}],"
    "\"extra\":{\"n\":[3,1,2],\"s\":\"abc def\",\"d\":{\"b\":2,\"a\":1},\"i\":7,\"f\":2.5,"
    "\"big\":123456789012345678901234567890}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena arena;
    static struct json *variables;
    if (variables == NULL && json_parse(given, sizeof given - 1, &arena, &variables) != STATUS_OK) {
        abort();
    }
    struct chat_template *template_;
    if (chat_template_create("fuzz", (const char *)data, size, &template_) != STATUS_OK) {
        return 0;
    }
    struct chat_variables values = {.messages = json_get(variables, "messages"),
                                    .tools = json_get(variables, "tools"),
                                    .extra = json_get(variables, "extra"),
                                    .bos_token = "<s>",
                                    .add_generation_prompt = true,
                                    .now = 1769862896};
    struct buffer out = {0};
    if (chat_template_render(template_, &values, &out) == STATUS_OK &&
        !utf8_valid(out.data == NULL ? "" : out.data, out.length, NULL)) {
        abort();
    }
    buffer_destroy(&out);
    chat_template_destroy(template_);
    return 0;
}
