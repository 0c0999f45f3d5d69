#include "bench.hpp"

#include <algorithm>
#include <cerrno>
#include <cfenv>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <exception>
#include <optional>
#include <sched.h>
#include <system_error>
#include <time.h>

namespace bench {
namespace {

class BadArguments : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

template <class Number>
Number number(std::string_view text) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size())
        throw BadArguments("not a number: " + std::string(text));
    return value;
}

bool drop_suffix(std::string_view& text, std::string_view suffix) {
    if (!text.ends_with(suffix)) return false;
    text.remove_suffix(suffix.size());
    return true;
}

// "100B", "1KiB", "1MiB"; nullopt for any other word.
std::optional<std::size_t> size_of(std::string_view word) {
    std::size_t unit = 1;
    if (drop_suffix(word, "KiB"))
        unit = std::size_t{1} << 10;
    else if (drop_suffix(word, "MiB"))
        unit = std::size_t{1} << 20;
    else if (!drop_suffix(word, "B"))
        return std::nullopt;
    if (word.empty() || word.find_first_not_of("0123456789") != word.npos) return std::nullopt;
    return number<std::size_t>(word) * unit;
}

// "2", "100k", "1M"; nullopt for any other word.
std::optional<std::size_t> count_of(std::string_view word) {
    std::size_t unit = 1;
    if (drop_suffix(word, "k"))
        unit = 1000;
    else if (drop_suffix(word, "M"))
        unit = 1'000'000;
    if (word.empty() || word.find_first_not_of("0123456789") != word.npos) return std::nullopt;
    return number<std::size_t>(word) * unit;
}

void read_name(std::string_view name, Options& options) {
    if (!drop_suffix(name, "_1core")) drop_suffix(name, "_2core");
    while (!name.empty()) {
        const std::string_view word = name.substr(0, name.find('_'));
        name.remove_prefix(std::min(word.size() + 1, name.size()));
        if (const auto size = size_of(word)) {
            options.payload = *size;
        } else if (const auto count = count_of(word)) {
            options.count = *count;
        } else {
            if (!options.operation.empty()) options.operation += '_';
            options.operation += word;
        }
    }
}

Options read_arguments(int argc, char** argv) {
    std::vector<std::string> words{argv, argv + argc};
    Options options;
    if (const auto dashes = std::find(words.begin(), words.end(), "--"); dashes != words.end()) {
        options.server.assign(dashes + 1, words.end());
        words.erase(dashes, words.end());
    }
    std::optional<std::size_t> count;
    std::size_t next = 1;
    const auto word = [&]() -> std::string_view {
        if (next < words.size()) return words[next++];
        throw BadArguments(
            "usage: PROGRAM [--count N] CASE [--seconds S] [--cores A,B] [--at-most N] "
            "[-- SERVER...]");
    };
    while (next < words.size() || options.operation.empty()) {
        const std::string_view key = word();
        if (!key.starts_with("--")) {
            if (!options.operation.empty()) throw BadArguments("more than one case");
            read_name(key, options);
            continue;
        }
        const std::string_view value = word();
        if (key == "--seconds") {
            options.seconds = number<double>(value);
        } else if (key == "--at-most") {
            options.at_most = number<std::size_t>(value);
        } else if (key == "--count") {
            count = number<std::size_t>(value);
        } else if (key == "--cores") {
            const auto comma = std::min(value.find(','), value.size());
            options.consumer_core = number<int>(value.substr(0, comma));
            options.producer_core = comma == value.size() ? options.consumer_core
                                                          : number<int>(value.substr(comma + 1));
        } else {
            throw BadArguments("unknown option " + std::string(key));
        }
    }
    options.count = std::min(count.value_or(options.count), options.at_most);
    return options;
}

double measure(const Options& options, std::initializer_list<Operation> operations) {
    for (const auto& operation : operations) {
        if (operation.name != options.operation) continue;
        const double value = operation.run(options);
        if (!std::isfinite(value)) throw std::runtime_error("the result is not a number");
        return value;
    }
    throw Unavailable("this program has no operation " + options.operation);
}

}  // namespace

int run(int argc, char** argv, std::initializer_list<Operation> operations) {
    try {
        std::printf("{\"value\": %.10g}\n", measure(read_arguments(argc, argv), operations));
        return 0;
    } catch (const Unavailable& reason) {  // texts of ours: nothing in them needs escaping
        std::printf("{\"value\": null, \"note\": \"%s\"}\n", reason.what());
        return 0;
    } catch (const BadArguments& error) {
        std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
        return 1;
    }
}

std::uint64_t now() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(time.tv_nsec);
}

void wait_until(std::uint64_t time) {
    const timespec until{static_cast<time_t>(time / 1'000'000'000U),
                         static_cast<long>(time % 1'000'000'000U)};
    while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) continue;
}

void pin(int core) {
    if (core < 0) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(core), &set);
    if (::sched_setaffinity(0, sizeof set, &set) != 0)
        throw std::system_error(errno, std::generic_category(),
                                "sched_setaffinity(core " + std::to_string(core) + ")");
}

double ns_per_operation(const Options& options,
                        const std::function<std::uint64_t(std::uint64_t n)>& body) {
    pin(options.consumer_core);
    struct Timing {
        double elapsed;
        double each;
    };
    const auto timed = [&body](std::uint64_t n) {
        // The sums below leave sticky bits in MXCSR. Contexts made before and after would differ in
        // them, and loading a different MXCSR makes a switch 15 times slower (performance.md, trap
        // 1).
        std::feclearexcept(FE_ALL_EXCEPT);
        const auto start = now();
        const auto done = body(n);
        const auto elapsed = static_cast<double>(std::max<std::uint64_t>(now() - start, 1));
        if (done < n)
            throw std::runtime_error("asked for " + std::to_string(n) + " operations, counted " +
                                     std::to_string(done));
        return Timing{elapsed, elapsed / static_cast<double>(done)};
    };

    const double wanted = std::max(options.seconds, 1e-4) * 1e9;
    std::uint64_t n = 100;
    Timing trial = timed(n);
    while (trial.elapsed < wanted / 5) {
        const double grow = std::clamp(wanted / 4 / trial.elapsed, 2.0, 100.0);
        n = static_cast<std::uint64_t>(static_cast<double>(n) * grow);
        trial = timed(n);
    }
    return timed(std::max<std::uint64_t>(static_cast<std::uint64_t>(wanted / trial.each), 1)).each;
}

}  // namespace bench
