/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a template, rendered with fixed conversations: parts, content that is null, tool
 * calls in all their forms, as given and in the form that the template takes, to the end and
 * continued. */
#include "fuzz.h"
#include "sluice/chat_template.h"

static const char given[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"Be terse.\"},"
    "{\"role\":\"user\",\"content\":\"Gr\\u00fc\\u00dfe \\ud83d\\ude00 <b>\"},"
    "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"one\"},\"two\","
    "{\"type\":\"refusal\",\"refusal\":\"no\"}]},"
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"function\":{\"name\":\"f\","
    "\"arguments\":{\"x\":1,\"y\":[1.0,null,true]}}},"
    "{\"id\":\"1\",\"function\":{\"name\":\"g\",\"arguments\":\" {\\\"a\\\": [1, 2]}\"}},"
    "{\"name\":\"h\",\"arguments\":\"\"},{\"function\":{\"name\":\"i\",\"arguments\":\"[\"}}]},"
    "{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\",\"arguments\":null},"
    "\"tool_calls\":[]},{\"role\":\"tool\"},"
    "{\"role\":\"assistant\",\"content\":\" The answer \"}],"
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}],"
    "\"extra\":{\"n\":[3,1,2],\"s\":\"abc def\",\"d\":{\"b\":2,\"a\":1},\"i\":7,\"f\":2.5,"
    "\"big\":123456789012345678901234567890}}";

static void render(const struct chat_template *template_, const struct chat_variables *variables)
{
    struct buffer out = {0};
    status s = chat_template_render(template_, variables, &out);
    require_message(s);
    REQUIRE(s == STATUS_OK ? utf8_valid(out.data == NULL ? "" : out.data, out.length, NULL)
                           : out.length == 0);
    buffer_destroy(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena arena;
    static struct json *variables;
    if (variables == NULL) {
        REQUIRE(json_parse(given, sizeof given - 1, &arena, &variables) == STATUS_OK);
    }
    struct chat_template *template_;
    if (chat_template_create("fuzz", (const char *)data, size, &template_) != STATUS_OK) {
        return 0;
    }
    struct chat_variables values = {.messages = json_get(variables, "messages"),
                                    .tools = json_get(variables, "tools"),
                                    .extra = json_get(variables, "extra"),
                                    .bos_token = "<s>",
                                    .reasoning_effort = "low",
                                    .add_generation_prompt = true,
                                    .now = 1769862896};
    render(template_, &values);
    values.as_given = true;
    render(template_, &values);
    values.as_given = false;
    values.add_generation_prompt = false;
    values.continue_final_message = true;
    render(template_, &values);
    chat_template_destroy(template_);
    return 0;
}
