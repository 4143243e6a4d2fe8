/* dataset MODEL: a data set of your own: sums of two digits, whose last token a model has to say.
 */
#include "need.h"

enum { N_SUMS = 100, MAX_TOKENS = 16 };
typedef struct sums {
    int32_t start; /* token before a text */
    int32_t *tokens[N_SUMS];
    int64_t n[N_SUMS];
} sums;

/* Append a sum to a batch: each token with what should follow it, -1 where that is not asked. */
static void take(const void *self, int64_t index, bal_batch *batch)
{
    const sums *all = self;
    const int32_t *tokens = all->tokens[index];
    bal_batch_add(batch, all->start, -1);
    for (int64_t i = 1; i < all->n[index]; ++i)
        bal_batch_add(batch, tokens[i - 1], i + 1 == all->n[index] ? tokens[i] : -1);
    bal_batch_end(batch);
}

/* Append one at random: what training asks for. */
static void draw(const void *self, uint64_t random, bal_batch *batch)
{
    take(self, (int64_t)(random % N_SUMS), batch);
}

int main(int argc, char **argv)
{
    if (argc != 2) need(bal_fail(BAL_ERR_ARG, "usage: dataset MODEL"));
    bal_bundle bundle = {0};
    need(bal_source_open(argv[1], &(bal_source_options){.formats = {.matrices = BAL_I8}}, &bundle));
    static sums all;
    all.start = bal_tokenizer_special(bundle.tokenizer, BAL_SPECIAL_BOS);
    for (int i = 0; i < N_SUMS; ++i) {
        char text[16];
        int n = snprintf(text, sizeof text, "%d+%d=%d", i / 10, i % 10, i / 10 + i % 10);
        need(bal_tokenizer_encode(bundle.tokenizer, text, (size_t)n, &all.tokens[i], &all.n[i]));
    }
    bal_dataset dataset = {.n_examples = N_SUMS, .self = &all, .take = take, .draw = draw};
    bal_batch batch;
    bal_losses losses = {0};
    bal_forward *forward;
    const bal_kernels *kernels = bal_kernels_at(bal_isa_best());
    need(bal_batch_init(&batch, bal_batch_text(N_SUMS, MAX_TOKENS)));
    need(bal_forward_create(bundle.model, kernels, N_SUMS * MAX_TOKENS, MAX_TOKENS, &forward));
    bal_dataset_take(&dataset, 0, N_SUMS, &batch);
    need(bal_forward_losses(forward, &batch, NULL, &losses));
    printf("%lld of %d sums are right, at %.4f nats each\n", (long long)losses.n_right, N_SUMS,
           (double)losses.loss / N_SUMS / BAL_LOSS_UNITS_PER_NAT);
    bal_dataset_draw(&dataset, kernels, 1, 0, 0, 8, &batch);
    need(bal_forward_losses(forward, &batch, NULL, &losses));
    printf("eight drawn ones: %.4f nats each\n", (double)losses.loss / 8 / BAL_LOSS_UNITS_PER_NAT);
    bal_forward_destroy(&forward);
    bal_batch_clear(&batch);
    bal_bundle_clear(&bundle);
    return 0;
}
