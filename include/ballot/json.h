/* include/ballot/json.h: JSON read and written with jansson, whole or not at all.
 * Jansson 2.14 fails badly without memory: a string that cannot grow loses a character or writes
 * before its buffer, and functions that add a part leave it out. So all loading and dumping goes
 * through here. Knows memory; knows nothing of what the JSON says. */
#ifndef BALLOT_JSON_H
#define BALLOT_JSON_H

#include <jansson.h>

#include "ballot/core.h"

BAL_C_BEGIN

/** json_loadb of jansson, except that integers beyond 64 bits become reals: other programs write
 *  "no limit" as 10^30. Local; one load at a time in a thread.
 *  @return NULL: no JSON, or no memory (json_error_code(error) is json_error_out_of_memory). */
json_t *bal_json_load(const void *bytes, size_t n_bytes, size_t flags, json_error_t *error);

/** json_dumps of jansson. Local.
 *  @param object  NULL is fine, and gives NULL
 *  @return the caller's to free; NULL: no memory, now or ever before in this thread, so that a part
 *          may be missing. */
char *bal_json_dump(const json_t *object, size_t flags);

/** Bytes as a JSON string, what is no UTF-8 in them as U+FFFD. Local. @return NULL: no memory. */
json_t *bal_json_bytes(const char *bytes, size_t n_bytes);
/** The same of a C string, as a path or a file's text is. */
json_t *bal_json_text(const char *text);

BAL_C_END

#endif
