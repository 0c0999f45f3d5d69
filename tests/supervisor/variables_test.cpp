#include "variables.hpp"

#include <catch2/catch.hpp>

using namespace greensup;

namespace {

const std::map<std::string, std::string> variables = {
    {"A", "1"}, {"EMPTY", ""}, {"EVIL", "${instance.index} $$"}};
const std::map<std::string, std::string> built_in = {{"worker.name", "web"}};

std::string at_load(std::string_view text) {
    const auto result = expand(text, variables, built_in, false);
    return result.mistakes.empty() ? result.text : "mistake: " + result.mistakes.front().message;
}

/// Both halves, as a command goes through them.
std::string at_spawn(std::string_view text) {
    return expand_instance(expand(text, variables, built_in, true).text, {3, 5, 7});
}

}  // namespace

TEST_CASE("variables: names, defaults and built-ins are replaced", "[supervisor][config]") {
    CHECK(at_load("x${A}y") == "x1y");
    CHECK(at_load("${NO:-}") == "");
    CHECK(at_load("${NO:-a:b}") == "a:b");
    CHECK(at_load("${EMPTY:-d}") == "d");
    CHECK(at_load("${EMPTY}") == "");
    CHECK(at_load("${A:?needed}") == "1");
    CHECK(at_load("${worker.name}") == "web");
    CHECK(at_load("$$ $A $ 5$") == "$ $A $ 5$");
    CHECK(at_load("$${A}") == "${A}");
}

TEST_CASE("variables: mistakes say what is wrong", "[supervisor][config]") {
    CHECK(at_load("${NO}") == "mistake: ${NO} is not set");
    CHECK(at_load("${NO:?give one}") == "mistake: give one");
    CHECK(at_load("${EMPTY:?}") == "mistake: ${EMPTY} is not set");
    CHECK(at_load("${A") == "mistake: ${ is never closed");
    CHECK(at_load("${}") == "mistake: ${} is not a variable");
    CHECK(at_load("${A:+x}") == "mistake: ${A:+x} is not a variable");
    CHECK(at_load("${1A}") == "mistake: ${1A} is not a variable");
    CHECK(at_load("${no.such}") == "mistake: no variable named no.such here");
    CHECK(at_load("${NO:-${A}}") == "mistake: a default or text cannot hold another variable");
    CHECK(at_load("${instance.index}") == "mistake: ${instance.index} has no value here");
}

TEST_CASE("variables: what differs per instance is replaced at spawn, nothing else again",
          "[supervisor][config]") {
    CHECK(at_spawn("--shard=${instance.index}/${instance.count}@${instance.generation}") ==
          "--shard=3/5@7");
    CHECK(at_spawn("$$ $HOME ${A}") == "$ $HOME 1");
    CHECK(at_spawn("${EVIL}") == "${instance.index} $$");
    CHECK(at_spawn("${NO:-a}") == "a");
    CHECK(at_spawn("$${instance.index}") == "${instance.index}");
}
