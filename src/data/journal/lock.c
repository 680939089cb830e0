/* SPDX-License-Identifier: Apache-2.0 */
/* The lock of a journal.
 *
 * Several means at once, since none does on its own: flock(2) is released by the kernel with its
 * holder but does not reach across hosts on every file system; the file's text (machine, process,
 * Slurm job) works anywhere but outlives its writer; and a line of it that changes every few
 * seconds shows from afar whether its writer lives. A holder that was suspended for longer than
 * others wait looks before it writes whether the lock is still its own. */
#include "data/journal/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "data/journal/file.h"

enum { HOLDER_BYTES = 1024, ATTEMPTS = 8 };

struct journal_lock_times journal_lock_times = {.beat_seconds = 10, .lease_seconds = 60};

/* Who holds a lock, as the file says it. */
struct holder {
    char host[256];
    long pid;
    unsigned long long start; /* of the process, in clock ticks since the host's start */
    char slurm_job[64];       /* "" outside of Slurm */
    long slurm_restart;
    char place[160]; /* where process ids mean the same: a boot of a kernel, a namespace */
};

struct journal_lock {
    char *path;
    int fd;
    off_t beat_offset; /* of the line that changes */
    unsigned long long beats;
    pthread_t thread;
    bool thread_runs;
    pthread_mutex_t mutex; /* for all below */
    pthread_cond_t wake;
    bool ending, lost;
    double last_beat;
};

/* When a process started, 0 where there is none, or just what is left of one until its parent takes
 * notice; tells a process from a later one of the same id. */
static unsigned long long process_start(long pid)
{
    char path[64];
    char text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0) {
        return 0;
    }
    text[length] = '\0';
    /* Fields 3 and 22, proc(5); the second one is in parentheses and may hold anything. */
    char *next = strrchr(text, ')');
    if (next != NULL && (strncmp(next, ") Z", 3) == 0 || strncmp(next, ") X", 3) == 0)) {
        return 0;
    }
    for (int field = 2; next != NULL && field < 22; field++) {
        next = strchr(next + 1, ' ');
    }
    return next != NULL ? strtoull(next + 1, NULL, 10) : 0;
}

/* "-" where the system does not tell. */
static void describe_place(char place[160])
{
    char boot[64] = "", namespace[64] = "";
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, boot, sizeof boot - 1) : -1;
    if (fd >= 0) {
        close(fd);
    }
    boot[length > 0 ? length : 0] = '\0';
    boot[strcspn(boot, " \n")] = '\0';
    length = readlink("/proc/self/ns/pid", namespace, sizeof namespace - 1);
    bool known = boot[0] != '\0' && length > 0;
    snprintf(place, 160, "%s%s%s", known ? boot : "-", known ? "/" : "", known ? namespace : "");
}

static void describe_self(struct holder *self)
{
    *self = (struct holder){.pid = (long)getpid(), .start = process_start((long)getpid())};
    if (gethostname(self->host, sizeof self->host - 1) != 0 || self->host[0] == '\0') {
        snprintf(self->host, sizeof self->host, "unknown");
    }
    describe_place(self->place);
    const char *job = getenv("SLURM_JOB_ID");
    const char *restart = getenv("SLURM_RESTART_COUNT");
    if (job != NULL && job[strspn(job, "0123456789")] == '\0') {
        snprintf(self->slurm_job, sizeof self->slurm_job, "%s", job);
        self->slurm_restart = restart != NULL ? strtol(restart, NULL, 10) : 0;
    }
}

static int format_beat(unsigned long long beats, char text[32])
{
    return snprintf(text, 32, "beat %020llu\n", beats);
}

static status write_holder(struct journal_lock *lock, const struct holder *self)
{
    char text[HOLDER_BYTES], beat[32];
    int length = snprintf(
        text, sizeof text, "host %s\npid %ld\nstart %llu\nslurm %s %ld\nplace %s\n", self->host,
        self->pid, self->start, self->slurm_job[0] != '\0' ? self->slurm_job : "-",
        self->slurm_restart, self->place);
    lock->beat_offset = length;
    format_beat(0, beat);
    length += snprintf(text + length, sizeof text - (size_t)length, "%s", beat);
    TRY(status_context(journal_write_at(lock->fd, 0, text, (size_t)length), "%s", lock->path));
    return fsync(lock->fd) == 0 ? STATUS_OK : status_fail_errno(STATUS_IO, "%s", lock->path);
}

/* Reads a lock file's text; an empty or foreign one gives false. */
static bool read_holder(int fd, char text[HOLDER_BYTES], struct holder *holder)
{
    *holder = (struct holder){0};
    ssize_t length = pread(fd, text, HOLDER_BYTES - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    int found = sscanf(text, "host %255s\npid %ld\nstart %llu\nslurm %63s %ld\nplace %159s\nbeat ",
                       holder->host, &holder->pid, &holder->start, holder->slurm_job,
                       &holder->slurm_restart, holder->place);
    return found == 6 && holder->pid > 0;
}

static bool is_here(const struct holder *holder, const struct holder *self)
{
    return strcmp(holder->place, self->place) == 0 && strcmp(self->place, "-") != 0;
}

static bool holder_is_dead(const struct holder *holder, const struct holder *self)
{
    /* Slurm starts a requeued job only after the earlier start has ended on all its hosts. */
    if (self->slurm_job[0] != '\0' && strcmp(holder->slurm_job, self->slurm_job) == 0 &&
        holder->slurm_restart < self->slurm_restart) {
        return true;
    }
    if (!is_here(holder, self)) {
        return false;
    }
    if (kill((pid_t)holder->pid, 0) != 0 && errno == ESRCH) {
        return true;
    }
    return holder->start != 0 && process_start(holder->pid) != holder->start;
}

static bool says_the_same(const char *path, const char text[HOLDER_BYTES])
{
    char now[HOLDER_BYTES];
    struct holder unused;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    read_holder(fd, now, &unused);
    close(fd);
    return strcmp(now, text) == 0;
}

/* Waits for a sign of life of a holder elsewhere. *alive is false where there was none, or where
 * its file is gone. */
static status watch_holder(const char *path, const char text[HOLDER_BYTES],
                           const struct holder *holder, bool *alive)
{
    log_write(LOG_WARNING,
              "%s: held by process %ld on host %s; waiting up to %.0f s for a sign of life", path,
              holder->pid, holder->pid > 0 ? holder->host : "(not told)",
              journal_lock_times.lease_seconds);
    const double start = clock_seconds();
    *alive = false;
    while (clock_seconds() - start < journal_lock_times.lease_seconds) {
        const double pause = journal_lock_times.beat_seconds / 10;
        const struct timespec time = {.tv_sec = (time_t)pause,
                                      .tv_nsec = (long)(1e9 * (pause - (double)(time_t)pause))};
        nanosleep(&time, NULL);
        TRY(interrupt_check());
        /* Opened anew, since that is when network file systems look again. */
        struct stat info;
        if (!says_the_same(path, text)) {
            *alive = stat(path, &info) == 0;
            break;
        }
    }
    return STATUS_OK;
}

/* A holder that has not written who it is has process number 0. */
static status refuse_holder(const char *path, const struct holder *holder)
{
    return holder->pid > 0 ? status_fail(STATUS_EXISTS, "%s: in use by process %ld on host %s",
                                         path, holder->pid, holder->host)
                           : status_fail(STATUS_EXISTS,
                                         "%s: another process is starting on this journal", path);
}

/* Judges the lock that stands. STATUS_OK: it is stale and `text` is what it says. */
static status judge(const char *path, int fd, const struct holder *self, char text[HOLDER_BYTES])
{
    struct holder holder;
    bool readable = read_holder(fd, text, &holder);
    bool held = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (readable && !held && holder_is_dead(&holder, self)) {
        return STATUS_OK;
    }
    bool alive = true;
    /* A holder that died before it had written who it is counts as one elsewhere. */
    if (!held && (!readable || !is_here(&holder, self))) {
        flock(fd, LOCK_UN);
        TRY(watch_holder(path, text, &holder, &alive));
    }
    if (!alive) {
        return STATUS_OK;
    }
    return refuse_holder(path, &holder);
}

status journal_lock_look(const char *path, bool *unsure)
{
    *unsure = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? STATUS_OK : status_fail_errno(STATUS_IO, "%s", path);
    }
    char text[HOLDER_BYTES];
    struct holder holder, self;
    describe_self(&self);
    bool readable = read_holder(fd, text, &holder);
    bool dead = readable && holder_is_dead(&holder, &self);
    bool here = readable && is_here(&holder, &self);
    /* Shared and for a moment, and not where the process table tells. */
    bool held = !dead && !here && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    *unsure = !dead && !here && !held;
    if (dead || *unsure) {
        return STATUS_OK;
    }
    return refuse_holder(path, &holder);
}

/* Moves a stale lock out of the way. Another process may do the same at the same time and hold a
 * lock of its own by now: what was moved is looked at again, and put back where it is not the one
 * that was judged. */
static status remove_stale(const char *path, const char stale_text[HOLDER_BYTES])
{
    if (!says_the_same(path, stale_text)) {
        return STATUS_OK; /* gone, or another one's: to be judged anew */
    }
    struct buffer aside = {0};
    status s = buffer_format(&aside, "%s.stale.%ld", path, (long)getpid());
    if (s == STATUS_OK && rename(path, aside.data) == 0) {
        if (!says_the_same(aside.data, stale_text) && link(aside.data, path) != 0) {
            s = status_fail_errno(STATUS_EXISTS, "%s: taken by another process", path);
        }
        unlink(aside.data);
    } else if (s == STATUS_OK && errno != ENOENT) {
        s = status_fail_errno(STATUS_IO, "%s", path);
    }
    buffer_destroy(&aside);
    return s;
}

/* ---- Signs of life ---- */

static double now_with_suspension(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Whether the file under the name is still this holder's. One that is not there is looked for
 * again, since remove_stale may have it in its hands. */
static bool still_ours(const struct journal_lock *lock)
{
    struct stat opened, named;
    const struct timespec moment = {.tv_nsec = 100000000};
    bool there = stat(lock->path, &named) == 0;
    if (!there) {
        nanosleep(&moment, NULL);
        there = stat(lock->path, &named) == 0;
    }
    return there && fstat(lock->fd, &opened) == 0 && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev;
}

/* With the mutex held. A beat that cannot be written is not the end: the next one may be. */
static void beat(struct journal_lock *lock)
{
    char text[32];
    int length = format_beat(++lock->beats, text);
    lock->lost = lock->lost || !still_ours(lock);
    if (!lock->lost && pwrite(lock->fd, text, (size_t)length, lock->beat_offset) == length &&
        fdatasync(lock->fd) == 0) {
        lock->last_beat = now_with_suspension();
    }
}

static void *beat_on(void *context)
{
    struct journal_lock *lock = context;
    pthread_mutex_lock(&lock->mutex);
    while (!lock->ending) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        double wait = journal_lock_times.beat_seconds + 1e-9 * (double)until.tv_nsec;
        until.tv_sec += (time_t)wait;
        until.tv_nsec = (long)(1e9 * (wait - (double)(time_t)wait));
        if (pthread_cond_timedwait(&lock->wake, &lock->mutex, &until) == ETIMEDOUT) {
            beat(lock);
        }
    }
    pthread_mutex_unlock(&lock->mutex);
    return NULL;
}

/* The thread takes no signals: they are the main thread's. */
static status start_beating(struct journal_lock *lock)
{
    sigset_t all, before;
    sigfillset(&all);
    lock->last_beat = now_with_suspension();
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int code = pthread_create(&lock->thread, NULL, beat_on, lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    lock->thread_runs = code == 0;
    if (code != 0) {
        errno = code;
        return status_fail_errno(STATUS_NO_MEMORY, "%s: no thread", lock->path);
    }
    return STATUS_OK;
}

status journal_lock_check(struct journal_lock *lock)
{
    pthread_mutex_lock(&lock->mutex);
    if (now_with_suspension() - lock->last_beat > journal_lock_times.lease_seconds / 2) {
        beat(lock);
    }
    bool lost = lock->lost;
    pthread_mutex_unlock(&lock->mutex);
    return lost ? status_fail(STATUS_EXISTS,
                              "%s: taken over by another process while this one showed no sign of "
                              "life, or removed",
                              lock->path)
                : STATUS_OK;
}

/* ---- Taking and releasing ---- */

static status take(struct journal_lock *lock)
{
    const char *path = lock->path;
    struct holder self;
    describe_self(&self);
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        lock->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (lock->fd >= 0) {
            /* Fails where the file system has no such locks; the text does then. */
            flock(lock->fd, LOCK_EX | LOCK_NB);
            TRY(write_holder(lock, &self));
            return start_beating(lock);
        }
        if (errno != EEXIST) {
            return status_fail_errno(STATUS_IO, "%s", path);
        }
        int other = open(path, O_RDWR | O_CLOEXEC);
        if (other < 0 && errno == ENOENT) {
            continue; /* released just now */
        }
        if (other < 0) {
            return status_fail_errno(STATUS_IO, "%s", path);
        }
        char text[HOLDER_BYTES];
        status s = judge(path, other, &self, text);
        if (s == STATUS_OK) {
            s = remove_stale(path, text);
        }
        close(other);
        TRY(s);
    }
    return status_fail(STATUS_EXISTS, "%s: other processes keep taking it", path);
}

status journal_lock_take(const char *path, struct journal_lock **out)
{
    *out = NULL;
    struct journal_lock *lock = calloc(1, sizeof *lock);
    if (lock == NULL || (lock->path = strdup(path)) == NULL) {
        free(lock);
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory", path);
    }
    lock->fd = -1;
    pthread_mutex_init(&lock->mutex, NULL);
    pthread_cond_init(&lock->wake, NULL);
    status s = take(lock);
    if (s != STATUS_OK) {
        journal_lock_release(lock);
        return s;
    }
    *out = lock;
    return STATUS_OK;
}

void journal_lock_release(struct journal_lock *lock)
{
    if (lock == NULL) {
        return;
    }
    if (lock->thread_runs) {
        pthread_mutex_lock(&lock->mutex);
        lock->ending = true;
        pthread_cond_signal(&lock->wake);
        pthread_mutex_unlock(&lock->mutex);
        pthread_join(lock->thread, NULL);
    }
    if (lock->fd >= 0) {
        if (still_ours(lock)) {
            unlink(lock->path);
        }
        close(lock->fd);
    }
    pthread_cond_destroy(&lock->wake);
    pthread_mutex_destroy(&lock->mutex);
    free(lock->path);
    free(lock);
}
