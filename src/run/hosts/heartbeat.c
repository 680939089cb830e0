/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that sends and hears beats.
 *
 * Datagrams and no connections: a connection that was cut for a minute sends again when its own
 * timer, which doubles each time, says so, and that may be after the limit. For the same reason no
 * MPI, whose messages over TCP are such connections, and whose calls may wait for the very host
 * that is gone. Locks would not have spoken against it: with MPI_THREAD_MULTIPLE a message between
 * two ranks takes 1.25 µs instead of 1.2 (Open MPI 4.1.4, one host). MPI hands out the token and
 * the addresses. */
#include "run/hosts/heartbeat.h"

#include <errno.h>
#include <mpi.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "run/hosts/beat.h"
#include "run/hosts/host_table.h"
#include "run/hosts/silence_report.h"
#include "run/ranks/crash_note.h"
#include "run/ranks/world.h"
#include "sluice/mpi_check.h"
#include "sluice/run.h"

static const double BEAT_SECONDS = 1;
/* That one look can stand for: a process that was suspended meanwhile has not waited. */
static const double LONGEST_LOOK_SECONDS = 2;
static const struct silence_limits DEFAULT_LIMITS = {.warn = 15, .limit = 90};
/* The rank that speaks ends first, so that its line and its status are the job's. */
static const double LAST_WORDS_SECONDS = 0.3, OTHERS_SECONDS = 2;
enum { DATAGRAMS_A_LOOK = 4096, ENDING_BEATS = 3, EXIT_SILENCE = 75 };

struct heartbeat {
    int socket, family; /* -1: there is none */
    int wake;           /* an eventfd: the thread is to end */
    bool is_running;
    pthread_t thread;
    uint8_t token[BEAT_TOKEN_BYTES];
    struct host_table table;
    int own_host;
    _Atomic double warn, limit;
    /* The thread's own: */
    uint64_t beats;
    uint64_t *numbers;        /* [ranks] the last beat of each */
    bool *is_heard;           /* [hosts] since the last look */
    struct silence *silences; /* [hosts] */
    int lost;                 /* the host that the job ends for; -1: none */
};

/* Of the process, like the world. */
static struct heartbeat *own;

/* ---- Datagrams ---- */

static void send_to_address(const struct heartbeat *self, const uint8_t bytes[BEAT_BYTES],
                            const uint8_t address[16], uint16_t port)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in to4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    memcpy(&to6.sin6_addr, address, 16);
    memcpy(&to4.sin_addr, address + 12, 4);
    const bool as4 = self->family == AF_INET;
    if (as4 && memcmp(address, mapped, sizeof mapped) != 0) {
        return;
    }
    /* What does not leave was not sent: the other side counts. */
    (void)sendto(self->socket, bytes, BEAT_BYTES, MSG_DONTWAIT | MSG_NOSIGNAL,
                 as4 ? (const struct sockaddr *)&to4 : (const struct sockaddr *)&to6,
                 as4 ? sizeof to4 : sizeof to6);
}

static void send_to_rank(const struct heartbeat *self, const uint8_t bytes[BEAT_BYTES], int rank)
{
    const struct host_card *card = &self->table.cards[rank];
    for (int i = 0; card->port != 0 && i < card->addresses && i < HOST_ADDRESSES; i++) {
        send_to_address(self, bytes, card->address[i], card->port);
    }
}

/* A host's ranks together reach every rank of the other with each beat, and another one each with
 * the next, so that single ranks that are suspended do not silence the others. */
static void send_to_host(const struct heartbeat *self, const uint8_t bytes[BEAT_BYTES],
                         const struct host *host)
{
    const int senders = self->table.hosts[self->own_host].count;
    const int each = (host->count + senders - 1) / senders;
    const uint64_t first = (uint64_t)world_get()->host_rank * (uint64_t)each + self->beats;
    for (int i = 0; i < each; i++) {
        const uint64_t index = (first + (uint64_t)i) % (uint64_t)host->count;
        send_to_rank(self, bytes, host->ranks[index]);
    }
}

static void send_beats(struct heartbeat *self)
{
    uint8_t bytes[BEAT_BYTES];
    const struct beat beat = {
        .rank = world_get()->rank, .number = ++self->beats, .lost = self->lost};
    for (int host = 0; host < self->table.count && beat_pack(&beat, self->token, bytes); host++) {
        if (host != self->own_host) {
            send_to_host(self, bytes, &self->table.hosts[host]);
        }
    }
}

static void take_beat(struct heartbeat *self, const struct beat *beat)
{
    if (beat->rank < 0 || beat->rank >= world_get()->size ||
        beat->number <= self->numbers[beat->rank]) {
        return;
    }
    self->numbers[beat->rank] = beat->number;
    self->is_heard[self->table.host_of[beat->rank]] = true;
    if (beat->lost >= 0 && beat->lost < self->table.count && self->lost < 0) {
        self->lost = beat->lost;
    }
}

static void hear(struct heartbeat *self)
{
    uint8_t bytes[BEAT_BYTES + 1]; /* one more, so that a longer one is not taken for a beat */
    struct beat beat;
    for (int i = 0; i < DATAGRAMS_A_LOOK; i++) {
        const ssize_t length = recv(self->socket, bytes, sizeof bytes, MSG_DONTWAIT);
        if (length < 0 && errno != EINTR && errno != ECONNREFUSED) {
            return;
        }
        if (length > 0 && beat_unpack(bytes, (size_t)length, self->token, &beat)) {
            take_beat(self, &beat);
        }
    }
}

/* ---- Judging ---- */

static struct silence_report report_of(const struct heartbeat *self)
{
    return (struct silence_report){.table = &self->table,
                                   .silences = self->silences,
                                   .own_host = self->own_host,
                                   .is_first_rank = world_get()->host_rank == 0};
}

static void judge(struct heartbeat *self, double step)
{
    const struct silence_limits limits = {.warn = self->warn, .limit = self->limit};
    const struct silence_report report = report_of(self);
    for (int host = 0; host < self->table.count; host++) {
        if (host == self->own_host) {
            continue;
        }
        const enum silence_event event =
            silence_judge(&self->silences[host], self->is_heard[host], step, &limits);
        self->is_heard[host] = false;
        if (event != SILENCE_NOTHING && silence_speaks(&report)) {
            silence_say(&report, host, event, &limits);
        }
        if (event == SILENCE_END && self->lost < 0) {
            self->lost = host;
        }
    }
}

static void sleep_seconds(double seconds)
{
    struct timespec pause = {.tv_sec = (time_t)seconds};
    pause.tv_nsec = (long)((seconds - (double)pause.tv_sec) * 1e9);
    nanosleep(&pause, NULL);
}

/* The computing thread may wait for the lost host for ever, and with it every agreement of the
 * ranks: there is no end in order. The journal is good at any moment. */
static void end_process(struct heartbeat *self)
{
    if (self->lost != self->own_host) { /* others may have told of it first */
        self->silences[self->lost].was_heard = self->silences[self->lost].is_warned = true;
    }
    crash_note_host_lost();
    const struct silence_report report = report_of(self);
    const bool speaks = silence_speaks(&report);
    if (speaks) {
        silence_say_end(&report);
    }
    for (int i = 0; i < ENDING_BEATS; i++) {
        send_beats(self);
        sleep_seconds((speaks ? LAST_WORDS_SECONDS : OTHERS_SECONDS) / ENDING_BEATS);
    }
    _exit(EXIT_SILENCE);
}

/* ---- The thread ---- */

/* Until the next beat is due, or a datagram is there. False: the thread is to end. */
static bool wait_until(const struct heartbeat *self, double next)
{
    struct pollfd files[] = {{.fd = self->socket, .events = POLLIN},
                             {.fd = self->wake, .events = POLLIN}};
    const double left = next - clock_seconds();
    poll(files, COUNT_OF(files), left > 0 ? (int)(left * 1e3) + 1 : 0);
    return files[1].revents == 0;
}

static void *run(void *argument)
{
    struct heartbeat *self = argument;
    double last = clock_seconds(), next = last;
    while (wait_until(self, next)) {
        hear(self);
        const double now = clock_seconds();
        if (now >= next) {
            const double step = now - last;
            send_beats(self);
            judge(self, step < LONGEST_LOOK_SECONDS ? step : LONGEST_LOOK_SECONDS);
            last = now;
            next = now + BEAT_SECONDS;
        }
        if (self->lost >= 0) {
            end_process(self);
        }
    }
    return NULL;
}

/* With all signals blocked: they are the main thread's. */
static bool start_thread(struct heartbeat *self)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int code = pthread_create(&self->thread, NULL, run, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code == 0;
}

/* ---- From start to end ---- */

/* A socket for both families, or for the one that the host has. Returns its port, 0 where there is
 * none. */
static uint16_t open_socket(struct heartbeat *self)
{
    struct sockaddr_in6 at6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
    struct sockaddr_in at4 = {.sin_family = AF_INET};
    const int off = 0;
    self->family = AF_INET6;
    self->socket = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (self->socket >= 0 &&
        (setsockopt(self->socket, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0 ||
         bind(self->socket, (const struct sockaddr *)&at6, sizeof at6) != 0)) {
        close(self->socket);
        self->socket = -1;
    }
    if (self->socket < 0) {
        self->family = AF_INET;
        self->socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (self->socket < 0 ||
            bind(self->socket, (const struct sockaddr *)&at4, sizeof at4) != 0) {
            return 0;
        }
    }
    struct sockaddr_in6 bound = {0}; /* the port is at the same place in both forms */
    socklen_t length = sizeof bound;
    return getsockname(self->socket, (struct sockaddr *)&bound, &length) == 0
               ? ntohs(bound.sin6_port)
               : 0;
}

/* Rank 0 draws the token. Collective. */
static status share_token(struct heartbeat *self)
{
    status s = STATUS_OK;
    if (world_get()->rank == 0 &&
        getrandom(self->token, sizeof self->token, 0) != (ssize_t)sizeof self->token) {
        s = status_fail_errno(STATUS_IO, "cannot draw random numbers");
    }
    TRY(run_agree(s));
    return run_agree(
        mpi_check(MPI_Bcast(self->token, sizeof self->token, MPI_BYTE, 0, MPI_COMM_WORLD),
                  "send the token of the signs of life"));
}

static status share_card(struct heartbeat *self)
{
    struct host_card card = {0};
    host_card_fill(&card);
    card.leader = world_get()->host_leader;
    card.port = self->wake >= 0 ? open_socket(self) : 0;
    TRY(host_table_create(&card, &self->table));
    self->own_host = self->table.host_of[world_get()->rank];
    return STATUS_OK;
}

static status prepare(struct heartbeat *self)
{
    TRY(share_token(self));
    TRY(share_card(self));
    self->numbers = calloc((size_t)world_get()->size, sizeof *self->numbers);
    self->is_heard = calloc((size_t)self->table.count, sizeof *self->is_heard);
    self->silences = calloc((size_t)self->table.count, sizeof *self->silences);
    return run_agree(
        self->numbers != NULL && self->is_heard != NULL && self->silences != NULL
            ? STATUS_OK
            : status_fail(STATUS_NO_MEMORY, "out of memory for %d hosts", self->table.count));
}

static void destroy(struct heartbeat *self)
{
    if (self->socket >= 0) {
        close(self->socket);
    }
    if (self->wake >= 0) {
        close(self->wake);
    }
    host_table_destroy(&self->table);
    free(self->numbers);
    free(self->is_heard);
    free(self->silences);
    free(self);
}

status heartbeat_start(void)
{
    if (world_get()->size == world_get()->host_size) {
        return STATUS_OK;
    }
    struct heartbeat *self = calloc(1, sizeof *self);
    status s = run_agree(self != NULL ? STATUS_OK
                                      : status_fail(STATUS_NO_MEMORY, "out of memory for beats"));
    if (self == NULL || s != STATUS_OK) {
        free(self);
        return s;
    }
    self->socket = self->lost = -1;
    self->wake = eventfd(0, EFD_CLOEXEC);
    self->warn = DEFAULT_LIMITS.warn;
    self->limit = DEFAULT_LIMITS.limit;
    s = prepare(self);
    if (s != STATUS_OK) {
        destroy(self);
        return s;
    }
    own = self;
    self->is_running = self->table.cards[world_get()->rank].port != 0 && start_thread(self);
    return STATUS_OK;
}

void heartbeat_configure(double warn, double limit)
{
    if (own != NULL) {
        own->warn = warn;
        own->limit = limit;
    }
}

/* Without keeping a processor busy: another rank may put much away. */
static void wait_for_all(void)
{
    MPI_Request request;
    int done = 0, code = MPI_Ibarrier(MPI_COMM_WORLD, &request);
    for (int round = 0; code == MPI_SUCCESS && !done; round++) {
        world_pause(round);
        code = MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    }
}

void heartbeat_end(void)
{
    if (own == NULL) {
        return;
    }
    const uint64_t one = 1;
    wait_for_all();
    if (own->is_running) {
        ssize_t written = write(own->wake, &one, sizeof one); /* has room for it */
        (void)written;
        pthread_join(own->thread, NULL);
    }
    destroy(own);
    own = NULL;
}
