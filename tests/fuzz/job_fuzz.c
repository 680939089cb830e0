/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a job file, and what follows a NUL as --set arguments, one a NUL. A job that loads is
 * written as YAML that loads as the same job. */
#include "fuzz.h"
#include "sluice/job.h"

enum { MOST_SETTINGS = 8 };

static void check_written(const struct job *job, const char *path)
{
    struct buffer first = {0}, second = {0};
    struct job again;
    REQUIRE(job_write(job, &first) == STATUS_OK);
    write_fuzz_file(path, first.data, first.length);
    REQUIRE(job_load(path, NULL, 0, &again) == STATUS_OK);
    REQUIRE(job_write(&again, &second) == STATUS_OK);
    REQUIRE(first.length == second.length && memcmp(first.data, second.data, first.length) == 0);
    job_destroy(&again);
    buffer_destroy(&first);
    buffer_destroy(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    char path[600];
    struct fuzz_input input = {bytes, length};
    struct fuzz_input text = take_text(&input);
    char *settings[MOST_SETTINGS];
    size_t count = 0;
    while (input.length > 0 && count < MOST_SETTINGS) {
        struct fuzz_input setting = take_text(&input);
        settings[count] = strndup((const char *)setting.bytes, setting.length);
        REQUIRE(settings[count] != NULL);
        count++;
    }
    snprintf(path, sizeof path, "%s/job.yaml", fuzz_folder());
    write_fuzz_file(path, text.bytes, text.length);
    struct job job;
    status s = job_load(path, (const char *const *)settings, count, &job);
    require_message(s);
    if (s == STATUS_OK) {
        check_written(&job, path);
    }
    job_destroy(&job);
    while (count > 0) {
        free(settings[--count]);
    }
    return 0;
}
