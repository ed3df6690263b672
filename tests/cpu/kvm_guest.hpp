// A guest for tests of the KVM engine: a little memory, a world that writes down what it is asked, and entry
// states.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cpu/kvm/kvm_engine.hpp"
#include "mmu/guest_memory.hpp"

namespace xenolith::cpu::test {

// What the guest asked for, in order, and what it is told.
class RecordingWorld final : public Environment {
  public:
    struct Access {
        std::uint64_t where = 0;  // port or address
        unsigned width = 0;
        std::uint64_t value = 0;
        Moment moment;
    };
    std::vector<Access> port_reads, port_writes, memory_reads, memory_writes, msr_reads, msr_writes;
    std::vector<Moment> hypercalls;
    std::vector<bool> msr_implemented;
    unsigned acknowledged = 0;
    std::uint8_t vector = 0x20;

    std::function<std::uint64_t(std::uint64_t where)> answer = [](std::uint64_t) { return std::uint64_t{0x5a}; };
    std::function<void(CpuState&, LinearMemory&)> on_port_write = [](CpuState&, LinearMemory&) {};
    std::function<MsrOutcome(std::uint32_t)> on_msr = [](std::uint32_t) { return MsrOutcome{}; };
    std::function<HypercallOutcome()> on_hypercall = [] { return HypercallOutcome{}; };
    std::function<void()> on_acknowledge = [] {};
    std::function<CpuidLeaf(std::uint32_t, std::uint32_t, CpuidLeaf)> on_cpuid = [](std::uint32_t, std::uint32_t,
                                                                                    CpuidLeaf model) { return model; };

    std::uint32_t port_read(const Moment& moment, std::uint16_t port, unsigned width) override {
        port_reads.push_back({port, width, 0, moment});
        return static_cast<std::uint32_t>(answer(port));
    }
    void port_write(const Moment& moment, std::uint16_t port, unsigned width, std::uint32_t value, CpuState& state,
                    LinearMemory& memory) override {
        port_writes.push_back({port, width, value, moment});
        on_port_write(state, memory);
    }
    std::uint64_t mmio_read(const Moment& moment, mmu::GuestPhysical address, unsigned width) override {
        memory_reads.push_back({address.value, width, 0, moment});
        return answer(address.value);
    }
    void mmio_write(const Moment& moment, mmu::GuestPhysical address, unsigned width, std::uint64_t value) override {
        memory_writes.push_back({address.value, width, value, moment});
    }
    MsrOutcome msr_read(const Moment& moment, std::uint32_t index, bool implemented) override {
        msr_reads.push_back({index, 8, 0, moment});
        msr_implemented.push_back(implemented);
        return on_msr(index);
    }
    MsrOutcome msr_write(const Moment& moment, std::uint32_t index, std::uint64_t value, bool implemented,
                         const CpuState&) override {
        msr_writes.push_back({index, 8, value, moment});
        msr_implemented.push_back(implemented);
        return on_msr(index);
    }
    CpuidLeaf cpuid(const Moment&, std::uint32_t leaf, std::uint32_t subleaf, CpuidLeaf model) override {
        return on_cpuid(leaf, subleaf, model);
    }
    HypercallOutcome hypercall(const Moment& moment, HypercallInstruction, const CpuState&, LinearMemory&) override {
        hypercalls.push_back(moment);
        return on_hypercall();
    }
    std::uint8_t acknowledge_interrupt(const Moment&) override {
        ++acknowledged;
        on_acknowledge();
        return vector;
    }
};

namespace place {
inline constexpr mmu::GuestPhysical tables{0x1000};  // three pages: linear = physical for the first GiB
inline constexpr mmu::GuestPhysical descriptors{0x4000}, gates{0x5000};
inline constexpr std::uint64_t stack_top = 0x8000;
inline constexpr mmu::GuestPhysical code{0x10000}, handler{0x11000}, data{0x12000};
inline constexpr mmu::GuestPhysical rom{0x80000}, device{0xa0000}, hole{0xc0000};
inline constexpr std::uint64_t ram_size = 0x80000;
}  // namespace place

// Tests derive from this. Where there is no usable KVM they are skipped, with the reason.
class KvmTest : public testing::Test {
  protected:
    static constexpr std::uint32_t trapped_msr = 0x40000000;

    void SetUp() override {
        if (const auto reason = kvm_unavailable()) GTEST_SKIP() << *reason;
        memory.add_ram({0}, place::ram_size, "RAM");
        memory.add_rom(place::rom, std::vector<std::byte>(mmu::page_size, std::byte{0x77}), "ROM");
        memory.add_device(place::device, mmu::page_size, "a device");
        write_tables();
    }

    KvmEngine& make(KvmOptions options = {}) {
        engine_ = std::make_unique<KvmEngine>(memory, world, *CpuModel::find("nehalem"), *find_timing("nehalem"), 0,
                                              std::move(options));
        return *engine_;
    }
    KvmEngine& engine() { return engine_ ? *engine_ : make(); }
    // With the trap laid by MSR exits.
    KvmEngine& make_trapping() {
        KvmOptions options;
        options.route = KvmRoute::msr_exit;
        options.trap = [this] { return trap; };
        return make(std::move(options));
    }

    void put(mmu::GuestPhysical at, std::initializer_list<unsigned> bytes) {
        std::vector<std::byte> code;
        for (const unsigned byte : bytes) code.push_back(static_cast<std::byte>(byte));
        ASSERT_TRUE(memory.write(at, code));
    }
    template <class T>
    void put_value(mmu::GuestPhysical at, T value) {
        ASSERT_TRUE(memory.write(at, std::as_bytes(std::span(&value, 1))));
    }
    template <class T>
    T value_at(mmu::GuestPhysical at) const {
        T value{};
        EXPECT_TRUE(memory.read(at, std::as_writable_bytes(std::span(&value, 1))));
        return value;
    }

    // 64-bit code at place::code, CPL 0, interrupts off, paging linear = physical.
    static CpuState long_state() {
        CpuState state = reset_state();
        state.rip = place::code.value;
        state.registers[rsp] = place::stack_top;
        state.registers[rdx] = 0;
        state.cr0 = cr0::pe | cr0::et | cr0::ne | cr0::wp | cr0::pg;
        state.cr3 = place::tables.value;
        state.cr4 = cr4::pae | cr4::osfxsr;
        state.msr.efer = efer::lme | efer::lma | efer::sce | efer::nxe;
        state.segment(SegmentName::cs) = flat_code_segment(0x08, 64);
        for (const SegmentName name :
             {SegmentName::ds, SegmentName::es, SegmentName::ss, SegmentName::fs, SegmentName::gs})
            state.segment(name) = flat_data_segment(0x10);
        state.gdtr = {place::descriptors.value, 0x37};
        state.idtr = {place::gates.value, 0xfff};
        return state;
    }
    // 16-bit real-mode code at 0:place::code's low part is out of reach: it runs at 0x1000:0.
    static CpuState real_state() {
        CpuState state = reset_state();
        state.segment(SegmentName::cs) = real_mode_segment(static_cast<std::uint16_t>(place::code.value >> 4));
        state.cr0 = cr0::et;
        state.rip = 0;
        state.registers[rsp] = place::stack_top;
        state.registers[rdx] = 0;
        return state;
    }
    // A gate of 64-bit mode to place::handler, where the test puts its code.
    void put_gate(unsigned vector) {
        const std::uint64_t low = (place::handler.value & 0xffff) | std::uint64_t{0x08} << 16 |
                                  std::uint64_t{0x8e00} << 32 | (place::handler.value >> 16 & 0xffff) << 48;
        put_value<std::uint64_t>(place::gates + vector * 16, low);
        put_value<std::uint64_t>(place::gates + vector * 16 + 8, 0);
    }

    // Runs from the state; none if the host's KVM cannot execute the guest's code, and `host_limit` says why.
    std::optional<Exit> run_from(const CpuState& state, const Budget& budget = {}) {
        engine().set_state(state);
        try {
            return engine().run(budget);
        } catch (const HostLimit& limit) {
            if (limit.kind() != HostLimit::Kind::instruction) throw;
            host_limit = limit.what();
            return std::nullopt;
        }
    }

    std::string host_limit;
    KvmXenTrap trap{.msr = trapped_msr};
    mmu::GuestMemory memory;
    RecordingWorld world;

  private:
    void write_tables() {
        constexpr std::uint64_t present_writable = 3, large = 0x83;
        put_value<std::uint64_t>(place::tables, place::tables.value + 0x1000 + present_writable);
        put_value<std::uint64_t>(place::tables + 0x1000, place::tables.value + 0x2000 + present_writable);
        for (std::uint64_t n = 0; n < 512; ++n)
            put_value<std::uint64_t>(place::tables + 0x2000 + n * 8, (n << 21) + large);
        put_value<std::uint64_t>(place::descriptors + 0x08, 0x00af9b000000ffff);  // 64-bit code
        put_value<std::uint64_t>(place::descriptors + 0x10, 0x00cf93000000ffff);  // data
    }

    std::unique_ptr<KvmEngine> engine_;
};

// In a test's body: ends it as skipped, with the reason, if the host's KVM could not run the guest.
#define SKIP_WHAT_KVM_CANNOT(exit)                 \
    if (!(exit)) GTEST_SKIP() << this->host_limit; \
    static_assert(true)

}  // namespace xenolith::cpu::test
