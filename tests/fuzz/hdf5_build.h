/* SPDX-License-Identifier: Apache-2.0 */
/* HDF5 files made as an input says: datasets of any type, shape, storage and kind of link. The
 * container itself is libhdf5's to parse; what our readers make of what they find in it is what
 * these targets try.
 *
 * Beside the file lie others that no reader may look into: external links, external storage and
 * virtual datasets lead there. They hold a word made for this process, and nothing that is read may
 * have it. */
#ifndef SLUICE_FUZZ_HDF5_BUILD_H
#define SLUICE_FUZZ_HDF5_BUILD_H

#include <hdf5.h>

#include "fuzz.h"

enum { SECRET_BYTES = 32, MOST_ELEMENTS = 64 };

static char secret[SECRET_BYTES + 1], secret_raw_path[600], secret_file_path[600];

/* Without coverage: the fuzzer must not learn the word. */
__attribute__((no_sanitize("coverage"))) static inline bool has_secret(const char *text,
                                                                       size_t length)
{
    for (size_t at = 0; at + 8 <= length; at++) {
        size_t same = 0;
        while (same < 8 && text[at + same] == secret[same]) {
            same++;
        }
        if (same == 8) {
            return true;
        }
    }
    return false;
}

static inline void make_secrets(void)
{
    uint8_t random[SECRET_BYTES];
    FILE *source = fopen("/dev/urandom", "rb");
    REQUIRE(source != NULL && fread(random, 1, sizeof random, source) == sizeof random);
    fclose(source);
    for (int i = 0; i < SECRET_BYTES; i++) {
        secret[i] = (char)('A' + random[i] % 26);
    }
    for (int i = 8; i < SECRET_BYTES; i++) {
        secret[i] = secret[i % 8]; /* the same at each multiple of 8 */
    }
    snprintf(secret_raw_path, sizeof secret_raw_path, "%s/secret", fuzz_folder());
    snprintf(secret_file_path, sizeof secret_file_path, "%s/secret.h5", fuzz_folder());
    char raw[64 * SECRET_BYTES];
    for (size_t i = 0; i < sizeof raw; i++) {
        raw[i] = secret[i % 8];
    }
    write_fuzz_file(secret_raw_path, raw, sizeof raw);
    hid_t file = H5Fcreate(secret_file_path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hsize_t size = 64;
    hid_t space = H5Screate_simple(1, &size, NULL);
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, SECRET_BYTES);
    hid_t set = H5Dcreate2(file, "set", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    REQUIRE(set >= 0 && H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, raw) >= 0);
    H5Dclose(set);
    H5Tclose(type);
    H5Sclose(space);
    REQUIRE(H5Fclose(file) >= 0);
}

static inline hid_t fixed_string_type(size_t size, H5T_str_t padding)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, size);
    H5Tset_strpad(type, padding);
    return type;
}

/* The caller closes it. */
static inline hid_t choose_type(uint8_t choice)
{
    hid_t type;
    hsize_t two = 2;
    int8_t value = 1;
    switch (choice % 20) {
    case 0:
    case 1:
        type = H5Tcopy(H5T_C_S1);
        H5Tset_size(type, H5T_VARIABLE);
        H5Tset_cset(type, choice % 20 == 0 ? H5T_CSET_UTF8 : H5T_CSET_ASCII);
        return type;
    case 2:
        return fixed_string_type((size_t)choice / 8 + 1, H5T_STR_NULLTERM);
    case 3:
        return fixed_string_type((size_t)choice / 8 + 1, H5T_STR_NULLPAD);
    case 4:
        return fixed_string_type((size_t)choice / 8 + 1, H5T_STR_SPACEPAD);
    case 5:
        return fixed_string_type((size_t)1 << 31, H5T_STR_NULLPAD);
    case 6:
        return H5Tcopy(H5T_STD_I8LE);
    case 7:
        return H5Tcopy(H5T_STD_U8LE);
    case 8:
        return H5Tcopy(H5T_STD_I16BE);
    case 9:
        return H5Tcopy(H5T_STD_I32LE);
    case 10:
        return H5Tcopy(H5T_STD_I64LE);
    case 11:
        return H5Tcopy(H5T_STD_I64BE);
    case 12:
        return H5Tcopy(H5T_STD_U64LE);
    case 13:
        return H5Tcopy(H5T_IEEE_F32LE);
    case 14:
        return H5Tcopy(H5T_IEEE_F64BE);
    case 15:
        type = H5Tenum_create(H5T_STD_I8LE);
        H5Tenum_insert(type, "one", &value);
        return type;
    case 16:
        type = H5Tcreate(H5T_COMPOUND, 16);
        H5Tinsert(type, "rank", 0, H5T_STD_I32LE);
        H5Tinsert(type, "rows", 8, H5T_STD_I64LE);
        return type;
    case 17:
        return H5Tarray_create2(H5T_STD_I32LE, 1, &two);
    case 18:
        return H5Tvlen_create(H5T_STD_I32LE);
    default:
        type = H5Tcreate(H5T_OPAQUE, 4);
        return type;
    }
}

/* *elements is how many there are to write, 0 where there are too many. The caller closes the
 * space. */
static inline hid_t choose_space(uint8_t choice, uint8_t length, hsize_t *elements)
{
    hsize_t sizes[3] = {length % (MOST_ELEMENTS + 1), (hsize_t)choice / 8 % 6, 2};
    hsize_t unlimited = H5S_UNLIMITED;
    *elements = 0;
    switch (choice % 8) {
    case 0:
        return H5Screate(H5S_SCALAR);
    case 1:
        return H5Screate(H5S_NULL);
    case 2: /* far more than there are data for */
        sizes[0] = (hsize_t)1 << (length % 62 + 1);
        return H5Screate_simple(1, sizes, NULL);
    case 3:
        *elements = sizes[0] * sizes[1];
        return H5Screate_simple(2, sizes, NULL);
    case 4:
        return H5Screate_simple(3, sizes, NULL);
    case 5:
        *elements = sizes[0];
        return H5Screate_simple(1, sizes, &unlimited);
    default:
        *elements = sizes[0];
        return H5Screate_simple(1, sizes, NULL);
    }
}

/* Storage, filters, and places outside of the file. */
static inline hid_t choose_storage(uint8_t choice, hid_t space)
{
    hid_t storage = H5Pcreate(H5P_DATASET_CREATE);
    int rank = H5Sget_simple_extent_ndims(space);
    hsize_t chunk[3] = {(hsize_t)choice / 16 + 1, 2, 2};
    switch (choice % 16) {
    case 0:
    case 1:
    case 2:
    case 3:
        H5Pset_chunk(storage, rank > 0 ? rank : 1, chunk);
        if (choice % 16 == 1 || choice % 16 == 3) {
            H5Pset_deflate(storage, 1);
        }
        if (choice % 16 >= 2) {
            H5Pset_fletcher32(storage);
        }
        break;
    case 4:
        H5Pset_layout(storage, H5D_COMPACT);
        break;
    case 5:
        H5Pset_external(storage, secret_raw_path, 0, H5F_UNLIMITED);
        break;
    case 6: {
        hsize_t size = 64;
        hid_t source = H5Screate_simple(1, &size, NULL);
        H5Pset_virtual(storage, space, secret_file_path, "/set", source);
        H5Sclose(source);
        break;
    }
    default:
        break;
    }
    return storage;
}

static inline void write_elements(hid_t set, hid_t type, hsize_t elements, struct fuzz_input data)
{
    bool variable = H5Tis_variable_str(type) > 0;
    size_t size = variable ? sizeof(char *) : H5Tget_size(type);
    if (elements == 0 || elements > (hsize_t)MOST_ELEMENTS * 6 || size > 4096 ||
        H5Tget_class(type) == H5T_VLEN) {
        return;
    }
    char *values = calloc(elements, size);
    char *texts = malloc(data.length + 1);
    REQUIRE(values != NULL && texts != NULL);
    if (data.length > 0) {
        memcpy(texts, data.bytes, data.length);
    }
    texts[data.length] = '\0';
    if (variable) {
        /* Strings divided by the byte 1; those left over stay NULL. */
        char *at = texts;
        for (hsize_t i = 0; i < elements && at != NULL; i++) {
            memcpy(values + i * size, &at, sizeof at);
            char *end = strchr(at, 1);
            if (end != NULL) {
                *end = '\0';
            }
            at = end != NULL ? end + 1 : NULL;
        }
    } else if (data.length > 0) {
        size_t bytes = elements * size;
        memcpy(values, data.bytes, data.length < bytes ? data.length : bytes);
    }
    /* Written as stored: every bit pattern comes in. */
    (void)H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    free(values);
    free(texts);
}

/* Makes `path` as the next bytes say: four of choices, one of how many bytes of data follow. */
static inline void build_dataset(hid_t file, const char *path, struct fuzz_input *input)
{
    uint8_t type_choice = take_byte(input), space_choice = take_byte(input);
    uint8_t storage_choice = take_byte(input), length = take_byte(input);
    uint8_t link = take_byte(input);
    struct fuzz_input data = take_bytes(input, take_byte(input));
    hid_t links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    if (link % 16 == 1) {
        H5Lcreate_external(secret_file_path, "/set", file, path, links, H5P_DEFAULT);
    } else if (link % 16 == 2) {
        H5Lcreate_soft(path, file, path, links, H5P_DEFAULT); /* leads to itself */
    } else if (link % 16 == 3) {
        H5Lcreate_external(secret_file_path, "/set", file, "/elsewhere", links, H5P_DEFAULT);
        H5Lcreate_soft("/elsewhere", file, path, links, H5P_DEFAULT);
    } else if (link % 16 == 4) {
        hid_t group = H5Gcreate2(file, path, links, H5P_DEFAULT, H5P_DEFAULT);
        if (group >= 0) {
            H5Gclose(group);
        }
    } else {
        hsize_t elements;
        hid_t type = choose_type(type_choice);
        hid_t space = choose_space(space_choice, length, &elements);
        hid_t storage = choose_storage(storage_choice, space);
        hid_t set = H5Dcreate2(file, path, type, space, links, storage, H5P_DEFAULT);
        if (set >= 0) {
            if (storage_choice % 16 < 5 || storage_choice % 16 > 6) {
                write_elements(set, type, elements, data);
            }
            H5Dclose(set);
        }
        H5Pclose(storage);
        H5Sclose(space);
        H5Tclose(type);
    }
    H5Pclose(links);
    H5Eclear2(H5E_DEFAULT);
}

#endif
