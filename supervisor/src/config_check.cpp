#include "config_check.hpp"

#include <algorithm>
#include <set>

#include "config_codecs.hpp"
#include "queue/layout.hpp"
#include "queue/letter.hpp"
#include "units.hpp"

namespace greensup {
namespace {

template <class Section>
std::vector<std::string> names_of(const std::vector<Section>& sections) {
    std::vector<std::string> names;
    names.reserve(sections.size());
    for (const auto& section : sections) names.push_back(section.name);
    return names;
}

std::string quoted(const std::string& text) { return '"' + text + '"'; }

/// The place of the first of `keys` that the user wrote; the check stays silent if none was: no
/// combination of defaults is ever blamed on him.
struct Written {
    std::string key;
    Place place;
};
std::optional<Written> first_written(const Reader& reader, const std::vector<std::string>& keys) {
    for (const auto& key : keys)
        if (const auto place = reader.written(key)) return Written{key, *place};
    return std::nullopt;
}

std::string percent_text(double value) { return PercentCodec{100}.show(value); }

/// The end of its input asks such a program to leave.
bool reads_a_pipe(const Config& config, const std::string& worker) {
    return std::any_of(config.pipes.begin(), config.pipes.end(),
                       [&](const PipeConfig& pipe) { return pipe.to == worker + ".stdin"; });
}

class Checker {
 public:
    Checker(Reader& reader, Config& config) : reader_(reader), config_(config) {}

    void run() {
        for (auto& worker : config_.workers) check_worker(worker);
        for (auto& queue : config_.queues) check_queue(queue);
        for (const auto& pipe : config_.pipes) check_pipe(pipe);
        check_addresses();
        check_cycles();
    }

 private:
    void report(const std::string& key, std::string code, std::string message,
                std::string hint = {}) {
        reader_.report(reader_.written(key).value_or(Place{1, 1}), std::move(code), key,
                       std::move(message), std::move(hint));
    }

    static std::string element_of(const std::string& key, std::size_t index) {
        return key + "[" + std::to_string(index) + "]";
    }

    /// Every name of a list must be one of `known`, and stand there once.
    /// `may_be_all`: or "*".
    void check_names(const std::string& key, const std::vector<std::string>& names,
                     const std::string& what, const std::vector<std::string>& known,
                     bool may_be_all = false) {
        std::set<std::string> seen;
        for (std::size_t i = 0; i < names.size(); ++i) {
            const auto& name = names[i];
            const auto element = element_of(key, i);
            const auto& at = reader_.written(element) ? element : key;
            const bool is_known = (may_be_all && name == "*") ||
                                  std::find(known.begin(), known.end(), name) != known.end();
            if (!is_known) {
                const auto meant = nearest(name, known);
                report(at, "E007",
                       "no " + what + " named " + quoted(name) + "; " +
                           (known.empty() ? "none is defined" : "defined: " + join(known)),
                       meant ? "did you mean " + quoted(*meant) + "?"
                             : "define [" + dotted(what + "s", name) + "]");
            } else if (!seen.insert(name).second) {
                report(at, "E013", quoted(name) + " stands there twice");
            }
        }
    }

    void check_worker(WorkerConfig& worker) {
        const auto path = "workers." + worker.name;
        check_names(path + ".sockets", worker.sockets, "socket", names_of(config_.sockets));
        check_after(worker, path + ".after");
        check_kind(worker, path);
        if (worker.backoff.max < worker.backoff.initial)
            contradiction({path + ".backoff.max", path + ".backoff.initial"},
                          "backoff.max (" + to_text(worker.backoff.max) +
                              ") is below backoff.initial (" + to_text(worker.backoff.initial) +
                              ")");
        const auto needed = worker.start_timeout + worker.roll.min_ready;
        if (worker.kind == Kind::hub && worker.roll.deadline != Duration::zero() &&
            worker.roll.deadline < needed)
            contradiction({path + ".roll.deadline"},
                          "roll.deadline (" + to_text(worker.roll.deadline) +
                              ") is shorter than start_timeout + roll.min_ready (" +
                              to_text(needed) + ")");
        check_shutdown(path + ".stop.timeout", "stop.timeout", worker.stop.timeout);
        check_shutdown(path + ".stop.drain", "stop.drain", worker.stop.drain);
    }

    /// Takes "db:ready" apart: readiness is the only condition so far, and the default.
    void check_after(WorkerConfig& worker, const std::string& key) {
        static const std::vector<std::string> later = {"started", "healthy", "exited", "exited-ok"};
        for (auto& entry : worker.after) {
            const auto colon = entry.find(':');
            if (colon == std::string::npos) continue;
            const auto condition = entry.substr(colon + 1);
            entry.resize(colon);
            if (std::find(later.begin(), later.end(), condition) != later.end()) {
                report(key, "E015",
                       "condition " + quoted(condition) +
                           " is known, but not supported by this version of greensup yet",
                       "now possible: " + quoted(entry) + " or " + quoted(entry + ":ready"));
            } else if (condition != "ready") {
                report(key, "E005", "condition must be \"ready\", got \"" + condition + "\"",
                       "write " + quoted(entry) + " or " + quoted(entry + ":ready"));
            }
        }
        check_names(key, worker.after, "worker", names_of(config_.workers));
    }

    void check_kind(const WorkerConfig& worker, const std::string& path) {
        const auto kind = reader_.written(path + ".kind");
        const auto where =
            kind ? " (line " + std::to_string(kind->line) + ")" : std::string(", the default");
        if (worker.kind == Kind::hub && reader_.written(path + ".ready.delay"))
            report(path + ".ready.delay", "E009", "cannot be used with kind = \"hub\"" + where,
                   "a hub worker says itself when it is ready");
        if (worker.kind == Kind::exec && !reads_a_pipe(config_, worker.name) &&
            reader_.written(path + ".stop.drain"))
            report(path + ".stop.drain", "E009", "cannot be used with kind = \"exec\"" + where,
                   "only hub workers, and programs that read a pipe, can be asked to drain; give "
                   "the program time with stop.timeout");
    }

    void contradiction(const std::vector<std::string>& keys, std::string message,
                       std::string hint = {}) {
        if (const auto written = first_written(reader_, keys))
            reader_.report(written->place, "E014", written->key, std::move(message),
                           std::move(hint));
    }

    static std::string path_of(const QueueConfig& queue) { return "queues." + queue.name; }

    void check_shutdown(const std::string& key, const std::string& name, Duration value) {
        const auto limit = config_.supervisor.shutdown_timeout;
        if (value > limit)
            contradiction({key}, name + " (" + to_text(value) +
                                     ") is longer than supervisor.shutdown_timeout (" +
                                     to_text(limit) + ")");
    }

    void check_queue(QueueConfig& queue) {
        const auto path = "queues." + queue.name;
        check_users(path + ".producers", queue.producers);
        check_users(path + ".consumers", queue.consumers);
        if (queue.max_message > queue.max_bytes)
            contradiction({path + ".max_message", path + ".max_bytes"},
                          "max_message (" + size_text(queue.max_message) +
                              ") is larger than max_bytes (" + size_text(queue.max_bytes) + ")",
                          "raise max_bytes, or lower max_message");
        if (queue.low_percent >= queue.high_percent)
            contradiction({path + ".low", path + ".high"},
                          "low (" + percent_text(queue.low_percent) + ") is not below high (" +
                              percent_text(queue.high_percent) + ")",
                          "low is where a queue that was high counts as usual again");
        note_ignored(queue, path);
        check_dead_letter(queue, path + ".dead_letter");
    }

    void check_users(const std::string& key, const std::vector<std::string>& names) {
        check_names(key, names, "worker", names_of(config_.workers), true);
        for (std::size_t i = 0; i < names.size(); ++i) {
            const auto* worker = config_.worker(names[i]);
            if (worker != nullptr && worker->kind != Kind::hub)
                report(element_of(key, i), "E014", quoted(names[i]) + " is not of kind \"hub\"",
                       "a program cannot use a queue; join it to others by a pipe");
        }
    }

    /// Where a message ends when it is handed out, nothing that becomes of it later has a meaning.
    /// No mistake: the file does what it says.
    void note_ignored(QueueConfig& queue, const std::string& path) {
        if (queue.delivery != Delivery::at_most_once) return;
        for (const auto* key : {"lease", "max_deliveries"})
            if (reader_.written(path + "." + key))
                queue.ignored += (queue.ignored.empty() ? "" : ", ") + std::string{key};
    }

    void check_dead_letter(const QueueConfig& queue, const std::string& key) {
        if (queue.dead_letter.empty()) return;
        if (queue.dead_letter == queue.name)
            return report(key, "E008", "a queue cannot be its own dead letter");
        const auto* target = config_.queue(queue.dead_letter);
        if (target == nullptr)
            return check_names(key, {queue.dead_letter}, "queue", names_of(config_.queues));
        if (target->max_message < queue.max_message)
            contradiction({key},
                          "max_message (" + size_text(queue.max_message) +
                              ") is larger than that of \"" + target->name + "\" (" +
                              size_text(target->max_message) + ")",
                          "raise max_message in [queues." + target->name + "], or lower it here");
        else
            check_letter(queue, *target, key);
        // A cycle is reported once, at the one of it that stands first in the file.
        std::string text = "cycle: " + queue.name + line_of(key);
        for (auto left = config_.queues.size(); left > 0 && target != nullptr; --left) {
            text += " -> " + target->name;
            if (target == &queue) return report(key, "E008", text);
            if (target < &queue) return;
            text += line_of(path_of(*target) + ".dead_letter");
            target = config_.queue(target->dead_letter);
        }
    }

    /// Behind a dead letter stands where it comes from, which needs room too. A default that is too
    /// large by that is nobody's mistake.
    void check_letter(const QueueConfig& queue, const QueueConfig& target, const std::string& key) {
        namespace shm = green::ipc::shm;
        if (!reader_.written(path_of(queue) + ".max_message")) return;
        shm::Config figures;
        figures.payload_bytes = target.max_bytes;
        const auto whole = shm::Letter::size_with(queue.max_message, queue.name.size());
        if (whole > figures.largest_message())
            contradiction({key},
                          "a message of max_message (" + size_text(queue.max_message) +
                              ") does not fit into max_bytes of \"" + target.name + "\" (" +
                              size_text(target.max_bytes) + ") with its " +
                              std::to_string(whole - queue.max_message) + " bytes of origin",
                          "raise max_bytes in [queues." + target.name + "]");
    }

    void check_pipe(const PipeConfig& pipe) {
        const auto path = "pipes." + pipe.name;
        if (pipe.capacity > reader_.environment().largest_pipe)
            report(path + ".capacity", "E004",
                   "kernel limit is " + size_text(reader_.environment().largest_pipe) +
                       " (fs.pipe-max-size)");
        const bool are_known = check_end(pipe, path + ".from", pipe.from, "stdout") &
                               check_end(pipe, path + ".to", pipe.to, "stdin");
        if (!are_known) return;
        const auto from = pipe_end(pipe.from);
        const auto to = pipe_end(pipe.to);
        if (from.worker == to.worker)
            return report(path + ".to", "E008", quoted(from.worker) + " cannot be fed by itself");
        if (from.stream.empty() != to.stream.empty())
            return report(path + ".to", "E015",
                          "joining " + quoted(pipe.from) + " to " + quoted(pipe.to) +
                              " is not supported by this version of greensup yet",
                          "a pipe joins a stdout to a stdin, or a hub worker to a hub worker");
        check_framing(pipe, path, from.stream.empty());
        check_counts(pipe, path, *config_.worker(from.worker), *config_.worker(to.worker));
    }

    /// Whether it names an end that there is. One that is used twice is reported, and is one.
    bool check_end(const PipeConfig& pipe, const std::string& key, const std::string& text,
                   const std::string& stream) {
        if (text.empty()) return false;  // as was said already
        const auto end = pipe_end(text);
        if (text.find('.') != std::string::npos && end.stream != stream) {
            report(key, "E005", "must be \"NAME." + stream + "\" or \"NAME\", got " + quoted(text));
            return false;
        }
        const auto* worker = config_.worker(end.worker);
        if (worker == nullptr) {
            check_names(key, {end.worker}, "worker", names_of(config_.workers));
            return false;
        }
        if (end.stream.empty() && worker->kind != Kind::hub) {
            report(key, "E014", quoted(end.worker) + " is not of kind \"hub\"",
                   "write " + quoted(end.worker + "." + stream));
            return false;
        }
        if (!end.stream.empty()) check_used_once(pipe, key, text);
        return true;
    }

    void check_used_once(const PipeConfig& pipe, const std::string& key, const std::string& text) {
        for (const auto& other : config_.pipes) {
            if (&other == &pipe) return;
            const auto its_key = other.from == text ? ".from" : ".to";
            if (other.from != text && other.to != text) continue;
            const auto place = reader_.written("pipes." + other.name + its_key);
            return report(key, "E009",
                          quoted(text) + " is already used by pipe " + quoted(other.name) +
                              (place ? " (line " + std::to_string(place->line) + ")" : ""));
        }
    }

    void check_framing(const PipeConfig& pipe, const std::string& path, bool is_for_hubs) {
        if (is_for_hubs) {
            if (reader_.written(path + ".framing") && !reader_.is_wrong(path + ".framing"))
                report(path + ".framing", "E009",
                       "cannot be used with from = " + quoted(pipe.from) + line_of(path + ".from"),
                       "hub workers send messages, which are never cut");
            return;
        }
        if (reader_.is_wrong(path + ".framing") || reader_.is_wrong(path + ".shape")) return;
        const bool is_mixed = pipe.shape == PipeShape::spread || pipe.shape == PipeShape::merge;
        if (pipe.framing == Framing::bytes && is_mixed)
            report(path + ".shape", "E014",
                   "bytes cannot be shared out or mixed: nobody could tell where one part ends",
                   "write framing = \"lines\" or framing = \"capnp\"");
    }

    void check_counts(const PipeConfig& pipe, const std::string& path, const WorkerConfig& from,
                      const WorkerConfig& to) {
        if (reader_.is_wrong(path + ".shape")) return;  // it is not the default that was meant
        const auto key = path + (reader_.written(path + ".shape") ? ".shape" : ".from");
        const auto has = [](const WorkerConfig& worker) {
            return worker.name + " has " + std::to_string(worker.count);
        };
        if (pipe.shape == PipeShape::pair && from.count != to.count)
            report(key, "E014", "pair needs equal counts: " + has(from) + ", " + has(to),
                   "or write shape = \"spread\", \"broadcast\" or \"merge\"");
        if (pipe.shape == PipeShape::merge && to.count != 1)
            report(key, "E014", "merge needs one reader: " + has(to));
        const bool is_for_hubs = pipe_end(pipe.from).stream.empty();
        if (pipe.shape == PipeShape::broadcast && !is_for_hubs && pipe.framing == Framing::bytes &&
            from.count > 1)
            report(key, "E014", "a broadcast of bytes needs one writer: " + has(from),
                   "write framing = \"lines\" or framing = \"capnp\"");
    }

    void check_addresses() {
        for (auto it = config_.sockets.begin(); it != config_.sockets.end(); ++it) {
            if (it->listen.family == Endpoint::Family::tcp && it->listen.port == 0)
                continue;  // any free port
            const auto same =
                std::find_if(config_.sockets.begin(), it,
                             [&](const SocketConfig& other) { return other.listen == it->listen; });
            const auto place = reader_.written("sockets." + same->name + ".listen");
            if (same != it && place)
                report("sockets." + it->name + ".listen", "E013",
                       to_text(it->listen) + " is already the address of \"" + same->name +
                           "\" (line " + std::to_string(place->line) + ")");
        }
    }

    // Cycles of `after`. Each is reported once, at the worker of it that stands first in the file.
    void check_cycles() {
        for (const auto& worker : config_.workers) {
            std::vector<std::string> path;
            std::set<std::string> seen;
            if (find_way(worker.name, worker.name, path, seen) &&
                first_in_file(worker.name, path)) {
                std::string text = "cycle: ";
                for (const auto& name : path) text += name + line_of_after(name) + " -> ";
                report("workers." + worker.name + ".after", "E008", text + worker.name);
            }
        }
    }

    bool find_way(const std::string& from, const std::string& to, std::vector<std::string>& path,
                  std::set<std::string>& seen) {
        const auto* worker = config_.worker(from);
        if (worker == nullptr || !seen.insert(from).second) return false;
        path.push_back(from);
        for (const auto& next : worker->after)
            if (next == to || find_way(next, to, path, seen)) return true;
        path.pop_back();
        return false;
    }

    bool first_in_file(const std::string& name, const std::vector<std::string>& path) const {
        const auto first = std::find_if(
            config_.workers.begin(), config_.workers.end(), [&](const WorkerConfig& w) {
                return std::find(path.begin(), path.end(), w.name) != path.end();
            });
        return first->name == name;
    }

    std::string line_of_after(const std::string& name) const {
        return line_of("workers." + name + ".after");
    }

    std::string line_of(const std::string& key) const {
        const auto place = reader_.written(key);
        return place ? " (line " + std::to_string(place->line) + ")" : std::string();
    }

    Reader& reader_;
    Config& config_;
};

}  // namespace

void complete(const Reader& reader, Config& config) {
    if (config.supervisor.spawn_concurrency == 0)
        config.supervisor.spawn_concurrency = 2 * std::max(1, reader.environment().cpus);
    for (auto& queue : config.queues)
        if (!reader.written("queues." + queue.name + ".max_message"))
            queue.max_message = std::min(queue.max_message, queue.max_bytes);
    for (auto& pipe : config.pipes)
        if (!reader.written("pipes." + pipe.name + ".capacity"))
            pipe.capacity = std::min(pipe.capacity, reader.environment().largest_pipe);
    for (auto& worker : config.workers) {
        const auto path = "workers." + worker.name;
        if (!reader.written(path + ".cwd")) worker.cwd = config.directory;
        if (worker.kind == Kind::exec && !reads_a_pipe(config, worker.name) &&
            !reader.written(path + ".stop.drain"))
            worker.stop.drain = Duration::zero();
        if (!reader.written(path + ".roll.deadline"))
            worker.roll.deadline =
                std::max(worker.roll.deadline, worker.start_timeout + worker.roll.min_ready);
    }
}

void check(Reader& reader, Config& config) { Checker{reader, config}.run(); }

}  // namespace greensup
