#include "xen/hvm_config.hpp"

#include <string_view>

namespace xenolith::xen {

std::string hvm_config_flag_names(std::uint32_t flags) {
    // In bit order (Documentation/virt/kvm/api.rst, KVM_CAP_XEN_HVM).
    constexpr std::string_view names[] = {
        "HYPERCALL_MSR", "INTERCEPT_HCALL",      "SHARED_INFO",          "RUNSTATE",        "EVTCHN_2LEVEL",
        "EVTCHN_SEND",   "RUNSTATE_UPDATE_FLAG", "PVCLOCK_TSC_UNSTABLE", "SHARED_INFO_HVA",
    };
    if (flags == 0) return "0";
    std::string text;
    for (unsigned bit = 0; bit < 32; ++bit) {
        if ((flags >> bit & 1) == 0) continue;
        if (!text.empty()) text += " | ";
        text += bit < std::size(names) ? std::string(names[bit]) : "bit " + std::to_string(bit);
    }
    return text;
}

}  // namespace xenolith::xen
