// The bits of CPUID (SDM vol. 2A, CPUID) behind the instructions that cpu/isa/vector_*.cpp hands to the host.
// Most of AVX and AVX2 is done by SSE instructions, half by half; comparisons with VEX predicates, FMA and
// F16C are not.
#include "cpu/isa/host_features.hpp"

#include <cpuid.h>

namespace xenolith::cpu {

namespace {

struct HostFeatures {
    bool avx = false, fma = false, f16c = false, aes = false, pclmulqdq = false, sha = false;

    HostFeatures() {
        unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
        if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return;
        avx = __builtin_cpu_supports("avx") != 0;  // asks the operating system as well
        fma = avx && (ecx & bit_FMA) != 0;
        f16c = avx && (ecx & bit_F16C) != 0;
        aes = (ecx & bit_AES) != 0;
        pclmulqdq = (ecx & bit_PCLMUL) != 0;
        sha = __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx & bit_SHA) != 0;
    }
};

}  // namespace

bool host_has(Feature feature) {
    static const HostFeatures host;
    switch (feature) {
        case Feature::avx:
        case Feature::avx2: return host.avx;
        case Feature::fma: return host.fma;
        case Feature::f16c: return host.f16c;
        case Feature::aes: return host.aes;
        case Feature::pclmulqdq: return host.pclmulqdq;
        case Feature::sha: return host.sha;
        default: return true;
    }
}

}  // namespace xenolith::cpu
