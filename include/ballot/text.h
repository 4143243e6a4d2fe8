/* include/ballot/text.h: bytes to tokens and back, with the tokenizer that came with a model.
 * Knows tokenizer files; knows nothing of models or corpora.
 *
 * Bytes that are not valid UTF-8 are never lost. Where the vocabulary has byte tokens or a
 * byte-level alphabet, they are encoded and decoded as themselves; elsewhere each is one unknown
 * token. Normalizers leave them alone. Patterns see each as one control character (U+0001): no
 * letter, no number, no space. (The programs that these tokenizers come from replace such bytes by
 * U+FFFD.)
 *
 * Character classes are those of PCRE2 in patterns and of utf8proc elsewhere: in Debian 12, Unicode
 * 14 and 15. tokenizers 0.23 uses Unicode 16 in patterns and, for accents and punctuation of BERT,
 * Unicode 8. So characters added to Unicode in between may be split differently. */
#ifndef BALLOT_TEXT_H
#define BALLOT_TEXT_H

#include "ballot/core.h"

BAL_C_BEGIN

typedef struct bal_tokenizer bal_tokenizer; /* immutable once made */

/** Tokens with a meaning of their own. */
typedef enum bal_special {
    BAL_SPECIAL_BOS,     /* starts a text */
    BAL_SPECIAL_EOS,     /* ends it */
    BAL_SPECIAL_UNKNOWN, /* stands for what has no token */
    BAL_SPECIAL_PAD,
    BAL_SPECIAL_MASK, /* hides a token that is to be predicted */
} bal_special;

/**
 * Make a tokenizer from the small files of a model folder. Local. The first of these that is there:
 * tokenizer.json of Hugging Face; tokenizer.model of SentencePiece; vocab.json with merges.txt
 * (GPT-2, RoBERTa); vocab.txt (BERT); tokenizer.bin of llama2.c. Beside them,
 * tokenizer_config.json, special_tokens_map.json, added_tokens.json, generation_config.json and
 * config.json say which tokens are special and which stand before and after a text.
 * @param files    what is needed of them is copied
 * @param n_vocab  tokens of the model; the tokenizer must not have more
 * @param origin   folder or file, for messages: "ORIGIN/tokenizer.json: ..."
 * @return BAL_OK; BAL_ERR_INPUT: none is there, damaged, of a kind that is not supported (the
 *         message names the part), or of another vocabulary size than the model; BAL_ERR_MEMORY.
 */
bal_status bal_tokenizer_create(const bal_files *files, int64_t n_vocab, const char *origin,
                                bal_tokenizer **tokenizer);
/** Is a file of this name (without folders) one of the above, or one that belongs to a tokenizer
 * and travels with it, such as chat_template.jinja? Local. */
bool bal_tokenizer_reads(const char *name);
/** Free it and set the pointer to NULL; NULL is fine. Local. */
void bal_tokenizer_destroy(bal_tokenizer **tokenizer);

/** Number of tokens, at most n_vocab: a model may have more ids, which decode to nothing. Local. */
int64_t bal_tokenizer_n_vocab(const bal_tokenizer *tokenizer);
/** Id of a special token; -1 if there is none. Local. */
int32_t bal_tokenizer_special(const bal_tokenizer *tokenizer, bal_special kind);
/** Does this token end a text: is it the end token, or listed in eos_token_id? Local. */
bool bal_tokenizer_ends(const bal_tokenizer *tokenizer, int32_t id);
/** The [*n] tokens that stand before and after a single text ("<s>" and "</s>" for RoBERTa, none
 *  for GPT-2). Local; borrowed. */
const int32_t *bal_tokenizer_prefix(const bal_tokenizer *tokenizer, int64_t *n);
const int32_t *bal_tokenizer_suffix(const bal_tokenizer *tokenizer, int64_t *n);

/**
 * Tokens of a text, without those before and after it. O(n log n). Local.
 * @param text     n_bytes bytes, any
 * @param tokens   set to [*n_tokens] ids, to be released with free()
 * @return BAL_OK; BAL_ERR_INPUT: a byte that the vocabulary cannot express and no unknown token,
 *         a pattern that takes too many steps, or 2^31 bytes or more; BAL_ERR_MEMORY.
 */
bal_status bal_tokenizer_encode(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes,
                                int32_t **tokens, int64_t *n_tokens);
/**
 * Text of tokens; special tokens give nothing. decode(encode(x)) = x where the tokenizer keeps all
 * of a text and x has no unknown bytes. Local.
 * @param text  set to *n_bytes bytes and a closing 0, to be released with free()
 * @return BAL_OK; BAL_ERR_ARG: an id outside the model's; BAL_ERR_INPUT: a pattern that takes too
 *         many steps; BAL_ERR_MEMORY.
 */
bal_status bal_tokenizer_decode(const bal_tokenizer *tokenizer, const int32_t *tokens,
                                int64_t n_tokens, char **text, size_t *n_bytes);

/* The vocabulary itself, for writing it to another file. */

/** What a token is, with the numbers of SentencePiece. */
typedef enum bal_token_kind {
    BAL_TOKEN_NORMAL = 1,
    BAL_TOKEN_UNKNOWN,
    BAL_TOKEN_CONTROL,      /* decodes to nothing */
    BAL_TOKEN_USER_DEFINED, /* found in a text before all else */
    BAL_TOKEN_UNUSED,       /* an id without a token */
    BAL_TOKEN_BYTE          /* "<0xAB>", of a character that has no token */
} bal_token_kind;

/** A token as its file spells it. */
typedef struct bal_spelling {
    const char *bytes; /* NULL: unused */
    size_t n_bytes;
    bal_token_kind kind;
    float score; /* 0 where the file has none */
} bal_spelling;
/** Local; the bytes are borrowed. @param id  any from 0 on; unused where there is no token */
void bal_tokenizer_spell(const bal_tokenizer *tokenizer, int32_t id, bal_spelling *spelling);

/** Does it put a space before a text that has none there? Local. */
bool bal_tokenizer_adds_space(const bal_tokenizer *tokenizer);

/** How words become tokens. */
typedef enum bal_merging {
    BAL_MERGING_BY_RANK,  /* listed pairs, the first of the list first */
    BAL_MERGING_BY_SCORE, /* any pair that is a token, that of the highest score first */
    BAL_MERGING_NONE
} bal_merging;
bal_merging bal_tokenizer_merging(const bal_tokenizer *tokenizer);
/** The list of BAL_MERGING_BY_RANK. Local. @param merges  set to [*n_merges] of left, right and
 * what they become, for free() @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_tokenizer_merges(const bal_tokenizer *tokenizer, int32_t (**merges)[3],
                                int64_t *n_merges);

BAL_C_END

#endif
