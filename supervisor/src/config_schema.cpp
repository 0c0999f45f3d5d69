// The keys of workers.toml, one row each. Order here is the order of the reference page.
#include "config_schema.hpp"

#include "config_codecs.hpp"

namespace greensup {
namespace {

constexpr Duration day = 24h;
constexpr std::size_t longest_run_dir = 90;  // leaves room for the names of sockets inside it

/// A row for a member of the section.
template <class Codec, class Section, class Value>
Key<Section> row(std::string name, Effect effect, Codec codec, Value Section::*member,
                 std::string must = {}) {
    return {std::move(name),
            effect,
            codec.type,
            std::move(must),
            [codec, member](const Field& field, Section& section) {
                if (auto value = codec.read(field)) section.*member = std::move(*value);
            },
            [codec, member](const Section& section) { return codec.show(section.*member); }};
}

/// A row for a member of a group within the section: "backoff.initial".
template <class Codec, class Section, class Group, class Value>
Key<Section> row(std::string name, Effect effect, Codec codec, Group Section::*group,
                 Value Group::*member) {
    return {std::move(name),
            effect,
            codec.type,
            std::string(),
            [codec, group, member](const Field& field, Section& section) {
                if (auto value = codec.read(field)) section.*group.*member = std::move(*value);
            },
            [codec, group, member](const Section& section) {
                return codec.show(section.*group.*member);
            }};
}

constexpr bool or_off = true;

const ChoiceCodec<PipeShape>& shapes() {
    static const ChoiceCodec<PipeShape> codec{{{"pair", PipeShape::pair},
                                               {"spread", PipeShape::spread},
                                               {"broadcast", PipeShape::broadcast},
                                               {"merge", PipeShape::merge}},
                                              {}};
    return codec;
}

}  // namespace

std::string_view to_text(Effect effect) {
    switch (effect) {
        case Effect::live:
            return "live";
        case Effect::roll:
            return "roll";
        case Effect::rebind:
            return "rebind";
        case Effect::restart:
            return "restart";
    }
    return "?";
}

std::string to_text(PipeShape shape) { return shapes().show(shape); }

const Schema<SupervisorConfig>& supervisor_schema() {
    using S = SupervisorConfig;
    static const Schema<S> schema{
        {
            row("name", Effect::restart, NameCodec{}, &S::name),
            row("run_dir", Effect::restart, PathCodec{false, longest_run_dir}, &S::run_dir),
            row("shutdown_timeout", Effect::live, DurationCodec{1ms, day}, &S::shutdown_timeout),
            row("control_mode", Effect::restart, ModeCodec{}, &S::control_mode),
            row("spawn_concurrency", Effect::live, IntegerCodec{1, 1024, "auto"},
                &S::spawn_concurrency),
            row("hup", Effect::live,
                ChoiceCodec<OnHup>{{{"all", OnHup::all}, {"changed", OnHup::changed}}, {}},
                &S::hup),
        },
        {"pidfile",
         "lock",
         "user",
         "group",
         "umask",
         "control_group",
         "control_roles",
         "control_max_clients",
         "shutdown_order",
         "exit_when",
         "spawn_rate",
         "subreaper",
         "pid1",
         "clock_guard",
         "remember_stopped",
         "history",
         "notify",
         "watch_config",
         "upgrade_probe",
         "nofile",
         "timezone"},
        {},
    };
    return schema;
}

const Schema<SocketConfig>& socket_schema() {
    using S = SocketConfig;
    static const Schema<S> schema{
        {
            row("listen", Effect::rebind, EndpointCodec{}, &S::listen,
                "for example listen = \"tcp://127.0.0.1:8080\""),
            row("backlog", Effect::rebind, IntegerCodec{1, 65535, ""}, &S::backlog),
        },
        {"share", "mode", "user", "group", "nodelay", "keepalive", "v6only", "freebind",
         "defer_accept", "pass", "used_by", "drain_before_close"},
        {{"address", "write listen = \"tcp://HOST:PORT\""},
         {"port", "write listen = \"tcp://HOST:PORT\""}},
    };
    return schema;
}

const Schema<QueueConfig>& queue_schema() {
    using Q = QueueConfig;
    const ChoiceCodec<WhenFull> fulls{{{"block", WhenFull::block},
                                       {"reject", WhenFull::reject},
                                       {"drop-oldest", WhenFull::drop_oldest},
                                       {"drop-newest", WhenFull::drop_newest}},
                                      {"spill"}};
    const ChoiceCodec<Delivery> deliveries{
        {{"at-least-once", Delivery::at_least_once}, {"at-most-once", Delivery::at_most_once}}, {}};
    const DurationCodec spans{1ms, 24h * 365, true};
    static const Schema<Q> schema{
        {
            row("schema", Effect::restart, TextCodec{}, &Q::schema),
            row("capacity", Effect::restart, AmountOfMessagesCodec{1, 1ULL << 20}, &Q::capacity),
            row("max_bytes", Effect::restart, SizeCodec{64ULL << 10, 1ULL << 40}, &Q::max_bytes),
            row("max_message", Effect::live, SizeCodec{64, 1ULL << 32}, &Q::max_message),
            row("when_full", Effect::live, fulls, &Q::when_full),
            row("delivery", Effect::restart, deliveries, &Q::delivery),
            row("lease", Effect::live, spans, &Q::lease),
            row("max_deliveries", Effect::live, IntegerCodec{1, 255, "off"}, &Q::max_deliveries),
            row("dead_letter", Effect::live, TextCodec{}, &Q::dead_letter),
            row("ttl", Effect::live, spans, &Q::ttl),
            row("high", Effect::live, PercentCodec{100}, &Q::high_percent),
            row("low", Effect::live, PercentCodec{100}, &Q::low_percent),
            row("producers", Effect::roll, TextsCodec{}, &Q::producers),
            row("consumers", Effect::roll, TextsCodec{}, &Q::consumers),
        },
        {"durable", "fsync", "partition_by", "url"},
        {{"workers", "write producers = [\"NAME\"] and consumers = [\"NAME\"]"}},
    };
    return schema;
}

const Schema<PipeConfig>& pipe_schema() {
    using P = PipeConfig;
    const ChoiceCodec<Framing> framings{
        {{"bytes", Framing::bytes}, {"lines", Framing::lines}, {"capnp", Framing::capnp}}, {}};
    static const Schema<P> schema{
        {
            row("from", Effect::roll, TextCodec{}, &P::from, "for example from = \"NAME.stdout\""),
            row("to", Effect::roll, TextCodec{}, &P::to, "for example to = \"NAME.stdin\""),
            row("shape", Effect::roll, shapes(), &P::shape),
            row("framing", Effect::restart, framings, &P::framing),
            row("capacity", Effect::roll, SizeCodec{4ULL << 10, 1ULL << 31}, &P::capacity),
        },
        {},
        {{"schema", "the worker says the type: worker.writer<Type>(\"NAME\")"},
         {"producers", "write from = \"NAME.stdout\""},
         {"consumers", "write to = \"NAME.stdin\""}},
    };
    return schema;
}

const Schema<WorkerConfig>& worker_schema() {
    using W = WorkerConfig;
    const ChoiceCodec<Kind> kinds{{{"hub", Kind::hub}, {"exec", Kind::exec}}, {}};
    const ChoiceCodec<RestartWhen> restarts{{{"always", RestartWhen::always},
                                             {"on-failure", RestartWhen::on_failure},
                                             {"on-abnormal", RestartWhen::on_abnormal},
                                             {"never", RestartWhen::never}},
                                            {}};
    const ChoiceCodec<TooOften> too_often{{{"slow", TooOften::slow}, {"fail", TooOften::fail}},
                                          {"shutdown"}};
    static const Schema<W> schema{
        {
            row("command", Effect::roll, CommandCodec{}, &W::command,
                "for example command = [\"./web\", \"--port\", \"8080\"]"),
            row("kind", Effect::roll, kinds, &W::kind),
            row("count", Effect::live, CountCodec{10000}, &W::count),
            row("sockets", Effect::roll, TextsCodec{}, &W::sockets),
            row("cwd", Effect::roll, PathCodec{true}, &W::cwd),
            row("env", Effect::roll, VariablesCodec{}, &W::env),
            row("env_pass", Effect::roll, TextsCodec{}, &W::env_pass),
            row("after", Effect::live, TextsCodec{}, &W::after),
            row("start_timeout", Effect::live, DurationCodec{1ms, day}, &W::start_timeout),
            row("min_uptime", Effect::live, DurationCodec{0s, day}, &W::min_uptime),
            row("ready.delay", Effect::live, DurationCodec{0s, day}, &W::ready_delay),
            row("restart", Effect::live, restarts, &W::restart),
            row("success_codes", Effect::live, CodesCodec{}, &W::success_codes),
            row("backoff.initial", Effect::live, DurationCodec{1ms, day, or_off}, &W::backoff,
                &BackoffConfig::initial),
            row("backoff.factor", Effect::live, NumberCodec{1, 10}, &W::backoff,
                &BackoffConfig::factor),
            row("backoff.max", Effect::live, DurationCodec{1ms, day}, &W::backoff,
                &BackoffConfig::max),
            row("backoff.jitter", Effect::live, PercentCodec{100}, &W::backoff,
                &BackoffConfig::jitter_percent),
            row("backoff.reset", Effect::live, DurationCodec{1ms, day, or_off}, &W::backoff,
                &BackoffConfig::reset),
            row("intensity.max", Effect::live, IntegerCodec{1, 1000000, "off"}, &W::intensity,
                &IntensityConfig::max),
            row("intensity.period", Effect::live, DurationCodec{1ms, day}, &W::intensity,
                &IntensityConfig::period),
            row("intensity.then", Effect::live, too_often, &W::intensity, &IntensityConfig::then),
            row("stop.signal", Effect::live, SignalCodec{}, &W::stop, &StopConfig::signal),
            row("stop.timeout", Effect::live, DurationCodec{0s, day}, &W::stop,
                &StopConfig::timeout),
            row("stop.drain", Effect::live, DurationCodec{1ms, day, or_off}, &W::stop,
                &StopConfig::drain),
            row("roll.min_ready", Effect::live, DurationCodec{0s, day}, &W::roll,
                &RollConfig::min_ready),
            row("roll.deadline", Effect::live, DurationCodec{1ms, day, or_off}, &W::roll,
                &RollConfig::deadline),
            row("roll.max_surge", Effect::live, AmountCodec{10000}, &W::roll,
                &RollConfig::max_surge),
        },
        {"shell",
         "use",
         "description",
         "labels",
         "enabled",
         "autostart",
         "critical",
         "min",
         "max",
         "signal_scale",
         "team",
         "binds_to",
         "wait_timeout",
         "priority",
         "env_file",
         "env_secret",
         "stdin",
         "stdout",
         "stderr",
         "title",
         "watch",
         "watch_debounce",
         "reload",
         "user",
         "group",
         "extra_groups",
         "umask",
         "chroot",
         "nice",
         "cpu_affinity",
         "oom_score_adj",
         "ionice",
         "rlimit.*",
         "cgroup.*",
         "no_new_privs",
         "capabilities",
         "seccomp",
         "pid_namespace",
         "max_rss",
         "max_messages",
         "max_messages_jitter",
         "max_lifetime",
         "max_lifetime_jitter",
         "recycle_concurrency",
         "on_supervisor_death",
         "adopt_window",
         "ready.by",
         "ready.target",
         "ready.interval",
         "ready.timeout",
         "live.*",
         "fatal_codes",
         "stop.ladder",
         "stop.scope",
         "stop.before",
         "roll.mode",
         "roll.max_unavailable",
         "roll.on_failure",
         "roll.canary",
         "roll.bake",
         "roll.gate",
         "roll.max_generations",
         "roll.keep",
         "scale.*",
         "log.*"},
        {{"queues",
          "say it at the queue: [queues.NAME] producers = [\"WORKER\"], consumers = [\"WORKER\"]"},
         {"pipes",
          "say it at the pipe: [pipes.NAME] from = \"WORKER.stdout\", to = \"WORKER.stdin\""},
         {"args", "write them into command = [\"./program\", \"argument\"]"},
         {"instances", "write count"},
         {"depends_on", "write after"}},
    };
    return schema;
}

}  // namespace greensup
