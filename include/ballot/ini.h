/* include/ballot/ini.h: INI text, read with inih: [section], key = value, ; comment. Knows lines;
 * knows nothing of what they say. */
#ifndef BALLOT_INI_H
#define BALLOT_INI_H

#include "ballot/core.h"

BAL_C_BEGIN

#define BAL_INI_LINE_MAX 199 /* bytes that inih reads as one line */

/** Take a pair; its texts are borrowed until it returns. After a failure no more pairs come.
 *  @param value  without the white space around it, and without a comment (" ;" to the end)
 *  @return what bal_ini_read returns; BAL_OK: go on */
typedef bal_status bal_ini_pair(void *user, const char *section, const char *key, const char *value,
                                int line);

/**
 * Hand each pair of a text to on_pair, in order. No line goes on in the next one, indented or not.
 * Local.
 * @param path   for messages: "PATH:LINE: ..."
 * @param what   what the text should be, such as "job file"
 * @param wrong  the status of a text that is none, has a line that is too long, or one that is no
 *               pair
 * @return BAL_OK; wrong; BAL_ERR_MEMORY; what on_pair returned. The first of the file.
 */
bal_status bal_ini_read(const char *path, const char *what, const void *bytes, size_t n_bytes,
                        bal_status wrong, bal_ini_pair *on_pair, void *user);

BAL_C_END

#endif
