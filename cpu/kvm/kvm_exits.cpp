// What each exit of KVM_RUN means (struct kvm_run, KVM API 5), and how its answer gets back to the guest.
//
// An MSR write whose answer is to end the run, or a hypercall that leaves it, has not happened. But KVM is in
// the middle of it and would finish it on the next entry. So it is made to finish in a way that can be
// undone: the MSR write with the #GP it would raise, which is then taken back before it is delivered; the
// hypercall with RIP elsewhere, which makes KVM drop the result.
#include <linux/kvm.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "cpu/decode/disassembler.hpp"
#include "cpu/exceptions/fault.hpp"
#include "cpu/kvm/instruction_bytes.hpp"
#include "cpu/kvm/kvm_engine.hpp"
#include "cpu/paged_memory.hpp"

namespace xenolith::cpu {

namespace {

std::string hex_text(std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte byte : bytes) {
        char two[4];
        std::snprintf(two, sizeof two, "%s%02x", text.empty() ? "" : " ", std::to_integer<unsigned>(byte));
        text += two;
    }
    return text;
}

// "long 10:101234".
std::string place_text(const CpuState& state) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*s %04x:%llx", static_cast<int>(mode_name(state.mode()).size()),
                  mode_name(state.mode()).data(), static_cast<unsigned>(state.segment(SegmentName::cs).selector),
                  static_cast<unsigned long long>(state.rip));
    return text;
}

}  // namespace

std::vector<std::byte> KvmEngine::code_at(std::uint64_t rip, std::size_t size) const {
    const CpuState& state = general();
    std::vector<std::byte> bytes(size);
    PagedMemory memory(memory_, paging_context(state, model_));
    bytes.resize(memory.read_code({state.code_linear(rip)}, bytes).size());
    return bytes;
}

std::optional<Exit> KvmEngine::handle_exit() {
    switch (run_area_->exit_reason) {
        case KVM_EXIT_IO: on_port(); return std::nullopt;
        case KVM_EXIT_MMIO: on_memory(); return std::nullopt;
        case KVM_EXIT_X86_RDMSR: return on_msr_read();
        case KVM_EXIT_X86_WRMSR: return on_msr_write();
        case KVM_EXIT_XEN: return on_xen_hypercall();
        case KVM_EXIT_HLT:
            activity_ = Activity::halted;
            step_done_ = true;
            return std::nullopt;
        case KVM_EXIT_SHUTDOWN: on_shutdown(); return std::nullopt;
        case KVM_EXIT_DEBUG: {
            // A breakpoint on an instruction comes before it.
            if (watching_) met_ = points_.met(run_area_->debug.arch.dr6);
            step_done_ = !met_ || met_->kind != DebugPoint::Kind::execute;
            debug_exit_ = true;
            return std::nullopt;
        }
        case KVM_EXIT_INTR:
        case KVM_EXIT_SET_TPR:
        case KVM_EXIT_IRQ_WINDOW_OPEN: return std::nullopt;
        case KVM_EXIT_INTERNAL_ERROR: on_internal_error();
        case KVM_EXIT_FAIL_ENTRY: {
            char text[96];
            std::snprintf(text, sizeof text, "the host's CPU refuses to enter the guest: hardware reason %#llx at ",
                          static_cast<unsigned long long>(run_area_->fail_entry.hardware_entry_failure_reason));
            throw HostLimit(HostLimit::Kind::entry, text + place_text(general()));
        }
        default:
            throw HostLimit(HostLimit::Kind::entry, "the host's KVM left the guest with exit reason " +
                                                        std::to_string(run_area_->exit_reason) + " at " +
                                                        place_text(general()));
    }
}

// --- Ports ------------------------------------------------------------------------------------------------

// KVM leaves RIP at an OUT if it has decoded it from the hardware's exit information, and has moved on
// already if it has emulated it. The bytes around RIP tell which; where both look right, having KVM finish
// the instruction does.
std::uint64_t KvmEngine::rip_of_port_write(std::uint16_t port, unsigned width) {
    const CpuState before = general();
    const auto dx = static_cast<std::uint16_t>(before.registers[rdx]);
    const bool at = begins_with_out(code_at(before.rip, longest_instruction), port, width, dx, before.in_64bit_code());
    // With less in front there is no room for an OUT, unless code wraps around, which is left alone.
    constexpr std::uint64_t look_back = 3;
    if (before.rip < look_back) return before.rip;
    const bool with_prefix = width != 1 && (width == 2) != (before.code_width() == 16);
    const unsigned length =
        length_of_out_before(code_at(before.rip - look_back, look_back), port, width, dx, with_prefix);
    if (length == 0) return before.rip;
    if (at) {
        complete();
        if (general().rip != before.rip) return before.rip;
    }
    return before.rip - length;
}

void KvmEngine::on_port() {
    const auto& io = run_area_->io;
    const std::uint16_t port = io.port;
    const unsigned width = io.size;
    const std::uint32_t count = io.count;
    std::byte* const data = run_area_.at(io.data_offset, std::uint64_t{width} * count);
    if (data == nullptr || width > sizeof(std::uint32_t))
        throw HostLimit(HostLimit::Kind::entry, "KVM_EXIT_IO: its data lies outside the shared page");
    completion_pending_ = true;
    if (io.direction == KVM_EXIT_IO_IN) {
        const Moment now = moment();
        for (std::uint32_t n = 0; n < count; ++n) {
            const std::uint32_t value = environment_.port_read(now, port, width);
            std::memcpy(data + std::size_t{n} * width, &value, width);
        }
        return;
    }
    // The values are taken first: whatever the Environment does with the state, KVM may use the page.
    std::vector<std::uint32_t> values(count);
    for (std::uint32_t n = 0; n < count; ++n) std::memcpy(&values[n], data + std::size_t{n} * width, width);
    asking_rip_ = rip_of_port_write(port, width);
    const CpuState before = state();
    CpuState after = before;
    PagedMemory memory(memory_, paging_context(before, model_));
    for (const std::uint32_t value : values) environment_.port_write(moment(), port, width, value, after, memory);
    asking_rip_.reset();
    change_state(before, after);
}

// `before` is the state the Environment was shown: its RIP may not be KVM's.
void KvmEngine::change_state(const CpuState& before, CpuState after) {
    if (before == after) return;
    const std::uint64_t kvm_rip = general().rip;
    CpuState shown = before;
    shown.rip = kvm_rip;
    if (after.rip == before.rip) after.rip = kvm_rip;
    registers_.write_changes(shown, after);
    activity_ = after.activity;
    unheld_ = after;
    general_valid_ = ready_known_ = false;
}

// --- Memory -----------------------------------------------------------------------------------------------

std::uint64_t KvmEngine::read_memory(mmu::GuestPhysical address, unsigned width) {
    const mmu::Region* const region = memory_.find(address);
    std::uint64_t value = ~std::uint64_t{0};
    if (region == nullptr) return value;
    if (region->kind == mmu::RegionKind::device) return environment_.mmio_read(moment(), address, width);
    // RAM that came to the map a moment ago.
    memory_.read(address, std::as_writable_bytes(std::span(&value, 1)).first(width));
    return value;
}

void KvmEngine::write_memory(mmu::GuestPhysical address, unsigned width, std::uint64_t value) {
    const mmu::Region* const region = memory_.find(address);
    if (region == nullptr || region->kind == mmu::RegionKind::rom) return;
    if (region->kind == mmu::RegionKind::device) {
        environment_.mmio_write(moment(), address, width, value);
        return;
    }
    memory_.write(address, std::as_bytes(std::span(&value, 1)).first(width));
}

void KvmEngine::on_memory() {
    const mmu::GuestPhysical address{run_area_->mmio.phys_addr};
    const unsigned size = std::min<std::uint32_t>(run_area_->mmio.len, sizeof(run_area_->mmio.data));
    const bool is_write = run_area_->mmio.is_write != 0;
    completion_pending_ = true;
    std::array<std::byte, 8> bytes{};
    if (is_write) std::memcpy(bytes.data(), run_area_->mmio.data, bytes.size());
    // What is no plain access goes byte by byte: one that KVM has cut at the end of a page.
    const bool plain =
        (size == 1 || size == 2 || size == 4 || size == 8) && address.page_offset() + size <= mmu::page_size;
    const unsigned width = plain ? size : 1;
    for (unsigned done = 0; done < size; done += width) {
        std::uint64_t value = 0;
        if (is_write) {
            std::memcpy(&value, bytes.data() + done, width);
            write_memory(address + done, width, value);
        } else {
            value = read_memory(address + done, width);
            std::memcpy(bytes.data() + done, &value, width);
        }
    }
    if (!is_write) std::memcpy(run_area_->mmio.data, bytes.data(), bytes.size());
}

// --- Model-specific registers -----------------------------------------------------------------------------

// No CPU implements what is kept for hypervisors (SDM vol. 4, 2.1), though KVM's Hyper-V part answers some of
// it. What KVM lets be read only is none that a WRMSR would reach. (The TSC is not to be written for a try.)
bool KvmEngine::kvm_has_msr(std::uint32_t index, bool for_write) const {
    constexpr std::uint32_t first_synthetic = 0x40000000, end_of_synthetic = 0x50000000;
    if (index >= first_synthetic && index < end_of_synthetic) return false;
    std::uint64_t value = 0;
    if (!registers_.read_msr(index, value)) return false;
    return !for_write || index == msr::tsc || registers_.write_msr(index, value);
}

std::optional<Exit> KvmEngine::on_msr_read() {
    const std::uint32_t index = run_area_->msr.index;
    const bool implemented = kvm_has_msr(index, false), by_filter = run_area_->msr.reason == KVM_MSR_EXIT_REASON_FILTER;
    const MsrOutcome outcome = environment_.msr_read(moment(), index, implemented);
    std::uint64_t value = outcome.value;
    completion_pending_ = true;
    switch (outcome.kind) {
        case MsrOutcome::Kind::stop: return leave_msr(outcome.error_number);
        case MsrOutcome::Kind::done: step_faulted_ = false; break;
        case MsrOutcome::Kind::general_protection: step_faulted_ = true; break;
        case MsrOutcome::Kind::not_claimed:
            // KVM has refused it already, or the filter kept it from being asked.
            step_faulted_ = !(by_filter && implemented && registers_.read_msr(index, value));
            break;
    }
    run_area_->msr.error = step_faulted_ ? 1 : 0;
    run_area_->msr.data = value;
    return std::nullopt;
}

std::optional<Exit> KvmEngine::on_msr_write() {
    const std::uint32_t index = run_area_->msr.index;
    const std::uint64_t value = run_area_->msr.data;
    if (route_ == KvmRoute::ioctl && index == trap_.msr && run_area_->msr.reason == KVM_MSR_EXIT_REASON_INVAL)
        return let_kvm_answer_trap();
    const bool implemented = kvm_has_msr(index, true), by_filter = run_area_->msr.reason == KVM_MSR_EXIT_REASON_FILTER;
    const std::uint64_t rip = general().rip;
    const std::vector<std::byte> code = code_at(rip, longest_instruction);
    const MsrOutcome outcome = environment_.msr_write(moment(), index, value, implemented, state());
    completion_pending_ = true;
    switch (outcome.kind) {
        case MsrOutcome::Kind::stop: return leave_msr(outcome.error_number);
        case MsrOutcome::Kind::done:
            step_faulted_ = false;
            if (const std::size_t length = length_of_wrmsr(code, general().in_64bit_code());
                length != 0 && code_at(rip, longest_instruction) != code)
                return step_over_msr(rip + length);
            break;
        case MsrOutcome::Kind::general_protection: step_faulted_ = true; break;
        case MsrOutcome::Kind::not_claimed:
            step_faulted_ = !(by_filter && implemented && registers_.write_msr(index, value));
            break;
    }
    run_area_->msr.error = step_faulted_ ? 1 : 0;
    return std::nullopt;
}

// The write has put other bytes where it stands itself, or close behind. A KVM whose CPU does not report the next RIP
// would decode them to find the end of the WRMSR. So KVM gives it up, and the end is set by hand.
std::optional<Exit> KvmEngine::step_over_msr(std::uint64_t next_rip) {
    const auto exit = give_up_msr();
    registers_.set_rip(general().in_64bit_code() ? next_rip : next_rip & 0xffffffff);
    general_valid_ = false;
    step_done_ = true;
    return exit;
}

// Back to the start of the instruction.
std::optional<Exit> KvmEngine::give_up_msr() {
    run_area_->msr.error = 1;
    const auto exit = complete();
    registers_.forget_exception();
    general_valid_ = ready_known_ = false;
    return exit;
}

// The write that KVM_XEN_HVM_CONFIG traps was refused. Why is not in the exit, and a blob that cannot be read is no
// fault of the guest's: KVM answers the same instruction once more, and without asking.
std::optional<Exit> KvmEngine::let_kvm_answer_trap() {
    completion_pending_ = true;
    const auto exit = give_up_msr();
    ask_for_msr_exits(false);
    kvm_answers_trap_ = true;
    return exit;
}

Exit KvmEngine::leave_msr(int error_number) { return give_up_msr().value_or(Exit{ExitReason::failed, error_number}); }

// --- Shutdown ---------------------------------------------------------------------------------------------

// A triple fault is the guest's, unless it comes of the host's KVM refusing what the guest did: to turn
// paging on outside long mode, by MOV CR0 (0f 22 /0).
void KvmEngine::on_shutdown() {
    const CpuState& state = general();
    const std::vector<std::byte> code = code_at(state.rip, 3);
    const bool writes_cr0 = byte_of(code, 0) == 0x0f && byte_of(code, 1) == 0x22 && (byte_of(code, 2) & 0x38) == 0;
    const bool turns_paging_on = !state.paging() && writes_cr0 && (state.msr.efer & efer::lme) == 0 &&
                                 (state.registers[byte_of(code, 2) & 7] & cr0::pg) != 0;
    if ((turns_paging_on || (state.paging() && !state.in_long_mode())) && !can_page_outside_long_mode())
        throw HostLimit(HostLimit::Kind::instruction,
                        "the host's KVM cannot run a guest with paging outside long mode, which is on or goes on at " +
                            place_text(state),
                        code);
    activity_ = Activity::shutdown;
}

// --- Hypercalls (KVM_EXIT_XEN) ----------------------------------------------------------------------------

std::optional<Exit> KvmEngine::on_xen_hypercall() {
    completion_pending_ = true;
    if (run_area_->xen.type != KVM_EXIT_XEN_HCALL) {
        run_area_->xen.u.hcall.result = 0;
        return std::nullopt;
    }
    constexpr unsigned vmmcall_last_byte = 0xd9;  // 0f 01 d9, where VMCALL is 0f 01 c1
    const CpuState before = state();
    const auto instruction = byte_of(code_at(before.rip, 3), 2) == vmmcall_last_byte ? HypercallInstruction::vmmcall
                                                                                     : HypercallInstruction::vmcall;
    PagedMemory memory(memory_, paging_context(before, model_));
    const HypercallOutcome outcome = environment_.hypercall(moment(), instruction, before, memory);
    switch (outcome.kind) {
        case HypercallOutcome::Kind::done: run_area_->xen.u.hcall.result = outcome.result; return std::nullopt;
        case HypercallOutcome::Kind::leave: return leave_hypercall();
        case HypercallOutcome::Kind::undefined_opcode:
            leave_hypercall();
            registers_.queue_exception(static_cast<std::uint8_t>(Vector::invalid_opcode));
            ready_known_ = false;
            return std::nullopt;
    }
    return std::nullopt;
}

Exit KvmEngine::leave_hypercall() {
    const std::uint64_t rip = general().rip;
    registers_.set_rip(rip ^ 1);
    const auto other = complete();
    registers_.set_rip(rip);
    general_valid_ = ready_known_ = false;
    return other.value_or(Exit{ExitReason::hypercall});
}

// --- What KVM cannot do -----------------------------------------------------------------------------------

void KvmEngine::on_internal_error() {
    const auto& error = run_area_->emulation_failure;
    const CpuState state = general();
    const std::string where = " at " + place_text(state);
    switch (error.suberror) {
        case KVM_INTERNAL_ERROR_EMULATION: {
            std::vector<std::byte> bytes = code_at(state.rip, longest_instruction);
            // KVM's own copy of the bytes is what it has looked at.
            if (error.ndata >= 3 && (error.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) != 0) {
                const std::size_t size = std::min<std::size_t>(error.insn_size, sizeof(error.insn_bytes));
                if (size != 0) {
                    bytes.resize(size);
                    std::memcpy(bytes.data(), error.insn_bytes, size);
                }
            }
            const Disassembled line = disassemble(bytes, state.code_width(), state.rip);
            const std::size_t length = std::min<std::size_t>(line.length, bytes.size());
            throw HostLimit(HostLimit::Kind::instruction,
                            "the host's KVM cannot execute '" + line.text + "' (" +
                                hex_text(std::span(bytes).first(length)) + ")" + where,
                            bytes);
        }
        case KVM_INTERNAL_ERROR_SIMUL_EX:
            throw HostLimit(HostLimit::Kind::entry, "the host's KVM met two exceptions at once" + where);
        case KVM_INTERNAL_ERROR_DELIVERY_EV:
            throw HostLimit(HostLimit::Kind::entry, "the host's KVM cannot deliver an event" + where);
        default:
            throw HostLimit(HostLimit::Kind::entry,
                            "the host's KVM gives up with internal error " + std::to_string(error.suberror) + where);
    }
}

// KVM_RUN itself failed. With the ioctl route EFAULT at the trap's WRMSR is the blob that could not be read.
Exit KvmEngine::fail_run(int error) {
    const CpuState& state = general();
    const std::vector<std::byte> code = code_at(state.rip, 2);
    const bool at_wrmsr = byte_of(code, 0) == 0x0f && byte_of(code, 1) == 0x30;
    if (route_ == KvmRoute::ioctl && at_wrmsr && static_cast<std::uint32_t>(state.registers[rcx]) == trap_.msr)
        return {ExitReason::failed, error};
    throw HostLimit(HostLimit::Kind::entry, failure_text("KVM_RUN", error) + ", at " + place_text(state));
}

}  // namespace xenolith::cpu
