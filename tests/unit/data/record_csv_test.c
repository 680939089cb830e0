/* SPDX-License-Identifier: Apache-2.0 */
/* CSV and TSV: what rows come to, what is said of broken ones, and that none swallows the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "scratch_folder.h"
#include "sluice/data.h"
#include "sluice/inputs.h"

/* Reads everything: "line:bytes|" for each record, "line!why|" for a bad one. */
static status read_all(const struct record_reader_options *options, struct buffer *all)
{
    struct record_reader *reader;
    struct record record = {0};
    bool more = true;
    assert_int_equal(buffer_append(all, "", 0), STATUS_OK);
    status s = record_reader_open(options, &reader);
    while (s == STATUS_OK && more) {
        s = record_reader_next(reader, &record, &more);
        if (s == STATUS_OK && more) {
            assert_int_equal(record.unit, UNIT_LINE);
            assert_int_equal(buffer_format(all, "%lld%c%s|", (long long)record.position,
                                           record.kind == RECORD_JSON ? ':' : '!',
                                           record.bytes.data),
                             STATUS_OK);
        }
    }
    record_reader_close(reader);
    buffer_destroy(&record.bytes);
    return s;
}

static void assert_rows(void **state, const char *name, const char *text, size_t length,
                        const char *expected)
{
    struct record_reader_options options = {.path = scratch_write(state, name, text, length),
                                            .limit = -1};
    struct buffer all = {0};
    if (read_all(&options, &all) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    assert_string_equal(all.data, expected);
    buffer_destroy(&all);
}

static void assert_refused(void **state, const char *name, const char *text, const char *message)
{
    struct record_reader_options options = {.path = scratch_write(state, name, text, strlen(text)),
                                            .limit = -1};
    struct buffer all = {0};
    assert_int_not_equal(read_all(&options, &all), STATUS_OK);
    if (strstr(status_message(), message) == NULL || strstr(status_message(), name) == NULL) {
        fail_msg("%s", status_message());
    }
    buffer_destroy(&all);
}

#define ROWS(name, text, expected) assert_rows(state, name, text, sizeof(text) - 1, expected)

static void rows_of_texts(void **state)
{
    ROWS("a.csv", "prompt,note\nx,y\n", "2:{\"prompt\":\"x\",\"note\":\"y\"}|");
    /* A byte order mark, carriage returns, blank lines, quotes, newlines inside, no last newline.
     */
    ROWS("a.csv",
         "\xEF\xBB\xBF\"prompt\",a\r\n\r\n\"say \"\"hi\"\"\r\nthere\",1,\r\n\n\"\",\n,5\" pipe",
         "3!3 fields where the header has 2, up to line 4|"
         "6:{\"prompt\":\"\",\"a\":\"\"}|7:{\"prompt\":\"\",\"a\":\"5\\\" pipe\"}|");
    ROWS("a.csv", "prompt\n\"say \"\"hi\"\"\r\nthere\"\n\"\"\n",
         "2:{\"prompt\":\"say \\\"hi\\\"\\r\\nthere\"}|4:{\"prompt\":\"\"}|");
    ROWS("a.tsv", "prompt\tn\na,b\t2\n", "2:{\"prompt\":\"a,b\",\"n\":2}|");
    ROWS("a.TAB", "prompt\ta\nx\ty", "2:{\"prompt\":\"x\",\"a\":\"y\"}|");
}

/* Parameters are numbers where they read as some; lists and objects are that where a text has no
 * use. */
static void values_of_columns(void **state)
{
    ROWS("a.csv",
         "prompt,temperature,stop,label,ignore_eos\n1,0.50,END,2,true\n1,,\"[\"\"a\"\"]\",,x\n",
         "2:{\"prompt\":\"1\",\"temperature\":0.50,\"stop\":\"END\",\"label\":\"2\","
         "\"ignore_eos\":true}|"
         "3:{\"prompt\":\"1\",\"temperature\":null,\"stop\":[\"a\"],\"label\":\"\","
         "\"ignore_eos\":\"x\"}|");
    /* What reads as a number is words in a column of words; a boolean as other programs write it;
     * what is not given, and what has no meaning and is named so. */
    ROWS("a.csv", "prompt,stop,ignore_eos,top_p\nx,7,TRUE,NaN\ny,true,False,nan\n",
         "2:{\"prompt\":\"x\",\"stop\":\"7\",\"ignore_eos\":true,\"top_p\":NaN}|"
         "3:{\"prompt\":\"y\",\"stop\":\"true\",\"ignore_eos\":false,\"top_p\":\"nan\"}|");
    /* Fields that are refused or go to a template, too: 0 and false ask for nothing. */
    ROWS("a.csv",
         "prompt,min_tokens,stream,logit_bias,reasoning_effort,tools,user\n"
         "x,0,false,{},,,\ny,,,,7,[],7\n",
         "2:{\"prompt\":\"x\",\"min_tokens\":0,\"stream\":false,\"logit_bias\":{},"
         "\"reasoning_effort\":null,\"tools\":null,\"user\":\"\"}|"
         "3:{\"prompt\":\"y\",\"min_tokens\":null,\"stream\":null,\"logit_bias\":null,"
         "\"reasoning_effort\":\"7\",\"tools\":[],\"user\":\"7\"}|");
    ROWS("a.csv", "messages\n\"[{\"\"role\"\": \"\"user\"\"}]\"\n[no\n",
         "2:{\"messages\":[{\"role\":\"user\"}]}|3:{\"messages\":\"[no\"}|");
}

static void columns_that_are_data(void **state)
{
    static const char text[] = "prompt,temperature\nx,0.5\n";
    struct record_reader_options options = {.path =
                                                scratch_write(state, "a.csv", text, strlen(text)),
                                            .limit = -1,
                                            .plain_columns = true};
    struct buffer all = {0};
    assert_int_equal(read_all(&options, &all), STATUS_OK);
    assert_string_equal(all.data, "2:{\"prompt\":\"x\",\"temperature\":\"0.5\"}|");
    buffer_destroy(&all);
}

static void columns_of_the_prompt(void **state)
{
    static const char text[] = "documents,seed,stop\n,7,\n[1],8,x\n";
    struct record_reader_options options = {.path =
                                                scratch_write(state, "a.csv", text, strlen(text)),
                                            .limit = -1,
                                            .prompt_template = "{documents} {seed}"};
    struct buffer all = {0};
    assert_int_equal(read_all(&options, &all), STATUS_OK);
    assert_string_equal(all.data, "2:{\"documents\":\"\",\"seed\":7,\"stop\":null}|"
                                  "3:{\"documents\":\"[1]\",\"seed\":8,\"stop\":\"x\"}|");
    buffer_destroy(&all);
}

static void broken_rows_are_rows_of_their_own(void **state)
{
    ROWS("a.csv", "prompt,b\nx\nx,y,z\nx,y\n",
         "2!1 field where the header has 2|3!3 fields where the header has 2|"
         "4:{\"prompt\":\"x\",\"b\":\"y\"}|");
    ROWS("a.csv", "prompt,b\n\xFFx,1\nx\0y,2\nx,3\n",
         "2!column prompt: byte 0: not valid UTF-8|3!column prompt: holds a NUL character|"
         "4:{\"prompt\":\"x\",\"b\":\"3\"}|");
    /* A stray quote costs its own line: whether another one follows, or none. */
    ROWS("a.csv", "prompt,b\n\"x,1\nx,2\n\"q\",3\n\"x,4\nx,5\n",
         "2!the quote opened in line 2 is closed in the middle of a field|"
         "3:{\"prompt\":\"x\",\"b\":\"2\"}|4:{\"prompt\":\"q\",\"b\":\"3\"}|"
         "5!the quote opened in line 5 is not closed|6:{\"prompt\":\"x\",\"b\":\"5\"}|");
    ROWS("a.csv", "prompt,b\n\"x\ny\",\"1\nx,2\n",
         "2!the quote opened in line 3 is not closed|4:{\"prompt\":\"x\",\"b\":\"2\"}|");
    ROWS("a.csv", "prompt,b\n\"x\"y,1\nx,2",
         "2!the quote opened in line 2 is closed in the middle of a field|"
         "3:{\"prompt\":\"x\",\"b\":\"2\"}|");
}

/* More than 64 MiB after a quote, or in a line: that row alone is lost. */
static void a_record_has_64_mib_at_most(void **state)
{
    size_t size = ((size_t)64 << 20) + 1000;
    struct buffer text = {0};
    assert_int_equal(buffer_append_text(&text, "prompt,b\n\"x,1\nx,2\n"), STATUS_OK);
    assert_int_equal(buffer_reserve(&text, size + 100), STATUS_OK);
    memset(text.data + text.length, 'y', size);
    text.length += size;
    assert_int_equal(buffer_append_text(&text, "\nx,4\n"), STATUS_OK);
    assert_rows(state, "long.csv", text.data, text.length,
                "2!the quote opened in line 2 is not closed within 64 MiB|"
                "3:{\"prompt\":\"x\",\"b\":\"2\"}|4!a line of more than 64 MiB|"
                "5:{\"prompt\":\"x\",\"b\":\"4\"}|");
    remove(scratch_path(state, "long.csv"));
    buffer_destroy(&text);
}

/* Records at every place of the window that is read into. */
static void records_across_blocks(void **state)
{
    enum { ROWS_MOST = 30000 };
    struct buffer text = {0};
    assert_int_equal(buffer_append_text(&text, "prompt,b\n"), STATUS_OK);
    for (int i = 0; i < ROWS_MOST; i++) {
        assert_int_equal(buffer_format(&text, i % 7 == 3 ? "\"%d\n\"\"%d\",z\n" : "%d,%d\n", i, i),
                         STATUS_OK);
    }
    struct record_reader_options options = {
        .path = scratch_write(state, "many.csv", text.data, text.length), .limit = -1};
    buffer_destroy(&text);
    struct record_reader *reader;
    struct record record = {0};
    bool more = true;
    assert_int_equal(record_reader_open(&options, &reader), STATUS_OK);
    for (int i = 0; i < ROWS_MOST; i++) {
        char expected[100];
        snprintf(expected, sizeof expected,
                 i % 7 == 3 ? "{\"prompt\":\"%d\\n\\\"%d\",\"b\":\"z\"}"
                            : "{\"prompt\":\"%d\",\"b\":\"%d\"}",
                 i, i);
        assert_int_equal(record_reader_next(reader, &record, &more), STATUS_OK);
        assert_string_equal(record.bytes.data, expected);
    }
    record_reader_close(reader);
    buffer_destroy(&record.bytes);
}

static void headers_that_are_refused(void **state)
{
    assert_refused(state, "a.csv", "", "line 1: expected a line with the columns' names");
    assert_refused(state, "a.csv", "\n", "line 1: expected a line with the columns' names");
    assert_refused(state, "a.csv", ",prompt\n1,x\n", "line 1: column 1 has no name");
    assert_refused(state, "a.csv", "prompt,b,b\n", "line 1: two columns are called b");
    assert_refused(state, "a.csv", "prompt,\xFF\n", "line 1: the name of column 2 is not UTF-8");
    assert_refused(state, "a.csv", "prompt,\"b\n", "line 1: the quote opened in line 1");
    assert_refused(state, "a.csv", "prompt;b\nx;y\n", "separated by semicolons");
    assert_refused(state, "a.csv", "prompt\tb\nx\ty\n", "separated by tabs; write commas, or call");
    assert_refused(state, "a.csv", "prompt,b\rx,y\r", "carriage return alone");
    assert_refused(state, "a.csv", "{\"prompt\": \"x\"}\n", "holds JSON lines; call it .jsonl");
    assert_refused(state, "a.csv", "{\"prompt\": \"x\", \"b\": \"y\"}\n", "holds JSON lines");
    assert_refused(state, "a.tsv", "prompt,b\nx,y\n", "separated by commas; call it .csv");
    assert_refused(state, "a.csv", "question,b\nx,y\n", "no column prompt");
    assert_refused(state, "a.csv", "prompt,b\n", "holds no rows");
}

static void names_of_the_job_must_be_columns(void **state)
{
    static const char text[] = "q,lang\nhouse,de\n";
    const char *path = scratch_write(state, "a.csv", text, strlen(text));
    const struct record_reader_options good[] = {
        {.path = path, .limit = -1, .prompt_field = "q", .id_field = "lang"},
        {.path = path, .limit = -1, .prompt_template = "{{{q}}} in {lang}"}};
    const struct {
        struct record_reader_options options;
        const char *message;
    } bad[] = {
        {{.path = path, .prompt_field = "x"}, "no column x (data.prompt_field); there are q, lang"},
        {{.path = path, .prompt_field = "q", .id_field = "y"}, "no column y (data.id_field)"},
        {{.path = path, .prompt_field = "q", .completion_field = "z"}, "(data.completion_field)"},
        {{.path = path, .prompt_template = "{q} {w}"}, "no column w (data.prompt_template)"}};
    int64_t rows;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_int_equal(record_reader_try(&good[i], &rows), STATUS_OK);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(record_reader_try(&bad[i].options, &rows), STATUS_INVALID);
        assert_non_null(strstr(status_message(), bad[i].message));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_texts),
        cmocka_unit_test(values_of_columns),
        cmocka_unit_test(columns_that_are_data),
        cmocka_unit_test(columns_of_the_prompt),
        cmocka_unit_test(broken_rows_are_rows_of_their_own),
        cmocka_unit_test(a_record_has_64_mib_at_most),
        cmocka_unit_test(records_across_blocks),
        cmocka_unit_test(headers_that_are_refused),
        cmocka_unit_test(names_of_the_job_must_be_columns),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
