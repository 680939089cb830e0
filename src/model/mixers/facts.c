/* SPDX-License-Identifier: Apache-2.0 */
/* Facts of mixers that are no attention over keys and values. */
#include "model/read/config.h"

enum { MOST_CONVOLUTION_TAPS = 8 };

/* The MLP's width as LFM2's own code derives it from what is written. */
static status adjust_width(const struct json *object, struct model_config *out)
{
    bool is_adjusted;
    TRY(config_read_bool(object, "block_auto_adjust_ff_dim", true, &is_adjusted));
    if (!is_adjusted) {
        return STATUS_OK;
    }
    double factor;
    int multiple;
    TRY(config_read_positive(object, "block_ffn_dim_multiplier", 1e3, 1, &factor));
    TRY(config_read_integer(object, "block_multiple_of", 1, CONFIG_MAX_WIDTH, 256, &multiple));
    const double wide = factor * (double)(2 * (int64_t)out->intermediate / 3);
    const int64_t width = ((int64_t)wide + multiple - 1) / multiple * multiple;
    if (width < 1 || width > CONFIG_MAX_WIDTH) {
        return status_fail(STATUS_INVALID,
                           "intermediate_size: adjusted to %lld, which is not "
                           "plausible",
                           (long long)width);
    }
    out->intermediate = (int)width;
    return STATUS_OK;
}

static status read_short_convolutions(const struct json *object, struct model_config *out)
{
    TRY(config_read_integer(object, "conv_L_cache", 1, MOST_CONVOLUTION_TAPS, 3,
                            &out->convolution_taps));
    TRY(config_read_bool(object, "conv_bias", false, &out->convolution_bias));
    return adjust_width(object, out);
}

status mixer_facts_read(const struct json *object, const struct family *family,
                        struct model_config *out)
{
    return family->short_convolutions ? read_short_convolutions(object, out) : STATUS_OK;
}
