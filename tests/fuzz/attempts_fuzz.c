/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the file of rows under way, and edits of one that is in order: what opens must be
 * usable, and what it says of a row must hold at the next opening. */
#include "fuzz.h"

#include "sluice/data.h"

enum { ROWS = 40, EDITS = 24 };

static const char identity[] = "seed: 1\n";
static char folder[600], file[640], note[680];
static struct buffer good; /* two rows under way, one alone, and what an earlier end has left */

static struct journal *open_journal(bool fresh)
{
    struct journal *journal;
    REQUIRE(journal_open(folder, identity, fresh ? JOURNAL_FRESH : 0, &journal) == STATUS_OK);
    return journal;
}

static void make_good_file(void)
{
    snprintf(folder, sizeof folder, "%s/out.h5.sluice", fuzz_folder());
    snprintf(file, sizeof file, "%s/attempts", folder);
    log_configure(LOG_ERROR, NULL);
    struct journal *journal = open_journal(true);
    for (int start = 0; start < 3; start++) {
        struct attempts *attempts;
        REQUIRE(attempts_open(folder, journal, start == 0, &attempts) == STATUS_OK);
        for (int64_t row = 3; row < 9; row++) {
            REQUIRE(attempts_begin(attempts, row, (int32_t)row % 2) == STATUS_OK);
        }
        REQUIRE(attempts_write(attempts) == STATUS_OK);
        attempts_end(attempts, 5);
        REQUIRE(attempts_begin_alone(attempts, 20) == STATUS_OK);
        attempts_close(attempts, ATTEMPTS_DIED);
    }
    struct buffer path = {0}, text = {0};
    REQUIRE(attempts_note(folder, 1, 0, &path, &text) == STATUS_OK);
    snprintf(note, sizeof note, "%s", path.data);
    buffer_destroy(&path);
    buffer_destroy(&text);
    journal_close(journal, false);
    REQUIRE(file_read(file, 1 << 20, &good) == STATUS_OK);
}

/* Two openings one after the other, the first of which ends in order: the second says the same. */
static void open_twice(void)
{
    struct journal *journal = open_journal(false);
    enum attempt_verdict verdicts[ROWS];
    for (int again = 0; again < 2; again++) {
        struct attempts *attempts;
        const status s = attempts_open(folder, journal, false, &attempts);
        require_message(s);
        if (s != STATUS_OK) {
            break;
        }
        for (int64_t row = 0; row < ROWS; row++) {
            const enum attempt_verdict verdict = attempts_verdict(attempts, row);
            REQUIRE(again == 0 || verdict == verdicts[row]);
            verdicts[row] = verdict;
            if (verdict == ATTEMPT_SET_ASIDE) {
                char text[160];
                attempts_describe(attempts, row, text);
                REQUIRE(text[0] != '\0' && strlen(text) < sizeof text);
            }
        }
        REQUIRE(attempts_begin(attempts, ROWS + 1, 0) == STATUS_OK);
        REQUIRE(attempts_write(attempts) == STATUS_OK);
        attempts_end(attempts, ROWS + 1);
        attempts_close(attempts, ATTEMPTS_ORDERLY);
    }
    journal_close(journal, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (good.data == NULL) {
        make_good_file();
    }
    struct fuzz_input input = {bytes, length};
    const uint8_t kind = take_byte(&input);
    if (kind & 1) {
        const struct fuzz_input text = take_bytes(&input, take_byte(&input));
        write_fuzz_file(note, text.bytes, text.length);
    } else {
        (void)unlink(note);
    }
    if (kind & 2) {
        write_fuzz_file(file, input.bytes, input.length);
    } else {
        /* Pairs of offset and value; an offset past the end cuts. */
        struct buffer edited = {0};
        REQUIRE(buffer_append(&edited, good.data, good.length) == STATUS_OK);
        for (int i = 0; i < EDITS && input.length > 1; i++) {
            const size_t at = take_byte(&input);
            if (at < edited.length) {
                edited.data[at] = (char)take_byte(&input);
            } else if (edited.length > 0) {
                edited.length -= at % edited.length;
            }
        }
        write_fuzz_file(file, edited.data, edited.length);
        buffer_destroy(&edited);
    }
    open_twice();
    return 0;
}
