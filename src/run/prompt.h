/* From a parsed row to the token ids that the model is given. */
#ifndef SLUICE_RUN_PROMPT_H
#define SLUICE_RUN_PROMPT_H

#include "sluice/data.h"
#include "sluice/model.h"

/* Zero-initialise, then prompt_encoder_start. One thread. */
struct prompt_encoder {
    const struct model *model; /* borrowed */
    enum chat_mode chat;
    int64_t now;                       /* for strftime_now in templates, Unix seconds */
    struct tokenizer_scratch *scratch; /* NULL where the model has no tokenizer */
    struct buffer text;                /* of the latest prompt as the tokenizer got it; empty for
                                          PROMPT_TOKENS */
    struct token_list tokens;          /* of the latest prompt */
};
status prompt_encoder_start(struct prompt_encoder *encoder, const struct model *model,
                            enum chat_mode chat, int64_t now) MUST_CHECK;
void prompt_encoder_end(struct prompt_encoder *encoder);

/* Renders what goes through the chat template and tokenizes: encoder->text and encoder->tokens.
 * STATUS_INVALID speaks of the row. */
status prompt_encode(struct prompt_encoder *encoder, const struct row *row) MUST_CHECK;

#endif
