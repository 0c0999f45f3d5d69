// Watchers of a forked child's parent, of the thread that forks and of others. What a child finds
// wrong it says by its exit code.

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <semaphore>
#include <thread>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/watcher.hpp>

#include "sched/hub.hpp"
#include "sched/sanitizer.hpp"
#include "sim/virtual_reactor.hpp"
#include "support/commands.hpp"
#include "support/free_numbers.hpp"
#include "support/temp_dir.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::highest_number;
using tests::Pipe;
using tests::run_and_reap;

namespace {

/// One of each kind, active, and one that a greenlet waits for. Each tells that it was called.
struct World {
    explicit World(const std::string& path) : file{path} {
        io.start([this] {
            data.take();
            told.io = true;
        });
        timer.start([] {});
        clock.start([] {});
        signal.start([this] { told.signal = true; });
        signals.emplace(std::initializer_list<int>{SIGHUP});
        other_signal.start([] {});
        child_ends.start([this] { told.child = true; });
        file.start([this] { told.file = true; });
        async.start([this] { told.async = true; });
        prepare.start([] {});
        check.start([] {});
        fork.start([] {});
        for (Watcher* each : all()) each->set_ref(false);
    }
    [[nodiscard]] std::array<Watcher*, 11> all() {
        return {&io,   &timer, &clock,   &signal, &other_signal, &child_ends,
                &file, &async, &prepare, &check,  &fork};
    }

    Pipe data;
    Pipe end;
    IoWatcher waited{end.reader.number(), IoEvents::read};
    IoWatcher io{data.reader.number(), IoEvents::read};
    TimerWatcher timer{1h, 1h};
    PeriodicWatcher clock{1h, 0h};
    SignalWatcher signal{SIGUSR1};
    SignalWatcher other_signal{SIGUSR2};
    std::optional<SignalSet> signals;
    Process child = Process::start({.argv = {"/bin/sleep", "1000"}});
    ChildWatcher child_ends{child};
    StatWatcher file;
    AsyncWatcher async;
    PrepareWatcher prepare;
    CheckWatcher check;
    ForkWatcher fork;
    struct {
        std::atomic<bool> io, signal, child, file, async;
    } told{};
};

/// A thread whose hub has a world, which others can get at.
class Elsewhere {
 public:
    Elsewhere() {
        thread_ = std::thread{[this] {
            world = std::make_unique<World>(directory_ / "file");
            auto waiter = spawn([this] { (void)world->waited.wait(); });
            sleep(1ms);  // the loop registers what there is
            ready_.release();
            waiter.join();
            world.reset();
        }};
        ready_.acquire();
    }
    Elsewhere(const Elsewhere&) = delete;
    Elsewhere& operator=(const Elsewhere&) = delete;
    ~Elsewhere() {
        world->end.put();
        thread_.join();
    }

    /// All that it watches makes itself felt.
    [[nodiscard]] bool is_whole() {
        world->data.put();
        world->async.send();
        (void)::raise(SIGUSR1);
        (void)world->child.signal(SIGKILL);
        directory_.write("file", "changed");
        const auto& told = world->told;
        for (int tries = 0; tries < 5000; ++tries) {
            if (told.io && told.async && told.signal && told.child && told.file) return true;
            std::this_thread::sleep_for(1ms);
        }
        return false;
    }

    std::unique_ptr<World> world;

 private:
    tests::TempDir directory_;
    std::binary_semaphore ready_{0};
    std::thread thread_;
};

int end_of(const std::function<int()>& function, const ForkOptions& options = {}) {
    const auto guarded = [&] {
        ::alarm(10);
        return function();
    };
    const ExitStatus status = *fork_process(guarded, options).join();
    return status.kind == ExitStatus::Kind::exited ? status.code : -status.code;
}

bool nothing_is_active(World& world) {
    const auto all = world.all();
    return std::none_of(all.begin(), all.end(),
                        [](const Watcher* each) { return each->active() || each->pending(); });
}

/// Starts what can be, in a hub of the child's. Returns whether all work.
bool starts_anew(World& world) {
    bool io = false;
    bool timer = false;
    bool signal = false;
    bool async = false;
    const Pipe own;
    own.put();
    world.io.set(own.reader.number(), IoEvents::read);
    world.io.start([&] { io = true; });
    world.timer.set(1ms, 0ms);
    world.timer.start([&] { timer = true; });
    world.signal.start([&] { signal = true; });
    world.signals.reset();  // they stood side by side in a list of the parent's
    world.async.start([&] { async = true; });
    world.async.send();
    (void)::raise(SIGUSR1);
    while (!io || !timer || !signal || !async) sleep(1ms);
    for (Watcher* each : world.all()) each->stop();
    return hub_figures().watchers == 0;
}

/// By eventfds.
std::vector<Fd> take_free_numbers(int last) {
    return tests::take_free_numbers(last, [] { return sys::must(sys::eventfd(0), "eventfd"); });
}
bool all_are_untouched(const std::vector<Fd>& all) {
    return std::all_of(all.begin(), all.end(), [](const Fd& each) {
        std::uint64_t value = 0;
        return each.is_open() && sys::read(each.number(), &value, sizeof value).would_block();
    });
}

}  // namespace

TEST_CASE("fork: another thread's watchers are not active in the child, and it cannot end them",
          "[core][fork]") {
    if (GREEN_THREAD_SANITIZER) return;  // it supports no child of a process with threads
    run_and_reap([] {
        Elsewhere elsewhere;
        const std::string what = GENERATE("destroys", "stops", "starts");
        INFO(what);
        const auto uses = [&] {
            World& world = *elsewhere.world;
            if (!nothing_is_active(world)) return 1;
            world.waited.cancel_wait(std::make_exception_ptr(Closed("not here")));
            for (Watcher* each : world.all()) {
                each->set_ref(true);
                each->set_priority(1);
            }
            if (what == "destroys") elsewhere.world.reset();
            if (what == "stops") {
                for (Watcher* each : world.all()) each->stop();
            }
            if (what == "starts" && !starts_anew(world)) return 2;
            return 0;
        };
        CHECK(end_of(uses) == 0);
        CHECK(elsewhere.is_whole());
    });
}

TEST_CASE("fork: another thread's watchers do nothing to what has got their numbers in the child",
          "[core][fork]") {
    if (GREEN_THREAD_SANITIZER) return;  // it supports no child of a process with threads
    run_and_reap([] {
        Elsewhere elsewhere;
        const int last = highest_number();
        const auto uses = [&] {
            const std::vector<Fd> own = take_free_numbers(last);
            elsewhere.world->async.send();
            elsewhere.world.reset();
            return all_are_untouched(own) ? 0 : 1;
        };
        CHECK(end_of(uses, {.descriptors = std::vector<int>{}}) == 0);
        CHECK(elsewhere.is_whole());
    });
}

TEST_CASE("fork: the watchers of the thread that forks can be started anew in the child",
          "[core][fork]") {
    if (GREEN_THREAD_SANITIZER) return;  // it supports no child of a process with threads
    tests::run_green_for_real([] {
        const tests::TempDir directory;
        World world{directory / "file"};
        sleep(1ms);
        CHECK(end_of([&] { return nothing_is_active(world) && starts_anew(world) ? 0 : 1; }) == 0);
        for (Watcher* each : world.all()) CHECK(each->active());
        world.data.put();
        while (!world.told.io) sleep(1ms);
        (void)world.child.signal(SIGKILL);
        while (!world.told.child) sleep(1ms);
    });
}

TEST_CASE("fork: what a fork watcher destroys in the child is not touched there any more",
          "[core][fork]") {
    run_and_reap([] {
        // Where they have stood their bytes tell, as what is freed would have other owners.
        alignas(TimerWatcher) static std::array<std::byte, sizeof(TimerWatcher)> near;
        alignas(TimerWatcher) static std::array<std::byte, sizeof(TimerWatcher)> far;
        auto* const soon = ::new (near.data()) TimerWatcher{1ms};
        auto* const late = ::new (far.data()) TimerWatcher{1h};
        soon->start([] {});
        late->start([] {});
        auto limit = std::make_unique<TimeoutScope>(1h);
        decltype(near) mark;
        mark.fill(std::byte{0xAB});
        const pid_t parent = ::getpid();
        ForkWatcher forks;
        forks.start([&] {
            if (::getpid() == parent) return;
            soon->~TimerWatcher();
            late->~TimerWatcher();
            near = far = mark;
            limit.reset();
        });
        CHECK(end_of([&] {
                  if (near != mark || far != mark) return 1;
                  bool rings = false;
                  TimerWatcher own{1ms};
                  own.start([&] { rings = true; });
                  while (!rings) sleep(1ms);
                  return 0;
              }) == 0);
        while (soon->active()) sleep(1ms);
        CHECK(late->active());
        forks.stop();
        limit.reset();
        soon->~TimerWatcher();
        late->~TimerWatcher();
    });
}

TEST_CASE("fork: a call that another thread was sending does not hold the child up",
          "[core][fork]") {
    /// Where a call stands still on its way into the hub.
    struct Slow final : detail::VirtualReactor {
        void notify() noexcept override {
            arrived.release();
            goes_on.acquire();
        }
        std::binary_semaphore arrived{0};
        std::binary_semaphore goes_on{0};
    };
    run_and_reap([] {
        AsyncWatcher async;
        async.set_ref(false);
        auto owned = std::make_unique<Slow>();
        Slow& slow = *owned;
        std::binary_semaphore over{0};
        std::thread sender{[&] {
            detail::Hub hub{std::move(owned)};
            async.start([] {});
            async.send();
            async.stop();
            over.acquire();
        }};
        slow.arrived.acquire();
        CHECK(end_of([&] {
                  async.start([] {});
                  async.stop();
                  return 0;
              }) == 0);
        slow.goes_on.release();
        over.release();
        sender.join();
    });
}
