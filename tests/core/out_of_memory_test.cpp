// When memory runs out: each allocation of a call of a group or a pool fails once, in turn; reports
// are told without words. Its own program, because it replaces the allocation functions of all of
// it.

#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/errors.hpp>
#include <green/hub.hpp>
#include <green/pool.hpp>
#include <green/thread_event.hpp>
#include <green/watcher.hpp>

#include "support/run_green.hpp"

namespace {

constexpr long never = -1;
long allocations_left = never;
bool none_left = false;

void* allocate(std::size_t size) {
    if (none_left) throw std::bad_alloc();
    if (allocations_left != never && allocations_left-- == 0) {
        allocations_left = never;
        throw std::bad_alloc();
    }
    void* block = std::malloc(size != 0 ? size : 1);
    if (block == nullptr) throw std::bad_alloc();
    return block;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void operator delete(void* block) noexcept { std::free(block); }
void operator delete[](void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete[](void* block, std::size_t) noexcept { std::free(block); }

namespace {

/// Runs the action with its first, second, ... allocation failing, until it makes fewer than that;
/// after each run the pool must be as before. Returns how many allocations failed.
std::size_t for_each_allocation(green::Pool& pool, const std::function<void()>& action) {
    for (long nth = 0;; ++nth) {
        bool failed = false;
        allocations_left = nth;
        try {
            action();
        } catch (const std::bad_alloc&) {
            failed = true;
        }
        const bool all_succeeded = std::exchange(allocations_left, never) != never;
        INFO("allocation number " << nth << " fails");
        CHECK(failed == !all_succeeded);
        CHECK(pool.join());
        CHECK(pool.empty());
        CHECK(pool.members().empty());
        CHECK(pool.free_count() == pool.limit());
        if (all_succeeded) return static_cast<std::size_t>(nth);
    }
}

void check(const std::function<void(green::Pool&)>& action) {
    tests::run_green([&] {
        const tests::Errors quiet;
        green::Pool pool{2};
        action(pool);  // what the hub allocates for its first greenlets is not at stake here
        CHECK(pool.join());
        CHECK(for_each_allocation(pool, [&] { action(pool); }) > 0);
    });
}

/// A CHECK would catch the failure that is meant for the caller.
void expect(bool truth) {
    if (!truth) throw std::logic_error("not what was expected");
}

const std::vector<int> input{1, 2, 3, 4, 5};
int twice(int a) {
    green::yield();
    return 2 * a;
}

}  // namespace

TEST_CASE("out of memory: a spawn that fails has no member and no room", "[core][pool]") {
    check([](green::Pool& pool) { pool.spawn(twice, 1); });
    check([](green::Pool& pool) { (void)pool.try_spawn(twice, 1); });
    check([](green::Pool& pool) { pool.start(green::deferred(twice, 1)); });
}

TEST_CASE("out of memory: a call that cannot be put in line leaves none behind", "[core][pool]") {
    check([](green::Pool& pool) {
        for (int i = 0; i < 4; ++i) pool.apply_async(twice, i);
    });
}

TEST_CASE("out of memory: a map that fails ends its calls", "[core][pool]") {
    check([](green::Pool& pool) { expect(pool.map(twice, input).size() == 5); });
    check([](green::Pool& pool) { expect(pool.map_async(twice, input).get().size() == 5); });
}

TEST_CASE("out of memory: a lazy map that fails says so to its reader", "[core][pool]") {
    check([](green::Pool& pool) {
        int sum = 0;
        for (const int value : pool.imap(twice, input)) sum += value;
        expect(sum == 30);
    });
    check([](green::Pool& pool) {
        int sum = 0;
        for (const int value : pool.imap_unordered(twice, input)) sum += value;
        expect(sum == 30);
    });
}

namespace {

/// Counts what the error handler is told, and lets memory come back.
class Told {
 public:
    Told() {
        green::set_error_handler([this](const green::ErrorReport& report) {
            none_left = false;
            ++count;
            words += report.where;
        });
    }
    Told(const Told&) = delete;
    Told& operator=(const Told&) = delete;
    ~Told() { green::set_error_handler({}); }
    int count = 0;
    std::string words;
};

}  // namespace

TEST_CASE("out of memory: what threads share wakes those who wait all the same", "[core][hub]") {
    tests::run_green([] {
        auto event = std::make_unique<green::ThreadEvent>();
        auto told = green::spawn([&] { return event->wait(); });
        green::yield();
        none_left = true;
        event->set();
        none_left = false;
        CHECK(told.get());

        const tests::Errors quiet;
        event->clear();
        auto lost = green::spawn([&] { return event->wait(); });
        green::yield();
        none_left = true;
        event.reset();
        none_left = false;
        CHECK_THROWS_AS(lost.get(), green::Closed);
    });
}

TEST_CASE("out of memory: a post that fails posts nothing", "[core][hub]") {
    tests::run_green([] {
        const green::HubRef hub;
        int ran = 0;
        int refused = 0;
        const std::function<void()> first = [&] { ++ran; };
        const std::function<void()> second = [&] { ran += 10; };
        none_left = true;
        try {
            hub.post(first);
        } catch (const std::bad_alloc&) {
            ++refused;
        }
        none_left = false;
        CHECK(refused == 1);
        hub.post(second);
        green::sleep(std::chrono::milliseconds(1));
        CHECK(ran == 10);
    });
}

TEST_CASE("out of memory: a watcher's callback that fails is told without words",
          "[core][report]") {
    tests::run_green([] {
        const Told told;
        green::TimerWatcher timer{std::chrono::milliseconds(1)};
        timer.start([] {
            none_left = true;
            throw std::bad_alloc();
        });
        green::sleep(std::chrono::milliseconds(2));
        CHECK(told.count == 1);
        CHECK(told.words.empty());
    });
}

TEST_CASE("out of memory: a failure is told without words when its last handle goes",
          "[core][report]") {
    tests::run_green([] {
        const Told told;
        green::set_error_policy(green::ErrorPolicy::unobserved);
        auto failed =
            std::make_optional(green::spawn([] { throw std::runtime_error("a failure"); }));
        failed->join();
        none_left = true;
        failed.reset();
        none_left = false;
        CHECK(told.count == 1);
        CHECK(told.words.empty());
    });
}

TEST_CASE("out of memory: a handler that fails for it loses nothing and ends nothing",
          "[core][report]") {
    tests::run_green([] {
        green::set_error_handler([](const green::ErrorReport&) {
            none_left = true;
            throw std::bad_alloc();
        });
        auto failed = green::spawn([] { throw std::runtime_error("a failure"); });
        failed.join();
        none_left = false;
        green::set_error_handler({});
        CHECK(failed.outcome() == green::Outcome::failed);
    });
}
