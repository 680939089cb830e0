/* SPDX-License-Identifier: Apache-2.0 */
/* The table of a request's fields as Markdown: `sluice help fields`, docs/openai-batch.md. */
#include <string.h>

#include "data/row/generate_fields.h"
#include "data/row/request_fields.h"

/* "nothing but null, false, 0, "text" or "auto"": what does not ask for anything. */
static status describe_refusal(const struct request_field *field, struct buffer *out)
{
    size_t count = 0;
    while (count < COUNT_OF(field->fine) && field->fine[count] != NULL) {
        count++;
    }
    if (count == 0) {
        return field->asks == NULL ? STATUS_OK : buffer_format(out, "also for `%s`", field->asks);
    }
    TRY(buffer_append_text(out, "but for "));
    for (size_t i = 0; i < count; i++) {
        TRY(buffer_format(out, "%s`%s`", i > 0 ? " and " : "", field->fine[i]));
    }
    return field->asks == NULL ? STATUS_OK : buffer_format(out, "; also for `%s`", field->asks);
}

static status describe_use(const struct request_field *field, struct buffer *out)
{
    switch (field->use) {
    case REQUEST_PARAMETER: {
        const char *key = generate_key(field->name);
        return buffer_format(out, "`generate.%s`", key != NULL ? key : field->name);
    }
    case REQUEST_REFUSED:
        return describe_refusal(field, out);
    default:
        return buffer_append_text(out, field->here);
    }
}

status request_fields_describe(struct buffer *out)
{
    TRY(buffer_append_text(out, "| field | here | how | in | `vllm run-batch` |\n"
                                "| --- | --- | --- | --- | --- |\n"));
    const struct request_field *field;
    for (size_t i = 0; (field = request_field_at(i)) != NULL; i++) {
        TRY(buffer_format(out, "| `%s` | %s | ", field->name, request_use_name(field->use)));
        TRY(describe_use(field, out));
        TRY(buffer_format(out, " | %s | %s |\n", field->body_only ? "bodies" : "rows, bodies",
                          field->in_vllm));
    }
    return STATUS_OK;
}
