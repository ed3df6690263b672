// The registers that a debugger sees: in which order, by which names, and how they come out of a CpuState and go in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/model/cpu_model.hpp"
#include "cpu/state/cpu_state.hpp"
#include "mmu/guest_memory.hpp"

namespace xenolith::machine::gdb {

// What gdb can be told a CPU is. It believes one answer per connection.
enum class Architecture : std::uint8_t { i8086, i386, x86_64 };

// "i8086", "i386", "i386:x86-64": gdb's own names.
std::string_view architecture_name(Architecture architecture);
std::optional<Architecture> architecture_from_name(std::string_view name);
// The one whose instructions the CPU executes now.
Architecture architecture_of(const cpu::CpuState& state);

struct RegisterValue {
    std::uint64_t low = 0, high = 0;

    bool operator==(const RegisterValue&) const = default;
};

struct Register {
    std::string name;
    unsigned bits = 0;  // a multiple of 8, at most 128
    std::string type;   // as the target description has it
    std::string group;  // empty: gdb's own choice
    std::function<RegisterValue(const cpu::CpuState&)> get;
    std::function<void(cpu::CpuState&, RegisterValue)> set;
};

// A group of registers that gdb knows by name, or one of our own.
struct Feature {
    std::string name;
    std::vector<Register> registers;
};

class RegisterFile {
  public:
    RegisterFile(Architecture architecture, const cpu::CpuModel& model);

    Architecture architecture() const { return architecture_; }
    // Its numbers are those of the remote protocol.
    std::size_t count() const { return order_.size(); }
    const Register& at(std::size_t number) const { return *order_[number]; }
    // By name, with or without "$"; also "pc", "sp" and "fp". Null if there is none.
    const Register* find(std::string_view name) const;
    std::size_t program_counter() const { return program_counter_; }
    std::size_t stack_pointer() const { return program_counter_ - (wide() ? 9 : 4); }
    std::size_t frame_pointer() const { return program_counter_ - (wide() ? 10 : 3); }

    // As the protocol has it: bytes from the lowest, in hexadecimal.
    std::string read(const cpu::CpuState& state, std::size_t number) const;
    std::string read_all(const cpu::CpuState& state) const;
    // Takes the bytes themselves. False, with nothing changed, if they are too few or too many.
    bool write(cpu::CpuState& state, std::size_t number, std::string_view bytes) const;
    // Of all registers; sets those that differ from what they hold, so that two views of one do not fight.
    bool write_all(cpu::CpuState& state, std::string_view bytes) const;

    // The target description, in XML.
    const std::string& description() const { return description_; }

  private:
    bool wide() const { return architecture_ == Architecture::x86_64; }

    Architecture architecture_;
    std::vector<Feature> features_;
    std::vector<const Register*> order_;
    std::size_t program_counter_;
    std::string description_;
};

// The features, in the order in which gdb numbers their registers. `system_feature` is our own.
Feature core_feature(Architecture architecture);
Feature vector_feature(Architecture architecture);
Feature segment_base_feature();
Feature wide_vector_feature(Architecture architecture);
Feature system_feature(Architecture architecture);
// The description of a CPU that has them.
std::string target_description(Architecture architecture, std::span<const Feature> features);

// The linear address of the next instruction, which is what a debugger is told as its program counter: breakpoints and
// disassembly then work with any base of CS.
std::uint64_t program_counter_of(const cpu::CpuState& state);

// What writes of single registers leave undone: fixed bits, EFER.LMA, the PDPTE registers. Why no CPU could hold the
// state that a debugger has put together, in words; empty if one could.
std::string settle(cpu::CpuState& state, const cpu::CpuState& before, const cpu::CpuModel& model,
                   const mmu::GuestMemory& memory);

}  // namespace xenolith::machine::gdb
