/// The driver for several senders and receivers on one queue, each a process of its own.
///
/// A Transport as in two_processes.hpp, but
///
///     Transport(const Options& options, std::size_t each);    // so many senders, and receivers
///     void attach_sender(std::size_t index);                  // 0 to each - 1
///     void attach_receiver(std::size_t index);
///
/// and all processes are forked; the parent only counts.
#pragma once

#include <array>
#include <atomic>
#include <cerrno>
#include <memory>
#include <new>
#include <sys/mman.h>
#include <system_error>

#include "two_processes.hpp"

namespace bench {

/// How much each of several processes has done: memory that they share, two cache lines each.
class Counters {
 public:
    explicit Counters(std::size_t number) : number_{number} {
        void* memory = ::mmap(nullptr, number * sizeof(Counter), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
        counters_ = new (memory) Counter[number];
    }
    ~Counters() { ::munmap(counters_, number_ * sizeof(Counter)); }
    Counters(const Counters&) = delete;
    Counters& operator=(const Counters&) = delete;

    /// Each counter has one process that adds to it.
    void add_one(std::size_t index) {
        auto& count = counters_[index].count;
        count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t sum() const {
        std::uint64_t total = 0;
        for (std::size_t i = 0; i < number_; ++i)
            total += counters_[i].count.load(std::memory_order_relaxed);
        return total;
    }

 private:
    struct Counter {
        alignas(128) std::atomic<std::uint64_t> count{0};
    };
    std::size_t number_;
    Counter* counters_;
};

/// Messages per second that all receivers together get, in the steady state. Every receiver insists
/// on the right size, and that what it gets of one sender comes in order.
template <class Transport, std::size_t each>
double messages_per_second_of_many(const Options& options) {
    constexpr int sender_shift = 56;  // a number holds its sender above this
    NumberedMessage message{options.payload};
    Transport transport{options, each};
    Counters received{each};
    std::vector<std::unique_ptr<Child>> children;
    for (std::size_t i = 0; i < each; ++i) {
        children.push_back(std::make_unique<Child>(options.consumer_core, [&, i] {
            std::array<std::uint64_t, each> next{};
            transport.attach_receiver(i);
            for (;;) {
                const auto found = message.number(transport.receive(message.room()));
                const auto number = found & ((std::uint64_t{1} << sender_shift) - 1);
                auto& expected = next.at(found >> sender_shift);
                if (number < expected)
                    throw std::runtime_error("a message came twice or out of order");
                expected = number + 1;
                received.add_one(i);
            }
        }));
        children.push_back(std::make_unique<Child>(options.producer_core, [&, i] {
            transport.attach_sender(i);
            for (std::uint64_t number = 0;; ++number)
                transport.send(message.with(std::uint64_t{i} << sender_shift | number));
        }));
    }

    const auto after = [](double seconds) {
        wait_until(now() + static_cast<std::uint64_t>(seconds * 1e9));
        return now();
    };
    while (received.sum() == 0) after(1e-3);  // they are up
    const auto start = after(options.seconds / 4);
    const auto from = received.sum();
    const auto end = after(options.seconds);
    return static_cast<double>(received.sum() - from) / (static_cast<double>(end - start) / 1e9);
}

}  // namespace bench
