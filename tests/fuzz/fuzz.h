/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzz targets share: an input taken apart from the front, and files with it. */
#ifndef SLUICE_FUZZ_H
#define SLUICE_FUZZ_H

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sluice/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#define REQUIRE(condition) ((condition) ? (void)0 : fail_requirement(#condition))

static inline void fail_requirement(const char *condition)
{
    fprintf(stderr, "ERROR: not so: %s (latest message: %s)\n", condition, status_message());
    abort();
}

/* A failure says why, in one line. */
static inline void require_message(status s)
{
    REQUIRE(s == STATUS_OK ||
            (status_message()[0] != '\0' && strchr(status_message(), '\n') == NULL));
}

/* What is left of an input; reading past its end gives zeros. */
struct fuzz_input {
    const uint8_t *bytes;
    size_t length;
};

static inline uint8_t take_byte(struct fuzz_input *input)
{
    if (input->length == 0) {
        return 0;
    }
    input->length--;
    return *input->bytes++;
}

static inline struct fuzz_input take_bytes(struct fuzz_input *input, size_t most)
{
    struct fuzz_input taken = {input->bytes, most < input->length ? most : input->length};
    input->bytes += taken.length;
    input->length -= taken.length;
    return taken;
}

/* Everything before the next NUL, which goes as well. */
static inline struct fuzz_input take_text(struct fuzz_input *input)
{
    const uint8_t *end = input->length > 0 ? memchr(input->bytes, 0, input->length) : NULL;
    struct fuzz_input taken =
        take_bytes(input, end != NULL ? (size_t)(end - input->bytes) : input->length);
    (void)take_byte(input);
    return taken;
}

static char fuzz_folder_path[512];

static inline void remove_fuzz_folder(void)
{
    char command[600];
    /* The path is ours, not the input's. */
    snprintf(command, sizeof command, "rm -rf '%s'", fuzz_folder_path);
    (void)!system(command);
}

/* libFuzzer's clock interrupts system calls, which some kernels do not take up again by themselves.
 */
static inline void restart_system_calls(void)
{
    struct sigaction action;
    if (sigaction(SIGALRM, NULL, &action) == 0) {
        action.sa_flags |= SA_RESTART;
        sigaction(SIGALRM, &action, NULL);
    }
}

/* A folder of this process's own, gone at its end. */
static inline const char *fuzz_folder(void)
{
    if (fuzz_folder_path[0] == '\0') {
        restart_system_calls();
        const char *temporary = getenv("TMPDIR");
        snprintf(fuzz_folder_path, sizeof fuzz_folder_path, "%s/sluice_fuzz.XXXXXX",
                 temporary != NULL ? temporary : "/tmp");
        REQUIRE(mkdtemp(fuzz_folder_path) != NULL);
        atexit(remove_fuzz_folder);
    }
    return fuzz_folder_path;
}

static inline void write_fuzz_file(const char *path, const void *bytes, size_t length)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0 && (length == 0 || write(fd, bytes, length) == (ssize_t)length) &&
            close(fd) == 0);
}

#endif
