/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the table of kinds, each in its backend's folder. */
#ifndef SLUICE_BACKEND_KINDS_H
#define SLUICE_BACKEND_KINDS_H

#include "sluice/backend_kind.h"

extern const struct backend_kind cpu_kind;  /* cpu/kind.c */
extern const struct backend_kind cuda_kind; /* cuda/kind/kind.c */

#endif
