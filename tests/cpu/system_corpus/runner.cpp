#include "tests/cpu/system_corpus/runner.hpp"

#include <linux/kvm.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <optional>

#include "cpu/host_limit.hpp"
#include "cpu/interpreter/interpreter.hpp"
#include "cpu/kvm/kvm_requests.hpp"
#include "machine/state_fields.hpp"
#include "tests/cpu/system_corpus/world.hpp"

namespace xenolith::cpu::test {
namespace {

// A case is over after some hundred instructions. KVM's cycles are the host's time: what is longer hangs.
constexpr std::uint64_t cycles_of_interpreter = 1'000'000, cycles_of_kvm = 3'000'000'000;

std::string hex(std::uint64_t value) {
    char text[16 + 1];
    std::snprintf(text, sizeof text, "%llx", static_cast<unsigned long long>(value));
    return text;
}

std::string_view reason_name(ExitReason reason) {
    constexpr std::string_view names[] = {"never ends", "instructions", "halts", "shuts down",
                                          "stops",      "hypercall",    "fails"};
    return names[static_cast<unsigned>(reason)];
}

constexpr std::uint64_t first_table = 0x80000, pae_pointers = 0x82000, page_fault = 14;

// Of the frame that an exception leaves: the byte that holds RF, none if the frame has 16-bit slots.
std::optional<std::uint64_t> resume_flag_address(const CorpusCase& each, const CorpusRun& run) {
    const int vector = vector_of(each, run);
    if (vector < 0 || each.mode == CorpusMode::real) return std::nullopt;
    const bool has_code = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
    const std::uint64_t size = run.state.in_long_mode() ? 8 : 4;
    const SegmentRegister& stack = run.state.segment(SegmentName::ss);
    const bool flat = run.state.in_64bit_code();
    const std::uint64_t mask = flat || stack.attributes.default_big() ? 0xffffffff : 0xffff;
    const std::uint64_t top = (flat ? 0 : stack.base) + (run.state.registers[rsp] & mask);
    constexpr std::uint64_t third_byte = 2;
    return top + (has_code ? 3 : 2) * size + third_byte;
}

// Whether a null selector in FS or GS clears the base differs from CPU to CPU, AMD's above all.
bool is_base_of_null(std::string_view field, const CpuState& first, const CpuState& second) {
    const auto is_null = [](const CpuState& state, SegmentName name) {
        return (state.segment(name).selector & 0xfffc) == 0 && state.in_long_mode();
    };
    for (const auto& [text, name] : {std::pair{"fs base", SegmentName::fs}, std::pair{"gs base", SegmentName::gs}})
        if (field == text) return is_null(first, name) && is_null(second, name);
    return false;
}

// What of a byte is compared.
class Compared {
  public:
    Compared(const CorpusCase& each, const CorpusRun& ours, bool resume_flag_counts)
        : after_page_fault_(vector_of(each, ours) == page_fault) {
        if (!resume_flag_counts) resume_flag_ = resume_flag_address(each, ours);
    }
    std::byte part_of(std::uint64_t at, std::byte value) const {
        constexpr std::byte accessed{0x20}, resume{0x01};
        // QEMU's TCG, as host of a KVM, sets accessed bits in PAE's page-directory pointers; no CPU has them.
        const bool is_pointer = at >= pae_pointers && at < pae_pointers + 4 * 8 && at % 8 == 0;
        if (is_pointer || (after_page_fault_ && at >= first_table && at % 4 == 0)) return value & ~accessed;
        if (resume_flag_ == at) return value & ~resume;
        return value;
    }

  private:
    bool after_page_fault_;
    std::optional<std::uint64_t> resume_flag_;
};

struct SupportedLeaf {
    std::uint32_t leaf, subleaf;
    CpuidLeaf value;
};

// What the model shows in the leaves that list features.
constexpr std::pair<std::uint32_t, std::uint32_t> feature_leaves[] = {
    {1, 0}, {7, 0}, {0xd, 1}, {0x80000001, 0}, {0x80000007, 0}, {0x80000008, 0}};

std::vector<SupportedLeaf> supported_by_kvm() {
    constexpr std::size_t plenty = 256;
    const KvmDevice device;
    CountedList<kvm_cpuid_entry2> table(plenty);
    device.descriptor().require(HostLimit::Kind::unavailable, "KVM_GET_SUPPORTED_CPUID",
                                kvm_request::get_supported_cpuid, table.data());
    std::vector<SupportedLeaf> leaves;
    for (std::size_t n = 0; n < table.count(); ++n) {
        const kvm_cpuid_entry2& entry = table.entries()[n];
        leaves.push_back({entry.function, entry.index, {entry.eax, entry.ebx, entry.ecx, entry.edx}});
    }
    return leaves;
}

CpuidLeaf find(const std::vector<SupportedLeaf>& leaves, std::uint32_t leaf, std::uint32_t subleaf) {
    for (const SupportedLeaf& each : leaves)
        if (each.leaf == leaf && each.subleaf == subleaf) return each.value;
    return {};
}

CpuModel make_common_model() {
    if (kvm_unavailable()) return *CpuModel::find("modern");
    const Vendor vendor = __builtin_cpu_is("amd") != 0 ? Vendor::amd : Vendor::intel;
    const CpuModel& modern = *CpuModel::find("modern", vendor);
    const std::vector<SupportedLeaf> supported = supported_by_kvm();
    const auto with = [&](const std::bitset<128>& features, std::uint8_t bits) {
        return CpuModel("common", "", vendor, modern.signature(), bits, 0xd, features);
    };
    constexpr std::uint8_t some_bits = 40;
    const CpuModel none = with({}, some_bits);
    const CpuState state = reset_state();
    std::bitset<128> features;
    for (unsigned number = 0; number < features.size(); ++number) {
        if (!modern.has(static_cast<Feature>(number))) continue;
        const CpuModel alone = with(std::bitset<128>().set(number), some_bits);
        bool has = true;
        for (const auto& [leaf, subleaf] : feature_leaves) {
            const CpuidLeaf base = none.leaf(leaf, subleaf, state, 0), more = alone.leaf(leaf, subleaf, state, 0),
                            host = find(supported, leaf, subleaf);
            has = has && (more.ebx & ~base.ebx & ~host.ebx) == 0 && (more.ecx & ~base.ecx & ~host.ecx) == 0 &&
                  (more.edx & ~base.edx & ~host.edx) == 0;
        }
        features[number] = has;
    }
    const auto bits = static_cast<std::uint8_t>(find(supported, 0x80000008, 0).eax & 0xff);
    return with(features, bits != 0 ? std::min(bits, modern.physical_address_bits()) : modern.physical_address_bits());
}

}  // namespace

const CpuModel& common_model() {
    static const CpuModel model = make_common_model();
    return model;
}

int vector_of(const CorpusCase& each, const CorpusRun& run) {
    if (run.reason != ExitReason::halted || each.mode == CorpusMode::real) return -1;
    constexpr std::uint64_t distance = 16;
    const std::uint64_t at = run.state.rip - 1 - corpus_handlers;
    return at % distance == 0 && at / distance < 0x100 ? static_cast<int>(at / distance) : -1;
}

std::string difference_between(const CorpusCase& each, const CorpusRun& ours, const CorpusRun& judged,
                               bool resume_flag_counts) {
    if (ours.reason != judged.reason)
        return std::string(reason_name(ours.reason)) + " and " + std::string(reason_name(judged.reason));
    if (ours.reason == ExitReason::shutdown) return {};  // the state is lost on AMD's CPUs
    std::string text;
    const auto add = [&](const std::string& name, std::uint64_t first, std::uint64_t second) {
        text += (text.empty() ? "" : ", ") + name + " " + hex(first) + " and " + hex(second);
    };
    for (const machine::StateDifference& field : machine::compare_states(ours.state, judged.state, 0))
        if (!is_base_of_null(field.name, ours.state, judged.state)) add(field.name, field.first, field.second);
    const Compared compared(each, ours, resume_flag_counts);
    std::size_t shown = 0;
    for (std::uint64_t page = 0; page < corpus_memory_size; page += mmu::page_size) {
        if (std::memcmp(&ours.memory[page], &judged.memory[page], mmu::page_size) == 0) continue;
        for (std::uint64_t at = page; at < page + mmu::page_size; ++at) {
            const std::byte first = compared.part_of(at, ours.memory[at]);
            const std::byte second = compared.part_of(at, judged.memory[at]);
            if (first == second) continue;
            constexpr std::size_t most = 8;
            if (++shown > most) return text + " ...";
            add("[" + hex(at) + "]", std::to_integer<unsigned>(first), std::to_integer<unsigned>(second));
        }
    }
    return text;
}

void CorpusRunner::make_engine() {
    engine_.reset();
    if (!memory_) {
        memory_ = std::make_unique<mmu::GuestMemory>();
        host_ = memory_->add_ram({0}, corpus_memory_size, "RAM").host;
    }
    if (on_ == On::interpreter) {
        engine_ = std::make_unique<Interpreter>(*memory_, world_, common_model(), *find_timing("modern"), 0);
    } else {
        engine_ = std::make_unique<KvmEngine>(*memory_, world_, common_model(), *find_timing("modern"), 0);
    }
}

CorpusRun CorpusRunner::run(const CorpusCase& each) {
    if (!engine_) make_engine();
    CorpusRun run;
    run.memory = {host_, corpus_memory_size};
    // Only pages that differ, so that engines keep what they know of the others.
    const std::vector<std::byte>& wanted = corpus_memory(each.mode);
    for (std::uint64_t at = 0; at < corpus_memory_size; at += mmu::page_size)
        if (std::memcmp(host_ + at, &wanted[at], mmu::page_size) != 0)
            memory_->write({at}, std::span(&wanted[at], mmu::page_size));
    memory_->write({corpus_program}, each.code);
    try {
        engine_->set_state(reset_state());  // a KVM forgets what it has of the last case's page tables
        engine_->set_state(corpus_state(each));
        const std::uint64_t budget = on_ == On::kvm ? cycles_of_kvm : cycles_of_interpreter;
        run.reason = engine_->run({.until_cycles = engine_->cycles() + budget}).reason;
        run.state = engine_->state();
    } catch (const HostLimit& limit) {
        run.refusal = limit.what();
    }
    // What has broken down may not come back whole.
    if (!run.refusal.empty() || run.reason != ExitReason::halted) make_engine();
    return run;
}

}  // namespace xenolith::cpu::test
