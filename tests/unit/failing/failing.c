/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that fail on purpose. A call is known by the addresses of its callers; the first two calls
 * of each way fail, each in a run of its own. */
#include "failing.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "sluice/base.h"

enum { WAYS = 1 << 15, EACH = 2, USUAL_DEPTH = 8, CALLERS = 16, MESSAGE_BYTES = 512 };

/* How often each way was gone in this run, in a table of open addressing. */
struct way {
    uint64_t key;
    int count;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct way ways[WAYS];
static unsigned counted; /* kinds; 0: nothing is counted and nothing fails */
static int depth;
static uint64_t target; /* the way that fails, and which call of it */
static int target_count;
static bool fired;
static enum failing_kind fired_kind;
static const char *fired_name;
static uintptr_t fired_at[CALLERS];
static int fired_callers;
/* Where the work was begun: what lies above is the test's. */
static uintptr_t act_frame;
static int act_depth;
static pthread_t act_thread;

/* Where this thread's stack ends: what lies beyond is no frame. */
static uintptr_t stack_end(void)
{
    static _Thread_local uintptr_t end;
    pthread_attr_t attributes;
    if (end == 0 && pthread_getattr_np(pthread_self(), &attributes) == 0) {
        void *start;
        size_t bytes;
        pthread_attr_getstack(&attributes, &start, &bytes);
        pthread_attr_destroy(&attributes);
        end = (uintptr_t)start + bytes;
    }
    return end;
}

/* The callers, innermost first. Frames are chained, but for those of libraries, where unwinding
 * takes a hundred times as long. */
__attribute__((noinline, no_sanitize("address", "undefined"))) static int
find_callers(uintptr_t frame, uintptr_t callers[CALLERS])
{
    const uintptr_t end = stack_end();
    int count = 0;
    while (count < CALLERS) {
        const uintptr_t next = ((const uintptr_t *)frame)[0];
        callers[count++] = ((const uintptr_t *)frame)[1];
        if (next == act_frame || next <= frame || next + 2 * sizeof next > end ||
            next % sizeof next != 0) {
            break;
        }
        frame = next;
    }
    if (((const uintptr_t *)frame)[0] != act_frame) {
        void *all[64];
        int found = backtrace(all, COUNT_OF(all));
        found -= pthread_equal(pthread_self(), act_thread) && found > act_depth ? act_depth : 0;
        int first = 0;
        while (first < found && (uintptr_t)all[first] != callers[0]) {
            first++;
        }
        for (count = 0; count < CALLERS && first + count < found; count++) {
            callers[count] = (uintptr_t)all[first + count];
        }
    }
    return count;
}

static uint64_t key_of(enum failing_kind kind, const uintptr_t *callers, int count)
{
    uint64_t key = (uint64_t)kind * 0x9e3779b97f4a7c15u + 1;
    for (int i = 0; i < count && i < depth; i++) {
        key = (key ^ callers[i]) * 0x100000001b3u;
        key ^= key >> 29;
    }
    return key != 0 ? key : 1;
}

static struct way *find_way(uint64_t key)
{
    for (uint64_t i = key;; i++) {
        struct way *way = &ways[i % WAYS];
        if (way->key == key || way->key == 0) {
            way->key = key;
            return way;
        }
    }
}

static bool fails_now(enum failing_kind kind, const char *name, int error, uintptr_t frame)
{
    if ((counted & (unsigned)kind) == 0) {
        return false;
    }
    pthread_mutex_lock(&mutex);
    uintptr_t callers[CALLERS];
    const int caller_count = find_callers(frame, callers);
    const uint64_t key = key_of(kind, callers, caller_count);
    struct way *way = find_way(key);
    way->count++;
    const bool fails = target == key && way->count == target_count;
    if (fails) {
        fired = true;
        fired_kind = kind;
        fired_name = name;
        fired_callers = caller_count;
        memcpy(fired_at, callers, sizeof fired_at);
    }
    pthread_mutex_unlock(&mutex);
    if (fails) {
        errno = error;
    }
    return fails;
}

#define FAILS(kind, name, error) fails_now(kind, name, error, (uintptr_t)__builtin_frame_address(0))

int failing_open_descriptors(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

unsigned failing_suspend(void)
{
    const unsigned kinds = counted;
    counted = 0;
    return kinds;
}

void failing_resume(unsigned kinds)
{
    counted = kinds;
}

/* ---- Names of the callers, from the program's own symbols ---- */

static struct {
    const char *bytes; /* of the program's file */
    const Elf64_Sym *items;
    size_t count;
    const char *names;
} symbols;

static void load_symbols(void)
{
    struct stat info;
    const int fd = open("/proc/self/exe", O_RDONLY);
    assert_true(fd >= 0 && fstat(fd, &info) == 0);
    symbols.bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_true(symbols.bytes != MAP_FAILED);
    close(fd);
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)symbols.bytes;
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(symbols.bytes + header->e_shoff);
    for (int i = 0; i < header->e_shnum; i++) {
        if (sections[i].sh_type == SHT_SYMTAB) {
            symbols.items = (const Elf64_Sym *)(symbols.bytes + sections[i].sh_offset);
            symbols.count = sections[i].sh_size / sizeof *symbols.items;
            symbols.names = symbols.bytes + sections[sections[i].sh_link].sh_offset;
        }
    }
}

/* The function that a return address lies in; "?" where it is a library's. */
static const char *name_at(uintptr_t address)
{
    extern const char __executable_start[];
    const uintptr_t offset = address - 1 - (uintptr_t)__executable_start;
    if (symbols.bytes == NULL) {
        load_symbols();
    }
    for (size_t i = 0; i < symbols.count; i++) {
        const Elf64_Sym *symbol = &symbols.items[i];
        if (ELF64_ST_TYPE(symbol->st_info) == STT_FUNC && offset >= symbol->st_value &&
            offset - symbol->st_value < symbol->st_size) {
            return symbols.names + symbol->st_name;
        }
    }
    return "?";
}

/* Whether "function", or "call function", is about the failure under a function of this name. */
static bool is_about(const char *place, const char *name)
{
    const char *space = strchr(place, ' ');
    const char *function = space != NULL ? space + 1 : place;
    const size_t length = strcspn(name, "."); /* .part.0, .isra.0 */
    return strlen(function) == length && memcmp(function, name, length) == 0 &&
           (space == NULL || ((size_t)(space - place) == strlen(fired_name) &&
                              memcmp(place, fired_name, (size_t)(space - place)) == 0));
}

/* Whether the failure was under one of the functions that do without. */
static bool may_survive(const struct failing_walk *walk)
{
    if ((walk->optional & (unsigned)fired_kind) != 0) {
        return true;
    }
    for (int i = 0; i < fired_callers; i++) {
        const char *name = name_at(fired_at[i]);
        for (const char *const *place = walk->survived_by; place != NULL && *place != NULL;
             place++) {
            if (is_about(*place, name)) {
                return true;
            }
        }
    }
    return false;
}

/* What failed, and the callers. */
static void describe(const struct failing_walk *walk, char text[MESSAGE_BYTES])
{
    size_t used = (size_t)snprintf(text, MESSAGE_BYTES, "%s: %s fails", walk->name,
                                   fired ? fired_name : "nothing");
    for (int i = 0; fired && i < fired_callers && used < MESSAGE_BYTES - 64; i++) {
        used += (size_t)snprintf(text + used, MESSAGE_BYTES - used, "%s%.60s",
                                 i == 0 ? " in " : ", ", name_at(fired_at[i]));
    }
}

/* ---- The walk ---- */

__attribute__((noinline)) static status act_once(const struct failing_walk *walk, uint64_t key,
                                                 int count)
{
    if (walk->prepare != NULL) {
        walk->prepare(walk->context);
    }
    const int before = failing_open_descriptors();
    void *all[64];
    act_depth = backtrace(all, COUNT_OF(all));
    act_frame = (uintptr_t)__builtin_frame_address(0);
    act_thread = pthread_self();
    for (int i = 0; i < WAYS; i++) {
        ways[i].count = 0;
    }
    depth = walk->depth > 0 ? walk->depth : USUAL_DEPTH;
    target = key;
    target_count = count;
    fired = false;
    counted = walk->kinds;
    const status s = walk->act(walk->context);
    counted = 0;
    target = 0;
    char what[MESSAGE_BYTES];
    describe(walk, what);
    if (failing_open_descriptors() != before) {
        fail_msg("%s: %d descriptors were open before, %d are after it", what, before,
                 failing_open_descriptors());
    }
    if (s != STATUS_OK && (status_message()[0] == '\0' || strchr(status_message(), '\n') != NULL)) {
        fail_msg("%s: no message of one line: %s", what, status_message());
    }
    if (walk->settle != NULL) {
        walk->settle(walk->context);
    }
    return s;
}

static int compare_keys(const void *left, const void *right)
{
    const struct way *a = left, *b = right;
    return a->key < b->key ? -1 : a->key > b->key;
}

int failing_walk(const struct failing_walk *walk)
{
    memset(ways, 0, sizeof ways);
    const status s = act_once(walk, 0, 0);
    if (s != STATUS_OK) {
        fail_msg("%s: without a failure: %s", walk->name, status_message());
    }
    int found = 0, failures = 0, unsaid = 0;
    struct way *all = malloc(sizeof ways);
    assert_non_null(all);
    for (int i = 0; i < WAYS; i++) {
        if (ways[i].key != 0) {
            all[found++] = ways[i];
        }
    }
    qsort(all, (size_t)found, sizeof *all, compare_keys);
    for (int i = 0; i < found; i++) {
        for (int count = 1; count <= (walk->once ? 1 : EACH) && count <= all[i].count; count++) {
            const status failed = act_once(walk, all[i].key, count);
            if (!fired) {
                continue; /* a way that depends on time */
            }
            failures++;
            if (failed == STATUS_OK && !may_survive(walk)) {
                char what[MESSAGE_BYTES];
                describe(walk, what);
                print_error("%s, and nobody says so\n", what);
                unsaid++;
            }
        }
    }
    free(all);
    assert_true(found > 0);
    assert_int_equal(unsaid, 0);
    return failures;
}

/* ---- The calls ---- */

/* Declares the C library's function and defines what stands in its place. */
#define WRAP(kind, error, failure, type, name, parameters, arguments)                              \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return FAILS(kind, #name, error) ? failure : __real_##name arguments;                      \
    }

WRAP(FAIL_MEMORY, ENOMEM, NULL, void *, malloc, (size_t size), (size))
WRAP(FAIL_MEMORY, ENOMEM, NULL, void *, calloc, (size_t count, size_t size), (count, size))
WRAP(FAIL_MEMORY, ENOMEM, NULL, void *, realloc, (void *old, size_t size), (old, size))
WRAP(FAIL_MEMORY, ENOMEM, NULL, void *, aligned_alloc, (size_t to, size_t size), (to, size))
WRAP(FAIL_MEMORY, ENOMEM, NULL, char *, strdup, (const char *text), (text))
WRAP(FAIL_MEMORY, ENOMEM, NULL, char *, strndup, (const char *text, size_t most), (text, most))
WRAP(FAIL_ARENA, ENOMEM, NULL, void *, arena_allocate, (struct arena * arena, size_t size),
     (arena, size))
WRAP(FAIL_ARENA, ENOMEM, NULL, void *, arena_allocate_array,
     (struct arena * arena, size_t count, size_t size), (arena, count, size))
WRAP(FAIL_ARENA, ENOMEM, NULL, char *, arena_copy,
     (struct arena * arena, const char *text, size_t length), (arena, text, length))
WRAP(FAIL_OPEN, EMFILE, NULL, FILE *, fopen, (const char *path, const char *mode), (path, mode))
WRAP(FAIL_OPEN, EMFILE, NULL, FILE *, fdopen, (int fd, const char *mode), (fd, mode))
WRAP(FAIL_OPEN, EMFILE, NULL, DIR *, opendir, (const char *path), (path))
WRAP(FAIL_OPEN, EACCES, -1, int, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(FAIL_READ, EIO, -1, ssize_t, read, (int fd, void *bytes, size_t length), (fd, bytes, length))
WRAP(FAIL_READ, EIO, -1, ssize_t, pread, (int fd, void *bytes, size_t length, off_t offset),
     (fd, bytes, length, offset))
WRAP(FAIL_WRITE, ENOSPC, -1, ssize_t, write, (int fd, const void *bytes, size_t length),
     (fd, bytes, length))
WRAP(FAIL_WRITE, ENOSPC, -1, ssize_t, pwrite,
     (int fd, const void *bytes, size_t length, off_t offset), (fd, bytes, length, offset))
WRAP(FAIL_SYNC, EIO, -1, int, fsync, (int fd), (fd))
WRAP(FAIL_SYNC, EIO, -1, int, fdatasync, (int fd), (fd))
WRAP(FAIL_RENAME, EIO, -1, int, rename, (const char *from, const char *to), (from, to))
WRAP(FAIL_RENAME, EIO, -1, int, renameat2,
     (int from_folder, const char *from, int to_folder, const char *to, unsigned flags),
     (from_folder, from, to_folder, to, flags))
WRAP(FAIL_STAT, EIO, -1, int, stat, (const char *path, struct stat *out), (path, out))
WRAP(FAIL_STAT, EIO, -1, int, lstat, (const char *path, struct stat *out), (path, out))
WRAP(FAIL_STAT, EIO, -1, int, fstat, (int fd, struct stat *out), (fd, out))
WRAP(FAIL_STAT, EIO, NULL, char *, realpath, (const char *path, char *out), (path, out))
WRAP(FAIL_UNLINK, EIO, -1, int, unlink, (const char *path), (path))
WRAP(FAIL_UNLINK, EIO, -1, int, rmdir, (const char *path), (path))
WRAP(FAIL_TRUNCATE, EIO, -1, int, ftruncate, (int fd, off_t length), (fd, length))
WRAP(FAIL_LOCK, EIO, -1, int, flock, (int fd, int operation), (fd, operation))
WRAP(FAIL_MAP, ENOMEM, MAP_FAILED, void *, mmap,
     (void *address, size_t length, int protection, int flags, int fd, off_t offset),
     (address, length, protection, flags, fd, offset))
WRAP(FAIL_THREAD, EAGAIN, EAGAIN, int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attributes, void *(*function)(void *),
      void *context),
     (thread, attributes, function, context))

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    const int mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, int) : 0;
    va_end(rest);
    return FAILS(FAIL_OPEN, "open", EMFILE) ? -1 : __real_open(path, flags, mode);
}

/* Linux closes a file also where it says that it could not: what fails is the last write. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    const bool failed = FAILS(FAIL_CLOSE, "close", EIO);
    const int code = __real_close(fd);
    errno = failed ? EIO : errno;
    return failed ? -1 : code;
}

int __real_fclose(FILE *file);
int __wrap_fclose(FILE *file);
int __wrap_fclose(FILE *file)
{
    const bool failed = FAILS(FAIL_CLOSE, "fclose", EIO);
    const int code = __real_fclose(file);
    errno = failed ? EIO : errno;
    return failed ? EOF : code;
}

size_t __real_fwrite(const void *bytes, size_t size, size_t count, FILE *file);
size_t __wrap_fwrite(const void *bytes, size_t size, size_t count, FILE *file);
size_t __wrap_fwrite(const void *bytes, size_t size, size_t count, FILE *file)
{
    const bool is_kept = file == stdout || file == stderr; /* whose own flag says what failed */
    return !is_kept && FAILS(FAIL_WRITE, "fwrite", ENOSPC)
               ? 0
               : __real_fwrite(bytes, size, count, file);
}

size_t __real_fread(void *bytes, size_t size, size_t count, FILE *file);
size_t __wrap_fread(void *bytes, size_t size, size_t count, FILE *file);
size_t __wrap_fread(void *bytes, size_t size, size_t count, FILE *file)
{
    return FAILS(FAIL_READ, "fread", EIO) ? 0 : __real_fread(bytes, size, count, file);
}
