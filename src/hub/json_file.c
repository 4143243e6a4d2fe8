/* json_file.c: a JSON document that is made here, as a file in memory. */
#include <stdlib.h>
#include <string.h>

#include "gguf.h"

bal_status bal_gguf_add_json(const char *name, json_t *json, bal_files *files)
{
    char *text = bal_json_dump(json, JSON_COMPACT);
    json_decref(json);
    bal_status status = text != NULL ? bal_files_add(files, name, text, strlen(text))
                                     : bal_fail(BAL_ERR_MEMORY, "no memory for %s", name);
    free(text);
    return status;
}
