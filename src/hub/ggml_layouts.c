/* ggml_layouts.c: the table of ggml's layouts that ballot reads. */
#include "ggml.h"

static const bal_ggml_layout layouts[] = {
    {"F32", BAL_GGML_F32, 1, 4, bal_ggml_read_f32},
    {"F16", BAL_GGML_F16, 1, 2, bal_ggml_read_f16},
    {"Q4_0", BAL_GGML_Q4_0, 32, 18, bal_ggml_read_q4_0},
    {"Q4_1", BAL_GGML_Q4_1, 32, 20, bal_ggml_read_q4_1},
    {"Q5_0", BAL_GGML_Q5_0, 32, 22, bal_ggml_read_q5_0},
    {"Q5_1", BAL_GGML_Q5_1, 32, 24, bal_ggml_read_q5_1},
    {"Q8_0", BAL_GGML_Q8_0, 32, 34, bal_ggml_read_q8_0},
    {"Q2_K", BAL_GGML_Q2_K, 256, 84, bal_ggml_read_q2_k},
    {"Q3_K", BAL_GGML_Q3_K, 256, 110, bal_ggml_read_q3_k},
    {"Q4_K", BAL_GGML_Q4_K, 256, 144, bal_ggml_read_q4_k},
    {"Q5_K", BAL_GGML_Q5_K, 256, 176, bal_ggml_read_q5_k},
    {"Q6_K", BAL_GGML_Q6_K, 256, 210, bal_ggml_read_q6_k},
    {"IQ4_NL", BAL_GGML_IQ4_NL, 32, 18, bal_ggml_read_iq4_nl},
    {"BF16", BAL_GGML_BF16, 1, 2, bal_ggml_read_bf16},
};
enum { N_LAYOUTS = sizeof layouts / sizeof *layouts };

const bal_ggml_layout *bal_ggml_layout_of(uint32_t type)
{
    for (int i = 0; i < N_LAYOUTS; ++i)
        if ((uint32_t)layouts[i].type == type) return &layouts[i];
    return NULL;
}

void bal_ggml_list(char *text, size_t n_bytes)
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < N_LAYOUTS && used < n_bytes; ++i)
        used += (size_t)snprintf(text + used, n_bytes - used, "%s%s",
                                 i == 0              ? ""
                                 : i + 1 < N_LAYOUTS ? ", "
                                                     : " or ",
                                 layouts[i].name);
}

size_t bal_ggml_bytes(bal_ggml_type type, int64_t n)
{
    const bal_ggml_layout *layout = bal_ggml_layout_of(type);
    return (size_t)(n / layout->n) * (size_t)layout->n_bytes;
}
