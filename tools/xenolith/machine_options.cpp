#include "tools/xenolith/machine_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "cpu/kvm/kvm_device.hpp"
#include "cpu/model/cpu_model.hpp"
#include "cpu/timing/timing.hpp"
#include "loader/load_error.hpp"
#include "machine/engines.hpp"
#include "xen/blob.hpp"
#include "xen/hypercall_page.hpp"
#include "xen/profile.hpp"

namespace xenolith::tools {

namespace options = boost::program_options;

namespace {

// What was given, which may be an empty text.
std::optional<std::string> text_of(const options::variables_map& values, const char* name) {
    if (values.count(name) == 0) return std::nullopt;
    return values[name].as<std::string>();
}

template <class Range, class Name>
std::string list_of(const Range& range, Name name) {
    std::string list;
    for (const auto& entry : range) list += (list.empty() ? "" : ", ") + std::string(name(entry));
    return list;
}

[[noreturn]] void refuse(std::string_view option, const std::string& given, std::string_view expected) {
    throw UsageError(fmt::format("--{} {}: expected {}", option, loader::on_one_line(given), expected));
}

// A built-in blob's name, or a file.
std::vector<std::byte> blob_from(const std::optional<std::string>& name) {
    if (!name) return {};
    if (const auto kind = xen::find_stub_kind(*name)) return xen::make_blob(*kind);
    return xen::load_blob(*name);
}

}  // namespace

std::uint64_t parse_number(std::string_view option, const std::string& text) {
    const bool is_hex = text.starts_with("0x") || text.starts_with("0X");
    const char* const first = text.data() + (is_hex ? 2 : 0);
    const char* const end = text.data() + text.size();
    std::uint64_t value = 0;
    const auto [stop, error] = std::from_chars(first, end, value, is_hex ? 16 : 10);
    if (error != std::errc() || stop != end || first == end)
        refuse(option, text, "a number, decimal or 0x-hexadecimal, below 2^64");
    return value;
}

std::uint64_t parse_size(std::string_view option, const std::string& text) {
    constexpr std::string_view suffixes = "KMG";
    unsigned shift = 0;
    std::string digits = text;
    if (!digits.empty())
        if (const std::size_t at = suffixes.find(digits.back()); at != std::string_view::npos) {
            shift = static_cast<unsigned>(at + 1) * 10;
            digits.pop_back();
        }
    const std::uint64_t value = parse_number(option, digits);
    if (value > ~std::uint64_t{0} >> shift) refuse(option, text, "a size below 2^64 bytes");
    return value << shift;
}

options::options_description machine_options_description() {
    options::options_description description("Machine");
    const auto value = [] { return options::value<std::string>(); };
    const std::string engines = list_of(machine::engine_choices(), [](const auto& choice) { return choice.name; });
    const std::string models = list_of(cpu::CpuModel::names(), [](std::string_view name) { return name; });
    const std::string timings = list_of(cpu::timing_presets(), [](const auto& preset) { return preset.name; });
    // clang-format off
    description.add_options()
        ("engine", value()->value_name("NAME"), fmt::format("what executes the guest: {} (default: interpreter)", engines).c_str())
        ("kvm-route", value()->value_name("ROUTE"), "who lays the hypercall page on the engine kvm: ioctl (KVM itself, by KVM_XEN_HVM_CONFIG), msr-exit (the WRMSR exits to us) or auto (default: auto, which is ioctl where KVM offers it)")
        ("memory", value()->value_name("SIZE"), "RAM, with a suffix K, M or G (default: 512M)")
        ("cpu", value()->value_name("MODEL"), fmt::format("CPU model: {} (default: nehalem)", models).c_str())
        ("vendor", value()->value_name("VENDOR"), "CPU vendor: intel or amd (default: the model's own)")
        ("timing", value()->value_name("PRESET"), fmt::format("what things cost in cycles: {} (default: nehalem)", timings).c_str())
        ("random-seed", value()->value_name("N"), "what RDRAND and RDSEED begin with: the same seed gives the same numbers (default: 0)")
        ("no-xen", "no hypervisor: no Xen leaves, no trap, and VMCALL raises #UD")
        ("abi", value()->value_name("PROFILE"), fmt::format("whose behaviour the trap has: {} (default: {})", xen::profile_names(), xen::default_profile().name).c_str())
        ("xen-msr", value()->value_name("INDEX"), "MSR whose WRMSR is trapped; 0 turns the trap off (default: 0x40000000)")
        ("blob32", value()->value_name("FILE"), "pages for guests outside long mode: a file of 1 to 255 pages, or vmcall, vmmcall, doorbell (default: by the CPU's vendor)")
        ("blob64", value()->value_name("FILE"), "the same for guests in long mode")
        ("intercept-hypercalls", "INTERCEPT_HCALL: the page is generated, blobs are not used");
    // clang-format on
    return description;
}

machine::MachineOptions machine_options(const options::variables_map& values) {
    machine::MachineOptions result;
    if (const auto name = text_of(values, "engine")) {
        const machine::EngineChoice* const choice = machine::find_engine(*name);
        if (choice == nullptr)
            refuse("engine", *name, list_of(machine::engine_choices(), [](const auto& entry) { return entry.name; }));
        result.engine = choice->name;
    }
    if (const auto name = text_of(values, "kvm-route")) {
        constexpr std::array routes = {cpu::KvmRoute::automatic, cpu::KvmRoute::ioctl, cpu::KvmRoute::msr_exit};
        const auto found = std::ranges::find(routes, *name, cpu::kvm_route_name);
        if (found == routes.end()) refuse("kvm-route", *name, list_of(routes, cpu::kvm_route_name));
        if (result.engine != "kvm") throw UsageError("--kvm-route needs --engine kvm");
        result.kvm_route = *found;
    }
    if (const auto size = text_of(values, "memory")) {
        result.ram = parse_size("memory", *size);
        if (result.ram < machine::memory_map::smallest_ram || result.ram > mmu::GuestMemory::maximum_ram ||
            result.ram % mmu::page_size != 0)
            refuse("memory", *size, "whole pages, from 2M to 64G");
    }
    const std::string model = text_of(values, "cpu").value_or("nehalem");
    const auto vendor = text_of(values, "vendor");
    if (vendor && vendor != "intel" && vendor != "amd") refuse("vendor", *vendor, "intel or amd");
    result.model = vendor ? cpu::CpuModel::find(model, vendor == "amd" ? cpu::Vendor::amd : cpu::Vendor::intel)
                          : cpu::CpuModel::find(model);
    if (result.model == nullptr)
        refuse("cpu", model, list_of(cpu::CpuModel::names(), [](std::string_view name) { return name; }));
    if (const auto name = text_of(values, "timing")) {
        result.timing = cpu::find_timing(*name);
        if (result.timing == nullptr)
            refuse("timing", *name, list_of(cpu::timing_presets(), [](const auto& preset) { return preset.name; }));
    }
    if (const auto seed = text_of(values, "random-seed")) result.random_seed = parse_number("random-seed", *seed);
    constexpr const char* xen_only[] = {"abi", "xen-msr", "blob32", "blob64", "intercept-hypercalls", "kvm-route"};
    if (values.count("no-xen") != 0) {
        for (const char* name : xen_only)
            if (values.count(name) != 0) throw UsageError(fmt::format("--{} makes no sense with --no-xen", name));
        result.xen.reset();
        return result;
    }
    machine::XenOptions& xen_options = *result.xen;
    if (const auto name = text_of(values, "abi")) {
        xen_options.profile = xen::find_profile(*name);
        if (xen_options.profile == nullptr) refuse("abi", *name, xen::profile_names());
    }
    if (const auto index = text_of(values, "xen-msr")) {
        const std::uint64_t number = parse_number("xen-msr", *index);
        if (number > 0xffffffff) refuse("xen-msr", *index, "an MSR index below 2^32");
        xen_options.msr = static_cast<std::uint32_t>(number);
    }
    xen_options.intercept_hypercalls = values.count("intercept-hypercalls") != 0;
    if (xen_options.intercept_hypercalls && (values.count("blob32") != 0 || values.count("blob64") != 0))
        throw UsageError("--intercept-hypercalls generates the page: it takes no --blob32 or --blob64");
    // Without the ioctl the guest's calls would be answered by KVM's own hypercalls, and nobody would see them.
    if (xen_options.intercept_hypercalls && result.engine == "kvm")
        cpu::resolve_route(cpu::KvmDevice(), cpu::KvmRoute::ioctl);
    xen_options.blob_32 = blob_from(text_of(values, "blob32"));
    xen_options.blob_64 = blob_from(text_of(values, "blob64"));
    return result;
}

options::options_description limit_options_description() {
    options::options_description description("Time, and the end of the run");
    const auto value = [] { return options::value<std::string>(); };
    // clang-format off
    description.add_options()
        ("until", value()->value_name("EVENT"), "stop at hypercall-page or first-hypercall")
        ("realtime", "couple the guest's clock to the host's: it never runs ahead (default: time runs free, and an idle guest's passes at once)")
        ("until-output", value()->value_name("TEXT"), "stop when the guest has printed TEXT at its serial port")
        ("max-cycles", value()->value_name("N"), "stop when the guest's clock reaches N cycles")
        ("max-seconds", value()->value_name("N"), "stop after N seconds of the host's time");
    // clang-format on
    return description;
}

machine::RunLimits run_limits(const options::variables_map& values) {
    machine::RunLimits limits;
    if (const auto name = text_of(values, "until")) {
        if (*name == "hypercall-page") {
            limits.stop_at = machine::StopAt::hypercall_page;
        } else if (*name == "first-hypercall") {
            limits.stop_at = machine::StopAt::first_hypercall;
        } else {
            refuse("until", *name, "hypercall-page or first-hypercall");
        }
    }
    limits.realtime = values.count("realtime") != 0;
    if (const auto count = text_of(values, "max-cycles")) limits.max_cycles = parse_number("max-cycles", *count);
    if (const auto count = text_of(values, "max-seconds")) {
        const char* const end = count->data() + count->size();
        const auto [stop, error] = std::from_chars(count->data(), end, limits.max_seconds);
        if (error != std::errc() || stop != end || !(limits.max_seconds > 0) || limits.max_seconds > 1e9)
            refuse("max-seconds", *count, "a number of seconds above 0, at most 1e9");
    }
    return limits;
}

options::variables_map parse_options(const Arguments& arguments, const options::options_description& description,
                                     const options::positional_options_description& positional) {
    options::variables_map values;
    try {
        using Style = options::command_line_style::style_t;
        options::store(options::command_line_parser(arguments)
                           .options(description)
                           .positional(positional)
                           .style(Style::unix_style & ~Style::allow_guessing)
                           .run(),
                       values);
        options::notify(values);
    } catch (const options::error& error) {
        throw UsageError(loader::on_one_line(error.what()));
    }
    return values;
}

int exit_code_of(const machine::RunResult& result, machine::StopAt asked_for) {
    const bool reached = asked_for == machine::StopAt::nothing;
    switch (result.end) {
        case machine::RunEnd::reached:
        case machine::RunEnd::powered_off: return exit_code::success;
        case machine::RunEnd::max_cycles:
        case machine::RunEnd::max_instructions:
        case machine::RunEnd::device_access:
        case machine::RunEnd::max_seconds:
        case machine::RunEnd::debug_point: return exit_code::limit;
        case machine::RunEnd::interrupted: return exit_code::interrupted;
        case machine::RunEnd::halted: return reached ? exit_code::success : exit_code::guest_ended_badly;
        case machine::RunEnd::guest_exit:
            if (result.status != 0) return static_cast<int>(result.status & 0xff);
            return reached ? exit_code::success : exit_code::guest_ended_badly;
        case machine::RunEnd::shutdown:
        case machine::RunEnd::reset: return exit_code::guest_ended_badly;
        case machine::RunEnd::run_failed: return exit_code::run_failed;
        case machine::RunEnd::host_limit: return exit_code::unavailable;
    }
    return exit_code::guest_ended_badly;
}

}  // namespace xenolith::tools
