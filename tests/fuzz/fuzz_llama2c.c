/* fuzz_llama2c.c: any bytes as a llama2.c file give a config with all its tensors, or a sentence.
 */
#include <stdlib.h>

#include "../../src/hub/hub_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    bal_hub_table table;
    bal_model_config config;
    if (bal_hub_llama2c_parse(data, n_bytes, "model.bin", &config, &table) != BAL_OK) return 0;
    bal_model *model = NULL;
    if (bal_model_outline(&config, &(bal_formats){.matrices = BAL_F32}, &model) != BAL_OK) abort();
    if (bal_hub_match(&table, bal_family_of_type("llama"), model) != BAL_OK) abort();
    bal_model_destroy(&model);
    for (int64_t i = 0; i < table.n_entries; ++i) {
        const bal_hub_entry *entry = &table.entries[i];
        float *values = malloc((size_t)bal_hub_entry_n(entry) * sizeof *values);
        if (values == NULL) abort();
        (void)bal_hub_table_read(&table, entry, values);
        free(values);
    }
    bal_hub_table_clear(&table);
    return 0;
}
