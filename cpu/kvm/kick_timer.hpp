// Ends KVM_RUN when a time has come, or at once from anywhere: a signal that is open only while the guest
// runs.
#pragma once

#include <atomic>
#include <chrono>
#include <csignal>
#include <ctime>
#include <optional>

#include "cpu/kvm/kvm_device.hpp"

namespace xenolith::cpu {

// The signal is blocked in the thread that runs the guest, and unblocked by KVM itself for the time of
// KVM_RUN (KVM_SET_SIGNAL_MASK). One that comes earlier stays pending, and ends the next KVM_RUN before it
// begins: no kick is ever lost, and no thread is needed to send them.
class KickTimer {
  public:
    using Time = std::chrono::steady_clock::time_point;

    // `vcpu` outlives the timer. HostLimit::Kind::unavailable if the process has no timer left.
    explicit KickTimer(const FileDescriptor& vcpu);
    ~KickTimer();
    KickTimer(const KickTimer&) = delete;
    KickTimer& operator=(const KickTimer&) = delete;

    // For as long as it lives, the calling thread is the one that is kicked.
    class Session {
      public:
        explicit Session(KickTimer& timer);
        ~Session();
        Session(const Session&) = delete;
        Session& operator=(const Session&) = delete;

      private:
        KickTimer& timer_;
        sigset_t former_mask_;
    };

    // In a session: the time at which KVM_RUN ends at the latest. Empty: no time.
    void arm(std::optional<Time> when);
    // In a session: takes the signals that have come.
    void drain();
    // Ends the KVM_RUN of the session, the next one if there is none now. From any thread or signal handler;
    // nothing happens if there is no session.
    void kick();

  private:
    void follow_thread(int thread);
    void delete_timer();

    const FileDescriptor& vcpu_;
    timer_t timer_{};
    int timer_thread_ = 0;  // the thread that timer_ signals; 0: there is no timer
    std::atomic<int> session_thread_ = 0;
    std::optional<Time> armed_;
    std::optional<sigset_t> run_mask_;  // what KVM was told
};

}  // namespace xenolith::cpu
