/* SPDX-License-Identifier: Apache-2.0 */
/* Formats as regular expressions. Each matches only what the named specification allows; where that
 * is wide (e-mail addresses, URIs), the forms that people use. */
#include "grammar/schema/formats.h"

#include <pthread.h>
#include <string.h>

#include "grammar/nodes.h"
#include "grammar/regex_front.h"

/* RFC 3339. Days are those that their month has, in leap years too; there is no year 0000. */
#define YEAR   "(?:[1-9]\\d{3}|0[1-9]\\d{2}|00[1-9]\\d|000[1-9])"
#define FOURTH "(?:0[48]|[2468][048]|[13579][26])"
#define DATE                                                                                       \
    "(?:" YEAR "-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|"                                  \
    "(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))|"                              \
    "(?:\\d\\d" FOURTH "|" FOURTH "00)-02-29)"
#define TIME                                                                                       \
    "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"

/* ISO 8601, as RFC 3339's appendix A has it. */
#define CLOCK "T(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S)"
#define DURATION                                                                                   \
    "P(?:(?:\\d+Y(?:\\d+M(?:\\d+D)?)?|\\d+M(?:\\d+D)?|\\d+D)(?:" CLOCK ")?|" CLOCK "|\\d+W)"

#define LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define HOST  LABEL "(?:\\." LABEL "){0,15}"
#define ATOM  "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
#define EMAIL ATOM "(?:\\." ATOM ")*@" LABEL "(?:\\." LABEL "){1,15}"

#define BYTE "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define IPV4 "(?:" BYTE "\\.){3}" BYTE

/* RFC 4291, section 2.2, without zones: eight groups, or fewer around one "::". */
#define GROUP "[0-9A-Fa-f]{1,4}"
#define LAST  "(?:" GROUP ":" GROUP "|" IPV4 ")"
#define IPV6                                                                                       \
    "(?:(?:" GROUP ":){6}" LAST "|::(?:" GROUP ":){5}" LAST "|(?:" GROUP ")?::(?:" GROUP           \
    ":){4}" LAST "|(?:(?:" GROUP ":){0,1}" GROUP ")?::(?:" GROUP ":){3}" LAST "|(?:(?:" GROUP      \
    ":){0,2}" GROUP ")?::(?:" GROUP ":){2}" LAST "|(?:(?:" GROUP ":){0,3}" GROUP ")?::" GROUP      \
    ":" LAST "|(?:(?:" GROUP ":){0,4}" GROUP ")?::" LAST "|(?:(?:" GROUP ":){0,5}" GROUP           \
    ")?::" GROUP "|(?:(?:" GROUP ":){0,6}" GROUP ")?::)"

/* RFC 3986: with an authority, or of a path alone (urn:, mailto:). */
#define HEX   "%[0-9A-Fa-f]{2}"
#define PATH  "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|" HEX ")"
#define QUERY "(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|" HEX ")*"
#define REST  "(?:\\?" QUERY ")?(?:#" QUERY ")?"
#define USER  "(?:[A-Za-z0-9._~!$&'()*+,;=:-]|" HEX ")*@"
#define URI                                                                                        \
    "[A-Za-z][A-Za-z0-9+.-]*:(?://(?:" USER ")?(?:" HOST "|\\[" IPV6 "\\])(?::\\d{0,5})?(?:/" PATH \
    "*)*|/?" PATH "+(?:/" PATH "*)*)" REST

#define HEXES(count) "[0-9A-Fa-f]{" #count "}"

static const struct text_format table[] = {
    {"date", DATE, "RFC 3339; days that the month has"},
    {"time", TIME, "RFC 3339, with an offset, without leap seconds"},
    {"date-time", DATE "T" TIME, "RFC 3339, with an offset, without leap seconds"},
    {"duration", DURATION, "ISO 8601, as in RFC 3339"},
    {"uuid", HEXES(8) "-" HEXES(4) "-" HEXES(4) "-" HEXES(4) "-" HEXES(12), "RFC 4122"},
    {"email", EMAIL, "RFC 5321's dotted form, with a domain of at least two labels"},
    {"hostname", HOST, "RFC 1123"},
    {"ipv4", IPV4, ""},
    {"ipv6", IPV6, "RFC 4291, without zones"},
    {"uri", URI, "RFC 3986: absolute"},
    {"json-pointer", "(?:/(?:[^/~]|~[01])*)*", "RFC 6901"},
    {"int32", NULL, "of numbers: the range"},
    {"int64", NULL, "of numbers: the range"},
    {"float", NULL, "ignored"},
    {"double", NULL, "ignored"},
    {"password", NULL, "ignored"},
};

const struct text_format *text_format_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        if (strcmp(table[i].name, name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

const struct text_format *text_format_at(size_t index)
{
    return index < COUNT_OF(table) ? &table[index] : NULL;
}

/* ---- Automata that are kept ---- */

static struct kept_format {
    struct automaton *automaton;
    uint64_t work; /* that it took */
} kept[COUNT_OF(table)];
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

/* In an arena of its own, so that what it takes does not depend on who asks. */
static status make_kept(const struct text_format *format, struct kept_format *out)
{
    const struct grammar_regex_options options = {.dialect = GRAMMAR_REGEX_ECMA};
    struct grammar_expressions *expressions;
    grammar_node node;
    TRY(grammar_expressions_create(NULL, &expressions));
    const uint64_t before = expressions->work_left;
    status s = grammar_regex(expressions, format->pattern, strlen(format->pattern), options, &node);
    if (s == STATUS_OK) {
        s = grammar_json_string_of(expressions, node, &node);
    }
    if (s == STATUS_OK) {
        s = grammar_node_automaton(expressions, node, &out->automaton);
    }
    out->work = before - expressions->work_left;
    grammar_expressions_destroy(expressions);
    return s;
}

status text_format_strings(const struct text_format *format,
                           struct grammar_expressions *expressions, grammar_node *out)
{
    struct kept_format *own = &kept[format - table];
    struct automaton *copy = NULL;
    pthread_mutex_lock(&kept_lock);
    status s = own->automaton != NULL ? STATUS_OK : make_kept(format, own);
    if (s == STATUS_OK) {
        s = grammar_work(expressions, own->work);
    }
    if (s == STATUS_OK) {
        s = automaton_copy(own->automaton, &copy);
    }
    pthread_mutex_unlock(&kept_lock);
    return s == STATUS_OK ? grammar_automaton_node(expressions, copy, out) : s;
}
