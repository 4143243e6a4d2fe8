/* kernels_avx512.c: integer kernels with AVX-512 F, BW, DQ, VL and VNNI. */
#include <immintrin.h>
#include <string.h>

#include "kernels_impl.h"

/* High and low halves of the 16 products x * m, 32 bits each. */
static inline void multiply(__m512i x, __m512i m, __m512i *high, __m512i *low)
{
    __m512i even = _mm512_mul_epu32(x, m), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), m);
    *high = _mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), 0xAAAA, odd);
    *low  = _mm512_mask_mov_epi32(even, 0xAAAA, _mm512_slli_epi64(odd, 32));
}

static void philox(uint64_t key, uint32_t c1, uint32_t c2, uint32_t c3, int64_t first,
                   int64_t n_lines, uint8_t *out)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i m0 = _mm512_set1_epi64(PHILOX_M0), m1 = _mm512_set1_epi64(PHILOX_M1);
    for (int64_t line = 0; line < n_lines; ++line, out += BAL_LINE_BYTES) {
        __m512i x0 =
            _mm512_add_epi32(lanes, _mm512_set1_epi32((int)(uint32_t)(16 * (first + line))));
        __m512i  x1 = _mm512_set1_epi32((int)c1), x2 = _mm512_set1_epi32((int)c2);
        __m512i  x3 = _mm512_set1_epi32((int)c3);
        uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
        for (int round = 0; round < 10; ++round, k0 += PHILOX_W0, k1 += PHILOX_W1) {
            __m512i a_high, a_low, b_high, b_low;
            multiply(x0, m0, &a_high, &a_low);
            multiply(x2, m1, &b_high, &b_low);
            x0 = _mm512_ternarylogic_epi32(b_high, x1, _mm512_set1_epi32((int)k0), 0x96);
            x2 = _mm512_ternarylogic_epi32(a_high, x3, _mm512_set1_epi32((int)k1), 0x96);
            x1 = b_low;
            x3 = a_low;
        }
        _mm512_storeu_si512(out, x0);
        _mm512_storeu_si512(out + 64, x1);
        _mm512_storeu_si512(out + 128, x2);
        _mm512_storeu_si512(out + 192, x3);
    }
}

static inline uint64_t load_mask(const uint8_t *from)
{
    uint64_t mask;
    memcpy(&mask, from, sizeof mask);
    return mask;
}

static void walsh(int64_t n, uint8_t slot, const uint8_t *bytes, const uint8_t *signs, int8_t *z)
{
    uint8_t low[16], high[16];
    bal_walsh_tables(slot, low, high);
    const __m512i lows   = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)low));
    const __m512i highs  = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)high));
    const __m512i nibble = _mm512_set1_epi8(15), one = _mm512_set1_epi8(1);
    for (int64_t i = 0; i < n; i += 64) {
        __m512i b   = _mm512_loadu_si512(bytes + i);
        __m512i odd = _mm512_xor_si512(
            _mm512_shuffle_epi8(lows, _mm512_and_si512(b, nibble)),
            _mm512_shuffle_epi8(highs, _mm512_and_si512(_mm512_srli_epi16(b, 4), nibble)));
        uint64_t negative = load_mask(signs + i / 8);
        negative ^= _mm512_movepi8_mask(odd);
        _mm512_storeu_si512(z + i,
                            _mm512_mask_sub_epi8(one, negative, _mm512_setzero_si512(), one));
    }
}

static void signs(int64_t n, const uint8_t *bits, int8_t *z)
{
    const __m512i one = _mm512_set1_epi8(1);
    for (int64_t i = 0; i < n; i += 64) {
        uint64_t negative = load_mask(bits + i / 8);
        _mm512_storeu_si512(z + i,
                            _mm512_mask_sub_epi8(one, negative, _mm512_setzero_si512(), one));
    }
}

void bal_kernels_add_avx512(bal_kernels *kernels)
{
    kernels->philox        = philox;
    kernels->walsh         = walsh;
    kernels->signs         = signs;
}
