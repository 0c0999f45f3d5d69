#include <algorithm>
#include <csignal>
#include <unistd.h>
#include <utility>

#include <green/event.hpp>
#include <green/group.hpp>
#include <green/ipc/control.capnp.h>
#include <green/log.hpp>
#include <green/signals.hpp>
#include <green/workers/worker.hpp>

#include "surroundings.hpp"

namespace green::workers {
namespace {

namespace control = ipc::control;

// Leaving takes a moment after the last connection; a worker that is still here then is stuck.
constexpr auto grace = std::chrono::seconds(1);

}  // namespace

class Worker::Core {
 public:
    explicit Core(Surroundings around) : around_{std::move(around)}, signals_{SIGTERM, SIGINT} {
        log::set_fields({{"worker", around_.pool + "/" + std::to_string(around_.slot)}});
        signals_.set_ref(true);
        crew_.spawn([this] { watch_signals(); });
        if (around_.control) crew_.spawn([this] { watch_supervisor(); });
    }

    Listener socket(std::string_view name);
    ipc::RawQueue queue(std::string_view name);
    ipc::FrameStream pipe(std::string_view name, bool reads);
    void ready();
    template <class Server>
    int serve(Server& server);
    void start_drain(const char* why, Duration time);

    Surroundings around_;
    Event draining_;
    Deadline deadline_ = Deadline::never();

 private:
    void watch_signals();
    void watch_supervisor();
    void tell(void (*build)(control::FromWorker::Builder));

    SignalSet signals_;
    bool ready_ = false;
    std::vector<ipc::RawQueue> queues_;
    std::map<std::string, ipc::LocalQueue, std::less<>> local_queues_;
    Group crew_;
};

// --- coming ---

Listener Worker::Core::socket(std::string_view name) {
    const auto given = around_.sockets.find(name);
    if (given != around_.sockets.end()) {
        if (!given->second.is_open())
            throw UsageError("socket " + std::string(name) + " was taken already");
        return Listener::adopt(std::move(given->second));
    }
    const auto address = around_.addresses.find(name);
    if (address != around_.addresses.end()) return Listener::bind(Endpoint::parse(address->second));
    throw UsageError(around_.control
                         ? "this worker has no socket \"" + std::string(name) +
                               "\"; name it in its pool: sockets = [\"" + std::string(name) + "\"]"
                         : "no address for socket \"" + std::string(name) + "\"; give --socket " +
                               std::string(name) + "=127.0.0.1:8080");
}

ipc::RawQueue Worker::Core::queue(std::string_view name) {
    for (const ipc::RawQueue& known : queues_) {
        if (known.name() == name) return known;
    }
    ipc::QueueGrant grant;
    const auto given = around_.queues.find(name);
    if (given != around_.queues.end()) {
        grant = std::move(given->second);
    } else if (around_.control) {
        throw UsageError("this worker has no queue \"" + std::string(name) +
                         "\"; name its pool among the queue's producers or consumers");
    } else {
        grant =
            local_queues_.try_emplace(std::string(name), std::string(name)).first->second.grant();
    }
    grant.on_first_next = [this] { ready(); };
    queues_.emplace_back(std::move(grant));
    if (draining_.is_set()) queues_.back().stop();
    return queues_.back();
}

ipc::FrameStream Worker::Core::pipe(std::string_view name, bool reads) {
    const auto given = around_.pipes.find(name);
    if (given == around_.pipes.end() || given->second.reads != reads) {
        const std::string end = reads ? "to" : "from";
        throw UsageError("this worker " + std::string(reads ? "reads" : "writes") + " no pipe \"" +
                         std::string(name) + "\"; write [pipes." + std::string(name) + "] " + end +
                         " = \"" + around_.pool + "\"");
    }
    if (!given->second.end.is_open())
        throw UsageError("pipe " + std::string(name) + " was taken already");
    // What is read was let through by the supervisor, perhaps under an earlier limit.
    const std::size_t limit = reads
                                  ? std::max(given->second.largest, ipc::FrameStream::default_limit)
                                  : given->second.largest;
    // What was put must be there even if this process dies the next moment. Who reads no more is
    // noticed by its end alone, of which the supervisor has a copy.
    return ipc::FrameStream{std::move(given->second.end),
                            {.limit = limit, .coalesce = false, .tells_close = reads}};
}

void Worker::Core::tell(void (*build)(control::FromWorker::Builder)) {
    if (!around_.control) return;
    try {
        ipc::put<control::FromWorker>(*around_.control, build);
    } catch (const std::exception&) {
        // The supervisor is gone; the greenlet that listens to it hears that too, and acts.
    }
}

void Worker::Core::ready() {
    if (std::exchange(ready_, true)) return;
    log::info("worker.ready", {{"pid", ::getpid()}});
    tell([](control::FromWorker::Builder message) { message.setReady(); });
}

// --- going ---

void Worker::Core::watch_signals() {
    while (const auto signal = signals_.next()) {
        start_drain(*signal == SIGTERM ? "SIGTERM" : "SIGINT", around_.drain_time);
    }
}

void Worker::Core::watch_supervisor() {
    try {
        while (auto message = ipc::next<control::ToWorker>(*around_.control)) {
            if (!(*message)->isDrain()) continue;
            const auto time = std::chrono::milliseconds((*message)->getDrain().getMilliseconds());
            start_drain("the supervisor says so",
                        time.count() > 0 ? Duration{time} : around_.drain_time);
        }
    } catch (const std::exception& error) {
        log::error("worker.control", {{"error", error.what()}});
    }
    // Its end is ours: nobody would ever tell us to go.
    start_drain("the supervisor is gone", around_.drain_time);
}

void Worker::Core::start_drain(const char* why, Duration time) {
    if (draining_.is_set()) return;
    log::info("worker.drain", {{"why", why}});
    deadline_ = Deadline{time};
    draining_.set();
    for (ipc::RawQueue& queue : queues_) queue.stop();
    crew_.spawn(
        [](Duration limit) {
            sleep(limit);
            log::error("worker.stuck",
                       {{"after_ms",
                         std::chrono::duration_cast<std::chrono::milliseconds>(limit).count()}});
            log::flush(std::chrono::milliseconds(100));
            ::_exit(1);
        },
        time + grace);
    tell([](control::FromWorker::Builder message) { message.setDraining(); });
}

template <class Server>
int Worker::Core::serve(Server& server) {
    server.start();
    ready();
    draining_.wait();
    const bool complete = server.drain(deadline_);
    if (!complete)
        log::warning("worker.cut", {{"why", "connections were still open at the drain deadline"}});
    return complete ? 0 : 1;
}

Worker::Worker(int argc, char** argv) : core_{std::make_unique<Core>(look_around(argc, argv))} {}
Worker::~Worker() = default;

Listener Worker::socket(std::string_view name) { return core_->socket(name); }
ipc::RawQueue Worker::raw_queue(std::string_view name) { return core_->queue(name); }
ipc::FrameStream Worker::pipe(std::string_view name, bool reads) {
    return core_->pipe(name, reads);
}
void Worker::ready() { core_->ready(); }
int Worker::serve(HttpServer& server) { return core_->serve(server); }
int Worker::serve(StreamServer& server) { return core_->serve(server); }
void Worker::wait_for_drain() {
    core_->ready();
    core_->draining_.wait();
}
bool Worker::draining() const noexcept { return core_->draining_.is_set(); }
Deadline Worker::drain_deadline() const noexcept { return core_->deadline_; }
bool Worker::supervised() const noexcept { return core_->around_.control.has_value(); }
const std::string& Worker::pool() const noexcept { return core_->around_.pool; }
std::uint32_t Worker::slot() const noexcept { return core_->around_.slot; }
std::uint32_t Worker::count() const noexcept { return core_->around_.count; }
std::uint64_t Worker::generation() const noexcept { return core_->around_.generation; }
const std::string& Worker::run_dir() const noexcept { return core_->around_.run_dir; }
const std::vector<std::string>& Worker::arguments() const noexcept {
    return core_->around_.arguments;
}

}  // namespace green::workers
