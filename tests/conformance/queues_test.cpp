#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;
using Log = std::vector<std::string>;

TEST_CASE("C020: a peek that nothing can ever end is a deadlock error", "[conformance]") {
    run_green([] {
        green::Queue<int> queue;
        CHECK_THROWS_AS(queue.get(), green::LoopExit);
        CHECK_THROWS_AS(queue.peek(), green::LoopExit);
        green::sleep(1ms);
        CHECK(green::spawn([] { return 1; }).get() == 1);
        queue.put(2);
        CHECK(queue.peek() == 2);
        CHECK(queue.get() == 2);
    });
}

TEST_CASE("C042: zero timeout with a custom error in a queue get", "[conformance]") {
    struct Custom {};
    run_green([] {
        green::Queue<std::string> queue;
        Log log;
        auto getter = green::spawn([&] {
            try {
                if (!green::with_timeout(0s, [&] { return queue.get(); })) throw Custom{};
            } catch (const Custom&) {
                log.emplace_back("timed out");
            }
        });
        getter.join();
        CHECK(log == Log{"timed out"});
        queue.put("hi");
        CHECK(queue.get() == "hi");
    });
}

TEST_CASE("C049: a put into a full queue waits", "[conformance]") {
    run_green([] {
        green::Queue<std::string> queue{2};
        Log log;
        auto putter = green::spawn([&] {
            for (const char* item : {"a", "b", "c"}) {
                queue.put(item);
                log.emplace_back(item);
            }
        });
        green::yield();
        CHECK(log == Log{"a", "b"});
        CHECK(queue.get() == "a");
        CHECK(log == Log{"a", "b"});
        green::yield();
        CHECK(log == Log{"a", "b", "c"});
        CHECK(queue.get() == "b");
        CHECK(queue.get() == "c");
        putter.get();
    });
}

TEST_CASE("C051: one getter gives up, one stays", "[conformance]") {
    struct Custom {};
    run_green([] {
        green::Queue<std::string> queue;
        auto gives_up = green::spawn([&] {
            try {
                if (!green::with_timeout(0s, [&] { return queue.get(); })) throw Custom{};
                return false;
            } catch (const Custom&) {
                return true;
            }
        });
        auto stays = green::spawn([&] { return queue.get(); });
        green::sleep(100ms);
        queue.put("hi");
        CHECK(gives_up.get());
        CHECK(stays.get() == "hi");
    });
}

TEST_CASE("C053: a queue from hub context", "[conformance]") {
    run_green([] {
        const green::HubRef hub;
        green::Queue<int> empty;
        auto getter = green::spawn([&] { return empty.get(); });
        settle();
        hub.post([&] { CHECK(empty.try_put(10)); });
        settle();
        CHECK(getter.ready());
        CHECK(getter.get() == 10);
        CHECK(empty.empty());

        green::Queue<int> full{1, {5}};
        auto putter = green::spawn([&] { full.put(6); });
        settle();
        std::vector<int> got;
        for (int turn = 0; turn < 3; ++turn) {
            hub.post([&] { got.push_back(full.try_get().value_or(-1)); });
            settle();
        }
        CHECK(got == std::vector{5, 6, -1});
        CHECK(putter.ready());
    });
}

TEST_CASE("C054: peek", "[conformance]") {
    run_green([] {
        green::Queue<int> queue;
        auto looks = green::spawn([&] { return queue.peek(); });
        settle();
        CHECK_FALSE(looks.ready());
        queue.put(1);
        CHECK(looks.get() == 1);
        CHECK(queue.peek() == 1);
        CHECK(queue.get() == 1);
        const green::TimePoint before = green::now();
        CHECK(queue.peek_for(10ms) == nullptr);
        CHECK(green::now() - before == 10ms);
        CHECK_THROWS_AS(queue.peek(10ms), green::Timeout);
    });
}

TEST_CASE("C055: hand-off order of a channel, sender in main", "[conformance]") {
    run_green([] {
        green::Channel<std::string> channel;
        Log log;
        auto receiver = green::spawn([&] {
            log.push_back(channel.get());
            log.push_back(channel.get());
        });
        log.emplace_back("sending");
        channel.put("hello");
        log.emplace_back("sent hello");
        channel.put("world");
        log.emplace_back("sent world");
        CHECK(log == Log{"sending", "hello", "sent hello", "world", "sent world"});
        CHECK(receiver.ready());
    });
}

TEST_CASE("C055: hand-off order of a channel, receiver in main", "[conformance]") {
    run_green([] {
        green::Channel<std::string> channel;
        Log log;
        auto sender = green::spawn([&] {
            log.emplace_back("sending");
            channel.put("hello");
            log.emplace_back("sent hello");
            channel.put("world");
            log.emplace_back("sent world");
        });
        log.push_back(channel.get());
        log.push_back(channel.get());
        sender.join();
        CHECK(log == Log{"sending", "hello", "sent hello", "world", "sent world"});
    });
}

TEST_CASE("C057: a channel has no store", "[conformance]") {
    run_green([] {
        green::Channel<int> channel;
        const auto says_both = [&] {
            return channel.empty() && channel.full() && channel.size() == 0;
        };
        CHECK(says_both());
        auto putter = green::spawn([&] { channel.put(1); });
        settle();
        CHECK(says_both());
        CHECK_FALSE(putter.ready());
        CHECK(channel.get() == 1);
        settle();
        CHECK(putter.ready());
        const green::HubRef hub;
        int refused = 0;
        for (int turn = 0; turn < 2; ++turn) {
            hub.post([&] { refused += channel.try_put(2) ? 0 : 1; });
            settle();
        }
        CHECK(refused == 2);
        CHECK(says_both());
    });
}

TEST_CASE("C058: graceful shutdown", "[conformance]") {
    run_green([] {
        green::JoinableQueue<std::string> queue;
        queue.put("L");
        queue.put("O");
        queue.close();
        CHECK_THROWS_AS(queue.put("X"), green::Closed);
        CHECK(queue.get() == "L");
        queue.task_done();
        CHECK(queue.get() == "O");
        queue.task_done();
        CHECK(queue.join());
        const green::TimePoint before = green::now();
        CHECK_THROWS_AS(queue.get(), green::Closed);
        CHECK_THROWS_AS(queue.try_get(), green::Closed);
        CHECK_THROWS_AS(queue.get(1s), green::Closed);
        CHECK_THROWS_AS(queue.get_for(1s), green::Closed);
        CHECK(green::now() == before);
    });
}

TEST_CASE("C059: immediate shutdown", "[conformance]") {
    run_green([] {
        const tests::Errors errors;
        green::JoinableQueue<std::string> queue;
        queue.put("L");
        queue.put("O");
        green::JoinableQueue<std::string> full{1};
        full.put("F");
        green::JoinableQueue<std::string> empty;
        auto putter = green::spawn([&] { full.put("G"); });
        auto getter = green::spawn([&] { return empty.get(); });
        settle();
        for (auto* each : {&queue, &full, &empty}) each->close_now();
        CHECK_THROWS_AS(queue.get(), green::Closed);
        CHECK_THROWS_AS(queue.try_get(), green::Closed);
        CHECK_THROWS_AS(queue.task_done(), green::UsageError);
        CHECK(queue.join());
        CHECK(full.join());
        CHECK_THROWS_AS(putter.get(), green::Closed);
        CHECK_THROWS_AS(getter.get(), green::Closed);
    });
}

TEST_CASE("C060: a put with a limit", "[conformance]") {
    run_green([] {
        green::Queue<std::string> queue{1, {"full"}};
        const green::TimePoint before = green::now();
        CHECK_FALSE(queue.put("x", 20ms));
        CHECK(green::now() - before == 20ms);
        CHECK(queue.get() == "full");
        settle();
        CHECK_FALSE(queue.try_get().has_value());
        CHECK(queue.put("later"));
        CHECK(queue.get() == "later");
    });
}
