/* Which of the instruction sets that this back end is compiled for the processor and the operating system can run. */
#pragma once

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdatomic.h>
#endif

#if defined(__x86_64__) && defined(_WIN32)
/* __builtin_cpu_supports needs a library of the compiler's, which Windows' linker does not have. */
/* Bits of leaf 1's ECX, of leaf 7's EBX (F, DQ, BW, VL for AVX-512) and of leaf 7.1's EAX; and of the registers that the operating
 * system saves. */
static const unsigned HAS_FMA = 1u << 12, HAS_OSXSAVE = 1u << 27, HAS_AVX2 = 1u << 5, HAS_AVX512BF16 = 1u << 5;
static const unsigned HAS_AVX512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31, YMM_STATE = 0x06, ZMM_STATE = 0xe6;

static int saves(unsigned state)
{
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & HAS_OSXSAVE))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & state) == state;
}

static int supports_avx2(void)
{
    unsigned a, b, c, d;
    return saves(YMM_STATE) && __get_cpuid(1, &a, &b, &c, &d) && (c & HAS_FMA) && __get_cpuid_count(7, 0, &a, &b, &c, &d)
        && (b & HAS_AVX2);
}

static int supports_avx512(void)
{
    unsigned a, b, c, d;
    return supports_avx2() && saves(ZMM_STATE) && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & HAS_AVX512) == HAS_AVX512;
}

static int supports_avx512bf16(void)
{
    unsigned a, b, c, d;
    return supports_avx512() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & HAS_AVX512BF16);
}
#elif defined(__x86_64__) && defined(__GNUC__)
static int supports_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static int supports_avx512(void)
{
    return supports_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
}
static int supports_avx512bf16(void) { return supports_avx512() && __builtin_cpu_supports("avx512bf16"); }
#else
static int supports_avx2(void) { return 0; }
static int supports_avx512(void) { return 0; }
static int supports_avx512bf16(void) { return 0; }
#endif

/* The additions that multiply 8-bit integers, on a processor whose other instructions of that width were asked for before: of leaf
 * 7's ECX, and of leaf 7.1's EAX. Asked once, as a virtual machine answers slowly. */
#if defined(__x86_64__)
static int supports_vnni(int avx512)
{
    static _Atomic int answers[2]; /* 0: not asked */
    int answer = atomic_load_explicit(&answers[avx512], memory_order_relaxed);
    if (!answer) {
        unsigned a = 0, b, c = 0, d;
        const int found = __get_cpuid_count(7, avx512 ? 0 : 1, &a, &b, &c, &d) && (avx512 ? c >> 11 & 1 : a >> 4 & 1);
        answer = found ? 2 : 1;
        atomic_store_explicit(&answers[avx512], answer, memory_order_relaxed);
    }
    return answer == 2;
}
#endif
