#include "shell_support.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <map>
#include <set>
#include <sstream>
#include <sys/inotify.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "supervisor.hpp"
#include "support/roles.hpp"
#include "support/text_files.hpp"

GREEN_TEST_ROLE(supervisor) { return greensup::start_supervisor(arguments.at(0)); }

namespace greensup::test {
Running::Running(const std::string& toml, const std::string& supervisor, unsigned descriptors)
    : supervisor_{supervisor}, descriptors_{descriptors} {
    write(toml);
    start();
}

Running::~Running() {
    if (process_.empty()) return;
    if (process_.poll()) return;
    process_.signal(SIGQUIT);
    process_.join(5s);
}

void Running::write(const std::string& toml) {
    write_raw("version = 1\n[supervisor]\nrun_dir = \"" + run_dir() + "\"\n" + supervisor_ + "\n" +
              toml);
}

void Running::write_raw(const std::string& text) { directory_.write("workers.toml", text); }

void Running::start() {
    const auto path = directory_ / "log";
    const green::Fd log{::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
    watch_ = green::Fd{::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
    REQUIRE(::inotify_add_watch(watch_.number(), path.c_str(), IN_MODIFY) >= 0);
    green::Command command{{tests::self(), "--role=supervisor", file()}};
    command.descriptors = {{log.number(), STDERR_FILENO}};
    command.parent_death_signal = SIGTERM;  // a test that is killed leaves nothing behind
    if (descriptors_ != 0) command.limits.push_back({RLIMIT_NOFILE, {descriptors_, descriptors_}});
    process_ = green::Process::start(command);
}

std::string Running::log() const { return tests::text_of(directory_ / "log"); }

std::vector<Line> Running::transitions() const {
    std::vector<Line> lines;
    std::istringstream file(tests::text_of(run_dir() + "/transitions.log"));
    for (std::string text; std::getline(file, text);) {
        const auto json = nlohmann::json::parse(text);
        lines.push_back({json["t_ns"], json["pool"], json["slot"], json["generation"], json["pid"],
                         json["from"], json["to"], json["cause"]});
    }
    return lines;
}

void Running::await_growth(green::Deadline deadline) {
    INFO(log());
    REQUIRE(watch_.wait_readable(deadline));
    char events[4096];
    while (::read(watch_.number(), events, sizeof events) > 0) {
    }
}

Status Running::status() const {
    const auto line = ControlClient{run_dir()}.ask({"1", "status"}, patience);
    INFO(line);
    const auto status = parse_status(line);
    REQUIRE(status);
    return *status;
}

Status Running::await(const std::function<bool(const Status&)>& wanted) {
    const green::Deadline deadline{patience};
    for (;;) {
        try {
            auto now = status();
            if (wanted(now)) return now;
        } catch (const Refusal&) {  // it does not listen yet
            if (process_.poll()) FAIL(log());
        }
        await_growth(deadline);
    }
}

void Running::await_log(const std::string& text, std::size_t times) {
    const green::Deadline deadline{patience};
    for (;;) {
        const auto log_now = log();
        std::size_t count = 0;
        for (auto at = log_now.find(text); at != std::string::npos; at = log_now.find(text, at + 1))
            ++count;
        if (count >= times) return;
        await_growth(deadline);
    }
}

void Running::until(const std::function<bool()>& holds) {
    const green::Deadline deadline{patience};
    while (!holds()) {
        REQUIRE_FALSE(deadline.has_passed());
        green::sleep(5ms);
    }
}

Status Running::await_settled(std::uint64_t generation) {
    return await([&](const Status& status) {
        return status.generation >= generation &&
               std::all_of(status.pools.begin(), status.pools.end(), [](const PoolStatus& pool) {
                   return !pool.rolling && ready_count(pool) == pool.count &&
                          pool.instances.size() == static_cast<std::size_t>(pool.count);
               });
    });
}

Answer Running::ask(const Request& request) const {
    const auto line = ControlClient{run_dir()}.ask(request, patience);
    const auto answer = parse_answer(line);
    INFO(line);
    REQUIRE(answer);
    return *answer;
}

green::ExitStatus Running::end() {
    const auto ended = process_.join(patience);
    INFO(log());
    REQUIRE(ended);
    return *ended;
}

const PoolStatus* find(const Status& status, std::string_view pool) {
    const auto found = std::find_if(status.pools.begin(), status.pools.end(),
                                    [&](const PoolStatus& p) { return p.name == pool; });
    return found == status.pools.end() ? nullptr : &*found;
}

std::vector<int> pids(const Status& status, std::string_view pool) {
    std::vector<int> all;
    if (const auto* found = find(status, pool))
        for (const auto& instance : found->instances)
            if (instance.pid != 0) all.push_back(instance.pid);
    std::sort(all.begin(), all.end());
    return all;
}

int fewest_ready(const std::vector<Line>& lines, const std::string& pool, int count) {
    std::set<std::pair<int, std::uint64_t>> ready;
    int fewest = -1;
    for (const auto& line : lines) {
        if (line.pool != pool) continue;
        if (line.to == "ready") ready.emplace(line.slot, line.generation);
        if (line.from == "ready") ready.erase({line.slot, line.generation});
        const auto now = static_cast<int>(ready.size());
        if (fewest >= 0) fewest = std::min(fewest, now);
        if (fewest < 0 && now >= count) fewest = now;
    }
    return fewest;
}

bool lives(int pid) {
    const auto text = tests::text_of("/proc/" + std::to_string(pid) + "/stat");
    const auto end = text.rfind(") ");
    return end != std::string::npos &&
           text[end + 2] != 'Z';  // not every init takes care of orphans
}

std::string role(const std::string& name, const std::vector<std::string>& arguments) {
    std::string text = "command = [\"" + tests::self() + "\", \"--role=" + name + "\"";
    for (const auto& argument : arguments) text += ", \"" + argument + "\"";
    return text + "]\n";
}

}  // namespace greensup::test
