#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

struct sqlite3;

struct NamedTotal {
    std::string name;
    std::uint64_t lines = 0;
    std::uint64_t words = 0;
    std::uint64_t bytes = 0;
};

/// The totals, in a database file. Every call blocks its thread; two threads must not call at the
/// same time, several processes may.
class Totals {
 public:
    /// Opens or makes the file. Throws std::runtime_error.
    explicit Totals(const std::string& path);

    /// Stores all or none, each under its name: storing one again changes nothing.
    void store(const std::vector<NamedTotal>& totals);
    [[nodiscard]] std::vector<NamedTotal> all();

 private:
    struct Close {
        void operator()(sqlite3* database) const noexcept;
    };
    std::unique_ptr<sqlite3, Close> database_;
};
