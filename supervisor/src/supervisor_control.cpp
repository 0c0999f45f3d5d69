// What the supervisor answers to whom asks it over the control socket.
#include <map>
#include <unistd.h>

#include <green/deadline.hpp>

#include "supervisor_works.hpp"
#include "wall_clock.hpp"

namespace greensup {
namespace {

std::string refuse(const Request& request, Code code, const std::string& message,
                   const std::string& hint = {}) {
    Answer answer;
    answer.ok = false;
    answer.code = code;
    answer.error = error_id(code);
    answer.message = message;
    answer.hint = hint;
    return to_line(answer, request.id);
}

InstanceStatus status_of(const Instance& instance) {
    InstanceStatus status;
    status.slot = instance.slot;
    status.state = instance.state;
    status.pid = instance.pid;
    status.generation = instance.generation;
    status.cause = instance.cause;
    status.since_ms = wall_ms(instance.since);
    if (instance.state == State::backoff && instance.deadline)
        status.next_at_ms = wall_ms(*instance.deadline);
    status.restarts = instance.restarts;
    status.on_trial = instance.on_trial;
    return status;
}

PoolStatus status_of(const Pool& pool, const std::string& waits_for) {
    PoolStatus status;
    status.name = pool.name;
    status.wanted = pool.is_wanted;
    status.rolling = pool.is_rolling;
    status.degraded = !pool.is_settled && !pool.is_rolling;
    status.count = pool.worker() == nullptr ? 0 : pool.worker()->count;
    status.generation = pool.generation;
    status.note = pool.note.empty() && !waits_for.empty() ? "waits for " + waits_for : pool.note;
    for (const auto& member : pool.members) {
        status.instances.push_back(status_of(member->instance));
        status.degraded = status.degraded || member->instance.budget.slow;
    }
    return status;
}

QueueStatus status_of(const std::string& name, const QueueFigures& figures, const Fleet& fleet) {
    QueueStatus status;
    status.name = name;
    status.ready = figures.ready;
    status.leased = figures.leased;
    status.bytes = figures.bytes;
    status.delayed = figures.delayed;
    status.dead = figures.dead;
    status.oldest_ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(figures.oldest).count();
    status.high = figures.is_high;
    status.letters_full = figures.are_letters_full;
    status.accepted = figures.accepted;
    status.acked = figures.acked;
    status.redelivered = figures.redelivered;
    status.moved = figures.moved;
    status.duplicates = figures.duplicates;
    status.dropped_oldest = figures.dropped_oldest;
    status.dropped_newest = figures.dropped_newest;
    status.rejected = figures.rejected;
    status.expired = figures.expired;
    status.refused = figures.turned_away;
    status.leases_expired = figures.leases_expired;
    for (const auto& [owner, leased] : figures.holders) {
        QueueHolder holder;
        holder.leased = leased;
        for (const auto& pool : fleet.pools())
            for (const auto& member : pool->members) {
                if (!member->incarnation || member->incarnation->owner != owner) continue;
                holder.worker = pool->name;
                holder.slot = member->instance.slot;
                holder.pid = member->instance.pid;
            }
        status.holders.push_back(std::move(holder));
    }
    return status;
}

PipeEndStatus status_of(const EndFigures& end) {
    PipeEndStatus status;
    status.slot = end.slot;
    status.pid = end.pid;
    status.state = to_text(end.state);
    status.bytes = end.bytes;
    status.waiting = end.waiting;
    if (end.stands_since)
        status.stands_ms =
            std::chrono::duration_cast<std::chrono::milliseconds>(green::now() - *end.stands_since)
                .count();
    return status;
}

PipeStatus status_of(OpenPipe& open) {
    const auto& pipe = open.config();
    const auto figures = open.figures();
    PipeStatus status;
    status.name = pipe.name;
    status.from = pipe.from;
    status.to = pipe.to;
    status.shape = to_text(pipe.shape);
    status.waiting = figures.waiting;
    status.passed = figures.passed;
    status.torn = figures.torn;
    status.refused = figures.refused;
    status.missed = figures.missed;
    for (const auto& end : figures.writers) status.writers.push_back(status_of(end));
    for (const auto& end : figures.readers) status.readers.push_back(status_of(end));
    return status;
}

}  // namespace

Status Supervisor::status() const {
    // To count messages takes several turns of the hub where there are many slots. All else is of
    // one.
    const auto present = works_->reloader.present();
    const auto& edition = *present;
    std::vector<QueueFigures> figures;
    for (const auto& queue : edition.config.queues)
        figures.push_back(edition.queues.at(queue.name)->figures());
    std::map<std::string, QueueFigures> removed;
    const auto& stopper = works_->stopper;
    const auto open = stopper.has_begun() ? stopper.queues() : works_->fleet.open_queues(edition);
    for (const auto& [name, queue] : open)
        if (!edition.queues.contains(name)) removed[name] = queue->figures();
    Status status;
    status.name = edition.config.supervisor.name;
    status.pid = ::getpid();
    status.version = GREENSUP_VERSION;
    status.generation = edition.generation;
    status.uptime = green::now() - started_;
    status.now_ms = wall_ms();
    status.stopping = works_->stopper.has_begun();
    status.config.file = edition.config.file;
    if (works_->reloader.rejected().rejected) status.config = works_->reloader.rejected();
    for (const auto& pool : works_->fleet.pools())
        status.pools.push_back(status_of(*pool, works_->fleet.waits_for(*pool)));
    for (std::size_t i = 0; i < figures.size(); ++i)
        status.queues.push_back(
            status_of(edition.config.queues[i].name, figures[i], works_->fleet));
    for (const auto& [name, its] : removed) {
        status.queues.push_back(status_of(name, its, works_->fleet));
        status.queues.back().removed = true;
    }
    for (const auto& pipe : edition.config.pipes)
        status.pipes.push_back(status_of(*edition.pipes.at(pipe.name)));
    for (const auto& [name, pipe] :
         stopper.has_begun() ? stopper.pipes() : works_->fleet.open_pipes(edition)) {
        if (edition.pipes.contains(name)) continue;
        status.pipes.push_back(status_of(*pipe));
        status.pipes.back().removed = true;
    }
    for (const auto& socket : edition.config.sockets)
        status.sockets.push_back({socket.name, edition.sockets.at(socket.name)->address()});
    return status;
}

std::string Supervisor::answer(const Request& request) {
    if (request.verb == "status") return with_id(to_json_text(status()), request.id);
    if (request.verb == "reload") return answer_reload(request);
    if (request.verb == "shutdown") {
        stop("a shutdown request", request.fast);
        return to_line(Answer{}, request.id);
    }
    return refuse(request, Code::usage, "no verb named \"" + request.verb + "\"",
                  "verbs: status, reload, shutdown");
}

std::string Supervisor::answer_reload(const Request& request) {
    const auto job = reload(Scope::changed);
    Answer answer;
    if (!request.wait && !job->outcome.ready()) {
        answer.plan = job->plan;
        answer.generation = job->generation;
        return to_line(answer, request.id);
    }
    const auto& outcome = job->outcome.get();
    answer.ok = outcome.code == Code::ok;
    answer.code = outcome.code;
    answer.error = error_id(outcome.code);
    answer.message = outcome.message;
    answer.hint = outcome.hint;
    answer.plan = outcome.plan;
    answer.generation = outcome.generation;
    answer.mistakes = outcome.mistakes;
    return to_line(answer, request.id);
}

}  // namespace greensup
