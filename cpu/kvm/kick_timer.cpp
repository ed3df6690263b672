// KVM_SET_SIGNAL_MASK (KVM API 4.21); timer_create(2) with SIGEV_THREAD_ID.
#include "cpu/kvm/kick_timer.hpp"

#include <linux/kvm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "cpu/kvm/kvm_requests.hpp"

namespace xenolith::cpu {

namespace {

// A real-time signal from the middle of the range: libraries take theirs from the ends.
int kick_signal() { return SIGRTMIN + 9; }

// A kick that comes after the session's end finds this handler: it has nothing to do.
void ignore_late_kick(int) {}

void install_handler() {
    struct sigaction present {};
    if (::sigaction(kick_signal(), nullptr, &present) == 0 && present.sa_handler != SIG_DFL) return;
    struct sigaction wanted {};
    wanted.sa_handler = ignore_late_kick;
    wanted.sa_flags = SA_RESTART;
    ::sigaction(kick_signal(), &wanted, nullptr);
}

int this_thread() { return static_cast<int>(::syscall(SYS_gettid)); }

sigset_t only_kick() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, kick_signal());
    return set;
}

}  // namespace

KickTimer::KickTimer(const FileDescriptor& vcpu) : vcpu_(vcpu) { install_handler(); }

KickTimer::~KickTimer() { delete_timer(); }

void KickTimer::delete_timer() {
    if (timer_thread_ != 0) ::timer_delete(timer_);
    timer_thread_ = 0;
}

void KickTimer::follow_thread(int thread) {
    if (timer_thread_ == thread) return;
    delete_timer();
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = kick_signal();
    event._sigev_un._tid = thread;
    if (::timer_create(CLOCK_MONOTONIC, &event, &timer_) != 0)
        throw HostLimit(HostLimit::Kind::unavailable, failure_text("timer_create", errno));
    timer_thread_ = thread;
}

KickTimer::Session::Session(KickTimer& timer) : timer_(timer) {
    const int thread = this_thread();
    timer.follow_thread(thread);
    const sigset_t kick = only_kick();
    ::pthread_sigmask(SIG_BLOCK, &kick, &former_mask_);
    sigset_t run_mask = former_mask_;
    sigdelset(&run_mask, kick_signal());
    // struct kvm_signal_mask: a length, then the set itself, which has 64 bits in the kernel and more in the
    // C library.
    constexpr std::size_t kernel_set_size = 8, length_size = 4;
    if (!timer.run_mask_ || std::memcmp(&*timer.run_mask_, &run_mask, kernel_set_size) != 0) {
        alignas(std::uint64_t) std::array<std::byte, length_size + kernel_set_size> mask{};
        const std::uint32_t length = kernel_set_size;
        std::memcpy(mask.data(), &length, sizeof(length));
        std::memcpy(mask.data() + length_size, &run_mask, kernel_set_size);
        if (timer.vcpu_.control(kvm_request::set_signal_mask, mask.data()) != 0) {
            const int error = errno;
            ::pthread_sigmask(SIG_SETMASK, &former_mask_, nullptr);
            throw HostLimit(HostLimit::Kind::unavailable, failure_text("KVM_SET_SIGNAL_MASK", error));
        }
        timer.run_mask_ = run_mask;
    }
    timer.session_thread_.store(thread);
}

KickTimer::Session::~Session() {
    timer_.session_thread_.store(0);
    timer_.arm(std::nullopt);
    timer_.drain();
    ::pthread_sigmask(SIG_SETMASK, &former_mask_, nullptr);
}

void KickTimer::arm(std::optional<Time> when) {
    if (when == armed_) return;
    armed_ = when;
    itimerspec value{};
    if (when) {
        // A time of zero would disarm it; the past is as good as any other past.
        const auto since_boot = std::max(when->time_since_epoch(), std::chrono::nanoseconds(1));
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since_boot);
        value.it_value.tv_sec = seconds.count();
        value.it_value.tv_nsec = (since_boot - seconds).count();
    }
    ::timer_settime(timer_, TIMER_ABSTIME, &value, nullptr);
}

void KickTimer::drain() {
    const sigset_t kick = only_kick();
    const timespec at_once{};
    while (::sigtimedwait(&kick, nullptr, &at_once) > 0) {
    }
}

void KickTimer::kick() {
    const int thread = session_thread_.load();
    // A thread that has ended meanwhile is no error: there is nothing left to kick.
    if (thread != 0) ::syscall(SYS_tgkill, ::getpid(), thread, kick_signal());
}

}  // namespace xenolith::cpu
