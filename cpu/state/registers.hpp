// Names and bit positions of the architectural registers (Intel SDM vol. 3A, chapter 2; AMD APM vol. 2, chapter 3).
#pragma once

#include <cstdint>

namespace xenolith::cpu {

// Numbers as instructions encode them.
enum GeneralRegister : std::uint8_t {
    rax,
    rcx,
    rdx,
    rbx,
    rsp,
    rbp,
    rsi,
    rdi,
    r8,
    r9,
    r10,
    r11,
    r12,
    r13,
    r14,
    r15,
};

enum class SegmentName : std::uint8_t { es, cs, ss, ds, fs, gs };

namespace rflags {
inline constexpr std::uint64_t cf = 1u << 0, fixed_one = 1u << 1, pf = 1u << 2, af = 1u << 4, zf = 1u << 6,
                               sf = 1u << 7, tf = 1u << 8, if_ = 1u << 9, df = 1u << 10, of = 1u << 11, iopl = 3u << 12,
                               nt = 1u << 14, rf = 1u << 16, vm = 1u << 17, ac = 1u << 18, vif = 1u << 19,
                               vip = 1u << 20, id = 1u << 21;
inline constexpr unsigned iopl_shift = 12;
inline constexpr std::uint64_t arithmetic = cf | pf | af | zf | sf | of;
inline constexpr std::uint64_t implemented = arithmetic | tf | if_ | df | iopl | nt | rf | vm | ac | vif | vip | id;
}  // namespace rflags

namespace cr0 {
inline constexpr std::uint64_t pe = 1u << 0, mp = 1u << 1, em = 1u << 2, ts = 1u << 3, et = 1u << 4, ne = 1u << 5,
                               wp = 1u << 16, am = 1u << 18, nw = 1u << 29, cd = 1u << 30, pg = 1u << 31;
}  // namespace cr0

namespace cr4 {
inline constexpr std::uint64_t vme = 1u << 0, pvi = 1u << 1, tsd = 1u << 2, de = 1u << 3, pse = 1u << 4, pae = 1u << 5,
                               mce = 1u << 6, pge = 1u << 7, pce = 1u << 8, osfxsr = 1u << 9, osxmmexcpt = 1u << 10,
                               umip = 1u << 11, fsgsbase = 1u << 16, pcide = 1u << 17, osxsave = 1u << 18,
                               smep = 1u << 20, smap = 1u << 21;
}  // namespace cr4

namespace efer {
inline constexpr std::uint64_t sce = 1u << 0, lme = 1u << 8, lma = 1u << 10, nxe = 1u << 11;
}  // namespace efer

namespace dr6 {
inline constexpr std::uint64_t fixed_ones = 0xffff0ff0, breakpoints = 0xf, bd = 1u << 13, bs = 1u << 14, bt = 1u << 15;
}  // namespace dr6

namespace dr7 {
inline constexpr std::uint64_t fixed_one = 1u << 10, gd = 1u << 13;
}  // namespace dr7

// Model-specific register numbers (SDM vol. 4, chapter 2; APM vol. 2, appendix A).
namespace msr {
inline constexpr std::uint32_t p5_mc_addr = 0x00, p5_mc_type = 0x01, tsc = 0x10, platform_id = 0x17, apic_base = 0x1b,
                               feature_control = 0x3a, tsc_adjust = 0x3b, bios_sign_id = 0x8b, mtrr_cap = 0xfe,
                               sysenter_cs = 0x174, sysenter_esp = 0x175, sysenter_eip = 0x176, mcg_cap = 0x179,
                               mcg_status = 0x17a, misc_enable = 0x1a0, debugctl = 0x1d9, mtrr_phys_base0 = 0x200,
                               mtrr_phys_mask9 = 0x213, mtrr_fix64k = 0x250, mtrr_fix16k_80000 = 0x258,
                               mtrr_fix16k_a0000 = 0x259, mtrr_fix4k_c0000 = 0x268, mtrr_fix4k_f8000 = 0x26f,
                               pat = 0x277, mtrr_def_type = 0x2ff, tsc_deadline = 0x6e0, xss = 0xda0, efer = 0xc0000080,
                               star = 0xc0000081, lstar = 0xc0000082, cstar = 0xc0000083, sfmask = 0xc0000084,
                               fs_base = 0xc0000100, gs_base = 0xc0000101, kernel_gs_base = 0xc0000102,
                               tsc_aux = 0xc0000103;
}  // namespace msr

}  // namespace xenolith::cpu
