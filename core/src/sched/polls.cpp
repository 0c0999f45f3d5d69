#include "sched/polls.hpp"

#include <algorithm>
#include <chrono>

#include <green/sys.hpp>

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

// Whoever else may run could keep the processor for some milliseconds: what is due by then is not
// let wait for him.
constexpr std::chrono::milliseconds yield_time{1};

struct Lingered {
    bool found;
    Duration took;
};

template <class Look>
Lingered spin_until(const Look& look, Duration longest) noexcept {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point end = Clock::now() + std::min<Duration>(longest, spin_time);
    do {
        for (int i = 0; i < 32; ++i) {
            if (look()) return {true, Duration::zero()};
            pause_processor();
        }
    } while (Clock::now() < end);
    return {false, spin_time};
}

void give_processor_away() noexcept {
    (void)sys::sched_yield();
    // It may have taken long: then what is outside has its turn.
    if (Hub* const hub = Hub::current_or_null()) hub->ask_clock_next();
}

template <class Look>
Lingered yield_then(const Look& look) noexcept {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point start = Clock::now();
    give_processor_away();
    const bool found = look();
    return {found, Clock::now() - start};
}

template <class Look>
Lingered linger_until(const Look& look, Linger how, Duration longest) noexcept {
    return how == Linger::spin ? spin_until(look, longest) : yield_then(look);
}

/// What is done if there is so much time.
Linger linger_for(Linger wished, Duration longest) noexcept {
    return wished == Linger::yield && longest < yield_time ? Linger::none : wished;
}

}  // namespace

bool look_in_place(PollNode& node, Deadline deadline) {
    Hub* const hub = Hub::current_or_null();
    const Duration longest = hub != nullptr ? hub->time_to_linger(deadline) : Duration::zero();
    return longest > Duration::zero() && Polls::linger_at(node, longest);
}

bool yield_in_place(Deadline deadline) {
    Hub* const hub = Hub::current_or_null();
    return hub != nullptr && Polls::yield(hub->time_to_linger(deadline));
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

bool Polls::yield(Duration longest) noexcept {
    if (longest < yield_time) return false;
    give_processor_away();
    return true;
}

bool Polls::linger_at(PollNode& node, Duration longest) noexcept {
    const Linger how = linger_for(node.lingers(), longest);
    if (how == Linger::none) return false;
    const auto [found, took] = linger_until([&node] { return node.look(); }, how, longest);
    node.lingered(found, took);
    return found;
}

bool Polls::linger(Duration longest) noexcept {
    Linger how = Linger::none;
    nodes_.for_each([&](PollNode& node) {
        node.linger_ = linger_for(node.lingers(), longest);
        how = std::max(how, node.linger_);
    });
    Lingered ended{false, Duration::zero()};
    if (how != Linger::none) {
        const auto any_has_news = [this] {
            bool found = false;
            nodes_.for_each([&](PollNode& node) { found |= node.look(); });
            return found;
        };
        ended = linger_until(any_has_news, how, longest);
    }
    bool fired = ended.found;  // even if it is taken back: nobody has asked to be woken then
    nodes_.for_each([&](PollNode& node) {
        const bool found = ended.found && node.look();
        if (node.linger_ != Linger::none && found == ended.found) node.lingered(found, ended.took);
        if (!found) {
            if (ended.found) return;  // the hub does not sleep
            node.unlink();
            node.asked_ = true;
            if (!node.ask_to_be_woken()) return;
        }
        fired = true;
        node.fire();
    });
    return fired;
}

}  // namespace green::detail
