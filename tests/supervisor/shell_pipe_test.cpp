// Pipes between pools, with programs that die and are replaced while data flows: what was written
// is read once and in order.
#include <algorithm>
#include <array>
#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <span>
#include <sstream>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/greenlet.hpp>
#include <green/ipc/control.capnp.h>
#include <green/ipc/inherit.hpp>
#include <green/ipc/message.hpp>

#include "frames/frame_header.hpp"
#include "pipe_flow.hpp"
#include "shell_support.hpp"
#include "support/roles.hpp"
#include "support/run_green.hpp"

using namespace greensup;
using namespace greensup::test;

namespace {

volatile std::sig_atomic_t was_told = 0;

void append(const std::string& path, const std::string& text) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (::write(file, text.data(), text.size()) != static_cast<ssize_t>(text.size())) ::_exit(70);
    ::close(file);
}

void write_all(std::string_view text) {
    while (!text.empty()) {
        const auto count = ::write(STDOUT_FILENO, text.data(), text.size());
        if (count > 0) text.remove_prefix(static_cast<std::size_t>(count));
        if (count < 0 && errno != EINTR) ::_exit(71);
    }
}

std::vector<std::string> lines_of(const std::string& path) {
    std::vector<std::string> lines;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
}

std::string text_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

/// Which life of a slot this is, counted from 1.
int begin_life(const std::string& path) {
    append(path, ".");
    return static_cast<int>(text_of(path).size());
}

int to_int(const std::string& text) { return std::stoi(text); }

}  // namespace

// FILE NAME LIVES COUNT: in each life it writes COUNT lines "NAME LIFE N", then a part of one, and
// is killed; in the last one it leaves in peace.
GREEN_TEST_ROLE(mortal_writer) {
    const auto life = begin_life(arguments[0]);
    const bool is_last = life >= to_int(arguments[2]);
    for (int i = 0; i < to_int(arguments[3]); ++i)
        write_all(arguments[1] + " " + std::to_string(life) + " " + std::to_string(i) + "\n");
    write_all(is_last ? "the end" : "a torn li");
    if (!is_last) ::raise(SIGKILL);
    return 0;
}

// DIRECTORY: writes lines "PID N" until it is told to leave, and then how many into DIRECTORY/PID.
GREEN_TEST_ROLE(endless_writer) {
    struct sigaction action {};
    action.sa_handler = [](int) { was_told = 1; };
    ::sigaction(SIGTERM, &action, nullptr);
    const auto me = std::to_string(::getpid());
    int count = 0;
    while (was_told == 0) write_all(me + " " + std::to_string(count++) + "\n");
    append(arguments[0] + "/" + me, std::to_string(count) + "\n");
    return 0;
}

// FILE LINES...: appends each line to FILE as soon as it is whole, and "end" at the end. Its N-th
// life ends by SIGKILL in the middle of the line after so many of them.
GREEN_TEST_ROLE(mortal_reader) {
    const auto life = static_cast<std::size_t>(begin_life(arguments[0] + ".lives"));
    int left = life < arguments.size() ? to_int(arguments[life]) : -1;
    std::string line;
    for (char c = 0; ::read(STDIN_FILENO, &c, 1) == 1;) {
        if (left == 0) ::raise(SIGKILL);
        line += c;
        if (c != '\n') continue;
        append(arguments[0], line);
        line.clear();
        --left;
    }
    append(arguments[0], line + "end\n");
    return 0;
}

// FILE BYTES: appends each byte to FILE, and is killed after so many of them, for ever.
GREEN_TEST_ROLE(byte_reader) {
    int left = to_int(arguments[1]);
    for (char c = 0; ::read(STDIN_FILENO, &c, 1) == 1; --left) {
        append(arguments[0], std::string(1, c));
        if (left == 1) ::raise(SIGKILL);
    }
    append(arguments[0], "<end>");
    return 0;
}

// Reads nothing.
GREEN_TEST_ROLE(deaf_reader) {
    for (;;) ::pause();
}

namespace {

namespace control = green::ipc::control;

/// A hub worker with one pipe, made of the control channel alone.
struct HubWorker {
    green::ipc::FrameStream channel{green::Fd{std::atoi(std::getenv(green::ipc::control_variable))},
                                    green::ipc::control_options};
    green::Fd pipe;
    std::uint64_t largest = 0;

    HubWorker() {
        green::ipc::put<control::FromWorker>(channel, [&](control::FromWorker::Builder message) {
            message.initHello().setProtocol(control::PROTOCOL);
        });
        const auto welcome = green::ipc::next<control::ToWorker>(channel);
        if (!welcome || (*welcome)->getWelcome().getPipes() != 1) ::_exit(72);
        auto message = green::ipc::next<control::ToWorker>(channel);
        if (!message || message->descriptors().size() != 1) ::_exit(73);
        pipe = std::move(message->descriptors()[0]);
        largest = (*message)->getPipe().getLargest();
        green::ipc::put<control::FromWorker>(
            channel, [&](control::FromWorker::Builder word) { word.setReady(); });
    }
    void wait_for_drain() {
        while (auto message = green::ipc::next<control::ToWorker>(channel))
            if ((*message)->isDrain()) return;
    }
};

/// Reads so many bytes and not one more, as a worker that fetches more loses it when it is killed.
bool read_exactly(green::Fd& fd, char* into, std::size_t size) {
    for (std::size_t done = 0; done < size;) {
        const auto got = green::sys::recv(fd.number(), into + done, size - done);
        if (got.would_block()) {
            fd.wait_readable();
            continue;
        }
        if (!got.ok() || got.value == 0) return false;
        done += got.as_size();
    }
    return true;
}

}  // namespace

// DIRECTORY TYPE: puts messages "PID N" of that type until it is to leave, and then how many into
// DIRECTORY/PID.
GREEN_TEST_ROLE(hub_writer) {
    HubWorker worker;
    green::ipc::FrameStream stream{
        std::move(worker.pipe),
        green::ipc::StreamOptions{.limit = worker.largest, .coalesce = false}};
    stream.expect({static_cast<std::uint64_t>(to_int(arguments[1])), "Number"}, {});
    const auto me = std::to_string(::getpid());
    int count = 0;
    bool is_to_leave = false;
    auto puts = green::spawn([&] {
        while (!is_to_leave) {
            const auto text = me + " " + std::to_string(count);
            stream.put(std::as_bytes(std::span{text}));
            ++count;
        }
    });
    worker.wait_for_drain();
    is_to_leave = true;
    puts.join();
    append(arguments[0] + "/" + me, std::to_string(count) + "\n");
    ::_exit(0);
}

// FILE TYPE LINES...: as mortal_reader, with messages of that type; each life expects its hello.
GREEN_TEST_ROLE(hub_reader) {
    HubWorker worker;
    const auto life = static_cast<std::size_t>(begin_life(arguments[0] + ".lives"));
    int left = life + 1 < arguments.size() ? to_int(arguments[life + 1]) : -1;
    bool has_hello = false;
    std::array<char, green::ipc::FrameHeader::size> raw{};
    while (read_exactly(worker.pipe, raw.data(), raw.size())) {
        const auto header = green::ipc::FrameHeader::read(std::as_bytes(std::span{raw}), 4096);
        if (left == 0 && has_hello) ::raise(SIGKILL);  // in the middle of the frame
        std::string payload(header.bytes, ' ');
        if (!read_exactly(worker.pipe, payload.data(), payload.size())) ::_exit(74);
        if (!has_hello) {
            const bool is_hello = header.kind == green::ipc::FrameKind::hello &&
                                  payload[0] == static_cast<char>(to_int(arguments[1]));
            if (!is_hello) ::_exit(75);
            has_hello = true;
            continue;
        }
        append(arguments[0], payload + "\n");
        --left;
    }
    append(arguments[0], "end\n");
    ::_exit(0);
}

namespace {

const std::string quick =
    "ready.delay = \"0s\"\nroll.min_ready = \"0s\"\nbackoff.initial = \"off\"\n"
    "intensity.max = \"off\"\nmin_uptime = \"0s\"\n";

std::string pool(const std::string& name, const std::string& keys, const std::string& command) {
    return "[workers." + name + "]\n" + quick + keys + command;
}

std::string pipe(const std::string& keys) {
    return "[pipes.p]\nfrom = \"a.stdout\"\nto = \"b.stdin\"\ncapacity = \"4KiB\"\n" + keys;
}

const std::string until_done = "restart = \"on-failure\"\n";
const std::string slots = "${instance.index}";

std::vector<std::string> lives(const std::string& name, int count, int lines) {
    std::vector<std::string> all;
    for (int life = 1; life <= count; ++life)
        for (int i = 0; i < lines; ++i)
            all.push_back(name + " " + std::to_string(life) + " " + std::to_string(i));
    all.emplace_back("the end");
    return all;
}

bool is_through(const Status& status) {
    return std::all_of(status.pools.begin(), status.pools.end(), [](const PoolStatus& pool) {
        return std::all_of(pool.instances.begin(), pool.instances.end(),
                           [](const auto& one) { return one.state == State::done; });
    });
}

/// Until a line of each writer was read: before that one may still be on its way to heed signals.
void await_line_of_each(const Status& status, const std::string& file) {
    for (const auto pid : pids(status, "a"))
        Running::until(
            [&] { return text_of(file).find(std::to_string(pid) + " ") != std::string::npos; });
}

/// What the endless writers say that they have written is there, once and in order. Lines of one
/// stand together if `is_ordered`. Returns how many writers there were.
std::size_t check_account(const std::string& directory, std::vector<std::string> read,
                          bool is_ordered) {
    std::map<std::string, int> next;
    std::string last;
    for (const auto& line : read) {
        const auto blank = line.find(' ');
        REQUIRE(blank != std::string::npos);
        const auto who = line.substr(0, blank);
        if (is_ordered && who != last) REQUIRE_FALSE(next.contains(who));
        REQUIRE(line.substr(blank + 1) == std::to_string(next[who]++));
        last = who;
    }
    for (const auto& [who, count] : next) {
        INFO(who);
        REQUIRE(lines_of(directory + "/" + who) == std::vector{std::to_string(count)});
    }
    return next.size();
}

}  // namespace

TEST_CASE("shell: a pipe brings every line once, however often both of its ends are killed",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(
            pipe("framing = \"lines\"\n") +
            pool("a", until_done, role("mortal_writer", {dir / "w", "a", "4", "3000"})) +
            pool("b", until_done,
                 role("mortal_reader", {dir / "r", "1", "999", "0", "4000", "1"})));
        const auto status = running.await(is_through);
        auto expected = lives("a", 4, 3000);
        expected.emplace_back("end");
        CHECK(lines_of(dir / "r") == expected);
        REQUIRE(status.pipes.size() == 1);
        CHECK(status.pipes[0].from == "a.stdout");
        CHECK(status.pipes[0].to == "b.stdin");
        CHECK(status.pipes[0].shape == "pair");
        CHECK(status.pipes[0].torn == 3);
        CHECK(status.pipes[0].waiting == 0);
        CHECK(text_of(dir / "r.lives").size() == 6);
    });
}

TEST_CASE("shell: a pipe of bytes goes on at the byte where the last reader stopped",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(pipe("") +
                        pool("a", until_done, role("mortal_writer", {dir / "w", "a", "2", "500"})) +
                        pool("b", until_done, role("byte_reader", {dir / "r", "3001"})));
        running.await(is_through);
        std::string expected;
        for (int life = 1; life <= 2; ++life) {
            for (int i = 0; i < 500; ++i)
                expected += "a " + std::to_string(life) + " " + std::to_string(i) + "\n";
            expected += life == 1 ? "a torn li" : "the end";
        }
        CHECK(text_of(dir / "r") == expected + "<end>");
    });
}

TEST_CASE("shell: rolling both ends of a pipe loses no line and mixes none",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(pipe("framing = \"lines\"\n") +
                        pool("a", "", role("endless_writer", {dir.path()})) +
                        pool("b", "", role("mortal_reader", {dir / "r"})));
        auto before = running.await_settled();
        for (std::uint64_t round = 2; round <= 6; ++round) {
            await_line_of_each(before, dir / "r");
            const auto size = lines_of(dir / "r").size();
            Running::until([&] { return lines_of(dir / "r").size() > size + 100; });
            running.process().signal(SIGHUP);
            auto after = running.await_settled(round);
            CHECK(pids(before, "a") != pids(after, "a"));
            CHECK(pids(before, "b") != pids(after, "b"));
            before = after;
        }
        await_line_of_each(before, dir / "r");
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        auto read = lines_of(dir / "r");
        CHECK(std::erase(read, "end") == 6);
        CHECK(check_account(dir.path(), read, true) == 6);
        CHECK(running.log().find("bytes_left_in_pipes=0") != std::string::npos);
        CHECK(running.log().find("pipe.left") == std::string::npos);
    });
}

TEST_CASE("shell: writers that are done, and are to be rolled, are not the end of a pipe",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        // The reader is rolled first.
        Running running(pipe("framing = \"lines\"\n") +
                        pool("b", until_done, role("mortal_reader", {dir / "r"})) +
                        pool("a", until_done, role("mortal_writer", {dir / "w", "a", "1", "100"})));
        running.await(is_through);
        running.process().signal(SIGHUP);
        running.await([&](const Status& status) {
            return is_through(status) && text_of(dir / "w").size() == 2 &&
                   lines_of(dir / "r.lives").size() == 1;
        });
        auto expected = lives("a", 1, 100);
        expected.emplace_back("end");
        for (const auto& line : lives("a", 2, 100))
            if (line.substr(0, 4) != "a 1 ") expected.push_back(line);
        expected.emplace_back("end");
        CHECK(lines_of(dir / "r") == expected);
    });
}

TEST_CASE("shell: a shutdown does not wait for what nobody will read",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const auto sh = [](const std::string& text) {
            return "count = 2\ncommand = [\"sh\", \"-c\", \"" + text + "\"]\n";
        };
        Running running(
            pipe("framing = \"lines\"\n") + pool("a", until_done, sh("echo x; exec sleep 1000")) +
                pool("b", until_done, sh("test " + slots + " = 1 && exit 0; exec cat > /dev/null")),
            "shutdown_timeout = \"20s\"\n");
        running.await([](const Status& status) {
            const auto& readers = find(status, "b")->instances;
            return status.pipes.at(0).waiting == 2 && status.pipes.at(0).passed >= 2 &&
                   std::any_of(readers.begin(), readers.end(),
                               [](const auto& one) { return one.state == State::done; });
        });
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        CHECK(running.log().find("pipe p (") == std::string::npos);
        CHECK(running.log().find("bytes_left_in_pipes=2") != std::string::npos);
    });
}

TEST_CASE("shell: a pair joins slot to slot", "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(pipe("framing = \"lines\"\n") +
                        pool("a", until_done + "count = 3\n",
                             role("mortal_writer", {dir / ("w" + slots), slots, "2", "200"})) +
                        pool("b", until_done + "count = 3\n",
                             role("mortal_reader", {dir / ("r" + slots), "77"})));
        running.await(is_through);
        for (const auto* slot : {"0", "1", "2"}) {
            auto expected = lives(slot, 2, 200);
            expected.emplace_back("end");
            CHECK(lines_of(dir / ("r" + std::string(slot))) == expected);
        }
    });
}

TEST_CASE("shell: a broadcast brings all to everybody, also to who was away",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(
            pipe("framing = \"lines\"\nshape = \"broadcast\"\n") +
            pool("a", until_done, role("mortal_writer", {dir / "w", "a", "3", "2000"})) +
            pool("b", until_done + "count = 2\n",
                 role("mortal_reader", {dir / ("r" + slots), "10", "3" + slots})));
        running.await(is_through);
        auto expected = lives("a", 3, 2000);
        expected.emplace_back("end");
        CHECK(lines_of(dir / "r0") == expected);
        CHECK(lines_of(dir / "r1") == expected);
    });
}

TEST_CASE("shell: merge keeps lines whole and each writer's in order",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(pipe("framing = \"lines\"\nshape = \"merge\"\n") +
                        pool("a", "count = 3\n", role("endless_writer", {dir.path()})) +
                        pool("b", "", role("mortal_reader", {dir / "r", "500", "1"})));
        await_line_of_each(running.await_settled(), dir / "r");
        Running::until([&] { return lines_of(dir / "r").size() > 3000; });
        running.process().signal(SIGHUP);
        await_line_of_each(running.await_settled(2), dir / "r");
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        auto read = lines_of(dir / "r");
        CHECK(std::erase(read, "end") == 2);
        CHECK(check_account(dir.path(), read, false) == 6);
    });
}

TEST_CASE("shell: spread brings each line to one reader, also after one has died",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(
            pipe("framing = \"lines\"\nshape = \"spread\"\n") +
            pool("a", until_done, role("mortal_writer", {dir / "w", "a", "2", "20000"})) +
            pool("b", until_done + "count = 3\n",
                 role("mortal_reader", {dir / ("r" + slots), "1" + slots, "100"})));
        running.await(is_through);
        std::vector<std::string> all;
        for (const auto* slot : {"0", "1", "2"}) {
            auto some = lines_of(dir / ("r" + std::string(slot)));
            CHECK(some.size() > 100);
            CHECK(std::erase(some, "end") == 1);
            all.insert(all.end(), some.begin(), some.end());
        }
        auto expected = lives("a", 2, 20000);
        std::sort(expected.begin(), expected.end());
        std::sort(all.begin(), all.end());
        CHECK(all == expected);
    });
}

TEST_CASE("shell: a reader that reads nothing stops its writer, and nobody else",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        Running running(pipe("framing = \"lines\"\n") +
                        pool("a", "", role("endless_writer", {dir.path()})) +
                        pool("b", "", role("deaf_reader")));
        running.await_settled();
        std::uint64_t waiting = 0;
        Running::until([&] {  // until it does not grow any more
            const auto before = waiting;
            waiting = running.status().pipes.at(0).waiting;
            return waiting > PipeFlow::portion && waiting == before;
        });
        CHECK(waiting <= 4 * PipeFlow::portion);
        running.process().signal(SIGQUIT);
        CHECK(running.end().success());
    });
}

TEST_CASE("shell: hub workers have pipes, which outlive both of their ends",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        const auto hub = [](const std::string& name, const std::string& command) {
            return "[workers." + name + "]\nkind = \"hub\"\nroll.min_ready = \"0s\"\n" +
                   "backoff.initial = \"off\"\nintensity.max = \"off\"\nmin_uptime = \"0s\"\n" +
                   command;
        };
        const auto file = [&](const std::string& type) {
            return "[pipes.numbers" + type + "]\nfrom = \"a\"\nto = \"b\"\ncapacity = \"64KiB\"\n" +
                   hub("a", role("hub_writer", {dir.path(), type})) +
                   hub("b", role("hub_reader", {dir / "r", type, "3", "0", "500"}));
        };
        Running running(file("7"));
        auto now = running.await_settled();
        for (std::uint64_t round = 2; round <= 5; ++round) {
            await_line_of_each(now, dir / "r");
            const auto size = lines_of(dir / "r").size();
            Running::until([&] { return lines_of(dir / "r").size() > size + 1000; });
            // The last time both speak of something else, through another pipe.
            if (round == 5) running.write(file("8"));
            running.process().signal(SIGHUP);
            now = running.await_settled(round);
        }
        await_line_of_each(now, dir / "r");
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        auto read = lines_of(dir / "r");
        CHECK(std::erase(read, "end") == 5);
        CHECK(check_account(dir.path(), read, false) == 5);
        CHECK(text_of(dir / "r.lives").size() == 8);
        CHECK(running.log().find("bytes_left_in_pipes=0") != std::string::npos);
    });
}

TEST_CASE("shell: a reload makes, changes and removes pipes, and carries over what is in them",
          "[supervisor][shell][pipe]") {
    tests::run_green_for_real([] {
        const tests::TempDir dir;
        const auto pools = pool("a", "", role("endless_writer", {dir.path()})) +
                           pool("b", "", role("mortal_reader", {dir / "r"}));
        Running running(pipe("framing = \"lines\"\n") + pools);
        const auto before = running.await_settled();
        await_line_of_each(before, dir / "r");
        auto larger = pipe("framing = \"lines\"\nshape = \"merge\"\n");
        larger.replace(larger.find("4KiB"), 4, "64KiB");
        running.write(larger + pools);
        const auto answer = running.ask({"1", "reload"});
        CHECK(answer.ok);
        CHECK(answer.plan ==
              "roll   a  slot 0  (pipe p: shape: pair -> merge; capacity: 4KiB -> 64KiB)\n"
              "roll   b  slot 0  (pipe p: shape: pair -> merge; capacity: 4KiB -> 64KiB)\n");
        const auto after = running.await_settled(2);
        CHECK(pids(before, "b") != pids(after, "b"));
        await_line_of_each(after, dir / "r");
        running.process().signal(SIGTERM);
        CHECK(running.end().success());
        auto read = lines_of(dir / "r");
        CHECK(std::erase(read, "end") == 2);
        CHECK(check_account(dir.path(), read, true) == 2);
    });
}
