/* gguf_write.c: writing a GGUF file of version 3: pairs of keys and values, descriptions of
 * tensors, then their data, each tensor aligned to 32 bytes. Little-endian. */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "gguf.h"

#define VERSION 3
#define ALIGNMENT 32
#define PIECE 16384 /* elements that are rounded before they are written */

static uint64_t round_up(uint64_t n) { return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

void bal_gguf_bytes_put(bal_gguf_bytes *bytes, const void *from, size_t n)
{
    if (bytes->n + n > bytes->room && !bytes->failed) {
        size_t room = 2 * bytes->room + n + 4096;
        uint8_t *at = realloc(bytes->at, room);
        bytes->failed = at == NULL;
        if (at != NULL) bytes->at = at, bytes->room = room;
    }
    if (bytes->failed || n == 0) return;
    memcpy(bytes->at + bytes->n, from, n);
    bytes->n += n;
}

static void put_u32(bal_gguf_bytes *bytes, uint32_t value)
{
    value = htole32(value);
    bal_gguf_bytes_put(bytes, &value, sizeof value);
}

static void put_u64(bal_gguf_bytes *bytes, uint64_t value)
{
    value = htole64(value);
    bal_gguf_bytes_put(bytes, &value, sizeof value);
}

static void put_f32(bal_gguf_bytes *bytes, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_u32(bytes, bits);
}

static void put_string(bal_gguf_bytes *bytes, const char *text, size_t n_bytes)
{
    put_u64(bytes, n_bytes);
    bal_gguf_bytes_put(bytes, text, n_bytes);
}

static void put_key(bal_gguf_head *head, const char *key, bal_gguf_type type)
{
    char text[128];
    int n = snprintf(text, sizeof text, "%s%s", key[0] == '.' ? head->arch : "", key);
    put_string(&head->pairs, text, (size_t)n);
    put_u32(&head->pairs, (uint32_t)type);
    ++head->n_pairs;
}

void bal_gguf_put_u32(bal_gguf_head *head, const char *key, int64_t value)
{
    put_key(head, key, BAL_GGUF_UINT32);
    put_u32(&head->pairs, (uint32_t)value);
}

void bal_gguf_put_f32(bal_gguf_head *head, const char *key, double value)
{
    put_key(head, key, BAL_GGUF_FLOAT32);
    put_f32(&head->pairs, (float)value);
}

void bal_gguf_put_bool(bal_gguf_head *head, const char *key, bool value)
{
    uint8_t byte = value;
    put_key(head, key, BAL_GGUF_BOOL);
    bal_gguf_bytes_put(&head->pairs, &byte, 1);
}

void bal_gguf_put_text(bal_gguf_head *head, const char *key, const char *text, size_t n_bytes)
{
    put_key(head, key, BAL_GGUF_STRING);
    put_string(&head->pairs, text, n_bytes);
}

void bal_gguf_put_array(bal_gguf_head *head, const char *key, bal_gguf_type type, int64_t n)
{
    put_key(head, key, BAL_GGUF_ARRAY);
    put_u32(&head->pairs, (uint32_t)type);
    put_u64(&head->pairs, (uint64_t)n);
}

void bal_gguf_add_u32(bal_gguf_head *head, uint32_t value) { put_u32(&head->pairs, value); }
void bal_gguf_add_f32(bal_gguf_head *head, float value) { put_f32(&head->pairs, value); }
void bal_gguf_add_text(bal_gguf_head *head, const char *text, size_t n_bytes)
{
    put_string(&head->pairs, text, n_bytes);
}

/* Sizes are in the other order: the dimension whose elements are adjacent comes first. */
void bal_gguf_put_tensor(bal_gguf_head *head, const char *name, int n_dims, const int64_t shape[2],
                         bal_ggml_type type)
{
    put_string(&head->tensors, name, strlen(name));
    put_u32(&head->tensors, (uint32_t)n_dims);
    for (int i = n_dims; i-- > 0;) put_u64(&head->tensors, (uint64_t)shape[i]);
    put_u32(&head->tensors, (uint32_t)type);
    put_u64(&head->tensors, head->n_data);
    head->n_data += round_up(bal_ggml_bytes(type, shape[0] * shape[1]));
    ++head->n_tensors;
}

void bal_gguf_head_clear(bal_gguf_head *head)
{
    free(head->pairs.at);
    free(head->tensors.at);
    *head = (bal_gguf_head){0};
}

static bal_status write_padding(size_t n, int fd, const char *path)
{
    static const uint8_t zeros[ALIGNMENT];
    return bal_write_all(fd, zeros, (size_t)round_up(n) - n, path);
}

bal_status bal_gguf_head_write(const bal_gguf_head *head, int fd, const char *path)
{
    uint8_t start[24] = "GGUF";
    uint32_t version = htole32(VERSION);
    uint64_t counts[2] = {htole64(head->n_tensors), htole64(head->n_pairs)};
    if (head->pairs.failed || head->tensors.failed)
        return bal_fail(BAL_ERR_MEMORY, "%s: no memory for its head", path);
    memcpy(start + 4, &version, sizeof version);
    memcpy(start + 8, counts, sizeof counts);
    BAL_TRY(bal_write_all(fd, start, sizeof start, path));
    BAL_TRY(bal_write_all(fd, head->pairs.at, head->pairs.n, path));
    BAL_TRY(bal_write_all(fd, head->tensors.at, head->tensors.n, path));
    return write_padding(sizeof start + head->pairs.n + head->tensors.n, fd, path);
}

static bal_status write_blocks(bal_ggml_type type, const float *values, int64_t n, const char *name,
                               int fd, const char *path)
{
    uint8_t bytes[2 * PIECE];
    for (int64_t start = 0, here; start < n; start += here) {
        here = n - start < PIECE ? n - start : PIECE;
        if (!bal_ggml_quantize(type, values + start, here, bytes))
            return bal_fail(BAL_ERR_NUMERIC,
                            "%s: tensor %s: elements %lld to %lld have a scale beyond F16; "
                            "expected smaller values",
                            path, name, (long long)start, (long long)(start + here - 1));
        BAL_TRY(bal_write_all(fd, bytes, bal_ggml_bytes(type, here), path));
    }
    return BAL_OK;
}

bal_status bal_gguf_data_write(bal_ggml_type type, const float *values, int64_t n, const char *name,
                               int fd, const char *path)
{
    bool half = type == BAL_GGML_F16;
    bal_status status =
        half || type == BAL_GGML_F32
            ? bal_hub_write_floats(half ? BAL_HUB_F16 : BAL_HUB_F32, values, n, name, fd, path)
            : write_blocks(type, values, n, name, fd, path);
    return status == BAL_OK ? write_padding(bal_ggml_bytes(type, n), fd, path) : status;
}
