// CPU models by name: which features, address widths, family and leaves a guest is shown.
#pragma once

#include <bitset>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "cpu/environment.hpp"
#include "cpu/isa/row.hpp"

namespace xenolith::cpu {

enum class Vendor : std::uint8_t { intel, amd };

class CpuModel {
  public:
    // Null for an unknown name. `vendor` may differ from the model's own: the leaves then carry that vendor's string,
    // and vendor-specific behaviour (SYSCALL in compatibility mode, which of VMCALL and VMMCALL exists) follows it.
    static const CpuModel* find(std::string_view name, Vendor vendor);
    static const CpuModel* find(std::string_view name);  // with the model's own vendor
    static std::span<const std::string_view> names();

    CpuModel(std::string_view name, std::string_view brand, Vendor vendor, std::uint32_t signature,
             std::uint8_t physical_address_bits, std::uint32_t highest_leaf, std::bitset<128> features);

    std::string_view name() const { return name_; }
    Vendor vendor() const { return vendor_; }
    std::uint32_t signature() const { return signature_; }  // CPUID 1:EAX, and DX after RESET
    std::uint8_t physical_address_bits() const { return physical_address_bits_; }
    bool has(Feature feature) const { return features_[static_cast<unsigned>(feature)]; }

    // The leaf as the model defines it; what depends on state (OSXSAVE, the APIC id) is filled in from `state`.
    CpuidLeaf leaf(std::uint32_t leaf, std::uint32_t subleaf, const CpuState& state, unsigned vcpu) const;

    // Bits that MOV CR4, WRMSR EFER and XSETBV accept.
    std::uint64_t cr4_bits() const;
    std::uint64_t efer_bits() const;
    std::uint64_t xcr0_bits() const;

  private:
    std::string_view name_;
    std::string_view brand_;
    Vendor vendor_;
    std::uint32_t signature_;
    std::uint8_t physical_address_bits_;
    std::uint32_t highest_leaf_;
    std::bitset<128> features_;
};

}  // namespace xenolith::cpu
