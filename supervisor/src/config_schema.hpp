// Every key of workers.toml as one row of data: its name, what a change of it means for what runs,
// how it is read into the configuration and how it is shown. Adding a key is adding a row in
// config_schema.cpp (and a line on docs/reference/workers-toml.md: a test compares the two).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "config.hpp"

namespace greensup {

class Field;

/// What a change of a key touches at reload.
enum class Effect {
    live,     // applied in place, no process is touched
    roll,     // the pools concerned are rolled
    rebind,   // the socket is bound anew, then its pools are rolled
    restart,  // takes effect when the supervisor starts the next time
};
std::string_view to_text(Effect effect);

template <class Section>
struct Key {
    std::string name;  // within the section: "backoff.initial"
    Effect effect;
    std::string type;  // "duration", for people
    std::string must;  // not empty: the key is required, and this is what to write
    std::function<void(const Field&, Section&)> read;
    std::function<std::string(const Section&)> show;
};

/// What a kind of section may hold.
template <class Section>
struct Schema {
    std::vector<Key<Section>> keys;
    /// Names that the reference design has and this version has not, "log.*" for a whole group.
    std::vector<std::string> later;
    /// Names that people look for here, and where to look instead.
    std::vector<std::pair<std::string, std::string>> elsewhere;
};

const Schema<SupervisorConfig>& supervisor_schema();
const Schema<SocketConfig>& socket_schema();
const Schema<QueueConfig>& queue_schema();
const Schema<PipeConfig>& pipe_schema();
const Schema<WorkerConfig>& worker_schema();

/// One key that differs between two versions of a section.
struct KeyChange {
    std::string key;
    Effect effect;
    std::string before;
    std::string after;
};

template <class Section>
std::vector<KeyChange> changes(const Schema<Section>& schema, const Section& before,
                               const Section& after) {
    std::vector<KeyChange> result;
    for (const auto& key : schema.keys) {
        auto old_text = key.show(before);
        auto new_text = key.show(after);
        if (old_text != new_text)
            result.push_back({key.name, key.effect, std::move(old_text), std::move(new_text)});
    }
    return result;
}

}  // namespace greensup
