/* SPDX-License-Identifier: Apache-2.0 */
/* Grammars in GBNF and in Lark's notation: which texts they stand for, and where they fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "grammar/ebnf_front.h"
#include "grammar/grammar.h"

/* A grammar with a vocabulary of the single bytes. */
struct subject {
    struct grammar_expressions *arena;
    struct grammar *grammar;
    struct grammar_vocabulary *vocabulary;
    struct grammar_masks *masks;
};

static struct subject make(const char *text)
{
    struct subject self;
    grammar_node node;
    char bytes[256];
    const char *tokens[256];
    size_t lengths[256];
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        tokens[i] = &bytes[i];
        lengths[i] = 1;
    }
    assert_int_equal(grammar_expressions_create(NULL, &self.arena), STATUS_OK);
    status s = grammar_ebnf(self.arena, text, strlen(text), &node);
    s = s == STATUS_OK ? grammar_compile(self.arena, node, NULL, &self.grammar) : s;
    if (s != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    assert_int_equal(grammar_vocabulary_create(tokens, lengths, 256, NULL, 0, &self.vocabulary),
                     STATUS_OK);
    assert_int_equal(grammar_masks_create(self.grammar, self.vocabulary, 0, &self.masks),
                     STATUS_OK);
    return self;
}

static void destroy(struct subject *self)
{
    grammar_masks_destroy(self->masks);
    grammar_vocabulary_destroy(self->vocabulary);
    grammar_destroy(self->grammar);
    grammar_expressions_destroy(self->arena);
}

static bool accepts(const struct subject *self, const char *text)
{
    struct grammar_matcher *matcher;
    bool ok;
    assert_int_equal(grammar_matcher_create(self->masks, &matcher), STATUS_OK);
    assert_int_equal(grammar_matcher_accept_bytes(matcher, text, strlen(text), &ok), STATUS_OK);
    ok = ok && grammar_matcher_may_end(matcher);
    grammar_matcher_destroy(matcher);
    return ok;
}

static void check(const char *grammar, const char *const *yes, const char *const *no)
{
    struct subject subject = make(grammar);
    for (; *yes != NULL; yes++) {
        if (!accepts(&subject, *yes)) {
            fail_msg("refused: %s", *yes);
        }
    }
    for (; *no != NULL; no++) {
        if (accepts(&subject, *no)) {
            fail_msg("accepted: %s", *no);
        }
    }
    destroy(&subject);
}

#define TEXTS(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static void gbnf(void **state)
{
    (void)state;
    /* llama.cpp's arithmetic example, its JSON strings, and rules that begin with themselves. */
    check("root  ::= (expr \"=\" ws term \"\\n\")+\n"
          "expr  ::= term ([-+*/] term)*\n"
          "term  ::= ident | num | \"(\" ws expr \")\" ws\n"
          "ident ::= [a-z] [a-z0-9_]* ws # a name\n"
          "num   ::= [0-9]+ ws\n"
          "ws    ::= [ \\t\\n]*\n",
          TEXTS("a=1\n", "a1 +(2*b) = 3\n\n", "((((x))))=y\nz=1\n"),
          TEXTS("", "a=", "(a=1\n", "1a=2\n", "a+=2\n"));
    check("root ::= \"\\\"\" ([^\"\\\\\\x00-\\x1F] | \"\\\\\" ([\"\\\\bfnrt] | \"u\" "
          "[0-9a-fA-F]{4}))* "
          "\"\\\"\"",
          TEXTS("\"\"", "\"a\\n\\u00e9\xC3\xA9\""), TEXTS("\"", "\"\\x\"", "\"\\u00e\"", "\"\n\""));
    check(
        "root ::= e\ne ::= e \"+\" t\n  | t\nt ::= t \"*\" f | f\nf ::= \"(\" e \")\" | [0-9]{1,3}",
        TEXTS("1", "1+2*3", "(1+2)*(3)", "123+4"), TEXTS("", "1+", "1234", "(1", "*1"));
    check("root ::= . opt? \"\\u00e9\" {2,}\nopt ::= \"\" | root", TEXTS("x\xC3\xA9\xC3\xA9"),
          TEXTS("x\xC3\xA9", "\xC3\xA9"));
}

static void lark(void **state)
{
    (void)state;
    check("// JSON, as Lark's tutorial has it\n"
          "?start: value\n"
          "?value: dict | list\n"
          "      | ESCAPED_STRING -> string\n"
          "      | SIGNED_NUMBER  -> number\n"
          "      | \"true\" -> true | \"null\" -> null\n"
          "list : \"[\" [value (\",\" value)*] \"]\"\n"
          "dict : \"{\" [pair (\",\" pair)*] \"}\"\n"
          "pair : ESCAPED_STRING \":\" value\n"
          "%import common.ESCAPED_STRING\n"
          "%import common.SIGNED_NUMBER\n"
          "%import common.WS\n"
          "%ignore WS\n",
          TEXTS("{}", " { \"a\" : [ 1 , -2.5e3, true ] } ", "[[],[null]]", "\"x\\\"y\""),
          TEXTS("{", "[1,]", "tr ue", "{a: 1}", "\"x"));
    check("start: KEY \"=\" (INT | /0x[0-9a-f]+/i) (\";\" NAME)~1..2\n"
          "KEY.2: \"Size\"i | \"a\"..\"c\"\n"
          "_TAIL: /z+/\n"
          "NAME: LETTER (LETTER|\"_\")* _TAIL?\n"
          "%import common (INT, LETTER)\n",
          TEXTS("SIZE=12;ab", "b=0XfF;a;b_zz"), TEXTS("d=1;a", "a=1", "a=1;a;b;c", "a= 1;a"));
}

static void failures_name_the_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
        status code;
    } cases[] = {
        {"root ::= a\n", "GBNF, line 1: \"a\" is not defined", STATUS_INVALID},
        {"root ::= \"a\n", "GBNF, line 2: the text ends within a literal", STATUS_INVALID},
        {"root ::= (\"a\"\nb ::= \"c\"", "GBNF, line 2: a ( without )", STATUS_INVALID},
        {"root ::= \"a\"\nroot ::= \"b\"\n", "GBNF, line 3: \"root\" is defined twice",
         STATUS_INVALID},
        {"a ::= \"a\"", "GBNF, line 1: \"root\" is not defined", STATUS_INVALID},
        {"root ::= \"a\"{3,2}", "GBNF, line 1: a bad number of repetitions", STATUS_INVALID},
        {"root ::= \"a\" }", "GBNF, line 1: a definition, name ::= …, was expected",
         STATUS_INVALID},
        {"start: A\n%import python.A", "Lark, line 2: only `common` can be imported from",
         STATUS_UNSUPPORTED},
        {"start: a{b}\n", "Lark, line 1: templates are not understood", STATUS_UNSUPPORTED},
        {"start: /a(?=b)c*/ /\\bx/\n", "Lark, line 1: regular expression: boundaries of words",
         STATUS_UNSUPPORTED},
        {"start: \"a\n\"", "Lark, line 1: the line ends within a literal", STATUS_INVALID},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct grammar_expressions *arena;
        grammar_node node;
        assert_int_equal(grammar_expressions_create(NULL, &arena), STATUS_OK);
        assert_int_equal(grammar_ebnf(arena, cases[i].text, strlen(cases[i].text), &node),
                         cases[i].code);
        assert_string_equal(status_message(), cases[i].message);
        grammar_expressions_destroy(arena);
    }
    /* What no text can be, however it is said. */
    struct grammar_expressions *arena;
    struct grammar *grammar;
    grammar_node node;
    assert_int_equal(grammar_expressions_create(NULL, &arena), STATUS_OK);
    assert_int_equal(grammar_ebnf(arena, "root ::= \"a\" root", 17, &node), STATUS_OK);
    assert_int_equal(grammar_compile(arena, node, NULL, &grammar), STATUS_INVALID);
    grammar_expressions_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gbnf),
        cmocka_unit_test(lark),
        cmocka_unit_test(failures_name_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
