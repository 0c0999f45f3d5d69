// greensup's side of the cases in which greenlets wait for each other, or could.
#include <chrono>
#include <cstdint>

#include <green/green.hpp>

#include "bench.hpp"
#include "keep.hpp"

namespace {

double event_pingpong(const bench::Options& options) {
    return bench::ns_per_operation(options, [](std::uint64_t n) {
        green::Event ping;
        green::Event pong;
        auto other = green::spawn([&ping, &pong, n] {
            for (std::uint64_t i = 0; i < n; ++i) {
                ping.wait();
                ping.clear();
                pong.set();
            }
        });
        std::uint64_t done = 0;
        for (; done < n; ++done) {
            ping.set();
            pong.wait();
            pong.clear();
        }
        other.join();
        return done;
    });
}

double queue_pingpong(const bench::Options& options) {
    return bench::ns_per_operation(options, [](std::uint64_t n) {
        green::Queue<std::uint64_t> there;
        green::Queue<std::uint64_t> back;
        auto other = green::spawn([&there, &back, n] {
            for (std::uint64_t i = 0; i < n; ++i) back.put(there.get());
        });
        std::uint64_t done = 0;
        for (std::uint64_t i = 0; i < n; ++i) {
            there.put(i);
            done += back.get() == i;
        }
        other.join();
        return done;
    });
}

double queue_stream(const bench::Options& options) {
    return bench::ns_per_operation(options, [](std::uint64_t n) {
        green::Queue<std::uint64_t> queue{1024};
        auto putter = green::spawn([&queue, n] {
            for (std::uint64_t i = 0; i < n; ++i) queue.put(i);
        });
        std::uint64_t done = 0;
        for (std::uint64_t i = 0; i < n; ++i) done += queue.get() == i;
        putter.join();
        return done;
    });
}

double semaphore_uncontended(const bench::Options& options) {
    return bench::ns_per_operation(options, [](std::uint64_t n) {
        green::Semaphore semaphore;
        std::uint64_t done = 0;
        for (; done < n; ++done) {
            semaphore.acquire();
            bench::keep(semaphore);
            semaphore.release();
            bench::keep(semaphore);
        }
        return done;
    });
}

double timeout_scope(const bench::Options& options) {
    return bench::ns_per_operation(options, [](std::uint64_t n) {
        std::uint64_t done = 0;
        for (; done < n; ++done) green::TimeoutScope scope{std::chrono::seconds(10)};
        return done;
    });
}

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv,
                      {{"event_pingpong", event_pingpong},
                       {"queue_pingpong", queue_pingpong},
                       {"queue_stream", queue_stream},
                       {"semaphore_uncontended", semaphore_uncontended},
                       {"timeout_scope", timeout_scope}});
}
