#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/simulation.hpp>
#include <green/watcher.hpp>

#include "support/faults.hpp"
#include "support/gate.hpp"
#include "support/run_green.hpp"
#include "support/streams.hpp"
#include "support/temp_dir.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::error_of;
using tests::read_all;
using tests::tcp_pair;

namespace {

constexpr auto calm = Simulation::Conditions::calm;

/// What is written to stderr while it lives.
class Stderr {
 public:
    Stderr() : kept_{::dup(2)} {
        const int file = static_cast<int>(
            sys::must(sys::open(path_.c_str(), O_CREAT | O_RDWR | O_TRUNC, 0600), "open"));
        ::dup2(file, 2);
        (void)sys::close(file);
    }
    Stderr(const Stderr&) = delete;
    Stderr& operator=(const Stderr&) = delete;
    ~Stderr() {
        ::dup2(kept_, 2);
        ::close(kept_);
    }
    [[nodiscard]] std::string text() const {
        char buffer[4096];
        const ssize_t size = ::pread(2, buffer, sizeof buffer, 0);
        return {buffer, size > 0 ? static_cast<std::size_t>(size) : 0};
    }

 private:
    tests::TempDir directory_;
    std::string path_ = directory_ / "stderr";
    int kept_;
};

/// GREENSUP_SEED for a while.
struct SeedVariable {
    explicit SeedVariable(const char* value) {
        if (const char* const given = std::getenv("GREENSUP_SEED")) before = given;
        if (value == nullptr) {
            ::unsetenv("GREENSUP_SEED");
        } else {
            ::setenv("GREENSUP_SEED", value, 1);
        }
    }
    ~SeedVariable() {
        if (before) {
            ::setenv("GREENSUP_SEED", before->c_str(), 1);
        } else {
            ::unsetenv("GREENSUP_SEED");
        }
    }
    std::optional<std::string> before;
};

}  // namespace

// --- one seed, one run ---

namespace {

/// What happened, and when.
class Trace {
 public:
    void add(const std::string& what) {
        lines_.push_back(std::to_string((now() - start_).count()) + " " + what);
    }
    [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }

 private:
    TimePoint start_ = now();
    std::vector<std::string> lines_;
};

struct Story {
    std::vector<std::string> lines;
    std::uint64_t fingerprint = 0;
    friend bool operator==(const Story&, const Story&) = default;
};

void copy_through(Stream& from, Stream& to, Trace& trace, const std::string& name) {
    char buffer[700];
    while (const std::size_t got = from.read_some(std::span{buffer})) {
        trace.add(name + " passes " + std::to_string(got));
        to.write_all(std::string_view{buffer, got});
    }
    to.shutdown_write();
    trace.add(name + " ends");
}

/// Clients talk through a proxy to a server that answers with what it got.
Story proxy_story(std::uint64_t seed) {
    Simulation world{seed};
    Story story;
    world.run([&] {
        Trace trace;
        Listener service = Listener::bind(Endpoint::parse("10.0.0.1:7"));
        Listener proxy = Listener::bind(Endpoint::parse("10.0.0.2:8080"));
        Group servers;
        servers.spawn([&] {
            for (int number = 0;; ++number) {
                servers.spawn([&trace, number, stream = service.accept()]() mutable {
                    copy_through(stream, stream, trace, "server " + std::to_string(number));
                });
            }
        });
        servers.spawn([&] {
            for (int number = 0;; ++number) {
                servers.spawn([&trace, number, &service, front = proxy.accept()]() mutable {
                    const std::string name = "proxy " + std::to_string(number);
                    Stream back = Stream::connect(service.local());
                    trace.add(name + " connected");
                    auto answers = spawn([&] { copy_through(back, front, trace, name + " back"); });
                    copy_through(front, back, trace, name);
                    answers.join();
                });
            }
        });
        Group clients;
        for (int number = 0; number < 5; ++number) {
            clients.spawn([&trace, &proxy, number] {
                const std::string name = "client " + std::to_string(number);
                Stream stream = Stream::connect(proxy.local());
                trace.add(name + " connected");
                const std::string sent(static_cast<std::size_t>(1000 * (number + 1)), 'x');
                auto writer = spawn([&] {
                    stream.write_all(sent);
                    stream.shutdown_write();
                });
                CHECK(read_all(stream) == sent);
                trace.add(name + " is done");
                writer.join();
            });
        }
        clients.join();
        story.lines = trace.lines();
    });
    story.fingerprint = world.fingerprint();
    return story;
}

}  // namespace

TEST_CASE("simulation: a seed gives one run, and another one another", "[core][sim]") {
    std::set<std::vector<std::string>> stories;
    std::set<std::uint64_t> fingerprints;
    const std::uint64_t first = tests::seed();
    for (std::uint64_t seed = first; seed < first + 30; ++seed) {
        INFO("GREENSUP_SEED=" << seed);
        const Story story = proxy_story(seed);
        REQUIRE(story.lines.size() > 25);
        const bool same = proxy_story(seed) == story;
        REQUIRE(same);
        stories.insert(story.lines);
        fingerprints.insert(story.fingerprint);
    }
    CHECK(stories.size() == 30);
    CHECK(fingerprints.size() == 30);
}

TEST_CASE("simulation: whatever the seed, what is ready runs first in, first out", "[core][sim]") {
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        Simulation world{seed};
        world.run([] {
            std::string order;
            for (char name = 'a'; name <= 'z'; ++name) {
                spawn([&order, name] {
                    order += name;
                    yield();
                    order += name;
                });
            }
            tests::settle();
            REQUIRE(order == "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz");
        });
    }
}

namespace {

/// An account whose every movement is told to an auditor before it is booked: the planted fault is
/// that another movement can come in between. Returns the balance, which should be `customers`.
int balance_after(Simulation& world, int customers) {
    return world.run([&] {
        auto [ours, auditor] = Stream::pair();
        auto audit = spawn([&auditor = auditor] { return read_all(auditor).size(); });
        int balance = 0;
        Semaphore one_writer;
        Group all;
        for (int i = 0; i < customers; ++i) {
            all.spawn([&, &ours = ours] {
                const int before = balance;
                one_writer.acquire();
                ours.write_all("a movement by one");
                one_writer.release();
                balance = before + 1;
            });
        }
        all.join();
        ours.shutdown_write();
        CHECK(audit.get() == 17U * static_cast<unsigned>(customers));
        return balance;
    });
}

}  // namespace

TEST_CASE("simulation: a race that a calm world hides is found, and found again by its seed",
          "[core][sim]") {
    {
        Simulation quiet{0, calm()};
        REQUIRE(balance_after(quiet, 20) == 20);
    }

    std::optional<std::uint64_t> guilty;
    int balance = 0;
    std::uint64_t fingerprint = 0;
    for (std::uint64_t seed = 0; seed < 1000 && !guilty; ++seed) {
        Simulation world{seed};
        balance = balance_after(world, 20);
        fingerprint = world.fingerprint();
        if (balance != 20) guilty = seed;
    }
    REQUIRE(guilty.has_value());
    Simulation again{*guilty};
    CHECK(balance_after(again, 20) == balance);
    CHECK(again.fingerprint() == fingerprint);
}

// --- running ---

TEST_CASE("simulation: a run gives what its body gives", "[core][sim]") {
    Simulation world{1};
    CHECK(world.run([] { return std::string{"value"}; }) == "value");
    world.run([] {});
    const Stderr quiet;
    CHECK_THROWS_AS(world.run([]() -> int { throw std::out_of_range("mine"); }), std::out_of_range);
}

TEST_CASE("simulation: a failing run says its seed, once, and a good one says nothing",
          "[core][sim]") {
    const std::string line = "greensup: a simulation failed; GREENSUP_SEED=77 repeats it\n";
    {
        const Stderr caught;
        try {
            Simulation world{77};
            world.run([] { throw std::runtime_error("boom"); });
        } catch (const std::runtime_error&) {
        }
        CHECK(caught.text() == line);
    }
    {
        const Stderr caught;
        try {
            Simulation world{77};
            throw std::runtime_error("outside of run()");
        } catch (const std::runtime_error&) {
        }
        CHECK(caught.text() == line);
    }
    const Stderr caught;
    Simulation{77}.run([] {});
    CHECK(caught.text().empty());
}

TEST_CASE("simulation: the seed comes from the environment, else from the caller, else anew",
          "[core][sim]") {
    {
        const SeedVariable set{"12345"};
        CHECK(Simulation::seed_from_environment() == 12345);
        CHECK(Simulation::seed_from_environment(7) == 12345);
    }
    {
        const SeedVariable unset{nullptr};
        CHECK(Simulation::seed_from_environment(7) == 7);
        CHECK(Simulation::seed_from_environment() != Simulation::seed_from_environment());
    }
    const char* const nonsense = GENERATE("", "x", "12x", "-1", "99999999999999999999");
    const SeedVariable set{nonsense};
    CHECK_THROWS_AS(Simulation::seed_from_environment(7), UsageError);
}

TEST_CASE("simulation: what is left at the end is told", "[core][sim]") {
    const auto left_after = [](const std::function<void()>& body) {
        const Stderr quiet;
        Simulation world{1};
        try {
            world.run(body);
        } catch (const LeftOver& left) {
            return std::string{left.what()};
        }
        return std::string{};
    };
    const auto says = [](const std::string& text, const std::string& what) {
        INFO(text);
        return text.find(what) != text.npos;
    };
    CHECK(left_after([] { spawn([] { yield(); }); }).empty());
    const std::string sleeper = left_after([] {
        auto greenlet = spawn([] { sleep(1h); });
        greenlet.set_name("the sleeper");
    });
    CHECK(says(sleeper, " 1 greenlets 1 timers"));
    CHECK(says(sleeper, "the sleeper"));

    std::optional<Listener> listener;
    const std::string open =
        left_after([&] { listener = Listener::bind(Endpoint::parse("10.1.2.3:80")); });
    listener.reset();
    CHECK(says(open, " 1 descriptors"));
    CHECK(says(open, "fd 1048576: socket tcp://10.1.2.3:80"));

    std::optional<SignalSet> signals;
    const std::string watched = left_after([&] { signals.emplace({SIGUSR1}); });
    CHECK(says(watched, " 1 signals"));
    signals.reset();

    IdleWatcher idle;
    CHECK(says(left_after([&] {
                   idle.start([] {});
                   idle.set_ref(false);
               }),
               " 1 watchers"));
}

TEST_CASE("simulation: time leaps when nobody can run, and never before", "[core][sim]") {
    Simulation world{3};
    world.run([] {
        const TimePoint start = now();
        sleep(24h * 365);
        CHECK(now() - start == 24h * 365);
        auto other = spawn([] { sleep(1ms); });
        for (int i = 0; i < 100'000; ++i) yield();
        CHECK_FALSE(other.ready());
        CHECK(now() - start == 24h * 365);
        other.join();
        CHECK(now() - start == 24h * 365 + 1ms);
    });
}

TEST_CASE("simulation: waiting for what cannot come any more is a deadlock", "[core][sim]") {
    const Stderr quiet;
    Simulation world{4};
    std::string text;
    world.run([&] {
        auto [a, b] = tcp_pair();
        char byte[1];
        try {
            (void)b.read_some(std::span{byte});
        } catch (const LoopExit& exit) {
            text = exit.what();
        }
        a.write_all("x");  // and life goes on
        CHECK(b.read_some(std::span{byte}) == 1);
    });
    CHECK(text.find("main: waits on fd 1048578 readable") != text.npos);
}

TEST_CASE("simulation: an idle watcher runs before anything is called a deadlock", "[core][sim]") {
    Simulation world{4};
    world.run([&] {
        auto [a, b] = tcp_pair();
        int ran = 0;
        IdleWatcher idle;
        idle.start([&] {
            if (++ran < 3) return;
            idle.stop();
            spawn([&] { a.write_all("x"); });
        });
        char byte[1];
        CHECK(b.read_some(std::span{byte}) == 1);
        CHECK(ran == 3);
    });
}

TEST_CASE("simulation: a signal comes when it is raised", "[core][sim]") {
    Simulation world{5};
    world.run([&] {
        SignalSet signals{SIGTERM, SIGUSR1};
        auto waiter = spawn([&] { return signals.next(); });
        tests::settle();
        CHECK_FALSE(waiter.ready());
        world.raise(SIGTERM);
        tests::settle();
        CHECK(waiter.get() == SIGTERM);
    });
}

// --- what is not simulated ---

TEST_CASE("simulation: the rest of the system is real, but nobody waits for it", "[core][sim]") {
    const tests::TempDir directory;
    int real[2];
    REQUIRE(::pipe2(real, O_CLOEXEC | O_NONBLOCK) == 0);
    Simulation world{6};
    world.run([&] {
        const std::string path = directory / "file";
        Fd file{
            static_cast<int>(sys::must(sys::open(path.c_str(), O_CREAT | O_RDWR, 0600), "open"))};
        CHECK(sys::write(file.number(), "real", 4).value == 4);
        char buffer[4];
        CHECK(sys::pread(file.number(), buffer, 4, 0).value == 4);

        Fd reader{real[0]};
        const Fd writer{real[1]};
        CHECK(error_of([&] { (void)reader.wait_readable(); }) == EOPNOTSUPP);

        tests::Gate gate;
        ThreadPool pool{1};
        auto task = pool.spawn([&gate] { gate.pass(); });
        CHECK_THROWS_AS(task.get(), LoopExit);
        gate.open.release();
    });
}

TEST_CASE("simulation: what it has not is refused by name", "[core][sim]") {
    Simulation world{7, calm()};
    world.run([] {
        CHECK(sys::socket(AF_INET, SOCK_DGRAM).error == EPROTONOSUPPORT);
        CHECK(sys::socket(AF_PACKET, SOCK_STREAM).error == EAFNOSUPPORT);
        int ends[2];
        CHECK(sys::socketpair(AF_UNIX, SOCK_SEQPACKET, ends).error == EPROTONOSUPPORT);
        CHECK(sys::socketpair(AF_INET, SOCK_STREAM, ends).error == EOPNOTSUPP);

        auto [a, b] = Stream::pair();
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
        char byte = 'x';
        iovec part{&byte, 1};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        CHECK(sys::sendmsg(a.fd().number(), message).error == EOPNOTSUPP);
        CHECK(sys::send(a.fd().number(), &byte, 1, MSG_OOB).error == EOPNOTSUPP);

        // The only thread there is would wait for itself.
        CHECK(sys::fcntl(a.fd().number(), F_SETFL, 0).ok());
        CHECK(sys::read(a.fd().number(), &byte, 1).error == EDEADLK);
        CHECK(sys::fcntl(a.fd().number(), F_SETFL, O_NONBLOCK).ok());
        CHECK(sys::read(a.fd().number(), &byte, 1).error == EAGAIN);
        pollfd one{a.fd().number(), POLLIN, 0};
        CHECK(sys::poll(&one, 1, 1000).error == EDEADLK);
        CHECK(sys::poll(&one, 1, 0).value == 0);
        pollfd both[] = {one, {0, POLLIN, 0}};
        CHECK(sys::poll(both, 2, 0).error == EOPNOTSUPP);

        CHECK(sys::pread(a.fd().number(), &byte, 1, 0).error == EBADF);  // the real kernel says so

        IoWatcher io{a.fd().number(), IoEvents::read};
        CHECK_THROWS_AS(io.start([] {}), UsageError);
        CHECK_FALSE(io.active());
    });
}

TEST_CASE("simulation: there is one in a thread, and another thread has its own or none",
          "[core][sim]") {
    Simulation world{8};
    CHECK_THROWS_AS(Simulation{9}, UsageError);
    world.run([] {
        auto [a, b] = Stream::pair();
        CHECK(a.fd().number() == 1 << 20);
        std::thread([] {
            {
                auto [real, peer] = Stream::pair();
                CHECK(real.fd().number() < 1 << 20);
            }
            Simulation other{10};
            other.run([] {
                auto [mine, peer] = Stream::pair();
                CHECK(mine.fd().number() == 1 << 20);
            });
        }).join();
    });
}

// --- descriptors ---

TEST_CASE("simulation: a lack of descriptors is EMFILE, and what waited for one is not lost",
          "[core][sim]") {
    Simulation world{30, calm()};
    world.run([&] {
        Listener listener = Listener::bind(Endpoint::parse("10.0.0.1:80"));
        Stream client = Stream::connect(listener.local());
        world.limit_descriptors(2);
        CHECK(error_of([&] { (void)listener.accept(); }) == EMFILE);
        CHECK(error_of([&] { (void)Stream::connect(listener.local()); }) == EMFILE);
        int ends[2];
        CHECK(sys::pipe2(ends).error == EMFILE);
        world.limit_descriptors(3);
        CHECK(sys::pipe2(ends).error == EMFILE);
        Stream server = listener.accept();
        client.write_all("x");
        char byte[1];
        CHECK(server.read_some(std::span{byte}) == 1);
        CHECK(world.open_descriptors() == 3);
    });
}

TEST_CASE("simulation: numbers are the lowest free ones and never real", "[core][sim]") {
    const std::size_t real = tests::open_descriptors();
    Simulation world{31};
    world.run([&] {
        std::vector<Fd> ends;
        for (int i = 0; i < 20'000; ++i) {
            ends.emplace_back(
                static_cast<int>(sys::must(sys::socket(AF_UNIX, SOCK_STREAM), "socket")));
        }
        CHECK(ends.back().number() == (1 << 20) + 19'999);
        ends[7].close();
        ends[5].close();
        CHECK(sys::socket(AF_UNIX, SOCK_STREAM).value == (1 << 20) + 5);
        (void)sys::close((1 << 20) + 5);
        CHECK(tests::open_descriptors() == real);
        CHECK(::fcntl(ends[0].number(), F_GETFD) == -1);
    });
}

TEST_CASE("simulation: calls are made to fail as in the real world", "[core][sim]") {
    Simulation world{32, calm()};
    world.run([] {
        const auto talk = [] {
            auto [a, b] = tcp_pair();
            a.write_all("x");
            char byte[1];
            (void)b.read_some(std::span{byte});
        };
        std::set<sys::Call> refused;
        (void)tests::for_each_failure(EIO, [&](const tests::FailNth& failure) {
            const int error = error_of(talk);
            CHECK((error == 0 || (error == EIO && failure.fired())));
            if (error == EIO) refused.insert(failure.call());
        });
        using sys::Call;
        CHECK(refused == std::set{Call::accept4, Call::bind, Call::connect, Call::getsockname,
                                  Call::getsockopt, Call::listen, Call::poll, Call::recv,
                                  Call::send, Call::setsockopt, Call::socket});
    });
}
