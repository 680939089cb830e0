/* SPDX-License-Identifier: Apache-2.0 */
/* Records from CSV and TSV (RFC 4180) with a header line; the part of the record reader that knows
 * them. */
#ifndef SLUICE_DATA_RECORD_CSV_H
#define SLUICE_DATA_RECORD_CSV_H

#include "data/input/byte_source.h"
#include "data/input/record_json.h"
#include "sluice/data.h"

struct record_csv;

/* Reads the header. The source is borrowed; messages do not name its path. STATUS_INVALID for a
 * header that is none: names that are empty or stand twice, or lack one that the job asks for. */
status record_csv_open(struct byte_source *source, char separator,
                       const struct record_reader_options *options,
                       struct record_csv **out) MUST_CHECK;
/* The next row as JSON, a text a column; a row that is broken is RECORD_BAD. */
status record_csv_next(struct record_csv *reader, struct record *record, bool *more) MUST_CHECK;
void record_csv_close(struct record_csv *reader);

#endif
