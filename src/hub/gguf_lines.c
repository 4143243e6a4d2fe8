/* gguf_lines.c: tokens of the kind "bert" as a vocab.txt. A file marks what begins a word, a
 * vocab.txt what continues one. Source: github.com/ggml-org/llama.cpp, convert_hf_to_gguf.py,
 * BertModel.set_vocab. */
#include <stdlib.h>
#include <string.h>

#include "gguf.h"

#define BEGINS "\xe2\x96\x81"

bal_status bal_gguf_add_lines(const bal_gguf_vocab *v, bal_files *files)
{
    bal_gguf_bytes lines = {0};
    const uint8_t *at = v->tokens;
    for (int64_t id = 0; id < v->n; ++id) {
        size_t n;
        const char *text = bal_gguf_next(&at, &n);
        bool begins = n >= 3 && memcmp(text, BEGINS, 3) == 0;
        bool bare = n >= 2 && text[0] == '[' && text[n - 1] == ']';
        if (memchr(text, '\n', n) != NULL) {
            free(lines.at);
            return bal_fail(BAL_ERR_INPUT, "%s: token %lld has a line feed; expected words",
                            v->file->origin, (long long)id);
        }
        if (!begins && !bare) bal_gguf_bytes_put(&lines, "##", 2);
        bal_gguf_bytes_put(&lines, text + (begins ? 3 : 0), n - (begins ? 3 : 0));
        bal_gguf_bytes_put(&lines, "\n", 1);
    }
    bal_status status =
        lines.failed ? bal_fail(BAL_ERR_MEMORY, "%s: no memory for its tokens", v->file->origin)
                     : bal_files_add(files, "vocab.txt", lines.at, lines.n);
    free(lines.at);
    return status;
}
