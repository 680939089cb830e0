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

static status read_gated_delta(const struct json *object, struct model_config *out)
{
    TRY(config_read_integer(object, "linear_conv_kernel_dim", 1, MOST_CONVOLUTION_TAPS, 4,
                            &out->convolution_taps));
    TRY(config_read_integer(object, "linear_num_key_heads", 1, CONFIG_MAX_HEADS, 16,
                            &out->delta_key_heads));
    TRY(config_read_integer(object, "linear_num_value_heads", 1, CONFIG_MAX_HEADS, 32,
                            &out->delta_value_heads));
    TRY(config_read_integer(object, "linear_key_head_dim", 1, CONFIG_MAX_HEAD_DIM, 128,
                            &out->delta_key_dim));
    TRY(config_read_integer(object, "linear_value_head_dim", 1, CONFIG_MAX_HEAD_DIM, 128,
                            &out->delta_value_dim));
    if (out->delta_value_heads % out->delta_key_heads != 0) {
        return status_fail(STATUS_INVALID,
                           "linear_num_key_heads: %d does not divide the %d value heads "
                           "(linear_num_value_heads)",
                           out->delta_key_heads, out->delta_value_heads);
    }
    const int64_t keys = 2 * (int64_t)out->delta_key_heads * out->delta_key_dim;
    const int64_t values = (int64_t)out->delta_value_heads * (out->delta_value_dim + 1);
    if (keys + 2 * values > CONFIG_MAX_WIDTH) {
        return status_fail(STATUS_INVALID,
                           "linear_num_value_heads: %d of %d values are more than is plausible",
                           out->delta_value_heads, out->delta_value_dim);
    }
    return STATUS_OK;
}

status mixer_facts_read(const struct json *object, const struct family *family,
                        struct model_config *out)
{
    if (family->gated_attention && out->qkv_bias) {
        return status_fail(STATUS_UNSUPPORTED,
                           "attention_bias: attention with gates is only supported without biases");
    }
    return family->short_convolutions ? read_short_convolutions(object, out)
           : family->gated_delta      ? read_gated_delta(object, out)
                                      : STATUS_OK;
}
