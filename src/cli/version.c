/* SPDX-License-Identifier: Apache-2.0 */
/* What this program is and what it runs with: the version, and a line "key value" for the commit,
 * each library as it is loaded, and the compiler. */
#include <hdf5.h>
#include <mpi.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "commit.h" /* made by each build: cmake/commit.cmake */

enum { VERSION_SIZE = MPI_MAX_LIBRARY_VERSION_STRING };

#ifdef SLUICE_CUDA
/* All that is seen of src/backend/cuda and src/comm/nccl, which need the toolkit's headers. */
void cuda_runtime_version(char *out, size_t size);
void cuda_cublaslt_version(char *out, size_t size);
void nccl_version(char *out, size_t size);
#endif

static void commit(char *out, size_t size)
{
    snprintf(out, size, "%s", SLUICE_COMMIT);
}

/* The library's name and version, without what some say after it: packages, dates, options. */
static void mpi_version(char *out, size_t size)
{
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0, version = 0, subversion = 0;
    MPI_Get_library_version(text, &length);
    MPI_Get_version(&version, &subversion);
    text[strcspn(text, ",\n")] = '\0';
    for (char *c = text; *c != '\0'; c++) {
        *c = *c == '\t' ? ' ' : *c;
    }
    snprintf(out, size, "%.200s (MPI %d.%d)", text, version, subversion);
}

static void hdf5_version(char *out, size_t size)
{
    unsigned major = 0, minor = 0, release = 0;
    (void)H5get_libversion(&major, &minor, &release);
    snprintf(out, size, "%u.%u.%u", major, minor, release);
}

static void compiler_version(char *out, size_t size)
{
#ifdef __clang__
    snprintf(out, size, "%s", __VERSION__);
#else
    snprintf(out, size, "GCC %s", __VERSION__);
#endif
}

static const struct {
    const char *key;
    void (*write)(char *out, size_t size);
} facts[] = {
    {"commit", commit},
    {"mpi", mpi_version},
    {"hdf5", hdf5_version},
#ifdef SLUICE_CUDA
    {"cuda", cuda_runtime_version},
    {"cublaslt", cuda_cublaslt_version},
    {"nccl", nccl_version},
#endif
    {"compiler", compiler_version},
};

int cli_print_version(void)
{
    puts("sluice " SLUICE_VERSION);
    for (size_t i = 0; i < COUNT_OF(facts); i++) {
        char text[VERSION_SIZE];
        facts[i].write(text, sizeof text);
        printf("%s %s\n", facts[i].key, text);
    }
    return cli_finish_output(EXIT_DONE);
}
