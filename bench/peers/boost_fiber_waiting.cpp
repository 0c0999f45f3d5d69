// Peer boost_fiber: fibers that wait for each other, or could. It has no events and no semaphores:
// a condition variable and a mutex stand for them.
#include <cstdint>
#include <mutex>

#include <boost/fiber/buffered_channel.hpp>
#include <boost/fiber/condition_variable.hpp>
#include <boost/fiber/fiber.hpp>
#include <boost/fiber/mutex.hpp>

#include "bench.hpp"

namespace {

using Channel = boost::fibers::buffered_channel<std::uint64_t>;

double event_pingpong(const bench::Options& options) {
    return bench::ns_per_operation(options, [](std::uint64_t n) {
        boost::fibers::mutex mutex;
        boost::fibers::condition_variable changed;
        bool there = false;
        const auto play = [&](bool my_side) {
            std::uint64_t done = 0;
            for (; done < n; ++done) {
                std::unique_lock<boost::fibers::mutex> lock{mutex};
                changed.wait(lock, [&] { return there == my_side; });
                there = !my_side;
                changed.notify_one();
            }
            return done;
        };
        boost::fibers::fiber other{play, true};
        const std::uint64_t done = play(false);
        other.join();
        return done;
    });
}

double queue_pingpong(const bench::Options& options) {
    return bench::ns_per_operation(options, [](std::uint64_t n) {
        Channel there{2};  // the smallest there is: room for one
        Channel back{2};
        boost::fibers::fiber other{[&] {
            for (std::uint64_t i = 0; i < n; ++i) back.push(there.value_pop());
        }};
        std::uint64_t done = 0;
        for (std::uint64_t i = 0; i < n; ++i) {
            there.push(i);
            done += back.value_pop() == i;
        }
        other.join();
        return done;
    });
}

double queue_stream(const bench::Options& options) {
    return bench::ns_per_operation(options, [](std::uint64_t n) {
        Channel channel{1024};
        boost::fibers::fiber putter{[&] {
            for (std::uint64_t i = 0; i < n; ++i) channel.push(i);
        }};
        std::uint64_t done = 0;
        for (std::uint64_t i = 0; i < n; ++i) done += channel.value_pop() == i;
        putter.join();
        return done;
    });
}

double semaphore_uncontended(const bench::Options& options) {
    return bench::ns_per_operation(options, [](std::uint64_t n) {
        boost::fibers::mutex mutex;
        std::uint64_t done = 0;
        for (; done < n; ++done) {
            mutex.lock();
            mutex.unlock();
        }
        return done;
    });
}

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv,
                      {{"event_pingpong", event_pingpong},
                       {"queue_pingpong", queue_pingpong},
                       {"queue_stream", queue_stream},
                       {"semaphore_uncontended", semaphore_uncontended}});
}
