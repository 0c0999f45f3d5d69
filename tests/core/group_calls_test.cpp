#include <functional>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/group.hpp>
#include <green/shield.hpp>
#include <green/timeout.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

TEST_CASE("apply: it gives the value of a call in a member", "[core][group]") {
    run_green([] {
        green::Group group;
        const auto caller = green::current();
        int counter = 0;
        const int value = group.apply(
            [&](int a, int& b) {
                CHECK_FALSE(green::current() == caller);
                CHECK(group.contains(green::current()));
                green::sleep(1ms);
                ++b;
                return a + 1;
            },
            5, std::ref(counter));
        CHECK(value == 6);
        CHECK(counter == 1);
        group.apply([&] { ++counter; });
        CHECK(counter == 2);
        CHECK(*group.apply([](std::unique_ptr<int> box) { return box; },
                           std::make_unique<int>(3)) == 3);
    });
}

TEST_CASE("apply: an error comes to the caller, and to nobody else", "[core][group]") {
    run_green([] {
        const tests::Errors errors;
        green::Group group;
        CHECK_THROWS_WITH(group.apply([] { throw std::runtime_error("boom"); }), "boom");
        CHECK(group.join_or_raise());
    });
}

TEST_CASE("apply: a member runs it right there", "[core][group]") {
    run_green([] {
        green::Group group;
        const int value = group.apply([&] {
            const auto member = green::current();
            const green::NoSwitch fence{"it needs no switch"};
            return group.apply(
                [&](std::unique_ptr<int> box) {
                    CHECK(green::current() == member);
                    return *box;
                },
                std::make_unique<int>(6));
        });
        CHECK(value == 6);
    });
}

TEST_CASE("apply: a caller that is interrupted outlives the call", "[core][group]") {
    run_green([] {
        green::Group group;
        bool call_ended = false;
        bool in_time = false;
        auto caller = green::spawn([&] {
            std::string local = "of the caller";
            try {
                group.apply([&] {
                    try {
                        green::sleep(1h);
                    } catch (const green::GreenletExit&) {
                        green::sleep(10ms);
                        local += ", still there";
                        call_ended = true;
                        throw;
                    }
                });
            } catch (const green::GreenletExit&) {
                in_time = call_ended;
                throw;
            }
        });
        green::yield();
        green::yield();
        CHECK(caller.kill());
        CHECK(in_time);
    });
}

TEST_CASE("apply_async: it does not switch, and is a member", "[core][group]") {
    run_green([] {
        green::Group group;
        green::Greenlet<int> call = [&] {
            const green::NoSwitch fence{"must not switch"};
            return group.apply_async([](int a) { return a; }, 4);
        }();
        CHECK(group.contains(call));
        CHECK(call.get() == 4);
    });
}

TEST_CASE("apply_async_then: the callback sees values only", "[core][group]") {
    run_green([] {
        const tests::Errors errors;
        green::Group group;
        std::vector<int> seen;
        const auto note = [&](const int& value) { seen.push_back(value); };
        auto good = group.apply_async_then(
            note, [](int a) { return a * 2; }, 4);
        auto bad = group.apply_async_then(note, []() -> int { throw std::runtime_error("boom"); });
        auto killed = group.apply_async_then(note, [] {
            green::sleep(1h);
            return 1;
        });
        bool done = false;
        group.apply_async_then([&] { done = true; }, [] {});
        green::yield();
        killed.kill();
        CHECK(good.get() == 8);
        CHECK_THROWS_WITH(bad.get(), "boom");
        CHECK(seen == std::vector{8});
        CHECK(done);
        auto unlucky = group.apply_async_then([](int) { throw std::runtime_error("callback"); },
                                              [] { return 1; });
        CHECK_THROWS_WITH(unlucky.get(), "callback");
    });
}

TEST_CASE("map: values come in the order of the input", "[core][group]") {
    run_green([] {
        green::Group group;
        const std::vector<int> input{30, 10, 20};
        const auto begin = green::now();
        const auto values = group.map(
            [](int ms) {
                green::sleep(std::chrono::milliseconds(ms));
                return std::to_string(ms);
            },
            input);
        CHECK(values == std::vector<std::string>{"30", "10", "20"});
        CHECK(green::now() - begin == 30ms);
        CHECK(group.map([](int a) { return a; }, std::vector<int>{}).empty());
        int sum = 0;
        group.map([&](int a) { sum += a; }, input);
        CHECK(sum == 60);
        CHECK(group.empty());
    });
}

TEST_CASE("map: what is handed over is moved into the calls", "[core][group]") {
    run_green([] {
        green::Group group;
        std::vector<std::unique_ptr<int>> boxes;
        for (int i = 0; i < 3; ++i) boxes.push_back(std::make_unique<int>(i));
        auto back = group.map([](std::unique_ptr<int> box) { return box; }, std::move(boxes));
        REQUIRE(back.size() == 3);
        CHECK(*back[2] == 2);
        const std::vector<std::string> kept{"a", "b"};
        CHECK(group.map([](std::string text) { return text + text; }, kept) ==
              std::vector<std::string>{"aa", "bb"});
        CHECK(kept[0] == "a");
        std::vector<std::string> viewed{"c"};
        group.map([](std::string text) { return text; }, std::span{viewed});
        CHECK(viewed[0] == "c");
        CHECK(group.map([](bool bit) { return bit ? 1 : 0; }, std::vector<bool>{true, false}) ==
              std::vector{1, 0});
    });
}

TEST_CASE("map: the input may pass its elements only once", "[core][group]") {
    run_green([] {
        green::Group group;
        std::istringstream text{"1 2 3"};
        CHECK(group.map([](int a) { return a * a; }, std::ranges::istream_view<int>(text)) ==
              std::vector{1, 4, 9});
    });
}

TEST_CASE("map: the first error in time fails the call and ends the others", "[core][group]") {
    run_green([] {
        const tests::Errors errors;
        green::Group group;
        int ended = 0;
        struct Ended {
            int* count;
            ~Ended() { ++*count; }
        };
        const auto begin = green::now();
        CHECK_THROWS_WITH(group.map(
                              [&](int ms) {
                                  const Ended at_end{&ended};
                                  green::sleep(std::chrono::milliseconds(ms));
                                  if (ms < 1000) throw std::runtime_error(std::to_string(ms));
                              },
                              std::vector{5000, 20, 10}),
                          "10");
        CHECK(green::now() - begin == 10ms);
        CHECK(ended == 3);
        CHECK(group.empty());
        CHECK(group.join_or_raise());
    });
}

TEST_CASE("map: an error of the input fails the call", "[core][group]") {
    run_green([] {
        green::Group group;
        bool ended = false;
        struct Input {
            struct Iterator {
                using value_type = int;
                using difference_type = std::ptrdiff_t;
                int operator*() const { return at; }
                Iterator& operator++() {
                    green::yield();
                    if (++at == 2) throw std::runtime_error("input");
                    return *this;
                }
                void operator++(int) { ++*this; }
                bool operator==(std::default_sentinel_t) const { return false; }
                int at = 0;
            };
            Iterator begin() const { return {}; }
            std::default_sentinel_t end() const { return {}; }
        };
        CHECK_THROWS_WITH(group.map(
                              [&](int) {
                                  try {
                                      green::sleep(1h);
                                  } catch (const green::GreenletExit&) {
                                      ended = true;
                                      throw;
                                  }
                              },
                              Input{}),
                          "input");
        CHECK(ended);
    });
}

TEST_CASE("map: a killed call fails the map", "[core][group]") {
    run_green([] {
        green::Group group;
        auto killer = green::spawn([&] {
            green::sleep(1ms);
            group.kill();
        });
        CHECK_THROWS_AS(group.map([](int) { green::sleep(1h); }, std::vector{1, 2}),
                        green::GreenletExit);
        killer.join();  // it uses the group
    });
}

TEST_CASE("map: a caller that runs into a limit ends its calls", "[core][group]") {
    run_green([] {
        green::Group group;
        int alive = 0;
        struct Alive {
            int* count;
            explicit Alive(int& c) : count{&c} { ++c; }
            ~Alive() { --*count; }
        };
        CHECK_FALSE(green::with_timeout(10ms, [&] {
            group.map(
                [&](int) {
                    const Alive one{alive};
                    green::sleep(1h);
                },
                std::vector{1, 2, 3});
        }));
        CHECK(alive == 0);
        CHECK(group.empty());
    });
}

TEST_CASE("map_async: it is a handle on the values", "[core][group]") {
    run_green([] {
        const tests::Errors errors;
        green::Group group;
        const std::vector<int> input{1, 2, 3};
        green::Greenlet<std::vector<int>> handle = [&] {
            const green::NoSwitch fence{"must not switch"};
            return group.map_async([](int a) { return a + 1; }, input);
        }();
        CHECK(group.join());  // waits for it too
        CHECK(handle.ready());
        CHECK(handle.get() == std::vector{2, 3, 4});
        auto owning = group.map_async([](std::unique_ptr<int> box) { return *box; },
                                      [] {
                                          std::vector<std::unique_ptr<int>> boxes;
                                          boxes.push_back(std::make_unique<int>(8));
                                          return boxes;
                                      }());
        CHECK(owning.get() == std::vector{8});
        auto failing = group.map_async([](int) { throw std::runtime_error("boom"); }, input);
        CHECK_THROWS_WITH(failing.get(), "boom");
    });
}

TEST_CASE("map_async: killing the handle ends the calls", "[core][group]") {
    run_green([] {
        green::Group group;
        auto handle = group.map_async([](int) { green::sleep(1h); }, std::vector{1, 2});
        green::yield();
        green::yield();
        CHECK(group.size() == 3);
        CHECK(handle.kill());
        CHECK(group.empty());
    });
}
