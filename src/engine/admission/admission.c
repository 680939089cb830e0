/* SPDX-License-Identifier: Apache-2.0 */
/* From sequences to the forecast's needs, and from the forecast to who may start. */
#include "engine/admission/admission.h"

#include <math.h>
#include <string.h>

/* Where lengths are guessed, the sum of guesses strays. With n sequences of s blocks each that end
 * or do not end before a moment, its standard deviation is at most half of s times the root of n;
 * so many of these are kept free. */
static const double RISK = 0.5;
/* Steps that credit is saved up for. */
static const double SAVED = 16;
/* More than the cache's positions are promised a step, by so much, since not all is kept full. */
static const double PROMISED = 1.05;
/* Answers of at most so many blocks count as if they took all that they may. */
enum { SHORT_BLOCKS = 2 };

/* Positions of the cache that a step can promise: steps in flight promise a share each. */
static double credit_of_step(const struct engine_options *options)
{
    double positions = (double)options->kv_blocks * options->kv_block_tokens;
    return PROMISED * positions / options->steps_in_flight;
}

status admission_create(const struct engine_options *options, struct admission *out)
{
    out->options = options;
    out->credit = SAVED * credit_of_step(options);
    return forecast_create(options->kv_blocks, options->kv_block_tokens, &out->forecast);
}

void admission_destroy(struct admission *self)
{
    forecast_destroy(&self->forecast);
}

/* ---- What a sequence needs ---- */

static int most_output(const struct admission *self, const struct engine_row *row)
{
    int room = self->options->max_model_len - row->prompt_count;
    return row->params.max_new_tokens < room ? row->params.max_new_tokens : room;
}

static bool length_is_known(const struct admission *self, const struct engine_row *row)
{
    const struct generate_params *params = &row->params;
    bool ends_itself = !params->ignore_eos || params->stop_count > 0 || params->stop_id_count > 0;
    return row->work != WORK_SAMPLE || !ends_itself ||
           most_output(self, row) <= SHORT_BLOCKS * self->options->kv_block_tokens;
}

/* A number between 0 and 1 of its own for each sequence, such that any run of them is spread
 * evenly: multiples of the golden ratio. So the sum of guesses is near the sum of means. */
static double luck(const struct sequence *sequence)
{
    double turn = (double)(sequence->order & 0xffffff) * 0.6180339887498949;
    return turn - floor(turn);
}

static int output_count(const struct sequence *sequence)
{
    return sequence->count - sequence->row->prompt_count;
}

/* Tokens of a sequence as the forecast counts them, and those of them that are computed: as of the
 * latest step that is complete, but where plans are made before that, as of the one that is open.
 * Never as of the plan in the making, which the forecast begins with. */
static int known_tokens(const struct admission *self, const struct sequence *sequence)
{
    return self->options->plans_ahead ? sequence_known(sequence) - sequence->joining_draws
                                      : sequence->count;
}

static int reached_tokens(const struct admission *self, const struct sequence *sequence)
{
    return self->options->plans_ahead ? sequence_reached(sequence) - sequence->joining
                                      : sequence->computed;
}

/* `ahead`: steps until its prompt is computed. */
static struct forecast_need need_of(const struct admission *self, const struct sequence *sequence,
                                    int ahead)
{
    const struct engine_row *row = sequence->row;
    if (row->work != WORK_SAMPLE) {
        return (struct forecast_need){sequence->count, 1 + ahead, .is_read = true};
    }
    const int known = known_tokens(self, sequence);
    int output = known - row->prompt_count, most = most_output(self, row), end = most;
    const bool is_guess = !length_is_known(self, row);
    if (is_guess) {
        int least = row->params.min_tokens > output ? row->params.min_tokens : output;
        end = lengths_predict(&self->lengths, luck(sequence), least, most);
    }
    return (struct forecast_need){known, (end > output ? end - output : 1) + ahead,
                                  .is_guess = is_guess};
}

/* ---- What has been seen ---- */

void admission_note_row(struct admission *self, const struct engine_row *row)
{
    if (!length_is_known(self, row)) {
        lengths_note_limit(&self->lengths, most_output(self, row));
    }
}

void admission_note_end(struct admission *self, const struct sequence *sequence)
{
    self->end_count++;
    const struct finished_sample *finished = &sequence->finished;
    if (!length_is_known(self, sequence->row) && finished->reason != FINISH_ERROR) {
        lengths_note_end(&self->lengths, finished->completion_tokens,
                         finished->reason == FINISH_LENGTH);
    }
}

/* ---- The forecast ---- */

static void settle_lengths(struct admission *self, const struct sequence_list *running)
{
    lengths_begin(&self->lengths);
    for (const struct sequence *s = running->first; s != NULL; s = s->next) {
        if (!length_is_known(self, s->row)) {
            lengths_note_running(&self->lengths, output_count(s));
        }
    }
    lengths_settle(&self->lengths);
}

static double square_of_blocks(const struct admission *self, const struct forecast_need *need)
{
    double blocks = (double)(need->tokens + need->steps) / self->options->kv_block_tokens;
    return blocks * blocks;
}

/* Every running sequence's need, and the longest of them. Prompts are computed in order of age. */
static int find_needs(struct admission *self, const struct sequence_list *running,
                      const struct admission_step *step)
{
    int64_t prompt_tokens = 0;
    int longest = self->longest > 1 ? self->longest : 1;
    self->longest = 0;
    self->guessed = 0;
    for (struct sequence *s = running->first; s != NULL; s = s->next) {
        int rest = known_tokens(self, s) - reached_tokens(self, s);
        prompt_tokens += rest > 1 ? rest : 0;
        int ahead = rest > 1 ? (int)(prompt_tokens / step->prompt_tokens) : 0;
        s->need = need_of(self, s, ahead);
        longest = s->need.steps > longest ? s->need.steps : longest;
        self->guessed += length_is_known(self, s->row) ? 0 : square_of_blocks(self, &s->need);
    }
    return longest;
}

static void make_forecast(struct admission *self, const struct sequence_list *running,
                          const struct admission_step *step)
{
    settle_lengths(self, running);
    forecast_begin(&self->forecast, find_needs(self, running, step));
    memset(self->ending, 0, sizeof self->ending);
    for (struct sequence *s = running->first; s != NULL; s = s->next) {
        int last = forecast_last_span(&self->forecast, &s->need);
        s->next_ending = self->ending[last];
        self->ending[last] = s;
    }
    for (int span = FORECAST_SPANS - 1; span >= 0; span--) {
        for (struct sequence *s = self->ending[span]; s != NULL; s = s->next_ending) {
            forecast_add(&self->forecast, &s->need, s->blocks, step->shares ? s->published : 0);
        }
    }
    forecast_settle(&self->forecast);
}

void admission_note_step(struct admission *self)
{
    const double step = credit_of_step(self->options);
    self->credit = fmin(self->credit + step, SAVED * step);
}

bool admission_begin(struct admission *self, const struct sequence_list *running,
                     const struct admission_step *step)
{
    bool is_as_before = self->end_count == self->round_ends &&
                        step->number < self->round_step + self->forecast.span;
    self->is_last = step->is_last;
    if ((self->is_full && is_as_before) ||
        (self->is_saving && self->credit <= 0 && !self->is_last)) {
        return false;
    }
    self->is_full = self->is_saving = false;
    self->round_ends = self->end_count;
    self->round_step = step->number;
    make_forecast(self, running, step);
    return true;
}

/* Blocks that the forecast may come to. */
static int64_t limit(const struct admission *self)
{
    return self->options->kv_blocks - (int64_t)ceil(RISK / 2 * sqrt(self->guessed));
}

/* Positions times steps that a sequence takes of the cache, besides what it found there. */
static double promised(const struct admission *self, const struct sequence *sequence,
                       const struct forecast_need *need)
{
    double steps = need->steps;
    double found = (double)sequence->block_count * self->options->kv_block_tokens;
    return steps * (need->tokens - found + (need->is_read ? 0 : steps / 2));
}

/* Rows of one length that start together end together: the cache is full at their end and half
 * empty after it, wave after wave. So a step promises no more of the cache than a step brings, and
 * starts and ends are spread from the beginning. Lengths that are not known spread themselves. */
static bool has_credit(const struct admission *self, const struct sequence *sequence)
{
    return self->is_last || self->credit > 0 || !length_is_known(self, sequence->row);
}

bool admission_fits(struct admission *self, const struct sequence *sequence)
{
    self->is_saving = !has_credit(self, sequence);
    if (self->is_saving) {
        return false;
    }
    struct forecast_need need = need_of(self, sequence, 0);
    self->longest = need.steps > self->longest ? need.steps : self->longest;
    self->is_full = !forecast_fits(&self->forecast, &need, sequence->blocks, sequence->block_count,
                                   limit(self));
    return !self->is_full;
}

bool admission_is_scarce(const struct admission *self)
{
    return self->is_full || self->is_saving;
}

void admission_include(struct admission *self, const struct sequence *sequence)
{
    struct forecast_need need = need_of(self, sequence, 0);
    if (length_is_known(self, sequence->row)) {
        self->credit -= promised(self, sequence, &need);
    } else {
        self->guessed += square_of_blocks(self, &need);
    }
    forecast_include(&self->forecast, &need, sequence->blocks, sequence->published);
}
