/* SPDX-License-Identifier: Apache-2.0 */
/* The communicator over NCCL: creation over MPI, failure, and the time that it takes.
 *
 * NCCL's communicators block: without that every call would start a thread, which costs more than
 * the call. A peer that never answers then shows in two places. Usually it is the device that
 * waits, in a kernel of NCCL's, and the host waits for the device: the watchdog ends the kernel
 * with ncclCommAbort, the host's wait ends, and `check` or the next call fails. Or the host waits
 * inside of NCCL (connecting, or the queue of launches is full): no communicator can be taken away
 * from a call that is using it, so after some grace the process says why and ends itself. */
#include "comm/nccl/comm_nccl.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm/nccl/state.h"
#include "sluice/mpi_check.h"

static const double LOOK_SECONDS = 0.1;
static const double GRACE_SECONDS = 15;
static const double LAST_WORK_SECONDS = 2;
static const double CONNECT_SECONDS = 120; /* patience before there is a communicator */

/* ---- Failure ---- */

/* The first failure is the one to tell. With the lock held. */
static void fail(struct comm_nccl *self, const char *why)
{
    if (!self->failed) {
        self->failed = true;
        snprintf(self->failure, sizeof self->failure, "NCCL: %s: %s", self->what, why);
    }
}

static void describe_silence(const struct comm_nccl *self, double waited, char *out, size_t size)
{
    snprintf(out, size,
             "rank %d of %d has waited for the others for %.0f s; one of them is gone or stuck",
             self->base.rank, self->base.size, waited);
}

static void describe_error(struct comm_nccl *self, enum nccl_member member, ncclResult_t code,
                           const char *what, char *out, size_t size)
{
    const char *more = ncclGetLastError(self->members[member]);
    snprintf(out, size, "%s: %s%s%s", what, ncclGetErrorString(code),
             more != NULL && more[0] != '\0' ? ": " : "", more != NULL ? more : "");
    out[strcspn(out, "\n")] = '\0';
}

status nccl_check(struct comm_nccl *self, enum nccl_member member, ncclResult_t code,
                  const char *what)
{
    if (code == ncclSuccess) {
        return STATUS_OK;
    }
    char why[400];
    describe_error(self, member, code, what, why, sizeof why);
    fail(self, why);
    return status_fail(STATUS_IO, "%s", self->failure);
}

/* ---- Time ---- */

/* Takes what has ended off the ring and the marks. With the lock held. */
static void harvest(struct comm_nccl *self)
{
    while (self->sample_count > 0) {
        const struct nccl_sample *sample = &self->samples[self->first_sample];
        float milliseconds;
        if (cudaEventQuery(sample->end) != cudaSuccess ||
            cudaEventElapsedTime(&milliseconds, sample->start, sample->end) != cudaSuccess) {
            break;
        }
        self->measured += (double)milliseconds * 1e-3 * sample->weight;
        self->first_sample = (self->first_sample + 1) % NCCL_SAMPLES;
        self->sample_count--;
        self->ended++;
    }
    struct nccl_mark *marks[] = {&self->own_mark, &self->sending_mark};
    for (size_t i = 0; i < COUNT_OF(marks); i++) {
        if (marks[i]->pending && cudaEventQuery(marks[i]->event) == cudaSuccess) {
            marks[i]->pending = false;
            self->ended++;
        }
    }
    (void)cudaGetLastError(); /* an event that is not ready counts as an error */
}

static struct nccl_sample *next_sample(struct comm_nccl *self)
{
    return &self->samples[(self->first_sample + self->sample_count) % NCCL_SAMPLES];
}

status nccl_call_begin(struct comm_nccl *self, bool sampled)
{
    pthread_mutex_lock(&self->lock);
    status s = self->failed ? status_fail(STATUS_IO, "%s", self->failure) : STATUS_OK;
    self->patience = self->base.patience;
    self->calls_since_sample += sampled;
    self->sampling = sampled && self->calls_since_sample >= self->sample_every;
    if (s == STATUS_OK && self->sampling && self->sample_count == NCCL_SAMPLES) {
        harvest(self);
        self->sampling = self->sample_count < NCCL_SAMPLES;
    }
    if (s == STATUS_OK && self->sampling) {
        s = cuda_check(cudaEventRecord(next_sample(self)->start, self->cuda->stream),
                       "communication");
    }
    if (s != STATUS_OK) {
        pthread_mutex_unlock(&self->lock);
    }
    return s;
}

status nccl_call_end(struct comm_nccl *self, status s, struct nccl_mark *mark, cudaStream_t stream)
{
    if (s == STATUS_OK && self->sampling) {
        struct nccl_sample *sample = next_sample(self);
        s = cuda_check(cudaEventRecord(sample->end, stream), "communication");
        if (s == STATUS_OK) {
            sample->weight = (double)self->calls_since_sample;
            self->calls_since_sample = 0;
            self->sample_count++;
        }
    }
    if (s == STATUS_OK) {
        s = cuda_check(cudaEventRecord(mark->event, stream), "communication");
        mark->pending = s == STATUS_OK;
    }
    pthread_mutex_unlock(&self->lock);
    return s;
}

static status check_calls(struct communicator *base)
{
    struct comm_nccl *self = (struct comm_nccl *)base;
    pthread_mutex_lock(&self->lock);
    harvest(self);
    base->seconds += self->measured;
    self->measured = 0;
    self->patience = base->patience;
    const status s = self->failed ? status_fail(STATUS_IO, "%s", self->failure) : STATUS_OK;
    pthread_mutex_unlock(&self->lock);
    return s;
}

/* ---- The watchdog's three ---- */

/* With the lock held: whether NCCL has found an error that it could not return from a call. */
static bool is_broken(struct comm_nccl *self)
{
    for (int i = 0; i < NCCL_MEMBERS; i++) {
        ncclResult_t error = ncclSuccess;
        if (self->members[i] != NULL &&
            ncclCommGetAsyncError(self->members[i], &error) == ncclSuccess &&
            error != ncclSuccess && error != ncclInProgress) {
            char why[400];
            describe_error(self, (enum nccl_member)i, error, "communication", why, sizeof why);
            fail(self, why);
            return true;
        }
    }
    return false;
}

/* The device is a thread's, and so is what it may ask while another thread captures a graph. */
static void enter_thread(const struct comm_nccl *self)
{
    enum cudaStreamCaptureMode relaxed = cudaStreamCaptureModeRelaxed;
    (void)cudaThreadExchangeStreamCaptureMode(&relaxed);
    (void)cudaSetDevice(self->cuda->device);
}

static struct watch_sight look(void *context)
{
    struct comm_nccl *self = context;
    struct watch_sight sight = {.state = WATCH_HIDDEN};
    enter_thread(self);
    if (pthread_mutex_trylock(&self->lock) == 0) {
        harvest(self);
        const bool busy =
            self->sample_count > 0 || self->own_mark.pending || self->sending_mark.pending;
        sight.state = !busy ? WATCH_IDLE : is_broken(self) ? WATCH_BROKEN : WATCH_BUSY;
        sight.ended = self->ended;
        self->last_patience = self->patience;
        pthread_mutex_unlock(&self->lock);
    }
    sight.patience = self->last_patience;
    return sight;
}

/* With the lock held. Kernels that wait for a peer return, with garbage in their buffers. */
static void abort_members(struct comm_nccl *self)
{
    peer_memory_stop(&self->peers);
    for (int i = 0; i < NCCL_MEMBERS; i++) {
        ncclComm_t member = self->members[i];
        self->members[i] = NULL;
        if (member != NULL) {
            (void)ncclCommAbort(member);
        }
    }
}

static void stop(void *context, double waited)
{
    struct comm_nccl *self = context;
    enter_thread(self);
    if (pthread_mutex_trylock(&self->lock) != 0) {
        return; /* a call holds it, and may yet end; if not, the process does */
    }
    char why[200];
    describe_silence(self, waited, why, sizeof why);
    fail(self, why);
    abort_members(self);
    pthread_mutex_unlock(&self->lock);
}

/* Nothing that could still be done may wait, so the process ends at once; the launcher sees that a
 * rank was killed and ends the others. */
static void give_up(void *context, double waited)
{
    const struct comm_nccl *self = context;
    char why[200];
    describe_silence(self, waited, why, sizeof why);
    log_write(LOG_ERROR, "NCCL: %s: %s; this process ends itself", self->what, why);
    (void)kill(getpid(), SIGKILL);
}

/* ---- Creation ---- */

/* This rank as `rank` of `size` of a communicator of NCCL's. */
static status join(struct comm_nccl *self, enum nccl_member member, const ncclUniqueId *id,
                   int size, int rank)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 1;
    config.commName = self->what;
    return nccl_check(self, member,
                      ncclCommInitRankConfig(&self->members[member], size, *id, rank, &config),
                      "connect");
}

/* An id as ranks send it to each other: with NCCL's code, so that nobody waits for one that has
 * none. */
struct shared_id {
    ncclUniqueId id;
    ncclResult_t code;
};

static struct shared_id make_id(void)
{
    struct shared_id made;
    memset(&made, 0, sizeof made);
    made.code = ncclGetUniqueId(&made.id);
    return made;
}

static status connect_group(struct comm_nccl *self, MPI_Comm group)
{
    struct shared_id shared = {.code = ncclSuccess};
    if (self->base.rank == 0) {
        shared = make_id();
    }
    TRY(mpi_check(MPI_Bcast(&shared, sizeof shared, MPI_BYTE, 0, group), "share NCCL's id"));
    TRY(nccl_check(self, NCCL_GROUP, shared.code, "connect"));
    return join(self, NCCL_GROUP, &shared.id, self->base.size, self->base.rank);
}

/* Every stage's id goes to the next one; then links are made from the first to the last, each rank
 * its link to the stage before first. */
static status connect_links(struct comm_nccl *self, MPI_Comm group)
{
    enum { TAG_ID = 3 };
    const int rank = self->base.rank, size = self->base.size;
    const int before = rank > 0 ? rank - 1 : MPI_PROC_NULL;
    const int next = rank + 1 < size ? rank + 1 : MPI_PROC_NULL;
    struct shared_id own = {.code = ncclSuccess}, from_before = {.code = ncclSuccess};
    if (next != MPI_PROC_NULL) {
        own = make_id();
    }
    TRY(mpi_check(MPI_Sendrecv(&own, sizeof own, MPI_BYTE, next, TAG_ID, &from_before,
                               sizeof from_before, MPI_BYTE, before, TAG_ID, group,
                               MPI_STATUS_IGNORE),
                  "share NCCL's id"));
    TRY(nccl_check(self, NCCL_NEXT, own.code, "connect"));
    TRY(nccl_check(self, NCCL_BEFORE, from_before.code, "connect"));
    if (before != MPI_PROC_NULL) {
        TRY(join(self, NCCL_BEFORE, &from_before.id, 2, 1));
    }
    return next != MPI_PROC_NULL ? join(self, NCCL_NEXT, &own.id, 2, 0) : STATUS_OK;
}

/* NCCL connects at the first call of a kind, which waits for the other side: so there is one now,
 * of a few bytes, after which no call waits on the host. */
static status make_first_calls(struct comm_nccl *self)
{
    cudaStream_t stream = self->cuda->stream;
    ncclResult_t code = ncclSuccess;
    char *bytes;
    TRY(cuda_check(cudaMalloc((void **)&bytes, 1024), "connect"));
    status s = cuda_check(cudaMemsetAsync(bytes, 0, 1024, stream), "connect");
    if (s == STATUS_OK && self->use == COMM_TENSOR) {
        ncclComm_t group = self->members[NCCL_GROUP];
        code = ncclAllGather(bytes + 16 * self->base.rank, bytes, 16, ncclInt8, group, stream);
        s = nccl_check(self, NCCL_GROUP, code, "connect");
        if (s == STATUS_OK) {
            code = ncclGroupStart();
            for (int from = 1; self->base.rank == 0 && from < self->base.size; from++) {
                code =
                    code == ncclSuccess ? ncclRecv(bytes, 16, ncclInt8, from, group, stream) : code;
            }
            if (self->base.rank != 0) {
                code = code == ncclSuccess ? ncclSend(bytes, 16, ncclInt8, 0, group, stream) : code;
            }
            const ncclResult_t ended = ncclGroupEnd();
            s = nccl_check(self, NCCL_GROUP, code == ncclSuccess ? ended : code, "connect");
        }
    }
    if (s == STATUS_OK && self->members[NCCL_BEFORE] != NULL) {
        code = ncclRecv(bytes, 16, ncclInt8, 0, self->members[NCCL_BEFORE], stream);
        s = nccl_check(self, NCCL_BEFORE, code, "connect");
    }
    if (s == STATUS_OK && self->members[NCCL_NEXT] != NULL) {
        code = ncclSend(bytes, 16, ncclInt8, 1, self->members[NCCL_NEXT], stream);
        s = nccl_check(self, NCCL_NEXT, code, "connect");
    }
    if (s == STATUS_OK) {
        s = cuda_check(cudaStreamSynchronize(stream), "connect");
    }
    (void)cudaFree(bytes);
    return s;
}

static status create_events(struct comm_nccl *self)
{
    struct nccl_mark *marks[] = {&self->own_mark, &self->sending_mark};
    for (size_t i = 0; i < COUNT_OF(marks); i++) {
        TRY(cuda_check(cudaEventCreateWithFlags(&marks[i]->event, cudaEventDisableTiming),
                       "event"));
    }
    for (int i = 0; i < NCCL_SAMPLES; i++) {
        TRY(cuda_check(cudaEventCreate(&self->samples[i].start), "event"));
        TRY(cuda_check(cudaEventCreate(&self->samples[i].end), "event"));
    }
    return STATUS_OK;
}

static status create_room(struct comm_nccl *self)
{
    if (self->use == COMM_TENSOR) {
        return cuda_check(cudaMalloc(&self->scratch, NCCL_SCRATCH_BYTES), "communication");
    }
    int least, greatest;
    TRY(cuda_check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "stream"));
    TRY(cuda_check(cudaStreamCreateWithPriority(&self->sending, cudaStreamNonBlocking, greatest),
                   "stream"));
    for (int i = 0; i < NCCL_SLOTS; i++) {
        struct nccl_slot *slot = &self->slots[i];
        TRY(cuda_check(cudaEventCreateWithFlags(&slot->filled, cudaEventDisableTiming), "event"));
        TRY(cuda_check(cudaEventCreateWithFlags(&slot->sent, cudaEventDisableTiming), "event"));
        if (self->base.rank + 1 < self->base.size) {
            TRY(cuda_check(cudaMalloc(&slot->data, self->largest_bytes + 1), "communication"));
        }
    }
    return STATUS_OK;
}

static status connect_members(struct comm_nccl *self, MPI_Comm group)
{
    pthread_mutex_lock(&self->lock);
    status s = self->use == COMM_TENSOR ? connect_group(self, group) : connect_links(self, group);
    if (s == STATUS_OK) {
        s = make_first_calls(self);
    }
    if (s == STATUS_OK && self->use == COMM_TENSOR) {
        s = peer_memory_create(group, self->cuda->stream, &self->peers);
    }
    if (s == STATUS_OK && self->peers.rooms.ranks > 0) {
        self->base.name = "NCCL and shared GPU memory";
    }
    pthread_mutex_unlock(&self->lock);
    return s;
}

static void destroy_event(cudaEvent_t event)
{
    if (event != NULL) {
        (void)cudaEventDestroy(event);
    }
}

static void destroy_room(struct comm_nccl *self)
{
    peer_memory_destroy(&self->peers);
    (void)cudaFree(self->scratch);
    for (int i = 0; i < NCCL_SLOTS; i++) {
        (void)cudaFree(self->slots[i].data);
        destroy_event(self->slots[i].filled);
        destroy_event(self->slots[i].sent);
    }
    for (int i = 0; i < NCCL_SAMPLES; i++) {
        destroy_event(self->samples[i].start);
        destroy_event(self->samples[i].end);
    }
    destroy_event(self->own_mark.event);
    destroy_event(self->sending_mark.event);
    if (self->sending != NULL) {
        (void)cudaStreamDestroy(self->sending);
    }
}

/* Kernels of the last calls may still be on their way out. */
static void wait_for_last_work(struct comm_nccl *self)
{
    const double until = clock_seconds() + LAST_WORK_SECONDS;
    for (;;) {
        harvest(self);
        const bool busy = self->own_mark.pending || self->sending_mark.pending;
        if (!busy || self->failed || clock_seconds() >= until) {
            return;
        }
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
}

/* ncclCommAbort and not ncclCommDestroy, which would wait for the others: by contract there is
 * nothing left to wait for, or nobody. The watchdog sees to it that this ends as well. */
static void destroy(struct communicator *base)
{
    struct comm_nccl *self = (struct comm_nccl *)base;
    pthread_mutex_lock(&self->lock);
    wait_for_last_work(self);
    abort_members(self);
    pthread_mutex_unlock(&self->lock);
    watchdog_destroy(self->watchdog);
    destroy_room(self);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static status start(struct comm_nccl *self, MPI_Comm group)
{
    const struct watchdog_options watchdog = {.interval = LOOK_SECONDS,
                                              .grace = GRACE_SECONDS,
                                              .context = self,
                                              .look = look,
                                              .stop = stop,
                                              .give_up = give_up};
    TRY(create_events(self));
    TRY(create_room(self));
    TRY(watchdog_create(&watchdog, &self->watchdog));
    return connect_members(self, group);
}

status comm_nccl_create(MPI_Comm group, struct backend *backend, const struct comm_options *options,
                        struct communicator **out)
{
    *out = NULL;
    struct comm_nccl *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a communicator");
    }
    self->base = (struct communicator){
        .name = "NCCL",
        .sum = nccl_sum,
        .gather = nccl_gather,
        .gather_columns = nccl_gather_columns,
        .send = nccl_send,
        .receive = nccl_receive,
        .check = check_calls,
        .destroy = destroy,
        .patience = options->patience,
    };
    MPI_Comm_rank(group, &self->base.rank);
    MPI_Comm_size(group, &self->base.size);
    self->use = options->use;
    self->what = options->use == COMM_TENSOR ? "tensor-parallel group" : "pipeline";
    self->cuda = cuda_of(backend);
    self->largest_bytes = options->largest_bytes;
    self->patience = options->patience;
    self->last_patience = CONNECT_SECONDS;
    /* A pipeline has a call a step; a tensor-parallel group hundreds, of kinds that alternate. */
    self->sample_every = options->use == COMM_TENSOR ? 5 : 1;
    pthread_mutex_init(&self->lock, NULL);
    const int size = self->base.size;
    status s = STATUS_OK;
    if (self->use == COMM_TENSOR && (size > TREE_MAX_RANKS || (size & (size - 1)) != 0)) {
        s = status_fail(STATUS_INTERNAL, "NCCL: a tensor-parallel group of %d ranks", size);
    }
    if (s == STATUS_OK) {
        s = start(self, group);
    }
    if (s != STATUS_OK) {
        destroy(&self->base);
        return s;
    }
    *out = &self->base;
    return STATUS_OK;
}

void nccl_version(char *out, size_t size)
{
    int version = 0;
    (void)ncclGetVersion(&version);
    snprintf(out, size, "%d.%d.%d", version / 10000, version % 10000 / 100, version % 100);
}
