#include "machine/clock.hpp"

#include <algorithm>
#include <stdexcept>

namespace xenolith::machine {

Clock::Clock(std::uint64_t frequency) : frequency_(frequency) {
    if (frequency == 0) throw std::invalid_argument("clock: the frequency must not be zero");
}

void Clock::at(std::uint64_t cycles, devices::Timer& timer) {
    cancel(timer);
    if (cycles == never) return;
    const Armed armed{cycles, &timer};
    const auto later = [](const Armed& left, const Armed& right) {
        return left.deadline != right.deadline ? left.deadline > right.deadline
                                               : left.timer->rank() > right.timer->rank();
    };
    armed_.insert(std::lower_bound(armed_.begin(), armed_.end(), armed, later), armed);
}

void Clock::cancel(devices::Timer& timer) {
    const auto found =
        std::find_if(armed_.begin(), armed_.end(), [&](const Armed& armed) { return armed.timer == &timer; });
    if (found != armed_.end()) armed_.erase(found);
}

void Clock::expire_until(std::uint64_t cycles) {
    while (!armed_.empty() && armed_.back().deadline <= cycles) {
        const Armed armed = armed_.back();
        armed_.pop_back();
        now_ = std::max(now_, armed.deadline);
        armed.timer->expired();
    }
}

void Clock::restore(std::uint64_t now) {
    armed_.clear();
    now_ = now;
}

}  // namespace xenolith::machine
