// A bare fork() in a process with a hub. Each case runs a role of this program and reads what it
// and its child say.

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/fd.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/process.hpp>
#include <green/signals.hpp>
#include <green/sys.hpp>
#include <green/watcher.hpp>

#include "sched/sanitizer.hpp"
#include "support/roles.hpp"
#include "support/run_green.hpp"
#include "support/temp_dir.hpp"

using namespace green;
using namespace std::chrono_literals;

namespace {

// --- the role ---

void say(const char* text) {
    (void)sys::write(STDOUT_FILENO, text, std::char_traits<char>::length(text));
}

/// Says so if it is destroyed anywhere but where it was made.
struct BelongsHere {
    pid_t pid = ::getpid();
    ~BelongsHere() {
        if (::getpid() != pid) say("a destructor of the parent ran in the child\n");
    }
};

struct World {
    explicit World(const std::string& path) : file{path} {
        int ends[2];
        sys::must(sys::pipe2(ends), "pipe2");
        reader = Fd{ends[0]};
        writer = Fd{ends[1]};
        io.emplace(ends[0], IoEvents::read);
        const auto here = std::make_shared<BelongsHere>();
        io->start([this, here] {
            say("the parent's descriptor is ready\n");
            io->stop();
        });
        io->set_ref(false);
        file.set_ref(false);
        file.start([this, here] {
            say("the parent's file has changed\n");
            file.stop();
        });
        async.set_ref(false);
        async.start([here] { say("the parent was called\n"); });
        signal.start([here] {});
        child_ends.start([here] {});
        auto timer = std::make_unique<TimerWatcher>(1h);
        timer->set_ref(false);
        timer->start([here] {});
        detach(std::move(timer));
        HubRef{}.post([here] {});
    }
    Fd reader;
    Fd writer;
    std::optional<IoWatcher> io;
    StatWatcher file;
    AsyncWatcher async;
    SignalWatcher signal{SIGUSR1};
    SignalSet signals{SIGUSR2};
    Process child = Process::start({.argv = {"/bin/sleep", "1000"}});
    ChildWatcher child_ends{child};
};

int end_of(pid_t pid) {
    int status = 0;
    sys::must({::waitpid(pid, &status, 0), 0}, "waitpid");
    if (WIFSIGNALED(status))
        say(("the child died of " + std::to_string(WTERMSIG(status)) + "\n").c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

}  // namespace

namespace {

/// Forks in a greenlet or on the hub's stack, with others that are about to run. In the child they
/// must not, whatever it does next.
pid_t fork_amid_others(const std::string& what) {
    const auto here = std::make_shared<BelongsHere>();
    pid_t pid = -1;
    const auto forks = [&what, &pid, here] {
        pid = ::fork();
        if (pid == 0 && what == "in a greenlet") ::_exit(3);
    };
    const auto other = [here] {
        if (::getpid() != here->pid) say("something of the parent ran in the child\n");
    };
    TimerWatcher first{1ms};
    TimerWatcher second{1ms};
    const HubRef hub;
    if (what == "a posted function returns") {
        hub.post(forks);
        hub.post(other);
    } else if (what == "a callback returns") {
        first.start(forks);
        second.start(other);
    } else {
        spawn(forks);
    }
    spawn(other);
    while (pid == -1) sleep(1ms);
    return pid;
}

}  // namespace

// bare_fork WHAT PATH: makes a hub and a world of watchers, forks, and does WHAT in the child; then
// looks whether the parent's world is whole.
GREEN_TEST_ROLE(bare_fork) {
    const std::string& what = arguments.at(0);
    const std::string& path = arguments.at(1);
    if (what == "fresh") {  // no hub so far
        const pid_t pid = ::fork();
        if (pid != 0) return end_of(pid);
        return spawn([] { return 7; }).get();
    }
    static World world{path};
    static Event never;
    static Greenlet<void> waiter = spawn([] {
        const BelongsHere here;
        never.wait();
    });
    const HubRef hub;
    ForkWatcher late;
    ForkWatcher early;
    late.start([] { say("fork watcher\n"); });
    early.set_priority(1);
    early.start([&] {
        say("early ");
        if (what == "callback") yield();
        if (what == "throws") throw std::runtime_error("boom");
    });
    world.child_ends.set_ref(false);
    yield();  // to the waiter
    sleep(1ms);

    const bool amid_others = what == "in a greenlet" || what.ends_with("returns");
    const pid_t pid = amid_others ? fork_amid_others(what) : ::fork();
    if (pid == 0) {
        if (what == "exit" || what == "throws") std::exit(3);
        if (what == "return") return 3;
        if (what == "exec") {
            ::execl("/bin/sh", "sh", "-c", "exit 3", nullptr);
            ::_exit(1);
        }
        if (what == "send") {
            world.async.send();
            ::_exit(3);
        }
        if (what == "fd") {  // closing is no business of the hub
            world.reader.close();
            world.writer.close();
            ::_exit(3);
        }
        if (what == "yield") yield();
        if (what == "spawn") spawn([] {});
        if (what == "post") hub.post([] {});
        if (what == "start") TimerWatcher{1ms}.start([] {});
        if (what == "set") never.set();
        if (what == "join") waiter.join();
        if (what == "thread") std::thread{[] { yield(); }}.join();
        say("it went on\n");
        ::_exit(1);
    }
    const int code = end_of(pid);
    // What the parent watches it still does, once, and its own child lives.
    sleep(1ms);
    sys::must(sys::write(world.writer.number(), "x", 1), "write");
    while (world.io->active()) sleep(1ms);
    std::FILE* file = std::fopen(path.c_str(), "w");
    std::fputs("changed", file);
    std::fclose(file);
    while (world.file.active()) sleep(1ms);
    if (world.child.poll()) say("the parent's child has ended\n");
    never.set();
    return code;
}

namespace {

struct Heard {
    std::string text;
    std::string end;
};

Heard run_role(const std::string& what) {
    const tests::TempDir directory;
    Heard heard;
    tests::run_green_for_real([&] {
        int ends[2];
        sys::must(sys::pipe2(ends), "pipe2");
        Fd from{ends[0]};
        Fd to{ends[1]};
        Process process =
            Process::start({.argv = {tests::self(), "--role=bare_fork", what, directory / "file"},
                            .descriptors = {{ends[1], STDOUT_FILENO}, {ends[1], STDERR_FILENO}}});
        to.close();
        char block[4096];
        for (;;) {
            from.wait_readable();
            const sys::Outcome got = sys::read(ends[0], block, sizeof(block));
            if (got.would_block()) continue;
            sys::must(got, "read");
            if (got.value == 0) break;
            heard.text.append(block, got.as_size());
        }
        heard.end = process.join()->text();
    });
    return heard;
}

const std::string parent_is_whole =
    "the parent's descriptor is ready\n"
    "the parent's file has changed\n";

}  // namespace

TEST_CASE("fork: a bare one leaves nothing of the hub in the child", "[core][fork]") {
    const std::string what =
        GENERATE("exit", "return", "in a greenlet", "exec", "send", "fd", "set");
    INFO(what);
    // Where there were several stacks the thread sanitizer minds nothing any more on the one that
    // forked, and so would take a switch for a race.
    if (GREEN_THREAD_SANITIZER && what == "in a greenlet") return;
    const Heard heard = run_role(what);
    if (what == "set") {
        CHECK(heard.text == "early fork watcher\nit went on\n" + parent_is_whole);
    } else {
        CHECK(heard.text == "early fork watcher\n" + parent_is_whole);
        CHECK(heard.end == "exited with 3");
    }
}

TEST_CASE("fork: using the hub in the child of a bare one aborts and says why", "[core][fork]") {
    const std::string what =
        GENERATE("yield", "spawn", "post", "start", "join", "thread", "callback",
                 "a greenlet returns", "a posted function returns", "a callback returns");
    INFO(what);
    const Heard heard = run_role(what);
    INFO(heard.text);
    CHECK(heard.text.find("bare fork()") != std::string::npos);
    CHECK(heard.text.find("green::Process") != std::string::npos);
    CHECK(heard.text.find("a ForkWatcher") != std::string::npos);
    CHECK(heard.text.find("the child died of " + std::to_string(SIGABRT)) != std::string::npos);
    CHECK(heard.text.find("it went on") == std::string::npos);
    CHECK(heard.text.find("destructor") == std::string::npos);
    CHECK(heard.text.find("ran in the child") == std::string::npos);
    CHECK(heard.text.find(parent_is_whole) != std::string::npos);
    CHECK(heard.end == "exited with 0");
}

TEST_CASE("fork: a fork watcher that throws is reported, the others run", "[core][fork]") {
    const Heard heard = run_role("throws");
    CHECK(heard.text ==
          "early greensup: the callback of a fork failed: std::runtime_error: boom\n"
          "fork watcher\n" +
              parent_is_whole);
    CHECK(heard.end == "exited with 3");
}

TEST_CASE("fork: before there is a hub it harms nobody", "[core][fork]") {
    const Heard heard = run_role("fresh");
    CHECK(heard.text.empty());
    CHECK(heard.end == "exited with 7");
}
