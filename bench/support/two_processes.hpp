/// Drivers for everything that carries messages from one process to another.
///
/// A Transport is made in the receiving process and then forked:
///
///     explicit Transport(const Options& options);             // before the fork
///     void attach_sender();                                   // in the child, pinned to its core
///     void attach_receiver();                                 // in the parent, pinned to its core
///     void send(std::span<const std::byte> message);          // waits while there is no room
///     std::size_t receive(std::span<std::byte> buffer);       // waits; copies out; the message's
///                                                             // size
///
/// or, where a message comes in memory that is the receiver's alone and would be copied once more,
///
///     std::span<const std::byte> receive();                   // waits; valid until the next call
///
/// For a round trip both sides send and receive.
///
/// The child never stops by itself: it is killed when the measurement is over. So a name in the
/// file system or in /dev/shm has to be gone before the first message; if that is impossible, it
/// begins with ipc_name(), and run.py removes it.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <span>
#include <sys/types.h>
#include <utility>
#include <vector>

#include "bench.hpp"

namespace bench {

/// greensup-bench-PID: the beginning of every name this process gives to something outside itself.
std::string ipc_name();

/// A forked process that runs `body`. While this lives, the child's death by itself ends the parent
/// with status 1, so that nobody waits for messages that will never come; it dies with the parent.
class Child {
 public:
    Child(int core, const std::function<void()>& body);
    ~Child();
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

 private:
    pid_t pid_;
};

/// A message that carries its number, and the room for one.
class NumberedMessage {
 public:
    explicit NumberedMessage(std::size_t size) : bytes_(size, std::byte{'x'}) {
        if (size < sizeof(std::uint64_t)) throw Unavailable("needs a payload of 8 bytes or more");
    }
    std::span<const std::byte> with(std::uint64_t number) {
        std::memcpy(bytes_.data(), &number, sizeof number);
        return bytes_;
    }
    std::span<std::byte> room() { return bytes_; }
    /// The number of what was received here.
    std::uint64_t number(std::size_t received) const {
        if (received != bytes_.size()) throw std::runtime_error("a message of the wrong size");
        return number_of(bytes_);
    }
    void insist(std::size_t received, std::uint64_t expected) const {
        insist_on(number(received), expected);
    }
    /// Receives the next one, here or where it comes, and insists that it is this.
    template <class Transport>
    void take(Transport& transport, std::uint64_t expected) {
        insist_on(receive(transport), expected);
    }

 private:
    static void insist_on(std::uint64_t number, std::uint64_t expected) {
        if (number != expected) throw std::runtime_error("a message was lost or came out of order");
    }
    static std::uint64_t number_of(std::span<const std::byte> message) {
        std::uint64_t found = 0;
        std::memcpy(&found, message.data(), sizeof found);
        return found;
    }
    template <class Transport>
    std::uint64_t receive(Transport& transport) {
        if constexpr (requires { transport.receive(); }) {
            const std::span<const std::byte> found = transport.receive();
            if (found.size() != bytes_.size())
                throw std::runtime_error("a message of the wrong size");
            return number_of(found);
        } else {
            return number(transport.receive(room()));
        }
    }

    std::vector<std::byte> bytes_;
};

/// Messages per second, one sender and one receiver, in the steady state. `send(n)` and
/// `receive(n)` do so with message number n; receive(n) throws when it gets another one.
template <class Transport, class Send, class Receive>
double messages_per_second(const Options& options, Transport& transport, const Send& send,
                           const Receive& receive) {
    const Child sender{options.producer_core, [&] {
                           transport.attach_sender();
                           for (std::uint64_t number = 0;; ++number) send(number);
                       }};
    pin(options.consumer_core);
    transport.attach_receiver();

    std::uint64_t number = 0;
    const auto batch = std::clamp<std::size_t>(65536 / options.payload, 1, 64);
    const auto rate_over = [&](double seconds) {
        const auto from = number;
        const auto start = now();
        auto time = start;
        while (static_cast<double>(time - start) < seconds * 1e9) {
            for (std::size_t i = 0; i < batch; ++i) receive(number++);
            time = now();
        }
        return static_cast<double>(number - from) / (static_cast<double>(time - start) / 1e9);
    };
    receive(number++);  // the sender is up
    rate_over(options.seconds / 4);
    return rate_over(options.seconds);
}

/// The same for a Transport as above.
template <class Transport>
double messages_per_second(const Options& options) {
    NumberedMessage message{options.payload};
    Transport transport{options};
    return messages_per_second(
        options, transport, [&](std::uint64_t number) { transport.send(message.with(number)); },
        [&](std::uint64_t number) { message.take(transport, number); });
}

/// Nanoseconds from sending a message until it has come back: the median of one after another. The
/// child receives each one and sends what it has received.
template <class Transport>
double round_trip_ns(const Options& options) {
    NumberedMessage message{options.payload};
    NumberedMessage answer{options.payload};
    Transport transport{options};
    const Child echo{options.producer_core, [&] {
                         transport.attach_sender();
                         for (;;) {
                             const auto size = transport.receive(answer.room());
                             transport.send(answer.room().first(size));
                         }
                     }};
    pin(options.consumer_core);
    transport.attach_receiver();

    std::uint64_t number = 0;
    std::vector<std::uint64_t> trips;
    const auto measure = [&](double seconds) {
        trips.clear();
        const auto start = now();
        auto time = start;
        while (static_cast<double>(time - start) < seconds * 1e9) {
            transport.send(message.with(number));
            answer.take(transport, number++);
            const auto sent = std::exchange(time, now());
            trips.push_back(time - sent);
        }
    };
    measure(options.seconds / 4);
    measure(options.seconds);
    const auto middle = trips.begin() + static_cast<std::ptrdiff_t>(trips.size() / 2);
    std::nth_element(trips.begin(), middle, trips.end());
    return static_cast<double>(*middle);
}

}  // namespace bench
