/* SPDX-License-Identifier: Apache-2.0 */
/* LZF as Marc Lehmann's liblzf has it, in the frame that h5py gives it: a chunk of a dataset is one
 * stream without any header. What h5py could not make smaller is not marked as packed. */
#include "data/hdf5/lzf.h"

#include <hdf5.h>
#include <string.h>

enum {
    LZF_ID = 32000,
    LZF_MOST_RATIO = 88 /* three bytes are 264 at most */
};

/* A run's control byte below 32: so many bytes and one more follow. Otherwise its upper three bits
 * are a length, of which 7 says that a byte more of it follows, and its lower five the upper bits
 * of how far back the bytes to repeat stand. */
size_t lzf_unpack(const unsigned char *packed, size_t length, unsigned char *out, size_t capacity)
{
    size_t in = 0, done = 0;
    while (in < length) {
        size_t control = packed[in++];
        if (control < 32) {
            size_t count = control + 1;
            if (count > length - in || count > capacity - done) {
                return 0;
            }
            memcpy(out + done, packed + in, count);
            in += count;
            done += count;
            continue;
        }
        size_t count = (control >> 5) + 2;
        if (control >> 5 == 7) {
            count += in < length ? packed[in] : 0;
            in++;
        }
        size_t back = in < length ? (control & 31) << 8 | packed[in] : 0;
        if (in++ >= length || back >= done || count > capacity - done) {
            return 0;
        }
        for (size_t from = done - back - 1; count > 0; count--) { /* the two may overlap */
            out[done++] = out[from++];
        }
    }
    return done;
}

/* Replaces the packed chunk in *bytes by what is in it. 0 is HDF5's sign of failure. */
static size_t unpack_chunk(unsigned flags, size_t value_count, const unsigned values[],
                           size_t length, size_t *capacity, void **bytes)
{
    if ((flags & H5Z_FLAG_REVERSE) == 0) {
        return 0;
    }
    /* h5py writes the chunk's size down as the third value. */
    size_t most = length * LZF_MOST_RATIO;
    size_t size = value_count > 2 && values[2] > 0 && values[2] < most ? values[2] : most;
    void *out = size > 0 ? H5allocate_memory(size, false) : NULL;
    size_t done = out != NULL ? lzf_unpack(*bytes, length, out, size) : 0;
    if (done == 0) {
        H5free_memory(out);
        return 0;
    }
    H5free_memory(*bytes);
    *bytes = out;
    *capacity = size;
    return done;
}

void hdf5_lzf_register(void)
{
    static const H5Z_class2_t filter = {.version = H5Z_CLASS_T_VERS,
                                        .id = LZF_ID,
                                        .encoder_present = 0,
                                        .decoder_present = 1,
                                        .name = "lzf",
                                        .filter = unpack_chunk};
    H5Zregister(&filter);
}
