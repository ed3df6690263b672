// Writes each ACPI table but the root pointer, which is none to iasl, into a file of its own: FOLDER PROCESSORS.
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include "machine/acpi_tables.hpp"

int main(int count, char** arguments) {
    if (count != 3) {
        std::cerr << "usage: write_acpi_tables FOLDER PROCESSORS\n";
        return EXIT_FAILURE;
    }
    try {
        xenolith::machine::AcpiBoard board;
        board.processors = static_cast<unsigned>(std::stoul(arguments[2]));
        const xenolith::machine::AcpiImage image = xenolith::machine::build_acpi_tables(board);
        for (const xenolith::machine::AcpiTable& table : image.tables) {
            if (table.address == image.rsdp) continue;
            std::ofstream file(std::filesystem::path(arguments[1]) / (table.signature + ".dat"), std::ios::binary);
            file.write(reinterpret_cast<const char*>(image.bytes.data()) + (table.address - image.base),
                       static_cast<std::streamsize>(table.size));
            if (!file.flush()) throw std::runtime_error("cannot write " + table.signature);
        }
    } catch (const std::exception& error) {
        std::cerr << error.what() << '\n';
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
