/* dataset.c: batches out of a data set, whatever its examples are. */
#include <assert.h>

#include "ballot/batch.h"
#include "ballot/perturb.h"

void bal_dataset_clear(bal_dataset *dataset)
{
    if (dataset->destroy != NULL) dataset->destroy(dataset->self);
    *dataset = (bal_dataset){0};
}

bal_batch_size bal_dataset_room(const bal_dataset *dataset, int64_t n)
{
    bal_batch_size example = dataset->example, common = dataset->common;
    return (bal_batch_size){.sequences = n * example.sequences + common.sequences,
                            .tokens = n * example.tokens + common.tokens,
                            .answers = n * example.answers + common.answers};
}

static void begin(const bal_dataset *dataset, bool continues, bal_batch *batch)
{
    bal_batch_empty(batch);
    batch->aim = dataset->aim;
    batch->continues = continues;
}

static void take(const bal_dataset *dataset, int64_t first, int64_t n, bal_batch *batch)
{
    assert(first >= 0 && first + n <= dataset->n_examples);
    for (int64_t i = first; i < first + n; ++i) dataset->take(dataset->self, i, batch);
}

void bal_dataset_take(const bal_dataset *dataset, int64_t first, int64_t n, bal_batch *batch)
{
    begin(dataset, false, batch);
    take(dataset, first, n, batch);
}

void bal_dataset_continue(const bal_dataset *dataset, int64_t first, int64_t n, bal_batch *batch)
{
    begin(dataset, true, batch);
    take(dataset, first, n, batch);
}

void bal_dataset_draw(const bal_dataset *dataset, const bal_kernels *kernels, uint64_t seed,
                      uint32_t step, uint32_t slot, int64_t n, bal_batch *batch)
{
    assert(n >= 1 && n <= BAL_BATCH_MAX);
    uint32_t words[2 * BAL_BATCH_MAX];
    bal_draw_words(kernels, seed, step, slot, words);
    begin(dataset, false, batch);
    for (int64_t i = 0; i < n; ++i)
        dataset->draw(dataset->self, (uint64_t)words[2 * i] << 32 | words[2 * i + 1], batch);
}
