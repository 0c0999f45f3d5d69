// Who comes to the ends of a pipe, who leaves them, and what they hear then.
#include <array>
#include <cerrno>
#include <span>
#include <string>

#include <catch2/catch.hpp>

#include <green/deadline.hpp>
#include <green/greenlet.hpp>
#include <green/sys.hpp>

#include "frames/frame_header.hpp"
#include "open_pipe.hpp"
#include "support/faults.hpp"
#include "support/run_green.hpp"

using namespace greensup;
using namespace std::chrono_literals;

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

std::string frame(green::ipc::FrameKind kind, const std::string& payload) {
    std::array<std::byte, green::ipc::FrameHeader::size> header{};
    green::ipc::FrameHeader{static_cast<std::uint32_t>(payload.size()), 0, kind}.write(header);
    return std::string(reinterpret_cast<const char*>(header.data()), header.size()) + payload;
}

}  // namespace

TEST_CASE("pipe: of several readers that leave the last one gets what is left",
          "[supervisor][pipe]") {
    tests::run_green_for_real([] {
        OpenPipe pipe{lines(PipeShape::spread), 2};
        green::Fd writer;
        std::array<green::Fd, 2> readers;
        const int from = pipe.add_writer(0, writer);
        const int first = pipe.add_reader(0, readers[0]);
        const int second = pipe.add_reader(1, readers[1]);
        pipe.end_input(first, false);
        CHECK(read(readers[0]) == "<end>");
        pipe.end_input(second, false);
        CHECK(read(readers[1]).empty());
        pipe.remove(first, true);
        write(writer, "a\nb\n");
        writer.close();
        pipe.remove(from, true);
        CHECK(read(readers[1]) == "a\nb\n<end>");
    });
}

TEST_CASE("pipe: a reader whose turn has not come may leave before the one ahead of it",
          "[supervisor][pipe]") {
    tests::run_green_for_real([] {
        OpenPipe pipe{lines(PipeShape::pair), 1};
        green::Fd writer;
        std::array<green::Fd, 2> readers;
        (void)pipe.add_writer(0, writer);
        (void)pipe.add_reader(0, readers[0]);
        const int second = pipe.add_reader(0, readers[1]);
        pipe.end_input(second, true);
        CHECK(read(readers[1]) == "<end>");
        write(writer, "a\n");
        CHECK(read(readers[0]) == "a\n");
    });
}

TEST_CASE("pipe: a reader to whom nothing was sent does not keep another type waiting",
          "[supervisor][pipe]") {
    using Kind = green::ipc::FrameKind;
    tests::run_green_for_real([] {
        OpenPipe pipe{frames(), 1};
        std::array<green::Fd, 2> writers;
        std::array<green::Fd, 2> readers;
        const auto one = frame(Kind::hello, "seven") + frame(Kind::message, "a");
        const auto other = frame(Kind::hello, "eight") + frame(Kind::message, "b");
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
