// The table of hypercalls, and the calling convention. Numbers and names: Xen public/xen.h; subcommands: the
// header of each family (public/version.h, memory.h, sched.h, event_channel.h, vcpu.h, grant_table.h,
// physdev.h, hvm/hvm_op.h). Argument counts: Xen's own tables, native and compatibility.
//
// To answer another call: declare its handler in xen/domain.hpp, define it, and name it in its row here.
#include "xen/hypercalls.hpp"

#include <algorithm>

#include "xen/domain.hpp"
#include "xen/hypercall_exit.hpp"

namespace xenolith::xen {
namespace {

constexpr Subcommand memory_commands[] = {
    {0, "XENMEM_increase_reservation"},
    {1, "XENMEM_decrease_reservation"},
    {2, "XENMEM_maximum_ram_page"},
    {3, "XENMEM_current_reservation"},
    {4, "XENMEM_maximum_reservation"},
    {5, "XENMEM_machphys_mfn_list"},
    {6, "XENMEM_populate_physmap"},
    {7, "XENMEM_add_to_physmap"},
    {9, "XENMEM_memory_map"},
    {10, "XENMEM_machine_memory_map"},
    {11, "XENMEM_exchange"},
    {12, "XENMEM_machphys_mapping"},
    {13, "XENMEM_set_memory_map"},
    {14, "XENMEM_maximum_gpfn"},
    {15, "XENMEM_remove_from_physmap"},
    {16, "XENMEM_set_pod_target"},
    {17, "XENMEM_get_pod_target"},
    {18, "XENMEM_get_sharing_freed_pages"},
    {19, "XENMEM_get_sharing_shared_pages"},
    {20, "XENMEM_paging_op"},
    {21, "XENMEM_access_op"},
    {22, "XENMEM_sharing_op"},
    {23, "XENMEM_add_to_physmap_batch"},
    {24, "XENMEM_claim_pages"},
    {25, "XENMEM_machphys_compat_mfn_list"},
    {26, "XENMEM_get_vnumainfo"},
    {27, "XENMEM_reserved_device_memory_map"},
    {28, "XENMEM_acquire_resource"},
};

constexpr Subcommand version_commands[] = {
    {0, "XENVER_version"},      {1, "XENVER_extraversion"}, {2, "XENVER_compile_info"},
    {3, "XENVER_capabilities"}, {4, "XENVER_changeset"},    {5, "XENVER_platform_parameters"},
    {6, "XENVER_get_features"}, {7, "XENVER_pagesize"},     {8, "XENVER_guest_handle"},
    {9, "XENVER_commandline"},  {10, "XENVER_build_id"},
};

constexpr Subcommand console_commands[] = {{0, "CONSOLEIO_write"}, {1, "CONSOLEIO_read"}};

constexpr Subcommand grant_table_commands[] = {
    {0, "GNTTABOP_map_grant_ref"},     {1, "GNTTABOP_unmap_grant_ref"},   {2, "GNTTABOP_setup_table"},
    {3, "GNTTABOP_dump_table"},        {4, "GNTTABOP_transfer"},          {5, "GNTTABOP_copy"},
    {6, "GNTTABOP_query_size"},        {7, "GNTTABOP_unmap_and_replace"}, {8, "GNTTABOP_set_version"},
    {9, "GNTTABOP_get_status_frames"}, {10, "GNTTABOP_get_version"},      {11, "GNTTABOP_swap_grant_ref"},
    {12, "GNTTABOP_cache_flush"},
};

constexpr Subcommand vm_assist_commands[] = {{0, "VMASST_CMD_enable"}, {1, "VMASST_CMD_disable"}};

constexpr Subcommand vcpu_commands[] = {
    {0, "VCPUOP_initialise"},
    {1, "VCPUOP_up"},
    {2, "VCPUOP_down"},
    {3, "VCPUOP_is_up"},
    {4, "VCPUOP_get_runstate_info"},
    {5, "VCPUOP_register_runstate_memory_area"},
    {6, "VCPUOP_set_periodic_timer"},
    {7, "VCPUOP_stop_periodic_timer"},
    {8, "VCPUOP_set_singleshot_timer"},
    {9, "VCPUOP_stop_singleshot_timer"},
    {10, "VCPUOP_register_vcpu_info"},
    {11, "VCPUOP_send_nmi"},
    {12, "VCPUOP_get_physid"},
    {13, "VCPUOP_register_vcpu_time_memory_area"},
};

constexpr Subcommand sched_commands[] = {
    {0, "SCHEDOP_yield"},           {1, "SCHEDOP_block"},         {2, "SCHEDOP_shutdown"}, {3, "SCHEDOP_poll"},
    {4, "SCHEDOP_remote_shutdown"}, {5, "SCHEDOP_shutdown_code"}, {6, "SCHEDOP_watchdog"}, {7, "SCHEDOP_pin_override"},
};

constexpr Subcommand event_channel_commands[] = {
    {0, "EVTCHNOP_bind_interdomain"},
    {1, "EVTCHNOP_bind_virq"},
    {2, "EVTCHNOP_bind_pirq"},
    {3, "EVTCHNOP_close"},
    {4, "EVTCHNOP_send"},
    {5, "EVTCHNOP_status"},
    {6, "EVTCHNOP_alloc_unbound"},
    {7, "EVTCHNOP_bind_ipi"},
    {8, "EVTCHNOP_bind_vcpu"},
    {9, "EVTCHNOP_unmask"},
    {10, "EVTCHNOP_reset"},
    {11, "EVTCHNOP_init_control"},
    {12, "EVTCHNOP_expand_array"},
    {13, "EVTCHNOP_set_priority"},
};

constexpr Subcommand physdev_commands[] = {
    {5, "PHYSDEVOP_irq_status_query"},    {6, "PHYSDEVOP_set_iopl"},
    {7, "PHYSDEVOP_set_iobitmap"},        {8, "PHYSDEVOP_apic_read"},
    {9, "PHYSDEVOP_apic_write"},          {10, "PHYSDEVOP_alloc_irq_vector"},
    {11, "PHYSDEVOP_free_irq_vector"},    {12, "PHYSDEVOP_eoi"},
    {13, "PHYSDEVOP_map_pirq"},           {14, "PHYSDEVOP_unmap_pirq"},
    {15, "PHYSDEVOP_manage_pci_add"},     {16, "PHYSDEVOP_manage_pci_remove"},
    {17, "PHYSDEVOP_pirq_eoi_gmfn_v1"},   {19, "PHYSDEVOP_restore_msi"},
    {20, "PHYSDEVOP_manage_pci_add_ext"}, {21, "PHYSDEVOP_setup_gsi"},
    {22, "PHYSDEVOP_get_nr_pirqs"},       {23, "PHYSDEVOP_get_free_pirq"},
    {24, "PHYSDEVOP_pci_mmcfg_reserved"}, {25, "PHYSDEVOP_pci_device_add"},
    {26, "PHYSDEVOP_pci_device_remove"},  {27, "PHYSDEVOP_restore_msi_ext"},
    {28, "PHYSDEVOP_pirq_eoi_gmfn_v2"},   {29, "PHYSDEVOP_dbgp_op"},
    {30, "PHYSDEVOP_prepare_msix"},       {31, "PHYSDEVOP_release_msix"},
};

constexpr Subcommand hvm_commands[] = {
    {0, "HVMOP_set_param"},
    {1, "HVMOP_get_param"},
    {2, "HVMOP_set_pci_intx_level"},
    {3, "HVMOP_set_isa_irq_level"},
    {4, "HVMOP_set_pci_link_route"},
    {5, "HVMOP_flush_tlbs"},
    {6, "HVMOP_track_dirty_vram"},
    {7, "HVMOP_modified_memory"},
    {8, "HVMOP_set_mem_type"},
    {9, "HVMOP_pagetable_dying"},
    {10, "HVMOP_get_time"},
    {11, "HVMOP_xentrace"},
    {12, "HVMOP_set_mem_access"},
    {13, "HVMOP_get_mem_access"},
    {14, "HVMOP_inject_trap"},
    {15, "HVMOP_get_mem_type"},
    {16, "HVMOP_inject_msi"},
    {17, "HVMOP_create_ioreq_server"},
    {18, "HVMOP_get_ioreq_server_info"},
    {19, "HVMOP_map_io_range_to_ioreq_server"},
    {20, "HVMOP_unmap_io_range_from_ioreq_server"},
    {21, "HVMOP_destroy_ioreq_server"},
    {22, "HVMOP_set_ioreq_server_state"},
    {23, "HVMOP_set_evtchn_upcall_vector"},
    {24, "HVMOP_guest_request_vm_event"},
    {25, "HVMOP_altp2m"},
};

// clang-format off
constexpr HypercallRow table[] = {
    // no.  name                     arguments: 64, 32-bit  subcommands    handler
    {0,  "set_trap_table",                 1, 1, {},                     nullptr},
    {1,  "mmu_update",                     4, 4, {},                     nullptr},
    {2,  "set_gdt",                        2, 2, {},                     nullptr},
    {3,  "stack_switch",                   2, 2, {},                     nullptr},
    {4,  "set_callbacks",                  3, 4, {},                     nullptr},
    {5,  "fpu_taskswitch",                 1, 1, {},                     nullptr},
    {6,  "sched_op_compat",                2, 2, {},                     nullptr},
    {7,  "platform_op",                    1, 1, {},                     nullptr},
    {8,  "set_debugreg",                   2, 2, {},                     nullptr},
    {9,  "get_debugreg",                   1, 1, {},                     nullptr},
    {10, "update_descriptor",              2, 4, {},                     nullptr},
    {12, "memory_op",                      2, 2, memory_commands,        nullptr},
    {13, "multicall",                      2, 2, {},                     nullptr},
    {14, "update_va_mapping",              3, 4, {},                     nullptr},
    {15, "set_timer_op",                   1, 2, {},                     nullptr},
    {16, "event_channel_op_compat",        1, 1, {},                     nullptr},
    {17, "xen_version",                    2, 2, version_commands,       &Domain::xen_version},
    {18, "console_io",                     3, 3, console_commands,       &Domain::console_io},
    {19, "physdev_op_compat",              1, 1, {},                     nullptr},
    {20, "grant_table_op",                 3, 3, grant_table_commands,   nullptr},
    {21, "vm_assist",                      2, 2, vm_assist_commands,     nullptr},
    {22, "update_va_mapping_otherdomain",  4, 5, {},                     nullptr},
    {23, "iret",                           0, 0, {},                     nullptr},
    {24, "vcpu_op",                        3, 3, vcpu_commands,          nullptr},
    {25, "set_segment_base",               2, 2, {},                     nullptr},
    {26, "mmuext_op",                      4, 4, {},                     nullptr},
    {27, "xsm_op",                         1, 1, {},                     nullptr},
    {28, "nmi_op",                         2, 2, {},                     nullptr},
    {29, "sched_op",                       2, 2, sched_commands,         &Domain::sched_op},
    {30, "callback_op",                    2, 2, {},                     nullptr},
    {31, "xenoprof_op",                    2, 2, {},                     nullptr},
    {32, "event_channel_op",               2, 2, event_channel_commands, nullptr},
    {33, "physdev_op",                     2, 2, physdev_commands,       nullptr},
    {34, "hvm_op",                         2, 2, hvm_commands,           nullptr},
    {35, "sysctl",                         1, 1, {},                     nullptr},
    {36, "domctl",                         1, 1, {},                     nullptr},
    {37, "kexec_op",                       2, 2, {},                     nullptr},
    {38, "tmem_op",                        1, 1, {},                     nullptr},
    {39, "argo_op",                        5, 5, {},                     nullptr},
    {40, "xenpmu_op",                      2, 2, {},                     nullptr},
    {41, "dm_op",                          3, 3, {},                     nullptr},
    {42, "hypfs_op",                       5, 5, {},                     nullptr},
    {48, "mca",                            1, 1, {},                     nullptr},  // arch_0
    {49, "arch_1",                         1, 1, {},                     nullptr},
    {50, "arch_2",                         0, 0, {},                     nullptr},
    {51, "arch_3",                         0, 0, {},                     nullptr},
    {52, "arch_4",                         0, 0, {},                     nullptr},
    {53, "arch_5",                         0, 0, {},                     nullptr},
    {54, "arch_6",                         0, 0, {},                     nullptr},
    {55, "arch_7",                         0, 0, {},                     nullptr},
};
// clang-format on

// The numbers of the registers that carry arguments, as instructions encode them.
enum : unsigned { rax = 0, rcx = 1, rdx = 2, rbx = 3, rbp = 5, rsi = 6, rdi = 7, r8 = 8, r9 = 9, r10 = 10 };
constexpr std::array<unsigned, 6> argument_registers_64{rdi, rsi, rdx, r10, r8, r9};
constexpr std::array<unsigned, 6> argument_registers_32{rbx, rcx, rdx, rsi, rdi, rbp};

constexpr std::uint64_t low_half = 0xffff'ffff;

}  // namespace

std::span<const HypercallRow> hypercall_table() { return table; }

const HypercallRow* find_hypercall(std::uint64_t number) {
    const auto row = std::ranges::lower_bound(table, number, {}, &HypercallRow::number);
    return row != std::end(table) && row->number == number ? row : nullptr;
}

std::string_view hypercall_name(std::uint64_t number) {
    const HypercallRow* row = find_hypercall(number);
    return row == nullptr ? std::string_view() : row->name;
}

Hypercall decode_hypercall(unsigned vcpu, const HypercallRegisters& registers) {
    return decode_hypercall(vcpu, registers, registers.general[rax]);
}

Hypercall decode_hypercall(unsigned vcpu, const HypercallRegisters& registers, std::uint64_t number) {
    Hypercall call;
    call.vcpu = vcpu;
    call.long_mode_code = registers.long_mode_code;
    call.cpl = registers.vm86 ? 3 : registers.cpl;
    const auto& order = call.long_mode_code ? argument_registers_64 : argument_registers_32;
    const std::uint64_t mask = call.long_mode_code ? ~std::uint64_t{0} : low_half;
    call.number = number & mask;
    for (std::size_t i = 0; i < order.size(); ++i) call.arguments[i] = registers.general[order[i]] & mask;
    return call;
}

std::uint64_t result_register(const Hypercall& call, std::int64_t result) {
    const auto value = static_cast<std::uint64_t>(result);
    return call.long_mode_code ? value : value & low_half;
}

HypercallExit make_hypercall_exit(const Hypercall& call) {
    HypercallExit exit;
    exit.longmode = call.long_mode_code ? 1 : 0;
    exit.cpl = call.cpl;
    exit.input = call.number;
    exit.params = call.arguments;
    return exit;
}

Hypercall decode_hypercall(unsigned vcpu, const HypercallExit& exit) {
    Hypercall call;
    call.vcpu = vcpu;
    call.number = exit.input;
    call.arguments = exit.params;
    call.long_mode_code = exit.longmode != 0;
    call.cpl = exit.cpl;
    return call;
}

}  // namespace xenolith::xen
