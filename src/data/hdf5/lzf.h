/* SPDX-License-Identifier: Apache-2.0 */
/* h5py's LZF filter (32000 in HDF5's registry), to read with. */
#ifndef SLUICE_DATA_HDF5_LZF_H
#define SLUICE_DATA_HDF5_LZF_H

#include "sluice/base.h"

/* Makes HDF5 know the filter; once a process. */
void hdf5_lzf_register(void);

/* Unpacks `length` bytes. Returns how many there are then, 0 where they are none of LZF's or need
 * more than `capacity`. */
size_t lzf_unpack(const unsigned char *packed, size_t length, unsigned char *out, size_t capacity);

#endif
