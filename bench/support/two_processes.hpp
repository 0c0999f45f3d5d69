/// One driver for everything that carries messages from one process to another.
///
/// A Transport is made in the receiving process and then forked:
///
///     explicit Transport(const Options& options);             // before the fork
///     void attach_sender();                                   // in the child, pinned to its core
///     void attach_receiver();                                 // in the parent, pinned to its core
///     void send(std::span<const std::byte> message);          // waits while there is no room
///     std::size_t receive(std::span<std::byte> buffer);       // waits; copies out; the message's
///     size
///
/// The sender never stops by itself: it is killed when the measurement is over. So a name in the
/// file system or in /dev/shm has to be gone before the first message; if that is impossible, it
/// begins with ipc_name(), and run.py removes it.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <span>
#include <sys/types.h>
#include <vector>

#include "bench.hpp"

namespace bench {

/// greensup-bench-PID: the beginning of every name this process gives to something outside itself.
std::string ipc_name();

/// A forked sender. While it lives, its death by itself ends this process with status 1, so that
/// nobody waits for messages that will never come; it dies with this process.
class Sender {
 public:
    Sender(int core, const std::function<void()>& body);
    ~Sender();
    Sender(const Sender&) = delete;
    Sender& operator=(const Sender&) = delete;

 private:
    pid_t pid_;
};

/// Messages per second, one sender and one receiver, in the steady state. Every message carries its
/// number, and the receiver insists on the right size and order.
template <class Transport>
double messages_per_second(const Options& options) {
    std::uint64_t number = 0;
    if (options.payload < sizeof number) throw Unavailable("needs a payload of 8 bytes or more");
    std::vector<std::byte> message(options.payload, std::byte{'x'});
    Transport transport{options};
    Sender sender{options.producer_core, [&] {
                      transport.attach_sender();
                      for (;; ++number) {
                          std::memcpy(message.data(), &number, sizeof number);
                          transport.send(message);
                      }
                  }};
    pin(options.consumer_core);
    transport.attach_receiver();

    const auto receive = [&] {
        std::uint64_t found = 0;
        const auto size = transport.receive(message);
        std::memcpy(&found, message.data(), sizeof found);
        if (size != options.payload || found != number++)
            throw std::runtime_error("message lost, out of order or of the wrong size");
    };
    const auto batch = std::clamp<std::size_t>(65536 / options.payload, 1, 64);
    const auto rate_over = [&](double seconds) {
        const auto from = number;
        const auto start = now();
        auto time = start;
        while (static_cast<double>(time - start) < seconds * 1e9) {
            for (std::size_t i = 0; i < batch; ++i) receive();
            time = now();
        }
        return static_cast<double>(number - from) / (static_cast<double>(time - start) / 1e9);
    };
    receive();  // the sender is up
    rate_over(options.seconds / 4);
    return rate_over(options.seconds);
}

}  // namespace bench
