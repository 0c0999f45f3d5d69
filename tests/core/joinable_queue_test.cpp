#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/greenlet.hpp>
#include <green/joinable_queue.hpp>

#include "support/one_of.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

TEST_CASE("joinable queue: join waits until every item that was put is done", "[core][queue]") {
    run_green([] {
        green::JoinableQueue<int> queue;
        CHECK(queue.join(green::Deadline::passed()));
        for (int i = 0; i < 3; ++i) queue.put(i);
        auto joiner = green::spawn([&] { return queue.join(); });
        for (int i = 0; i < 3; ++i) {
            CHECK(queue.unfinished_tasks() == static_cast<std::size_t>(3 - i));
            CHECK(queue.get() == i);
            settle();
            CHECK_FALSE(joiner.ready());
            CHECK_FALSE(queue.join(1ms));
            queue.task_done();
        }
        CHECK(joiner.get());
        CHECK(queue.join());
        CHECK(queue.unfinished_tasks() == 0);
    });
}

TEST_CASE("joinable queue: who waits for the end returns though new items come at once",
          "[core][queue]") {
    run_green([] {
        green::JoinableQueue<int> queue{1, {1}};
        auto joiner = green::spawn([&] { return queue.join(); });
        settle();
        queue.get();
        queue.task_done();
        queue.put(2);
        CHECK(joiner.get());
        CHECK(queue.unfinished_tasks() == 1);
    });
}

TEST_CASE("joinable queue: a waiting put counts when it is done, not before", "[core][queue]") {
    run_green([] {
        green::JoinableQueue<int> queue{1, {1}};
        auto putter = green::spawn([&] { queue.put(2); });
        CHECK_FALSE(queue.put(3, 1ms));
        CHECK_FALSE(queue.try_put(4));
        CHECK(queue.unfinished_tasks() == 1);
        queue.get();
        settle();
        CHECK(putter.ready());
        CHECK(queue.unfinished_tasks() == 2);
        int item = 5;
        auto to = green::send(queue, item);
        CHECK(tests::one_of(green::Deadline::passed(), to) == tests::none);
        CHECK(queue.get() == 2);
        CHECK(tests::one_of(green::Deadline::passed(), to) == 0);
        to.take();
        CHECK(queue.unfinished_tasks() == 3);
    });
}

TEST_CASE("joinable queue: a getter that is killed leaves the task to the next", "[core][queue]") {
    run_green([] {
        green::JoinableQueue<int> queue;
        auto killed = green::spawn([&] { queue.get(); });
        settle();
        queue.put(1);
        killed.kill_soon();
        settle();
        CHECK(queue.unfinished_tasks() == 1);
        CHECK(queue.get() == 1);
        queue.task_done();
        CHECK(queue.join());
    });
}

TEST_CASE("joinable queue: more tasks done than there were is a mistake", "[core][queue]") {
    run_green([] {
        green::JoinableQueue<int> queue;
        CHECK_THROWS_AS(queue.task_done(), green::UsageError);
        queue.put(1);
        {
            const auto job = queue.work();
            CHECK_THROWS_AS(queue.task_done(), green::UsageError);  // that one is the job's
            queue.put(2);
            CHECK_THROWS_AS(queue.task_done(), green::UsageError);  // that one was not got
            CHECK(queue.get() == 2);
            queue.task_done();
            CHECK(queue.unfinished_tasks() == 1);
        }
        CHECK(queue.unfinished_tasks() == 0);
        CHECK_THROWS_AS(queue.task_done(), green::UsageError);
    });
}

TEST_CASE("joinable queue: the end of a job reports it done, however it ends", "[core][queue]") {
    run_green([] {
        const tests::Errors errors;
        green::JoinableQueue<std::unique_ptr<std::string>> queue;
        queue.put(std::make_unique<std::string>("returns"));
        queue.put(std::make_unique<std::string>("throws"));
        queue.put(std::make_unique<std::string>("is killed"));
        std::vector<std::string> seen;
        const auto worker = [&](auto and_then) {
            return green::spawn([&, and_then] {
                auto job = queue.work();
                auto moved = std::move(job);
                seen.push_back(**moved);
                CHECK((*moved)->size() > 1);
                and_then();
            });
        };
        worker([] {});
        settle();
        CHECK(queue.unfinished_tasks() == 2);
        worker([] { throw std::runtime_error("no"); });
        settle();
        CHECK(queue.unfinished_tasks() == 1);
        auto killed = worker([] { green::sleep(1s); });
        settle();
        CHECK_FALSE(queue.join(1ms));
        killed.kill();
        CHECK(queue.join(green::Deadline::passed()));
        CHECK(seen == std::vector<std::string>{"returns", "throws", "is killed"});
    });
}

TEST_CASE("joinable queue: a loop over jobs ends with the queue, each done before the next",
          "[core][queue]") {
    run_green([] {
        green::JoinableQueue<int> queue{4, {1, 2, 3}};
        std::vector<std::size_t> unfinished;
        auto worker = green::spawn([&] {
            for (auto job : queue.jobs()) {
                unfinished.push_back(queue.unfinished_tasks());
                green::yield();
                CHECK(*job == static_cast<int>(unfinished.size()));
            }
        });
        CHECK(queue.join());
        CHECK_FALSE(worker.ready());
        queue.close();
        worker.join();
        CHECK(unfinished == std::vector<std::size_t>{3, 2, 1});
        CHECK_FALSE(queue.next_job().has_value());
        CHECK_THROWS_AS(queue.work(), green::Closed);
    });
}

TEST_CASE("joinable queue: close_now counts what it drops as done", "[core][queue]") {
    run_green([] {
        green::JoinableQueue<int> queue{3, {1, 2, 3}};
        auto joiner = green::spawn([&] { return queue.join(); });
        {
            const auto job = queue.work();
            settle();
            queue.close_now();
            CHECK(queue.unfinished_tasks() == 1);
            settle();
            CHECK_FALSE(joiner.ready());
        }
        CHECK(joiner.get());
        CHECK(queue.join());
    });
}

TEST_CASE("joinable queue: what is dropped is done before its destructor can ask",
          "[core][queue]") {
    struct Asks {
        Asks(green::JoinableQueue<Asks>& its, std::vector<std::size_t>& into) noexcept
            : queue{&its}, unfinished{&into} {}
        Asks(Asks&& other) noexcept
            : queue{std::exchange(other.queue, nullptr)}, unfinished{other.unfinished} {}
        ~Asks() {
            if (queue == nullptr) return;
            unfinished->push_back(queue->unfinished_tasks());
            queue->close_now();
        }
        green::JoinableQueue<Asks>* queue;
        std::vector<std::size_t>* unfinished;
    };
    run_green([] {
        green::JoinableQueue<Asks> queue;
        std::vector<std::size_t> unfinished;
        for (int i = 0; i < 3; ++i) queue.put(Asks{queue, unfinished});
        auto joiner = green::spawn([&] { return queue.join(); });
        settle();
        queue.close_now();
        CHECK(unfinished.size() == 3);
        CHECK(*std::max_element(unfinished.begin(), unfinished.end()) <= 2);
        CHECK(queue.unfinished_tasks() == 0);
        CHECK(joiner.get());
    });
}

TEST_CASE("joinable queue: what is done in the turn of a limit is done", "[core][queue]") {
    run_green([] {
        green::JoinableQueue<int> queue{1, {1}};
        CHECK(queue.get() == 1);
        // Runs when the limit has woken the other, and before that one.
        auto worker = green::spawn([&] {
            green::sleep(10ms);
            queue.task_done();
        });
        auto joiner = green::spawn([&] { return queue.join(10ms); });
        CHECK(joiner.get());
        worker.join();
    });
}

TEST_CASE("joinable queue: limits of jobs", "[core][queue]") {
    run_green([] {
        green::JoinableQueue<int> queue;
        CHECK_THROWS_AS(queue.work(5ms), green::Timeout);
        CHECK_FALSE(queue.next_job(5ms).has_value());
        queue.put(1);
        CHECK(*queue.next_job(5ms).value() == 1);
        CHECK(queue.join());
    });
}

TEST_CASE("joinable queue: its order can be any", "[core][queue]") {
    run_green([] {
        green::JoinableQueue<int, green::LowestFirst<int>> queue{3, {3, 1, 2}};
        for (int i = 1; i <= 3; ++i) CHECK(*queue.work() == i);
        green::JoinableQueue<int, green::Lifo<int>> newest{2, {1, 2}};
        CHECK(*newest.work() == 2);
        CHECK(newest.unfinished_tasks() == 1);
        CHECK(queue.join());
    });
}
