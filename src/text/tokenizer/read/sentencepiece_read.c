/* SPDX-License-Identifier: Apache-2.0 */
/* SentencePiece's model files: protocol buffers' wire format, as far as sentencepiece_model.proto
 * needs it. A message is a row of fields, each a tag (number and wire type) and a value; fields
 * that are not in a message's table are passed over. */
#include "text/tokenizer/read/sentencepiece.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum wire_type { WIRE_VARINT, WIRE_FIXED64, WIRE_BYTES, WIRE_FIXED32 = 5 };

struct wire {
    const char *at, *end;
};

/* A field that is wanted: where it goes in the message's struct. Integers and booleans are int64_t,
 * WIRE_FIXED32 is float, WIRE_BYTES struct wire_bytes. */
struct wire_field {
    uint64_t number;
    enum wire_type type;
    size_t offset;
};

static status read_varint(struct wire *wire, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (wire->at == wire->end) {
            return status_fail(STATUS_INVALID, "the file ends inside of a number");
        }
        unsigned char byte = (unsigned char)*wire->at++;
        *out |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            return STATUS_OK;
        }
    }
    return status_fail(STATUS_INVALID, "a number of more than 64 bits");
}

static status take_bytes(struct wire *wire, uint64_t length, struct wire_bytes *out)
{
    if (length > (uint64_t)(wire->end - wire->at)) {
        return status_fail(STATUS_INVALID, "the file ends inside of a field");
    }
    *out = (struct wire_bytes){wire->at, (size_t)length};
    wire->at += length;
    return STATUS_OK;
}

struct wire_value {
    uint64_t number;
    enum wire_type type;
    uint64_t varint;
    struct wire_bytes bytes; /* of all but VARINT */
};

static status read_value(struct wire *wire, struct wire_value *out)
{
    uint64_t tag, length;
    TRY(read_varint(wire, &tag));
    out->number = tag >> 3;
    out->type = (enum wire_type)(tag & 7);
    if (out->number == 0 || out->number > INT32_MAX) {
        return status_fail(STATUS_INVALID, "a field with a number that there cannot be");
    }
    switch (out->type) {
    case WIRE_VARINT:
        return read_varint(wire, &out->varint);
    case WIRE_FIXED64:
        return take_bytes(wire, 8, &out->bytes);
    case WIRE_FIXED32:
        return take_bytes(wire, 4, &out->bytes);
    case WIRE_BYTES:
        TRY(read_varint(wire, &length));
        return take_bytes(wire, length, &out->bytes);
    }
    return status_fail(STATUS_INVALID, "a field of the wire type %d", (int)out->type);
}

static void store(const struct wire_value *value, void *to)
{
    if (value->type == WIRE_VARINT) {
        memcpy(to, &value->varint, sizeof value->varint);
    } else if (value->type == WIRE_FIXED32) {
        const unsigned char *bytes = (const unsigned char *)value->bytes.data;
        uint32_t bits = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                        (uint32_t)bytes[3] << 24;
        memcpy(to, &bits, sizeof bits);
    } else {
        memcpy(to, &value->bytes, sizeof value->bytes);
    }
}

static status read_message(struct wire_bytes bytes, const struct wire_field *fields, size_t count,
                           void *out)
{
    struct wire wire = {bytes.data, bytes.data + bytes.length};
    while (wire.at < wire.end) {
        struct wire_value value;
        TRY(read_value(&wire, &value));
        for (size_t i = 0; i < count; i++) {
            if (fields[i].number != value.number) {
                continue;
            }
            if (fields[i].type != value.type) {
                return status_fail(STATUS_INVALID, "field %d is of another type",
                                   (int)value.number);
            }
            store(&value, (char *)out + fields[i].offset);
        }
    }
    return STATUS_OK;
}

/* ---- The messages ---- */

#define AT(member) offsetof(struct sentencepiece_model, member)

static const struct wire_field trainer_fields[] = {
    {3, WIRE_VARINT, AT(algorithm)},      {24, WIRE_VARINT, AT(whitespace_suffix)},
    {35, WIRE_VARINT, AT(byte_fallback)}, {41, WIRE_VARINT, AT(bos)},
    {42, WIRE_VARINT, AT(eos)},           {43, WIRE_VARINT, AT(pad)},
};

static const struct wire_field normalizer_fields[] = {
    {2, WIRE_BYTES, AT(map)},
    {3, WIRE_VARINT, AT(dummy_prefix)},
    {4, WIRE_VARINT, AT(remove_spaces)},
    {5, WIRE_VARINT, AT(escape_spaces)},
};

static const struct wire_field denormalizer_fields[] = {
    {2, WIRE_BYTES, AT(denormalizer_map)},
};

static status read_piece(struct wire_bytes bytes, struct sentencepiece_model *model)
{
    static const struct wire_field fields[] = {
        {1, WIRE_BYTES, offsetof(struct sentencepiece, text)},
        {2, WIRE_FIXED32, offsetof(struct sentencepiece, score)},
        {3, WIRE_VARINT, offsetof(struct sentencepiece, type)},
    };
    struct sentencepiece piece = {.text.data = "", .type = PIECE_NORMAL};
    TRY(read_message(bytes, fields, COUNT_OF(fields), &piece));
    if (piece.text.length == 0 || !utf8_valid(piece.text.data, piece.text.length, NULL)) {
        return status_fail(STATUS_INVALID, "empty, or not valid UTF-8");
    }
    if (!isfinite(piece.score) || piece.type < PIECE_NORMAL || piece.type > PIECE_BYTE) {
        return status_fail(STATUS_INVALID, "a score or a type that there cannot be");
    }
    void *pieces = model->pieces;
    status s = array_grow(&pieces, &model->capacity, model->count + 1, sizeof *model->pieces);
    model->pieces = pieces;
    if (s == STATUS_OK) {
        model->pieces[model->count++] = piece;
    }
    return s;
}

static status read_part(const struct wire_value *value, struct sentencepiece_model *model)
{
    enum { PIECES = 1, TRAINER, NORMALIZER, DENORMALIZER = 5 };
    if (value->type != WIRE_BYTES) {
        return STATUS_OK;
    }
    switch (value->number) {
    case PIECES:
        return status_context(read_piece(value->bytes, model), "piece %zu", model->count);
    case TRAINER:
        return status_context(
            read_message(value->bytes, trainer_fields, COUNT_OF(trainer_fields), model),
            "trainer_spec");
    case NORMALIZER:
        return status_context(
            read_message(value->bytes, normalizer_fields, COUNT_OF(normalizer_fields), model),
            "normalizer_spec");
    case DENORMALIZER:
        return status_context(
            read_message(value->bytes, denormalizer_fields, COUNT_OF(denormalizer_fields), model),
            "denormalizer_spec");
    default:
        return STATUS_OK;
    }
}

static bool has_type(const struct sentencepiece_model *model, int64_t type)
{
    for (size_t i = 0; i < model->count; i++) {
        if (model->pieces[i].type == type) {
            return true;
        }
    }
    return false;
}

/* An id that no control piece has is none. */
static status check_pieces(struct sentencepiece_model *model)
{
    if (!has_type(model, PIECE_UNKNOWN)) {
        return status_fail(STATUS_INVALID, "no piece for what is unknown");
    }
    if (!has_type(model, PIECE_NORMAL) && !has_type(model, PIECE_BYTE)) {
        return status_fail(STATUS_INVALID, "%zu pieces, and none that texts are made of",
                           model->count);
    }
    int64_t *const ids[] = {&model->bos, &model->eos, &model->pad};
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        int64_t id = *ids[i];
        bool is_there = id >= 0 && (uint64_t)id < model->count;
        *ids[i] = is_there && model->pieces[id].type == PIECE_CONTROL ? id : -1;
    }
    return STATUS_OK;
}

status sentencepiece_read(const char *bytes, size_t length, struct sentencepiece_model *model)
{
    *model = (struct sentencepiece_model){.algorithm = ALGORITHM_UNIGRAM,
                                          .bos = 1,
                                          .eos = 2,
                                          .pad = -1,
                                          .dummy_prefix = 1,
                                          .remove_spaces = 1,
                                          .escape_spaces = 1};
    struct wire wire = {bytes, bytes + length};
    while (wire.at < wire.end) {
        struct wire_value value;
        TRY(read_value(&wire, &value));
        TRY(read_part(&value, model));
    }
    return check_pieces(model);
}

void sentencepiece_destroy(struct sentencepiece_model *model)
{
    free(model->pieces);
    *model = (struct sentencepiece_model){0};
}
