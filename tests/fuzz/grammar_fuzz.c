/* SPDX-License-Identifier: Apache-2.0 */
/* A grammar, a vocabulary and texts made of the input's bytes: matchers against a slow one. */
#include "../unit/grammar_check.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    (void)check_grammar(bytes, length);
    return 0;
}
