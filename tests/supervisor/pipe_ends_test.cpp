// Who comes to the ends of a pipe, who leaves them, and what they hear then.
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <iterator>
#include <span>
#include <string>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/deadline.hpp>
#include <green/greenlet.hpp>
#include <green/ipc/frame_stream.hpp>
#include <green/sys.hpp>

#include "core/log_lines.hpp"
#include "open_pipe.hpp"
#include "support/faults.hpp"
#include "support/run_green.hpp"
#include "wire_frames.hpp"

using namespace greensup;
using namespace std::chrono_literals;
using greensup::test::frame;

namespace {

PipeConfig lines(PipeShape shape) {
    return {.name = "p",
            .from = "a.stdout",
            .to = "b.stdin",
            .shape = shape,
            .framing = Framing::lines,
            .capacity = 4096};
}

PipeConfig frames() {
    return {.name = "p", .from = "a", .to = "b", .shape = PipeShape::pair, .capacity = 4096};
}

/// A pipe of lines with a writer, and a reader in each of its slots.
struct Joined {
    Joined(PipeShape shape, int slots, std::chrono::nanoseconds grace = 1s,
           std::chrono::nanoseconds glance = 1s)
        : pipe{lines(shape), slots, grace, glance}, from{pipe.add_writer(0, writer)} {
        for (int slot = 0; slot < slots; ++slot)
            to.push_back(pipe.add_reader(slot, readers[static_cast<std::size_t>(slot)]));
    }

    OpenPipe pipe;
    green::Fd writer;
    std::array<green::Fd, 3> readers;  // those in the slots, and one who comes later
    int from;                          // what the pipe calls the ends
    std::vector<int> to;
};

/// Time for the hub to hear of what was written.
void turn() { green::sleep(5ms); }

void write(const green::Fd& fd, std::string_view text) {
    REQUIRE(green::sys::write(fd.number(), text.data(), text.size()).as_size() == text.size());
    turn();
}

/// What lies there; "<end>" behind it if nothing will come any more.
std::string read(const green::Fd& fd) {
    std::string all;
    std::array<char, 4096> some{};
    for (;;) {
        const auto got = green::sys::read(fd.number(), some.data(), some.size());
        if (!got.ok()) return all;
        if (got.value == 0) return all + "<end>";
        all.append(some.data(), got.as_size());
    }
}

/// Writing to who has closed his end is told by the call, as it is in the supervisor.
class NoSigpipe {
 public:
    NoSigpipe() = default;
    NoSigpipe(const NoSigpipe&) = delete;
    NoSigpipe& operator=(const NoSigpipe&) = delete;
    ~NoSigpipe() { (void)std::signal(SIGPIPE, before_); }

 private:
    void (*before_)(int) = std::signal(SIGPIPE, SIG_IGN);
};

/// Somebody who writes more whenever it is read, but for an end that comes too late.
class Refill final : public green::sys::Injector {
 public:
    explicit Refill(const green::Fd& into)
        : into_{into.number()}, outer_{green::sys::set_injector(this)} {}
    Refill(const Refill&) = delete;
    Refill& operator=(const Refill&) = delete;
    ~Refill() override { (void)green::sys::set_injector(outer_); }
    int before(green::sys::Call call, int) noexcept override {
        if (call == green::sys::Call::read && left_ > 0 && ::write(into_, "b\n", 2) == 2) --left_;
        return 0;
    }

 private:
    int into_;
    int left_ = 1000;
    Injector* outer_;
};

}  // namespace

TEST_CASE("pipe: of several readers that leave the last one gets what is left",
          "[supervisor][pipe]") {
    tests::run_green_for_real([] {
        Joined ends{PipeShape::spread, 2};
        ends.pipe.end_input(ends.to[0], false);
        CHECK(read(ends.readers[0]) == "<end>");
        ends.pipe.end_input(ends.to[1], false);
        CHECK(read(ends.readers[1]).empty());
        ends.pipe.remove(ends.to[0], true);
        write(ends.writer, "a\nb\n");
        ends.writer.close();
        ends.pipe.remove(ends.from, true);
        CHECK(read(ends.readers[1]) == "a\nb\n<end>");
    });
}

TEST_CASE("pipe: a reader whose turn has not come may leave before the one ahead of it",
          "[supervisor][pipe]") {
    tests::run_green_for_real([] {
        const auto log = tests::make_pipe();
        const tests::Redirected redirected{log.writer};
        Joined ends{PipeShape::pair, 1};
        const int second = ends.pipe.add_reader(0, ends.readers[1]);
        ends.pipe.end_input(second, true);
        CHECK(read(ends.readers[1]) == "<end>");
        write(ends.writer, "a\n");
        CHECK(read(ends.readers[0]) == "a\n");
        // What is closed is not watched.
        CHECK(tests::take(log.reader).empty());
    });
}

TEST_CASE("pipe: a reader to whom nothing was sent does not keep another type waiting",
          "[supervisor][pipe]") {
    using Kind = green::ipc::FrameKind;
    tests::run_green_for_real([] {
        OpenPipe pipe{frames(), 1};
        std::array<green::Fd, 2> writers;
        std::array<green::Fd, 2> readers;
        const auto one = frame("seven", 0, Kind::hello) + frame("a");
        const auto other = frame("eight", 0, Kind::hello) + frame("b");
        const int from = pipe.add_writer(0, writers[0]);
        const int to = pipe.add_reader(0, readers[0]);
        write(writers[0], one);
        CHECK(read(readers[0]) == one);
        pipe.remove(to, true);
        (void)pipe.add_reader(0, readers[1]);
        pipe.remove(from, true);
        (void)pipe.add_writer(0, writers[1]);
        write(writers[1], other);
        CHECK(read(readers[1]) == other);
    });
}

TEST_CASE("pipe: of a writer that is gone nothing more is read, whoever else has its end",
          "[supervisor][pipe]") {
    tests::run_green_for_real([] {
        Joined ends{PipeShape::pair, 1};
        REQUIRE(::write(ends.writer.number(), "a\n", 2) == 2);
        {
            const Refill refill{ends.writer};
            ends.pipe.remove(ends.from, false);
        }
        CHECK(read(ends.readers[0]) == "a\n");
        ends.pipe.tell({true, {}, {}, {}});
        CHECK(read(ends.readers[0]) == "<end>");
    });
}

TEST_CASE("pipe: what waits is counted for those who will read", "[supervisor][pipe]") {
    const auto shape = GENERATE(PipeShape::pair, PipeShape::spread, PipeShape::broadcast);
    tests::run_green_for_real([shape] {
        OpenPipe pipe{lines(shape), 2};
        std::array<green::Fd, 2> writers;
        for (int slot : {0, 1}) (void)pipe.add_writer(slot, writers[static_cast<size_t>(slot)]);
        write(writers[1], "b\ntorn");
        const bool is_pair = shape == PipeShape::pair;
        const bool is_spread = shape == PipeShape::spread;
        CHECK(pipe.waiting_for({}) == 0);
        CHECK(pipe.waiting_for({0}) == (is_pair ? 0 : 6));
        CHECK(pipe.waiting_for({1}) == 6);
        CHECK(pipe.waiting_for({0, 1}) == (is_pair || is_spread ? 6 : 8));
    });
}

TEST_CASE("pipe: how long an end stands still counts from when it stopped, seen or not",
          "[supervisor][pipe]") {
    tests::run_green_for_real([] {
        Joined ends{PipeShape::pair, 1, 1s, 1ms};
        write(ends.writer, "a\nb\n");
        char c = 0;
        REQUIRE(::read(ends.readers[0].number(), &c, 1) == 1);
        const auto has_read = green::now();
        turn();
        const auto reader_seen = green::now();
        const auto reader = ends.pipe.figures().readers.at(0);
        REQUIRE(reader.stands_since);
        CHECK(*reader.stands_since >= has_read);
        CHECK(*reader.stands_since < reader_seen);
        // Whose turn has not come has nothing there for a while, and then something.
        (void)ends.pipe.add_writer(0, ends.readers[2]);
        turn();
        CHECK_FALSE(ends.pipe.figures().writers.at(1).stands_since);
        const auto has_written = green::now();
        write(ends.readers[2], "c\n");
        const auto writer_seen = green::now();
        const auto writer = ends.pipe.figures().writers.at(1);
        REQUIRE(writer.stands_since);
        CHECK(*writer.stands_since >= has_written);
        CHECK(*writer.stands_since < writer_seen);
    });
}

TEST_CASE("pipe: how long an end stands still is looked at while others never stop",
          "[supervisor][pipe]") {
    constexpr auto glance = 1ms;
    tests::run_green_for_real([glance] {
        OpenPipe pipe{lines(PipeShape::pair), 2, 1s, glance};
        std::array<green::Fd, 2> writers;
        std::array<green::Fd, 2> readers;
        for (std::size_t slot : {0U, 1U}) {
            (void)pipe.add_writer(static_cast<int>(slot), writers[slot]);
            (void)pipe.add_reader(static_cast<int>(slot), readers[slot]);
        }
        write(writers[1], "a\nb\n");
        char c = 0;
        REQUIRE(::read(readers[1].number(), &c, 1) == 1);
        // Something is heard of the other slot in each turn, also in that of the glance.
        const auto busy_turn = [&] {
            REQUIRE(::write(writers[0].number(), "x\n", 2) == 2);
            green::idle();
            (void)read(readers[0]);
        };
        for (const auto due = green::now() + glance; green::now() < due;) busy_turn();
        for (int i = 0; i < 3; ++i) busy_turn();
        const auto seen = green::now();
        const auto reader = pipe.figures().readers.at(1);
        REQUIRE(reader.stands_since);
        CHECK(*reader.stands_since < seen);
    });
}

TEST_CASE("pipe: an end that cannot be watched now is watched later", "[supervisor][pipe]") {
    tests::run_green_for_real([] {
        OpenPipe pipe{lines(PipeShape::pair), 1};
        green::Fd writer;
        green::Fd reader;
        (void)pipe.add_reader(0, reader);
        {
            const tests::FailNth no_memory{0, ENOMEM, green::sys::Call::epoll_ctl, true};
            (void)pipe.add_writer(0, writer);
            REQUIRE(::write(writer.number(), "a\n", 2) == 2);
            turn();
            REQUIRE(no_memory.fired());
        }
        for (int i = 0; i < 1000 && pipe.figures().passed == 0; ++i) turn();
        CHECK(read(reader) == "a\n");
    });
}

TEST_CASE("pipe: writers that never stop do not keep back what a dead reader has left",
          "[supervisor][pipe]") {
    tests::run_green_for_real([] {
        Joined ends{PipeShape::spread, 2};
        const std::string old = std::string(63, 'o') + "\n";
        const std::string fresh = std::string(63, 'n') + "\n";
        const auto fill = [&](const std::string& line) {
            std::size_t count = 0;
            while (green::sys::write(ends.writer.number(), line.data(), line.size()).ok()) ++count;
            turn();
            return count;
        };
        std::size_t left = 0;
        while (const auto count = fill(old)) left += count;
        ends.pipe.remove(ends.to[1], false);
        for (int i = 0; i < 200 && left > 0; ++i) {
            const auto text = read(ends.readers[0]);
            left -= static_cast<std::size_t>(std::count(text.begin(), text.end(), 'o')) / 63;
            (void)fill(fresh);
        }
        CHECK(left == 0);
    });
}

TEST_CASE("pipe: who closes his end and lives on leaves to the others what he has not read",
          "[supervisor][pipe]") {
    tests::run_green_for_real([] {
        const NoSigpipe no_sigpipe;
        Joined ends{PipeShape::spread, 2};
        write(ends.writer, "a\nb\n");
        CHECK(read(ends.readers[0]) == "b\n");
        ends.readers[1].close();
        turn();
        CHECK(read(ends.readers[0]) == "a\n");
        write(ends.writer, "c\nd\n");
        CHECK(read(ends.readers[0]) == "c\nd\n");
        CHECK_FALSE(ends.pipe.end_input(ends.to[1], false));
    });
}

TEST_CASE("pipe: a broadcast goes on without who has closed his end, until he has a successor",
          "[supervisor][pipe]") {
    tests::run_green_for_real([] {
        const NoSigpipe no_sigpipe;
        Joined ends{PipeShape::broadcast, 2};
        ends.readers[1].close();
        const std::string line(1023, 'x');
        std::size_t heard = 0;
        for (int i = 0; i < 2000 && heard < 4 * PipeFlow::portion; ++i) {
            while (green::sys::write(ends.writer.number(), (line + "\n").data(), 1024).ok()) {
            }
            turn();
            heard += read(ends.readers[0]).size();
        }
        CHECK(heard >= 4 * PipeFlow::portion);
        while (!read(ends.readers[0]).empty()) turn();
        const auto missed = ends.pipe.figures().missed;
        CHECK(missed >= heard);
        ends.pipe.remove(ends.to[1], false);
        (void)ends.pipe.add_reader(1, ends.readers[2]);
        write(ends.writer, "z\n");
        CHECK(read(ends.readers[0]) == "z\n");
        CHECK(read(ends.readers[2]) == "z\n");
        CHECK(ends.pipe.figures().missed == missed);
    });
}

TEST_CASE("pipe: what a broadcast has for a reader that has closed its end and leaves is kept",
          "[supervisor][pipe]") {
    tests::run_green_for_real([] {
        const NoSigpipe no_sigpipe;
        Joined ends{PipeShape::broadcast, 3, 1ms};
        for (const std::size_t slot : {1U, 2U}) ends.readers[slot].close();
        REQUIRE(::write(ends.writer.number(), "z\n", 2) == 2);
        ends.pipe.remove(ends.from, true);  // which passes it on, and finds both of them closed
        CHECK_FALSE(ends.pipe.end_input(ends.to[1], true));
        CHECK(ends.pipe.waiting_for({2}) == 2);
        for (int i = 0; i < 1000 && ends.pipe.waiting_for({2}) > 0; ++i) turn();
        CHECK(ends.pipe.waiting_for({2}) == 0);
        CHECK(ends.pipe.waiting_for({1}) == 2);
        CHECK(ends.pipe.figures().missed == 2);
        ends.pipe.remove(ends.to[1], true);
        green::Fd successor;
        (void)ends.pipe.add_reader(1, successor);
        CHECK(read(successor) == "z\n");
    });
}

TEST_CASE("pipe: a hub worker that closes its reader is noticed at once, with and without room",
          "[supervisor][pipe]") {
    const bool has_room = GENERATE(true, false);
    tests::run_green_for_real([has_room] {
        OpenPipe pipe{frames(), 1, 1ms};
        green::Fd writer;
        std::array<green::Fd, 2> readers;
        (void)pipe.add_writer(0, writer);
        (void)pipe.add_reader(0, readers[0]);
        green::ipc::FrameStream reader{std::move(readers[0]), {.tells_close = true}};
        write(writer, frame("a"));
        CHECK(reader.get().bytes().size() == 1);
        std::string all = frame("a");
        do {
            write(writer, frame("b"));
            all += frame("b");
        } while (!has_room && pipe.figures().passed == all.size());
        const auto states = [&] {
            std::vector<EndFigures::State> result;
            for (const auto& each : pipe.figures().readers) result.push_back(each.state);
            return result;
        };
        using State = EndFigures::State;
        CHECK(states() == std::vector{State::open});
        reader.shutdown();
        // Nobody waits for it any more.
        for (int i = 0; i < 1000 && pipe.waiting_for({0}) > 0; ++i) turn();
        CHECK(pipe.waiting_for({0}) == 0);
        CHECK(states() == std::vector{State::closed, State::gone});
        (void)pipe.add_reader(0, readers[1]);
        std::string got = frame("a");
        for (int i = 0; i < 1000 && got.size() < all.size(); ++i) {
            got += read(readers[1]);
            turn();
        }
        CHECK(got == all);
    });
}

TEST_CASE("pipe: what a hub worker's closed reader has left is not read in a copy of it too",
          "[supervisor][pipe]") {
    const bool dies = GENERATE(false, true);
    tests::run_green_for_real([dies] {
        OpenPipe pipe{frames(), 1};
        green::Fd writer;
        green::Fd reader;
        green::Fd successor;
        (void)pipe.add_writer(0, writer);
        const int end = pipe.add_reader(0, reader);
        const green::Fd copy{::dup(reader.number())};
        write(writer, frame("a") + frame("b"));
        std::string first(frame("a").size(), ' ');
        REQUIRE(::read(reader.number(), first.data(), first.size()) ==
                static_cast<ssize_t>(first.size()));
        if (dies) {
            reader.close();
            pipe.remove(end, false);
        } else {
            REQUIRE(::shutdown(reader.number(), SHUT_WR) == 0);
            for (int i = 0; i < 1000 && pipe.figures().readers.size() == 1; ++i) turn();
        }
        CHECK(read(copy) == "<end>");
        (void)pipe.add_reader(0, successor);
        CHECK(read(successor) == frame("b"));
    });
}

TEST_CASE("pipe: what a reader that has closed his end has not read is his successor's",
          "[supervisor][pipe]") {
    const bool is_dying = GENERATE(true, false);
    tests::run_green_for_real([is_dying] {
        const NoSigpipe no_sigpipe;
        Joined ends{PipeShape::pair, 1, is_dying ? 1h : 1ms};
        write(ends.writer, "a\nb\n");
        char c = 0;
        REQUIRE(::read(ends.readers[0].number(), &c, 1) == 1);
        ends.readers[0].close();
        turn();
        if (is_dying) {
            CHECK(ends.pipe.waiting_for({0}) == 4);
        } else {
            for (int i = 0; i < 1000 && ends.pipe.waiting_for({0}) > 0; ++i) turn();
            CHECK(ends.pipe.waiting_for({0}) == 0);
        }
        (void)ends.pipe.add_reader(0, ends.readers[1]);
        CHECK(read(ends.readers[1]) == "a\nb\n");
        CHECK(ends.pipe.waiting_for({0}) == 0);
    });
}

TEST_CASE("pipe: what lies before a reader whose input has ended is counted when he dies",
          "[supervisor][pipe]") {
    tests::run_green_for_real([] {
        const NoSigpipe no_sigpipe;
        Joined ends{PipeShape::pair, 1};
        write(ends.writer, "a\nb\n");
        CHECK(ends.pipe.end_input(ends.to[0], true));
        std::array<char, 3> some{};
        REQUIRE(::read(ends.readers[0].number(), some.data(), some.size()) == 3);
        ends.readers[0].close();
        turn();
        ends.pipe.remove(ends.to[0], false);
        (void)ends.pipe.add_reader(0, ends.readers[1]);
        CHECK(read(ends.readers[1]) == "b\n");
    });
}

TEST_CASE("pipe: a reader's input ends without a descriptor to spare, when it has read everything",
          "[supervisor][pipe]") {
    tests::run_green_for_real([] {
        Joined ends{PipeShape::pair, 1};
        write(ends.writer, "a\n");
        const tests::FailNth no_descriptor{0, EMFILE, green::sys::Call::open, true};
        CHECK(ends.pipe.end_input(ends.to[0], true));
        CHECK(no_descriptor.fired());
        CHECK(read(ends.readers[0]) == "a\n");
        std::string end;
        for (int i = 0; i < 1000 && end.empty(); ++i) {
            turn();
            end = read(ends.readers[0]);
        }
        CHECK(end == "<end>");
    });
}

TEST_CASE("pipe: writers that die while nobody reads keep so many descriptors and no more",
          "[supervisor][pipe]") {
    tests::run_green_for_real([] {
        OpenPipe pipe{lines(PipeShape::pair), 1};
        green::Fd reader;
        (void)pipe.add_reader(0, reader);
        std::string expected;
        const auto open_files = [] {
            const std::filesystem::directory_iterator all{"/proc/self/fd"};
            return std::distance(begin(all), end(all));
        };
        const auto live = [&](const std::string& text) {
            green::Fd writer;
            const int end = pipe.add_writer(0, writer);
            if (!text.empty()) write(writer, text);
            expected += text;
            writer.close();
            pipe.remove(end, false);
        };
        // Until there is no room.
        const std::string line = std::string(1023, 'x') + "\n";
        for (int i = 0; i < 100 && pipe.figures().waiting < PipeFlow::portion + 8192; ++i)
            live(line + line + line + line);
        const auto before = open_files();
        for (int i = 0; i < 100; ++i) live("");
        CHECK(open_files() == before);
        std::size_t lives = 0;
        for (; lives < 100; ++lives) {
            try {
                live("life " + std::to_string(lives) + "\n");
            } catch (const std::system_error& error) {
                CHECK(error.code().value() == EAGAIN);
                break;
            }
        }
        CHECK(lives <= OpenPipe::most_left_behind);
        CHECK(lives > 0);
        CHECK(open_files() <= before + static_cast<std::ptrdiff_t>(OpenPipe::most_left_behind));
        std::string all;
        while (pipe.figures().waiting > 0) {
            all += read(reader);
            turn();
        }
        live("the last\n");
        all += read(reader);
        CHECK(all == expected);
    });
}
