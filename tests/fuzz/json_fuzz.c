/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as JSON: refused, or a tree that is written as text which parses into the same tree. */
#include "fuzz.h"
#include "sluice/json.h"

static int depth_of(const struct json *value)
{
    int deepest = 0;
    if (value->type == JSON_ARRAY || value->type == JSON_OBJECT) {
        for (size_t i = 0; i < value->length; i++) {
            int depth =
                depth_of(value->type == JSON_ARRAY ? value->items[i] : value->members[i].value);
            deepest = depth > deepest ? depth : deepest;
        }
        deepest++;
    }
    return deepest;
}

static void check_typed_reads(const struct json *value)
{
    int64_t integer;
    double real;
    if (json_int64(value, &integer)) {
        REQUIRE(value->type == JSON_NUMBER && json_double(value, &real));
    }
    if (value->type == JSON_STRING) {
        REQUIRE(utf8_valid(value->text, value->length, NULL) && value->text[value->length] == '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct arena arena = {0};
    struct buffer first = {0}, second = {0};
    struct json *root, *again;
    status s = json_parse((const char *)bytes, length, &arena, &root);
    require_message(s);
    if (s == STATUS_OK) {
        REQUIRE(depth_of(root) <= JSON_MAX_DEPTH);
        check_typed_reads(root);
        REQUIRE(json_write(root, &first) == STATUS_OK);
        REQUIRE(json_parse(first.data, first.length, &arena, &again) == STATUS_OK);
        REQUIRE(json_write(again, &second) == STATUS_OK);
        REQUIRE(first.length == second.length &&
                memcmp(first.data, second.data, first.length) == 0);
    }
    buffer_clear(&first);
    REQUIRE(json_write_string((const char *)bytes, length, &first) == STATUS_OK);
    REQUIRE(json_parse(first.data, first.length, &arena, &again) == STATUS_OK);
    buffer_destroy(&first);
    buffer_destroy(&second);
    arena_destroy(&arena);
    return 0;
}
