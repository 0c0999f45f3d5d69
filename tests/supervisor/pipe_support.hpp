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

inline const std::string by_lines = "framing = \"lines\"\n";
inline const std::string until_done = "restart = \"on-failure\"\n";
inline const std::string slots = "${instance.index}";

/// Pools that never end: "a" writes into files of the directory how much it has written, and "b"
/// reads it into the file "r" there.
[[nodiscard]] std::string endless_writers(const tests::TempDir& dir, const std::string& keys = {});
[[nodiscard]] std::string endless_readers(const tests::TempDir& dir);
/// The writers come first in the file, so they are the first to be rolled.
[[nodiscard]] std::string endless_pools(const tests::TempDir& dir);

/// What a mortal_writer has written when all its lives are over.
[[nodiscard]] std::vector<std::string> lives(const std::string& name, int count, int lines);
/// The same as a mortal_reader has read it, with its last word.
[[nodiscard]] std::vector<std::string> lives_read(const std::string& name, int count, int lines);
/// Everybody is done.
[[nodiscard]] bool is_through(const Status& status);
/// Until a line of each writer was read: before that one may still be on its way to heed signals.
void await_line_of_each(const Status& status, const std::string& file);
/// Until there are more than so many lines more.
void await_more(const std::string& file, std::size_t count = 100);
/// What the endless writers say that they have written is there, once and in order. Lines of one
/// stand together if `is_ordered`. Returns how many writers there were.
std::size_t check_account(const std::string& directory, const std::vector<std::string>& read,
                          bool is_ordered);

}  // namespace greensup::test
