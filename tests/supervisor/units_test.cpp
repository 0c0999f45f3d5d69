#include "units.hpp"

#include <csignal>
#include <limits>

#include <catch2/catch.hpp>

#include "seed.hpp"

using namespace greensup;
using namespace std::chrono_literals;

TEST_CASE("units: durations are read with their units", "[supervisor][units]") {
    CHECK(parse_duration("250ms") == 250ms);
    CHECK(parse_duration("5s") == 5s);
    CHECK(parse_duration("2m") == 2min);
    CHECK(parse_duration("1h30m") == 90min);
    CHECK(parse_duration("1d2h3m4s5ms6us7ns") == 26h + 3min + 4s + 5ms + 6us + 7ns);
    CHECK(parse_duration("off") == 0s);
    CHECK(parse_duration("0s") == 0s);
}

TEST_CASE("units: what is not a duration is refused", "[supervisor][units]") {
    const auto* text = GENERATE("", "5", "5 s", "5sec", "s", "-5s", "1.5s", "30m1h", "5s5s",
                                "1h 30m", "5S", "OFF", "٣s", "99999999999999999999s", "300000d",
                                "9223372036s1000000000ns", "1e3s", "+1s");
    INFO(text);
    CHECK_FALSE(parse_duration(text).has_value());
}

TEST_CASE("units: a duration that was shown is read back as the same", "[supervisor][units]") {
    CHECK(to_text(90min) == "1h30m");
    CHECK(to_text(60s) == "1m");
    CHECK(to_text(Duration::zero()) == "0s");
    CHECK(to_text(Duration::min()).starts_with("-106751d"));
    test::Random random;
    for (int i = 0; i < 2000; ++i) {
        const auto shift = random.below(63);
        const Duration value{static_cast<std::int64_t>(random.bits() >> (1 + shift))};
        INFO("seed " << random.seed() << " value " << value.count());
        REQUIRE(parse_duration(to_text(value)) == value);
    }
}

TEST_CASE("units: sizes know binary and decimal units", "[supervisor][units]") {
    CHECK(parse_size("512") == 512);
    CHECK(parse_size("512B") == 512);
    CHECK(parse_size("64KiB") == 65536);
    CHECK(parse_size("10MB") == 10000000);
    CHECK(parse_size("1GiB") == 1073741824);
    CHECK(size_text(65536) == "64KiB");
    CHECK(size_text(1000) == "1000B");
    CHECK(size_text(0) == "0B");
    const auto* wrong = GENERATE("", "KiB", "1kb", "1.5MiB", "-1", "1 MiB", "18446744073709551616",
                                 "99999999TiB", "1K");
    INFO(wrong);
    CHECK_FALSE(parse_size(wrong).has_value());
}

TEST_CASE("units: percents need their sign", "[supervisor][units]") {
    CHECK(parse_percent("25%") == 25.0);
    CHECK(parse_percent("0.5%") == 0.5);
    CHECK(percent_text(20) == "20%");
    CHECK(percent_text(0.5) == "0.5%");
    const auto* wrong = GENERATE("", "%", "25", "-1%", "1e3%", "nan%", "inf%", "5 %", ".5%");
    INFO(wrong);
    CHECK_FALSE(parse_percent(wrong).has_value());
}

TEST_CASE("units: a typing mistake is recognised, another word is not", "[supervisor][units]") {
    const std::vector<std::string> known = {"command", "count", "cwd", "restart", "start_timeout"};
    CHECK(nearest("comand", known) == "command");
    CHECK(nearest("conut", known) == "count");
    CHECK(nearest("COUNT", known) == "count");
    CHECK(nearest("start_timout", known) == "start_timeout");
    CHECK(nearest("cmd", known) == "cwd");
    CHECK_FALSE(nearest("threads", known).has_value());
    CHECK_FALSE(nearest("x", known).has_value());
    CHECK_FALSE(nearest("", known).has_value());
    CHECK_FALSE(nearest(std::string(100000, 'a'), known).has_value());
    CHECK_FALSE(nearest("count", {}).has_value());
}

TEST_CASE("units: signals are known with and without SIG", "[supervisor][units]") {
    CHECK(parse_signal("TERM") == SIGTERM);
    CHECK(parse_signal("SIGKILL") == SIGKILL);
    CHECK(parse_signal("usr1") == SIGUSR1);
    CHECK_FALSE(parse_signal("SIGTREM").has_value());
    CHECK_FALSE(parse_signal("").has_value());
    CHECK(signal_text(SIGKILL) == "KILL");
    CHECK(signal_text(77) == "77");
}

TEST_CASE("units: a command line is split on blanks with quotes and no shell",
          "[supervisor][units]") {
    using Words = std::vector<std::string>;
    CHECK(split_command("nginx -p . -g 'daemon off;'") ==
          Words{"nginx", "-p", ".", "-g", "daemon off;"});
    CHECK(split_command(R"(a "b \"c\" d" e\ f '' $HOME *)") ==
          Words{"a", "b \"c\" d", "e f", "", "$HOME", "*"});
    CHECK(split_command("  a\t b  ") == Words{"a", "b"});
    CHECK(split_command(R"(a'b'"c")") == Words{"abc"});
    CHECK(split_command(R"("\n")") == Words{"\\n"});
    CHECK(split_command("") == Words{});
    CHECK_FALSE(split_command("a 'b").has_value());
    CHECK_FALSE(split_command("a \"b\\\"").has_value());
}

TEST_CASE("units: a glob has stars and question marks only", "[supervisor][units]") {
    CHECK(matches("LC_*", "LC_ALL"));
    CHECK(matches("*", ""));
    CHECK(matches("*TOKEN*", "MY_TOKEN_2"));
    CHECK(matches("a*b*c", "aXbYbZc"));
    CHECK(matches("?x", "ax"));
    CHECK_FALSE(matches("LC_*", "LANG"));
    CHECK_FALSE(matches("PATH", "PATHX"));
    CHECK_FALSE(matches("a*b", "ac"));
    CHECK_FALSE(matches("[a]", "a"));
}
