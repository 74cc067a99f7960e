/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu.h"

#include <stddef.h>

#if defined(__x86_64__)

#include <cpuid.h>

/* Bit numbers: leaf 1 ecx, leaf 7 ebx, leaf 7.1 eax, XCR0. */
enum { FMA = 12, OSXSAVE = 27, AVX = 28 };
enum { AVX2 = 5, AVX512F = 16, AVX512DQ = 17, AVX512BW = 30, AVX512VL = 31 };
enum { AVX512_BF16 = 5 };
enum { SSE_STATE = 1, AVX_STATE = 2, OPMASK_STATE = 5, ZMM_HIGH256_STATE = 6, HIGH16_ZMM_STATE = 7 };

static int bit(uint32_t word, int n)
{
    return word >> n & 1;
}

/* The registers that the system saves when it switches threads. Needs OSXSAVE. */
static uint32_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static uint32_t processor(void)
{
    uint32_t a, b, c, d, leaf1, leaf7, leaf71 = 0, found = 1u << LDAR_SIMD_SCALAR;
    if (!__get_cpuid(1, &a, &b, &leaf1, &d) || !bit(leaf1, OSXSAVE) || !__get_cpuid_count(7, 0, &a, &leaf7, &c, &d))
        return found;
    if (a >= 1) /* the last subleaf */
        __get_cpuid_count(7, 1, &leaf71, &b, &c, &d);
    uint32_t xcr0 = read_xcr0();
    int ymm = bit(xcr0, SSE_STATE) && bit(xcr0, AVX_STATE);
    int zmm = ymm && bit(xcr0, OPMASK_STATE) && bit(xcr0, ZMM_HIGH256_STATE) && bit(xcr0, HIGH16_ZMM_STATE);
    int avx2 = ymm && bit(leaf1, AVX) && bit(leaf1, FMA) && bit(leaf7, AVX2);
    int avx512 =
        zmm && avx2 && bit(leaf7, AVX512F) && bit(leaf7, AVX512DQ) && bit(leaf7, AVX512BW) && bit(leaf7, AVX512VL);
    int bf16 = avx512 && bit(leaf71, AVX512_BF16);
    return found | (uint32_t)avx2 << LDAR_SIMD_AVX2 | (uint32_t)avx512 << LDAR_SIMD_AVX512
           | (uint32_t)bf16 << LDAR_SIMD_AVX512BF16;
}

#elif defined(__aarch64__) && defined(__linux__)

#include <sys/auxv.h>

static uint32_t processor(void)
{
    enum { HWCAP_BIT_ASIMD = 1 << 1, HWCAP2_BIT_BF16 = 1 << 14 };
    uint32_t found = 1u << LDAR_SIMD_SCALAR;
    if (!(getauxval(AT_HWCAP) & HWCAP_BIT_ASIMD))
        return found;
    found |= 1u << LDAR_SIMD_NEON;
    if (getauxval(AT_HWCAP2) & HWCAP2_BIT_BF16)
        found |= 1u << LDAR_SIMD_NEONBF16;
    return found;
}

#else

static uint32_t processor(void)
{
    return 1u << LDAR_SIMD_SCALAR;
}

#endif

uint32_t ldar_simd_detect(void)
{
    uint32_t built = 0;
    for (int isa = 0; isa < LDAR_SIMD_ISAS; isa++)
        built |= (uint32_t)(ldar_simd_table((enum ldar_simd_isa)isa) != NULL) << isa;
    return built & processor();
}
