/* Which of the instruction sets that this back end is compiled for the processor and the operating system can run. */
#pragma once

#if defined(__x86_64__) && defined(__GNUC__)
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
