// Pools joined by a pipe "p" from "a" to "b", of the programs of pipe_programs.cpp, and the account
// of what went through it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "shell_support.hpp"
#include "support/text_files.hpp"

namespace greensup::test {

/// A worker's section, with times that a test can wait for.
[[nodiscard]] std::string pool(const std::string& name, const std::string& keys,
                               const std::string& command);
[[nodiscard]] std::string pipe(const std::string& keys);
/// command = ["sh", "-c", TEXT]
[[nodiscard]] std::string shell(const std::string& text);

inline const std::string until_done = "restart = \"on-failure\"\n";
inline const std::string slots = "${instance.index}";

/// What a mortal_writer has written when all its lives are over.
[[nodiscard]] std::vector<std::string> lives(const std::string& name, int count, int lines);
/// Everybody is done.
[[nodiscard]] bool is_through(const Status& status);
/// Until a line of each writer was read: before that one may still be on its way to heed signals.
void await_line_of_each(const Status& status, const std::string& file);
/// What the endless writers say that they have written is there, once and in order. Lines of one
/// stand together if `is_ordered`. Returns how many writers there were.
std::size_t check_account(const std::string& directory, const std::vector<std::string>& read,
                          bool is_ordered);

}  // namespace greensup::test
