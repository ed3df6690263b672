// trap_recorder SUBJECT: runs every case of trap_case.hpp on one subject and prints what it answers, a line of JSON
// each.
//   kernel             this host's KVM, by its ioctls alone
//   ioctl, msr-exit    the engine `kvm`, by that route
//   linux-6.15, ...    the interpreter with that profile
// trap_answers.py makes the recording of it.
#include <cstdio>
#include <exception>
#include <functional>
#include <nlohmann/json.hpp>

#include "tests/machine/trap_case.hpp"

namespace xenolith::machine::test {
namespace {

std::unique_ptr<TrapSubject> make_subject(std::string_view name, GuestMode mode) {
    if (name == "kernel") return make_kernel_subject();
    // The recording was made on a CPU of AMD's.
    ScenarioOptions options{.engine = "interpreter", .mode = mode, .vendor = cpu::Vendor::amd};
    if (const xen::Profile* const profile = xen::find_profile(name)) {
        options.profile = profile;
    } else {
        options.engine = "kvm";
        options.route = name == "ioctl" ? cpu::KvmRoute::ioctl : cpu::KvmRoute::msr_exit;
    }
    return std::make_unique<MachineSubject>(options);
}

int record(std::string_view name) {
    for (const TrapCase& trap_case : trap_cases()) {
        for (const GuestMode mode : trap_case.modes) {
            const TrapAnswer answer = answer_of(*make_subject(name, mode), trap_case, mode);
            nlohmann::ordered_json line{{"case", trap_case.name},
                                        {"mode", modes_text(trap_case, mode)},
                                        {"configured", setup_text(trap_case.setup)},
                                        {"answer", answer.text}};
            if (answer.latched) line["latched"] = *answer.latched;
            std::puts(line.dump().c_str());
            std::fflush(stdout);
        }
    }
    return 0;
}

}  // namespace
}  // namespace xenolith::machine::test

int main(int count, char** arguments) {
    try {
        if (count == 2) return xenolith::machine::test::record(arguments[1]);
        std::fputs("usage: trap_recorder kernel|ioctl|msr-exit|PROFILE\n", stderr);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "trap_recorder: %s\n", error.what());
    }
    return 2;
}
