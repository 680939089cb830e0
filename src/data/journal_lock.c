/* The lock of a journal.
 *
 * Two means at once, since neither does on its own: flock(2) is released by the kernel with its
 * holder but does not reach across hosts on every file system; the file's text (host, process,
 * Slurm job) works anywhere but outlives its writer. */
#include "data/journal_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { HOLDER_BYTES = 1024, ATTEMPTS = 8 };

/* Who holds a lock, as the file says it. */
struct holder {
    char host[256];
    long pid;
    unsigned long long start; /* of the process, in clock ticks since the host's start */
    char slurm_job[64];       /* "" outside of Slurm */
    long slurm_restart;
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

static void describe_self(struct holder *self)
{
    *self = (struct holder){.pid = (long)getpid(), .start = process_start((long)getpid())};
    if (gethostname(self->host, sizeof self->host - 1) != 0 || self->host[0] == '\0') {
        snprintf(self->host, sizeof self->host, "unknown");
    }
    const char *job = getenv("SLURM_JOB_ID");
    const char *restart = getenv("SLURM_RESTART_COUNT");
    if (job != NULL && job[strspn(job, "0123456789")] == '\0') {
        snprintf(self->slurm_job, sizeof self->slurm_job, "%s", job);
        self->slurm_restart = restart != NULL ? strtol(restart, NULL, 10) : 0;
    }
}

static status write_holder(const char *path, int fd, const struct holder *self)
{
    char text[HOLDER_BYTES];
    int length = snprintf(text, sizeof text, "host %s\npid %ld\nstart %llu\nslurm %s %ld\n",
                          self->host, self->pid, self->start,
                          self->slurm_job[0] != '\0' ? self->slurm_job : "-", self->slurm_restart);
    if (pwrite(fd, text, (size_t)length, 0) != length || fsync(fd) != 0) {
        return status_fail_errno(STATUS_IO, "%s", path);
    }
    return STATUS_OK;
}

/* Reads a lock file's text; an empty or foreign one gives false. */
static bool read_holder(int fd, char text[HOLDER_BYTES], struct holder *holder)
{
    *holder = (struct holder){0};
    ssize_t length = pread(fd, text, HOLDER_BYTES - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    int found = sscanf(text, "host %255s\npid %ld\nstart %llu\nslurm %63s %ld\n", holder->host,
                       &holder->pid, &holder->start, holder->slurm_job, &holder->slurm_restart);
    return found == 5 && holder->pid > 0;
}

static bool holder_is_dead(const struct holder *holder, const struct holder *self)
{
    /* Slurm starts a requeued job only after the earlier start has ended on all its hosts. */
    if (self->slurm_job[0] != '\0' && strcmp(holder->slurm_job, self->slurm_job) == 0 &&
        holder->slurm_restart < self->slurm_restart) {
        return true;
    }
    if (strcmp(holder->host, self->host) != 0) {
        return false;
    }
    if (kill((pid_t)holder->pid, 0) != 0 && errno == ESRCH) {
        return true;
    }
    return holder->start != 0 && process_start(holder->pid) != holder->start;
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
    if (!readable) {
        return status_fail(STATUS_EXISTS,
                           "%s: another process is starting on this journal, or died while it "
                           "did; if none runs, remove this file",
                           path);
    }
    if (held || strcmp(holder.host, self->host) == 0) {
        return status_fail(STATUS_EXISTS, "%s: in use by process %ld on host %s", path, holder.pid,
                           holder.host);
    }
    return status_fail(STATUS_EXISTS,
                       "%s: in use by process %ld on host %s; if that one is dead, remove this "
                       "file",
                       path, holder.pid, holder.host);
}

/* Moves a stale lock out of the way. Another process may do the same at the same time and hold a
 * lock of its own by now: what was moved is looked at again, and put back where it is not the one
 * that was judged. */
static status remove_stale(const char *path, const char stale_text[HOLDER_BYTES])
{
    struct buffer aside = {0};
    status s = buffer_format(&aside, "%s.stale.%ld", path, (long)getpid());
    if (s == STATUS_OK && rename(path, aside.data) == 0) {
        char text[HOLDER_BYTES];
        struct holder holder;
        int fd = open(aside.data, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            read_holder(fd, text, &holder);
            close(fd);
        }
        if (fd >= 0 && strcmp(text, stale_text) != 0) {
            if (link(aside.data, path) != 0) {
                s = status_fail_errno(STATUS_EXISTS, "%s: taken by another process", path);
            }
        }
        unlink(aside.data);
    } else if (s == STATUS_OK && errno != ENOENT) {
        s = status_fail_errno(STATUS_IO, "%s", path);
    }
    buffer_destroy(&aside);
    return s;
}

status journal_lock_take(const char *path, int *fd)
{
    struct holder self;
    describe_self(&self);
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        *fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (*fd >= 0) {
            /* Fails where the file system has no such locks; the text does then. */
            flock(*fd, LOCK_EX | LOCK_NB);
            status s = write_holder(path, *fd, &self);
            if (s != STATUS_OK) {
                journal_lock_release(path, *fd);
                *fd = -1;
            }
            return s;
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

void journal_lock_release(const char *path, int fd)
{
    if (fd >= 0) {
        unlink(path);
        close(fd);
    }
}
