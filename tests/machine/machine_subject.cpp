#include "cpu/host_limit.hpp"
#include "tests/machine/trap_subject.hpp"
#include "xen/error_numbers.hpp"

namespace xenolith::machine::test {

void MachineSubject::map_blob(unsigned width, std::span<const std::byte> bytes) {
    scenario_.machine().blob_memory().map(Scenario::blob_address(width), bytes);
}

void MachineSubject::unmap_blob(unsigned width, unsigned first_page, unsigned pages) {
    scenario_.machine().blob_memory().unmap(Scenario::blob_address(width) + first_page * mmu::page_size,
                                            pages * mmu::page_size);
}

void MachineSubject::host_write(std::uint32_t msr, std::uint64_t value) {
    scenario_.trap().write_msr({.index = msr,
                                .value = value,
                                .long_mode_active = long_mode_active(scenario_.mode()),
                                .initiator = xen::Initiator::host});
}

// By a write that fails behind the latch.
void MachineSubject::set_latch(bool long_mode) {
    former_latch_ = long_mode;
    scenario_.trap().write_msr({.index = Scenario::msr, .value = layout::hole.value, .long_mode_active = long_mode});
}

std::optional<bool> MachineSubject::latch() const {
    if (!scenario_.sees_writes()) return std::nullopt;
    return scenario_.trap().latched_long_mode().value_or(former_latch_);
}

cpu::Engine& MachineSubject::engine(unsigned vcpu) {
    if (vcpu == 0) return scenario_.engine();
    if (second_ == nullptr) second_ = &scenario_.machine().add_vcpu();
    return *second_;
}

void MachineSubject::set_state(unsigned vcpu, const cpu::CpuState& state) { engine(vcpu).set_state(state); }

SubjectRun MachineSubject::run(unsigned vcpu, const std::function<void()>& on_signal) {
    scenario_.on_debug_byte([&](std::uint8_t) { on_signal(); });
    SubjectRun run;
    if (vcpu == 0) {
        const Ending ending = scenario_.run_on();
        run.halted = ending.result.end == RunEnd::halted;
        run.error_number = ending.result.error_number;
        if (!run.halted && run.error_number == 0) run.other = ending.result.reason;
    } else {
        try {
            const cpu::Exit exit = engine(vcpu).run({});
            run.halted = exit.reason == cpu::ExitReason::halted;
            run.error_number = exit.error_number;
            if (!run.halted && run.error_number == 0) run.other = "the run of vCPU 1 ended early";
        } catch (const cpu::HostLimit& limit) {
            run.other = limit.what();
        }
    }
    run.state = engine(vcpu).state();
    scenario_.on_debug_byte({});
    return run;
}

std::vector<std::string> MachineSubject::hypercalls() const {
    std::vector<std::string> texts;
    for (const Event* event : scenario_.events<HypercallMade>())
        texts.push_back(std::to_string(std::get<HypercallMade>(event->what).number) + " at CPL " +
                        std::to_string(event->moment.cpl));
    return texts;
}

}  // namespace xenolith::machine::test
