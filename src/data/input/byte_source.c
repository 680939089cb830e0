/* SPDX-License-Identifier: Apache-2.0 */
/* Streams a file: plain, gzip (RFC 1952, several members) or zstd (RFC 8878, several frames). */
#include "data/input/byte_source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "data/input/foreign_format.h"

enum {
    BLOCK_BYTES = 256 * 1024,
    ZSTD_WINDOW_LOG = 31 /* 2 GiB: what zstd --long=31 writes, the most there is */
};

enum encoding { ENCODING_PLAIN, ENCODING_GZIP, ENCODING_ZSTD };

struct byte_source {
    const char *path;
    int fd;
    enum encoding encoding;
    struct sha256 *hash; /* NULL once finished */
    char hex[65];
    int64_t file_bytes; /* read from the file so far */
    bool file_ended;
    size_t next, filled; /* of block: stored bytes not yet used */
    z_stream gzip;
    bool gzip_ready;
    ZSTD_DStream *zstd;
    bool looked; /* at the first bytes that came out of it */
    bool inside; /* a gzip member or zstd frame has begun and not ended */
    unsigned char block[BLOCK_BYTES];
};

/* Position for messages about the stored bytes. */
static long long source_offset(const struct byte_source *source)
{
    return (long long)(source->file_bytes - (int64_t)(source->filled - source->next));
}

static status source_fill(struct byte_source *source)
{
    if (source->next < source->filled || source->file_ended) {
        return STATUS_OK;
    }
    source->next = source->filled = 0;
    /* Until the block is full, so that the first one holds every magic number. */
    while (source->filled < BLOCK_BYTES) {
        ssize_t got =
            read(source->fd, source->block + source->filled, BLOCK_BYTES - source->filled);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return status_fail_errno(STATUS_IO, "byte %lld", (long long)source->file_bytes);
        }
        if (got == 0) {
            source->file_ended = true;
            break;
        }
        sha256_update(source->hash, source->block + source->filled, (size_t)got);
        source->filled += (size_t)got;
        source->file_bytes += got;
    }
    return STATUS_OK;
}

static bool is_gzip(const unsigned char *bytes, size_t length)
{
    return length >= 2 && bytes[0] == 0x1F && bytes[1] == 0x8B;
}

static bool is_zstd(const unsigned char *bytes, size_t length)
{
    if (length < 4) {
        return false;
    }
    uint32_t magic = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                     (uint32_t)bytes[3] << 24;
    return magic == ZSTD_MAGICNUMBER ||
           (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

static status source_tell_encoding(struct byte_source *source)
{
    TRY(source_fill(source));
    const unsigned char *bytes = source->block;
    size_t length = source->filled;
    TRY(foreign_format_refuse(bytes, length));
    if (is_gzip(bytes, length)) {
        source->encoding = ENCODING_GZIP;
        /* 15: the largest window; 16: with gzip's header and checksum. */
        if (inflateInit2(&source->gzip, 15 + 16) != Z_OK) {
            return status_fail(STATUS_NO_MEMORY, "out of memory for gzip");
        }
        source->gzip_ready = true;
    } else if (is_zstd(bytes, length)) {
        source->encoding = ENCODING_ZSTD;
        source->zstd = ZSTD_createDStream();
        if (source->zstd == NULL) {
            return status_fail(STATUS_NO_MEMORY, "out of memory for zstd");
        }
        /* The library refuses more than 128 MiB (--long=27) unless told. Memory is taken where a
         * frame asks for it, and no more than its contents need. */
        ZSTD_DCtx_setParameter(source->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
    }
    return STATUS_OK;
}

static status source_create(const char *path, struct byte_source **out)
{
    *out = NULL;
    int fd;
    uint64_t bytes;
    TRY(file_open(path, &fd, &bytes));
    struct byte_source *source = calloc(1, sizeof *source);
    struct sha256 *hash = sha256_create();
    if (source == NULL || hash == NULL) {
        if (hash != NULL) {
            char hex[65];
            sha256_finish(hash, hex);
        }
        free(source);
        close(fd);
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory for reading", path);
    }
    source->path = path;
    source->fd = fd;
    source->hash = hash;
    *out = source;
    return STATUS_OK;
}

status byte_source_open(const char *path, struct byte_source **out)
{
    TRY(source_create(path, out));
    status s = status_context(source_tell_encoding(*out), "%s", path);
    if (s != STATUS_OK) {
        byte_source_close(*out);
        *out = NULL;
    }
    return s;
}

/* Between gzip members: another one, the end, or zero bytes up to the end (tape padding, which
 * gzip(1) ignores as well). */
static status gzip_begin_member(struct byte_source *source, bool *ended)
{
    bool padding = false;
    for (;;) {
        TRY(source_fill(source));
        *ended = source->next == source->filled;
        if (*ended || source->block[source->next] != 0) {
            break;
        }
        padding = true;
        source->next++;
    }
    if (*ended) {
        return STATUS_OK;
    }
    if (padding || source->block[source->next] != 0x1F) {
        return status_fail(STATUS_INVALID, "byte %lld: not gzip data after the end of a member",
                           source_offset(source));
    }
    inflateReset(&source->gzip);
    source->inside = true;
    return STATUS_OK;
}

static status gzip_read(struct byte_source *source, void *bytes, size_t capacity, size_t *length)
{
    z_stream *gzip = &source->gzip;
    while (*length == 0) {
        if (!source->inside) {
            bool ended;
            TRY(gzip_begin_member(source, &ended));
            if (ended) {
                return STATUS_OK;
            }
        }
        TRY(source_fill(source));
        if (source->next == source->filled) {
            return status_fail(STATUS_INVALID, "byte %lld: the gzip data is cut off",
                               source_offset(source));
        }
        gzip->next_in = source->block + source->next;
        gzip->avail_in = (uInt)(source->filled - source->next);
        gzip->next_out = bytes;
        gzip->avail_out = (uInt)capacity;
        int code = inflate(gzip, Z_NO_FLUSH);
        source->next = source->filled - gzip->avail_in;
        *length = capacity - gzip->avail_out;
        if (code == Z_MEM_ERROR) {
            return status_fail(STATUS_NO_MEMORY, "out of memory for gzip");
        }
        if (code != Z_OK && code != Z_STREAM_END) {
            return status_fail(STATUS_INVALID, "byte %lld: corrupt gzip data: %s",
                               source_offset(source),
                               gzip->msg != NULL ? gzip->msg : "no progress");
        }
        source->inside = code != Z_STREAM_END;
    }
    return STATUS_OK;
}

/* Not every error is damage. */
static status zstd_fail(const struct byte_source *source, size_t code)
{
    long long offset = source_offset(source);
    switch (ZSTD_getErrorCode(code)) {
    case ZSTD_error_memory_allocation:
    case ZSTD_error_frameParameter_windowTooLarge:
        return status_fail(STATUS_NO_MEMORY,
                           "byte %lld: the zstd data has a window that does not fit into memory "
                           "here; write the file anew with zstd --long=27 or less",
                           offset);
    case ZSTD_error_dictionary_wrong:
        return status_fail(STATUS_UNSUPPORTED,
                           "byte %lld: the zstd data needs the dictionary that it was written "
                           "with; write the file anew without one",
                           offset);
    default:
        return status_fail(STATUS_INVALID, "byte %lld: corrupt zstd data: %s", offset,
                           ZSTD_getErrorName(code));
    }
}

static status zstd_read(struct byte_source *source, void *bytes, size_t capacity, size_t *length)
{
    while (*length == 0) {
        TRY(source_fill(source));
        bool ended = source->next == source->filled;
        if (ended && !source->inside) {
            return STATUS_OK;
        }
        ZSTD_inBuffer in = {source->block, source->filled, source->next};
        ZSTD_outBuffer out = {bytes, capacity, 0};
        size_t code = ZSTD_decompressStream(source->zstd, &out, &in);
        source->next = in.pos;
        *length = out.pos;
        if (ZSTD_isError(code)) {
            return zstd_fail(source, code);
        }
        source->inside = code != 0;
        if (ended && source->inside && out.pos == 0) {
            return status_fail(STATUS_INVALID, "byte %lld: the zstd data is cut off",
                               source_offset(source));
        }
    }
    return STATUS_OK;
}

/* What was compressed may be no data set either: tar archives are, mostly. */
static status look_inside(struct byte_source *source, const void *bytes, size_t length)
{
    static const char hdf5[] = "\x89HDF\r\n\x1a\n";
    if (source->looked) {
        return STATUS_OK;
    }
    source->looked = true;
    return length >= sizeof hdf5 - 1 && memcmp(bytes, hdf5, sizeof hdf5 - 1) == 0
               ? status_fail(STATUS_UNSUPPORTED, "is a compressed HDF5 file; unpack it")
               : foreign_format_refuse(bytes, length);
}

static status read_decoded(struct byte_source *source, void *bytes, size_t capacity, size_t *length)
{
    switch (source->encoding) {
    case ENCODING_GZIP:
        return gzip_read(source, bytes, capacity, length);
    case ENCODING_ZSTD:
        return zstd_read(source, bytes, capacity, length);
    case ENCODING_PLAIN:
        break;
    }
    TRY(source_fill(source));
    size_t there = source->filled - source->next;
    *length = there < capacity ? there : capacity;
    memcpy(bytes, source->block + source->next, *length);
    source->next += *length;
    return STATUS_OK;
}

status byte_source_read(struct byte_source *source, void *bytes, size_t capacity, size_t *length)
{
    *length = 0;
    if (source->hash == NULL || capacity == 0) {
        return STATUS_OK;
    }
    TRY(read_decoded(source, bytes, capacity < BLOCK_BYTES ? capacity : BLOCK_BYTES, length));
    return source->encoding != ENCODING_PLAIN ? look_inside(source, bytes, *length) : STATUS_OK;
}

status byte_source_digest(struct byte_source *source, int64_t *file_bytes, char sha256_hex[65])
{
    while (source->hash != NULL) {
        TRY(interrupt_check());
        source->next = source->filled;
        TRY(status_context(source_fill(source), "%s", source->path));
        if (source->file_ended && source->next == source->filled) {
            sha256_finish(source->hash, source->hex);
            source->hash = NULL;
        }
    }
    *file_bytes = source->file_bytes;
    memcpy(sha256_hex, source->hex, sizeof source->hex);
    return STATUS_OK;
}

void byte_source_close(struct byte_source *source)
{
    if (source == NULL) {
        return;
    }
    if (source->gzip_ready) {
        inflateEnd(&source->gzip);
    }
    ZSTD_freeDStream(source->zstd);
    if (source->hash != NULL) {
        sha256_finish(source->hash, source->hex);
    }
    close(source->fd);
    free(source);
}

/* Adds the lines of a block; *inside is whether a line that is not blank has begun. */
static void count_lines(const unsigned char *block, size_t length, int64_t *lines, bool *inside)
{
    for (size_t at = 0; at < length;) {
        const unsigned char *end = memchr(block + at, '\n', length - at);
        size_t next = end != NULL ? (size_t)(end - block) : length;
        for (; at < next && !*inside; at++) {
            *inside = block[at] == '\0' || strchr(" \t\r\v\f", block[at]) == NULL;
            *lines += *inside;
        }
        *inside = *inside && end == NULL;
        at = next + 1;
    }
}

static bool is_packed(const unsigned char *bytes, size_t length)
{
    return is_gzip(bytes, length) || is_zstd(bytes, length);
}

/* Of whoever waits for the hash, on its thread or another. */
static status check_stop(const atomic_bool *is_cancelled)
{
    return is_cancelled != NULL && atomic_load(is_cancelled)
               ? status_fail(STATUS_STOPPED, "stopped")
               : interrupt_check();
}

status byte_source_hash_file(const char *path, const atomic_bool *is_cancelled, int64_t *file_bytes,
                             char sha256_hex[65], int64_t *lines)
{
    struct byte_source *source;
    TRY(source_create(path, &source));
    bool inside = false;
    status s = status_context(source_fill(source), "%s", path);
    *lines = is_packed(source->block, source->filled) ? -1 : 0;
    while (s == STATUS_OK && *lines >= 0) {
        count_lines(source->block, source->filled, lines, &inside);
        if (source->file_ended) {
            break;
        }
        source->next = source->filled;
        s = check_stop(is_cancelled);
        if (s == STATUS_OK) {
            s = status_context(source_fill(source), "%s", path);
        }
    }
    if (s == STATUS_OK) {
        s = byte_source_digest(source, file_bytes, sha256_hex);
    }
    byte_source_close(source);
    return s;
}
