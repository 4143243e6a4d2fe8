/* fuzz_gguf.c: any bytes as a GGUF file give a model, a table whose tensors can all be read, and a
 * tokenizer; or a sentence. */
#include "../../src/hub/gguf.h"
#include "fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void read_all(const bal_hub_table *table)
{
    for (int64_t i = 0; i < table->n_entries; ++i) {
        const bal_hub_entry *entry = &table->entries[i];
        float *values = malloc((size_t)bal_hub_entry_n(entry) * sizeof *values + 1);
        if (values == NULL) abort(); /* larger than the input justifies */
        (void)bal_hub_table_read(table, entry, values);
        free(values);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    bal_gguf head;
    bal_hub_table table;
    bal_files files = {0};
    bal_model_config config;
    const bal_family *names;
    if (bal_gguf_parse(data, n_bytes, "FILE.gguf", &head, &table) != BAL_OK) return 0;
    read_all(&table);
    bal_gguf_clear(&head);
    bal_hub_table_clear(&table);
    if (bal_hub_gguf_parse(data, n_bytes, "FILE.gguf", &config, &names, &files, &table) == BAL_OK) {
        bal_model *model = NULL;
        fuzz_tokenizer(&files, config.n_vocab, data, n_bytes);
        if (config.n_layers <= table.n_entries) { /* as bal_hub_outline checks */
            if (bal_model_outline(&config, &(bal_formats){.matrices = BAL_F32}, &model) != BAL_OK)
                abort();
            (void)bal_hub_match(&table, names, model);
            bal_model_destroy(&model);
        }
        bal_hub_table_clear(&table);
    }
    bal_files_clear(&files);
    return 0;
}
