// What is said on a worker's control channel: schema/control.capnp.
#pragma once

#include <functional>
#include <string>

#include "edition.hpp"
#include "spawner.hpp"

namespace greensup {

/// Tells a new worker who it is and hands it its sockets, queues and pipes. Switches.
void greet(Incarnation& incarnation, const Edition& edition, const WorkerConfig& worker,
           const Instance& instance);

/// What a worker may say.
enum class Word { hello, ready, draining };

/// Calls `on_word` for each word of the worker until the end of the channel. Switches. Throws
/// green::ProtocolError for a worker that does not speak our language.
void listen_to(Incarnation& incarnation, const std::function<void(Word)>& on_word);

/// Asks a worker to finish what it has begun and leave. Returns false when it cannot be told.
/// Switches.
bool ask_to_drain(Incarnation& incarnation, Duration limit, bool last_of_pool);

}  // namespace greensup
