// Processes that are started with pipe ends. Each case that can be is played both ways: by fork,
// and by exec of an entry.

#include <array>
#include <csignal>
#include <cstring>
#include <netdb.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/pipe.hpp>
#include <green/ipc/process.hpp>

#include "support/commands.hpp"
#include "support/roles.hpp"

using namespace green;
using namespace std::chrono_literals;
using ipc::Entry;
using ipc::start_process;
using tests::run_and_reap;

namespace {

struct Number {
    std::uint64_t value;
};

}  // namespace

template <>
struct green::ipc::Codec<Number> {
    static Schema schema() { return {0x6e75'6d62'6572, "Number"}; }
    static std::array<std::uint64_t, 1> encode(const Number& number) { return {number.value}; }
    static Number decode(std::span<const std::byte> bytes) {
        Number number{};
        std::memcpy(&number.value, bytes.data(), sizeof(number.value));
        return number;
    }
};

namespace {

const bool entries_are_run = tests::register_beginning(&ipc::run_entry);

using Reader = ipc::Reader<Number>;
using Writer = ipc::Writer<Number>;
using End = ipc::PipeEnd<Number, Number>;

template <class E>
void put(E& end, std::uint64_t number) {
    end.put(Number{number});
}

/// What a child does, to be forked or started as an entry.
template <class E, class... Arguments>
ipc::Process start(bool by_fork, const E& entry, typename E::Function function,
                   Arguments&&... arguments) {
    if (by_fork) return start_process(function, std::forward<Arguments>(arguments)...);
    return start_process(entry, std::forward<Arguments>(arguments)...);
}

// --- C110 ---

void send_one(Writer to) { put(to, 7); }
int receive_one(Reader from) {
    return from.get().value == 7 && !from.next() && from.at_end() ? 0 : 1;
}
const Entry sends_one{"sends one", send_one};
const Entry receives_one{"receives one", receive_one};

// --- C111 ---

int send_through(Writer to, int deeper, bool by_fork);
const Entry sends_through{"sends through", send_through};
int send_through(Writer to, int deeper, bool by_fork) {
    if (deeper == 0) {
        put(to, 42);
        return 0;
    }
    return start(by_fork, sends_through, send_through, std::move(to), deeper - 1, by_fork)
        .join()
        ->code();
}

// --- C113, C115 ---

/// When it is told to.
int end_somehow(Reader go, int how) {
    (void)go.next();
    if (how == 1) return 1;
    if (how == 9) ::raise(SIGKILL);
    return 0;
}
const Entry ends_somehow{"ends somehow", end_somehow};

// --- C118, C119 ---

void forward(End from, End to) {
    for (const Number number : from) {
        put(to, number.value);
        if (number.value == 0) return;
    }
}
const Entry forwards{"forwards", forward};

void echo(Reader from, Writer to) {
    for (const Number number : from) put(to, number.value);
}
const Entry echoes{"echoes", echo};

// --- C120 ---

int resolve_and_use_pool() {
    const auto resolve = [] {
        addrinfo* found = nullptr;
        const int failed = ::getaddrinfo("localhost", "80", nullptr, &found);
        if (failed == 0) ::freeaddrinfo(found);
        return failed;
    };
    return threads().spawn(resolve).get() + threads().spawn([] { return 0; }).get();
}
const Entry resolves{"resolves", resolve_and_use_pool};

}  // namespace

TEST_CASE("C110: child to child", "[conformance]") {
    run_and_reap([] {
        const bool by_fork = GENERATE(true, false);
        auto [reader, writer] = ipc::pipe<Number>();
        ipc::Process sender = start(by_fork, sends_one, send_one, std::move(writer));
        ipc::Process receiver = start(by_fork, receives_one, receive_one, std::move(reader));
        CHECK_THROWS_AS(put(writer, 1), Closed);
        CHECK_THROWS_AS(reader.next(), Closed);
        CHECK(sender.join()->code() == 0);
        CHECK(receiver.join()->code() == 0);
    });
}

TEST_CASE("C111: three deep", "[conformance]") {
    run_and_reap([] {
        const bool by_fork = GENERATE(true, false);
        auto [reader, writer] = ipc::pipe<Number>();
        ipc::Process outermost =
            start(by_fork, sends_through, send_through, std::move(writer), 2, by_fork);
        CHECK(reader.get().value == 42);
        CHECK_FALSE(reader.next());
        CHECK(outermost.join()->code() == 0);
    });
}

TEST_CASE("C113: exit codes", "[conformance]") {
    run_and_reap([] {
        const bool by_fork = GENERATE(true, false);
        for (const int how : {0, 1, 9, 15}) {
            auto [go, from_us] = ipc::pipe<Number>();
            ipc::Process child = start(by_fork, ends_somehow, end_somehow, std::move(go), how);
            CHECK(child.is_alive());
            if (how == 15) {
                CHECK(child.terminate());
            } else {
                put(from_us, 0);
            }
            CHECK(child.join()->code() == (how < 9 ? how : -how));
            CHECK_FALSE(child.is_alive());
        }
    });
}

TEST_CASE("C115: process object life", "[conformance]") {
    run_and_reap([] {
        const bool by_fork = GENERATE(true, false);
        auto [go, from_us] = ipc::pipe<Number>();
        ipc::Process child = start(by_fork, ends_somehow, end_somehow, std::move(go), 15);
        CHECK_FALSE(child.join(1ns));
        CHECK(child.is_alive());
        CHECK_THROWS_AS(child.close(), UsageError);
        CHECK(child.is_alive());
        CHECK(child.terminate());
        CHECK(child.join()->code() == -SIGTERM);
        child.close();
        CHECK_THROWS_AS(child.is_alive(), Closed);
        CHECK_THROWS_AS(child.join(), Closed);
        CHECK_THROWS_AS(child.end(), Closed);
        CHECK_THROWS_AS(child.pid(), Closed);
        CHECK_THROWS_AS(child.terminate(), Closed);
    });
}

TEST_CASE("C118: ring of workers", "[conformance]") {
    run_and_reap([] {
        const bool by_fork = GENERATE(true, false);
        auto [a1, a2] = ipc::duplex_pipe<Number, Number>();
        auto [b1, b2] = ipc::duplex_pipe<Number, Number>();
        auto [c1, c2] = ipc::duplex_pipe<Number, Number>();
        ipc::Process first = start(by_fork, forwards, forward, std::move(a2), std::move(b1));
        ipc::Process second = start(by_fork, forwards, forward, std::move(b2), std::move(c1));
        for (std::uint64_t i = 1; i <= 100; ++i) {
            put(a1, i);
            CHECK(c2.get().value == i);
        }
        put(a1, 0);  // stop
        CHECK(c2.get().value == 0);
        for (End* gone : {&a2, &b1, &b2, &c1}) {
            CHECK_FALSE(gone->is_open());
            CHECK_THROWS_AS(put(*gone, 1), Closed);
        }
        CHECK(a1.is_open());
        CHECK(c2.is_open());
        CHECK(first.join()->code() == 0);
        CHECK(second.join()->code() == 0);
    });
}

TEST_CASE("C119: ten at once", "[conformance]") {
    run_and_reap([] {
        const bool by_fork = GENERATE(true, false);
        int right = 0;
        Group all;
        for (std::uint64_t i = 0; i < 10; ++i) {
            all.spawn([&right, by_fork, i] {
                auto [to_child, from_us] = ipc::pipe<Number>();
                auto [from_child, to_us] = ipc::pipe<Number>();
                ipc::Process child =
                    start(by_fork, echoes, echo, std::move(to_child), std::move(to_us));
                put(from_us, i);
                right += from_child.get().value == i;
                from_us.shutdown();
                right += child.join()->code() == 0;
            });
        }
        all.join();
        CHECK(right == 20);
    });
}

TEST_CASE("C120: after resolver and pool use", "[conformance]") {
    run_and_reap([] {
        CHECK(resolve_and_use_pool() == 0);
        const bool by_fork = GENERATE(true, false);
        ipc::Process child = start(by_fork, resolves, resolve_and_use_pool);
        const auto end = child.join(2s);
        REQUIRE(end);
        CHECK(end->text() == "exited with 0");
    });
}
