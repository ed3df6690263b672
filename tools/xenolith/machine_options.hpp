// Command-line options that describe a machine, shared by every command that builds one.
#pragma once

#include <boost/program_options.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "machine/machine.hpp"
#include "tools/xenolith/commands.hpp"

namespace xenolith::tools {

// "--engine", "--cpu", "--abi" and the like, with their help.
boost::program_options::options_description machine_options_description();
// What was asked for. UsageError names the option and what it takes; xen::BlobError a bad blob file.
machine::MachineOptions machine_options(const boost::program_options::variables_map& values);

// Limits of a run: "--until", "--max-cycles", "--max-seconds".
boost::program_options::options_description limit_options_description();
machine::RunLimits run_limits(const boost::program_options::variables_map& values);

// Parses with unknown and repeated options refused, as UsageError.
boost::program_options::variables_map parse_options(
    const Arguments& arguments, const boost::program_options::options_description& options,
    const boost::program_options::positional_options_description& positional);

// "0x40000000", "1073741824". UsageError names the option.
std::uint64_t parse_number(std::string_view option, const std::string& text);
// The same with a suffix K, M or G for binary multiples.
std::uint64_t parse_size(std::string_view option, const std::string& text);

// The exit code that a run's end means.
int exit_code_of(const machine::RunResult& result, machine::StopAt asked_for);

}  // namespace xenolith::tools
