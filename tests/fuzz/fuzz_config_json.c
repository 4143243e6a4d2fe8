/* fuzz_config_json.c: any bytes as config.json give a checked config or a sentence. */
#include <stdlib.h>

#include "../../src/hub/hub_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    bal_model_config config;
    const bal_family *family;
    if (bal_hub_config_parse(data, n_bytes, "config.json", &config, &family) != BAL_OK) return 0;
    if (bal_model_config_check(&config, "config.json") != BAL_OK || family == NULL) abort();
    return 0;
}
