/* text_impl.h: the parts of a tokenizer. Both kinds of file are read into the same parts:
 * text -> added tokens cut out -> normalizer steps -> merges; ids -> token texts -> decoder steps.
 */
#ifndef BALLOT_TEXT_IMPL_H
#define BALLOT_TEXT_IMPL_H

#include "ballot/text.h"

/* Bytes that grow; data is NULL while room is 0. */
typedef struct bal_bytes {
    char  *data;
    size_t n, room;
} bal_bytes;
/** Append n bytes. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_bytes_add(bal_bytes *bytes, const void *from, size_t n);

typedef enum bal_step_kind {
    BAL_STEP_PREPEND, /* content before a text that is not empty */
    BAL_STEP_REPLACE, /* every pattern becomes content */
    BAL_STEP_BYTE,    /* a text "<0xAB>" becomes that byte */
    BAL_STEP_STRIP,   /* up to n_front, n_back copies of content leave the ends */
} bal_step_kind;
#define BAL_STEPS_MAX      8
#define BAL_STEP_BYTES_MAX 16 /* of a pattern or content */

typedef struct bal_step {
    bal_step_kind kind;
    const char   *pattern, *content;
    size_t        n_pattern, n_content;
    int64_t       n_front, n_back;
} bal_step;
typedef struct bal_steps {
    bal_step step[BAL_STEPS_MAX];
    int      n;
} bal_steps;
/** Take text through the steps. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_steps_apply(const bal_steps *steps, bal_bytes *text);
/** The byte that "<0xAB>" stands for, -1 if bytes are anything else. */
int bal_byte_token(const char *bytes, size_t n_bytes);

typedef struct bal_token {
    const char *bytes; /* as spelled in the file; NULL: no token has this id */
    size_t      n_bytes;
    size_t      text, n_text; /* as decoded: where in tokenizer.texts */
    bool        special;      /* decodes to nothing */
} bal_token;

/* A token found in a text before merging; longest first in tokenizer.added. */
typedef struct bal_added {
    bal_bytes pattern;
    int32_t   id;
    bool      normalized; /* found after the normalizer, not before */
} bal_added;

typedef struct bal_merge {
    int32_t  left, right, merged; /* left < 0: an empty place of the table */
    uint32_t priority;            /* lowest first */
} bal_merge;

struct bal_tokenizer {
    bal_tokenizer_kind kind;
    char              *source; /* the file; strings of llama2.c tokens lie in it */
    size_t             n_source;
    char              *strings; /* unescaped strings of tokenizer.json */
    size_t             n_strings;

    int64_t    n_ids;    /* of the model */
    int64_t    n_tokens; /* highest id + 1; at most n_ids */
    bal_token *tokens;   /* [n_tokens] */
    bal_bytes  texts;

    int32_t   *ids; /* hash table from strings to the lowest id, -1: empty */
    size_t     ids_mask;
    bal_merge *merges; /* hash table from (left, right) */
    size_t     merges_mask;

    int32_t byte_ids[256]; /* byte tokens, -1: none */
    int32_t unknown, bos, eos;
    bool    fuse_unknown;

    bal_added *added;
    int64_t    n_added;
    bool       added_start[2][256]; /* [normalized][first byte] */

    bal_steps normalizer;
    bal_steps decoder;       /* on each token's text */
    bal_steps decoder_fused; /* on their concatenation */
};

/** Read the file in tokenizer->source. @return BAL_OK; BAL_ERR_INPUT; BAL_ERR_MEMORY. */
bal_status bal_llama2c_read(bal_tokenizer *tokenizer, const char *origin);
bal_status bal_hf_read(bal_tokenizer *tokenizer, const char *origin);

/** Index the tokens so far by their strings. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_tokens_index(bal_tokenizer *tokenizer);
/** Lowest id of a string, -1 if it is no token. */
int32_t bal_tokens_find(const bal_tokenizer *tokenizer, const char *bytes, size_t n_bytes);
/** Make an empty table for n_merges merges. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_merges_create(bal_tokenizer *tokenizer, size_t n_merges);
/** The place of a pair: it is there, or left < 0 and it may be put there. */
bal_merge *bal_merges_find(const bal_tokenizer *tokenizer, int32_t left, int32_t right);

/* Ids that grow. */
typedef struct bal_ids {
    int32_t *data;
    int64_t  n, room;
} bal_ids;
/** Make room for n more. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_ids_reserve(bal_ids *ids, int64_t n);
/** Append the tokens of normalized text. @return BAL_OK; BAL_ERR_INPUT: a byte that cannot be
 *  expressed, or a text of 2^31 bytes or more; BAL_ERR_MEMORY. */
bal_status bal_bpe_encode(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes,
                          bal_ids *ids);

#endif
