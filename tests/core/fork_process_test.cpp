// Children that go on with a function. What a child finds wrong it says by its exit code.

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <semaphore>
#include <stdexcept>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/simulation.hpp>
#include <green/watcher.hpp>

#include "core/fork_ends.hpp"
#include "sched/sanitizer.hpp"
#include "support/busy_pool.hpp"
#include "support/commands.hpp"
#include "support/roles.hpp"
#include "support/temp_dir.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::end_of;
using tests::exited;
using tests::Pipe;
using tests::read_all;
using tests::run_and_reap;

namespace {

/// Says by a file that is destroyed where it was not made.
struct BelongsHere {
    explicit BelongsHere(const std::string& path) : file{path} {}
    BelongsHere(const BelongsHere&) = delete;
    BelongsHere& operator=(const BelongsHere&) = delete;
    ~BelongsHere() {
        if (::getpid() != pid) std::fclose(std::fopen(file.c_str(), "w"));
    }
    std::string file;
    pid_t pid = ::getpid();
};

}  // namespace

TEST_CASE("fork_process: what the function returns is the exit code", "[core][fork]") {
    run_and_reap([] {
        CHECK(end_of([] {}) == exited(0));
        CHECK(end_of([] { return 7; }) == exited(7));
        CHECK(end_of([] { throw GreenletExit{}; }) == exited(0));
        CHECK(end_of([] { ::raise(SIGKILL); }).text() == "killed by SIGKILL");
        Process sleeps = fork_process([] { sleep(1h); });
        CHECK_FALSE(sleeps.join(Deadline::passed()));
        CHECK(sleeps.signal(SIGTERM));
        CHECK(sleeps.join()->text() == "killed by SIGTERM");
        // It is called as what it is: a function that can be called once.
        CHECK(end_of([only = std::make_unique<int>(3)]() mutable { return *std::move(only); }) ==
              exited(3));
    });
}

TEST_CASE("fork_process: an error that nobody catches is told, and the code is 1", "[core][fork]") {
    run_and_reap([] {
        Pipe heard;
        Process child = fork_process([&] {
            ::dup2(heard.writer.number(), STDERR_FILENO);
            throw std::runtime_error("boom");
        });
        heard.writer.close();
        const std::string text = read_all(heard.reader);
        CHECK(text.starts_with("greensup: forked process: "));
        CHECK(text.ends_with(" failed: std::runtime_error: boom\n"));
        CHECK(*child.join() == exited(1));
    });
}

TEST_CASE("fork_process: the child has a hub of its own, the parent keeps its own",
          "[core][fork]") {
    run_and_reap([] {
        Event later;
        const auto sleeper = spawn([&] {
            sleep(1ms);
            later.set();
        });
        yield();
        CHECK(end_of([] {
                  auto two = spawn([] {
                      sleep(1ms);
                      return 2;
                  });
                  Pipe pipe;
                  spawn([&] {
                      sleep(1ms);
                      pipe.put();
                  });
                  pipe.reader.wait_readable();
                  return two.get() + static_cast<int>(hub_figures().greenlets);
              }) == exited(2));
        const HubRef parents;
        CHECK(end_of([&] { return parents.post([] {}) ? 1 : 0; }) == exited(0));
        CHECK(later.wait());
        sleeper.join();
    });
}

TEST_CASE("fork_process: nothing of the parent runs or is destroyed in the child", "[core][fork]") {
    run_and_reap([] {
        const tests::TempDir directory;
        const std::string trace = directory / "trace";
        const auto where = GENERATE(0, 1, 2);  // main, a greenlet, a hub callback
        INFO(where);
        const auto here = std::make_shared<BelongsHere>(trace);
        const pid_t pid = ::getpid();
        const auto must_be_here = [&trace, pid] {
            if (::getpid() != pid) std::fclose(std::fopen(trace.c_str(), "w"));
        };
        Event event;
        Queue<int> queue;
        auto ready = spawn([&, here] { must_be_here(); });
        auto waits = spawn([&, here] {
            const BelongsHere stands{trace};
            event.wait();
            must_be_here();
        });
        auto gets = spawn([&, here] {
            const BelongsHere stands{trace};
            const int got = queue.get();
            must_be_here();
            return got;
        });
        auto delayed = spawn_later(1ms, [&, here] { must_be_here(); });
        TimerWatcher timer{1ms};
        timer.start(must_be_here);
        CHECK(ready.join());
        auto fresh = spawn([&, here] { must_be_here(); });

        std::optional<Process> child;
        const auto fork = [&] {
            child = fork_process([&] {
                // As much of the parent's as there is.
                event.set();
                queue.put(4);
                const bool nobody_took_it = queue.get() == 4;
                waits.kill();
                fresh.kill();
                timer.stop();
                sleep(20ms);
                return nobody_took_it && waits.join() && delayed.join() ? 5 : 6;
            });
        };
        if (where == 0) fork();
        if (where == 1) spawn(fork).get();
        if (where == 2) {
            HubRef{}.post(fork);
            while (!child) sleep(1ms);
        }
        CHECK(*child->join() == exited(5));
        CHECK_FALSE(std::filesystem::exists(trace));
        event.set();
        queue.put(8);
        waits.join();
        delayed.join();
        CHECK(gets.get() == 8);
        while (timer.active()) sleep(1ms);
    });
}

TEST_CASE("fork_process: a link of the parent's does not run in the child", "[core][fork]") {
    run_and_reap([] {
        int ran = 0;
        int detached_ran = 0;
        Event event;
        Semaphore semaphore{0};
        const Link of_event = link(event, [&] { ++ran; });
        const Link raw = rawlink(event, [&] { ++ran; });
        const Link of_semaphore = link(semaphore, [&] { ++ran; });
        link(event, [&] { ++detached_ran; }).detach();
        CHECK(end_of([&] {
                  event.set();
                  semaphore.release();
                  sleep(1ms);
                  if (ran + detached_ran != 0) return 1;
                  // One that is made there does.
                  const Link own = link(event, [&] { ++ran; });
                  sleep(1ms);
                  return ran == 1 ? 0 : 2;
              }) == exited(0));
        event.set();
        semaphore.release();
        sleep(1ms);
        CHECK(ran == 3);
        CHECK(detached_ran == 1);
    });
}

TEST_CASE("fork_process: groups of the parent's can be destroyed in the child", "[core][fork]") {
    run_and_reap([] {
        auto group = std::make_unique<Group>();
        auto pool = std::make_unique<Pool>(1);
        const auto sleeps = [] { sleep(1h); };
        group->spawn(sleeps);
        yield();
        group->spawn(sleeps);
        auto waits = pool->apply_async(sleeps);
        auto waits_for_room = pool->apply_async(sleeps);
        yield();
        CHECK(end_of([&] {
                  group.reset();
                  pool.reset();
                  return 5;
              }) == exited(5));
        CHECK(group->size() == 2);
        group->kill();
        pool->kill();
    });
}

TEST_CASE("fork_process: groups of the parent's are empty in the child, and have room",
          "[core][fork]") {
    run_and_reap([] {
        Pool pool{1};
        const auto sleeps = [] { sleep(1h); };
        const auto runs = pool.spawn(sleeps);
        const auto waits = pool.apply_async(sleeps);
        yield();
        CHECK(end_of([&] {
                  ::alarm(10);
                  if (pool.size() != 0 || !pool.empty() || pool.full()) return 1;
                  if (!pool.join() || !pool.join_or_raise() || !pool.kill().empty()) return 2;
                  for (const auto& theirs : {runs, waits}) {
                      if (pool.contains(theirs) || pool.discard(theirs)) return 3;
                      if (pool.add(theirs) || !pool.killone(theirs)) return 4;
                  }
                  // From now on it is the child's.
                  const auto own = pool.spawn(sleeps);
                  if (!pool.full() || pool.size() != 1 || pool.join(1ms)) return 5;
                  if (pool.members() != std::vector<AnyGreenlet>{own}) return 6;
                  pool.kill();
                  return pool.apply([] { return 7; });
              }) == exited(7));
        CHECK(pool.size() == 2);
        CHECK(pool.contains(runs));
        pool.kill();
    });
}

TEST_CASE("fork_process: the calls of a lazy map of the parent's have ended in the child",
          "[core][fork]") {
    run_and_reap([] {
        const std::vector<int> input{1, 2};
        const auto sleeps = [](int) {
            sleep(1h);
            return 1;
        };
        Group group;
        auto stream = GENERATE(false, true) ? group.imap(sleeps, input, input.size())
                                            : group.imap_unordered(sleeps, input, input.size());
        while (group.size() < input.size()) yield();
        CHECK(end_of([&] {
                  ::alarm(10);
                  for (int ended = 0;; ++ended) {
                      try {
                          if (stream.next()) return 1;
                          return stream.at_end() ? ended : 2;
                      } catch (const GreenletExit&) {
                      }
                  }
              }) == exited(3));  // two calls, and who reads the input
        group.kill();
    });
}

TEST_CASE("fork_process: a lock of the parent's stays held, whoever has its owner's memory",
          "[core][fork]") {
    run_and_reap([] {
        RLock lock;
        const std::uint64_t owner = spawn([&] {
                                        lock.lock();
                                        return current().id();
                                    }).get();
        CHECK(end_of([&] {
                  std::uint64_t id = 0;
                  while (id < owner) {
                      const auto one = spawn([&] {
                          id = current().id();
                          return lock.try_lock();
                      });
                      if (one.get()) return 1;
                  }
                  return 0;
              }) == exited(0));
    });
}

TEST_CASE("fork_process: groups and greenlets of another thread have ended in the child, too",
          "[core][fork]") {
    run_and_reap([] {
        std::optional<Group> group;
        std::optional<Pool> pool;
        std::vector<Greenlet<void>> all;
        std::binary_semaphore made{0};
        std::binary_semaphore over{0};
        bool never_began = true;
        std::thread elsewhere{[&] {
            const auto sleeps = [] { sleep(1h); };
            group.emplace();
            pool.emplace(1);
            all.push_back(group->spawn(sleeps));
            all.push_back(spawn_later(1h, sleeps));
            all.push_back(deferred([&] { never_began = false; }));
            for (const auto& each : all) (void)group->add(each);
            all.push_back(pool->apply_async(sleeps));
            all.push_back(pool->apply_async(sleeps));  // waits for room
            yield();
            all.push_back(group->spawn(sleeps));  // did not run yet
            made.release();
            over.acquire();
            group->kill();
            pool->kill();
            group.reset();
            pool.reset();
            all.clear();
        }};
        made.acquire();
        CHECK(end_of([&] {
                  ::alarm(10);
                  for (auto& each : all) {
                      if (!each.ready() || each.outcome() != Outcome::exited) return 1;
                      each.start();
                      if (!each.kill() || !each.join()) return 2;
                      try {
                          each.get();
                          return 3;
                      } catch (const GreenletExit&) {
                      }
                  }
                  group.reset();
                  pool.reset();
                  sleep(1ms);
                  return never_began ? 5 : 4;
              }) == exited(5));
        CHECK_FALSE(all.front().ready());
        CHECK(all.front().outcome() == Outcome::pending);
        over.release();
        elsewhere.join();
        CHECK(never_began);
    });
}

TEST_CASE("fork_process: the child begins without what stood around the call", "[core][fork]") {
    run_and_reap([] {
        TimeoutScope limit{1ms};
        try {
            throw std::runtime_error("the parent's");
        } catch (const std::runtime_error&) {
            const NoSwitch fence{"not in the parent"};
            std::optional<Process> child = fork_process([&limit] {
                if (std::current_exception()) return 1;
                limit.cancel();  // does not touch the timers of this hub, of which there are none
                if (hub_figures().timers != 0) return 3;
                sleep(5ms);  // the limit is not ours, nor the fence
                try {
                    throw 3;
                } catch (int) {
                    sleep(1ms);
                }
                return std::current_exception() ? 2 : 0;
            });
            CHECK(std::current_exception() != nullptr);
            while (!child->poll()) std::this_thread::yield();
            CHECK(*child->poll() == exited(0));
        }
    });
}

TEST_CASE("fork_process: any thread can, also one of a busy pool", "[core][fork]") {
    run_and_reap([] {
        threads().spawn([] {}).get();
        tests::BusyPool busy{{.max_threads = 2}};
        const auto works = [] {
            const int three = threads().spawn([] { return 3; }).get();
            sleep(1ms);
            return three + spawn([] { return 4; }).get();
        };
        CHECK(end_of(works) == exited(7));
        std::optional<ExitStatus> status;
        std::thread{[&] { status = end_of(works); }}.join();  // which makes a hub there, to wait
        CHECK(status == exited(7));
        std::optional<Process> of_a_pool;
        threads().spawn([&] { of_a_pool = fork_process(works); }).get();
        CHECK(*of_a_pool->join() == exited(7));
        busy.open();
    });
}

TEST_CASE("fork_process: children fork children", "[core][fork]") {
    run_and_reap([] {
        CHECK(end_of([] {
                  return end_of([] { return end_of([] { return 3; }).code + 3; }).code + 3;
              }) == exited(9));
        // A bare one is what it is everywhere.
        CHECK(end_of([] {
                  sleep(1ms);
                  ::close(STDERR_FILENO);
                  const pid_t bare = ::fork();
                  if (bare == 0) {
                      (void)std::signal(SIGABRT, [](int) { ::_exit(66); });
                      yield();
                      ::_exit(1);
                  }
                  int wait_status = 0;
                  ::waitpid(bare, &wait_status, 0);
                  return WEXITSTATUS(wait_status);
              }) == exited(66));
    });
}

TEST_CASE("fork_process: what the child leaves behind ends with it", "[core][fork]") {
    run_and_reap([] {
        const tests::TempDir directory;
        CHECK(end_of([&] {
                  spawn([&] {
                      struct Last {
                          std::string path;
                          ~Last() { std::fclose(std::fopen(path.c_str(), "w")); }
                      } const last{directory / "ended"};
                      sleep(1h);
                  });
                  yield();
              }) == exited(0));
        CHECK(std::filesystem::exists(directory / "ended"));
    });
}

// forked_output WHAT: says something before and after a fork, and in the child.
GREEN_TEST_ROLE(forked_output) {
    struct Static {
        ~Static() { std::fputs("a static object goes\n", stdout); }
    };
    static const Static object;
    std::fputs("before\n", stdout);
    Process child = fork_process([&]() -> int {
        std::fputs("child\n", stdout);
        if (arguments.at(0) == "exit") std::exit(3);
        return 3;
    });
    const int code = child.join()->code;
    std::printf("after %d\n", code);
    return 0;
}

TEST_CASE("fork_process: each process writes its own output, once, and exit() is like returning",
          "[core][fork]") {
    run_and_reap([] {
        const std::string how = GENERATE("return", "exit");
        CHECK(tests::output_of({.argv = {tests::self(), "--role=forked_output", how}}) ==
              "child\nbefore\nafter 3\na static object goes\n");
    });
}

TEST_CASE("fork_process: a simulation has no processes", "[core][fork]") {
    const Simulation world{1};
    CHECK_THROWS_AS(fork_process([] {}), UsageError);
}
