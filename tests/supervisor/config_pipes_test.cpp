// [pipes.NAME]: what may be joined to what.
#include <catch2/catch.hpp>

#include "config.hpp"
#include "config_support.hpp"

using namespace greensup;
using namespace greensup::test;
using Lines = std::vector<std::string>;

namespace {

/// Four workers, from line 2 to line 14; pipes begin in line 15.
Result<Config> with(const std::string& pipes) {
    return read(
        "version = 1\n[workers.a]\ncommand = 'a'\n[workers.b]\ncommand = 'b'\n"
        "[workers.three]\ncommand = 'c'\ncount = 3\n"
        "[workers.h]\nkind = 'hub'\ncommand = 'h'\n[workers.i]\nkind = 'hub'\ncommand = 'i'\n" +
        pipes);
}

}  // namespace

TEST_CASE("config: a pipe has its defaults", "[supervisor][config][pipe]") {
    const auto config = with("[pipes.p]\nfrom = 'a.stdout'\nto = 'b.stdin'\n");
    INFO(join_for_message(mistakes(config)));
    REQUIRE(config);
    const auto* pipe = config->pipe("p");
    REQUIRE(pipe != nullptr);
    CHECK(pipe->shape == PipeShape::pair);
    CHECK(pipe->framing == Framing::bytes);
    CHECK(pipe->capacity == 1U << 20);
    CHECK(config->worker("a")->stop.drain == 0s);
    CHECK(config->worker("b")->stop.drain == 30s);
}

TEST_CASE("config: pipes of every shape and framing are taken", "[supervisor][config][pipe]") {
    const auto* const text = GENERATE(
        "from = 'three.stdout'\nto = 'b.stdin'\nshape = 'merge'\nframing = 'lines'",
        "from = 'a.stdout'\nto = 'three.stdin'\nshape = 'spread'\nframing = 'capnp'",
        "from = 'a.stdout'\nto = 'three.stdin'\nshape = 'broadcast'",
        "from = 'three.stdout'\nto = 'three2.stdin'", "from = 'h'\nto = 'i'\ncapacity = '64KiB'",
        "from = 'h.stdout'\nto = 'a.stdin'", "from = 'h'\nto = 'i'\nshape = 'merge'");
    const auto config =
        with("[workers.three2]\ncommand = 'd'\ncount = 3\n[pipes.p]\n" + std::string(text) + "\n");
    INFO(join_for_message(mistakes(config)));
    CHECK(config);
}

TEST_CASE("config: a smaller limit of the system is the default, and is not the user's mistake",
          "[supervisor][config][pipe]") {
    auto small = environment();
    small.largest_pipe = 64 << 10;
    const std::string text =
        "version = 1\n[workers.a]\ncommand = 'a'\n[workers.b]\ncommand = 'b'\n"
        "[pipes.p]\nfrom = 'a.stdout'\nto = 'b.stdin'\n";
    const auto config = read_config(text, "workers.toml", small);
    REQUIRE(config);
    CHECK(config->pipes.front().capacity == 64U << 10);
    CHECK(mistakes(read_config(text + "capacity = '128KiB'\n", "workers.toml", small)) ==
          Lines{"9:12 E004 pipes.p.capacity: kernel limit is 64KiB (fs.pipe-max-size)"});
}

TEST_CASE("config: mistakes in a pipe have their code, place and text",
          "[supervisor][config][pipe]") {
    using Case = std::pair<const char*, const char*>;
    const auto [text, expected] = GENERATE(values<Case>({
        {"to = 'b.stdin'", "15:8 E010 pipes.p.from: required"},
        {"from = 'x.stdout'\nto = 'b.stdin'",
         "16:8 E007 pipes.p.from: no worker named \"x\"; defined: a, b, three, h, i"},
        {"from = 'a.stderr'\nto = 'b.stdin'",
         "16:8 E005 pipes.p.from: must be \"NAME.stdout\" or \"NAME\", got \"a.stderr\""},
        {"from = 'a.stdout'\nto = 'b.stdout'",
         "17:6 E005 pipes.p.to: must be \"NAME.stdin\" or \"NAME\", got \"b.stdout\""},
        {"from = 'a.stdout'\nto = 'b'", "17:6 E014 pipes.p.to: \"b\" is not of kind \"hub\""},
        {"from = 'a.stdout'\nto = 'a.stdin'",
         "17:6 E008 pipes.p.to: \"a\" cannot be fed by itself"},
        {"from = 'a.stdout'\nto = 'h'",
         "17:6 E015 pipes.p.to: joining \"a.stdout\" to \"h\" is not supported by this version of "
         "greensup yet"},
        {"from = 'three.stdout'\nto = 'b.stdin'",
         "16:8 E014 pipes.p.from: pair needs equal counts: three has 3, b has 1"},
        {"from = 'three.stdout'\nto = 'b.stdin'\nshape = 'pair'",
         "18:9 E014 pipes.p.shape: pair needs equal counts: three has 3, b has 1"},
        {"from = 'a.stdout'\nto = 'three.stdin'\nshape = 'merge'\nframing = 'lines'",
         "18:9 E014 pipes.p.shape: merge needs one reader: three has 3"},
        {"from = 'a.stdout'\nto = 'three.stdin'\nshape = 'spread'",
         "18:9 E014 pipes.p.shape: bytes cannot be shared out or mixed: nobody could tell where "
         "one part ends"},
        {"from = 'three.stdout'\nto = 'b.stdin'\nshape = 'broadcast'",
         "18:9 E014 pipes.p.shape: a broadcast of bytes needs one writer: three has 3"},
        {"from = 'a.stdout'\nto = 'b.stdin'\nshape = 'fan'",
         "18:9 E005 pipes.p.shape: must be one of pair, spread, broadcast, merge, got \"fan\""},
        {"from = 'three.stdout'\nto = 'b.stdin'\nshape = 'star'",
         "18:9 E005 pipes.p.shape: must be one of pair, spread, broadcast, merge, got \"star\""},
        {"from = 'h'\nto = 'i'\nframing = 'json'",
         "18:11 E005 pipes.p.framing: must be one of bytes, lines, capnp, got \"json\""},
        {"from = 'a.stdout'\nto = 'b.stdin'\nframing = 'line'",
         "18:11 E005 pipes.p.framing: must be one of bytes, lines, capnp, got \"line\"; did you "
         "mean \"lines\"?"},
        {"from = 'h'\nto = 'i'\nframing = 'lines'",
         "18:11 E009 pipes.p.framing: cannot be used with from = \"h\" (line 16)"},
        {"from = 'a.stdout'\nto = 'b.stdin'\ncapacity = '2MiB'",
         "18:12 E004 pipes.p.capacity: kernel limit is 1MiB (fs.pipe-max-size)"},
        {"from = 'a.stdout'\nto = 'b.stdin'\ncapacity = 'big'",
         "18:12 E006 pipes.p.capacity: not a size: \"big\" (write \"64KiB\", \"10MB\" or "
         "\"1GiB\")"},
        {"from = 'a.stdout'\nto = 'b.stdin'\n[pipes.q]\nfrom = 'a.stdout'\nto = 'three.stdin'\n"
         "shape = 'broadcast'",
         "19:8 E009 pipes.q.from: \"a.stdout\" is already used by pipe \"p\" (line 16)"},
        {"from = 'a.stdout'\nto = 'b.stdin'\n[workers.w]\ncommand = 'w'\nstop.drain = '1s'",
         "20:14 E009 workers.w.stop.drain: cannot be used with kind = \"exec\", the default"},
    }));
    INFO(text);
    CHECK(mistakes(with("[pipes.p]\n" + std::string(text) + "\n")) == Lines{expected});
}

TEST_CASE("config: a program that reads a pipe may say how long it drains",
          "[supervisor][config][pipe]") {
    const auto config = with(
        "[pipes.p]\nfrom = 'a.stdout'\nto = 'w.stdin'\n[workers.w]\ncommand = 'w'\nstop.drain = "
        "'1s'\n");
    INFO(join_for_message(mistakes(config)));
    REQUIRE(config);
    CHECK(config->worker("w")->stop.drain == 1s);
}
