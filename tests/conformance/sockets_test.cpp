#include <string>
#include <system_error>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "support/run_green.hpp"
#include "support/streams.hpp"
#include "support/worlds.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::in_every_world;
using tests::in_quiet_worlds;
using tests::read_all;
using tests::settle;
using tests::tcp_pair;

TEST_CASE("C076: second reader refused", "[conformance]") {
    in_every_world([] {
        auto [ours, peer] = tcp_pair();
        auto first = spawn([&ours = ours] { return read_all(ours); });
        settle();
        REQUIRE_FALSE(first.ready());
        char buffer[64];
        for (int i = 0; i < 2; ++i) {
            const std::uint64_t switches = hub_figures().switches;
            CHECK_THROWS_AS(ours.read_some(std::span{buffer}), ConcurrentUse);
            CHECK(hub_figures().switches == switches);  // at once
        }
        CHECK_FALSE(first.ready());
        peer.write_all("for the first one");
        peer.shutdown_write();
        CHECK(first.get() == "for the first one");
    });
}

TEST_CASE("C077: full duplex", "[conformance]") {
    // Not in the rough worlds: over a real distance a peer that goes with bytes unread takes back
    // what it has on the way.
    in_quiet_worlds([] {
        auto [ours, peer] = tcp_pair();
        auto sender = spawn([&ours = ours] {
            try {
                ours.write_all(std::string(100'000, 's'));
            } catch (const WriteError&) {  // the peer went before it had all
            }
        });
        auto receiver = spawn([&ours = ours] {
            std::string all;
            char buffer[64];
            while (all.size() < 11) all.append(buffer, ours.read_some(std::span{buffer}));
            return all;
        });
        settle();
        peer.write_all("eleven byte");
        sys::must(sys::shutdown(peer.fd().number(), SHUT_RD), "shutdown");
        peer.close();
        CHECK(receiver.get(1min) == "eleven byte");
        CHECK(sender.join(1min));
    });
}
