#pragma once
// What the process does with a signal while a hub watches it.

namespace green::detail {

class Reactor;

/// From now on the reactor is notified of the signal, in whatever thread it comes. Throws
/// std::system_error, EBUSY where another one is, and then nothing has changed.
void take_signal(int signal, Reactor& reactor);
/// The process does again what it did before. Nobody uses the reactor any more afterwards.
void give_signal_back(int signal) noexcept;
/// Whether it has come since this was last asked.
[[nodiscard]] bool signal_has_come(int signal) noexcept;

/// In a forked child, with the lock of the signals held: no reactor has any, all are given back.
void give_back_parents_signals() noexcept;

}  // namespace green::detail
