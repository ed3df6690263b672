// QEMU, docs/specs/fw_cfg: "Guest-side hardware interface", "Firmware configuration items"; keys as its published
// header of guest-visible constants numbers them.
#include "devices/fw_cfg.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

namespace xenolith::devices {

namespace {

namespace key {
constexpr std::uint16_t signature = 0x00, id = 0x01, ram_size = 0x03, processor_count = 0x05, kernel_address = 0x07,
                        kernel_size = 0x08, initrd_address = 0x0a, initrd_size = 0x0b, most_processors = 0x0f,
                        kernel_entry = 0x10, kernel_data = 0x11, initrd_data = 0x12, command_line_address = 0x13,
                        command_line_size = 0x14, command_line_data = 0x15, setup_address = 0x16, setup_size = 0x17,
                        setup_data = 0x18, file_directory = 0x19, first_file = 0x20;
}  // namespace key

constexpr std::uint16_t write_channel = 0x4000;  // of the selector: it does not choose another item

constexpr std::uint32_t traditional_interface = 1u << 0;  // id

std::vector<std::byte> little_endian(std::uint64_t value, unsigned width) {
    std::vector<std::byte> bytes(width);
    for (unsigned i = 0; i < width; ++i) bytes[i] = static_cast<std::byte>(value >> (8 * i));
    return bytes;
}

void append_big_endian(std::vector<std::byte>& to, std::uint64_t value, unsigned width) {
    for (unsigned i = width; i-- > 0;) to.push_back(static_cast<std::byte>(value >> (8 * i)));
}

std::vector<std::byte> bytes_of(std::string_view text) {
    std::vector<std::byte> bytes(text.size());
    std::transform(text.begin(), text.end(), bytes.begin(), [](char letter) { return static_cast<std::byte>(letter); });
    return bytes;
}

std::uint32_t size_32(const std::vector<std::byte>& bytes) {
    if (bytes.size() > std::numeric_limits<std::uint32_t>::max()) {
        throw std::length_error("fw_cfg: an item of 4 GiB or more");
    }
    return static_cast<std::uint32_t>(bytes.size());
}

}  // namespace

FwCfg::FwCfg(std::uint64_t ram, std::uint16_t processors) {
    items_[key::signature] = bytes_of("QEMU");
    set_item32(key::id, traditional_interface);
    set_item64(key::ram_size, ram);
    set_item16(key::processor_count, processors);
    set_item16(key::most_processors, processors);
    write_directory();
}

void FwCfg::set_blob(std::uint16_t address_key, std::uint16_t size_key, std::uint16_t data_key, Blob blob) {
    set_item32(size_key, size_32(blob.bytes));
    set_item32(address_key, blob.address);
    set_item(data_key, std::move(blob.bytes));
}

void FwCfg::set_kernel(Blob kernel, std::uint32_t entry) {
    set_blob(key::kernel_address, key::kernel_size, key::kernel_data, std::move(kernel));
    set_item32(key::kernel_entry, entry);
}

void FwCfg::set_setup(Blob setup) { set_blob(key::setup_address, key::setup_size, key::setup_data, std::move(setup)); }

void FwCfg::set_initrd(Blob initrd) {
    set_blob(key::initrd_address, key::initrd_size, key::initrd_data, std::move(initrd));
}

// The size counts the NUL that ends it.
void FwCfg::set_command_line(std::uint32_t address, std::string_view text) {
    std::vector<std::byte> bytes = bytes_of(text);
    bytes.push_back(std::byte{0});
    set_blob(key::command_line_address, key::command_line_size, key::command_line_data, {address, std::move(bytes)});
}

void FwCfg::set_item(std::uint16_t key, std::vector<std::byte> bytes) {
    const bool is_file = key >= key::first_file && key < key::first_file + files_.size();
    if ((key & write_channel) != 0 || is_file) throw std::invalid_argument("fw_cfg: no key for an item");
    items_[key] = std::move(bytes);
}

void FwCfg::set_item16(std::uint16_t key, std::uint16_t value) { set_item(key, little_endian(value, 2)); }
void FwCfg::set_item32(std::uint16_t key, std::uint32_t value) { set_item(key, little_endian(value, 4)); }
void FwCfg::set_item64(std::uint16_t key, std::uint64_t value) { set_item(key, little_endian(value, 8)); }

void FwCfg::add_file(std::string_view name, std::vector<std::byte> bytes) {
    const bool taken = std::any_of(files_.begin(), files_.end(), [&](const File& file) { return file.name == name; });
    if (name.empty() || name.size() > longest_name || taken) {
        throw std::invalid_argument("fw_cfg: no name for a file: '" + std::string(name) + "'");
    }
    if (files_.size() >= most_files) throw std::length_error("fw_cfg: too many files");
    const auto key = static_cast<std::uint16_t>(key::first_file + files_.size());
    files_.push_back({std::string(name), key, size_32(bytes)});
    items_[key] = std::move(bytes);
    write_directory();
}

// A count, then entries of 64 bytes: size, key, two bytes reserved, name. All big-endian.
void FwCfg::write_directory() {
    std::vector<std::byte> directory;
    append_big_endian(directory, files_.size(), 4);
    for (const File& file : files_) {
        append_big_endian(directory, file.size, 4);
        append_big_endian(directory, file.key, 2);
        append_big_endian(directory, 0, 2);
        std::vector<std::byte> name = bytes_of(file.name);
        name.resize(longest_name + 1);
        directory.insert(directory.end(), name.begin(), name.end());
    }
    items_[key::file_directory] = std::move(directory);
}

std::uint32_t FwCfg::read(std::uint16_t offset, unsigned) {
    // The data port is a byte wide; the selector cannot be read.
    constexpr std::uint32_t floating = 0xffff'ffff;
    if (offset != 1) return floating;
    const auto item = items_.find(state_.selector & static_cast<std::uint16_t>(~write_channel));
    std::uint8_t value = 0;
    if (item != items_.end() && state_.offset < item->second.size()) {
        value = std::to_integer<std::uint8_t>(item->second[state_.offset++]);
    }
    return (floating & ~0xffu) | value;
}

void FwCfg::write(std::uint16_t offset, unsigned width, std::uint32_t value) {
    if (offset != 0 || width != 2) return;
    state_ = {static_cast<std::uint16_t>(value), 0};
}

}  // namespace xenolith::devices
