/* loss MODEL TEXT: how well a model predicts a text. MODEL is a Hugging Face folder, a llama2.c
 * folder or file, or a checkpoint; its weights are rounded to int8. */
#include <math.h>

#include "need.h"

#define CONTEXT 128 /* tokens that the model sees at once */

int main(int argc, char **argv)
{
    if (argc != 3) need(bal_fail(BAL_ERR_ARG, "usage: loss MODEL TEXT"));
    bal_bundle bundle = {0}; /* the model and its tokenizer */
    bal_source_options as_int8 = {.formats = {.matrices = BAL_I8}};
    need(bal_source_open(argv[1], &as_int8, &bundle));

    bal_dataset corpus = {0}; /* the text as tokens, cut into windows */
    bal_corpus_options windows = {.examples = BAL_EXAMPLES_WINDOWS, .context = CONTEXT};
    need(bal_corpus_open(argv[2], bundle.tokenizer, &windows, &corpus));

    bal_batch batch;
    need(bal_batch_init(&batch, bal_batch_text(1, CONTEXT)));
    bal_forward *forward = NULL; /* work space of forward passes */
    const bal_kernels *kernels = bal_kernels_at(bal_isa_best());
    need(bal_forward_create(bundle.model, kernels, CONTEXT, CONTEXT, &forward));

    bal_losses sum = {0};
    int64_t n_tokens = 0;
    for (int64_t i = 0; i < corpus.n_examples; ++i) {
        bal_losses losses = {0};
        bal_dataset_take(&corpus, i, 1, &batch);
        need(bal_forward_losses(forward, &batch, NULL, &losses));
        sum.loss += losses.loss;
        sum.n_right += losses.n_right;
        n_tokens += batch.n_scored;
    }
    double nats = (double)sum.loss / (double)n_tokens / BAL_LOSS_UNITS_PER_NAT;
    printf("loss        %.4f nats per token, of %lld tokens\n", nats, (long long)n_tokens);
    printf("perplexity  %.3f\n", exp(nats));
    printf("accuracy    %.2f %%\n", 100.0 * (double)sum.n_right / (double)n_tokens);

    bal_forward_destroy(&forward);
    bal_batch_clear(&batch);
    bal_dataset_clear(&corpus);
    bal_bundle_clear(&bundle);
    return 0;
}
