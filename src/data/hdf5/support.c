/* SPDX-License-Identifier: Apache-2.0 */
/* HDF5 errors as status, and columns: one-dimensional datasets read in pieces. */
#include "data/hdf5/support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "data/hdf5/lzf.h"

#if !H5_VERSION_GE(1, 10, 7)
#error "HDF5 1.10.7 or newer is needed: older ones cannot be told to leave file locks alone"
#endif

void hdf5_silence(void)
{
    static bool done;
    if (!done) {
        /* What HDF5 does at the process's end crashes where a file could not be written (1.10.8,
         * disk full): its identifiers point at what is gone by then. All that counts is closed
         * before. */
        H5dont_atexit();
        hdf5_lzf_register();
        done = true;
    }
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

enum { REASON_BYTES = 256 };

/* The innermost message. One of a failed system call is a line of details with ctime's newline in
 * it; strerror's text stands in there as "error message = 'text'". */
static herr_t take_innermost(unsigned depth, const H5E_error2_t *error, void *context)
{
    static const char quoted[] = "error message = '";
    char *text = context;
    if (depth != 0 || error->desc == NULL) {
        return 0;
    }
    const char *reason = strstr(error->desc, quoted);
    if (reason != NULL) {
        reason += strlen(quoted);
        snprintf(text, REASON_BYTES, "%.*s", (int)strcspn(reason, "'"), reason);
    } else {
        snprintf(text, REASON_BYTES, "%.*s", (int)strcspn(error->desc, "\n"), error->desc);
    }
    return 0;
}

status hdf5_fail(status code, const char *format, ...)
{
    char reason[REASON_BYTES] = "";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_innermost, reason);
    H5Eclear2(H5E_DEFAULT);
    char text[768];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (reason[0] == '\0') {
        return status_fail(code, "%s", text);
    }
    return status_fail(code, "%s: HDF5: %s", text, reason);
}

hid_t hdf5_file_access(void)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (access >= 0 && (H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) < 0 ||
                        H5Pset_libver_bounds(access, H5F_LIBVER_EARLIEST, H5F_LIBVER_LATEST) < 0 ||
                        H5Pset_file_locking(access, false, true) < 0)) {
        H5Pclose(access);
        return -1;
    }
    return access;
}

status hdf5_open_readonly(const char *path, hid_t *file)
{
    hdf5_silence();
    *file = -1;
    struct stat info;
    if (stat(path, &info) != 0) {
        return status_fail_errno(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "%s", path);
    }
    if (!S_ISREG(info.st_mode)) {
        return status_fail(STATUS_INVALID, "%s: %s, not an HDF5 file", path,
                           S_ISDIR(info.st_mode) ? "a directory" : "not a regular file");
    }
    hid_t access = hdf5_file_access();
    *file = access >= 0 ? H5Fopen(path, H5F_ACC_RDONLY, access) : -1;
    status s =
        *file >= 0 ? STATUS_OK : hdf5_fail(STATUS_INVALID, "%s: cannot be opened as HDF5", path);
    if (access >= 0) {
        H5Pclose(access);
    }
    return s;
}

/* A file that is read may not send us to other files. */
static herr_t refuse_external(const char *parent_file, const char *parent_group,
                              const char *child_file, const char *child_object, unsigned *flags,
                              hid_t access, void *context)
{
    (void)parent_file;
    (void)parent_group;
    (void)child_file;
    (void)child_object;
    (void)flags;
    (void)access;
    (void)context;
    return -1;
}

/* Access properties of `list_class` by which no external link is followed; negative on failure. */
static hid_t create_link_access(hid_t list_class)
{
    hid_t access = H5Pcreate(list_class);
    if (access >= 0 && H5Pset_elink_cb(access, refuse_external, NULL) < 0) {
        H5Pclose(access);
        return -1;
    }
    return access;
}

static bool every_step_exists(hid_t file, const char *path, hid_t access)
{
    /* H5Lexists wants every step before the last to exist, so they are tried one after the other.
     */
    char step[1024];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof step) {
        return false;
    }
    for (size_t end = 1; end <= length; end++) {
        if (end < length && path[end] != '/') {
            continue;
        }
        memcpy(step, path, end);
        step[end] = '\0';
        if (strspn(step, "/") == end) {
            continue;
        }
        if (H5Lexists(file, step, access) <= 0 || H5Oexists_by_name(file, step, access) <= 0) {
            return false;
        }
    }
    return true;
}

bool hdf5_path_exists(hid_t file, const char *path)
{
    hid_t access = create_link_access(H5P_LINK_ACCESS);
    bool exists = access >= 0 && every_step_exists(file, path, access);
    if (access >= 0) {
        H5Pclose(access);
    }
    H5Eclear2(H5E_DEFAULT);
    return exists;
}

bool hdf5_path_is_group(hid_t file, const char *path)
{
    hid_t access = create_link_access(H5P_LINK_ACCESS);
    bool there = access >= 0 && every_step_exists(file, path, access);
    hid_t object = there ? H5Oopen(file, path, access) : -1;
    bool is_group = object >= 0 && H5Iget_type(object) == H5I_GROUP;
    if (object >= 0) {
        H5Oclose(object);
    }
    if (access >= 0) {
        H5Pclose(access);
    }
    H5Eclear2(H5E_DEFAULT);
    return is_group;
}

static status visit_link(hid_t group, hsize_t index, hdf5_link_visitor visit, void *context)
{
    char name[256];
    ssize_t length = H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, index, name,
                                        sizeof name, H5P_DEFAULT);
    if (length < 0) {
        return hdf5_fail(STATUS_INVALID, "a group that cannot be listed");
    }
    return (size_t)length < sizeof name
               ? visit(context, name)
               : status_fail(STATUS_LIMIT, "a name of %zd bytes, %.60s…", length, name);
}

status hdf5_visit_links(hid_t file, const char *path, hdf5_link_visitor visit, void *context)
{
    enum { MOST_LINKS = 1 << 16 };
    hid_t group = H5Gopen2(file, path, H5P_DEFAULT);
    H5G_info_t info;
    if (group < 0 || H5Gget_info(group, &info) < 0) {
        status s = hdf5_fail(STATUS_INVALID, "%s: not a readable group", path);
        if (group >= 0) {
            H5Gclose(group);
        }
        return s;
    }
    status s = info.nlinks <= MOST_LINKS ? STATUS_OK
                                         : status_fail(STATUS_LIMIT, "%s: %llu names", path,
                                                       (unsigned long long)info.nlinks);
    for (hsize_t i = 0; s == STATUS_OK && i < info.nlinks; i++) {
        s = visit_link(group, i, visit, context);
    }
    H5Gclose(group);
    return s;
}

hid_t hdf5_string_type(void)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0 &&
        (H5Tset_size(type, H5T_VARIABLE) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0)) {
        H5Tclose(type);
        return -1;
    }
    return type;
}

/* The type that strings of `stored` are read as: the same, which spares HDF5 a conversion that it
 * does not have for every pair of string types. */
static status choose_string_type(struct hdf5_column *column, hid_t stored)
{
    htri_t variable = H5Tis_variable_str(stored);
    size_t size = H5Tget_size(stored);
    column->memory = variable >= 0 ? H5Tcopy(stored) : -1;
    if (column->memory < 0 || size == 0) {
        return hdf5_fail(STATUS_INVALID, "%s: unreadable string type", column->name);
    }
    if (variable == 0) {
        column->fixed_size = size;
        column->space_padded = H5Tget_strpad(stored) == H5T_STR_SPACEPAD;
    }
    return STATUS_OK;
}

/* Filters of the registry that people meet; the message is for whoever has the file. */
static const char *filter_name(H5Z_filter_t id)
{
    static const struct {
        H5Z_filter_t id;
        const char *name;
    } names[] = {
        {H5Z_FILTER_SZIP, "szip"}, {305, "LZO"},   {307, "bzip2"},        {32000, "LZF"},
        {32001, "Blosc"},          {32004, "LZ4"}, {32008, "bitshuffle"}, {32013, "ZFP"},
        {32015, "Zstandard"},      {32017, "SZ"},  {32026, "Blosc2"},
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (names[i].id == id) {
            return names[i].name;
        }
    }
    return "unknown";
}

/* HDF5 itself would say, at the first read, that it cannot open a directory of plug-ins. */
static status check_filters(const char *path, hid_t storage)
{
    int count = H5Pget_nfilters(storage);
    for (int i = 0; i < count; i++) {
        unsigned flags;
        size_t values = 0;
        H5Z_filter_t id =
            H5Pget_filter2(storage, (unsigned)i, &flags, &values, NULL, 0, NULL, NULL);
        if (id >= 0 && H5Zfilter_avail(id) > 0) {
            continue;
        }
        H5Eclear2(H5E_DEFAULT);
        return status_fail(STATUS_UNSUPPORTED,
                           "%s: is compressed by a filter that is not here, %s (%d); write the "
                           "file anew: h5repack -f GZIP=4 OLD NEW, where the filter is installed",
                           path, filter_name(id), (int)id);
    }
    return STATUS_OK;
}

/* That the values lie in this file and can be decompressed. */
static status check_storage(const char *path, hid_t dataset)
{
    hid_t storage = H5Dget_create_plist(dataset);
    status s = STATUS_OK;
    if (storage < 0 || H5Pget_external_count(storage) != 0 ||
        H5Pget_layout(storage) == H5D_VIRTUAL) {
        s = hdf5_fail(STATUS_INVALID, "%s: its values lie in other files; copy them into this one",
                      path);
    } else {
        s = check_filters(path, storage);
    }
    if (storage >= 0) {
        H5Pclose(storage);
    }
    return s;
}

status hdf5_column_open(hid_t file, const char *path, H5T_class_t type_class, int rank,
                        struct hdf5_column *column)
{
    *column = (struct hdf5_column){.dataset = -1, .space = -1, .memory = -1};
    snprintf(column->name, sizeof column->name, "%s", path);
    if (!hdf5_path_exists(file, path)) {
        return status_fail(STATUS_NOT_FOUND, "no dataset %s", path);
    }
    hid_t access = create_link_access(H5P_DATASET_ACCESS);
    column->dataset = access >= 0 ? H5Dopen2(file, path, access) : -1;
    if (access >= 0) {
        H5Pclose(access);
    }
    if (column->dataset < 0) {
        return hdf5_fail(STATUS_INVALID, "%s: not a readable dataset", path);
    }
    TRY(check_storage(path, column->dataset));
    column->space = H5Dget_space(column->dataset);
    hsize_t sizes[2] = {0};
    if (column->space < 0 || H5Sget_simple_extent_type(column->space) != H5S_SIMPLE ||
        H5Sget_simple_extent_ndims(column->space) != rank || rank > 2 ||
        H5Sget_simple_extent_dims(column->space, sizes, NULL) < 0 || sizes[0] > INT64_MAX / 64) {
        return hdf5_fail(STATUS_INVALID, "%s: expected a dataset of %d dimension%s", path, rank,
                         rank == 1 ? "" : "s");
    }
    column->length = (int64_t)sizes[0];
    hid_t stored = H5Dget_type(column->dataset);
    H5T_class_t found = stored >= 0 ? H5Tget_class(stored) : H5T_NO_CLASS;
    status s = STATUS_OK;
    bool is_scalar =
        found == H5T_STRING || found == H5T_INTEGER || found == H5T_FLOAT || found == H5T_ENUM;
    if (type_class == H5T_NO_CLASS && !is_scalar) {
        s = hdf5_fail(STATUS_INVALID, "%s: expected a dataset of numbers, booleans or strings",
                      path);
    } else if (type_class != H5T_NO_CLASS && found != type_class &&
               !(type_class == H5T_INTEGER && found == H5T_ENUM)) {
        s = hdf5_fail(STATUS_INVALID, "%s: expected a dataset of %s", path,
                      type_class == H5T_STRING    ? "strings"
                      : type_class == H5T_INTEGER ? "integers"
                      : type_class == H5T_FLOAT   ? "floating-point numbers"
                                                  : "compounds");
    } else if (found == H5T_STRING) {
        s = choose_string_type(column, stored);
    }
    if (stored >= 0) {
        H5Tclose(stored);
    }
    return s;
}

void hdf5_column_close(struct hdf5_column *column)
{
    /* A zeroed struct that was never opened holds no identifier: 0 is none of HDF5's. */
    if (column->memory > 0) {
        H5Tclose(column->memory);
    }
    if (column->space > 0) {
        H5Sclose(column->space);
    }
    if (column->dataset > 0) {
        H5Dclose(column->dataset);
    }
    *column = (struct hdf5_column){.dataset = -1, .space = -1, .memory = -1};
}

static status read_rows(const struct hdf5_column *column, hid_t memory, hid_t transfer,
                        int64_t first, int64_t count, void *out)
{
    if (first < 0 || count < 0 || first > column->length || count > column->length - first) {
        return status_fail(STATUS_INVALID, "%s: rows %lld to %lld of %lld", column->name,
                           (long long)first, (long long)(first + count), (long long)column->length);
    }
    if (count == 0) {
        return STATUS_OK;
    }
    hsize_t sizes[2] = {0, 0};
    int rank = H5Sget_simple_extent_dims(column->space, sizes, NULL);
    hsize_t start[2] = {(hsize_t)first, 0};
    hsize_t extent[2] = {(hsize_t)count, sizes[1]};
    hid_t target = rank > 0 ? H5Screate_simple(rank, extent, NULL) : -1;
    status s = STATUS_OK;
    if (target < 0 ||
        H5Sselect_hyperslab(column->space, H5S_SELECT_SET, start, NULL, extent, NULL) < 0 ||
        H5Dread(column->dataset, memory, target, column->space, transfer, out) < 0) {
        s = hdf5_fail(STATUS_IO, "%s: rows %lld to %lld cannot be read", column->name,
                      (long long)first, (long long)(first + count - 1));
    }
    if (target >= 0) {
        H5Sclose(target);
    }
    return s;
}

status hdf5_column_read(const struct hdf5_column *column, hid_t memory, int64_t first,
                        int64_t count, void *out)
{
    return read_rows(column, memory, H5P_DEFAULT, first, count, out);
}

/* HDF5 asks here for the memory of each variable-length string: all of it lives in the arena, so
 * that a read which fails half way leaks nothing, and a budget holds. */
struct string_budget {
    struct arena *arena;
    size_t budget;
    bool exceeded, no_memory;
};

static void *allocate_string(size_t size, void *context)
{
    struct string_budget *strings = context;
    size_t used = strings->arena->used_bytes;
    if (size > strings->budget || used > strings->budget - size) {
        strings->exceeded = true;
        return NULL;
    }
    void *memory = arena_allocate(strings->arena, size);
    strings->no_memory |= memory == NULL;
    return memory;
}

static void free_string(void *memory, void *context)
{
    (void)memory; /* with the arena */
    (void)context;
}

static status read_variable_strings(const struct hdf5_column *column, int64_t first, int64_t count,
                                    size_t budget, struct arena *arena, const char **texts)
{
    struct string_budget strings = {.arena = arena, .budget = budget};
    memset(texts, 0, (size_t)count * sizeof *texts);
    hid_t transfer = H5Pcreate(H5P_DATASET_XFER);
    if (transfer < 0 ||
        H5Pset_vlen_mem_manager(transfer, allocate_string, &strings, free_string, &strings) < 0) {
        return hdf5_fail(STATUS_NO_MEMORY, "%s", column->name);
    }
    status s = read_rows(column, column->memory, transfer, first, count, texts);
    H5Pclose(transfer);
    if (strings.exceeded) {
        s = status_fail(STATUS_LIMIT, "%s: a string of more than %zu bytes", column->name, budget);
    } else if (strings.no_memory) {
        s = status_fail(STATUS_NO_MEMORY, "%s: out of memory for strings", column->name);
    }
    return s;
}

static status read_fixed_strings(const struct hdf5_column *column, int64_t first, int64_t count,
                                 size_t budget, struct arena *arena, const char **texts,
                                 size_t *lengths)
{
    size_t size = column->fixed_size;
    if (size > budget / (size_t)(count > 0 ? count : 1) || arena->used_bytes > budget) {
        return status_fail(STATUS_LIMIT, "%s: %lld strings of %zu bytes", column->name,
                           (long long)count, size);
    }
    char *block = arena_allocate_array(arena, (size_t)count, size);
    if (block == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory for strings", column->name);
    }
    TRY(read_rows(column, column->memory, H5P_DEFAULT, first, count, block));
    for (int64_t i = 0; i < count; i++) {
        texts[i] = block + (size_t)i * size;
        lengths[i] = strnlen(texts[i], size);
        while (column->space_padded && lengths[i] > 0 && texts[i][lengths[i] - 1] == ' ') {
            lengths[i]--;
        }
    }
    return STATUS_OK;
}

status hdf5_column_read_strings(const struct hdf5_column *column, int64_t first, int64_t count,
                                size_t budget, struct arena *arena, const char **texts,
                                size_t *lengths)
{
    if (column->fixed_size > 0) {
        return read_fixed_strings(column, first, count, budget, arena, texts, lengths);
    }
    TRY(read_variable_strings(column, first, count, budget, arena, texts));
    for (int64_t i = 0; i < count; i++) {
        if (texts[i] == NULL) {
            texts[i] = "";
        }
        lengths[i] = strlen(texts[i]);
    }
    return STATUS_OK;
}
