/* SPDX-License-Identifier: Apache-2.0 */
/* LD_PRELOAD: makes the n-th system call or allocation of a kind fail, or a marked row deadly.
 *
 * - FAULT_KIND: read, write, sync, rename, open, close, map, truncate, stat, unlink, lock, thread,
 *   memory
 * - FAULT_NTH: which one, from 1; 0: none, they are only counted
 * - FAULT_ERRNO: the number it fails with; 0: a read or write that stops half way
 * - FAULT_STAYS=1: all later ones fail too, as on a disk that is full
 * - FAULT_REPORT: a file that gets a line when it happens, and the count at the end
 * - FAULT_MARKER: a text; the process that parses a row with it dies of FAULT_SIGNAL
 *
 * Counted are calls after MPI_Init_thread. Allocations count where the program itself makes them:
 * libraries that die of a failed one are not what is tested. System calls count in libraries too
 * (HDF5 above all), but for the C library's own and those of MPI, whose plumbing must stay whole
 * for a message to come out. System calls are made directly, allocations by glibc's other names. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

enum kind {
    READ,
    WRITE,
    SYNC,
    RENAME,
    OPEN,
    CLOSE,
    MAP,
    TRUNCATE,
    STAT,
    UNLINK,
    LOCK,
    THREAD,
    MEMORY,
    KIND_COUNT,
    NO_KIND
};
static const char *const kind_names[KIND_COUNT] = {
    "read",     "write", "sync",   "rename", "open",   "close", "map",
    "truncate", "stat",  "unlink", "lock",   "thread", "memory"};

static enum kind kind = NO_KIND;
static long nth;
static int error_number;
static bool stays;
static const char *report_path;
static atomic_bool counting;
static atomic_long count;
static uintptr_t program_start, program_end;

static void report(const char *what, long number)
{
    char line[128];
    int length = snprintf(line, sizeof line, "%s %ld\n", what, number);
    int fd = report_path == NULL ? -1
                                 : (int)syscall(SYS_openat, AT_FDCWD, report_path,
                                                O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (fd >= 0) {
        syscall(SYS_write, fd, line, length);
        syscall(SYS_close, fd);
    }
}

/* The program's own code: the first object that the dynamic linker tells of. */
static int note_program(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    (void)context;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && (part->p_flags & PF_X) != 0) {
            program_start = info->dlpi_addr + part->p_vaddr;
            program_end = program_start + part->p_memsz;
        }
    }
    return 1;
}

__attribute__((constructor)) static void start(void)
{
    const char *name = getenv("FAULT_KIND");
    const char *number = getenv("FAULT_NTH");
    const char *code = getenv("FAULT_ERRNO");
    for (int i = 0; name != NULL && i < KIND_COUNT; i++) {
        if (strcmp(name, kind_names[i]) == 0) {
            kind = (enum kind)i;
        }
    }
    nth = number != NULL ? atol(number) : 0;
    error_number = code != NULL ? atoi(code) : EIO;
    stays = getenv("FAULT_STAYS") != NULL;
    report_path = getenv("FAULT_REPORT");
    dl_iterate_phdr(note_program, NULL);
}

__attribute__((destructor)) static void end(void)
{
    if (counting && report_path != NULL) {
        report("count", count);
    }
}

static bool is_counted(enum kind of, uintptr_t caller)
{
    if (caller >= program_start && caller < program_end) {
        return true;
    }
    Dl_info info;
    if (of == MEMORY || dladdr((void *)caller, &info) == 0 || info.dli_fname == NULL) {
        return false;
    }
    static const char *const left_alone[] = {"libmpi",   "libopen-", "mca_",     "libpmix",
                                             "libevent", "libc.so",  "ld-linux", "libhwloc",
                                             "libgomp",  "libucp",   "libuct",   "libfabric"};
    for (size_t i = 0; i < sizeof left_alone / sizeof *left_alone; i++) {
        if (strstr(info.dli_fname, left_alone[i]) != NULL) {
            return false;
        }
    }
    return true;
}

/* Whether this call is to fail. */
static bool fails(enum kind of, void *caller)
{
    if (of != kind || !counting || !is_counted(of, (uintptr_t)caller)) {
        return false;
    }
    long number = atomic_fetch_add(&count, 1) + 1;
    if (nth == 0 || number < nth || (number > nth && !stays)) {
        return false;
    }
    if (number == nth) {
        report("fired", number);
    }
    errno = error_number;
    return true;
}

#define FAILS(of) fails(of, __builtin_return_address(0))

int MPI_Init_thread(int *argc, char ***argv, int required, int *provided);
int MPI_Init_thread(int *argc, char ***argv, int required, int *provided)
{
    int (*next)(int *, char ***, int, int *) = dlsym(RTLD_NEXT, "MPI_Init_thread");
    int code = next(argc, argv, required, provided);
    counting = true;
    return code;
}

/* ---- Reads and writes: with error 0 they stop half way ---- */

static bool half(size_t *length)
{
    if (error_number != 0) {
        return false;
    }
    *length = *length > 1 ? *length / 2 : *length;
    return true;
}

ssize_t read(int fd, void *bytes, size_t length)
{
    return FAILS(READ) && !half(&length) ? -1 : syscall(SYS_read, fd, bytes, length);
}

ssize_t pread64(int fd, void *bytes, size_t length, off64_t offset)
{
    return FAILS(READ) && !half(&length) ? -1 : syscall(SYS_pread64, fd, bytes, length, offset);
}

ssize_t pread(int fd, void *bytes, size_t length, off_t offset)
{
    return FAILS(READ) && !half(&length) ? -1 : syscall(SYS_pread64, fd, bytes, length, offset);
}

ssize_t write(int fd, const void *bytes, size_t length)
{
    return FAILS(WRITE) && !half(&length) ? -1 : syscall(SYS_write, fd, bytes, length);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset)
{
    return FAILS(WRITE) && !half(&length) ? -1 : syscall(SYS_pwrite64, fd, bytes, length, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    return FAILS(WRITE) && !half(&length) ? -1 : syscall(SYS_pwrite64, fd, bytes, length, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int part_count)
{
    return FAILS(WRITE) ? -1 : syscall(SYS_writev, fd, parts, part_count);
}

/* ---- The rest of the system calls ---- */

int fsync(int fd)
{
    return FAILS(SYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return FAILS(SYNC) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int rename(const char *from, const char *to)
{
    return FAILS(RENAME) ? -1 : (int)syscall(SYS_rename, from, to);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    return FAILS(RENAME) ? -1
                         : (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
}

static int open_with_mode(const char *path, int flags, va_list rest)
{
    int mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, int) : 0;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    if (FAILS(OPEN)) {
        return -1;
    }
    va_list rest;
    va_start(rest, flags);
    int fd = open_with_mode(path, flags, rest);
    va_end(rest);
    return fd;
}

int open64(const char *path, int flags, ...)
{
    if (FAILS(OPEN)) {
        return -1;
    }
    va_list rest;
    va_start(rest, flags);
    int fd = open_with_mode(path, flags, rest);
    va_end(rest);
    return fd;
}

int mkdir(const char *path, mode_t mode)
{
    return FAILS(OPEN) ? -1 : (int)syscall(SYS_mkdir, path, mode);
}

/* Linux closes a file also where it says that it could not: what fails is the last write. */
int close(int fd)
{
    bool failed = FAILS(CLOSE);
    int code = (int)syscall(SYS_close, fd);
    if (failed) {
        errno = error_number;
    }
    return failed ? -1 : code;
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    return FAILS(MAP) ? MAP_FAILED
                      : (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset)
{
    return FAILS(MAP) ? MAP_FAILED
                      : (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}

int ftruncate(int fd, off_t length)
{
    return FAILS(TRUNCATE) ? -1 : (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate64(int fd, off64_t length)
{
    return FAILS(TRUNCATE) ? -1 : (int)syscall(SYS_ftruncate, fd, length);
}

int stat(const char *path, struct stat *out)
{
    return FAILS(STAT) ? -1 : (int)syscall(SYS_stat, path, out);
}

int lstat(const char *path, struct stat *out)
{
    return FAILS(STAT) ? -1 : (int)syscall(SYS_lstat, path, out);
}

int fstat(int fd, struct stat *out)
{
    return FAILS(STAT) ? -1 : (int)syscall(SYS_fstat, fd, out);
}

int unlink(const char *path)
{
    return FAILS(UNLINK) ? -1 : (int)syscall(SYS_unlink, path);
}

int unlinkat(int folder, const char *path, int flags)
{
    return FAILS(UNLINK) ? -1 : (int)syscall(SYS_unlinkat, folder, path, flags);
}

int rmdir(const char *path)
{
    return FAILS(UNLINK) ? -1 : (int)syscall(SYS_rmdir, path);
}

int flock(int fd, int operation)
{
    return FAILS(LOCK) ? -1 : (int)syscall(SYS_flock, fd, operation);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*function)(void *),
                   void *context)
{
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
        dlsym(RTLD_NEXT, "pthread_create");
    return FAILS(THREAD) ? EAGAIN : next(thread, attributes, function, context);
}

/* ---- Memory ---- */

void *malloc(size_t size)
{
    return FAILS(MEMORY) ? NULL : __libc_malloc(size);
}

void *calloc(size_t items, size_t size)
{
    return FAILS(MEMORY) ? NULL : __libc_calloc(items, size);
}

void *realloc(void *old, size_t size)
{
    return FAILS(MEMORY) ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return FAILS(MEMORY) ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    *out = FAILS(MEMORY) ? NULL : __libc_memalign(alignment, size);
    return *out == NULL ? ENOMEM : 0;
}

char *strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = FAILS(MEMORY) ? NULL : __libc_malloc(size);
    return copy != NULL ? memcpy(copy, text, size) : NULL;
}

/* ---- A deadly row ---- */

int yajl_parse(void *handle, const unsigned char *text, size_t length);
int yajl_parse(void *handle, const unsigned char *text, size_t length)
{
    const char *marker = getenv("FAULT_MARKER");
    const char *number = getenv("FAULT_SIGNAL");
    if (counting && marker != NULL && number != NULL &&
        memmem(text, length, marker, strlen(marker)) != NULL) {
        raise(atoi(number));
    }
    int (*next)(void *, const unsigned char *, size_t) = dlsym(RTLD_NEXT, "yajl_parse");
    return next(handle, text, length);
}
