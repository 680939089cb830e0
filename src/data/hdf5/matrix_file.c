/* SPDX-License-Identifier: Apache-2.0 */
/* A float32 matrix in HDF5. */
#include "sluice/matrix_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "data/hdf5/support.h"

struct matrix_file {
    struct buffer path, partial;
    hid_t file, dataset; /* negative while not open */
    int64_t columns;
};

static void matrix_file_close(struct matrix_file *self)
{
    if (self->dataset >= 0) {
        H5Dclose(self->dataset);
    }
    if (self->file >= 0) {
        H5Fclose(self->file);
    }
    buffer_destroy(&self->path);
    buffer_destroy(&self->partial);
    free(self);
}

static status create_dataset(struct matrix_file *self, const char *name, int64_t rows,
                             int64_t columns)
{
    hid_t access = hdf5_file_access();
    self->file = H5Fcreate(self->partial.data, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    H5Pclose(access);
    if (self->file < 0) {
        return hdf5_fail(STATUS_IO, "%s: cannot be created", self->partial.data);
    }
    hsize_t size[2] = {(hsize_t)rows, (hsize_t)columns};
    hid_t space = H5Screate_simple(2, size, NULL);
    self->dataset =
        H5Dcreate2(self->file, name, H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Sclose(space);
    return self->dataset >= 0
               ? STATUS_OK
               : hdf5_fail(STATUS_IO, "%s: cannot create %s", self->partial.data, name);
}

status matrix_file_create(const char *path, const char *name, int64_t rows, int64_t columns,
                          struct matrix_file **out)
{
    struct matrix_file *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory", path);
    }
    *self = (struct matrix_file){.file = -1, .dataset = -1, .columns = columns};
    hdf5_silence();
    status s = buffer_append_text(&self->path, path);
    if (s == STATUS_OK) {
        s = buffer_format(&self->partial, "%s.partial", path);
    }
    if (s == STATUS_OK) {
        s = create_dataset(self, name, rows, columns);
    }
    if (s != STATUS_OK) {
        matrix_file_abandon(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

status matrix_file_write(struct matrix_file *self, int64_t first, int64_t count,
                         const float *values)
{
    hsize_t start[2] = {(hsize_t)first, 0};
    hsize_t size[2] = {(hsize_t)count, (hsize_t)self->columns};
    hid_t space = H5Dget_space(self->dataset);
    hid_t memory = H5Screate_simple(2, size, NULL);
    bool written =
        H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, size, NULL) >= 0 &&
        H5Dwrite(self->dataset, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, values) >= 0;
    H5Sclose(memory);
    H5Sclose(space);
    return written ? STATUS_OK : hdf5_fail(STATUS_IO, "%s: cannot be written", self->partial.data);
}

status matrix_file_finish(struct matrix_file *self)
{
    status s = STATUS_OK;
    bool closed = H5Dclose(self->dataset) >= 0;
    self->dataset = -1;
    closed = H5Fclose(self->file) >= 0 && closed;
    self->file = -1;
    if (!closed) {
        s = hdf5_fail(STATUS_IO, "%s: cannot be written", self->partial.data);
    } else if (rename(self->partial.data, self->path.data) != 0) {
        s = status_fail_errno(STATUS_IO, "%s", self->path.data);
    }
    if (s != STATUS_OK) {
        matrix_file_abandon(self);
        return s;
    }
    matrix_file_close(self);
    return STATUS_OK;
}

void matrix_file_abandon(struct matrix_file *self)
{
    if (self->partial.data != NULL) {
        unlink(self->partial.data);
    }
    matrix_file_close(self);
}
