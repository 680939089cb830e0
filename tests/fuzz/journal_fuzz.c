/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a journal. A checksum stops nearly all of them, so the input is also taken as a list
 * of edits to a journal that is in order. What opens must be readable, and open again. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "sluice/data.h"

static const char identity[] = "seed: 1\n";
static char folder[600];
static char file[640];
static struct buffer good; /* a journal of a few rows */

static status count_one(void *context, const struct result *result)
{
    (void)result;
    ++*(int64_t *)context;
    return STATUS_OK;
}

static void write_file(const void *bytes, size_t length)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || (length > 0 && write(fd, bytes, length) != (ssize_t)length) || close(fd) != 0) {
        abort();
    }
}

static void make_good_journal(void)
{
    struct journal *journal;
    struct buffer payload = {0};
    snprintf(folder, sizeof folder, "%s/out.h5.sluice", fuzz_folder());
    snprintf(file, sizeof file, "%s/journal", folder);
    log_configure(LOG_ERROR, NULL);
    status s = journal_open(folder, identity, JOURNAL_FRESH, &journal);
    for (int64_t row = 0; s == STATUS_OK && row < 5; row++) {
        const struct result result = {.row = row, .text = "text", .text_length = 4};
        buffer_clear(&payload);
        s = result_encode(&result, &payload);
        s = s == STATUS_OK ? journal_append(journal, row, payload.data, payload.length) : s;
        s = s == STATUS_OK && row == 2 ? journal_commit(journal) : s;
    }
    if (s != STATUS_OK) {
        abort();
    }
    journal_close(journal, false);
    if (file_read(file, 1 << 20, &good) != STATUS_OK) {
        abort();
    }
    buffer_destroy(&payload);
}

static void open_and_read(void)
{
    struct journal *journal;
    int64_t rows[2] = {0, 0};
    for (int again = 0; again < 2; again++) {
        int64_t results = 0;
        status s = journal_open(folder, identity, 0, &journal);
        if (s != STATUS_OK) {
            if (again == 1 || strchr(status_message(), '\n') != NULL) {
                abort();
            }
            return;
        }
        rows[again] = journal_row_count(journal);
        if (journal_visit(journal, count_one, &results) == STATUS_OK && results < rows[again]) {
            abort();
        }
        journal_close(journal, false);
    }
    if (rows[0] != rows[1]) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (good.data == NULL) {
        make_good_journal();
    }
    if (length < 1) {
        return 0;
    }
    if (bytes[0] == 0) {
        write_file(bytes + 1, length - 1);
    } else {
        /* Triples of offset and value; an offset past the end cuts. */
        struct buffer edited = {0};
        if (buffer_append(&edited, good.data, good.length) != STATUS_OK) {
            abort();
        }
        for (size_t i = 1; i + 2 < length; i += 3) {
            size_t at = (size_t)bytes[i] << 8 | bytes[i + 1];
            if (at < edited.length) {
                edited.data[at] = (char)bytes[i + 2];
            } else if (edited.length > 0) {
                edited.length -= at % edited.length;
            }
        }
        write_file(edited.data, edited.length);
        buffer_destroy(&edited);
    }
    open_and_read();
    return 0;
}
