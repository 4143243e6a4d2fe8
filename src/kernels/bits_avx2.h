/* bits_avx2.h: bits to bytes, for the kernels with 256-bit registers. */
#ifndef BALLOT_BITS_AVX2_H
#define BALLOT_BITS_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

/* Byte i is 0xFF where bit i of the 32 bits at from is set. */
static inline __m256i spread_bits(const uint8_t *from)
{
    int bits;
    memcpy(&bits, from, sizeof bits);
    const __m256i which = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                           2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
    __m256i x = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), which);
    return _mm256_cmpeq_epi8(_mm256_and_si256(x, bit), bit);
}

#endif
