#include "sched/polls.hpp"

#include <algorithm>
#include <chrono>

#include "sched/hub.hpp"

namespace green::detail {
namespace {

// A sleep and its end cost some 60 us where another processor has to wake this one: what comes
// within half of that is worth waiting for.
constexpr std::chrono::microseconds spin_time{30};

void pause_processor() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

template <class Look>
bool spin_until(const Look& look, Duration longest) noexcept {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point end = Clock::now() + std::min<Duration>(longest, spin_time);
    do {
        for (int i = 0; i < 32; ++i) {
            if (look()) return true;
            pause_processor();
        }
    } while (Clock::now() < end);
    return false;
}

}  // namespace

bool look_in_place(PollNode& node, Deadline deadline) {
    return Hub::current().look_in_place(node, deadline);
}

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

bool Polls::look_at_all() noexcept {
    bool found = false;
    nodes_.for_each([&](PollNode& node) {
        if (!node.look()) return;
        found = true;
        if (node.eager_) node.eagerness_ended(true);
        node.fire();
    });
    return found;
}

bool Polls::spin(Duration longest) noexcept {
    return spin_until([this] { return look_at_all(); }, longest);
}

bool Polls::spin_at(PollNode& node, Duration longest) noexcept {
    const bool found = spin_until([&node] { return node.look(); }, longest);
    node.eagerness_ended(found);
    return found;
}

bool Polls::linger(Duration longest) noexcept {
    bool eager = false;
    nodes_.for_each([&](PollNode& node) { eager |= node.eager_ = node.is_eager(); });
    if (eager && spin(longest)) return true;
    bool found = false;
    nodes_.for_each([&](PollNode& node) {
        if (node.eager_) node.eagerness_ended(false);
        node.unlink();
        node.asked_ = true;
        if (!node.ask_to_be_woken()) return;
        found = true;
        node.fire();
    });
    return found;
}

}  // namespace green::detail
