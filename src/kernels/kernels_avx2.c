/* kernels_avx2.c: integer kernels with AVX2. */
#include <immintrin.h>
#include <string.h>

#include "kernels_impl.h"

static inline __m256i load(const void *from) { return _mm256_loadu_si256((const __m256i *)from); }
static inline void    store(void *to, __m256i x) { _mm256_storeu_si256((__m256i *)to, x); }

/* High and low halves of the 8 products x * m, 32 bits each. */
static inline void multiply(__m256i x, __m256i m, __m256i *high, __m256i *low)
{
    __m256i even = _mm256_mul_epu32(x, m), odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), m);
    *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    *low  = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
}

static void philox(uint64_t key, uint32_t c1, uint32_t c2, uint32_t c3, int64_t first,
                   int64_t n_lines, uint8_t *out)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i m0 = _mm256_set1_epi64x(PHILOX_M0), m1 = _mm256_set1_epi64x(PHILOX_M1);
    for (int64_t half = 0; half < 2 * n_lines; ++half) { /* lanes 0..7, 8..15 of a line */
        uint32_t start = (uint32_t)(16 * first + 8 * half);
        __m256i  x0    = _mm256_add_epi32(lanes, _mm256_set1_epi32((int)start));
        __m256i  x1 = _mm256_set1_epi32((int)c1), x2 = _mm256_set1_epi32((int)c2);
        __m256i  x3 = _mm256_set1_epi32((int)c3);
        uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
        for (int round = 0; round < 10; ++round, k0 += PHILOX_W0, k1 += PHILOX_W1) {
            __m256i a_high, a_low, b_high, b_low;
            multiply(x0, m0, &a_high, &a_low);
            multiply(x2, m1, &b_high, &b_low);
            x0 = _mm256_xor_si256(_mm256_xor_si256(b_high, x1), _mm256_set1_epi32((int)k0));
            x2 = _mm256_xor_si256(_mm256_xor_si256(a_high, x3), _mm256_set1_epi32((int)k1));
            x1 = b_low;
            x3 = a_low;
        }
        uint8_t *to = out + half / 2 * BAL_LINE_BYTES + half % 2 * 32;
        store(to, x0);
        store(to + 64, x1);
        store(to + 128, x2);
        store(to + 192, x3);
    }
}

/* Byte i is 0xFF where bit i of the 32 bits at from is set. */
static inline __m256i spread_bits(const uint8_t *from)
{
    int bits;
    memcpy(&bits, from, sizeof bits);
    const __m256i which = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                           2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit   = _mm256_set1_epi64x((long long)0x8040201008040201u);
    __m256i       x     = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), which);
    return _mm256_cmpeq_epi8(_mm256_and_si256(x, bit), bit);
}

static void walsh(int64_t n, uint8_t slot, const uint8_t *bytes, const uint8_t *signs, int8_t *z)
{
    uint8_t low[16], high[16];
    bal_walsh_tables(slot, low, high);
    const __m256i lows   = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)low));
    const __m256i highs  = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)high));
    const __m256i nibble = _mm256_set1_epi8(15), one = _mm256_set1_epi8(1);
    for (int64_t i = 0; i < n; i += 32) {
        __m256i b   = load(bytes + i);
        __m256i odd = _mm256_xor_si256(
            _mm256_shuffle_epi8(lows, _mm256_and_si256(b, nibble)),
            _mm256_shuffle_epi8(highs, _mm256_and_si256(_mm256_srli_epi16(b, 4), nibble)));
        __m256i negative = _mm256_xor_si256(odd, spread_bits(signs + i / 8));
        store(z + i, _mm256_or_si256(negative, one)); /* -1 or 1 */
    }
}

static void signs(int64_t n, const uint8_t *bits, int8_t *z)
{
    for (int64_t i = 0; i < n; i += 32)
        store(z + i, _mm256_or_si256(spread_bits(bits + i / 8), _mm256_set1_epi8(1)));
}

void bal_kernels_add_avx2(bal_kernels *kernels)
{
    kernels->philox        = philox;
    kernels->walsh         = walsh;
    kernels->signs         = signs;
}
