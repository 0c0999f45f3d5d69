#include "integration/greensup.hpp"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/inotify.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/greenlet.hpp>
#include <green/socket.hpp>

namespace tests {

using namespace std::chrono_literals;

namespace {

// Far beyond what anything here takes: a limit that is reached is a hang, on any machine.
constexpr auto patience = 90s;

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
        text.replace(at, from.size(), to);
    }
    return text;
}

std::string contents(const std::string& path) {
    std::ifstream file{path};
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

bool has_process(const std::string& state) {
    static const std::set<std::string> with{"starting", "ready", "draining", "stopping", "killing"};
    return with.count(state) > 0;
}

}  // namespace

bool process_exists(int pid) { return ::kill(pid, 0) == 0; }

Transitions::Transitions(std::string path)
    : path_{std::move(path)}, changes_{::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)} {
    // The file may be made later than we look: its directory tells of both.
    const std::string folder = std::filesystem::path(path_).parent_path().string();
    REQUIRE(::inotify_add_watch(changes_.number(), folder.c_str(), IN_CREATE | IN_MODIFY) >= 0);
}

void Transitions::catch_up() {
    std::ifstream file{path_};
    if (!file) return;
    file.seekg(static_cast<std::streamoff>(offset_));
    std::string line;
    while (std::getline(file, line)) {
        if (file.eof()) break;  // not finished yet
        offset_ += line.size() + 1;
        text_ += line + "\n";
        take_line(line);
    }
}

void Transitions::take_line(const std::string& line) {
    const auto json = nlohmann::json::parse(line);
    const std::string pool = json.at("pool");
    const int slot = json.at("slot");
    const std::uint64_t generation = json.at("generation");
    Seen& seen = instances_[{pool, slot, generation}];
    seen.pool = pool;
    seen.slot = slot;
    seen.state = json.at("to");
    seen.cause = json.at("cause").is_string() ? json.at("cause").get<std::string>()
                                              : json.at("cause").dump();
    if (json.contains("pid") && json.at("pid").is_number() && json.at("pid") != 0)
        seen.pid = json.at("pid");
    if (seen.pid != 0 && has_process(seen.state)) all_pids_.insert(seen.pid);
    if (seen.state == "spawning") ++starts_[pool];
    const std::size_t ready = in_state(pool, "ready").size();
    const auto fewest = fewest_.find(pool);
    if (fewest != fewest_.end()) fewest->second = std::min(fewest->second, ready);
}

bool Transitions::wait_for(const std::function<bool()>& condition, green::Deadline deadline) {
    for (;;) {
        catch_up();
        if (condition()) return true;
        if (!changes_.wait_readable(deadline)) return false;
        char events[4096];
        while (::read(changes_.number(), events, sizeof events) > 0) {
        }
    }
}

std::vector<Seen> Transitions::in_state(const std::string& pool, const std::string& state) const {
    std::vector<Seen> found;
    for (const auto& [key, seen] : instances_) {
        if (seen.pool == pool && seen.state == state) found.push_back(seen);
    }
    return found;
}
std::set<int> Transitions::ready_pids(const std::string& pool) const {
    std::set<int> pids;
    for (const Seen& seen : in_state(pool, "ready")) pids.insert(seen.pid);
    return pids;
}
std::set<int> Transitions::living_pids() const {
    std::set<int> pids;
    for (const auto& [key, seen] : instances_) {
        if (has_process(seen.state)) pids.insert(seen.pid);
    }
    return pids;
}
std::size_t Transitions::fewest_ready(const std::string& pool) const { return fewest_.at(pool); }
void Transitions::reset_fewest() {
    for (const auto& [key, seen] : instances_)
        fewest_[seen.pool] = in_state(seen.pool, "ready").size();
}
std::size_t Transitions::starts(const std::string& pool) const {
    const auto found = starts_.find(pool);
    return found == starts_.end() ? 0 : found->second;
}

std::string Greensup::bin() { return GREENSUP_BIN; }

Greensup::Greensup(const std::string& toml) {
    std::filesystem::create_directory(run_dir());
    std::filesystem::permissions(run_dir(), std::filesystem::perms::owner_all);
    rewrite(toml);
    start();
}

void Greensup::rewrite(const std::string& toml) {
    dir_.write("workers.toml", replaced(replaced(toml, "${RUN}", run_dir()), "${BIN}", bin()));
}

void Greensup::start() {
    std::filesystem::remove(run_dir() + "/transitions.log");
    transitions_ = std::make_unique<Transitions>(run_dir() + "/transitions.log");
    const green::Fd log{
        ::open((dir_ / "log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
    green::Command command;
    command.argv = {bin() + "/greensup", "start", file()};
    command.descriptors = {{log.number(), 1}, {log.number(), 2}};
    command.null_stdin = true;
    command.parent_death_signal = SIGTERM;  // a test that is killed leaves nothing behind
    process_ = green::Process::start(command);
}

Greensup::~Greensup() {
    if (process_.empty()) return;
    if (!process_.poll()) {
        process_.signal(SIGTERM);
        if (!process_.join(20s)) process_.signal(SIGKILL);
    }
}

void Greensup::await_ready(const std::map<std::string, std::size_t>& counts) {
    const bool reached = transitions_->wait_for(
        [&] {
            return std::all_of(counts.begin(), counts.end(), [&](const auto& wanted) {
                return transitions_->in_state(wanted.first, "ready").size() == wanted.second;
            });
        },
        patience);
    INFO(log());
    INFO(transitions_->text());
    REQUIRE(reached);
    transitions_->reset_fewest();
}

void Greensup::signal(int number) { REQUIRE(process_.signal(number)); }
green::ExitStatus Greensup::stop() {
    signal(SIGTERM);
    return join();
}
green::ExitStatus Greensup::join() {
    const auto status = process_.join(patience);
    INFO(log());
    REQUIRE(status.has_value());
    transitions_->catch_up();
    return *status;
}

nlohmann::json Greensup::status() {
    auto stream = green::Stream::connect(
        green::Endpoint::parse("unix:" + run_dir() + "/control.sock"), patience);
    stream.write_all("{\"id\":1,\"verb\":\"status\"}\n");
    std::string line;
    while (line.find('\n') == std::string::npos) {
        char bytes[4096];
        const std::size_t got = stream.read_some(std::span{bytes}, patience);
        REQUIRE(got > 0);
        line.append(bytes, got);
    }
    return nlohmann::json::parse(line);
}

green::Endpoint Greensup::socket(const std::string& name) {
    const auto json = status();
    for (const auto& socket : json.at("sockets")) {
        if (socket.at("name") == name)
            return green::Endpoint::parse(socket.at("listen").get<std::string>());
    }
    FAIL("no socket " << name << " in " << json.dump());
    throw std::logic_error("unreachable");
}

std::string Greensup::log() const { return contents(dir_ / "log"); }

Greensup::Ran Greensup::run(const std::vector<std::string>& arguments) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    green::Fd reading{ends[0]};
    green::Fd writing{ends[1]};
    green::Command command;
    command.argv = {bin() + "/greensup"};
    command.argv.insert(command.argv.end(), arguments.begin(), arguments.end());
    command.descriptors = {{writing.number(), 1}, {writing.number(), 2}};
    command.null_stdin = true;
    auto process = green::Process::start(command);
    writing.close();
    Ran ran;
    for (;;) {
        char bytes[4096];
        const ssize_t got = ::read(reading.number(), bytes, sizeof bytes);
        if (got > 0) {
            ran.output.append(bytes, static_cast<std::size_t>(got));
        } else if (got == 0) {
            break;
        } else if (!reading.wait_readable(patience)) {
            break;
        }
    }
    ran.code = process.join(patience)->code;
    return ran;
}

}  // namespace tests
