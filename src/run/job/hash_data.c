/* SPDX-License-Identifier: Apache-2.0 */
/* The data set's hashes, for which rows need not wait.
 *
 * A journal says which data set it is of. A new one begins without the hashes and without its name,
 * so that no later start takes it for anything. It gets both when they are there. A start that ends
 * before leaves nothing to continue: seconds of a large job.
 *
 * One that is there says which hashes there should be, and all else of it can be compared. Rows run
 * beside the hashing; what comes of them waits in memory and goes into the journal when the hashes
 * have turned out to be those. Where they are others the job ends, and the journal is as it was. */
#include <sys/stat.h>

#include "run/job/run.h"
#include "run/output_place.h"
#include "run/report/phase.h"

/* Smaller data sets are hashed in a moment. */
static const int64_t LARGE = 64 << 20;
/* Of results in memory; then rows wait for the hashes. */
static const int64_t MOST_HELD = 1 << 30;

static int64_t count_bytes(const struct input_files *files)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < files->count; i++) {
        struct stat info;
        if (stat(files->items[i].path, &info) != 0 || !S_ISREG(info.st_mode)) {
            return 0;
        }
        bytes += info.st_size;
    }
    return bytes;
}

static status has_journal(const struct run *run, bool *out)
{
    struct buffer directory = {0}, path = {0};
    struct stat info;
    status s = output_place_journal(run->job, &directory);
    if (s == STATUS_OK) {
        s = path_join(directory.data, "journal", &path);
    }
    *out = s == STATUS_OK && lstat(path.data, &info) == 0;
    buffer_destroy(&directory);
    buffer_destroy(&path);
    return s;
}

static status may_wait(const struct run *run, bool *out)
{
    struct stat info;
    bool is_there = false;
    *out = false;
    if (run->options->part != RUN_WHOLE || lstat(run->job->output.path, &info) == 0) {
        return STATUS_OK;
    }
    TRY(has_journal(run, &is_there));
    const bool is_replaced = is_there && run->options->fresh;
    *out = !is_replaced && count_bytes(&run->files) >= LARGE;
    return STATUS_OK;
}

status run_hash_data(struct run *run)
{
    bool waits;
    TRY(may_wait(run, &waits));
    if (waits) {
        return input_hash_start(&run->files, &run->hash);
    }
    phase_begin("hashing the data set and samples of the model");
    return input_files_hash(&run->files);
}

status run_take_hashes(struct run *run, struct buffer *identity)
{
    status s = input_hash_take(run->hash, &run->files);
    input_hash_end(run->hash);
    run->hash = NULL;
    TRY(s);
    TRY(provenance_take_data(&run->provenance));
    return provenance_identity(&run->provenance, run->job, &run->plan, identity);
}

status run_name_journal(struct run *run, bool at_end)
{
    if (run->hash == NULL) {
        return STATUS_OK;
    }
    const bool waits = at_end || journal_held_bytes(run->journal) >= MOST_HELD;
    if (!waits && !input_hash_is_ready(run->hash)) {
        return STATUS_OK;
    }
    struct buffer identity = {0};
    status s = run_take_hashes(run, &identity);
    if (s == STATUS_OK) {
        s = journal_take_name(run->journal, identity.data);
    }
    buffer_destroy(&identity);
    return s;
}
