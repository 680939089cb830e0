/* SPDX-License-Identifier: Apache-2.0 */
/* Which models and formats can be read, as Markdown: what `sluice help models` and `sluice help
 * formats` print and docs/models.md holds. The rows come from the tables that the loader reads. */
#include "model/family.h"
#include "model/formats/gguf.h"
#include "model/formats/safetensors.h"
#include "model/read/config.h"
#include "model/read/model_tokenizer.h"
#include "sluice/model.h"
#include "sluice/task.h"

static status append_names(struct buffer *out, const char *const names[FAMILY_MAX_NAMES])
{
    for (int i = 0; i < FAMILY_MAX_NAMES && names[i] != NULL; i++) {
        TRY(buffer_format(out, "%s`%s`", i > 0 ? ", " : "", names[i]));
    }
    return STATUS_OK;
}

status model_describe_families(struct buffer *out)
{
    TRY(buffer_append_text(
        out, "| family | `architectures` of config.json | `general.architecture` of GGUF | task | "
             "among them |\n| --- | --- | --- | --- | --- |\n"));
    const struct family *family;
    for (size_t i = 0; (family = family_at(i)) != NULL; i++) {
        TRY(buffer_format(out, "| %s | ", family->name));
        TRY(append_names(out, family->architectures));
        const char *quote = family->gguf != NULL ? "`" : "";
        TRY(buffer_format(
            out, " | %s%s%s | %s | %s |\n", quote, family->gguf != NULL ? family->gguf : "", quote,
            task_facts(task_choose(TASK_GENERATE, family->encoder))->name, family->examples));
    }
    return STATUS_OK;
}

/* ---- Formats ---- */

/* Types that are weights, a row each; whole numbers and the like have a size and nothing else. */
static status append_type(struct buffer *out, const char *container, const char *name,
                          enum tensor_format format)
{
    if (format == FORMAT_OTHER) {
        return STATUS_OK;
    }
    const struct tensor_format_facts *facts = tensor_format_facts(format);
    return buffer_format(out, "| %s | `%s` | %.4g | %s |\n", container, name,
                         8.0 * facts->bytes / facts->elements, dtype_name(facts->dtype));
}

status model_describe_formats(struct buffer *out)
{
    TRY(buffer_append_text(out, "| file | type of a tensor | bits a weight | read as |\n"
                                "| --- | --- | --- | --- |\n"));
    const char *name;
    enum tensor_format format;
    for (size_t i = 0; (name = safetensors_type_at(i, &format)) != NULL; i++) {
        TRY(append_type(out, "safetensors", name, format));
    }
    for (size_t i = 0; (name = gguf_type_at(i, &format)) != NULL; i++) {
        TRY(append_type(out, "GGUF", name, format));
    }
    TRY(buffer_append_text(out, "\n| `quant_method` of config.json | said further | written by "
                                "|\n| --- | --- | --- |\n"));
    const struct quantization *quantization;
    for (size_t i = 0; (quantization = config_quantization_at(i)) != NULL; i++) {
        TRY(buffer_format(out, "| `%s` | ", quantization->method));
        if (quantization->key != NULL) {
            TRY(buffer_format(out, "`%s: %s`", quantization->key, quantization->format));
        }
        TRY(buffer_format(out, " | %s |\n", quantization->writers));
    }
    TRY(buffer_append_text(out, "\n| tokenizer's file, the first that is there | what it is |\n"
                                "| --- | --- |\n"));
    const struct tokenizer_file *file;
    for (size_t i = 0; (file = model_tokenizer_file_at(i)) != NULL; i++) {
        TRY(buffer_format(out, "| `%s` | %s |\n", file->name, file->what));
    }
    return STATUS_OK;
}
