/* include/ballot/text.h: bytes to tokens and back, with the tokenizer that came with a model.
 * Knows tokenizer files; knows nothing of models or corpora. */
#ifndef BALLOT_TEXT_H
#define BALLOT_TEXT_H

#include "ballot/core.h"

typedef struct bal_tokenizer bal_tokenizer; /* immutable once made */

typedef enum bal_tokenizer_kind {
    BAL_TOKENIZER_LLAMA2C, /* tokenizer.bin of llama2.c: scores, greedy best-score merges */
    BAL_TOKENIZER_HF,      /* tokenizer.json of Hugging Face tokenizers: BPE with merge ranks */
} bal_tokenizer_kind;

/**
 * Read a tokenizer from the bytes of its file. Local.
 * @param bytes, n_bytes  the file; copied where needed
 * @param n_vocab         tokens of the model; the tokenizer must not have more
 * @param origin          file name for sentences
 * @return BAL_OK; BAL_ERR_INPUT: damaged, of a kind that is not supported (the sentence names the
 *         part), or of another vocabulary size than the model; BAL_ERR_MEMORY.
 */
bal_status bal_tokenizer_create(bal_tokenizer_kind kind, const void *bytes, size_t n_bytes,
                                int64_t n_vocab, const char *origin, bal_tokenizer **tokenizer);
/** Read a tokenizer file; a name that ends in .json is BAL_TOKENIZER_HF. Local. Errors as above. */
bal_status bal_tokenizer_open(const char *path, int64_t n_vocab, bal_tokenizer **tokenizer);
/** Free it and set the pointer to NULL; NULL is fine. Local. */
void bal_tokenizer_destroy(bal_tokenizer **tokenizer);

/** The kind and bytes it was made from, for copying into checkpoints and exports; borrowed. */
bal_tokenizer_kind bal_tokenizer_source(const bal_tokenizer *tokenizer, const void **bytes,
                                        size_t *n_bytes);
/** Number of tokens, at most n_vocab: a model may have more ids, which decode to nothing. Local. */
int64_t bal_tokenizer_n_vocab(const bal_tokenizer *tokenizer);
/** Id of the token that starts a text, and of the one that ends it; -1 if there is none. Local. */
int32_t bal_tokenizer_bos(const bal_tokenizer *tokenizer);
int32_t bal_tokenizer_eos(const bal_tokenizer *tokenizer);

/**
 * Tokens of a text, without start and end tokens. O(n log n). Local.
 * @param text     n_bytes bytes, any; what is no valid UTF-8 becomes byte tokens where the
 *                 vocabulary has them, else the unknown token
 * @param tokens   set to [*n_tokens] ids, to be released with free()
 * @return BAL_OK; BAL_ERR_INPUT: a byte that the vocabulary cannot express and no unknown token,
 *         or 2^31 bytes or more; BAL_ERR_MEMORY.
 */
bal_status bal_tokenizer_encode(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes,
                                int32_t **tokens, int64_t *n_tokens);
/**
 * Text of tokens; start, end and other special tokens give nothing. decode(encode(x)) = x where
 * x has no unknown bytes. Local.
 * @param text  set to *n_bytes bytes and a closing 0, to be released with free()
 * @return BAL_OK; BAL_ERR_ARG: an id outside the vocabulary; BAL_ERR_MEMORY.
 */
bal_status bal_tokenizer_decode(const bal_tokenizer *tokenizer, const int32_t *tokens,
                                int64_t n_tokens, char **text, size_t *n_bytes);

#endif
