/* optim.c: a counted ballot to new codes, tensor by tensor, block by block. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "optim_impl.h"

struct bal_optim {
    bal_model         *model;
    const bal_kernels *kernels;
    bal_optim_options  options;
    const bal_rule    *rule;
    bal_tally         *tally;
    int8_t            *votes;      /* [n_slots] */
    int32_t           *increments; /* [2 n_slots + 1] */
};

bal_rule_options bal_rule_options_default(void)
{
    return (bal_rule_options){.kind = BAL_RULE_CARRY, .travel = 4.0, .eta = 1e-3};
}

bal_status bal_optim_create(bal_model *model, const bal_kernels *kernels,
                            const bal_optim_options *options, bal_optim **optim)
{
    const bal_rule *rule = &bal_rules[options->rule.kind];
    BAL_TRY(rule->check(options));
    bal_status status = BAL_ERR_MEMORY;
    bal_optim *o      = bal_alloc(1, sizeof *o);
    if (o == NULL) goto done;
    *o       = (bal_optim){.model = model, .kernels = kernels, .options = *options, .rule = rule};
    o->votes = bal_alloc((size_t)options->n_slots, 1);
    o->increments = bal_alloc(2 * (size_t)options->n_slots + 1, sizeof *o->increments);
    if (o->votes == NULL || o->increments == NULL) goto done;
    status = bal_tally_create(options->n_slots, options->tally, &o->tally);
    if (status != BAL_OK) goto done;
    *optim = o;
    o      = NULL;
done:
    bal_optim_destroy(&o);
    if (status != BAL_OK)
        bal_fail(status, "no memory for the updates of %d slots", options->n_slots);
    return status;
}

void bal_optim_destroy(bal_optim **optim)
{
    bal_optim *o = *optim;
    if (o == NULL) return;
    bal_tally_destroy(&o->tally);
    free(o->votes);
    free(o->increments);
    free(o);
    *optim = NULL;
}

bal_measure bal_optim_measure(const bal_optim *o, int64_t step)
{
    return (bal_measure){.kernels   = o->kernels,
                         .options   = o->options.perturb,
                         .seed      = o->options.seed,
                         .step      = (uint32_t)step,
                         .n_tensors = bal_model_n_tensors(o->model),
                         .on_ballot = o->options.on_ballot};
}

/* increments[tally + n_slots] = round(256 rate tally / sqrt(n_slots)), within int16, where
 * rate = travel sqrt(3 / (density steps)) (1 - t / steps): then pure noise, of tallies with
 * variance n_slots, carries a code by travel steps RMS over the run. */
static void fill_increments(bal_optim *o, int64_t step)
{
    const bal_optim_options *options = &o->options;
    double                   n_steps = (double)options->n_steps;
    double rate = options->rule.travel * sqrt(3.0 / (options->perturb.density * n_steps)) *
                  (1.0 - (double)step / n_steps);
    double per_vote = 256.0 * rate / sqrt((double)options->n_slots);
    for (int tally = -options->n_slots; tally <= options->n_slots; ++tally) {
        double increment = rint(per_vote * tally);
        increment        = increment > 32767.0 ? 32767.0 : increment;
        o->increments[tally + options->n_slots] =
            (int32_t)(increment < -32767.0 ? -32767.0 : increment);
    }
}

/* Scale of code i of a block. */
static float code_scale(const bal_tensor *tensor, int64_t block, int i)
{
    if (tensor->role != BAL_MATRIX) return tensor->scale[0];
    int64_t row = block / ((tensor->n_cols + 3) / 4) * BAL_PANEL_ROWS + i / 4;
    return row < tensor->n_rows ? tensor->scale[row] : 1.0f;
}

static uint32_t update_block(bal_optim *o, const bal_rule_step *step, bal_tensor *tensor,
                             int64_t block, int32_t *tally)
{
    int64_t  first = block * BAL_BLOCK_CODES;
    int      limit = tensor->limit, reach = (int)o->options.perturb.noise;
    int32_t  moves[BAL_BLOCK_CODES];
    float    scale[BAL_BLOCK_CODES];
    uint32_t n_flips = 0;
    for (int i = 0; i < BAL_BLOCK_CODES; ++i) { /* the gate: |code| + |z| <= limit; where |z| may be
                                                   above 1 there is one slot, and |tally| is |z| */
        int z = abs(tally[i]) < reach ? abs(tally[i]) : reach;
        if (abs(bal_tensor_code(tensor, first + i)) + z > limit) tally[i] = 0;
        scale[i] = code_scale(tensor, block, i);
    }
    o->rule->move(step, &(bal_update){tally, scale, tensor->carry + first, moves});
    for (int i = 0; i < BAL_BLOCK_CODES; ++i) {
        if (moves[i] == 0) continue;
        int old = bal_tensor_code(tensor, first + i), code = old + moves[i];
        code = code > limit ? limit : code < -limit ? -limit : code;
        n_flips += code != old;
        bal_tensor_put(tensor, first + i, code);
    }
    return n_flips;
}

void bal_optim_apply(bal_optim *o, int64_t step, const uint64_t *bits, int part, int n_parts,
                     uint32_t *flips)
{
    enum { PIECE = 8 }; /* blocks at a time */
    bal_measure measure = bal_optim_measure(o, step);
    bal_ballot_votes(bits, o->options.n_slots, o->votes);
    bal_tally_load(o->tally, &measure, o->votes);
    if (o->rule->needs_increments) fill_increments(o, step);
    bal_rule_step rule_step = {&o->options.rule, o->options.n_slots, o->increments};
    for (int index = 0; index < measure.n_tensors; ++index) {
        bal_tensor *tensor = bal_model_tensor(o->model, index);
        flips[index]       = 0;
        if (!measure.on_ballot[index]) continue;
        assert(tensor->carry != NULL);
        int64_t first, end;
        for (bal_tensor_slice(tensor, part, n_parts, &first, &end); first < end; first += PIECE) {
            int32_t sums[PIECE * BAL_BLOCK_CODES];
            int64_t n = end - first < PIECE ? end - first : PIECE;
            bal_tally_fill(o->tally, index, first, n, sums);
            for (int64_t i = 0; i < n; ++i)
                flips[index] +=
                    update_block(o, &rule_step, tensor, first + i, sums + i * BAL_BLOCK_CODES);
        }
    }
}
