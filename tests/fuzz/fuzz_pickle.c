/* fuzz_pickle.c: any bytes as pytorch_model.bin give a table whose tensors can all be read, or a
 * sentence. What does not start like a zip file is taken as the data.pkl of one, so that the
 * machine is reached without guessing sizes and names of a zip file. */
#include <stdlib.h>
#include <string.h>

#include "../../src/hub/pickle_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static bal_status parse_bare(const uint8_t *data, size_t n_bytes, bal_hub_table *table)
{
    static const uint8_t storage[48];
    static bal_hub_zip_entry entries[] = {
        /* sizes of those of tests/golden/weights/state.pkl */
        {"a/data/0", 8, 0, storage, 48}, {"a/data/1", 8, 0, storage, 10},
        {"a/data/2", 8, 0, storage, 24}, {"a/data/3", 8, 0, storage, 48},
        {"a/data/4", 8, 0, storage, 48}, {"a/data/5", 8, 0, storage, 48},
        {"a/data/6", 8, 0, storage, 4},
    };
    bal_hub_zip zip = {.origin = "pytorch_model.bin", .n_entries = 7, .entries = entries};
    bal_hub_pickle pickle;
    bal_status status = bal_hub_unpickle(data, n_bytes, zip.origin, &pickle);
    if (status == BAL_OK) status = bal_hub_pickle_tensors(&pickle, &zip, "a", table);
    bal_hub_pickle_clear(&pickle);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    bal_hub_table table;
    bal_status status = n_bytes > 2 && memcmp(data, "PK", 2) == 0
                            ? bal_hub_pickle_parse(data, n_bytes, "pytorch_model.bin", &table)
                            : parse_bare(data, n_bytes, &table);
    if (status != BAL_OK) return 0;
    for (int64_t i = 0; i < table.n_entries; ++i) {
        const bal_hub_entry *entry = &table.entries[i];
        float *values = malloc((size_t)bal_hub_entry_n(entry) * sizeof *values + 1);
        if (values == NULL) abort(); /* larger than the input justifies */
        (void)bal_hub_table_read(&table, entry, values);
        free(values);
    }
    bal_hub_table_clear(&table);
    return 0;
}
