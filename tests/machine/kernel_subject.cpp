// KVM API: 4.3 (KVM_RUN), 4.27 (KVM_XEN_HVM_CONFIG), 4.88 (KVM_SET_CPUID2), 4.126 (KVM_XEN_HVM_SET_ATTR), 5 (struct
// kvm_run). Registers go in and out by KvmRegisters, memory by MemorySlots; the trap is told to the kernel as it is.
#include <linux/kvm.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "cpu/kvm/kick_timer.hpp"
#include "cpu/kvm/kvm_cpuid.hpp"
#include "cpu/kvm/kvm_device.hpp"
#include "cpu/kvm/kvm_registers.hpp"
#include "cpu/kvm/kvm_requests.hpp"
#include "cpu/kvm/memory_slots.hpp"
#include "cpu/kvm/run_area.hpp"
#include "tests/machine/trap_subject.hpp"
#include "xen/blob.hpp"

namespace xenolith::machine::test {
namespace {

constexpr auto refused = cpu::HostLimit::Kind::unavailable;
constexpr std::chrono::seconds patience{20};
constexpr std::size_t room = std::size_t{xen::maximum_blob_pages + 1} * mmu::page_size;  // for one blob
constexpr std::uint64_t answer_of_xen_version = 0x40011;

// Pages of this process that come and go.
class BlobRoom {
  public:
    BlobRoom() {
        void* const at = ::mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "room for a blob");
        start_ = static_cast<std::byte*>(at);
    }
    ~BlobRoom() { ::munmap(start_, room); }
    BlobRoom(const BlobRoom&) = delete;
    BlobRoom& operator=(const BlobRoom&) = delete;

    std::uint64_t address() const { return reinterpret_cast<std::uint64_t>(start_); }
    void map(std::span<const std::byte> bytes) {
        ::mprotect(start_, bytes.size(), PROT_READ | PROT_WRITE);
        std::memcpy(start_, bytes.data(), bytes.size());
    }
    void unmap(unsigned first_page, unsigned pages) {
        ::mprotect(start_ + first_page * mmu::page_size, pages * mmu::page_size, PROT_NONE);
    }

  private:
    std::byte* start_ = nullptr;
};

// All that this host's KVM can give.
void set_host_cpuid(const cpu::KvmDevice& device, const cpu::FileDescriptor& vcpu) {
    constexpr std::size_t plenty = 256;
    cpu::CountedList<kvm_cpuid_entry2> table(plenty);
    device.descriptor().require(refused, "KVM_GET_SUPPORTED_CPUID", cpu::kvm_request::get_supported_cpuid,
                                table.data());
    vcpu.require(refused, "KVM_SET_CPUID2", cpu::kvm_request::set_cpuid2, table.data());
}

class Vcpu {
  public:
    Vcpu(const cpu::KvmDevice& device, const cpu::FileDescriptor& vm, unsigned number)
        : descriptor_(vm.require(refused, "KVM_CREATE_VCPU", KVM_CREATE_VCPU, std::uint64_t{number})),
          area_(device, descriptor_),
          timer_(descriptor_) {
        set_host_cpuid(device, descriptor_);
        registers_.emplace(device, descriptor_);
    }

    cpu::KvmRegisters& registers() { return *registers_; }
    const cpu::RunArea& area() const { return area_; }
    const cpu::FileDescriptor& descriptor() const { return descriptor_; }
    cpu::KickTimer& timer() { return timer_; }

  private:
    cpu::FileDescriptor descriptor_;
    cpu::RunArea area_;
    cpu::KickTimer timer_;
    std::optional<cpu::KvmRegisters> registers_;
};

class KernelSubject final : public TrapSubject {
  public:
    KernelSubject() : vm_(device_.create_vm()), slots_(vm_, memory_, false) {
        if (cpu::xen_capability(device_) == 0)
            throw cpu::HostLimit(refused, "this KVM has no Xen part: KVM_CAP_XEN_HVM is 0");
        Scenario::add_regions(memory_);
        write_tables(memory_);
        slots_.synchronise();
        vcpu(0);
    }

    mmu::GuestMemory& memory() override { return memory_; }
    std::uint64_t blob_address(unsigned width) const override { return blob(width).address(); }
    void map_blob(unsigned width, std::span<const std::byte> bytes) override { blob(width).map(bytes); }
    void unmap_blob(unsigned width, unsigned first_page, unsigned pages) override {
        blob(width).unmap(first_page, pages);
    }
    int configure(const xen::HvmConfig& config) override {
        return vm_.control(xen::kvm_xen_hvm_config_ioctl, &config) == 0 ? 0 : errno;
    }
    void host_write(std::uint32_t msr, std::uint64_t value) override { vcpu(0).registers().write_msr(msr, value); }
    void set_latch(bool long_mode) override {
        kvm_xen_hvm_attr attribute{};
        attribute.type = KVM_XEN_ATTR_TYPE_LONG_MODE;
        attribute.u.long_mode = long_mode ? 1 : 0;
        vm_.require(refused, "KVM_XEN_HVM_SET_ATTR", KVM_XEN_HVM_SET_ATTR, &attribute);
    }
    std::optional<bool> latch() const override {
        kvm_xen_hvm_attr attribute{};
        attribute.type = KVM_XEN_ATTR_TYPE_LONG_MODE;
        vm_.require(refused, "KVM_XEN_HVM_GET_ATTR", KVM_XEN_HVM_GET_ATTR, &attribute);
        return attribute.u.long_mode != 0;
    }
    void set_state(unsigned number, const cpu::CpuState& state) override { vcpu(number).registers().write(state); }
    SubjectRun run(unsigned number, const std::function<void()>& on_signal) override;
    std::vector<std::string> hypercalls() const override { return hypercalls_; }

  private:
    BlobRoom& blob(unsigned width) { return blobs_[width == 64 ? 1 : 0]; }
    const BlobRoom& blob(unsigned width) const { return blobs_[width == 64 ? 1 : 0]; }
    Vcpu& vcpu(unsigned number) {
        while (vcpus_.size() <= number)
            vcpus_.push_back(std::make_unique<Vcpu>(device_, vm_, static_cast<unsigned>(vcpus_.size())));
        return *vcpus_[number];
    }
    void answer_hypercall(kvm_run& run);

    cpu::KvmDevice device_;
    cpu::FileDescriptor vm_;
    mmu::GuestMemory memory_;
    cpu::MemorySlots slots_;
    std::array<BlobRoom, 2> blobs_;
    std::vector<std::unique_ptr<Vcpu>> vcpus_;
    std::vector<std::string> hypercalls_;
};

// As Xen's userspace would: xen_version for CPL 0, EPERM for others.
void KernelSubject::answer_hypercall(kvm_run& run) {
    auto& call = run.xen.u.hcall;
    hypercalls_.push_back(std::to_string(call.input) + " at CPL " + std::to_string(call.cpl));
    constexpr std::uint64_t not_permitted = ~std::uint64_t{0};
    call.result = call.cpl == 0 ? answer_of_xen_version : not_permitted;
    if (call.longmode == 0) call.result &= 0xffffffff;
}

SubjectRun KernelSubject::run(unsigned number, const std::function<void()>& on_signal) {
    Vcpu& which = vcpu(number);
    kvm_run& area = *which.area().operator->();
    const cpu::KickTimer::Session session(which.timer());
    which.timer().arm(std::chrono::steady_clock::now() + patience);
    SubjectRun result;
    while (!result.halted && result.error_number == 0 && result.other.empty()) {
        if (which.descriptor().control(KVM_RUN) != 0) {
            result.error_number = errno;
            break;
        }
        switch (area.exit_reason) {
            case KVM_EXIT_HLT: result.halted = true; break;
            case KVM_EXIT_IO:
                if (area.io.direction == KVM_EXIT_IO_OUT && area.io.port == debug_port) on_signal();
                break;
            case KVM_EXIT_XEN: answer_hypercall(area); break;
            case KVM_EXIT_SHUTDOWN: result.other = "triple fault"; break;
            default: result.other = "KVM exit " + std::to_string(area.exit_reason); break;
        }
    }
    which.registers().read_general(result.state);
    return result;
}

}  // namespace

std::unique_ptr<TrapSubject> make_kernel_subject() { return std::make_unique<KernelSubject>(); }

}  // namespace xenolith::machine::test
