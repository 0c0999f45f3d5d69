// What a line of the log looks like, and that it is written or counted.

#include <algorithm>
#include <limits>
#include <string>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/log.hpp>
#include <green/process.hpp>
#include <green/sys.hpp>

#include "core/log_lines.hpp"
#include "support/faults.hpp"
#include "support/roles.hpp"
#include "support/run_green.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::check_complete;
using tests::Ends;
using tests::line;
using tests::lines_of;
using tests::make_pipe;
using tests::make_sockets;
using tests::matches;
using tests::Redirected;
using tests::run_green_for_real;
using tests::take;

TEST_CASE("log: a line has time, level, event and fields", "[core][os]") {
    CHECK(line("worker.ready", {{"pool", "web"}, {"pid", 12}}) ==
          "2026-11-20T09:14:22.113Z info worker.ready pool=web pid=12\n");
    CHECK(line("all.kinds", {{"yes", true},
                             {"big", std::numeric_limits<std::uint64_t>::max()},
                             {"low", -5L},
                             {"half", 0.5},
                             {"text", std::string("a")},
                             {"view", std::string_view("b")}}) ==
          "2026-11-20T09:14:22.113Z info all.kinds yes=true big=18446744073709551615 low=-5 "
          "half=0.5 text=a view=b\n");
    CHECK(
        line("worker.ready",
             {{"pool", "web"},
              {"pid", 12},
              {"up", false},
              {"nan", std::numeric_limits<double>::quiet_NaN()}},
             log::Format::json) ==
        R"({"time":"2026-11-20T09:14:22.113Z","level":"info","event":"worker.ready","pool":"web","pid":12,"up":false,"nan":"nan"})"
        "\n");
}

TEST_CASE("log: no control character gets through, and no value can look like a field",
          "[core][os]") {
    const auto value = [](std::string_view text, log::Format format = log::Format::logfmt) {
        std::string all = line("e", {{"v", text}}, format);
        all.erase(0, all.find(format == log::Format::json ? "\"v\":" : "v=") +
                         (format == log::Format::json ? 4 : 2));
        all.erase(all.size() - (format == log::Format::json ? 2 : 1));
        return all;
    };
    CHECK(value("") == R"("")");
    CHECK(value("a b") == R"("a b")");
    CHECK(value("a=b") == R"("a=b")");
    CHECK(value(R"(say "hi" \o/)") == R"("say \"hi\" \\o/")");
    CHECK(value("one\ntwo\r\tthree") == R"("one\ntwo\r\tthree")");
    CHECK(value("\x1b[31mred\x1b[0m\x07\x7f") == R"("\x1b[31mred\x1b[0m\x07\x7f")");
    CHECK(value(std::string_view("a\0b", 3)) == R"("a\x00b")");
    CHECK(value("gr\u00fc\u00df dich") == "\"gr\u00fc\u00df dich\"");
    CHECK(value("gr\u00fc\u00df") == "gr\u00fc\u00df");
    CHECK(value("\xc2\x9b"
                "31m") == R"("\u009b31m")");  // the one-byte CSI, as UTF-8
    CHECK(value("\x9b"
                "31m") == R"("\x9b31m")");                    // and raw
    CHECK(value("a\u202egnp.exe") == R"("a\u202egnp.exe")");  // turns the text around
    CHECK(value("\xe0\x80\xaf") == R"("\xe0\x80\xaf")");      // overlong
    CHECK(value("\xed\xa0\x80") == R"("\xed\xa0\x80")");      // a surrogate
    CHECK(value("\xf5\x80\x80\x80") == R"("\xf5\x80\x80\x80")");
    CHECK(value("cut \xe2\x82") == R"("cut \xe2\x82")");

    CHECK(value("\x1b\n\"\\\xff\u202e", log::Format::json) == R"("\u001b\n\"\\\ufffd\u202e")");
    CHECK(line("two words\n", {{"k e\ny=", 1}}) ==
          "2026-11-20T09:14:22.113Z info \"two words\\n\" k_e_y_=1\n");

    for (int byte = 0; byte < 256; ++byte) {
        const std::string text(3, static_cast<char>(byte));
        for (const auto format : {log::Format::logfmt, log::Format::json}) {
            const std::string made = line(text, {{text, text}}, format);
            CHECK(std::count_if(made.begin(), made.end(), [](char it) {
                      const auto code = static_cast<unsigned char>(it);
                      return code < 0x20 || code >= 0x7f;
                  }) == 1);  // its newline
        }
    }
}

TEST_CASE("log: a huge value is cut, at a character, and says so", "[core][os]") {
    const std::string huge(20'000, 'x');
    const std::string made = line("e", {{"v", huge}});
    CHECK(made.size() < 9'000);
    CHECK(made.find("x...+11808 bytes\"\n") != std::string::npos);
    std::string wide = "a";
    while (wide.size() < 20'000) wide += "\u20ac";
    CHECK(line("e", {{"v", wide}}).find("\\x") == std::string::npos);
}

TEST_CASE("log: levels, own fields and formats are settings", "[core][os]") {
    const Ends pipe = make_pipe();
    const Redirected redirected{pipe.writer};
    log::debug("hidden");
    log::set_level(log::Level::debug);
    log::debug("shown");
    log::set_level(log::Level::error);
    log::warning("hidden");
    log::set_level(log::Level::off);
    log::error("hidden");
    log::set_level(log::Level::info);
    log::set_fields({{"worker", "web/0"}});
    log::error("failed", {{"code", 1}});
    log::set_format(log::Format::json);
    log::info("again");
    const auto lines = lines_of(take(pipe.reader));
    REQUIRE(lines.size() == 3);
    CHECK(matches(lines[0], "20##-##-##T##:##:##.###Z debug shown"));
    CHECK(lines[1].ends_with("Z error failed worker=web/0 code=1"));
    CHECK(lines[2].ends_with(R"("level":"info","event":"again","worker":"web/0"})"));
}

TEST_CASE("log: whichever system call fails, a line is written or counted", "[core][os]") {
    const int error = GENERATE(EIO, EMFILE);
    const bool socket = GENERATE(false, true);
    Ends ends = socket ? make_sockets() : make_pipe();
    const std::size_t descriptors = tests::open_descriptors();
    const std::size_t calls = tests::for_each_failure(error, [&](const tests::FailNth&) {
        const std::uint64_t dropped = log::figures().dropped;
        const Redirected redirected{ends.writer};
        log::info("said");
        const bool written = take(ends.reader).find("info said") != std::string::npos;
        CHECK(written != (log::figures().dropped > dropped));
    });
    CHECK(calls > 3);
    CHECK(tests::open_descriptors() <= descriptors + 1);
}

// Says more than a pipe holds, but not much: the rest must be read within a second. Ends at once.
constexpr int talk = 1600;
GREEN_TEST_ROLE(talker) {
    for (int i = 0; i < talk; ++i) log::info("filling", {{"number", i}});
    return 0;
}

TEST_CASE("log: a program that ends writes the rest first", "[core][os]") {
    run_green_for_real([] {
        Ends pipe = make_pipe();
        Process talker = Process::start({.argv = {tests::self(), "--role=talker"},
                                         .descriptors = {{pipe.writer.number(), STDERR_FILENO}}});
        pipe.writer.close();
        std::string text;
        for (bool more = true; more;) {
            pipe.reader.wait_readable();
            char block[4096];
            const sys::Outcome got = sys::read(pipe.reader.number(), block, sizeof(block));
            if (got.ok()) text.append(block, got.as_size());
            more = !got.ok() || got.value > 0;
        }
        CHECK(talker.join()->success());
        CHECK(text.size() > 70'000);
        check_complete(lines_of(text), talk);
    });
}

TEST_CASE("log: a raw text reaches standard error without control characters", "[core][os]") {
    const Ends pipe = make_pipe();
    const int before = ::dup(STDERR_FILENO);
    ::dup2(pipe.writer.number(), STDERR_FILENO);
    log::write_raw("dying\x1b[2J\n" + std::string(1000, 'x'));
    log::write_raw("");
    ::dup2(before, STDERR_FILENO);
    ::close(before);
    CHECK(take(pipe.reader) == "dying?[2J?" + std::string(1000, 'x') + "\n\n");
}
