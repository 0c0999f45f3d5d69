// A child or its parent that is killed at any step of a start. Another process, the subject, is the
// parent; we trace both, and kill one of them when one is about to make its n-th system call.

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/process.hpp>

#include "ipc/tracer.hpp"
#include "sched/sanitizer.hpp"
#include "support/commands.hpp"
#include "support/faults.hpp"
#include "support/roles.hpp"

using namespace green;
using namespace std::chrono_literals;
using ipc::Entry;
using ipc::start_process;
using tests::Pipe;
using tests::Tracer;

namespace {

void begin_and_sleep(const Fd& ready, const Fd&) {
    sys::must(sys::write(ready.number(), "x", 1), "write");
    sleep(1h);
}
const Entry begins{"begins", [](const Fd& ready, const Fd& more) { begin_and_sleep(ready, more); }};

/// What the subject found.
enum Found : int {
    killed_on_its_way = 10,
    came_to_its_entry,
    start_has_failed,
    end_is_wrong,
    something_is_left
};

Found start_and_see_end(int way) try {
    Pipe ready;
    Pipe given;
    ipc::Process child =
        way == 0 ? start_process(begins, std::move(ready.writer), std::move(given.reader))
                 : start_process(begin_and_sleep, std::move(ready.writer), std::move(given.reader));
    Found found = killed_on_its_way;
    ready.reader.wait_readable();
    char byte;
    if (sys::read(ready.reader.number(), &byte, 1).value == 1) {
        found = came_to_its_entry;
        (void)child.kill();
    }
    if (child.join()->text() != "killed by SIGKILL") return end_is_wrong;
    // What it was given went with it.
    return sys::write(given.writer.number(), "x", 1).error == EPIPE ? found : something_is_left;
} catch (const std::exception&) {
    return start_has_failed;
}

/// The subject.
int start_and_see(int way, const Pipe& warm, Pipe& go) {
    (void)std::signal(SIGPIPE, SIG_IGN);
    Process first = Process::start({.argv = {"/bin/sleep", "1000"}});
    (void)first.join(1ms);  // what is made once is made now
    (void)first.signal(SIGKILL);
    (void)first.join();
    warm.put();
    (void)go.reader.wait_readable();
    const std::size_t before = tests::open_descriptors();
    const Found found = start_and_see_end(way);
    tests::until_reaped();
    return tests::open_descriptors() == before && tests::no_children() ? found : something_is_left;
}

/// Where nobody may trace: at one of all the system calls, whichever that is.
void kill_at_some_call(int way) {
    tests::run_and_reap([way] {
        Pipe ready;
        Pipe given;
        ipc::Process child =
            way == 0
                ? start_process(begins, std::move(ready.writer), std::move(given.reader))
                : start_process(begin_and_sleep, std::move(ready.writer), std::move(given.reader));
        (void)child.kill();
        CHECK(child.join()->text() == "killed by SIGKILL");
    });
}

}  // namespace

TEST_CASE("start_process: at whichever system call a child is killed, join() says so",
          "[ipc][process]") {
    const int way = GENERATE(0, 1);
    INFO((way == 0 ? "by exec" : "by fork"));
    int found = killed_on_its_way;
    int calls = 0;
    for (; found == killed_on_its_way; ++calls) {
        Pipe warm;
        Pipe go;
        const pid_t subject = ::fork();
        REQUIRE(subject >= 0);
        if (subject == 0) {
            ::alarm(30);
            ::_exit(start_and_see(way, warm, go));
        }
        warm.writer.close();  // so that the end of the subject is one of the pipe, too
        pollfd one{warm.reader.number(), POLLIN, 0};
        REQUIRE(::poll(&one, 1, -1) == 1);
        REQUIRE((one.revents & POLLIN) != 0);
        Tracer tracer{subject, {Tracer::Who::child, Tracer::Who::child}};
        if (tracer.error() != 0) {
            (void)::kill(subject, SIGKILL);
            (void)::waitpid(subject, nullptr, 0);
            INFO(std::strerror(tracer.error()));
            REQUIRE((tracer.error() == EPERM || tracer.error() == EACCES));
            WARN("no process may be traced here");
            kill_at_some_call(way);
            return;
        }
        go.put();
        INFO("killed before system call number " << calls);
        found = tracer.run(calls).subject;
        CHECK((found == killed_on_its_way || found == came_to_its_entry));
    }
    CHECK(found == came_to_its_entry);
    CHECK(calls > (way == 0 ? 50 : 10));
}

// --- the parent ---

namespace {

enum class Way { exec, exec_with_death_signal, fork };

constexpr int descriptors_of_child = 7;  // 0, 1, 2, what it speaks to its parent over, and three
constexpr int never_began = 127;

/// Says how many descriptors it has, and ends with its parent, which holds the last one's other
/// end.
int tell_and_end(const Fd& tester, const Fd& parent, const Fd& parents_end) {
    ::alarm(60);
    const auto count = static_cast<char>(tests::open_descriptors());
    sys::must(sys::write(tester.number(), &count, 1), "write");
    (void)sys::write(parent.number(), "x", 1);
    (void)wait_readable(parents_end.number());
    return 0;
}
const Entry tells{"tells", [](const Fd& tester, const Fd& parent, const Fd& parents_end) {
                      (void)std::signal(SIGPIPE, SIG_IGN);
                      return tell_and_end(tester, parent, parents_end);
                  }};
const Entry stays{"stays", [](const Fd&, const Fd& parent, const Fd&) {
                      sys::must(sys::write(parent.number(), "x", 1), "write");
                      sleep(1h);
                  }};

/// Waits on the stack of the thread: what a hub needs is no part of the start.
void wait_plainly(const Fd& fd) {
    pollfd one{fd.number(), POLLIN, 0};
    while (::poll(&one, 1, -1) < 0) {
    }
}

/// The subject: starts a child and goes when that has come to its entry.
int start_and_go(Way way, Fd report, const Pipe& warm, const Pipe& go) {
    (void)std::signal(SIGPIPE, SIG_IGN);
    (void)::setenv("LSAN_OPTIONS", "detect_leaks=0", 1);  // of the child: it looks by ptrace, too
    warm.put();
    wait_plainly(go.reader);
    Pipe ready;
    Pipe held;
    const auto start = [&](const auto&... what) {
        return start_process(what..., std::move(report), std::move(ready.writer),
                             std::move(held.reader));
    };
    const Command takes_along{.argv = {tests::self()}, .parent_death_signal = SIGKILL};
    ipc::Process child = way == Way::exec   ? start(tells)
                         : way == Way::fork ? start(tell_and_end)
                                            : start(takes_along, "stays");
    wait_plainly(ready.reader);
    ::_exit(came_to_its_entry);
}

/// How a child may have ended whose parent was killed, and what it then has said.
bool is_right(Way way, int end, const std::string& said) {
    const std::string began(1, static_cast<char>(descriptors_of_child));
    if (way == Way::exec_with_death_signal) return end == -SIGKILL || end == never_began;
    if (way == Way::fork && end == never_began) return said.empty();
    return end == 0 && said == began;
}

}  // namespace

TEST_CASE("start_process: at whichever system call a parent is killed, no child hangs or stays",
          "[ipc][process]") {
    const Way way = GENERATE(Way::exec, Way::exec_with_death_signal, Way::fork);
    const Tracer::Who caller = GENERATE(Tracer::Who::subject, Tracer::Who::child);
    INFO((way == Way::exec   ? "by exec"
          : way == Way::fork ? "by fork"
                             : "by exec, to be taken along")
         << ", at a call of the " << (caller == Tracer::Who::child ? "child" : "parent"));
    REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);  // what the parent leaves becomes ours
    tests::Ends ends{-SIGKILL, {}};
    int calls = 0;
    int left = 0;  // children that a killed parent has left
    // Each, but for a sanitizer's sake: its start alone makes hundreds, and slowly.
    const int step = GREEN_ADDRESS_SANITIZER != 0 ? 11 : 1;
    for (; ends.subject == -SIGKILL; calls += step) {
        ::alarm(60);
        Pipe report;
        Pipe warm;
        Pipe go;
        const pid_t subject = ::fork();
        REQUIRE(subject >= 0);
        if (subject == 0) {
            report.reader.close();
            ::_exit(start_and_go(way, std::move(report.writer), warm, go));
        }
        report.writer.close();
        wait_plainly(warm.reader);
        Tracer tracer{subject, {Tracer::Who::subject, caller}};
        if (tracer.error() != 0) {
            REQUIRE((tracer.error() == EPERM || tracer.error() == EACCES));
            WARN("no process may be traced here");
            (void)::kill(subject, SIGKILL);
        }
        go.put();
        INFO("killed before system call number " << calls);
        ends = tracer.run(calls);
        char byte[8];
        const sys::Outcome got = sys::read(report.reader.number(), byte, sizeof byte);
        REQUIRE(got.ok());  // nobody holds the other end
        REQUIRE(ends.others.size() <= 1);
        for (const auto& other : ends.others) {
            const int end = other.second;
            CAPTURE(end);
            CHECK((is_right(way, end, {byte, got.as_size()}) || ends.subject != -SIGKILL));
            left += ends.subject == -SIGKILL;
        }
        if (tracer.error() != 0) return;
    }
    ::alarm(0);
    CHECK(ends.subject == came_to_its_entry);
    CHECK(calls > 10);
    CHECK(left > (caller == Tracer::Who::child ? 10 / step : 0));
    REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 0) == 0);
}
