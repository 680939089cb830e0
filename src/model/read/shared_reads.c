/* SPDX-License-Identifier: Apache-2.0 */
/* A table of blocks in shared memory under one lock.
 *
 * Blocks are numbered in the order in which they were first wanted. Ranks load in the same order,
 * so a reader's position, the highest number that it has used, says which blocks are behind it. A
 * block may be given up once it is behind every reader; whoever needs its place waits for that, but
 * for no longer than PATIENCE, so that a reader that has stopped or died holds nobody up. */
#include "model/read/shared_reads.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

enum {
    BLOCK_BYTES = 2 << 20,
    MOST_SLOTS = 128,
    LEAST_SLOTS = 16,
};
static const double PATIENCE = 1, LOOK = 0.1;

enum slot_state { SLOT_EMPTY, SLOT_READING, SLOT_READY };

struct slot {
    enum slot_state state;
    int file, users;
    uint64_t block, number;
};

struct shared_reader {
    bool is_waited_for;
    uint64_t position;
};

struct shared_memory {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int readers, slot_count;
    uint64_t window; /* blocks that a reader may still need behind its highest: its threads read out
                        of order */
    uint64_t numbers; /* given out */
    struct shared_reader reader[SHARED_READERS];
    struct slot slots[MOST_SLOTS]; /* [slot_count] */
};

/* ---- The memory ---- */

static size_t head_bytes(void)
{
    return (sizeof(struct shared_memory) + 4095) / 4096 * 4096;
}

size_t shared_reads_bytes(void)
{
    return head_bytes() + (size_t)MOST_SLOTS * BLOCK_BYTES;
}

size_t shared_reads_least_bytes(void)
{
    return head_bytes() + (size_t)LEAST_SLOTS * BLOCK_BYTES;
}

static uint8_t *slot_bytes(struct shared_memory *memory, const struct slot *slot)
{
    return (uint8_t *)memory + head_bytes() + (size_t)(slot - memory->slots) * BLOCK_BYTES;
}

status shared_reads_prepare(void *memory, size_t bytes, int readers)
{
    struct shared_memory *self = memory;
    if (readers > SHARED_READERS || bytes < shared_reads_least_bytes()) {
        return status_fail(STATUS_LIMIT, "%d readers of %zu bytes of shared memory", readers,
                           bytes);
    }
    const size_t slots = (bytes - head_bytes()) / BLOCK_BYTES;
    self->slot_count = slots < MOST_SLOTS ? (int)slots : MOST_SLOTS;
    self->window = (uint64_t)self->slot_count * 3 / 8;
    pthread_mutexattr_t lock;
    pthread_condattr_t changed;
    pthread_mutexattr_init(&lock);
    pthread_mutexattr_setpshared(&lock, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&lock, PTHREAD_MUTEX_ROBUST);
    pthread_condattr_init(&changed);
    pthread_condattr_setpshared(&changed, PTHREAD_PROCESS_SHARED);
    pthread_condattr_setclock(&changed, CLOCK_MONOTONIC);
    const int code = pthread_mutex_init(&self->lock, &lock);
    const int other_code = pthread_cond_init(&self->changed, &changed);
    pthread_mutexattr_destroy(&lock);
    pthread_condattr_destroy(&changed);
    self->readers = readers;
    for (int i = 0; i < readers; i++) {
        self->reader[i].is_waited_for = true;
    }
    return code == 0 && other_code == 0
               ? STATUS_OK
               : status_fail(STATUS_UNSUPPORTED, "processes cannot share a lock here");
}

/* The table is good at every moment, also where a process died with the lock. */
static void take_lock(struct shared_memory *memory)
{
    if (pthread_mutex_lock(&memory->lock) == EOWNERDEAD) {
        pthread_mutex_consistent(&memory->lock);
    }
}

/* Until something changes, or for a moment. */
static void wait_shortly(struct shared_memory *memory)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(LOOK * 1e9);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    if (pthread_cond_timedwait(&memory->changed, &memory->lock, &until) == EOWNERDEAD) {
        pthread_mutex_consistent(&memory->lock);
    }
}

void shared_reads_attach(struct shared_reads *self, void *memory, int reader)
{
    *self = (struct shared_reads){.memory = memory, .reader = reader};
}

void shared_reads_detach(struct shared_reads *self)
{
    struct shared_memory *memory = self->memory;
    take_lock(memory);
    memory->reader[self->reader].is_waited_for = false;
    pthread_cond_broadcast(&memory->changed);
    pthread_mutex_unlock(&memory->lock);
}

/* ---- Slots: all with the lock held ---- */

static struct slot *find_slot(struct shared_memory *memory, int file, uint64_t block)
{
    for (int i = 0; i < memory->slot_count; i++) {
        struct slot *slot = &memory->slots[i];
        if (slot->state != SLOT_EMPTY && slot->file == file && slot->block == block) {
            return slot;
        }
    }
    return NULL;
}

/* Below it no block is needed any more. */
static uint64_t least_position(const struct shared_memory *memory)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < memory->readers; i++) {
        const struct shared_reader *reader = &memory->reader[i];
        if (reader->is_waited_for && reader->position < least) {
            least = reader->position;
        }
    }
    return least;
}

/* One that is empty, or else the oldest that nobody needs (or, with `anyway`, that nobody is
 * copying). NULL where there is none. */
static struct slot *find_place(struct shared_memory *memory, bool anyway)
{
    struct slot *oldest = NULL;
    const uint64_t least = least_position(memory);
    for (int i = 0; i < memory->slot_count; i++) {
        struct slot *slot = &memory->slots[i];
        if (slot->state == SLOT_EMPTY) {
            return slot;
        }
        const bool is_behind = least > memory->window && slot->number < least - memory->window;
        if (slot->state == SLOT_READY && slot->users == 0 && (is_behind || anyway) &&
            (oldest == NULL || slot->number < oldest->number)) {
            oldest = slot;
        }
    }
    return oldest;
}

/* Whoever has kept the others waiting is not waited for until it comes again. */
static void leave_behind(struct shared_memory *memory)
{
    const uint64_t least = least_position(memory);
    for (int i = 0; i < memory->readers; i++) {
        struct shared_reader *reader = &memory->reader[i];
        reader->is_waited_for = reader->is_waited_for && reader->position > least;
    }
}

/* Reads the block into the slot, with the lock given up meanwhile. */
static status fill_slot(struct shared_reads *self, const struct tensor_file *file,
                        struct slot *slot)
{
    struct shared_memory *memory = self->memory;
    const uint64_t start = slot->block * BLOCK_BYTES, left = file->size - start;
    const size_t bytes = left < BLOCK_BYTES ? (size_t)left : BLOCK_BYTES;
    pthread_mutex_unlock(&memory->lock);
    const status s = tensor_file_read(file, start, slot_bytes(memory, slot), bytes);
    take_lock(memory);
    self->bytes_read += bytes;
    slot->state = s == STATUS_OK ? SLOT_READY : SLOT_EMPTY;
    pthread_cond_broadcast(&memory->changed);
    return s;
}

/* A slot with the block in it, which is then in use. */
static status use_block(struct shared_reads *self, const struct tensor_file *file, int index,
                        uint64_t block, struct slot **out)
{
    struct shared_memory *memory = self->memory;
    const double start = clock_seconds();
    for (;;) {
        struct slot *slot = find_slot(memory, index, block);
        if (slot == NULL) {
            const bool anyway = clock_seconds() - start > PATIENCE;
            slot = find_place(memory, anyway);
            if (slot != NULL) {
                if (anyway) {
                    leave_behind(memory);
                }
                *slot = (struct slot){.state = SLOT_READING,
                                      .file = index,
                                      .block = block,
                                      .number = ++memory->numbers};
                TRY(fill_slot(self, file, slot));
            }
        }
        if (slot != NULL && slot->state == SLOT_READY) {
            slot->users++;
            *out = slot;
            return STATUS_OK;
        }
        wait_shortly(memory);
    }
}

static void release_block(struct shared_reads *self, struct slot *slot)
{
    struct shared_reader *reader = &self->memory->reader[self->reader];
    slot->users--;
    reader->is_waited_for = true;
    if (slot->number > reader->position) {
        reader->position = slot->number;
        pthread_cond_broadcast(&self->memory->changed);
    }
}

/* ---- Reading ---- */

static status read_block(struct shared_reads *self, const struct tensor_file *file, int index,
                         uint64_t offset, void *to, size_t bytes)
{
    struct shared_memory *memory = self->memory;
    struct slot *slot;
    take_lock(memory);
    status s = use_block(self, file, index, offset / BLOCK_BYTES, &slot);
    pthread_mutex_unlock(&memory->lock);
    TRY(s);
    memcpy(to, slot_bytes(memory, slot) + offset % BLOCK_BYTES, bytes);
    take_lock(memory);
    release_block(self, slot);
    pthread_mutex_unlock(&memory->lock);
    return STATUS_OK;
}

status shared_reads_read(struct shared_reads *self, const struct tensor_file *file, int index,
                         uint64_t offset, void *to, size_t bytes)
{
    if (offset > file->size || bytes > file->size - offset) {
        return tensor_file_read(file, offset, to, bytes); /* which says what is wrong */
    }
    uint8_t *at = to;
    while (bytes > 0) {
        const size_t room = (size_t)(BLOCK_BYTES - offset % BLOCK_BYTES);
        const size_t now = bytes < room ? bytes : room;
        TRY(read_block(self, file, index, offset, at, now));
        at += now;
        offset += now;
        bytes -= now;
    }
    return STATUS_OK;
}

status tensor_table_read(const struct tensor_table *table, int file, uint64_t offset, void *to,
                         size_t bytes)
{
    return table->shared != NULL
               ? shared_reads_read(table->shared, &table->files[file], file, offset, to, bytes)
               : tensor_file_read(&table->files[file], offset, to, bytes);
}
