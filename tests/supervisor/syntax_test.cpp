// Syntax errors do not hide the other mistakes of a file.
#include <catch2/catch.hpp>

#include "config_support.hpp"
#include "seed.hpp"
#include "toml_statements.hpp"

using namespace greensup;
using namespace greensup::test;
using Lines = std::vector<std::string>;

TEST_CASE("syntax: an error has its place and says what was expected", "[supervisor][config]") {
    using Case = std::pair<const char*, const char*>;
    const auto [text, expected] = GENERATE(values<Case>({
        {"version = \n",
         "1:11 E001 : syntax: expected value, saw the end of the line (in the key-value pair)"},
        {"version = 1\n[workers.w\n",
         "2:11 E001 : syntax: expected ']', saw the end of the line (in the table header)"},
        {"a = 5s\n", "1:6 E001 : syntax: expected digit, saw 's' (in the decimal integer)"},
    }));
    const auto lines = mistakes(read(text));
    REQUIRE(!lines.empty());
    CHECK(lines.front() == expected);
}

TEST_CASE("syntax: an unclosed bracket names the line where it was opened",
          "[supervisor][config]") {
    const auto result =
        read("version = 1\n[workers.w]\ncommand = [\n  'w',\ncount = 2\nrestrat = 'never'\n");
    CHECK(mistakes(result) ==
          Lines{"5:1 E001 : syntax: expected a comma or the end of the bracket that was opened on "
                "line 3",
                "6:1 E002 workers.w.restrat: unknown key; did you mean \"restart\"?"});
}

TEST_CASE("syntax: several errors and the mistakes between them are all reported",
          "[supervisor][config]") {
    const auto result = read(R"(version = 1
[sockets.web
listen = "tcp://h:1"
[queues.texts]
capacity = 1O
max_bytes = "5 apples"
[workers.web]
command = ["./web"
sockets = ["web"]
count = many
kind = "hubb"
)");
    const auto lines = mistakes(result);
    INFO(join_for_message(lines));
    REQUIRE(lines.size() == 6);
    CHECK(lines[0].starts_with("2:13 E001"));
    CHECK(lines[1].starts_with("5:"));
    CHECK(lines[2].starts_with("6:13 E006"));
    CHECK(lines[3].starts_with("9:1 E001"));
    CHECK(lines[4].starts_with("10:9 E001"));
    CHECK(lines[5].starts_with("11:8 E005"));
}

TEST_CASE("syntax: what is defined twice is told with the first place", "[supervisor][config]") {
    const auto result = read(
        "version = 1\n[workers.a]\ncommand = 'a'\ncount = 1\ncount = 2\n[workers.a]\nkind = "
        "'hub'\n");
    CHECK(mistakes(result) == Lines{"5:1 E013 count: already defined at workers.toml:4",
                                    "6:1 E013 workers.a: already defined at workers.toml:2"});
}

TEST_CASE("syntax: an open string or bracket is known where a line begins",
          "[supervisor][config]") {
    const Lines lines = {"a = [ # ]", "'[', \"]\", ", "]",     "b = \"\"\"",
                         "x = [",     "\"\"\"",       "c = {", "d = 1"};
    CHECK(open_bracket(lines, 1).line == 0);
    CHECK(open_bracket(lines, 2).line == 1);
    CHECK(open_bracket(lines, 3).line == 1);
    CHECK(open_bracket(lines, 4).line == 0);
    CHECK(open_bracket(lines, 5).statement_first == 4);
    CHECK(open_bracket(lines, 7).line == 0);
    CHECK(open_bracket(lines, 8).line == 7);
    CHECK(lines_to_skip(lines, 8).first == 7);
    CHECK(lines_to_skip(lines, 8).last == 7);
    CHECK(lines_to_skip({}, 3).first == 1);
}

TEST_CASE("syntax: no damage to a file crashes the reader or goes unplaced",
          "[supervisor][config]") {
    const std::string good = R"(version = 1
[supervisor]
name = "shop"
[sockets.web]
listen = "tcp://[::1]:${PORT:-80}"
[queues.a]
producers = ["*"]
[workers.web]
command = ["./web", "${instance.index}", """x
y"""]
env = { A = "1", B = '2' }
backoff = { initial = "1s", max = "1m" }
stop.signal = "TERM"
)";
    REQUIRE(read(good));
    Random random;
    INFO("GREENSUP_SEED=" << random.seed());
    const std::string alphabet = "[]{}=\"'.,#\n\r\t ${}:-x1\\\xC3\xBC";
    for (int round = 0; round < 3000; ++round) {
        auto text = good;
        for (auto damage = 1 + random.below(4); damage > 0; --damage) {
            const auto at = random.below(text.size());
            if (random.below(3) == 0)
                text.erase(at, 1 + random.below(12));
            else
                text.insert(at, 1, alphabet[random.below(alphabet.size())]);
            if (text.empty()) text = "\n";
        }
        const auto result = read(text);
        if (result) continue;
        REQUIRE(!result.error().empty());
        for (const auto& d : result.error()) {
            INFO(text << "\n" << to_text(d));
            REQUIRE(d.code.size() == 4);
            REQUIRE(d.place.line >= 1);
            REQUIRE(d.place.column >= 1);
            REQUIRE(!d.message.empty());
        }
    }
}
