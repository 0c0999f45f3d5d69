#include "units.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <utility>

namespace greensup {
namespace {

struct TimeUnit {
    std::string_view name;
    std::int64_t nanoseconds;
};

// Largest first: a duration is written from large to small.
constexpr std::array time_units = {
    TimeUnit{"d", 86'400'000'000'000},
    TimeUnit{"h", 3'600'000'000'000},
    TimeUnit{"m", 60'000'000'000},
    TimeUnit{"s", 1'000'000'000},
    TimeUnit{"ms", 1'000'000},
    TimeUnit{"us", 1'000},
    TimeUnit{"ns", 1},
};

struct SizeUnit {
    std::string_view name;
    std::uint64_t bytes;
};

// Binary units stand first and largest first: size_text takes the first that divides.
constexpr std::array size_units = {
    SizeUnit{"TiB", 1ULL << 40},
    SizeUnit{"GiB", 1ULL << 30},
    SizeUnit{"MiB", 1ULL << 20},
    SizeUnit{"KiB", 1ULL << 10},
    SizeUnit{"TB", 1'000'000'000'000},
    SizeUnit{"GB", 1'000'000'000},
    SizeUnit{"MB", 1'000'000},
    SizeUnit{"KB", 1'000},
    SizeUnit{"B", 1},
    SizeUnit{"", 1},
};
constexpr std::size_t binary_unit_count = 4;

struct SignalName {
    std::string_view name;
    int number;
};

constexpr std::array signals = {
    SignalName{"HUP", SIGHUP},       SignalName{"INT", SIGINT},   SignalName{"QUIT", SIGQUIT},
    SignalName{"ILL", SIGILL},       SignalName{"TRAP", SIGTRAP}, SignalName{"ABRT", SIGABRT},
    SignalName{"BUS", SIGBUS},       SignalName{"FPE", SIGFPE},   SignalName{"KILL", SIGKILL},
    SignalName{"USR1", SIGUSR1},     SignalName{"SEGV", SIGSEGV}, SignalName{"USR2", SIGUSR2},
    SignalName{"PIPE", SIGPIPE},     SignalName{"ALRM", SIGALRM}, SignalName{"TERM", SIGTERM},
    SignalName{"CHLD", SIGCHLD},     SignalName{"CONT", SIGCONT}, SignalName{"STOP", SIGSTOP},
    SignalName{"TSTP", SIGTSTP},     SignalName{"TTIN", SIGTTIN}, SignalName{"TTOU", SIGTTOU},
    SignalName{"URG", SIGURG},       SignalName{"XCPU", SIGXCPU}, SignalName{"XFSZ", SIGXFSZ},
    SignalName{"VTALRM", SIGVTALRM}, SignalName{"PROF", SIGPROF}, SignalName{"WINCH", SIGWINCH},
    SignalName{"IO", SIGIO},         SignalName{"PWR", SIGPWR},   SignalName{"SYS", SIGSYS},
};

char lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

std::string lower(std::string_view text) {
    std::string result(text);
    std::transform(result.begin(), result.end(), result.begin(), [](char c) { return lower(c); });
    return result;
}

/// Takes the run of characters at the front of `rest` for which `wanted` holds.
template <class Predicate>
std::string_view take_while(std::string_view& rest, Predicate wanted) {
    std::size_t length = 0;
    while (length < rest.size() && wanted(rest[length])) ++length;
    const auto taken = rest.substr(0, length);
    rest.remove_prefix(length);
    return taken;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

}  // namespace

std::optional<std::int64_t> parse_integer(std::string_view text) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::optional<Duration> parse_duration(std::string_view text) {
    if (text == "off") return Duration::zero();
    if (text.empty()) return std::nullopt;
    std::int64_t total = 0;
    auto next_unit = time_units.begin();
    while (!text.empty()) {
        const auto number = parse_integer(take_while(text, is_digit));
        const auto name = take_while(text, is_letter);
        const auto unit = std::find_if(next_unit, time_units.end(),
                                       [&](const TimeUnit& u) { return u.name == name; });
        if (!number || unit == time_units.end()) return std::nullopt;
        next_unit = unit + 1;
        std::int64_t part = 0;
        if (__builtin_mul_overflow(*number, unit->nanoseconds, &part) ||
            __builtin_add_overflow(total, part, &total))
            return std::nullopt;
    }
    return Duration{total};
}

std::string to_text(Duration duration) {
    if (duration == Duration::zero()) return "0s";
    std::string result = duration.count() < 0 ? "-" : "";
    // The magnitude is unsigned, so that the smallest negative number has one too.
    auto rest = duration.count() < 0 ? 0 - static_cast<std::uint64_t>(duration.count())
                                     : static_cast<std::uint64_t>(duration.count());
    for (const auto& unit : time_units) {
        const auto size = static_cast<std::uint64_t>(unit.nanoseconds);
        if (rest >= size) result += std::to_string(rest / size) + std::string(unit.name);
        rest %= size;
    }
    return result;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
    const auto digits = take_while(text, is_digit);
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size())
        return std::nullopt;
    for (const auto& unit : size_units) {
        if (unit.name != text) continue;
        std::uint64_t bytes = 0;
        if (__builtin_mul_overflow(number, unit.bytes, &bytes)) return std::nullopt;
        return bytes;
    }
    return std::nullopt;
}

std::string size_text(std::uint64_t bytes) {
    for (std::size_t i = 0; i < binary_unit_count; ++i) {
        const auto& unit = size_units[i];
        if (bytes != 0 && bytes % unit.bytes == 0)
            return std::to_string(bytes / unit.bytes) + std::string(unit.name);
    }
    return std::to_string(bytes) + "B";
}

std::optional<double> parse_percent(std::string_view text) {
    if (!text.ends_with('%')) return std::nullopt;
    text.remove_suffix(1);
    if (text.empty() || !is_digit(text.front())) return std::nullopt;
    double value = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::string percent_text(double percent) {
    std::array<char, 400> buffer{};  // a fixed notation of the largest double has 309 digits
    const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), percent,
                                            std::chars_format::fixed);
    static_cast<void>(error);
    return std::string(buffer.data(), end) + "%";
}

namespace {

/// Number of insertions, deletions, changes and swaps of neighbours from `a` to `b`.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
    for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
            d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + change});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[a.size()][b.size()];
}

constexpr std::size_t longest_word = 64;  // beyond it nobody mistyped; bounds the quadratic work

}  // namespace

std::optional<std::string> nearest(std::string_view wrong, std::span<const std::string> known) {
    if (wrong.size() > longest_word) return std::nullopt;
    const auto word = lower(wrong);
    const std::string* best = nullptr;
    std::size_t best_distance = 0;
    for (const auto& candidate : known) {
        const auto d = distance(word, lower(candidate));
        if (best == nullptr || d < best_distance) best = &candidate, best_distance = d;
    }
    const auto allowed = word.size() < 2 ? 0 : std::max<std::size_t>(1, word.size() / 3);
    if (best == nullptr || best_distance > allowed) return std::nullopt;
    return *best;
}

std::optional<int> parse_signal(std::string_view name) {
    std::string plain(name);
    std::transform(plain.begin(), plain.end(), plain.begin(), [](char c) {
        return static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    });
    if (plain.starts_with("SIG")) plain.erase(0, 3);
    for (const auto& signal : signals)
        if (signal.name == plain) return signal.number;
    return std::nullopt;
}

std::string signal_text(int number) {
    for (const auto& signal : signals)
        if (signal.number == number) return std::string(signal.name);
    return std::to_string(number);
}

std::vector<std::string> signal_names() {
    std::vector<std::string> names;
    names.reserve(signals.size());
    for (const auto& signal : signals) names.emplace_back(signal.name);
    return names;
}

std::string join(std::span<const std::string> words, std::string_view between) {
    std::string result;
    for (const auto& word : words) {
        if (&word != words.data()) result += between;
        result += word;
    }
    return result;
}

std::optional<std::vector<std::string>> split_command(std::string_view line) {
    std::vector<std::string> words;
    std::string word;
    bool in_word = false;  // tells "" from nothing
    char quote = 0;
    for (std::size_t i = 0; i < line.size(); ++i) {
        const char c = line[i];
        const char next = i + 1 < line.size() ? line[i + 1] : '\0';
        const bool escapes = quote == 0 || (quote == '"' && (next == '"' || next == '\\'));
        if (c == '\\' && next != '\0' && escapes) {
            word += next, in_word = true, ++i;
        } else if (quote != 0 && c == quote) {
            quote = 0;
        } else if (quote == 0 && (c == '\'' || c == '"')) {
            quote = c, in_word = true;
        } else if (quote == 0 && (c == ' ' || c == '\t' || c == '\n')) {
            if (in_word) words.push_back(std::exchange(word, {}));
            in_word = false;
        } else {
            word += c, in_word = true;
        }
    }
    if (quote != 0) return std::nullopt;
    if (in_word) words.push_back(std::move(word));
    return words;
}

bool matches(std::string_view glob, std::string_view text) {
    // Greedy with one point to return to: enough, since a later * makes every earlier one moot.
    std::size_t g = 0;
    std::size_t t = 0;
    std::size_t star = std::string_view::npos;
    std::size_t star_text = 0;
    while (t < text.size()) {
        if (g < glob.size() && glob[g] == '*') {
            star = g++, star_text = t;
        } else if (g < glob.size() && (glob[g] == '?' || glob[g] == text[t])) {
            ++g, ++t;
        } else if (star != std::string_view::npos) {
            g = star + 1, t = ++star_text;
        } else {
            return false;
        }
    }
    return glob.find_first_not_of('*', g) == std::string_view::npos;
}

}  // namespace greensup
