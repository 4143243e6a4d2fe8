/* shapes.c: the sizes of some well-known models. */
#include <string.h>

#include "bench_impl.h"

static const struct shape {
    const char *name;
    int64_t dim, hidden, n_layers, n_heads, n_kv_heads, n_vocab;
    bool tied_head;
    double rope_base;
} shapes[] = {
    /* OPT-125M has two matrices of 768 x 3072; this decoder has three of 768 x 2048 instead. */
    {"opt-125m", 768, 2048, 12, 12, 12, 50272, true, 1e4},
    {"llama-1b", 2048, 8192, 16, 32, 8, 128256, true, 5e5}, /* Llama 3.2 1B */
    {"llama-7b", 4096, 11008, 32, 32, 32, 32000, false, 1e4},
};

bool bal_bench_shape(const char *name, bal_model_config *config)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; ++i) {
        const struct shape *s = &shapes[i];
        if (strcmp(s->name, name) != 0) continue;
        *config = (bal_model_config){.dim = s->dim,
                                     .hidden = s->hidden,
                                     .n_layers = s->n_layers,
                                     .n_heads = s->n_heads,
                                     .n_kv_heads = s->n_kv_heads,
                                     .head_dim = s->dim / s->n_heads,
                                     .n_vocab = s->n_vocab,
                                     .max_tokens = 2048,
                                     .tied_head = s->tied_head,
                                     .rope.pairs = BAL_ROPE_HALVES,
                                     .rope.base = s->rope_base,
                                     .norm_eps = 1e-5};
        return true;
    }
    return false;
}
