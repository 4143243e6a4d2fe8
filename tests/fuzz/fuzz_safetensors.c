/* fuzz_safetensors.c: any bytes as model.safetensors give a table whose tensors can all be read, or
 * a sentence. */
#include <stdlib.h>

#include "../../src/hub/hub_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    bal_hub_table table;
    if (bal_hub_safetensors_parse(data, n_bytes, "model.safetensors", &table) != BAL_OK) return 0;
    for (int64_t i = 0; i < table.n_entries; ++i) {
        const bal_hub_entry *entry = &table.entries[i];
        float *values = malloc((size_t)bal_hub_entry_n(entry) * sizeof *values + 1);
        if (values == NULL) abort(); /* larger than the input justifies */
        (void)bal_hub_table_read(&table, entry, values);
        free(values);
    }
    bal_model_config config = {.dim = 4,
                               .hidden = 6,
                               .n_layers = 1,
                               .n_heads = 2,
                               .n_kv_heads = 1,
                               .head_dim = 2,
                               .n_vocab = 8,
                               .max_tokens = 8,
                               .tied_head = n_bytes % 2 == 0,
                               .rope.base = 1e4,
                               .norm_eps = 1e-5};
    static const char *const types[] = {"llama", "gpt2", "roberta", "opt"};
    bal_model *model = NULL;
    if (bal_model_outline(&config, &(bal_formats){.matrices = BAL_F32}, &model) != BAL_OK) abort();
    (void)bal_hub_match(&table, bal_family_of_type(types[n_bytes / 2 % 4]), model);
    bal_model_destroy(&model);
    bal_hub_table_clear(&table);
    return 0;
}
