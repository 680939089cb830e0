/* SPDX-License-Identifier: Apache-2.0 */
/* Prompts that end with the last message's own text, by templates that print it as it is, trimmed,
 * twice, changed or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/chat_template.h"

static status render(const char *template_text, const char *messages, struct buffer *out)
{
    struct arena arena = {0};
    struct chat_template *template_;
    struct json *list;
    assert_int_equal(json_parse(messages, strlen(messages), &arena, &list), STATUS_OK);
    assert_int_equal(chat_template_create("t", template_text, strlen(template_text), &template_),
                     STATUS_OK);
    const struct chat_variables variables = {
        .messages = list, .continue_final_message = true, .as_given = true};
    assert_int_equal(buffer_append_text(out, "before"), STATUS_OK);
    status s = chat_template_render(template_, &variables, out);
    chat_template_destroy(template_);
    arena_destroy(&arena);
    return s;
}

#define PLAIN "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>\n{% endfor %}"
#define TRIMMED                                                                                    \
    "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</{{ m.role }}>\n{% endfor %}"
#define PARTS                                                                                      \
    "{% for m in messages %}<{{ m.role }}>{% for p in m.content %}{{ p if p is string else "       \
    "p.text "                                                                                      \
    "or p.refusal }}{% endfor %}</{{ m.role }}>{% endfor %}"
#define USER "{\"role\": \"user\", \"content\": \"hi\"}"

static void prompts_end_with_the_text(void **state)
{
    (void)state;
    static const struct {
        const char *template_text, *messages, *prompt;
    } cases[] = {
        {PLAIN, "[" USER ", {\"role\": \"a\", \"content\": \"so far\"}]",
         "before<user>hi</user>\n<a>so far"},
        {PLAIN, "[" USER ", {\"role\": \"a\", \"content\": \" so far \"}]",
         "before<user>hi</user>\n<a> so far "},
        {TRIMMED, "[" USER ", {\"role\": \"a\", \"content\": \" so far \"}]",
         "before<user>hi</user>\n<a>so far"},
        {PLAIN, "[{\"role\": \"a\", \"content\": \"\"}]", "before<a>"},
        {"{{ messages[-1].content }}|{{ messages[-1].content }}.",
         "[{\"role\": \"a\", \"content\": \"x\"}]", /* the last place counts */
         "beforexCONTINUE_FINAL_MESSAGE_TAG |x"},
        {PARTS,
         "[{\"role\": \"a\", \"content\": [{\"type\": \"text\", \"text\": \"one\"}, {\"type\": "
         "\"text\", \"text\": \"two\"}]}]",
         "before<a>onetwo"},
        {PARTS,
         "[{\"role\": \"a\", \"content\": [{\"type\": \"text\", \"text\": \"one\"}, {\"type\": "
         "\"image\"}]}]",
         "before<a>one"},
        {PARTS, "[{\"role\": \"a\", \"content\": [{\"type\": \"refusal\", \"refusal\": \"no\"}]}]",
         "before<a>no"},
        {PARTS, "[{\"role\": \"a\", \"content\": [\"one\", \"two\"]}]", "before<a>onetwo"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buffer out = {0};
        if (render(cases[i].template_text, cases[i].messages, &out) != STATUS_OK) {
            fail_msg("%zu: %s", i, status_message());
        }
        assert_string_equal(out.data, cases[i].prompt);
        buffer_destroy(&out);
    }
}

static void what_cannot_be_continued(void **state)
{
    (void)state;
    static const char nothing[] =
        "continue_final_message: the last message has no text to continue";
    static const char not_there[] = "t: continue_final_message: the last message's text is not in "
                                    "the prompt as it stands in the row";
    static const struct {
        const char *template_text, *messages, *message;
    } cases[] = {
        {PLAIN, "[]", nothing},
        {PLAIN, "[{\"role\": \"a\"}]", nothing},
        {PLAIN, "[{\"role\": \"a\", \"content\": null}]", nothing},
        {PLAIN, "[{\"role\": \"a\", \"content\": []}]", nothing},
        {PLAIN, "[{\"role\": \"a\", \"content\": [{\"type\": \"image\"}]}]", nothing},
        {"nothing", "[{\"role\": \"a\", \"content\": \"x\"}]", not_there},
        {"", "[{\"role\": \"a\", \"content\": \"x\"}]", not_there},
        {"{{ messages[-1].content | replace('x', 'y') }}",
         "[{\"role\": \"a\", \"content\": \"x\"}]", not_there},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buffer out = {0};
        assert_int_equal(render(cases[i].template_text, cases[i].messages, &out), STATUS_INVALID);
        assert_string_equal(status_message(), cases[i].message);
        assert_string_equal(out.data, "before");
        buffer_destroy(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_end_with_the_text),
        cmocka_unit_test(what_cannot_be_continued),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
