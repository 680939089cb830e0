/* SPDX-License-Identifier: Apache-2.0 */
/* What runs in the next step: admission, preemption, plans. docs/engine.md tells how it works. */
#include "engine/scheduler.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ADMIT_BY_ROOM: of the cache, kept free when a sequence is admitted beside others: room for these
 * to grow, so that the newcomer is not preempted at once. */
enum { ADMISSION_RESERVE_DIVISOR = 100 };
/* Of the blocks that a sequence lacks, one in so many is worth waiting for. */
enum { LEAST_SHARE = 8 };

/* ---- Lists ---- */

static void list_remove(struct sequence_list *list, struct sequence *sequence)
{
    *(sequence->previous != NULL ? &sequence->previous->next : &list->first) = sequence->next;
    *(sequence->next != NULL ? &sequence->next->previous : &list->last) = sequence->previous;
    sequence->previous = sequence->next = NULL;
    list->count--;
}

/* Keeps the list in order of age. What is inserted is nearly always the youngest. */
static void list_insert(struct sequence_list *list, struct sequence *sequence)
{
    struct sequence *before = list->last;
    while (before != NULL && before->order > sequence->order) {
        before = before->previous;
    }
    sequence->previous = before;
    sequence->next = before != NULL ? before->next : list->first;
    *(before != NULL ? &before->next : &list->first) = sequence;
    *(sequence->next != NULL ? &sequence->next->previous : &list->last) = sequence;
    list->count++;
}

static void rows_append(struct row_list *list, struct engine_row *row)
{
    row->next = NULL;
    *(list->first != NULL ? &list->last->next : &list->first) = row;
    list->last = row;
}

static struct engine_row *rows_take(struct row_list *list)
{
    struct engine_row *row = list->first;
    if (row != NULL) {
        list->first = row->next;
    }
    return row;
}

/* ---- Life ---- */

status scheduler_create(struct scheduler *self, const struct engine_options *options)
{
    self->options = *options;
    TRY(kv_blocks_create(options->kv_blocks, options->kv_block_tokens, options->prefix_cache,
                         &self->blocks));
    TRY(state_places_create(options->has_states ? options->max_sequences : 0,
                            options->has_states ? options->kept_states : 0, &self->places));
    TRY(admission_create(&self->options, &self->admission));
    TRY(team_create(&self->team));
    self->slot_count = options->plans_ahead ? 2 : options->steps_in_flight;
    self->slots = calloc((size_t)self->slot_count, sizeof *self->slots);
    if (self->slots == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the plans of steps");
    }
    for (int i = 0; i < self->slot_count; i++) {
        TRY(slot_create(&self->slots[i], options));
    }
    return STATUS_OK;
}

/* The row ends with the last of its samples that is in a queue, or is released by the caller. */
static void destroy_sequences(struct sequence_list *list)
{
    while (list->first != NULL) {
        struct sequence *sequence = list->first;
        struct engine_row *row = sequence->row;
        list_remove(list, sequence);
        sequence_destroy(sequence);
        if (++row->samples_released == row->samples_begun) {
            engine_row_destroy(row);
        }
    }
}

void scheduler_destroy(struct scheduler *self)
{
    struct engine_row *row;
    team_destroy(self->team); /* first: it may be at masks of sequences */
    while ((row = rows_take(&self->waiting)) != NULL) {
        engine_row_destroy(row);
    }
    while ((row = rows_take(&self->fanning_out)) != NULL) {
        /* Where all samples begun are gone, nothing else leads to the row. */
        if (row->samples_released == row->samples_begun) {
            engine_row_destroy(row);
        }
    }
    destroy_sequences(&self->running);
    destroy_sequences(&self->pending);
    destroy_sequences(&self->parked);
    for (int i = 0; self->slots != NULL && i < self->slot_count; i++) {
        slot_destroy(&self->slots[i]);
    }
    free(self->slots);
    admission_destroy(&self->admission);
    state_places_destroy(&self->places);
    kv_blocks_destroy(self->blocks);
}

void scheduler_add_row(struct scheduler *self, struct engine_row *row)
{
    rows_append(&self->waiting, row);
    admission_note_row(&self->admission, row);
    self->waiting_rows++;
    self->unbegun_samples += row->params.samples;
}

/* ---- Blocks of a sequence ---- */

static int blocks_for(const struct scheduler *self, int tokens)
{
    return (tokens - 1) / self->options.kv_block_tokens + 1;
}

static const int32_t *block_tokens_at(const struct scheduler *self, const struct sequence *sequence,
                                      int block)
{
    return sequence->tokens + (size_t)block * (size_t)self->options.kv_block_tokens;
}

/* Blocks of its prompt that an equal prompt could share: behind them a token is left to compute. */
static int shared_blocks(const struct scheduler *self, const struct sequence *sequence)
{
    const int first = sequence_first_output(sequence), last = sequence->row->prompt_count - 1;
    return (first < last ? first : last) / self->options.kv_block_tokens;
}

/* Of the blocks that the prefix cache has found, only those count behind which a state is kept.
 * What others have in common with it beyond that is worth a state of its own. */
static void keep_to_states(struct scheduler *self, struct sequence *sequence)
{
    const int found = sequence->published;
    sequence->state_entry = STATE_NONE;
    sequence->keep_at = 0;
    while (sequence->published > 0) {
        sequence->prefix =
            kv_blocks_prefix(self->blocks, sequence->blocks[sequence->published - 1]);
        sequence->state_entry = state_places_find(&self->places, sequence->prefix);
        if (sequence->state_entry != STATE_NONE) {
            break;
        }
        kv_blocks_release(self->blocks, sequence->blocks[--sequence->block_count]);
        sequence->published--;
    }
    if (sequence->published == 0) {
        sequence->prefix = sequence->long_rope ? KV_PREFIX_EMPTY_LONG_ROPE : KV_PREFIX_EMPTY;
    }
    if (found > sequence->published && found <= shared_blocks(self, sequence)) {
        sequence->keep_at = found;
    }
}

/* Holds the leading blocks that the prefix cache has. Never one with a token that must be computed
 * for its logits. */
static void attach_prefix(struct scheduler *self, struct sequence *sequence)
{
    assert(sequence->block_count == 0 && sequence->computed == 0);
    sequence->long_rope = sequence_wants_long_rope(sequence, &self->options);
    sequence->prefix = sequence->long_rope ? KV_PREFIX_EMPTY_LONG_ROPE : KV_PREFIX_EMPTY;
    sequence->published = 0;
    int limit = self->options.prefix_cache
                    ? sequence_first_output(sequence) / self->options.kv_block_tokens
                    : 0;
    while (sequence->published < limit) {
        int32_t block = kv_blocks_find(self->blocks, sequence->prefix,
                                       block_tokens_at(self, sequence, sequence->published));
        if (block == KV_BLOCK_NONE) {
            break;
        }
        kv_blocks_hold(self->blocks, block);
        sequence->blocks[sequence->block_count++] = block;
        sequence->prefix = kv_blocks_prefix(self->blocks, block);
        sequence->published++;
    }
    if (self->options.has_states) {
        keep_to_states(self, sequence);
    }
    sequence->computed = sequence->published * self->options.kv_block_tokens;
}

/* The next end of a block behind `reached` at which its states are to be kept; 0: there is none. */
static int next_kept(const struct scheduler *self, const struct sequence *sequence, int reached)
{
    const int block_tokens = self->options.kv_block_tokens;
    const int ends[] = {sequence->keep_at * block_tokens,
                        shared_blocks(self, sequence) * block_tokens};
    int next = 0;
    if (!self->options.has_states || !self->options.prefix_cache || self->places.kept_count == 0) {
        return 0;
    }
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        next = ends[i] > reached && (next == 0 || ends[i] < next) ? ends[i] : next;
    }
    return next;
}

/* A step of the sequence is done. Where it ended at such a place its states stay where they are,
 * and it goes on in another place; not where a further step of it is under way already. */
static void keep_states(struct scheduler *self, struct sequence *sequence)
{
    if (!self->options.has_states) {
        return;
    }
    if (sequence->state_entry != STATE_NONE) { /* it has begun */
        state_places_let_go(&self->places, sequence->state_entry);
        sequence->state_entry = STATE_NONE;
    }
    const int computed = sequence->computed;
    if (sequence->open_steps > 0 || computed == 0 || sequence->is_over ||
        computed != sequence->published * self->options.kv_block_tokens ||
        next_kept(self, sequence, computed - 1) != computed) {
        return;
    }
    const int32_t entry = state_places_keep(&self->places, sequence->prefix, sequence->state_place);
    if (entry != STATE_NONE) {
        sequence->state_from = state_places_hold(&self->places, entry);
        sequence->state_entry = entry;
        sequence->state_place = state_places_take(&self->places);
    }
}

/* Publishes the full blocks among the first `tokens` positions, all of them computed. */
static void publish_blocks(struct scheduler *self, struct sequence *sequence, int tokens)
{
    int limit = self->options.prefix_cache ? tokens / self->options.kv_block_tokens : 0;
    for (; sequence->published < limit; sequence->published++) {
        int i = sequence->published;
        sequence->blocks[i] = kv_blocks_publish(self->blocks, sequence->blocks[i], sequence->prefix,
                                                block_tokens_at(self, sequence, i));
        sequence->prefix = kv_blocks_prefix(self->blocks, sequence->blocks[i]);
    }
}

static void release_blocks(struct scheduler *self, struct sequence *sequence)
{
    while (sequence->block_count > 0) {
        kv_blocks_release(self->blocks, sequence->blocks[--sequence->block_count]);
    }
    sequence->published = 0;
    sequence->computed = 0;
}

/* ---- Prompts that begin alike ---- */

/* Of two sequences: full blocks at their beginning that are equal, up to `most`. */
static int common_blocks(const struct scheduler *self, const struct sequence *a,
                         const struct sequence *b, int most)
{
    const size_t bytes = (size_t)self->options.kv_block_tokens * sizeof *a->tokens;
    int blocks = 0;
    while (blocks < most &&
           memcmp(block_tokens_at(self, a, blocks), block_tokens_at(self, b, blocks), bytes) == 0) {
        blocks++;
    }
    return blocks;
}

/* Whether a sequence's prompt is on its way through the model. */
static bool is_prefilling(const struct sequence *sequence)
{
    return sequence->computed < sequence->row->prompt_count &&
           sequence->count - sequence->computed > 1;
}

/* A running sequence that is computing blocks which `sequence` lacks, and which are worth waiting
 * for. Rows with one beginning come one after the other; without this they would all compute it at
 * once. Only the youngest are looked at, which have just started. */
static struct sequence *find_head(const struct scheduler *self, struct sequence *sequence)
{
    const int block_tokens = self->options.kv_block_tokens;
    const int useful = sequence_first_output(sequence) / block_tokens;
    const int least = sequence->published + 1 + (useful - sequence->published) / LEAST_SHARE;
    for (struct sequence *s = self->running.last; s != NULL && is_prefilling(s); s = s->previous) {
        int whole = s->row->prompt_count / block_tokens;
        int most = whole < useful ? whole : useful;
        if (s->long_rope != sequence->long_rope || s->published >= most || most < least) {
            continue;
        }
        int common = common_blocks(self, s, sequence, most);
        /* A state is kept where the two part, unless that has been passed. */
        const bool is_late = self->options.has_states &&
                             sequence_reached(s) >= common * self->options.kv_block_tokens;
        if (common >= least && common > s->published && !is_late) {
            sequence->parked_until = common;
            s->keep_at = s->keep_at > 0 && s->keep_at < common &&
                                 s->keep_at * block_tokens > sequence_reached(s)
                             ? s->keep_at
                             : common;
            return s;
        }
    }
    return NULL;
}

static void park(struct scheduler *self, struct sequence *sequence, struct sequence *head)
{
    sequence->parked_on = head;
    list_remove(&self->pending, sequence);
    list_insert(&self->parked, sequence);
}

/* Those whose blocks are there now go back in line, and so do those that wait for `lost`. */
static void unpark(struct scheduler *self, const struct sequence *lost)
{
    struct sequence *sequence = self->parked.first;
    while (sequence != NULL) {
        struct sequence *next = sequence->next;
        const struct sequence *head = sequence->parked_on;
        if (head == lost || head->published >= sequence->parked_until || !is_prefilling(head)) {
            sequence->parked_on = NULL;
            list_remove(&self->parked, sequence);
            list_insert(&self->pending, sequence);
        }
        sequence = next;
    }
}

/* It runs from now on, with a place for its states. Whatever that holds is another's: the sequence
 * begins at its first position, or with the state that it has found. */
static void enter_running(struct scheduler *self, struct sequence *sequence)
{
    list_insert(&self->running, sequence);
    if (self->options.has_states) {
        assert(sequence->computed == 0 || sequence->state_entry != STATE_NONE);
        sequence->state_place = state_places_take(&self->places);
        sequence->state_from = sequence->state_entry != STATE_NONE
                                   ? state_places_hold(&self->places, sequence->state_entry)
                                   : sequence->state_place;
    }
}

static void leave_running(struct scheduler *self, struct sequence *sequence)
{
    list_remove(&self->running, sequence);
    if (self->options.has_states) {
        state_places_release(&self->places, sequence->state_place);
        if (sequence->state_entry != STATE_NONE) {
            state_places_let_go(&self->places, sequence->state_entry);
            sequence->state_entry = STATE_NONE;
        }
    }
}

/* Takes a running sequence's blocks away; it is computed again later, as far as the prefix cache
 * has forgotten it. */
static void suspend(struct scheduler *self, struct sequence *sequence)
{
    assert(sequence->open_steps == 0);
    publish_blocks(self, sequence, sequence->computed);
    unpark(self, sequence);
    release_blocks(self, sequence);
    leave_running(self, sequence);
    list_insert(&self->pending, sequence);
}

/* Tokens that would have to be computed again were its blocks taken: those that nobody else holds.
 */
static int cost_of_victim(const struct scheduler *self, const struct sequence *sequence)
{
    int own = sequence->block_count;
    for (int i = 0; i < sequence->published && kv_blocks_shared(self->blocks) > 0; i++) {
        own -= kv_blocks_holds(self->blocks, sequence->blocks[i]) > 1;
    }
    return own;
}

/* The sequence that is to lose its blocks to `needy`: of those younger than it and in no open step
 * the one that is cheapest to compute again and has a block to give; the youngest of these. */
static struct sequence *find_victim(const struct scheduler *self, const struct sequence *needy)
{
    struct sequence *victim = NULL;
    int least = 0;
    for (struct sequence *s = self->running.last; s != needy; s = s->previous) {
        int cost = s->open_steps > 0 ? 0 : cost_of_victim(self, s);
        if (cost > 0 && (victim == NULL || cost < least)) {
            victim = s;
            least = cost;
        }
    }
    return victim;
}

/* Blocks for all its tokens; false where that must wait for steps in flight or older sequences. */
static bool extend_blocks(struct scheduler *self, struct sequence *sequence)
{
    int needed = blocks_for(self, sequence_known(sequence));
    while (sequence->block_count < needed) {
        int32_t block = kv_blocks_take(self->blocks);
        if (block != KV_BLOCK_NONE) {
            sequence->blocks[sequence->block_count++] = block;
            continue;
        }
        struct sequence *victim = find_victim(self, sequence);
        if (victim == NULL) {
            return false;
        }
        suspend(self, victim);
        self->counters.preemptions++;
    }
    return true;
}

/* ---- Admission ---- */

/* The next sequence that wants to run, in self->pending: a preempted one, else a further sample of
 * a row, else the first one of the next row. NULL where there is none. */
static status next_pending(struct scheduler *self, struct sequence **out)
{
    *out = self->pending.first;
    bool begun = self->fanning_out.first != NULL;
    struct row_list *list = begun ? &self->fanning_out : &self->waiting;
    struct engine_row *row = list->first;
    if (*out != NULL || row == NULL) {
        return STATUS_OK;
    }
    TRY(sequence_create(&self->options, row, row->samples_begun, self->next_order, out));
    self->next_order++;
    self->unbegun_samples--;
    row->samples_begun++;
    list_insert(&self->pending, *out);
    if (begun && row->samples_begun < row->params.samples) {
        return STATUS_OK;
    }
    rows_take(list);
    if (!begun && row->params.samples > 1) {
        /* The first sample leaves the prompt's full blocks to the others, where there are any. */
        row->held_back =
            self->options.prefix_cache && row->prompt_count > self->options.kv_block_tokens;
        if (!row->held_back) {
            rows_append(&self->fanning_out, row);
        }
    }
    return STATUS_OK;
}

static void start(struct scheduler *self, struct sequence *sequence)
{
    if (sequence->first_step != 0) {
        return;
    }
    sequence->first_step = clock_seconds();
    const int begun = sequence->constraint != NULL ? sequence->row->prompt_count : sequence->count;
    self->counters.prompt_tokens += begun;
    self->counters.output_tokens += sequence->count - begun; /* what a grammar begins with */
    self->counters.cached_prompt_tokens += sequence->computed;
    self->waiting_rows -= !sequence->row->started;
    sequence->row->started = true;
}

/* Whether a sequence that holds what the prefix cache has of it may have all blocks that its tokens
 * need now, and later. Where nothing else runs it always may: the cache holds any one sequence. */
static bool has_room_for(struct scheduler *self, const struct sequence *sequence)
{
    const bool alone = self->running.count == 0;
    const bool by_need = self->options.admission == ADMIT_BY_NEED;
    int reserve = alone || by_need ? 0 : self->options.kv_blocks / ADMISSION_RESERVE_DIVISOR;
    int needed = blocks_for(self, sequence->count) - sequence->block_count;
    return kv_blocks_available(self->blocks) >= needed + reserve &&
           (alone || !by_need || admission_fits(&self->admission, sequence));
}

/* What became of a sequence that wanted to start. */
enum admitted { ADMITTED, PARKED, REFUSED };

/* Gives a pending sequence all the blocks that its tokens need, where it may have them. */
static enum admitted admit(struct scheduler *self, struct sequence *sequence)
{
    if (kv_blocks_available(self->blocks) == 0) {
        return REFUSED;
    }
    attach_prefix(self, sequence);
    struct sequence *head =
        self->options.prefix_cache && self->parked.count < self->options.max_sequences
            ? find_head(self, sequence)
            : NULL;
    if (head != NULL || !has_room_for(self, sequence)) {
        release_blocks(self, sequence);
        if (head != NULL) {
            park(self, sequence, head);
        }
        return head != NULL ? PARKED : REFUSED;
    }
    if (self->options.admission == ADMIT_BY_NEED) {
        admission_include(&self->admission, sequence);
    }
    list_remove(&self->pending, sequence);
    enter_running(self, sequence);
    bool extended = extend_blocks(self, sequence);
    assert(extended);
    (void)extended;
    start(self, sequence);
    return ADMITTED;
}

/* ---- The plan ---- */

/* How many of `all` sequences the next plan takes, so that plans in flight carry about the same: of
 * all a steps_in_flight-th, and of those not in flight an equal part for each plan not open. Every
 * sequence gets its turn: the first bound times steps_in_flight is no less than all. */
static int fair_share(const struct scheduler *self, int64_t all)
{
    if (self->options.steps_in_flight == 1) {
        return (int)all;
    }
    int in_flight = 0;
    for (int i = 0; i < self->slot_count; i++) {
        in_flight += self->slots[i].open ? self->slots[i].count : 0;
    }
    int64_t plans = self->options.steps_in_flight;
    int64_t share = (all + plans - 1) / plans;
    plans -= self->open_plans;
    int64_t ready_share = (all - in_flight + plans - 1) / plans;
    return (int)(share < ready_share ? share : ready_share);
}

/* Whether a running sequence may be in the plan in the making: it is in no other, or goes on behind
 * that. */
static bool may_join(const struct scheduler *self, const struct sequence *sequence)
{
    return sequence->open_steps == 0 ||
           (self->options.plans_ahead && !sequence_leaves(sequence, &self->options));
}

/* Tokens that are left to compute of a sequence for the plan in the making. */
static int rest_of(const struct sequence *sequence)
{
    return sequence_known(sequence) - sequence_reached(sequence);
}

/* Sequences with one token to compute, oldest first. A block that one of them lacks comes from the
 * youngest, which is not in the plan yet. */
static void plan_decodes(struct scheduler *self, struct plan_slot *slot, int share)
{
    struct sequence *sequence = self->running.first;
    while (sequence != NULL && slot->count < share) {
        bool ready = may_join(self, sequence) && rest_of(sequence) == 1;
        if (ready && extend_blocks(self, sequence)) {
            slot_add(slot, sequence, 1);
        }
        sequence = sequence->next; /* read here: preemption takes younger ones off the list */
    }
}

/* The next piece of a sequence's uncomputed tokens, as far as the step has room for them and for
 * their outputs. */
static void plan_chunk(const struct scheduler *self, struct plan_slot *slot,
                       struct sequence *sequence)
{
    int room = slot->most_tokens - slot->step.batch.tokens;
    int rest = rest_of(sequence);
    int chunk = rest < room ? rest : room;
    /* Of a scored text nearly every token has one; of all else a sequence's last. */
    int free_outputs = self->options.max_sequences - slot->step.batch.outputs;
    int most = sequence_first_output(sequence) - sequence_reached(sequence) + free_outputs;
    chunk = chunk < most ? chunk : most;
    const int reached = sequence_reached(sequence), kept = next_kept(self, sequence, reached);
    chunk = kept > 0 && kept < reached + chunk ? kept - reached : chunk;
    slot_add(slot, sequence, chunk);
    slot->step.prefill_tokens += chunk;
}

static bool has_room(const struct scheduler *self, const struct plan_slot *slot, int share)
{
    return slot->count < share && slot->step.batch.tokens < slot->most_tokens &&
           slot->step.batch.outputs < self->options.max_sequences;
}

/* Whether a sequence that is not to be cut fits into the rest of the step. */
static bool fits_whole(const struct plan_slot *slot, const struct sequence *sequence)
{
    return sequence->row->work != WORK_POOL || sequence->row->pools_last ||
           sequence->count <= slot->most_tokens - slot->step.batch.tokens;
}

static void plan_prefills(struct scheduler *self, struct plan_slot *slot, int share)
{
    for (struct sequence *sequence = self->running.first;
         sequence != NULL && has_room(self, slot, share); sequence = sequence->next) {
        /* One that has grown by several tokens at once may lack a block. */
        if (may_join(self, sequence) && rest_of(sequence) > 1 && extend_blocks(self, sequence)) {
            plan_chunk(self, slot, sequence);
        }
    }
}

/* Whether all that is left may as well start at once. */
static bool is_last(const struct scheduler *self)
{
    return self->supply_ended &&
           self->unbegun_samples + self->pending.count <= self->options.max_sequences / 4;
}

/* Whether sequences are to be tried at all. */
static bool begin_admissions(struct scheduler *self, const struct plan_slot *slot)
{
    if (self->options.admission != ADMIT_BY_NEED) {
        return true;
    }
    const struct admission_step step = {
        .number = self->counters.steps,
        .prompt_tokens = slot->most_tokens - slot->step.batch.decodes + 1,
        .is_last = is_last(self),
        .shares = kv_blocks_shared(self->blocks) > 0,
    };
    return admission_begin(&self->admission, &self->running, &step) || self->running.count == 0;
}

/* Whether new sequences come together in a later step. Where places and not the cache are short,
 * waiting would leave places empty. */
static bool is_gathering(const struct scheduler *self, const struct plan_slot *slot)
{
    const int decodes = slot->step.batch.decodes;
    return !is_last(self) && admission_is_scarce(&self->admission) &&
           gathering_waits(&self->gathering, decodes, slot->step.prefill_tokens,
                           slot->most_tokens - decodes);
}

static status plan_admissions(struct scheduler *self, struct plan_slot *slot)
{
    int64_t wanting = self->pending.count + self->parked.count + self->unbegun_samples;
    const int staying = self->running.count - self->leaving;
    const int64_t room = self->options.max_sequences - staying;
    int share = fair_share(self, staying + (wanting < room ? wanting : room));
    bool begun = false;
    if (is_gathering(self, slot)) {
        return STATUS_OK;
    }
    while (has_room(self, slot, share) &&
           self->running.count - self->leaving < self->options.max_sequences) {
        struct sequence *sequence;
        TRY(next_pending(self, &sequence));
        if (sequence == NULL || !fits_whole(slot, sequence)) {
            break;
        }
        begun = begun || begin_admissions(self, slot);
        enum admitted admitted = begun ? admit(self, sequence) : REFUSED;
        if (admitted == REFUSED) {
            break;
        }
        if (admitted == ADMITTED) {
            plan_chunk(self, slot, sequence);
        }
    }
    return STATUS_OK;
}

/* Whether what a sequence of the open step does next can be told before that is done. */
static bool is_foreseen(const struct scheduler *self, const struct sequence *sequence)
{
    const int threshold = self->options.long_rope_threshold;
    const bool grows_long =
        threshold > 0 && (sequence_known(sequence) > threshold) != sequence->long_rope;
    return sequence->row->work == WORK_SAMPLE && !grows_long;
}

void scheduler_settle(struct scheduler *self)
{
    for (int i = 0; i < self->slot_count; i++) {
        if (self->slots[i].open) {
            slot_settle(&self->slots[i], &self->options);
        }
    }
}

/* Looks at the open step, behind which another one is to be planned. Nothing can be where one of
 * its sequences is not foreseen, or where blocks for all of them are not there: whoever ends may
 * give some. Planning half of the sequences instead would make two small steps of a large one. */
static bool look_ahead(struct scheduler *self, const struct plan_slot *open)
{
    int needed = 0, leaving = 0, forms = 0;
    for (int i = 0; i < open->count; i++) {
        const struct sequence *sequence = open->sequences[i];
        if (sequence_leaves(sequence, &self->options)) {
            leaving++;
        } else if (is_foreseen(self, sequence)) {
            needed += blocks_for(self, sequence_known(sequence)) - sequence->block_count;
            forms += sequence->constraint != NULL;
        } else {
            return false;
        }
    }
    self->leaving = self->options.has_states ? 0 : leaving; /* which keep their states' places */
    return needed <= kv_blocks_available(self->blocks) &&
           (self->options.always_ahead || form_draws_pay(&self->form_draws, open->count, forms));
}

/* The slot for a further plan; NULL where none may be made now. */
static struct plan_slot *free_slot(struct scheduler *self)
{
    struct plan_slot *slot = NULL, *open = NULL;
    for (int i = 0; i < self->slot_count; i++) {
        if (self->slots[i].open) {
            open = &self->slots[i];
        } else if (slot == NULL) {
            slot = &self->slots[i];
        }
    }
    self->leaving = 0;
    const bool is_ahead = self->options.plans_ahead && open != NULL && slot != NULL;
    return is_ahead && !look_ahead(self, open) ? NULL : slot;
}

status scheduler_plan(struct scheduler *self, struct step_plan **out)
{
    *out = NULL;
    struct plan_slot *slot = free_slot(self);
    if (slot == NULL) {
        return STATUS_OK;
    }
    slot->step.batch = (struct batch){0};
    slot->step.prefill_tokens = 0;
    slot->count = 0;
    /* Running sequences are shared by themselves: whether others can join them is open. */
    int share = fair_share(self, self->running.count);
    plan_decodes(self, slot, share);
    slot->step.batch.decodes = slot->count;
    slot->most_tokens = self->options.max_batch_tokens;
    plan_prefills(self, slot, share);
    const int before = slot->count;
    TRY(plan_admissions(self, slot));
    gathering_note_step(&self->gathering, slot->step.prefill_tokens, slot->count - before);
    if (slot->count == 0) {
        bool idle =
            self->pending.count == 0 && self->running.count == 0 && self->unbegun_samples == 0;
        return self->open_plans > 0 || idle
                   ? STATUS_OK
                   : status_fail(STATUS_INTERNAL, "rows are queued and none of them can run");
    }
    TRY(slot_fill(slot, &self->options));
    team_start(self->team, &slot->masks);
    slot_open(slot);
    self->open_plans++;
    self->counters.steps++;
    admission_note_step(&self->admission);
    self->counters.computed_tokens += slot->step.batch.tokens;
    *out = &slot->step;
    return STATUS_OK;
}

/* Waits for masks that are on their way, and gives them to their requests. */
static status give_masks(struct scheduler *self, struct plan_slot *slot)
{
    team_await(self->team, &slot->masks);
    for (size_t i = 0; i < slot->masks.count; i++) {
        struct constraint *constraint = slot->masks.items[i];
        if (constraint->failure != STATUS_OK) {
            constraint_mask(constraint); /* once more, for the message: it was another thread's */
            TRY(constraint->failure);
        }
        constraint_set_mask(constraint, &slot->step.requests[slot->mask_outputs[i]]);
    }
    return STATUS_OK;
}

status scheduler_await_requests(struct scheduler *self, struct plan_slot *slot)
{
    TRY(give_masks(self, slot));
    TRY(slot_fill_late(slot));
    team_start(self->team, &slot->masks);
    return give_masks(self, slot);
}

/* ---- After the step ---- */

void scheduler_close(struct scheduler *self, struct plan_slot *slot)
{
    assert(slot->open);
    slot->open = false;
    self->open_plans--;
    self->leaving = 0; /* those that were sure to leave with it are about to */
    slot_close(slot);
    for (int i = 0; i < slot->count; i++) {
        struct sequence *sequence = slot->sequences[i];
        const struct engine_row *row = sequence->row;
        publish_blocks(self, sequence,
                       sequence->computed < row->prompt_count ? sequence->computed
                                                              : row->prompt_count);
        keep_states(self, sequence);
        if (row->held_back && sequence->computed >= row->prompt_count) {
            sequence->row->held_back = false;
            rows_append(&self->fanning_out, sequence->row);
        }
    }
    unpark(self, NULL);
}

void scheduler_continue(struct scheduler *self, struct sequence *sequence)
{
    /* Past the threshold every key in the cache is wrong. Tokens that are not drawn may lead there
     * while it is in an open step: that ends first, and is the last that it is in (is_foreseen). */
    if (sequence_wants_long_rope(sequence, &self->options) != sequence->long_rope &&
        sequence->open_steps == 0) {
        suspend(self, sequence);
    }
}

void scheduler_remove(struct scheduler *self, struct sequence *sequence)
{
    assert(sequence->open_steps == 0);
    unpark(self, sequence);
    release_blocks(self, sequence);
    leave_running(self, sequence);
    admission_note_end(&self->admission, sequence);
}
