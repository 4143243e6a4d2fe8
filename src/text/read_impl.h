/* read_impl.h: what the readers of tokenizer files share: JSON, the files beside a tokenizer, and
 * the reader of each part and of each kind of file. */
#ifndef BALLOT_TEXT_READ_IMPL_H
#define BALLOT_TEXT_READ_IMPL_H

#include "ballot/json.h"
#include "text_impl.h"

/** Parse JSON in which no name is repeated within an object. @return BAL_OK; BAL_ERR_INPUT;
 * BAL_ERR_MEMORY. */
bal_status bal_json_parse(const char *origin, const void *bytes, size_t n_bytes, json_t **root);
const char *bal_json_type(const json_t *part);
bool bal_json_is_type(const json_t *part, const char *type);
/** The message for a part that is not as expected. @return BAL_ERR_INPUT. */
bal_status bal_json_refuse(const char *origin, const char *part, const json_t *found,
                           const char *expected);
/** Keep a string of at most BAL_STEP_BYTES_MAX bytes, and at least 1 unless it may be empty. */
bal_status bal_json_string(bal_tokenizer *tokenizer, const char *part, const json_t *value,
                           bool may_be_empty, const char **string, size_t *n_bytes);
/** Read a {"String": ...} or {"Regex": ...}. */
bal_status bal_json_pattern(bal_tokenizer *tokenizer, const char *part, const json_t *value,
                            bal_step *step);
/** A member that is true or false; `otherwise` if it is null or absent. */
bal_status bal_json_bool(const bal_tokenizer *tokenizer, const char *part, const json_t *object,
                         const char *name, bool otherwise, bool *value);
/** Call read for every step of a part, which is one step or a Sequence. A Sequence lists its steps
 *  under name; they may be Sequences too. */
typedef bal_status (*bal_read_step)(bal_tokenizer *tokenizer, const json_t *json);
bal_status bal_json_sequence(bal_tokenizer *tokenizer, const char *part, const json_t *json,
                             const char *name, int depth, bal_read_step read);
/** An id below the bounds of the model and the file; -1, with a message, if it is not. */
int32_t bal_json_id(const bal_tokenizer *tokenizer, const char *content, const json_t *value);

/** @return BAL_OK: few enough steps turn bytes into letters; BAL_ERR_INPUT. */
bal_status bal_letters_check(const bal_tokenizer *tokenizer);
/** The one character of a Metaspace, into step->content. */
bal_status bal_replacement_read(bal_tokenizer *tokenizer, const json_t *json, bal_step *step);
/** Read a Replace, the last of steps. */
bal_status bal_replace_read(bal_tokenizer *tokenizer, const bal_steps *steps, const json_t *json,
                            bal_step *step);
bal_status bal_normalizer_read(bal_tokenizer *tokenizer, const json_t *part);
bal_status bal_splits_read(bal_tokenizer *tokenizer, const json_t *part);
bal_status bal_decoder_read(bal_tokenizer *tokenizer, const json_t *part);
bal_status bal_postprocessor_read(bal_tokenizer *tokenizer, const json_t *part);
bal_status bal_vocab_read(bal_tokenizer *tokenizer, const json_t *vocab, const json_t *added);
bal_status bal_added_read(bal_tokenizer *tokenizer, const json_t *added);

/* The files beside a tokenizer; NULL: no such file. */
typedef struct bal_side {
    json_t *tokenizer_config, *special_tokens_map, *added_tokens, *generation_config, *config;
} bal_side;
bal_status bal_side_read(const bal_files *files, const char *origin, bal_side *side);
void bal_side_clear(bal_side *side);
/** What tokenizer_config.json, or else special_tokens_map.json, says about a token such as
 *  "bos_token": a string, an object with content, or null. NULL: neither mentions it. */
const json_t *bal_side_token(const bal_side *side, const char *name);
/** The string in what bal_side_token returned; NULL: none. */
const char *bal_token_content(const json_t *token);
/* bos_token, eos_token, unk_token, pad_token, mask_token, cls_token, sep_token */
#define BAL_NAMED_TOKENS 7
extern const char *const bal_token_names[BAL_NAMED_TOKENS];
/** All tokens that the files add, in the form of added_tokens of tokenizer.json; ids come from
 * vocab if the files have none. names: the named tokens, where the files do not mention them; NULL:
 *  none. Tokens without an id, or with an id below first, are left out.
 *  @return BAL_OK; BAL_ERR_INPUT; BAL_ERR_MEMORY. */
bal_status bal_side_added(const bal_side *side, const json_t *vocab,
                          const char *const names[BAL_NAMED_TOKENS], int64_t first, json_t **added);
/** Set the special tokens, and those that are added around a text, from the files. */
bal_status bal_side_apply(bal_tokenizer *tokenizer, const bal_side *side);
/** The lowest id of a token with these bytes, of any kind; -1: none. */
int32_t bal_side_find(const bal_tokenizer *tokenizer, const char *bytes);

/** Read a file of that kind. @return BAL_OK; BAL_ERR_INPUT; BAL_ERR_MEMORY. */
bal_status bal_hf_read(bal_tokenizer *tokenizer, const bal_named_bytes *file);
bal_status bal_llama2c_read(bal_tokenizer *tokenizer, const bal_named_bytes *file);
bal_status bal_sentencepiece_read(bal_tokenizer *tokenizer, const bal_named_bytes *file,
                                  const bal_side *side);
bal_status bal_vocab_and_merges_read(bal_tokenizer *tokenizer, const bal_named_bytes *vocab,
                                     const bal_named_bytes *merges, const bal_side *side);
bal_status bal_vocab_txt_read(bal_tokenizer *tokenizer, const bal_named_bytes *file,
                              const bal_side *side);

#endif
