// What the contract's edge cases are tried on: an engine of ours in its machine, or the kernel's own KVM by its ioctls
// alone, with nothing of ours in between.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cpu/kvm/kvm_options.hpp"
#include "cpu/state/cpu_state.hpp"
#include "mmu/guest_memory.hpp"
#include "tests/machine/scenario.hpp"
#include "xen/hvm_config.hpp"

namespace xenolith::machine::test {

// How one call that runs the guest ended.
struct SubjectRun {
    bool halted = false;
    int error_number = 0;  // of the run call itself
    std::string other;     // any other end, in words
    cpu::CpuState state;
};

class TrapSubject {
  public:
    virtual ~TrapSubject() = default;

    // With the regions and the tables of a Scenario.
    virtual mmu::GuestMemory& memory() = 0;

    // The two blobs, in the memory of whoever runs the guest. `width` is 32 or 64.
    virtual std::uint64_t blob_address(unsigned width) const = 0;
    virtual void map_blob(unsigned width, std::span<const std::byte> bytes) = 0;  // whole pages
    virtual void unmap_blob(unsigned width, unsigned first_page, unsigned pages) = 0;
    // KVM_XEN_HVM_CONFIG: 0, or a positive errno.
    virtual int configure(const xen::HvmConfig& config) = 0;
    // A write of an MSR by the host, not by the guest.
    virtual void host_write(std::uint32_t msr, std::uint64_t value) = 0;
    // Which layout of shared_info is latched: 64-bit or not. set_latch comes before the first configure(); what latch()
    // says is empty where nobody can look.
    virtual void set_latch(bool long_mode) = 0;
    virtual std::optional<bool> latch() const = 0;

    // vCPU 0 is there; 1 is made when it is first named.
    virtual void set_state(unsigned vcpu, const cpu::CpuState& state) = 0;
    // Until the vCPU halts or the run fails. `on_signal` is called when the guest writes to the debug console.
    virtual SubjectRun run(unsigned vcpu, const std::function<void()>& on_signal) = 0;
    // The Xen hypercalls that have reached whoever runs the guest, as "17 at CPL 0"; xen_version is answered.
    virtual std::vector<std::string> hypercalls() const = 0;
};

class MachineSubject final : public TrapSubject {
  public:
    explicit MachineSubject(const ScenarioOptions& options) : scenario_(options) {}

    Scenario& scenario() { return scenario_; }

    mmu::GuestMemory& memory() override { return scenario_.machine().memory(); }
    std::uint64_t blob_address(unsigned width) const override { return Scenario::blob_address(width); }
    void map_blob(unsigned width, std::span<const std::byte> bytes) override;
    void unmap_blob(unsigned width, unsigned first_page, unsigned pages) override;
    int configure(const xen::HvmConfig& config) override { return scenario_.trap().configure(config); }
    void host_write(std::uint32_t msr, std::uint64_t value) override;
    void set_latch(bool long_mode) override;
    std::optional<bool> latch() const override;
    void set_state(unsigned vcpu, const cpu::CpuState& state) override;
    SubjectRun run(unsigned vcpu, const std::function<void()>& on_signal) override;
    std::vector<std::string> hypercalls() const override;

  private:
    cpu::Engine& engine(unsigned vcpu);

    Scenario scenario_;
    cpu::Engine* second_ = nullptr;
    bool former_latch_ = false;
};

// The kernel's KVM. cpu::HostLimit if there is none, or it has no Xen part.
std::unique_ptr<TrapSubject> make_kernel_subject();

}  // namespace xenolith::machine::test
