#pragma once
// A queue of the configuration as a segment in the run directory: what its keys are there, and how
// one is made, checked and opened.

#include <memory>
#include <string>

#include <green/fd.hpp>

#include "config.hpp"
#include "queue/keeper.hpp"

namespace greensup {

namespace shm = green::ipc::shm;

[[nodiscard]] std::string path_of(const std::string& directory, const QueueConfig& queue);
/// What it is made with, and cannot be changed while messages are in it.
[[nodiscard]] shm::Config figures_of(const QueueConfig& queue);
/// What may change any time.
[[nodiscard]] shm::Settings settings_of(const QueueConfig& queue, bool has_dead_letter);

/// Throws Refusal for figures that no segment can have.
void check_figures(const QueueConfig& queue);
/// Messages of one schema are not handed to consumers of another one. Throws Refusal.
void check_schema(const shm::Keeper& keeper, const QueueConfig& queue);
/// Whether it would have other figures if it were made today, and nothing is lost if it is. What
/// dead ones were about to put is none.
[[nodiscard]] bool is_to_be_remade(const shm::Keeper& keeper, const QueueConfig& queue);

/// `replaces`: in the place of one that is known to be empty. Throws Refusal.
[[nodiscard]] std::unique_ptr<shm::Keeper> make_segment(const std::string& path,
                                                        const QueueConfig& queue, bool replaces);
/// For those who are given the queue. Throws Refusal.
[[nodiscard]] green::Fd open_file(const std::string& path, const QueueConfig& queue);
/// Says which of the figures are not those of the configuration, and when they will be.
void keep_as_it_is(const shm::Keeper& keeper, const QueueConfig& queue);

}  // namespace greensup
