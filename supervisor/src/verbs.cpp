#include "verbs.hpp"

#include <chrono>
#include <cstdio>

#include "control_client.hpp"
#include "environment.hpp"
#include "status.hpp"

namespace greensup {
namespace {

using namespace std::chrono_literals;

constexpr auto answer_limit = 10s;
constexpr const char* default_file = "workers.toml";

void print(std::FILE* to, const std::string& text) {
    (void)std::fwrite(text.data(), 1, text.size(), to);
}

int complain(const Refusal& refusal, bool as_json) {
    if (as_json) {
        print(stdout, error_json_text(number(refusal.code()), error_id(refusal.code()),
                                      refusal.what(), refusal.hint()) +
                          "\n");
    } else {
        print(stderr, std::string("greensup: ") + refusal.what() + "\n");
        if (!refusal.hint().empty()) print(stderr, "    hint: " + refusal.hint() + "\n");
    }
    return number(refusal.code());
}

Refusal cannot_tell(const std::string& file) {
    const auto config = read_config_file(file, environment_of_this_process());
    const bool is_unreadable = !config && config.error().front().code == "E011";
    return {Code::not_found,
            "cannot tell from " + file + " where its supervisor runs: " +
                (is_unreadable ? config.error().front().message : "its [supervisor] is wrong"),
            "name the file with -f FILE, or the run directory with --run-dir DIR" +
                (is_unreadable ? std::string() : "; see greensup check " + file)};
}

ControlClient connect(const Target& target) {
    if (!target.run_dir.empty()) return ControlClient{target.run_dir};
    const auto file = target.file.empty() ? std::string(default_file) : target.file;
    const auto run_dir = run_dir_of(file, environment_of_this_process());
    if (run_dir.empty()) throw cannot_tell(file);
    return ControlClient{run_dir};
}

template <class All>
std::string count_of(const All& all, const char* one) {
    return std::to_string(all.size()) + " " + one + (all.size() == 1 ? "" : "s");
}

Answer answer_in(const std::string& line) {
    if (auto answer = parse_answer(line)) return *answer;
    throw Refusal(Code::not_found, "the supervisor's answer is not understood",
                  "is it another version of greensup?");
}

int report(const Answer& answer) {
    if (!answer.plan.empty()) print(stdout, answer.plan);
    if (answer.ok) {
        if (answer.generation != 0)
            print(stdout, "generation " + std::to_string(answer.generation) + "\n");
        return number(Code::ok);
    }
    print(stderr, to_text(answer.mistakes));
    // It is the message of the one mistake, which only carrying it out has shown.
    if (answer.code != Code::config && !answer.mistakes.empty())
        return complain(Refusal(answer.code, "nothing was changed"), false);
    return complain(Refusal(answer.code, answer.message, answer.hint), false);
}

}  // namespace

int check_file(const std::string& file, bool as_json) {
    const auto name = file.empty() ? std::string(default_file) : file;
    const auto config = read_config_file(name, environment_of_this_process());
    const auto& mistakes = config ? Diagnostics{} : config.error();
    if (as_json) {
        print(stdout, to_json_text(mistakes) + "\n");
    } else if (config) {
        print(stdout, name + ": good: " + count_of(config->workers, "worker") + ", " +
                          count_of(config->sockets, "socket") + ", " +
                          count_of(config->queues, "queue") + ", " +
                          count_of(config->pipes, "pipe") + "; runs in " +
                          config->supervisor.run_dir + "\n");
    } else {
        print(stderr, to_text(mistakes) + count_of(mistakes, "mistake") + "\n");
    }
    return number(config ? Code::ok : Code::config);
}

int show_status(const Target& target, bool as_json) try {
    const auto line = connect(target).ask({"", "status"}, answer_limit);
    const auto status = parse_status(line);
    if (!status) return report(answer_in(line));
    print(stdout, as_json ? to_json_text(*status, true) + "\n" : to_text(*status));
    return number(Code::ok);
} catch (const Refusal& refusal) {
    return complain(refusal, as_json);
}

int reload(const Target& target, bool waits, bool as_json) try {
    Request request{"", "reload"};
    request.wait = waits;
    auto client = connect(target);
    const auto line =
        waits ? client.ask_patiently(request, answer_limit) : client.ask(request, answer_limit);
    const auto answer = answer_in(line);
    if (!as_json) return report(answer);
    print(stdout, line);
    return number(answer.code);
} catch (const Refusal& refusal) {
    return complain(refusal, as_json);
}

int shut_down(const Target& target, bool fast) try {
    auto client = connect(target);
    Request request{"", "shutdown"};
    request.fast = fast;
    const auto answer = answer_in(client.ask(request, answer_limit));
    if (!answer.ok) return report(answer);
    client.await_end();
    return number(Code::ok);
} catch (const Refusal& refusal) {
    return complain(refusal, false);
}

}  // namespace greensup
