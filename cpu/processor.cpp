// The slow side of memory access, and everything a Processor derives from its state.
//
// An access first passes its segment's window, then the TLB's fast tag. Whatever does not pass comes here: segments
// that are not plain, page crossings, TLB misses, device memory, pages that hold code, and alignment checking, which
// is rare enough that it is done by closing the windows of every segment.
#include "cpu/processor.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>

namespace xenolith::cpu {

namespace {

// Where current_ points between instructions: nothing before it, no length.
constexpr Instruction nowhere{};

constexpr std::uint64_t canonical_half = std::uint64_t{1} << 47;

unsigned tlb_of(mmu::Privilege privilege) {
    switch (privilege) {
        case mmu::Privilege::supervisor_ac: return 1;
        case mmu::Privilege::user: return 2;
        default: return 0;
    }
}

}  // namespace

Processor::Processor(mmu::GuestMemory& guest_memory, Environment& world, const CpuModel& cpu_model, const Timing& costs,
                     unsigned vcpu_index)
    : memory(guest_memory), environment(world), model(cpu_model), timing(costs), vcpu(vcpu_index), current_(&nowhere) {
    load_state(reset_state());
}

void Processor::load_state(const CpuState& from) {
    state = from;
    state.registers[CpuState::zero_slot] = 0;
    state.registers[CpuState::rip_slot] = state.rip;
    flags.set_bits(state.rflags);
    stand_between_instructions();
    hits_ = {};
    between_iterations_ = false;
    elements_left_ = 0;
    breakpoints_.follow(state);
    flush_translations();
    mode_changed();
    request_attention();
}

void Processor::stand_between_instructions() {
    current_ = &nowhere;
    state.registers[CpuState::rip_slot] = state.rip;
}

CpuState Processor::save_state() const {
    CpuState copy = state;
    copy.rflags = rflags_value();
    copy.registers[CpuState::rip_slot] = 0;
    return copy;
}

void Processor::set_rflags_value(std::uint64_t value) {
    const std::uint64_t old = state.rflags;
    state.rflags = (value & rflags::implemented) | rflags::fixed_one;
    flags.set_bits(value);
    const std::uint64_t changed = old ^ state.rflags;
    if ((changed & state.rflags & (rflags::if_ | rflags::tf | rflags::rf)) != 0) request_attention();
    if ((changed & (rflags::vm | rflags::ac)) != 0) mode_changed();
}

Moment Processor::moment() const {
    return {.cycles = now(),
            .instructions = instruction_count(),
            .vcpu = vcpu,
            .mode = state.mode(),
            .cs = state.segment(SegmentName::cs).selector,
            .rip = instruction_rip(),
            .cpl = cpl_};
}

// --- What is derived from state ----------------------------------------------------------------------------------

void Processor::mode_changed() {
    cpl_ = state.cpl();
    code64_ = state.in_64bit_code();
    linear_mask_ = code64_ ? ~std::uint64_t{0} : 0xffffffff;
    code_key_ = (code_key_ & ~std::uint64_t{0xff}) | static_cast<std::uint64_t>(decode_mode(state)) << 1 |
                (cpl_ == 3 ? 1u : 0u);
    const SegmentRegister& code = state.segment(SegmentName::cs);
    code_bias_ = code64_ ? canonical_half : 0;
    code_span_ = code64_ ? 2 * canonical_half : std::uint64_t{code.limit} + 1;
    fetch_page_ = 1;
    // SDM vol. 3A, 4.6: what SMAP does to a supervisor access depends on RFLAGS.AC.
    if (cpl_ == 3) {
        privilege_ = mmu::Privilege::user;
    } else if ((state.cr4 & cr4::smap) != 0 && (state.rflags & rflags::ac) != 0) {
        privilege_ = mmu::Privilege::supervisor_ac;
    } else {
        privilege_ = mmu::Privilege::supervisor;
    }
    data_tlb_ = &data_tlbs_[tlb_of(privilege_)];
    checks_alignment_ = cpl_ == 3 && (state.cr0 & cr0::am) != 0 && (state.rflags & rflags::ac) != 0;
    for (unsigned n = 0; n < 6; ++n) update_window(static_cast<SegmentName>(n));
    update_stack();
}

void Processor::update_window(SegmentName name) {
    Window& window = windows_[static_cast<unsigned>(name)];
    const SegmentRegister& segment = state.segment(name);
    if (code64_) {
        const bool has_base = name == SegmentName::fs || name == SegmentName::gs;
        window = {has_base ? segment.base : 0, ~std::uint64_t{0}, ~std::uint64_t{0}};
    } else {
        const std::uint64_t end = std::uint64_t{segment.limit} + 1;
        const SegmentAttributes attributes = segment.attributes;
        window = {segment.base, 0, 0};
        const bool plain =
            !attributes.unusable() && attributes.present() && !(attributes.is_data() && attributes.expand_down());
        if (plain && state.in_real_mode()) {
            window.read_end = window.write_end = end;
        } else if (plain && attributes.is_data()) {
            window.read_end = end;
            if (attributes.data_writable()) window.write_end = end;
        } else if (plain && attributes.is_code() && attributes.code_readable()) {
            window.read_end = end;
        }
    }
    if (checks_alignment_) window.read_end = window.write_end = 0;
    if (name == SegmentName::cs && !code64_) code_span_ = std::uint64_t{segment.limit} + 1;
}

void Processor::update_stack() {
    if (code64_) {
        stack_mask_ = ~std::uint64_t{0};
    } else {
        stack_mask_ = state.segment(SegmentName::ss).attributes.default_big() ? 0xffffffff : 0xffff;
    }
}

// --- Segments (SDM vol. 3A, 5.3 to 5.5) --------------------------------------------------------------------------

namespace {

// What #AC asks for (SDM vol. 3A, table 6-7): 80-bit operands by eight, x87 environments and states by their words.
// Operands of 16 and 32 bytes are not checked on Intel (SDM vol. 2A, 2.4), and by sixteen on AMD.
unsigned checked_alignment(unsigned size, Vendor vendor) {
    switch (size) {
        case 2:
        case 4:
        case 8: return size;
        case 10: return 8;
        case 14:
        case 94: return 2;
        case 28:
        case 108: return 4;
        case 16:
        case 32: return vendor == Vendor::amd ? 16 : 1;
        default: return 1;
    }
}

}  // namespace

void Processor::check_segment(SegmentName name, std::uint64_t offset, unsigned size, mmu::Access access) {
    const SegmentRegister& segment = state.segment(name);
    const SegmentAttributes attributes = segment.attributes;
    if (!code64_) {
        const auto refuse = [&] {
            raise(name == SegmentName::ss ? Vector::stack_fault : Vector::general_protection, 0);
        };
        // A null selector gives #GP(0), and SS cannot hold one outside 64-bit mode.
        if (attributes.unusable() || !attributes.present()) refuse();
        if (!state.in_real_mode()) {
            if (access == mmu::Access::write && !(attributes.is_data() && attributes.data_writable()))
                raise(Vector::general_protection, 0);
            if (access == mmu::Access::read && attributes.is_code() && !attributes.code_readable())
                raise(Vector::general_protection, 0);
        }
        const std::uint64_t last = offset + size - 1;
        if (attributes.is_data() && attributes.expand_down()) {
            const std::uint64_t top = attributes.default_big() ? 0xffffffff : 0xffff;
            if (offset <= segment.limit || last > top) refuse();
        } else if (last > segment.limit) {
            refuse();
        }
    }
    if (checks_alignment_ && size > 1) {
        // An address that is not canonical has a fault of its own, which comes first.
        const std::uint64_t linear = windows_[static_cast<unsigned>(name)].base + offset;
        if ((linear & (checked_alignment(size, model.vendor()) - 1)) != 0 &&
            (!code64_ || mmu::GuestLinear{linear}.is_canonical()))
            raise(Vector::alignment_check, 0);
    }
}

// --- Translation -------------------------------------------------------------------------------------------------

mmu::PagingContext Processor::paging_context() const {
    return {.cr0 = state.cr0,
            .cr3 = state.cr3,
            .cr4 = state.cr4,
            .efer = state.msr.efer,
            .pdpte = state.pdpte,
            .physical_address_bits = model.physical_address_bits(),
            .gigabyte_pages = model.has(Feature::page1gb),
            .pse36 = model.has(Feature::pse36)};
}

void Processor::require_canonical(mmu::GuestLinear address, SegmentName segment) {
    if (state.in_long_mode() && !address.is_canonical())
        raise(segment == SegmentName::ss ? Vector::stack_fault : Vector::general_protection, 0);
}

// An operand that runs out of the canonical addresses has their fault even if its first page has one, too. The images
// that are read and written in pieces have the fault of the first piece.
void Processor::require_canonical_end(std::uint64_t linear, unsigned size, SegmentName segment) {
    constexpr unsigned widest_operand = 32;
    if (size <= widest_operand && std::has_single_bit(size))
        require_canonical({(linear + size - 1) & mask_for(linear)}, segment);
}

mmu::TlbEntry& Processor::translate(std::uint64_t linear, mmu::Access access, SegmentName segment, mmu::Tlb& tlb,
                                    mmu::Privilege privilege) {
    const mmu::GuestLinear address{linear};
    mmu::TlbEntry* entry = tlb.find(address, access);
    if (entry == nullptr) {
        require_canonical(address, segment);
        const auto walked = mmu::walk(memory, paging_context(), address, access, privilege);
        if (const auto* fault = std::get_if<mmu::PageFaultInformation>(&walked)) {
            forget_page(address);
            raise_page_fault(linear, fault->error_code);
        }
        const auto& translation = std::get<mmu::Translation>(walked);
        charge(std::uint64_t{translation.entries_read} * timing.page_walk_entry);
        entry = &tlb.insert(address, translation, access);
    }
    // Open the fast path as far as the page allows it. A page that holds code stays closed for writing, so that every
    // store to it comes by store_slow; asking for a writable pointer marks the page dirty, so only a write asks.
    // So does one with data that is watched, for what is watched.
    if (!entry->reads_fast() && access != mmu::Access::execute && entry->allows(mmu::Access::read) &&
        !breakpoints_.watch_page(linear, mmu::Access::read))
        if (const std::byte* const host_page = memory.readable(entry->physical())) entry->open_reading(host_page);
    if (!entry->writes_fast() && access == mmu::Access::write && !breakpoints_.watch_page(linear, mmu::Access::write))
        if (const std::byte* const host_page = memory.writable(entry->physical())) entry->open_writing(host_page);
    return *entry;
}

mmu::GuestPhysical Processor::translate_fetch(std::uint64_t linear) {
    const mmu::Privilege privilege = cpl_ == 3 ? mmu::Privilege::user : mmu::Privilege::supervisor;
    mmu::Tlb& tlb = fetch_tlbs_[cpl_ == 3 ? 1 : 0];
    return translate(linear, mmu::Access::execute, SegmentName::cs, tlb, privilege).physical() +
           mmu::GuestLinear{linear}.page_offset();
}

void Processor::flush_translations() {
    for (mmu::Tlb& tlb : data_tlbs_) tlb.flush();
    for (mmu::Tlb& tlb : fetch_tlbs_) tlb.flush();
    translations_changed();
}

void Processor::flush_translations_except_global() {
    for (mmu::Tlb& tlb : data_tlbs_) tlb.flush_except_global();
    for (mmu::Tlb& tlb : fetch_tlbs_) tlb.flush_except_global();
    translations_changed();
}

void Processor::flush_translation(mmu::GuestLinear linear) {
    forget_page(linear);
    translations_changed();
}

// SDM vol. 3A, 4.10.4.1: a page fault, too, drops what is known of its address.
void Processor::forget_page(mmu::GuestLinear linear) {
    for (mmu::Tlb& tlb : data_tlbs_) tlb.flush_page(linear);
    for (mmu::Tlb& tlb : fetch_tlbs_) tlb.flush_page(linear);
    fetch_page_ = 1;
}

std::vector<mmu::Tlb::State> Processor::save_translations() const {
    std::vector<mmu::Tlb::State> states;
    for (const mmu::Tlb& tlb : data_tlbs_) states.push_back(tlb.save());
    for (const mmu::Tlb& tlb : fetch_tlbs_) states.push_back(tlb.save());
    return states;
}

void Processor::restore_translations(const std::vector<mmu::Tlb::State>& states) {
    if (states.size() != data_tlbs_.size() + fetch_tlbs_.size())
        throw std::invalid_argument("TLB: another number of them");
    std::size_t next = 0;
    for (mmu::Tlb& tlb : data_tlbs_) tlb.restore(states[next++]);
    for (mmu::Tlb& tlb : fetch_tlbs_) tlb.restore(states[next++]);
    translations_changed();
}

void Processor::forget_writable(mmu::GuestPhysical page) {
    for (mmu::Tlb& tlb : data_tlbs_) tlb.forget_writable(page);
}

void Processor::forget_fast_paths() {
    for (mmu::Tlb& tlb : data_tlbs_) tlb.forget_all_fast_paths();
    translations_changed();
}

// --- The slow way to memory --------------------------------------------------------------------------------------

std::uint64_t Processor::read_physical(mmu::GuestPhysical address, unsigned size) {
    std::uint64_t value = 0;
    const mmu::Region* const region = memory.find(address);
    if (region == nullptr) return size == 8 ? ~value : (std::uint64_t{1} << size * 8) - 1;
    if (region->kind == mmu::RegionKind::device) {
        charge(timing.plain_trap().total());
        return environment.mmio_read(moment(), address, size);
    }
    std::memcpy(&value, region->host + (address - region->start), size);
    return value;
}

void Processor::write_physical(mmu::GuestPhysical address, std::uint64_t value, unsigned size) {
    const mmu::Region* const region = memory.find(address);
    if (region == nullptr || region->kind == mmu::RegionKind::rom) return;
    if (region->kind == mmu::RegionKind::device) {
        charge(timing.plain_trap().total());
        environment.mmio_write(moment(), address, size, value);
        return;
    }
    memory.write(address, std::as_bytes(std::span(&value, 1)).first(size));
}

std::uint64_t Processor::load_slow(std::uint64_t linear, unsigned size, SegmentName segment, mmu::Tlb& tlb,
                                   mmu::Privilege privilege) {
    const std::uint64_t in_page = mmu::page_size - mmu::GuestLinear{linear}.page_offset();
    watch_data(linear, size, mmu::Access::read);
    if (size <= in_page) {
        const mmu::TlbEntry& entry = translate(linear, mmu::Access::read, segment, tlb, privilege);
        return read_physical(entry.physical() + mmu::GuestLinear{linear}.page_offset(), size);
    }
    // Both pages are translated before either is read: a device must not see half an access that faults.
    const unsigned first = static_cast<unsigned>(in_page);
    const std::uint64_t second_linear = (linear + first) & mask_for(linear);
    require_canonical_end(linear, size, segment);
    const mmu::GuestPhysical low = translate(linear, mmu::Access::read, segment, tlb, privilege).physical() +
                                   mmu::GuestLinear{linear}.page_offset();
    const mmu::GuestPhysical high = translate(second_linear, mmu::Access::read, segment, tlb, privilege).physical();
    std::uint64_t value = 0;
    for (unsigned n = 0; n < size; ++n) value |= read_physical(n < first ? low + n : high + (n - first), 1) << n * 8;
    return value;
}

void Processor::store_slow(std::uint64_t linear, std::uint64_t value, unsigned size, SegmentName segment, mmu::Tlb& tlb,
                           mmu::Privilege privilege) {
    const std::uint64_t in_page = mmu::page_size - mmu::GuestLinear{linear}.page_offset();
    watch_data(linear, size, mmu::Access::write);
    if (size <= in_page) {
        const mmu::TlbEntry& entry = translate(linear, mmu::Access::write, segment, tlb, privilege);
        write_physical(entry.physical() + mmu::GuestLinear{linear}.page_offset(), value, size);
        return;
    }
    const unsigned first = static_cast<unsigned>(in_page);
    const std::uint64_t second_linear = (linear + first) & mask_for(linear);
    require_canonical_end(linear, size, segment);
    const mmu::GuestPhysical low = translate(linear, mmu::Access::write, segment, tlb, privilege).physical() +
                                   mmu::GuestLinear{linear}.page_offset();
    const mmu::GuestPhysical high = translate(second_linear, mmu::Access::write, segment, tlb, privilege).physical();
    for (unsigned n = 0; n < size; ++n)
        write_physical(n < first ? low + n : high + (n - first), value >> n * 8 & 0xff, 1);
}

std::uint64_t Processor::load_checked(SegmentName segment, std::uint64_t offset, unsigned size) {
    return load_slow(linear_for_read(segment, offset, size), size, segment, *data_tlb_, privilege_);
}

void Processor::store_checked(SegmentName segment, std::uint64_t offset, std::uint64_t value, unsigned size) {
    store_slow(linear_for_write(segment, offset, size), value, size, segment, *data_tlb_, privilege_);
}

std::uint64_t Processor::begin_modify_checked(SegmentName segment, std::uint64_t offset, unsigned size) {
    const std::uint64_t linear = linear_for_write(segment, offset, size);
    modified_ = nullptr;
    modified_linear_ = linear;
    const std::uint64_t in_page = mmu::page_size - mmu::GuestLinear{linear}.page_offset();
    if (size > in_page) require_canonical_end(linear, size, segment);
    mmu::TlbEntry& entry = translate(linear, mmu::Access::write, segment, *data_tlb_, privilege_);
    if (size > in_page)
        translate((linear + in_page) & linear_mask_, mmu::Access::write, segment, *data_tlb_, privilege_);
    else if (entry.writes_fast())
        modified_ = host(entry, linear);
    // Write permission includes read permission, and the entries just used are still there.
    return load_slow(linear, size, segment, *data_tlb_, privilege_);
}

void Processor::end_modify_slow(std::uint64_t value, unsigned size) {
    store_slow(modified_linear_, value, size, SegmentName::ds, *data_tlb_, privilege_);
}

void Processor::load_bytes(SegmentName segment, std::uint64_t offset, void* to, unsigned size) {
    const std::uint64_t linear = linear_for_read(segment, offset, size);
    require_canonical_end(linear, size, segment);
    watch_data(linear, size, mmu::Access::read);
    auto* bytes = static_cast<std::byte*>(to);
    for (unsigned done = 0; done < size;) {
        const mmu::GuestLinear at{(linear + done) & linear_mask_};
        const unsigned count =
            static_cast<unsigned>(std::min<std::uint64_t>(size - done, mmu::page_size - at.page_offset()));
        const mmu::TlbEntry& entry = translate(at.value, mmu::Access::read, segment, *data_tlb_, privilege_);
        if (const std::byte* const page = memory.readable(entry.physical())) {
            std::memcpy(bytes + done, page + at.page_offset(), count);
        } else {
            for (unsigned n = 0; n < count; ++n)
                bytes[done + n] = static_cast<std::byte>(read_physical(entry.physical() + at.page_offset() + n, 1));
        }
        done += count;
    }
}

// With alignment checks on it is still #GP and not #AC. An address that is not canonical comes before it, the end of a
// segment does not.
void Processor::require_aligned(SegmentName segment, std::uint64_t offset, unsigned size, mmu::Access access) {
    const std::uint64_t linear = (windows_[static_cast<unsigned>(segment)].base + offset) & linear_mask_;
    if ((linear & (size - 1)) == 0) return;
    if (code64_ && !checks_alignment_) check_segment(segment, offset, size, access);
    raise(Vector::general_protection, 0);
}

void Processor::load_vector_checked(SegmentName segment, std::uint64_t offset, void* to, unsigned size,
                                    bool must_be_aligned) {
    if (must_be_aligned) require_aligned(segment, offset, size, mmu::Access::read);
    load_bytes(segment, offset, to, size);
}

void Processor::store_vector_checked(SegmentName segment, std::uint64_t offset, const void* from, unsigned size,
                                     bool must_be_aligned) {
    if (must_be_aligned) require_aligned(segment, offset, size, mmu::Access::write);
    store_bytes(segment, offset, from, size);
}

void Processor::probe_write(SegmentName segment, std::uint64_t offset, unsigned size) {
    const std::uint64_t linear = linear_for_write(segment, offset, size);
    const std::uint64_t last = (linear + size - 1) & linear_mask_;
    require_canonical_end(linear, size, segment);
    translate(linear, mmu::Access::write, segment, *data_tlb_, privilege_);
    if (mmu::GuestLinear{linear}.page() != mmu::GuestLinear{last}.page())
        translate(last & ~mmu::page_mask, mmu::Access::write, segment, *data_tlb_, privilege_);
}

void Processor::store_bytes(SegmentName segment, std::uint64_t offset, const void* from, unsigned size) {
    probe_write(segment, offset, size);
    const std::uint64_t linear = linear_for_write(segment, offset, size);
    watch_data(linear, size, mmu::Access::write);
    const auto* bytes = static_cast<const std::byte*>(from);
    for (unsigned done = 0; done < size;) {
        const mmu::GuestLinear at{(linear + done) & linear_mask_};
        const unsigned count =
            static_cast<unsigned>(std::min<std::uint64_t>(size - done, mmu::page_size - at.page_offset()));
        const mmu::GuestPhysical physical =
            translate(at.value, mmu::Access::write, segment, *data_tlb_, privilege_).physical() + at.page_offset();
        if (!memory.write(physical, {bytes + done, count})) {
            for (unsigned n = 0; n < count; ++n)
                write_physical(physical + n, std::to_integer<std::uint64_t>(bytes[done + n]), 1);
        }
        done += count;
    }
}

void Processor::probe_system_write(std::uint64_t linear, unsigned size) {
    const std::uint64_t first = linear & system_mask(), last = (linear + size - 1) & system_mask();
    translate(first, mmu::Access::write, SegmentName::ds, data_tlbs_[0], mmu::Privilege::implicit_supervisor);
    if (mmu::GuestLinear{first}.page() != mmu::GuestLinear{last}.page())
        translate(last & ~mmu::page_mask, mmu::Access::write, SegmentName::ds, data_tlbs_[0],
                  mmu::Privilege::implicit_supervisor);
}

bool Processor::read_linear(mmu::GuestLinear address, std::span<std::byte> to) {
    for (std::size_t done = 0; done < to.size();) {
        const mmu::GuestLinear at = address + done;
        const std::size_t count = std::min<std::size_t>(to.size() - done, mmu::page_size - at.page_offset());
        mmu::GuestPhysical physical;
        if (!mmu::translate_quietly(memory, paging_context(), at, physical)) return false;
        if (!memory.read(physical, to.subspan(done, count))) return false;
        done += count;
    }
    return true;
}

bool Processor::write_linear(mmu::GuestLinear address, std::span<const std::byte> from) {
    const auto each_page = [&](auto&& visit) {
        for (std::size_t done = 0; done < from.size();) {
            const mmu::GuestLinear at = address + done;
            const std::size_t count = std::min<std::size_t>(from.size() - done, mmu::page_size - at.page_offset());
            // A hypervisor's copy to the guest obeys the guest's page tables: a read-only page is not written.
            const auto walked =
                mmu::walk(memory, paging_context(), at, mmu::Access::write, mmu::Privilege::supervisor_ac);
            const auto* translation = std::get_if<mmu::Translation>(&walked);
            if (translation == nullptr || !visit(translation->physical, done, count)) return false;
            done += count;
        }
        return true;
    };
    return each_page([&](mmu::GuestPhysical at, std::size_t, std::size_t count) { return memory.is_ram(at, count); }) &&
           each_page([&](mmu::GuestPhysical at, std::size_t done, std::size_t count) {
               return memory.write(at, from.subspan(done, count));
           });
}

// --- Faults ------------------------------------------------------------------------------------------------------

void Processor::raise(Vector vector) { throw Fault{vector, std::nullopt}; }

void Processor::raise(Vector vector, std::uint32_t error_code) { throw Fault{vector, error_code}; }

void Processor::raise_page_fault(std::uint64_t linear, std::uint32_t error_code) {
    throw Fault{Vector::page_fault, error_code, linear};
}

void Processor::leave(Leave why) { throw why; }

}  // namespace xenolith::cpu
