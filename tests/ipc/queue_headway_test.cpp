#include <cstdint>

#include <catch2/catch.hpp>

#include "named/headway.hpp"

using green::ipc::Headway;

namespace {

/// A consumer, and producers that put as many messages in each of its pauses.
class Scene {
 public:
    explicit Scene(unsigned put_in_a_pause) : put_in_a_pause_{put_in_a_pause} {}
    /// Looks, and finds a message. How long it paused before.
    unsigned look(bool is_last) {
        unsigned pauses = 0;
        headway.keep([&] { return put_; },
                     [&] {
                         ++pauses;
                         put_ += put_in_a_pause_;
                     });
        headway.found(is_last);
        return pauses;
    }
    /// So many messages, of which the last one is the last there is.
    unsigned batch(unsigned messages) {
        unsigned pauses = 0;
        for (unsigned i = 1; i <= messages; ++i) pauses += look(i == messages);
        return pauses;
    }
    Headway headway;

 private:
    unsigned put_in_a_pause_;
    unsigned put_ = 0;
};

}  // namespace

TEST_CASE("queue headway: who comes to the end again and again pauses for a part of what it did",
          "[ipc][queue]") {
    Scene scene{1};
    CHECK_FALSE(scene.headway.is_kept());
    // The first look never pauses, nor those behind the first two ends.
    for (unsigned i = 0; i < Headway::ends_before + 1; ++i) CHECK(scene.batch(10) == 0);
    CHECK(scene.headway.is_kept());
    CHECK(scene.batch(1) == 10 * Headway::pauses_each);
    CHECK(scene.batch(30) == Headway::pauses_each);
    CHECK(scene.batch(100'000) == 30 * Headway::pauses_each);
    CHECK(scene.batch(1) == Headway::most);
    // Not where there is more.
    (void)scene.look(false);
    for (int i = 0; i < 1000; ++i) REQUIRE(scene.look(false) == 0);
}

TEST_CASE("queue headway: who finds nothing begins anew", "[ipc][queue]") {
    Scene scene{1};
    for (int i = 0; i < 100; ++i) (void)scene.batch(10);
    scene.headway.found_nothing();
    CHECK_FALSE(scene.headway.is_kept());
    for (unsigned i = 0; i < Headway::ends_before + 1; ++i) CHECK(scene.batch(10) == 0);
    CHECK(scene.batch(10) > 0);
    // One that always finds nothing behind what it was woken for never pauses.
    for (int i = 0; i < 1000; ++i) {
        scene.headway.found_nothing();
        REQUIRE(scene.look(true) == 0);
    }
}

TEST_CASE("queue headway: where producers do not go on meanwhile it is left out ever more often",
          "[ipc][queue]") {
    // Also where each message comes alone, as from a producer on the consumer's own thread.
    const unsigned messages = GENERATE(1, 64, 1000);
    Scene scene{0};
    unsigned long pauses = 0;
    constexpr unsigned ends = 100'000;
    for (unsigned i = 0; i < ends; ++i) pauses += scene.batch(messages);
    CHECK(pauses < ends);
}

TEST_CASE("queue headway: one producer that is seen now and then is enough", "[ipc][queue]") {
    Headway headway;
    std::uint64_t put = 0;
    unsigned long pauses = 0;
    constexpr unsigned ends = 10'000;
    for (unsigned i = 0; i < ends; ++i) {
        headway.keep([&] { return put; },
                     [&] {
                         // One message in as many pauses as tell of one that does not run.
                         if (++pauses % Headway::telling == 0) ++put;
                     });
        headway.found(true);
    }
    CHECK(pauses > (ends - 100) * Headway::pauses_each);
}
