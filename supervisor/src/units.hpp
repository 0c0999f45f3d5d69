// Numbers as people write them: durations, sizes, percents; and what somebody meant who mistyped.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "clock.hpp"

namespace greensup {

/// Reads "250ms", "5s", "2m", "1h30m", "1d" or "off" (zero). Units: ns us ms s m h d, each at most
/// once and from large to small; no fractions, no blanks, no bare numbers: a number without a unit
/// means milliseconds in one tool and seconds in the next.
/// Returns nothing if it is not one, or does not fit into 292 years.
std::optional<Duration> parse_duration(std::string_view text);

/// The shortest text that parse_duration reads back as the same value; zero is "0s".
std::string to_text(Duration duration);

/// Reads "512", "64KiB", "10MB", "1GiB"; KB MB GB TB are powers of 1000, KiB MiB GiB TiB of 1024,
/// B and nothing are bytes.
std::optional<std::uint64_t> parse_size(std::string_view text);

/// The shortest exact text in binary units: "64KiB", "1000B".
std::string size_text(std::uint64_t bytes);

/// Reads "25%" as 25.0 and "0.5%" as 0.5. Never negative.
std::optional<double> parse_percent(std::string_view text);
std::string percent_text(double percent);

/// Reads a decimal integer that fills the whole text.
std::optional<std::int64_t> parse_integer(std::string_view text);

/// The word nearest to `wrong`, ignoring case, if it is near enough to be a typing mistake
/// (swapped neighbours count as one; a third of the letters may differ). Nothing otherwise.
std::optional<std::string> nearest(std::string_view wrong, std::span<const std::string> known);

/// Signal names without SIG. `parse_signal` takes "TERM", "SIGTERM" and "term".
std::optional<int> parse_signal(std::string_view name);
std::string signal_text(int number);
std::vector<std::string> signal_names();

/// "a, b, c"
std::string join(std::span<const std::string> words, std::string_view between = ", ");

/// Splits a command line on blanks; '…' and "…" hold blanks together, backslash takes the next
/// character as it is (inside "…" only before " and \). Nothing is expanded, no shell is involved.
/// Returns nothing if a quote stays open.
std::optional<std::vector<std::string>> split_command(std::string_view line);

/// Whether `text` matches `glob`, in which only * (any run) and ? (any one) are special.
bool matches(std::string_view glob, std::string_view text);

}  // namespace greensup
