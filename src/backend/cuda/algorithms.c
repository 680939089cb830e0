/* SPDX-License-Identifier: Apache-2.0 */
/* Which of cuBLASLt's algorithms runs a product: chosen by timing, among those with the right bits,
 * and kept on disk.
 *
 * For a shape (outputs, inputs, types) the numbers of tokens fall into buckets. For each bucket
 * cuBLASLt is asked for candidates without split-K; each runs on made-up input whose first and last
 * rows are the same in every bucket, and those rows' results are hashed. The reference is what the
 * first candidate of the reference bucket gives; candidates with other bits are dropped, and the
 * fastest of the rest is taken. So a row's result does not depend on the number of rows beside it.
 *
 * The cache is one file a GPU model and cuBLASLt version; its records are checked before they are
 * used, and a cache that cannot be read or written only costs the time of choosing again. */
#include "backend/cuda/product.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/cuda/kind/memory.h"

enum {
    CANDIDATES = 12,
    PROBE_ROWS = 8, /* rows at either end that are compared */
    ROUNDS = 5,     /* timed runs of a candidate */
    MAX_BUCKETS = 48,
    CACHE_MAGIC = 0x53474d32, /* changes with the records' meaning */
};

/* What a record on disk is found by; no padding between its fields. */
struct shape_key {
    int64_t a_leading, a_stride, b_leading, b_stride;
    int32_t rows, columns, count, in, out, b_is_packed, alignment, bucket;
};

struct algorithm_record {
    struct shape_key key;
    uint64_t reference; /* hash of the reference's rows */
    float milliseconds;
    int32_t unused;
    cublasLtMatmulAlgo_t algorithm;
    uint64_t checksum; /* of all before it */
};

struct shape_choice {
    struct product_shape shape;
    int buckets; /* the first ones, which hold shape.most_tokens */
    cublasLtMatmulAlgo_t algorithm[MAX_BUCKETS];
    struct shape_choice *next;
};

struct algorithms {
    int bucket_tokens[MAX_BUCKETS], buckets;
    struct shape_choice *shapes; /* the latest first */
    struct algorithm_record *records;
    size_t record_count, record_capacity;
    char *path; /* of the cache, NULL: none */
    cudaEvent_t start, end;
};

/* ---- The cache on disk ---- */

static uint64_t record_checksum(const struct algorithm_record *record)
{
    return hash_bytes(record, offsetof(struct algorithm_record, checksum), CACHE_MAGIC);
}

/* ~/.cache/sluice/products-NAME-VERSION, its folders made; NULL where there is no such place. */
static char *cache_path(const struct cuda_backend *cuda)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char folder[1024], name[sizeof cuda->name], path[1400];
    if (cache != NULL && cache[0] == '/') {
        snprintf(folder, sizeof folder, "%s", cache);
    } else if (home != NULL && home[0] == '/') {
        snprintf(folder, sizeof folder, "%s/.cache", home);
    } else {
        return NULL;
    }
    (void)mkdir(folder, 0777);
    snprintf(path, sizeof path, "%s/sluice", folder);
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        return NULL;
    }
    snprintf(name, sizeof name, "%s", cuda->name);
    for (char *c = name; *c != '\0'; c++) {
        const bool plain =
            (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        *c = plain ? *c : '-';
    }
    snprintf(path, sizeof path, "%s/sluice/products-%s-%zu", folder, name, cublasLtGetVersion());
    return strdup(path);
}

static struct algorithm_record *find_record(const struct algorithms *algorithms,
                                            const struct shape_key *key)
{
    for (size_t i = 0; i < algorithms->record_count; i++) {
        if (memcmp(&algorithms->records[i].key, key, sizeof *key) == 0) {
            return &algorithms->records[i];
        }
    }
    return NULL;
}

static status append_record(struct algorithms *algorithms, const struct algorithm_record *record)
{
    void *grown = algorithms->records;
    TRY(array_grow(&grown, &algorithms->record_capacity, algorithms->record_count + 1,
                   sizeof *record));
    algorithms->records = grown;
    algorithms->records[algorithms->record_count++] = *record;
    return STATUS_OK;
}

/* In place of the record that is there for the same, if any. */
static status keep_record(struct algorithms *algorithms, const struct algorithm_record *record)
{
    struct algorithm_record *old = find_record(algorithms, &record->key);
    if (old == NULL) {
        return append_record(algorithms, record);
    }
    *old = *record;
    return STATUS_OK;
}

static void read_cache(struct algorithms *algorithms)
{
    FILE *file = algorithms->path != NULL ? fopen(algorithms->path, "rb") : NULL;
    if (file == NULL) {
        return;
    }
    struct algorithm_record record;
    while (fread(&record, sizeof record, 1, file) == 1 &&
           record.checksum == record_checksum(&record)) {
        if (append_record(algorithms, &record) != STATUS_OK) {
            break;
        }
    }
    fclose(file);
}

/* Whole under another name, then renamed: ranks that write at once leave one of their files. */
static void write_cache(const struct algorithms *algorithms)
{
    if (algorithms->path == NULL) {
        return;
    }
    char temporary[1500];
    snprintf(temporary, sizeof temporary, "%s.%ld", algorithms->path, (long)getpid());
    FILE *file = fopen(temporary, "wb");
    if (file == NULL) {
        return;
    }
    const size_t written =
        fwrite(algorithms->records, sizeof *algorithms->records, algorithms->record_count, file);
    if (fclose(file) != 0 || written != algorithms->record_count ||
        rename(temporary, algorithms->path) != 0) {
        (void)unlink(temporary);
    }
}

/* ---- Creation ---- */

/* 1, 2, 4, 8, 16, 24, 32, 48, 64, 96, … up to the first that holds max_tokens. */
static void choose_buckets(struct algorithms *algorithms, int max_tokens)
{
    int64_t tokens = 1;
    while (algorithms->buckets < MAX_BUCKETS) {
        algorithms->bucket_tokens[algorithms->buckets++] = (int)tokens;
        if (tokens >= max_tokens) {
            return;
        }
        const bool is_power = (tokens & (tokens - 1)) == 0;
        tokens = tokens < 16 ? 2 * tokens : is_power ? tokens + tokens / 2 : tokens / 3 * 4;
    }
}

status algorithms_create(struct cuda_backend *cuda, struct algorithms **out)
{
    *out = NULL;
    struct algorithms *algorithms = calloc(1, sizeof *algorithms);
    if (algorithms == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for products");
    }
    choose_buckets(algorithms, cuda->max_tokens > CUDA_REFERENCE_TOKENS ? cuda->max_tokens
                                                                        : CUDA_REFERENCE_TOKENS);
    status s = cuda_check(cudaEventCreate(&algorithms->start), "event");
    if (s == STATUS_OK) {
        s = cuda_check(cudaEventCreate(&algorithms->end), "event");
    }
    if (s != STATUS_OK) {
        algorithms_destroy(algorithms);
        return s;
    }
    algorithms->path = cache_path(cuda);
    read_cache(algorithms);
    *out = algorithms;
    return STATUS_OK;
}

void algorithms_destroy(struct algorithms *algorithms)
{
    if (algorithms == NULL) {
        return;
    }
    while (algorithms->shapes != NULL) {
        struct shape_choice *next = algorithms->shapes->next;
        free(algorithms->shapes);
        algorithms->shapes = next;
    }
    if (algorithms->start != NULL) {
        (void)cudaEventDestroy(algorithms->start);
    }
    if (algorithms->end != NULL) {
        (void)cudaEventDestroy(algorithms->end);
    }
    free(algorithms->records);
    free(algorithms->path);
    free(algorithms);
}

/* ---- Trials ---- */

/* Device memory of the trials of one shape. */
struct trial {
    struct cuda_backend *cuda;
    const struct product_shape *shape;
    const void *a;
    void *in, *out;
    uint64_t *hashes; /* device: of rows at either end */
    int right;        /* candidates of the bucket with the reference's bits */
    float fastest;    /* milliseconds, of all of them */
    bool has_reference;
    uint64_t reference[2 * PROBE_ROWS]; /* of rows 0…, then of rows behind the last */
};

static size_t input_rows(const struct product_shape *shape, int tokens)
{
    return (size_t)tokens * (size_t)(shape->b_is_packed ? shape->count : 1);
}

static void trial_end(struct trial *trial)
{
    (void)cudaFree(trial->in);
    (void)cudaFree(trial->out);
    (void)cudaFree(trial->hashes);
}

static status trial_begin(struct trial *trial, int most_tokens)
{
    const struct product_shape *shape = trial->shape;
    const size_t in_bytes =
        input_rows(shape, most_tokens) * (size_t)shape->b_leading * dtype_bytes(shape->in);
    const size_t out_bytes =
        (size_t)shape->count * (size_t)most_tokens * (size_t)shape->rows * dtype_bytes(shape->out);
    TRY(cuda_check(cudaMalloc(&trial->in, in_bytes + 16), "trial of products"));
    TRY(cuda_check(cudaMalloc(&trial->out, out_bytes + 16), "trial of products"));
    return cuda_check(cudaMalloc((void **)&trial->hashes, sizeof trial->reference),
                      "trial of products");
}

/* Input for `tokens` rows; packed slices one by one, so that each begins and ends alike. */
static status fill_input(struct trial *trial, int tokens)
{
    const struct product_shape *shape = trial->shape;
    const int blocks = shape->b_is_packed ? shape->count : 1;
    const size_t bytes = (size_t)tokens * (size_t)shape->b_leading * dtype_bytes(shape->in);
    for (int i = 0; i < blocks; i++) {
        TRY(cuda_check(rows_probe_launch(trial->cuda->stream, (char *)trial->in + (size_t)i * bytes,
                                         tokens, (int)shape->b_leading, (int)shape->in, PROBE_ROWS),
                       "trial of products"));
    }
    return STATUS_OK;
}

/* The probed rows of the trial's output: how many at either end, and their hashes. All slices' rows
 * join in one hash a row. */
static status hash_output(struct trial *trial, int tokens, int *probed, uint64_t *hashes)
{
    const struct product_shape *shape = trial->shape;
    const size_t row_bytes = (size_t)shape->rows * dtype_bytes(shape->out);
    /* At most half of the rows are the first ones, the others their mirror image. */
    const int rows = tokens < 2 * PROBE_ROWS ? (tokens + 1) / 2 : PROBE_ROWS;
    const int ends = tokens < 2 ? 1 : 2;
    memset(hashes, 0, sizeof trial->reference);
    for (int slice = 0; slice < shape->count; slice++) {
        const char *from = (const char *)trial->out + (size_t)slice * (size_t)tokens * row_bytes;
        uint64_t found[2 * PROBE_ROWS];
        for (int end = 0; end < ends; end++) {
            const int first = end == 0 ? 0 : tokens - rows;
            TRY(cuda_check(rows_hash_launch(trial->cuda->stream, from + (size_t)first * row_bytes,
                                            rows, row_bytes, trial->hashes + end * PROBE_ROWS),
                           "trial of products"));
        }
        TRY(cuda_check(cudaMemcpyAsync(found, trial->hashes, sizeof found, cudaMemcpyDeviceToHost,
                                       trial->cuda->stream),
                       "trial of products"));
        TRY(cuda_check(cudaStreamSynchronize(trial->cuda->stream), "trial of products"));
        for (int i = 0; i < rows; i++) {
            hashes[i] = 31 * hashes[i] + found[i];
            if (ends == 2) { /* mirrored: the last row is kind 0 */
                hashes[PROBE_ROWS + i] =
                    31 * hashes[PROBE_ROWS + i] + found[PROBE_ROWS + rows - 1 - i];
            }
        }
    }
    *probed = rows;
    return STATUS_OK;
}

/* Whether the output has the reference's bits; the first output becomes the reference. */
static status has_right_bits(struct trial *trial, int tokens, bool *right)
{
    uint64_t hashes[2 * PROBE_ROWS];
    int rows;
    TRY(hash_output(trial, tokens, &rows, hashes));
    if (!trial->has_reference) {
        memcpy(trial->reference, hashes, sizeof hashes);
        trial->has_reference = true;
    }
    *right = true;
    for (int i = 0; i < rows; i++) {
        const bool end = tokens >= 2 && hashes[PROBE_ROWS + i] != trial->reference[i];
        *right = *right && hashes[i] == trial->reference[i] && !end;
    }
    return STATUS_OK;
}

static status find_candidates(struct trial *trial, struct product_description *description,
                              cublasLtMatmulHeuristicResult_t *results, int *count)
{
    const struct cuda_products *products = trial->cuda->products;
    const uint32_t alignment = (uint32_t)trial->shape->alignment;
    const uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_NONE;
    static const cublasLtMatmulPreferenceAttributes_t aligned[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    cublasLtMatmulPreferenceOpaque_t preference;
    cublasStatus_t code = cublasLtMatmulPreferenceInit(&preference);
    if (code == CUBLAS_STATUS_SUCCESS) {
        code = cublasLtMatmulPreferenceSetAttribute(
            &preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &products->workspace_bytes,
            sizeof products->workspace_bytes);
    }
    if (code == CUBLAS_STATUS_SUCCESS) {
        code = cublasLtMatmulPreferenceSetAttribute(
            &preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes, sizeof schemes);
    }
    for (size_t i = 0; i < COUNT_OF(aligned) && code == CUBLAS_STATUS_SUCCESS; i++) {
        code = cublasLtMatmulPreferenceSetAttribute(&preference, aligned[i], &alignment,
                                                    sizeof alignment);
    }
    *count = 0;
    if (code == CUBLAS_STATUS_SUCCESS) {
        code = cublasLtMatmulAlgoGetHeuristic(
            products->handle, &description->operation, &description->a, &description->b,
            &description->d, &description->d, &preference, CANDIDATES, results, count);
    }
    const struct product_shape *shape = trial->shape;
    return status_context(cuda_check_blas(code, "product"), "%d × %d × %d in %s to %s", shape->rows,
                          shape->columns, shape->count, dtype_name(shape->in),
                          dtype_name(shape->out));
}

/* Milliseconds of one run, the best of ROUNDS; false where it does not run. */
static status time_candidate(struct trial *trial, struct product_description *description,
                             const cublasLtMatmulAlgo_t *algorithm, float *milliseconds, bool *runs)
{
    const struct algorithms *algorithms = trial->cuda->products->algorithms;
    cudaStream_t stream = trial->cuda->stream;
    *runs = product_launch(trial->cuda, description, algorithm, trial->a, trial->in, trial->out) ==
            CUBLAS_STATUS_SUCCESS;
    *milliseconds = 1e30f;
    for (int i = 0; *runs && i < ROUNDS; i++) {
        TRY(cuda_check(cudaEventRecord(algorithms->start, stream), "trial of products"));
        TRY(cuda_check_blas(
            product_launch(trial->cuda, description, algorithm, trial->a, trial->in, trial->out),
            "trial of products"));
        TRY(cuda_check(cudaEventRecord(algorithms->end, stream), "trial of products"));
        TRY(cuda_check(cudaEventSynchronize(algorithms->end), "trial of products"));
        float taken;
        TRY(cuda_check(cudaEventElapsedTime(&taken, algorithms->start, algorithms->end),
                       "trial of products"));
        *milliseconds = taken < *milliseconds ? taken : *milliseconds;
    }
    return STATUS_OK;
}

/* Takes the candidate into the record where it has the right bits and is faster. */
static status try_candidate(struct trial *trial, struct product_description *description,
                            const cublasLtMatmulAlgo_t *algorithm, int tokens,
                            struct algorithm_record *record)
{
    float milliseconds;
    bool runs, right = false;
    TRY(time_candidate(trial, description, algorithm, &milliseconds, &runs));
    if (runs) {
        TRY(has_right_bits(trial, tokens, &right));
    }
    trial->right += right;
    trial->fastest = milliseconds < trial->fastest ? milliseconds : trial->fastest;
    if (right && milliseconds < record->milliseconds) {
        record->milliseconds = milliseconds;
        record->algorithm = *algorithm;
    }
    return STATUS_OK;
}

/* `reference`: the reference bucket's choice, which is tried where no candidate will do. */
static status try_bucket(struct trial *trial, int tokens, const cublasLtMatmulAlgo_t *reference,
                         struct algorithm_record *record)
{
    struct product_description description;
    cublasLtMatmulHeuristicResult_t results[CANDIDATES];
    int count;
    TRY(product_describe(trial->shape, tokens, &description));
    TRY(find_candidates(trial, &description, results, &count));
    TRY(fill_input(trial, tokens));
    record->milliseconds = trial->fastest = 1e30f;
    trial->right = 0;
    for (int i = 0; i < count; i++) {
        TRY(try_candidate(trial, &description, &results[i].algo, tokens, record));
    }
    if (record->milliseconds >= 1e30f && reference != NULL) {
        TRY(try_candidate(trial, &description, reference, tokens, record));
    }
    const struct product_shape *shape = trial->shape;
    if (record->milliseconds >= 1e30f) {
        return status_fail(STATUS_UNSUPPORTED,
                           "product %d × %d × %d in %s for %d tokens: none of cuBLASLt's %d "
                           "algorithms gives the bits that other numbers of tokens get",
                           shape->rows, shape->columns, shape->count, dtype_name(shape->in), tokens,
                           count);
    }
    log_write(LOG_DEBUG,
              "product %d × %d × %d in %s for %d tokens: %.4f ms; %d of %d candidates have the "
              "bits, the fastest of all takes %.4f ms",
              shape->rows, shape->columns, shape->count, dtype_name(shape->in), tokens,
              (double)record->milliseconds, trial->right, count, (double)trial->fastest);
    return STATUS_OK;
}

static struct shape_key key_of(const struct product_shape *shape, int bucket_tokens)
{
    return (struct shape_key){.a_leading = shape->a_leading,
                              .a_stride = shape->a_stride,
                              .b_leading = shape->b_leading,
                              .b_stride = shape->b_stride,
                              .rows = shape->rows,
                              .columns = shape->columns,
                              .count = shape->count,
                              .in = (int32_t)shape->in,
                              .out = (int32_t)shape->out,
                              .b_is_packed = shape->b_is_packed,
                              .alignment = shape->alignment,
                              .bucket = bucket_tokens};
}

/* The bucket whose first candidate is the reference: the same number of tokens in all jobs, also
 * where a step never has that many. */
static int reference_bucket(const struct algorithms *algorithms)
{
    int i = 0;
    while (algorithms->bucket_tokens[i] < CUDA_REFERENCE_TOKENS) {
        i++;
    }
    return i;
}

/* Up to the one that holds the shape's most tokens, and the reference's. */
static int buckets_of(const struct algorithms *algorithms, const struct product_shape *shape)
{
    int i = reference_bucket(algorithms);
    while (i + 1 < algorithms->buckets && algorithms->bucket_tokens[i] < shape->most_tokens) {
        i++;
    }
    return i + 1;
}

static status try_all_buckets(struct trial *trial, struct shape_choice *choice)
{
    struct algorithms *algorithms = trial->cuda->products->algorithms;
    const int first = reference_bucket(algorithms);
    TRY(trial_begin(trial, algorithms->bucket_tokens[choice->buckets - 1]));
    for (int i = 0; i < choice->buckets; i++) {
        /* The reference bucket changes places with the first. */
        const int bucket = i == 0 ? first : i <= first ? i - 1 : i;
        struct algorithm_record record;
        memset(&record, 0, sizeof record); /* it is hashed and written as it lies */
        record.key = key_of(trial->shape, algorithms->bucket_tokens[bucket]);
        TRY(try_bucket(trial, algorithms->bucket_tokens[bucket],
                       i > 0 ? &choice->algorithm[first] : NULL, &record));
        record.reference = trial->reference[0];
        record.checksum = record_checksum(&record);
        choice->algorithm[bucket] = record.algorithm;
        TRY(keep_record(algorithms, &record));
    }
    return STATUS_OK;
}

/* From the cache, if all buckets are there, of one reference, and still run. */
static bool take_from_cache(struct cuda_backend *cuda, struct shape_choice *choice)
{
    const struct algorithms *algorithms = cuda->products->algorithms;
    uint64_t reference = 0;
    for (int i = 0; i < choice->buckets; i++) {
        const struct shape_key key = key_of(&choice->shape, algorithms->bucket_tokens[i]);
        const struct algorithm_record *record = find_record(algorithms, &key);
        struct product_description description;
        cublasLtMatmulHeuristicResult_t result;
        if (record == NULL || (i > 0 && record->reference != reference) ||
            product_describe(&choice->shape, algorithms->bucket_tokens[i], &description) !=
                STATUS_OK ||
            cublasLtMatmulAlgoCheck(cuda->products->handle, &description.operation, &description.a,
                                    &description.b, &description.d, &description.d,
                                    &record->algorithm, &result) != CUBLAS_STATUS_SUCCESS ||
            result.workspaceSize > cuda->products->workspace_bytes) {
            return false;
        }
        reference = record->reference;
        choice->algorithm[i] = record->algorithm;
    }
    return true;
}

static status choose(struct cuda_backend *cuda, const struct product_shape *shape, const void *a,
                     struct shape_choice **out)
{
    struct algorithms *algorithms = cuda->products->algorithms;
    struct shape_choice *choice = calloc(1, sizeof *choice);
    if (choice == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for products");
    }
    choice->shape = *shape;
    choice->buckets = buckets_of(algorithms, shape);
    if (!take_from_cache(cuda, choice)) {
        struct trial trial = {.cuda = cuda, .shape = shape, .a = a};
        const status s = try_all_buckets(&trial, choice);
        trial_end(&trial);
        if (s != STATUS_OK) {
            free(choice);
            return s;
        }
        write_cache(algorithms);
    }
    choice->next = algorithms->shapes;
    algorithms->shapes = choice;
    *out = choice;
    return STATUS_OK;
}

static bool is_same_shape(const struct product_shape *a, const struct product_shape *b)
{
    return a->rows == b->rows && a->columns == b->columns && a->count == b->count &&
           a->in == b->in && a->out == b->out && a->a_leading == b->a_leading &&
           a->a_stride == b->a_stride && a->b_leading == b->b_leading &&
           a->b_stride == b->b_stride && a->b_is_packed == b->b_is_packed &&
           a->alignment == b->alignment && a->most_tokens == b->most_tokens;
}

status algorithms_find(struct cuda_backend *cuda, const struct product_shape *shape, const void *a,
                       int tokens, const cublasLtMatmulAlgo_t **out)
{
    struct algorithms *algorithms = cuda->products->algorithms;
    struct shape_choice *choice = algorithms->shapes;
    while (choice != NULL && !is_same_shape(&choice->shape, shape)) {
        choice = choice->next;
    }
    if (choice == NULL) {
        TRY(choose(cuda, shape, a, &choice));
    }
    int bucket = 0;
    while (bucket + 1 < choice->buckets && algorithms->bucket_tokens[bucket] < tokens) {
        bucket++;
    }
    *out = &choice->algorithm[bucket];
    return STATUS_OK;
}
