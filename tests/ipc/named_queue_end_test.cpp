// Named queues that are stopped or closed, and who may use them, or finds no place.

#include <functional>
#include <optional>
#include <string>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/fork.hpp>
#include <green/green.hpp>
#include <green/ipc/queue.hpp>

#include "named/tending.hpp"
#include "named_documents.hpp"
#include "named_passing.hpp"
#include "queue/keeper.hpp"
#include "queue/member.hpp"
#include "queue/segment.hpp"
#include "support/free_numbers.hpp"
#include "support/run_green.hpp"
#include "support/temp_dir.hpp"

using namespace std::chrono_literals;
using tests::name_of;
using tests::put;
using tests::run_green_for_real;
namespace ipc = green::ipc;

TEST_CASE("named queue: stopping ends the loops of consumers, not of producers", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        int seen = 0;
        auto consumer = green::spawn([&] {
            for (auto lease : queue) {
                ++seen;
                lease.ack();
            }
        });
        put(queue, "1");
        put(queue, "2");
        green::idle();
        queue.stop();
        CHECK(consumer.join());
        CHECK(seen == 2);
        put(queue, "3");
        CHECK_FALSE(queue.next().has_value());
        CHECK_THROWS_AS(queue.get(), green::Closed);
        CHECK_THROWS_AS(queue.get_for(1h), green::Closed);
        CHECK_FALSE(local.empty());
    });
}

TEST_CASE("named queue: a closed one gives what is left, and then the end", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts", {2, 1 << 20, 10'000}};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        ipc::Queue<Document> other{ipc::RawQueue{local.grant()}};
        put(queue, "1");
        put(queue, "2");
        auto producer = green::spawn([&] { put(queue, "3"); });
        auto drained = green::spawn([&] { return local.drain(); });
        green::idle();
        CHECK_THROWS_AS(producer.get(), green::Closed);
        CHECK_THROWS_AS(queue.prepare(), green::Closed);
        CHECK_FALSE(queue.raw().stopped());
        auto first = queue.get();
        CHECK(other.get().ack());
        int taken = 0;
        const auto take = [&taken](ipc::Queue<Document>& from) {
            while (auto lease = from.next()) {
                ++taken;
                CHECK(lease->ack());
            }
        };
        auto waiting = green::spawn([&] { take(other); });
        auto second = green::spawn([&] { take(queue); });
        green::idle();
        CHECK_FALSE(waiting.join(5ms));  // the first one may still come back
        CHECK_FALSE(drained.join(0ms));
        CHECK(first.nack());
        // One of the two who wait has it; its end is the end of both, and of the queue.
        CHECK(second.join());
        CHECK(waiting.join());
        CHECK(taken == 1);
        CHECK(drained.get());
        CHECK(local.empty());
        CHECK(queue.raw().stopped());
        CHECK_FALSE(queue.next());
        CHECK_THROWS_AS(queue.get(), green::Closed);
    });
}

TEST_CASE("named queue: one that is closed while room is looked for takes nothing more",
          "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        auto grant = local.grant();
        grant.on_first_use = [&local]() -> std::shared_ptr<void> {
            local.close();
            return nullptr;
        };
        ipc::Queue<Document> queue{ipc::RawQueue{std::move(grant)}};
        CHECK_THROWS_AS(queue.prepare(), green::Closed);
        CHECK(local.empty());
    });
}

TEST_CASE("named queue: the end of the last draft is the end of a closed one", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        ipc::Queue<Document> other{ipc::RawQueue{local.grant()}};
        const ipc::MessageId id{1, 2};
        REQUIRE(queue.put_once(id, [](Document::Builder) {}));
        REQUIRE(queue.get().ack());
        std::optional draft = queue.prepare();
        local.close();
        tests::Passing armed{ipc::shm::CrashPoint::wait_armed};
        auto waiting = green::spawn([&] { return other.next().has_value(); });
        CHECK(armed.wait(2s));
        green::idle();  // now it sleeps, whatever closing has rung for
        CHECK_FALSE(waiting.join(0ms));
        SECTION("dropped") { draft.reset(); }
        SECTION("a duplicate") { CHECK(draft->put_once(id)); }
        CHECK(waiting.join(2s));
    });
}

TEST_CASE("named queue: who drains one may tire of it", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        put(queue, "1");
        CHECK_FALSE(local.drain(5ms));
        CHECK_FALSE(local.drain(0ms));
        CHECK(queue.get().ack());
        CHECK(local.drain(0ms));
    });
}

TEST_CASE("named queue: it tells when it gets full, and when it is not any more", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts", {10, 1 << 20, 10'000}};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        std::string log;
        put(queue, "x");  // somebody tends the queue already, and sleeps
        queue.get().ack();
        green::sleep(5ms);
        local.watch(80, 50, [&](bool is_high) { log += is_high ? 'h' : 'l'; });
        for (int i = 0; i < 7; ++i) put(queue, "x");
        green::sleep(5ms);
        CHECK(log.empty());
        put(queue, "x");
        for (int i = 0; i < 5000 && log.empty(); ++i) green::sleep(1ms);
        CHECK(log == "h");
        for (int i = 0; i < 2; ++i) queue.get().ack();
        green::sleep(120ms);
        CHECK(log == "h");
        queue.get().ack();
        for (int i = 0; i < 5000 && log == "h"; ++i) green::sleep(1ms);
        CHECK(log == "hl");
    });
}

TEST_CASE("named queue: one of another type is refused", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        auto grant = local.grant();
        grant.schema = "document.capnp:Document";
        const ipc::RawQueue raw{std::move(grant)};
        CHECK_NOTHROW(ipc::Queue<Document>{raw});
        CHECK_THROWS_WITH(ipc::Queue<Other>{raw},
                          Catch::Contains("configured for document.capnp:Document"));
    });
}

TEST_CASE("named queue: who is not among the producers or consumers is told so", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        auto grant = local.grant();
        grant.produce = grant.consume = false;
        ipc::RawQueue raw{std::move(grant)};
        CHECK_THROWS_AS(raw.prepare(1), green::UsageError);
        CHECK_THROWS_AS(raw.next(), green::UsageError);
    });
}

TEST_CASE(
    "named queue: another process consumes, sleeps, and is woken; its death gives back what it "
    "held",
    "[ipc][queue]") {
    // The keeper and all grants exist before the fork; neither side has a hub yet.
    ipc::LocalQueue work{"work"};
    ipc::LocalQueue answers{"answers"};
    auto child_work = work.grant();
    auto child_answers = answers.grant();
    const auto child_owner = child_work.owner;
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ipc::Queue<Document> in{ipc::RawQueue{std::move(child_work)}};
        ipc::Queue<Document> out{ipc::RawQueue{std::move(child_answers)}};
        for (auto lease : in) {
            if (name_of(lease) == "die") ::raise(SIGKILL);  // with the message in hand
            const std::string name = name_of(lease) + "!";
            out.put([&](Document::Builder document) { document.setName(ipc::text(name)); });
            lease.ack();
        }
        ::_exit(1);
    }
    run_green_for_real([&] {
        ipc::Queue<Document> in{ipc::RawQueue{work.grant()}};
        ipc::Queue<Document> out{ipc::RawQueue{answers.grant()}};
        for (int i = 0; i < 200; ++i) {
            put(in, std::to_string(i));
            auto answer = out.get();  // each round trip lets the other side fall asleep first
            CHECK(name_of(answer) == std::to_string(i) + "!");
            answer.ack();
        }
        put(in, "die");
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status));
        CHECK_FALSE(in.next(0ms).has_value());
        work.repair(child_owner);
        auto lease = in.get();
        CHECK(name_of(lease) == "die");
        CHECK(lease.deliveries() == 2);
        lease.ack();
        CHECK(work.empty());
        CHECK(answers.empty());
    });
}

namespace {

bool is_refused(const std::function<void()>& call) {
    try {
        call();
    } catch (const green::WrongProcess&) {
        return true;
    }
    return false;
}

/// Opens the file by every number from 3 to that.
std::vector<green::Fd> take_numbers(const std::string& path, int last) {
    return tests::take_free_numbers(last, [&path] {
        return green::sys::must(green::sys::open(path.c_str(), O_RDWR | O_CREAT, 0600), path);
    });
}

}  // namespace

TEST_CASE("named queue: what a forked child has of its parent's it can only destroy",
          "[ipc][queue]") {
    run_green_for_real([] {
        const tests::TempDir directory;
        const std::string path = directory / "childs";
        ipc::LocalQueue local{"texts"};
        std::optional<ipc::RawQueue> queue{local.grant()};
        ipc::RawQueue sleeper{local.grant()};
        for (const std::size_t size : {1, 2}) queue->prepare(size)->put(size);
        std::optional lease = queue->next();
        std::optional used = queue->next();
        std::optional draft = queue->prepare(1);
        auto waits = green::spawn([&] { return sleeper.next().has_value(); });
        green::idle();
        CHECK_FALSE(queue->next(1ms));  // it has a place among the sleepers, too
        const int last = static_cast<int>(green::sys::must(green::sys::dup(0), "dup"));
        const green::Fd above{last};
        green::Process child = green::fork_process(
            [&] {
                const std::vector<green::Fd> own = take_numbers(path, last);
                if (!is_refused([&] { (void)queue->next(0ms); })) return 1;
                if (!is_refused([&] { (void)queue->prepare(1); })) return 2;
                if (!is_refused([&] { used->ack(); })) return 3;
                if (!is_refused([&] { used->nack(); })) return 4;
                if (!is_refused([&] { used->nack(1ms); })) return 5;
                if (!is_refused([&] { used->reject(); })) return 6;
                if (!is_refused([&] { (void)used->extend(1s); })) return 7;
                if (!is_refused([&] { draft->put(1); })) return 8;
                if (!is_refused([&] { draft->put_once({1, 2}, 1); })) return 9;
                if (!is_refused([&] { draft->release(); })) return 10;
                if (!is_refused([&] { (void)local.grant(); })) return 11;
                if (!is_refused([&] { local.close(); })) return 12;
                queue->stop();
                lease.reset();
                used.reset();
                draft.reset();
                queue.reset();
                struct stat file {};
                (void)green::sys::fstat(own.front().number(), file);
                return file.st_size == 0 ? 0 : 13;
            },
            {.descriptors = std::vector<int>{}});
        CHECK(child.join()->text() == "exited with 0");
        green::idle();
        CHECK_FALSE(waits.ready());
        CHECK(used->ack());
        CHECK_FALSE(queue->next(1ms));  // nobody has given the other one back
        draft->put(1);
        CHECK(waits.join(2s));
        CHECK(waits.get());
        CHECK(lease->ack());
    });
}

TEST_CASE("named queue: who drains one without a place among the sleepers takes nobody's bell",
          "[ipc][queue]") {
    run_green_for_real([] {
        const tests::TempDir directory;
        ipc::shm::Config config;
        config.wait_slots = 1;
        ipc::shm::Keeper keeper{ipc::shm::Segment::create(directory / "crowd", config)};
        keeper.recover();
        keeper.configure({});
        ipc::shm::Member sleeper{ipc::shm::Segment::open(directory / "crowd"), 1,
                                 keeper.doorbells()};
        const green::Fd bell{
            static_cast<int>(green::sys::must(green::sys::dup(sleeper.doorbell()), "dup"))};
        sleeper.arm(ipc::shm::Interest::items);
        ipc::shm::Member producer{ipc::shm::Segment::open(directory / "crowd"), 2,
                                  keeper.doorbells()};
        ipc::shm::Reservation reservation;
        REQUIRE(producer.try_reserve(8, reservation) == ipc::shm::Shortage::none);
        (void)producer.put(reservation, 8);
        CHECK_FALSE(ipc::wait_until_empty(keeper, 1ms));
        std::uint64_t rings = 0;
        CHECK(green::sys::read(bell.number(), &rings, sizeof rings).ok());
    });
}

TEST_CASE("named queue: who drains a large one leaves the hub to others while he looks",
          "[ipc][queue]") {
    run_green_for_real([] {
        constexpr std::uint32_t capacity = 1u << 17;
        ipc::LocalQueue queue{"large", {.capacity = capacity}};
        unsigned turns = 0;
        const auto other = green::spawn([&] {
            for (;; ++turns) green::yield();
        });
        green::yield();
        turns = 0;
        CHECK(queue.drain(green::Deadline::never()));
        CHECK(turns >= capacity / 20'000);
        other.kill();
    });
}

TEST_CASE("named queue: who finds no place among the sleepers waits all the same", "[ipc][queue]") {
    run_green_for_real([] {
        const tests::TempDir directory;
        const std::string path = directory / "crowd";
        ipc::shm::Config config;
        config.wait_slots = 1;
        config.capacity = 1;
        ipc::shm::Keeper keeper{ipc::shm::Segment::create(path, config)};
        keeper.recover();
        keeper.configure({});
        auto grant = [&, owner = 0u]() mutable {
            ipc::QueueGrant made;
            made.name = "crowd";
            made.path = path;
            made.schema = "bytes";
            made.segment = green::Fd{static_cast<int>(
                green::sys::must(green::sys::open(path.c_str(), O_RDWR), "open " + path))};
            made.doorbells.emplace_back(
                static_cast<int>(green::sys::must(green::sys::dup(keeper.doorbells()[0]), "dup")));
            made.owner = ++owner;
            return made;
        };
        ipc::Queue<Document> first{ipc::RawQueue{grant()}};
        ipc::Queue<Document> second{ipc::RawQueue{grant()}};
        ipc::Queue<Document> third{ipc::RawQueue{grant()}};
        // The first has the only place from here on, also while it does not wait.
        CHECK_FALSE(first.next(1ms));
        CHECK_FALSE(second.next(30ms));
        auto getting = green::spawn([&] { return second.get().ack(); });
        tests::settle();
        put(third, "1");
        CHECK(getting.get());
        put(third, "2");
        auto putting = green::spawn([&] { put(third, "3"); });
        tests::settle();
        CHECK(second.get().ack());
        putting.get();
        CHECK(name_of(first.get()) == "3");
    });
}
