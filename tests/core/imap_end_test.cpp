// The end of lazy maps: dropped, read to the end, interrupted, killed.

#include <algorithm>
#include <memory>
#include <optional>
#include <ranges>
#include <vector>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/pool.hpp>
#include <green/shield.hpp>
#include <green/wait.hpp>

#include "support/map_inputs.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::after;
using tests::all_of;
using tests::run_green;
using tests::settle;
using tests::Steps;

TEST_CASE("imap: dropping the results ends the calls and the input", "[core][imap]") {
    const bool ordered = GENERATE(true, false);
    const int reads = GENERATE(-1, 0, 1);  // -1: not even begun
    run_green([ordered, reads] {
        struct Counted {
            explicit Counted(int& c) : count{&c} { ++c; }
            Counted(const Counted& other) : Counted{*other.count} {}
            Counted& operator=(const Counted&) = delete;
            ~Counted() { --*count; }
            int* count;
        };
        int things = 0;
        green::Pool pool{2};
        {
            std::vector<Counted> input;
            for (int i = 0; i < 6; ++i) input.emplace_back(things);
            int calls = 0;
            const auto work = [&, own = Counted{things}](Counted thing) {
                if (++calls > 3) green::sleep(1h);
                return thing;
            };
            auto results = ordered ? pool.imap(work, std::move(input))
                                   : pool.imap_unordered(work, std::move(input));
            if (reads >= 0) settle();
            for (int i = 0; i < reads; ++i) CHECK(results.next());
        }
        CHECK(things == 0);
        CHECK(pool.empty());
        CHECK(pool.free_count() == 2);
        settle();
    });
}

TEST_CASE("imap: dropping the results waits until the input has let go", "[core][imap]") {
    run_green([] {
        green::Pool pool{2};
        bool cleaned_up = false;
        {
            const Steps input{5, [&](Steps::Step step, int at) {
                                  if (step != Steps::at_next || at != 1) return;
                                  try {
                                      green::sleep(1h);
                                  } catch (const green::GreenletExit&) {
                                      green::sleep(10ms);
                                      cleaned_up = true;
                                      throw;
                                  }
                              }};
            auto results = pool.imap([](int a) { return a; }, input);
            CHECK(results.next() == 0);
        }
        CHECK(cleaned_up);
    });
}

TEST_CASE("imap: the input goes as soon as it has been read", "[core][imap]") {
    run_green([] {
        green::Pool pool{2};
        auto token = std::make_shared<int>(1);
        const std::weak_ptr<int> watch = token;
        std::vector<std::shared_ptr<int>> input{std::move(token)};
        auto results =
            pool.imap([](const std::shared_ptr<int>& box) { return *box; }, std::move(input));
        settle();
        CHECK(watch.expired());
        CHECK(results.next() == 1);
    });
}

TEST_CASE("imap: a reader that is interrupted takes nothing with it", "[core][imap]") {
    run_green([] {
        green::Pool pool{2};
        green::Event go;
        auto results = pool.imap(
            [&](int a) {
                go.wait();
                return a;
            },
            std::vector{1, 2});
        CHECK_FALSE(results.next(5ms));
        bool read = false;
        auto reader = green::spawn([&] {
            (void)results.next();
            read = true;
        });
        settle();
        go.set();
        green::yield();  // the calls have ended, and the reader stands in the ring
        CHECK(pool.empty());
        reader.kill_soon();
        settle();
        CHECK(reader.ready());
        CHECK_FALSE(read);
        CHECK(results.next() == 1);
        CHECK(results.next() == 2);
    });
}

TEST_CASE("imap: several readers share the results out", "[core][imap]") {
    const bool ordered = GENERATE(true, false);
    run_green([ordered] {
        green::Pool pool{3};
        auto results = ordered ? pool.imap(after, std::vector{5, 3, 4, 1, 2})
                               : pool.imap_unordered(after, std::vector{5, 3, 4, 1, 2});
        std::vector<int> read;
        std::vector<green::Greenlet<void>> readers;
        for (int i = 0; i < 3; ++i) {
            readers.push_back(green::spawn([&] {
                while (const auto value = results.next()) read.push_back(*value);
            }));
        }
        for (auto& reader : readers) reader.get();
        std::sort(read.begin(), read.end());
        CHECK(read == std::vector{1, 2, 3, 4, 5});
    });
}

TEST_CASE("imap: killing the pool fails what runs, and then the map", "[core][imap]") {
    const bool ordered = GENERATE(true, false);
    run_green([ordered] {
        green::Pool pool{2};
        const auto hang = [](int a) {
            if (a > 0) green::sleep(1h);
            return a;
        };
        auto results = ordered ? pool.imap(hang, std::views::iota(0))
                               : pool.imap_unordered(hang, std::views::iota(0));
        settle();
        CHECK(pool.kill().empty());
        CHECK(results.next() == 0);
        CHECK_THROWS_AS(results.next(), green::GreenletExit);  // the first that ran
        CHECK_THROWS_AS(results.next(), green::GreenletExit);  // the second
        CHECK_THROWS_AS(results.next(), green::GreenletExit);  // the rest of the input
        CHECK(results.next() == std::nullopt);
        CHECK(pool.free_count() == 2);
    });
}

TEST_CASE("imap: results outlive their pool", "[core][imap]") {
    run_green([] {
        std::optional<green::ResultStream<int>> results;
        {
            green::Pool pool{2};
            results.emplace(pool.imap([](int a) { return a; }, std::views::iota(0)));
            settle();
        }
        for (int i = 0; i < 4; ++i) CHECK(results->next() == i);
        CHECK_THROWS_AS(results->next(), green::GreenletExit);
        CHECK(results->next() == std::nullopt);
    });
}

TEST_CASE("imap: its feeder is no member, and joining does not wait for it", "[core][imap]") {
    run_green([] {
        green::Pool pool{2};
        auto results = pool.imap([](int a) { return a; }, std::views::iota(0));
        CHECK(pool.empty());
        settle();
        CHECK(pool.join());
        CHECK(pool.members().empty());
        CHECK(results.next() == 0);
    });
}

TEST_CASE("imap: a killed element is thrown as an exit in its place", "[core][imap]") {
    run_green([] {
        green::Pool pool{2};
        auto results = pool.imap(after, std::vector{10, 20});
        green::yield();
        green::yield();
        CHECK(pool.killone(pool.members().at(0)));
        CHECK_THROWS_AS(results.next(), green::GreenletExit);
        CHECK(results.next() == 20);
        CHECK(results.next() == std::nullopt);
    });
}

TEST_CASE("imap: an element that is begun while its pool is killed has an outcome too",
          "[core][imap]") {
    const bool ordered = GENERATE(true, false);
    run_green([ordered] {
        green::Pool pool{2};
        const Steps input{2, [&](Steps::Step step, int at) {
                              if (step != Steps::at_read || at != 1) return;
                              const green::Shield shield;  // outlives the kill by one element
                              green::sleep(5ms);
                          }};
        const auto same = [](int a) { return a; };
        auto results = ordered ? pool.imap(same, input) : pool.imap_unordered(same, input);
        CHECK(results.next() == 0);
        CHECK(pool.kill(1ms).size() == 1);  // the one that reads the input
        auto killer = green::spawn([&] { pool.kill(); });
        CHECK_THROWS_AS(results.next(), green::GreenletExit);
        CHECK(pool.free_count() == 2);
        killer.join();  // it uses the pool
    });
}

TEST_CASE("imap: the input may call into the pool like anybody else", "[core][imap]") {
    run_green([] {
        green::Pool pool{1};
        const Steps input{3, [&](Steps::Step step, int at) {
                              if (step != Steps::at_read) return;
                              CHECK_FALSE(pool.contains(green::current()));
                              CHECK(pool.apply([&] {
                                  CHECK(pool.contains(green::current()));
                                  return at;
                              }) == at);
                          }};
        CHECK(all_of(pool.imap([](int a) { return a; }, input)) == std::vector{0, 1, 2});
    });
}
