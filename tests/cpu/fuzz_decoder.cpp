// libFuzzer: any bytes through the decoder in every mode, and then as code that an interpreter runs for a while.
//
// The first byte chooses mode and CPU model. Decoding must agree with itself: a valid instruction is never longer than
// the bytes given, and stays what it is when more bytes follow. Running must end within its budget, whatever the bytes
// do to the machine.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "cpu/decode/decoder.hpp"
#include "cpu/interpreter/interpreter.hpp"
#include "loader/loader.hpp"

namespace xenolith::cpu {
namespace {

// A world that answers every question with something dull.
class DullWorld final : public Environment {
  public:
    std::uint32_t port_read(const Moment&, std::uint16_t port, unsigned) override { return port; }
    void port_write(const Moment&, std::uint16_t, unsigned, std::uint32_t, CpuState&, LinearMemory&) override {}
    std::uint64_t mmio_read(const Moment&, mmu::GuestPhysical address, unsigned) override { return address.value; }
    void mmio_write(const Moment&, mmu::GuestPhysical, unsigned, std::uint64_t) override {}
    MsrOutcome msr_read(const Moment&, std::uint32_t, bool) override { return {}; }
    MsrOutcome msr_write(const Moment&, std::uint32_t, std::uint64_t, bool, const CpuState&) override { return {}; }
    CpuidLeaf cpuid(const Moment&, std::uint32_t, std::uint32_t, CpuidLeaf model) override { return model; }
    HypercallOutcome hypercall(const Moment&, HypercallInstruction, const CpuState&, LinearMemory&) override {
        return {};
    }
    std::uint8_t acknowledge_interrupt(const Moment&) override { return 0x20; }
};

void check(bool condition) {
    if (!condition) std::abort();
}

void decode_all(std::span<const std::byte> bytes, const Decoder& decoder) {
    for (unsigned mode = 0; mode <= static_cast<unsigned>(DecodeMode::long64); ++mode) {
        for (std::size_t at = 0; at < bytes.size();) {
            Instruction whole, exact;
            const auto rest = bytes.subspan(at);
            const Decoder::Result result = decoder.decode(rest, static_cast<DecodeMode>(mode), whole);
            if (result == Decoder::Result::need_more_bytes) break;
            check(whole.execute != nullptr && whole.length >= 1 && whole.length <= Decoder::longest);
            if (result == Decoder::Result::ok) {
                check(whole.length <= rest.size());
                check(decoder.decode(rest.first(whole.length), static_cast<DecodeMode>(mode), exact) == result);
                check(exact.length == whole.length && exact.execute == whole.execute);
            }
            at += whole.length;
        }
    }
}

void run(std::span<const std::byte> bytes, const CpuModel& model, loader::Format format) {
    constexpr std::uint64_t ram = 1 << 20;
    mmu::GuestMemory memory;
    memory.add_ram({0}, ram, "RAM");
    memory.add_device({0x200000}, mmu::page_size, "device");
    DullWorld world;
    Interpreter interpreter(memory, world, model, *find_timing("nehalem"), 0);
    const loader::ImageFile image("fuzz", {bytes.begin(), bytes.end()});
    loader::LoadOptions options;
    options.format = format;
    options.load_address = mmu::GuestPhysical{0x8000};
    try {
        interpreter.set_state(loader::load(image, options, memory).entry_state);
    } catch (const loader::LoadError&) {
        return;
    }
    interpreter.set_interrupt_line(true);
    // Short runs: under a sanitizer a guest fault costs tens of microseconds.
    for (int slice = 0; slice < 2; ++slice) {
        const std::uint64_t before = interpreter.cycles();
        interpreter.run({.until_cycles = before + 1'000});
        // A guest may fault forever and complete nothing, so a budget of instructions alone is no bound.
        interpreter.run({.until_cycles = before + 2'000, .instructions = 50});
        check(interpreter.state().registers[CpuState::zero_slot] == 0);
    }
}

}  // namespace
}  // namespace xenolith::cpu

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace xenolith;
    if (size < 2 || size > 4096) return 0;
    const std::span<const std::byte> bytes = std::as_bytes(std::span(data + 1, size - 1));
    const cpu::CpuModel& model = *cpu::CpuModel::find((data[0] & 4) != 0 ? "modern" : "nehalem",
                                                      (data[0] & 8) != 0 ? cpu::Vendor::amd : cpu::Vendor::intel);
    const cpu::Decoder decoder(model, *cpu::find_timing("nehalem"));
    cpu::decode_all(bytes, decoder);
    constexpr loader::Format formats[] = {loader::Format::flat16, loader::Format::flat32, loader::Format::flat64};
    cpu::run(bytes, model, formats[(data[0] & 3) % 3]);
    return 0;
}
