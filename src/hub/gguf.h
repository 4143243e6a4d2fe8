/* gguf.h: the parts of a GGUF file. Source: github.com/ggml-org/ggml, docs/gguf.md; for what
 * programs expect of the keys, github.com/ggml-org/llama.cpp, gguf-py and convert_hf_to_gguf.py. */
#ifndef BALLOT_GGUF_H
#define BALLOT_GGUF_H

#include "export.h"

typedef enum bal_gguf_type {
    BAL_GGUF_UINT32 = 4,
    BAL_GGUF_INT32 = 5,
    BAL_GGUF_FLOAT32 = 6,
    BAL_GGUF_BOOL = 7,
    BAL_GGUF_STRING = 8,
    BAL_GGUF_ARRAY = 9
} bal_gguf_type;

typedef enum bal_ggml_type {
    BAL_GGML_F32 = 0,
    BAL_GGML_F16 = 1,
    BAL_GGML_Q4_0 = 2, /* 32 elements: a scale in F16, 4 bits each */
    BAL_GGML_Q8_0 = 8  /* 32 elements: a scale in F16, 8 bits each */
} bal_ggml_type;

/* gguf.c: the file */

/** Growing bytes. After a failure to grow nothing more is added, so it is enough to ask at the end.
 */
typedef struct bal_gguf_bytes {
    uint8_t *at; /* owned */
    size_t n, room;
    bool failed;
} bal_gguf_bytes;

void bal_gguf_bytes_put(bal_gguf_bytes *bytes, const void *from, size_t n);

/** What comes before the data. {.arch = ...}: empty. */
typedef struct bal_gguf_head {
    const char *arch;
    bal_gguf_bytes pairs, tensors;
    uint64_t n_pairs, n_tensors, n_data;
} bal_gguf_head;

/* Add a pair. A key that begins with '.' is one of the architecture's. */
void bal_gguf_put_u32(bal_gguf_head *head, const char *key, int64_t value);
void bal_gguf_put_f32(bal_gguf_head *head, const char *key, double value);
void bal_gguf_put_bool(bal_gguf_head *head, const char *key, bool value);
void bal_gguf_put_text(bal_gguf_head *head, const char *key, const char *text, size_t n_bytes);
/** Add a pair whose value is an array of n elements; the caller puts the elements next: */
void bal_gguf_put_array(bal_gguf_head *head, const char *key, bal_gguf_type type, int64_t n);
void bal_gguf_add_u32(bal_gguf_head *head, uint32_t value);
void bal_gguf_add_f32(bal_gguf_head *head, float value);
void bal_gguf_add_text(bal_gguf_head *head, const char *text, size_t n_bytes);
/** Describe the next tensor of the data. */
void bal_gguf_put_tensor(bal_gguf_head *head, const char *name, int n_dims, const int64_t shape[2],
                         bal_ggml_type type);
void bal_gguf_head_clear(bal_gguf_head *head);
/** Write the head, up to the first byte of the data. @return BAL_OK; BAL_ERR_IO; BAL_ERR_MEMORY. */
bal_status bal_gguf_head_write(const bal_gguf_head *head, int fd, const char *path);
/** Write the n elements of a tensor, and zeros up to the next one. Errors as bal_hub_write_floats.
 */
bal_status bal_gguf_data_write(bal_ggml_type type, const float *values, int64_t n, const char *name,
                               int fd, const char *path);
/** Bytes of n elements. */
size_t bal_ggml_bytes(bal_ggml_type type, int64_t n);

/* ggml_blocks.c */

/** Elements as blocks of 32, all of them full; bytes [bal_ggml_bytes]. @return false: a scale is
 *  too large for F16. */
bool bal_ggml_quantize(bal_ggml_type type, const float *values, int64_t n, uint8_t *bytes);

/* gguf_tokenizer.c */

/** Describe the tokenizer: one token for each id of the model. @return BAL_OK; BAL_ERR_INPUT: a
 *  kind that llama.cpp does not support; BAL_ERR_MEMORY. */
bal_status bal_gguf_put_tokenizer(bal_gguf_head *head, const bal_bundle *bundle);

/* gguf_chat.c */

/** Add the chat templates of a model's files, if any. @return BAL_OK; BAL_ERR_INPUT: they are
 *  malformed; BAL_ERR_MEMORY. */
bal_status bal_gguf_put_chat(bal_gguf_head *head, const bal_files *files);

#endif
