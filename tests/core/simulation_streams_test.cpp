// Transfers in both directions over simulated connections, while greenlets are killed, limits pass
// and the network is cut and torn, over many seeds. Whatever happens: bytes arrive in order and
// unchanged, none that was not sent, and all that were acknowledged as written, unless the
// connection broke.

#include <cerrno>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/simulation.hpp>

#include "sim/random.hpp"
#include "support/schedules.hpp"

using namespace green;
using namespace std::chrono_literals;

namespace {

/// What is known of the bytes that go one way.
struct Way {
    std::size_t begun = 0;    // handed to a write
    std::size_t written = 0;  // of them, acknowledged by a write that ended
    std::size_t received = 0;
    bool failed = false;    // a call of the writer or of the reader did
    bool end_read = false;  // the reader came to the end
    bool wrong = false;     // a byte was not the one that was sent
    const Way* back = nullptr;

    /// The byte at a place. Its period has nothing in common with any buffer.
    [[nodiscard]] static char at(std::size_t place) noexcept {
        return static_cast<char>('!' + place % 89);
    }
};

struct End {
    Stream stream;
    Way* out;
    Way* in;
};

class Traffic {
 public:
    Traffic(Simulation& world, std::uint64_t seed) : world_{world}, random_{seed} {}

    void run() {
        for (std::size_t i = 1 + below(3); i > 0; --i) connect();
        for (std::size_t i = below(12); i > 0; --i) {
            meddle();
            pause();
        }
        for (const Endpoint& where : places_) world_.network().heal(where);
        group_.join();
        for (const auto& way : ways_) check(*way);
    }

    [[nodiscard]] std::size_t received() const {
        std::size_t sum = 0;
        for (const auto& way : ways_) sum += way->received;
        return sum;
    }
    [[nodiscard]] std::size_t broken() const {
        std::size_t count = 0;
        for (const auto& way : ways_) count += way->failed;
        return count;
    }

 private:
    std::size_t below(std::size_t bound) { return random_.below(bound); }
    Deadline limit() {
        return below(3) != 0 ? Deadline::never() : Deadline{std::chrono::microseconds(below(5000))};
    }
    void pause() {
        if (below(2) == 0) {
            yield();
        } else {
            sleep(std::chrono::microseconds(below(20'000)));
        }
    }

    void connect() {
        auto there = std::make_unique<Way>();
        auto back = std::make_unique<Way>();
        auto [a, b] = below(3) == 0 ? Stream::pair() : tcp_pair();
        start(std::make_shared<End>(End{std::move(a), there.get(), back.get()}));
        start(std::make_shared<End>(End{std::move(b), back.get(), there.get()}));
        there->back = back.get();
        back->back = there.get();
        ways_.push_back(std::move(there));
        ways_.push_back(std::move(back));
    }
    std::pair<Stream, Stream> tcp_pair() {
        Listener listener = Listener::bind(Endpoint::parse("10.0.0.1:0"));
        places_.push_back(listener.local());
        Stream client = Stream::connect(listener.local());
        places_.push_back(client.local());
        return {std::move(client), listener.accept()};
    }
    void start(const std::shared_ptr<End>& end) {
        players_.push_back(group_.spawn([this, end] { write(*end); }));
        players_.push_back(group_.spawn([this, end] { read(*end); }));
    }

    void write(End& end) {
        // Also when it is killed: the reader must not wait for ever.
        struct SaysEnd {
            Stream* stream;
            ~SaysEnd() {
                try {
                    if (stream->is_open()) stream->shutdown_write();
                } catch (const std::system_error&) {  // it is broken: the reader knows
                }
            }
        } const says_end{&end.stream};
        Way& way = *end.out;
        for (std::size_t left = below(20'000); left > 0;) {
            std::string chunk(1 + below(std::min<std::size_t>(left, 4000)), ' ');
            for (std::size_t i = 0; i < chunk.size(); ++i) chunk[i] = Way::at(way.written + i);
            way.begun = way.written + chunk.size();
            const std::size_t before = way.written;
            try {
                if (below(8) == 0) {
                    // A time limit from outside: nobody knows how far the write came.
                    const auto limit = std::chrono::microseconds(below(5000));
                    if (!with_timeout(limit, [&] { return end.stream.write_all(chunk), true; })) {
                        return;
                    }
                } else {
                    end.stream.write_all(chunk, this->limit());
                }
                way.written += chunk.size();
            } catch (const WriteError& error) {
                way.written += error.written();
                way.begun = way.written;
                if (error.code().value() != ETIMEDOUT) {
                    way.failed = true;
                    return;
                }
            }
            left -= std::min(left, way.written - before);
            if (below(4) == 0) pause();
        }
    }

    void read(End& end) {
        Way& way = *end.in;
        // Killed: who writes to it must not wait for ever.
        struct Closes {
            End* end;
            bool at_end = false;
            ~Closes() {
                if (!at_end) end->stream.close();
            }
        } closes{&end};
        std::vector<char> buffer(1 + below(3000));
        for (;;) {
            std::size_t got = 0;
            try {
                if (below(8) == 0) {
                    const auto limit = std::chrono::microseconds(below(5000));
                    const auto some = with_timeout(
                        limit, [&] { return end.stream.read_some(std::span{buffer}); });
                    if (!some) continue;  // and nothing may be missing
                    got = *some;
                } else {
                    got = end.stream.read_some(std::span{buffer}, limit());
                }
            } catch (const std::system_error& error) {
                if (error.code().value() == ETIMEDOUT && !given_up(end)) continue;
                way.failed = true;
                return;
            }
            if (got == 0) {
                way.end_read = closes.at_end = true;
                return;
            }
            for (std::size_t i = 0; i < got; ++i)
                way.wrong |= buffer[i] != Way::at(way.received + i);
            way.received += got;
            if (below(8) == 0) pause();
        }
    }
    /// The limit of the call and the end of TCP's patience have the same name.
    static bool given_up(End& end) {
        if (!end.stream.is_open()) return true;
        pollfd one{end.stream.fd().number(), POLLIN, 0};
        (void)sys::poll(&one, 1, 0);
        return (one.revents & POLLHUP) != 0;
    }

    void meddle() {
        const auto somewhere = [this] { return places_[below(places_.size())]; };
        switch (places_.empty() ? below(2) : below(8)) {
            case 0:
            case 1:
                players_[below(players_.size())].kill_soon();
                break;
            case 2:
            case 3:
                world_.network().cut(somewhere());
                break;
            case 4:
            case 5:
                world_.network().heal(somewhere());
                break;
            case 6:
                world_.network().delay(somewhere(), 0us, std::chrono::microseconds(below(50'000)));
                break;
            default:
                world_.network().reset(somewhere());
                break;
        }
    }

    static void check(const Way& way) {
        INFO("written " << way.written << ", begun " << way.begun << ", received " << way.received);
        REQUIRE_FALSE(way.wrong);
        REQUIRE(way.received <= way.begun);
        // An end that breaks says so once, to its writer or to its reader; the other one is told of
        // an end like any other.
        if (way.end_read && !way.failed && !way.back->failed) REQUIRE(way.received >= way.written);
    }

    Simulation& world_;
    sim::Random random_;
    std::vector<std::unique_ptr<Way>> ways_;
    std::vector<Endpoint> places_;
    std::vector<AnyGreenlet> players_;
    Group group_;
};

void run_traffic(unsigned quarter) {
    std::size_t received = 0;
    std::size_t broken = 0;
    const std::uint64_t runs =
        tests::for_each_schedule(tests::share::traffic, {quarter, 4}, [&](std::uint64_t seed) {
            Simulation::Conditions conditions = Simulation::Conditions::of(seed);
            conditions.least_buffer = 1;
            Simulation world{seed, conditions};
            world.run([&] {
                Traffic traffic{world, seed};
                traffic.run();
                received += traffic.received();
                broken += traffic.broken();
            });
        });
    if (runs < 100) return;
    // It was not all in vain.
    CHECK(received > runs * 1000);
    CHECK(broken > runs / 10);
}

}  // namespace

// Four cases, so that they run beside each other.
TEST_CASE("traffic: what was written arrives or the connection broke, first quarter",
          "[core][sim][schedules]") {
    run_traffic(0);
}
TEST_CASE("traffic: what was written arrives or the connection broke, second quarter",
          "[core][sim][schedules]") {
    run_traffic(1);
}
TEST_CASE("traffic: what was written arrives or the connection broke, third quarter",
          "[core][sim][schedules]") {
    run_traffic(2);
}
TEST_CASE("traffic: what was written arrives or the connection broke, last quarter",
          "[core][sim][schedules]") {
    run_traffic(3);
}
