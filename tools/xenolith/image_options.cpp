#include "tools/xenolith/image_options.hpp"

#include <fmt/format.h>

#include "tools/xenolith/machine_options.hpp"
#include "xen/blob.hpp"
#include "xen/hypercall_page.hpp"

namespace xenolith::tools {

namespace options = boost::program_options;

options::options_description image_options_description() {
    const auto value = [] { return options::value<std::string>(); };
    options::options_description image("Image");
    // clang-format off
    image.add_options()
        ("guest", value()->value_name("NAME"), "run a built-in guest instead of a file: real16, protected32, pae32, long64, compatibility32")
        ("format", value()->value_name("FORMAT"), "auto, flat16, flat32, flat64, elf, multiboot, pvh or bzimage (default: auto, which never guesses a flat image)")
        ("load-address", value()->value_name("ADDRESS"), "where a flat image goes (default: 0x7c00 for flat16, else 0x100000)")
        ("entry-offset", value()->value_name("OFFSET"), "first instruction of a flat image, in bytes from its start (default: 0)")
        ("linux-entry", value()->value_name("WIDTH"), "enter a bzImage by its 32- or 64-bit entry (default: 64 if it has one)")
        ("initrd", value()->value_name("FILE"), "initial RAM disk or module")
        ("append", value()->value_name("TEXT"), "kernel command line");
    // clang-format on
    return image;
}

loader::ImageFile image_from(const options::variables_map& values, loader::LoadOptions& load_options,
                             const machine::BuiltInGuest*& guest) {
    const bool has_kernel = values.count("kernel") != 0, has_guest = values.count("guest") != 0;
    if (has_kernel == has_guest) throw UsageError("expected one KERNEL or --guest NAME; see xenolith run --help");
    if (has_kernel) return loader::ImageFile::read(values["kernel"].as<std::string>());
    const std::string name = values["guest"].as<std::string>();
    guest = machine::find_guest(name);
    if (guest == nullptr) {
        std::string names;
        for (const auto& entry : machine::built_in_guests())
            names += (names.empty() ? "" : ", ") + std::string(entry.name);
        throw UsageError(fmt::format("--guest {}: expected {}", loader::on_one_line(name), names));
    }
    load_options.format = guest->format;
    return guest->image();
}

loader::LoadOptions load_options_from(const options::variables_map& values) {
    loader::LoadOptions load_options;
    const auto text = [&](const char* name) { return values[name].as<std::string>(); };
    if (values.count("format") != 0) {
        const std::string name = text("format");
        const auto format = loader::format_from_name(name);
        if (!format)
            throw UsageError(
                fmt::format("--format {}: expected auto, flat16, flat32, flat64, elf, multiboot, pvh or bzimage",
                            loader::on_one_line(name)));
        load_options.format = *format;
    }
    if (values.count("load-address") != 0)
        load_options.load_address = mmu::GuestPhysical{parse_number("load-address", text("load-address"))};
    if (values.count("entry-offset") != 0)
        load_options.entry_offset = parse_number("entry-offset", text("entry-offset"));
    if (values.count("linux-entry") != 0) {
        const std::string width = text("linux-entry");
        if (width != "32" && width != "64")
            throw UsageError(fmt::format("--linux-entry {}: expected 32 or 64", loader::on_one_line(width)));
        load_options.linux_entry = width == "32" ? loader::LinuxEntry::entry32 : loader::LinuxEntry::entry64;
    }
    if (values.count("append") != 0) load_options.command_line = text("append");
    if (values.count("initrd") != 0) load_options.modules.push_back({loader::ImageFile::read(text("initrd"))});
    return load_options;
}

void prepare_for(const machine::BuiltInGuest& guest, machine::MachineOptions& choice) {
    if (guest.needs_doorbell && choice.xen && choice.xen->blob_32.empty() && !choice.xen->intercept_hypercalls)
        choice.xen->blob_32 = xen::make_blob(xen::StubKind::doorbell);
}

}  // namespace xenolith::tools
