#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <limits>
#include <optional>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/fd.hpp>
#include <green/green.hpp>
#include <green/log.hpp>
#include <green/process.hpp>
#include <green/simulation.hpp>
#include <green/sys.hpp>

#include "loop/ev_reactor.hpp"
#include "os/log_line.hpp"
#include "sched/hub.hpp"
#include "support/faults.hpp"
#include "support/roles.hpp"
#include "support/run_green.hpp"
#include "support/temp_dir.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::run_green_for_real;

namespace {

struct Ends {
    Fd reader;
    Fd writer;
};

Ends make_pipe(int flags = O_NONBLOCK) {
    int ends[2];
    sys::must(sys::pipe2(ends, flags), "pipe2");
    return {Fd{ends[0]}, Fd{ends[1]}};
}

Ends make_sockets() {
    int ends[2];
    sys::must(sys::socketpair(AF_UNIX, SOCK_STREAM, ends), "socketpair");
    // The writer's end is shared with others: it must work without O_NONBLOCK and stay so.
    sys::must(sys::fcntl(ends[1], F_SETFL, 0), "fcntl");
    return {Fd{ends[0]}, Fd{ends[1]}};
}

Ends make_terminal() {
    Fd master{::posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK)};
    REQUIRE(master.is_open());
    REQUIRE(::grantpt(master.number()) == 0);
    REQUIRE(::unlockpt(master.number()) == 0);
    Fd slave{sys::open(::ptsname(master.number()), O_RDWR | O_NOCTTY).as_int()};
    return {std::move(master), std::move(slave)};
}

/// What is there to be read now.
std::string take(const Fd& from) {
    std::string text;
    char block[4096];
    for (;;) {
        const ssize_t got = ::read(from.number(), block, sizeof(block));  // past the injector
        if (got <= 0) return text;
        text.append(block, static_cast<std::size_t>(got));
    }
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = text.find('\n', begin)) != std::string::npos;
         begin = end + 1) {
        lines.push_back(text.substr(begin, end - begin));
    }
    CHECK(begin == text.size());  // no half line
    return lines;
}

/// Logs into `to` while it lives.
class Redirected {
 public:
    explicit Redirected(const Fd& to) { log::set_descriptor(to.number()); }
    Redirected(const Redirected&) = delete;
    Redirected& operator=(const Redirected&) = delete;
    ~Redirected() {
        const Fd nowhere{sys::open("/dev/null", O_WRONLY).as_int()};
        log::set_descriptor(nowhere.number());  // what waits is of no interest
        log::set_descriptor(STDERR_FILENO);
        log::set_level(log::Level::info);
        log::set_format(log::Format::logfmt);
        log::set_fields({});
        log::set_capacity(std::size_t{1024} * 1024);
    }
};

std::string line(std::string_view event, std::initializer_list<log::Field> fields,
                 log::Format format = log::Format::logfmt) {
    std::string text;
    const std::chrono::system_clock::time_point time{std::chrono::milliseconds(1'795'166'062'113)};
    log::detail::append_line(text, {format, time, log::Level::info, event}, {},
                             {fields.begin(), fields.size()});
    return text;
}

/// Logs numbered lines until one is dropped; returns how many were logged.
std::uint64_t fill() {
    const std::uint64_t before = log::figures().dropped;
    std::uint64_t count = 0;
    while (log::figures().dropped == before) log::info("filling", {{"number", count++}});
    return count;
}

/// In the pattern '#' stands for a digit.
bool matches(std::string_view text, std::string_view pattern) {
    return std::equal(
        text.begin(), text.end(), pattern.begin(), pattern.end(),
        [](char it, char like) { return like == '#' ? it >= '0' && it <= '9' : it == like; });
}

/// The number at the end of a line of which all but the time and the number is known.
std::optional<std::uint64_t> number_in(const std::string& line, const std::string& known) {
    constexpr std::size_t time_size = 24;
    if (line.size() <= time_size || line.compare(time_size, known.size(), known) != 0)
        return std::nullopt;
    const std::string number = line.substr(time_size + known.size());
    if (number.empty() || number.find_first_not_of("0123456789") != std::string::npos)
        return std::nullopt;
    return std::stoull(number);
}

/// Checks that the lines 0..count were logged, but for those that a line says are missing.
void check_complete(const std::vector<std::string>& lines, std::uint64_t count) {
    std::uint64_t next = 0;
    for (const std::string& it : lines) {
        if (const auto number = number_in(it, " info filling number=")) {
            if (*number != next) FAIL("expected " << next << ", not " << it);
            ++next;
        } else if (const auto dropped = number_in(it, " warning log.dropped lines=")) {
            next += *dropped;
        } else {
            FAIL("a strange line: " << it);
        }
    }
    CHECK(next == count);
}

}  // namespace

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

TEST_CASE("log: what nobody reads fills the memory it may have, then is counted", "[core][os]") {
    const auto make = GENERATE(
        as<Ends (*)()>{}, [] { return make_pipe(0); }, [] { return make_pipe(); }, &make_sockets,
        &make_terminal);
    const auto capacity = GENERATE(as<std::size_t>{}, 1024 * 1024, 4096);
    Ends ends = make();
    sys::must(sys::fcntl(ends.reader.number(), F_SETFL, O_NONBLOCK), "fcntl");
    const auto flags = sys::fcntl(ends.writer.number(), F_GETFL).value;
    const Redirected redirected{ends.writer};
    log::set_capacity(capacity);

    std::uint64_t count = fill();  // returns, so nothing blocked
    // A terminal may have taken some more a little later.
    while (log::figures().waiting + 100 <= capacity) log::info("filling", {{"number", count++}});
    CHECK(log::figures().waiting <= capacity);
    CHECK(log::figures().waiting + 100 > capacity);
    log::info("filling", {{"number", count}});
    CHECK_FALSE(log::flush(Deadline::passed()));
    CHECK(sys::fcntl(ends.writer.number(), F_GETFL).value == flags);

    std::string text = take(ends.reader);
    while (!log::flush(Deadline::passed())) text += take(ends.reader);
    log::info("filling", {{"number", count + 1}});
    text += take(ends.reader);
    text.erase(std::remove(text.begin(), text.end(), '\r'), text.end());  // the terminal's
    CHECK(log::figures().waiting == 0);
    check_complete(lines_of(text), count + 2);
}

TEST_CASE("log: one that cannot be opened again is asked first", "[core][os]") {
    const Ends pipe = make_pipe(0);
    sys::must(sys::fcntl(pipe.reader.number(), F_SETFL, O_NONBLOCK), "fcntl");
    std::optional<tests::FailNth> refused{std::in_place, 0U, EACCES, sys::Call::open};
    const Redirected redirected{pipe.writer};
    CHECK(refused->fired());
    refused.reset();
    const std::uint64_t count = fill();
    std::string text = take(pipe.reader);
    while (!log::flush(Deadline::passed())) text += take(pipe.reader);
    text += take(pipe.reader);
    check_complete(lines_of(text), count);
}

TEST_CASE("log: the hub writes the rest as soon as there is room", "[core][os]") {
    const Ends ends = GENERATE(0, 1) == 0 ? make_pipe() : make_sockets();
    run_green_for_real([&] {
        const Redirected redirected{ends.writer};
        const std::uint64_t count = fill();
        CHECK(log::figures().waiting > 0);
        CHECK(hub_figures().greenlets == 1);
        CHECK(hub_figures().outside == 0);  // nothing worth staying alive for
        Fd reader{sys::dup(ends.reader.number()).as_int()};
        std::string text;
        while (log::figures().waiting > 0) {
            reader.wait_readable();
            text += take(reader);
            yield();
        }
        text += take(reader);
        check_complete(lines_of(text), count);
        while (hub_figures().greenlets > 0) yield();
    });
}

TEST_CASE("log: a deadline of who logged does not stop the hub's writing", "[core][os]") {
    const Ends pipe = make_pipe();
    run_green_for_real([&] {
        const tests::Errors errors;
        const Redirected redirected{pipe.writer};
        {
            const DeadlineScope limit{1ms};
            (void)fill();
        }
        sleep(5ms);
        CHECK(hub_figures().greenlets == 1);
        Fd reader{sys::dup(pipe.reader.number()).as_int()};
        {
            const TimeoutScope hang{10s};
            while (log::figures().waiting > 0) {
                reader.wait_readable();
                (void)take(reader);
                yield();
            }
        }
        while (hub_figures().greenlets > 0) yield();
        CHECK(errors.all.empty());
    });
}

TEST_CASE("log: lines that wait neither keep a hub alive nor outlast it", "[core][os]") {
    const Ends pipe = make_pipe();
    const Redirected redirected{pipe.writer};
    const std::size_t descriptors = tests::open_descriptors();
    {
        detail::Hub hub{detail::make_ev_reactor()};
        (void)fill();
        Event never;
        CHECK_THROWS_AS(never.wait(), LoopExit);
    }
    CHECK(tests::open_descriptors() == descriptors);
    detail::Hub hub{detail::make_ev_reactor()};  // the next one's greenlet takes the seat
    log::info("next");
    Fd reader{sys::dup(pipe.reader.number()).as_int()};
    while (log::figures().waiting > 0) {
        reader.wait_readable();
        (void)take(reader);
    }
}

TEST_CASE("log: a real reader that is late changes nothing in a simulation", "[core][os]") {
    const Ends pipe = make_pipe();
    const Redirected redirected{pipe.writer};
    const auto run = [] {
        Simulation world{7};
        std::size_t errors = 0;
        std::uint64_t id = 0;
        world.run([&] {
            set_error_handler([&](const ErrorReport&) {
                if (++errors < 100) log::error("greenlet.failed");
            });
            log::info("hello");
            yield();
            auto next = spawn([] {});
            id = next.id();
            next.join();
            sleep(1s);
        });
        CHECK(errors == 0);
        return std::pair{id, world.fingerprint()};
    };
    const auto with_room = run();
    (void)fill();
    CHECK(run() == with_room);
    CHECK(log::figures().waiting > 0);
    (void)take(pipe.reader);
    log::info("room");
    while (log::figures().waiting > 0) {
        (void)take(pipe.reader);
        (void)log::flush(Deadline::passed());
    }
}

TEST_CASE("log: a hub that cannot wait for room leaves it to the next line", "[core][os]") {
    struct Full final : detail::VirtualReactor {
        int watch(int, std::uint32_t) noexcept override { return ENOSPC; }
    };
    const Ends pipe = make_pipe();
    const Redirected redirected{pipe.writer};
    detail::Hub hub{std::make_unique<Full>()};
    const tests::Errors errors;
    (void)fill();
    while (hub_figures().greenlets > 0) yield();
    CHECK(errors.all.empty());
    const std::size_t waiting = log::figures().waiting;
    CHECK(waiting > 0);
    (void)take(pipe.reader);
    log::info("room");
    CHECK(log::figures().waiting < waiting);
    while (hub_figures().greenlets > 0) yield();
}

TEST_CASE("log: a file takes everything, and another sink what waits", "[core][os]") {
    const tests::TempDir directory;
    const Ends pipe = make_pipe();
    const Redirected redirected{pipe.writer};
    const std::uint64_t count = fill();
    const std::string begin = take(pipe.reader);
    const Fd file{sys::open((directory / "log").c_str(), O_RDWR | O_CREAT, 0600).as_int()};
    log::set_descriptor(file.number());
    CHECK(log::figures().waiting == 0);
    sys::must(::lseek(file.number(), 0, SEEK_SET) == 0 ? sys::Outcome{} : sys::Outcome{-1, errno},
              "lseek");
    check_complete(lines_of(begin + take(file)), count);
}

TEST_CASE("log: a sink that nobody will ever read neither ends the process nor holds memory",
          "[core][os]") {
    Ends ends = GENERATE(0, 1) == 0 ? make_pipe() : make_sockets();
    const Redirected redirected{ends.writer};
    log::info("read");
    ends.reader.close();
    const std::uint64_t dropped = log::figures().dropped;
    log::info("lost");  // no SIGPIPE
    log::info("lost");
    CHECK(log::figures().waiting == 0);
    CHECK(log::figures().dropped >= dropped + 2);
    sigset_t pending{};
    ::sigpending(&pending);
    CHECK(sigismember(&pending, SIGPIPE) == 0);

    const Ends next = make_pipe();
    log::set_descriptor(next.writer.number());
    log::info("heard");
    const auto lines = lines_of(take(next.reader));
    REQUIRE_FALSE(lines.empty());
    CHECK(lines.front().find("warning log.dropped lines=") != std::string::npos);
    CHECK(lines.back().ends_with("info heard"));

    log::set_descriptor(987);  // not open at all
    log::info("lost");
    CHECK(log::figures().waiting == 0);
}

TEST_CASE("log: lines of several threads are whole", "[core][os]") {
    const tests::TempDir directory;
    const Fd file{sys::open((directory / "log").c_str(), O_RDWR | O_CREAT, 0600).as_int()};
    const Redirected redirected{file};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([t] {
            for (int i = 100; i < 600; ++i) log::info("said", {{"thread", t}, {"number", i}});
        });
    }
    for (auto& thread : threads) thread.join();
    REQUIRE(::lseek(file.number(), 0, SEEK_SET) == 0);
    const auto lines = lines_of(take(file));
    CHECK(lines.size() == 2000);
    CHECK(std::all_of(lines.begin(), lines.end(), [](const auto& it) {
        return matches(it, "####-##-##T##:##:##.###Z info said thread=# number=###");
    }));
}

TEST_CASE("log: a forked child does not repeat what its parent has yet to write", "[core][os]") {
    const Ends pipe = make_pipe();
    const Redirected redirected{pipe.writer};
    (void)fill();
    CHECK(log::figures().waiting > 0);
    const pid_t child = ::fork();
    if (child == 0) ::_exit(log::figures().waiting == 0 ? 0 : 1);
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
    CHECK(log::figures().waiting > 0);
}

TEST_CASE("log: a forked child that keeps the log's descriptor writes all that it says",
          "[core][os]") {
    const bool exits = GENERATE(false, true);
    const Ends pipe = make_pipe();
    const Redirected redirected{pipe.writer};
    run_green_for_real([&] {
        // More than the pipe holds: what is left when it ends goes then.
        constexpr int lines = 1600;
        Process child = fork_process(
            [exits] {
                for (int i = 0; i < lines; ++i) log::info("filling", {{"number", i}});
                if (exits) std::exit(0);
            },
            {.descriptors = {{pipe.writer.number()}}});
        Fd reader{sys::dup(pipe.reader.number()).as_int()};
        std::string text;
        while (!child.poll()) {
            (void)reader.wait_readable(1ms);
            text += take(reader);
        }
        text += take(reader);
        CHECK(child.poll()->success());
        CHECK(text.size() > 70'000);
        check_complete(lines_of(text), lines);
    });
}

TEST_CASE("log: a forked child that does not keep the log's descriptor writes to standard error",
          "[core][os]") {
    const Ends parents = make_pipe();
    const Ends error = make_pipe();
    const Redirected redirected{parents.writer};
    log::info("parent");
    run_green_for_real([&] {
        const int number = parents.writer.number();
        Process child = fork_process(
            [&] {
                ::dup2(error.writer.number(), STDERR_FILENO);
                const Ends own = make_pipe();
                std::vector<Fd> more;  // one of all these has the number of the parent's pipe
                while (!sys::fcntl(number, F_GETFD).ok())
                    more.emplace_back(sys::dup(own.writer.number()).as_int());
                log::info("child");
                return take(own.reader).empty() ? 0 : 1;
            },
            {.descriptors = {{error.writer.number()}}});
        CHECK(child.join()->success());
    });
    CHECK(take(error.reader).ends_with(" info child\n"));
    CHECK(take(parents.reader).ends_with(" info parent\n"));
}

TEST_CASE("log: a forked child does not write into what has got the number of the log's descriptor",
          "[core][os]") {
    const Ends parents = make_pipe();
    const Ends error = make_pipe();
    const Ends others = make_pipe();
    std::optional<Fd> lent{sys::dup(parents.writer.number()).as_int()};
    const Redirected redirected{*lent};
    const int number = lent->number();
    lent.reset();
    const Fd given{sys::fcntl(others.writer.number(), F_DUPFD_CLOEXEC, number).as_int()};
    REQUIRE(given.number() == number);
    log::info("parent");
    run_green_for_real([&] {
        Process child = fork_process(
            [&] {
                ::dup2(error.writer.number(), STDERR_FILENO);
                log::info("child");
            },
            {.descriptors = {{error.writer.number(), number}}});
        CHECK(child.join()->success());
    });
    CHECK(take(others.reader).empty());
    CHECK(take(error.reader).ends_with(" info child\n"));
    CHECK(take(parents.reader).ends_with(" info parent\n"));
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
