/* SPDX-License-Identifier: Apache-2.0 */
/* Which models and formats can be read, as Markdown: what `sluice help models` and `sluice help
 * formats` print and docs/models.md holds. The rows come from the tables that the loader reads. */
#include "model/family.h"
#include "model/formats/gguf.h"
#include "model/read/config.h"
#include "model/text/model_tokenizer.h"
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
            task_facts(task_choose(TASK_GENERATE, family->encoder ? ABLE_VECTORS : ABLE_LOGITS))
                ->name,
            family->examples));
    }
    return STATUS_OK;
}

/* ---- Formats ---- */

static status append_scales(struct buffer *out, const struct weight_format_facts *facts)
{
    switch (facts->scales) {
    case SCALES_NONE:
        return buffer_append_text(out, " |  | ");
    case SCALES_INSIDE:
        return buffer_format(out, " | of %d weights%s | ", facts->group,
                             facts->symmetric ? "" : ", with minima");
    case SCALES_BESIDE:
    case SCALES_BESIDE_OR_ONE:
        break;
    }
    return buffer_format(out, " | in a tensor beside it%s | ",
                         facts->symmetric ? "" : ", with zero points");
}

/* Who multiplies with it as it is. */
static status append_computed(struct buffer *out, const struct weight_format_facts *facts)
{
    enum { FIRST_NAMED = 10 }; /* capabilities below it stand for any */
    TRY(buffer_append_text(out, facts->on_cpu ? "CPU" : ""));
    if (facts->gpu_from == 0) {
        return STATUS_OK;
    }
    TRY(buffer_append_text(out, facts->on_cpu ? ", GPU" : "GPU"));
    return facts->gpu_from < FIRST_NAMED
               ? STATUS_OK
               : buffer_format(out, " from %d.%d", facts->gpu_from / 10, facts->gpu_from % 10);
}

/* Types that are weights, a row each; whole numbers and the like have a size and nothing else. */
static status append_type(struct buffer *out, const char *container, const char *name,
                          enum weight_format format)
{
    if (format == WEIGHT_NONE) {
        return STATUS_OK;
    }
    const struct weight_format_facts *facts = weight_format_facts(format);
    TRY(buffer_format(out, "| %s | `%s` | %.4g | %s", container, name, weight_format_bits(format),
                      dtype_name(weight_format_expanded(format))));
    TRY(append_scales(out, facts));
    TRY(append_computed(out, facts));
    return buffer_append_text(out, " |\n");
}

status model_describe_formats(struct buffer *out)
{
    TRY(buffer_append_text(out, "| file | type of a tensor | bits a weight | read as | scales | "
                                "multiplied as it is by |\n"
                                "| --- | --- | --- | --- | --- | --- |\n"));
    for (int i = 0; i < WEIGHT_NONE; i++) {
        const struct weight_format_facts *facts = weight_format_facts((enum weight_format)i);
        const char *type = facts->is_packed ? facts->name : facts->safetensors;
        if (type != NULL) {
            TRY(append_type(out, "safetensors", type, (enum weight_format)i));
        }
    }
    const char *name;
    enum weight_format format;
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
