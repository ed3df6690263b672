// Command-line options that name what is to be run, shared by every command that loads an image.
#pragma once

#include <boost/program_options.hpp>

#include "loader/loader.hpp"
#include "machine/guests/guests.hpp"
#include "machine/machine.hpp"

namespace xenolith::tools {

// "--guest", "--format" and the like; the positional option "kernel" is the command's own.
boost::program_options::options_description image_options_description();
// loader::LoadError for a file that cannot be read; UsageError names the option.
loader::LoadOptions load_options_from(const boost::program_options::variables_map& values);
// The image that "kernel" or "--guest" names; `guest` is set in the second case.
loader::ImageFile image_from(const boost::program_options::variables_map& values, loader::LoadOptions& load_options,
                             const machine::BuiltInGuest*& guest);
// What a built-in guest needs of the machine.
void prepare_for(const machine::BuiltInGuest& guest, machine::MachineOptions& options);

}  // namespace xenolith::tools
