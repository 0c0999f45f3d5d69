#include "supervisor.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <unistd.h>

#include <green/deadline.hpp>
#include <green/greenlet.hpp>
#include <green/log.hpp>
#include <green/sys.hpp>
#include <green/thread_pool.hpp>

#include "environment.hpp"
#include "leftovers.hpp"
#include "open_queue.hpp"
#include "supervisor_works.hpp"
#include "units.hpp"

namespace greensup {
namespace {

namespace sys = green::sys;

bool has_terminal() {
    const auto opened = sys::open("/dev/tty", O_RDWR | O_NOCTTY);
    if (opened.ok()) (void)sys::close(opened.as_int());
    return opened.ok();
}

/// Whether a closed terminal shall end us: not if whoever started us said that it shall not.
bool minds_hangups() {
    struct sigaction now {};
    return sys::sigaction(SIGHUP, nullptr, &now).ok() && now.sa_handler != SIG_IGN;
}

void ignore(std::initializer_list<int> signals) {
    struct sigaction ignored {};
    ignored.sa_handler = SIG_IGN;
    for (const int signal : signals) (void)sys::sigaction(signal, &ignored, nullptr);
}

/// What our own parent did with signals is not meant for us.
void begin_afresh(std::initializer_list<int> awaited) {
    struct sigaction usual {};
    usual.sa_handler = SIG_DFL;
    (void)sys::sigaction(SIGCHLD, &usual, nullptr);  // ignored, it would take our children's ends
    sigset_t set;
    ::sigemptyset(&set);
    for (const int signal : awaited) ::sigaddset(&set, signal);
    (void)sys::sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

std::optional<TimePoint> earlier(std::optional<TimePoint> a, std::optional<TimePoint> b) {
    if (a && b) return std::min(*a, *b);
    return a ? a : b;
}

}  // namespace

Supervisor::Supervisor(Config config, Environment ours, RunPaths paths)
    : first_{std::move(config)},
      ours_{std::move(ours)},
      paths_{std::move(paths)},
      started_{green::now()},
      has_terminal_{minds_hangups() && has_terminal()},
      signals_{SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP} {
    // A write to nobody and a full file are told by the call; a background job that speaks to its
    // terminal goes on.
    ignore({SIGPIPE, SIGXFSZ, SIGTTIN, SIGTTOU});
    begin_afresh({SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP});
    signals_.set_ref(true);
    greenlets_.spawn([this] { watch_signals(); }).set_name("signals");
}

Supervisor::~Supervisor() = default;

void Supervisor::run() {
    if (!await_leftovers(ProcessTable::read(paths_.processes()), stop_)) return;
    begin();
    keep_going();
    end();
}

void Supervisor::begin() {
    works_ = std::make_unique<Works>(ours_, paths_, changed_);
    const auto mode = first_.supervisor.control_mode;
    const auto workers = first_.workers.size();
    green::log::info("supervisor.start", {{"name", first_.supervisor.name},
                                          {"pid", ::getpid()},
                                          {"file", first_.file},
                                          {"run_dir", paths_.directory},
                                          {"pools", workers}});
    server_ = std::make_unique<ControlServer>(
        paths_.control_socket(), mode, [this](const Request& request) { return answer(request); });
    works_->reloader.begin(std::move(first_));
    for (const auto& [name, socket] : works_->reloader.edition().sockets)
        green::log::info("socket.listens", {{"socket", name}, {"at", socket->address()}});
}

void Supervisor::keep_going() {
    auto& [log, spawner, fleet, roller, reloader, stopper] = *works_;
    while (!stopper.is_done()) {
        changed_.clear();
        const bool ends = stopper.has_begun();
        // Whom the end does not need is told before anybody is let start.
        auto next = ends ? stopper.advance() : std::nullopt;
        next = earlier(next, fleet.advance(ends));
        if (!ends) next = earlier(next, reloader.advance());
        // At the end each pool is told by itself when its input is over.
        if (!stopper.has_begun()) fleet.tell_pipes(reloader.edition());
        fleet.sweep();
        changed_.wait(next ? green::Deadline::at(*next) : green::Deadline::never());
    }
}

void Supervisor::end() {
    // Nobody shall come back from a wait to what is not there any more.
    greenlets_.kill();
    server_.reset();
    std::string left;
    std::uint64_t count = 0;
    for (const auto& [name, queue] : works_->stopper.queues()) {
        const auto messages = queue->figures().left();
        count += messages;
        left += (left.empty() ? "" : " ") + name + ":" + std::to_string(messages);
        queue->set_last_turn();
    }
    std::uint64_t bytes = 0;
    for (const auto& [name, pipe] : works_->stopper.pipes()) bytes += pipe->figures().waiting;
    works_.reset();  // closes sockets and removes what is empty
    OpenQueue::wait_for_ends();
    (void)sys::unlink(paths_.processes().c_str());
    (void)sys::rmdir(paths_.queues().c_str());
    green::log::info(
        "supervisor.stopped",
        {{"uptime",
          to_text(std::chrono::round<std::chrono::milliseconds>(green::now() - started_))},
         {"messages_left", count},
         {"queues", left},
         {"bytes_left_in_pipes", bytes}});
}

// --- signals ---

void Supervisor::watch_signals() {
    while (const auto signal = signals_.next()) on_signal(*signal);
}

void Supervisor::on_signal(int signal) {
    const auto who = "SIG" + signal_text(signal);
    switch (signal) {
        case SIGHUP:
            return on_hangup();
        case SIGTERM:
        case SIGINT:
        case SIGQUIT:
            return stop(who, signal == SIGQUIT);
        case SIGTSTP:
            // Workers that run on behind a supervisor that stands still are a trap.
            green::log::warning("signal.ignored",
                                {{"signal", who}, {"why", "cannot be suspended"}});
            return;
        default:
            green::log::info("signal.ignored", {{"signal", who}, {"why", "means nothing here"}});
    }
}

void Supervisor::stop(const std::string& who, bool in_a_hurry) {
    stop_.set();
    if (!works_) return;
    works_->reloader.cancel();
    const auto& edition = works_->reloader.edition();
    if (in_a_hurry)
        works_->stopper.hurry(edition, who.c_str());
    else
        works_->stopper.begin(edition, who.c_str());
}

void Supervisor::on_hangup() {
    if (has_terminal_ && !has_terminal()) return stop("the end of its terminal", false);
    if (!works_) return;
    server_->restore();
    if (is_reloading_) {
        reloads_again_ = true;
        return;
    }
    is_reloading_ = true;
    greenlets_.spawn([this] {
        do {
            reloads_again_ = false;
            reload(std::nullopt);
        } while (reloads_again_);
        is_reloading_ = false;
    });
}

std::shared_ptr<ReloadJob> Supervisor::reload(std::optional<Scope> scope) {
    const auto file = works_->reloader.edition().config.file;
    // In a thread: a file on a disk that hangs must not stop the supervision.
    auto read =
        green::threads().apply([file, ours = ours_] { return read_config_file(file, ours); });
    if (works_->stopper.has_begun()) {
        auto job = std::make_shared<ReloadJob>();
        job->outcome.set({Code::failed, "the supervisor is stopping", "", "", 0, {}});
        return job;
    }
    if (!scope) {
        const bool is_all = read && read->supervisor.hup == OnHup::all;
        scope = is_all ? Scope::everything : Scope::changed;
    }
    auto job = works_->reloader.apply(std::move(read), *scope);
    changed_.set();
    return job;
}

// --- the verb ---

int start_supervisor(const std::string& file) {
    const auto ours = environment_of_this_process();
    auto config = read_config_file(file, ours);
    if (!config) {
        const auto count = config.error().size();
        (void)std::fprintf(stderr, "%s%zu %s; nothing was started\n",
                           to_text(config.error()).c_str(), count,
                           count == 1 ? "mistake" : "mistakes");
        return number(Code::config);
    }
    const auto places = config->places;
    try {
        const RunDir directory(config->supervisor.run_dir, config->supervisor.control_mode);
        Supervisor supervisor(std::move(*config), ours, directory.paths());
        supervisor.run();
        return number(Code::ok);
    } catch (const Refusal& refusal) {
        if (refusal.is_of_the_file()) {
            (void)std::fputs(to_text(refusal.mistake(places)).c_str(), stderr);
            return number(refusal.code());
        }
        (void)std::fprintf(stderr, "greensup: %s\n", refusal.what());
        if (!refusal.hint().empty())
            (void)std::fprintf(stderr, "    hint: %s\n", refusal.hint().c_str());
        return number(refusal.code());
    }
}

}  // namespace greensup
