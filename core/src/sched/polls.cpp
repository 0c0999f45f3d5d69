#include "sched/polls.hpp"

#include <algorithm>
#include <chrono>
#include <sched.h>

#include "sched/hub.hpp"

namespace green::detail {
namespace {

// A sleep and its end cost some 60 us where another processor has to wake this one: what comes
// within half of that is worth waiting for.
constexpr std::chrono::microseconds spin_time{30};
// Who was away for longer has met somebody with work of his own.
constexpr std::chrono::milliseconds long_away{1};

void pause_processor() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

bool PollNode::arm() {
    if (look()) return true;
    if (!asked_) Hub::current().polls().add(*this);
    return false;
}

void Polls::look() noexcept {
    constexpr int some = 16;
    PollNode* last = nullptr;
    for (int i = 0; i < some && !nodes_.empty() && &nodes_.front() != last; ++i) {
        PollNode& node = nodes_.front();
        node.unlink();
        if (node.look()) {
            node.fire();
            continue;
        }
        nodes_.push_back(node);
        if (last == nullptr) last = &node;
    }
}

bool Polls::look_at_all(Clock::time_point rewarded_until) noexcept {
    bool found = false;
    nodes_.for_each([&](PollNode& node) {
        if (!node.look()) return;
        found = true;
        if (node.has_ != Patience::none) node.patience_ended(Clock::now() < rewarded_until);
        node.fire();
    });
    return found;
}

bool Polls::yield() noexcept {
    const Clock::time_point back = Clock::now() + long_away;
    ::sched_yield();
    return look_at_all(back);
}

bool Polls::spin(Duration longest) noexcept {
    const Clock::time_point end = Clock::now() + std::min<Duration>(longest, spin_time);
    do {
        for (int i = 0; i < 32; ++i) {
            if (look_at_all(Clock::time_point::max())) return true;
            pause_processor();
        }
    } while (Clock::now() < end);
    return false;
}

bool Polls::linger(Duration longest) noexcept {
    Patience most = Patience::none;
    nodes_.for_each([&](PollNode& node) {
        node.has_ = node.patience();
        most = std::max(most, node.has_);
    });
    if (most == Patience::spins && spin(longest)) return true;
    // Who else wants the processor may keep it for long: not with a timer due before.
    if (most == Patience::yields && longest >= long_away && yield()) return true;
    bool found = false;
    nodes_.for_each([&](PollNode& node) {
        if (node.has_ != Patience::none) node.patience_ended(false);
        node.unlink();
        node.asked_ = true;
        if (!node.ask_to_be_woken()) return;
        found = true;
        node.fire();
    });
    return found;
}

}  // namespace green::detail
