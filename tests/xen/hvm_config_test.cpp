// The 56 bytes of KVM_XEN_HVM_CONFIG, and the names of flags and errors.
#include "xen/hvm_config.hpp"

#include <gtest/gtest.h>
#include <sys/ioctl.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "xen/error_numbers.hpp"

namespace xenolith::xen {
namespace {

TEST(HvmConfig, LiesInMemoryAsTheKernelReadsIt) {
    HvmConfig config;
    config.flags = 0x04030201;
    config.msr = 0x40000000;
    config.blob_addr_32 = 0x1817161514131211;
    config.blob_addr_64 = 0x2827262524232221;
    config.blob_size_32 = 0x31;
    config.blob_size_64 = 0x41;

    std::array<unsigned char, 56> expected{
        0x01, 0x02, 0x03, 0x04, 0x00, 0x00, 0x00, 0x40,  // flags, msr
        0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,  // blob_addr_32
        0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28,  // blob_addr_64
        0x31, 0x41,                                      // sizes, then padding
    };
    EXPECT_EQ(std::memcmp(&config, expected.data(), expected.size()), 0);
}

TEST(HvmConfig, HasTheIoctlNumberOfTheApi) {
    EXPECT_EQ(kvm_xen_hvm_config_ioctl, _IOW(0xAE, 0x7a, HvmConfig));
    EXPECT_EQ(kvm_cap_xen_hvm, 38);
}

TEST(HvmConfig, NamesFlags) {
    EXPECT_EQ(hvm_config_flag_names(0), "0");
    EXPECT_EQ(hvm_config_flag_names(hvm_config_flag::intercept_hcall), "INTERCEPT_HCALL");
    EXPECT_EQ(hvm_config_flag_names(0x1ff),
              "HYPERCALL_MSR | INTERCEPT_HCALL | SHARED_INFO | RUNSTATE | EVTCHN_2LEVEL | EVTCHN_SEND | "
              "RUNSTATE_UPDATE_FLAG | PVCLOCK_TSC_UNSTABLE | SHARED_INFO_HVA");
    EXPECT_EQ(hvm_config_flag_names(0x80000200), "bit 9 | bit 31");
}

TEST(ErrorNumbers, HaveNames) {
    EXPECT_EQ(error_name(EFAULT), "EFAULT");
    EXPECT_EQ(error_name(EINVAL), "EINVAL");
    EXPECT_EQ(error_name(EPERM), "EPERM");
    EXPECT_EQ(error_name(ENOSYS), "ENOSYS");
    EXPECT_EQ(error_name(EOPNOTSUPP), "EOPNOTSUPP");
    EXPECT_EQ(error_name(0), "");
    EXPECT_EQ(error_text(ENOTCONN), "ENOTCONN");
    EXPECT_EQ(error_text(999), "errno 999");
}

}  // namespace
}  // namespace xenolith::xen
