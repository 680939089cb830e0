/* SPDX-License-Identifier: Apache-2.0 */
/* The job file: sections to a struct job and back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job/fields.h"
#include "job/suggest.h"
#include "job/yaml.h"
#include "sluice/job.h"

enum { JOB_FILE_MAX_BYTES = 256 << 10 };

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for the job");
}

/* ---- Names ---- */

struct generate_row {
    const char *name, *type, *default_text, *meaning;
};

/* Row `index` of the table of generation parameters; false past the end. top_logprobs is left out:
 * it is the OpenAI row form of `logprobs: k`, and a job file says a thing in one way, so that the
 * order of keys cannot matter. */
static bool generate_row_at(size_t index, struct generate_row *row)
{
    for (size_t i = 0;
         generate_field_describe(i, &row->name, &row->type, &row->default_text, &row->meaning);
         i++) {
        if (strcmp(row->name, "top_logprobs") != 0 && index-- == 0) {
            return true;
        }
    }
    return false;
}

static const char *generate_name_at(size_t index)
{
    struct generate_row row;
    return generate_row_at(index, &row) ? row.name : NULL;
}

/* Section `index` in the order of the file; NULL past the end. */
static const char *section_at(size_t index)
{
    static const char *const sections[] = {"task",   "model",  "data",   "generate",
                                           "layout", "engine", "output", "run"};
    return index < COUNT_OF(sections) ? sections[index] : NULL;
}

static bool is_generate(const char *section)
{
    return strcmp(section, "generate") == 0;
}

static status check_section(const char *section)
{
    struct suggestion suggestion = {.unknown = section};
    for (size_t i = 0; section_at(i) != NULL; i++) {
        if (strcmp(section, section_at(i)) == 0) {
            return STATUS_OK;
        }
        suggestion_offer(&suggestion, section_at(i));
    }
    return suggestion.best != NULL
               ? status_fail(STATUS_INVALID, "%.60s: unknown section; did you mean %s?", section,
                             suggestion.best)
               : status_fail(STATUS_INVALID,
                             "%.60s: unknown section; there are task, model, data, generate, "
                             "layout, engine, output and run",
                             section);
}

/* A section that has the key, or NULL. */
static const char *section_of_key(const char *key)
{
    const struct job_field *field;
    for (size_t i = 0; generate_name_at(i) != NULL; i++) {
        if (strcmp(generate_name_at(i), key) == 0) {
            return "generate";
        }
    }
    for (size_t i = 0; (field = job_field_at(i)) != NULL; i++) {
        if (strcmp(field->key, key) == 0) {
            return field->section;
        }
    }
    return NULL;
}

/* A key that is right but stands in the wrong section is told before a look-alike. */
static status unknown_key(const char *section, const char *key)
{
    struct suggestion suggestion = {.unknown = key};
    const char *elsewhere = section_of_key(key);
    const struct job_field *field;
    for (size_t i = 0; (field = job_field_at(i)) != NULL; i++) {
        if (strcmp(field->section, section) == 0) {
            suggestion_offer(&suggestion, field->key);
        }
    }
    for (size_t i = 0; is_generate(section) && generate_name_at(i) != NULL; i++) {
        suggestion_offer(&suggestion, generate_name_at(i));
    }
    if (elsewhere != NULL) {
        return status_fail(STATUS_INVALID, "%s.%.60s: unknown key; did you mean %s.%s?", section,
                           key, elsewhere, key);
    }
    if (suggestion.best != NULL) {
        return status_fail(STATUS_INVALID, "%s.%.60s: unknown key; did you mean %s?", section, key,
                           suggestion.best);
    }
    return status_fail(STATUS_INVALID,
                       "%s.%.60s: unknown key; `sluice help job` lists the keys there are", section,
                       key);
}

/* ---- Setting ---- */

/* All of `generate` anew from the settings, so that a later value replaces an earlier one whole. */
static status apply_generate_settings(struct job *job)
{
    generate_params_defaults(&job->generate);
    for (size_t i = 0; i < job->generate_setting_count; i++) {
        const struct job_setting *setting = &job->generate_settings[i];
        bool known;
        status s =
            generate_params_set(&job->generate, setting->name, setting->value, &job->arena, &known);
        if (s != STATUS_OK) {
            return status_fail(s, "generate.%s", status_message());
        }
    }
    return STATUS_OK;
}

static status set_generate(struct job *job, const char *name, const struct json *value)
{
    size_t names = 0;
    const char *known = NULL;
    for (; generate_name_at(names) != NULL; names++) {
        if (strcmp(generate_name_at(names), name) == 0) {
            known = generate_name_at(names);
        }
    }
    if (known == NULL) {
        return unknown_key("generate", name);
    }
    if (job->generate_settings == NULL) {
        job->generate_settings =
            arena_allocate_array(&job->arena, names, sizeof *job->generate_settings);
        if (job->generate_settings == NULL) {
            return no_memory();
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < job->generate_setting_count; i++) {
        if (strcmp(job->generate_settings[i].name, name) != 0) {
            job->generate_settings[kept++] = job->generate_settings[i];
        }
    }
    if (value->type != JSON_NULL) {
        job->generate_settings[kept++] = (struct job_setting){known, value};
    }
    job->generate_setting_count = kept;
    return apply_generate_settings(job);
}

/* Whether a key of `generate` is a map, by its first `length` bytes. */
static bool is_map(const char *key, size_t length)
{
    struct generate_row row;
    for (size_t i = 0; generate_row_at(i, &row); i++) {
        if (strlen(row.name) == length && memcmp(row.name, key, length) == 0) {
            return row.default_text[0] == '{';
        }
    }
    return false;
}

static const struct json *find_setting(const struct job *job, const char *name)
{
    for (size_t i = 0; i < job->generate_setting_count; i++) {
        if (strcmp(job->generate_settings[i].name, name) == 0) {
            return job->generate_settings[i].value;
        }
    }
    for (size_t i = 0; i < job->model_default_count; i++) {
        if (strcmp(job->model_defaults[i].name, name) == 0) {
            return job->model_defaults[i].value;
        }
    }
    return NULL;
}

/* One entry of a map: `structured.close` replaces that of `structured`, and leaves the others. */
static status set_entry(struct job *job, const char *key, size_t map_length,
                        const struct json *value)
{
    const char *map_name = arena_copy(&job->arena, key, map_length);
    const char *name = arena_copy(&job->arena, key + map_length + 1, strlen(key) - map_length - 1);
    const struct json *before = map_name != NULL ? find_setting(job, map_name) : NULL;
    const size_t count = before != NULL && before->type == JSON_OBJECT ? before->length : 0;
    struct json *map = arena_allocate(&job->arena, sizeof *map);
    struct json_member *members = arena_allocate_array(&job->arena, count + 1, sizeof *members);
    if (map_name == NULL || name == NULL || map == NULL || members == NULL) {
        return no_memory();
    }
    if (before != NULL && before->type != JSON_OBJECT) {
        return status_fail(STATUS_INVALID, "generate.%s: is a text, into which no %s can be set",
                           map_name, name);
    }
    *map = (struct json){.type = JSON_OBJECT, .members = members};
    for (size_t i = 0; i < count; i++) {
        if (strcmp(before->members[i].key, name) != 0) {
            members[map->length++] = before->members[i];
        }
    }
    members[map->length++] = (struct json_member){
        .key = name, .key_length = strlen(name), .value = (struct json *)(uintptr_t)value};
    return set_generate(job, map_name, map);
}

/* A text in braces that lacks its quotes is a map, which hardly a key takes. */
static status check_map(const char *section, const char *key, const struct json *value)
{
    const bool takes_map = is_generate(section) && is_map(key, strcspn(key, "."));
    return value->type != JSON_OBJECT || takes_map
               ? STATUS_OK
               : status_fail(STATUS_INVALID,
                             "expected a value or a list, not a mapping" YAML_MAP_HINT);
}

/* `value` must live in the job's arena. */
static status set_key(struct job *job, const char *section, const char *key,
                      const struct json *value)
{
    TRY(check_map(section, key, value));
    TRY(check_section(section));
    const size_t length = strcspn(key, ".");
    if (is_generate(section) && key[length] == '.' && is_map(key, length)) {
        return set_entry(job, key, length, value);
    }
    if (is_generate(section) && key[0] != '\0') {
        return set_generate(job, key, value);
    }
    const struct job_field *field;
    for (size_t i = 0; (field = job_field_at(i)) != NULL; i++) {
        if (strcmp(field->section, section) == 0 && strcmp(field->key, key) == 0) {
            return job_field_set(field, job, value);
        }
    }
    if (key[0] == '\0') {
        return status_fail(STATUS_INVALID, "%.60s: expected keys below it, not a single value",
                           section);
    }
    return unknown_key(section, key);
}

/* ---- Reading ---- */

/* Compares with all entries before: every one of those is known and unique, which bounds their
 * number. */
static status check_not_repeated(const struct yaml_entry *entries, size_t index)
{
    const struct yaml_entry *entry = &entries[index];
    for (size_t i = 0; i < index; i++) {
        bool same_section = strcmp(entries[i].section, entry->section) == 0;
        bool same_key = entry->key == NULL
                            ? entries[i].key == NULL
                            : entries[i].key != NULL && strcmp(entries[i].key, entry->key) == 0;
        if (same_section && same_key) {
            return status_fail(STATUS_INVALID, "%.60s%s%.60s: stands twice, first in line %d",
                               entry->section, entry->key != NULL ? "." : "",
                               entry->key != NULL ? entry->key : "", entries[i].line);
        }
    }
    return STATUS_OK;
}

static status read_text(struct job *job, const char *text, size_t length)
{
    const struct yaml_entry *entries;
    size_t count;
    TRY(yaml_read_sections(text, length, &job->arena, &entries, &count));
    for (size_t i = 0; i < count; i++) {
        status s = check_not_repeated(entries, i);
        if (s == STATUS_OK) {
            s = entries[i].key == NULL
                    ? check_section(entries[i].section)
                    : set_key(job, entries[i].section, entries[i].key, entries[i].value);
        }
        if (s != STATUS_OK) {
            return status_context(s, "line %d", entries[i].line);
        }
    }
    return STATUS_OK;
}

static status read_encoded(struct job *job, const char *path, const char *text, size_t length)
{
    if (utf8_other_encoding(text, length) != NULL) {
        return status_fail(STATUS_INVALID, "%s: is %s text; save it as UTF-8", path,
                           utf8_other_encoding(text, length));
    }
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3; /* editors on Windows put a byte order mark there */
        length -= 3;
    }
    return status_context(read_text(job, text, length), "%s", path);
}

/* Whether a section is a value itself. */
static bool is_single_value(const char *section, size_t length)
{
    const struct job_field *field;
    for (size_t i = 0; (field = job_field_at(i)) != NULL; i++) {
        if (field->key[0] == '\0' && strlen(field->section) == length &&
            memcmp(field->section, section, length) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_text_key(const char *section, const char *key)
{
    const struct job_field *field;
    for (size_t i = 0; (field = job_field_at(i)) != NULL; i++) {
        if (strcmp(field->section, section) == 0 && strcmp(field->key, key) == 0) {
            return field->type == FIELD_STRING || field->type == FIELD_PATH ||
                   field->type == FIELD_PATHS;
        }
    }
    return false;
}

/* On the command line a text that YAML would read as something else (`{text}: `, `*.jsonl`) needs
 * no quotes of its own. */
static status take_text(struct job *job, const char *text, const struct json **out)
{
    struct json *value = arena_allocate(&job->arena, sizeof *value);
    size_t length = strlen(text);
    if (value == NULL || (value->text = arena_copy(&job->arena, text, length)) == NULL) {
        return no_memory();
    }
    value->type = JSON_STRING;
    value->length = length;
    *out = value;
    return utf8_valid(text, length, NULL) ? STATUS_OK
                                          : status_fail(STATUS_INVALID, "not valid UTF-8");
}

/* `text` has no section, no key or no value. */
static status refuse_form(const char *text, const char *equals)
{
    char key[64] = "";
    if (equals != NULL && strchr(text, '.') == NULL) {
        snprintf(key, sizeof key, "%.*s", (int)(equals - text), text);
    }
    const char *section = section_of_key(key);
    return section != NULL
               ? status_fail(STATUS_INVALID, "expected section.key=value; did you mean %s.%s?",
                             section, text)
               : status_fail(STATUS_INVALID, "expected section.key=value");
}

static status apply_override(struct job *job, const char *text)
{
    const char *equals = strchr(text, '=');
    const char *dot = strchr(text, '.');
    bool is_single = equals != NULL && is_single_value(text, (size_t)(equals - text));
    if (!is_single &&
        (equals == NULL || dot == NULL || dot > equals || dot == text || dot + 1 == equals)) {
        return refuse_form(text, equals);
    }
    const char *end = is_single ? equals : dot, *start = is_single ? equals : dot + 1;
    const char *section = arena_copy(&job->arena, text, (size_t)(end - text));
    const char *key = arena_copy(&job->arena, start, (size_t)(equals - start));
    if (section == NULL || key == NULL) {
        return no_memory();
    }
    const struct json *value;
    status s = yaml_read_value(equals + 1, strlen(equals + 1), &job->arena, &value);
    if (s == STATUS_OK) {
        s = check_map(section, key, value);
    }
    if (s == STATUS_INVALID && is_text_key(section, key)) {
        s = take_text(job, equals + 1, &value);
    }
    return s == STATUS_OK ? set_key(job, section, key, value) : s;
}

status job_initialize(struct job *job)
{
    *job = (struct job){0};
    generate_params_defaults(&job->generate);
    const struct job_field *field;
    for (size_t i = 0; (field = job_field_at(i)) != NULL; i++) {
        TRY(job_field_set_default(field, job));
    }
    return STATUS_OK;
}

static status check_required(const struct job *job, const char *path)
{
    const struct job_field *field;
    for (size_t i = 0; (field = job_field_at(i)) != NULL; i++) {
        if (field->default_text == NULL && !job_field_is_set(field, job)) {
            return status_fail(STATUS_INVALID, "%s: %s.%s is missing: %s", path, field->section,
                               field->key, field->meaning);
        }
    }
    return STATUS_OK;
}

/* What only several keys together can say. */
static status check_together(const struct job *job, const char *path)
{
    if (job->data.prompt_template != NULL) {
        TRY(status_context(prompt_template_check(job->data.prompt_template),
                           "%s: data.prompt_template", path));
    }
    if (job->data.prompt_template != NULL && job->data.prompt_field != NULL) {
        return status_fail(STATUS_INVALID,
                           "%s: data.prompt_template and data.prompt_field: prompts come from one "
                           "of them",
                           path);
    }
    return job->data.system == NULL || job->data.chat != CHAT_NEVER
               ? STATUS_OK
               : status_fail(STATUS_INVALID,
                             "%s: data.system is a message for the chat template, and data.chat is "
                             "never",
                             path);
}

status job_load(const char *path, const char *const *overrides, size_t override_count,
                struct job *job)
{
    struct buffer text = {0};
    *job = (struct job){0};
    status s = file_read(path, JOB_FILE_MAX_BYTES, &text);
    if (s == STATUS_OK) {
        s = job_read(path, text.data, text.length, overrides, override_count, job);
    }
    buffer_destroy(&text);
    return s;
}

status job_read(const char *path, const char *text, size_t length, const char *const *overrides,
                size_t override_count, struct job *job)
{
    TRY(job_initialize(job));
    TRY(read_encoded(job, path, text, length));
    for (size_t i = 0; i < override_count; i++) {
        TRY(status_context(apply_override(job, overrides[i]), "--set %.200s", overrides[i]));
    }
    TRY(check_required(job, path));
    return check_together(job, path);
}

void job_destroy(struct job *job)
{
    arena_destroy(&job->arena);
    *job = (struct job){0};
}

/* ---- Writing ---- */

/* A number in its shortest form: 1.0 and 1 are one value. */
static status write_number(const struct json *value, struct buffer *out)
{
    double number;
    char text[32];
    if (!json_double(value, &number)) {
        return yaml_write_value(value, out);
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number) {
            break;
        }
    }
    return buffer_append_text(out, text);
}

static status write_setting(const struct generate_row *row, const struct json *value,
                            struct buffer *out)
{
    bool is_number = value->type == JSON_NUMBER && strncmp(row->type, "number", 6) == 0;
    return is_number ? write_number(value, out) : yaml_write_value(value, out);
}

static status write_generate(const struct job *job, struct buffer *out)
{
    struct generate_row row;
    for (size_t i = 0; generate_row_at(i, &row); i++) {
        const struct json *value = find_setting(job, row.name);
        TRY(buffer_format(out, "  %s: ", row.name));
        /* As a value that was set would be written: two jobs that are the same read the same. */
        bool is_word = row.default_text[0] >= 'a' && row.default_text[0] <= 'z' &&
                       strcmp(row.default_text, "false") != 0 &&
                       strcmp(row.default_text, "true") != 0 &&
                       strcmp(row.default_text, "null") != 0;
        TRY(value != NULL ? write_setting(&row, value, out)
            : is_word     ? yaml_write_string(row.default_text, strlen(row.default_text), out)
                          : buffer_append_text(out, row.default_text));
        TRY(buffer_append_byte(out, '\n'));
    }
    return STATUS_OK;
}

status job_write(const struct job *job, struct buffer *out)
{
    const char *section;
    for (size_t i = 0; (section = section_at(i)) != NULL; i++) {
        bool is_single = is_single_value(section, strlen(section));
        TRY(buffer_format(out, "%s:%s", section, is_single ? "" : "\n"));
        if (is_generate(section)) {
            TRY(write_generate(job, out));
            continue;
        }
        const struct job_field *field;
        for (size_t j = 0; (field = job_field_at(j)) != NULL; j++) {
            if (strcmp(field->section, section) == 0) {
                TRY(is_single ? buffer_append_byte(out, ' ')
                              : buffer_format(out, "  %s: ", field->key));
                TRY(job_field_write(field, job, out));
                TRY(buffer_append_byte(out, '\n'));
            }
        }
    }
    return STATUS_OK;
}

/* ---- Documentation ---- */

static status describe_generate(struct buffer *out)
{
    struct generate_row row;
    for (size_t i = 0; generate_row_at(i, &row); i++) {
        TRY(buffer_format(out, "| `generate.%s` | %s | `%s` | %s |\n", row.name, row.type,
                          row.default_text, row.meaning));
    }
    return STATUS_OK;
}

status job_describe_keys(struct buffer *out)
{
    TRY(buffer_append_text(out, "| key | value | default | meaning |\n"
                                "| --- | --- | --- | --- |\n"));
    const char *section;
    for (size_t i = 0; (section = section_at(i)) != NULL; i++) {
        if (is_generate(section)) {
            TRY(describe_generate(out));
            continue;
        }
        const struct job_field *field;
        for (size_t j = 0; (field = job_field_at(j)) != NULL; j++) {
            if (strcmp(field->section, section) != 0) {
                continue;
            }
            TRY(buffer_format(out, "| `%s%s%s` | ", section, field->key[0] != '\0' ? "." : "",
                              field->key));
            TRY(job_field_write_type(field, out));
            bool required = field->default_text == NULL;
            TRY(buffer_format(out, " | %s%s%s | %s |\n", required ? "" : "`",
                              required ? "required" : field->default_text, required ? "" : "`",
                              field->meaning));
        }
    }
    return STATUS_OK;
}
