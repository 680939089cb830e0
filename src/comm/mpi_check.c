/* SPDX-License-Identifier: Apache-2.0 */
/* MPI's errors in words. */
#include "sluice/mpi_check.h"

#include <mpi.h>

status mpi_check(int code, const char *what)
{
    if (code == MPI_SUCCESS) {
        return STATUS_OK;
    }
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    MPI_Error_string(code, text, &length);
    return status_fail(STATUS_IO, "MPI: %s: %.*s", what, length, text);
}
