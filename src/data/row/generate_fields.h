/* SPDX-License-Identifier: Apache-2.0 */
/* What the table of a request's fields needs to know of the table of parameters. */
#ifndef SLUICE_DATA_GENERATE_FIELDS_H
#define SLUICE_DATA_GENERATE_FIELDS_H

#include "sluice/data.h"

/* Whether `name` is a parameter that a row may have, under one of its names. */
bool generate_name_known(const char *name);
/* All of these names, one by one: NULL past the end. */
const char *generate_name_at(size_t index);
/* The parameter's key in a job's section generate, by any of its names; NULL for another name. */
const char *generate_key(const char *name);

#endif
