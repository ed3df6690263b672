// The fields of every structure that a snapshot holds, each list beside a check that it is complete. Who adds a field
// to one of them adds it here, and raises the format's version (machine/snapshot.hpp).
#pragma once

#include "machine/machine_state.hpp"
#include "machine/state_codec.hpp"

namespace xenolith::cpu {

template <class Archive, machine::Of<X87Register> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<X87Register>() == 2);
    archive(s.significand, s.sign_exponent);
}

template <class Archive, machine::Of<FloatingPointState> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<FloatingPointState>() == 11);
    archive(s.registers, s.control, s.status, s.tag, s.opcode, s.instruction_pointer, s.instruction_selector,
            s.data_pointer, s.data_selector, s.mxcsr, s.vector);
}

template <class Archive, machine::Of<ModelSpecificRegisters> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<ModelSpecificRegisters>() == 22);
    archive(s.efer, s.star, s.lstar, s.cstar, s.sfmask, s.kernel_gs_base, s.sysenter_cs, s.sysenter_esp, s.sysenter_eip,
            s.tsc_offset, s.tsc_adjust, s.tsc_aux, s.apic_base, s.pat, s.misc_enable, s.mtrr_def_type, s.mtrr_variable,
            s.mtrr_fixed, s.bios_sign_id, s.debugctl, s.mcg_status, s.xss);
}

template <class Archive, machine::Of<SegmentRegister> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<SegmentRegister>() == 4);
    archive(s.selector, s.base, s.limit, s.attributes.bits);
}

template <class Archive, machine::Of<DescriptorTable> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<DescriptorTable>() == 2);
    archive(s.base, s.limit);
}

template <class Archive, machine::Of<CpuState> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<CpuState>() == 26);
    archive(s.registers, s.rip, s.rflags, s.segments, s.ldtr, s.tr, s.gdtr, s.idtr, s.cr0, s.cr2, s.cr3, s.cr4, s.cr8,
            s.xcr0, s.pdpte, s.debug_address, s.dr6, s.dr7, s.msr, s.floating_point, s.activity, s.interrupt_shadow,
            s.debug_shadow, s.pending_debug, s.nmi_blocked, s.nmi_pending);
}

template <class Archive, machine::Of<EngineMemory> T>
void list_fields(Archive& archive, T& s) {
    archive(s.cycles, s.instructions, s.translations, s.fetch_page);
}

}  // namespace xenolith::cpu

namespace xenolith::mmu {

template <class Archive, machine::Of<Tlb::State::Entry> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<Tlb::State::Entry>() == 3);
    archive(s.place, s.page, s.word);
}

template <class Archive, machine::Of<Tlb::State> T>
void list_fields(Archive& archive, T& s) {
    archive(s.entries, s.next_victim);
}

}  // namespace xenolith::mmu

namespace xenolith::xen {

template <class Archive, machine::Of<HvmConfig> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<HvmConfig>() == 7);
    archive(s.flags, s.msr, s.blob_addr_32, s.blob_addr_64, s.blob_size_32, s.blob_size_64, s.pad2);
}

}  // namespace xenolith::xen

namespace xenolith::devices {

template <class Archive, machine::Of<Pic8259ChipState> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<Pic8259ChipState>() == 19);
    archive(s.lines, s.interrupt_request, s.in_service, s.interrupt_mask, s.level_triggered, s.vector_base, s.cascade,
            s.lowest_priority, s.expected_word, s.initialized, s.all_level_triggered, s.single, s.needs_word4,
            s.automatic_end, s.special_fully_nested, s.rotate_on_automatic_end, s.special_mask, s.read_in_service,
            s.poll);
}

template <class Archive, machine::Of<Pic8259::State> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<Pic8259::State>() == 2);
    archive(s.master, s.slave);
}

template <class Archive, machine::Of<ApicTimer::State> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<ApicTimer::State>() == 7);
    archive(s.mode, s.divide_configuration, s.initial_count, s.count, s.tick, s.tsc_deadline, s.tsc_offset);
}

template <class Archive, machine::Of<LocalApic::State> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<LocalApic::State>() == 16);
    archive(s.base, s.id, s.task_priority, s.logical_destination, s.destination_format, s.spurious, s.errors,
            s.errors_since_write, s.command, s.local_vectors, s.in_service, s.trigger_mode, s.requests,
            s.external_request, s.pins, s.timer);
}

template <class Archive, machine::Of<IoApic::State> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<IoApic::State>() == 5);
    archive(s.index, s.id, s.arbitration, s.lines, s.entries);
}

template <class Archive, machine::Of<HpetTimerState> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<HpetTimerState>() == 4);
    archive(s.configuration, s.comparator, s.period, s.raised);
}

template <class Archive, machine::Of<Hpet::State> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<Hpet::State>() == 7);
    archive(s.configuration, s.status, s.counter, s.tick, s.timers, s.interval_timer, s.real_time_clock);
}

template <class Archive, machine::Of<PitCounterState> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<PitCounterState>() == 22);
    archive(s.mode, s.access, s.bcd, s.gate, s.out, s.count_written, s.null_count, s.load_at_next_clock, s.counting,
            s.pulse_pending, s.write_high_next, s.read_high_next, s.stopped_by_write, s.low_byte_written, s.reload,
            s.period, s.count, s.tick, s.count_latched, s.status_latched, s.latched_count, s.latched_status);
}

template <class Archive, machine::Of<Pit8254::State> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<Pit8254::State>() == 1);
    archive(s.counters);
}

template <class Archive, class T>
requires machine::Of<T, SystemControlPortA::State> || machine::Of<T, SystemControlPortB::State>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<std::remove_const_t<T>>() == 1);
    archive(s.value);
}

template <class Archive, machine::Of<PostCodePort::State> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<PostCodePort::State>() == 1);
    archive(s.last);
}

template <class Archive, machine::Of<KeyboardController::State> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<KeyboardController::State>() == 14);
    archive(s.command_byte, s.ram, s.status, s.output_port, s.output_buffer, s.output_full, s.output_from_auxiliary,
            s.pending_command, s.pending_keyboard_command, s.last_answer, s.queue, s.queue_first, s.queue_count,
            s.scan_code_set);
}

template <class Archive, machine::Of<CmosRtc::State> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<CmosRtc::State>() == 5);
    archive(s.memory, s.index, s.nmi_masked, s.chain_origin, s.chain_seen);
}

template <class Archive, machine::Of<Uart16550::Received> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<Uart16550::Received>() == 2);
    archive(s.data, s.errors);
}

template <class Archive, machine::Of<Uart16550::State> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<Uart16550::State>() == 22);
    archive(s.interrupt_enable, s.fifo_control, s.line_control, s.modem_control, s.line_errors, s.modem_deltas,
            s.modem_inputs, s.scratch, s.divisor, s.receive_fifo, s.receive_first, s.receive_count, s.last_received,
            s.transmit_fifo, s.transmit_first, s.transmit_count, s.shifting, s.shift_register, s.shift_done,
            s.transmit_interrupt, s.character_timeout, s.timeout_deadline);
}

template <class Archive, machine::Of<AcpiPm::State> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<AcpiPm::State>() == 8);
    archive(s.pm1_status, s.pm1_enable, s.pm1_control, s.event_status, s.event_enable, s.smi_command, s.smi_data,
            s.timer_seen);
}

template <class Archive, machine::Of<PciFunction::State> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<PciFunction::State>() == 1);
    archive(s.configuration);
}

template <class Archive, machine::Of<PciPorts::State> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<PciPorts::State>() == 2);
    archive(s.address, s.reset_control);
}

template <class Archive, machine::Of<FwCfg::State> T>
void list_fields(Archive& archive, T& s) {
    static_assert(machine::field_count<FwCfg::State>() == 2);
    archive(s.selector, s.offset);
}

}  // namespace xenolith::devices

namespace xenolith::machine {

template <class Archive, Of<SerialFeed::State> T>
void list_fields(Archive& archive, T& s) {
    archive(s.waiting, s.next);
}

template <class Archive, Of<Board::State> T>
void list_fields(Archive& archive, T& s) {
    archive(s.pic, s.local_apic, s.io_apic, s.hpet, s.pit, s.system_control_a, s.system_control_b, s.keyboard,
            s.post_code, s.cmos, s.serial, s.serial_feed, s.acpi_pm, s.host_bridge, s.isa_bridge, s.pci_ports,
            s.fw_cfg);
}

template <class Archive, Of<MachineState> T>
void list_fields(Archive& archive, T& s) {
    archive(s.cpu, s.engine, s.clock, s.traps, s.trap, s.latched_long_mode, s.page_written, s.direct_call_remarked,
            s.board, s.firmware_items);
}

}  // namespace xenolith::machine
