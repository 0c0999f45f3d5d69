// Words for the state machine: names, causes, log lines, and the shell's inputs.
#include <cstring>
#include <system_error>
#include <utility>

#include "units.hpp"
#include "worker_fsm.hpp"

namespace greensup {
namespace {

constexpr std::array<std::string_view, state_count> state_names = {
    "stopped",  "waiting", "spawning", "starting", "ready", "draining",
    "stopping", "killing", "backoff",  "done",     "failed"};

constexpr std::array<std::string_view, event_count> event_names = {
    "start",     "permit",    "spawned",  "ready", "shortage", "exit-gone", "exit-retry",
    "exit-done", "exit-fail", "deadline", "drain", "stop",     "kill",      "retry"};

constexpr std::array<std::string_view, 6> action_names = {
    "none", "spawn", "announce-ready", "ask-drain", "send-stop", "send-kill"};

/// "No such file or directory (ENOENT)"
std::string error_text(int number) {
    const auto* name = strerrorname_np(number);
    return std::generic_category().message(number) +
           (name == nullptr ? "" : " (" + std::string(name) + ")");
}

}  // namespace

std::string_view to_text(State state) { return state_names.at(static_cast<std::size_t>(state)); }
std::string_view to_text(Event event) { return event_names.at(static_cast<std::size_t>(event)); }
std::string_view to_text(Action action) {
    return action_names.at(static_cast<std::size_t>(action));
}

std::optional<State> parse_state(std::string_view text) {
    for (std::size_t i = 0; i < state_count; ++i)
        if (state_names[i] == text) return static_cast<State>(i);
    return std::nullopt;
}

std::string to_text(const Cause& cause) {
    switch (cause.kind) {
        case Cause::Kind::none:
            return "";
        case Cause::Kind::requested:
            return cause.text.empty() ? "requested" : cause.text;
        case Cause::Kind::exit:
            return "exit " + std::to_string(cause.number);
        case Cause::Kind::signal:
            return "signal " + signal_text(cause.number);
        case Cause::Kind::exec:
            return cause.text + ": " + error_text(cause.number);
        case Cause::Kind::shortage:
            return "shortage: " + (cause.text.empty() ? error_text(cause.number) : cause.text);
        case Cause::Kind::start_timeout:
            return "not ready in time";
        case Cause::Kind::drain_timeout:
            return "not drained in time";
        case Cause::Kind::stop_timeout:
            return "ignored its stop signal";
    }
    return "";
}

std::string to_text(const Transition& transition) {
    std::string text = "slot=" + std::to_string(transition.slot) +
                       " gen=" + std::to_string(transition.generation) + " " +
                       std::string(to_text(transition.from)) + " -> " +
                       std::string(to_text(transition.to));
    if (transition.pid != 0) text += " pid=" + std::to_string(transition.pid);
    const auto why = to_text(transition.cause);
    return why.empty() ? text : text + ": " + why;
}

Input Input::spawned(int pid) { return {What::spawned, pid, false, ""}; }
Input Input::exec_failed(int error, std::string stage_and_path) {
    return {What::exec_failed, error, false, std::move(stage_and_path)};
}
Input Input::shortage(int error, std::string what) {
    return {What::shortage, error, false, std::move(what)};
}
Input Input::exited(int code) { return {What::exited, code, false, ""}; }
Input Input::killed_by(int signal) { return {What::exited, signal, true, ""}; }
Input Input::request(What what, std::string who) { return {what, 0, false, std::move(who)}; }
Input Input::of(What what) { return {what, 0, false, ""}; }

bool is_success(const WorkerConfig& worker, bool by_signal, int number) {
    const auto word = by_signal ? signal_text(number) : std::to_string(number);
    for (const auto& code : worker.success_codes)
        if (code == word) return true;
    return false;
}

}  // namespace greensup
