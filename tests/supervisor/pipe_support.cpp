#include "pipe_support.hpp"

#include <algorithm>
#include <map>

#include <catch2/catch.hpp>

namespace greensup::test {
namespace {

using tests::lines_of;
using tests::text_of;

const std::string quick =
    "ready.delay = \"0s\"\nroll.min_ready = \"0s\"\nbackoff.initial = \"off\"\n"
    "intensity.max = \"off\"\nmin_uptime = \"0s\"\n";

}  // namespace

std::string pool(const std::string& name, const std::string& keys, const std::string& command) {
    return "[workers." + name + "]\n" + quick + keys + command;
}

std::string pipe(const std::string& keys) {
    return "[pipes.p]\nfrom = \"a.stdout\"\nto = \"b.stdin\"\ncapacity = \"4KiB\"\n" + keys;
}

std::string shell(const std::string& text) {
    return "command = [\"sh\", \"-c\", \"" + text + "\"]\n";
}

std::string endless_writers(const tests::TempDir& dir, const std::string& keys) {
    return pool("a", keys, role("endless_writer", {dir.path()}));
}

std::string endless_readers(const tests::TempDir& dir) {
    return pool("b", "", role("mortal_reader", {dir / "r"}));
}

std::string endless_pools(const tests::TempDir& dir) {
    return endless_writers(dir) + endless_readers(dir);
}

std::vector<std::string> lives(const std::string& name, int count, int lines) {
    std::vector<std::string> all;
    for (int life = 1; life <= count; ++life)
        for (int i = 0; i < lines; ++i)
            all.push_back(name + " " + std::to_string(life) + " " + std::to_string(i));
    all.emplace_back("the end");
    return all;
}

std::vector<std::string> lives_read(const std::string& name, int count, int lines) {
    auto all = lives(name, count, lines);
    all.emplace_back("end");
    return all;
}

bool is_through(const Status& status) {
    return std::all_of(status.pools.begin(), status.pools.end(), [](const PoolStatus& pool) {
        return std::all_of(pool.instances.begin(), pool.instances.end(),
                           [](const auto& one) { return one.state == State::done; });
    });
}

void await_line_of_each(const Status& status, const std::string& file) {
    for (const auto pid : pids(status, "a"))
        Running::until(
            [&] { return text_of(file).find(std::to_string(pid) + " ") != std::string::npos; });
}

void await_more(const std::string& file, std::size_t count) {
    const auto size = lines_of(file).size();
    Running::until([&] { return lines_of(file).size() > size + count; });
}

std::size_t check_account(const std::string& directory, const std::vector<std::string>& read,
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

}  // namespace greensup::test
