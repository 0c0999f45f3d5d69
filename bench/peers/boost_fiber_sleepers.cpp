// Peer boost_fiber: very many fibers, all asleep, on stacks of 16 KiB from malloc. They have no
// guards: those of Boost (protected_fixedsize_stack) run out of mappings at 32 000 stacks.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include <boost/fiber/condition_variable.hpp>
#include <boost/fiber/fiber.hpp>
#include <boost/fiber/fixedsize_stack.hpp>
#include <boost/fiber/mutex.hpp>

#include "sleepers.hpp"

namespace {

constexpr std::size_t stack_size = std::size_t{16} << 10;

class Sleepers {
 public:
    explicit Sleepers(std::size_t count) : count_{count} { fibers_.reserve(count); }
    ~Sleepers() {
        over_ = true;
        ended_.notify_all();
        for (auto& fiber : fibers_) fiber.join();
    }
    Sleepers(const Sleepers&) = delete;
    Sleepers& operator=(const Sleepers&) = delete;

    void put_to_sleep(std::uint64_t until) {
        using Clock = std::chrono::steady_clock;
        const Clock::time_point wake_up{std::chrono::nanoseconds(until)};
        for (std::size_t i = 0; i < count_; ++i)  // each runs at once, up to its sleep
            fibers_.emplace_back(boost::fibers::launch::dispatch, std::allocator_arg,
                                 boost::fibers::fixedsize_stack{stack_size}, [this, wake_up] {
                                     // Not a plain sleep: nothing could end that.
                                     std::unique_lock<boost::fibers::mutex> lock{mutex_};
                                     ended_.wait_until(lock, wake_up, [this] { return over_; });
                                 });
    }

 private:
    std::size_t count_;
    bool over_ = false;
    boost::fibers::mutex mutex_;
    boost::fibers::condition_variable ended_;
    std::vector<boost::fibers::fiber> fibers_;
};

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv, {{"sleepers_bytes", bench::sleepers_bytes<Sleepers>}});
}
