// Listeners with a file: a dead one's is replaced, and of several that do so at once one succeeds.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <future>
#include <optional>
#include <string>
#include <sys/file.h>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/simulation.hpp>
#include <green/socket.hpp>

#include "support/faults.hpp"
#include "support/streams.hpp"
#include "support/temp_dir.hpp"
#include "support/worlds.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::error_of;
using tests::FailNth;
using tests::in_every_world;
using tests::open_descriptors;

namespace {

std::vector<std::string> names_in(const tests::TempDir& directory) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator{directory.path()}) {
        names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

/// Locked by somebody else while it is open.
Fd locked(const std::string& path, int flags) {
    Fd fd{static_cast<int>(sys::must(sys::open(path.c_str(), flags, 0600), "open"))};
    sys::must(sys::flock(fd.number(), LOCK_EX), "flock");
    return fd;
}

}  // namespace

TEST_CASE("listener: the file of a dead Unix listener is replaced, that of a living one is not",
          "[core][net]") {
    const tests::TempDir directory;
    const Endpoint at = Endpoint::parse("unix:" + directory / "it.sock");
    in_every_world([&] {
        {
            Listener dead = Listener::bind(at);
            CHECK(dead.local().path() == at.path());
        }
        Listener living = Listener::bind(at);
        CHECK(error_of([&] { (void)Listener::bind(at); }) == EADDRINUSE);
        Stream client = Stream::connect(at, 1s);
        CHECK(living.accept().is_open());
        living.close();
        CHECK(error_of([&] { (void)Stream::connect(at, 1s); }) == ECONNREFUSED);
        CHECK(sys::unlink(at.path().c_str()).ok());
        CHECK(error_of([&] { (void)Stream::connect(at, 1s); }) == ENOENT);
    });
}

TEST_CASE("listener: of two that replace the file of a dead one, one does", "[core][net]") {
    // The second one comes when the first is about to make this call.
    const sys::Call amid = GENERATE(sys::Call::unlink, sys::Call::listen);
    const tests::TempDir directory;
    const Endpoint at = Endpoint::parse("unix:" + directory / "it.sock");
    if (amid == sys::Call::unlink) (void)Listener::bind(at);  // dead

    struct Second final : sys::Injector {
        Second(sys::Call when, const Endpoint& where) : amid{when}, at{where} {
            outer = sys::set_injector(this);
        }
        ~Second() override {
            if (thread.joinable()) thread.join();
            (void)sys::set_injector(outer);
        }
        int before(sys::Call call, int) noexcept override {
            if (call != amid || begun.exchange(true)) return 0;
            thread = std::thread{[this] {
                error = error_of([&] { listener = Listener::bind(at); });
                done.set_value();
            }};
            // It waits for the first one, or else has ended long before that.
            (void)done.get_future().wait_for(50ms);
            return 0;
        }
        sys::Call amid;
        Endpoint at;
        Injector* outer;
        std::atomic<bool> begun = false;
        std::thread thread;
        std::promise<void> done;
        std::optional<Listener> listener;
        int error = 0;
    } second{amid, at};

    Listener first = Listener::bind(at);
    second.thread.join();
    CHECK(second.error == EADDRINUSE);
    CHECK_FALSE(second.listener);
    const Stream client = Stream::connect(at, 1s);
    CHECK(first.accept_for(1s));
}

TEST_CASE("listener: who locks the directory keeps nobody from binding in it", "[core][net]") {
    const tests::TempDir directory;
    const Endpoint at = Endpoint::parse("unix:" + directory / "it.sock");
    (void)Listener::bind(at);  // dead
    const Fd other = locked(directory.path().string(), O_RDONLY | O_DIRECTORY);
    const FailNth pauses{0, EIO, sys::Call::poll, true};
    const Listener listener = Listener::bind(at);
    CHECK_FALSE(pauses.fired());
    CHECK(names_in(directory) == std::vector<std::string>{"it.sock"});
}

TEST_CASE("listener: a file that another one is about to bind is in use at once", "[core][net]") {
    const tests::TempDir directory;
    const Endpoint at = Endpoint::parse("unix:" + directory / "it.sock");
    const std::string beside = directory / "it.sock.greensup-binding";
    const std::size_t descriptors = open_descriptors();
    {
        const Fd other = locked(beside, O_RDWR | O_CREAT);
        const FailNth pauses{0, EIO, sys::Call::poll, true};
        CHECK(error_of([&] { (void)Listener::bind(at); }) == EADDRINUSE);
        CHECK_FALSE(pauses.fired());
        CHECK(open_descriptors() == descriptors + 1);
        CHECK(names_in(directory) == std::vector<std::string>{"it.sock.greensup-binding"});
        // Another file of the directory is another matter.
        const Listener neighbour = Listener::bind(Endpoint::parse("unix:" + directory / "b.sock"));
    }
    // The other one was killed: what is left of it is in nobody's way.
    CHECK(sys::unlink((directory / "b.sock").c_str()).ok());
    const Listener listener = Listener::bind(at);
    CHECK(names_in(directory) == std::vector<std::string>{"it.sock"});
    CHECK(open_descriptors() == descriptors + 1);
}

TEST_CASE("listener: one that comes between two others disturbs neither", "[core][net]") {
    const tests::TempDir directory;
    const Endpoint at = Endpoint::parse("unix:" + directory / "it.sock");
    const std::string beside = directory / "it.sock.greensup-binding";
    // When it has the file beside open, and not locked yet: the one before ends, and removes that
    // file; the next one makes a new one, and has bound, but does not listen yet.
    struct Meanwhile final : sys::Injector {
        Meanwhile(const Endpoint& where, const std::string& file) : at{where}, beside{file} {
            outer = sys::set_injector(this);
        }
        ~Meanwhile() override { (void)sys::set_injector(outer); }
        int before(sys::Call call, int) noexcept override {
            if (call != sys::Call::flock || std::exchange(begun, true)) return 0;
            (void)sys::unlink(beside.c_str());
            lock = locked(beside, O_RDWR | O_CREAT);
            next = Fd{sys::socket(AF_UNIX, SOCK_STREAM).as_int()};
            bound = sys::bind(next.number(), at.address(), at.size());
            return 0;
        }
        const Endpoint& at;
        const std::string& beside;
        Injector* outer;
        bool begun = false;
        Fd lock, next;
        sys::Outcome bound;
    } meanwhile{at, beside};
    CHECK(error_of([&] { (void)Listener::bind(at); }) == EADDRINUSE);
    CHECK(meanwhile.bound.ok());
    CHECK(sys::listen(meanwhile.next.number(), 1).ok());
    CHECK(Stream::connect(at, 1s).is_open());
    CHECK(names_in(directory) == std::vector<std::string>{"it.sock", "it.sock.greensup-binding"});
}

TEST_CASE("listener: of many that bind the file of a dead one at once, one does", "[core][net]") {
    const tests::TempDir directory;
    const Endpoint at = Endpoint::parse("unix:" + directory / "it.sock");
    for (int round = 0; round < 50; ++round) {
        (void)Listener::bind(at);  // dead
        std::atomic<int> waiting = 4;
        std::vector<std::optional<Listener>> listeners(4);
        std::vector<int> errors(4);
        std::vector<std::thread> threads;
        for (std::size_t i = 0; i < 4; ++i) {
            threads.emplace_back([&, i] {
                --waiting;
                while (waiting > 0) std::this_thread::yield();
                errors[i] = error_of([&] { listeners[i] = Listener::bind(at); });
            });
        }
        for (std::thread& thread : threads) thread.join();
        std::sort(errors.begin(), errors.end());
        CHECK(errors == std::vector<int>{0, EADDRINUSE, EADDRINUSE, EADDRINUSE});
        const Stream client = Stream::connect(at, 1s);
        for (std::optional<Listener>& listener : listeners) {
            if (listener) CHECK(listener->accept_for(1s));
        }
    }
    CHECK(names_in(directory) == std::vector<std::string>{"it.sock"});
}

TEST_CASE("listener: where nothing can be locked no file is replaced", "[core][net]") {
    const tests::TempDir directory;
    const Endpoint at = Endpoint::parse("unix:" + directory / "it.sock");
    const std::size_t descriptors = open_descriptors();
    {
        const FailNth none_left{0, EMFILE, sys::Call::open};
        CHECK(error_of([&] { (void)Listener::bind(at); }) == EMFILE);
    }
    {
        const FailNth anothers{0, EACCES, sys::Call::open};
        (void)Listener::bind(at);  // dead
    }
    {
        const FailNth lockless{0, ENOLCK, sys::Call::flock, true};
        CHECK(error_of([&] { (void)Listener::bind(at); }) == EADDRINUSE);
    }
    {
        const FailNth unwritable{0, EROFS, sys::Call::open};
        CHECK(error_of([&] { (void)Listener::bind(at); }) == EADDRINUSE);
    }
    const Listener listener = Listener::bind(at);
    CHECK(names_in(directory) == std::vector<std::string>{"it.sock"});
    CHECK(open_descriptors() == descriptors + 1);
}

TEST_CASE("listener: the files of a simulation are in it alone", "[core][net][sim]") {
    const tests::TempDir directory;
    Simulation world{0, Simulation::Conditions::calm()};
    world.run([&] {
        (void)Listener::bind(Endpoint::parse("unix:" + directory / "it.sock"));  // dead
        const FailNth locks{0, EIO, sys::Call::flock};
        const Listener listener = Listener::bind(Endpoint::parse("unix:" + directory / "it.sock"));
        const Listener nowhere = Listener::bind(Endpoint::parse("unix:/nowhere/at/all/it.sock"));
        CHECK(names_in(directory).empty());
        CHECK_FALSE(locks.fired());
    });
}

TEST_CASE("listener: a file that is no socket is left alone", "[core][net]") {
    const tests::TempDir directory;
    const Endpoint file = Endpoint::parse("unix:" + directory / "file");
    Fd plain{static_cast<int>(
        sys::must(sys::open(file.path().c_str(), O_CREAT | O_WRONLY, 0600), "open"))};
    CHECK(error_of([&] { (void)Listener::bind(file); }) == EADDRINUSE);
    CHECK(sys::unlink(file.path().c_str()).ok());
}
