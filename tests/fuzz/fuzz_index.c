/* fuzz_index.c: any bytes as model.safetensors.index.json agree with the tensors that the files
 * have, or give a sentence. */
#include <stdlib.h>
#include <string.h>

#include "../../src/hub/hub_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    /* as in tests/golden/weights/safetensors-sharded */
    static bal_hub_entry entries[] = {
        {.name = "a.weight", .file = 1},     {.name = "b.weight", .file = 1},
        {.name = "c.weight", .file = 1},     {.name = "embed.weight", .file = 2},
        {.name = "head.weight", .file = 2},  {.name = "part.weight", .file = 2},
        {.name = "position_ids", .file = 2}, {.name = "scale", .file = 2},
    };
    bal_hub_table table = {.origin = "index.json", .n_entries = 8, .entries = entries};
    bal_hub_index index;
    if (bal_hub_index_parse(data, n_bytes, "index.json", &index) != BAL_OK) return 0;
    for (int i = 0; i < index.n_files; ++i) /* each a name in the folder, each once */
        if (strchr(index.files[i], '/') != NULL || index.files[i][0] == '.' ||
            (i > 0 && strcmp(index.files[i - 1], index.files[i]) >= 0))
            abort();
    if (index.n_files == 2 && bal_hub_index_check(&index, &table) == BAL_OK &&
        json_object_size(index.map) != 8)
        abort();
    bal_hub_index_clear(&index);
    return 0;
}
