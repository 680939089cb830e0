/* SPDX-License-Identifier: Apache-2.0 */
/* What a tokenizer's decoders mean for incremental decoding, found once when it is created. */
#include "text/tokenizer/internal.h"

/* Which decoders look further than one token decides what is held back:
 *   - behind a ByteLevel: a character that has only begun;
 *   - before a ByteFallback: a run of byte tokens, since one bad byte spoils all of it;
 *   - anything that changes text across tokens (a Replace of more than one character or a Strip at
 *     the end behind Fuse, a BPEDecoder, which looks for the last token): everything to the end.
 * The first token is often special (its space goes away), so that the window begins with tokens
 * whose text is out already, enough of them to have a text. */
void stream_plan_create(struct tokenizer *tokenizer)
{
    struct stream_plan *plan = &tokenizer->stream;
    *plan = (struct stream_plan){.byte_fallback = SIZE_MAX};
    bool fused = false;
    for (size_t i = 0; i < tokenizer->decoder_count; i++) {
        const struct decoder *decoder = &tokenizer->decoders[i];
        size_t character = 0;
        switch (decoder->kind) {
        case DECODER_BYTE_LEVEL:
            plan->whole = plan->whole || i > 0;
            plan->byte_level = true;
            fused = true;
            break;
        case DECODER_BYTE_FALLBACK:
            plan->whole = plan->whole || fused || plan->byte_fallback != SIZE_MAX;
            plan->byte_fallback = i;
            break;
        case DECODER_FUSE:
            fused = true;
            break;
        case DECODER_STRIP:
            plan->whole = plan->whole || (fused && decoder->stop > 0);
            break;
        case DECODER_REPLACE:
            if (decoder->pattern.regex == NULL) {
                unicode_next(decoder->pattern.literal, &character);
            }
            plan->whole = plan->whole || (fused && character != decoder->pattern.length) ||
                          (fused && decoder->pattern.regex != NULL);
            break;
        case DECODER_METASPACE:
            plan->whole = plan->whole || (fused && !decoder->keep_first_space);
            break;
        case DECODER_WORDPIECE:
            plan->whole = plan->whole || (fused && decoder->cleanup);
            break;
        case DECODER_BPE:
            plan->whole = true;
            break;
        }
    }
}
