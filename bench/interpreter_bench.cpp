// How fast the interpreter runs small loops, in this process: guest MIPS, without a machine around the CPU.
//
//   interpreter_bench --benchmark_filter=loads
//
// Each loop of loops.S runs on an engine of its own; one iteration of the benchmark is a fixed number of
// instructions.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "cpu/engine.hpp"
#include "cpu/environment.hpp"
#include "cpu/interpreter/interpreter.hpp"
#include "cpu/model/cpu_model.hpp"
#include "cpu/timing/timing.hpp"
#include "loader/loader.hpp"
#include "mmu/guest_memory.hpp"

namespace xenolith::bench {

struct Loop {
    const char* name;
    const std::byte *begin, *end;
};

}  // namespace xenolith::bench

extern "C" const xenolith::bench::Loop xenolith_loops[];  // loops.S

namespace xenolith::bench {

namespace {

constexpr std::uint64_t instructions_per_iteration = 1'000'000;
constexpr std::uint64_t guest_ram = std::uint64_t{64} << 20;

// A world in which nothing happens: ports read as open, no MSR is claimed, CPUID is the model's.
class EmptyEnvironment final : public cpu::Environment {
  public:
    std::uint32_t port_read(const cpu::Moment&, std::uint16_t, unsigned) override { return ~std::uint32_t{0}; }
    void port_write(const cpu::Moment&, std::uint16_t, unsigned, std::uint32_t, cpu::CpuState&,
                    cpu::LinearMemory&) override {}
    std::uint64_t mmio_read(const cpu::Moment&, mmu::GuestPhysical, unsigned) override { return ~std::uint64_t{0}; }
    void mmio_write(const cpu::Moment&, mmu::GuestPhysical, unsigned, std::uint64_t) override {}
    cpu::MsrOutcome msr_read(const cpu::Moment&, std::uint32_t, bool) override { return {}; }
    cpu::MsrOutcome msr_write(const cpu::Moment&, std::uint32_t, std::uint64_t, bool, const cpu::CpuState&) override {
        return {};
    }
    cpu::CpuidLeaf cpuid(const cpu::Moment&, std::uint32_t, std::uint32_t, cpu::CpuidLeaf model) override {
        return model;
    }
    cpu::HypercallOutcome hypercall(const cpu::Moment&, cpu::HypercallInstruction, const cpu::CpuState&,
                                    cpu::LinearMemory&) override {
        return {};
    }
    std::uint8_t acknowledge_interrupt(const cpu::Moment&) override { return 0; }
};

// A loop runs on an engine of its own, from the start again for each repetition of the benchmark.
void run_loop(benchmark::State& state, std::span<const std::byte> code) {
    mmu::GuestMemory memory;
    memory.add_ram(mmu::GuestPhysical{0}, guest_ram, "RAM");
    EmptyEnvironment environment;
    cpu::Interpreter engine(memory, environment, *cpu::CpuModel::find("nehalem"), *cpu::find_timing("nehalem"), 0);
    const loader::ImageFile image("benchmark loop", {code.begin(), code.end()});
    engine.set_state(loader::load(image, {.format = loader::Format::flat64}, memory).entry_state);

    std::uint64_t instructions = 0;
    for (auto _ : state) {
        const std::uint64_t before = engine.instructions();
        if (engine.run({.instructions = instructions_per_iteration}).reason != cpu::ExitReason::instructions) {
            state.SkipWithError("the loop ended by itself");
            break;
        }
        instructions += engine.instructions() - before;
    }
    state.counters["guest_MIPS"] =
        benchmark::Counter(static_cast<double>(instructions) / 1e6, benchmark::Counter::kIsRate);
}

}  // namespace

}  // namespace xenolith::bench

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    for (const xenolith::bench::Loop* loop = xenolith_loops; loop->name != nullptr; ++loop)
        benchmark::RegisterBenchmark(loop->name, xenolith::bench::run_loop, std::span(loop->begin, loop->end))
            ->Unit(benchmark::kMillisecond);
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
