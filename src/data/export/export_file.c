/* SPDX-License-Identifier: Apache-2.0 */
/* A file that appears whole or not at all, packed with gzip or zstd where its name says so. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "data/journal/durable.h"
#include "sluice/export.h"

enum { BLOCK_BYTES = 1 << 20, ZSTD_LEVEL = 3 };

struct export_file {
    struct buffer path, partial;
    int fd;
    int64_t bytes;
    enum { PACK_NOT, PACK_GZIP, PACK_ZSTD } pack;
    struct buffer block; /* not yet handed on */
    char *packed;        /* [BLOCK_BYTES] */
    z_stream gzip;
    bool gzip_is_open;
    ZSTD_CCtx *zstd;
};

static status write_bytes(struct export_file *self, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t done = write(self->fd, bytes, length);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0) {
            return status_fail_errno(STATUS_IO, "%s", self->partial.data);
        }
        bytes += done;
        length -= (size_t)done;
    }
    return STATUS_OK;
}

/* ---- Packing ---- */

static status pack_gzip(struct export_file *self, int flush)
{
    self->gzip.next_in = (Bytef *)self->block.data;
    self->gzip.avail_in = (uInt)self->block.length;
    int result;
    do {
        self->gzip.next_out = (Bytef *)self->packed;
        self->gzip.avail_out = BLOCK_BYTES;
        result = deflate(&self->gzip, flush);
        if (result == Z_STREAM_ERROR) {
            return status_fail(STATUS_INTERNAL, "%s: gzip fails", self->partial.data);
        }
        TRY(write_bytes(self, self->packed, BLOCK_BYTES - self->gzip.avail_out));
    } while (self->gzip.avail_out == 0);
    return STATUS_OK;
}

static status pack_zstd(struct export_file *self, ZSTD_EndDirective end)
{
    ZSTD_inBuffer in = {self->block.data, self->block.length, 0};
    size_t left;
    do {
        ZSTD_outBuffer out = {self->packed, BLOCK_BYTES, 0};
        left = ZSTD_compressStream2(self->zstd, &out, &in, end);
        if (ZSTD_isError(left)) {
            return status_fail(STATUS_INTERNAL, "%s: %s", self->partial.data,
                               ZSTD_getErrorName(left));
        }
        TRY(write_bytes(self, self->packed, out.pos));
    } while (end == ZSTD_e_end ? left > 0 : in.pos < in.size);
    return STATUS_OK;
}

/* Hands the block on; `last`: and what the packer holds back. */
static status flush_block(struct export_file *self, bool last)
{
    status s = self->pack == PACK_GZIP   ? pack_gzip(self, last ? Z_FINISH : Z_NO_FLUSH)
               : self->pack == PACK_ZSTD ? pack_zstd(self, last ? ZSTD_e_end : ZSTD_e_continue)
                                         : write_bytes(self, self->block.data, self->block.length);
    buffer_clear(&self->block);
    return s;
}

status export_file_write(void *context, const char *bytes, size_t length)
{
    struct export_file *self = context;
    self->bytes += (int64_t)length;
    while (length > 0) {
        const size_t room = BLOCK_BYTES - self->block.length;
        const size_t part = length < room ? length : room;
        TRY(buffer_append(&self->block, bytes, part));
        bytes += part;
        length -= part;
        TRY(self->block.length == BLOCK_BYTES ? flush_block(self, false) : STATUS_OK);
    }
    return STATUS_OK;
}

int64_t export_file_bytes(const struct export_file *self)
{
    return self->bytes;
}

/* ---- From creation to end ---- */

static bool ends_with(const char *text, const char *suffix)
{
    const size_t length = strlen(text), bytes = strlen(suffix);
    return length >= bytes && strcmp(text + length - bytes, suffix) == 0;
}

static status start_packing(struct export_file *self)
{
    bool started = true;
    self->packed = malloc(BLOCK_BYTES);
    if (ends_with(self->path.data, ".gz")) {
        self->pack = PACK_GZIP;
        started = self->gzip_is_open =
            deflateInit2(&self->gzip, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK;
    } else if (ends_with(self->path.data, ".zst")) {
        self->pack = PACK_ZSTD;
        self->zstd = ZSTD_createCCtx();
        started = self->zstd != NULL &&
                  !ZSTD_isError(
                      ZSTD_CCtx_setParameter(self->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL)) &&
                  !ZSTD_isError(ZSTD_CCtx_setParameter(self->zstd, ZSTD_c_checksumFlag, 1));
    }
    return started && self->packed != NULL
               ? STATUS_OK
               : status_fail(STATUS_NO_MEMORY, "%s: out of memory for packing", self->path.data);
}

static void destroy(struct export_file *self)
{
    if (self->fd >= 0) {
        close(self->fd);
    }
    if (self->gzip_is_open) {
        deflateEnd(&self->gzip);
    }
    ZSTD_freeCCtx(self->zstd);
    free(self->packed);
    buffer_destroy(&self->block);
    buffer_destroy(&self->path);
    buffer_destroy(&self->partial);
    free(self);
}

static status open_file(struct export_file *self, const char *path, bool overwrite)
{
    struct stat info;
    TRY(buffer_append_text(&self->path, path));
    TRY(buffer_format(&self->partial, "%s.partial", path));
    if (lstat(path, &info) == 0 && (!overwrite || !S_ISREG(info.st_mode))) {
        return S_ISREG(info.st_mode)
                   ? status_fail(STATUS_EXISTS, "%s exists; --overwrite replaces it", path)
                   : status_fail(STATUS_EXISTS, "%s exists and is no file", path);
    }
    self->fd = open(self->partial.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return self->fd >= 0 ? STATUS_OK : status_fail_errno(STATUS_IO, "%s", self->partial.data);
}

status export_file_create(const char *path, bool overwrite, struct export_file **out)
{
    struct export_file *self = calloc(1, sizeof *self);
    *out = NULL;
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory", path);
    }
    self->fd = -1;
    status s = open_file(self, path, overwrite);
    if (s == STATUS_OK) {
        s = start_packing(self);
    }
    if (s != STATUS_OK) {
        export_file_abandon(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

void export_file_abandon(struct export_file *self)
{
    if (self != NULL) {
        if (self->fd >= 0) {
            unlink(self->partial.data);
        }
        destroy(self);
    }
}

static status complete(struct export_file *self)
{
    TRY(flush_block(self, true));
    if (fsync(self->fd) != 0 && errno != EINVAL) {
        return status_fail_errno(STATUS_IO, "%s", self->partial.data);
    }
    if (rename(self->partial.data, self->path.data) != 0) {
        return status_fail_errno(STATUS_IO, "%s", self->path.data);
    }
    return durable_sync_parent(self->path.data);
}

status export_file_finish(struct export_file *self)
{
    status s = complete(self);
    if (s != STATUS_OK) {
        export_file_abandon(self);
        return s;
    }
    destroy(self);
    return STATUS_OK;
}
