/* steps.c: what is done to a text before it is split into tokens, and after they are joined. */
#include <stdlib.h>
#include <string.h>

#include "text_impl.h"

bal_status bal_bytes_add(bal_bytes *bytes, const void *from, size_t n)
{
    size_t needed;
    if (__builtin_add_overflow(bytes->n, n, &needed) || needed > SIZE_MAX / 4)
        return BAL_ERR_MEMORY;
    if (needed > bytes->room) {
        size_t room = needed + needed / 2 + 16;
        char  *data = realloc(bytes->data, room);
        if (data == NULL) return BAL_ERR_MEMORY;
        bytes->data = data;
        bytes->room = room;
    }
    if (n > 0) memcpy(bytes->data + bytes->n, from, n);
    bytes->n = needed;
    return BAL_OK;
}

int bal_byte_token(const char *bytes, size_t n_bytes)
{
    if (n_bytes != 6 || memcmp(bytes, "<0x", 3) != 0 || bytes[5] != '>') return -1;
    int value = 0;
    for (int i = 3; i < 5; ++i) {
        char c     = bytes[i];
        int  digit = c >= '0' && c <= '9'   ? c - '0'
                     : c >= 'A' && c <= 'F' ? c - 'A' + 10
                     : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                            : -1;
        if (digit < 0) return -1;
        value = 16 * value + digit;
    }
    return value;
}

static bal_status replace(const bal_step *step, const bal_bytes *text, bal_bytes *out)
{
    const char *from = text->data, *end = text->data + text->n, *hit;
    while ((hit = memmem(from, (size_t)(end - from), step->pattern, step->n_pattern)) != NULL) {
        BAL_TRY(bal_bytes_add(out, from, (size_t)(hit - from)));
        BAL_TRY(bal_bytes_add(out, step->content, step->n_content));
        from = hit + step->n_pattern;
    }
    return bal_bytes_add(out, from, (size_t)(end - from));
}

static void strip(const bal_step *step, bal_bytes *text)
{
    size_t n = step->n_content, front = 0;
    for (int64_t i = 0; i < step->n_front && text->n - front >= n; ++i, front += n)
        if (memcmp(text->data + front, step->content, n) != 0) break;
    memmove(text->data, text->data + front, text->n -= front);
    for (int64_t i = 0; i < step->n_back && text->n >= n; ++i, text->n -= n)
        if (memcmp(text->data + text->n - n, step->content, n) != 0) break;
}

bal_status bal_steps_apply(const bal_steps *steps, bal_bytes *text)
{
    for (int i = 0; i < steps->n && text->n > 0; ++i) {
        const bal_step *step   = &steps->step[i];
        bal_bytes       out    = {0};
        bal_status      status = BAL_OK;
        int             byte;
        switch (step->kind) {
            case BAL_STEP_PREPEND:
                status = bal_bytes_add(&out, step->content, step->n_content);
                if (status == BAL_OK) status = bal_bytes_add(&out, text->data, text->n);
                break;
            case BAL_STEP_REPLACE:
                status = replace(step, text, &out);
                break;
            case BAL_STEP_BYTE:
                byte = bal_byte_token(text->data, text->n);
                if (byte >= 0) {
                    text->data[0] = (char)byte;
                    text->n       = 1;
                }
                continue;
            case BAL_STEP_STRIP:
                strip(step, text);
                continue;
        }
        if (status != BAL_OK) {
            free(out.data);
            return status;
        }
        free(text->data);
        *text = out;
    }
    return BAL_OK;
}
