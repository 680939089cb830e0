/* SPDX-License-Identifier: Apache-2.0 */
/* Growing datasets, written a batch at a time. */
#include "data/output/dataset.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { DEFLATE_LEVEL = 1 };

/* The library was built with it. */
static bool has_deflate(void)
{
    return H5Zfilter_avail(H5Z_FILTER_DEFLATE) > 0;
}

status output_dataset_create(hid_t file, const char *path, hid_t type, hsize_t chunk, int width,
                             hid_t *dataset)
{
    hsize_t sizes[2] = {0, (hsize_t)width};
    hsize_t most[2] = {H5S_UNLIMITED, (hsize_t)width};
    hsize_t chunks[2] = {chunk, (hsize_t)width};
    int rank = width == 0 ? 1 : 2;
    hid_t space = H5Screate_simple(rank, sizes, most);
    hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    bool ready = space >= 0 && create >= 0 && H5Pset_chunk(create, rank, chunks) >= 0 &&
                 (!has_deflate() ||
                  (H5Pset_shuffle(create) >= 0 && H5Pset_deflate(create, DEFLATE_LEVEL) >= 0));
    *dataset =
        ready ? H5Dcreate2(file, path, type, space, H5P_DEFAULT, create, H5P_DEFAULT) : H5I_BADID;
    status s = *dataset >= 0 ? STATUS_OK : hdf5_fail(STATUS_IO, "%s: cannot be created", path);
    if (space >= 0) {
        H5Sclose(space);
    }
    if (create >= 0) {
        H5Pclose(create);
    }
    return s;
}

status output_dataset_append(hid_t dataset, hid_t memory, int64_t written, int64_t count, int width,
                             const void *items)
{
    int rank = width == 0 ? 1 : 2;
    hsize_t sizes[2] = {(hsize_t)(written + count), (hsize_t)width};
    hsize_t start[2] = {(hsize_t)written, 0};
    hsize_t extent[2] = {(hsize_t)count, (hsize_t)width};
    if (count == 0) {
        return STATUS_OK;
    }
    hid_t source = H5Screate_simple(rank, extent, NULL);
    hid_t target = H5Dset_extent(dataset, sizes) >= 0 ? H5Dget_space(dataset) : H5I_BADID;
    status s = STATUS_OK;
    if (source < 0 || target < 0 ||
        H5Sselect_hyperslab(target, H5S_SELECT_SET, start, NULL, extent, NULL) < 0 ||
        H5Dwrite(dataset, memory, source, target, H5P_DEFAULT, items) < 0) {
        s = hdf5_fail(STATUS_IO, "cannot be written");
    }
    if (source >= 0) {
        H5Sclose(source);
    }
    if (target >= 0) {
        H5Sclose(target);
    }
    return s;
}

/* HDF5 does not shuffle variable strings: it has no item size for that filter, which is optional.
 * It notes so with each chunk, the first filter's bit. */
enum { NOT_SHUFFLED = 1 };

static status write_chunk(hid_t dataset, hsize_t first, uint32_t left_out, const void *bytes,
                          size_t length)
{
    return H5Dwrite_chunk(dataset, H5P_DEFAULT, left_out, &first, length, bytes) >= 0
               ? STATUS_OK
               : hdf5_fail(STATUS_IO, "cannot be written");
}

static status write_packed(hid_t dataset, int64_t first, const void *chunk, size_t bytes)
{
    uLongf length = compressBound(bytes);
    void *packed = malloc(length);
    status s = packed != NULL && compress2(packed, &length, chunk, bytes, DEFLATE_LEVEL) == Z_OK
                   ? write_chunk(dataset, (hsize_t)first, NOT_SHUFFLED, packed, length)
                   : status_fail(STATUS_NO_MEMORY, "out of memory for a chunk");
    free(packed);
    return s;
}

status output_references_write(hid_t dataset, int64_t first, size_t count, const char *references)
{
    const hsize_t rows = (hsize_t)first + count;
    const size_t bytes = OUTPUT_BATCH_ROWS * (size_t)STRING_REFERENCE_BYTES;
    char *chunk = calloc(1, bytes);
    status s =
        chunk != NULL ? STATUS_OK : status_fail(STATUS_NO_MEMORY, "out of memory for a chunk");
    if (s == STATUS_OK && H5Dset_extent(dataset, &rows) < 0) {
        s = hdf5_fail(STATUS_IO, "cannot be written");
    }
    if (s == STATUS_OK) {
        memcpy(chunk, references, count * STRING_REFERENCE_BYTES);
        s = has_deflate() ? write_packed(dataset, first, chunk, bytes)
                          : write_chunk(dataset, (hsize_t)first, 0, chunk, bytes);
    }
    free(chunk);
    return s;
}

status output_number_create(hid_t file, const char *path, hid_t stored, hid_t memory, hsize_t chunk,
                            int width, struct number_column *column)
{
    column->memory = memory;
    column->item_bytes = H5Tget_size(memory);
    column->width = width;
    return output_dataset_create(file, path, stored, chunk, width, &column->dataset);
}

status output_number_flush(struct number_column *column)
{
    if (column->dataset <= 0) {
        return STATUS_OK;
    }
    size_t items = column->width == 0 ? 1 : (size_t)column->width;
    int64_t count = (int64_t)(column->batch.length / (column->item_bytes * items));
    TRY(output_dataset_append(column->dataset, column->memory, column->written, count,
                              column->width, column->batch.data));
    column->written += count;
    buffer_clear(&column->batch);
    return STATUS_OK;
}
